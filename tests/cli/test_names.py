"""Names that are no text, consoles that cannot show them, and text that a terminal would obey."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, as_json, check_refused
from conftest import SAMPLE_RATE, make_model, melody

from tonetransfer.audio.files import load_audio, save_audio
from tonetransfer.errors import printable
from tonetransfer.models.timbre_model import Instrument, TimbreModel
from tonetransfer.models.weights import save_model

LATIN = "caf\udce9"  # as Python reads a name in Latin-1


@pytest.fixture
def folder(tmp_path: Path, run: Run, tiny_weights: Path) -> Path:
    """The working folder, with a recording and weights under such names."""
    save_audio(tmp_path / "good.wav", melody([69, 72]), SAMPLE_RATE)
    save_audio(tmp_path / f"{LATIN}.wav", melody([69, 74]), SAMPLE_RATE)
    shutil.copy(tiny_weights, f"{LATIN}.safetensors")
    assert b"caf\xe9.wav" in os.listdir(os.fsencode(tmp_path))
    return tmp_path


VERBS: dict[str, list[str]] = {  # the last that is written, and the command
    f"{LATIN}_out.flac": ["transfer", f"{LATIN}.wav", f"{LATIN}_out.flac", "--to", f"{LATIN}.safetensors:violin"],
    f"{LATIN}_out.mp3": ["transfer", "good.wav", f"{LATIN}_out.mp3", "--like", f"{LATIN}.wav", "--weights", f"{LATIN}.safetensors"],
    f"{LATIN}.png": ["transfer", f"{LATIN}.wav", "a.wav", "--to", f"{LATIN}.safetensors", "--plot", f"{LATIN}.png"],
    f"{LATIN}.npz": ["analyze", f"{LATIN}.wav", "--save", f"{LATIN}.npz"],
    f"{LATIN}.2.png": ["analyze", f"{LATIN}.wav", "--plot", f"{LATIN}.2.png"],
    f"{LATIN}.ts": ["export", f"{LATIN}.ts", "--format", "torchscript", "--weights", f"{LATIN}.safetensors"],
    "": ["embed", f"{LATIN}.wav", "--weights", f"{LATIN}.safetensors"],
    "nothing": ["instruments", "--weights", f"{LATIN}.safetensors"],
}


@pytest.mark.parametrize("written", VERBS)
def test_names_in_latin_1(run: Run, folder: Path, written: str) -> None:
    found = as_json(run(*VERBS[written], "--json"))
    assert json.loads(json.dumps(found)) == found
    if written not in ("", "nothing"):
        assert Path(written).stat().st_size > 100


def test_synthesize_under_such_a_name(run: Run, folder: Path) -> None:
    assert run("analyze", f"{LATIN}.wav", "--save", f"{LATIN}.npz")[0] == 0
    code, out, err = run("synthesize", f"{LATIN}.npz", f"{LATIN}_2.wav", "--to", f"{LATIN}.safetensors")
    assert code == 0 and out.startswith("caf\\xe9_2.wav: 1.2 s")
    assert len(load_audio(f"{LATIN}_2.wav")[0]) == len(load_audio(f"{LATIN}.wav")[0])


@pytest.mark.parametrize("command", [["transfer", f"no{LATIN}.wav", "a.wav", "--to"], ["embed", f"no{LATIN}.wav", "--weights"]])
def test_such_a_name_in_a_refusal(run: Run, folder: Path, command: list[str]) -> None:
    check_refused(run(*command, f"{LATIN}.safetensors"), "nocaf\\xe9.wav does not exist")


def test_such_names_in_a_folder(run: Run, folder: Path) -> None:
    Path(LATIN).mkdir()
    for name in (f"{LATIN}.wav", "good.wav"):
        shutil.move(name, Path(LATIN) / name)
    os.mkfifo(Path(LATIN) / "pipe.wav")
    (Path(LATIN) / f"{LATIN}.txt").write_text("notes")
    found = as_json(run("doctor", LATIN, "--workers", 1, "--plot", "d.png", "--json"))
    assert found["files"] == 2
    found = as_json(run("prepare", LATIN, f"{LATIN}_out", "--workers", 1, "--force", "--json"))
    assert found["recordings"] == 2
    assert {one["name"]: one["reason"] for one in found["skipped"]} == {
        f"{LATIN}.txt": "not a sound file",
        "pipe.wav": "a pipe or a device",
    }
    code, out, err = run("evaluate", "report", LATIN, LATIN, "--out", f"{LATIN}.html", "--shown", 1)
    assert code == 0 and out.strip().endswith("caf\\xe9.json") and "caf\\xe9" in Path(f"{LATIN}.html").read_text(encoding="utf-8")


def test_a_console_that_cannot_show_a_name(folder: Path) -> None:
    save_audio(folder / "Flöte 笛.wav", melody([69]), SAMPLE_RATE)
    command = [sys.executable, "-m", "tonetransfer", "transfer", "Flöte 笛.wav", "düdel.wav", "--to", f"{LATIN}.safetensors"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"d\\xfcdel.wav: 0.6 s"), done.stderr
    assert (folder / "düdel.wav").exists()


def test_escapes_in_weights_do_not_reach_the_terminal(run: Run, tmp_path: Path, tiny_model: TimbreModel) -> None:
    evil = "violin\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj"
    model = make_model()
    model.instruments = (Instrument(evil, "strings\x1b[31m", 55.0, 100.0, 76.0, "a\x1b[5m test", "CC0\x08"), *model.instruments[1:])
    save_model("evil.safetensors", model)
    save_audio("good.wav", melody([69]), SAMPLE_RATE)
    for command in (["instruments", "--weights", "evil.safetensors"], ["embed", "good.wav", "--weights", "evil.safetensors"]):
        code, out, err = run(*command)
        assert code == 0 and "violin\\x1b]0;owned\\x07" in out
        assert not set(out + err) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E]))
    assert as_json(run("instruments", "--weights", "evil.safetensors", "--json"))["instruments"][0]["name"] == evil


def test_what_is_printable() -> None:
    assert printable("plain: Flöte 笛 ♯\n\t2") == "plain: Flöte 笛 ♯\n\t2"
    assert printable("a\x1b[2Jb\udce9\ud800\x85\u2066") == "a\\x1b[2Jb\\xe9\\ud800\\x85\\u2066"
    everything = "".join(map(chr, np.random.default_rng(0).integers(0, 0x11000, 20000)))
    printable(everything).encode("utf-8")


def test_a_misspelt_instrument_is_answered_at_once(folder: Path) -> None:
    begin = time.perf_counter()
    command = [sys.executable, "-X", "importtime", "-m", "tonetransfer", "transfer", "good.wav", "a.wav", "--to", "violine"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "did you mean violin?" in done.stderr
    assert not any(heavy in done.stderr for heavy in (" torch\n", " numpy\n", " scipy\n"))
    assert time.perf_counter() - begin < 5.0  # a second on a machine that does nothing else


def test_the_command_line_is_not_told_of_python(run: Run, folder: Path) -> None:
    for command in (["transfer", "good.wav", "good2.wav", "--to", f"{LATIN}.safetensors"], ["analyze", "good.wav", "--save", "good.npz"]):
        assert run(*command)[0] == 0
        code, out, err = run(*command)
        check_refused((code, out, err), "--overwrite")
        assert "overwrite=True" not in err
