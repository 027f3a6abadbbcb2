"""Metrics: known answers, and agreement with mir_eval."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest
import torch

from tonetransfer.metrics import audible_log_spectral_distance_db, log_spectral_distance_db, raw_pitch_accuracy

NOISE = torch.from_numpy(np.random.default_rng(0).standard_normal(48000).astype(np.float32)) * 0.1


def test_a_gain_is_read_back() -> None:
    assert log_spectral_distance_db(NOISE, NOISE) == 0.0
    assert log_spectral_distance_db(NOISE, 2.0 * NOISE) == pytest.approx(6.02, abs=0.05)
    assert audible_log_spectral_distance_db(NOISE, 0.5 * NOISE) == pytest.approx(6.02, abs=0.05)


def test_a_definition_written_in_numpy_agrees() -> None:
    other = torch.roll(NOISE, 1000)

    def level(audio: torch.Tensor) -> np.ndarray:
        padded = np.pad(audio.numpy().astype(np.float64), 1024)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::512]
        return 20.0 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(2049)[:-1])) + 1e-3)

    expected = np.sqrt(((level(NOISE) - level(other)) ** 2).mean(axis=1)).mean()
    assert log_spectral_distance_db(NOISE, other) == pytest.approx(expected, rel=1e-3)


def test_the_longer_one_is_cut() -> None:
    assert log_spectral_distance_db(NOISE, torch.cat([NOISE, NOISE])) < log_spectral_distance_db(NOISE, torch.roll(NOISE, 1000))


def test_the_noise_floor_does_not_count_as_audible() -> None:
    t = torch.arange(48000) / 48000.0
    note = 0.5 * torch.sin(2 * torch.pi * 1000.0 * t)
    hiss = 1e-5 * NOISE
    assert audible_log_spectral_distance_db(note, note + hiss) < 0.1
    assert audible_log_spectral_distance_db(torch.zeros(4800), torch.zeros(4800)) == 0.0


def test_lsd60_of_what_is_known() -> None:
    t = torch.arange(48000) / 48000.0

    def wave(level: float, hertz: float) -> torch.Tensor:
        return level * torch.cos(2 * torch.pi * hertz * t)

    note = wave(0.5, 1500.0)
    for floor_db in (-90.0, -200.0):  # what is missing reads as 80 dB below the loudest, however silent it is
        missing = audible_log_spectral_distance_db(NOISE, NOISE * 10 ** (floor_db / 20))
        assert missing == pytest.approx(audible_log_spectral_distance_db(NOISE, torch.zeros_like(NOISE))) and 50.0 < missing < 80.0
    for level_db, audible in ((-50.0, True), (-70.0, False)):  # another partial, above or below what counts
        distance = audible_log_spectral_distance_db(note, note + wave(0.5 * 10 ** (level_db / 20), 9000.0))
        assert (distance > 5.0) == audible
    long, quiet = torch.cat([NOISE, NOISE]), torch.cat([NOISE, 0.25 * NOISE])
    assert audible_log_spectral_distance_db(long, quiet) == pytest.approx(12.04 / np.sqrt(2.0), abs=0.3)  # of all bins at once


def test_lsd60_agrees_with_a_definition_written_in_numpy() -> None:
    t = np.arange(48000) / 48000.0
    clean = (np.sin(2 * np.pi * 440 * t) * np.exp(-3 * t) * 0.5).astype(np.float32)
    other = clean * 0.5 + 1e-3 * NOISE.numpy()

    def spectrum(audio: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio.astype(np.float64), 1024), 2048)[::512]
        return np.abs(np.fft.rfft(frames * np.hanning(2049)[:-1]))

    x, y = spectrum(clean), spectrum(other)
    counts = np.maximum(x, y) >= 1e-3 * x.max()
    difference = 20 * np.log10(np.maximum(x, 1e-4 * x.max()) / np.maximum(y, 1e-4 * x.max()))
    expected = np.sqrt((difference[counts] ** 2).mean())
    assert audible_log_spectral_distance_db(torch.from_numpy(clean), torch.from_numpy(other)) == pytest.approx(expected, rel=1e-3)


def test_raw_pitch_accuracy_agrees_with_mir_eval() -> None:
    rng = np.random.default_rng(1)
    reference = 440.0 * 2.0 ** (rng.uniform(-1, 1, 500))
    estimate = reference * 2.0 ** (rng.normal(0, 45, 500) / 1200.0)
    expected = mir_eval.melody.raw_pitch_accuracy(
        np.ones(500), 1200 * np.log2(reference / 10.0), np.ones(500), 1200 * np.log2(estimate / 10.0)
    )
    assert raw_pitch_accuracy(torch.from_numpy(reference), torch.from_numpy(estimate)) == pytest.approx(expected, abs=1e-6)
    assert raw_pitch_accuracy(torch.empty(0), torch.empty(0)) == 0.0


def test_an_octave_error_is_an_error() -> None:
    f0 = torch.full((10,), 220.0)
    assert raw_pitch_accuracy(f0, 2 * f0) == 0.0
