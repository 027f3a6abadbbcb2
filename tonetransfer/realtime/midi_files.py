"""Scores: the notes of a MIDI file, divided into voices of one note at a time.

What others play is played, what is left out is told in one warning. Wheels, pedals and programs belong to a channel, whichever track they
stand in; a note belongs to its track, but may be ended from any other. A note that is struck again ends there; one that is never ended
ends with the music. Time and memory that a file takes are bounded by its notes: stretches in which nothing happens are shortened, and
stray messages after the last note do not lengthen the sound.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ControlsError, ToneTransferWarning, plural
from . import midi_controller as midi
from .midi_reader import CHANNELS, Event, Message, read_midi

SLUR_S, SLUR_SHARE = 0.08, 0.5  # a note may overlap the next by so much, and by so much of itself, and still be one voice with it
CONTROLLING = ("control_change", "pitchwheel", "aftertouch", "program_change")
ENDINGS = (".mid", ".midi", ".kar", ".rmi")
DRUMS = 9  # General MIDI's channel 10, counted from 0
BANK, GM2_DRUMS, XG_DRUMS = 0, 120, (126, 127)
HELD_S = 10.0  # that a pedal holds a note which has ended, or a note that is never ended lasts, at most
UNENDED_S = 1.0  # length of a note that is never ended, if nothing follows it
LONGEST_STILL_S, LONGEST_S = 120.0, 3 * 3600.0  # without a note's beginning or end; of a whole score
# Sound of all notes together, and length of a score: so much for any, and so much for each note.
FREE_S, NOTE_S, STILL_S = 1200.0, 10.0, 30.0
MOST_VOICES = 64  # at once; General MIDI asks a synthesizer for 24


@dataclass(slots=True)
class MidiNote:
    number: int
    velocity: int
    channel: int
    track: int
    start_s: float
    end_s: float = -1.0  # -1: not ended yet


Mark = tuple[float, MidiNote | None]  # instant of a beginning, or of an end


def starts(message: Message) -> bool:
    """True for a message that begins a note."""
    return message.type == "note_on" and message.velocity > 0


def _silences(message: Message) -> bool:
    return message.type == "control_change" and (
        message.control == midi.ALL_SOUND_OFF or midi.ALL_NOTES_OFF <= message.control <= midi.POLY_ON
    )


def instant(event: Event | Timed) -> float:
    """Of an event [s]."""
    return event.time_s


class Timed(NamedTuple):
    time_s: float
    track: int
    message: Message


def mpe_zones(timed: Sequence[Timed]) -> dict[int, int]:
    """Manager of every channel that a zone of MPE takes."""
    managers: dict[int, int] = {}
    channels: defaultdict[int, midi.Channel] = defaultdict(lambda: midi.Channel(0.0))
    for _, _, message in timed:
        if message.type == "control_change":
            channel = channels[message.channel]
            channel.control(message.control, message.value)
            if message.control == midi.DATA_ENTRY and channel.selected == midi.MPE_ZONE:
                managers |= dict.fromkeys(midi.mpe_members(message.channel, message.value) or (), message.channel)
    return managers


def drum_channels(timed: Sequence[Timed], zones: Mapping[int, int]) -> set[int]:
    """Channels that play drums: the tenth of every port, and those that are told to; none that a zone of MPE takes."""
    drums: dict[int, bool] = {}
    begun: set[int] = set()
    xg = False
    for _, _, message in timed:
        channel = message.channel
        if starts(message):
            begun.add(channel)
        elif channel in begun:  # what its first note is played as decides
            continue
        elif message.type == "xg_on":
            xg = True
        elif message.type == "part_mode":
            drums[channel] = message.value > 0
        elif message.type == "control_change" and message.control == BANK:
            drums[channel] = message.value == GM2_DRUMS or (xg and message.value in XG_DRUMS) or channel % CHANNELS == DRUMS
    taken = set(zones) | set(zones.values())
    return {channel for channel in begun if drums.get(channel, channel % CHANNELS == DRUMS)} - taken


def all_notes(timed: Sequence[Timed], faults: list[str]) -> list[MidiNote]:
    """All notes in order, with their ends."""
    marks = _marks(timed)
    strange: defaultdict[tuple[int, int], list[Mark]] = defaultdict(list)  # what finds no partner in its own track
    for (channel, number, _), ones in marks.items():
        strange[channel, number] += _pair(ones)
    for ones in strange.values():
        _pair(sorted(ones, key=lambda mark: mark[0]))
    silences: defaultdict[int, list[float]] = defaultdict(list)  # for each channel
    for time_s, _, message in timed:
        if _silences(message):
            silences[message.channel].append(time_s)
    latest_s = timed[-1].time_s if timed else 0.0
    notes, n_unended, n_empty = [], 0, 0
    for ones in marks.values():
        own = [note for _, note in ones if note]
        for note, following in itertools.zip_longest(own, own[1:]):
            n_empty += note.end_s == note.start_s
            n_unended += _end(note, following, silences[note.channel], latest_s)
        notes += [note for note in own if note.end_s > note.start_s]
    if n_empty:
        faults.append(f"{plural(n_empty, 'note')} of no length {_are(n_empty)} left out")
    if n_unended:
        faults.append(f"{plural(n_unended, 'note')} without an end sound{'s' * (n_unended == 1)} for {HELD_S:g} s at most")
    return sorted(notes, key=lambda note: (note.start_s, -note.number))


def _marks(timed: Sequence[Timed]) -> dict[tuple[int, int, int], list[Mark]]:
    """Beginnings and ends of every channel, note and track, in order."""
    marks: defaultdict[tuple[int, int, int], list[Mark]] = defaultdict(list)
    for time_s, track, message in timed:
        if starts(message):
            note = MidiNote(message.note, message.velocity, message.channel, track, time_s)
            marks[message.channel, message.note, track].append((time_s, note))
        elif message.type in ("note_on", "note_off"):
            marks[message.channel, message.note, track].append((time_s, None))
    return marks


def _pair(marks: list[Mark]) -> list[Mark]:
    """Give beginnings of one key their ends, first to first; what is left over is returned.

    Where ends are missing it is the earlier notes that have none: they were struck again.
    """
    n_spare, ended = 0, set()
    for i, (_, note) in reversed(list(enumerate(marks))):
        if note is None:
            n_spare += 1
        elif n_spare:
            n_spare -= 1
            ended.add(i)
    begun: deque[MidiNote] = deque()
    left: list[Mark] = []
    for i, (time_s, note) in enumerate(marks):
        if note is None and begun:
            begun.popleft().end_s = time_s
        elif note is None or i not in ended:
            left.append((time_s, note))
        else:
            begun.append(note)
    return left


def _end(note: MidiNote, following: MidiNote | None, silences: list[float], latest_s: float) -> bool:
    """End a note where it ends, its key is struck again or all notes are told to end; whether nothing of this was there."""
    ends = [note.end_s] if note.end_s >= 0.0 else []
    place = bisect.bisect_right(silences, note.start_s)
    ends += silences[place : place + 1]
    if following:
        ends.append(following.start_s if ends else min(following.start_s, note.start_s + HELD_S))
    if not ends:
        note.end_s = min(latest_s, note.start_s + HELD_S)
        note.end_s = note.end_s if note.end_s > note.start_s else note.start_s + UNENDED_S
        return True
    note.end_s = min(ends)
    return False


def bounded(notes: list[MidiNote], faults: list[str]) -> tuple[list[MidiNote], Callable[[float], float]]:
    """Notes that take time in proportion to their number, and the clock that they were brought to."""
    instants = np.unique([0.0, *(note.start_s for note in notes), *(note.end_s for note in notes)])
    still = np.diff(instants)

    def clock(time_s: float) -> float:
        return time_s

    longest_s = min(_largest_share(still, FREE_S + STILL_S * len(notes)), LONGEST_STILL_S)
    if len(still) and still.max() > longest_s:
        short = np.cumsum([0.0, *np.minimum(still, longest_s)])

        def clock(time_s: float) -> float:
            i = int(np.searchsorted(instants, time_s, side="right")) - 1
            return float(short[i] + min(time_s - instants[i], longest_s))

        for note in notes:
            note.start_s, note.end_s = clock(note.start_s), clock(note.end_s)
        faults.append(f"stretches of up to {_length(still.max())} in which no note begins or ends are shortened to {_length(longest_s)}")
    kept = [note for note in notes if note.start_s < LONGEST_S]
    if len(kept) < len(notes):
        faults.append(
            f"{plural(len(notes) - len(kept), 'note')} after {LONGEST_S / 3600.0:g} hours {_are(len(notes) - len(kept))} left out"
        )
    for note in kept:
        note.end_s = min(note.end_s, LONGEST_S)
    kept = _within_voices(kept, faults)
    _shorten(kept, faults)
    return kept, clock


def _shorten(notes: list[MidiNote], faults: list[str]) -> None:
    """End the longest notes sooner if all together sound for longer than so many notes do in music."""
    lengths = np.array([note.end_s - note.start_s for note in notes])
    longest_s = _largest_share(lengths, FREE_S + NOTE_S * len(notes))
    if lengths.max() <= longest_s:
        return
    longer = [note for note in notes if note.end_s - note.start_s > longest_s]
    for note in longer:
        note.end_s = note.start_s + longest_s
    faults.append(
        f"{plural(len(longer), 'note')} of {_length(lengths.max())} and less {_are(len(longer))} shortened to {_length(longest_s)}"
    )


def _largest_share(lengths: np.ndarray, whole: float) -> float:
    """Limit of each length that keeps their sum within the whole; infinite if it is."""
    if lengths.sum() <= whole:
        return math.inf
    ordered = np.sort(lengths)
    shares = (whole - np.cumsum([0.0, *ordered[:-1]])) / np.arange(len(ordered), 0, -1)  # left for each, if all shorter ones stay
    return float(shares[np.argmax(ordered > shares)])


def _within_voices(notes: list[MidiNote], faults: list[str]) -> list[MidiNote]:
    """Notes of which no more sound at once than there are voices."""
    kept: list[MidiNote] = []
    sounding: list[float] = []  # where those that sound end
    for note in notes:
        while sounding and sounding[0] <= note.start_s:
            heapq.heappop(sounding)
        if len(sounding) < MOST_VOICES:
            heapq.heappush(sounding, note.end_s)
            kept.append(note)
    if (n_left := len(notes) - len(kept)) > 0:
        faults.append(f"{plural(n_left, 'note')} that would sound together with {MOST_VOICES} others {_are(n_left)} left out")
    return kept


def _length(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.3g} minutes" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} hours"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


@dataclass(frozen=True)
class Part:
    """Notes and controllers of one voice of a score; at most a slur's length of two notes overlap."""

    name: str
    number: int  # of its track, from 1; in a file of one track (type 0), of its channel
    program: int  # of General MIDI, 0 to 127
    n_notes: int
    notes: tuple[Event, ...]  # beginnings and ends, in order
    controllers: tuple[Event, ...]  # what else its channel receives, in order
    until_s: float  # where its last note ends

    @property
    def events(self) -> Iterator[Event]:
        """All there is to play, in order: at one instant controllers, then ends, then beginnings."""
        return heapq.merge(self.controllers, self.notes, key=instant)

    @property
    def pitches(self) -> np.ndarray:
        """MIDI numbers of its notes."""
        return np.array([event.message.note for event in self.notes if starts(event.message)])


def read_score(path: Path, *, top: bool = False) -> tuple[Part, ...]:
    """Read the voices of a MIDI file: every track and channel by itself, chords divided into as many voices as they need.

    With `top` only the highest of the notes that sound together, as one voice. ControlsError: the file is missing, no MIDI file, or holds
    no notes. One ToneTransferWarning tells of all that is left out, shortened or guessed.
    """
    file = read_midi(Path(path))
    timed = sorted((Timed(e.time_s, i, e.message) for i, track in enumerate(file.tracks) for e in track), key=instant)
    faults = list(file.faults)
    zones = mpe_zones(timed)
    if drums := drum_channels(timed, zones):
        faults.append(_without_pitch(sorted({channel % CHANNELS + 1 for channel in drums})))
    notes = all_notes([one for one in timed if one.message.channel not in drums], faults)
    if not notes:
        told = f" ({'; '.join(faults)})" if faults else ""
        raise ControlsError(f"{path}: holds no notes{told}; a MIDI file with notes is wanted: check how it was exported")
    notes, clock = bounded(notes, faults)
    channels = _Channels([one._replace(time_s=clock(one.time_s)) for one in timed if one.message.type in CONTROLLING], zones)
    if faults:
        warnings.warn(f"{path}: {'; '.join(faults)}", ToneTransferWarning, stacklevel=2)
    if top:
        return (_part("the highest notes", _highest(notes), channels, number=1, every=True),)
    return tuple(_parts(notes, channels, by_channel=len(file.tracks) == 1))


def _without_pitch(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"channel {numbers[0]} holds drums, which have no pitch, and is left out"
    return f"channels {' and '.join(map(str, numbers))} hold drums, which have no pitch, and are left out"


def duration_s(parts: Sequence[Part]) -> float:
    """Length of a score to the end of its last note."""
    return max(part.until_s for part in parts)


class _Channels:
    """Controllers, programs and pedals of the channels of a file, from all of its tracks."""

    def __init__(self, timed: Iterable[Timed], zones: Mapping[int, int]) -> None:
        self._zones = zones
        self._all: list[Event] = []
        self._own: defaultdict[int, list[Event]] = defaultdict(list)  # for each channel
        self._ports: defaultdict[int, list[Event]] = defaultdict(list)  # of all channels of a port, in the order of the file
        self._programs: defaultdict[int, list[Event]] = defaultdict(list)
        self._pedals: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)  # when it is down
        for time_s, _, message in timed:
            if message.type == "program_change":
                self._programs[message.channel].append(Event(time_s, message))
                continue
            event = Event(time_s, message)
            for events in (self._all, self._own[message.channel], self._ports[message.channel // CHANNELS]):
                events.append(event)
            if message.type == "control_change" and message.control in (midi.SUSTAIN, midi.RESET_CONTROLLERS):
                self._step(message.channel, time_s, down=message.control == midi.SUSTAIN and message.value >= 64)
        self._heard: dict[int, tuple[Event, ...]] = {}

    def _step(self, channel: int, time_s: float, *, down: bool) -> None:
        pedals = self._pedals[channel]
        is_down = bool(pedals) and pedals[-1][1] == math.inf
        if down and not is_down:
            pedals.append((time_s, math.inf))
        elif is_down and not down:
            pedals[-1] = (pedals[-1][0], time_s)

    def program(self, note: MidiNote) -> int:
        """Program that a note is played with."""
        changes = self._programs[note.channel]
        place = bisect.bisect_right(changes, note.start_s, key=instant)
        return changes[place - 1].message.program if place else 0

    def obeyed(self, channel: int) -> list[int]:
        """Channels whose controllers a note of a channel obeys."""
        return [channel, self._zones[channel]] if channel in self._zones else [channel]

    def heard(self, channel: int) -> tuple[Event, ...]:
        """Events that bear on the notes of a channel; in a zone of MPE one member's bend range is that of all."""
        if channel not in self._zones:
            return tuple(self._own[channel])
        if channel not in self._heard:
            obeyed = set(self.obeyed(channel))
            members = {one for one, manager in self._zones.items() if manager == self._zones[channel]}
            self._heard[channel] = tuple(
                event
                for event in self._ports[channel // CHANNELS]
                if event.message.channel in obeyed or (event.message.channel in members and _sets_parameter(event.message))
            )
        return self._heard[channel]

    def every(self) -> tuple[Event, ...]:
        """Events of all channels."""
        return tuple(self._all)

    def held_until(self, channel: int, time_s: float) -> float:
        """Instant at which a pedal lets go of a note that ends at `time_s`: there, or at most HELD_S later."""
        until = time_s
        for one in self.obeyed(channel):
            pedals = self._pedals[one]
            place = bisect.bisect_right(pedals, (time_s, math.inf)) - 1
            if place >= 0:
                until = max(until, min(pedals[place][1], time_s + HELD_S))
        return until


def _sets_parameter(message: Message) -> bool:
    return message.type == "control_change" and (
        message.control in (midi.DATA_ENTRY, midi.DATA_ENTRY_FINE) or midi.DATA_UP <= message.control <= midi.RPN_COARSE
    )


def _parts(notes: list[MidiNote], channels: _Channels, *, by_channel: bool) -> Iterator[Part]:
    """Voices of every track, channel and program."""
    groups: defaultdict[tuple[int, int, int], list[MidiNote]] = defaultdict(list)
    for note in notes:
        groups[note.track, note.channel, channels.program(note)].append(note)
    several = Counter(key[:2] for key in groups)
    for (track, channel, program), own in sorted(groups.items()):
        name = f"track {track + 1}, channel {channel % CHANNELS + 1}" + (
            f" of port {channel // CHANNELS + 1}" if channel >= CHANNELS else ""
        )
        name += f", program {program + 1}" if several[track, channel] > 1 else ""
        lanes = _lanes(own)
        for i, lane in enumerate(lanes):
            voice = f", voice {i + 1}" if len(lanes) > 1 else ""
            yield _part(name + voice, lane, channels, number=channel % CHANNELS + 1 if by_channel else track + 1, program=program)


def _part(name: str, notes: list[MidiNote], channels: _Channels, *, number: int, program: int | None = None, every: bool = False) -> Part:
    """A voice that plays notes in order; `every`: they are of any channels."""
    # At one instant ends come before beginnings, so that a repeated note is struck again.
    messages = [(note.start_s, 1, Message("note_on", note.channel, note=note.number, velocity=note.velocity)) for note in notes]
    messages += [(note.end_s, 0, Message("note_off", note.channel, note=note.number)) for note in notes]
    until_s = 0.0
    for note, following in itertools.zip_longest(notes, notes[1:]):
        held_s = channels.held_until(note.channel, note.end_s)
        if held_s == note.end_s + HELD_S and (following is None or held_s < following.start_s):
            messages.append((held_s, 2, Message("control_change", note.channel, control=midi.ALL_SOUND_OFF)))
        until_s = max(until_s, note.end_s, held_s if following is None else min(held_s, following.start_s))
    events = tuple(Event(time_s, message) for time_s, _, message in sorted(messages, key=lambda one: one[:2]))
    program = Counter(channels.program(note) for note in notes).most_common(1)[0][0] if program is None else program
    return Part(name, number, program, len(notes), events, channels.every() if every else channels.heard(notes[0].channel), until_s)


def _lanes(notes: list[MidiNote]) -> list[list[MidiNote]]:
    """Notes in order, divided into voices."""
    lanes: list[list[MidiNote]] = []
    free_s: list[float] = []  # when the next note of a lane may begin
    for note in notes:
        lane = next((i for i, instant in enumerate(free_s) if instant <= note.start_s), len(lanes))
        if lane == len(lanes):
            lanes.append([])
            free_s.append(0.0)
        lanes[lane].append(note)
        free_s[lane] = note.end_s - min(SLUR_S, SLUR_SHARE * (note.end_s - note.start_s))
    return lanes


def _highest(notes: list[MidiNote]) -> list[MidiNote]:
    """Notes in order, without those that sound under higher ones for more than half their length."""
    above_s = [0.0] * len(notes)
    sounding: list[int] = []
    for i, note in enumerate(notes):
        sounding = [j for j in sounding if notes[j].end_s > note.start_s]
        for j in sounding:
            both_s = min(notes[j].end_s, note.end_s) - note.start_s
            above_s[i] += both_s * (notes[j].number > note.number)
            above_s[j] += both_s * (notes[j].number < note.number)
        sounding.append(i)
    return [note for note, above in zip(notes, above_s, strict=True) if above <= SLUR_SHARE * (note.end_s - note.start_s)]
