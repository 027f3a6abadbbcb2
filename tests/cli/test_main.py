"""The command line's contract: exit codes, one line on stderr, results on stdout, one JSON object with --json."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from command_line import Run, as_json, check_refused, spawn
from conftest import SAMPLE_RATE, melody

import tonetransfer as tt
from tonetransfer.audio.files import load_audio, save_audio
from tonetransfer.cli import analyze
from tonetransfer.cli.main import _print, build_parser
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.dynamics import swell_range_db


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "voice.wav"
    save_audio(path, melody([69, 72, 76]), SAMPLE_RATE)
    return path


def test_transfer(run: Run, voice: Path, tiny_weights: Path) -> None:
    code, out, err = run("transfer", voice, "violin.wav", "--to", tiny_weights)
    assert (code, err) == (0, "") and out.startswith("violin.wav:") and out.count("\n") == 1
    assert soundfile.info("violin.wav").samplerate == SAMPLE_RATE
    assert soundfile.info("violin.wav").frames == soundfile.info(str(voice)).frames


def test_transfer_json(run: Run, voice: Path, tiny_weights: Path) -> None:
    found = as_json(run("transfer", voice, "out.flac", "--to", "tuba", "--weights", tiny_weights, "--json"))
    assert found["output"] == "out.flac" and found["instrument"] == "tuba" and found["warnings"] == []
    assert found["transpose_semitones"] == -24.0 and -36.0 <= found["effort_db"] <= 0.0
    heard = tt.analyze(*load_audio(voice), tt.load_model(tiny_weights))
    asked = as_json(run("transfer", voice, "two.wav", "--to", "tuba", "--weights", tiny_weights, "--dynamic", "mf", "--json"))
    assert asked["effort_db"] == pytest.approx(-11.0 + swell_range_db(heard.loudness_db, heard.note_frames(), 100.0))
    assert found["seconds"] == pytest.approx(1.8) and found["realtime_factor"] > 0 and found["note_seconds"] > 1.0
    assert 100 < found["f0_median_hz"] < 180


def test_every_option_of_transfer(run: Run, voice: Path, tiny_weights: Path) -> None:
    options = ["--transpose", "-7", "--loudness", "-3.5", "--no-fit", "--autotune", "0.5", "--tracker", "yin", "--seed", "3"]
    found = as_json(
        run("transfer", voice, "out.wav", "--to", f"{tiny_weights}:tuba", *options, "--plot", "out.png", "--overwrite", "--json")
    )
    assert found["instrument"] == "tuba" and found["transpose_semitones"] == -7.0 and found["effort_db"] is None
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_like_and_mix(run: Run, voice: Path, tiny_weights: Path) -> None:
    assert run("transfer", voice, "like.wav", "--like", voice, "--weights", tiny_weights)[0] == 0
    assert run("transfer", voice, "mix.wav", "--mix", "violin:1,Tuba:3", "--weights", tiny_weights)[0] == 0
    assert run("transfer", voice, "equal.wav", "--mix", "violin,tuba", "--weights", tiny_weights)[0] == 0


def test_match_goes_with_a_name_or_a_blend(run: Run, voice: Path, tiny_weights: Path) -> None:
    save_audio("reference.wav", melody([57, 60, 64]), SAMPLE_RATE)
    options = ["--match", "reference.wav", "--weights", tiny_weights]
    assert run("transfer", voice, "mix.wav", "--mix", "violin:1,tuba:3", *options)[0] == 0
    code, _, err = run("transfer", voice, "like.wav", "--like", "reference.wav", *options)
    assert code == 1 and "--like takes the colour of its recording by itself" in err and err.count("\n") == 1
    assert run("transfer", voice, "out.wav", *options)[0] == 2  # nobody is named


@pytest.mark.parametrize("matched", [False, True])
def test_the_command_line_does_what_python_does(run: Run, voice: Path, tiny_weights: Path, matched: bool) -> None:
    reference, asked = melody([57, 60, 64]), ["--to", "violin", "--weights", tiny_weights, "--seed", "5"]
    soundfile.write("reference.wav", reference.numpy(), SAMPLE_RATE, subtype="FLOAT")
    as_json(run("transfer", voice, "out.wav", *asked, *(["--match", "reference.wav"] if matched else []), "--json"))
    match = (reference, SAMPLE_RATE) if matched else None
    expected = tt.transfer(*tt.load_audio(voice), tt.load_model(tiny_weights), to="violin", match=match, seed=5)
    assert torch.allclose(load_audio("out.wav")[0], expected, atol=2e-7)  # 24 bit


def test_any_rate_and_any_number_of_channels(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    for rate, channels, subtype in ((8000, 1, "PCM_16"), (192000, 6, "PCM_24"), (44100, 2, "FLOAT"), (22050, 1, "PCM_U8")):
        sound = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[:, None].repeat(channels, 1) * 0.5
        soundfile.write(tmp_path / "in.wav", sound, rate, subtype=subtype)
        found = as_json(run("transfer", "in.wav", "out.wav", "--to", tiny_weights, "--overwrite", "--json"))
        assert found["seconds"] == pytest.approx(1.0) and found["f0_median_hz"] == pytest.approx(440.0, rel=0.01)


def test_float_beyond_one_is_not_cut(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hot.wav", 4.0 * melody([69, 72]).numpy(), SAMPLE_RATE, subtype="FLOAT")
    assert as_json(run("transfer", "hot.wav", "out.wav", "--to", tiny_weights, "--json"))["note_seconds"] > 0.9


def test_a_loud_result_is_turned_down_and_said_so(run: Run, voice: Path, tiny_weights: Path) -> None:
    code, _, err = run("transfer", voice, "out.wav", "--to", tiny_weights, "--loudness", "40")
    assert code == 0 and err.startswith("tonetransfer: warning: ") and "turned down" in err and err.count("\n") == 1
    assert float(load_audio("out.wav")[0].abs().max()) <= 1.0


def test_a_long_result_is_printed_as_it_goes(capfd: pytest.CaptureFixture[str]) -> None:
    """Notes of an hour are a million pieces of text, which took 0.2 GB."""
    result = {"notes": [{f"measure_{k}_hz": n + k / 7.0 for k in range(20)} for n in range(2000)], "word": "caf\udce9"}
    tracemalloc.start()
    _print(result)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert json.loads(capfd.readouterr().out) == result and peak < 300_000


def test_warnings_are_in_the_json_too(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    save_audio(tmp_path / "silence.wav", torch.zeros(48000), SAMPLE_RATE)
    result = run("transfer", "silence.wav", "out.wav", "--to", tiny_weights, "--json")
    assert "silent" in as_json(result)["warnings"][0] and result[2].count("\n") == 1
    assert float(load_audio("out.wav")[0].abs().max()) == 0.0


def test_instruments(run: Run, tiny_weights: Path) -> None:
    found = as_json(run("instruments", "--weights", tiny_weights, "--json"))["instruments"]
    assert [one["name"] for one in found] == ["violin", "alto_sax", "tuba"]
    assert {"family", "lowest_midi", "highest_midi", "lowest_note", "source", "licence"} <= found[0].keys()
    assert (found[0]["lowest_note"], found[0]["highest_note"]) == ("G3", "E7")
    lines = run("instruments", "--weights", tiny_weights)[1].splitlines()
    assert len(lines) == 4 and all("CC0-1.0" in line for line in lines[1:])


def test_analyze(run: Run, voice: Path) -> None:
    found = as_json(run("analyze", voice, "--json", "--save", "voice.npz", "--plot", "voice.png"))
    assert {"vibrato_rate_hz", "vibrato_extent_cents", "tremolo_rate_hz", "tremolo_depth_db", "f0_median_hz", "seconds"} <= found.keys()
    assert found["f0_median_hz"] == pytest.approx(523.25, rel=0.01)
    assert Controls.load("voice.npz").n_frames == 180 and Path("voice.png").stat().st_size > 10_000
    assert found["note_count"] == len(found["notes"]) > 0 and isinstance(found["techniques"], list)
    assert {"note", "start_s", "attack_s", "vibrato_rate_hz", "tristimulus_1", "spectral_centroid_hz"} <= found["notes"][0].keys()
    code, out, err = run("analyze", voice, "--all", "--rolloff", "33")
    assert code == 0 and err == "" and "vibrato_rate_hz" in out and "spectral_rolloff_33_hz" in out
    assert all(f"\n{title}\n" in out for title in ("Notes", "Techniques", "Envelope of the notes", "Partials", "Spectrum"))
    assert run("analyze", voice, "--rolloff", "133")[0] == 2


def test_analyze_tells_a_musician_ten_lines(run: Run, tmp_path: Path) -> None:
    flat = melody([69 - 0.2, 72 - 0.2, 76 - 0.2])
    save_audio(tmp_path / "tune.wav", flat, SAMPLE_RATE)
    lines = run("analyze", tmp_path / "tune.wav", "--save", "tune.npz")[1].splitlines()
    assert len(lines) == 11 and lines[-1] == "tune.npz is written" and ": 1.8 s, 3 notes" in lines[0]
    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:10]}
    assert told["notes"] == "A4 C5 E5" and told["range"].startswith("A4 to E5, 7 semitones") and told["vibrato"] == "none"
    assert told["tuning"].startswith("20 cents flat (A = 434.9 Hz); notes stray by 0 cents")
    save_audio(tmp_path / "silent.wav", 0.0 * flat, SAMPLE_RATE)
    assert "no note is heard" in run("analyze", tmp_path / "silent.wav")[1]


def test_synthesize(run: Run, voice: Path, tiny_weights: Path) -> None:
    run("analyze", voice, "--save", "voice.npz")
    plain = as_json(run("synthesize", "voice.npz", "plain.wav", "--to", "violin", "--weights", tiny_weights, "--json"))
    assert plain["transpose_semitones"] == 0.0 and plain["seconds"] == pytest.approx(1.8) and plain["effort_db"] is None
    fitted = as_json(run("synthesize", "voice.npz", "low.wav", "--to", f"{tiny_weights}:tuba", "--fit", "--json"))
    assert fitted["transpose_semitones"] == -24.0


def test_embed(run: Run, voice: Path, tiny_weights: Path) -> None:
    found = as_json(run("embed", voice, voice, "--weights", tiny_weights, "--json"))["files"]
    assert len(found) == 2 and found[0]["file"] == str(voice) and len(found[0]["z"]) == 8
    assert {near["instrument"] for near in found[0]["nearest"]} == {"violin", "alto_sax", "tuba"}
    assert run("embed", voice, "--weights", tiny_weights)[1].startswith(f"{voice}: ")


def test_what_exists_is_kept(run: Run, voice: Path, tiny_weights: Path) -> None:
    for name in ("out.wav", "voice.npz", "plot.png"):
        Path(name).write_text("precious")
    assert run("transfer", voice, "out.wav", "--to", tiny_weights)[0] == 1
    assert run("transfer", voice, "new.wav", "--to", tiny_weights, "--plot", "plot.png")[0] == 1
    assert run("analyze", voice, "--save", "voice.npz")[0] == 1
    assert run("analyze", voice, "--plot", "plot.png")[0] == 1
    assert [Path(name).read_text() for name in ("out.wav", "voice.npz", "plot.png")] == ["precious"] * 3
    assert not Path("new.wav").exists()  # refused before, not after the work
    assert run("transfer", voice, "out.wav", "--to", tiny_weights, "--plot", "plot.png", "--overwrite")[0] == 0
    assert soundfile.info("out.wav").frames > 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["conjure"],
        ["transfer"],
        ["transfer", "a.wav", "b.wav"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--mix", "violin:1"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--transpose", "high"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--transpose", "nan"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--autotune", "1.5"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--seed", "-1"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--seed", str(2**63)],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--loudness", "61"],
        ["play", "a.mid", "b.wav", "--to", "violin", "--loudness=-121"],
        ["demo", "--port", "65536"],
        ["transfer", "a.wav", "b.wav", "--to", "violin", "--loud", "3"],  # no abbreviations
        ["transfer", "a.wav", "b.wav", "--mix", "violin:x"],
        ["transfer", "a.wav", "b.wav", "--mix", "violin:0"],
        ["corpus"],
        ["evaluate"],
    ],
)
def test_usage_errors_give_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and "usage:" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["transfer", "--help"], ["corpus", "render", "--help"], ["train", "--help"], ["--version"]]
)
def test_help(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 0 and err == "" and "tonetransfer" in out


def test_help_lists_every_verb_once_in_groups(run: Run) -> None:
    out = run("--help")[1]
    listed = re.findall(r"^  ([a-z]+) {2,}", out, re.MULTILINE)
    assert set(listed) == set(build_parser()._subparsers._group_actions[0].choices) and len(listed) == len(set(listed))
    assert listed[0] == "transfer" and listed.index("doctor") < listed.index("prepare") < listed.index("train") < listed.index("push")
    assert "VERB ..." in out and "\nplay:\n" in out
    assert "\nwho plays:\n" in run("transfer", "--help")[1]


def test_all_verbs_exist() -> None:
    from tonetransfer.cli.main import build_parser

    samples = [
        "transfer a b --to c",
        "instruments",
        "analyze a",
        "synthesize a b --to c",
        "embed a",
        "corpus render a b",
        "train a",
        "evaluate parallel",
        "evaluate recordings a",
    ]
    for line in samples:
        assert callable(build_parser().parse_args(line.split()).run), line


def raising(error: BaseException) -> Callable[[Any], Any]:
    def verb(_arguments: Any) -> Any:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), "memory"),
        (OSError(28, "No space left on device", "out.wav"), "No space left"),
    ],
)
def test_what_happens_to_machines(run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, says: str) -> None:
    monkeypatch.setattr(analyze, "instruments", raising(error))
    code, out, err = run("instruments")
    assert code == 1 and out == "" and says in err and err.startswith("tonetransfer: ") and err.count("\n") == 1


def test_an_interruption_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "instruments", raising(KeyboardInterrupt()))
    assert run("instruments") == (130, "", "tonetransfer: interrupted; nothing was written\n")


def test_a_fault_of_ours_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "instruments", raising(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError):
        run("instruments")


def test_messages_of_several_lines_become_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(_arguments: Any) -> Any:
        for _ in range(2):
            warnings.warn("twice\nthe same", UserWarning, stacklevel=1)
        return {}, ["done"]

    monkeypatch.setattr(analyze, "instruments", verb)
    assert run("instruments") == (0, "done\n", "tonetransfer: warning: twice the same\n")


def test_train_and_corpus_are_wired(run: Run, tmp_path: Path) -> None:
    (tmp_path / "try.yaml").write_text("name: try\n")
    code, _, err = run("train", "try.yaml", "--set", "data.corpus=nowhere", "--set", f"train.output={tmp_path / 'run'}")
    assert code == 1 and "nowhere" in err and err.count("\n") == 1
    code, _, err = run("train", "try.yaml", "--set", "train.stepz=3")
    assert code == 1 and "did you mean steps" in err
    code, _, err = run("corpus", "render", "none.yaml", "out")
    assert code == 1 and "none.yaml" in err and err.count("\n") == 1


def test_evaluate_says_how_to_get_its_test_set(run: Run, tiny_weights: Path) -> None:
    code, _, err = run("evaluate", "parallel", "--corpus", "nowhere", "--weights", tiny_weights)
    assert code == 1 and "corpus render" in err and err.count("\n") == 1


def test_as_a_program(voice: Path, tiny_weights: Path, tmp_path: Path) -> None:
    done = spawn("transfer", voice, tmp_path / "out.wav", "--to", tiny_weights, "--json")
    assert done.returncode == 0 and done.stderr == "" and json.loads(done.stdout)["instrument"] == "violin"


def test_a_reader_that_goes_away(tiny_weights: Path) -> None:
    command = [sys.executable, "-m", "tonetransfer", "instruments", "--weights", str(tiny_weights)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait() == 1
    assert err.count("\n") == 1 and "Traceback" not in err


MUSICAL = ["--autotune", "0.7", "--scale", "C major", "--dynamics", "0.4", "--dynamic", "p", "--noise", "-12", "--hall", "0.3"]


def test_saved_controls_fitted_are_the_transfer(run: Run, voice: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the room of the recording and how its spectrum moves, which controls do not hold."""
    monkeypatch.setattr("tonetransfer.pipeline.transfer.estimate_expression", lambda *_: None)
    as_json(run("transfer", voice, "one.wav", "--to", tiny_weights, *MUSICAL, "--no-room", "--json"))
    as_json(run("analyze", voice, "--save", "voice.npz", "--json"))
    as_json(run("synthesize", "voice.npz", "two.wav", "--to", tiny_weights, "--fit", *MUSICAL, "--json"))
    as_json(run("transfer", voice, "plain.wav", "--to", tiny_weights, "--json"))
    one, two, plain = (load_audio(name)[0] for name in ("one.wav", "two.wav", "plain.wav"))
    assert torch.equal(one, two) and not torch.equal(one, plain)


@pytest.mark.parametrize("option", [("--dynamics", "3"), ("--noise", "99"), ("--hall", "-1")])
def test_musical_options_out_of_range(run: Run, voice: Path, option: tuple[str, str]) -> None:
    code, _, err = run("transfer", voice, "out.wav", "--to", "violin", *option)
    assert code == 2 and option[1] in err


def test_effort_changes_what_is_asked_and_not_the_level(run: Run, voice: Path, tiny_weights: Path) -> None:
    def played(dynamic: str) -> tuple[dict[str, Any], torch.Tensor]:
        found = as_json(run("transfer", voice, "out.wav", "--to", tiny_weights, "--dynamic", dynamic, "--overwrite", "--json"))
        return found, load_audio("out.wav")[0]

    (soft, one), (given, same), (hard, other) = (played(dynamic) for dynamic in ("p", "-20", "f"))
    assert given["effort_db"] == soft["effort_db"] and torch.equal(one, same)
    assert hard["effort_db"] - soft["effort_db"] == pytest.approx(15.0)
    assert hard["loudness_median_db"] - soft["loudness_median_db"] == pytest.approx(15.0, abs=0.01)
    assert 10 * np.log10(float(other.square().mean() / one.square().mean())) == pytest.approx(0.0, abs=1.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dynamic", "loud"], "dynamic is 'loud'; a marking from ppp to fff"),
        (["--dynamic", "3"], "from -36 to 0"),
        (["--dynamic", "p", "--no-fit"], "without fit"),
    ],
)
def test_a_dynamic_that_cannot_be_is_told_at_once(run: Run, voice: Path, options: list[str], words: str) -> None:
    code, out, err = run("transfer", voice, "out.wav", "--to", "missing.safetensors", *options)
    assert code == 1 and not out and err.count("\n") == 1 and words in err and not Path("out.wav").exists()
    live = run("live", "--simulate", voice, "out.wav", "--to", "missing.safetensors", *options)
    assert live[0] == 1 and live[2].count("\n") == 1 and words in live[2]


def test_saved_controls_take_a_dynamic_where_they_are_fitted(run: Run, voice: Path, tiny_weights: Path) -> None:
    run("analyze", voice, "--save", "voice.npz")
    check_refused(run("synthesize", "voice.npz", "out.wav", "--to", tiny_weights, "--tracker", "crep"), "did you mean 'crepe'?")
    code, _, err = run("synthesize", "voice.npz", "out.wav", "--to", tiny_weights, "--dynamic", "p")
    assert code == 1 and "without fit" in err and not Path("out.wav").exists()


def test_notes_of_midi_say_themselves_how_hard_they_are(run: Run) -> None:
    code, _, err = run("live", "--to", "violin", "--midi", "song.mid", "--dynamic", "p")
    assert code == 1 and "velocity" in err and err.count("\n") == 1


def test_an_unknown_scale(run: Run, voice: Path, tiny_weights: Path) -> None:
    code, _, err = run("transfer", voice, "out.wav", "--to", tiny_weights, "--scale", "C mayor")
    assert code == 1 and "did you mean C major" in err and not Path("out.wav").exists()


def parsers_below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Parsers of all verbs, and of the verbs of verbs."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for below in [one for chosen in choices for one in chosen.values()]:
        yield from parsers_below(below)
    if not choices:
        yield parser


def test_every_verb_has_its_function() -> None:
    verbs = list(parsers_below(build_parser()))
    assert len(verbs) >= 25
    for verb in verbs:
        assert callable(verb.get_default("run")), verb.prog
