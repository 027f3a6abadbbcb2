"""What a page in the browser has to make of a performance, as a table that JavaScript is tested with.

``python tests/export/web_table.py`` writes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tonetransfer.audio.files import load_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.controls.causal import STARTING
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.dynamics import loudness_quantiles
from tonetransfer.controls.profile import Target
from tonetransfer.export.web import CONFIDENCE, PERIODICITY
from tonetransfer.pipeline.transfer import arrange
from tonetransfer.pitch.estimators import SWIFT_FRAME_S, at_frames
from tonetransfer.pitch.tracking import fill_unvoiced
from tonetransfer.synthesis.damping import DEPTH_DB, GENTLE_DB_PER_S, SWELL_DB, DecayClock, free_decay

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "web" / "test" / "table.json"
FLUTE_S = 6
VIOLIN = Target(torch.zeros(1), torch.linspace(-42.0, -14.0, 13), 76.0, 55.0, 100.0, 200.0)
TUBA = Target(torch.zeros(1), torch.linspace(-36.0, -10.0, 13), 42.0, 28.0, 58.0, 800.0)
DIGITS = 4
SILENT_BELOW_DB = -60.0  # re the loud notes: where a source is so quiet there is no room tone


def phrase(
    midi: list[float],
    levels_db: list[float],
    *,
    note: int = 45,
    rest: int = 12,
    rest_db: float = -75.0,
    fall: float = 6.0,
    doubt: float = 0.1,
) -> Controls:
    """Notes with vibrato and swells, `note` frames long; between them the level falls by `fall` dB a frame, and periodicity to `doubt`."""
    f0, periodicity, level = [], [], []
    for number, loud in zip(midi, levels_db, strict=True):
        t = np.arange(note + rest)
        played = t < note
        swell = loud + 3.0 * np.sin(np.pi * t / note) - np.where(t < 4, 8.0 * (4 - t), 0.0)
        ending = loud - fall * (t - note + 1)
        f0 += list(440.0 * 2.0 ** ((number - 69.0 + 0.2 * played * np.sin(t / 3.0)) / 12.0))
        periodicity += list(np.where(played, 0.97 - 0.002 * (t % 7), np.maximum(doubt, 0.5 - 0.2 * (t - note))))
        level += list(np.where(played, swell, np.maximum(ending, rest_db)))
    return Controls(*(torch.tensor([round(float(x), DIGITS) for x in row]) for row in (f0, periodicity, level)), FrameGrid())


def performances() -> Iterator[tuple[str, Controls, Target, dict[str, Any]]]:
    """Name, controls, instrument and settings of each case."""
    melody, even = [64.0, 67.0, 71.0, 62.0, 69.0], [-22.0, -20.0, -24.0, -21.0, -23.0]
    yield "in range", phrase(melody, even), VIOLIN, {}
    yield "out of range", phrase(melody, even), TUBA, {}
    yield "half out of range", phrase([50.0, 58.0, 62.0, 51.0, 53.0], even), VIOLIN, {}
    yield "transposed", phrase(melody, even), VIOLIN, {"transpose": -5.0}
    yield "played softly", phrase(melody, even), VIOLIN, {"dynamic": "pp"}
    yield "played hard", phrase(melody, even), VIOLIN, {"dynamic": "ff"}
    yield "so many decibels", phrase(melody, even), VIOLIN, {"dynamic": -7.5}
    yield "swells", phrase(melody, [-40.0, -30.0, -12.0, -28.0, -45.0]), VIOLIN, {}
    yield "dry, cut off", phrase(melody, even, rest_db=-120.0, fall=30.0), VIOLIN, {}
    yield "dry, dying away", phrase(melody, even, note=35, rest=25, rest_db=-120.0), VIOLIN, {}
    yield "cut off in a room", phrase(melody, even, rest_db=-62.0, fall=14.0), VIOLIN, {}
    yield "rung on", phrase(melody, even, rest_db=-48.0, fall=1.5, doubt=0.45), VIOLIN, {}
    yield "silence", Controls(torch.full((120,), 220.0), torch.zeros(120), torch.full((120,), -120.0)), VIOLIN, {}
    yield "hiss", Controls(torch.full((120,), 220.0), torch.full((120,), 0.2), torch.full((120,), -50.0)), VIOLIN, {}


def case(name: str, heard: Controls, target: Target, settings: dict[str, Any]) -> dict[str, Any]:
    asked = arrange(heard, target, **settings)
    assert target.quantiles is not None
    loudest_db = float(loudness_quantiles(heard.loudness_db, asked.notes)[-1])
    return {
        "name": name,
        **rows(f0_hz=heard.f0_hz, periodicity=heard.periodicity, loudness_db=heard.loudness_db),
        "lowest_midi": target.lowest_midi,
        "highest_midi": target.highest_midi,
        "loudness_quantiles_db": numbers(target.quantiles),
        "release_db_per_s": target.release_db_per_s,
        "silent_below_db": SILENT_BELOW_DB,
        "transpose": settings.get("transpose", "auto"),
        "dynamic": settings.get("dynamic"),
        "expected": {
            "notes": asked.notes.int().tolist(),
            "silent": (heard.loudness_db < loudest_db + SILENT_BELOW_DB).int().tolist(),
            "semitones": asked.transposed,
            **rows(f0_hz=asked.asked.f0_hz, loudness_db=asked.asked.loudness_db),
            "gain_db": round(asked.gain_db, DIGITS),
        },
    }


def reading(seed: int) -> dict[str, Any]:
    """Values of the pitch network as it gives them, with a leap, a gap and doubt, and controls made of them."""
    rng, n = np.random.default_rng(seed), 120
    midi = np.repeat([60.0, 67.0, 67.5, 55.0], n // 4) + 0.1 * rng.standard_normal(n)
    sure = np.clip(np.repeat([0.95, 0.9, 0.3, 0.99], n // 4) + 0.05 * rng.standard_normal(n), 0.0, 1.0)
    sure[26:34] = rng.uniform(0.0, 0.15, 8)
    pitch_hz, sure = (np.round(x, DIGITS) for x in (440.0 * 2.0 ** ((midi - 69.0) / 12.0), sure))
    n_frames = round(n * SWIFT_FRAME_S * 100.0)
    loudness = np.round(-20.0 + 6.0 * np.sin(np.arange(n_frames) / 15.0), DIGITS)
    f0_hz, confidence = at_frames(pitch_hz, sure, n_frames)
    heard = Controls(f0_hz, np.interp(confidence, CONFIDENCE, PERIODICITY), loudness)
    voiced = heard.note_frames().numpy()
    return {
        **rows(pitch_hz=pitch_hz, confidence=sure, loudness_db=loudness),
        "n_frames": n_frames,
        "expected": rows(f0_hz=fill_unvoiced(f0_hz, voiced, loudness), periodicity=heard.periodicity),
    }


def decay(asked_db: torch.Tensor) -> dict[str, Any]:
    """Loudness, and how long ago a note began to die away: as it is known afterwards, and as it comes."""
    grid = FrameGrid()
    level = torch.tensor(numbers(asked_db), dtype=torch.float64)
    clock = DecayClock(grid.frame_rate)
    return {
        **rows(loudness_db=level),
        "expected": rows(known_s=free_decay(level, grid.frame_rate), live_s=[clock.next(one) for one in level.tolist()]),
    }


def decays() -> list[dict[str, Any]]:
    """Of a real flute, and of notes that an instrument lets ring."""
    audio, sample_rate = load_audio(ROOT / "examples" / "flute.flac")
    _, heard, target, settings = next(one for one in performances() if one[0] == "dry, dying away")
    return [decay(loudness_db(audio[: FLUTE_S * sample_rate], FrameGrid())), decay(arrange(heard, target, **settings).asked.loudness_db)]


def rows(**tracks: Any) -> dict[str, list[float]]:
    return {name: numbers(values) for name, values in tracks.items()}


def numbers(values: Any) -> list[float]:
    return [round(float(x), DIGITS) for x in values]


def table() -> dict[str, Any]:
    return {
        "cases": [case(*one) for one in performances()],
        "readings": [reading(seed) for seed in range(2)],
        "starting": STARTING,
        "decays": decays(),
        "decay": {"gentle_db_per_s": GENTLE_DB_PER_S, "depth_db": DEPTH_DB, "swell_db": SWELL_DB},
    }


if __name__ == "__main__":
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(json.dumps(table(), separators=(",", ":")) + "\n", encoding="utf-8")
    sys.stdout.write(f"{TABLE} ({TABLE.stat().st_size / 1e3:.0f} kB)\n")
