"""Mains hum and what is left of a recording without it.

Hum stands still: its lines lie at the multiples of one frequency near 50 or 60 Hz, in rests as under notes, and keep their phase. What does
so is followed, line by line, and subtracted at its own level: of a note on one of the lines nothing goes, as it would in a notch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, overload

import numpy as np
import torch

from .files import LongAudio
from .stft import fast_length

BASES_HZ = (50.0, 60.0)
FARTHEST_HZ = 0.3  # from a base: the mains are exact, recorders nearly so
LISTEN_RATE = 6000  # Hz, about: what lines are sought in
HIGHEST_HZ = 1800.0
N_FIRST_LINES = 3  # one of which must be there
WINDOW_S, HOP_S = 0.5, 0.25
LEAST_WINDOWS = 10
LEVEL_PERCENTILE = 25.0  # of a line's magnitude over time: most notes leave most lines alone
CLEAN_DB = 2.0  # above that level a window holds more than the line
LAGS_S = (0.5, 2.0)  # over which phase is compared: the frequency of the mains, roughly and finely
DRIFT_S = 6.0  # width over which the frequency is averaged
NEAR_S, FAR_S, FAR_WEIGHT = 3.0, 20.0, 0.02  # widths over which lines are averaged; the far one counts where nothing near is clean
COHERENT = 0.9  # how steady the phase of a line is; 1 is steady
ALWAYS_PERCENTILE, ALWAYS_DB = 5.0, 6.0  # below its level a line hardly ever falls by more
EXCESS_DB = 10.0  # of a line above the places where the other base has its lines
LOUDEST_DB, SOFTEST_DB = -6.0, -60.0  # re the loud parts: above, it is what is played; below, nobody hears it
LINE_RANGE_DB = 50.0  # below the strongest line others do not matter
SILENT, TINY = 1e-14, 1e-12  # power of digital silence; what is added to magnitudes
BLOCK_WINDOWS = 240  # at a time: a minute


@dataclass(frozen=True)
class HumLines:
    """Hum as it runs through a recording."""

    base_hz: float  # near 50 or 60
    lines: np.ndarray  # (n_lines,), which multiples of it are there
    phasors: np.ndarray  # (n_windows, n_lines), each one's amplitude and phase re exp(2j pi line base_hz t), every `hop` samples
    sample_rate: int
    hop: int

    def samples(self, first: int, last: int) -> torch.Tensor:
        """The hum at samples `first` to ``last - 1``, shape (last - first,), float32."""
        begin, end = first // self.hop, -(-last // self.hop)
        at = np.clip(np.arange(begin, end + 1), 0, len(self.phasors) - 1)
        line_hz = self.base_hz * self.lines
        turned = self.phasors[at[:-1]], self.phasors[at[1:]]
        start = np.exp(2j * np.pi * ((np.arange(begin, end) * self.hop / self.sample_rate)[:, None] * line_hz % 1.0))
        wave = np.exp(2j * np.pi * np.outer(line_hz, np.arange(self.hop) / self.sample_rate)).astype(np.complex64)
        here, there = ((start * part).astype(np.complex64) @ wave for part in turned)
        sound = here.real + np.linspace(0.0, 1.0, self.hop, endpoint=False, dtype=np.float32) * (there.real - here.real)
        return torch.from_numpy(sound.reshape(-1)[first - begin * self.hop : last - begin * self.hop])


class _WithoutHum(LongAudio):
    """A long recording whose hum is subtracted as it is read."""

    def __init__(self, audio: LongAudio, hum: HumLines) -> None:
        self.audio, self.hum = audio, hum
        self.n_samples, self.peak = len(audio), audio.peak

    def __getitem__(self, key: slice | tuple[object, slice]) -> torch.Tensor:
        first, last, _ = (key[-1] if isinstance(key, tuple) else key).indices(self.n_samples)
        return self.audio[first:last] - self.hum.samples(first, max(first, last))


@overload
def without_hum(audio: torch.Tensor, sample_rate: int) -> torch.Tensor: ...
@overload
def without_hum(audio: torch.Tensor | LongAudio, sample_rate: int) -> torch.Tensor | LongAudio: ...
def without_hum(audio: torch.Tensor | LongAudio, sample_rate: int) -> torch.Tensor | LongAudio:
    """The recording (n_samples,) less its mains hum; the very same where there is none."""
    hum = find_lines(audio, sample_rate)
    if hum is None:
        return audio
    return _WithoutHum(audio, hum) if isinstance(audio, LongAudio) else audio - hum.samples(0, len(audio)).to(audio)


def find_lines(audio: torch.Tensor | LongAudio, sample_rate: int) -> HumLines | None:
    """The hum of a recording (n_samples,); None: there is none, or it is too short (2.75 s) to tell."""
    hop = round(HOP_S * sample_rate)
    if len(audio) // hop - 1 < LEAST_WINDOWS:
        return None
    lines, power = _demodulate_lines(audio, sample_rate, hop)
    sounding = power > SILENT
    if sounding.sum() < LEAST_WINDOWS:
        return None
    loud, found = float(np.percentile(power, 95.0)), []
    for base_hz, values, standing in zip(BASES_HZ, lines, _standing([np.abs(part[sounding]) for part in lines]), strict=True):
        phasors, steady, off_turns = _track_lines(values, np.percentile(np.abs(values[sounding]), LEVEL_PERCENTILE, axis=0))
        there = steady & standing
        hum_power = 0.5 * float(np.square(np.abs(phasors[:, there])).mean(axis=0).sum())
        if there[:N_FIRST_LINES].any() and SOFTEST_DB < 10.0 * math.log10(hum_power / loud) < LOUDEST_DB:
            phasors = np.concatenate([phasors[:1], phasors])[:, there]  # window w is centred on hop w + 1
            found.append(
                (hum_power, HumLines(base_hz + off_turns * sample_rate / hop, 1 + np.flatnonzero(there), phasors, sample_rate, hop))
            )
    return max(found, key=lambda one: one[0])[1] if found else None


def _standing(magnitudes: list[np.ndarray]) -> list[np.ndarray]:
    """Find lines that are always there and stand above what lies between them, each (n_lines,) bool; of magnitudes (n_windows, n_lines)."""
    always, usual = zip(*(np.percentile(part, [ALWAYS_PERCENTILE, LEVEL_PERCENTILE], axis=0) for part in magnitudes), strict=True)
    standing = []
    for base, (base_hz, other_hz) in enumerate((BASES_HZ, BASES_HZ[::-1])):
        level, other = usual[base], usual[1 - base]
        line_hz, between_hz = (hz * np.arange(1, len(part) + 1) for hz, part in ((base_hz, level), (other_hz, other)))
        own = between_hz % base_hz > 0.0
        between = np.exp(np.interp(line_hz, between_hz[own], np.log(other[own] + TINY)))
        loud_enough = level > np.maximum(10.0 ** (EXCESS_DB / 20.0) * between, 10.0 ** (-LINE_RANGE_DB / 20.0) * level.max())
        standing.append(loud_enough & (always[base] > 10.0 ** (-ALWAYS_DB / 20.0) * level))
    return standing


def _demodulate_lines(audio: torch.Tensor | LongAudio, sample_rate: int, hop: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Multiples of both bases in every window, [(n_windows, n_lines), complex], re their phase at time 0; and the windows' power."""
    ear = _ear(sample_rate)
    step, length = len(ear.smooth) // 4, len(ear.cosines)
    n_windows, found, power = len(audio) // hop - 1, [], []
    for begin in range(0, n_windows, BLOCK_WINDOWS):
        end = min(begin + BLOCK_WINDOWS, n_windows)
        piece = np.asarray(audio[begin * hop : (end + 1) * hop], dtype=np.float32)
        padded = np.pad(piece, (2 * step, 4 * step))
        steps = padded[: len(padded) // step * step].reshape(-1, step)  # a product with each of four is faster than one with all windows
        low = sum(steps[i : len(steps) - 3 + i] @ part for i, part in enumerate(ear.smooth.reshape(4, step)))
        firsts = np.round(np.arange(end - begin) * hop / step).astype(int)
        windows = low[firsts[:, None] + np.arange(length)]
        centre = (np.arange(begin, end) + 1) * hop / sample_rate
        turn = np.exp(-2j * np.pi * (np.outer(centre, np.concatenate(ear.lines_hz)) % 1.0))
        found.append((windows @ ear.cosines - 1j * (windows @ ear.sines)) * turn)
        power.append(np.square(windows).mean(axis=1))
    return np.split(np.concatenate(found), [len(ear.lines_hz[0])], axis=1), np.concatenate(power)


class _Ear(NamedTuple):
    """Filters with which windows are analysed."""

    lines_hz: list[np.ndarray]  # multiples of each base
    smooth: np.ndarray  # (4 * step,), before every step-th sample is taken
    cosines: np.ndarray  # (length, n_lines), of the lines of both bases, windowed
    sines: np.ndarray


@lru_cache(maxsize=4)
def _ear(sample_rate: int) -> _Ear:
    step = max(sample_rate // LISTEN_RATE, 1)
    smooth = np.hanning(4 * step + 1)[1:].astype(np.float32)
    smooth /= smooth.sum()
    length = int(WINDOW_S * sample_rate / step)
    lines_hz = [base_hz * np.arange(1, int(min(HIGHEST_HZ, 0.4 * sample_rate) / base_hz) + 1) for base_hz in BASES_HZ]
    radians = 2.0 * np.pi * np.concatenate(lines_hz) / sample_rate  # a sample
    lost = np.abs(np.exp(1j * np.outer(radians, np.arange(4 * step))) @ smooth)  # what smoothing leaves of each line
    window = np.hanning(length + 1)[:-1]
    angle = np.outer((np.arange(length) - 0.5 * length) * step, radians)
    weight = 2.0 / window.sum() * window[:, None] / lost
    return _Ear(lines_hz, smooth, *((weight * wave(angle)).astype(np.float32) for wave in (np.cos, np.sin)))


def _track_lines(values: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Follow the part of lines (n_windows, n_lines) that stands still at their levels (n_lines,).

    Returns phasors (n_windows, n_lines), re a base that turns faster than 50 or 60 Hz by so much in a hop; whose phase is steady,
    (n_lines,) bool; and that much.
    """
    clean = np.abs(values) < 10.0 ** (CLEAN_DB / 20.0) * level
    values = np.where(clean, values, 0.0)
    turned = np.zeros(len(values))  # turns of the base since the beginning, beyond those of 50 or 60 Hz
    multiples = 1 + np.arange(values.shape[1])
    for lag_s, n_lines in zip(LAGS_S, (N_FIRST_LINES, 2 * N_FIRST_LINES), strict=True):
        lag = min(round(lag_s / HOP_S), len(values) - 1)
        steady = values * np.exp(-2j * np.pi * np.outer(turned, multiples))
        advance = _averaged((steady[lag:] * np.conj(steady[:-lag]))[:, :n_lines], DRIFT_S)
        weight = np.abs(advance) * multiples[:n_lines]
        turns = (np.angle(advance) * weight).sum(axis=1) / np.maximum((weight * multiples[:n_lines]).sum(axis=1), 1e-30) / (2.0 * np.pi)
        off_hz = np.clip(turns / (lag * HOP_S), -FARTHEST_HZ, FARTHEST_HZ)
        at = np.clip(np.arange(len(values)) - lag // 2, 0, len(off_hz) - 1)
        turned += np.cumsum(off_hz[at]) * HOP_S
    back = np.exp(2j * np.pi * np.outer(turned, multiples))
    steady = values / back
    total, count = (_averaged(part, NEAR_S) + FAR_WEIGHT * _averaged(part, FAR_S) for part in (steady, clean.astype(float)))
    size = _averaged(np.abs(steady), NEAR_S) + FAR_WEIGHT * _averaged(np.abs(steady), FAR_S)
    coherence = np.abs(total).sum(axis=0) / np.maximum(size.sum(axis=0), 1e-30)
    off_turns = float(turned[-1] / (len(turned) - 1))
    back *= np.exp(-2j * np.pi * np.outer(off_turns * (1 + np.arange(len(turned))), multiples))
    return total / np.maximum(count, 1e-9) * back, coherence > COHERENT, off_turns


def _averaged(values: np.ndarray, width_s: float) -> np.ndarray:
    """Sums along time under a bell of a width."""
    bell = np.hanning(2 * round(0.5 * width_s / HOP_S) + 3)[1:-1, None]
    n_fft = fast_length(len(values) + len(bell) - 1)
    spread = np.fft.ifft(np.fft.fft(values, n_fft, axis=0) * np.fft.fft(bell, n_fft, axis=0), axis=0)[len(bell) // 2 :][: len(values)]
    return spread if np.iscomplexobj(values) else spread.real
