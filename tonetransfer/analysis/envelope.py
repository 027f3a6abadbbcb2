"""The envelope of one note, how it starts, settles, lasts and dies away; and its modulation, vibrato and tremolo.

The envelope is the root of the audio's power through a Hann window of whole periods, 1000 times a second. Attack and release are
measured by *effort*, the time that each further tenth of the peak takes (after Peeters et al., "The Timbre Toolbox", JASA 130(5),
2011): the attack is over where a tenth suddenly takes four times as long as the ones before, so a crescendo does not count as
attack. All times are those of a straight line: an attack that rises linearly within 50 ms reads 50 ms.

A contour, of cents or of decibels, swings around its own slow course. A sine on top of a parabola is fitted by least squares to each 0.6 s
of it (to all of a shorter one, down to 0.3 s), for each rate between 3.5 and 10 Hz that makes at least two full swings in that time. The
best rate counts as modulation if its sine explains three quarters of what the parabola leaves, and if it is larger than `least_extent`.
Extent is always the **peak from the mean**, half of peak to peak. Where nothing swings, rate, extent and onset are 0.

References: Herrera and Bonada, "Vibrato extraction and parameterization in the spectral modeling synthesis framework", DAFx 1998;
Prame, "Measurements of the vibrato rate of ten singers", JASA 96, 1994 (rates between 4 and 8 Hz).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

ENVELOPE_RATE = 1000  # Hz
SHORTEST_WINDOW_S = 0.010
SHORTEST_RISE_S = 0.001
LONGER_EFFORT = 4.0
SLACK_S = 0.010  # ripples of less than this do not end an attack
SLURRED = 0.3  # a note that begins above this share of its peak has no attack of its own
LATEST_ONSET_S = 0.2  # what rises later, after a quiet beginning, is a swell
HEARD, LONGEST_FLAT_S = 0.1, 0.1  # and so is what first stays for a while where it can be heard
LATEST_DECAY_S = 0.05  # after the attack; a peak that comes later is a swell
_STEP_SHARE = 0.694  # what a sudden start reads, re the length of the window: (C^-1(0.81) - C^-1(0.01)) / 0.8, C the Hann window's integral
WINDOW_S = 0.6
SHORTEST_S = 0.3  # of a contour; in less, too many curves look like a sine
RATE_LIMITS_HZ = (3.5, 10.0)
RATE_STEP_HZ = 0.1
LEAST_CYCLES = 2.0  # in the window; with fewer, any bent glide looks like a sine
LEAST_SHARE = 0.75  # share of the variance that a sine explains
ONSET_CYCLES = 1.25


@dataclass(frozen=True)
class Adsr:
    """Parts of a note [s], re the start of its envelope where they are instants. A part that a note does not have is 0."""

    onset_s: float = 0.0  # where the attack's straight line leaves zero
    attack_s: float = 0.0
    decay_s: float = 0.0
    sustain_s: float = 0.0
    release_s: float = 0.0
    sustain_db: float = 0.0  # of the sustained part, re the peak

    @property
    def log_attack_time(self) -> float:
        """Attack time [log10 s], not below -3 (1 ms), which is also what a slurred note reads."""
        return math.log10(max(self.attack_s, SHORTEST_RISE_S))


def window_s(f0_hz: float) -> float:
    """Length of the smoothing window [s]: whole periods, so that no ripple of f0 is left, and at least 10 ms."""
    return max(2, math.ceil(SHORTEST_WINDOW_S * f0_hz)) / f0_hz


def amplitude_envelope(audio: np.ndarray, sample_rate: int, f0_hz: float) -> np.ndarray:
    """Amplitude (n,) of one note, `audio` (n_samples,) of mean f0 `f0_hz`: 1000 values a second; a sine reads its amplitude."""
    window = np.hanning(round(window_s(f0_hz) * sample_rate) + 2)[1:-1]
    power = _convolved(np.asarray(audio, np.float64) ** 2, window / window.sum())
    n = 1 + int((len(audio) - 1) * ENVELOPE_RATE / sample_rate)
    power = np.interp(np.arange(n) * sample_rate / ENVELOPE_RATE, np.arange(len(audio)), power)
    return np.sqrt(2.0 * np.maximum(power, 0.0))


def _convolved(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Values (n,) smoothed by a window that is centred on each; scipy.signal, which has this, takes 50 MB."""
    n_full = len(values) + len(window) - 1
    n_fft = scipy.fft.next_fast_len(n_full, real=True)
    whole = scipy.fft.irfft(scipy.fft.rfft(values, n_fft) * scipy.fft.rfft(window, n_fft), n_fft)
    first = (len(window) - 1) // 2
    return np.asarray(whole[first : first + len(values)])


def find_adsr(envelope: np.ndarray, *, smoothing_s: float = 0.0) -> Adsr:
    """Take a note's envelope apart.

    `envelope` (n,) has 1000 values a second, from at most 0.1 s before the note to after it; what a smoothing by a window of `smoothing_s`
    adds to a rise is taken off again.
    """
    peak = float(envelope.max(initial=0.0))
    if len(envelope) < 3 or peak <= 0:
        return Adsr()
    onset_s, attack_s = _rise(envelope / peak, smoothing_s)
    if onset_s > LATEST_ONSET_S:
        onset_s, attack_s = 0.0, 0.0
    tail_s, release_s = _rise(envelope[::-1] / peak, smoothing_s)
    end_s = (len(envelope) - 1) / ENVELOPE_RATE - tail_s
    first = min(round((onset_s + attack_s) * ENVELOPE_RATE), len(envelope) - 1)
    release_s = min(release_s, max(end_s - onset_s - attack_s, 0.0))
    last = max(round((end_s - release_s) * ENVELOPE_RATE), first)
    decay_s, sustain = _decay(envelope[first : last + 1])
    sustain_s = max((last - first) / ENVELOPE_RATE - decay_s, 0.0)
    return Adsr(onset_s, attack_s, decay_s, sustain_s, release_s, min(20.0 * math.log10(max(sustain / peak, 1e-4)), 0.0))


def temporal_centroid_s(envelope: np.ndarray, onset_s: float = 0.0) -> float:
    """Centre of gravity of an envelope (n,) in time, counted from `onset_s` [s] (Peeters et al., 2011)."""
    weight = envelope[min(round(onset_s * ENVELOPE_RATE), len(envelope)) :]
    total = float(weight.sum())
    return float((weight * np.arange(len(weight))).sum() / total / ENVELOPE_RATE) if total > 0 else 0.0


def _rise(share: np.ndarray, smoothing_s: float) -> tuple[float, float]:
    """Begin and duration of a rise [s], for an envelope (n,) with peak 1; (0, 0) if it begins high already."""
    if share[0] >= SLURRED:
        return 0.0, 0.0
    levels = np.arange(1, 10) / 10.0
    levels = levels[levels > share[0]]
    after = np.array([int(np.argmax(share >= level)) for level in levels])  # first crossings
    before = share[after - 1]
    times = (after - 1 + (levels - before) / np.maximum(share[after] - before, 1e-12)) / ENVELOPE_RATE
    first, last = _easy_steps(np.diff(times))
    if share[0] > HEARD and times[first] > LONGEST_FLAT_S:
        return 0.0, 0.0
    target = 1.0 if last == len(levels) - 1 else levels[last]
    per_unit = (times[last] - times[first]) / (levels[last] - levels[first])
    raw_s = per_unit * target
    rise_s = max(math.sqrt(max(raw_s**2 - (_STEP_SHARE * smoothing_s) ** 2, 0.0)), SHORTEST_RISE_S)
    onset_s = times[first] - per_unit * levels[first] + (raw_s - rise_s) / 2.0  # smoothing leaves the middle where it is
    end_s = onset_s + rise_s
    return max(float(onset_s), 0.0), max(float(end_s - max(onset_s, 0.0)), SHORTEST_RISE_S)


def _easy_steps(efforts: np.ndarray) -> tuple[int, int]:
    """The stretch of steps in which none takes much longer than the rest: the levels it begins and ends at."""
    last = len(efforts)
    for step in range(2, len(efforts)):
        if efforts[step] > LONGER_EFFORT * efforts[:step].mean() + SLACK_S:
            last = step
            break
    first = 0
    while last - first > 2 and efforts[first] > LONGER_EFFORT * efforts[first + 1 : last].mean() + SLACK_S:
        first += 1
    return first, last


def _decay(body: np.ndarray) -> tuple[float, float]:
    """Length of the fall right after the attack [s] and the level it leads to, for what lies between attack and release."""
    sustain = float(np.median(body[len(body) // 2 :]))
    top = int(body.argmax())
    if top > LATEST_DECAY_S * ENVELOPE_RATE or body[top] < 1.12 * sustain:  # a swell; less than 1 dB
        return 0.0, sustain
    settled = body[top:] <= sustain + 0.1 * (body[top] - sustain)
    return float((top + np.argmax(settled) / 0.9) / ENVELOPE_RATE), sustain


@dataclass(frozen=True)
class Modulation:
    """A swing of a contour. All 0 if there is none."""

    rate_hz: float = 0.0
    extent: float = 0.0  # peak from the mean, in the contour's unit; median over the part where the swing is fully grown
    onset_s: float = 0.0  # from the contour's start to where the swing has grown to half its extent
    duration_s: float = 0.0  # in which it swings
    end_s: float = 0.0  # from the contour's start to where it swings last


@dataclass(frozen=True)
class Swing:
    """The sine that fits best around each frame of a contour, each (n_frames,).

    `share`, in [0, 1], is the part of the variance around the parabola that the sine explains; 0 if the best rate lies on the edge of
    the search. `value` is the sine at that frame, in the contour's unit.
    """

    rate_hz: np.ndarray
    extent: np.ndarray
    share: np.ndarray
    value: np.ndarray


def find_modulation(contour: np.ndarray, frame_rate: float, *, least_extent: float) -> Modulation:
    """Vibrato of one note from its f0 in cents, or tremolo from its level in dB.

    `contour` (n_frames,) is that of a note without its very first and last moments; swings smaller than `least_extent`, in its unit, are
    taken for unsteadiness.
    """
    swing = follow_swing(contour, frame_rate)
    swinging = (swing.share >= LEAST_SHARE) & (swing.extent >= least_extent)
    if not swinging.any():
        return Modulation()
    grown = swinging & (swing.extent >= 0.7 * np.quantile(swing.extent[swinging], 0.9))
    rate_hz, extent = float(np.median(swing.rate_hz[grown])), float(np.median(swing.extent[grown]))
    duration_s = float(swinging.sum() / frame_rate)
    if duration_s * rate_hz < LEAST_CYCLES:
        return Modulation()
    end_s = float(np.flatnonzero(swinging)[-1] + 1) / frame_rate
    return Modulation(rate_hz, extent, _onset_s(contour, frame_rate, rate_hz, extent), duration_s, end_s)


def follow_swing(contour: np.ndarray, frame_rate: float) -> Swing:
    """Fit a sine around each frame of a contour (n_frames,); all zeros where it is too short for two swings."""
    length = min(round(WINDOW_S * frame_rate), len(contour))
    lowest_hz = max(RATE_LIMITS_HZ[0], LEAST_CYCLES * frame_rate / max(length, 1))
    rates_hz = np.arange(lowest_hz, RATE_LIMITS_HZ[1] + RATE_STEP_HZ / 2, RATE_STEP_HZ)
    if len(rates_hz) < 3 or length < SHORTEST_S * frame_rate:
        nothing = np.zeros(len(contour))
        return Swing(nothing, nothing, nothing, nothing)
    basis = _basis(length, frame_rate, tuple(rates_hz), degree=2)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(contour, np.float64), length)
    parts = [_fit(windows[start : start + 4096], basis, rates_hz) for start in range(0, len(windows), 4096)]
    rate_hz, extent, share, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    centre = np.clip(np.arange(len(contour)) - length // 2, 0, len(windows) - 1)
    inside = np.clip(np.arange(len(contour)) - centre, 0, length - 1)
    return Swing(rate_hz[centre], extent[centre], share[centre], value[centre, inside])


@dataclass(frozen=True)
class _Basis:
    trend: np.ndarray  # (length, degree + 1), orthonormal
    wave: np.ndarray  # (n_rates, length, 2), orthonormal, free of trend
    solve: np.ndarray  # (n_rates, 2, 2): coordinates in `wave` to amplitudes of cosine and sine
    plain: np.ndarray  # (n_rates, length, 2), cosine and sine


@lru_cache(maxsize=64)
def _basis(length: int, frame_rate: float, rates_hz: tuple[float, ...], *, degree: int) -> _Basis:
    time = (np.arange(length) - (length - 1) / 2.0) / frame_rate
    trend, _ = np.linalg.qr(np.stack([time**power for power in range(degree + 1)], axis=-1))
    angle = 2 * np.pi * np.asarray(rates_hz)[:, None] * time
    plain = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    wave, mixing = np.linalg.qr(plain - trend @ (trend.T @ plain))
    return _Basis(trend, wave, np.linalg.inv(mixing), plain)


def _fit(windows: np.ndarray, basis: _Basis, rates_hz: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rate [Hz], extent and share (n,) and the sine itself (n, length) for windows (n, length)."""
    bent = windows - (windows @ basis.trend) @ basis.trend.T
    coordinates = np.einsum("nt,rtc->nrc", bent, basis.wave, optimize=True)
    energy = (coordinates**2).sum(-1)  # (n, n_rates)
    best, row = energy.argmax(-1), np.arange(len(windows))
    inner = np.clip(best, 1, energy.shape[-1] - 2)
    left, middle, right = (energy[row, inner + step] for step in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    rate_hz = rates_hz[inner] + RATE_STEP_HZ * np.clip(shift, -0.5, 0.5)
    amplitudes = np.einsum("nij,nj->ni", basis.solve[best], coordinates[row, best])
    total = (bent**2).sum(-1)
    share = np.where((best == inner) & (total > 1e-9), energy[row, best] / np.maximum(total, 1e-9), 0.0)
    return rate_hz, np.hypot(*amplitudes.T), share, np.einsum("ntc,nc->nt", basis.plain[best], amplitudes)


def _onset_s(contour: np.ndarray, frame_rate: float, rate_hz: float, extent: float) -> float:
    """Onset of a swing of known rate: it first has half its extent, seen through little more than one swing; to about 0.1 s."""
    length = round(ONSET_CYCLES * frame_rate / rate_hz)
    basis = _basis(length, frame_rate, (rate_hz,), degree=1)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(contour, np.float64), length)
    amplitudes = (windows @ basis.wave[0]) @ basis.solve[0].T
    grown = np.flatnonzero(np.hypot(*amplitudes.T) >= extent / 2.0)
    if len(grown) == 0 or grown[0] == 0:
        return 0.0
    return float((grown[0] + (length - 1) / 2.0) / frame_rate)
