"""Loops of an instrument that is played frame by frame, compiled by Numba: a frame is little work, and each call of NumPy costs as much.

They compute what :mod:`tonetransfer.models.decoder` and :mod:`tonetransfer.synthesis.render` say in tensors, for one frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..compiled import compiled

ONE, TWO = np.float32(1.0), np.float32(2.0)
NORM_FLOOR = 1e-5  # added to the variance in layer norms
LOG_10 = math.log(10.0)


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
    """Convert a raw decoder output (1 + n_harmonics + n_bands,) to harmonic amplitudes and noise-band magnitudes.

    Parameters
    ----------
    raw : ndarray
    gain : float
        Of the asked level.
    largest : float
        Amplitude of all harmonics together at most, re the gain.
    highest_hz, nyquist_hz : float
        Of f0 until the next frame; harmonics stay below Nyquist.
    amplitudes, magnitudes : ndarray [shape=(n_harmonics,)], [shape=(n_bands,)]
        Get them.
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
    """A-weighted power of a frame's parameters; see :func:`tonetransfer.realtime.voice.loudness_of`."""
    power = 0.0
    for k in range(len(amplitudes)):
        place = min(int(np.rint(f0_hz * (k + 1))), len(of_tone) - 1)
        power += amplitudes[k] * amplitudes[k] * of_tone[place]
    for k in range(len(magnitudes)):
        power += magnitudes[k] * magnitudes[k] * of_noise[k]
    return power
