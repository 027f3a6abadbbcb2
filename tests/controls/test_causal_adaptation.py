"""The running fit: an octave at the first note, dynamics that come to what the whole recording would give, an instrument's own release."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.controls.causal_adaptation import Adapter, Asked
from tonetransfer.controls.causal_extraction import Heard
from tonetransfer.controls.dynamics import loudness_quantiles, map_loudness
from tonetransfer.controls.profile import Target

QUANTILES = torch.linspace(-40.0, -12.0, 13)


def target(mean_midi: float = 69.0, release_db_per_s: float = 300.0) -> Target:
    return Target(torch.zeros(8), QUANTILES, mean_midi, mean_midi - 15, mean_midi + 15, release_db_per_s)


def note(midi: float, n: int, level: float = -20.0) -> list[Heard]:
    return [Heard(440.0 * 2.0 ** ((midi - 69.0) / 12.0), 0.98, level)] * n


REST = [Heard(300.0, 0.1, -70.0)] * 40


def play(adapter: Adapter, frames: list[Heard]) -> list[Asked]:
    return [adapter.frame(one) for one in frames]


@pytest.mark.parametrize(("midi", "shift"), [(69.0, 0), (74.0, 0), (57.0, 12), (40.0, 24), (93.0, -24)])
def test_the_first_note_decides_the_octave(midi: float, shift: int) -> None:
    asked = play(Adapter(target(), 100.0), note(midi, 5))
    assert 12.0 * np.log2(asked[0].f0_hz / 440.0) + 69.0 == pytest.approx(midi + shift)


def test_an_attack_that_was_misheard_does_not_decide() -> None:
    adapter = Adapter(target(), 100.0)
    play(adapter, [Heard(3500.0, 0.8, -30.0)] + note(66.0, 40))
    assert adapter.semitones == 0.0


def test_the_octave_never_changes_within_a_note_but_at_the_next() -> None:
    adapter = Adapter(target(), 100.0)
    play(adapter, note(69.0, 10) + REST)
    glide = [Heard(440.0 * 2.0 ** (-k / 600.0), 0.98, -20.0) for k in range(1200)]  # two octaves down in one breath
    f0_hz = np.array([one.f0_hz for one in play(adapter, glide)])
    assert np.abs(np.diff(np.log2(f0_hz))).max() < 0.01 and adapter.semitones == 0.0
    play(adapter, REST + note(45.0, 300) + REST)
    assert play(adapter, note(45.0, 5))[-1].f0_hz == pytest.approx(220.0, rel=1e-6) or adapter.semitones == 12.0


def test_a_given_transposition_stays() -> None:
    adapter = Adapter(target(), 100.0, transpose=-5.0)
    assert 12.0 * np.log2(play(adapter, note(30.0, 20))[-1].f0_hz / 440.0) + 69.0 == pytest.approx(25.0)


def test_dynamics_come_to_what_the_whole_recording_would_give() -> None:
    rng = np.random.default_rng(0)
    levels = -38.0 + 6.0 * np.sin(np.arange(4000) / 60.0) + rng.normal(0.0, 1.0, 4000)
    adapter = Adapter(target(), 100.0)
    asked = play(adapter, [Heard(440.0, 0.98, float(level)) for level in levels])
    heard = torch.from_numpy(levels).float()
    expected = map_loudness(heard, loudness_quantiles(heard, torch.ones(4000, dtype=torch.bool)), QUANTILES)
    error = np.array([one.loudness_db for one in asked]) - expected.numpy()
    rising = np.diff(levels, prepend=levels[0]) > -2.5  # where it falls faster, the instrument's release limits it
    assert np.abs(error[:50]).mean() > 3.0 and np.abs(error[3000:][rising[3000:]]).mean() < 1.5


def test_a_known_level_is_right_from_the_first_note() -> None:
    adapter = Adapter(target(), 100.0, loudest_db=-38.0)
    assert play(adapter, note(69.0, 3, -38.0))[-1].loudness_db == pytest.approx(float(QUANTILES[-1]), abs=0.7)


def test_notes_end_as_the_instrument_s_do_and_keep_their_pitch() -> None:
    adapter = Adapter(target(release_db_per_s=250.0), 100.0)
    asked = play(adapter, note(69.0, 50) + REST)[50:]
    level = np.array([one.loudness_db for one in asked])
    assert np.allclose(np.diff(level[3:25]), -2.5) and level.min() >= -120.0
    assert {round(one.f0_hz, 3) for one in asked} == {440.0} and not asked[5].is_note


def test_a_subharmonic_in_the_dying_sound_is_no_note() -> None:
    adapter = Adapter(target(), 100.0)
    dying = [Heard(110.0, 0.85, -20.0 - 5.0 * k) for k in range(1, 6)]
    asked = play(adapter, note(69.0, 50) + dying + REST)
    assert {round(one.f0_hz, 3) for one in asked} == {440.0}
    slur = play(adapter, note(69.0, 20) + note(74.0, 20, -21.5))
    assert slur[-1].f0_hz == pytest.approx(440.0 * 2 ** (5 / 12)) and all(one.is_note for one in slur)


def test_without_fit_everything_stays() -> None:
    adapter = Adapter(target(mean_midi=40.0), 100.0, fit=False, loudness_db=3.0)
    for heard, asked in zip(note(69.0, 3) + REST, play(adapter, note(69.0, 3) + REST), strict=True):
        assert (asked.f0_hz, asked.loudness_db) == (heard.f0_hz, heard.loudness_db + 3.0)


def test_reset_forgets_the_player() -> None:
    adapter = Adapter(target(), 100.0)
    frames = note(50.0, 30, -45.0) + REST + note(55.0, 30, -30.0)
    first = play(adapter, frames)
    adapter.reset()
    assert play(adapter, frames) == first
