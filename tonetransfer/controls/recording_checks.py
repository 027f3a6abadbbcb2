"""Checks of a recording that is to be a reference for a timbre, and detection of several notes at once: this program hears one.

A tracker meets a chord in one of two ways. It follows one of the notes: then the others lie between that note's harmonics. Or it
finds the period that all of them share, far below: then the low harmonics of that f0 are missing, and those above have gaps (a
major triad is 4 : 5 : 6).
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from ..audio.files import AudioLike, LongAudio, check_audio
from ..audio.stft import hann
from ..audio.units import hz_to_midi
from ..errors import ControlsError, ToneTransferWarning
from .controls import Controls, check_controls

SHORTEST_S = 1.0  # notes that a reference holds at least
CLIPPED_RUN = 4  # neighbouring samples at the very same extreme: a converter or an editor at its limit
CLIPPED_SHARE = 1e-3  # share of all samples
FLAT = 2e-5  # times the peak: equal, but for rounding
STEADY_S, STEADY_SEMITONES = 0.15, 0.5
STEADY_SHARE = 0.2  # measured: a speaker 0.13, singers and instruments 0.38 and more
VOICED_SHARE = 0.85  # of what is audible; a speaker 0.73, singers and instruments 0.89 and more
AUDIBLE_DB = 40.0  # below the loudest
# Of several notes at once
N_FRAMES = 200  # looked at, spread over the recording
AT_ONCE = 40
LENGTH_S = 0.17  # of a spectrum: semitones come apart above 100 Hz
LOUD_DB = 20.0  # below the loud parts, what sounds may be a room
N_HARMONICS = 16
HIGHEST_HZ = 8000.0  # looked at
LARGEST_DRIFT = 1.12  # of f0 while a spectrum lasts; beyond it harmonics blur
BETWEEN_SHARE = 0.05  # of the power in one peak between the harmonics: 13 dB below the rest
PRESENT_DB = -30.0  # below the strongest harmonic
FEWEST_SHARE, FEWEST = 0.2, 10  # so many frames, and such a share of them, must be steady enough to tell
POLYPHONIC_SHARE = 0.3  # of frames with a second note; rooms and passing resonances reach 0.2


def check_recording(audio: AudioLike | LongAudio, heard: Controls) -> torch.Tensor | LongAudio:
    """A recording (n_samples,) at the rate of its controls' grid; AudioError: it is none, ControlsError: they are of another length."""
    check_controls(heard)
    samples = audio if isinstance(audio, LongAudio) else check_audio(audio, heard.grid.sample_rate)
    n_frames = heard.grid.n_frames(len(samples))
    if n_frames != heard.n_frames:
        raise ControlsError(
            f"the controls have {heard.n_frames} frames and the recording {n_frames}; those of the whole recording are wanted"
        )
    return samples


def note_seconds(heard: Controls) -> float:
    """Seconds of notes in controls (n_frames,)."""
    return float(heard.note_frames().sum()) / heard.grid.frame_rate


def warn_about_reference(audio: torch.Tensor, heard: Controls) -> None:
    """Warn if a reference (n_samples,), at the rate of its controls' grid, will not make a good likeness."""
    seconds = note_seconds(heard)
    if seconds < SHORTEST_S:
        _warn(f"the reference holds {seconds:.1f} s of notes; a good likeness takes {SHORTEST_S:.0f} s or more of one instrument")
    if voices_share(audio, heard) > POLYPHONIC_SHARE:
        _warn("several notes sound at once in the reference; a good likeness takes one instrument playing one note at a time")
    if sounds_spoken(heard):
        _warn("the reference sounds like speech; the tone of the voice is taken from it, not the words: sung or played notes do better")


def warn_if_clipped(audio: torch.Tensor) -> None:
    """Warn if a reference (n_samples,), at the rate at which it was recorded, is cut off at its peaks."""
    if (share := clipped_share(audio)) > CLIPPED_SHARE:
        _warn(f"the reference is clipped ({100 * share:.1f} % of its samples); the likeness will be as harsh: record it at a lower level")


def warn_if_same() -> None:
    """Say what comes of a source that is its own reference."""
    _warn("the reference is the source itself; this plays it again on its own timbre, and only shows what the model makes of it")


def warn_of_narrow_band(end_hz: float) -> None:
    """Say what comes of a reference in which there is nothing above a frequency."""
    _warn(
        f"the reference ends at {end_hz / 1000:.1f} kHz, as a telephone's sound does; what lies above is taken from named instruments: "
        "another recording of it does better"
    )


def warn_of_long_reference(seconds: float, longest_s: float) -> None:
    """Say how much of a long reference is heard."""
    _warn(
        f"the reference lasts {seconds / 60:.0f} minutes; the loudest {longest_s / 60:.0f} are listened to: to choose others, cut them out"
    )


def warn_of_no_match(seconds: float) -> None:
    """Say what comes of a recording to match that holds too few notes."""
    _warn(f"the recording to match holds {seconds:.1f} s of notes; its colour takes {SHORTEST_S:.0f} s or more, and is left out")


def clipped_share(audio: torch.Tensor) -> float:
    """Share of samples in runs of four or more at the recording's highest or lowest value, in [0, 1]; resampling hides them."""
    samples = audio.numpy()
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak:
        return 0.0
    extreme = np.abs(samples) >= (1.0 - FLAT) * peak
    edges = np.flatnonzero(np.diff(extreme, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(samples))


def sounds_spoken(controls: Controls) -> bool:
    """Test whether controls (n_frames,) look like speech: the pitch hardly ever holds, and much of what is heard has none.

    One of the two alone is music: fast passages and trills, or consonants and breath.
    """
    notes = controls.note_frames().numpy()
    loud = controls.loudness_db.numpy()
    audible = loud > loud.max() - AUDIBLE_DB
    length = round(STEADY_S * controls.grid.frame_rate)
    if notes.sum() < SHORTEST_S * controls.grid.frame_rate or len(notes) < length:
        return False
    midi = np.lib.stride_tricks.sliding_window_view(hz_to_midi(controls.f0_hz.double()).numpy(), length)
    whole = np.lib.stride_tricks.sliding_window_view(notes, length).all(axis=-1)
    if not whole.any() or (notes & audible).sum() >= VOICED_SHARE * audible.sum():
        return False
    return bool((np.ptp(midi[whole], axis=-1) < STEADY_SEMITONES).mean() < STEADY_SHARE)


def _warn(message: str) -> None:
    warnings.warn(message, ToneTransferWarning, stacklevel=4)


def voices_share(audio: torch.Tensor | LongAudio, controls: Controls) -> float:
    """Share of the steady, loud frames in which a second note sounds, 0 where there is too little to tell.

    Octaves are not heard as two notes. Up to :data:`POLYPHONIC_SHARE` it means nothing.
    """
    grid, loud = controls.grid, controls.loudness_db.numpy()
    frames = np.flatnonzero(loud > np.percentile(loud, 95.0) - LOUD_DB)
    if len(frames) > N_FRAMES:
        frames = frames[np.linspace(0, len(frames) - 1, N_FRAMES).astype(int)]
    n_frames = len(frames)
    half = round(LENGTH_S * grid.sample_rate / 2.0)
    reach = round(half / grid.hop_length)
    bin_hz = grid.sample_rate / (2 * half)
    f0_hz = controls.f0_hz.double().numpy()
    middles = frames * grid.hop_length
    inside = (middles >= half) & (middles + half <= len(audio))
    frames, middles = frames[inside], middles[inside]
    around = f0_hz[np.clip(frames[:, None] + np.arange(-reach, reach + 1), 0, len(f0_hz) - 1)]
    lowest_hz, highest_hz = around.min(axis=1), around.max(axis=1)
    steady = np.flatnonzero(highest_hz <= LARGEST_DRIFT * lowest_hz)
    answers = []
    for some in np.array_split(steady, -(-len(steady) // AT_ONCE)) if len(steady) else []:
        sound = torch.stack([audio[middle - half : middle + half] for middle in middles[some].tolist()])
        spectra = torch.fft.rfft(sound * hann(2 * half))[:, : int(HIGHEST_HZ / bin_hz) + 1]
        answers.append(_second_notes(spectra.abs().square().numpy(), lowest_hz[some], highest_hz[some], bin_hz))
    told = np.concatenate(answers) if answers else np.zeros(0)
    told = told[~np.isnan(told)]
    return float(np.mean(told)) if len(told) > max(FEWEST_SHARE * n_frames, FEWEST) else 0.0


def _second_notes(power: np.ndarray, lowest_hz: np.ndarray, highest_hz: np.ndarray, bin_hz: float) -> np.ndarray:
    """Test whether spectra (n, n_bins) hold more than the harmonics of an f0 that moves from lowest to highest (n,).

    1, 0, or NaN where it cannot be told.
    """
    lowest, highest, bins = lowest_hz[:, None] / bin_hz, highest_hz[:, None] / bin_hz, np.arange(power.shape[1])
    band = (bins > np.maximum(40.0 / bin_hz, 0.4 * lowest)) & (bins < np.minimum((N_HARMONICS + 0.5) * highest, HIGHEST_HZ / bin_hz))
    # Near harmonic k lies what is within 1.5 % and 2.5 bins of it.
    from_k, to_k = np.ceil((bins - 2.5) / (1.015 * highest)), np.floor((bins + 2.5) / (0.985 * lowest))
    between = band & (np.minimum(to_k, N_HARMONICS) < np.maximum(from_k, 1))
    numbers = np.arange(1, N_HARMONICS + 1)
    first = np.clip(np.ceil(0.985 * numbers * lowest - 2.5), 0, power.shape[1]).astype(int)
    end = np.clip(np.floor(1.015 * numbers * highest + 2.5) + 1, 0, power.shape[1]).astype(int)
    heard = np.where(band, power, 0.0)
    peaks = np.array(
        [[row[i:j].max(initial=0.0) for i, j in zip(*ends, strict=True)] for row, *ends in zip(heard, first, end, strict=True)]
    )
    resolved, open_enough = lowest[:, 0] > 4.5, between.sum(axis=1) > 0.3 * band.sum(axis=1)
    gaps, more = np.array([_has_gaps(row) if row.any() else False for row in peaks]), _peak_between(heard, between)
    told = peaks.any(axis=1) & (resolved | open_enough)
    return np.where(told, (resolved & gaps) | (open_enough & more), np.nan)


def _has_gaps(peaks: np.ndarray) -> bool:
    """Test whether the powers of harmonics 1, 2, ... look like those of several notes over a common, unplayed fundamental."""
    present = peaks > peaks.max() * 10.0 ** (PRESENT_DB / 10.0)
    lowest, highest = np.flatnonzero(present)[[0, -1]] + 1
    missing = int((~present[lowest - 1 : min(max(highest, 5), 9)]).sum())
    return bool(lowest >= 4 or (lowest >= 2 and missing >= 2))


def _peak_between(power: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Test whether one peak (n,) between the harmonics has a share in the power (n, n_bins)."""
    rest = np.where(between, power, 0.0)
    five = rest.argmax(axis=1)[:, None] + np.arange(5)
    peak = np.take_along_axis(np.pad(rest, ((0, 0), (2, 2))), five, axis=1).sum(axis=1)
    return peak > BETWEEN_SHARE * power.sum(axis=1)
