"""Fuzz `tonetransfer synthesize`: damaged and strange controls. By hand: ``python tests/fuzz/npz.py --seconds 600``."""

from __future__ import annotations

import contextlib
import io
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from commands import tiny_weights, try_command
from harness import command_line
from mutations import damage

NUMBERS = (0, 1, -1, 2**31, -(2**63), 2**63, 0.5, 1e-30, 1e30, 1e300, np.nan, np.inf, -np.inf, 440.0, 47999)
KINDS = ("<f4", "<f8", ">f4", "<f2", "<i4", "<u8", "<c8", "?", "<U3", "S3", "<M8[s]")
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (2,), (120,), (1, 120), (120, 1), (2, 3, 4), (1 << 40,))


def mutate(chance: random.Random) -> bytes:
    """Controls, most often changed, and often damaged."""
    n = chance.choice((1, 3, 120, 120, 120))
    entries: dict[str, Any] = {
        "f0_hz": np.full(n, 220.0, np.float32),
        "periodicity": np.full(n, 0.98, np.float32),
        "loudness_db": np.full(n, -20.0, np.float32),
        "sample_rate": 48000,
        "hop_length": 480,
        "format": "tonetransfer-controls",
        "format_version": 1,
        "loudness_version": 1,
    }
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        _change(entries, chance)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, value in entries.items():
            archive.writestr(f"{name}.npy", value if isinstance(value, bytes) else _npy(value, chance))
    content = file.getvalue()
    return damage(content, chance) if chance.random() < 0.3 else content


def _change(entries: dict[str, Any], chance: random.Random) -> None:
    name, kind = chance.choice(tuple(entries)), chance.randrange(7)
    if kind == 0:
        del entries[name]
    elif kind == 1:
        entries[name] = chance.choice(NUMBERS)
    elif kind == 2 and np.ndim(entries[name]):
        entries[name] = np.array(entries[name], dtype=np.float64)
        entries[name][chance.randrange(len(entries[name]))] = chance.choice(NUMBERS)
    elif kind == 3:
        shape = chance.choice(SHAPES)
        entries[name] = np.full(shape if np.prod(shape, dtype=float) < 1e6 else (7,), 100.0)
    elif kind == 4:
        entries[chance.choice(("foreign", "f0_hz2", "../f0_hz"))] = np.zeros(chance.choice((1, 100_000)))
    elif kind == 5:
        header = {"descr": chance.choice(KINDS), "fortran_order": chance.choice((True, False)), "shape": chance.choice(SHAPES)}
        entries[name] = b"\x93NUMPY\x01\x00" + len(text := f"{header}\n".encode()).to_bytes(2, "little") + text + bytes(500)
    else:
        entries[name] = chance.randbytes(chance.choice((0, 7, 200)))


def _npy(value: Any, chance: random.Random) -> bytes:
    file, array = io.BytesIO(), np.asarray(value)
    if chance.random() < 0.1:
        with contextlib.suppress(ValueError, TypeError, OverflowError), np.errstate(all="ignore"):
            array = array.astype(chance.choice(KINDS))
    np.save(file, array)
    content = file.getvalue()
    return damage(content, chance) if chance.random() < 0.1 else content


def attempt(data: bytes, folder: Path) -> str:
    """Play them."""
    path = folder / "a.npz"
    path.write_bytes(data)
    return try_command(folder, "synthesize", path, folder / "a.wav", "--to", "violin", "--weights", tiny_weights(), makes=("a.wav",))


if __name__ == "__main__":
    sys.exit(command_line("npz", mutate, attempt))
