"""What `doctor` says of folders in which the truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLE_RATE, melody, tone

from tonetransfer.cli.main import main
from tonetransfer.data.advice import LIMITED, NOT_YET, READY, advise
from tonetransfer.data.doctor import examine_folder, report_lines

SCALE = [48.0, 50.0, 52.0, 53.0, 55.0, 57.0, 59.0, 60.0]


def write(path: Path, audio: torch.Tensor, sample_rate: int = SAMPLE_RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.numpy(), sample_rate, subtype="PCM_24")


def hiss(audio: torch.Tensor, rms: float) -> torch.Tensor:
    return audio + rms * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two scales, 20 cents sharp, one 12 dB softer than the other and with a chord, text and a copy beside them."""
    folder = tmp_path_factory.mktemp("sax")
    sharp = [midi + 0.2 for midi in SCALE]
    loud, soft = (melody(sharp, seconds=0.6, rest=0.3, level=level) for level in (0.4, 0.1))
    write(folder / "loud.wav", hiss(loud, 1e-4))
    write(folder / "soft" / "soft.wav", hiss(soft, 1e-4))
    write(folder / "copy.wav", hiss(loud, 1e-4))
    write(folder / "chord.wav", torch.stack([tone(220.0 * 2.0 ** (i / 12.0), 1.5, level=0.1) for i in (0, 4, 7)]).sum(0))
    (folder / "notes.txt").write_text("take 3")
    return examine_folder(folder)


def test_what_is_played(found: dict[str, Any]) -> None:
    assert found["files"] == 2 and found["notes"] == 16
    assert (found["lowest_note"], found["highest_note"]) == ("C3", "C4")
    assert found["note_minutes"] * 60.0 == pytest.approx(2 * 8 * 0.6, rel=0.15)
    assert found["tuning_offset_cents"] == pytest.approx(20.0, abs=2.0)
    assert 9.0 < found["loudness_range_db"] < 18.0  # 12 dB, and what the scale's own loudness adds
    assert sum(found["register_seconds"].values()) == pytest.approx(60.0 * found["note_minutes"], rel=0.02)
    assert set(found["register_seconds"]) >= {48, 50, 52, 53, 55, 57, 59, 60}


def test_how_it_was_recorded(found: dict[str, Any]) -> None:
    assert found["sample_rates_hz"] == {48000: 2} and found["channel_counts"] == {1: 2}
    assert found["noise_floor_db"] == pytest.approx(-80.0, abs=4.0)  # white noise of that level; the A curve takes little of it
    assert found["signal_to_noise_db"] == pytest.approx(found["note_loudness_db"] - found["noise_floor_db"])
    assert found["hum_hz"] == 0.0 and found["clipped_runs"] == 0
    assert found["reverberation_s"] is not None and found["reverberation_s"] < 0.25
    assert found["bandwidth_hz"] == 24000.0


def test_what_is_left_out(found: dict[str, Any]) -> None:
    assert {one["name"]: one["kind"] for one in found["skipped"]} == {
        "loud.wav": "duplicate",
        "chord.wav": "polyphonic",
        "notes.txt": "not_sound",
    }
    assert found["skipped_by_kind"] == {"duplicate": 1, "not_sound": 1, "polyphonic": 1}
    assert [one["name"] for one in found["recordings"]] == ["copy.wav", "soft/soft.wav"]


def test_little_material_is_said_first(found: dict[str, Any]) -> None:
    assert found["verdict"] != READY and found["findings"][0]["about"] == "minutes"
    lines = report_lines(found)
    assert lines[0].endswith(found["verdict"]) and any("C3 to C4" in line for line in lines)
    assert any("chord.wav: several notes" in line for line in lines)
    json.dumps(found, allow_nan=False)


GOOD: dict[str, Any] = {
    "files": 12,
    "unsuitable_files": 0,
    "skipped_by_kind": {},
    "note_minutes": 8.0,
    "clipped_share": 0.0,
    "clipped_files": 0,
    "noise_floor_db": -75.0,
    "noise_floor_known": True,
    "signal_to_noise_db": 50.0,
    "note_loudness_db": -25.0,
    "hum_hz": 0.0,
    "hum_db": -120.0,
    "hum_files": 0,
    "reverberation_s": 0.25,
    "bandwidth_hz": 22000.0,
    "disagreeing_files": 0,
    "dead_channel_files": 0,
    "lowest_note_midi": 50,
    "highest_note_midi": 80,
    "lowest_note": "D3",
    "highest_note": "A♭5",
    "widest_gap_semitones": 1,
    "gap_above_note": "D3",
    "loudness_range_db": 18.0,
    "tuning_offset_cents": 4.0,
}


def test_good_material_is_ready() -> None:
    assert advise(GOOD) == {"verdict": READY, "findings": []}


@pytest.mark.parametrize(
    ("change", "about", "verdict"),
    [
        ({"note_minutes": 0.1}, "minutes", NOT_YET),
        ({"note_minutes": 0.7}, "minutes", LIMITED),
        ({"note_minutes": 2.0}, "minutes", READY),
        ({"clipped_share": 0.01, "clipped_files": 3}, "clipping", LIMITED),
        ({"signal_to_noise_db": 30.0}, "noise", LIMITED),
        ({"signal_to_noise_db": 15.0}, "noise", NOT_YET),
        ({"signal_to_noise_db": 15.0, "noise_floor_known": False}, "noise", READY),
        ({"hum_hz": 50.0, "hum_db": -60.0, "hum_files": 2}, "hum", LIMITED),
        ({"reverberation_s": 0.9}, "reverberation", LIMITED),
        ({"bandwidth_hz": 7700.0}, "bandwidth", LIMITED),
        ({"disagreeing_files": 1}, "channels", LIMITED),
        ({"dead_channel_files": 1}, "channels", READY),
        ({"note_loudness_db": -60.0}, "level", READY),
        ({"highest_note_midi": 54}, "register", LIMITED),
        ({"widest_gap_semitones": 14}, "register", LIMITED),
        ({"loudness_range_db": 4.0}, "loudness", LIMITED),
        ({"tuning_offset_cents": -40.0}, "tuning", READY),
        ({"unsuitable_files": 8, "skipped_by_kind": {"speech": 8}}, "files", LIMITED),
        ({"skipped_by_kind": {"unreadable": 2}}, "files", READY),
        ({"hum_hz": 50.0, "hum_db": -95.0, "hum_files": 2}, None, READY),
    ],
    ids=str,
)
def test_each_fault_alone(change: dict[str, Any], about: str | None, verdict: str) -> None:
    said = advise(GOOD | change)
    assert [one["about"] for one in said["findings"]] == ([about] if about else []) and said["verdict"] == verdict


def test_faults_are_heard_in_files(tmp_path: Path) -> None:
    """Clipping, hum, two microphones, a dead channel, and a top that is missing, each in a file of its own."""
    tune = melody([55, 60, 64], seconds=0.5, rest=0.3)
    t = torch.arange(len(tune)) / SAMPLE_RATE
    write(tmp_path / "clipped.wav", (6.0 * tune).clamp(-1.0, 1.0))
    write(tmp_path / "hum.wav", hiss(tune + 0.01 * torch.sin(2 * torch.pi * 50 * t) + 0.005 * torch.sin(2 * torch.pi * 150 * t), 1e-5))
    write(tmp_path / "microphones.wav", torch.stack([hiss(tune, 1e-4), torch.roll(tune, 61)], dim=1))
    write(tmp_path / "dead.wav", torch.stack([torch.zeros_like(tune), tune], dim=1))
    write(tmp_path / "telephone.wav", hiss(tune, 1e-3)[::6].clone(), 8000)
    found = {one["name"]: one for one in examine_folder(tmp_path)["recordings"]}
    assert found["clipped.wav"]["clipped_runs"] > 100 and found["hum.wav"]["clipped_runs"] == 0
    assert found["hum.wav"]["hum_hz"] == 50.0 and found["hum.wav"]["hum_db"] == pytest.approx(-39.0, abs=1.0)
    assert found["microphones.wav"]["disagreeing_channels"] and not found["dead.wav"]["disagreeing_channels"]
    assert found["dead.wav"]["dead_channel"] and found["telephone.wav"]["bandwidth_hz"] <= 4000.0


def test_command_line_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in" / "a.wav", melody([60, 64, 67]))
    picture = tmp_path / "doctor.png"
    assert main(["doctor", str(tmp_path / "in"), "--json", "--plot", str(picture), "--workers", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == NOT_YET and said["plot"] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["doctor", str(tmp_path / "in"), "--plot", str(picture)]) == 1  # it exists
    (tmp_path / "none").mkdir()
    capsys.readouterr()
    assert main(["doctor", str(tmp_path / "none")]) == 1
    assert "is empty" in capsys.readouterr().err
    write(tmp_path / "quiet" / "q.wav", torch.zeros(48000))
    assert main(["doctor", str(tmp_path / "quiet"), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "not yet" in out and "q.wav: silent" in out
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == 1
    assert np.isfinite(said["noise_floor_db"])
