"""Recordings played again from their own timbre and controls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import SAMPLE_RATE, melody, tone

from tonetransfer.audio.files import save_audio
from tonetransfer.evaluation.transfer_quality import evaluate_resynthesis
from tonetransfer.models.timbre_model import TimbreModel


def test_only_solo_music_counts(tmp_path: Path, tiny_model: TimbreModel) -> None:
    solo, chord = melody([69, 72]), sum(tone(hertz, 1.2, level=0.1) for hertz in (220.0, 277.2, 329.6))
    for name, sound in {"solo": solo, "chord": chord}.items():
        save_audio(tmp_path / f"{name}.wav", sound, SAMPLE_RATE)
    (tmp_path / "INDEX.tsv").write_text("not a recording")
    found = evaluate_resynthesis(tiny_model, tmp_path)
    assert {name: one["counts"] for name, one in found["resynthesis"].items()} == {"chord.wav": False, "solo.wav": True}
    assert found["resynthesis_lsd60_db"] == found["resynthesis"]["solo.wav"]["lsd60_db"] > 1.0


def test_speech_does_not_count(tmp_path: Path, tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:
    save_audio(tmp_path / "solo.wav", melody([69]), SAMPLE_RATE)
    monkeypatch.setattr("tonetransfer.evaluation.transfer_quality.sounds_spoken", lambda _: True)
    found = evaluate_resynthesis(tiny_model, tmp_path)
    assert not found["resynthesis"]["solo.wav"]["counts"] and "resynthesis_lsd60_db" not in found


def test_how_a_timbre_is_had_can_be_exchanged(tmp_path: Path, tiny_model: TimbreModel) -> None:
    save_audio(tmp_path / "solo.wav", melody([69]), SAMPLE_RATE)
    asked = []

    def adapt(model: TimbreModel, reference: torch.Tensor) -> tuple[TimbreModel, torch.Tensor]:
        asked.append(len(reference))
        return model, model.timbre("tuba")

    changed = evaluate_resynthesis(tiny_model, tmp_path, adapt=adapt, name="tuba")
    assert asked == [round(0.6 * SAMPLE_RATE)] and set(changed) == {"tuba_lsd60_db", "tuba"}
    assert changed["tuba_lsd60_db"] != pytest.approx(evaluate_resynthesis(tiny_model, tmp_path)["resynthesis_lsd60_db"])


def test_nothing_that_counts(tmp_path: Path, tiny_model: TimbreModel) -> None:
    assert evaluate_resynthesis(tiny_model, tmp_path) == {"resynthesis": {}}
