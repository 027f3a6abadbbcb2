"""Where one note gives way to the next, f0 steps; slides and vibrato stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.pitch.f0_refinement import refine_note_transitions
from tonetransfer.pitch.tracking import track_f0

GRID = FrameGrid()


def played(f0_hz: np.ndarray, sample_rate: int) -> torch.Tensor:
    """A bright tone of an f0 per sample."""
    turns = np.cumsum(f0_hz) / sample_rate
    sound = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 15) if k * f0_hz.max() < 0.45 * sample_rate)
    return torch.from_numpy(0.2 * sound).float()


def off_cents(f0_hz: np.ndarray, sample_rate: int) -> np.ndarray:
    tracked = track_f0(played(f0_hz, sample_rate), sample_rate, GRID)[0].numpy()
    asked = f0_hz[:: sample_rate // 100]
    return np.abs(1200 * np.log2(tracked[: len(asked)] / asked))[5:-5]


@pytest.mark.parametrize("sample_rate", [16000, 48000])
@pytest.mark.parametrize("base_hz", [220.0, 440.0, 880.0])
@pytest.mark.parametrize("semitones", [1, 2, -1, 5])
def test_a_step_is_a_step(base_hz: float, semitones: int, sample_rate: int) -> None:
    times = np.arange(2 * sample_rate) / sample_rate
    steps = base_hz * 2.0 ** (semitones / 12.0 * (np.floor((times - 0.005) / 0.23) % 2))
    assert np.mean(off_cents(steps, sample_rate) > 50.0) < 0.008  # eight steps between frames, one frame in 190 wrong


@pytest.mark.parametrize("seconds", [0.06, 0.1])
def test_a_slide_is_a_slide(seconds: float) -> None:
    times = np.arange(96000) / 48000
    slides = 330.0 * 2.0 ** (np.clip((times % 0.5 - 0.2) / seconds, 0.0, 1.0) * 3.0 / 12.0)
    off = off_cents(slides, 48000)
    assert np.mean(off > 50.0) < 0.03 and np.mean(off) < 6.0


def test_vibrato_is_not_touched() -> None:
    times = np.arange(96000) / 48000
    f0_hz = 330.0 * 2.0 ** (100 / 1200 * np.sin(2 * np.pi * 6.5 * times))
    tracked = f0_hz[::480].copy()
    assert np.array_equal(refine_note_transitions(tracked, played(f0_hz, 48000), 48000, 100.0), tracked)


def test_nothing_to_step_on() -> None:
    for f0_hz in (np.full(50, 220.0), np.full(1, 220.0)):
        assert np.array_equal(refine_note_transitions(f0_hz, torch.zeros(24000), 48000, 100.0), f0_hz)
    leap = np.where(np.arange(50) < 25, 220.0, 262.0)
    assert np.array_equal(refine_note_transitions(leap, torch.zeros(24000), 48000, 100.0), leap)  # silence fits all alike
