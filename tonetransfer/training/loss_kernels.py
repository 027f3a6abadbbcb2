"""Spectral differences and their gradients, compiled by Numba; :mod:`tonetransfer.training.losses` calls them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..compiled import compiled
from ..synthesis.kernels import HALF, LOG_2, ONE, ZERO, row

ROOT_HALF = np.int32(0x3F3504F3)  # bits of sqrt(1/2)
SMALLEST = np.float32(1.1754944e-38**0.5)  # whose square can still be told from nothing
QUIETEST_POWER = 1e-12  # -120 dB


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
    """Distance of two spectra, and its gradient: ``losses.spectral_loss`` at one size, and ``losses.level_distance``.

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
