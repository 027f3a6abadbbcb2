"""Fuzz corrections of a performance, as the page sends them. By hand: ``python tests/fuzz/edits.py --seconds 600``."""

from __future__ import annotations

import json
import random
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from harness import command_line
from mutations import damage

from demo.api import read
from demo.studio import Refusal
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.edits import Edit, apply_edits
from tonetransfer.errors import ControlsError
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.transfer import synthesize

NUMBERS = (0, 0.3, 0.7, 1.0, 2.5, 1e9, -1, -12, 12, 60, 69.5, 127, -40.0, 1e-320, 1e308, 10**400, True, float("nan"), float("inf"))
OTHERS: tuple[Any, ...] = (None, "", "1", "1e5", "many", [], {}, [[]], [[1, 2, 3]], {"a": 1}, "\x1b[31m\n", "\ud800", "9" * 5000)
KEYS = ("start_s", "end_s", "semitones", "db", "fix_octave", "pitch", "loudness", "", "from_dict", "__class__", "a\nb")


def mutate(chance: random.Random) -> bytes:
    """A list of corrections, most often of strange ones, and sometimes damaged."""
    edits: Any = [_edit(chance) for _ in range(chance.choice((0, 1, 1, 3, 30)))]
    if chance.random() < 0.1:
        edits = chance.choice((edits[:1] * 500, {"edits": edits}, *OTHERS))
    content = json.dumps(edits).encode()
    if chance.random() < 0.03:
        content = chance.choice((b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"a":' * 5000, b"\xff\xfe", b"1" * 5000, b""))
    return damage(content, chance) if chance.random() < 0.2 else content


def _edit(chance: random.Random) -> dict[str, Any]:
    start_s = chance.uniform(0.0, 1.3)
    edit: dict[str, Any] = {"start_s": start_s, "end_s": start_s + chance.choice((0.005, 0.3, 2.0))}
    for name, low, high in (("semitones", -96.0, 96.0), ("db", -120.0, 60.0)):
        if chance.random() < 0.4:
            edit[name] = chance.uniform(low, high)
    for name, low, high in (("pitch", 12.0, 127.0), ("loudness", -100.0, 6.0)):
        if chance.random() < 0.4:
            edit[name] = [[chance.uniform(-1.0, 3.0), chance.uniform(low, high)] for _ in range(chance.choice((0, 1, 2, 2, 300)))]
    edit["fix_octave"] = chance.random() < 0.3
    while chance.random() < 0.3:
        edit[chance.choice(KEYS)] = chance.choice(NUMBERS if chance.random() < 0.6 else OTHERS)
    return edit


@lru_cache(maxsize=1)
def _performance() -> tuple[TimbreModel, Controls]:
    from conftest import make_controls, make_model

    return make_model(), make_controls([69, 72], [-20.0, -30.0])


def attempt(data: bytes, folder: Path) -> str:
    """Correct controls and play them, as the page does."""
    del folder
    model, controls = _performance()
    try:
        edits = [Edit.from_dict(one) for one in read(edits=data.decode("utf-8", "surrogateescape"))[2]]
        corrected = apply_edits(controls, edits)
    except (ControlsError, Refusal) as error:
        assert "\n" not in str(error) and len(str(error)) < 500, str(error)
        return "refused"
    assert corrected.n_frames == controls.n_frames and bool((corrected.f0_hz > 0.0).all())
    audio = synthesize(corrected, model, model.timbre("violin"))
    assert bool(torch.isfinite(audio).all()) and len(audio) == corrected.n_samples
    return "played"


if __name__ == "__main__":
    sys.exit(command_line("edits", mutate, attempt))
