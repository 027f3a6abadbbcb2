"""Notes of a MIDI file: beginnings and ends matched, drums left out, and all of it kept in proportion to the music."""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .midi_controller import ALL_NOTES_OFF, ALL_SOUND_OFF, DATA_ENTRY, MPE_ZONE, POLY_ON, Channel, mpe_members
from .midi_reader import CHANNELS, Event, Message

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


def _ends(message: Message) -> bool:
    return message.type == "note_off" or (message.type == "note_on" and message.velocity == 0)


def _silences(message: Message) -> bool:
    return message.type == "control_change" and (message.control == ALL_SOUND_OFF or ALL_NOTES_OFF <= message.control <= POLY_ON)


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
    channels: defaultdict[int, Channel] = defaultdict(lambda: Channel(0.0))
    for _, _, message in timed:
        if message.type == "control_change":
            channel = channels[message.channel]
            channel.control(message.control, message.value)
            if message.control == DATA_ENTRY and channel.selected == MPE_ZONE:
                managers |= dict.fromkeys(mpe_members(message.channel, message.value) or (), message.channel)
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
        faults.append(f"{_count(n_empty, 'note')} of no length {_are(n_empty)} left out")
    if n_unended:
        faults.append(f"{_count(n_unended, 'note')} without an end sound{'s' * (n_unended == 1)} for {HELD_S:g} s at most")
    return sorted(notes, key=lambda note: (note.start_s, -note.number))


def _marks(timed: Sequence[Timed]) -> dict[tuple[int, int, int], list[Mark]]:
    """Beginnings and ends of every channel, note and track, in order."""
    marks: defaultdict[tuple[int, int, int], list[Mark]] = defaultdict(list)
    for time_s, track, message in timed:
        if starts(message):
            note = MidiNote(message.note, message.velocity, message.channel, track, time_s)
            marks[message.channel, message.note, track].append((time_s, note))
        elif _ends(message):
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
            f"{_count(len(notes) - len(kept), 'note')} after {LONGEST_S / 3600.0:g} hours {_are(len(notes) - len(kept))} left out"
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
        f"{_count(len(longer), 'note')} of {_length(lengths.max())} and less {_are(len(longer))} shortened to {_length(longest_s)}"
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
        faults.append(f"{_count(n_left, 'note')} that would sound together with {MOST_VOICES} others {_are(n_left)} left out")
    return kept


def _length(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.3g} minutes" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} hours"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
