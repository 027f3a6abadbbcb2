"""Controls as they come: f0, periodicity and loudness of each frame as soon as a chosen stretch after its instant has been heard."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch

from ..audio.frames import FrameGrid
from ..audio.loudness import FLOOR_DB, N_FFT
from ..audio.stft import a_weighting, hann
from ..pitch.causal import CausalTracker, track_causal
from .controls import Controls


class ControlFrame(NamedTuple):
    """One frame of controls."""

    f0_hz: float
    periodicity: float
    loudness_db: float


def prompt_loudness_db(frames: np.ndarray, grid: FrameGrid, look_ahead: int) -> np.ndarray:
    """A-weighted loudness, as :func:`tonetransfer.audio.loudness.loudness_db` defines it, with a window that ends sooner.

    The window is the definition's Hann window up to the frame's instant; after it, half a Hann window falls within `look_ahead`. From
    1024 samples on it is the definition itself.

    Parameters
    ----------
    frames : ndarray [shape=(n_frames, window_length(look_ahead))]
        Frame by frame, what lies from 1024 samples before its instant to the look-ahead after it.
    grid : FrameGrid
    look_ahead : int, > 0 [samples]

    Returns
    -------
    ndarray [shape=(n_frames,)], dB re full scale, >= -120
    """
    window, weighting = _window(look_ahead), _weighting(grid.sample_rate)
    spectrum = scipy.fft.rfft(frames * window, N_FFT, axis=-1)
    power = np.square(spectrum.real) @ weighting + np.square(spectrum.imag) @ weighting
    full_scale_sine = N_FFT * float(np.square(window).sum()) / 4.0
    return 10.0 * np.log10(np.maximum(power / full_scale_sine, 10.0 ** (FLOOR_DB / 10.0)))


def window_length(look_ahead: int) -> int:
    """Samples that the loudness of a frame is taken from."""
    return N_FFT // 2 + min(look_ahead, N_FFT // 2)


class Listener:
    """Controls of audio that comes in blocks of any size.

    Parameters
    ----------
    grid : FrameGrid
    look_ahead : int, > 0 [samples]
        What is heard after a frame's instant before it is described.
    path_frames : int, >= 0
        See :class:`~tonetransfer.pitch.causal.CausalTracker`.
    """

    def __init__(self, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> None:
        self.grid, self.look_ahead, self.path_frames = grid, look_ahead, path_frames
        self._tracker = CausalTracker(grid, look_ahead, path_frames=path_frames)
        self.reset()
        self.push(np.zeros(look_ahead + grid.hop_length))  # what is loaded at first must not be waited for later
        self.reset()

    @property
    def latency_samples(self) -> int:
        """From a frame's instant to its description."""
        return self.look_ahead + self.path_frames * self.grid.hop_length

    def reset(self) -> None:
        """Forget what was heard."""
        self._tracker.reset()
        self._recent = np.zeros(N_FFT // 2 + self.look_ahead, np.float32)  # the newest frame's instant lies after the first half window
        self._loudness_db: list[float] = []
        self._pending: list[np.ndarray] = []
        self._n_pending, self._n_wanted = 0, self.look_ahead

    def push(self, audio: np.ndarray) -> list[ControlFrame]:
        """Hear a block (n_samples,) of any size, 0 included; the frames that can be described now."""
        self._pending.append(np.array(audio, dtype=np.float32))
        self._n_pending += len(audio)
        if self._n_pending < self._n_wanted:
            return []
        pending, found, first = np.concatenate(self._pending), [], 0
        while len(pending) - first >= self._n_wanted:
            found += self._hear(pending[first : first + self._n_wanted])
            first, self._n_wanted = first + self._n_wanted, self.grid.hop_length
        self._pending, self._n_pending = [pending[first:]], len(pending) - first
        return found

    def _hear(self, audio: np.ndarray) -> list[ControlFrame]:
        self._recent = np.concatenate([self._recent, audio])[-len(self._recent) :]
        window = self._recent[: window_length(self.look_ahead)]
        self._loudness_db.append(float(prompt_loudness_db(window[None], self.grid, self.look_ahead)[0]))
        rows = [(one.f0_hz, one.periodicity, self._loudness_db.pop(0)) for one in self._tracker.push(audio)]
        return [ControlFrame(*map(float, np.array(row, np.float32))) for row in rows]  # as precise as Controls are, and no more


def listen_to_all(audio: torch.Tensor, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> Controls:
    """Extract what a :class:`Listener` hears from a whole recording (n_samples,) at once.

    Silence is heard after its end.
    """
    samples = audio.detach().cpu().numpy()
    n_frames = grid.n_frames(len(samples))
    f0_hz, periodicity, _ = track_causal(samples, grid, look_ahead, path_frames=path_frames)
    length = window_length(look_ahead)
    padded = np.zeros(N_FFT // 2 + n_frames * grid.hop_length + length, np.float32)
    padded[N_FFT // 2 : N_FFT // 2 + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: grid.hop_length][:n_frames]
    pieces = [prompt_loudness_db(piece, grid, look_ahead) for piece in np.array_split(frames, -(-n_frames // 1000))]
    return Controls(torch.from_numpy(f0_hz), torch.from_numpy(periodicity), torch.from_numpy(np.concatenate(pieces)), grid)


@lru_cache(maxsize=8)
def _window(look_ahead: int) -> np.ndarray:
    after = min(look_ahead, N_FFT // 2)
    return np.concatenate([hann(N_FFT).numpy()[: N_FFT // 2], hann(2 * after).numpy()[after:]])


@lru_cache(maxsize=8)
def _weighting(sample_rate: int) -> np.ndarray:
    return a_weighting(sample_rate, N_FFT).numpy()
