"""Random fluctuation of partials: what keeps a sustained note of a real instrument from standing still.

A player's breath, bow and lips move every partial by itself; a network that is trained to predict spectra learns their mean, in which
nothing moves. The level of each partial is therefore modulated by noise of its own, low-pass at some hertz (Ando and Yamaguchi 1993
measured such fluctuation in violin and flute tones). Counter-based noise and a recursion of first order, so that a stream and a whole
recording get the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from .render import SynthParams, white_noise

CORNER_HZ = 5.0
NOISE_KEY = 0x5EED  # another stream of noise than the one that is heard


class Fluctuation:
    """Level of each partial as it moves, frame by frame.

    Parameters
    ----------
    depth_db : ndarray or Tensor [shape=(n_harmonics,)], >= 0
        Standard deviation of each partial's level.
    frame_rate : float, > 0 [Hz]
    seed : int, >= 0
    """

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


def fluctuating(pieces: Iterable[SynthParams], fluctuation: Fluctuation) -> Iterator[SynthParams]:
    """Parameters whose partials fluctuate, in consecutive pieces.

    Parameters
    ----------
    pieces : iterable of SynthParams, tensors (n_frames, ...)
    fluctuation : Fluctuation

    Yields
    ------
    SynthParams
        Rows of the distribution still sum to 1.
    """
    for piece in pieces:
        gains = torch.from_numpy(fluctuation.next(piece.n_frames)).to(piece.harmonic_distribution)
        moved = piece.harmonic_distribution * gains
        total = moved.sum(-1, keepdim=True)
        yield replace(piece, harmonic_distribution=moved / total.clamp(min=1e-9))
