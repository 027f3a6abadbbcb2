"""The compiled loops of playing live compute what the formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from tonetransfer.pitch.causal import autocorrelation, cohere, extend_path, normalise, peaks, through_sections, weigh
from tonetransfer.synthesis.kernels import between_rows, harmonics, legal

RNG = np.random.default_rng(0)


def test_sections_in_two_pieces_are_those_of_scipy() -> None:
    sections = np.concatenate(
        [scipy.signal.butter(4, 7000.0, fs=48000, output="sos"), scipy.signal.butter(2, 30.0, "high", fs=48000, output="sos")]
    )
    audio, state = RNG.normal(0, 1, 5000), np.zeros((3, 2))
    found = np.empty(5000)
    through_sections(sections, state, audio[:1234], found[:1234])
    through_sections(sections, state, audio[1234:], found[1234:])
    assert np.abs(found - scipy.signal.sosfilt(sections, audio)).max() < 1e-12


def test_autocorrelation_compares_two_halves() -> None:
    frame, floor = RNG.normal(0, 0.1, 400), 1e-8
    values = np.empty(120)
    autocorrelation(frame, values)
    mean_square = normalise(frame, floor, values)
    assert mean_square == pytest.approx(np.mean(frame**2), rel=1e-12)
    for lag in (0, 1, 57, 119):
        a, b = frame[: 400 - lag], frame[lag:]
        assert values[lag] == pytest.approx(2 * (a @ b) / (a @ a + b @ b + 2 * floor * 400), rel=1e-9, abs=1e-12)


def test_peaks_best_first_and_between_samples() -> None:
    lag = np.arange(200)
    values = (
        0.9 * np.exp(-0.5 * ((lag - 40.3) / 6) ** 2)
        + 0.95 * np.exp(-0.5 * ((lag - 80.6) / 6) ** 2)
        + 0.15 * np.exp(-0.5 * ((lag - 150) / 6) ** 2)
    )
    lags, heights = np.empty(4), np.empty(4)
    peaks(values, 5, 199, np.zeros(200), lags, heights)
    assert np.abs(lags[:2] - [80.6, 40.3]).max() < 0.01 and np.abs(heights[:2] - [0.95, 0.9]).max() < 1e-3
    assert (lags[2:] == 0).all() and (heights[2:] == -1).all()  # the third is too low
    peaks(values, 5, 199, 0.2 * (lag > 60), lags, heights)
    assert lags[0] < 60 < lags[1]
    peaks(values, 5, 199, np.zeros(200), lags[:1], heights[:1])
    assert lags[0] > 60  # of more peaks than places the best


def test_short_lags_are_read_off_at_a_multiple() -> None:
    period = 7.37
    values = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(130) / period)
    lags, heights = np.array([7.33, 0.0]), np.array([0.99, -1.0])
    cohere(values, 122.0, 0.4, 24000.0, lags, heights)
    assert lags[0] == pytest.approx(24000.0 / period, rel=1e-3) and lags[1] == 0.0 and heights[1] == 0.0


def test_partials_are_weighed_against_gaps() -> None:
    rate, n, n_fft = 24000, 1200, 2400
    t = np.arange(n) / rate
    frame = sum(np.sin(2 * np.pi * 330.0 * k * t) / k for k in range(1, 14)) * np.hanning(n)
    found = np.empty(3)
    weigh(np.fft.rfft(frame, n_fft), n_fft / rate, n, np.array([1, 2, 3, 5, 7, 11, 13]), np.array([1, 2, 3, 5, 7, 11, 13]) ** -0.5, 7000.0,
          np.array([330.0, 165.0, 0.0]), found)  # fmt: skip
    assert found[0] > 0.7 and found[1] < 0.6 * found[0] and abs(found[2]) < 0.1


def test_the_path_is_the_cheapest() -> None:
    before, reached = np.array([60.0, 72.0]), np.array([0.0, 1.0])
    f0_hz, cost = np.array([8.1757989156 * 2 ** (72 / 12), 8.1757989156 * 2 ** (60.5 / 12), 0.0]), np.array([0.5, 0.3, 1.0])
    semitones, total, back = np.empty(3), np.empty(3), np.empty(3, np.int64)
    pitch = 12 * np.log2(f0_hz[:2])
    extend_path(before + pitch[0] - 72.0, reached, f0_hz, cost, 2.0, 0.5, 4.0, semitones, total, back)
    assert np.abs(semitones[:2] - pitch).max() < 1e-9 and list(back) == [1, 0, 0]
    expected = np.array([1.0 + 2 * 0.5, 0.25 + 2 * 0.3])
    assert np.abs(total[:2] - (expected - expected.min())).max() < 1e-9 and total[2] > 900


def test_harmonics_are_a_sum_of_sines() -> None:
    hop, phase, begin, end = 480, 0.37, 300.0 / 48000, 330.0 / 48000
    before, after = RNG.uniform(0, 0.01, 100), RNG.uniform(0, 0.01, 100)
    before[70:], after[70:] = 0.0, 0.0
    n = np.arange(hop)
    cycles = phase + begin * n + (end - begin) * (n * (n - 1) / (2 * hop))
    level = before + (after - before) * (n / hop)[:, None]
    expected = (level * np.sin(2 * np.pi * np.arange(1, 101) * cycles[:, None])).sum(axis=1)
    sound = np.full(hop, 0.5)
    harmonics(phase, begin, end, before, after, sound)
    assert np.abs(sound - 0.5 - expected).max() < 1e-10


def test_tables_are_read_by_cubics_and_nothing_sounds_beyond_nyquist() -> None:
    rows = np.array([[x**3 - x, x**2] for x in (-1.0, 0.0, 1.0, 2.0)], np.float32)
    found = np.empty(2, np.float32)
    between_rows(rows, 0.4, found)
    assert np.abs(found - [0.4**3 - 0.4, 0.16]).max() < 1e-6
    amplitudes, magnitudes = np.empty(100), np.empty(96, np.float32)
    legal(RNG.normal(0, 1, 197).astype(np.float32), 0.1, 40.0, 5000.0, 24000.0, amplitudes, magnitudes)
    assert (amplitudes[:4] > 0).all() and (amplitudes[4:] == 0).all() and (magnitudes > 0).all()
    legal(np.zeros(197, np.float32), 0.1, 40.0, 30000.0, 24000.0, amplitudes, magnitudes)
    assert (amplitudes == 0).all()
