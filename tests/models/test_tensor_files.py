"""Weights from anywhere: what lies about its sizes, or is garbled, is refused in one line, at once and without taking memory."""

from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from classify_toys import toy_settings
from torch import nn

from tonetransfer.classification.classifier import Classifier
from tonetransfer.errors import WeightsError
from tonetransfer.models.weights import load_model, no_larger_than, read_notes
from tonetransfer.models.weights_header import Header, read_header


def rewrite(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a safetensors file with another description; None leaves an entry out."""
    content = source.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    text = header["__metadata__"] | changes
    header["__metadata__"] = {key: value for key, value in text.items() if value is not None}
    written = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + length :])
    return target


def settings_of(path: Path) -> dict[str, Any]:
    return dict(read_notes(path)["settings"])


def refused(path: Path, says: str, read: Any = load_model) -> None:
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert says in message and path.name in message and "\n" not in message and len(message) < 400


@pytest.mark.parametrize("name", ["z_dim", "encoder_width", "decoder_width", "n_harmonics", "n_bands"])
def test_sizes_that_lie_are_refused_before_anything_is_built(tiny_weights: Path, tmp_path: Path, name: str) -> None:
    settings = json.dumps(settings_of(tiny_weights) | {name: 8000})
    path = rewrite(tiny_weights, tmp_path / "lies.safetensors", settings=settings)
    before = torch.empty
    refused(path, "")
    assert torch.empty is before
    header = read_header(path)
    with pytest.raises(WeightsError, match="larger than the file"), no_larger_than(header):
        torch.zeros(4_000_000 + 2 * header.n_numbers + 1)


def test_what_is_asked_for_is_counted() -> None:
    header = Header(Path("a"), {}, {"x": (100, 100)})
    with no_larger_than(header):
        nn.Linear(1000, 1000)
        nn.GRU(100, 100)
        torch.eye(100)
    for build in (
        lambda: nn.Linear(4000, 4000),
        lambda: torch.eye(4000),
        lambda: torch.zeros(4000, 4000),
        lambda: nn.Conv1d(4000, 4000, 1),
        lambda: torch.full((4000, 4000), 1.0),
        lambda: torch.arange(10**9),
        lambda: [torch.zeros(1) for _ in range(10**5)],
    ):
        with pytest.raises(WeightsError), no_larger_than(header):
            build()


def one_instrument(**changes: Any) -> str:
    known = {"name": "a", "family": "x", "lowest_midi": 1, "highest_midi": 2, "mean_midi": 1, "source": "", "licence": ""}
    return json.dumps([known | changes])


DEEP = "[" * 100_000 + "]" * 100_000
GARBLED: dict[str, dict[str, Any]] = {
    "settings are no JSON": {"settings": "{"},
    "settings are a list": {"settings": "[]"},
    "settings are deep": {"settings": DEEP},
    "settings are words": {"settings": '{"z_dim": "many"}'},
    "settings are endless": {"settings": '{"z_dim": 1e999}'},
    "a rate of a billion": {"settings": '{"sample_rate": 1000000000}'},
    "instruments are no JSON": {"instruments": "nobody"},
    "instruments are missing": {"instruments": None},
    "instruments are an object": {"instruments": "{}"},
    "instruments are numbers": {"instruments": "[1, 2, 3]"},
    "a name is a number": {"instruments": one_instrument(name=1)},
    "a range is a word": {"instruments": one_instrument(lowest_midi="low")},
    "a range is endless": {"instruments": one_instrument(highest_midi=1e999)},
    "a field too many": {"instruments": one_instrument(colour="red")},
}


@pytest.mark.parametrize("case", GARBLED)
def test_garbled_descriptions_are_told(tiny_weights: Path, tmp_path: Path, case: str) -> None:
    refused(rewrite(tiny_weights, tmp_path / "garbled.safetensors", **GARBLED[case]), "")


@pytest.mark.parametrize("notes", ["{", "[]", DEEP, "null", "7"])
def test_garbled_notes_are_told_to_who_reads_them(tiny_weights: Path, tmp_path: Path, notes: str) -> None:
    path = rewrite(tiny_weights, tmp_path / "garbled.safetensors", notes=notes)
    refused(path, "its notes", read_notes)
    assert load_model(path).names == load_model(tiny_weights).names  # who plays needs none


HEADERS = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "a header of 2^63 bytes": struct.pack("<Q", 1 << 63),
    "a header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"abcd",
    "a list": struct.pack("<Q", 2) + b"[]",
    "deep": struct.pack("<Q", len(DEEP)) + DEEP.encode(),
    "a tensor of a word": struct.pack("<Q", 24) + b'{"a":{"shape":["long"]}}',
    "numbers for text": struct.pack("<Q", 26) + b'{"__metadata__":{"a":[1]}}',
    "a hole": struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8000000]}}'[:59],
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_are_none(tmp_path: Path, case: str) -> None:
    path = tmp_path / "none.safetensors"
    path.write_bytes(HEADERS[case])
    refused(path, "not a readable weights file")
    refused(path, "not a readable classifier", Classifier.load)


def test_a_giant_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "giant.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 900_000_000))
        file.truncate(1_000_000_000)  # a hole
    tracemalloc.start()
    refused(path, "not a readable weights file")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_names_that_are_not_utf8(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.safetensors"
    shutil.copy(tiny_weights, path)
    assert load_model(path).names == load_model(tiny_weights).names


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "toy.safetensors"
    Classifier(toy_settings("cnn_1d"), ["flute", "violin"]).save(path)
    return path


def test_a_classifier_as_it_was_saved(classifier: Path) -> None:
    assert Classifier.load(classifier).classes == ("flute", "violin")


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "a giant width": {"options": {"width": 100_000}},
    "a giant depth": {"options": {"depth": 10_000_000}},
    "a giant window": {"window_seconds": 1e9},
    "giant filters": {"frontend": {"n_fft": 1 << 30}},
    "many bands": {"frontend": {"n_mels": 1 << 20}},
    "many frames": {"frontend": {"frame_rate": 1e9}},
    "a rate of nothing": {"frontend": {"frame_rate": 0}},
    "a word for a number": {"frontend": {"n_fft": "many"}},
    "fewer than no bands": {"frontend": {"n_mels": -3}},
    "a rate of a billion": {"sample_rate": 10**9},
    "a classifier that is none": {"classifier": "oracle"},
}


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_classifiers_that_lie(classifier: Path, tmp_path: Path, case: str) -> None:
    settings = read_header(classifier).json("settings", dict) | CLASSIFIERS[case]
    path = rewrite(classifier, tmp_path / "lies.safetensors", settings=json.dumps(settings))
    refused(path, "", Classifier.load)


@pytest.mark.parametrize("changes", [{"classes": "{"}, {"classes": "7"}, {"notes": "[]"}, {"settings": DEEP}, {"settings": None}])
def test_classifiers_that_are_garbled(classifier: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(rewrite(classifier, tmp_path / "garbled.safetensors", **changes), "", Classifier.load)
