"""Technical defects of a recording: noise, hum, reverberation, clipping, a cut-off top, channels that do not agree.

Every function measures one thing and says in which unit; tests compare each with sounds in which the answer is known. What follows from the
numbers is said in :mod:`tonetransfer.data.advice`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal

from ..audio.loudness import FLOOR_DB
from ..audio.stft import BLOCK, bandwidth_hz, block_power

FULL_SCALE = 1.0 - 2.0**-14  # two steps of 16 bit below: what clipped at full scale, and was dithered
CLIPPED_RUN = 3  # neighbouring samples at full scale; two can be chance
SMOOTHING_S, FLOOR_PERCENTILE = 0.2, 5.0
PAUSE_EDGE_S = 0.1  # in which a note dies away
EDGE_FRAMES = 3  # whose windows hang over the ends
HUM_RATE, HUM_WINDOW_S, HUM_HARMONICS = 4000, 0.5, 8
HUM_BASES_HZ = (50.0, 60.0)
HUM_PERCENTILE = 20.0  # of each bin's power over time: notes come and go, hum stays
HUM_OFF_HZ, HUM_OFF_PER_LINE_HZ = 0.3, 0.05  # how far a line may lie from its place: what is measured errs, the mains hardly
HUM_EXCESS_DB, HUM_ALONE_DB = 10.0, 20.0  # above what lies between the lines: two lines at least, or one that stands alone
DECAY_LOUD_DB = 25.0  # a decay that is measured begins no further below the loud parts
DECAY_SPAN_DB, DECAY_LEAST_DB = 20.0, 12.0  # of a decay that are measured: the last ones above the noise, where only the room still sounds
DECAY_ABOVE_FLOOR_DB, DECAY_RIPPLE_DB, DECAY_MISFIT_DB = 8.0, 3.0, 2.5
FEWEST_DECAYS = 3
SHORTEST_RT60_S = 0.1  # shorter ones are as short as the window of loudness
LONGEST_DELAY_S = 0.02  # between two microphones: 7 m
DEAD_CHANNEL_DB = -60.0
COMPARED_S = 30.0  # length of the channels that is compared


@dataclass(frozen=True)
class Hum:
    """Mains hum: 50 or 60 Hz (0: none), and the level of its lines together [dB re a full-scale sine], -120 for none."""

    base_hz: float
    level_db: float


@dataclass(frozen=True)
class Channels:
    """Agreement of two channels.

    Correlation at no delay, [-1, 1]; the delay at which they agree best [ms, > 0: the second is later] and the correlation there; the level
    of the second re the first [dB]. One channel agrees with itself.
    """

    correlation: float = 1.0
    delay_ms: float = 0.0
    best_correlation: float = 1.0
    level_difference_db: float = 0.0


class RawMeter:
    """Of the samples as they are in the file: level, clipping, spectrum, agreement of the channels. Fed piece by piece."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.peak, self.n_samples, self.full_scale_samples, self.clipped_runs = 0.0, 0, 0, 0
        self._power, self._n_spectra = np.zeros(BLOCK // 2 + 1), 0
        self._beginning: list[np.ndarray] = []

    def add(self, piece: np.ndarray) -> None:
        """One more piece (n_samples, n_channels)."""
        self.peak = max(self.peak, float(np.abs(piece).max(initial=0.0)))
        for channel in piece.T:
            samples, clipped = full_scale_runs(channel)
            self.full_scale_samples += samples
            self.clipped_runs += clipped
        kept = sum(len(one) for one in self._beginning)
        if kept < COMPARED_S * self.sample_rate:
            self._beginning.append(piece[: round(COMPARED_S * self.sample_rate) - kept].copy())
        loudest = piece[:, int(np.square(piece).sum(axis=0).argmax())] if len(piece) else np.zeros(0)
        spectra = block_power(loudest)
        self._power += spectra.sum(axis=0)
        self._n_spectra += len(spectra)
        self.n_samples += len(piece)

    @property
    def clipped_share(self) -> float:
        """Share of the samples at full scale."""
        return self.full_scale_samples / max(self.n_samples, 1)

    def bandwidth_hz(self) -> float:
        return bandwidth_hz(self._power / max(self._n_spectra, 1), self.sample_rate) if self._n_spectra else 0.5 * self.sample_rate

    def channels(self) -> Channels:
        return compare_channels(np.concatenate(self._beginning), self.sample_rate) if self._beginning else Channels()


def full_scale_runs(samples: np.ndarray) -> tuple[int, int]:
    """Samples (n_samples,) at or beyond full scale, and how many runs of three and more of them there are."""
    full = np.abs(samples) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
    return int(full.sum()), int(((edges[1::2] - edges[::2]) >= CLIPPED_RUN).sum())


def noise_floor_db(loudness_db: np.ndarray, frame_rate: float) -> float:
    """Loudness where nothing is played [dB(A) re full scale]; without pauses, the quietest moments: an upper bound.

    Digital silence does not count: an editor's or a gate's work, which hides the noise that is under the notes.
    """
    heard = loudness_db[EDGE_FRAMES:-EDGE_FRAMES] if len(loudness_db) > 4 * EDGE_FRAMES else loudness_db
    silent = heard <= FLOOR_DB + 1.0
    width = max(round(SMOOTHING_S * frame_rate), 1)
    level = scipy.ndimage.uniform_filter1d(10.0 ** (heard.astype(np.float64) / 10.0), width, mode="nearest")
    level = level[~scipy.ndimage.maximum_filter1d(silent, width)]  # nor what is smeared into it
    return float(10.0 * np.log10(np.percentile(level, FLOOR_PERCENTILE))) if len(level) else FLOOR_DB


def pause_seconds(notes: np.ndarray, loudness_db: np.ndarray, frame_rate: float) -> float:
    """Duration for which nothing is played and the noise can be heard [s], of frames of notes and loudness (n_frames,).

    Gaps between notes less a tenth of a second at both ends, and no digital silence.
    """
    pause = ~notes & (loudness_db > FLOOR_DB + 1.0)
    inner = scipy.ndimage.minimum_filter1d(pause, 2 * round(PAUSE_EDGE_S * frame_rate) + 1, mode="nearest")
    return float(inner.sum()) / frame_rate


def find_hum(audio: np.ndarray, sample_rate: int) -> Hum:
    """Lines at the mains frequency and its multiples that are there while nothing is played in audio (n_samples,)."""
    low = scipy.signal.resample_poly(audio.astype(np.float64), HUM_RATE, sample_rate)
    length = round(HUM_WINDOW_S * HUM_RATE)
    if len(low) < length:
        return Hum(0.0, FLOOR_DB)
    window = np.hanning(length + 1)[:-1]
    blocks = np.lib.stride_tricks.sliding_window_view(low, length)[:: length // 4]
    levels = np.square(blocks).mean(axis=-1)
    heard = np.flatnonzero(levels > 1e-14)  # not digital silence
    if not len(heard):
        return Hum(0.0, FLOOR_DB)
    spectra = np.abs(np.fft.rfft(blocks[heard] * window, axis=-1)) * 2.0 / window.sum()  # a sine reads its amplitude
    power = np.square(np.percentile(spectra, HUM_PERCENTILE, axis=0))
    found = [_lines(power, base_hz, 1.0 / HUM_WINDOW_S) for base_hz in HUM_BASES_HZ]
    best = int(np.argmax([score for score, _ in found]))
    score, line_power = found[best]
    return Hum(HUM_BASES_HZ[best], float(10.0 * np.log10(line_power))) if score > 0 else Hum(0.0, FLOOR_DB)


def _lines(power: np.ndarray, base_hz: float, bin_hz: float) -> tuple[float, float]:
    """Prominence of lines at multiples of a frequency [dB, summed; 0: they do not], and their power."""
    excess, line_power = [], 0.0
    for k in range(1, HUM_HARMONICS + 1):
        line = round(k * base_hz / bin_hz)
        reach, near = round(0.45 * base_hz / bin_hz), round(8.0 / bin_hz)
        around = np.concatenate([power[line - reach : line - near], power[line + near + 1 : line + reach + 1]])
        peak = float(power[line - 1 : line + 2].max())
        off_hz = abs(_peak_hz(power, line, bin_hz) - k * base_hz)
        on_line = off_hz <= HUM_OFF_HZ + HUM_OFF_PER_LINE_HZ * k  # else it is a note
        excess.append(10.0 * np.log10((peak + 1e-20) / (float(np.median(around)) + 1e-20)) if on_line else 0.0)
        line_power += peak if excess[-1] >= HUM_EXCESS_DB else 0.0
    standing = [value for value in excess if value >= HUM_EXCESS_DB]
    plain = (len(standing) >= 2 and max(excess[:3]) >= HUM_EXCESS_DB) or max(excess[:2]) >= HUM_ALONE_DB
    return (float(sum(standing)), line_power) if plain else (0.0, 0.0)


def _peak_hz(power: np.ndarray, line: int, bin_hz: float) -> float:
    """Frequency of the strongest peak within three bins of a line; a parabola through the logarithms is exact enough for a Hann window."""
    top = line - 3 + int(power[line - 3 : line + 4].argmax())
    left, middle, right = np.log(power[top - 1 : top + 2] + 1e-20)
    bend = left - 2.0 * middle + right
    return (top + (0.5 * (left - right) / bend if bend < 0 else 0.0)) * bin_hz


def decay_times_s(loudness_db: np.ndarray, frame_rate: float, floor_db: float) -> list[float]:
    """Time in which the sound would fall by 60 dB [s], for each place where it falls freely.

    Measured are the last 20 dB of a fall that lie 8 dB and more above the noise (`floor_db`), by a straight line: by then the note is over,
    and what is heard is the room (or a string that nobody damps).
    """
    level, times = loudness_db.astype(np.float64), []
    loud = np.percentile(level, 90.0)
    for first, last in _falls(level):
        if level[first] < loud - DECAY_LOUD_DB:
            continue
        part = level[first : last + 1]
        bottom = max(float(part.min()), floor_db + DECAY_ABOVE_FLOOR_DB)
        end = int(np.argmax(part <= bottom)) if part.min() <= bottom else len(part) - 1
        top = min(part[0] - 3.0, bottom + DECAY_SPAN_DB)
        begin = int(np.flatnonzero(part[: end + 1] >= top)[-1]) if (part[: end + 1] >= top).any() else 0
        if part[begin] - part[end] < DECAY_LEAST_DB:
            continue
        if end - begin < 3:
            times.append(60.0 * max(end - begin, 1) / frame_rate / (part[begin] - part[end]))
            continue
        t = np.arange(begin, end + 1) / frame_rate
        slope, offset = np.polyfit(t, part[begin : end + 1], 1)
        if slope < 0 and np.std(part[begin : end + 1] - slope * t - offset) < DECAY_MISFIT_DB:
            times.append(-60.0 / slope)
    return [float(time_s) for time_s in times]


def reverberation_s(decay_s: Iterable[float]) -> float | None:
    """Reverberation time RT60 [s] from the decays of a recording, or of many made in one place; None: too few to tell.

    Nothing decays faster than the room, much decays slower: the median of the faster half.
    """
    times = sorted(decay_s)
    if len(times) < FEWEST_DECAYS:
        return None
    return max(float(np.median(times[: (len(times) + 1) // 2 + 1])), SHORTEST_RT60_S)


def _falls(level_db: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each stretch in which the level falls, ripples of 3 dB allowed."""
    found, top, lowest = [], 0, 0
    for t in range(1, len(level_db)):
        if level_db[t] >= level_db[top]:
            top = lowest = t
        elif level_db[t] < level_db[lowest]:
            lowest = t
        elif level_db[t] > level_db[lowest] + DECAY_RIPPLE_DB:
            if level_db[top] - level_db[lowest] >= DECAY_LEAST_DB + 3.0:
                found.append((top, lowest))
            top = lowest = t
    if level_db[top] - level_db[lowest] >= DECAY_LEAST_DB + 3.0:
        found.append((top, lowest))
    return found


def compare_channels(audio: np.ndarray, sample_rate: int) -> Channels:
    """Compare the two loudest channels of a recording (n_samples, n_channels)."""
    if audio.shape[1] < 2:
        return Channels()
    energy = np.square(audio.astype(np.float64)).sum(axis=0)
    pair = sorted(np.argsort(energy)[-2:])
    first, second = (audio[:, channel].astype(np.float64) - audio[:, channel].mean() for channel in pair)
    powers = float(first @ first), float(second @ second)
    difference_db = 10.0 * np.log10((powers[1] + 1e-20) / (powers[0] + 1e-20))
    if min(powers) <= max(powers) * 10.0 ** (DEAD_CHANNEL_DB / 10.0):
        return Channels(0.0, 0.0, 0.0, float(np.clip(difference_db, -120.0, 120.0)))
    reach = round(LONGEST_DELAY_S * sample_rate)
    n_fft = 1 << (2 * len(first) - 1).bit_length()
    cross = np.fft.irfft(np.conj(np.fft.rfft(first, n_fft)) * np.fft.rfft(second, n_fft), n_fft) / np.sqrt(powers[0] * powers[1])
    lags = np.arange(-min(reach, len(first) - 1), min(reach, len(first) - 1) + 1)
    best = int(np.argmax(np.abs(cross[lags])))
    return Channels(float(cross[0]), float(lags[best] / sample_rate * 1e3), float(cross[lags][best]), float(difference_db))
