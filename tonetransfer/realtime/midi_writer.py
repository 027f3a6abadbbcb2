"""The notes of a performance as a Standard MIDI File ("Standard MIDI Files 1.0", MIDI Manufacturers Association, 1996).

One track, one channel, one note at a time. A note's number is the semitone nearest to its median pitch; the pitch wheel says what f0 does
around it, in a range that the file names (registered parameter 0) and that is as narrow as the widest deviation allows. Velocity says how
loud a note's loudest frame is, re the loudest note of all, and expression how much softer each frame is, both by 40 dB a decade
(:func:`~tonetransfer.data.composition.velocity_db`). A tick is a millisecond, so that frames of 10 ms fall on ticks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch

from ..analysis.notes import Note, close_gaps, find_notes
from ..atomic import check_new, replacing
from ..audio.units import hz_to_midi
from ..controls.controls import Controls
from ..errors import ControlsError
from .midi_controller import BEND_RANGE, DATA_ENTRY, DATA_ENTRY_FINE, EXPRESSION, RPN_COARSE, RPN_FINE
from .midi_reader import END_OF_TRACK, HEADER, TEMPO, TRACK

TICKS_PER_S = 1000
TICKS_PER_BEAT, BEAT_US = 500, 500_000  # 120 beats a minute
BEND_RANGES = (2, 12, 24, 48)  # semitones, that programs offer; the least that holds
WHEEL_CENTRE = 8192  # of 14 bits
LEAST_BEND_CENTS = 0.5  # a change that is not heard is not written
TRACK_NAME = 0x03  # meta event


def write_midi(
    path: str | os.PathLike[str],
    controls: Controls,
    notes: torch.Tensor | Sequence[Note] | None = None,
    *,
    name: str = "tonetransfer",
    overwrite: bool = False,
) -> int:
    """Write the notes of a performance into a MIDI file, with their bends, vibrato and swells.

    Parameters
    ----------
    path : str or Path
        Of the file, ending in .mid or .midi.
    controls : Controls [shape=(n_frames,)]
        What is played, such as :func:`tonetransfer.analyze` hears, or the `asked` of an Arrangement.
    notes : Tensor [shape=(n_frames,)], bool, or sequence of Note, or None
        Frames that belong to notes, in which notes are found, or the notes themselves; None: as the controls say.
    name : str
        Of the track.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    int
        Number of notes; 0 for silence, of which a file without notes is made.

    Raises
    ------
    ControlsError
        The file exists or cannot be written, or the controls are those of several performances.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> model = tt.load_model()
    >>> tt.write_midi("a4.mid", tt.analyze(0.3 * np.sin(2 * np.pi * 440 * t), 48000, model))
    1
    """
    target = check_new(path, ControlsError, kind="MIDI file", overwrite=overwrite)
    if controls.f0_hz.dim() != 1:
        raise ControlsError(f"controls have the shape {tuple(controls.f0_hz.shape)}; those of one performance, (n_frames,), are wanted")
    found = notes if notes is not None and not isinstance(notes, torch.Tensor) else performed_notes(controls, notes)
    with replacing(target, error=ControlsError) as part:
        part.write_bytes(midi_bytes(controls, found, name))
    return len(found)


def performed_notes(controls: Controls, frames: torch.Tensor | None = None) -> list[Note]:
    """Find the notes of a performance (n_frames,), in frames that are known to belong to notes or that the controls give."""
    rate = controls.grid.frame_rate
    sounding = close_gaps((controls.note_frames() if frames is None else frames).numpy(), rate)
    return find_notes(controls.f0_hz.double().numpy(), controls.loudness_db.double().numpy(), sounding, rate)


def midi_bytes(controls: Controls, notes: Sequence[Note], name: str) -> bytes:
    """A whole MIDI file."""
    midi = hz_to_midi(controls.f0_hz.double().numpy())
    loudness = controls.loudness_db.double().numpy()
    keys = [min(max(round(float(np.median(midi[note.frames]))), 0), 127) for note in notes]
    widest = max((float(np.abs(midi[note.frames] - key).max()) for note, key in zip(notes, keys, strict=True)), default=0.0)
    bend = next((one for one in BEND_RANGES if widest < one), BEND_RANGES[-1])
    loudest_db = max((float(loudness[note.frames].max()) for note in notes), default=0.0)
    events = [(0, _start(name, bend))]
    for note, key in zip(notes, keys, strict=True):
        peak_db = float(loudness[note.frames].max())
        wheel = np.clip(np.round((midi[note.frames] - key) / bend * WHEEL_CENTRE), -WHEEL_CENTRE, WHEEL_CENTRE - 1).astype(int)
        expression = _seven_bits(loudness[note.frames] - peak_db)
        least = LEAST_BEND_CENTS / 100.0 / bend * WHEEL_CENTRE
        struck = bytes([0x90, key, int(_seven_bits(np.array([peak_db - loudest_db]))[0])])
        at = [round((note.start + frame) * TICKS_PER_S / controls.grid.frame_rate) for frame in range(len(wheel) + 1)]
        events += _played(at, wheel, expression, struck, least)
        events.append((at[-1], bytes([0x80, key, 64])))
    n_ticks = round(controls.n_frames * TICKS_PER_S / controls.grid.frame_rate)
    events.append((n_ticks, bytes([0xFF, END_OF_TRACK, 0])))
    track = b"".join(_variable(tick - before) + data for (before, _), (tick, data) in zip([(0, b""), *events], events, strict=False))
    head = b"".join(number.to_bytes(2, "big") for number in (0, 1, TICKS_PER_BEAT))
    return _chunk(HEADER, head) + _chunk(TRACK, track)


def _played(at: list[int], wheel: np.ndarray, expression: np.ndarray, struck: bytes, least: float) -> list[tuple[int, bytes]]:
    """Events of one note but its end: wheel and expression first, then the key, then what changes."""
    events: list[tuple[int, bytes]] = []
    bent, pressed = int(wheel[0]), int(expression[0])
    events += [(at[0], _bend(bent)), (at[0], bytes([0xB0, EXPRESSION, pressed])), (at[0], struck)]
    for tick, value, level in zip(at[1:-1], wheel[1:].tolist(), expression[1:].tolist(), strict=True):
        if abs(value - bent) >= least:
            bent = value
            events.append((tick, _bend(bent)))
        if level != pressed:
            pressed = level
            events.append((tick, bytes([0xB0, EXPRESSION, pressed])))
    return events


def _start(name: str, bend: int) -> bytes:
    """Events at the beginning: name, tempo, range of the wheel."""
    title = name.encode("ascii", "replace")[:120]
    controllers = ((RPN_COARSE, 0), (RPN_FINE, BEND_RANGE), (DATA_ENTRY, bend), (DATA_ENTRY_FINE, 0), (RPN_COARSE, 127), (RPN_FINE, 127))
    parts = [
        bytes([0xFF, TRACK_NAME]) + _variable(len(title)) + title,
        bytes([0xFF, TEMPO, 3]) + BEAT_US.to_bytes(3, "big"),
        *(bytes([0xB0, number, value]) for number, value in controllers),
    ]
    return b"\0".join(parts)  # all at the same tick


def _bend(wheel: int) -> bytes:
    value = wheel + WHEEL_CENTRE
    return bytes([0xE0, value & 127, value >> 7])


def _seven_bits(level_db: np.ndarray) -> np.ndarray:
    """Velocity or expression of a level re its loudest, from 1 to 127."""
    return np.clip(np.round(127.0 * 10.0 ** (level_db / 40.0)), 1, 127).astype(int)


def _variable(number: int) -> bytes:
    """A number in groups of seven bits, all but the last marked."""
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127 | 128)
    return bytes(groups[::-1])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "big") + data
