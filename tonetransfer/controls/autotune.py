"""Scales by name: which of the twelve pitch classes a melody may use."""

from __future__ import annotations

import numpy as np

from ..errors import SettingsError, nearest

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


def find_scale(name: str) -> tuple[int, ...]:
    """Pitch classes of a named scale.

    Parameters
    ----------
    name : str
        "chromatic", or a tonic and a scale of :data:`SCALES`: "C major", "f#-minor", "Bb minor pentatonic".

    Returns
    -------
    tuple of int, in 0 ... 11 (0 is C), rising

    Raises
    ------
    SettingsError
    """
    words = name.lower().replace("-", " ").replace("_", " ").split()
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
