"""Fuzz instruments and classifiers as files: damaged, garbled and lying. By hand: ``python tests/fuzz/weights.py --seconds 600``."""

from __future__ import annotations

import json
import random
import struct
import sys
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from commands import tiny_weights, try_command
from harness import command_line
from mutations import damage

NUMBERS = (0, -1, 1, 2, 3, 7, 8, 17, 1000, 8000, 10**6, 10**9, 10**18, 10**400, 0.5, 1e300, True)
OTHERS: tuple[Any, ...] = (None, "", "many", [], {}, [[]], {"a": 1}, "\x1b[31m", "\ud800", "a" * 5000)
DEEP = "[" * 20_000 + "]" * 20_000


@lru_cache(maxsize=1)
def _voice() -> Path:
    from conftest import SAMPLE_RATE, melody

    from tonetransfer.audio.files import save_audio

    path = Path(gettempdir()) / "fuzz-voice.wav"
    save_audio(path, melody([69, 72], seconds=0.3), SAMPLE_RATE, overwrite=True)
    return path


@lru_cache(maxsize=8)
def classifier(name: str) -> bytes:
    """A small classifier that has learned nothing, or three timbres."""
    import numpy as np
    from classify_toys import TIMBRES, synthetic, toy_settings

    from tonetransfer.classification.classifier import Classifier
    from tonetransfer.classification.windows import Windows

    made = Classifier(toy_settings(name), ["flute", "violin"])
    if name in ("forest", "svm"):
        audio = np.stack([synthetic(timbre, 0.5, seed) for timbre in TIMBRES for seed in range(6)])
        made.fit_windows(*[Windows(audio, np.repeat(np.eye(3, dtype=np.float32), 6, 0), np.arange(18), ())] * 2, TIMBRES)
    path = Path(gettempdir()) / f"fuzz-{name}.safetensors"
    made.save(path, overwrite=True)
    return path.read_bytes()


def mutate(chance: random.Random) -> bytes:
    """An instrument's file or a classifier's, most often changed or damaged."""
    kinds = ("", "", "", "cnn_1d", "forest", "svm", "sample_cnn")
    name = chance.choice(kinds)
    content = classifier(name) if name else tiny_weights().read_bytes()
    if chance.random() < 0.85:
        content = _reworded(content, chance)
    return damage(content, chance) if chance.random() < 0.3 else content


def _reworded(content: bytes, chance: random.Random) -> bytes:
    """The same tensors with another header."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.25:
            _change_tensor(header, chance)
        else:
            text = header["__metadata__"]
            text[key] = _other(text[key := chance.choice(tuple(text))], chance)
    try:
        written = json.dumps(header).encode()
    except ValueError:
        written = b"{}"
    return struct.pack("<Q", len(written) + chance.choice((0, 0, 0, 0, 1, 10**9))) + written + content[8 + length :]


def _change_tensor(header: dict[str, Any], chance: random.Random) -> None:
    name = chance.choice([name for name in header if name != "__metadata__"])
    part = chance.choice(("shape", "dtype", "data_offsets", ""))
    if not part:
        del header[name]
    elif part == "dtype":
        header[name][part] = chance.choice(("F16", "BF16", "F64", "I32", "U8", "F8_E4M3", "??", 7, "BOOL"))
    else:
        header[name][part] = chance.choice(([0], [8000, 8000], [-1, 2], [1], "x", None, header[name][part][::-1], [10**30]))


def _other(text: str, chance: random.Random) -> Any:
    """Another text, changed as a whole or somewhere inside."""
    text = str(text)  # an earlier change may have left a number
    if chance.random() < 0.15:
        return chance.choice((DEEP, "", "{", "[]", "{}", "null", "7", '"a"', "NaN", 7, None, text[: len(text) // 2]))
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):  # of an earlier change
        return chance.choice(("1", "2", "999", "x"))
    holder: Any = [value]
    key: Any = 0
    while isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.9:
        holder = holder[key]
        key = chance.choice(tuple(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    kind = chance.randrange(4)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[chance.choice(("width", "depth", "n_fft", "n_mels", "frame_rate", "weights", "new"))] = chance.choice(NUMBERS)
    else:
        holder[key] = chance.choice(NUMBERS if kind < 3 else OTHERS)
    return json.dumps(value if holder is not value else holder)


def attempt(data: bytes, folder: Path) -> str:
    """Play it, list it, or let it hear."""
    path = folder / "a.safetensors"
    path.write_bytes(data)
    if b"classifier_format" in data[:100_000]:
        return try_command(folder, "classify", _voice(), "--weights", path, "--json")
    listed = try_command(folder, "instruments", "--weights", path)
    if listed == "done":
        try_command(folder, "export", folder / "a.wav", "--format", "ir", "--weights", path)
        words = ("transfer", _voice(), folder / "a.wav", "--to", path)
        return f"played: {try_command(folder, *words, makes=('a.wav',))}"
    return listed


if __name__ == "__main__":
    sys.exit(command_line("weights", mutate, attempt))
