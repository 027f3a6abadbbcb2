"""A player's controls made playable for an instrument: its octave, its dynamics, and silence where no note is played."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from ..audio.loudness import FLOOR_DB
from ..audio.units import hz_to_midi
from ..errors import check_number
from ..pitch.tracking import VOICED_OFF
from .controls import Controls
from .dynamics import loud_end_db, loudness_quantiles, swell_range_db

STRAY_SHARE = 0.05  # of the melody may lie outside the instrument's range before it is moved by octaves
GRACE_FRAMES = 3  # beyond a note, its level may be held so long: consonants, and flicker of the voicing decision
FADE_DB_PER_S = 200.0  # how fast what is not a note sinks; a small room dies away as fast
DOUBT_DB_PER_S = 40.0  # where it is loud and nearly periodic: a note that the tracker lost in the room's sound of the one before
NOTHING, DOUBTFUL = 0.3, VOICED_OFF - 0.05  # periodicity
LOUD_QUANTILE, LOUD_MARGIN_DB = 1, 6.0  # of the notes' loudness (10 %), and how far below it is still loud


def adapt(
    controls: Controls,
    lowest_midi: float,
    highest_midi: float,
    quantiles: torch.Tensor,
    *,
    transpose: float | Literal["auto"] = "auto",
    dynamic: str | float | None = None,
) -> Controls:
    """Adapt a performance (n_frames,) to the range of an instrument and to the quantiles (13,) of the loudness of its notes [dB].

    Only note frames count. "auto" leaves the melody where it is, or moves it by octaves if the instrument cannot reach it; loudness is
    moved as a whole to where the instrument plays as hard as the player did (:mod:`~tonetransfer.controls.dynamics`), or as `dynamic` says;
    what is not a note (hiss, breath, a room) fades out. Adapting twice is adapting once.
    """
    if transpose == "auto":
        transpose = octave_shift(controls, lowest_midi, highest_midi)
    notes = controls.note_frames()
    periodicity = torch.where(notes, controls.periodicity, controls.periodicity.clamp(max=DOUBTFUL))  # what was no note stays none
    loud = controls.loudness_db + level_shift_db(controls.loudness_db, notes, quantiles, controls.grid.frame_rate, dynamic=dynamic)
    loud = fade_out(loud, notes, periodicity, controls.grid.frame_rate)
    loud = torch.where(controls.loudness_db > FLOOR_DB, loud, FLOOR_DB)
    return replace(controls.transpose(transpose), loudness_db=loud, periodicity=periodicity)


def level_shift_db(
    loudness_db: torch.Tensor, notes: torch.Tensor, quantiles: torch.Tensor, frame_rate: float, *, dynamic: str | float | None = None
) -> float:
    """Gain that puts a player's loudest notes to where the instrument plays as hard; arguments as for :func:`fit`."""
    effort_db = loud_end_db(swell_range_db(loudness_db, notes, frame_rate), dynamic)
    return float(quantiles[-1]) + effort_db - float(loudness_quantiles(loudness_db, notes)[-1])


def octave_shift(controls: Controls, lowest_midi: float, highest_midi: float) -> int:
    """Smallest transposition by octaves that an instrument of a range can play [semitones].

    0 if at least 95 % of the note frames are in the range, or if there are no notes. Otherwise the smallest shift that brings so many into
    it; where none does, the smallest of those that bring in the most.
    """
    return smallest_octave_shift(hz_to_midi(controls.f0_hz[controls.note_frames()].double()).numpy(), lowest_midi, highest_midi)


def check_transpose(transpose: float | str) -> float | None:
    """A transposition in semitones, or None for "auto"; SettingsError: it is neither, or too large."""
    if transpose == "auto":
        return None
    check_number("transpose", transpose, -96.0, 96.0, "'auto' or a number of semitones from -96 to 96")
    return float(transpose)


def smallest_octave_shift(midi: np.ndarray, lowest_midi: float, highest_midi: float, weights: np.ndarray | None = None) -> int:
    """:func:`octave_shift` of pitches (n,) [MIDI], each counted with its weight."""
    if not len(midi):
        return 0

    def stray(shift: int) -> float:
        outside = (midi + shift < lowest_midi - 0.5) | (midi + shift > highest_midi + 0.5)
        return float(np.average(outside, weights=weights))

    shifts = sorted(range(-96, 97, 12), key=lambda shift: (abs(shift), -shift))
    shares = {shift: stray(shift) for shift in shifts}
    playable = [shift for shift in shifts if shares[shift] <= STRAY_SHARE]
    return playable[0] if playable else min(shifts, key=lambda shift: round(shares[shift], 2))


def fade_out(loudness_db: torch.Tensor, notes: torch.Tensor, periodicity: torch.Tensor, frame_rate: float) -> torch.Tensor:
    """Loudness (n_frames,) with everything faded that is not a note [dB], >= -120.

    Ceilings, not attenuations, because a ceiling that is applied twice changes nothing: the level of the nearest notes is held for 3 frames
    and then sinks by 200 dB a second on both sides; more slowly where it is as loud as notes and nearly periodic.
    """
    if not bool(notes.any()):
        return torch.full_like(loudness_db, FLOOR_DB)
    sureness = ((periodicity - NOTHING) / (DOUBTFUL - NOTHING)).clamp(0.0, 1.0)
    slope = FADE_DB_PER_S + (DOUBT_DB_PER_S - FADE_DB_PER_S) * sureness
    patient = torch.minimum(loudness_db, _ceiling(loudness_db, notes, slope / frame_rate))
    floor = loudness_quantiles(loudness_db, notes)[LOUD_QUANTILE] - LOUD_MARGIN_DB
    played = notes | (patient >= floor)
    fast = torch.full_like(loudness_db, FADE_DB_PER_S / frame_rate)
    return torch.minimum(patient, _ceiling(patient, played, fast)).clamp(min=FLOOR_DB)


def _ceiling(loudness_db: torch.Tensor, anchors: torch.Tensor, slope_db: torch.Tensor) -> torch.Tensor:
    """The level of the nearest anchors, held a little and then sinking by `slope_db` a frame; all (n_frames,)."""
    level = torch.where(anchors, loudness_db, -math.inf).double()
    level = torch.nn.functional.max_pool1d(level[None, None], 2 * GRACE_FRAMES + 1, 1, padding=GRACE_FRAMES)[0, 0]
    fallen = slope_db.double().cumsum(0)
    after = torch.cummax(level + fallen, dim=0).values - fallen
    before = torch.cummax((level - fallen).flip(0), dim=0).values.flip(0) + fallen
    return torch.maximum(after, before).to(loudness_db)
