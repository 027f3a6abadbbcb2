"""Splits for training and validation: whole recordings, chosen by their content, so that the choice is the same everywhere and every time.

An excerpt of a recording that was also trained on says nothing about overfitting, so nothing of a held-out recording is trained on. Where
there is only one (or where each would take too much away), the longest is cut at a silence, and a guard around the cut belongs to no split:
the excerpts of training and validation then share neither a note nor the reverberation of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..audio.frames import FrameGrid
from .dataset import PreparedRecording

SHARE = 0.1  # part of all that is held out
LEAST_S, LARGEST_SHARE_OF_LITTLE = 5.0, 0.25  # of little material more: less than 5 s of validation is chance
MOST_S = 600.0  # more makes validating slow and no figure better
LARGEST_SHARE = 0.35  # of all that one recording may take away from training
SHORTEST_TO_CUT_S = 20.0
GUARD_S = 1.0  # between the parts of a recording that is cut
QUIET_S = 0.3  # a silence is sought in the mean loudness of so much
SEARCH = 0.5  # the cut lies where it is quietest within so much of the held-out length on both sides of its place


@dataclass(frozen=True)
class Candidate:
    """A recording to be assigned: its file's name and hash, its group, and its length in frames."""

    name: str
    sha256: str
    key: str
    n_frames: int


def hold_out(candidates: Sequence[Candidate], grid: FrameGrid, loudness_db: Callable[[str], np.ndarray]) -> list[PreparedRecording]:
    """Assign every recording to a split.

    Parameters
    ----------
    candidates : sequence of Candidate
    grid : FrameGrid
    loudness_db : function of a group's key, giving ndarray [shape=(n_frames,)]
        Asked only of a recording that is cut.

    Returns
    -------
    list of PreparedRecording
        In the order of the candidates; a recording that is cut stands twice.
    """
    total = sum(one.n_frames for one in candidates)
    if not total:
        return []
    wanted = _wanted_frames(total, grid.frame_rate)
    chosen = _whole(candidates, total, wanted)
    longest = max(candidates, key=lambda one: (one.n_frames, one.sha256))
    cut = not chosen and longest.n_frames >= SHORTEST_TO_CUT_S * grid.frame_rate
    if not chosen and not cut and len(candidates) > 1:
        chosen = {min(candidates, key=lambda one: (one.n_frames, one.sha256)).key}
    result = []
    for one in candidates:
        recording = PreparedRecording(one.name, one.n_frames, "validation" if one.key in chosen else "train", one.key)
        result += _cut(recording, wanted, grid, loudness_db(one.key)) if cut and one is longest else [recording]
    return result


def _wanted_frames(total: int, frame_rate: float) -> float:
    """Number of frames to be held out of `total`."""
    least = min(LEAST_S * frame_rate, LARGEST_SHARE_OF_LITTLE * total)
    return min(max(SHARE * total, least), MOST_S * frame_rate)


def _whole(candidates: Sequence[Candidate], total: int, wanted: float) -> set[str]:
    """Keys of whole recordings that are held out, in the order of their hashes, until there is enough."""
    chosen: set[str] = set()
    held = 0
    for one in sorted(candidates, key=lambda one: one.sha256):
        if held >= wanted:
            break
        if held + one.n_frames <= LARGEST_SHARE * total:
            chosen.add(one.key)
            held += one.n_frames
    return chosen


def _cut(recording: PreparedRecording, wanted: float, grid: FrameGrid, loudness_db: np.ndarray) -> list[PreparedRecording]:
    """The two parts of a recording: its end is held out."""
    n_frames, guard = recording.n_frames, round(0.5 * GUARD_S * grid.frame_rate)
    width = max(round(QUIET_S * grid.frame_rate), 1)
    power = np.convolve(10.0 ** (np.asarray(loudness_db[:n_frames], np.float64) / 10.0), np.ones(width) / width, mode="same")
    place = n_frames - wanted
    begin, end = int(place - SEARCH * wanted), int(min(place + SEARCH * wanted, n_frames - 2 * guard))
    middle = begin + int(power[begin:end].argmin())
    held = replace(recording, n_frames=n_frames - middle - guard, split="validation", first_frame=middle + guard)
    return [replace(recording, n_frames=middle - guard), held]
