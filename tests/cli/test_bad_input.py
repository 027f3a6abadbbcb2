"""Whatever comes in: one clear line and exit code 1, or sound where sound is right. Never a traceback, never a file half written."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from command_line import Run, check_refused, spawn
from conftest import SAMPLE_RATE, melody, tone
from safetensors.torch import save_file

from tonetransfer.audio.files import load_audio, save_audio
from tonetransfer.controls.controls import Controls

GOOD = "good.wav"


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:  # the fixture: it also makes this the working folder
    save_audio(tmp_path / GOOD, melody([69, 72]), SAMPLE_RATE)
    return tmp_path


def write_float(name: str, samples: np.ndarray, subtype: str = "FLOAT") -> None:
    soundfile.write(name, samples, SAMPLE_RATE, subtype=subtype)


def truncate(name: str, share: float) -> None:
    content = Path(GOOD).read_bytes()
    Path(name).write_bytes(content[: int(share * len(content))])


UNREADABLE: dict[str, tuple[Callable[[], object], str]] = {
    "missing.wav": (lambda: None, "does not exist"),
    "folder.wav": (lambda: Path("folder.wav").mkdir(), "folder"),
    "empty.wav": (lambda: Path("empty.wav").touch(), "empty"),
    "text.wav": (lambda: Path("text.wav").write_text("This is not a sound.\n" * 50), "not a sound file"),
    "zero_samples.wav": (lambda: write_float("zero_samples.wav", np.zeros(0)), "no samples"),
    "nan.wav": (lambda: write_float("nan.wav", np.where(np.arange(9000) == 5000, np.nan, 0.1)), "finite"),
    "inf.wav": (lambda: write_float("inf.wav", np.where(np.arange(9000) == 5000, np.inf, 0.1)), "finite"),
    "huge.wav": (lambda: write_float("huge.wav", 30000.0 * np.sin(np.arange(9000.0))), "full scale"),
    "cut_in_its_header.wav": (lambda: truncate("cut_in_its_header.wav", 0.0001), "cut_in_its_header.wav"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("verb", ["transfer", "analyze", "embed", "like", "match"])
def test_unreadable_sources(run: Run, folder: Path, tiny_weights: Path, name: str, verb: str) -> None:
    make, says = UNREADABLE[name]
    make()
    commands = {
        "transfer": ["transfer", name, "out.wav", "--to", tiny_weights],
        "analyze": ["analyze", name, "--save", "out.npz"],
        "embed": ["embed", GOOD, name, "--weights", tiny_weights],
        "like": ["transfer", GOOD, "out.wav", "--like", name, "--weights", tiny_weights],
        "match": ["transfer", GOOD, "out.wav", "--to", tiny_weights, "--match", name],
    }
    before = sorted(folder.iterdir())
    check_refused(run(*commands[verb]), name, says)
    assert sorted(folder.iterdir()) == before  # nothing was left behind


def click() -> np.ndarray:
    return np.eye(1, SAMPLE_RATE, 20000)[0]


PLAYABLE: dict[str, tuple[Callable[[], np.ndarray], str, str]] = {  # samples, subtype, what the warning says
    "silence.wav": (lambda: np.zeros(SAMPLE_RATE), "PCM_16", "silent"),
    "click.wav": (click, "PCM_16", "no note"),
    "white_noise.wav": (lambda: 0.2 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE), "FLOAT", ""),
    "one_sample.wav": (lambda: np.array([0.5]), "PCM_16", ""),
    "chord.wav": (lambda: sum(tone(f, 1.5, level=0.15) for f in (220.0, 277.2, 329.6)).numpy(), "PCM_24", "one note at a time"),
    "beyond_one.wav": (lambda: 5.0 * melody([69, 72]).numpy(), "FLOAT", ""),
    "24_bit.wav": (lambda: melody([69, 72]).numpy(), "PCM_24", ""),
    "very_quiet.wav": (lambda: 1e-3 * melody([69, 72]).numpy(), "PCM_24", ""),
}


@pytest.mark.parametrize("name", PLAYABLE)
def test_strange_but_playable(run: Run, folder: Path, tiny_weights: Path, name: str) -> None:
    make, subtype, says = PLAYABLE[name]
    samples = make()
    write_float(name, samples, subtype)
    code, _, err = run("transfer", name, "out.wav", "--to", tiny_weights)
    assert code == 0 and says in err and (err != "" if says else True)
    assert all(line.startswith("tonetransfer: warning: ") for line in err.splitlines())
    out, rate = load_audio("out.wav")
    assert rate == SAMPLE_RATE and len(out) == len(samples) and bool(torch.isfinite(out).all())
    if name == "silence.wav":
        assert bool((out == 0).all())


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (192000, 6), (11025, 2)])
def test_rates_and_channels(run: Run, folder: Path, tiny_weights: Path, rate: int, channels: int) -> None:
    sound = tone(220.0, 1.0, sample_rate=rate).numpy()
    soundfile.write("in.wav", np.stack([sound] * channels, axis=1), rate)
    assert run("transfer", "in.wav", "out.wav", "--to", tiny_weights)[0] == 0
    assert soundfile.info("out.wav").frames == SAMPLE_RATE


@pytest.mark.parametrize("instrument", ["violine", "Vioiln", "tenor tuba"])
def test_unknown_instruments(run: Run, folder: Path, tiny_weights: Path, instrument: str) -> None:
    nearest = "tuba" if "tuba" in instrument else "violin"
    for option in (["--to", instrument], ["--mix", f"violin:1,{instrument}:1"]):
        check_refused(run("transfer", GOOD, "out.wav", *option, "--weights", tiny_weights), instrument, f"did you mean {nearest}")


def test_unknown_tracker(run: Run, folder: Path, tiny_weights: Path) -> None:
    check_refused(run("transfer", GOOD, "out.wav", "--to", tiny_weights, "--tracker", "guess"), "guess", "swift")


def test_bad_weights(run: Run, folder: Path, tiny_weights: Path) -> None:
    Path("cut.safetensors").write_bytes(tiny_weights.read_bytes()[:5000])
    Path("empty.safetensors").touch()
    Path("text.safetensors").write_text("no weights")
    save_file({"weight": torch.zeros(3)}, "foreign.safetensors")
    torch.save({"weight": torch.zeros(3)}, "pickled.safetensors")
    for name in ("cut", "empty", "text", "foreign", "pickled", "missing"):
        check_refused(run("transfer", GOOD, "out.wav", "--to", f"{name}.safetensors"), f"{name}.safetensors")
        check_refused(run("instruments", "--weights", f"{name}.safetensors"), f"{name}.safetensors")
    check_refused(run("transfer", GOOD, "out.wav", "--to", f"{tiny_weights}:trumpet"), "trumpet")
    check_refused(run("transfer", GOOD, "out.wav", "--to", tiny_weights, "--weights", tiny_weights), "--weights")
    assert not Path("out.wav").exists()


def test_unwritable_outputs(run: Run, folder: Path, tiny_weights: Path) -> None:
    Path("there.wav").mkdir()
    for output, says in {
        "nowhere/out.wav": "nowhere",
        "there.wav": "folder",
        "out.xyz": ".xyz",
        "out": "extension",
        GOOD: "source",
    }.items():
        check_refused(run("transfer", GOOD, output, "--to", tiny_weights), says)
    for plot, says in {"nowhere/a.png": "nowhere", "there.wav": "there.wav", "a.jpg": "png"}.items():
        check_refused(run("transfer", GOOD, "out.wav", "--to", tiny_weights, "--plot", plot), says)
    check_refused(run("analyze", GOOD, "--save", "nowhere/a.npz"), "nowhere")
    assert not Path("out.wav").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder where not even root may write")
def test_a_folder_without_permission(run: Run, folder: Path, tiny_weights: Path) -> None:
    check_refused(run("transfer", GOOD, "/proc/out.wav", "--to", tiny_weights), "/proc")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(run: Run, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115  # closing it complains once more
    monkeypatch.setattr(sys, "stdout", full)
    check_refused(run("instruments", "--weights", tiny_weights), "No space left")
    with contextlib.suppress(OSError):
        full.close()


@pytest.mark.parametrize("how", ["same", "relative", "symlink", "hard link"])
def test_the_source_is_never_replaced(run: Run, folder: Path, tiny_weights: Path, how: str) -> None:
    before = Path(GOOD).read_bytes()
    output = {"same": GOOD, "relative": f"../{folder.name}/./{GOOD}"}.get(how, "link.wav")
    if how == "symlink":
        Path("link.wav").symlink_to(GOOD)
    elif how == "hard link":
        os.link(GOOD, "link.wav")
    check_refused(run("transfer", GOOD, output, "--to", tiny_weights, "--overwrite"), "source")
    check_refused(run("analyze", GOOD, "--save", output, "--overwrite"), "another")
    save_audio("source.wav", melody([69]), SAMPLE_RATE)
    for of_reference in (["--like", GOOD], ["--to", "violin", "--match", GOOD]):
        check_refused(run("transfer", "source.wav", output, *of_reference, "--weights", tiny_weights, "--overwrite"), "source")
    assert Path(GOOD).read_bytes() == before


def test_one_file_for_two_results(run: Run, folder: Path) -> None:
    check_refused(run("analyze", GOOD, "--save", "both.png", "--plot", "both.png"), "two results")


def test_bad_controls(run: Run, folder: Path, tiny_weights: Path) -> None:
    Path("text.npz").write_text("no controls")
    np.savez("foreign.npz", a=np.zeros(3))
    n = np.full(10, 100.0)
    with np.load(_saved()) as stored:
        edited = dict(stored)
    for name, change in {"zero_f0": {"f0_hz": 0 * n}, "nan": {"loudness_db": n * np.nan}, "lengths": {"f0_hz": n}}.items():
        np.savez(f"{name}.npz", **(edited | change))
    for name in ("missing", "text", "foreign", "zero_f0", "nan", "lengths"):
        check_refused(run("synthesize", f"{name}.npz", "out.wav", "--to", tiny_weights), f"{name}.npz")
    assert not Path("out.wav").exists()


def _saved() -> str:
    Controls(torch.full((20,), 220.0), torch.ones(20), torch.full((20,), -20.0)).save("good.npz")
    return "good.npz"


def test_as_a_program(folder: Path, tiny_weights: Path) -> None:
    done = spawn("transfer", GOOD, "out.wav", "--to", "violine", "--weights", tiny_weights, cwd=folder)
    check_refused((done.returncode, done.stdout, done.stderr), "did you mean violin")
