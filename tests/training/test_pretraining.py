"""From a corpus to weights: batches are what they claim, a run learns, stops and goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tone

from tonetransfer.audio.files import save_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.errors import SettingsError
from tonetransfer.models.note_age_table import note_age
from tonetransfer.models.settings import validate_as
from tonetransfer.models.weights import load_model, read_notes
from tonetransfer.training.batches import Corpus, TrainingBatches, equalise, random_curve_db
from tonetransfer.training.settings import DataSettings, Settings

GRID = FrameGrid()
NAMES = ("violin", "trumpet", "flute", "clarinet", "alto_sax", "oboe")
F0_HZ = (330.0, 440.0, 550.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three performances of one note each on six instruments that differ in their number of harmonics."""
    root = tmp_path_factory.mktemp("corpus")
    files = []
    for i, name in enumerate(NAMES):
        (root / name).mkdir()
        for j, f0_hz in enumerate(F0_HZ):
            sound = tone(f0_hz, 3.0, n_harmonics=2 + 4 * i, level=0.2)
            save_audio(root / name / f"p{j}.flac", sound, GRID.sample_rate)
            n_frames = GRID.n_frames(len(sound))
            np.savez(root / name / f"p{j}.npz", f0_hz=np.full(n_frames, f0_hz, np.float32), voiced=np.ones(n_frames, bool))
            files.append({"timbre": name, "performance": f"p{j}"})
    facts = {"family": "test", "named": True, "lowest_midi": 60, "highest_midi": 76, "source": "tones", "licence": "CC0-1.0"}
    manifest = {"seed": 0, "timbres": {name: {"name": name, **facts} for name in NAMES}, "files": files}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


def settings_for(folder: Path, output: Path, **train: object) -> object:
    return validate_as(
        Settings,
        {
            "model": {"z_dim": 8, "encoder_width": 16, "decoder_width": 32, "n_harmonics": 30, "n_bands": 16},
            "data": {
                "corpus": str(folder),
                "batch_size": 4,
                "excerpt_seconds": 0.5,
                "reference_seconds": 1.0,
                "heard_seconds": 36.0,
                "validation_names": NAMES,
                "workers": 0,
            },
            "train": {"steps": 60, "validate_every": 30, "warmup_steps": 5, "output": str(output), "threads": 1, **train},
        },
    )


@pytest.fixture(scope="module")
def started(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a few steps, to go out from."""
    from tonetransfer.training.pretraining import train

    return train(settings_for(folder, tmp_path_factory.mktemp("started"), steps=20))  # type: ignore[arg-type]  # Settings


def test_packed_audio_and_labels_are_those_of_the_files(folder: Path) -> None:
    corpus = Corpus(folder, GRID)
    recording = corpus.recordings[4]
    sound = corpus.sound(recording.first * GRID.hop_length, recording.n_frames * GRID.hop_length)
    expected = tone(F0_HZ[1], 3.0, n_harmonics=6, level=0.2)
    assert float((sound[: len(expected)] - expected).abs().max()) < 1e-4
    track = corpus.loudness[recording.first : recording.first + recording.n_frames]
    assert np.abs(track - loudness_db(expected, GRID).numpy())[20:-20].max() < 0.1


def test_batches_hold_what_they_claim(folder: Path) -> None:
    corpus = Corpus(folder, GRID)
    data = DataSettings(batch_size=12, excerpt_seconds=0.5, reference_seconds=1.0, validation_performances=0, rescale_share=0.5)
    excerpts = TrainingBatches(corpus, data, seed=0)
    batch = next(iter(excerpts))
    assert batch["target"].shape == (12, 24000) and batch["reference"].shape == (12, 48000)
    assert batch["f0_hz"].shape == batch["loudness_db"].shape == (12, 50)
    for target, f0_hz, original in zip(batch["target"], batch["f0_hz"], batch["original"], strict=True):
        spectrum = torch.fft.rfft(target[4800:19200] * torch.hann_window(14400)).abs()
        peaks = spectrum.topk(3).indices * (48000 / 14400)
        ratio = peaks / f0_hz[25]
        assert float((ratio - ratio.round()).abs().max()) < 0.05 * max(1.0, float(ratio.max()))
        assert not bool(original) or min(abs(float(f0_hz[25]) - known) for known in F0_HZ) < 1e-2
    again = next(iter(TrainingBatches(corpus, data, seed=0)))
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_held_out_performances_are_never_drawn(folder: Path) -> None:
    corpus = Corpus(folder, GRID)
    excerpts = TrainingBatches(corpus, DataSettings(batch_size=4, validation_performances=1, validation_names=NAMES), seed=0)
    assert corpus.validation_performances(1, NAMES) == ["p0"]
    assert {r.performance for some in excerpts.by_timbre.values() for r in some} == {"p1", "p2"}


def test_what_the_players_of_an_instrument_play_is_held_out_with_the_score(folder: Path, tmp_path: Path) -> None:
    """`p0+violin` is p0 as the violin played it, among the recordings of an instrument that several players teach."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["timbres"]["strings"] = {**manifest["timbres"]["violin"], "name": "strings"}
    for name in ("violin", "oboe"):
        for j in range(len(F0_HZ)):
            manifest["files"].append({"timbre": "strings", "performance": f"p{j}+{name}"})
            for ending in (".flac", ".npz"):
                link = tmp_path / "strings" / f"p{j}+{name}{ending}"
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(folder / name / f"p{j}{ending}")
    for name in NAMES:
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    corpus = Corpus(tmp_path, GRID)
    data = DataSettings(batch_size=8, excerpt_seconds=0.5, reference_seconds=1.0, validation_names=NAMES, parallel_share=1.0)
    excerpts = TrainingBatches(corpus, data, seed=0)
    row = [timbre["name"] for timbre in corpus.timbres].index("strings")
    assert {r.performance for r in excerpts.by_timbre[row]} == {f"p{j}+{name}" for j in (1, 2) for name in ("violin", "oboe")}
    assert {len(some) for some in excerpts.by_performance.values()} == {len(NAMES) + 2}  # one score, whoever plays it
    assert set(excerpts.by_performance) == {"p1", "p2"} and next(iter(excerpts))["target"].isfinite().all()


def test_notes_have_their_age(folder: Path) -> None:
    corpus = Corpus(folder, GRID)
    one = corpus.recordings[4]
    span = slice(one.first, one.first + one.n_frames)
    expected = note_age(torch.from_numpy(corpus.f0_hz[span]), torch.from_numpy(corpus.loudness[span])).numpy()
    assert np.array_equal(corpus.age[span], expected) and expected.max() > 100
    data = DataSettings(batch_size=12, excerpt_seconds=0.5, reference_seconds=1.0, validation_performances=0, rescale_share=0.5)
    batch = next(iter(TrainingBatches(corpus, data, seed=0)))
    assert batch["age"].shape == batch["f0_hz"].shape
    whole = batch["age"][batch["original"]]
    assert bool((whole == whole.round()).all()) and bool((whole.diff(dim=1)[whole[:, 1:] > 0] <= 1).all())


def test_players_of_an_instrument_share_a_note_age_table() -> None:
    from tonetransfer.training.pretraining import note_tables_of

    recorded = {"violin_2": True, "violin_fluid": False, "violin": True, "violin_3": True, "oboe": False, "cello_2": True}
    rows = note_tables_of([{"name": name, "recorded": known} for name, known in recorded.items()])
    found = dict(zip(recorded, rows, strict=True))
    assert found["violin"] == found["violin_2"] == found["violin_3"] and found["violin_fluid"] == found["oboe"] == -1
    assert {found["violin"], found["cello_2"]} == {0, 1}


def test_equalisation_keeps_the_loudness() -> None:
    sound = tone(440.0, 1.0)
    curve = random_curve_db(np.random.default_rng(0), 48000)
    changed = torch.fft.irfft(equalise(torch.fft.rfft(sound), curve, 48000), n=len(sound))
    before, after = (loudness_db(x, GRID)[30:70].mean() for x in (sound, changed))
    assert abs(float(before - after)) < 0.5
    assert float((changed - sound).abs().max()) > 0.01


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="corpus render"):
        Corpus(tmp_path, GRID)


@pytest.mark.slow
def test_a_run_learns_and_goes_on_where_it_stopped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonetransfer.training import pretraining as module
    from tonetransfer.training.pretraining import Training, train

    seeds, bests = [], []
    monkeypatch.setattr(module, "TrainingBatches", lambda *args, seed: (seeds.append(seed), TrainingBatches(*args, seed=seed))[1])
    monkeypatch.setattr(Training, "on_fit_start", lambda self: bests.append(self.best))

    def resynthesis_db(path: Path) -> float:
        return float(read_notes(path)["notes"]["validation"]["resynthesis_db"])

    first = train(settings_for(folder, tmp_path, steps=30))  # type: ignore[arg-type]  # Settings
    early = resynthesis_db(first)
    transfer_db = read_notes(first)["notes"]["validation"]["transfer_db"]
    path = train(settings_for(folder, tmp_path, steps=90, validate_every=45))  # type: ignore[arg-type]  # Settings
    notes = read_notes(path)
    assert seeds == [0, 30]  # other batches than those it has seen
    assert bests == [math.inf, pytest.approx(transfer_db)]
    assert notes["notes"]["steps"] > 30
    assert resynthesis_db(path) < early - 1.0
    model = load_model(path)
    assert model.names == list(NAMES)
    assert model.instrument("flute").mean_midi == pytest.approx(69.0, abs=1.0)
    distances = torch.cdist(model.timbres, model.timbres)
    assert float(distances[~torch.eye(len(NAMES), dtype=torch.bool)].min()) > 0.05


@pytest.mark.slow
def test_training_goes_out_from_given_weights(folder: Path, started: Path, tmp_path: Path) -> None:
    from tonetransfer.training.pretraining import Training

    settings = settings_for(folder, tmp_path, start=str(started))
    training = Training(settings, Corpus(folder, GRID))  # type: ignore[arg-type]  # Settings
    given, taken = load_model(started), training.finished()
    assert torch.equal(given.timbres, taken.timbres)
    same = {name for name, value in taken.state_dict().items() if torch.equal(value, given.state_dict()[name])}
    assert {name for name in taken.state_dict() if name not in same} <= {"encoder.effect.4.weight", "encoder.effect.4.bias"}  # learned anew
    kept = settings_for(folder, tmp_path, start=str(started), encoder_learning_rate=0.0)
    still = Training(kept, Corpus(folder, GRID)).finished().encoder.state_dict()  # type: ignore[arg-type]  # Settings
    assert bool(still["effect.4.weight"].any())
    assert all(torch.equal(value, given.encoder.state_dict()[name]) for name, value in still.items())
    other = validate_as(Settings, {**settings.model_dump(), "model": {"z_dim": 4}})  # type: ignore[attr-defined]  # Settings
    with pytest.raises(SettingsError, match="another shape"):
        Training(other, Corpus(folder, GRID))


@pytest.mark.slow
def test_an_encoder_is_found_first_while_decoder_and_table_stand_still(folder: Path, started: Path, tmp_path: Path) -> None:
    from tonetransfer.training.pretraining import train

    settings = settings_for(folder, tmp_path, steps=2, validate_every=2, encoder_steps=100, start=str(started))
    train(settings)  # type: ignore[arg-type]  # Settings
    before, after = load_model(started), load_model(tmp_path / "encoder" / "encoder.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(before.decoder.parameters(), after.decoder.parameters(), strict=True))
    assert torch.equal(before.timbres, after.timbres)
    distances = []
    for model in (before, after):
        z = torch.stack([model.encode(tone(440.0, 3.0, n_harmonics=2 + 4 * i, level=0.2)) for i in range(len(NAMES))])
        distances.append(float((z - model.timbres).square().mean()))
    assert distances[1] < 0.7 * distances[0]
