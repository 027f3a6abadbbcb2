"""Scores and keyboards: MIDI files and ports (through mido), played on an instrument offline and live."""

from __future__ import annotations

import bisect
import queue
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..controls.controls import Controls
from ..controls.profile import Target
from ..errors import ControlsError, MissingDependencyError, SettingsError, ToneTransferWarning
from ..models.timbre_model import TimbreModel
from ..pipeline.transfer import Arrangement, play
from .midi_controller import Keys, KeySettings
from .voice import Voice

DRUMS = 9  # General MIDI's channel 10, counted from 0
USUAL_TEMPO = 500_000  # microseconds a beat, until a score says otherwise
SLUR_S, SLUR_SHARE = 0.08, 0.5  # a note may overlap the next by so much, and by so much of itself, and still be one voice with it
TAIL_S = 1.0  # after the last message
RENDERED_PERIODICITY = 1.0
ENDINGS = (".mid", ".midi", ".kar", ".rmi")


class Event(NamedTuple):
    """A message and its instant [s]."""

    time_s: float
    message: Any


@dataclass(frozen=True)
class Part:
    """What one voice of a score plays; at most a slur's length of two notes overlap.

    Parameters
    ----------
    name : str
    events : tuple of Event, in order
    n_notes : int
    """

    name: str
    events: tuple[Event, ...]
    n_notes: int


def read_score(path: Path, *, top: bool = False) -> tuple[Part, ...]:
    """The voices of a MIDI file: every track and channel by itself, chords divided into as many voices as they need.

    Parameters
    ----------
    path : Path
    top : bool
        Only the highest of the notes that sound together.

    Raises
    ------
    ControlsError
        The file is missing, no MIDI file, or holds no notes.
    MissingDependencyError
        mido is not installed.

    Warns
    -----
    ToneTransferWarning
        The file has drums, which no instrument here plays.
    """
    groups = _read_groups(Path(path))
    if any(channel == DRUMS for _, channel in groups):
        warnings.warn(f"{path}: channel 10 holds drums, which have no pitch; it is left out", ToneTransferWarning, stacklevel=2)
    groups = {key: events for key, events in groups.items() if key[1] != DRUMS}
    if top and groups:
        groups = {(0, 0): _highest(sorted((e for events in groups.values() for e in events), key=lambda event: event.time_s))}
    parts: list[Part] = []
    for (track, channel), events in sorted(groups.items()):
        lanes = _lanes(events)
        parts += [
            Part(f"track {track + 1}, channel {channel + 1}" + (f", voice {i + 1}" if len(lanes) > 1 else ""), *lane)
            for i, lane in enumerate(lanes)
        ]
    if not parts:
        raise ControlsError(f"{path}: holds no notes; a MIDI file with notes is wanted: check how it was exported")
    return tuple(parts)


def perform(events: Sequence[Event], target: Target, grid: FrameGrid, settings: KeySettings | None = None, *, seconds: float) -> Controls:
    """What an instrument is asked for when events are played.

    A message takes effect in the first frame at or after its instant, and sound rises to that frame from the one before: onsets are right
    to within half a frame.

    Parameters
    ----------
    events : sequence of Event
    target : Target
    grid : FrameGrid
    settings : KeySettings
    seconds : float
        Length of the whole.

    Returns
    -------
    Controls
    """
    keys, place = Keys(target, grid.frame_rate, settings), 0
    n_frames = max(grid.n_frames(round(seconds * grid.sample_rate)), 1)
    f0_hz, loudness_db, notes = np.empty(n_frames), np.empty(n_frames), np.empty(n_frames)
    for t, instant in enumerate(grid.times(n_frames)):
        while place < len(events) and events[place].time_s <= instant + 1e-9:
            keys.handle(events[place].message)
            place += 1
        f0_hz[t], loudness_db[t], notes[t] = keys.frame()
    f0, periodicity, loudness = (torch.from_numpy(track) for track in (f0_hz, RENDERED_PERIODICITY * notes, loudness_db))
    return Controls(f0, periodicity, loudness, grid)


def duration_s(parts: Sequence[Part]) -> float:
    """Of a score, with a tail for its last notes."""
    return max(part.events[-1].time_s for part in parts) + TAIL_S


def play_score(
    parts: Sequence[Part], model: TimbreModel, target: Target, settings: KeySettings | None = None, *, seed: int = 0
) -> Iterator[torch.Tensor]:
    """Sound of a score in consecutive pieces: every voice on the instrument, mixed.

    Yields
    ------
    Tensor [shape=(n_samples_of_the_piece,)]
    """
    seconds = duration_s(parts)
    n_samples = round(seconds * model.sample_rate)
    voices = []
    for number, part in enumerate(parts):
        asked = perform(part.events, target, model.grid, settings, seconds=seconds)
        voices.append(play(Arrangement(asked, asked.periodicity > 0.5, 0.0), model, target.z, n_samples=n_samples, seed=seed + number))
    for pieces in zip(*voices, strict=True):
        yield torch.stack(pieces).sum(0)


def outside_share(parts: Sequence[Part], target: Target, transpose: float) -> float:
    """Share of the notes that the instrument does not reach."""
    notes = np.array([event.message.note for part in parts for event in part.events if _starts(event.message)]) + transpose
    return float(((notes < target.lowest_midi - 0.5) | (notes > target.highest_midi + 0.5)).mean())


def octave_of(parts: Sequence[Part], target: Target) -> float:
    """Semitones, a multiple of 12, that bring the notes of a score nearest to the mean of the instrument's."""
    notes = [event.message.note for part in parts for event in part.events if _starts(event.message)]
    return 12.0 * round((target.mean_midi - float(np.mean(notes))) / 12.0)


class KeyedVoice:
    """An instrument under the fingers: messages come in from any thread, sound is pulled.

    Parameters
    ----------
    model : TimbreModel
    target : Target
    settings : KeySettings
    events : sequence of Event
        Played by themselves, from the first sample that is pulled.
    seed : int, >= 0
    """

    def __init__(
        self, model: TimbreModel, target: Target, settings: KeySettings | None = None, *, events: Sequence[Event] = (), seed: int = 0
    ) -> None:
        self.grid = model.grid
        self._keys = Keys(target, self.grid.frame_rate, settings)
        self._voice, self._z = Voice(model.decoder, self.grid, seed=seed), target.z.numpy()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._events, self._place = events, 0
        self._sound, self._frame = np.zeros(0, np.float32), 0

    @property
    def latency_samples(self) -> int:
        """From a key to its sound, at most: a key waits for the next frame, which sounds one hop later."""
        return self.grid.hop_length + self._voice.latency_samples

    @property
    def done(self) -> bool:
        """Whether all events have been played."""
        return self._place >= len(self._events) and self._frame / self.grid.frame_rate > self._events[-1].time_s + TAIL_S

    def handle(self, message: Any) -> None:
        """Take a message, from any thread."""
        self._messages.put(message)

    def pull(self, n_samples: int) -> np.ndarray:
        """The next samples (n_samples,)."""
        pieces, n = [self._sound], len(self._sound)
        while n < n_samples:
            pieces.append(self._next())
            n += len(pieces[-1])
        sound = np.concatenate(pieces)
        self._sound = sound[n_samples:]
        return sound[:n_samples]

    def _next(self) -> np.ndarray:
        instant = self._frame * self.grid.hop_length / self.grid.sample_rate
        while self._place < len(self._events) and self._events[self._place].time_s <= instant + 1e-9:
            self._keys.handle(self._events[self._place].message)
            self._place += 1
        while not self._messages.empty():
            self._keys.handle(self._messages.get())
        self._frame += 1
        asked = self._keys.frame()
        return self._voice.frame(asked.f0_hz, asked.loudness_db, self._z)


def midi_ports() -> list[str]:
    """Names of the MIDI inputs."""
    try:
        return list(_mido().get_input_names())
    except (ImportError, OSError, RuntimeError):
        raise MissingDependencyError("MIDI keyboards need python-rtmidi; install it with `pip install 'tonetransfer[midi]'`") from None


def open_port(wanted: str, voice: KeyedVoice) -> Any:
    """Open the MIDI input that has `wanted` in its name and send what it plays to a voice; the port, to be closed.

    Raises
    ------
    SettingsError
        There is no such port, or there are several.
    """
    names = midi_ports()
    found = [name for name in names if wanted.lower() in name.lower()]
    if len(found) != 1 and wanted not in names:
        there = ", ".join(names) or "none"
        raise SettingsError(f"--midi {wanted}: {len(found)} MIDI inputs are called so; there are: {there}; give a file or one of them")
    return _mido().open_input(wanted if wanted in names else found[0], callback=voice.handle)


def _mido() -> Any:
    try:
        import mido
    except ImportError:
        raise MissingDependencyError("scores and keyboards need mido; install it with `pip install 'tonetransfer[midi]'`") from None
    return mido


def _read_groups(path: Path) -> dict[tuple[int, int], list[Event]]:
    """Messages by track and channel, in order."""
    mido = _mido()
    if not path.is_file():
        raise ControlsError(f"{path} is not a file; a MIDI file (.mid) is wanted: check its name")
    try:
        file = mido.MidiFile(path)
    except Exception as error:  # mido raises whatever its parser stumbles over
        raise ControlsError(f"{path} cannot be read as MIDI ({error or type(error).__name__}); a standard MIDI file is wanted") from None
    clock = _Clock(file)
    groups: dict[tuple[int, int], list[Event]] = {}
    for number, track in enumerate(file.tracks):
        tick = 0
        for message in track:
            tick += message.time
            if not message.is_meta and hasattr(message, "channel"):
                groups.setdefault((number, message.channel), []).append(Event(clock.seconds(tick), message))
    return {key: events for key, events in groups.items() if any(_starts(event.message) for event in events)}


class _Clock:
    """Ticks of a file to seconds, through all its changes of tempo."""

    def __init__(self, file: Any) -> None:
        division = file.ticks_per_beat
        self._ticks, self._seconds, self._rates = [0], [0.0], [_seconds_per_tick(division, USUAL_TEMPO)]
        if division <= 0:  # SMPTE time code: tempo does not matter
            return
        changes: list[tuple[int, int]] = []
        for track in file.tracks:
            tick = 0
            for message in track:
                tick += message.time
                if message.type == "set_tempo":
                    changes.append((tick, message.tempo))
        for tick, tempo in sorted(changes, key=lambda change: change[0]):
            self._seconds.append(self.seconds(tick))
            self._ticks.append(tick)
            self._rates.append(_seconds_per_tick(division, tempo))

    def seconds(self, tick: int) -> float:
        i = bisect.bisect_right(self._ticks, tick) - 1
        return self._seconds[i] + (tick - self._ticks[i]) * self._rates[i]


def _seconds_per_tick(division: int, tempo: int) -> float:
    if division > 0:
        return tempo * 1e-6 / division
    frames, ticks = 256 - ((division & 0xFFFF) >> 8), division & 0xFF
    return 1.0 / max(frames * ticks, 1)


def _starts(message: Any) -> bool:
    return message.type == "note_on" and message.velocity > 0


def _ends(message: Any) -> bool:
    return message.type == "note_off" or (message.type == "note_on" and message.velocity == 0)


def _pairs(events: Sequence[Event]) -> list[tuple[Event, Event]]:
    """Beginning and end of every note, in order of their beginnings; a note that never ends lasts to the last event."""
    open_notes: dict[int, list[int]] = {}
    starts: list[Event] = []
    ends: list[Event | None] = []
    for event in events:
        if _starts(event.message):
            open_notes.setdefault(event.message.note, []).append(len(starts))
            starts.append(event)
            ends.append(None)
        elif _ends(event.message) and open_notes.get(event.message.note):
            ends[open_notes[event.message.note].pop(0)] = event
    last = events[-1].time_s
    closed = [end or Event(last, start.message.copy(velocity=0)) for start, end in zip(starts, ends, strict=True)]
    return list(zip(starts, closed, strict=True))


def _lanes(events: list[Event]) -> list[tuple[tuple[Event, ...], int]]:
    """Events divided into voices, with the number of notes in each; wheels and pedals go to all of them."""
    lanes: list[list[tuple[Event, Event]]] = []
    for start, end in sorted(_pairs(events), key=lambda pair: (pair[0].time_s, -pair[0].message.note)):
        free = (lane for lane in lanes if _may_follow(lane[-1], start))
        lane = next(free, None)
        if lane is None:
            lanes.append([(start, end)])
        else:
            lane.append((start, end))
    common = [event for event in events if not (_starts(event.message) or _ends(event.message))]
    divided = []
    for lane in lanes:
        # At one instant: wheels, then ends, then beginnings, so that a repeated note is struck again.
        own = [(e.time_s, 2, e) for e, _ in lane] + [(e.time_s, 1, e) for _, e in lane] + [(e.time_s, 0, e) for e in common]
        divided.append((tuple(event for *_, event in sorted(own, key=lambda one: one[:2])), len(lane)))
    return divided


def _may_follow(last: tuple[Event, Event], start: Event) -> bool:
    begins, ends = last[0].time_s, last[1].time_s
    return ends <= start.time_s + min(SLUR_S, SLUR_SHARE * (ends - begins))


def _highest(events: list[Event]) -> list[Event]:
    """Events without the notes that sound under higher ones for more than half their length."""
    pairs = _pairs(events)
    kept: set[int] = set()
    for start, end in pairs:
        above = 0.0
        for other, its_end in pairs:
            if other.message.note > start.message.note:
                above += max(min(end.time_s, its_end.time_s) - max(start.time_s, other.time_s), 0.0)
        if above <= SLUR_SHARE * (end.time_s - start.time_s):
            kept |= {id(start), id(end)}
    return [e for e in events if not (_starts(e.message) or _ends(e.message)) or id(e) in kept]
