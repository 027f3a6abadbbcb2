"""Corrections of a performance: contours shifted or redrawn on a span of time, and octave errors put right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..audio.loudness import FLOOR_DB
from ..audio.units import hz_to_midi, midi_to_hz
from ..errors import ControlsError, check_number
from .controls import Controls

DRAWN_PERIODICITY = 0.95  # of a pitch that somebody drew: it is meant to be played
AROUND_S = 2.0  # what is played so shortly before and after a span says which octave it belongs to
LOWEST_MIDI, HIGHEST_MIDI, LOUDEST_DB = 12.0, 127.0, 6.0


@dataclass(frozen=True)
class Edit:
    """One correction, from `start_s` to before `end_s`.

    Parameters
    ----------
    start_s, end_s : float, 0 <= start_s < end_s [s]
        Span that is corrected.
    semitones : float, in [-96, 96]
        Added to the pitch.
    db : float, in [-120, 60]
        Added to the loudness.
    fix_octave : bool
        Move the span by whole octaves to where the notes around it are.
    pitch : sequence of (time [s], MIDI number)
        The contour drawn anew, straight between the points and held beyond them.
    loudness : sequence of (time [s], dB re full scale)
        Likewise.

    Raises
    ------
    ControlsError
        A number is not finite or out of its range, or the span is empty.

    See Also
    --------
    apply_edits : Correct controls.

    Examples
    --------
    >>> tt.Edit(0.5, 1.2, semitones=-1.0, db=3.0).semitones
    -1.0
    >>> tt.Edit(1.0, 1.0)
    Traceback (most recent call last):
        ...
    tonetransfer.errors.ControlsError: an edit runs from 1.0 to 1.0 s; a span with its end after its start is wanted
    """

    start_s: float
    end_s: float
    semitones: float = 0.0
    db: float = 0.0
    fix_octave: bool = False
    pitch: Sequence[tuple[float, float]] = ()
    loudness: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        for name, lowest, highest in (("semitones", -96.0, 96.0), ("db", -120.0, 60.0), ("start_s", 0.0, math.inf)):
            wanted = f"a number from {lowest:g} to {highest:g}"
            check_number(f"{name} of an edit", getattr(self, name), lowest, highest, wanted, error=ControlsError)
        if not self.start_s < self.end_s < math.inf:
            raise ControlsError(f"an edit runs from {self.start_s} to {self.end_s} s; a span with its end after its start is wanted")
        for name, lowest, highest in (("pitch", LOWEST_MIDI, HIGHEST_MIDI), ("loudness", FLOOR_DB, LOUDEST_DB)):
            points = getattr(self, name)
            if any(not (math.isfinite(time) and lowest <= value <= highest) for time, value in points):
                raise ControlsError(f"{name} of an edit leaves {lowest:g} ... {highest:g}; points (time [s], value) within are wanted")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Edit:
        """From a plain mapping, as of JSON.

        Raises
        ------
        ControlsError
            A key is unknown or missing, or a value is of the wrong kind.
        """
        try:
            points = {name: tuple((float(time), float(value)) for time, value in values.get(name) or ()) for name in ("pitch", "loudness")}
            numbers = {key: float(value) for key, value in values.items() if key not in (*points, "fix_octave")}
            return cls(**numbers, **points, fix_octave=bool(values.get("fix_octave", False)))  # type: ignore[arg-type]  # all floats
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            problem = " ".join(str(error).split())[:80]
            raise ControlsError(f"an edit cannot be understood ({problem}); start_s, end_s, semitones, db, ... are wanted") from error


def apply_edits(controls: Controls, edits: Sequence[Edit]) -> Controls:
    """Correct controls, one edit after the other.

    Parameters
    ----------
    controls : Controls [shape=(n_frames,)]
        Not changed.
    edits : sequence of Edit
        What lies outside the performance has no effect.

    Returns
    -------
    Controls [shape=(n_frames,)]

    Examples
    --------
    >>> held = tt.Controls(torch.full((100,), 440.0), torch.ones(100), torch.full((100,), -20.0))
    >>> corrected = tt.apply_edits(held, [tt.Edit(0.5, 1.0, semitones=12.0, db=-6.0)])
    >>> corrected.f0_hz[[0, 75]].tolist(), corrected.loudness_db[[0, 75]].tolist()
    ([440.0, 880.0], [-20.0, -26.0])
    """
    for edit in edits:
        controls = _applied(controls, edit)
    return controls


def octave_error(controls: Controls, start_s: float, end_s: float) -> int:
    """Semitones, a multiple of 12, that take a span to the octave of the notes within 2 s around it; 0 if there are none to tell."""
    times = controls.grid.times(controls.n_frames)
    inside = (times >= start_s) & (times < end_s)
    near = (times >= start_s - AROUND_S) & (times < end_s + AROUND_S) & ~inside & controls.note_frames().numpy()
    if not near.any() or not inside.any():
        return 0
    midi = hz_to_midi(controls.f0_hz.double().numpy())
    return 12 * round(float(np.median(midi[near]) - np.median(midi[inside])) / 12.0)


def _applied(controls: Controls, edit: Edit) -> Controls:
    times = controls.grid.times(controls.n_frames)
    inside = torch.from_numpy((times >= edit.start_s) & (times < edit.end_s))
    f0_hz, periodicity, loudness_db = controls.f0_hz, controls.periodicity, controls.loudness_db
    if edit.pitch:
        drawn = midi_to_hz(np.interp(times, *_rising(edit.pitch)))
        f0_hz = torch.where(inside, torch.from_numpy(drawn).to(f0_hz), f0_hz)
        periodicity = torch.where(inside, periodicity.clamp(min=DRAWN_PERIODICITY), periodicity)
    if edit.loudness:
        drawn = np.interp(times, *_rising(edit.loudness))
        loudness_db = torch.where(inside, torch.from_numpy(drawn).to(loudness_db), loudness_db)
    semitones = edit.semitones + (octave_error(controls, edit.start_s, edit.end_s) if edit.fix_octave else 0.0)
    f0_hz = torch.where(inside, f0_hz * 2.0 ** (semitones / 12.0), f0_hz)
    loudness_db = torch.where(inside & (loudness_db > FLOOR_DB), (loudness_db + edit.db).clamp(min=FLOOR_DB), loudness_db)
    return replace(controls, f0_hz=f0_hz, periodicity=periodicity, loudness_db=loudness_db)


def _rising(points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of points in order of time; of points at one time the last."""
    ordered = sorted(dict(points).items())
    return np.array([time for time, _ in ordered]), np.array([value for _, value in ordered])
