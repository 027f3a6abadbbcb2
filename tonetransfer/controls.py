"""What the player does: f0, periodicity and loudness on the model's grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .frames import FrameGrid


@dataclass(frozen=True)
class Controls:
    """A performance without its timbre.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames)], > 0, finite
        Fundamental frequency; held or interpolated where nothing is played.
    periodicity : Tensor [shape=(..., n_frames)], in [0, 1]
        How much to believe f0.
    loudness_db : Tensor [shape=(..., n_frames)], dB re full scale
        A-weighted, as :func:`tonetransfer.loudness.loudness_db` defines it.
    grid : FrameGrid
        The clock of the frames.
    """

    f0_hz: torch.Tensor
    periodicity: torch.Tensor
    loudness_db: torch.Tensor
    grid: FrameGrid = FrameGrid()
