"""Standard MIDI files, read as far as they go: bytes to messages at their instants.

The format is that of "Standard MIDI Files 1.0" (MIDI Manufacturers Association, 1996), alone or in a RIFF file (.rmi). Programs write it
with wrong lengths, wrong counts and broken events, and copies end in the middle; other players play what is there, and so does this
reader. Only what it has to leave out or guess is told, as :attr:`MidiFile.faults`.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import ControlsError

LARGEST_BYTES = 1 << 24  # a hundred times what a symphony takes
MOST_MESSAGES = 500_000  # some 40 hours of a pianist; more is no music, and takes gigabytes
MOST_TRACKS = 4096
HEADER, TRACK = b"MThd", b"MTrk"
SEARCHED_BYTES = 4096  # in front of the header, where some programs put blocks of their own
USUAL_TEMPO, USUAL_DIVISION = 500_000, 480  # microseconds and ticks a beat, until a file says otherwise
DROP_FRAMES, DROP_RATE = 29, 30_000 / 1001  # time code of NTSC
CHANNELS = 16
ALL_SOUND_OFF, RESET_CONTROLLERS = 120, 121
KINDS = {0x80: "note_off", 0x90: "note_on", 0xA0: "polytouch", 0xB0: "control_change", 0xC0: "program_change", 0xD0: "aftertouch"}
TEMPO, END_OF_TRACK, PORT = 0x51, 0x2F, 0x21  # meta events
XG_ON = bytes.fromhex("43104c00007e00")
GS_PART = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.)", re.DOTALL)
XG_PART = re.compile(rb"\x43[\x10-\x1f]\x4c\x08(.)\x07(.)", re.DOTALL)
SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # bytes of data; other system messages have none


class Message(NamedTuple):
    """A MIDI message, with the attributes of mido's; those that its type does not have are 0.

    `channel` counts from 0, and on from 16 for a second port. `value` of a "set_tempo" is in microseconds a beat; that of a "part_mode",
    which Roland's GS and Yamaha's XG send, is 0 if the channel plays a melody, and more if it plays drums.
    """

    type: str
    channel: int = 0
    note: int = 0
    velocity: int = 0
    control: int = 0
    value: int = 0
    pitch: int = 0
    program: int = 0


class Event(NamedTuple):
    """A message and its instant [s]."""

    time_s: float
    message: Message


@dataclass(frozen=True)
class MidiFile:
    """Events of a MIDI file."""

    format: int  # 0: one track of many channels; 1: tracks that sound together; 2: tracks that follow each other
    tracks: tuple[tuple[Event, ...], ...]  # events in order; each ends with an "end_of_track"
    faults: tuple[str, ...]  # parts of a sentence about what was left out or guessed


def read_midi(path: Path) -> MidiFile:
    """Read a MIDI file; ControlsError: it is missing, too large, or no MIDI file."""
    if not path.is_file():
        raise ControlsError(f"{path} is not a file; a MIDI file (.mid) is wanted: check its name")
    if (size := path.stat().st_size) > LARGEST_BYTES:
        raise ControlsError(f"{path} has {size >> 20} MB; a MIDI file of at most {LARGEST_BYTES >> 20} MB is wanted: check that it is one")
    try:
        return _File(path.read_bytes()).read()
    except _NotMidiError as error:
        raise ControlsError(f"{path} cannot be read as MIDI ({error}); a standard MIDI file is wanted: export it again") from None


class _NotMidiError(Exception):
    """Bytes are not a MIDI file, in words."""


class _CutError(Exception):
    """An event goes on where its track does not."""


class _File:
    """Bytes of a file, on their way to events."""

    def __init__(self, data: bytes) -> None:
        self._data, self._end = data, len(data)
        self._faults: dict[str, None] = {}  # in order, each once
        self._n_messages = 0

    def read(self) -> MidiFile:
        """All that can be read."""
        at, kind, n_declared, division = self._header()
        tracks: list[list[tuple[int, Message]]] = []
        while (place := self._next_track(at)) is not None:
            events, at = self._track(place)
            tracks.append(events)
            if len(tracks) > MOST_TRACKS:
                raise _NotMidiError(f"it has over {MOST_TRACKS} tracks, the most that are taken")
        if not tracks:
            raise _NotMidiError("there is no track in it")
        if len(tracks) < n_declared:
            self._fault(f"{len(tracks)} of the {n_declared} tracks are there")
        tracks = _one_port(tracks)
        timed = _in_turn(tracks, division) if kind == 2 else _together(tracks, division)
        if kind == 2 and len(tracks) > 1:
            self._fault(f"its {len(tracks)} sequences (type 2) are played one after another")
        return MidiFile(kind, timed, tuple(self._faults))

    def _fault(self, text: str) -> None:
        self._faults[text] = None

    def _header(self) -> tuple[int, int, int, int]:
        """Read where chunks begin, type, number of tracks, and division."""
        data = self._data
        riff = data[:4] == b"RIFF" and data[8:12] == b"RMID"
        start = data.find(HEADER, 0, self._end if riff else SEARCHED_BYTES)
        if start < 0:
            if (first := data.find(TRACK, 0, SEARCHED_BYTES)) < 0:
                raise _NotMidiError("it is empty" if not data else "it does not begin as one")
            self._fault(f"its header is missing, so {USUAL_DIVISION} ticks a beat are taken")
            return first, 1, 0, USUAL_DIVISION
        if self._end < start + 14:
            raise _NotMidiError(f"it ends after {self._end} bytes")
        if riff and data[start - 8 : start - 4] == b"data":
            self._end = min(self._end, start + int.from_bytes(data[start - 4 : start], "little"))
        length, kind, n_tracks, division = (int.from_bytes(data[start + a : start + b]) for a, b in ((4, 8), (8, 10), (10, 12), (12, 14)))
        if division == 0:
            self._fault(f"its header has no time base, so {USUAL_DIVISION} ticks a beat are taken")
        after = start + 8 + length
        return after if self._is_chunk(after) else start + 14, kind, n_tracks, division or USUAL_DIVISION

    def _is_chunk(self, at: int) -> bool:
        """True where a chunk begins: a track, or any other that the file has room for."""
        name = self._data[at : at + 4]
        if name == TRACK:
            return at + 8 <= self._end
        return len(name) == 4 and name.isalnum() and at + 8 + self._length(at) <= self._end

    def _length(self, at: int) -> int:
        return int.from_bytes(self._data[at + 4 : at + 8])

    def _next_track(self, at: int) -> int | None:
        """Find the next track's chunk; other chunks, and bytes that are none, are passed over."""
        while at + 8 <= self._end and self._data[at : at + 4] != TRACK:
            if self._is_chunk(at):
                at += 8 + self._length(at)
            else:
                following = self._data.find(TRACK, at, self._end)
                at = self._end if following < 0 else following
        return at if at + 8 <= self._end else None

    def _track(self, chunk: int) -> tuple[list[tuple[int, Message]], int]:
        """Messages of a track with their ticks, and where it ends. A length is believed only where a chunk or the file ends there."""
        declared = chunk + 8 + self._length(chunk)
        following = self._data.find(TRACK, chunk + 8, self._end)
        believed = declared == self._end or (declared < self._end and self._is_chunk(declared))
        end = declared if believed else self._end if following < 0 else following
        track = _Track(self._data, chunk + 8, end, self._fault, MOST_MESSAGES - self._n_messages)
        self._n_messages += len(track.messages)
        if not track.complete and declared > end:
            self._fault("it is cut off, and the rest is missing")
        elif track.broken:
            self._fault("an event reaches beyond its track, whose rest is lost")
        if track.complete and self._data[track.at : track.at + 4] == TRACK:
            return track.messages, track.at
        return track.messages, end


class _Track:
    """Messages of the track whose events begin at `at` and end before `end`, of which at most `n_most` are taken.

    `at` then is where reading ended, `complete`: with an end of track, or `broken`: within an event.
    """

    def __init__(self, data: bytes, at: int, end: int, fault: Callable[[str], None], n_most: int) -> None:
        self._data, self.at, self._end, self._fault = data, at, end, fault
        self._tick, self._port, self._status = 0, 0, 0
        self.messages: list[tuple[int, Message]] = []
        self.complete = self.broken = False
        try:
            while self.at < end and not self.complete:
                self._event()
                if len(self.messages) > n_most:
                    raise _NotMidiError(f"it has over {MOST_MESSAGES} messages, the most that are taken")
        except _CutError:
            self.broken = True
        self.messages.append((self._tick, Message("end_of_track")))

    def _event(self) -> None:
        self._tick += self._number()
        status = self._data[self.at] if self.at < self._end else self._take(1)[0]
        if status < 0x80 and not self._status:
            self._fault("bytes that belong to no event are left out")
            self.at += 1
        elif status < 0xF0:
            if status >= 0x80:
                self._status, self.at = status, self.at + 1
            self._channel_message()
        else:
            self.at += 1
            self._other(status)

    def _channel_message(self) -> None:
        kind, channel = KINDS.get(self._status & 0xF0, "pitchwheel"), CHANNELS * self._port + (self._status & 0x0F)
        values = self._take(1 if kind in ("program_change", "aftertouch") else 2)
        if max(values) > 127:
            self._fault("values over 127 are taken for 127")
        first, second = min(values[0], 127), min(values[-1], 127)
        if kind in ("note_on", "note_off"):
            message = Message(kind, channel, note=first, velocity=second)
        elif kind == "control_change":
            message = Message(kind, channel, control=first, value=second)
        elif kind == "pitchwheel":
            message = Message(kind, channel, pitch=first + 128 * second - 8192)
        elif kind == "program_change":
            message = Message(kind, channel, program=first)
        else:
            message = Message(kind, channel, note=first, value=second)
        self.messages.append((self._tick, message))

    def _other(self, status: int) -> None:
        """Take a meta event, or pass over a system message."""
        kind = self._take(1)[0] if status == 0xFF else None
        if kind is None and status not in (0xF0, 0xF7):
            self._take(SYSTEM_LENGTHS.get(status, 0))
            return
        body = self._take(self._number())
        if status == 0xF0:
            self._exclusive(body)
        elif kind == END_OF_TRACK:
            self.complete = True
        elif kind == PORT and len(body) == 1:
            self._port = body[0]
        elif kind == TEMPO and len(body) == 3 and any(body):
            self.messages.append((self._tick, Message("set_tempo", value=int.from_bytes(body))))
        elif kind == TEMPO:
            self._fault("a tempo that is no number is left out")

    def _exclusive(self, body: bytes) -> None:
        """Take what a system exclusive message says of drums."""
        if body.startswith(XG_ON):
            self.messages.append((self._tick, Message("xg_on")))
        elif found := GS_PART.match(body):
            part = found[1][0] & 0x0F  # the tenth channel comes first
            channel = 9 if part == 0 else part - 1 if part < 10 else part
            self.messages.append((self._tick, Message("part_mode", CHANNELS * self._port + channel, value=found[2][0])))
        elif (found := XG_PART.match(body)) and found[1][0] < CHANNELS:
            self.messages.append((self._tick, Message("part_mode", CHANNELS * self._port + found[1][0], value=found[2][0])))

    def _number(self) -> int:
        """A number of variable length: seven bits a byte, at most four of them."""
        number = 0
        for _ in range(4):
            (byte,) = self._take(1)
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                break
        return number

    def _take(self, count: int) -> bytes:
        if self.at + count > self._end:
            raise _CutError
        self.at += count
        return self._data[self.at - count : self.at]


def _one_port(tracks: list[list[tuple[int, Message]]]) -> list[list[tuple[int, Message]]]:
    """Tracks without ports, unless there are notes on one channel of several: some programs count ports up for no reason."""
    channels = {message.channel for track in tracks for _, message in track if message.type == "note_on"}
    if max(channels, default=0) < CHANNELS or len({channel % CHANNELS for channel in channels}) < len(channels):
        return tracks
    return [[(tick, message._replace(channel=message.channel % CHANNELS)) for tick, message in track] for track in tracks]


class _Clock:
    """Ticks of a file to seconds, through all its changes of tempo."""

    def __init__(self, messages: Iterable[tuple[int, Message]], division: int) -> None:
        self._ticks, self._seconds, self._rates = [0], [0.0], [_seconds_per_tick(division, USUAL_TEMPO)]
        if division >= 0x8000:  # time code: tempo does not matter
            return
        changes = [(tick, message.value) for tick, message in messages if message.type == "set_tempo"]
        for tick, tempo in sorted(changes, key=lambda change: change[0]):
            self._seconds.append(self.seconds(tick))
            self._ticks.append(tick)
            self._rates.append(_seconds_per_tick(division, tempo))

    def seconds(self, tick: int) -> float:
        """Instant of a tick."""
        i = bisect.bisect_right(self._ticks, tick) - 1
        return self._seconds[i] + (tick - self._ticks[i]) * self._rates[i]


def _seconds_per_tick(division: int, tempo: int) -> float:
    if division < 0x8000:
        return tempo * 1e-6 / division
    frames, ticks = 256 - (division >> 8), division & 0xFF
    return 1.0 / ((DROP_RATE if frames == DROP_FRAMES else frames) * max(ticks, 1))


def _together(tracks: list[list[tuple[int, Message]]], division: int) -> tuple[tuple[Event, ...], ...]:
    """Tracks that sound at the same time, at the tempo of all."""
    clock = _Clock(itertools.chain.from_iterable(tracks), division)
    return tuple(tuple(Event(clock.seconds(tick), message) for tick, message in track) for track in tracks)


def _in_turn(tracks: list[list[tuple[int, Message]]], division: int) -> tuple[tuple[Event, ...], ...]:
    """Tracks one after another, each at its own tempo; what one leaves sounding or bent does not go on in the next."""
    begin, timed = 0.0, []
    for track in tracks:
        clock = _Clock(track, division)
        events = [Event(begin + clock.seconds(tick), message) for tick, message in track]
        begin = events[-1].time_s
        ended = [
            Event(begin, Message("control_change", channel, control=control))
            for channel in sorted({message.channel for _, message in track})
            for control in (ALL_SOUND_OFF, RESET_CONTROLLERS)
        ]
        timed.append((*events[:-1], *ended, events[-1]))
    return tuple(timed)
