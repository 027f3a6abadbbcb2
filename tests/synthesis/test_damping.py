"""Strings that die away by themselves: found in the loudness of a note, the higher a partial the sooner, and no change of level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.synthesis.damping import DEPTH_DB, STRING_DAMPING, DecayClock, damped, free_decay
from tonetransfer.synthesis.render import SynthParams, render

RATE = 100.0
GRID = FrameGrid(48000, 480)


def stroke(fall_db_per_s: float, depth_db: float, *, held_s: float = 0.1) -> torch.Tensor:
    """Loudness of a note that is held, falls, and stays where it fell to."""
    held = np.full(round(held_s * RATE), -20.0)
    fall = -20.0 - np.minimum(fall_db_per_s * np.arange(1, 101) / RATE, depth_db)
    return torch.from_numpy(np.concatenate([held, fall])).float()


def params(n_frames: int = 60) -> SynthParams:
    generator = torch.Generator().manual_seed(0)
    distribution = torch.rand(n_frames, 20, generator=generator)
    return SynthParams(
        torch.full((n_frames,), 110.0),
        torch.full((n_frames,), 0.2),
        distribution / distribution.sum(-1, keepdim=True),
        1e-3 * torch.rand(n_frames, 12, generator=generator),
    )


def test_a_string_that_is_left_is_told_from_a_softer_stroke() -> None:
    spiccato = free_decay(stroke(75.0, 40.0), RATE)
    assert torch.equal(spiccato[:10], torch.zeros(10))
    assert spiccato[10:60].numpy() == pytest.approx(np.arange(1, 51) / RATE, abs=1e-6)
    assert not free_decay(stroke(75.0, DEPTH_DB - 1.0), RATE).any()  # an accent
    assert not free_decay(stroke(25.0, 40.0), RATE).any()  # a diminuendo
    vibrato = -20.0 + 2.0 * torch.sin(2.0 * torch.pi * 6.0 * torch.arange(300) / RATE)
    assert not free_decay(vibrato, RATE).any()


def test_the_next_note_begins_anew() -> None:
    two = torch.cat([stroke(75.0, 40.0), stroke(75.0, 40.0)])
    assert torch.equal(free_decay(two, RATE), free_decay(stroke(75.0, 40.0), RATE).repeat(2))


def test_a_clock_knows_of_a_fall_as_soon_as_it_is_deep() -> None:
    level = stroke(75.0, 40.0)
    clock = DecayClock(RATE)
    known, whole = torch.tensor([clock.next(one) for one in level.tolist()]), free_decay(level, RATE)
    deep = level < -20.0 - DEPTH_DB
    assert deep.any() and torch.allclose(known[deep], whole[deep], atol=1e-6)
    assert (known <= whole + 1e-6).all() and not known[level > -25.0].any()
    clock.reset()
    assert [clock.next(one) for one in level.tolist()] == pytest.approx(known.tolist())


def test_partials_die_away_as_the_root_of_their_frequency() -> None:
    held, since = params(), torch.full((60,), 0.1)
    left = next(damped([held], since, STRING_DAMPING, 48000))
    gain_db = 20.0 * torch.log10(
        left.amplitude[:, None] * left.harmonic_distribution / (held.amplitude[:, None] * held.harmonic_distribution)
    )
    partials_hz = 110.0 * torch.arange(1, 21)
    expected = -STRING_DAMPING * (partials_hz.sqrt() - partials_hz.sqrt()[0]) * 0.1
    assert torch.allclose(gain_db - gain_db[:, :1], expected.expand(60, -1), atol=1e-3)
    assert torch.allclose(left.harmonic_distribution.sum(-1), torch.ones(60), atol=1e-5)


def test_the_sound_is_as_loud_as_it_was() -> None:
    held = params()
    left = next(damped([held], torch.linspace(0.0, 0.3, 60), STRING_DAMPING, 48000))
    before, after = (loudness_db(render(one, GRID), GRID)[5:55] for one in (held, left))
    assert (before - after).abs().max() < 0.7
    assert (left.harmonic_distribution[50, 10:].sum() / held.harmonic_distribution[50, 10:].sum()) < 0.5


def test_pieces_join_to_the_whole_and_held_notes_are_left_alone() -> None:
    held, since = params(), free_decay(stroke(75.0, 40.0), RATE)[:60]
    whole = next(damped([held], since, STRING_DAMPING, 48000))
    parts = [held.map(lambda x, span=span: x[span]) for span in (slice(0, 5), slice(5, 31), slice(31, 60))]
    joined = list(damped(parts, since, STRING_DAMPING, 48000))
    assert joined[0] is parts[0]
    assert torch.allclose(torch.cat([one.amplitude for one in joined]), whole.amplitude, rtol=1e-5)
    assert torch.allclose(torch.cat([one.noise_magnitudes for one in joined]), whole.noise_magnitudes, rtol=1e-5)
    assert torch.allclose(whole.amplitude[:10], held.amplitude[:10])
