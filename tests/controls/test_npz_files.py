"""Saved controls from anywhere: damaged, lying or giant archives are told in one line, and what is not wanted is not read."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import check_refused
from conftest import make_controls

from tonetransfer.cli.main import main
from tonetransfer.controls.controls import Controls
from tonetransfer.errors import ControlsError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    make_controls([60, 64], [-20.0, -25.0]).save(tmp_path / "good.npz")
    return tmp_path / "good.npz"


def edited(saved: Path, **changes: Any) -> Path:
    with np.load(saved) as stored:
        content = {**stored, **changes}
    path = saved.with_name("edited.npz")
    np.savez(path, **content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ControlsError) as caught:
        Controls.load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 400
    return message


def test_flipped_bits_are_told(saved: Path) -> None:
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        try:
            Controls.load(saved)
        except ControlsError:
            n_refused += 1
    assert n_refused > 100  # the rest is in fields that nobody reads


def test_cut_archives_are_told(saved: Path) -> None:
    content = saved.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        saved.write_bytes(content[: int(share * len(content))])
        refused(saved)


def test_a_giant_foreign_entry_is_not_read(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("giant.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (50_000_000,)})
        for _ in range(50):
            file.write(bytes(4_000_000))
    tracemalloc.start()
    assert Controls.load(saved).n_frames == 140
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_giant_wanted_entry_is_refused_before_it_is_read(saved: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    path = saved.with_name("giant.npz")
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, header.getvalue() if name == "f0_hz.npy" else source.read(name))
    assert "at most" in refused(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"f0_hz": np.array(["a"] * 140)},
        {"f0_hz": np.array([None] * 140, dtype=object)},
        {"f0_hz": np.zeros((140,), dtype=[("a", "f4")])},
        {"sample_rate": np.zeros(0)},
        {"sample_rate": np.zeros(5)},
        {"sample_rate": 10**12},
        {"sample_rate": -1},
        {"hop_length": 10**15},
        {"hop_length": np.nan},
        {"format_version": np.zeros(0)},
        {"format": np.zeros(0)},
        {"loudness_version": "one"},
        {"f0_hz": np.zeros(0), "periodicity": np.zeros(0), "loudness_db": np.zeros(0)},
    ],
)
def test_entries_of_other_kinds_are_told(saved: Path, changes: dict[str, Any]) -> None:
    refused(edited(saved, **changes))


def test_two_dimensions_are_told(saved: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    controls = Controls(*(torch.full((2, 50), value) for value in (220.0, 1.0, -20.0)))
    controls.save(tmp_path / "two.npz")
    assert Controls.load(tmp_path / "two.npz").f0_hz.shape == (2, 50)
    code = main(["synthesize", str(tmp_path / "two.npz"), str(tmp_path / "out.wav"), "--to", str(tiny_weights)])
    out, err = capsys.readouterr()
    check_refused((code, out, err), "two.npz", "(2, 50)")
    assert not (tmp_path / "out.wav").exists()
