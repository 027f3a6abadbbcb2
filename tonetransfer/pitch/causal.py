"""f0 as it comes: a tracker that looks at the past and at a chosen short stretch ahead, for playing live.

Normalised autocorrelation names candidates, prime partials say which of their octaves is meant, and the cheapest path *up to now* decides;
with `path_frames` it may look so many frames ahead before it does. Windows fit the pitch: short ones for high notes, which move fast,
long ones, reaching further into the past, for low notes, which need two periods to be told at all. All frames are alike and know nothing
of what comes later, so a recording tracked whole and the same recording tracked block by block give the same numbers.

Its loops are compiled by Numba: a frame is a few thousand numbers, and each call of NumPy costs more than its arithmetic. Everything is in
float64 and one frame after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import scipy.signal

from ..audio.frames import FrameGrid
from ..compiled import compiled
from .autocorrelation import FLOOR, LAG_PRIOR, PARTIALS, WEIGHTS
from .tracking import LEAP_COST, LEAP_HIGHEST, NOTHING_PLAYED_HZ, OCTAVE_PRIOR, RANGE_DB, SILENCE_DB

LEAST_PEAK = 0.2  # smallest peak of the normalised autocorrelation
LOWEST_HZ = 50.0  # that counts for the norm of a spectrum
NOTHING_COST = 1e3
INNER_RATE = 24000  # Hz, about: what autocorrelation is computed at
LOWPASS_HZ, LOWPASS_ORDER = 7000.0, 4
RUMBLE_HZ = 30.0


@compiled
def through_sections(sections: Any, state: Any, audio: Any, out: Any) -> None:
    """Second-order sections (n_sections, 6), one after the other, in transposed direct form II; as ``scipy.signal.sosfilt``.

    `state` (n_sections, 2) is carried on; `audio` and `out` are (n_samples,).
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
    """The best peaks of an autocorrelation (n_lags,) between two lags, best first; lag 0 and height -1 where there are fewer.

    `handicap` (n_lags,) is taken off a peak's height where peaks are compared; `lags` [samples] and `heights` get the parabola's vertex.
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
    """Turn lags (n_candidates,) of all windows into frequencies; short ones are read off at their longest multiple that the window holds.

    That is finer, and counts only what repeats itself so often. `values` (n_lags,) is the autocorrelation in the window of the shortest
    lags, `longest` up to where multiples are looked for [samples], `slack` by how much a multiple may repeat less. `lags`, 0: none, become
    f0 [Hz]; `heights` become how well the sound repeats itself, in [0, 1].
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

    `spectrum` (n_bins,) is that of a windowed frame of `length` samples, with `bins` to a hertz; the square roots of its magnitudes are
    weighed, of `partials` (n_partials,) by their `weights`, below `highest_hz`. `salience` gets that of each of `f0_hz` (n_candidates,).
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
def extend_path(
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

    `before` and `reached`, (n_before,): pitch [semitones] of the last frame's candidates, and what the cheapest path to each costs. `f0_hz`
    and `cost`, (n_candidates,), 0 Hz: no candidate; their cost counts `weight` times, a leap `leap_cost` a semitone and `leap_highest` at
    most. `semitones`, `total`, `back`, (n_candidates,), get pitch, cost (the least is 0) and which of the last frame's candidates the path
    comes from.
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


class CausalBand(NamedTuple):
    """Periods that are looked for in one window."""

    window_s: float
    shortest_s: float
    longest_s: float
    n_peaks: int


# At least two periods of the longest in each window; the shorter the window, the faster the notes that are followed.
BANDS = (CausalBand(0.020, 1 / 4400.0, 1 / 390.0, 4), CausalBand(0.030, 1 / 390.0, 1 / 105.0, 4), CausalBand(0.064, 1 / 105.0, 1 / 36.0, 4))
COHERENT_S = 0.0051  # shorter periods must repeat up to there, and are read off there, which is finer
COHERENCE_SLACK = 0.4
DIRECT_BELOW = 200_000  # products of an autocorrelation that are no faster by way of its spectrum, for one frame
SPECTRUM_S = 0.050  # window of the spectrum whose partials are weighed
HIGHEST_PARTIAL_HZ = 7000.0
EVIDENCE_FLOOR = 0.03
SALIENCE_WEIGHT = 8.0
LOUDEST_FALLS_DB_PER_S = 3.0  # what "loud" means is forgotten so fast
N_CANDIDATES = sum(band.n_peaks for band in BANDS)


@dataclass(frozen=True)
class Tracked:
    """Pitch of one frame: f0 [Hz], periodicity in [0, 1], and the level of its window [dB re full scale]."""

    f0_hz: float
    periodicity: float
    level_db: float


class _FrameEvidence(NamedTuple):
    """Candidates of a frame."""

    f0_hz: np.ndarray  # (N_CANDIDATES,), 0: none
    repetition: np.ndarray  # (N_CANDIDATES,)
    cost: np.ndarray  # (N_CANDIDATES,)
    level_db: float


class CausalTracker:
    """f0 and periodicity, one frame for every hop that is pushed.

    `look_ahead` [samples] is how much of the sound after a frame's instant is heard before the frame is judged; 10 ms (480 at 48 kHz) serve
    well. The path is followed `path_frames` further before f0 is given out; each is one hop of latency.
    """

    def __init__(self, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> None:
        self.grid, self.look_ahead, self.path_frames = grid, look_ahead, path_frames
        self.step = max(grid.sample_rate // INNER_RATE, 1)
        self.step = next(step for step in range(self.step, 0, -1) if grid.hop_length % step == 0 and look_ahead % step == 0)
        self.rate = grid.sample_rate / self.step
        cutoff = min(LOWPASS_HZ, 0.35 * self.rate)
        low = scipy.signal.butter(LOWPASS_ORDER, cutoff, fs=grid.sample_rate, output="sos")
        self._sections = np.concatenate([low, scipy.signal.butter(2, RUMBLE_HZ, "highpass", fs=grid.sample_rate, output="sos")])
        ahead = look_ahead // self.step
        self._bands = [_Window(band, self.rate, ahead) for band in BANDS]
        length = round(SPECTRUM_S * self.rate)
        self._spectrum_ends = min(ahead, length // 2)
        self._window = np.hanning(length + 2)[1:-1]
        self._n_fft = scipy.fft.next_fast_len(2 * length, real=True)
        late = ahead - self._spectrum_ends
        self._reach = max(late + length, *(window.late + window.length for window in self._bands))  # samples that a frame may need
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._filter_state = np.zeros((len(self._sections), 2))
        self._recent = np.zeros(self._reach)
        self._heard = self._n_frames = 0  # inner samples that came, frames that were listened to
        self._path = _Path(self.path_frames)

    def push(self, audio: np.ndarray) -> list[Tracked]:
        """Hear the next samples; returns the frames that are decided by them.

        Whole hops, or, after a reset, `look_ahead` samples and then whole hops: every stretch ends where a frame's look-ahead does.
        """
        samples = np.asarray(audio, np.float64)
        filtered = np.empty(len(samples))
        through_sections(self._sections, self._filter_state, samples, filtered)
        inner = np.concatenate([self._recent, filtered[:: self.step]])
        self._heard += len(inner) - self._reach
        first_of_inner = self._heard - len(inner)
        self._recent = inner[-self._reach :]
        hop, ahead = self.grid.hop_length // self.step, self.look_ahead // self.step
        found: list[Tracked] = []
        for end in range(ahead + self._n_frames * hop, self._heard + 1, hop):
            self._n_frames += 1
            found += self._path.push(self._find_candidates(inner, end - first_of_inner))
        return found

    def flush(self) -> list[Tracked]:
        """The frames that the path was still waiting with."""
        return self._path.flush()

    def _find_candidates(self, inner: np.ndarray, end: int) -> _FrameEvidence:
        """Candidates of the frame whose look-ahead ends before sample `end` of `inner`."""
        f0_hz, repetition, cost = np.empty((3, N_CANDIDATES))
        mean_square, first = 0.0, 0
        for window in self._bands:
            found = slice(first, first + window.n_peaks)
            mean_square = window.look(inner, end, f0_hz[found], repetition[found])  # lags until they are coherent
            first = found.stop
        cohere(self._bands[0].table, COHERENT_S * self.rate, COHERENCE_SLACK, self.rate, f0_hz, repetition)
        stop = end - (self.look_ahead // self.step - self._spectrum_ends)
        spectrum = scipy.fft.rfft(inner[stop - len(self._window) : stop] * self._window, self._n_fft)
        bins = self._n_fft / self.rate
        weigh(spectrum, bins, len(self._window), PARTIALS, WEIGHTS, HIGHEST_PARTIAL_HZ, f0_hz, cost)
        price(f0_hz, repetition, EVIDENCE_FLOOR, SALIENCE_WEIGHT, OCTAVE_PRIOR, cost)
        return _FrameEvidence(f0_hz, repetition, cost, 10.0 * math.log10(mean_square + 1e-12))


class _Window:
    """One band's window: where it lies, and how its autocorrelation is computed."""

    def __init__(self, band: CausalBand, rate: float, ahead: int) -> None:
        self.length, self.n_peaks = round(band.window_s * rate), band.n_peaks
        self.late = ahead - min(ahead, self.length // 2)  # samples of the look-ahead that this window leaves alone: it is centred
        self.first, self.last = max(int(band.shortest_s * rate) - 1, 1), math.ceil(band.longest_s * rate) + 1
        furthest = max(self.last, math.ceil(COHERENT_S * rate) + 2) if band is BANDS[0] else self.last
        self.n_fft = scipy.fft.next_fast_len(self.length + furthest + 1, real=True)
        self.table = np.zeros(furthest + 1)  # normalised autocorrelation of the last frame that was looked at, by lag
        self.handicap = LAG_PRIOR * np.log2(np.maximum(np.arange(furthest + 1), 1))

    def look(self, inner: np.ndarray, end: int, lags: np.ndarray, heights: np.ndarray) -> float:
        """Find the best peaks, (n_peaks,) each, of the window that ends where the frame wants it; the mean square in it."""
        frame = inner[end - self.late - self.length : end - self.late]
        if self.length * len(self.table) < DIRECT_BELOW:
            autocorrelation(frame, self.table)
        else:
            spectrum = scipy.fft.rfft(frame, self.n_fft)
            self.table[:] = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, self.n_fft)[: len(self.table)]
        mean_square: float = normalise(frame, FLOOR, self.table)
        peaks(self.table, self.first, self.last, self.handicap, lags, heights)
        return mean_square


class _Path:
    """The cheapest path through the candidates, decided `wait` frames after they came."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        self.loudest = SILENCE_DB
        self._total = np.zeros(1)
        self._semitones = np.zeros(1)
        self._back: list[np.ndarray] = []
        self._frames: list[_FrameEvidence] = []

    def push(self, frame: _FrameEvidence) -> list[Tracked]:
        self.loudest = max(frame.level_db, self.loudest - LOUDEST_FALLS_DB_PER_S / 100.0)
        weight = min(max((frame.level_db - self.loudest + 60.0) / 30.0, 0.02), 1.0)  # soft frames follow their neighbours
        semitones, total, back = np.empty(N_CANDIDATES), np.empty(N_CANDIDATES), np.empty(N_CANDIDATES, np.int64)
        reached = self._semitones, self._total
        extend_path(*reached, frame.f0_hz, frame.cost, weight, LEAP_COST, LEAP_HIGHEST, semitones, total, back)
        self._total, self._semitones = total, semitones
        self._back.append(back)
        self._frames.append(frame)
        return [self._decide()] if len(self._frames) > self.wait else []

    def flush(self) -> list[Tracked]:
        return [self._decide() for _ in range(len(self._frames))]

    def _decide(self) -> Tracked:
        """The oldest frame that is not given out yet, on the path that is cheapest now."""
        column = int(self._total.argmin())
        for back in self._back[:0:-1]:
            column = int(back[column])
        f0_hz, repetition, _, level_db = self._frames.pop(0)
        self._back.pop(0)
        real = f0_hz[column] > 0.0
        audible = level_db > max(SILENCE_DB, self.loudest - RANGE_DB)
        return Tracked(
            float(f0_hz[column]) if real else NOTHING_PLAYED_HZ, float(repetition[column]) if real and audible else 0.0, level_db
        )
