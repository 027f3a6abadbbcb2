"""Scores and keyboards played on an instrument, offline and live.

Offline, a voice is rendered phrase by phrase: what a score costs is what sounds in it, not how long it lasts.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..controls.adaptation import smallest_octave_shift
from ..controls.causal import Asked
from ..controls.controls import Controls
from ..controls.profile import Target, traits_of
from ..errors import MissingDependencyError, SettingsError
from ..models.timbre_model import TimbreModel
from ..pipeline.transfer import Arrangement, play
from ..synthesis.reverb import with_hall
from .midi_controller import Keys, KeySettings
from .midi_files import Part, duration_s, starts
from .midi_reader import Event
from .voice import Voice

TAIL_S = 1.0  # after the last note
RENDERED_PERIODICITY = 1.0
LEAD_S, REST_S = 0.1, 1.5  # in front of a phrase; silence that divides two
BLOCK_S = 4.0  # that are mixed at a time
RENDERED_AT_ONCE = 8  # phrases that grow block by block, 35 MB each; further ones are rendered whole, one after the other
NEXT_SEED = 1_000_003  # from phrase to phrase


class Performer(NamedTuple):
    """Model, timbre and settings that a voice is played with."""

    model: TimbreModel
    target: Target
    settings: KeySettings


class Phrase(NamedTuple):
    """Controls of consecutive frames, the first of which is frame `first` of the score."""

    first: int
    asked: Controls


def perform(events: Iterable[Event], target: Target, grid: FrameGrid, settings: KeySettings | None = None) -> Iterator[Phrase]:
    """Ask an instrument for what a voice plays, without its rests, in phrases that are silent in their first and last frames.

    A message takes effect in the first frame at or after its instant, and sound rises to that frame from the one before: onsets are right
    to within half a frame.
    """
    keys = Keys(target, grid.frame_rate, settings)
    lead, rest = round(LEAD_S * grid.frame_rate), round(REST_S * grid.frame_rate)
    coming = iter(events)
    event, frame = next(coming, None), 0
    while event:
        if not starts(event.message):
            keys.handle(event.message)
            event = next(coming, None)
            continue
        first = frame = max(frame, _frame_at(event.time_s, grid) - lead)
        rows: list[Asked] = []
        quiet = 0
        while quiet <= rest:
            while event and _frame_at(event.time_s, grid) <= frame:
                keys.handle(event.message)
                event = next(coming, None)
            rows.append(keys.frame())
            quiet = quiet + 1 if keys.silent and len(rows) > lead else 0
            frame += 1
        yield Phrase(first, _controls(rows, grid))


def _frame_at(time_s: float, grid: FrameGrid) -> int:
    """First frame at or after an instant."""
    return math.ceil(time_s * grid.frame_rate - 1e-6)


def _controls(rows: Sequence[Asked], grid: FrameGrid) -> Controls:
    f0_hz, loudness_db, notes = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in range(3))
    return Controls(f0_hz, RENDERED_PERIODICITY * notes, loudness_db, grid)


def play_score(
    parts: Sequence[Part], performers: Sequence[Performer], *, seed: int = 0, noise_db: float = 0.0, hall: float = 0.0
) -> Iterator[torch.Tensor]:
    """Sound of a score in consecutive pieces: every part on its performer's instrument, all at one sample rate, mixed."""
    voices = [
        _phrases(part, performer, seed + number, noise_db) for number, (part, performer) in enumerate(zip(parts, performers, strict=True))
    ]
    rate = performers[0].model.sample_rate
    return with_hall(_mix(voices, rate, round((duration_s(parts) + TAIL_S) * rate)), rate, hall)


Voices = Sequence[Iterator[tuple[int, Iterator[torch.Tensor]]]]


def _mix(voices: Voices, rate: int, n_samples: int) -> Iterator[torch.Tensor]:
    """The first samples of voices together, each given as phrases: where they begin, and their sound in pieces."""
    coming, following = heapq.merge(*voices, key=lambda one: one[0]), None
    sounding: list[_Blocks] = []
    rendered = _Ahead()
    for begin in range(0, n_samples, round(BLOCK_S * rate)):
        mixed = torch.zeros(min(round(BLOCK_S * rate), n_samples - begin))
        while (following := following or next(coming, None)) and following[0] < begin + len(mixed):
            pieces = itertools.chain([torch.zeros(following[0] - begin)], following[1])
            following = None
            if len(sounding) < RENDERED_AT_ONCE:
                sounding.append(_Blocks(pieces))
            else:
                rendered.add(pieces)
        for voice in sounding:
            mixed += voice.take(len(mixed))
        sounding = [voice for voice in sounding if not voice.done]
        yield mixed + rendered.take(len(mixed))


def _phrases(part: Part, performer: Performer, seed: int, noise_db: float) -> Iterator[tuple[int, Iterator[torch.Tensor]]]:
    """Beginning of each phrase of a part [samples], and its sound in pieces."""
    model, target, settings = performer
    for number, (first, asked) in enumerate(perform(part.events, target, model.grid, settings)):
        notes = asked.periodicity > 0.5
        arrangement = Arrangement(asked, notes, 0.0, **traits_of(target))
        yield first * model.grid.hop_length, play(arrangement, model, target.z, seed=seed + NEXT_SEED * number, noise_db=noise_db)


class _Ahead:
    """Sound that is rendered before its time."""

    def __init__(self) -> None:
        self._sound = torch.zeros(0)

    def add(self, pieces: Iterator[torch.Tensor]) -> None:
        """Mix in consecutive pieces, which begin at the next sample that is taken."""
        place = 0
        for piece in pieces:
            end = place + len(piece)
            if end > len(self._sound):
                self._sound = torch.cat([self._sound, torch.zeros(max(end, len(self._sound)))])
            self._sound[place:end] += piece
            place = end

    def take(self, n_samples: int) -> torch.Tensor:
        """The next samples (n_samples,)."""
        sound, self._sound = self._sound[:n_samples], self._sound[n_samples:].clone()
        return torch.nn.functional.pad(sound, (0, n_samples - len(sound)))


class _Blocks:
    """Consecutive pieces of sound, taken in other lengths."""

    def __init__(self, pieces: Iterator[torch.Tensor]) -> None:
        self._pieces, self._left, self.done = pieces, torch.zeros(0), False

    def take(self, n_samples: int) -> torch.Tensor:
        """The next samples (n_samples,); zeros after the end."""
        taken, n = [self._left], len(self._left)
        while n < n_samples and not self.done:
            piece = next(self._pieces, None)
            self.done = piece is None
            taken.append(torch.zeros(n_samples - n) if piece is None else piece)
            n += len(taken[-1])
        sound = torch.cat(taken)
        self._left = sound[n_samples:].clone()
        return sound[:n_samples]


def outside_share(parts: Sequence[Part], target: Target, transpose: float) -> float:
    """Share of the notes that the instrument does not reach."""
    notes = np.concatenate([part.pitches for part in parts]) + transpose
    return float(((notes < target.lowest_midi - 0.5) | (notes > target.highest_midi + 0.5)).mean())


def octave_of(parts: Sequence[Part], target: Target) -> float:
    """Smallest transposition by octaves that an instrument can play the notes of a score in [semitones]."""
    return float(smallest_octave_shift(np.concatenate([part.pitches for part in parts]), target.lowest_midi, target.highest_midi))


class KeyedVoice:
    """An instrument under the fingers: messages come in from any thread, sound is pulled.

    `events` play by themselves from the first sample on.
    """

    def __init__(
        self, model: TimbreModel, target: Target, settings: KeySettings | None = None, *, events: Iterable[Event] = (), seed: int = 0
    ) -> None:
        self.grid = model.grid
        self._keys = Keys(target, self.grid.frame_rate, settings)
        self._voice, self._z = Voice(model.decoder, self.grid, seed=seed), target.z.numpy()
        self._voice.change(target)
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._events, self._place = tuple(events), 0
        self._sound, self._frame = np.zeros(0, np.float32), 0

    @property
    def latency_samples(self) -> int:
        """From a key to its sound, at most: a key waits for the next frame, which sounds one hop later."""
        return self.grid.hop_length + self._voice.latency_samples

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

    SettingsError: there is no such port, or there are several.
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
        raise MissingDependencyError("keyboards need mido; install it with `pip install 'tonetransfer[midi]'`") from None
    return mido
