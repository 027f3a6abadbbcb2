"""A player's controls made playable for an instrument: its octave, its dynamics, and silence where no note is played."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch

from .controls import Controls
from .convert import hz_to_midi
from .dynamics import loudness_quantiles, map_loudness
from .f0 import VOICED_OFF
from .loudness import FLOOR_DB

STRAY_SHARE = 0.05  # of the melody may lie outside the instrument's range before another octave is considered
GRACE_S = 0.03  # beyond a note, its level may be held so long: consonants, and flicker of the voicing decision
FADE_DB_PER_S = 200.0  # how fast what is not a note sinks; a small room dies away as fast


def fit(
    controls: Controls,
    mean_midi: float,
    lowest_midi: float,
    highest_midi: float,
    quantiles: torch.Tensor,
    *,
    transpose: float | Literal["auto"] = "auto",
) -> Controls:
    """Fit a performance to an instrument.

    Only note frames count. "auto" moves the melody by whole octaves; the loudness of the notes is moved towards that of the
    instrument's own (:func:`~tonetransfer.dynamics.map_loudness`); what is not a note (hiss, breath, a room) fades out.
    Fitting twice is fitting once.

    Parameters
    ----------
    controls : Controls, tensors (n_frames,)
    mean_midi, lowest_midi, highest_midi : float
        Mean and range of the notes that the instrument plays.
    quantiles : Tensor [shape=(13,)], dB
        Of the loudness of the instrument's notes.
    transpose : float [semitones] or "auto"

    Returns
    -------
    Controls
    """
    if transpose == "auto":
        transpose = octave_shift(controls, mean_midi, lowest_midi, highest_midi)
    notes = controls.note_frames()
    loud = map_loudness(controls.loudness_db, loudness_quantiles(controls.loudness_db, notes), quantiles)
    loud = torch.minimum(loud, fade_out(loud, notes, controls.grid.frame_rate))
    loud = torch.where(controls.loudness_db > FLOOR_DB, loud, FLOOR_DB).clamp(min=FLOOR_DB)
    doubt = torch.where(notes, controls.periodicity, controls.periodicity.clamp(max=VOICED_OFF - 0.05))  # what was no note stays none
    return replace(controls.transpose(transpose), loudness_db=loud, periodicity=doubt)


def octave_shift(controls: Controls, mean_midi: float, lowest_midi: float, highest_midi: float) -> int:
    """Semitones, a multiple of 12, that bring a melody nearest to the mean of an instrument's notes.

    0 if the difference is under half an octave, or if there are no notes. If more than a twentieth of the melody then lies outside the
    range, the octave is taken that leaves the least outside, provided that this is less than half as much.
    """
    midi = hz_to_midi(controls.f0_hz[controls.note_frames()].double())
    if not len(midi):
        return 0
    nearest = 12 * round((mean_midi - float(midi.mean())) / 12.0)

    def stray(shift: int) -> float:
        moved = midi + shift
        return float(((moved < lowest_midi - 0.5) | (moved > highest_midi + 0.5)).double().mean())

    best = min((nearest + 12 * k for k in range(-4, 5)), key=lambda shift: (stray(shift), abs(shift - nearest)))
    return best if stray(nearest) > STRAY_SHARE and stray(best) < 0.5 * stray(nearest) else nearest


def fade_out(loudness_db: torch.Tensor, notes: torch.Tensor, frame_rate: float) -> torch.Tensor:
    """How loud each frame may be, given that only notes are to be heard.

    A ceiling: the level of the nearest notes, held for 30 ms and then sinking by 200 dB a second on both sides. (Not an
    attenuation, because a ceiling that is applied twice changes nothing.)

    Parameters
    ----------
    loudness_db : Tensor [shape=(n_frames,)]
    notes : Tensor [shape=(n_frames,)], bool
    frame_rate : float, > 0 [Hz]

    Returns
    -------
    Tensor [shape=(n_frames,)], dB, >= -120
    """
    grace, slope = round(GRACE_S * frame_rate), FADE_DB_PER_S / frame_rate
    level = torch.where(notes, loudness_db, -math.inf).double()
    level = torch.nn.functional.max_pool1d(level[None, None], 2 * grace + 1, 1, padding=grace)[0, 0]
    fall = slope * torch.arange(len(level), dtype=torch.float64)
    after = torch.cummax(level + fall, dim=0).values - fall
    before = (torch.cummax(level.flip(0) + fall, dim=0).values - fall).flip(0)
    return torch.maximum(after, before).clamp(min=FLOOR_DB).to(loudness_db)
