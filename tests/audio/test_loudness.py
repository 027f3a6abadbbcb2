"""Loudness in decibels follows level exactly and the ear roughly."""

import numpy as np
import pytest
import torch

from tonetransfer.audio import loudness
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.audio.stft import a_weighting, mel_filters

GRID = FrameGrid()


def sine(hz, amplitude=1.0, seconds=1.0, rate=48000):
    return torch.from_numpy(amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).float()


@pytest.mark.parametrize("grid", [GRID, FrameGrid(44100, 256), FrameGrid(32000, 320)])
def test_a_full_scale_sine_of_1_khz_reads_0_db(grid):
    measured = loudness_db(sine(1000.0, rate=grid.sample_rate), grid)
    assert (measured[10:-10].abs() < 0.05).all()


def test_6_db_in_give_6_db_out():
    noise = torch.randn(48000, generator=torch.Generator().manual_seed(0)) * 0.1
    difference = loudness_db(2.0 * noise, GRID) - loudness_db(noise, GRID)
    torch.testing.assert_close(difference, torch.full_like(difference, 20 * np.log10(2.0)), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("hz", "weight_db"), [(100, -19.1), (200, -10.9), (500, -3.2), (2000, 1.2), (4000, 1.0), (10000, -2.5)])
def test_the_a_curve_of_the_standard(hz, weight_db):
    """IEC 61672, table of nominal weights."""
    measured = loudness_db(sine(float(hz)), GRID)[10:-10].mean()
    assert abs(float(measured) - weight_db) < 0.4


def test_silence_is_at_the_floor_and_finite():
    assert (loudness_db(torch.zeros(5000), GRID) == loudness.FLOOR_DB).all()
    assert torch.isfinite(loudness_db(torch.full((5000,), 1e-30), GRID)).all()


@pytest.mark.parametrize("n_samples", [1, 100, 480, 481, 48000 * 2 + 77])
def test_long_audio_in_pieces_gives_the_same(monkeypatch, n_samples):
    audio = torch.randn(2, n_samples, generator=torch.Generator().manual_seed(1)) * 0.1
    whole = loudness_db(audio, GRID)
    assert whole.shape == (2, GRID.n_frames(n_samples))
    for chunk in (1, 7, 100):
        monkeypatch.setattr(loudness, "CHUNK_FRAMES", chunk)
        torch.testing.assert_close(loudness_db(audio, GRID), whole, rtol=0, atol=1e-4)


def test_a_step_in_level_is_seen_where_it_happens():
    audio = sine(1000.0, 0.01, 2.0)
    audio[48000:] *= 30.0
    measured = loudness_db(audio, GRID)
    assert measured[96] < -39.0 and measured[104] > -12.0
    assert abs(float(measured[100]) - (20 * np.log10(0.01 * 30.0) - 3.0)) < 0.5  # half of the window's power lies behind the step


def test_batch_equals_loop_and_gradients_flow():
    audio = torch.randn(3, 4800, requires_grad=True)
    batch = loudness_db(audio, GRID)
    torch.testing.assert_close(batch[1], loudness_db(audio[1], GRID))
    batch.sum().backward()
    assert torch.isfinite(audio.grad).all() and audio.grad.abs().sum() > 0


def test_curves_are_those_of_librosa() -> None:
    """Written out here, so that playing does not load librosa."""
    import librosa

    for rate, n_fft in ((48000, 2048), (16000, 1024)):
        curve_db = np.maximum(librosa.A_weighting(np.maximum(librosa.fft_frequencies(sr=rate, n_fft=n_fft), 1e-3), min_db=None), -120.0)
        np.testing.assert_allclose(a_weighting(rate, n_fft).numpy(), 10.0 ** (curve_db / 10.0), rtol=1e-6)
        bank = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=64, fmin=40.0, fmax=rate / 2.0)
        np.testing.assert_allclose(mel_filters(rate, n_fft, 64, 40.0, rate / 2.0).numpy(), bank.T, atol=1e-8)
