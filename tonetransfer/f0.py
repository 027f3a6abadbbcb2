"""What is played: fundamental frequency and how much to believe it, by a named tracker, on the frame grid."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from .audio import AudioLike, check_audio, resample
from .errors import InstrumentError
from .frames import FrameGrid

SAMPLE_RATE = 16000  # Hz, what all trackers listen to

Track = tuple[np.ndarray, np.ndarray, np.ndarray]  # times [s], f0 [Hz], periodicity [0, 1]


def track_swift(audio: np.ndarray) -> Track:
    """swift-f0: a small convolutional network; 47 to 2094 Hz, a value every 16 ms."""
    result = _swift().detect(audio, SAMPLE_RATE)
    return result.timestamps, result.pitch_hz, result.confidence


@lru_cache(maxsize=1)
def _swift():  # noqa: ANN202
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1)


TRACKERS: dict[str, Callable[[np.ndarray], Track]] = {"swift": track_swift}
DEFAULT_TRACKER = "swift"


def track_f0(audio: AudioLike, sample_rate: int, grid: FrameGrid, *, tracker: str = DEFAULT_TRACKER) -> tuple[torch.Tensor, torch.Tensor]:
    """Fundamental frequency on the grid.

    Returns
    -------
    f0_hz : Tensor [shape=(n_frames,)], > 0, finite
    periodicity : Tensor [shape=(n_frames,)], in [0, 1]
    """
    if tracker not in TRACKERS:
        raise InstrumentError(f"there is no tracker {tracker!r}; choose one of {', '.join(TRACKERS)}")
    samples = check_audio(audio, sample_rate)
    n_frames = grid.n_frames(-(-len(samples) * grid.sample_rate // sample_rate))
    times, f0, periodicity = TRACKERS[tracker](resample(samples, sample_rate, SAMPLE_RATE).numpy())
    good = periodicity > 0.5
    if good.any():
        f0 = np.exp2(np.interp(times, times[good], np.log2(f0[good])))
    else:
        f0 = np.full(len(f0), 220.0)
    f0 = np.exp2(grid.place(times, np.log2(f0), n_frames))
    return torch.from_numpy(f0).float(), torch.from_numpy(grid.place(times, periodicity, n_frames)).float().clamp(0, 1)
