"""Augmentation by what a recording adds to an instrument: the room, the microphone, the hiss.

Soundfonts and sample libraries are dry and clean, recordings that people give as a reference are not. Laid over references in training,
while what is asked for stays dry, this teaches the encoder to leave the recording out of z.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len

DECAY_S = (0.15, 1.2)  # reverberation time (60 dB): a furnished room to a church
DIRECT_DB = (-2.0, 18.0)  # direct sound over the room's
NOISE_DB = (-65.0, -25.0)  # RMS of hiss re that of the sound
MICROPHONE_DB = 2.5  # deviation of each point of the microphone's curve
BAND_LIMITED_SHARE = 0.3
CUTOFF_HZ = (3500.0, 17000.0)  # a telephone to a good MP3; half of all collections were sampled at 16 to 32 kHz
N_ROOMS, N_HISSES = 64, 24  # made once: the Fourier transforms are most of the work
KNOTS_HZ = (40.0, 90.0, 200.0, 450.0, 1000.0, 2200.0, 5000.0, 11000.0, 24000.0)


def captured(sound: torch.Tensor, rng: np.random.Generator, sample_rate: int) -> torch.Tensor:
    """A sound as some microphone in some room hears it, each of the three left out in every third case; some lose their treble.

    Parameters
    ----------
    sound : Tensor [shape=(n_samples,)]
    rng : numpy Generator
    sample_rate : int [Hz]

    Returns
    -------
    Tensor [shape=(n_samples,)], with the same RMS
    """
    level = sound.square().mean().sqrt()
    n_fft = next_fast_len(len(sound) + int(DECAY_S[1] * sample_rate), real=True)
    spectrum = torch.fft.rfft(sound, n=n_fft)
    if rng.random() > 1 / 3:
        spectrum = spectrum * _room(int(rng.integers(N_ROOMS)), n_fft, sample_rate)
    if rng.random() > 1 / 3:
        position = np.log(np.maximum(np.linspace(0.0, sample_rate / 2.0, 4096), 1.0))
        curve_db = np.interp(position, np.log(KNOTS_HZ), rng.normal(0.0, MICROPHONE_DB, len(KNOTS_HZ)))
        spectrum = spectrum * _on_bins(10.0 ** (curve_db / 20.0), len(spectrum))
    heard = torch.fft.irfft(spectrum, n=n_fft)[: len(sound)]
    if rng.random() > 1 / 3:
        hiss = torch.roll(_hiss(int(rng.integers(N_HISSES)), n_fft, sample_rate), int(rng.integers(n_fft)))[: len(sound)]
        heard = heard + hiss * (level * 10.0 ** (rng.uniform(*NOISE_DB) / 20.0))
    if rng.random() < BAND_LIMITED_SHARE:
        heard = _without_treble(heard, cutoff_hz(rng), sample_rate)
    return heard * (level / heard.square().mean().sqrt().clamp(min=1e-9))


def cutoff_hz(rng: np.random.Generator) -> float:
    """Upper end of a recording's band."""
    return float(np.exp(rng.uniform(*np.log(CUTOFF_HZ))))


def _without_treble(sound: torch.Tensor, cutoff: float, sample_rate: int) -> torch.Tensor:
    n_fft = next_fast_len(len(sound), real=True)
    spectrum = torch.fft.rfft(sound, n=n_fft)
    spectrum[round(cutoff / sample_rate * n_fft) :] = 0.0
    return torch.fft.irfft(spectrum, n=n_fft)[: len(sound)]


@lru_cache(maxsize=N_ROOMS)
def _room(index: int, n_fft: int, sample_rate: int) -> torch.Tensor:
    """Spectrum of an impulse response: the direct sound, then noise that dies away, the treble faster than the bass (Moorer 1979)."""
    rng = np.random.default_rng([index, 1])
    decay_s = float(np.exp(rng.uniform(*np.log(DECAY_S))))
    seconds = np.arange(int(decay_s * sample_rate), dtype=np.float32) / sample_rate
    tail = np.asarray(rng.standard_normal(len(seconds)) * np.exp(-6.9 * seconds / decay_s))
    dull = np.convolve(tail, np.full(6, 1 / 6), mode="same")
    share = np.minimum(2.0 * seconds / decay_s, 1.0)
    tail = tail * (1.0 - share) + dull * share
    tail[: int(0.002 * sample_rate)] = 0.0
    tail *= 10.0 ** (-rng.uniform(*DIRECT_DB) / 20.0) / float(np.sqrt((tail**2).sum()))
    tail[0] = 1.0
    return torch.fft.rfft(torch.from_numpy(tail.astype(np.float32)), n=n_fft)


@lru_cache(maxsize=N_HISSES)
def _hiss(index: int, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Noise of RMS 1, from white (a preamplifier) to brown (traffic)."""
    rng = np.random.default_rng([index, 2])
    spectrum = torch.fft.rfft(torch.from_numpy(rng.standard_normal(n_samples, dtype=np.float32)))
    colour = np.maximum(np.linspace(0.0, sample_rate / 2000.0, 4096), 0.02) ** rng.uniform(-1.0, 0.2)
    noise = torch.fft.irfft(spectrum * _on_bins(colour, len(spectrum)), n=n_samples)
    return noise / noise.square().mean().sqrt()


def _on_bins(curve: np.ndarray, n_bins: int) -> torch.Tensor:
    """A coarse curve, spread over all bins."""
    coarse = torch.from_numpy(curve).float()[None, None]
    return torch.nn.functional.interpolate(coarse, n_bins, mode="linear", align_corners=True)[0, 0]
