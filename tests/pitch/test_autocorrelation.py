"""Normalised autocorrelation: right values for known sounds, and the same in recordings as in streams."""

from __future__ import annotations

import numpy as np
import pytest

from tonetransfer.pitch.autocorrelation import BANDS, FLOOR, HOP_LENGTH, SAMPLE_RATE, Autocorrelation
from tonetransfer.pitch.causal import autocorrelation, normalise


def periodic(hz: float, noise: float = 0.0) -> np.ndarray:
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = sum(np.sin(2.0 * np.pi * k * hz * time_s + k) / k for k in range(1, 6))
    return (0.2 * sound + noise * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


@pytest.mark.parametrize("hz", [80.0, 200.0, 640.0])
def test_a_period_repeats_itself_and_half_of_one_does_not(hz: float) -> None:
    found = Autocorrelation(periodic(hz), 100)
    assert found.at(np.full((100, 1), hz))[10:90] == pytest.approx(1.0, abs=0.01)
    assert (found.at(np.full((100, 1), 1.5 * hz))[10:90] < 0.8).all()


def test_noise_takes_off_its_share_of_the_power() -> None:
    noisy = periodic(100.0, noise=0.1)
    share = 0.1**2 / np.mean(noisy.astype(np.float64) ** 2)
    frames = Autocorrelation(noisy, 100).at(np.full((100, 1), 100.0))[10:90]
    assert float(np.median(frames)) == pytest.approx(1.0 - share, abs=0.03)


def test_streams_and_recordings_compute_the_same() -> None:
    audio, band = periodic(90.0, noise=0.02), BANDS[-1]
    lags, values = Autocorrelation(audio, 100)._tables[-1]
    assert band.upsampling == 1
    for t in (20, 50, 80):
        middle = t * HOP_LENGTH
        frame = audio[middle - band.frame_length // 2 : middle + band.frame_length // 2].astype(np.float64)
        table = np.zeros(int(lags[-1]) + 1)
        autocorrelation(frame, table)
        normalise(frame, FLOOR, table)
        assert table[lags.astype(int)] == pytest.approx(values[t], abs=1e-4)
