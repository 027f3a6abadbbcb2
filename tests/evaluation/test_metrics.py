"""Metrics: known answers, and agreement with mir_eval."""

from __future__ import annotations

import librosa
import mir_eval
import numpy as np
import pytest
import torch

from tonetransfer.audio.stft import audible_log_spectral_distance_db, log_spectral_distance_db
from tonetransfer.evaluation.metrics import (
    loudness_contour_error_db,
    loudness_error_db,
    mel_cepstral_distortion_db,
    multi_scale_spectral_distance,
    raw_pitch_accuracy,
)

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


def test_a_ripple_over_the_mel_scale_is_read_back_as_cepstral_distortion() -> None:
    """A ripple of 6 dB along the mel axis has an RMS of 6 / sqrt(2) dB if 13 cepstra can follow it, and of nothing if they cannot."""
    frequencies = np.fft.rfftfreq(len(NOISE), 1 / 48000)
    lowest, highest = librosa.hz_to_mel(40.0), librosa.hz_to_mel(24000.0)
    place = np.clip((librosa.hz_to_mel(frequencies) - lowest) / (highest - lowest), 0.0, 1.0)
    for order, expected in ((3, 6.0 / np.sqrt(2.0)), (7, 6.0 / np.sqrt(2.0)), (30, 0.0)):
        gain = 10.0 ** (6.0 * np.cos(np.pi * order * place) / 20.0)
        rippled = torch.from_numpy(np.fft.irfft(np.fft.rfft(NOISE.numpy()) * gain, len(NOISE)).astype(np.float32))
        assert mel_cepstral_distortion_db(NOISE, rippled, 48000) == pytest.approx(expected, abs=0.5)


def test_cepstral_distortion_knows_no_gain_and_no_silence() -> None:
    assert mel_cepstral_distortion_db(NOISE, 0.5 * NOISE, 48000) == pytest.approx(0.0, abs=1e-4)
    assert mel_cepstral_distortion_db(torch.zeros(4800), torch.zeros(4800), 48000) == 0.0
    assert mel_cepstral_distortion_db(NOISE[:100], NOISE[:100], 48000) == 0.0  # shorter than a window


def test_multi_scale_distance_agrees_with_a_definition_written_in_numpy() -> None:
    other = 0.5 * torch.roll(NOISE, 700)
    expected = []
    for n_fft in (4096, 2048, 1024, 512, 256, 128):
        window = np.hanning(n_fft + 1)[:-1]
        x, y = (
            np.abs(
                np.fft.rfft(
                    np.lib.stride_tricks.sliding_window_view(np.pad(a.numpy().astype(float), n_fft // 2), n_fft)[:: n_fft // 4] * window
                )
            )
            * np.sqrt(2048 / n_fft)
            for a in (NOISE, other)
        )
        expected.append(np.abs(x - y).mean() + np.abs(np.log(x + 1e-3) - np.log(y + 1e-3)).mean())
    assert multi_scale_spectral_distance(NOISE, other) == pytest.approx(np.mean(expected), rel=1e-3)
    assert multi_scale_spectral_distance(NOISE, NOISE) == 0.0


def test_a_gain_is_a_loudness_error_and_no_contour_error() -> None:
    loudness = torch.linspace(-40.0, -10.0, 50)
    assert loudness_error_db(loudness, loudness - 4.0) == pytest.approx(4.0)
    assert loudness_contour_error_db(loudness, loudness - 4.0) == pytest.approx(0.0, abs=1e-5)
    assert loudness_contour_error_db(loudness, torch.full((50,), -25.0)) == pytest.approx(7.65, abs=0.1)
    assert loudness_error_db(torch.empty(0), torch.empty(0)) == loudness_contour_error_db(torch.empty(0), torch.empty(0)) == 0.0
