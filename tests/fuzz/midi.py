"""Fuzz `tonetransfer play`: damaged, strange and random MIDI files. By hand: ``python tests/fuzz/midi.py --seconds 600``."""

from __future__ import annotations

import contextlib
import io
import random
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir

import soundfile
import torch
from harness import command_line
from midi_bytes import END, Piece, control, midi, off, on, parameter, riff, track, vlq, wheel
from mutations import damage

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.cli.main import main
from tonetransfer.controls.profile import Target
from tonetransfer.errors import ToneTransferError
from tonetransfer.realtime.midi_files import read_score
from tonetransfer.realtime.midi_playback import perform

GRID, TARGET = FrameGrid(), Target(torch.zeros(8), torch.linspace(-50.0, -12.0, 13))
LONG_S = 30.0
VOICES = ("all", "all", "all", "top")
TICKS = (0, 0, 1, 7, 60, 120, 120, 240, 480)
LONG_TICKS = (100_000, 10_000_000, 0x0FFFFFFF)
CONTROLS = (0, 1, 6, 7, 11, 38, 64, 64, 96, 97, 98, 99, 100, 101, 120, 121, 123, 126)
META = (0x00, 0x01, 0x03, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F)


def mutate(chance: random.Random) -> bytes:
    """A MIDI file, most often damaged."""
    tracks = [_track(chance) for _ in range(chance.choice((1, 1, 2, 2, 3, 17)))]
    division = chance.choice((480, 960)) if chance.random() < 0.9 else chance.choice((1, 0, 0xE728, 0x8000, chance.randrange(1 << 16)))
    count = None if chance.random() < 0.8 else chance.choice((0, 1, 2, 65535))
    content = midi(*tracks, kind=chance.choice((0, 1, 1, 1, 2, 3)), count=count, division=division)
    content = riff(content) if chance.random() < 0.1 else content
    return damage(content, chance) if chance.random() < 0.75 else content


def _track(chance: random.Random) -> bytes:
    pieces: list[Piece] = []
    channel = chance.randrange(16)
    for _ in range(chance.choice((0, 1, 3, 10, 40))):
        delta = chance.choice(LONG_TICKS) if chance.random() < 0.003 else chance.choice(TICKS)
        pieces.append((delta, _event(chance, channel if chance.random() < 0.8 else chance.randrange(16))))
        if chance.random() < 0.1:
            pieces += parameter(0, chance.choice((0, 1, 2, 6)), control(6, chance.randrange(128), channel), channel=channel)
    if chance.random() < 0.005:
        pieces += [(0, on(chance.randrange(128), chance.randrange(16))) for _ in range(2000)]
    length = None if chance.random() < 0.9 else chance.choice((0, 3, 1 << 16, 0xFFFFFFFF))
    return track(*pieces, *[END] * (chance.random() < 0.9), length=length)


def _event(chance: random.Random, channel: int) -> bytes:
    kind, note = chance.random(), chance.choice((60, 62, 64, 67, 69, 72, chance.randrange(128)))
    if kind < 0.35:
        return on(note, channel, chance.choice((0, 1, 64, 100, 127, 255)))
    if kind < 0.65:
        return off(note, channel)
    if kind < 0.8:
        return control(chance.choice(CONTROLS), chance.choice((0, 64, 127, 255)), channel)
    if kind < 0.9:
        return wheel(chance.randrange(1 << 14), channel)
    if kind < 0.93:
        return bytes([0xC0 | channel, chance.randrange(128)])
    body = chance.randbytes(chance.choice((0, 1, 2, 3, 5)))
    return bytes([0xFF, chance.choice(META)]) + vlq(chance.choice((len(body), len(body), 200, 0x0FFFFFFF))) + body


@lru_cache(maxsize=1)
def _weights() -> Path:
    from conftest import make_model

    from tonetransfer.models.weights import save_model

    path = Path(gettempdir()) / "fuzz-midi.safetensors"
    save_model(path, make_model(), notes={"steps": 0}, overwrite=True)
    return path


def attempt(data: bytes, folder: Path) -> str:
    """Play it: a sound and at most a few warnings, or one line that says why not, and nothing left beside it.

    Of what sounds for long, one in eight is rendered; of the others it is only found out what would be.
    """
    score, sound = folder / "a.mid", folder / "a.wav"
    score.write_bytes(data)
    if sum(data) % 8 and _sounds_s(score) > LONG_S:
        return "performed"
    told = io.StringIO()
    voices = VOICES[len(data) % len(VOICES)]
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = main(["play", str(score), str(sound), "--to", "violin", "--weights", str(_weights()), "--voices", voices])
    lines = told.getvalue().splitlines()
    assert code in (0, 1), code
    assert all(line.startswith("tonetransfer: ") for line in lines), lines
    assert sum(str(score) in line for line in lines) <= 1, lines
    left = {one.name for one in folder.iterdir()}
    if code == 1:
        assert left == {"a.mid"} and len(lines) == 1, (left, lines)
        return "refused"
    assert left == {"a.mid", "a.wav"}, left
    assert 0 < soundfile.info(sound).frames <= 48000 * (3 * 3600 + 12)
    return "played"


def _sounds_s(score: Path) -> float:
    """Sound of all voices together [s]; none if the file is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parts = read_score(score)
        except ToneTransferError:
            return 0.0
    phrases = (phrase for part in parts for phrase in perform(part.events, TARGET, GRID))
    return sum(len(phrase.asked.f0_hz) for phrase in phrases) / GRID.frame_rate


if __name__ == "__main__":
    sys.exit(command_line("midi", mutate, attempt))
