"""Note-age table: what one instrument does in the course of a note, at each semitone and level, beside the networks.

Networks that many instruments have taught learn little of this from a minute of one: they do not know how long a note has sounded, since
they are taught with excerpts of a second, and attacks, and how soon the noise of an attack is over, differ from key to key. Here it is
counted, and what belongs to it stands in a table.
"""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import nn

from ..audio.units import hz_to_midi

LOWEST_MIDI, HIGHEST_MIDI = 16.0, 112.0  # 20 Hz to 5.3 kHz
N_SEMITONES = 97
SOFTEST_DB, LOUDEST_DB, N_LEVELS = -59.0, -4.0, 12
N_AGES = 15  # half an octave apart
LONGEST_AGE = 2 ** (N_AGES // 2) - 1  # frames; an older note is as old as that
FAR = 1e-7  # what is less of a bump than this is nothing: in 32 bits it changes nothing, but numbers near the least there are cost time
N_PITCHES = 13  # eight semitones apart: what the players of an instrument have in common differs little from key to key
LEAP_SEMITONES, LEAP_FRAMES = 0.75, 2  # a vibrato of a semitone up and down at 6 Hz goes no faster
RISE_DB, RISE_FRAMES = 8.0, 3


def soft_one_hot(x: torch.Tensor, lowest: float, highest: float, n: int) -> torch.Tensor:
    """`x` as `n` bumps spread over [lowest, highest]: (...) -> (..., n).

    A network sees a semitone in the middle of the range as a change of 1 % of one number, but as quite another set of bumps.
    """
    centres = torch.linspace(lowest, highest, n, device=x.device, dtype=x.dtype)
    width = (highest - lowest) / (n - 1)
    bumps = torch.exp(-0.5 * ((x[..., None] - centres) / width).square())
    return nn.functional.threshold(bumps, FAR, 0.0)


def note_age(f0_hz: torch.Tensor, loudness_db: torch.Tensor) -> torch.Tensor:
    """Frames since the note that is played began (..., n_frames), 0 to 127: since f0 leapt, the loudness rose steeply, or the track began.

    It depends on a frame and those before it only.
    """
    midi = hz_to_midi(f0_hz.double())
    begins = (midi - _earlier(midi, LEAP_FRAMES)).abs() > LEAP_SEMITONES
    begins |= loudness_db - _earlier(loudness_db, RISE_FRAMES) > RISE_DB
    frames = torch.arange(midi.shape[-1], device=midi.device)
    began = torch.where(begins, frames, 0).cummax(dim=-1).values
    return (frames - began).clamp(max=LONGEST_AGE).float()


def _earlier(track: torch.Tensor, frames: int) -> torch.Tensor:
    """A track so many frames ago, as it was at first before it began."""
    return torch.cat([track[..., :1].expand(*track.shape[:-1], frames), track], dim=-1)[..., : track.shape[-1]]


class NoteClock:
    """:func:`note_age` frame by frame."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was played."""
        self._age = -1
        self._midi: deque[float] = deque(maxlen=LEAP_FRAMES)
        self._level_db: deque[float] = deque(maxlen=RISE_FRAMES)

    def next(self, midi: float, level_db: float) -> int:
        """Age of the note in the next frame [frames]."""
        leaps = bool(self._midi) and abs(midi - self._midi[0]) > LEAP_SEMITONES
        rises = bool(self._level_db) and level_db - self._level_db[0] > RISE_DB
        self._midi.append(midi)
        self._level_db.append(level_db)
        self._age = 0 if leaps or rises else min(self._age + 1, LONGEST_AGE)
        return self._age


def age_shares(age: torch.Tensor) -> torch.Tensor:
    """Ages [frames] as bumps on a logarithmic scale, (...) -> (..., 15)."""
    return soft_one_hot(torch.log2(age + 1.0), 0.0, math.log2(LONGEST_AGE + 1.0), N_AGES)


def coarse_places(midi: torch.Tensor, level_db: torch.Tensor) -> torch.Tensor:
    """Places of a coarse table: pitches [MIDI] eight semitones apart, then levels [dB], each (...) -> (..., 25)."""
    return torch.cat([_semitones(midi) @ _between_pitches(midi), _levels(level_db)], dim=-1)


def looked_up(tables: torch.Tensor, midi: torch.Tensor, level_db: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
    """Entries (batch, n_frames, n_out) of coarse note-age tables (batch, 25, 15, n_out), one an item.

    `midi`, `level_db` and `age` are pitch [MIDI], loudness [dB] and age of the note [frames], (batch, n_frames) each.
    """
    places = (coarse_places(midi, level_db)[..., None] * age_shares(age)[..., None, :]).flatten(-2)
    return places @ tables.flatten(1, 2)


def expanded(table: torch.Tensor) -> torch.Tensor:
    """A coarse table (25, 15, n_out) as one of a row a semitone, (109, 15, n_out), which :class:`NoteAgeTable` holds."""
    pitches, levels = table.split([N_PITCHES, N_LEVELS])
    return torch.cat([torch.einsum("sp,pao->sao", _between_pitches(table), pitches), levels])


def _between_pitches(like: torch.Tensor) -> torch.Tensor:
    """Linear interpolation from coarse pitches to semitones, (97, 13)."""
    position = torch.linspace(0.0, N_PITCHES - 1.0, N_SEMITONES, dtype=like.dtype, device=like.device)
    return (1.0 - (position[:, None] - torch.arange(N_PITCHES, dtype=like.dtype, device=like.device)).abs()).clamp(min=0.0)


class NoteAgeTable(nn.Module):
    """A table by semitone and age, another by level and age, added; it says nothing until it is learned.

    `n_out` numbers stand in each place.
    """

    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(N_SEMITONES + N_LEVELS, N_AGES, n_out))

    def forward(self, midi: torch.Tensor, level_db: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        """Interpolate the table at a pitch [MIDI], a level [dB] and an age [frames], each (...) -> (..., n_out)."""
        places = torch.cat([_semitones(midi), _levels(level_db)], dim=-1)
        table: torch.Tensor = self.table
        if table.requires_grad:  # a batch spans a few octaves: what is far from all of it need not be gone through
            near = places.reshape(-1, places.shape[-1]).amax(dim=0) > 0.0
            places, table = places[..., near], table[near]
        said: torch.Tensor = (places[..., None] * age_shares(age)[..., None, :]).flatten(-2) @ table.flatten(0, 1)
        return said

    def at_pitch(self, midi: torch.Tensor) -> torch.Tensor:
        """Interpolate the table at a pitch, for each age, (...) -> (..., 15 * n_out)."""
        return _semitones(midi) @ self.table[:N_SEMITONES].flatten(1)

    def at_level(self, level_db: torch.Tensor) -> torch.Tensor:
        """Interpolate the table at a level, for each age, (...) -> (..., 15 * n_out)."""
        return _levels(level_db) @ self.table[N_SEMITONES:].flatten(1)


def _semitones(midi: torch.Tensor) -> torch.Tensor:
    return soft_one_hot(midi, LOWEST_MIDI, HIGHEST_MIDI, N_SEMITONES)


def _levels(level_db: torch.Tensor) -> torch.Tensor:
    return soft_one_hot(level_db.clamp(max=LOUDEST_DB), SOFTEST_DB, LOUDEST_DB, N_LEVELS)
