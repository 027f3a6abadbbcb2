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

from ..audio.frames import FrameGrid
from .autocorrelation import FLOOR, LAG_PRIOR, PARTIALS, WEIGHTS
from .causal_kernels import autocorrelation, cohere, follow, normalise, peaks, price, through_sections, weigh
from .tracking import LEAP_COST, LEAP_HIGHEST, NOTHING_PLAYED_HZ, OCTAVE_PRIOR, RANGE_DB, SILENCE_DB

INNER_RATE = 24000  # Hz, about: what autocorrelation is computed at
LOWPASS_HZ, LOWPASS_ORDER = 7000.0, 4
RUMBLE_HZ = 30.0


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
            found += self._path.push(self._listen(inner, end - first_of_inner))
        return found

    def flush(self) -> list[Tracked]:
        """The frames that the path was still waiting with."""
        return self._path.flush()

    def _listen(self, inner: np.ndarray, end: int) -> _FrameEvidence:
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
        follow(*reached, frame.f0_hz, frame.cost, weight, LEAP_COST, LEAP_HIGHEST, semitones, total, back)
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
