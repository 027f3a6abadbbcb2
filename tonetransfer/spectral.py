"""Spectra on the frame grid and the scales that are laid over them."""

from __future__ import annotations

from functools import lru_cache

import librosa
import numpy as np
import torch

from .convert import erb_to_hz, hz_to_erb
from .frames import FrameGrid


@lru_cache(maxsize=32)
def hann(length: int) -> torch.Tensor:
    """Periodic Hann window, shape (length,). Shared: do not write into it."""
    return torch.hann_window(length)


def magnitudes(audio: torch.Tensor, n_fft: int, hop_length: int, *, center: bool = True) -> torch.Tensor:
    """Magnitude spectrogram with a Hann window, not normalised.

    Parameters
    ----------
    audio : Tensor [shape=(..., n_samples)]
    n_fft, hop_length : int [samples]
    center : bool
        True: frame t is centred on sample ``t * hop_length``, zeros beyond the ends.

    Returns
    -------
    Tensor [shape=(..., n_fft // 2 + 1, 1 + n_samples // hop_length)], >= 0
    """
    flat = audio.reshape(-1, audio.shape[-1])
    spectrum = torch.stft(flat, n_fft, hop_length, window=hann(n_fft).to(flat), center=center, pad_mode="constant", return_complex=True)
    return spectrum.abs().reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def frame_magnitudes(audio: torch.Tensor, grid: FrameGrid, n_fft: int) -> torch.Tensor:
    """Magnitudes at the instants of the grid's frames, shape (..., n_frames, n_fft // 2 + 1)."""
    n_frames = grid.n_frames(audio.shape[-1])
    return magnitudes(grid.pad(audio), n_fft, grid.hop_length)[..., :n_frames].transpose(-1, -2)


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int, lowest_hz: float, highest_hz: float) -> torch.Tensor:
    """Mel filter bank (Slaney), shape (n_fft // 2 + 1, n_mels)."""
    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=lowest_hz, fmax=highest_hz)
    return torch.from_numpy(np.ascontiguousarray(bank.T))


@lru_cache(maxsize=8)
def a_weighting(sample_rate: int, n_fft: int) -> torch.Tensor:
    """A-weighting of the FFT bins as a factor on *power* (IEC 61672; 1.0 at 1 kHz), shape (n_fft // 2 + 1,)."""
    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    curve_db = np.maximum(librosa.A_weighting(np.maximum(frequencies, 1e-3), min_db=None), -120.0)
    return torch.from_numpy(10.0 ** (curve_db / 10.0)).float()


def band_centres_hz(n_bands: int, sample_rate: int) -> np.ndarray:
    """Centres of the noise bands [Hz], shape (n_bands,), from 0 to Nyquist.

    Halfway between the ERB-rate scale (Glasberg and Moore, 1990) and a linear one. On the ERB scale alone the top octave,
    half of all FFT bins, has a handful of bands, and the roll-off of a recording cannot be drawn with them.
    """
    nyquist = sample_rate / 2.0
    position = np.linspace(0.0, 1.0, n_bands)
    perceptual = erb_to_hz(position * hz_to_erb(nyquist))
    return 0.5 * perceptual + 0.5 * position * nyquist


@lru_cache(maxsize=8)
def band_interpolation(n_bands: int, n_fft: int, sample_rate: int) -> torch.Tensor:
    """Matrix that spreads band values linearly over FFT bins, shape (n_bands, n_fft // 2 + 1); columns sum to 1."""
    centres = band_centres_hz(n_bands, sample_rate)
    bins = np.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1)
    return torch.from_numpy(np.stack([np.interp(bins, centres, row) for row in np.eye(n_bands)])).float()
