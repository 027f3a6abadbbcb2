"""The partials of a monophonic recording, followed along its f0: amplitudes, tuning, noise between them.

Each frame is looked at through a Hann window of four periods of *its own* f0, or of as many whole ones as fit into 20 ms. Such a window has
a zero on every other harmonic, so each partial is seen alone, and it is so short that vibrato and tremolo pass through it. The
audio is brought down to 0 Hz by k times the f0 curve, glides included; what then still turns is the partial's deviation from k f0
(frequency reassignment: Auger and Flandrin, 1995).

References: Peeters, Giordano, Susini, Misdariis and McAdams, "The Timbre Toolbox", JASA 130(5), 2011; Pollard and Jansson, "A tristimulus
method", Acustica 51, 1982; Fletcher, Blackham and Stratton, "Quality of piano tones", JASA 34, 1962; de Cheveigne and Kawahara, "YIN",
JASA 111, 2002 (the difference function, here at a known period).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.files import Samples, windows_at
from ..audio.frames import FrameGrid
from ..audio.units import amplitude_to_db

N_PARTIALS = 20  # Peeters et al. (2011)
PERIODS = 4  # at least; with 2 a mistuned neighbour leaks in, with more a bass's vibrato is smoothed away
SHORTEST_WINDOW_S = 0.020  # two hops at 100 frames a second: no sound falls between two windows
NOISE_PERIODS, NOISE_WINDOW_S = 3, 0.008  # shorter, so that vibrato does not pass for noise
LOWEST_PARTIAL_DB = -80.0  # re the sum of all partials; below this a partial counts as absent
NOISE_RATIO_LIMITS_DB = (-20.0, 60.0)
MOST_CORRECTION = 0.045  # of f0, each of two times; trackers flatten a wide vibrato of low notes by that much
_TAPS = 12  # of the interpolation between samples; true to 0.1 % up to 0.7 of Nyquist
_CHUNK = 1 << 17  # numbers held at once: bounds the memory, whatever the length of the recording


@dataclass(frozen=True)
class Partials:
    """Levels and frequencies at the multiples of f0. All zeros (levels: -120 dB) in frames that were not looked at."""

    f0_hz: np.ndarray  # (n_frames,), the given f0, corrected to where the partials really are
    amplitudes: np.ndarray  # (n_frames, n_partials), peak amplitude of each; 0 above Nyquist
    stretch: np.ndarray  # (n_frames, n_partials), frequency of partial k over k f0; 1 for a harmonic sound
    level_db: np.ndarray  # (n_frames,), unweighted; a full-scale sine reads 0 dB
    harmonic_to_noise_ratio_db: np.ndarray  # (n_frames,), in [-20, 60]


@dataclass(frozen=True)
class _Windows:
    """Some frames with windows of about one length: which they are, their samples and their windows, (n, length)."""

    frames: np.ndarray
    audio: np.ndarray
    window: np.ndarray
    slope: np.ndarray  # derivative of the window [1/s]
    times_s: np.ndarray  # (length,), 0 at the frame's instant
    span_s: np.ndarray  # (n, 1), length of each window


def find_partials(audio: Samples, f0_hz: np.ndarray, grid: FrameGrid, *, where: np.ndarray, n_partials: int = N_PARTIALS) -> Partials:
    """Follow the partials of a recording (n_samples,) around `f0_hz` (n_frames,), in the frames `where` a note sounds."""
    n_frames = len(f0_hz)
    order = np.arange(1, n_partials + 1)
    found_hz = np.array(_corrected_f0(audio, f0_hz, grid, where), dtype=np.float64)
    amplitudes = np.zeros((n_frames, n_partials), np.float32)
    stretch = np.ones((n_frames, n_partials), np.float32)
    level_db, noise_ratio_db = np.full(n_frames, -120.0), np.zeros(n_frames)
    nearly_hz = found_hz.copy()
    glide_hz_per_s = _glide_hz_per_s(nearly_hz, grid)
    for group in _windows(audio, nearly_hz, grid, where):
        frames, centre = group.frames, nearly_hz[group.frames, None]
        amplitudes[frames], deviation_hz = _demodulate(group, nearly_hz, glide_hz_per_s, grid, n_partials)
        found_hz[frames] = _mean_f0(group, nearly_hz, amplitudes[frames], deviation_hz)
        stretch[frames] = (centre + deviation_hz / order) / found_hz[frames, None]
        level_db[frames] = _level_db(group)
        noise_ratio_db[frames] = _harmonic_to_noise_ratio_db(group, grid.sample_rate / found_hz[frames], grid.sample_rate)
    return Partials(found_hz, amplitudes, stretch, level_db, noise_ratio_db)


def partials_db(amplitudes: np.ndarray) -> np.ndarray:
    """Level of each partial re the sum of all amplitudes [dB], >= -80, shape (n_frames, n_partials)."""
    return amplitude_to_db(_shares(amplitudes), LOWEST_PARTIAL_DB)


def tristimulus(amplitudes: np.ndarray) -> np.ndarray:
    """Shares of the fundamental, of partials 2 to 4, and of those from 5 on, (n_frames, 3) (Pollard and Jansson, 1982).

    0 without partials.
    """
    share = _shares(amplitudes)
    return np.stack([share[:, 0], share[:, 1:4].sum(-1), share[:, 4:].sum(-1)], axis=-1)


def odd_to_even_ratio_db(amplitudes: np.ndarray) -> np.ndarray:
    """Energy of partials 1, 3, 5 ... over that of 2, 4, 6 ... [dB], in [-80, 80], shape (n_frames,) (Peeters et al., 2011).

    High for a stopped cylindrical pipe such as the clarinet.
    """
    energy = _shares(amplitudes) ** 2
    least = 1e-8 * energy.sum(-1) + 1e-30
    odd, even = energy[:, 0::2].sum(-1), energy[:, 1::2].sum(-1)
    return 10.0 * np.log10(np.maximum(odd, least) / np.maximum(even, least))


def spectral_slope_db_per_octave(amplitudes: np.ndarray) -> np.ndarray:
    """Straight line through the partials' levels over log2 k [dB per octave], shape (n_frames,).

    Partials more than 60 dB below the strongest are left out; 0 where fewer than two remain. A sawtooth reads -6.02.
    """
    octave = np.log2(np.arange(1, amplitudes.shape[-1] + 1))
    level = amplitude_to_db(amplitudes.astype(np.float64), -200.0)
    strongest = level.max(-1, keepdims=True)
    weight = ((level > strongest - 60.0) & (strongest > -150.0)).astype(np.float64)
    count = np.maximum(weight.sum(-1, keepdims=True), 1.0)
    centred = octave - (weight * octave).sum(-1, keepdims=True) / count
    variance = (weight * centred**2).sum(-1)
    return np.where(variance > 0, (weight * centred * level).sum(-1) / np.maximum(variance, 1e-12), 0.0)


def inharmonicity(stretch: np.ndarray, amplitudes: np.ndarray) -> float:
    """Coefficient B of a stiff string, f_k = k f_1 sqrt(1 + B k^2), for the frames of one note (Fletcher et al., 1962).

    (f_k / k)^2 is a straight line over k^2; it is fitted to each partial's median over the frames, weighted with the partial's energy.
    Partials so far off that the window has lost them (B k^3 beyond about 0.5), and those 60 dB below the strongest, are left out; with
    fewer than three of them it is 0. Arguments (n_frames, n_partials) as in :class:`Partials`.
    """
    if len(stretch) == 0:
        return 0.0
    order = np.arange(1, stretch.shape[-1] + 1)
    ratio, amplitude = np.median(stretch, axis=0).astype(np.float64), np.median(amplitudes, axis=0).astype(np.float64)
    usable = (amplitude > 1e-3 * amplitude.max()) & (amplitude > 0) & (np.abs(ratio - 1.0) * order < 0.25)
    usable &= np.cumsum(~usable & (amplitude > 0)) == 0 if usable[0] else True  # beyond a lost partial, its neighbours pose as others
    if usable.sum() < 3:
        return 0.0
    x, y, weight = order[usable] ** 2.0, ratio[usable] ** 2, amplitude[usable]
    slope, intercept = np.polyfit(x, y, 1, w=weight)
    return float(max(slope / intercept, 0.0))


def swing_response(rate_hz: float, f0_hz: float, *, squared: bool) -> float:
    """Share that the window leaves of a swing of `rate_hz` [Hz] at this f0 [Hz]: of f0 itself, or with `squared` of the level."""
    position = np.linspace(-0.5, 0.5, 257)
    window = np.cos(np.pi * position) ** (4 if squared else 2)  # level is the energy of windowed audio: Hann squared
    return float((window * np.cos(2 * np.pi * position * rate_hz * _span_s(f0_hz))).sum() / window.sum())


def _span_s(f0_hz: Any) -> Any:
    """Length of the window at an f0 [s]: whole periods."""
    return np.maximum(PERIODS, np.floor(SHORTEST_WINDOW_S * f0_hz)) / f0_hz


def _corrected_f0(audio: Samples, f0_hz: np.ndarray, grid: FrameGrid, where: np.ndarray) -> np.ndarray:
    """f0 from where its first partials really are; trackers smooth and quantise, and flatten vibrato by some percent."""
    corrected, glide_hz_per_s = np.array(f0_hz, dtype=np.float64), _glide_hz_per_s(f0_hz, grid)
    for group in _windows(audio, f0_hz, grid, where):
        corrected[group.frames] = _mean_f0(group, f0_hz, *_demodulate(group, f0_hz, glide_hz_per_s, grid, 5))
    return corrected


def _mean_f0(group: _Windows, f0_hz: np.ndarray, amplitude: np.ndarray, deviation_hz: np.ndarray) -> np.ndarray:
    """Mean of f_k / k over the first five partials, weighted with their energy; more than 75 cents of correction are not believed."""
    amplitude, deviation_hz = amplitude[:, :5].astype(np.float64), deviation_hz[:, :5]
    weight = np.where(np.abs(deviation_hz) * group.span_s < 1.0, amplitude**2, 0.0) + 1e-30
    correction = (weight * deviation_hz / np.arange(1, 1 + weight.shape[-1])).sum(-1) / weight.sum(-1)
    given = f0_hz[group.frames]
    return np.where(np.abs(correction / given) < MOST_CORRECTION, given + correction, given)


def _shares(amplitudes: np.ndarray) -> np.ndarray:
    amplitudes = amplitudes.astype(np.float64)
    return amplitudes / np.maximum(amplitudes.sum(-1, keepdims=True), 1e-12)


def _windows(audio: Samples, f0_hz: np.ndarray, grid: FrameGrid, where: np.ndarray) -> Iterator[_Windows]:
    """Cut out the wanted frames, those of similar f0 together."""
    span = _span_s(f0_hz) * grid.sample_rate  # samples, not whole
    halves = np.ceil(2.0 ** (np.ceil(2.0 * np.log2(span / 2.0)) / 2.0)).astype(int) + _TAPS  # rounded up to half octaves
    for half in np.unique(halves[where]):
        offset = np.arange(-half, half + 1)
        members = np.flatnonzero(where & (halves == half))
        for frames in np.array_split(members, max(1, -(-len(members) * len(offset) // _CHUNK))):
            position = np.clip(offset / span[frames, None], -0.5, 0.5)
            span_s = span[frames, None] / grid.sample_rate
            yield _Windows(
                frames,
                windows_at(audio, frames * grid.hop_length - half, len(offset)),
                np.cos(np.pi * position).astype(np.float32) ** 2,
                (-np.pi * np.sin(2 * np.pi * position) / span_s).astype(np.float32),
                offset / grid.sample_rate,
                span_s,
            )


def _demodulate(
    group: _Windows, f0_hz: np.ndarray, glide_hz_per_s: np.ndarray, grid: FrameGrid, n_partials: int
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude, and deviation from k f0 [Hz], of partials 1 ... n_partials, each (n, n_partials)."""
    centre, glide = f0_hz[group.frames, None], glide_hz_per_s[group.frames, None]
    cycles = centre * group.times_s + 0.5 * glide * group.times_s**2
    turn = np.exp(-2j * np.pi * cycles).astype(np.complex64)
    turning, area = np.ones_like(turn), group.window.sum(-1)
    amplitude = np.zeros((len(group.frames), n_partials), np.float32)
    deviation_hz = np.zeros((len(group.frames), n_partials))
    windowed, sloped = group.audio * group.window, group.audio * group.slope
    for k in range(n_partials):
        turning = turning * turn
        value = np.einsum("nt,nt->n", windowed, turning)
        change = -np.einsum("nt,nt->n", sloped, turning)  # moving the window moves the phase
        magnitude2 = np.maximum(np.abs(value) ** 2, 1e-24)
        offset_hz = (change * value.conj()).imag / magnitude2 / (2 * np.pi)
        audible = (k + 1) * centre[:, 0] < grid.sample_rate / 2.0
        deviation_hz[:, k] = np.where(audible, offset_hz, 0.0)
        amplitude[:, k] = np.where(audible, 2.0 * np.abs(value) / area / _hann_response(offset_hz * group.span_s[:, 0]), 0.0)
    return amplitude, deviation_hz


def _glide_hz_per_s(f0_hz: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """Slope of f0 at each frame [Hz/s], shape (n_frames,); 0 next to a leap, which is no glide."""
    if len(f0_hz) < 2:
        return np.zeros_like(f0_hz)
    leap = np.abs(np.diff(np.log2(f0_hz))) > 1.0 / 12.0
    beside = np.concatenate([leap, [False]]) | np.concatenate([[False], leap])
    return np.where(beside, 0.0, np.gradient(f0_hz) * grid.frame_rate)


def _hann_response(bins: np.ndarray) -> np.ndarray:
    """Response of a Hann window off its centre, re its centre; not followed below a half."""
    inside = np.clip(np.abs(bins), 0.0, 0.999)
    return np.sinc(inside) / (1.0 - inside**2)


def _level_db(group: _Windows) -> np.ndarray:
    energy = ((group.audio * group.window) ** 2).sum(-1) / (group.window**2).sum(-1)
    return 10.0 * np.log10(np.maximum(2.0 * energy, 1e-12))


def _harmonic_to_noise_ratio_db(group: _Windows, period: np.ndarray, sample_rate: int) -> np.ndarray:
    """Energy of what repeats after one period [samples] over the energy of what does not."""
    half = np.round(period / 2.0)
    later, earlier = _shifted(group.audio, period - half), _shifted(group.audio, -half)
    position = group.times_s / np.maximum(NOISE_PERIODS * period / sample_rate, NOISE_WINDOW_S)[:, None]
    weight = np.where(np.abs(position) < 0.5, np.cos(np.pi * position) ** 2, 0.0)
    total = (weight * (later - _mean(later, weight)) ** 2 + weight * (earlier - _mean(earlier, weight)) ** 2).sum(-1) / 2.0
    noise = (weight * (later - earlier) ** 2).sum(-1) / 2.0
    lowest, highest = (10.0 ** (limit / 10.0) for limit in NOISE_RATIO_LIMITS_DB)
    ratio = np.clip((total - noise) / np.maximum(noise, 1e-20), lowest, highest)
    return np.where(total > 1e-12, 10.0 * np.log10(ratio), 0.0)


def _shifted(audio: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Rows of audio (n, length), read `shift` samples later, one shift a row; zeros beyond the ends."""
    whole = np.floor(shift).astype(int)
    tap = np.arange(_TAPS) - _TAPS // 2 + 1
    distance = tap - (shift - whole)[:, None]
    kernel = np.sinc(distance) * np.cos(np.pi * distance / (_TAPS + 1)) ** 2
    kernel = (kernel / kernel.sum(-1, keepdims=True)).astype(np.float32)  # (n, taps)
    length = audio.shape[-1]
    place = np.arange(length + _TAPS - 1) + tap[0] + whole[:, None]
    inside = (place >= 0) & (place < length)
    wide = np.where(inside, np.take_along_axis(audio, np.clip(place, 0, length - 1), -1), np.float32(0))
    result = np.zeros_like(audio)
    for column in range(_TAPS):
        result += kernel[:, column, None] * wide[:, column : column + length]
    return result


def _mean(audio: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (audio * weight).sum(-1, keepdims=True) / weight.sum(-1, keepdims=True)
