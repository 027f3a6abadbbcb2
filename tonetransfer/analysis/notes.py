"""Segmentation of a performance into notes.

Within the frames in which something is played, a new note begins where f0 moves to another level, or where the level dips by 6 dB
and comes back (a repeated note).

Levels of f0 are found as a whole: of all sequences of levels that one is chosen from which f0 deviates least in sum, where each
change of level costs as much as being 100 cents off for 50 ms (the Potts functional with L1 data term: Weinmann, Storath and
Demaret, SIAM J. Numer. Anal. 53, 2015). Vibrato is taken out before where it is plain, and is mostly too quick to pay that price
where it is not. What moves gradually is then joined again: a border stays only if f0 jumps there, and a piece that is nowhere
level (a slide, a scoop) belongs to the note it leads to. A dip that is part of a regular swing is tremolo, not a new note.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, median_filter

from ..audio.units import hz_to_midi
from .envelope import LEAST_SHARE, follow_swing

SHORTEST_NOTE_S = 0.05
LONGEST_GAP_S = 0.03  # shorter silences are flicker of the voicing decision
STEP_CENTS = 60.0
STEP_PRICE = 5.0  # cents times seconds
STEP_WINDOW_S = 0.18  # a cycle of vibrato
LEVEL_GRID_CENTS = 20.0
LEVEL_S, LEVEL_CENTS = 0.04, 40.0  # what makes a note of a piece: f0 stays for so long within so much
BLIP_S = 0.03  # a tracker's error, not a note
PLAIN_SHARE = 0.9  # of the variance explained by one sine; a trill or a scale stays below
WIDEST_VIBRATO_CENTS = 150.0
DIP_DB = 6.0
DIP_WINDOW_S = 0.5
SAME_BORDER_S = 0.08


@dataclass(frozen=True)
class Note:
    """Frames `start` to `stop`, without `stop`."""

    start: int
    stop: int

    @property
    def frames(self) -> slice:
        return slice(self.start, self.stop)


def find_notes(f0_hz: np.ndarray, level_db: np.ndarray, sounding: np.ndarray, frame_rate: float) -> list[Note]:
    """Divide a performance into notes.

    Parameters
    ----------
    f0_hz : ndarray [shape=(n_frames,)], > 0 [Hz]
        Fundamental frequency.
    level_db : ndarray [shape=(n_frames,)], dB
        Level; its reference does not matter.
    sounding : ndarray of bool [shape=(n_frames,)]
        Where something with a pitch is played.
    frame_rate : float, > 0 [Hz]
        Frames a second.

    Returns
    -------
    list of Note
        In order, none shorter than 50 ms, without overlap.

    References
    ----------
    .. [1] A. Weinmann, M. Storath and L. Demaret, "The L1-Potts functional for robust jump-sparse reconstruction", SIAM J. Numer. Anal.
       53, 2015.

    Examples
    --------
    >>> f0_hz = np.repeat([440.0, 494.0, 494.0], 50)
    >>> sounding = np.repeat([True, True, False], 50)
    >>> [(note.start, note.stop) for note in tt.find_notes(f0_hz, np.full(150, -20.0), sounding, 100.0)]
    [(0, 50), (50, 100)]
    """
    cents = 100.0 * hz_to_midi(np.asarray(f0_hz, np.float64))
    shortest = max(round(SHORTEST_NOTE_S * frame_rate), 1)
    notes: list[Note] = []
    for run in runs(sounding):
        if run.stop - run.start < shortest:
            continue
        steady = median_filter(_without_vibrato(cents[run.frames], frame_rate), size=2 * round(BLIP_S * frame_rate) + 1, mode="nearest")
        borders = _join(_steps(steady, frame_rate), level_dips(level_db[run.frames], frame_rate), SAME_BORDER_S * frame_rate)
        start = 0
        for border in borders:
            long_enough = border - start >= shortest and len(steady) - border >= shortest
            if long_enough and _has_level_stretch(steady[start:border], frame_rate):
                notes.append(Note(run.start + start, run.start + int(border)))
                start = int(border)
        notes.append(Note(run.start + start, run.stop))
    return notes


def runs(mask: np.ndarray) -> list[Note]:
    """Stretches of True in a mask (n_frames,)."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return [Note(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def close_gaps(mask: np.ndarray, frame_rate: float) -> np.ndarray:
    """A mask (n_frames,) without its shortest gaps, up to 30 ms."""
    closed = mask.copy()
    for gap in runs(~mask):
        if gap.start > 0 and gap.stop < len(mask) and gap.stop - gap.start <= LONGEST_GAP_S * frame_rate:
            closed[gap.frames] = True
    return closed


def _join(steps: np.ndarray, dips: np.ndarray, near: float) -> np.ndarray:
    """All borders in order; of a step and a dip that are one, the dip, which is the more exact."""
    alone = [step for step in steps if not (np.abs(dips - step) < near).any()]
    return np.sort(np.concatenate([np.array(alone, int), dips]))


def _without_vibrato(cents: np.ndarray, frame_rate: float) -> np.ndarray:
    swing = follow_swing(cents, frame_rate)
    return cents - np.where((swing.share >= PLAIN_SHARE) & (swing.extent <= WIDEST_VIBRATO_CENTS), swing.value, 0.0)


def _steps(cents: np.ndarray, frame_rate: float) -> np.ndarray:
    """Frames at which f0 (n_frames,) jumps to another level."""
    borders = change_points(cents, STEP_PRICE * frame_rate)
    corners = np.concatenate([[0], borders, [len(cents)]])
    widest = max(round(STEP_WINDOW_S * frame_rate), 1)
    before = np.array([cents[max(start, stop - widest) : stop].mean() for start, stop in zip(corners[:-2], borders, strict=True)])
    after = np.array([cents[start : min(stop, start + widest)].mean() for start, stop in zip(borders, corners[2:], strict=True)])
    return borders[np.abs(after - before) >= STEP_CENTS]


def change_points(cents: np.ndarray, price: float) -> np.ndarray:
    """Frames at which the best sequence of levels changes, rising, by dynamic programming; a change costs `price` [cents times frames]."""
    levels = np.arange(cents.min(), cents.max() + LEVEL_GRID_CENTS, LEVEL_GRID_CENTS)
    changed = np.zeros((len(cents), len(levels)), bool)
    cheapest = np.zeros(len(cents), int)
    total = np.abs(cents[0] - levels)
    for frame in range(1, len(cents)):
        cheapest[frame] = total.argmin()
        change = total[cheapest[frame]] + price
        changed[frame] = total > change
        total = np.minimum(total, change) + np.abs(cents[frame] - levels)
    level, borders = int(total.argmin()), []
    for frame in range(len(cents) - 1, 0, -1):
        if changed[frame, level]:
            borders.append(frame)
            level = cheapest[frame]
    return np.array(borders[::-1], int)


def _has_level_stretch(cents: np.ndarray, frame_rate: float) -> bool:
    width = min(max(round(LEVEL_S * frame_rate), 2), len(cents))
    return bool((np.ptp(np.lib.stride_tricks.sliding_window_view(cents, width), axis=-1) <= LEVEL_CENTS).any())


def level_dips(level_db: np.ndarray, frame_rate: float) -> np.ndarray:
    """Frames at which a level (n_frames,) is at the bottom of a dip of 6 dB that is not part of a regular swing."""
    if len(level_db) < 3:
        return np.zeros(0, int)
    dips = _deep_minima(level_db, DIP_DB, max(round(DIP_WINDOW_S * frame_rate), 3) // 2)
    regular = follow_swing(level_db, frame_rate).share >= LEAST_SHARE
    near = maximum_filter1d(regular, 2 * round(DIP_WINDOW_S * frame_rate / 2) + 1)  # at its ends the swing is not alone in the window
    return dips[~near[dips]]


def _deep_minima(level_db: np.ndarray, depth_db: float, reach: int) -> np.ndarray:
    """Frames of minima from which the level rises by a depth on both sides, within `reach` frames and before it falls lower.

    The middle of a flat one counts. ``find_peaks`` of scipy.signal, with its prominence, says the same; loading that takes 50 MB.
    """
    changes = np.concatenate([[0], np.flatnonzero(np.diff(level_db)) + 1, [len(level_db)]])  # where flat stretches begin
    values = level_db[changes[:-1]]
    inner = 1 + np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] < values[2:]))
    middles = (changes[inner] + changes[inner + 1] - 1) // 2

    def rise(side: np.ndarray) -> float:
        """The highest that comes before anything lower than the first."""
        lower = np.flatnonzero(side < side[0])
        return float((side[: lower[0]] if len(lower) else side).max() - side[0])

    sides = ((level_db[max(at - reach, 0) : at + 1][::-1], level_db[at : at + reach + 1]) for at in middles)
    deep = [min(rise(before), rise(after)) >= depth_db for before, after in sides]
    return middles[np.array(deep, bool)]
