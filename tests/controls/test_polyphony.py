"""Chords are noticed, single notes are not suspected."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import melody, tone

from tonetransfer.audio.files import load_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.controls import extract
from tonetransfer.controls.recording_checks import POLYPHONIC_SHARE, voices_share

EXAMPLE = Path(__file__).parents[2] / "examples" / "flute.flac"


def share(audio: torch.Tensor) -> float:
    return voices_share(audio, extract(audio, FrameGrid()))


def chord(root: float, intervals: tuple[int, ...], n_harmonics: int) -> torch.Tensor:
    return torch.stack([tone(440.0 * 2 ** ((root + i - 69) / 12), 1.5, n_harmonics=n_harmonics, level=0.15) for i in intervals]).sum(0)


@pytest.mark.parametrize("n_harmonics", [1, 6, 20])
@pytest.mark.parametrize("intervals", [(0, 4, 7), (0, 3, 7), (0, 4), (0, 7)], ids=str)
@pytest.mark.parametrize("root", [48, 60])
def test_chords(root: float, intervals: tuple[int, ...], n_harmonics: int) -> None:
    assert share(chord(root, intervals, n_harmonics)) > POLYPHONIC_SHARE


@pytest.mark.parametrize("n_harmonics", [1, 6, 20])
@pytest.mark.parametrize("midi", [34, 48, 60, 84])
def test_single_notes(midi: float, n_harmonics: int) -> None:
    assert share(chord(midi, (0,), n_harmonics)) <= 0.05


def test_a_melody_is_one_voice() -> None:
    assert share(melody([60, 64, 67, 72, 55, 62])) <= 0.1


def test_a_missing_fundamental_is_one_note() -> None:
    """A bass through a small loudspeaker: harmonics 2, 3, 4, ... and no gap."""
    whole = tone(65.4, 1.5, n_harmonics=12)
    fundamental = tone(65.4, 1.5, n_harmonics=1)
    assert share(whole - fundamental) <= 0.1


def test_noise_and_silence_say_nothing() -> None:
    assert share(torch.zeros(48000)) == 0.0
    assert share(0.1 * torch.randn(96000, generator=torch.Generator().manual_seed(0))) <= POLYPHONIC_SHARE
    assert share(tone(220.0, 0.05)) == 0.0


def test_a_real_recording_alone_and_with_a_second_voice() -> None:
    audio = load_audio(EXAMPLE, 48000)[0][: 6 * 48000]
    assert share(audio) <= POLYPHONIC_SHARE < share(audio[: 4 * 48000] + audio[2 * 48000 :])
