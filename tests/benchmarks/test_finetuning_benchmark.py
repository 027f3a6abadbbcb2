"""Fine-tuning against one-shot transfer: the figures are those of the recordings, and a toy instrument is worth the minute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import SAMPLE_RATE, melody

from tonetransfer.audio.files import save_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.benchmarks.finetuning import HeldRecordings, evaluate_finetune
from tonetransfer.errors import InstrumentError
from tonetransfer.training.settings import FinetuningSettings, read_settings

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def settings() -> FinetuningSettings:
    changes = ("train.steps=60", "train.validate_every=10", "train.moves=decoder", "train.coupling_weight=0.1")
    read = read_settings(TINY, list(changes))
    assert isinstance(read, FinetuningSettings)
    return read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finetune")
    for part, melodies in {"learned": ([60, 64, 67, 62], [62, 65, 69, 60], [64, 60, 67, 62]), "tested": ([61, 64, 66],)}.items():
        for name, level in (("reed", 0.3), ("flute", 0.2)):
            (root / part / name).mkdir(parents=True)
            for i, midi in enumerate(melodies):
                save_audio(root / part / name / f"parallel-{i}.flac", melody(midi, seconds=0.8, level=level), SAMPLE_RATE)
    return root


def test_one_of_five_recordings_is_held_out() -> None:
    sounds = [melody([60 + i], seconds=0.4) for i in range(6)]
    held = HeldRecordings(sounds, FrameGrid())
    assert [one.split for one in held.recordings] == ["train", "train", "validation", "train", "train", "train"]
    assert torch.equal(held.audio(held.recordings[4], 10, 20), sounds[4][10:30])


@pytest.mark.slow
def test_a_toy_is_worth_it(folder: Path, tiny_weights: Path) -> None:
    told: list[str] = []
    figures = evaluate_finetune(folder, settings(), seconds=10.0, performances=1, only=["reed"], weights=tiny_weights, report=told.append)
    assert figures["finetuned_resynthesis_lsd_db"] < figures["one_shot_resynthesis_lsd_db"] - 2.0
    assert figures["resynthesis_gain_db"] == pytest.approx(
        figures["one_shot_resynthesis_lsd_db"] - figures["finetuned_resynthesis_lsd_db"], abs=1e-3
    )
    assert figures["finetuned_loudness_error_db"] < 1.5 and figures["finetuned_raw_pitch_accuracy"] > 0.8
    assert figures["instruments"]["reed"]["transfer_gain_db"] == figures["transfer_gain_db"] and len(told) == 1


def test_an_unknown_instrument(folder: Path, tiny_weights: Path) -> None:
    with pytest.raises(InstrumentError, match="kazoo.*flute, reed"):
        evaluate_finetune(folder, settings(), only=["kazoo"], weights=tiny_weights)
