"""Random fluctuation of partials: what keeps a sustained note of a real instrument from standing still.

A player's breath, bow and lips move every partial by itself; a network that is trained to predict spectra learns their mean, in which
nothing moves. The level of each partial is therefore modulated by noise of its own, low-pass at some hertz (Ando and Yamaguchi 1993
measured such fluctuation in violin and flute tones). Counter-based noise and a recursion of first order, so that a stream and a whole
recording get the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..audio.stft import frame_magnitudes
from .render import SynthParams, white_noise

CORNER_HZ = 5.0
NOISE_KEY = 0x5EED  # another stream of noise than the one that is heard

PROBE_DB = 2.0  # the fluctuation that shows how much of it is measured
MEASURED_PARTIALS = range(2, 9)
N_FFT = 4096  # 85 ms: tells partials apart from 60 Hz on
SLOW_FRAMES = 25  # what is slower than the mean over a quarter of a second is a swell
EDGE_FRAMES, SHORTEST_FRAMES = 8, 40  # of a note, that are left out at both ends; and that it must have left
STEADY_CENTS = 60.0  # between frames: further is another note
HIGHEST_HZ = 7000.0


class Fluctuation:
    """Level of each partial as it moves, frame by frame, with a standard deviation of its own (n_harmonics,) [dB]."""

    def __init__(self, depth_db: np.ndarray | torch.Tensor, frame_rate: float, *, seed: int = 0) -> None:
        self.depth_db = np.asarray(depth_db, dtype=np.float64)
        self._pole = math.exp(-2.0 * math.pi * CORNER_HZ / frame_rate)
        self._gain = math.sqrt(1.0 - self._pole**2)
        self._key = seed ^ NOISE_KEY
        self.reset()

    def reset(self) -> None:
        """Begin again at the first frame."""
        self._state, self._frame = np.zeros(len(self.depth_db)), 0

    def next(self, n_frames: int) -> np.ndarray:
        """Gains of the next frames, linear, (n_frames, n_harmonics)."""
        return 10.0 ** (self.depth_db * self.skip(n_frames) / 20.0)

    def skip(self, n_frames: int) -> np.ndarray:
        """Go on by some frames; the noise of them in units of the standard deviation, (n_frames, n_harmonics)."""
        n = len(self.depth_db)
        levels = white_noise(self._frame * n, n_frames * n, self._key).numpy().reshape(n_frames, n).astype(np.float64) * self._gain
        for row in levels:
            row += self._pole * self._state
            self._state = row.copy()
        self._frame += n_frames
        return levels


def fluctuation_depths(upper_db: float, n_harmonics: int) -> torch.Tensor | None:
    """Depth of each partial's fluctuation (n_harmonics,) [dB]: half for the fundamental, which moves less; None if nothing moves."""
    return torch.cat([torch.tensor([0.5]), torch.ones(n_harmonics - 1)]) * upper_db if upper_db > 0.0 else None


def fluctuating(pieces: Iterable[SynthParams], fluctuation: Fluctuation) -> Iterator[SynthParams]:
    """Parameters (n_frames, ...) whose partials fluctuate, in consecutive pieces; rows of the distribution still sum to 1."""
    for piece in pieces:
        gains = torch.from_numpy(fluctuation.next(piece.n_frames)).to(piece.harmonic_distribution)
        moved = piece.harmonic_distribution * gains
        total = moved.sum(-1, keepdim=True)
        yield replace(piece, harmonic_distribution=moved / total.clamp(min=1e-9))


def measure_beside(
    recorded: torch.Tensor,
    play: Callable[[torch.Tensor | None], Iterable[torch.Tensor]],
    n_harmonics: int,
    f0_hz: torch.Tensor,
    playing: torch.Tensor,
    grid: FrameGrid,
) -> tuple[float | None, ...]:
    """How far partials move in a recording (n_samples,) and in what a model plays of it, still and probed; see :func:`fluctuation_to_add`.

    `play` gives, for the depth of each partial's fluctuation (n_harmonics,) [dB] or None, the model's sound in consecutive pieces.
    """
    level = measure_fluctuation(recorded, f0_hz, playing, grid)
    if level is None:
        return (None,)
    played = [torch.cat(list(play(fluctuation_depths(depth, n_harmonics)))) for depth in (0.0, PROBE_DB)]
    return level, *(measure_fluctuation(one, f0_hz, playing, grid) for one in played)


def fluctuation_to_add(levels: Sequence[tuple[float | None, ...]], largest_db: float) -> float | None:
    """Fluctuation that makes what a model plays move as far as a recording does [dB]; variances add up. None: nothing was measured.

    `levels` are what :func:`measure_beside` gives of each recording: recorded, played, played with a fluctuation of `PROBE_DB`.
    """
    known = [np.square(np.array(one, dtype=np.float64)) for one in levels if None not in one]
    if not known:
        return None
    recorded, still, probed = np.mean(known, axis=0)
    return float(np.clip(PROBE_DB * np.sqrt(max(recorded - still, 0.0) / max(probed - still, 1e-6)), 0.0, largest_db))


def measure_fluctuation(audio: torch.Tensor, f0_hz: torch.Tensor, playing: torch.Tensor, grid: FrameGrid) -> float | None:
    """How far partials of audio (n_samples,) move against the whole sound, in frames (n_frames,) in which notes sound.

    None: none is long enough. Standard deviation of the levels of partials 2 to 8 relative to the level of the sound [dB], of what is
    faster than 4 Hz; the median over notes and partials.
    """
    power = frame_magnitudes(audio, grid, N_FFT).square().numpy().astype(np.float64)
    hertz_per_bin, f0 = grid.sample_rate / N_FFT, f0_hz.numpy()
    whole_db = 10.0 * np.log10(power.sum(-1) + 1e-12)
    found = []
    for first, last in _steady_notes(f0, playing.numpy()):
        frames = np.arange(first, last)
        for k in MEASURED_PARTIALS:
            if f0[first:last].max() * k > HIGHEST_HZ:
                continue
            centre = np.clip(np.round(f0[first:last] * k / hertz_per_bin).astype(int), 2, power.shape[-1] - 3)
            level_db = 10.0 * np.log10(sum(power[frames, centre + d] for d in (-2, -1, 0, 1, 2)) + 1e-12) - whole_db[first:last]
            slow = np.convolve(np.pad(level_db, SLOW_FRAMES // 2, "edge"), np.ones(SLOW_FRAMES) / SLOW_FRAMES, "valid")
            found.append(np.std(level_db - slow))
    return float(np.median(found)) if found else None


def _steady_notes(f0_hz: np.ndarray, playing: np.ndarray) -> list[tuple[int, int]]:
    """First and past-the-end frames of the middles of long notes."""
    cents = np.abs(1200.0 * np.diff(np.log2(f0_hz), prepend=np.log2(f0_hz[:1])))
    breaks = np.flatnonzero(~playing | (cents > STEADY_CENTS))
    bounds = np.concatenate([[-1], breaks, [len(playing)]])
    spans = [(int(a) + 1 + EDGE_FRAMES, int(b) - EDGE_FRAMES) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return [(first, last) for first, last in spans if last - first >= SHORTEST_FRAMES]
