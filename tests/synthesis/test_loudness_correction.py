"""The loudness that was asked for is the loudness that comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import LARGEST_DB, TOLERANCE_DB, correct_loudness, correct_loudness_in_pieces, correction_db, loudness_db

GRID = FrameGrid()
N_FRAMES = 400
ALL = torch.ones(N_FRAMES, dtype=torch.bool)


def sine(level_db: np.ndarray | float, f0_hz: float = 1000.0) -> torch.Tensor:
    """A sine (n_frames * hop,) of 1 kHz, whose loudness is its level; `level_db` is given per frame or for all."""
    n = np.arange(N_FRAMES * GRID.hop_length)
    level = np.interp(n / GRID.hop_length, np.arange(N_FRAMES), np.broadcast_to(level_db, N_FRAMES))
    return torch.from_numpy((10.0 ** (level / 20.0) * np.sin(2 * np.pi * f0_hz * n / GRID.sample_rate)).astype(np.float32))


@pytest.mark.parametrize("deviation_db", [-9.0, -2.0, 2.0, 6.0])
def test_known_answer(deviation_db: float) -> None:
    """A sine of -20 dB where -20 + d was asked for is moved by d, less the tolerance."""
    corrected = correct_loudness(sine(-20.0), torch.full((N_FRAMES,), -20.0 + deviation_db), ALL, GRID)
    expected = -20.0 + deviation_db - np.sign(deviation_db) * TOLERANCE_DB
    assert torch.allclose(loudness_db(corrected, GRID)[10:-10], torch.tensor(float(expected)), atol=0.05)


@pytest.mark.parametrize("deviation_db", [-0.9, 0.0, 0.9])
def test_within_the_tolerance_nothing_is_touched(deviation_db: float) -> None:
    sound = sine(-20.0)
    corrected = correct_loudness(sound, torch.full((N_FRAMES,), -20.0 + deviation_db), ALL, GRID)
    inner = slice(4 * 480, -8 * 480)  # at its very ends a sound is measured against zeros
    assert torch.equal(corrected[inner], sound[inner])


def test_the_correction_is_bounded() -> None:
    gain = correction_db(torch.full((50,), -70.0), torch.full((50,), -10.0), torch.ones(50, dtype=torch.bool), 100.0)
    assert torch.allclose(gain, torch.tensor(LARGEST_DB))


def test_swells_are_met() -> None:
    asked = -30.0 + 10.0 * np.sin(2 * np.pi * np.arange(N_FRAMES) / 150.0)
    wrong = asked + 5.0 * np.cos(2 * np.pi * np.arange(N_FRAMES) / 90.0)
    error = (loudness_db(correct_loudness(sine(wrong), torch.from_numpy(asked).float(), ALL, GRID), GRID) - torch.from_numpy(asked)).abs()
    before = np.abs(wrong - asked).mean()
    assert before > 3.0 and float(error[5:-5].mean()) < 1.2 and float(error[5:-5].max()) < 2.0


def test_rests_and_silence_are_left_alone() -> None:
    asked, notes = torch.full((N_FRAMES,), -10.0), torch.arange(N_FRAMES) < 200
    sound = sine(-20.0)
    corrected = correct_loudness(sound, asked, notes, GRID)
    assert torch.equal(corrected[205 * 480 :], sound[205 * 480 :])
    nothing = torch.zeros(N_FRAMES * 480)
    assert torch.equal(correct_loudness(nothing, asked, ALL, GRID), nothing)


def test_what_is_too_loud_is_turned_down_between_notes_too() -> None:
    """A decoder that rings on behind a note is silenced as the note was asked to end; nothing is turned up there."""
    asked = torch.where(torch.arange(N_FRAMES) < 200, -20.0, -26.0)
    notes = torch.arange(N_FRAMES) < 200
    corrected = correct_loudness(sine(-20.0), asked, notes, GRID)
    assert torch.allclose(loudness_db(corrected, GRID)[210:-10], torch.tensor(-26.0 + TOLERANCE_DB), atol=0.05)
    gain = correction_db(torch.full((N_FRAMES,), -20.0), torch.full((N_FRAMES,), -120.0), torch.zeros(N_FRAMES, dtype=torch.bool), 100.0)
    assert torch.allclose(gain, torch.tensor(-LARGEST_DB))


@pytest.mark.parametrize(("measured_db", "touched"), [(-85.0, True), (-95.0, False)])
def test_what_cannot_be_heard_is_left_alone(measured_db: float, touched: bool) -> None:
    for asked_db in (measured_db + 10.0, measured_db - 10.0):
        gain = correction_db(torch.full((50,), measured_db), torch.full((50,), asked_db), torch.ones(50, dtype=torch.bool), 100.0)
        assert bool(gain.any()) == touched


def test_the_gain_is_smooth() -> None:
    asked = torch.where(torch.arange(N_FRAMES) < 200, -20.0, -32.0)
    gain = correction_db(torch.full((N_FRAMES,), -20.0), asked, ALL, 100.0)
    assert float(gain.diff().abs().max()) < 5.0 and float(gain[190]) == 0.0 and float(gain[210]) == pytest.approx(-11.0)


@pytest.mark.parametrize("lengths", [(400,), (100, 300), (3, 1, 50, 346), (399, 1), (40,) * 10, (1,) * 20 + (380,)])
def test_pieces_join_to_the_whole(lengths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    wrong = -25.0 + np.convolve(rng.normal(0, 12, N_FRAMES), np.hanning(15) / 7, mode="same")
    asked, notes = torch.full((N_FRAMES,), -20.0), torch.from_numpy(rng.random(N_FRAMES) < 0.8)
    sound = sine(wrong)
    whole = correct_loudness(sound, asked, notes, GRID)
    joined = torch.cat(list(correct_loudness_in_pieces(sound.split([n * 480 for n in lengths]), asked, notes, GRID)))
    assert joined.shape == whole.shape
    assert float((joined - whole).abs().max()) < 1e-5 * float(whole.abs().max())
    assert float((whole - sound).abs().max()) > 0.01  # there was something to correct


def test_inputs_are_left_alone() -> None:
    sound, asked = sine(-20.0), torch.full((N_FRAMES,), -10.0)
    before = sound.clone()
    correct_loudness(sound, asked, ALL, GRID)
    assert torch.equal(sound, before)
