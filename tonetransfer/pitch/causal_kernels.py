"""Loops of the causal tracker, compiled by Numba: a frame is a few thousand numbers, and each call of NumPy costs more than its arithmetic.

Everything is in float64 and one frame after the other, so that a recording tracked whole and block by block gives the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..compiled import compiled

LEAST_PEAK = 0.2  # smallest peak of the normalised autocorrelation
LOWEST_HZ = 50.0  # that counts for the norm of a spectrum
NOTHING_COST = 1e3


@compiled
def through_sections(sections: Any, state: Any, audio: Any, out: Any) -> None:
    """Second-order sections, one after the other, in transposed direct form II; as ``scipy.signal.sosfilt``.

    Parameters
    ----------
    sections : ndarray [shape=(n_sections, 6)]
        b0, b1, b2, 1, a1, a2 of each.
    state : ndarray [shape=(n_sections, 2)]
        Carried on.
    audio, out : ndarray [shape=(n_samples,)]
    """
    for i in range(len(audio)):
        x = audio[i]
        for s in range(len(sections)):
            y = sections[s, 0] * x + state[s, 0]
            state[s, 0] = sections[s, 1] * x - sections[s, 4] * y + state[s, 1]
            state[s, 1] = sections[s, 2] * x - sections[s, 5] * y
            x = y
        out[i] = x


@compiled
def autocorrelation(frame: Any, products: Any) -> None:
    """Sums of products of a frame (length,) with itself, for lags 0, 1, ... (n_lags,)."""
    n = len(frame)
    for lag in range(len(products)):
        here, later = frame[: n - lag], frame[lag:]
        total = 0.0
        for i in range(n - lag):
            total += here[i] * later[i]
        products[lag] = total


@compiled
def normalise(frame: Any, floor: float, values: Any) -> float:
    """Make products of a frame with itself (n_lags,) its normalised autocorrelation; the frame's mean square.

    See :class:`tonetransfer.pitch.autocorrelation.Autocorrelation`: of the two halves that lie one lag apart, 2 sum(x y) / (sum(x^2) +
    sum(y^2)).
    """
    n = len(frame)
    total = 0.0
    for i in range(n):
        total += frame[i] * frame[i]
    halves = 2.0 * total
    values[0] *= 2.0 / (halves + 2.0 * floor * n)
    for lag in range(1, len(values)):
        halves -= frame[n - lag] * frame[n - lag] + frame[lag - 1] * frame[lag - 1]
        values[lag] *= 2.0 / (halves + 2.0 * floor * n)
    return total / n


@compiled
def vertex(before: float, here: float, after: float) -> tuple[float, float]:
    """Place, re the middle one, and height of the parabola through three neighbours."""
    offset = 0.5 * (before - after) / min(before - 2.0 * here + after, -1e-12)
    offset = min(max(offset, -0.5), 0.5)
    return offset, here - 0.25 * (before - after) * offset


@compiled
def peaks(values: Any, first: int, last: int, handicap: Any, lags: Any, heights: Any) -> None:
    """The best peaks of an autocorrelation between two lags, best first; lag 0 and height -1 where there are fewer.

    Parameters
    ----------
    values : ndarray [shape=(n_lags,)]
    first, last : int
        Lags between which peaks lie, the last one excluded; both have neighbours.
    handicap : ndarray [shape=(n_lags,)]
        What is taken off a peak's height where peaks are compared.
    lags, heights : ndarray [shape=(n_peaks,)]
        Lags [samples] and heights of the parabola's vertex.
    """
    n_peaks, n_found = len(lags), 0
    chosen, ranks = np.zeros(n_peaks, np.int64), np.zeros(n_peaks)
    for lag in range(first, last):
        if values[lag] > LEAST_PEAK and values[lag] > values[lag - 1] and values[lag] >= values[lag + 1]:
            rank = values[lag] - handicap[lag]
            place = n_found
            while place > 0 and ranks[place - 1] < rank:
                place -= 1
            if place < n_peaks:
                n_found = min(n_found + 1, n_peaks)
                for i in range(n_found - 1, place, -1):
                    chosen[i], ranks[i] = chosen[i - 1], ranks[i - 1]
                chosen[place], ranks[place] = lag, rank
    lags[:], heights[:] = 0.0, -1.0
    for i in range(n_found):
        offset, heights[i] = vertex(values[chosen[i] - 1], values[chosen[i]], values[chosen[i] + 1])
        lags[i] = chosen[i] + offset


@compiled
def cohere(values: Any, longest: float, slack: float, rate: float, lags: Any, heights: Any) -> None:
    """Turn lags into frequencies; short ones are read off at their longest multiple that the window holds.

    That is finer, and counts only what repeats itself so often.

    Parameters
    ----------
    values : ndarray [shape=(n_lags,)]
        Autocorrelation in the window of the shortest lags.
    longest : float [samples]
        Up to where multiples are looked for.
    slack : float
        By how much a multiple may repeat less.
    rate : float [Hz]
    lags : ndarray [shape=(n_candidates,)]
        Of all windows, 0: none; becomes f0 [Hz].
    heights : ndarray [shape=(n_candidates,)]
        Becomes how well the sound repeats itself, in [0, 1].
    """
    for i in range(len(lags)):
        multiple = math.floor(longest / max(lags[i], 1.0))
        if lags[i] > 0.0 and multiple > 1.0:
            place = min(max(int(np.rint(lags[i] * multiple)), 2), len(values) - 3)
            best = place - 1
            for near in (place, place + 1):
                best = near if values[near] > values[best] else best
            offset, height = vertex(values[best - 1], values[best], values[best + 1])
            lags[i] = (best + offset) / multiple
            heights[i] = min(heights[i], height + slack)
        lags[i] = rate / max(lags[i], 1.0) if lags[i] > 0.0 else 0.0
        heights[i] = min(max(heights[i], 0.0), 1.0)


@compiled
def weigh(spectrum: Any, bins: float, length: int, partials: Any, weights: Any, highest_hz: float, f0_hz: Any, salience: Any) -> None:
    """Contrast between prime partials and the gaps between them; see :mod:`tonetransfer.pitch.autocorrelation`.

    Parameters
    ----------
    spectrum : ndarray [shape=(n_bins,)], complex
        Of a windowed frame; the square roots of its magnitudes are weighed.
    bins : float
        To a hertz.
    length : int
        Samples of the frame.
    partials, weights : ndarray [shape=(n_partials,)]
    highest_hz : float
        Partials from there on do not count.
    f0_hz, salience : ndarray [shape=(n_candidates,)]
    """
    n_bins = len(spectrum)
    roots = np.empty(n_bins)
    for k in range(n_bins):
        roots[k] = math.sqrt(math.sqrt(spectrum[k].real * spectrum[k].real + spectrum[k].imag * spectrum[k].imag))
    total, norm = 0.0, 0.0
    for k in range(int(LOWEST_HZ * bins), n_bins):
        total += roots[k] * roots[k]
    for p in range(len(weights)):
        norm += weights[p] * weights[p]
    norm = (math.sqrt(total * length / (4.0 * (n_bins - 1))) + 1e-6) * math.sqrt(norm)
    for i in range(len(f0_hz)):
        contrast = 0.0
        for p in range(len(partials)):
            if f0_hz[i] * partials[p] < highest_hz:
                place, half = f0_hz[i] * partials[p] * bins, 0.5 * f0_hz[i] * bins
                here, below, above = read(roots, place), read(roots, place - half), read(roots, place + half)
                contrast += weights[p] * (here - 0.5 * (below + above))
        salience[i] = contrast / norm


@compiled
def read(values: Any, place: float) -> float:
    """Values (n,) between two of them; beyond the end, the last."""
    place = min(place, len(values) - 1.001)
    left = int(place)
    return values[left] + (place - left) * (values[left + 1] - values[left])


@compiled
def price(f0_hz: Any, repetition: Any, floor: float, salience_weight: float, octave_prior: float, salience: Any) -> None:
    """Make saliences of candidates (n_candidates,) what they cost: little for what repeats itself, has its partials, and is high."""
    for i in range(len(f0_hz)):
        part = math.log((1.0 - repetition[i]) / floor + 1.0)
        salience[i] = part - salience_weight * salience[i] - octave_prior * math.log2(max(f0_hz[i], 30.0))


@compiled
def follow(
    before: Any,
    reached: Any,
    f0_hz: Any,
    cost: Any,
    weight: float,
    leap_cost: float,
    leap_highest: float,
    semitones: Any,
    total: Any,
    back: Any,
) -> None:
    """One frame of the cheapest path through candidates.

    Parameters
    ----------
    before, reached : ndarray [shape=(n_before,)]
        Pitch [semitones] of the last frame's candidates, and what the cheapest path to each costs.
    f0_hz, cost : ndarray [shape=(n_candidates,)]
        0 Hz: no candidate.
    weight : float
        Of what the candidates cost.
    leap_cost, leap_highest : float
        Of a semitone; of any leap at most.
    semitones, total, back : ndarray [shape=(n_candidates,)]
        Get pitch, cost (the least is 0) and which of the last frame's candidates the path comes from.
    """
    least = np.inf
    for i in range(len(f0_hz)):
        semitones[i] = 12.0 * math.log2(max(f0_hz[i], 1.0))
        cheapest = np.inf
        for j in range(len(before)):
            so_far = min(leap_cost * abs(semitones[i] - before[j]), leap_highest) + reached[j]
            if so_far < cheapest:
                cheapest, back[i] = so_far, j
        total[i] = cheapest + (weight * cost[i] if f0_hz[i] > 0.0 else NOTHING_COST)
        least = min(least, total[i])
    for i in range(len(f0_hz)):
        total[i] -= least
