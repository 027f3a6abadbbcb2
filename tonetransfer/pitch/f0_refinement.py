"""Exact f0 around a curve that is known to be nearly right, and at the transitions between notes.

The audio is shifted down by the first few harmonics of the curve; what remains of their phase is how far the curve is off.
Every harmonic votes with its energy, so a weak or missing fundamental does no harm, and no octave can be mistaken.

A tracker hears 30 to 130 ms at a time. Around a step of a semitone or two the autocorrelation of so long a frame has one peak between both
notes, and f0 seems to glide for some frames. Two and a half periods are enough to tell a note from its neighbour when both are known.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from ..audio.files import LongAudio, resample
from ..audio.frames import FrameGrid

WORK_RATE = 16000  # Hz; enough for the harmonics that are looked at
STEP = 40  # samples at WORK_RATE; 400 phases a second tell deviations up to 200 Hz
HIGHEST_HZ = 7000.0
N_HARMONICS = 6
FLOOR_DB = -60.0  # below the loudest instant: nothing to measure
FURTHEST_CENTS = 60.0  # from the curve
EDGE_DB = -6.0  # below the loudest instant nearby: the window sees the edge of a note, where the deviation reads too small
FAST_SEMITONES = 0.2  # between two frames of 10 ms
LONGEST_FRAMES = 8  # a longer way is a slide
SMALLEST_SEMITONES, LARGEST_SEMITONES = 0.5, 7.5  # a larger leap blurs nothing, and of two octaves the lower always fits
SETTLED_FRAMES = 3  # frames of each note whose median is its f0
PERIODS = 1.5  # that are compared with those one period later
LEAST_GAIN = 0.02  # of the power that does not repeat itself: a slide fits itself best, vibrato nearly so
PIECE_S = 20
FINEST_HZ = 40000  # least rate of the samples that are compared
SAME_CENTS = 60.0  # between frames of one note


def refine_f0(audio: np.ndarray, f0_hz: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """f0 of audio (n_samples,), sought around a curve (n_frames,) by demodulating harmonics.

    The curve lies within 60 cents of the truth, and the result as close to it; where it is too quiet to tell, the last deviation is held.
    """
    at_work = resample(audio, grid.sample_rate, WORK_RATE).numpy()
    frame_times = grid.times(len(f0_hz))
    curve = np.interp(np.arange(len(at_work)) / WORK_RATE, frame_times, f0_hz)
    half = max(round(1.5 * WORK_RATE / float(curve.min())), round(0.010 * WORK_RATE))  # first null at two thirds of the lowest f0
    error, weight = _phase_errors(at_work.astype(np.float64), curve, np.hanning(2 * half + 1))
    smoother = np.hanning(13)[1:-1]  # 27 ms
    error, weight = np.convolve(error, smoother, mode="same"), np.convolve(weight, smoother, mode="same")
    loudest_near = maximum_filter1d(weight, 2 * (half // STEP + 6) + 1)
    known = (weight > loudest_near * 10.0 ** (EDGE_DB / 10.0)) & (weight > weight.max() * 10.0 ** (FLOOR_DB / 10.0))
    if not known.any():
        return f0_hz.astype(np.float32)
    last_known = np.maximum.accumulate(np.where(known, np.arange(len(known)), np.argmax(known)))
    cents = 1200.0 * np.log2(1.0 + np.clip((error / np.maximum(weight, 1e-30))[last_known], -0.5, 1.0))
    times = (np.arange(len(error)) + 0.5) * STEP / WORK_RATE
    nearest = np.interp(frame_times, times, np.clip(cents, -FURTHEST_CENTS, FURTHEST_CENTS))
    return (f0_hz * 2.0 ** (nearest / 1200.0)).astype(np.float32)


def _phase_errors(audio: np.ndarray, f0_hz: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted relative error of the curve and its weight, each (n_steps,); their quotient is the least-squares error.

    A harmonic k that deviates by ``e * k * f0`` turns by ``2 pi e k f0 dt`` in a step.
    """
    phase = np.cumsum(f0_hz / WORK_RATE)
    phase -= np.floor(phase)
    carrier = np.exp(-2j * np.pi * phase)
    at_steps = f0_hz[::STEP]
    top = int(np.clip(HIGHEST_HZ // float(f0_hz.max()), 1, N_HARMONICS))
    error, weight = np.zeros(len(at_steps) - 1), np.zeros(len(at_steps) - 1)
    shifted = audio.astype(np.complex128)
    for k in range(1, top + 1):
        shifted = shifted * carrier
        baseband = _decimate(shifted, window)[: len(at_steps)]
        turn = baseband[1:] * np.conj(baseband[:-1])
        expected = 2.0 * np.pi * k * at_steps[:-1] * STEP / WORK_RATE  # radians a step for a relative error of 1
        error += np.abs(turn) * np.angle(turn) * expected
        weight += np.abs(turn) * expected**2
    return error, weight


def _decimate(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Windowed sums centred on every STEP-th value."""
    before = (len(window) - 1) // 2
    padded = np.pad(values, (before, len(window) + STEP))
    return np.lib.stride_tricks.sliding_window_view(padded, len(window))[::STEP] @ window[::-1]


def refine_note_transitions(f0_hz: np.ndarray, samples: torch.Tensor | LongAudio, sample_rate: int, frame_rate: float) -> np.ndarray:
    """Put the frames of a short transition on the note before or on the note after it, wherever that fits the sound better."""
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


def notes_of_one_pitch(f0_hz: np.ndarray, notes: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """First and past-the-end frames of notes of at least so many frames; where f0 leaps another begins."""
    cents = np.abs(1200.0 * np.diff(np.log2(f0_hz), prepend=np.log2(f0_hz[:1])))
    begins = notes & ((cents > SAME_CENTS) | ~np.concatenate([[False], notes[:-1]]))
    ends = np.append(np.flatnonzero(begins | ~notes), len(notes))
    spans = [(int(first), int(ends[np.searchsorted(ends, first + 1)])) for first in np.flatnonzero(begins)]
    return [(first, last) for first, last in spans if last - first >= shortest]


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
