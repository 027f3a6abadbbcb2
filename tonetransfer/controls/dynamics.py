"""Dynamics: quantiles of note loudness, swells made wider or narrower, and one instrument's loudness in the range of another's.

The last is for training, where one instrument's loudness is borrowed for another's sound; performances are moved as a whole
(:mod:`.adaptation`).
"""

from __future__ import annotations

import numpy as np
import torch

QUANTILES = tuple(round(0.02 + 0.08 * i, 2) for i in range(13))  # 0.02 ... 0.98
FREEDOM_DB = 6.0
SWELL_S = 0.3  # of a player's dynamics; what is faster belongs to the note


def loudness_quantiles(loudness_db: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
    """Quantiles (:data:`QUANTILES`) of the loudness of note frames.

    Parameters
    ----------
    loudness_db : Tensor [shape=(n_frames,)], dB
    notes : Tensor [shape=(n_frames,)], bool
        Frames in which a note sounds; if there are none, all frames count.

    Returns
    -------
    Tensor [shape=(13,)], dB, rising
    """
    chosen = loudness_db[notes] if bool(notes.any()) else loudness_db
    return torch.quantile(chosen.float(), torch.tensor(QUANTILES), interpolation="nearest")  # a level that occurs: it moves as a frame does


def map_loudness(loudness_db: torch.Tensor, source: torch.Tensor, target: torch.Tensor, *, freedom_db: float = FREEDOM_DB) -> torch.Tensor:
    """Move loudness from one distribution of note loudness towards another, keeping the player's own shape where it fits.

    The loud ends are aligned by a plain gain: there, two recordings of one performance agree best (mean difference of their loudness
    3.7 dB; with the medians aligned 4.5, with the best possible gain 3.2). A level may then differ from where quantile mapping would put
    it by at most `freedom_db`, which lets the player's dynamics survive while no note falls far outside what the instrument does.
    Dynamics are narrowed where need be and never widened: the ripple of one steady note would become a swell. Monotone, and idempotent.

    Parameters
    ----------
    loudness_db : Tensor [shape=(...)], dB
    source, target : Tensor [shape=(13,)], dB
        Quantiles of the notes' loudness: the player's, and the instrument's.
    freedom_db : float, >= 0

    Returns
    -------
    Tensor [shape=(...)], dB
    """
    levels, played, plays = (x.detach().cpu().numpy() for x in (loudness_db, source, target))
    mapped = _interpolate(levels, played, plays[-1] + np.maximum(played - played[-1], plays - plays[-1]))
    moved = levels + (plays[-1] - played[-1])
    return torch.from_numpy(np.clip(moved, mapped - freedom_db, mapped + freedom_db)).to(loudness_db)


def scale_dynamics(loudness_db: torch.Tensor, notes: torch.Tensor, amount: float, frame_rate: float) -> torch.Tensor:
    """Loudness whose swells are made wider or narrower, around the median of the notes.

    What is slower than 0.3 s is scaled: from phrase to phrase, from note to note, crescendi. Attacks, ends of notes and tremolo are kept.
    Between notes the gain glides from one to the next.

    Parameters
    ----------
    loudness_db : Tensor [shape=(n_frames,)], dB
    notes : Tensor [shape=(n_frames,)], bool
    amount : float, >= 0
        0: all notes equally loud; 1: as they are; 2: twice the dynamics, in decibels.
    frame_rate : float, > 0 [Hz]

    Returns
    -------
    Tensor [shape=(n_frames,)], dB
    """
    frames = notes.nonzero()[:, 0].numpy()
    if amount == 1.0 or not len(frames):
        return loudness_db
    window = torch.hann_window(2 * round(SWELL_S * frame_rate / 2) + 3, periodic=False)[1:-1].to(loudness_db)
    stacked = torch.stack([torch.where(notes, loudness_db, 0.0), notes.to(loudness_db)])[:, None]
    total, weight = torch.nn.functional.conv1d(stacked, window[None, None], padding=len(window) // 2)[:, 0]
    swell = (total / weight.clamp(min=1e-6) - loudness_db[notes].median())[notes].numpy()
    gain_db = (amount - 1.0) * np.interp(np.arange(len(loudness_db)), frames, swell)
    return loudness_db + torch.from_numpy(gain_db).to(loudness_db)


def _interpolate(x: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Piecewise linear through (knots, values); beyond the ends the offset of the end holds."""
    knots = knots + np.arange(len(knots), dtype=knots.dtype) * 1e-4  # equal quantiles must not divide by zero
    i = np.clip(np.searchsorted(knots, x), 1, len(knots) - 1)
    slope = np.diff(values) / np.diff(knots)
    inside = values[i - 1] + slope[i - 1] * (x - knots[i - 1])
    return np.where(x < knots[0], x + values[0] - knots[0], np.where(x > knots[-1], x + values[-1] - knots[-1], inside))
