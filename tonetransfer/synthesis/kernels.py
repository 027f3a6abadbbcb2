"""Loops over samples and bins, compiled by Numba: what training on a processor spends most of its time in.

An expression of tensors goes through memory once for each of its operations, a loop once in all. Every function works on one excerpt, in
float32 and without the interpreter's lock, so that excerpts are worked on side by side. They compute what
:mod:`tonetransfer.synthesis.render` and :mod:`tonetransfer.training.losses` say in tensors. Only training and fits use them: compiled when
first called, for ten seconds, and kept on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

FAST = {"reassoc", "contract", "arcp", "nsz"}  # not "nnan": a sound that is not a number must stay one
ONE, HALF, ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)
LOG_2, LARGEST = np.float32(math.log(2.0)), np.float32(87.0)
LOG_2_HIGH = np.float32(0.693359375)  # few bits, so that small multiples are exact
LOG_2_LOW = np.float32(math.log(2.0) - 0.693359375)
ROOT_HALF = np.int32(0x3F3504F3)  # bits of sqrt(1/2)
SMALLEST = np.float32(1.1754944e-38**0.5)  # whose square can still be told from nothing
QUIETEST_POWER = 1e-12  # -120 dB


def compiled(function: Callable[..., Any]) -> Any:
    """`function`, compiled at its first call; kept on disk where there is a place for it."""
    try:
        return numba.njit(nogil=True, error_model="numpy", fastmath=FAST, cache=True)(function)
    except RuntimeError:  # neither beside the module nor in the user's cache may be written
        return numba.njit(nogil=True, error_model="numpy", fastmath=FAST)(function)


@compiled
def row(n: int) -> Any:
    """Room for `n` numbers; rows of one array would not be known to lie in one piece, and loops over them be slow."""
    return np.empty(n, np.float32)


@compiled
def overlapping(begin: int, n_fft: int, n_samples: int) -> tuple[int, int]:
    """Which samples of a frame that begins at sample `begin` of a signal lie in the signal: the first, and one past the last."""
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
def logarithm(x: Any, out: Any) -> None:
    """Natural logarithm of positive numbers (n,), exact to 1e-7; `x` is used up.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1) / (m + 1)), a series of odd powers.
    """
    bits = x.view(np.int32)
    for i in range(len(x)):
        exponent = (bits[i] - ROOT_HALF) >> 23
        bits[i] -= exponent << 23
        out[i] = np.float32(exponent) * LOG_2
    for i in range(len(x)):
        u = (x[i] - ONE) / (x[i] + ONE)
        v = u * u
        series = np.float32(2.0 / 9.0) * v + np.float32(2.0 / 7.0)
        series = series * v + np.float32(2.0 / 5.0)
        series = series * v + np.float32(2.0 / 3.0)
        out[i] += u * (series * v + np.float32(2.0))


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
def remember(given: Any, recurrent: Any, before: Any, gates: Any, new: Any, after: Any) -> None:
    """One frame of a GRU for the rows of a batch, behind its matrix product; see :mod:`tonetransfer.models.gru`.

    Parameters
    ----------
    given, recurrent : ndarray [shape=(batch, 3 * width)]
        From the input and from the state before, biases included: reset, keep, new.
    before : ndarray [shape=(batch, width)]
    gates, new, after : ndarray [shape=(batch, 2 * width)], [shape=(batch, width)], [shape=(batch, width)]
        Get the gates, the new state before it is mixed, and the state behind the frame.
    """
    width = before.shape[1]
    work, scales, power = row(2 * width), row(2 * width), row(2 * width)
    for b in range(before.shape[0]):
        from_input, from_state, gate = given[b], recurrent[b], gates[b]
        for i in range(2 * width):
            work[i] = -from_input[i] - from_state[i]
        exponential(work, scales, power)
        for i in range(2 * width):
            gate[i] = ONE / (ONE + power[i])
        asked, of_state = from_input[2 * width :], from_state[2 * width :]
        for i in range(width):
            work[i] = np.float32(-2.0) * (asked[i] + gate[i] * of_state[i])
        exponential(work[:width], scales[:width], power[:width])
        keep, fresh, old, out = gate[width:], new[b], before[b], after[b]
        for i in range(width):
            fresh[i] = np.float32(2.0) / (ONE + power[i]) - ONE  # tanh
            out[i] = fresh[i] + keep[i] * (old[i] - fresh[i])


@compiled
def recall(asked: Any, later: Any, gates: Any, new: Any, before: Any, of_state: Any, to_state: Any, to_input: Any) -> None:
    """The transpose of :func:`remember`.

    Parameters
    ----------
    asked, later : ndarray [shape=(batch, width)]
        Gradient of the state behind the frame, from outside and from later frames. `later` gets what goes past the matrix product to the
        state before.
    gates, new, before : ndarray
        As :func:`remember` left them.
    of_state : ndarray [shape=(batch, width)]
        The last third of its `recurrent`.
    to_state, to_input : ndarray [shape=(batch, 3 * width)]
        Get the gradients of its `recurrent` and `given`.
    """
    width = new.shape[1]
    for b in range(new.shape[0]):
        wanted, come, gate, fresh, old, part = asked[b], later[b], gates[b], new[b], before[b], of_state[b]
        recurrent, given = to_state[b], to_input[b]
        for i in range(width):
            reset, keep = gate[i], gate[width + i]
            come[i] += wanted[i]
            d_new = come[i] * (ONE - keep) * (ONE - fresh[i] * fresh[i])
            d_keep = come[i] * (old[i] - fresh[i]) * keep * (ONE - keep)
            d_reset = d_new * part[i] * reset * (ONE - reset)
            recurrent[i] = d_reset
            given[i] = d_reset
            recurrent[width + i] = d_keep
            given[width + i] = d_keep
            recurrent[2 * width + i] = d_new * reset
            given[2 * width + i] = d_new
            come[i] *= keep


@compiled
def difference(
    ours: Any,
    wanted: Any,
    scale: Any,
    floor: Any,
    share: float,
    distance_weight: float,
    weighting: Any,
    loudness_weight: float,
    faint_power: float,
    slope: Any,
) -> tuple[float, float]:
    """How two spectra differ, and in which direction less: ``losses.spectral_loss`` at one size, and ``losses.level_distance``.

    Parameters
    ----------
    ours, wanted : ndarray [shape=(n_frames, n_bins)], complex64
        Of one excerpt.
    scale, floor, share, distance_weight : float
        Of ``losses.spectral_loss``.
    weighting : ndarray [shape=(n_bins,)] or [shape=(0,)]
        What a squared magnitude adds to the power of a frame. Empty: loudness is not compared.
    loudness_weight, faint_power : float
    slope : ndarray [shape=(n_frames, n_bins)], complex64
        Gets the gradient for :func:`overlap` behind an inverse real FFT: half of it where a bin stands for two.

    Returns
    -------
    loss, off_db : float
        `off_db`: the mean difference of loudness, which is in the loss.
    """
    n_frames, n_bins = ours.shape
    n = n_frames * n_bins
    scale, floor, per_bin = np.float32(scale), np.float32(floor), np.float32(share / n)
    x, y, work, logs, slopes = row(n_bins), row(n_bins), row(n_bins), row(n_bins), row(n_bins)
    loss, off_db = 0.0, 0.0
    for t in range(n_frames):
        our, want, steep = ours[t], wanted[t], slope[t]
        for k in range(n_bins):
            x[k] = math.sqrt(our[k].real * our[k].real + our[k].imag * our[k].imag)
            y[k] = math.sqrt(want[k].real * want[k].real + want[k].imag * want[k].imag)
            work[k] = (x[k] * scale + floor) / (y[k] * scale + floor)
        logarithm(work, logs)
        plain, absolute, square = ZERO, ZERO, ZERO
        for k in range(n_bins):
            plain += abs(x[k] - y[k])
            absolute += abs(logs[k])
            square += logs[k] * logs[k]
        distance = math.sqrt(square / n_bins + 1e-6)
        loss += share * (scale * plain + absolute) / n + distance_weight * distance / n_frames
        by_log = np.float32(distance_weight / (n * distance))
        for k in range(n_bins):
            up = ONE if logs[k] > ZERO else (-ONE if logs[k] < ZERO else ZERO)  # as x > y, but for rounding
            slopes[k] = scale * ((per_bin * up + by_log * logs[k]) / (x[k] * scale + floor) + per_bin * up)
        if len(weighting):
            power: Any = ZERO
            wanted_power: Any = ZERO
            for k in range(n_bins):
                power += weighting[k] * x[k] * x[k]
                wanted_power += weighting[k] * y[k] * y[k]
            if wanted_power > faint_power:
                off = 10.0 * math.log10(max(power, QUIETEST_POWER) / max(wanted_power, QUIETEST_POWER))
                off_db += abs(off) / n_frames
                if power > QUIETEST_POWER and off != 0.0:
                    by_power = np.float32(loudness_weight / n_frames * math.copysign(20.0 / math.log(10.0), off) / power)
                    for k in range(n_bins):
                        slopes[k] += by_power * weighting[k] * x[k]
        for k in range(n_bins):
            by_part = HALF * slopes[k] / max(x[k], SMALLEST)
            steep[k] = by_part * our[k]
        whole(steep)
    return loss + loudness_weight * off_db, off_db


@compiled
def audible_difference(ours: Any, wanted: Any, faintest: float, floor: float, weight: float, slope: Any) -> float:
    """``losses.audible_distance`` of two spectra; `slope` gets `weight` times its gradient. Shapes are those of :func:`difference`."""
    n_frames, n_bins = ours.shape
    loud, quiet = np.float32(faintest), np.float32(floor)
    x, audible, work, logs = row(n_bins), row(n_bins), row(n_bins), row(n_bins)
    count: Any = 0.0
    squares: Any = 0.0
    for t in range(n_frames):
        our, want, steep = ours[t], wanted[t], slope[t]
        for k in range(n_bins):
            x[k] = math.sqrt(our[k].real * our[k].real + our[k].imag * our[k].imag)
            y = math.sqrt(want[k].real * want[k].real + want[k].imag * want[k].imag)
            audible[k] = ONE if x[k] > loud or y > loud else ZERO
            work[k] = max(x[k], quiet) / max(y, quiet)
        logarithm(work, logs)
        n_audible, square = ZERO, ZERO
        for k in range(n_bins):
            n_audible += audible[k]
            square += audible[k] * logs[k] * logs[k]
            by_part = HALF * audible[k] * logs[k] / (x[k] * x[k]) if x[k] > quiet else ZERO
            steep[k] = by_part * our[k]
        whole(steep)
        count += n_audible
        squares += square
    count = max(count, 1.0)
    distance = math.sqrt(squares / count + 1e-6)
    share = np.float32(weight / (count * distance))
    for t in range(n_frames):
        steep = slope[t]
        for k in range(n_bins):
            steep[k] *= share
    return distance


@compiled
def whole(halves: Any) -> None:
    """Double the first and the last bin of halves (n_bins,): they stand for themselves alone."""
    halves[0] *= np.float32(2.0)
    halves[-1] *= np.float32(2.0)


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
