"""Vibrato and tremolo: how a contour, of cents or of decibels, swings around its own slow course.

A sine on top of a parabola is fitted by least squares to each 0.6 s of the contour (to all of a shorter one, down to 0.3 s), for
each rate between 3.5 and 10 Hz that makes at least two full swings in that time. The best rate counts as modulation if its sine
explains three quarters of what the parabola leaves, and if it is larger than `least_extent`. Extent is always the **peak from the
mean**, half of peak to peak. Where nothing swings, rate, extent and onset are 0.

References: Herrera and Bonada, "Vibrato extraction and parameterization in the spectral modeling synthesis framework", DAFx 1998;
Prame, "Measurements of the vibrato rate of ten singers", JASA 96, 1994 (rates between 4 and 8 Hz).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WINDOW_S = 0.6
SHORTEST_S = 0.3  # of a contour; in less, too many curves look like a sine
RATE_LIMITS_HZ = (3.5, 10.0)
RATE_STEP_HZ = 0.1
LEAST_CYCLES = 2.0  # in the window; with fewer, any bent glide looks like a sine
LEAST_SHARE = 0.75  # share of the variance that a sine explains
ONSET_CYCLES = 1.25


@dataclass(frozen=True)
class Modulation:
    """A swing of a contour. All 0 if there is none.

    Parameters
    ----------
    rate_hz : float, >= 0
    extent : float, >= 0
        Peak from the mean, in the contour's unit; median over the part where the swing is fully grown.
    onset_s : float, >= 0
        From the contour's start to where the swing has grown to half its extent.
    duration_s : float, >= 0
        Time during which it swings.
    end_s : float, >= 0
        From the contour's start to where it swings last.
    """

    rate_hz: float = 0.0
    extent: float = 0.0
    onset_s: float = 0.0
    duration_s: float = 0.0
    end_s: float = 0.0


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

    Parameters
    ----------
    contour : ndarray [shape=(n_frames,)], finite
        Of one note, without its very first and last moments.
    frame_rate : float, > 0 [Hz]
    least_extent : float, > 0
        Smaller swings, in the contour's unit, are taken for unsteadiness.

    Returns
    -------
    Modulation
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
