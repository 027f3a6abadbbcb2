"""Excerpts: their labels are what was played."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import SAMPLE_RATE, tone

from tonetransfer.audio.files import save_audio
from tonetransfer.benchmarks.excerpts import (
    COMMON,
    EXCERPT_S,
    ORCHESTRA,
    Excerpt,
    Excerpts,
    _trained_config,
    _unseen_config,
    kind_of,
    mfcc_statistics,
    read_excerpts,
)
from tonetransfer.benchmarks.swaps import SHAPE
from tonetransfer.data.corpus_config import CorpusConfig, load_config, scores
from tonetransfer.models.timbre_model import TimbreModel

CONFIG = Path(__file__).parents[2] / "configs" / "corpus.yaml"
PARTIALS = {"violin": 20, "alto_sax": 6, "tuba": 2}


def write_material(folder: Path, *, performances: int = 3, seconds: float = EXCERPT_S) -> None:
    """Steady notes, another pitch each performance, as :func:`render_material` would leave them; nothing sounds in the last third."""
    files = []
    for name, n_harmonics in PARTIALS.items():
        for number in range(performances):
            path = folder / name / f"test0-{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            f0_hz = 220.0 * 2.0 ** (number / 2.0)
            sound = torch.cat([tone(f0_hz, 2.0 * seconds / 3.0, n_harmonics=n_harmonics), torch.zeros(round(seconds * SAMPLE_RATE / 3.0))])
            save_audio(path, sound, SAMPLE_RATE)
            n_frames = round(100 * seconds)
            voiced = np.arange(n_frames) < 2 * n_frames / 3
            np.savez(path.with_suffix(".npz"), f0_hz=np.full(n_frames, f0_hz, np.float32), voiced=voiced)
            files.append({"timbre": name, "performance": path.stem})
    (folder / "manifest.json").write_text(json.dumps({"timbres": {}, "files": files}))


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    write_material(folder / "trained")
    return folder


@pytest.fixture(scope="session")
def excerpts(material: Path, tiny_model: TimbreModel) -> Excerpts:
    return read_excerpts(material / "trained", {"z": tiny_model})


def test_labels_are_what_was_played(excerpts: Excerpts) -> None:
    assert len(excerpts.rows) == 9 and list(excerpts.instruments[:3]) == ["violin"] * 3
    assert excerpts.label("pitch_midi")[:3] == pytest.approx([57.0, 63.0, 69.0], abs=0.01)
    assert excerpts.label("pitch_range_semitones") == pytest.approx(np.zeros(9), abs=0.01)
    loud = excerpts.label("loudness_db")
    assert bool((loud > -40.0).all()) and bool((loud < 0.0).all())  # over the notes: the silence after them does not count
    assert excerpts.features["z"].shape == (9, 8) and excerpts.features["mfcc"].shape == (9, 40)


def test_only_those_that_are_asked_for(material: Path, tiny_model: TimbreModel) -> None:
    assert set(read_excerpts(material / "trained", {"z": tiny_model}, names=["tuba"]).instruments) == {"tuba"}


def test_mostly_silent_excerpts_are_left_out(tmp_path: Path, tiny_model: TimbreModel) -> None:
    write_material(
        tmp_path, performances=1, seconds=4 * EXCERPT_S
    )  # sounds for 8 of 12 s: the third excerpt two thirds, the fourth not at all
    assert [row.start_s for row in read_excerpts(tmp_path, {"z": tiny_model}, names=["violin"]).rows] == [0.0, 3.0, 6.0]


def test_players_of_one_instrument() -> None:
    names = ["alto_sax", "alto_sax_2", "baritone_sax", "baritone_sax_subtone", "violin", "voice_ooh", "voice_solo"]
    found = [kind_of(name, names) for name in names]
    assert found == ["alto_sax", "alto_sax", "baritone_sax", "baritone_sax", "violin", "voice_ooh", "voice_solo"]
    rows = [Excerpt(Path("x"), 0.0, name, "p", 60.0, 1.0, -20.0) for name in ("violin_2", "violin_fluid", "fiddle")]
    assert Excerpts(rows, {}).kinds.tolist() == ["violin", "violin", "fiddle"]  # also where none bears the instrument's own name


def test_mfcc_of_a_quieter_recording_differ_in_level_alone() -> None:
    sound = tone(330.0, 2.0).numpy()
    loud, soft = mfcc_statistics(sound, SAMPLE_RATE), mfcc_statistics(0.3 * sound, SAMPLE_RATE)
    assert abs(loud[0] - soft[0]) > 10.0
    assert loud[SHAPE] == pytest.approx(soft[SHAPE], abs=1.0)


def _written(config: CorpusConfig, folder: Path) -> Path:
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return path


def test_the_outside_font_stays_as_it_is_and_plays_other_phrases(tmp_path: Path) -> None:
    described = load_config(CONFIG)
    trained, unseen = _trained_config(described), _unseen_config(described, "generaluser")
    assert not any(timbre.phrases or timbre.players for timbre in trained.timbres.values())  # they cannot play new phrases
    assert load_config(_written(trained, tmp_path)) == trained and load_config(_written(unseen, tmp_path)) == unseen
    assert len(trained.timbres) >= 24 and set(ORCHESTRA) <= set(COMMON) == set(unseen.timbres)
    assert {unseen.slope(timbre) for timbre in unseen.timbres.values()} == {0.0} and unseen.soundfont != trained.soundfont
    for name, timbre in unseen.timbres.items():
        windows = scores(unseen, timbre, 0, split="test", seed=1)
        assert min(one.lowest_midi for one in windows) - timbre.range[0] <= 1, name  # registers to both ends
        assert timbre.range[1] - max(one.highest_midi for one in windows) <= 1, name
