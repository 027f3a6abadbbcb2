"""Loops of synthesis and of its gradients, compiled by Numba: over samples and bins for training, and over one frame for streams.

An expression of tensors goes through memory once for each of its operations, a loop once in all, and a frame is so little work that each
call of NumPy costs as much. Every function works on one excerpt, in float32 and without the interpreter's lock, so that excerpts are worked
on side by side. They compute what :mod:`tonetransfer.synthesis.render` and :mod:`tonetransfer.models.decoder` say in tensors. Training,
fits and streams use them: compiled when first called, for ten seconds, and kept on disk.
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
NORM_FLOOR = 1e-5  # added to the variance in layer norms
LOG_10 = math.log(10.0)


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
    """One period (n_points,) per frame, read at the phase that f0 runs through; what :func:`tonetransfer.synthesis.render.harmonic` does.

    `place` (n_frames, hop_length) gets where each sample reads its period [points], `sound` the samples; periods and f0 are n_frames + 1.
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

    The phase is in cycles, f0 of the two frames, `begin` and `end`, in cycles per sample; their amplitudes are (n_harmonics,).
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


@compiled
def between_rows(rows: Any, u: float, out: Any) -> None:
    """Read a table of four rows (4, n) at a place u in [0, 1] between the second and the third: Lagrange's polynomials."""
    a, b, c = u * (u - 1.0) / 6.0, (u + 1.0) * (u - 2.0) / 2.0, u * (u + 1.0) / 2.0
    first, second = np.float32(-a * (u - 2.0)), np.float32(b * (u - 1.0))
    third, last = np.float32(-c * (u - 2.0)), np.float32(a * (u + 1.0))
    for i in range(len(out)):
        out[i] = first * rows[0, i] + second * rows[1, i] + third * rows[2, i] + last * rows[3, i]


@compiled
def dense(weight: Any, bias: Any, x: Any, out: Any) -> None:
    """weight (n_out, n_in) times x (n_in,) plus bias (n_out,)."""
    for i in range(len(out)):
        row, total = weight[i], np.float32(0.0)
        for j in range(len(x)):
            total += row[j] * x[j]
        out[i] = total + bias[i]


@compiled
def shaped(x: Any, scale: Any, shift: Any, plus: Any) -> None:
    """Layer norm, `plus + scale` and shift, and swish, of x (n,) in place."""
    n = len(x)
    total = np.float32(0.0)
    for i in range(n):
        total += x[i]
    mean = total / np.float32(n)
    square = np.float32(0.0)
    for i in range(n):
        x[i] -= mean
        square += x[i] * x[i]
    factor = np.float32(1.0 / math.sqrt(square / n + NORM_FLOOR))
    for i in range(n):
        value = x[i] * factor * (plus + scale[i]) + shift[i]
        x[i] = value / (ONE + math.exp(-value))


@compiled
def decode(
    seen: Any, film: Any, memory: Any, into_memory: Any, of_memory: Any, after: Any, last: Any, head: Any, of_spectrum: Any, raw: Any
) -> None:
    """One frame of a decoder, from what it sees to what it says.

    Parameters
    ----------
    seen : ndarray [shape=(width,)]
        Of pitch, level and timbre; used up.
    film : tuple of 2 ndarrays [shape=(2 * width,)]
        Scale and shift before and after the recurrence.
    memory : ndarray [shape=(width,)]
        State of the recurrence, carried on.
    into_memory, of_memory, after, last, head : tuples of weights and bias
        `last`: weights, bias, and scale and shift of the layer norm, of each layer.
    of_spectrum : ndarray [shape=(n_out,)]
        What the timbre adds to what is said.
    raw : ndarray [shape=(n_out,)]
        Gets what is said.
    """
    n = len(memory)
    shaped(seen, film[0][:n], film[0][n:], ONE)
    given, kept = np.empty(3 * n, np.float32), np.empty(3 * n, np.float32)
    dense(into_memory[0], into_memory[1], seen, given)
    dense(of_memory[0], of_memory[1], memory, kept)
    both = np.empty(2 * n, np.float32)
    both[n:] = seen
    for i in range(n):
        reset = ONE / (ONE + math.exp(-(given[i] + kept[i])))
        keep = ONE / (ONE + math.exp(-(given[n + i] + kept[n + i])))
        new = math.tanh(given[2 * n + i] + reset * kept[2 * n + i])
        memory[i] = new + keep * (memory[i] - new)
        both[i] = memory[i]
    x, y = np.empty(n, np.float32), np.empty(n, np.float32)
    dense(after[0], after[1], both, x)
    shaped(x, film[1][:n], film[1][n:], ONE)
    for layer in last:
        dense(layer[0], layer[1], x, y)
        shaped(y, layer[2], layer[3], np.float32(0.0))
        x, y = y, x
    dense(head[0], head[1], x, raw)
    for i in range(len(raw)):
        raw[i] += of_spectrum[i]


@compiled
def legal(raw: Any, gain: float, largest: float, highest_hz: float, nyquist_hz: float, amplitudes: Any, magnitudes: Any) -> None:
    """Convert a raw decoder output (1 + n_harmonics + n_bands,) to harmonic amplitudes and noise-band magnitudes, which get them.

    `gain` is that of the asked level, `largest` the amplitude of all harmonics together at most, re the gain, and `highest_hz` f0 until the
    next frame; harmonics stay below Nyquist.
    """
    n = len(amplitudes)
    total = 0.0
    for k in range(n):
        amplitudes[k] = positive(raw[1 + k]) if highest_hz * (k + 1) < nyquist_hz else 0.0
        total += amplitudes[k]
    share = gain * largest / 2.0 * positive(raw[0]) / max(total, 1e-9) if total > 0.0 else 0.0
    for k in range(n):
        amplitudes[k] *= share
    for k in range(len(magnitudes)):
        magnitudes[k] = positive(raw[1 + n + k]) * gain


@compiled
def positive(x: float) -> float:
    """See :func:`tonetransfer.models.decoder.positive`."""
    return 2.0 * math.exp(-LOG_10 * math.log1p(math.exp(-x))) + 1e-7


@compiled
def sounding_power(f0_hz: float, amplitudes: Any, magnitudes: Any, of_tone: Any, of_noise: Any) -> float:
    """A-weighted power of a frame's parameters; see :func:`tonetransfer.realtime.voice.sound_weights`."""
    power = 0.0
    for k in range(len(amplitudes)):
        place = min(int(np.rint(f0_hz * (k + 1))), len(of_tone) - 1)
        power += amplitudes[k] * amplitudes[k] * of_tone[place]
    for k in range(len(magnitudes)):
        power += magnitudes[k] * magnitudes[k] * of_noise[k]
    return power
