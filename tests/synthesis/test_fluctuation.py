"""Partials that move by themselves: as far as asked, as fast as players do, the same in pieces, and without a change of level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.synthesis.fluctuation import CORNER_HZ, Fluctuation, fluctuating
from tonetransfer.synthesis.render import SynthParams

DEPTH_DB = np.array([0.0, 1.0, 2.0, 4.0])


def levels_db(n_frames: int, frame_rate: float = 100.0, seed: int = 0) -> np.ndarray:
    return 20.0 * np.log10(Fluctuation(DEPTH_DB, frame_rate, seed=seed).next(n_frames))


def params(n_frames: int = 60, n_harmonics: int = 4) -> SynthParams:
    generator = torch.Generator().manual_seed(0)
    distribution = torch.rand(n_frames, n_harmonics, generator=generator)
    distribution[:, -1] = 0.0  # above Nyquist
    distribution[20:30] = 0.0  # a rest
    total = distribution.sum(-1, keepdim=True).clamp(min=1e-9)
    f0_hz, amplitude = torch.full((n_frames,), 440.0), torch.rand(n_frames, generator=generator)
    return SynthParams(f0_hz, amplitude, distribution / total, torch.rand(n_frames, 12, generator=generator))


@pytest.mark.parametrize("frame_rate", [100.0, 200.0])
def test_levels_stray_as_far_as_asked_and_each_by_itself(frame_rate: float) -> None:
    level = levels_db(40000, frame_rate)
    assert np.array_equal(level[:, 0], np.zeros(len(level)))
    assert level.std(axis=0)[1:] == pytest.approx(DEPTH_DB[1:], rel=0.05)
    assert np.abs(level.mean(axis=0)).max() < 0.25
    assert np.abs(np.corrcoef(level[:, 1:].T) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("frame_rate", [100.0, 200.0])
def test_they_move_at_some_hertz_whatever_the_frame_rate(frame_rate: float) -> None:
    """Half the power lies below the corner: that of white noise behind a low-pass of first order."""
    level = levels_db(40000, frame_rate)[:, 3]
    lag = round(0.02 * frame_rate)
    assert np.corrcoef(level[:-lag], level[lag:])[0, 1] == pytest.approx(np.exp(-2.0 * np.pi * CORNER_HZ * 0.02), abs=0.03)
    power = np.abs(np.fft.rfft(level)) ** 2
    assert power[np.fft.rfftfreq(len(level), 1.0 / frame_rate) < CORNER_HZ].sum() / power.sum() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("sizes", [(1,) * 60, (7, 13, 40), (59, 1)])
def test_pieces_join_to_the_whole(sizes: tuple[int, ...]) -> None:
    whole = Fluctuation(DEPTH_DB, 100.0, seed=5).next(60)
    pieces = Fluctuation(DEPTH_DB, 100.0, seed=5)
    assert np.array_equal(np.concatenate([pieces.next(n) for n in sizes]), whole)
    pieces.reset()
    pieces.skip(20)
    assert np.array_equal(pieces.next(40), whole[20:])  # what is passed over is over


def test_the_seed_decides() -> None:
    assert np.array_equal(levels_db(50, seed=3), levels_db(50, seed=3))
    assert np.corrcoef(levels_db(5000, seed=3)[:, 3], levels_db(5000, seed=4)[:, 3])[0, 1] == pytest.approx(0.0, abs=0.15)


def test_the_balance_of_partials_moves_and_nothing_else() -> None:
    still = params()
    before = still.harmonic_distribution.clone()
    moved = torch.cat([piece.harmonic_distribution for piece in fluctuating([still], Fluctuation(DEPTH_DB, 100.0))])
    piece = next(fluctuating([still], Fluctuation(DEPTH_DB, 100.0)))
    assert torch.equal(piece.f0_hz, still.f0_hz) and torch.equal(piece.amplitude, still.amplitude)
    assert torch.equal(piece.noise_magnitudes, still.noise_magnitudes) and torch.equal(still.harmonic_distribution, before)
    sounding = before.sum(-1) > 0.5
    torch.testing.assert_close(moved.sum(-1)[sounding], torch.ones(int(sounding.sum())))
    assert bool((moved[~sounding] == 0.0).all()) and bool((moved[:, -1] == 0.0).all())  # silence and what is above Nyquist stay silent
    ratio = 20.0 * torch.log10((moved / before)[sounding][:, 1:3] / (moved / before)[sounding][:, :1])
    expected = torch.from_numpy(levels_db(60))[sounding][:, 1:3].float()
    torch.testing.assert_close(ratio, expected, atol=1e-3, rtol=0.0)


def test_consecutive_pieces_fluctuate_as_the_whole_does() -> None:
    still = params()
    whole = next(fluctuating([still], Fluctuation(DEPTH_DB, 100.0, seed=2))).harmonic_distribution
    pieces = [still.map(lambda x, part=part: x[part]) for part in (slice(0, 11), slice(11, 12), slice(12, 60))]
    joined = torch.cat([piece.harmonic_distribution for piece in fluctuating(pieces, Fluctuation(DEPTH_DB, 100.0, seed=2))])
    assert torch.equal(joined, whole)
