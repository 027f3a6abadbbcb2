"""Free decay of strings: once the bow has left a string its partials die away by themselves, the higher the sooner.

A decoder that is told f0 and loudness takes the falling loudness for a softer stroke, in which all partials and the noise of the bow go on.
On a string that nobody drives, losses grow with frequency (Fletcher and Rossing, The Physics of Musical Instruments, ch. 2), and no bow
hisses. How loud the whole is stays what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch

from ..audio.stft import a_weighting_at, band_centres_hz
from ..audio.units import db_to_amplitude
from .render import SynthParams

STRING_DAMPING = 4.0  # dB/s per square root of a hertz: the median of recorded violin notes is 4.2, the upper quartile of cello notes 4.5
BOW_NOISE_DB_PER_S = 50.0  # that noise dies away faster than partials beside it
GENTLE_DB_PER_S = 40.0  # a fall that is slower is a softer stroke
DEPTH_DB = 15.0  # nor does a bowed note fall so far without a rise
SWELL_DB = 6.0  # of a fall whose end is not known yet, from which on it counts, and all of it at DEPTH_DB
LARGEST_DB = 40.0  # that the partials which are left are raised
DEEPEST_DB = -200.0  # that anything dies away: what is left takes no numbers that processors are slow with

Array = TypeVar("Array", np.ndarray, torch.Tensor)


class DecayClock:
    """Time since the loudness of a note began to fall freely, frame by frame.

    A frame knows nothing of those behind it: of a fall the first 6 dB do not count, and those down to 15 dB in part.

    Parameters
    ----------
    frame_rate : float, > 0 [Hz]
    """

    def __init__(self, frame_rate: float) -> None:
        self._period = 1.0 / frame_rate
        self.reset()

    def reset(self) -> None:
        """Begin again with no note."""
        self._top_db, self.since_s, self.depth_db = -np.inf, 0.0, 0.0

    def next(self, loudness_db: float) -> float:
        """Time [s] that counts in the next frame, >= 0; 0 while a note is held."""
        self.since_s += self._period
        if loudness_db >= self._top_db - GENTLE_DB_PER_S * self.since_s:  # the curve touches a line of the gentle slope from above
            self._top_db, self.since_s = loudness_db, 0.0
        self.depth_db = self._top_db - loudness_db
        return self.since_s * min(max((self.depth_db - SWELL_DB) / (DEPTH_DB - SWELL_DB), 0.0), 1.0)


def free_decay(loudness_db: torch.Tensor, frame_rate: float) -> torch.Tensor:
    """Time since the loudness of a note began to fall freely, (n_frames,) [s]: as :class:`DecayClock`, of falls whose ends are known.

    0 where a note is held, or falls by less than 15 dB.
    """
    clock, since_s, depth_db = DecayClock(frame_rate), [], []
    for level in loudness_db.tolist():
        clock.next(level)
        since_s.append(clock.since_s)
        depth_db.append(clock.depth_db)
    time_s, depth = np.array(since_s), np.array(depth_db)
    held = np.flatnonzero(np.append(time_s, 0.0) == 0.0)
    for first, last in zip(held[:-1] + 1, held[1:], strict=True):
        if last > first and depth[first:last].max() < DEPTH_DB:
            time_s[first:last] = 0.0
    return torch.from_numpy(time_s).float()


def damped(pieces: Iterable[SynthParams], decay_s: torch.Tensor, damping: float, sample_rate: int) -> Iterator[SynthParams]:
    """Parameters of strings that decay freely, in consecutive pieces, as loud as they were; rows of the distribution still sum to 1.

    `decay_s` (n_frames,), of all pieces, as :func:`free_decay` returns it. A partial at f dies away by ``damping * sqrt(f)`` dB a second,
    beside those that do so more slowly.
    """
    begin = 0
    for piece in pieces:
        since = decay_s[begin : begin + piece.n_frames]
        begin += piece.n_frames
        if not bool(since.any()):
            yield piece
            continue
        amplitudes, magnitudes = (piece.amplitude[:, None] * piece.harmonic_distribution).numpy(), piece.noise_magnitudes.numpy()
        partials_hz = piece.f0_hz.numpy()[:, None] * np.arange(1, amplitudes.shape[-1] + 1)
        bands = noise_bands(magnitudes.shape[-1], sample_rate)
        left = damped_frames(partials_hz, amplitudes, magnitudes, since.numpy()[:, None], damping, bands)
        tone, noise = (torch.from_numpy(x).to(piece.amplitude) for x in left)
        total = tone.sum(-1)
        yield replace(
            piece,
            amplitude=total,
            harmonic_distribution=tone / total[:, None].clamp(min=1e-12),
            noise_magnitudes=noise,
        )


def damped_frames(
    partials_hz: Array, amplitudes: Array, magnitudes: Array, since_s: Array, damping: float | Array, bands: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Amplitudes (n_frames, n_harmonics) and noise magnitudes (n_frames, n_bands) of strings that decay freely, for :func:`damped`.

    `since_s` is (n_frames, 1), and `bands` is what :func:`noise_bands` returns.
    """
    centres, of_noise = bands
    left = amplitudes * db_to_amplitude((-damping * partials_hz**0.5 * since_s).clip(min=DEEPEST_DB))
    hiss = magnitudes * db_to_amplitude((-(damping * centres**0.5 + BOW_NOISE_DB_PER_S) * since_s).clip(min=DEEPEST_DB))
    of_tone = a_weighting_at(partials_hz)
    before, after = ((tone**2 * of_tone).sum(-1) + noise**2 @ of_noise for tone, noise in ((amplitudes, magnitudes), (left, hiss)))
    gain = ((before / after.clip(min=1e-20)) ** 0.5).clip(max=db_to_amplitude(LARGEST_DB))[:, None]
    return left * gain, hiss * gain


@lru_cache(maxsize=8)
def noise_bands(n_bands: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the noise bands [Hz], and A-weighted power of each at magnitude 1 re a sine of 1 kHz, each (n_bands,)."""
    centres = band_centres_hz(n_bands, sample_rate)
    return centres, a_weighting_at(centres) * np.gradient(centres) * (4.0 / sample_rate)
