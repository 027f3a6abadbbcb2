"""Units and names: hertz and MIDI numbers, decibels and linear amplitude, notes, scales.

Functions of units take a number, a NumPy array or a Tensor and return the same kind.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch

from ..errors import SettingsError, nearest

Value = TypeVar("Value", float, np.ndarray, torch.Tensor)
A4_HZ = 440.0
A4_MIDI = 69.0
SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")  # to be typed
PRINTED = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
CHROMATIC = "chromatic"
TONICS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
ACCIDENTALS = {"": 0, "#": 1, "b": -1}
SCALES = {  # semitones above the tonic
    CHROMATIC: tuple(range(12)),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "major_pentatonic": (0, 2, 4, 7, 9),
    "minor_pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole_tone": (0, 2, 4, 6, 8, 10),
}


def hz_to_midi(f0_hz: Value) -> Value:
    """Frequency [Hz], > 0, to MIDI note number (fractional; 69 = 440 Hz)."""
    return 12.0 * (_log2(f0_hz) - math.log2(A4_HZ)) + A4_MIDI


def midi_to_hz(midi: Value) -> Value:
    """MIDI note number (fractional) to frequency [Hz]."""
    return A4_HZ * 2.0 ** ((midi - A4_MIDI) / 12.0)


def note_name(midi: float, names: tuple[str, ...] = SHARPS) -> str:
    """Name of the nearest note, with the twelve names that are given: 60 is C4."""
    nearest = round(midi)
    return f"{names[nearest % 12]}{nearest // 12 - 1}"


def db_to_amplitude(level_db: Value) -> Value:
    """Level [dB re 1.0] to linear amplitude."""
    return 10.0 ** (level_db / 20.0)


def amplitude_to_db(amplitude: Value, floor_db: float = -120.0) -> Value:
    """Linear amplitude, >= 0, to level [dB re 1.0], never below `floor_db`."""
    lowest = 10.0 ** (floor_db / 20.0)
    if isinstance(amplitude, torch.Tensor):
        return 20.0 * torch.log10(amplitude.clamp(min=lowest))
    if isinstance(amplitude, np.ndarray):
        return 20.0 * np.log10(np.maximum(amplitude, lowest))
    return 20.0 * math.log10(max(amplitude, lowest))


def hz_to_erb(frequency_hz: Value) -> Value:
    """Frequency [Hz] to ERB-rate number (Glasberg and Moore, 1990)."""
    return 21.4 * (_log2(1.0 + 0.00437 * frequency_hz) / math.log2(10.0))


def erb_to_hz(erb: Value) -> Value:
    """ERB-rate number to frequency [Hz]; the inverse of :func:`hz_to_erb`."""
    return (10.0 ** (erb / 21.4) - 1.0) / 0.00437


def _log2(value: Value) -> Value:
    if isinstance(value, torch.Tensor):
        return torch.log2(value)
    return np.log2(value) if isinstance(value, np.ndarray) else math.log2(value)


def find_scale(name: str) -> tuple[int, ...]:
    """Pitch classes of a named scale, 0 (C) to 11, rising.

    "chromatic", or a tonic and a scale of :data:`SCALES`: "C major", "f#-minor", "Bb minor pentatonic"; SettingsError for another name.
    """
    words = str(name).lower().replace("-", " ").replace("_", " ").split()
    if words == [CHROMATIC]:
        return SCALES[CHROMATIC]
    tonic, kind = (words[0], "_".join(words[1:])) if words else ("", "")
    known = tonic[:1] in TONICS and tonic[1:] in ACCIDENTALS
    if not known or kind not in SCALES:
        near = nearest(kind, SCALES, cutoff=0.5)
        hint = f"did you mean {tonic.capitalize()} {near.replace('_', ' ')}? " if known and near else ""
        kinds = ", ".join(kind.replace("_", " ") for kind in SCALES if kind != CHROMATIC)
        raise SettingsError(f"there is no scale {name!r}; {hint}chromatic is wanted, or a tonic (C, F#, Bb ...) and one of {kinds}")
    first = TONICS[tonic[0]] + ACCIDENTALS[tonic[1:]]
    return tuple(sorted((first + step) % 12 for step in SCALES[kind]))


def nearest_in_scale(midi: np.ndarray, degrees: tuple[int, ...]) -> np.ndarray:
    """Whole MIDI numbers (n,) moved to the nearest of a scale's notes, of two equally near to the lower; same shape and dtype."""
    moves = []
    for pitch_class in range(12):
        distances = [(degree - pitch_class + 6) % 12 - 6 for degree in degrees]  # -6 ... 5
        moves.append(min(distances, key=lambda move: (abs(move), move)))
    return midi + np.array(moves)[np.mod(midi, 12).astype(int)]
