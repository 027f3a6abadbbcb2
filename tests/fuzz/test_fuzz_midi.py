"""MIDI files of any kind are played or refused in words."""

from __future__ import annotations

import random
import time
from pathlib import Path

import harness
import midi
import pytest


@pytest.mark.slow
def test_midi_files_of_any_kind_are_played_or_refused() -> None:
    report = harness.run("midi", midi.mutate, midi.attempt, count=40)
    assert not report.faults, str(report)
    assert report.outcomes["played"] > 10 and report.outcomes["refused"] > 2, str(report)


def test_inputs_are_the_same_for_the_same_seed() -> None:
    assert harness.make(midi.mutate, 3, 7) == harness.make(midi.mutate, 3, 7) != harness.make(midi.mutate, 4, 7)


def letters(chance: random.Random) -> bytes:
    """One of three letters."""
    return chance.choice((b"a", b"b", b"c"))


def fails(data: bytes, folder: Path) -> str:
    """Fail in several ways, but not the first time."""
    marker = folder.parent / "began"
    if not marker.exists():
        marker.touch()
        return "fine"
    if data == b"a":
        raise ValueError("a came")
    if data == b"b":
        begin = time.process_time()
        while time.process_time() - begin < 1.5:
            pass
    assert not list(folder.iterdir())
    folder.joinpath("left").touch()
    return "fine"


@pytest.mark.slow
def test_faults_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(harness, "CPU_S", 1.0)
    report = harness.run("letters", letters, fails, count=3, seed=9, keep=tmp_path)
    made = [harness.make(letters, 9, number) for number in range(3)]
    assert {number for number, _ in report.faults} == {i for i, one in enumerate(made) if one != b"c"} and b"a" in made and b"b" in made
    assert all(("a came" in what) == (made[number] == b"a") for number, what in report.faults) and "2 s of processor" in str(report)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {f"letters-9-{n}": made[n] for n, _ in report.faults}
