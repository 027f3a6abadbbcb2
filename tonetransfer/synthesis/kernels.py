"""Loops over samples and bins, compiled by Numba: what training on a processor spends most of its time in.

An expression of tensors goes through memory once for each of its operations, a loop once in all. Every function works on one excerpt, in
float32 and without the interpreter's lock, so that excerpts are worked on side by side. They compute what
:mod:`tonetransfer.synthesis.render` says in tensors. Training, fits and streams use them: compiled when first called, for ten seconds, and
kept on disk.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..compiled import compiled

ONE, HALF, ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)
LOG_2, LARGEST = np.float32(math.log(2.0)), np.float32(87.0)
LOG_2_HIGH = np.float32(0.693359375)  # few bits, so that small multiples are exact
LOG_2_LOW = np.float32(math.log(2.0) - 0.693359375)


@compiled
def row(n: int) -> Any:
    """Room for `n` numbers; rows of one array would not be known to lie in one piece, and loops over them be slow."""
    return np.empty(n, np.float32)


@compiled
def overlapping(begin: int, n_fft: int, n_samples: int) -> tuple[int, int]:
    """Range of the samples of a frame, from `begin` of a signal on, that lie in the signal: the first, and one past the last."""
    return min(max(0, -begin), n_fft), max(min(n_fft, n_samples - begin), 0)


@compiled
def cut(signal: Any, window: Any, hop: int, frames: Any) -> None:
    """Frames (n_frames, n_fft) of a signal (n_samples,) under a window; frame t is centred on sample t * hop, zeros beyond the ends."""
    n_frames, n_fft = frames.shape
    for t in range(n_frames):
        begin = t * hop - n_fft // 2
        low, high = overlapping(begin, n_fft, len(signal))
        frame = frames[t]
        frame[:low] = ZERO
        frame[high:] = ZERO
        part, shape, into = signal[begin + low : begin + high], window[low:high], frame[low:high]
        for i in range(len(into)):
            into[i] = part[i] * shape[i]


@compiled
def overlap(frames: Any, window: Any, hop: int, signal: Any) -> None:
    """The transpose of :func:`cut`: frames are added to a signal (n_samples,)."""
    n_frames, n_fft = frames.shape
    for t in range(n_frames):
        begin = t * hop - n_fft // 2
        low, high = overlapping(begin, n_fft, len(signal))
        into, part, shape = signal[begin + low : begin + high], frames[t, low:high], window[low:high]
        for i in range(len(into)):
            into[i] += part[i] * shape[i]


@compiled
def exponential(x: Any, scales: Any, out: Any) -> None:
    """e to the power of numbers (n,), from -87 to 87, exact to 2e-7; `scales` (n,) is for its own use.

    e^x = 2^m e^r with m whole and |r| < log(2) / 2, whose series ends early.
    """
    bits = scales.view(np.int32)
    for i in range(len(x)):
        value = -LARGEST if x[i] < -LARGEST else x[i]  # min and max would make a number of what is none
        value = LARGEST if value > LARGEST else value
        m = np.float32(math.floor(value * (ONE / LOG_2) + HALF))
        r = (value - m * LOG_2_HIGH) - m * LOG_2_LOW
        series = np.float32(1.0 / 720.0) * r + np.float32(1.0 / 120.0)
        series = series * r + np.float32(1.0 / 24.0)
        series = series * r + np.float32(1.0 / 6.0)
        series = series * r + HALF
        out[i] = (series * r + ONE) * r + ONE
        bits[i] = np.int32((m + np.float32(127.0)) * np.float32(1 << 23))  # whole numbers of 64 bits are slow
    for i in range(len(x)):
        out[i] *= scales[i]


@compiled
def read_periods(periods: Any, f0_hz: Any, sample_rate: float, place: Any, sound: Any) -> None:
    """One period per frame, read at the phase that f0 runs through; what :func:`tonetransfer.synthesis.render.harmonic` does.

    Parameters
    ----------
    periods : ndarray [shape=(n_frames + 1, n_points)]
    f0_hz : ndarray [shape=(n_frames + 1,)]
    sample_rate : float [Hz]
    place : ndarray [shape=(n_frames, hop_length)]
        Gets where each sample reads its period [points].
    sound : ndarray [shape=(n_frames, hop_length)]
    """
    run = 0.0
    n_points, hop = periods.shape[1], sound.shape[1]
    last = n_points - 1
    for t in range(sound.shape[0]):
        here, following, places, out = periods[t], periods[t + 1], place[t], sound[t]
        f, bend = f0_hz[t] / sample_rate, (f0_hz[t + 1] - f0_hz[t]) / (2 * hop * sample_rate)
        for n in range(hop):
            cycles = run + f * n + bend * (n * (n - 1))
            places[n] = np.float32((cycles - math.floor(cycles)) * n_points)
        run += f * hop + bend * (hop * (hop - 1))
        run -= math.floor(run)
        for n in range(hop):
            point = np.int32(places[n])
            a, b, c, d = weights(places[n] - np.float32(point))
            i, j, k, m = (point - 1) & last, point & last, (point + 1) & last, (point + 2) & last
            begin = a * here[i] + b * here[j] + c * here[k] + d * here[m]
            end = a * following[i] + b * following[j] + c * following[k] + d * following[m]
            out[n] = begin + np.float32(n / hop) * (end - begin)


@compiled
def weights(u: Any) -> tuple[Any, Any, Any, Any]:
    """Cubic B-splines at a place in [0, 1) between the second and the third of four points."""
    square = u * u
    d = square * u / np.float32(6.0)
    c = (square + u) * HALF + np.float32(1.0 / 6.0) - np.float32(3.0) * d
    b = np.float32(3.0) * d - square + np.float32(2.0 / 3.0)
    return ONE - b - c - d, b, c, d


@compiled
def write_periods(slope: Any, place: Any, periods: Any) -> None:
    """The transpose of :func:`read_periods`: a gradient (n_frames, hop_length) is added to that of the periods (n_frames + 1, n_points)."""
    hop, last = slope.shape[1], periods.shape[1] - 1
    for t in range(slope.shape[0]):
        here, following, places, asked = periods[t], periods[t + 1], place[t], slope[t]
        for n in range(hop):
            point = np.int32(places[n])
            a, b, c, d = weights(places[n] - np.float32(point))
            i, j, k, m = (point - 1) & last, point & last, (point + 1) & last, (point + 2) & last
            later = asked[n] * np.float32(n / hop)
            now = asked[n] - later
            here[i] += now * a
            here[j] += now * b
            here[k] += now * c
            here[m] += now * d
            following[i] += later * a
            following[j] += later * b
            following[k] += later * c
            following[m] += later * d


@compiled
def filtered(spectra: Any, magnitudes: Any, band: Any, between: Any, out: Any) -> None:
    """Spectra (n_frames, n_bins) times magnitudes (n_frames, n_bands), interpolated: bin k lies at `between[k]` after `band[k]`."""
    for t in range(spectra.shape[0]):
        spectrum, coloured, given = spectra[t], out[t], magnitudes[t]
        for k in range(len(band)):
            low, high = given[band[k]], given[band[k] + 1]
            gain = low + between[k] * (high - low)
            coloured[k] = gain * spectrum[k]


@compiled
def gains_asked(spectra: Any, slopes: Any, band: Any, between: Any, n_fft: int, out: Any) -> None:
    """The transpose of :func:`filtered` and of the inverse FFT behind it, for the FFT of a gradient `slopes`; `out` (n_frames, n_bands)."""
    n_bins = len(band)
    for t in range(spectra.shape[0]):
        spectrum, slope, gains = spectra[t], slopes[t], out[t]
        gains[:] = ZERO
        for k in range(n_bins):
            asked = spectrum[k].real * slope[k].real + spectrum[k].imag * slope[k].imag
            asked *= np.float32((1.0 if k in (0, n_bins - 1) else 2.0) / n_fft)
            gains[band[k]] += asked * (ONE - between[k])
            gains[band[k] + 1] += asked * between[k]


@compiled
def harmonics(phase: float, begin: float, end: float, before: Any, after: Any, sound: Any) -> None:
    """Add harmonics to a hop of sound (hop,), while f0 and amplitudes go from one frame's to the next one's in straight lines.

    Parameters
    ----------
    phase : float [cycles]
    begin, end : float [cycles per sample]
        f0 of the two frames.
    before, after : ndarray [shape=(n_harmonics,)]
        Their amplitudes.
    sound : ndarray [shape=(hop,)]
    """
    hop, n = len(sound), len(before)
    while n > 0 and before[n - 1] == 0.0 and after[n - 1] == 0.0:
        n -= 1
    twice, one, two = np.empty(hop), np.empty(hop), np.zeros(hop)
    for i in range(hop):
        angle = 2.0 * math.pi * (phase + begin * i + (end - begin) * (i * (i - 1) / (2.0 * hop)))
        one[i] = math.sin(angle)
        twice[i] = 2.0 * math.cos(angle)
    for k in range(n):  # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x)
        low, rise = before[k], (after[k] - before[k]) / hop
        for i in range(hop):
            sound[i] += (low + rise * i) * one[i]
            two[i] = twice[i] * one[i] - two[i]
        one, two = two, one
