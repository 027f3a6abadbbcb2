"""Recordings of a toy instrument, and the folder that ``prepare`` would make of them; shared by the tests of training one instrument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from conftest import SAMPLE_RATE, tone

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.audio.units import midi_to_hz
from tonetransfer.controls.controls import Controls

GRID = FrameGrid()
MELODIES = ([60, 64, 67, 65], [62, 65, 69, 64], [60, 62, 64, 67])
NOTE_S, REST_S = 0.7, 0.1
HOP = GRID.hop_length


@dataclass(frozen=True)
class ToyRecording:
    name: str
    n_frames: int
    split: str


class Toys:
    """A prepared folder in memory."""

    def __init__(self, sounds: list[torch.Tensor], controls: list[Controls], splits: list[str]) -> None:
        self.sounds, self.heard, self.manifest = sounds, controls, {"licence": "CC0-1.0"}
        self.recordings = [ToyRecording(str(i), c.n_frames, split) for i, (c, split) in enumerate(zip(controls, splits, strict=True))]

    def audio(self, recording: ToyRecording, first_sample: int, n_samples: int) -> torch.Tensor:
        return self.sounds[int(recording.name)][first_sample : first_sample + n_samples]

    def controls(self, recording: ToyRecording) -> Controls:
        return self.heard[int(recording.name)]


def phrase(midi: list[int], *, n_harmonics: int = 8, level: float = 0.3) -> tuple[torch.Tensor, Controls]:
    """Notes with rests between them, and controls that are true."""
    rest = round(REST_S * SAMPLE_RATE)
    n_note = round(NOTE_S * GRID.frame_rate)
    sounds, f0_hz, periodicity = [], [], []
    for number in midi:
        note = tone(float(midi_to_hz(number)), NOTE_S, n_harmonics=n_harmonics, level=level)
        sounds += [note, torch.zeros(rest)]
        f0_hz += [float(midi_to_hz(number))] * (n_note + rest // HOP)
        periodicity += [0.98] * n_note + [0.02] * (rest // HOP)
    sound = torch.cat(sounds)
    return sound, Controls(torch.tensor(f0_hz), torch.tensor(periodicity), loudness_db(sound, GRID), GRID)


def toys(*, n_harmonics: tuple[int, ...] = (8, 8, 8), splits: tuple[str, ...] = ("train", "train", "validation")) -> Toys:
    """Three phrases; the last is held out."""
    pairs = [phrase(melody * 2, n_harmonics=n) for melody, n in zip(MELODIES, n_harmonics, strict=True)]
    return Toys([sound for sound, _ in pairs], [heard for _, heard in pairs], list(splits))


def write_toys(folder: Path) -> Path:
    """The same as a prepared folder on disk."""
    from tonetransfer.data.dataset import PreparedRecording, RecordingWriter, write_index

    made, recordings = toys(), []
    for recording in made.recordings:
        sound, heard = made.audio(recording, 0, 10**9), made.controls(recording)
        writer = RecordingWriter(folder, f"key{recording.name}", GRID, n_samples=len(sound), peak=float(np.abs(sound).max()))
        writer.write(sound, heard)
        writer.finish({})
        recordings.append(PreparedRecording(recording.name, recording.n_frames, recording.split, f"key{recording.name}"))
    write_index(folder, {"settings": {"sample_rate": GRID.sample_rate, "hop_length": HOP}, "licence": "CC0-1.0"}, recordings)
    return folder
