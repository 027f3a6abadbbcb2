"""Hertz, MIDI numbers, note names and decibels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.audio.units import PRINTED, amplitude_to_db, db_to_amplitude, erb_to_hz, hz_to_erb, hz_to_midi, midi_to_hz, note_name


def test_known_notes() -> None:
    assert hz_to_midi(440.0) == 69.0 and midi_to_hz(57.0) == 220.0 and hz_to_midi(261.6255653) == pytest.approx(60.0, abs=1e-6)


@pytest.mark.parametrize("values", [np.array([55.0, 1234.5]), torch.tensor([55.0, 1234.5], dtype=torch.float64)])
def test_there_and_back(values: np.ndarray | torch.Tensor) -> None:
    for there, back in ((hz_to_midi, midi_to_hz), (hz_to_erb, erb_to_hz), (amplitude_to_db, db_to_amplitude)):
        assert type(there(values)) is type(values)
        assert np.asarray(back(there(values))) == pytest.approx(np.asarray(values))


def test_levels() -> None:
    assert amplitude_to_db(0.5) == pytest.approx(-6.0206, abs=1e-4) and amplitude_to_db(0.0) == pytest.approx(-120.0)


def test_names_of_notes() -> None:
    assert [note_name(midi) for midi in (60, 61, 69.4, 68.6, 20.6)] == ["C4", "C#4", "A4", "A4", "A0"]
    assert [note_name(midi, PRINTED) for midi in (58, 61, 63)] == ["B♭3", "C♯4", "E♭4"]
