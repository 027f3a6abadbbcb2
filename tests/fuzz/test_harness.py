"""The fuzzers' harness finds what it is there for; this module is light, because each process that tries inputs imports it anew."""

from __future__ import annotations

import random
import time
from pathlib import Path

import harness
import pytest


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


def test_faults_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(harness, "CPU_S", 1.0)
    report = harness.run("letters", letters, fails, count=3, seed=9, keep=tmp_path)
    made = [harness.make(letters, 9, number) for number in range(3)]
    assert {number for number, _ in report.faults} == {i for i, one in enumerate(made) if one != b"c"} and b"a" in made and b"b" in made
    assert all(("a came" in what) == (made[number] == b"a") for number, what in report.faults) and "2 s of processor" in str(report)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {f"letters-9-{n}": made[n] for n, _ in report.faults}
