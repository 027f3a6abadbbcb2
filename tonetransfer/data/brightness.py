"""Loud is bright: what soundfonts leave out, and how it is put back.

Real instruments grow brighter as they are played louder. Most soundfonts play one recording at every velocity. A filter that
follows how hard is played puts the connection back; :func:`slope_between` tells from recordings how strong it should be.
"""

from __future__ import annotations

from collections.abc import Sequence

import librosa
import numpy as np
from scipy.signal import istft, stft

from ..audio.frames import FrameGrid

N_FFT = 1024  # 21 ms: follows an attack, and the filter is smooth over frequency
HOP_LENGTH = 256
LOWEST_PIVOT_HZ = 150.0
SILENCE = 1e-14  # A-weighted power of a window in which nothing is left to balance
HIGHEST_OCTAVES = 4.0  # above the pivot the filter is level again


def tilt(audio: np.ndarray, intensity_db: np.ndarray, f0_hz: np.ndarray, slope: float, grid: FrameGrid) -> np.ndarray:
    """Brighten or darken audio as it is played harder or softer.

    gain [dB] = slope * intensity * octaves above the fundamental (0 to 4); A-weighted loudness stays what it was.

    Parameters
    ----------
    audio : ndarray [shape=(n_samples,)]
    intensity_db : ndarray [shape=(n_frames,)], dB
        How hard is played, relative to how the recording was.
    f0_hz : ndarray [shape=(n_frames,)], > 0
    slope : float [dB per octave and dB]
    grid : FrameGrid

    Returns
    -------
    ndarray [shape=(n_samples,), float32]
    """
    if slope == 0.0:
        return audio.astype(np.float32)
    _, times, spectrum = stft(audio, grid.sample_rate, nperseg=N_FFT, noverlap=N_FFT - HOP_LENGTH)
    frame_times = grid.times(len(f0_hz))
    intensity = np.interp(times, frame_times, intensity_db)
    pivot = np.maximum(np.interp(times, frame_times, f0_hz), LOWEST_PIVOT_HZ)
    frequencies = np.maximum(np.fft.rfftfreq(N_FFT, 1.0 / grid.sample_rate), 1.0)
    octaves = np.clip(np.log2(frequencies[:, None] / pivot), 0.0, HIGHEST_OCTAVES)
    tilted_spectrum = spectrum * 10.0 ** (slope * intensity * octaves / 20.0)
    weights = 10.0 ** (np.maximum(librosa.A_weighting(frequencies), -120.0) / 10.0)
    before, after = (weights @ np.abs(values) ** 2 for values in (spectrum, tilted_spectrum))
    tilted_spectrum *= np.sqrt((before + SILENCE) / (after + SILENCE))  # as loud as it was: dynamics are the performance's affair
    _, tilted = istft(tilted_spectrum, grid.sample_rate, nperseg=N_FFT, noverlap=N_FFT - HOP_LENGTH)
    return np.pad(tilted, (0, max(0, len(audio) - len(tilted))))[: len(audio)].astype(np.float32)


def loudness_and_centroid(audio: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """A-weighted loudness [dB] and spectral centroid [octaves re 1 Hz] in windows of 85 ms, each (n_windows,).

    The centroid is weighted by magnitude over what lies within 60 dB of the window's strongest bin, up to 16 kHz.
    """
    n_fft, hop_length = 4096, 1024
    magnitude = np.abs(librosa.stft(np.asarray(audio, dtype=np.float32), n_fft=n_fft, hop_length=hop_length))
    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    weights = 10.0 ** (np.maximum(librosa.A_weighting(np.maximum(frequencies, 1e-3)), -120.0) / 10.0)
    loudness = 10.0 * np.log10(magnitude.T**2 @ weights / (0.375 * n_fft**2) + 1e-12)
    audible = (magnitude > 1e-3 * magnitude.max(axis=0)) & ((frequencies > 25.0) & (frequencies < 16000.0))[:, None]
    kept = np.where(audible, magnitude, 0.0)
    return loudness, np.log2((kept * frequencies[:, None]).sum(axis=0) / (kept.sum(axis=0) + 1e-9) + 1.0)


def measure_slope(audio: np.ndarray, sample_rate: int, *, span_db: float = 30.0) -> float:
    """Octaves of centroid per decibel while one recording swells and fades, over its windows within `span_db` of the loudest."""
    loudness, centroid = loudness_and_centroid(audio, sample_rate)
    heard = loudness > loudness.max() - span_db
    return float(np.polyfit(loudness[heard], centroid[heard], 1)[0])


def slope_between(notes: Sequence[tuple[float, np.ndarray]], sample_rate: int) -> float:
    """Octaves of centroid per decibel from soft notes to loud ones of the same pitch.

    Parameters
    ----------
    notes : sequence of (midi, audio)
        At least two of some pitch. Each counts with the median of its louder half.
    sample_rate : int [Hz]

    Returns
    -------
    float [octaves per dB]
        Least squares with an intercept of its own for every pitch. Means little when the recordings were brought to one level.
    """
    keys, points = [], []
    for midi, audio in notes:
        loudness, centroid = loudness_and_centroid(audio, sample_rate)
        steady = loudness >= np.median(loudness[loudness > loudness.max() - 25.0])
        keys.append(round(midi))
        points.append((np.median(loudness[steady]), np.median(centroid[steady])))
    pitch, values = np.array(keys), np.array(points)
    values -= np.array([values[pitch == key].mean(axis=0) for key in pitch])
    return float((values[:, 0] @ values[:, 1]) / max(float(values[:, 0] @ values[:, 0]), 1e-9))


def a_weighted_db(audio: np.ndarray, sample_rate: int) -> float:
    """A-weighted loudness of a whole stretch of audio [dB re a full-scale sine]."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    frequencies = np.maximum(np.fft.rfftfreq(len(audio), 1.0 / sample_rate), 1e-3)
    weights = 10.0 ** (np.maximum(librosa.A_weighting(frequencies), -120.0) / 10.0)
    return 10.0 * float(np.log10(4.0 * (weights @ power) / len(audio) ** 2 + 1e-12))
