"""One instrument is learned: from the right excerpts, to the same weights whatever interrupts it, and it says what goes wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from clean_process import clean_processes
from command_line import Run, as_json, check_refused
from conftest import SAMPLE_RATE, make_model, melody
from finetuning_tones import GRID, Toys, toys, write_toys

from tonetransfer.audio.files import save_audio
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.benchmarks.finetuning import measure_instrument
from tonetransfer.data.dataset import Prepared
from tonetransfer.errors import AudioError, SettingsError
from tonetransfer.models.note_age_table import LOWEST_MIDI, N_SEMITONES
from tonetransfer.models.settings import validate_as
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import load_model, read_notes, save_model
from tonetransfer.training import finetuning as module
from tonetransfer.training.finetuning import Finetuning, beginning, finetune
from tonetransfer.training.finetuning_data import FinetuningBatches, Material
from tonetransfer.training.reconstruction import Batch
from tonetransfer.training.settings import FinetuningSettings, read_settings

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def settings_for(output: Path, *changes: str) -> FinetuningSettings:
    settings = read_settings(TINY, [f"train.output={output}", *changes])
    assert isinstance(settings, FinetuningSettings)
    return settings


def unmeasured(model: TimbreModel, material: Material) -> dict[str, float]:
    """Leave out the figures, which take a while, in a test that is not about them."""
    return {}


def same(one: TimbreModel, other: TimbreModel) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(toys(), GRID, excerpt_seconds=0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that nothing interrupts."""
    return finetune(settings_for(tmp_path_factory.mktemp("whole")), lambda grid: toys(), measure_instrument)


def test_a_step_decides_what_is_in_its_batch(material: Material) -> None:
    one, later = (iter(FinetuningBatches(material, 4, seed=1, step=step)) for step in (0, 2))
    batches = [next(one) for _ in range(4)]
    assert all(torch.equal(getattr(batches[2], f.name), getattr(next_, f.name)) for next_ in [next(later)] for f in fields(Batch))
    assert not torch.equal(batches[0].sound, batches[1].sound)


def test_processes_share_what_one_would_see(material: Material) -> None:
    whole, *parts = (next(iter(FinetuningBatches(material, 5, seed=1, rank=rank, world=world))) for rank, world in ((0, 1), (0, 2), (1, 2)))
    for field in fields(Batch):
        a, b = (getattr(part, field.name) for part in parts)
        assert torch.equal(getattr(whole, field.name)[::2], a) and torch.equal(getattr(whole, field.name)[1::2], b)


def test_held_out_recordings_are_never_learned_from(material: Material) -> None:
    drawn = {piece for step in range(40) for piece, _ in material.drawn(step, 8, 0)[0]}
    assert drawn == {0, 1} and {piece for piece, _ in material.validation_excerpts(99)} == {2}
    assert len(material.validation_excerpts(3)) == 3


def test_without_a_validation_split_some_seconds_are_held_out() -> None:
    single = Material(toys(splits=("train",) * 3), GRID, excerpt_seconds=0.5, lead_seconds=0.1)
    for i, piece in enumerate(single.pieces):
        held_out = {frame for first in piece.held_out for frame in range(first + 10, first + 60)}
        learned = {frame for first in piece.learned for frame in range(first + 10, first + 60)}
        assert held_out and learned and not held_out & learned, i


def test_the_level_is_that_of_the_recordings_a_model_knows(material: Material) -> None:
    peak = max(float(material.sound_of(piece).abs().max()) for piece in material.pieces)
    assert peak == pytest.approx(0.7, abs=1e-3)
    batch = material.batch([(0, 0)], material.white(1, 0))
    assert float((loudness_db(batch.sound, GRID) - batch.loudness_db)[0, 5:-5].abs().max()) < 0.5


def test_excerpts_are_transposed_with_their_controls() -> None:
    short = Material(toys(), GRID, excerpt_seconds=0.3, transposed_semitones=2.0)
    piece = short.pieces[0]
    first = next(int(at) for at in piece.learned if at > 200 and len(set(piece.heard.f0_hz[at - 10 : at + 85].tolist())) == 1)
    for by in (0.0, 1.5, -1.5):
        batch = short.batch([(0, first)], short.white(1, 0), [by])
        assert batch.sound.shape == (1, short.length * GRID.hop_length)
        assert float(12.0 * torch.log2(batch.f0_hz / piece.heard.f0_hz[first])[0].mean()) == pytest.approx(by, abs=1e-3)
        spectrum = torch.fft.rfft(batch.sound[0] * torch.hann_window(batch.sound.shape[-1]), n=1 << 19).abs()
        heard_hz = float(spectrum.argmax()) * SAMPLE_RATE / (1 << 19)
        assert 1200.0 * abs(float(torch.log2(batch.f0_hz[0, 0] / heard_hz))) < 3.0
        assert float((loudness_db(batch.sound, GRID) - batch.loudness_db)[0, 6:-6].abs().max()) < 0.05
    drawn = [short.drawn(step, 8, 0)[1] for step in range(50)]
    assert 0.3 < sum(int((some == 0.0).sum()) for some in drawn) / 400 < 0.7 and 1.8 < max(abs(some).max() for some in drawn) <= 2.0


def test_what_is_held_out_is_not_reached_by_playing_faster() -> None:
    single = Material(toys(splits=("train",) * 3), GRID, excerpt_seconds=0.5, transposed_semitones=3.0)
    piece = single.pieces[0]
    held = {frame for first in piece.held_out for frame in range(first, first + single.length)}
    last = next(int(at) for at in piece.learned if int(at) + single.length in held)  # the next frame is held out
    a, b = (single.batch([(0, last)], single.white(1, 0), [by]) for by in (0.0, 3.0))
    assert torch.equal(a.sound, b.sound) and torch.equal(a.f0_hz, b.f0_hz)  # played faster it would reach into that: as it is, then


def test_too_little_is_refused() -> None:
    made = toys()
    short = Toys([made.sounds[0][: 2 * SAMPLE_RATE]], [made.heard[0].slice(0.0, 2.0)], ["train"])
    with pytest.raises(AudioError, match="1.. s of notes.*--like"):
        Material(short, GRID)
    silent = Toys([torch.zeros_like(sound) for sound in made.sounds], made.heard, ["train"] * 3)
    with pytest.raises(AudioError, match="silent"):
        Material(silent, GRID)


def test_it_learns_and_ends_with_an_instrument_and_its_card(trained: tuple[Path, dict[str, Any]]) -> None:
    path, notes = trained
    assert notes["after"]["lsd_db"] < notes["before"]["lsd_db"] - 2.0
    model = load_model(path)
    one = model.instrument("tiny")
    assert (one.lowest_midi, one.highest_midi) == (60.0, 69.0) and one.licence == "CC0-1.0" and model.room is None
    assert torch.isfinite(model.quantiles).all() and float(model.quantiles[0, -1]) > -40.0
    assert read_notes(path)["notes"] == notes and notes["data"] == {"recordings": 3, "validation_recordings": 1, "minutes": 0.32}
    card = path.with_suffix(".md").read_text()
    for words in ("license: other", "CC0-1.0", "3 recordings", f"{notes['after']['lsd_db']:.3g}", "train.steps: 12"):
        assert words in card


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_weights(trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    step = Finetuning.training_step

    def dies_at_6(self: Finetuning, batch: Batch, index: int) -> torch.Tensor:
        if self.global_step == 6:
            raise Killed
        return step(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises((Killed, SystemExit)):
        patch.setattr(Finetuning, "training_step", dies_at_6)
        finetune(settings_for(tmp_path), lambda grid: toys(), measure_instrument)
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "tiny.safetensors").exists()
    steps = []
    monkeypatch.setattr(Finetuning, "training_step", lambda self, *args: (steps.append(self.global_step), step(self, *args))[1])
    path, notes = finetune(settings_for(tmp_path), lambda grid: toys(), measure_instrument)
    assert steps == list(range(4, 12))  # from the validation before
    assert same(load_model(path), load_model(trained[0])) and notes["after"] == trained[1]["after"]


def test_other_settings_do_not_go_on_with_it(trained: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(SettingsError, match="train.seed was 0, is 1.*--no-resume"):
        finetune(settings_for(trained[0].parent, "train.seed=1"), lambda grid: toys(), measure_instrument)


def test_more_devices_than_excerpts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="batch_size is 1"):
        finetune(settings_for(tmp_path, "data.batch_size=1", "train.devices=2"), lambda grid: toys(), unmeasured)


def test_only_what_is_to_move_moves(tiny_weights: Path, tmp_path: Path) -> None:
    before = load_model(tiny_weights)
    path, _ = finetune(
        settings_for(tmp_path, f"train.start={tiny_weights}", "train.moves=last", "train.steps=4", "train.coupling_weight=1"),
        lambda grid: toys(),
        unmeasured,
    )
    after, start = load_model(path).state_dict(), before.state_dict()
    moved = {key for key in after if key.startswith("decoder.") and not (key in start and torch.equal(after[key], start[key]))}
    assert moved == {f"decoder.{key}" for key in module.LAST_LAYERS}
    assert read_notes(path)["notes"]["started_from"] == tiny_weights.name


def test_a_register_is_learned_where_notes_are(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    register = load_model(trained[0]).decoder.register
    assert register is not None
    moved = register.table[:N_SEMITONES].abs().amax((1, 2))
    midi = torch.arange(N_SEMITONES) + round(LOWEST_MIDI)
    assert float(moved[(midi >= 60) & (midi <= 69)].min()) > 1e-3 and float(moved[(midi < 48) | (midi > 84)].max()) < 1e-9
    more = settings_for(tmp_path / "more", f"train.start={trained[0]}", "train.steps=2")
    further = load_model(finetune(more, lambda grid: toys(), unmeasured)[0]).decoder.register
    assert further is not None and not torch.equal(further.table, register.table)
    assert float((further.table - register.table).abs().max()) < float(register.table.abs().max())  # from there on
    none = settings_for(tmp_path / "none", "train.register_learning_rate=0", "train.steps=2")
    assert load_model(finetune(none, lambda grid: toys(), unmeasured)[0]).decoder.register is None


def test_a_room_is_learned_and_left_out(tmp_path: Path, run: Run) -> None:
    settings = settings_for(
        tmp_path / "run", "room.learn=true", "room.seconds=0.2", "data.lead_seconds=0.1", "train.steps=4", "room.learning_rate=1.0"
    )
    path, _ = finetune(settings, lambda grid: toys(), unmeasured)
    room = load_model(path).room
    start = Finetuning(settings, Material(toys(), GRID, excerpt_seconds=0.5), make_model()).best.room
    assert room is not None and start is not None and len(room) == 9600
    assert not torch.equal(room, start.response().detach())
    save_audio("voice.wav", melody([62, 65]), SAMPLE_RATE)
    assert run("transfer", "voice.wav", "wet.wav", "--to", path)[0] == 0
    assert run("transfer", "voice.wav", "dry.wav", "--to", path, "--no-room")[0] == 0
    assert Path("wet.wav").read_bytes() != Path("dry.wav").read_bytes()


def broken(tmp_path: Path, tiny_model: TimbreModel, change: Any) -> list[str]:
    """Alarms of a training that goes out from weights which are broken, and hardly moves."""
    from copy import deepcopy

    model = deepcopy(tiny_model)
    with torch.no_grad():
        change(model.decoder)
    save_model(tmp_path / "start.safetensors", model)
    _, notes = finetune(
        settings_for(
            tmp_path / "run",
            f"train.start={tmp_path / 'start.safetensors'}",
            "train.steps=4",
            "train.validate_every=2",
            "train.learning_rate=1e-9",
            "train.z_learning_rate=1e-9",
        ),
        lambda grid: toys(),
        unmeasured,
    )
    return sorted(notes["alarms"])


def test_alarm_silence(tmp_path: Path, tiny_model: TimbreModel, capfd: pytest.CaptureFixture[str]) -> None:
    def mute(decoder: Any) -> None:
        decoder.head.bias[0] = -9.0
        decoder.head.bias[1 + decoder.n_harmonics :] = -9.0

    assert broken(tmp_path, tiny_model, mute) == ["silence"]
    assert "alarm at step 4: only silence" in capfd.readouterr().err


def test_alarm_noise(tmp_path: Path, tiny_model: TimbreModel) -> None:
    def hiss(decoder: Any) -> None:
        decoder.head.bias[0] = -9.0
        decoder.head.bias[1 + decoder.n_harmonics :] = -0.5

    assert "noise" in broken(tmp_path, tiny_model, hiss)


def test_alarm_loudness(tmp_path: Path, tiny_model: TimbreModel) -> None:
    def shout(decoder: Any) -> None:
        decoder.head.bias[0] = 3.0

    assert broken(tmp_path, tiny_model, shout) == ["loudness"]


@pytest.mark.slow
def test_alarm_overfitting(tmp_path: Path) -> None:
    """What is held out is another instrument: the better the one is known, the worse the other is played."""
    _, notes = finetune(
        settings_for(tmp_path, "train.steps=60", "train.validate_every=6", "train.learning_rate=0.02", "train.patience=50"),
        lambda grid: toys(n_harmonics=(1, 1, 30)),
        measure_instrument,
    )
    assert "overfitting" in notes["alarms"]


def test_early_stopping(tmp_path: Path) -> None:
    still = [f"train.{part}learning_rate=1e-12" for part in ("", "z_", "register_")]
    settings = settings_for(tmp_path, "train.steps=60", "train.validate_every=2", "train.patience=2", *still)
    finetune(settings, lambda grid: toys(), unmeasured)
    log = next((tmp_path).glob("version_*/metrics.csv")).read_text().splitlines()
    assert int(torch.load(tmp_path / "last.ckpt", weights_only=False)["global_step"]) <= 8, log[-1]


@pytest.mark.slow
def test_tensorboard_holds_sounds_and_spectrograms(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    finetune(settings_for(tmp_path, "train.steps=2", "train.validate_every=2", "train.tensorboard=true"), lambda grid: toys(), unmeasured)
    board = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"audio": 0, "images": 0}).Reload()
    tags = board.Tags()
    assert {f"excerpt 0/{name}" for name in ("1 recorded", "2 played", "3 harmonics", "4 noise")} <= set(tags["audio"])
    assert any(tag.startswith("excerpt 0/recorded") for tag in tags["images"]) and "lsd_db" in tags["scalars"]
    assert board.Audio("excerpt 0/1 recorded")[0].sample_rate == SAMPLE_RATE


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TINY.parents[1])}
KILLS, LONGER = 2, "train.steps=24"  # than it takes to be killed


def command(folder: Path, prepared: Path, *changes: str) -> list[str]:
    options = [part for change in (f"data.prepared={prepared}", f"train.output={folder}", *changes) for part in ("--set", change)]
    return [sys.executable, "-m", "tonetransfer", "train", str(TINY), *options, "--json"]


def finish(command: list[str], **more: str) -> dict[str, Any]:
    done = subprocess.run(command, env=ENVIRONMENT | more, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # of several processes one reports


def train(prepared: Path, output: Path) -> tuple[Path, dict[str, Any]]:
    settings = settings_for(output, f"data.prepared={prepared}", LONGER)
    return finetune(settings, lambda grid: Prepared(prepared, grid), measure_instrument)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Killed after its first checkpoint, and after its next, it ends as if nothing had been."""
    prepared, output = write_toys(tmp_path / "prepared"), tmp_path / "run"
    whole, notes = train(prepared, tmp_path / "whole")
    checkpoint = output / "last.ckpt"
    context = clean_processes()
    for _ in range(KILLS):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = context.Process(target=train, args=(prepared, output))
        process.start()
        while (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before) and process.is_alive():
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode < 0  # not done before
    path, found = train(prepared, output)
    assert found["after"] == notes["after"]
    assert same(load_model(path), load_model(whole))
    assert not list(output.glob("*.part*"))


@pytest.mark.parametrize(
    ("changes", "cores", "wanted"),
    [
        (["train.steps=800", "data.batch_size=8"], 2, 2),
        (["train.steps=800", "data.batch_size=8"], 16, 2),  # four excerpts or more each
        (["train.steps=800", "data.batch_size=16"], 1, 1),
        (["train.steps=20", "data.batch_size=16"], 2, 1),  # done before another process had begun
        (["train.steps=800", "data.batch_size=2"], 2, 1),
        (["train.steps=800", "data.batch_size=16", "train.threads=2"], 2, 1),
    ],
)
def test_processes_that_a_training_is_worth(
    changes: list[str], cores: int, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert module.processes_for(settings_for(tmp_path, "train.threads=null", *changes)) == wanted
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert module.processes_for(settings_for(tmp_path, *changes)) == 3


WORTH_FOUR_STEPS = """
import sys
from tonetransfer.cli.main import main
from tonetransfer.training import finetuning
finetuning.WORTH_STEPS = 4
sys.exit(main())
"""


@pytest.mark.slow
def test_a_long_training_takes_all_cores_by_itself_and_learns_what_one_process_learns(tmp_path: Path) -> None:
    """Distributed data parallel on the CPU (gloo): two processes with half of each batch. Four steps count as long here."""
    prepared, program = write_toys(tmp_path / "prepared"), tmp_path / "program.py"
    program.write_text(WORTH_FOUR_STEPS)
    changes = (f"data.prepared={prepared}", "train.accelerator=cpu", "train.steps=4", "data.batch_size=8")
    _, alone = finetune(settings_for(tmp_path / "one", *changes), lambda grid: Prepared(prepared, grid), measure_instrument)
    python, _, _, *words = command(tmp_path / "two", prepared, "train.threads=null", *changes[1:])
    found = finish([python, str(program), *words], OMP_NUM_THREADS="2")
    assert read_notes(found["weights"])["notes"]["processes"] == 2 and alone["processes"] == 1
    assert found["after"]["lsd_db"] == pytest.approx(alone["after"]["lsd_db"], abs=0.5)
    assert found["after"]["lsd_db"] < found["before"]["lsd_db"]


def test_the_command_line_trains_and_plays(run: Run, tmp_path: Path) -> None:
    prepared = write_toys(tmp_path / "prepared")
    options = ["--set", f"data.prepared={prepared}", "--set", "train.output=out", "--set", "train.steps=2", "--from", "none", "--no-room"]
    found = as_json(run("train", TINY, *options, "--json"))
    assert found["weights"] == "out/tiny.safetensors" and Path(found["card"]).is_file()
    save_audio("voice.wav", melody([62, 65]), SAMPLE_RATE)
    assert as_json(run("transfer", "voice.wav", "out.wav", "--to", "out/tiny.safetensors", "--json"))["instrument"] == "tiny"


def test_a_wrong_start_is_told(run: Run, tmp_path: Path) -> None:
    prepared = write_toys(tmp_path / "prepared")
    check_refused(run("train", TINY, "--from", "nowhere.safetensors", "--set", f"data.prepared={prepared}"), "train.start")


def test_a_missing_dataset_is_told_before_lightning_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from tonetransfer.cli.main import main; code = main(sys.argv[1:]); sys.exit(10 * code + ('lightning' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, "train", str(TINY)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 10 and "no prepared dataset here" in done.stderr


def test_nothing_can_be_had_from_an_empty_beginning(material: Material) -> None:
    settings = validate_as(FinetuningSettings, {"model": {"z_dim": 8, "encoder_width": 16, "decoder_width": 32}, "train": {"start": None}})
    start = beginning(settings, material)
    assert not start.timbres.any() and same(start, beginning(settings, material))
