"""One grid, one clock: how samples and frames relate. Nothing else in the package computes with hops.

Frame ``t`` describes the instant ``t * hop_length / sample_rate``. Audio of ``n_samples`` has
``n_frames = ceil(n_samples / hop_length)`` frames and is zero-padded to ``n_frames * hop_length`` samples.
Between frames values are linear; after the last frame they hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import SettingsError


@dataclass(frozen=True)
class FrameGrid:
    """The clock of a model: frame `t` is centred on sample ``t * hop_length``.

    Parameters
    ----------
    sample_rate : int, > 0 [Hz]
        Of the audio.
    hop_length : int, > 0 [samples]
        From one frame to the next.

    Raises
    ------
    SettingsError
        A number is not whole, or not positive.

    Examples
    --------
    >>> grid = tt.FrameGrid(sample_rate=48000, hop_length=480)
    >>> grid.frame_rate, grid.n_frames(48001), grid.n_samples(100)
    (100.0, 101, 48000)
    """

    sample_rate: int = 48000
    hop_length: int = 480

    def __post_init__(self) -> None:
        for name in ("sample_rate", "hop_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value <= 0:
                raise SettingsError(f"{name} is {value!r}; it must be a positive whole number")

    @property
    def frame_rate(self) -> float:
        """Frames a second [Hz]."""
        return self.sample_rate / self.hop_length

    def n_frames(self, n_samples: int) -> int:
        """Number of frames that describe `n_samples` samples."""
        return -(-n_samples // self.hop_length)

    def n_samples(self, n_frames: int) -> int:
        """Number of samples that `n_frames` frames span."""
        return n_frames * self.hop_length

    def times(self, n_frames: int) -> np.ndarray:
        """Instants of the frames [s], shape (n_frames,), float64."""
        return np.arange(n_frames) * self.hop_length / self.sample_rate

    def pad(self, audio: torch.Tensor) -> torch.Tensor:
        """Zero-pad audio (..., n_samples) at its end to a whole number of frames."""
        missing = -audio.shape[-1] % self.hop_length
        return torch.nn.functional.pad(audio, (0, missing)) if missing else audio

    def upsample(self, values: torch.Tensor) -> torch.Tensor:
        """Frames (..., n_frames) to samples (..., n_frames * hop_length), linear, holding after the last frame."""
        following = torch.cat([values[..., 1:], values[..., -1:]], dim=-1)
        u = torch.arange(self.hop_length, device=values.device, dtype=values.dtype) / self.hop_length
        samples = values[..., None] + (following - values)[..., None] * u  # (..., n_frames, hop_length)
        return samples.flatten(-2)

    def place(self, times_s: np.ndarray, values: np.ndarray, n_frames: int) -> np.ndarray:
        """Values known at `times_s` [s] (rising), read off at this grid's frames: (n_frames,), held beyond the ends."""
        return np.interp(self.times(n_frames), times_s, values)
