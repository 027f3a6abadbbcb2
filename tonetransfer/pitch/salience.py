"""Fit of the partials of a spectrum to f0: what tells a note from the common subharmonic of two notes that ring together."""

from __future__ import annotations

import numpy as np
import torch

from ..audio.stft import magnitudes
from .autocorrelation import HIGHEST_HZ, HOP_LENGTH, LOWEST_HZ, SAMPLE_RATE

# Only prime partials count (Camacho and Harris, 2008, "A sawtooth waveform inspired pitch estimator", SWIPE'): all partials of a
# note at f are partials of f/2, too, but few of them are prime ones.
PARTIALS = np.array([1, 2, 3, 5, 7, 11, 13])
WEIGHTS = PARTIALS**-0.5
HIGHEST_PARTIAL_HZ = 7800.0
NORM_FROM_HZ = 50.0
SPLIT_HZ = 200.0  # below, frames of 128 ms; above, of 64 ms
LENGTHS = {True: 2048, False: 1024}  # samples, for frequencies below and above the split
UPPER_PARTIALS = 10
AUDIBLE_ROOT = 0.1  # of the strongest partial: 40 dB below
PEAK_BINS = 2.0  # what a Hann-windowed sinusoid adds up to, in units of its peak magnitude


SplitSpectra = dict[bool, np.ndarray]
"""Spectra for frequencies below (True) and above the split, (n_frames, n_bins) each."""


def split_spectra(audio: np.ndarray, n_frames: int) -> SplitSpectra:
    """Square roots of magnitudes of audio (n_samples,) at 16 kHz; frame t is centred on sample ``t * 160``."""
    return {low: root_spectra(audio, n_frames, length) for low, length in LENGTHS.items()}


def salience(spectra: SplitSpectra, frequency_hz: np.ndarray) -> np.ndarray:
    """Contrast between the prime partials of a candidate f0 and the gaps between them.

    Spectra are square roots of magnitudes, so that a strong partial does not outvote the others.

    Parameters
    ----------
    spectra : SplitSpectra
    frequency_hz : ndarray [shape=(n_frames, n_candidates)]
        0: none.

    Returns
    -------
    ndarray [shape=(n_frames, n_candidates)]
        About 0.9 for a rich tone at its f0, 0.65 for a sine, below 0.5 at a subharmonic, 0 in silence and where there is none.
    """
    there, frequency_hz = frequency_hz > 0.0, np.clip(frequency_hz, LOWEST_HZ, HIGHEST_HZ)
    result = np.zeros(frequency_hz.shape, dtype=np.float32)
    for low, length in LENGTHS.items():
        rows, columns = np.nonzero(there & ((frequency_hz < SPLIT_HZ) == low))
        spectrum = spectra[low]
        norm = np.sqrt(np.square(spectrum[:, int(NORM_FROM_HZ * length / SAMPLE_RATE) :]).sum(axis=1) / PEAK_BINS) + 1e-6
        f0_hz = frequency_hz[rows, columns]
        total = np.zeros(len(rows), dtype=np.float32)
        for partial, weight in zip(PARTIALS, WEIGHTS, strict=True):
            here, below, above = (read_spectra(spectrum, rows, (partial + offset) * f0_hz) for offset in (0.0, -0.5, 0.5))
            total += np.where(partial * f0_hz < HIGHEST_PARTIAL_HZ, weight * (here - 0.5 * (below + above)), 0.0)
        result[rows, columns] = total / norm[rows]
    return result / np.linalg.norm(WEIGHTS)


def upper_odd_partials(spectra: SplitSpectra, rows: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """How strong partials 5, 7 and 9 are beside their even neighbours, where those can be heard: square roots of magnitudes.

    Parameters
    ----------
    spectra : SplitSpectra
    rows : ndarray [shape=(n,)]
        Frames.
    frequency_hz : ndarray [shape=(n,)], > 0

    Returns
    -------
    ndarray [shape=(n,)], >= 0
        About 1 where they are as strong, 0 where there are none.
    """
    low = frequency_hz < SPLIT_HZ
    partials = np.zeros((UPPER_PARTIALS + 1, len(rows)), dtype=np.float32)
    for split in LENGTHS:
        here = low == split
        for k in range(2, UPPER_PARTIALS + 1):
            partials[k, here] = read_spectra(spectra[split], rows[here], k * frequency_hz[here])
    beside = 0.5 * (partials[4:-1:2] + partials[6::2])
    heard = (beside > AUDIBLE_ROOT * partials.max(axis=0)) & (
        np.arange(6, UPPER_PARTIALS + 1, 2)[:, None] * frequency_hz < HIGHEST_PARTIAL_HZ
    )
    return (partials[5::2] * heard).sum(axis=0) / np.maximum((beside * heard).sum(axis=0), 1e-9)


def root_spectra(audio: np.ndarray, n_frames: int, length: int) -> np.ndarray:
    """Square roots of magnitudes, Hann window, every 10 ms: (n_frames, length // 2 + 1)."""
    padded = np.zeros(n_frames * HOP_LENGTH + length, dtype=np.float32)
    n_copied = min(len(audio), len(padded) - length // 2)
    padded[length // 2 : length // 2 + n_copied] = audio[:n_copied]
    return magnitudes(torch.from_numpy(padded), length, HOP_LENGTH, center=False).T[:n_frames].sqrt_().numpy()


def read_spectra(spectra: np.ndarray, rows: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Values (n,) in given rows at given frequencies, linear between bins."""
    n_bins = spectra.shape[1]
    position = np.clip(frequency_hz * (2.0 * (n_bins - 1) / SAMPLE_RATE), 0.0, n_bins - 1.001)
    left = position.astype(int)
    share = (position - left).astype(np.float32)
    return spectra[rows, left] * (1.0 - share) + spectra[rows, left + 1] * share
