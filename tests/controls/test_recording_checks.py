"""References that will not make a good likeness are told from those that will."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run, as_json
from conftest import SAMPLE_RATE, make_controls, melody, tone

import tonetransfer as tt
from tonetransfer.audio.files import save_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.stft import log_spectral_distance_db
from tonetransfer.audio.units import midi_to_hz
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.recording_checks import clipped_share, sounds_spoken
from tonetransfer.errors import ToneTransferWarning
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline import target
from tonetransfer.pipeline.target import at_peak, find_target


def told(make: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ToneTransferWarning)
        make()
    return [str(one.message) for one in heard if issubclass(one.category, ToneTransferWarning)]


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("gain", [2.0, 10.0])
def test_a_clipped_reference(tiny_model: TimbreModel, rate: int, gain: float) -> None:
    sound = tone(330.0, 3.0, sample_rate=rate)
    clipped = (gain * sound / sound.abs().max()).clamp(-1.0, 1.0)
    assert any("clipped" in line for line in told(lambda: find_target(tiny_model, rate, like=clipped)))
    assert any("clipped" in line for line in told(lambda: find_target(tiny_model, rate, like=(0.5 * clipped, rate))))  # and turned down
    assert told(lambda: find_target(tiny_model, rate, like=sound)) == []


@pytest.mark.parametrize("f0_hz", [40.0, 440.0, 3000.0])
def test_a_sine_is_not_clipped(f0_hz: float) -> None:
    for bits in (16, 24):
        steps = 2.0 ** (bits - 1)
        sine = torch.round(tone(f0_hz, 2.0, n_harmonics=1, level=0.9) * steps) / steps
        assert clipped_share(sine) < 1e-3
    assert clipped_share(torch.zeros(100)) == 0.0


def contour(midi: np.ndarray, voiced: np.ndarray) -> Controls:
    n = len(midi)
    loudness = torch.full((n,), -20.0)
    return Controls(torch.from_numpy(midi_to_hz(midi)), torch.from_numpy(np.where(voiced, 0.98, 0.1)), loudness, FrameGrid())


def test_speech_is_a_pitch_that_never_holds_and_is_often_not_there() -> None:
    t = np.arange(600)
    glides, steps = 50.0 + 4.0 * np.sin(2 * np.pi * t / 80), 50.0 + 2.0 * (t // 30 % 4)
    gaps = t % 40 < 28
    assert sounds_spoken(contour(glides, gaps))
    assert not sounds_spoken(contour(steps, gaps))  # consonants between sung notes
    assert not sounds_spoken(contour(glides, gaps | True))  # slides
    assert not sounds_spoken(make_controls([60, 64, 67] * 3, [-20.0] * 9, noise_db=-25.0))


def test_the_recordings_with_a_pitch_are_no_speech(tiny_model: TimbreModel) -> None:
    assert told(lambda: find_target(tiny_model, SAMPLE_RATE, like=melody([60, 62, 64, 65], seconds=0.3, rest=0.02))) == []


def test_the_source_itself(tiny_model: TimbreModel) -> None:
    sound = melody([69, 72, 76])
    lines = told(lambda: tt.transfer(sound, SAMPLE_RATE, tiny_model, like=(sound.clone(), SAMPLE_RATE)))
    assert len(lines) == 1 and "source itself" in lines[0]
    assert told(lambda: tt.transfer(sound, SAMPLE_RATE, tiny_model, like=sound.flip(0))) == []


def test_the_source_itself_on_the_command_line(run: Run, tiny_weights: Path) -> None:
    save_audio("voice.wav", melody([69, 72, 76]), SAMPLE_RATE)
    Path("copy.wav").write_bytes(Path("voice.wav").read_bytes())
    for reference in ("voice.wav", "copy.wav"):
        found = as_json(run("transfer", "voice.wav", "out.wav", "--like", reference, "--weights", tiny_weights, "--overwrite", "--json"))
        assert "source itself" in found["warnings"][0]


def test_noise_in_a_reference_hardly_counts(tiny_model: TimbreModel) -> None:
    sound = melody([60, 64, 67, 65, 62, 60], seconds=0.9)
    noise = 0.05 * torch.randn(6 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    both = torch.cat([sound, noise, sound])
    clean, notes = tiny_model.encode(sound), tt.analyze(both, SAMPLE_RATE, tiny_model).note_frames()
    weighted = tiny_model.encode(both, weight=notes)
    assert float((weighted - clean).norm()) < 0.5 * float((tiny_model.encode(both) - clean).norm())


@pytest.mark.slow
def test_what_the_encoder_guessed_is_brought_closer_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tt.load_model()
    sound = at_peak(melody([60, 64, 67], seconds=0.7))  # of no instrument
    heard = tt.analyze(sound, SAMPLE_RATE, model)
    before = [tensor.clone() for tensor in model.state_dict().values()]

    def distance(steps: int) -> float:
        monkeypatch.setattr(target, "Z_STEPS", steps)
        z = find_target(model, SAMPLE_RATE, like=sound).z
        return log_spectral_distance_db(sound, tt.synthesize(heard, model, z))

    far, near = distance(1), distance(15)
    assert near < far - 0.3
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))  # the model is not changed
