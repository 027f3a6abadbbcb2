"""YAML that does not parse, or parses to something else, is told in one line with file and line; so are overrides."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tonetransfer.data.corpus_config import load_config
from tonetransfer.errors import SettingsError
from tonetransfer.models.settings import read_mapping
from tonetransfer.training.settings import read_settings

BOMB = "\n".join(["a: &a [x, x]", *(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]" for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True))])
BAD = {  # text, line, what is said
    "a number without digits": ("kind: solo\nname: 0x_\n", 2, "put text in quotes"),
    "a day that is none": ("kind: solo\nname: x\nfamily: 2024-02-31\n", 3, "put text in quotes"),
    "a tag of another kind": ("kind: solo\nname: !!int x\n", 0, ""),
    "objects": ("kind: solo\nname: !!python/object/apply:os.system [ls]\n", 2, "not YAML"),
    "brackets in brackets": ("kind: solo\nname: " + "[" * 1000, 2, "20 levels"),
    "indents in indents": ("\n".join(" " * n + "a:" for n in range(500)), 21, "20 levels"),
    "a bomb": (BOMB, 2, "stands within"),
    "a circle": ("kind: solo\nname: &a [*a]\n", 2, "stands within"),
    "many aliases": ("a: &a 1\n" + "b: [" + "*a, " * 200 + "]", 2, "aliases"),
    "a key twice removed": ("kind: solo\n? [a, b]\n: c\n", 0, "not YAML"),
    "an open bracket": ("kind: solo\ntrain: [", 2, "not YAML"),
    "a tab": ("kind: solo\ntrain:\n\tsteps: 3\n", 3, "not YAML"),
    "a date for a word": ("kind: solo\nfamily: 2024-01-01\n", 2, "in quotes"),
    "a word for a number": ("kind: solo\ntrain:\n  steps: many\n", 3, "'many'"),
    "an endless number": ("kind: solo\ntrain:\n  learning_rate: .inf\n", 3, "finite"),
    "a misspelt name": ("kind: solo\ntrain:\n  stepz: 3\n", 3, "did you mean steps?"),
    "yes for a number": ("kind: solo\ntrain:\n  steps: yes\n", 3, "a number is wanted"),
    "a key that stands twice": ("kind: solo\ntrain:\n  steps: 3\ntrain:\n  warmup_steps: 2\n", 4, "train stands twice"),
    "a long number": ("kind: solo\ntrain:\n  steps: " + "9" * 5000, 3, ""),
}


def one_line(error: pytest.ExceptionInfo[SettingsError]) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("case", BAD)
def test_a_line_names_file_and_line(tmp_path: Path, case: str) -> None:
    text, line, says = BAD[case]
    path = tmp_path / "my.yaml"
    path.write_text(text)
    begin = time.process_time()
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert time.process_time() - begin < 1.0
    message = one_line(caught)
    assert str(path) in message and says in message
    assert not line or f"line {line}:" in message


@pytest.mark.parametrize("text", ["a: " + "[" * 1000, "a: 0x_", "timbres: 2024-13-13\nsoundfont: 3"])
def test_corpora_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "corpus.yaml").write_text(text)
    with pytest.raises(SettingsError, match="corpus.yaml.*line 1"):
        load_config(tmp_path / "corpus.yaml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_say_so(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "my.yaml").write_text("family: Flöte\n", encoding=encoding)
    assert read_mapping(tmp_path / "my.yaml") == {"family": "Flöte"}


def test_encodings_that_do_not(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("kind: solo\nfamily: Flöte\n", encoding="latin-1")
    with pytest.raises(SettingsError) as caught:
        read_settings(tmp_path / "my.yaml")
    assert "line 2" in one_line(caught) and "UTF-8" in one_line(caught)


@pytest.mark.parametrize(
    "override", ["train.steps=[", "name=0x_", "name=2024-02-31", "train.steps={", "name=&a [*a]", "train.steps=\x00", "name=\ud800"]
)
def test_overrides_are_told_as_they_came(tmp_path: Path, override: str) -> None:
    (tmp_path / "my.yaml").write_text("kind: solo\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(tmp_path / "my.yaml", [override])
    assert one_line(caught).startswith(f"--set {override}")


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"a: 1\n" * 300_000)
    for name, says in {"large.yaml": "megabyte", "none.yaml": "does not exist", ".": "no file"}.items():
        with pytest.raises(SettingsError, match=says):
            read_settings(tmp_path / name)


def test_aliases_that_stand_for_little_are_read(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("one: &one {a: 1}\ntwo: *one\nthree:\n  <<: *one\n  b: 2\n")
    assert read_mapping(tmp_path / "my.yaml")["three"] == {"a": 1, "b": 2}
