"""Playing techniques of a monophonic recording, as labelled time spans, from its f0 and level.

What counts as what
-------------------
- `vibrato`, `tremolo`: a regular swing of f0, of the level, within a note (:mod:`tonetransfer.analysis.envelope`). A swing of the level
  that merely goes along with a vibrato, as fast and small, is not called tremolo.
- `slide`: f0 travels gradually from one held level to another.
- `bend`: f0 travels gradually away from a level and comes back soon, or into a level at the very start of a note (a scoop).
- `hammer_on`, `pull_off`: f0 steps up, or down, at once, and the level shows no new attack: a slur, on any instrument.
- `legato`: three notes or more of which each follows the last without a gap, slurred or not.
- `staccato`: two notes or more of which each sounds for at most 0.25 s and 60 % of the time until the next.

Spans of different techniques may overlap (a slur lies in a legato, a note of it has vibrato); those of one technique do not.

How: vibrato is taken out of the contour. What then still moves faster than 200 cents a second, in one direction and by 60 cents
or more, is a *move*; what lies between moves are levels. The pattern of moves and levels decides, and the level in dB
at their borders. After Chen, Yang et al., "Electric guitar playing technique detection in real-world recordings based on F0 sequence
pattern recognition", ISMIR 2015, which finds the same patterns in the f0 of guitar solos and then asks a classifier; here rules
decide, so that every label can be explained, and on any instrument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from ..audio.units import hz_to_midi
from .descriptors import Analysis
from .envelope import LEAST_SHARE, WINDOW_S, follow_swing
from .notes import DIP_DB, Note, runs

TECHNIQUES = ("vibrato", "tremolo", "bend", "slide", "hammer_on", "pull_off", "staccato", "legato")

MOVING_CENTS_PER_S = 200.0
LEAST_MOVE_CENTS = 60.0
SLOPE_REACH_S = 0.02  # to each side
PAUSE_S = 0.03  # a move may hesitate
STEP_S = 0.04  # 10 to 90 % of the way: quicker is a step; windows and trackers make up to 30 ms of a leap
LEVEL_S = 0.05  # what is held for so long between two moves is a level
TOP_S = 0.35  # a bend that stays away for longer is a new note
SHORTEST_SCOOP_S, LEAST_SCOOP_CENTS = 0.1, 75.0  # what is quicker or smaller belongs to the attack
SCOOP_LEVEL_S = 0.1  # a note that is first held for longer slides
LONGEST_OCTAVE_ERROR_S = 0.25  # an exact octave so soon after the start is the tracker's
ATTACK_DB = 3.0  # a dip or a leap by so much at a step is a new attack
ATTACK_NOISE_DB = 6.0  # and so is so much less harmonic to noise ratio 20 to 40 ms after it than later
QUICK_SLIDE_S = 0.08  # what is quicker may be the pitch of an attack that has yet to settle
LONGEST_BRIDGE_S = 0.25
GAP_DB, GAP_S = 12.0, 0.03  # the level so far below the softer neighbour, for so long: notes do not join
STACCATO_S, STACCATO_SHARE, LONGEST_STACCATO_S = 0.25, 0.6, 1.0
HALF_DB = 6.0
STEP_SPAN_S = 0.06
SAME_SWING, LEAST_TREMOLO_BESIDE_DB = 0.15, 3.0
JOIN_SWINGS_S = 0.15
LEAST_VIBRATO_CENTS = 9.0  # less is measured, but not called a technique


@dataclass(frozen=True)
class Technique:
    """A playing technique, and the span in which it was found.

    Parameters
    ----------
    name : str
        One of :data:`tonetransfer.analysis.techniques.TECHNIQUES`.
    start_s, end_s : float, 0 <= start_s < end_s [s]
        In the recording.
    figures : dict of float
        What was measured of it; keys end in their unit.

    See Also
    --------
    find_techniques : All of a recording.

    Examples
    --------
    >>> tt.Technique("vibrato", 0.5, 1.5, {"vibrato_rate_hz": 5.5}).to_dict()
    {'technique': 'vibrato', 'start_s': 0.5, 'end_s': 1.5, 'vibrato_rate_hz': 5.5}
    """

    name: str
    start_s: float
    end_s: float
    figures: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"technique": self.name, "start_s": self.start_s, "end_s": self.end_s, **self.figures}


@dataclass(frozen=True)
class _Move:
    """f0 moves from frame `start` to frame `stop`, by `cents`; `travel_s` is the time from 10 to 90 % of the way."""

    start: int
    stop: int
    cents: float
    travel_s: float


def find_techniques(analysis: Analysis) -> list[Technique]:
    """Label the playing techniques of a recording.

    Parameters
    ----------
    analysis : Analysis
        Of :func:`tonetransfer.analysis.descriptors.analyze_timbre`.

    Returns
    -------
    list of Technique
        In order of their starts; empty for silence and for noise.
    """
    notes = analysis.described
    found = _swings([note for note in notes if note["vibrato_extent_cents"] >= LEAST_VIBRATO_CENTS], "vibrato", "extent_cents")
    found += _swings([note for note in notes if not _goes_along(note)], "tremolo", "depth_db")
    vibratos = [one for one in found if one.name == "vibrato"]
    cents, sounding = _bridged(analysis)
    for run in runs(sounding):
        found += _moves_named(analysis, cents, run, vibratos)
    found += _legatos(analysis, [one for one in found if one.name == "bend"]) + _staccatos(analysis)
    return sorted(found, key=lambda one: (one.start_s, one.end_s))


def _swings(notes: list[dict[str, float]], name: str, size: str) -> list[Technique]:
    """Vibrato or tremolo of notes, from where it sets in; parts of one swing that a border of notes divides are joined."""
    found: list[Technique] = []
    for note in (note for note in notes if note[f"{name}_rate_hz"] > 0):
        start_s = note["start_s"] + note[f"{name}_onset_s"]
        end_s = max(note["start_s"] + note[f"{name}_end_s"], start_s + 1.0 / note[f"{name}_rate_hz"])
        figures = {f"{name}_rate_hz": note[f"{name}_rate_hz"], f"{name}_{size}": note[f"{name}_{size}"]}
        if found and start_s - found[-1].end_s < JOIN_SWINGS_S:
            found[-1] = replace(found[-1], end_s=end_s)
        else:
            found.append(Technique(name, start_s, end_s, figures))
    return found


def _goes_along(note: dict[str, float]) -> bool:
    """Test whether a swing of the level comes with a vibrato: resonances that partials sweep over."""
    near = abs(note["tremolo_rate_hz"] - note["vibrato_rate_hz"]) <= SAME_SWING * note["vibrato_rate_hz"]
    return near and note["tremolo_depth_db"] < LEAST_TREMOLO_BESIDE_DB


def _moves_named(analysis: Analysis, cents: np.ndarray, run: Note, vibratos: list[Technique]) -> list[Technique]:
    """Bends, slides and slurs within a stretch of frames that sounds throughout."""
    rate = analysis.grid.frame_rate
    found: list[Technique] = []
    for part in _articulated(analysis, run):
        moves = [move for move in _find_moves(cents[part.frames], part.start, rate) if not _is_swing(move, vibratos, rate)]
        edges = [part.start, *(edge for move in moves for edge in (move.start, move.stop)), part.stop]
        level_s = [(edges[2 * k + 1] - edges[2 * k]) / rate for k in range(len(moves) + 1)]  # before, between and after them
        used = False
        for number, move in enumerate(moves):
            if used:  # as the second half of a bend
                used = False
                continue
            following, held = next(iter(moves[number + 1 :]), None), min(level_s[number : number + 2]) >= LEVEL_S
            leading_s = level_s[0] if number == 0 else math.inf
            if move.travel_s <= STEP_S:
                if held and _is_slur(analysis, move, leading_s):
                    found.append(_slur(move, rate))
            elif following and _returns(move, following, level_s[number + 1]):
                found.append(_span("bend", move.start, following.stop, {"bend_cents": move.cents}, rate))
                used = True
            elif leading_s < SCOOP_LEVEL_S and _is_scoop(move, part, rate):
                found.append(_span("bend", part.start, move.stop, {"bend_cents": -move.cents}, rate))
            elif held and (move.travel_s > QUICK_SLIDE_S or not _leaps(analysis, move)):
                found.append(_span("slide", move.start, move.stop, {"interval_cents": move.cents}, rate))
    return found


def _is_slur(analysis: Analysis, move: _Move, leading_s: float) -> bool:
    """Test whether a step, after `leading_s` of the sound, is neither a new attack nor the end of a tracker's error."""
    octave_error = leading_s <= LONGEST_OCTAVE_ERROR_S and abs(abs(move.cents) - 1200.0) <= 30.0
    return not octave_error and not _leaps(analysis, move) and not _noisy_after(analysis, move)


def _span(name: str, start: int, stop: int, figures: dict[str, float], rate: float) -> Technique:
    return Technique(name, start / rate, stop / rate, figures)


def _slur(move: _Move, rate: float) -> Technique:
    middle_s = (move.start + move.stop) / 2.0 / rate
    name = "hammer_on" if move.cents > 0 else "pull_off"
    return Technique(name, max(middle_s - STEP_SPAN_S / 2.0, 0.0), middle_s + STEP_SPAN_S / 2.0, {"interval_cents": move.cents})


def _returns(move: _Move, following: _Move, between_s: float) -> bool:
    """Test whether two moves are one bend: away, and soon back."""
    remains = abs(move.cents + following.cents)
    return following.travel_s > STEP_S and between_s <= TOP_S and remains <= max(0.35 * abs(move.cents), 40.0)


def _is_scoop(move: _Move, part: Note, rate: float) -> bool:
    return move.stop - part.start >= SHORTEST_SCOOP_S * rate and abs(move.cents) >= LEAST_SCOOP_CENTS


def _is_swing(move: _Move, vibratos: list[Technique], rate: float) -> bool:
    """Test whether a move may be half a cycle of a vibrato that is there."""
    return any(
        one.start_s - WINDOW_S / 2.0 < move.stop / rate
        and move.start / rate < one.end_s + WINDOW_S / 2.0
        and abs(move.cents) < 2.4 * one.figures["vibrato_extent_cents"]
        for one in vibratos
    )


def _bridged(analysis: Analysis) -> tuple[np.ndarray, np.ndarray]:
    """f0 [cents] and where it sounds, each (n_frames,), with quick slides, in which trackers hear no pitch, bridged by a straight line.

    A gap is bridged where the loudness neither dips nor leaps, and where the sound does not turn to hiss (a consonant does).
    """
    rate, loudness = analysis.grid.frame_rate, analysis.controls.loudness_db.numpy()
    cents, sounding = 100.0 * hz_to_midi(analysis.partials.f0_hz), analysis.in_note.copy()
    side = round(0.1 * rate)
    for gap in runs(~analysis.in_note):
        before, after = slice(max(gap.start - side, 0), gap.start), slice(gap.stop, gap.stop + side)
        if gap.start == 0 or gap.stop == len(sounding) or gap.stop - gap.start > LONGEST_BRIDGE_S * rate:
            continue
        levels = np.median(loudness[before]), np.median(loudness[after])
        within = loudness[gap.frames]
        steady = within.min() > min(levels) - ATTACK_DB and within.max() < max(levels) + ATTACK_DB
        if steady and _crossings(analysis, gap.frames) < 2.0 * max(_crossings(analysis, before), _crossings(analysis, after)):
            first, last = max(gap.start - 3, 0), min(gap.stop + 2, len(cents) - 1)  # f0 is unsure where it gets lost
            cents[first : last + 1] = np.interp(np.arange(first, last + 1), [first, last], [cents[first], cents[last]])
            sounding[gap.frames] = True
    return cents, sounding


def _crossings(analysis: Analysis, frames: slice) -> float:
    """Share of samples in some frames at which the audio crosses zero."""
    audio = analysis.audio[analysis.grid.n_samples(frames.start) : analysis.grid.n_samples(frames.stop)]
    return float((np.diff(audio > 0.0) != 0).mean()) if len(audio) > 1 else 0.0


def _articulated(analysis: Analysis, run: Note) -> list[Note]:
    """A stretch of sound, divided where a note begins after a dip of the level."""
    rate, level_db = analysis.grid.frame_rate, _level_db(analysis)
    starts = [note.start for note in analysis.notes if run.start < note.start < run.stop]
    borders = [start for start in starts if _gap_s(level_db[run.frames], start - run.start, rate, depth_db=DIP_DB) > 0]
    return [Note(start, stop) for start, stop in zip([run.start, *borders], [*borders, run.stop], strict=True)]


def _find_moves(raw: np.ndarray, first: int, rate: float) -> list[_Move]:
    """Moves of a contour (n_frames,) in cents whose first frame is `first`."""
    swing = follow_swing(raw, rate)
    calm = raw - np.where(swing.share >= LEAST_SHARE, swing.value, 0.0)
    smooth = median_filter(calm, size=5, mode="nearest")
    reach = max(round(SLOPE_REACH_S * rate), 1)
    padded = np.pad(smooth, reach, mode="edge")
    slope = (padded[2 * reach :] - padded[: -2 * reach]) * rate / (2 * reach)  # cents a second
    moves: list[_Move] = []
    for sign in (1, -1):
        moving = sign * slope >= MOVING_CENTS_PER_S
        for gap in runs(~moving):
            inside = gap.start > 0 and gap.stop < len(moving) and gap.stop - gap.start <= PAUSE_S * rate
            if inside and (sign * slope[gap.frames] >= -MOVING_CENTS_PER_S / 4.0).all():
                moving[gap.frames] = True
        for stretch in runs(moving):
            move = _measured(calm, stretch, first, rate)
            if abs(move.cents) >= LEAST_MOVE_CENTS:
                moves.append(move)
    return sorted(moves, key=lambda move: move.start)


def _measured(cents: np.ndarray, stretch: Note, first: int, rate: float) -> _Move:
    """A move with its ends where it has done 10 and 90 % of its way."""
    start, stop = max(stretch.start - 1, 0), min(stretch.stop + 1, len(cents))
    before, after = np.median(cents[max(start - 3, 0) : start + 2]), np.median(cents[max(stop - 2, 0) : stop + 3])
    done = (cents[start:stop] - before) / (after - before if abs(after - before) > 1.0 else 1.0)
    left, arrived = int(np.argmax(done >= 0.1)), len(done) - 1 - int(np.argmax(done[::-1] <= 0.9))
    arrived = max(arrived + 1, left + 1)
    begin, end = first + start + max(left - 1, 0), first + min(start + arrived + 1, len(cents))
    return _Move(begin, end, float(after - before), (arrived - left) / rate)


def _leaps(analysis: Analysis, move: _Move) -> bool:
    """Test whether the level dips or leaps where f0 moves, as it does at a new attack."""
    rate, frame, level_db = analysis.grid.frame_rate, (move.start + move.stop) // 2, _level_db(analysis)
    near, far = round(0.04 * rate), round(0.12 * rate)
    before, after = level_db[max(frame - far, 0) : max(frame - near, 1)], level_db[frame + near : frame + far]
    if not len(after):
        return False
    around = level_db[max(frame - near, 0) : frame + near + 1]
    dip_db, leap_db = min(np.median(before), np.median(after)) - around.min(), around.max() - np.median(before)
    return bool(max(dip_db, leap_db) > ATTACK_DB)


def _noisy_after(analysis: Analysis, move: _Move) -> bool:
    """Test whether noise stays for longer than a mere step of f0 makes it, as it does at a new attack."""
    rate, frame = analysis.grid.frame_rate, (move.start + move.stop) // 2
    clear_db = analysis.partials.harmonic_to_noise_ratio_db
    soon = clear_db[frame + round(0.02 * rate) : frame + round(0.04 * rate)]
    later = clear_db[frame + round(0.08 * rate) : frame + round(0.2 * rate)]
    return bool(len(soon) and len(later) and np.median(later) - soon.mean() > ATTACK_NOISE_DB)


def _gap_s(level_db: np.ndarray, frame: int, rate: float, *, depth_db: float) -> float:
    """For how long, around a border of notes, the level stays `depth_db` below the softer of both sides; an attack alone is no gap."""
    reach = round(0.15 * rate)
    first = max(frame - reach // 2, 0)
    lowest = first + int(level_db[first : frame + reach // 2].argmin())
    sides = level_db[max(lowest - reach, 0) : lowest + 1], level_db[lowest : lowest + reach]
    softer = min(side.max() for side in sides)
    return float((level_db[first : frame + reach // 2] < softer - depth_db).sum() / rate)


def _legatos(analysis: Analysis, bends: list[Technique]) -> list[Technique]:
    rate, level_db = analysis.grid.frame_rate, _level_db(analysis)
    midi = hz_to_midi(analysis.partials.f0_hz)
    joined = [
        after.start == before.stop
        and _gap_s(level_db, after.start, rate, depth_db=GAP_DB) < GAP_S
        and abs(np.median(midi[after.frames]) - np.median(midi[before.frames])) > 0.5
        and not any(one.start_s - 0.1 <= after.start / rate <= one.end_s + 0.1 for one in bends)
        for before, after in zip(analysis.notes[:-1], analysis.notes[1:], strict=True)
    ]
    found = []
    for run in runs(np.array(joined, bool)):
        if run.stop - run.start >= 2:
            figures = {"note_count": run.stop - run.start + 1.0}
            found.append(_span("legato", analysis.notes[run.start].start, analysis.notes[run.stop].stop, figures, rate))
    return found


def _staccatos(analysis: Analysis) -> list[Technique]:
    rate, level_db = analysis.grid.frame_rate, _level_db(analysis)
    notes: list[Note] = []
    for note in analysis.notes:  # those between which the level does not dip count as one
        if notes and note.start == notes[-1].stop and not _gap_s(level_db, note.start, rate, depth_db=DIP_DB):
            notes[-1] = Note(notes[-1].start, note.stop)
        else:
            notes.append(note)
    if len(notes) < 2:
        return []
    ends = [*(note.start for note in notes[1:]), len(level_db)]
    sounding_s = np.array([_sounding_s(level_db[note.start : max(end, note.stop)], rate) for note, end in zip(notes, ends, strict=True)])
    to_next_s = np.diff([note.start for note in notes]) / rate
    short = sounding_s <= STACCATO_S
    apart = short[:-1] & short[1:] & (sounding_s[:-1] <= STACCATO_SHARE * to_next_s) & (to_next_s <= LONGEST_STACCATO_S)
    found = []
    for run in runs(apart):
        stop = notes[run.stop].start + round(float(sounding_s[run.stop]) * rate)
        found.append(_span("staccato", notes[run.start].start, stop, {"note_count": run.stop - run.start + 1.0}, rate))
    return found


def _sounding_s(level_db: np.ndarray, rate: float) -> float:
    """Sounding duration of a note, of the level from its start to the start of the next: to where it falls to half its peak amplitude.

    Infinite where it does not fall much further before the next note: then the two are joined.
    """
    peak_db = level_db[: max(4 * len(level_db) // 5, 1)].max()  # the next attack may have begun at the very end
    first = int(np.argmax(level_db >= peak_db - HALF_DB))
    lowest = first + int(level_db[first:].argmin())
    last = first + int(np.flatnonzero(level_db[first : lowest + 1] >= peak_db - HALF_DB)[-1])
    return (last + 1) / rate if level_db[lowest] <= peak_db - GAP_DB else math.inf


def _level_db(analysis: Analysis) -> np.ndarray:
    """Level (n_frames,) through short windows, and outside of notes, where these were not looked at, the loudness."""
    return np.where(analysis.in_note, analysis.partials.level_db, analysis.controls.loudness_db.numpy())
