"""Made-up performances: what a player does, before anybody has decided on which instrument.

A :class:`Performance` is composed from a seed and a window of notes. Every instrument that can play the window plays the
*same* performance, so the corpus holds parallel recordings: the right answer of a transfer is known.

All times are whole frames of a 100 Hz clock, so the timing is exact and the same on every instrument. One note sounds at a
time; legato notes overlap by one or two frames, as a player's do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

FRAME_RATE = 100  # Hz; the clock of notes and curves
LEAD_FRAMES = 20  # silence before the first note
TAIL_FRAMES = 50  # after the last note, for its decay
SOFTEST_DB = -28.0  # pp below ff; orchestral instruments span 20 to 30 dB (Meyer, Acoustics and the Performance of Music)
MEZZO_FORTE_DB = -12.0  # mf below ff
LOUD_DB = -3.0  # the loud passage that every performance holds is at least this strong

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10), tuple(range(12)))
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 6, 9))
RHYTHMS: tuple[tuple[float, ...], ...] = ((1.0,), (1.0, 0.5, 0.5), (1.5, 0.5), (2.0, 1.0), (1.0, 1.0, 0.5, 0.5, 2.0))  # in beats
KINDS = ("scale", "arpeggio", "leaps", "repeated", "melody", "long", "run")
ARTICULATIONS = ("legato", "detached", "staccato")


@dataclass(frozen=True)
class ComposedNote:
    """One note: `start` and `length` in frames of 10 ms, `midi` number, `velocity` 1 to 127."""

    start: int
    length: int
    midi: int
    velocity: int

    @property
    def end(self) -> int:
        """First frame after the note [frames]."""
        return self.start + self.length


@dataclass(frozen=True)
class Performance:
    """A composed performance, note by note and swell by swell."""

    id: str  # same id, same performance, whoever plays it
    seed: int
    lowest_midi: int  # of the window that the notes stay in (bends may leave it by two semitones)
    highest_midi: int
    notes: tuple[ComposedNote, ...]  # in order of their starts
    bend_semitones: np.ndarray  # (n_frames,), in [-3, 3], added to the note that sounds: glides, scoops, vibrato
    expression_db: np.ndarray  # (n_frames,), <= 0, gain added to what velocity gives: swells, fades, crescendi

    @property
    def n_frames(self) -> int:
        """Length [frames of 10 ms]."""
        return len(self.bend_semitones)

    @property
    def duration_s(self) -> float:
        """Length [s]."""
        return self.n_frames / FRAME_RATE

    def note_index(self) -> np.ndarray:
        """Index of the note that holds each frame, shape (n_frames,): the latest to have started; the first before that."""
        starts = np.array([note.start for note in self.notes])
        return np.maximum(np.searchsorted(starts, np.arange(self.n_frames), side="right") - 1, 0)

    def midi_curve(self) -> np.ndarray:
        """Note plus bend as MIDI numbers, held through rests and tails, shape (n_frames,)."""
        return np.array([note.midi for note in self.notes])[self.note_index()] + self.bend_semitones

    def intensity_db(self) -> np.ndarray:
        """Dynamic level [dB re the strongest], velocity and expression together, shape (n_frames,)."""
        return np.array([velocity_db(note.velocity) for note in self.notes])[self.note_index()] + self.expression_db

    def sounding(self) -> np.ndarray:
        """True while a note is held, shape (n_frames,)."""
        frames = np.zeros(self.n_frames, dtype=bool)
        for note in self.notes:
            frames[note.start : note.end] = True
        return frames


def velocity_db(velocity: int) -> float:
    """Level that General MIDI gives a velocity [dB re velocity 127]: the concave curve of the SoundFont 2.04 specification."""
    return 40.0 * np.log10(velocity / 127.0)


def compose(lowest_midi: int, highest_midi: int, *, seed: int, id: str, duration_s: float = 15.0) -> Performance:
    """Compose a performance within a window of notes, `duration_s` >= 4 with silence before and tail after.

    The same numbers, the same performance.
    """
    rng = np.random.default_rng([seed, lowest_midi, highest_midi])
    n_frames = round(duration_s * FRAME_RATE)
    bend, expression = np.zeros(n_frames), np.zeros(n_frames)
    notes: list[ComposedNote] = []
    clock, last = LEAD_FRAMES, n_frames - TAIL_FRAMES
    loud_phrase, phrase = int(rng.integers(0, 3)), 0
    while clock < last - 30:
        loud = phrase == loud_phrase
        planned = _phrase(rng, lowest_midi, highest_midi, clock, min(last, clock + int(rng.integers(180, 420))), loud)
        for note, level_db in planned:
            notes.append(_play(rng, note, level_db, bend, expression, loud))
        clock = max(note.end for note, _ in planned)
        clock += 0 if rng.random() < 0.35 else int(rng.integers(8, 70))
        phrase += 1
    notes = _link_glides(rng, notes, bend, expression)
    _hold_after_notes(notes, bend, expression)
    return Performance(id, seed, lowest_midi, highest_midi, tuple(notes), bend, expression)


def _phrase(rng: np.random.Generator, lowest: int, highest: int, start: int, end: int, loud: bool) -> list[tuple[ComposedNote, float]]:
    """One phrase: notes (velocity still open) with their level [dB re ff]."""
    kind = str(rng.choice(KINDS, p=(0.18, 0.14, 0.12, 0.08, 0.24, 0.12, 0.12)))
    articulation = str(rng.choice(ARTICULATIONS, p=(0.5, 0.32, 0.18)))
    beat = {"long": rng.integers(90, 330), "run": rng.integers(9, 16)}.get(kind, rng.integers(16, 70))
    starts = _rhythm(rng, kind, start, end, int(beat))
    pitches = _pitches(rng, kind, len(starts), lowest, highest)
    levels = _phrase_levels(rng, len(starts), loud)
    planned = []
    for position, (begin, midi, level_db) in enumerate(zip(starts, pitches, levels, strict=True)):
        room = (starts[position + 1] if position + 1 < len(starts) else end) - begin
        final = position + 1 == len(starts)
        planned.append((ComposedNote(begin, _held(rng, articulation, room, final), midi, 0), level_db))
    return planned


def _rhythm(rng: np.random.Generator, kind: str, start: int, end: int, beat: int) -> list[int]:
    """Starts of the notes [frames]; even for runs, of mixed values elsewhere."""
    values = (1.0,) if kind in ("run", "long") else RHYTHMS[rng.integers(len(RHYTHMS))]
    starts: list[int] = []
    clock = start
    while clock <= end - 8 and (not starts or end - clock >= 0.5 * beat):
        starts.append(clock)
        value = values[len(starts) % len(values)] * rng.uniform(0.96, 1.04)
        clock += max(8, round(beat * value))
    return starts


def _held(rng: np.random.Generator, articulation: str, room: int, final: bool) -> int:
    """Duration for which a note is held [frames] when the next one starts after `room` frames."""
    if articulation == "legato":
        return max(6, room if final else room + int(rng.integers(0, 3)))
    share = rng.uniform(0.3, 0.5) if articulation == "staccato" else rng.uniform(0.72, 0.95)
    return min(room, max(6, round(room * share)))


def _pitches(rng: np.random.Generator, kind: str, count: int, lowest: int, highest: int) -> list[int]:
    """MIDI numbers of a phrase, all within the window."""
    root = int(rng.integers(0, 12))
    if kind == "arpeggio":
        ladder = _ladder(CHORDS[rng.integers(len(CHORDS))], root, lowest, highest)
    else:
        ladder = _ladder(SCALES[rng.integers(len(SCALES))], root, lowest, highest)
    place, direction, midis = int(rng.integers(0, len(ladder))), int(rng.choice((-1, 1))), []
    for _ in range(count):
        midis.append(ladder[place])
        if kind in ("scale", "run", "arpeggio"):
            if not 0 <= place + direction < len(ladder) or rng.random() < 0.06:
                direction = -direction
            place += direction
        elif kind == "leaps":
            place = int(rng.integers(0, len(ladder)))
        elif kind == "repeated":
            place += int(rng.choice((-1, 0, 1), p=(0.12, 0.76, 0.12)))
        else:
            place += int(rng.choice((-4, -3, -2, -1, 0, 1, 2, 3, 4), p=(0.04, 0.06, 0.12, 0.24, 0.08, 0.24, 0.12, 0.06, 0.04)))
        place = int(np.clip(place, 0, len(ladder) - 1))
    return midis


def _ladder(steps: tuple[int, ...], root: int, lowest: int, highest: int) -> list[int]:
    """All notes of a scale or chord within the window; every note of it when fewer than three belong."""
    rungs = [midi for midi in range(lowest, highest + 1) if (midi - root) % 12 in steps]
    return rungs if len(rungs) >= 3 else list(range(lowest, highest + 1))


def _phrase_levels(rng: np.random.Generator, count: int, loud: bool) -> np.ndarray:
    """Level of each note [dB re ff], (count,): a phrase swells, fades, arches or stays; single notes get accents."""
    if loud:
        return np.clip(rng.uniform(LOUD_DB, 0.0) + rng.normal(0.0, 0.6, count), LOUD_DB, 0.0)
    centre, span = rng.uniform(-24.0, -2.0), rng.uniform(4.0, 16.0)
    x = np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(1)
    shape = (np.zeros(count), x, -x, 0.5 - 4.0 * x**2 / 2.0 - 0.25, 2.0 * x**2 - 0.25)[rng.integers(5)]
    accents = np.where(rng.random(count) < 0.12, rng.uniform(3.0, 9.0, count), 0.0)
    return np.clip(centre + span * shape + accents + rng.normal(0.0, 1.2, count), SOFTEST_DB, 0.0)


def _play(
    rng: np.random.Generator, note: ComposedNote, level_db: float, bend: np.ndarray, expression: np.ndarray, loud: bool
) -> ComposedNote:
    """Split a note's level into velocity and expression and write its bend and swell into the curves."""
    span = slice(note.start, min(note.end, len(bend)))
    n = span.stop - span.start
    share = 1.0 if loud else rng.uniform(0.5, 1.0)
    velocity = int(np.clip(round(127.0 * 10.0 ** (level_db * share / 40.0)), 20, 127))
    swell = np.zeros(n) if loud and rng.random() < 0.6 else _swell(rng, n)
    lowest = min(SOFTEST_DB - velocity_db(velocity), 0.0)
    expression[span] = np.clip(level_db - velocity_db(velocity) + swell, lowest, 0.0)
    bend[span] = _bend(rng, n)
    return ComposedNote(note.start, note.length, note.midi, velocity)


def _swell(rng: np.random.Generator, n: int) -> np.ndarray:
    """Course of a note's level while it is held [dB], (n,), <= 0 apart from a tremolo of a decibel or two."""
    if n < 25 or rng.random() < 0.35:
        return np.zeros(n)
    x, depth = np.linspace(0.0, 1.0, n), rng.uniform(3.0, 14.0)
    shapes = (x - 1.0, -x, -4.0 * (x - rng.uniform(0.3, 0.7)) ** 2, np.sin(np.pi * x) - 1.0, -1.0 + np.exp(-x * n / 12.0))
    curve = depth * shapes[rng.integers(len(shapes))]
    if rng.random() < 0.25:
        curve = curve + rng.uniform(0.3, 2.0) * np.sin(2.0 * np.pi * rng.uniform(4.5, 7.0) * np.arange(n) / FRAME_RATE)
    return curve


def _bend(rng: np.random.Generator, n: int) -> np.ndarray:
    """Bend of one note [semitones], (n,): its intonation, a slow drift, sometimes a scoop, sometimes vibrato."""
    time_s = np.arange(n) / FRAME_RATE
    bend = rng.normal(0.0, 0.04) + 0.03 * np.sin(2.0 * np.pi * (rng.uniform(0.2, 1.0) * time_s + rng.random()))
    if n >= 15 and rng.random() < 0.14:
        bend = bend - rng.uniform(0.3, 2.0) * rng.choice((1.0, 1.0, -1.0)) * np.exp(-time_s / rng.uniform(0.025, 0.08))
    if n >= 35 and rng.random() < 0.55:
        bend = bend + _vibrato(rng, time_s)
    return bend


def _vibrato(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Vibrato [semitones] that sets in late, then wanders in rate (4.5 to 7 Hz) and depth (up to 60 cents)."""
    onset_s, ramp_s = rng.uniform(0.0, 0.45), rng.uniform(0.1, 0.5)
    wander = rng.uniform(0.1, 0.6)
    rate = np.clip(rng.uniform(4.5, 7.0) + 0.5 * np.sin(2.0 * np.pi * (wander * time_s + rng.random())), 4.5, 7.0)
    depth = rng.uniform(0.05, 0.55) * np.clip((time_s - onset_s) / ramp_s, 0.0, 1.0)
    depth = np.minimum(depth * (1.0 + 0.25 * np.sin(2.0 * np.pi * (0.7 * wander * time_s + rng.random()))), 0.6)
    return depth * np.sin(2.0 * np.pi * np.cumsum(rate) / FRAME_RATE + rng.uniform(0.0, 2.0 * np.pi))


def _link_glides(rng: np.random.Generator, notes: list[ComposedNote], bend: np.ndarray, expression: np.ndarray) -> list[ComposedNote]:
    """Turn some steps of one or two semitones into a glide: one held note whose bend travels to the next note."""
    linked: list[ComposedNote] = []
    for note, following in pairwise([*notes, None]):
        assert note is not None
        until = note.end if following is None else min(note.end, following.start)  # its own frames in the curves
        if not linked or not _may_glide(linked[-1], note, bend[linked[-1].start : until]) or rng.random() > 0.2:
            linked.append(note)
            continue
        previous = linked.pop()
        travel = int(rng.integers(6, 30))
        begin = max(previous.start + 8, note.start - travel // 2)
        ramp = np.clip((np.arange(begin, until) - begin) / travel, 0.0, 1.0)
        bend[begin:until] += (note.midi - previous.midi) * (0.5 - 0.5 * np.cos(np.pi * ramp))
        heard = expression[note.start : until] + velocity_db(note.velocity) - velocity_db(previous.velocity)
        expression[note.start : until] = np.minimum(heard, 0.0)  # the level stays as planned under the first note's velocity
        linked.append(ComposedNote(previous.start, note.end - previous.start, previous.midi, previous.velocity))
    return linked


def _may_glide(previous: ComposedNote, note: ComposedNote, bend: np.ndarray) -> bool:
    """Test whether two notes join closely enough; one glide a note, since two could leave the bend's range."""
    joined = previous.end >= note.start and previous.length >= 20 and note.length >= 15
    return joined and 1 <= abs(note.midi - previous.midi) <= 2 and bool(np.all(np.abs(bend) < 0.9))


def _hold_after_notes(notes: list[ComposedNote], bend: np.ndarray, expression: np.ndarray) -> None:
    """Hold bend and expression through rests: the tail of a note belongs to it."""
    for note, following in pairwise([*notes, None]):
        assert note is not None
        until = len(bend) if following is None else following.start
        if note.end < until:
            bend[note.end : until] = bend[note.end - 1]
            expression[note.end : until] = expression[note.end - 1]
