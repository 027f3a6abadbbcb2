"""Refinement of f0 at note transitions.

A tracker hears 30 to 130 ms at a time. Around a step of a semitone or two the autocorrelation of so long a frame has one peak between both
notes, and f0 seems to glide for some frames. Two and a half periods are enough to tell a note from its neighbour when both are known.
"""

from __future__ import annotations

import numpy as np
import torch

from ..audio.files import LongAudio, resample

FAST_SEMITONES = 0.2  # between two frames of 10 ms
LONGEST_FRAMES = 8  # a longer way is a slide
SMALLEST_SEMITONES, LARGEST_SEMITONES = 0.5, 7.5  # a larger leap blurs nothing, and of two octaves the lower always fits
SETTLED_FRAMES = 3  # frames of each note whose median is its f0
PERIODS = 1.5  # that are compared with those one period later
LEAST_GAIN = 0.02  # of the power that does not repeat itself: a slide fits itself best, vibrato nearly so
PIECE_S = 20
FINEST_HZ = 40000  # least rate of the samples that are compared


def step_at_leaps(f0_hz: np.ndarray, samples: torch.Tensor | LongAudio, sample_rate: int, frame_rate: float) -> np.ndarray:
    """Put the frames of a short transition on the note before or on the note after it, wherever that fits the sound better.

    Parameters
    ----------
    f0_hz : ndarray [shape=(n_frames,)], > 0
    samples : Tensor or LongAudio [shape=(n_samples,)]
    sample_rate, frame_rate : [Hz]

    Returns
    -------
    ndarray [shape=(n_frames,)], > 0
    """
    stepped, piece, first_s = f0_hz.copy(), np.zeros(0, np.float32), -np.inf
    fine_rate = -(-FINEST_HZ // sample_rate) * sample_rate  # lags of high notes are read between samples
    for first, last in _transitions(f0_hz):
        before_hz = float(np.median(f0_hz[max(first - SETTLED_FRAMES, 0) : first]))
        after_hz = float(np.median(f0_hz[last : last + SETTLED_FRAMES]))
        if not SMALLEST_SEMITONES <= 12.0 * abs(np.log2(after_hz / before_hz)) <= LARGEST_SEMITONES:
            continue
        if first / frame_rate > first_s + PIECE_S - 1:
            first_s = max(int(first / frame_rate) - 1, 0)
            part = samples[first_s * sample_rate : (first_s + PIECE_S + 1) * sample_rate]
            piece = resample(part, sample_rate, fine_rate).numpy()
        for frame in range(max(first - 1, 0), min(last + 1, len(f0_hz) - 1) + 1):
            centre = (frame / frame_rate - first_s) * fine_rate
            candidates = before_hz, after_hz, float(f0_hz[frame])
            before, after, as_it_is = (_unrepeated(piece, centre, fine_rate / hz) for hz in candidates)
            if min(before, after) < as_it_is - LEAST_GAIN:
                stepped[frame] = before_hz if before <= after else after_hz
    return stepped


def _transitions(f0_hz: np.ndarray) -> list[tuple[int, int]]:
    """Runs of frames in which f0 moves fast: the first frame that left its note, and the first that reached the next."""
    moving = np.abs(np.diff(12.0 * np.log2(f0_hz))) > FAST_SEMITONES
    edges = np.flatnonzero(np.diff(moving, prepend=False, append=False)).reshape(-1, 2)
    return [(int(begin) + 1, int(end)) for begin, end in edges if end - begin <= LONGEST_FRAMES]


def _unrepeated(sound: np.ndarray, centre: float, period: float) -> float:
    """Share in [0, 2] of the power of a few periods that does not come again one period later; both in samples."""
    n = round(PERIODS * period)
    first = centre - (n + period) / 2.0
    x, y = _read(sound, first, n), _read(sound, first + period, n)
    return float(np.square(x - y).sum() / (np.square(x).sum() + np.square(y).sum() + 1e-9))


def _read(sound: np.ndarray, first: float, n: int) -> np.ndarray:
    """`n` samples from a place between two samples; what is asked for beyond the ends is the last one there is."""
    whole = int(np.floor(first))
    part = sound[np.clip(np.arange(whole, whole + n + 1), 0, len(sound) - 1)]
    return part[:-1] + (first - whole) * (part[1:] - part[:-1])
