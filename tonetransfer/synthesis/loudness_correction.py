"""The asked loudness, met: a rendered sound is measured, and what is too loud or too soft is corrected.

A decoder comes close by itself; what it misses is a slow change of gain. Deviations within a tolerance are left alone: they are the
instrument's own life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from ..audio.frames import FrameGrid
from ..audio.loudness import N_FFT, loudness_db
from ..audio.units import db_to_amplitude

TOLERANCE_DB = 1.0
LARGEST_DB = 12.0  # beyond this, gain would lift noise instead of the instrument
SMOOTH_S = 0.05  # width of the window over the gain: slower than any period, faster than a swell
QUIETEST_DB = -90.0  # measured below this, there is nothing to correct


def correction_db(measured_db: torch.Tensor, asked_db: torch.Tensor, notes: torch.Tensor, frame_rate: float) -> torch.Tensor:
    """Gain that brings a measured loudness to within 1 dB of the asked one.

    Parameters
    ----------
    measured_db, asked_db : Tensor [shape=(n_frames,)]
    notes : Tensor [shape=(n_frames,)], bool
        Frames in which the loudness matters; elsewhere what is too loud is turned down and nothing is turned up.
    frame_rate : float, > 0 [Hz]

    Returns
    -------
    Tensor [shape=(n_frames,)], dB, in [-12, 12], smooth
    """
    deviation = asked_db - measured_db
    excess = (deviation - deviation.clamp(-TOLERANCE_DB, TOLERANCE_DB)).clamp(-LARGEST_DB, LARGEST_DB)
    weight = ((notes | (excess < 0.0)) & (measured_db > QUIETEST_DB)).to(excess)
    window = _window(frame_rate).to(excess)
    stacked = torch.stack([weight * excess, weight])[:, None]
    smooth, total = torch.nn.functional.conv1d(stacked, window[None, None], padding=len(window) // 2)[:, 0]
    return smooth / total.clamp(min=0.25)  # at the edge of a note the mean of its own frames, then fading out


def correct_loudness(audio: torch.Tensor, asked_db: torch.Tensor, notes: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """A sound with its loudness brought to within 1 dB of what was asked for.

    Parameters
    ----------
    audio : Tensor [shape=(n_frames * hop_length,)]
    asked_db : Tensor [shape=(n_frames,)]
    notes : Tensor [shape=(n_frames,)], bool
    grid : FrameGrid

    Returns
    -------
    Tensor [shape=(n_frames * hop_length,)]
    """
    gain_db = correction_db(loudness_db(audio, grid), asked_db, notes, grid.frame_rate)
    return audio * grid.upsample(db_to_amplitude(gain_db))


def correct_loudness_in_pieces(
    pieces: Iterable[torch.Tensor], asked_db: torch.Tensor, notes: torch.Tensor, grid: FrameGrid
) -> Iterator[torch.Tensor]:
    """:func:`correct_loudness` of consecutive pieces; joined, they are what the whole would be.

    Parameters
    ----------
    pieces : iterable of Tensor [shape=(a whole number of hops,)]
    asked_db, notes : Tensor [shape=(n_frames,)]
        Of all pieces together.

    Yields
    ------
    Tensor
        As many samples in all as came in; a piece ends a few frames before that which came in.
    """
    hop = grid.hop_length
    reach = -(-N_FFT // (2 * hop)) + len(_window(grid.frame_rate)) // 2 + 1  # frames whose sound decides about a frame's gain
    held, first, done = asked_db.new_zeros(0), 0, 0  # `held` begins at frame `first`; frames before `done` are out
    for piece in pieces:
        held = torch.cat([held, piece])
        ready = first + len(held) // hop - reach
        if ready > done:
            yield _stretch(held, first, done, ready, asked_db, notes, grid)
            done, kept = ready, max(ready - reach, 0)
            held, first = held[(kept - first) * hop :], kept
    if len(held):
        yield _stretch(held, first, done, first + len(held) // hop, asked_db, notes, grid)


def _stretch(
    held: torch.Tensor, first: int, begin: int, end: int, asked_db: torch.Tensor, notes: torch.Tensor, grid: FrameGrid
) -> torch.Tensor:
    """Frames `begin` to `end` of the corrected sound."""
    span = slice(first, first + len(held) // grid.hop_length)
    corrected = correct_loudness(held, asked_db[span], notes[span], grid)
    return corrected[(begin - first) * grid.hop_length : (end - first) * grid.hop_length]


def _window(frame_rate: float) -> torch.Tensor:
    """Hann window of odd length, sum 1."""
    length = 2 * round(SMOOTH_S * frame_rate / 2) + 1
    window = torch.hann_window(length + 2, periodic=False)[1:-1]
    return window / window.sum()
