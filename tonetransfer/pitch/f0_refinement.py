"""Exact f0 around a curve that is known to be nearly right.

The audio is shifted down by the first few harmonics of the curve; what remains of their phase is how far the curve is off.
Every harmonic votes with its energy, so a weak or missing fundamental does no harm, and no octave can be mistaken.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import upfirdn

from ..audio.files import resample
from ..audio.frames import FrameGrid

WORK_RATE = 16000  # Hz; enough for the harmonics that are looked at
STEP = 40  # samples at WORK_RATE; 400 phases a second tell deviations up to 200 Hz
HIGHEST_HZ = 7000.0
N_HARMONICS = 6
FLOOR_DB = -60.0  # below the loudest instant: nothing to measure
EDGE_DB = -6.0  # below the loudest instant nearby: the window sees the edge of a note, where the deviation reads too small


def refine_f0(audio: np.ndarray, f0_hz: np.ndarray, grid: FrameGrid, *, limit_cents: float = 60.0) -> np.ndarray:
    """f0 of the audio, sought around a curve by demodulating harmonics.

    Parameters
    ----------
    audio : ndarray [shape=(n_samples,)]
    f0_hz : ndarray [shape=(n_frames,)], > 0
        The curve, within `limit_cents` of the truth.
    grid : FrameGrid
    limit_cents : float
        The result stays this close to the curve.

    Returns
    -------
    ndarray [shape=(n_frames,), float32], > 0
        Where the audio is too quiet to tell, the deviation found last is held.
    """
    at_work = resample(audio, grid.sample_rate, WORK_RATE).numpy()
    frame_times = grid.times(len(f0_hz))
    curve = np.interp(np.arange(len(at_work)) / WORK_RATE, frame_times, f0_hz)
    half = max(round(1.5 * WORK_RATE / float(curve.min())), round(0.010 * WORK_RATE))  # first null at two thirds of the lowest f0
    error, weight = _phase_errors(at_work.astype(np.float64), curve, np.hanning(2 * half + 1))
    smoother = np.hanning(13)[1:-1]  # 27 ms
    error, weight = np.convolve(error, smoother, mode="same"), np.convolve(weight, smoother, mode="same")
    loudest_near = maximum_filter1d(weight, 2 * (half // STEP + 6) + 1)
    known = (weight > loudest_near * 10.0 ** (EDGE_DB / 10.0)) & (weight > weight.max() * 10.0 ** (FLOOR_DB / 10.0))
    if not known.any():
        return f0_hz.astype(np.float32)
    last_known = np.maximum.accumulate(np.where(known, np.arange(len(known)), np.argmax(known)))
    cents = 1200.0 * np.log2(1.0 + np.clip((error / np.maximum(weight, 1e-30))[last_known], -0.5, 1.0))
    times = (np.arange(len(error)) + 0.5) * STEP / WORK_RATE
    nearest = np.interp(frame_times, times, np.clip(cents, -limit_cents, limit_cents))
    return (f0_hz * 2.0 ** (nearest / 1200.0)).astype(np.float32)


def _phase_errors(audio: np.ndarray, f0_hz: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted relative error of the curve and its weight, each (n_steps,); their quotient is the least-squares error.

    A harmonic k that deviates by ``e * k * f0`` turns by ``2 pi e k f0 dt`` in a step.
    """
    phase = np.cumsum(f0_hz / WORK_RATE)
    phase -= np.floor(phase)
    carrier = np.exp(-2j * np.pi * phase)
    at_steps = f0_hz[::STEP]
    top = int(np.clip(HIGHEST_HZ // float(f0_hz.max()), 1, N_HARMONICS))
    error, weight = np.zeros(len(at_steps) - 1), np.zeros(len(at_steps) - 1)
    shifted = audio.astype(np.complex128)
    for k in range(1, top + 1):
        shifted = shifted * carrier
        baseband = _decimate(shifted, window)[: len(at_steps)]
        turn = baseband[1:] * np.conj(baseband[:-1])
        expected = 2.0 * np.pi * k * at_steps[:-1] * STEP / WORK_RATE  # radians a step for a relative error of 1
        error += np.abs(turn) * np.angle(turn) * expected
        weight += np.abs(turn) * expected**2
    return error, weight


def _decimate(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Windowed sums centred on every STEP-th value."""
    half = len(window) // 2
    padding = -half % STEP
    smooth = upfirdn(window, np.concatenate([np.zeros(padding), values]), up=1, down=STEP)
    return smooth[(half + padding) // STEP :]
