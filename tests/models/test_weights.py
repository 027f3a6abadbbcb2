"""A file is a whole instrument: what is saved comes back bit for bit, and anything else is refused with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_controls, make_model
from safetensors import safe_open
from safetensors.torch import save_file

from tonetransfer.audio.units import hz_to_midi
from tonetransfer.errors import WeightsError
from tonetransfer.models import weights_header
from tonetransfer.models.note_age_table import LOWEST_MIDI, N_AGES, N_LEVELS, N_PITCHES
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import load_model, read_notes, save_model
from tonetransfer.models.weights_header import find_weights
from tonetransfer.pipeline.target import find_target
from tonetransfer.training.reconstruction import single_instrument


def rewrite(
    source: Path, target: Path, *, text: dict[str, str] | None = None, tensors: dict[str, torch.Tensor | None] | None = None
) -> Path:
    """A copy of a weights file with some text or tensors changed (None: left out)."""
    with safe_open(source, framework="pt") as file:
        content = {name: file.get_tensor(name) for name in file.keys()} | (tensors or {})  # noqa: SIM118  # not a mapping
        notes = file.metadata() | (text or {})
    save_file({name: tensor for name, tensor in content.items() if tensor is not None}, target, metadata=notes)
    return target


def test_round_trip_is_bit_equal(tiny_model: TimbreModel, tiny_weights: Path) -> None:
    loaded = load_model(tiny_weights)
    assert loaded.settings == tiny_model.settings and loaded.instruments == tiny_model.instruments
    ours, theirs = tiny_model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    controls = make_controls([60, 67], [-20.0, -25.0])
    sounds = [model.render(model.decode(controls, model.timbre("violin"))) for model in (tiny_model, loaded)]
    assert torch.equal(*sounds)


def test_a_register_belongs_to_one_instrument(tiny_model: TimbreModel, tmp_path: Path) -> None:
    one = single_instrument(tiny_model, tiny_model.instruments[0], tiny_model.timbres[0], None)
    plain = one.decode(make_controls([60, 67], [-20.0, -25.0]), one.timbres[0])
    one.decoder.add_note_age_table()
    assert one.decoder.register is not None
    unmoved = one.decode(make_controls([60, 67], [-20.0, -25.0]), one.timbres[0])
    assert torch.equal(plain.harmonic_distribution, unmoved.harmonic_distribution)
    with torch.no_grad():
        one.decoder.register.table[67 - round(LOWEST_MIDI)] = torch.linspace(-1.0, 1.0, one.decoder.head.out_features)
    save_model(tmp_path / "one.safetensors", one)
    loaded = load_model(tmp_path / "one.safetensors")
    found = loaded.decode(make_controls([60, 67], [-20.0, -25.0]), loaded.timbres[0])
    changed = (found.harmonic_distribution - plain.harmonic_distribution).abs().amax(-1)
    pitch = hz_to_midi(found.f0_hz).round()
    assert float(changed[pitch == 60].max()) < 1e-6 < 1e-3 < float(changed[pitch == 67].min())


def with_tables(**changes: Any) -> TimbreModel:
    """A model whose violin and tuba play with note-age tables of their own, of numbers that 16 bits hold."""
    model = make_model()
    rows = {"violin": 1, "tuba": 0}
    made = tuple(replace(one, note_table=rows.get(one.name, -1), fluctuation_db=1.5) for one in model.instruments)
    model.instruments = tuple(replace(one, **changes) for one in made) if changes else made
    shape = 2, N_PITCHES + N_LEVELS, N_AGES, model.decoder.head.out_features
    model.note_tables = (0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).half().float()
    return model


def test_note_age_tables_come_back_bit_for_bit(tmp_path: Path) -> None:
    model = with_tables()
    save_model(tmp_path / "tables.safetensors", model)
    loaded = load_model(tmp_path / "tables.safetensors")
    assert loaded.instruments == model.instruments and loaded.note_tables is not None and torch.equal(loaded.note_tables, model.note_tables)
    assert torch.equal(loaded.note_table("Violin"), model.note_tables[1]) and loaded.note_table("alto_sax") is None
    controls, targets = make_controls([60, 67], [-20.0, -25.0]), [find_target(one, 48000, to="tuba") for one in (model, loaded)]
    tables = [target.note_table for target in targets]
    assert torch.equal(*tables) and torch.equal(tables[0], model.note_tables[0])
    sounds = [torch.cat(list(one.play(controls, one.timbre("tuba"), note_table=tables[0]))) for one in (model, loaded)]
    assert torch.equal(*sounds)
    plain = torch.cat(list(model.play(controls, model.timbre("tuba"))))
    assert not torch.equal(sounds[0], plain) and torch.equal(plain, torch.cat(list(make_model().play(controls, model.timbre("tuba")))))


def test_a_note_age_table_is_added_and_the_model_stays(tiny_model: TimbreModel) -> None:
    model, controls = with_tables(), make_controls([60, 67], [-20.0, -25.0])
    assert model.with_note_table(None) is model
    z, table = model.timbre("tuba"), model.note_table("tuba")
    before = model.decode(controls, z)
    once = model.with_note_table(table).decode(controls, z)
    assert model.decoder.register is None and torch.equal(model.decode(controls, z).harmonic_distribution, before.harmonic_distribution)
    half = model.with_note_table(0.5 * table)
    twice = half.with_note_table(0.5 * table).decode(controls, z)  # to what it has already
    torch.testing.assert_close(twice.harmonic_distribution, once.harmonic_distribution)
    assert float((once.harmonic_distribution - before.harmonic_distribution).abs().max()) > 1e-3


def test_blends_play_with_the_mean_of_their_tables() -> None:
    model = with_tables()
    assert model.note_tables is not None
    blend = find_target(model, 48000, mix={"violin": 3.0, "tuba": 1.0})
    torch.testing.assert_close(blend.note_table, 0.75 * model.note_tables[1] + 0.25 * model.note_tables[0])
    half = find_target(model, 48000, mix={"violin": 1.0, "alto_sax": 1.0}).note_table
    torch.testing.assert_close(half, 0.5 * model.note_tables[1])  # who has none does nothing of his own
    assert find_target(model, 48000, to="alto_sax").note_table is None


@pytest.mark.parametrize(
    ("tables", "changes", "words"),
    [
        ((2, 25, 15, 7), {}, "note_tables"),
        ((2, 25, 15), {}, "note_tables"),
        ((1, 25, 15, 37), {}, "violin plays with a note-age table that is not in the file"),
        (None, {"note_table": 0.5}, "note_table"),
        (None, {"note_table": "first"}, "note_table"),
        (None, {"in_room_tone": 1}, "in_room_tone"),
        (None, {"fluctuation_db": "some"}, "fluctuation_db"),
    ],
)
def test_tables_and_traits_that_do_not_fit_are_told(
    tmp_path: Path, tables: tuple[int, ...] | None, changes: dict[str, Any], words: str
) -> None:
    model = with_tables(**changes)
    if tables:
        model.note_tables = torch.zeros(tables)
    save_model(tmp_path / "wrong.safetensors", model)
    with pytest.raises(WeightsError, match=words) as told:
        load_model(tmp_path / "wrong.safetensors")
    assert "\n" not in str(told.value)


def test_notes_tell_where_weights_come_from(tiny_weights: Path) -> None:
    notes = read_notes(tiny_weights)
    assert notes["notes"] == {"steps": 0}
    assert notes["instruments"][0]["licence"] == "CC0-1.0"
    assert {"format", "settings", "loudness_version", "package_version"} <= notes.keys()


def test_half_precision_is_read(tiny_model: TimbreModel, tiny_weights: Path, tmp_path: Path) -> None:
    half = rewrite(tiny_weights, tmp_path / "half.safetensors", tensors={k: v.half() for k, v in tiny_model.state_dict().items()})
    loaded = load_model(half)
    assert not any(tensor.dtype == torch.float16 for tensor in loaded.state_dict().values())
    assert torch.allclose(loaded.timbres, tiny_model.timbres, rtol=1e-3)


def test_existing_files_are_kept(tiny_model: TimbreModel, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_text("precious")
    with pytest.raises(WeightsError, match="exists"):
        save_model(path, tiny_model)
    assert path.read_text() == "precious"
    save_model(path, tiny_model, overwrite=True)
    assert load_model(path).names == tiny_model.names
    with pytest.raises(WeightsError, match="cannot be written"):
        save_model(tmp_path / "nowhere" / "x.safetensors", tiny_model)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]  # nothing half written


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_truncated(tiny_weights: Path, tmp_path: Path, share: float) -> None:
    whole = tiny_weights.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match="truncated"):
        load_model(path)


def test_foreign_files(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(WeightsError, match="instrument of tonetransfer"):
        load_model(foreign)
    pickled = tmp_path / "pickled.safetensors"
    torch.save({"weight": torch.zeros(3)}, pickled)
    with pytest.raises(WeightsError, match="not a readable weights file"):
        load_model(pickled)


@pytest.mark.parametrize(("text", "says"), [({"format": "99"}, "format 99"), ({"loudness_version": "7"}, "loudness definition 7")])
def test_other_versions(tiny_weights: Path, tmp_path: Path, text: dict[str, str], says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        load_model(rewrite(tiny_weights, tmp_path / "other.safetensors", text=text))


@pytest.mark.parametrize("settings", ["not JSON", "{}extra", json.dumps({"z_dim": 8, "colour": "red"}), json.dumps({"z_dim": -1})])
def test_a_description_that_does_not_fit(tiny_weights: Path, tmp_path: Path, settings: str) -> None:
    with pytest.raises(WeightsError, match="description"):
        load_model(rewrite(tiny_weights, tmp_path / "other.safetensors", text={"settings": settings}))


@pytest.mark.parametrize("tensor", [None, torch.zeros(3, 9), torch.full((3, 8), torch.nan)])
def test_tensors_that_do_not_fit(tiny_weights: Path, tmp_path: Path, tensor: torch.Tensor | None) -> None:
    with pytest.raises(WeightsError, match="tensors differ|not finite"):
        load_model(rewrite(tiny_weights, tmp_path / "other.safetensors", tensors={"timbres": tensor}))


def test_an_extra_tensor_is_no_accident(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="stranger"):
        load_model(rewrite(tiny_weights, tmp_path / "other.safetensors", tensors={"stranger": torch.zeros(1)}))


def test_where_weights_are_looked_for(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_weights(tiny_weights) == tiny_weights
    assert find_weights().name == weights_header.BUNDLED
    with pytest.raises(WeightsError, match="no such"):
        find_weights("tiny.safetensors")
    with pytest.raises(WeightsError, match="folder"):
        find_weights(tmp_path)
    monkeypatch.setenv("TONETRANSFER_INSTRUMENTS", str(tiny_weights.parent))
    assert find_weights("tiny.safetensors") == tiny_weights


def test_a_model_without_instruments(tmp_path: Path) -> None:
    model = TimbreModel(make_model().settings)
    save_model(tmp_path / "nameless.safetensors", model)
    assert load_model(tmp_path / "nameless.safetensors").names == []
