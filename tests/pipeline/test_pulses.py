"""Pulses of low notes come when they came in the recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE
from scipy.signal import hilbert

import tonetransfer as tt
from tonetransfer.errors import ControlsError


def beating(notes_hz: list[float], starts_s: list[float], seconds: float = 0.8) -> torch.Tensor:
    """Notes of rich tone, each with pulses at its own start and every period after it."""
    t, parts = torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE, []
    edge = (t / 0.02).clamp(max=1.0) * ((seconds - t) / 0.02).clamp(max=1.0)
    for hz, start in zip(notes_hz, starts_s, strict=True):
        parts.append(edge * 0.03 * sum(torch.cos(2 * torch.pi * hz * k * (t - start)) for k in range(1, 25)))
    return torch.cat(parts)


NOTES_HZ, STARTS_S = [80.0, 62.0, 95.0, 70.0], [0.005, 0.002, 0.007, 0.011]


def late_by(sound: np.ndarray, note: int, seconds: float = 0.8) -> float:
    """Share of a period, in [-0.5, 0.5], by which the pulses of a note are later than they were made."""
    first = round((note * seconds + 0.3) * SAMPLE_RATE)
    piece = np.abs(hilbert(sound[first : first + round(0.2 * SAMPLE_RATE)]))
    t = (np.arange(len(piece)) + first) / SAMPLE_RATE - note * seconds - STARTS_S[note]
    return float(-np.angle((piece * np.exp(-2j * np.pi * NOTES_HZ[note] * t)).sum()) / (2.0 * np.pi))


def test_pulses_are_found_where_they_were_made() -> None:
    sound = beating(NOTES_HZ, STARTS_S)
    found = tt.find_pulses(sound, tt.analyze(sound, SAMPLE_RATE, tt.load_model()))
    assert found is not None
    for note, (hz, start) in enumerate(zip(NOTES_HZ, STARTS_S, strict=True)):
        periods = (float(found[round(80 * note + 40)]) - 0.8 * note - start) * hz
        assert abs(periods - round(periods)) < 0.1


def test_the_pulses_of_the_result_come_with_those_of_the_recording() -> None:
    sound, model = beating(NOTES_HZ, STARTS_S), tt.load_model()
    heard, target = tt.analyze(sound, SAMPLE_RATE, model), tt.find_target(model, SAMPLE_RATE, to="bassoon")
    with_them, without = (
        torch.cat(list(tt.play(tt.arrange(heard, target, transpose=0, pulses=pulses), model, target.z))).numpy()
        for pulses in (tt.find_pulses(sound, heard), None)
    )
    assert max(abs(late_by(with_them, note)) for note in range(4)) < 0.15
    assert max(abs(late_by(without, note)) for note in range(4)) > 0.25


def test_high_notes_are_left_as_they_are() -> None:
    model, high = tt.load_model(), beating([220.0, 330.0], [0.001, 0.002])
    assert tt.find_pulses(high, tt.analyze(high, SAMPLE_RATE, model)) is None
    mixed = beating([330.0, 80.0], [0.001, 0.005])
    heard = tt.analyze(mixed, SAMPLE_RATE, model)
    arrangement = tt.arrange(heard, tt.find_target(model, SAMPLE_RATE, to="bassoon"), pulses=tt.find_pulses(mixed, heard))
    assert arrangement.shift_hz is not None and not bool(arrangement.shift_hz[:70].any()) and bool(arrangement.shift_hz.any())


def test_controls_of_another_recording_are_refused() -> None:
    sound = beating([80.0], [0.005])
    with pytest.raises(ControlsError, match="those of the whole recording are wanted"):
        tt.find_pulses(sound[: len(sound) // 2], tt.analyze(sound, SAMPLE_RATE, tt.load_model()))
