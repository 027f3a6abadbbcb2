"""Scales by name, and melodies put onto them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_controls

from tonetransfer.audio.units import find_scale, hz_to_midi, nearest_in_scale
from tonetransfer.errors import SettingsError


def test_names() -> None:
    assert find_scale("chromatic") == tuple(range(12))
    assert find_scale("C major") == (0, 2, 4, 5, 7, 9, 11)
    assert find_scale("a-minor") == find_scale("C major") == find_scale("D dorian")
    assert find_scale("Bb_major") == find_scale("A# major") == (0, 2, 3, 5, 7, 9, 10)
    assert find_scale("B# major") == find_scale("C major") and find_scale("cb major") == find_scale("B major")


@pytest.mark.parametrize("name", ["", "major", "H major", "C", "C mayor", "chromatic scale", "F## major"])
def test_what_is_no_scale(name: str) -> None:
    with pytest.raises(SettingsError, match="no scale"):
        find_scale(name)


def test_a_misspelt_scale_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean F# minor pentatonic"):
        find_scale("f# minor pentatonik")


def test_foreign_notes_go_to_the_nearest_and_of_two_to_the_lower() -> None:
    midi = np.arange(12.0) + 60.0
    assert nearest_in_scale(midi, find_scale("C major")).tolist() == [60, 60, 62, 62, 64, 65, 65, 67, 67, 69, 69, 71]
    assert nearest_in_scale(midi, find_scale("chromatic")).tolist() == midi.tolist()
    assert nearest_in_scale(np.array([71.0, 59.0]), (0,)).tolist() == [72, 60]


def test_autotune_onto_a_scale() -> None:
    heard = make_controls([60.2, 63.3, 66.9], [-20.0] * 3)
    tuned = hz_to_midi(heard.autotune(1.0, "C major").f0_hz)[heard.note_frames()]
    assert sorted({round(float(value), 3) for value in tuned}) == [60.0, 62.0, 67.0]
    chromatic = hz_to_midi(heard.autotune(1.0).f0_hz)[heard.note_frames()]
    assert sorted({round(float(value), 3) for value in chromatic}) == [60.0, 63.0, 67.0]
