"""Whether several notes sound at once: this program hears one.

A tracker meets a chord in one of two ways. It follows one of the notes: then the others lie between that note's harmonics. Or it
finds the period that all of them share, far below: then the low harmonics of that f0 are missing, and those above have gaps (a
major triad is 4 : 5 : 6).
"""

from __future__ import annotations

import numpy as np
import torch

from .audio import LongAudio
from .controls import Controls

N_FRAMES = 200  # looked at, spread over the recording
LENGTH_S = 0.17  # of a spectrum: semitones come apart above 100 Hz
LOUD_DB = 20.0  # below the loud parts, what sounds may be a room
N_HARMONICS = 16
HIGHEST_HZ = 8000.0  # looked at
LARGEST_DRIFT = 1.12  # of f0 while a spectrum lasts; beyond it harmonics blur
BETWEEN_SHARE = 0.05  # of the power in one peak between the harmonics: 13 dB below the rest
PRESENT_DB = -30.0  # below the strongest harmonic
FEWEST_SHARE, FEWEST = 0.2, 10  # of the frames must be steady enough to tell
POLYPHONIC_SHARE = 0.3  # of frames with a second note; rooms and passing resonances reach 0.2


def voices_share(audio: torch.Tensor | LongAudio, controls: Controls) -> float:
    """Share of the steady, loud frames in which a second note sounds.

    Octaves are not heard as two notes. Up to :data:`POLYPHONIC_SHARE` it means nothing.

    Parameters
    ----------
    audio : Tensor or LongAudio [shape=(n_samples,)]
        At the rate of the controls' grid.
    controls : Controls, tensors (n_frames,)

    Returns
    -------
    float, in [0, 1]
        0 where there is too little to tell.
    """
    grid, loud = controls.grid, controls.loudness_db.numpy()
    frames = np.flatnonzero(loud > np.percentile(loud, 95.0) - LOUD_DB)
    if len(frames) > N_FRAMES:
        frames = frames[np.linspace(0, len(frames) - 1, N_FRAMES).astype(int)]
    half = round(LENGTH_S * grid.sample_rate / 2.0)
    reach = round(half / grid.hop_length)
    bin_hz = grid.sample_rate / (2 * half)
    f0_hz, window, answers, n_bins = controls.f0_hz.double().numpy(), np.hanning(2 * half), [], int(HIGHEST_HZ / bin_hz) + 1
    for frame in frames:
        around = f0_hz[max(frame - reach, 0) : frame + reach + 1]
        middle = frame * grid.hop_length
        if middle < half or middle + half > len(audio) or around.max() > LARGEST_DRIFT * around.min():
            continue
        power = np.square(np.abs(np.fft.rfft(audio[middle - half : middle + half].numpy() * window)[:n_bins]))
        answer = _second_note(power, around.min(), around.max(), bin_hz)
        if answer is not None:
            answers.append(answer)
    return float(np.mean(answers)) if len(answers) > max(FEWEST_SHARE * len(frames), FEWEST) else 0.0


def _second_note(power: np.ndarray, lowest_hz: float, highest_hz: float, bin_hz: float) -> bool | None:
    """Whether a spectrum (n_bins,) holds more than the harmonics of an f0 that moves from lowest to highest; None: it cannot tell."""
    frequencies = np.arange(len(power)) * bin_hz
    band = (frequencies > max(40.0, 0.4 * lowest_hz)) & (frequencies < min((N_HARMONICS + 0.5) * highest_hz, HIGHEST_HZ))
    between, peaks = band.copy(), np.zeros(N_HARMONICS)
    for k in range(1, N_HARMONICS + 1):
        first, last = ((k * f0 * (1.0 + 0.015 * side) + 2.5 * side * bin_hz) / bin_hz for f0, side in ((lowest_hz, -1), (highest_hz, 1)))
        near = slice(max(int(np.ceil(first)), 0), int(last) + 1)
        between[near] = False
        peaks[k - 1] = np.max(power[near] * band[near], initial=0.0)
    if not peaks.max():
        return None
    resolved = lowest_hz > 4.5 * bin_hz
    open_enough = between.sum() > 0.3 * band.sum()
    if not resolved and not open_enough:
        return None
    return (resolved and _has_gaps(peaks)) or (open_enough and _peak_between(power, between, band))


def _has_gaps(peaks: np.ndarray) -> bool:
    """Whether the powers of harmonics 1, 2, ... look like those of several notes over a common, unplayed fundamental."""
    present = peaks > peaks.max() * 10.0 ** (PRESENT_DB / 10.0)
    lowest, highest = np.flatnonzero(present)[[0, -1]] + 1
    missing = int((~present[lowest - 1 : min(max(highest, 5), 9)]).sum())
    return bool(lowest >= 4 or (lowest >= 2 and missing >= 2))


def _peak_between(power: np.ndarray, between: np.ndarray, band: np.ndarray) -> bool:
    rest = np.where(between, power, 0.0)
    top = int(rest.argmax())
    return bool(rest[max(top - 2, 0) : top + 3].sum() > BETWEEN_SHARE * power[band].sum())
