"""f0 as it comes: a tracker that looks at the past and at a chosen short stretch ahead, for playing live.

Normalised autocorrelation names candidates, prime partials say which of their octaves is meant, and the cheapest path *up to now* decides;
with `path_frames` it may look so many frames ahead before it does. Windows fit the pitch: short ones for high notes, which move fast,
long ones, reaching further into the past, for low notes, which need two periods to be told at all. All frames are alike and know nothing
of what comes later, so a recording tracked whole and the same recording tracked block by block give the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.signal

from .f0 import LEAP_COST, LEAP_HIGHEST, NOTHING_PLAYED_HZ, OCTAVE_PRIOR, RANGE_DB, SILENCE_DB
from .frames import FrameGrid
from .periodicity import FLOOR, LAG_PRIOR
from .salience import PARTIALS, WEIGHTS

INNER_RATE = 24000  # Hz, about: what autocorrelation is computed at
LOWPASS_HZ, LOWPASS_ORDER = 7000.0, 4
RUMBLE_HZ = 30.0


class Band(NamedTuple):
    """Periods that are looked for in one window."""

    window_s: float
    shortest_s: float
    longest_s: float
    n_peaks: int


# At least two periods of the longest in each window; the shorter the window, the faster the notes that are followed.
BANDS = (Band(0.020, 1 / 4400.0, 1 / 390.0, 4), Band(0.030, 1 / 390.0, 1 / 105.0, 4), Band(0.064, 1 / 105.0, 1 / 36.0, 4))
COHERENT_S = 0.0051  # shorter periods must repeat up to there, and are read off there, which is finer
COHERENCE_SLACK = 0.4
DIRECT_BELOW = 200_000  # products of an autocorrelation that are no faster by way of its spectrum, for one frame
SPECTRUM_S = 0.050  # window of the spectrum whose partials are weighed
HIGHEST_PARTIAL_HZ = 7000.0
EVIDENCE_FLOOR = 0.03
SALIENCE_WEIGHT = 8.0
NOTHING_COST = 1e3
OFFSETS = np.concatenate([PARTIALS - 0.5, PARTIALS, PARTIALS + 0.5])
NORM = float(np.linalg.norm(WEIGHTS))
LOUDEST_FALLS_DB_PER_S = 3.0  # what "loud" means is forgotten so fast
BATCH_FRAMES = 256


@dataclass(frozen=True)
class Tracked:
    """What one frame holds: f0 [Hz], periodicity in [0, 1], and the level of its window [dB re full scale]."""

    f0_hz: float
    periodicity: float
    level_db: float


class _Evidence(NamedTuple):
    """Candidates of n frames."""

    f0_hz: np.ndarray  # (n, n_candidates), 0: none
    repetition: np.ndarray  # (n, n_candidates)
    cost: np.ndarray  # (n, n_candidates)
    level_db: np.ndarray  # (n,)


class CausalTracker:
    """f0 and periodicity, one frame for every hop that is pushed.

    Parameters
    ----------
    grid : FrameGrid
        Clock and sample rate of the audio.
    look_ahead : int, > 0 [samples]
        How much of the sound after a frame's instant is heard before the frame is judged; 10 ms (480 at 48 kHz) serve well.
    path_frames : int, >= 0
        Frames that the path is followed further before f0 is given out; each is one hop of latency.
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
        self._reach = max(length, *(window.length for window in self._bands))  # samples before the newest that a frame may need
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._filter_state = np.zeros((len(self._sections), 2))
        self._recent = np.zeros(self._reach)
        self._heard = self._n_frames = 0  # inner samples that came, frames that were listened to
        self._path = _Path(self.path_frames)

    def push(self, audio: np.ndarray) -> list[Tracked]:
        """Hear the next samples; returns the frames that are decided by them.

        Parameters
        ----------
        audio : ndarray [shape=(n * hop_length,)]
            Or, after a reset, `look_ahead` samples and then whole hops: every stretch ends where a frame's look-ahead does.
        """
        inner, self._filter_state = scipy.signal.sosfilt(self._sections, np.asarray(audio, np.float64), zi=self._filter_state)
        inner = np.concatenate([self._recent, inner[:: self.step]])
        self._heard += len(inner) - self._reach
        first_of_inner = self._heard - len(inner)
        self._recent = inner[-self._reach :]
        hop, ahead = self.grid.hop_length // self.step, self.look_ahead // self.step
        ends = np.arange(ahead + self._n_frames * hop, self._heard + 1, hop) - first_of_inner
        self._n_frames += len(ends)
        found: list[Tracked] = []
        for first in range(0, len(ends), BATCH_FRAMES):
            evidence = self._listen(inner, ends[first : first + BATCH_FRAMES])
            for frame in zip(*evidence, strict=True):
                found += self._path.push(*frame)
        return found

    def flush(self) -> list[Tracked]:
        """The frames that the path was still waiting with."""
        return self._path.flush()

    def _listen(self, inner: np.ndarray, ends: np.ndarray) -> _Evidence:
        """Candidates of the frames whose look-ahead ends before the samples `ends` of `inner`."""
        tables = [window.table(inner, ends) for window in self._bands]
        found = [_peaks(table, window) for table, window in zip(tables, self._bands, strict=True)]
        lag, value = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        lag, value = _coherent(lag, value, tables[0], self._bands[0])
        f0_hz = np.where(lag > 0.0, self.rate / np.maximum(lag, 1.0), 0.0)
        repetition = np.clip(value, 0.0, 1.0)
        cost = np.log((1.0 - repetition) / EVIDENCE_FLOOR + 1.0) - SALIENCE_WEIGHT * self._salience(inner, ends, f0_hz)
        cost -= OCTAVE_PRIOR * np.log2(np.maximum(f0_hz, 30.0))
        energy = tables[-1].mean_square
        return _Evidence(f0_hz, repetition, np.where(f0_hz > 0.0, cost, NOTHING_COST), 10.0 * np.log10(energy + 1e-12))

    def _salience(self, inner: np.ndarray, ends: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
        """Contrast between prime partials and the gaps between them, (n, n_candidates); see :mod:`tonetransfer.salience`."""
        length = len(self._window)
        stop = ends - (self.look_ahead // self.step - self._spectrum_ends)
        frames = inner[(stop - length)[:, None] + np.arange(length)]
        spectrum = np.sqrt(np.abs(scipy.fft.rfft(frames * self._window, self._n_fft, axis=1)))
        bins = self._n_fft / self.rate
        norm = np.sqrt(np.square(spectrum[:, int(50.0 * bins) :]).sum(axis=1) * (length / self._n_fft) / 2.0) + 1e-6
        position = np.minimum(f0_hz[..., None] * (OFFSETS * bins), spectrum.shape[1] - 1.001)
        left = position.astype(int)
        share = position - left
        rows = np.arange(len(ends))[:, None, None]
        read = spectrum[rows, left] * (1.0 - share) + spectrum[rows, left + 1] * share
        below, here, above = np.split(read, 3, axis=-1)
        weight = np.where(f0_hz[..., None] * PARTIALS < HIGHEST_PARTIAL_HZ, WEIGHTS, 0.0)
        return (weight * (here - 0.5 * (below + above))).sum(axis=-1) / (norm[:, None] * NORM)


def track_causal(audio: np.ndarray, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A whole recording, tracked as it would be live.

    Parameters
    ----------
    audio : ndarray [shape=(n_samples,)]
        Silence is heard after its end.
    grid : FrameGrid
    look_ahead : int [samples]
    path_frames : int, >= 0

    Returns
    -------
    f0_hz, periodicity, level_db : ndarray [shape=(n_frames,)]
    """
    n_frames = grid.n_frames(len(audio))
    tracker = CausalTracker(grid, look_ahead, path_frames=path_frames)
    needed = (n_frames - 1 + path_frames) * grid.hop_length + look_ahead
    heard = np.concatenate([audio, np.zeros(max(needed - len(audio), 0))])[:needed]
    frames = tracker.push(heard)
    return tuple(np.array([getattr(frame, name) for frame in frames]) for name in ("f0_hz", "periodicity", "level_db"))  # type: ignore[return-value]


class _Table(NamedTuple):
    values: np.ndarray  # (n, n_lags)
    mean_square: np.ndarray  # (n,)


class _Window:
    """One band's window: where it lies, and how its autocorrelation is computed."""

    def __init__(self, band: Band, rate: float, ahead: int) -> None:
        self.length, self.n_peaks = round(band.window_s * rate), band.n_peaks
        self.late = ahead - min(ahead, self.length // 2)  # samples of the look-ahead that this window leaves alone: it is centred
        self.first, self.last = max(int(band.shortest_s * rate) - 1, 1), math.ceil(band.longest_s * rate) + 1
        self.furthest = max(self.last, math.ceil(COHERENT_S * rate) + 2) if band is BANDS[0] else self.last
        self.n_fft = scipy.fft.next_fast_len(self.length + self.furthest + 1, real=True)
        self.coherent = COHERENT_S * rate
        self.peak_lags = np.arange(self.first, self.last)
        self.handicap = LAG_PRIOR * np.log2(self.peak_lags)
        self._within = np.arange(self.length)

    def table(self, inner: np.ndarray, ends: np.ndarray) -> _Table:
        """Normalised autocorrelation for lags 0 to `furthest` of the windows that end where the frames want it."""
        frames = inner[(ends - self.late - self.length)[:, None] + self._within]
        if self.length * self.furthest < DIRECT_BELOW:
            rows = np.zeros((len(frames), self.length + self.furthest))
            rows[:, : self.length] = frames
            products = np.stack([np.correlate(row, row[: self.length], "valid") for row in rows])
        else:
            spectrum = scipy.fft.rfft(frames, self.n_fft, axis=1)
            products = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, self.n_fft, axis=1)[:, : self.furthest + 1]
        running = np.cumsum(np.square(frames), axis=1)
        total = running[:, -1:]
        # Of the two halves that lie one lag apart: the sum over [0, length - lag) and over [lag, length).
        halves = running[:, self.length - 1 - self.furthest : self.length][:, ::-1] + total
        halves[:, 1:] -= running[:, : self.furthest]
        return _Table(2.0 * products / (halves + 2.0 * FLOOR * self.length), total[:, 0] / self.length)


def _peaks(table: _Table, window: _Window) -> tuple[np.ndarray, np.ndarray]:
    """Lags [samples] and values of the best peaks, each (n, n_peaks); 0 and -1 where there are fewer."""
    span = slice(window.first, window.last + 1)
    before, here, after = (table.values[:, span.start + k : span.stop + k - 1] for k in (-1, 0, 1))
    is_peak = (here > before) & (here >= after) & (here > 0.2)
    lags, rank = window.peak_lags, np.where(is_peak, here - window.handicap, -np.inf)
    chosen = np.argsort(-rank, axis=1, kind="stable")[:, : window.n_peaks]
    rows = np.arange(len(here))[:, None]
    offset, value = _vertex(before[rows, chosen], here[rows, chosen], after[rows, chosen])
    real = is_peak[rows, chosen]
    return np.where(real, lags[chosen] + offset, 0.0), np.where(real, value, -1.0)


def _vertex(before: np.ndarray, here: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place, re the middle one, and height of the parabola through three neighbours."""
    offset = np.clip(0.5 * (before - after) / np.minimum(before - 2.0 * here + after, -1e-12), -0.5, 0.5)
    return offset, here - 0.25 * (before - after) * offset


def _coherent(lag: np.ndarray, value: np.ndarray, table: _Table, window: _Window) -> tuple[np.ndarray, np.ndarray]:
    """Short lags read off at their longest multiple that the window holds: finer, and only for what repeats itself so often."""
    multiple = np.floor(window.coherent / np.maximum(lag, 1.0))
    several = (lag > 0.0) & (multiple > 1.0)
    place = np.clip(np.round(lag * multiple).astype(int), 2, window.furthest - 2)
    rows = np.arange(len(lag))[:, None]
    around = table.values[rows[..., None], place[..., None] + np.array([-1, 0, 1])]
    place += np.where(several, around.argmax(axis=-1) - 1, 0)
    offset, there = _vertex(*(table.values[rows, place + k] for k in (-1, 0, 1)))
    fine = (place + offset) / np.maximum(multiple, 1.0)
    return np.where(several, fine, lag), np.where(several, np.minimum(value, there + COHERENCE_SLACK), value)


class _Path:
    """The cheapest path through the candidates, decided `wait` frames after they came."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        self.loudest = SILENCE_DB
        self._total = np.zeros(1)
        self._semitones = np.zeros(1)
        self._back: list[np.ndarray] = []
        self._frames: list[tuple[np.ndarray, np.ndarray, float]] = []

    def push(self, f0_hz: np.ndarray, repetition: np.ndarray, cost: np.ndarray, level_db: float) -> list[Tracked]:
        self.loudest = max(float(level_db), self.loudest - LOUDEST_FALLS_DB_PER_S / 100.0)
        weight = min(max((float(level_db) - self.loudest + 60.0) / 30.0, 0.02), 1.0)  # soft frames follow their neighbours
        semitones = 12.0 * np.log2(np.maximum(f0_hz, 1.0))
        reached = np.minimum(LEAP_COST * np.abs(semitones[:, None] - self._semitones), LEAP_HIGHEST) + self._total  # (to, from)
        back = reached.argmin(axis=1)
        total = reached[np.arange(len(back)), back] + np.where(f0_hz > 0.0, weight * cost, NOTHING_COST)
        self._total, self._semitones = total - total.min(), semitones
        self._back.append(back)
        self._frames.append((f0_hz, repetition, float(level_db)))
        return [self._decide()] if len(self._frames) > self.wait else []

    def flush(self) -> list[Tracked]:
        return [self._decide() for _ in range(len(self._frames))]

    def _decide(self) -> Tracked:
        """The oldest frame that is not given out yet, on the path that is cheapest now."""
        column = int(self._total.argmin())
        for back in self._back[:0:-1]:
            column = int(back[column])
        f0_hz, repetition, level_db = self._frames.pop(0)
        self._back.pop(0)
        real = f0_hz[column] > 0.0
        audible = level_db > max(SILENCE_DB, self.loudest - RANGE_DB)
        return Tracked(
            float(f0_hz[column]) if real else NOTHING_PLAYED_HZ, float(repetition[column]) if real and audible else 0.0, level_db
        )
