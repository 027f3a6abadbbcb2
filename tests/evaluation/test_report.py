"""The evaluation report: what is measured, what stands on the page, and whatever folders come in."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from command_line import Run, as_json, check_refused
from conftest import SAMPLE_RATE, melody, tone
from pages import check_self_contained

from tonetransfer.audio.files import save_audio
from tonetransfer.classification.classifier import load_classifier
from tonetransfer.evaluation.compare import METRICS, compare
from tonetransfer.evaluation.report import build as report
from tonetransfer.evaluation.report.examples import balanced_draw, pairs_of_folders
from tonetransfer.evaluation.report.media import contour_path
from tonetransfer.models.timbre_model import TimbreModel

STRANGE = "<b>&'quoted'"  # a file name that must not become markup
MELODY = melody([69, 72], seconds=0.4)


def fill(folder: Path) -> Path:
    """Two folders in which much is wrong: names that do not match, silence, a clip of 10 ms, a file that is none, other rates."""
    for name in ("reference", "estimate"):
        (folder / name).mkdir()
    save_audio(folder / "reference" / "same.wav", MELODY, SAMPLE_RATE)
    save_audio(folder / "estimate" / "same.flac", MELODY, SAMPLE_RATE)
    save_audio(folder / "reference" / f"{STRANGE}.wav", MELODY, SAMPLE_RATE)
    low = melody([57, 60], seconds=0.4).numpy()[::3]  # an octave lower, at a third of the rate
    soundfile.write(folder / "estimate" / f"{STRANGE}.wav", np.stack([low, low], axis=1), SAMPLE_RATE // 3)
    save_audio(folder / "reference" / "silent.wav", torch.zeros(4800), SAMPLE_RATE)
    save_audio(folder / "estimate" / "silent.wav", torch.zeros(4800), SAMPLE_RATE)
    save_audio(folder / "reference" / "short.wav", tone(440.0, 0.01), SAMPLE_RATE)
    save_audio(folder / "estimate" / "short.wav", tone(440.0, 0.01), SAMPLE_RATE)
    save_audio(folder / "reference" / "broken.wav", MELODY, SAMPLE_RATE)
    (folder / "estimate" / "broken.wav").write_text("no sound")
    save_audio(folder / "reference" / "lonely.wav", MELODY, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_model: TimbreModel) -> tuple[dict[str, Any], Path]:
    folder = fill(tmp_path_factory.mktemp("report"))
    examples = pairs_of_folders(folder / "reference", folder / "estimate", folder / "reference", tiny_model.grid)
    page = folder / "report.html"
    findings, files = report.write_report(page, examples, tiny_model, load_classifier(), title=f"Report of {STRANGE}", n_shown=6)
    assert (files.page, files.figures) == (page, folder / "report.json") and files.n_shown == 4
    assert files.megabytes == pytest.approx(page.stat().st_size / 1e6)
    return findings, page


def rows(findings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in findings["per_example"]}


def test_what_is_equal_is_at_zero(written: tuple[dict[str, Any], Path]) -> None:
    same = rows(written[0])["same"]["metrics"]
    for metric in METRICS:
        if metric.key in same and metric.key != "classifier_probability":
            assert same[metric.key] == pytest.approx(0.0 if metric.better == "lower" else 1.0, abs=0.02), metric.key  # 24 bit
    assert {"lsd60_db", "raw_pitch_accuracy", "classifier_success", "embedding_distance", "odd_to_even_error_db"} <= same.keys()


def test_an_octave_and_a_missing_octave_of_band_are_seen(written: tuple[dict[str, Any], Path]) -> None:
    row = rows(written[0])[STRANGE]
    assert row["metrics"]["raw_pitch_accuracy"] < 0.1 and row["metrics"]["raw_chroma_accuracy"] > 0.8
    assert row["metrics"]["pitch_error_cents"] == pytest.approx(1200.0, abs=10.0)
    assert row["metrics"]["lost_high_frequency_hz"] > 100.0 and row["highest_hz"] == 8000.0
    assert row["metrics_of_source"]["lsd60_db"] == 0.0  # the source is the reference here


def test_silence_and_short_clips_have_only_metrics_with_a_meaning(written: tuple[dict[str, Any], Path]) -> None:
    silent, short = (rows(written[0])[name] for name in ("silent", "short"))
    assert silent["metrics"]["lsd60_db"] == 0.0 and "raw_pitch_accuracy" not in silent["metrics"]
    assert silent["heard_as"] == short["heard_as"] == {} and silent["wanted"] is None
    assert written[0]["metrics"]["lsd60_db"]["count"] == 4 and written[0]["metrics"]["classifier_success"]["count"] == 2


def test_what_is_left_out_is_named(written: tuple[dict[str, Any], Path]) -> None:
    findings, page = written
    left_out = " ".join(findings["left_out"])
    assert len(findings["left_out"]) == 2 and "broken.wav is not a sound file" in left_out and "lonely.wav: no estimate" in left_out
    assert "lonely.wav" in page.read_text(encoding="utf-8")


def test_json_is_strict_and_the_same_as_what_is_returned(written: tuple[dict[str, Any], Path]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    findings, page = written
    assert json.loads(page.with_suffix(".json").read_text(encoding="utf-8"), parse_constant=refuse) == findings
    for summary in findings["metrics"].values():
        assert summary["low"] <= summary["mean"] <= summary["high"] and summary["groups"] <= summary["count"] <= 4


def test_the_page_is_whole_and_needs_nothing_from_outside(written: tuple[dict[str, Any], Path]) -> None:
    text = written[1].read_text(encoding="utf-8")
    check_self_contained(text)
    assert STRANGE not in text and "&lt;b&gt;&amp;" in text


def test_what_is_heard_is_the_sound(written: tuple[dict[str, Any], Path]) -> None:
    text = written[1].read_text(encoding="utf-8")
    sounds = [base64.b64decode(one) for one in re.findall(r"data:audio/mpeg;base64,([^\"]+)", text)]
    assert len(sounds) == 3 * 4
    lengths = []
    for sound in sounds:
        samples, rate = soundfile.read(io.BytesIO(sound))
        lengths.append(len(samples) / rate)
        assert rate == SAMPLE_RATE
    assert max(lengths) == pytest.approx(len(MELODY) / SAMPLE_RATE, abs=0.08)


def test_the_same_bytes_again_and_nothing_half_written(
    written: tuple[dict[str, Any], Path], tiny_model: TimbreModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("reference", "estimate"):
        (tmp_path / name).mkdir()
        save_audio(tmp_path / name / "a.wav", tone(440.0, 0.4), SAMPLE_RATE)
    examples = pairs_of_folders(tmp_path / "reference", tmp_path / "estimate", None, tiny_model.grid)
    pages = [tmp_path / "one.html", tmp_path / "two.html"]
    for page in pages:
        report.write_report(page, examples, tiny_model, load_classifier(), seed=3)
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert pages[0].with_suffix(".json").read_bytes() == pages[1].with_suffix(".json").read_bytes()
    before = sorted(tmp_path.iterdir())

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "three.html")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(report.SettingsError, match="No space left"):
        report.write_report(tmp_path / "three.html", examples, tiny_model, load_classifier(), seed=3)
    assert sorted(tmp_path.iterdir()) == before


def test_transfers_of_a_corpus_and_of_recordings(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("violin", "tuba")):
        (tmp_path / "corpus" / name).mkdir(parents=True)
        save_audio(tmp_path / "corpus" / name / "parallel-0.flac", tone(220.0, 0.5, n_harmonics=3 + 5 * number), SAMPLE_RATE)
    (tmp_path / "corpus" / "manifest.json").write_text("{}")
    common = ["--weights", tiny_weights, "--json", "--shown", "1"]
    found = as_json(run("evaluate", "report", "--corpus", "corpus", "--out", "corpus.html", *common))
    assert found["examples"] == 2 and found["shown"] == 1 and found["metrics"]["lsd60_db"]["source"]["mean"] > 0.0
    assert {"z", "classifier"} >= found["frechet"].keys()
    written = json.loads(Path("corpus.json").read_text())
    assert [row["wanted"] for row in written["per_example"]] == ["violin", "tuba"] and written["kind"] == "parallel"
    (tmp_path / "played").mkdir()
    save_audio(tmp_path / "played" / "one.wav", tone(220.0, 0.5), SAMPLE_RATE)
    found = as_json(run("evaluate", "report", "--recordings", "played", "--on", "violin", *common))
    assert found["page"] == "report.html" and found["examples"] == 1 and found["frechet"] == {}
    assert "lsd60_db" not in found["metrics"] and found["metrics"]["loudness_error_db"]["mean"] >= 0.0
    check_refused(run("evaluate", "report", "--recordings", "played", "--weights", tiny_weights), "report.html exists", "--overwrite")


def test_several_systems_stand_beside_each_other(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    for system, octaves in (("reference", 0), ("good", 0), ("low", -1)):
        (tmp_path / system).mkdir()
        for name in ("a", "b"):
            save_audio(tmp_path / system / f"{name}.wav", melody([69 + 12 * octaves, 72 + 12 * octaves], seconds=0.4), SAMPLE_RATE)
    (tmp_path / "low" / "b.wav").unlink()
    found = as_json(run("evaluate", "report", "reference", "good", "low", "--weights", tiny_weights, "--json"))
    accuracy = {name: one["metrics"]["raw_pitch_accuracy"] for name, one in found["systems"].items()}
    assert accuracy["good"]["mean"] == 1.0 and accuracy["low"]["mean"] < 0.1  # the right answer is known
    assert accuracy["good"]["count"] == accuracy["low"]["count"] == 1 and "good, b: not every system has it" in found["left_out"]
    written, text = json.loads(Path("report.json").read_text()), Path("report.html").read_text(encoding="utf-8")
    assert written["systems"]["low"]["per_example"][0]["name"] == "a" and written["title"] == "good, low against reference"
    check_self_contained(text)
    assert re.findall(r'src="data:[^"]*" data-name="([^"]*)"', text) == ["good", "low", "Ground truth"]
    (row,) = re.findall(r"<tr><td>Pitch</td>(?:(?!</tr>).)*?Raw pitch accuracy.*?</tr>", text, re.DOTALL)
    assert re.findall(r'class="number( best)?"[^>]*>([\d.]+) %', row) == [(" best", "100.0"), ("", "0.0")]
    check_refused(run("evaluate", "report", "reference", "good", "good", "--out", "x.html", "--weights", tiny_weights), "came twice")


def test_folders_that_cannot_be_compared(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "empty"):
        (tmp_path / name).mkdir()
    save_audio(tmp_path / "one" / "a.wav", MELODY, SAMPLE_RATE)
    save_audio(tmp_path / "two" / "b.wav", MELODY, SAMPLE_RATE)
    before = sorted(tmp_path.iterdir())
    for arguments, says in {
        ("one", "two"): "name results like their references",
        ("one", "missing"): "missing: is not a folder",
        ("one", "empty"): "no sound file",
        ("one",): "1 folder came",
        ("one", "two", "--recordings", "one"): "give one of them",
        ("--source", "one"): "REFERENCE and ESTIMATE",
        ("--recordings", "empty"): "holds no recordings",
        ("--recordings", "one", "--on", "violine"): "did you mean violin",
        ("--corpus", "empty"): "holds no test set",
        ("one", "two", "--out", "page.txt"): "ending in .html",
        ("one", "two", "--out", "nowhere/page.html"): "no folder nowhere",
    }.items():
        check_refused(run("evaluate", "report", *arguments, "--weights", tiny_weights), says)
    assert sorted(tmp_path.iterdir()) == before


def test_none_of_the_files_can_be_read(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_text("no sound")
    check_refused(run("evaluate", "report", "one", "two", "--weights", tiny_weights), "none of the 1 examples", "a.wav")


def test_pairs_of_instruments_come_equally_often() -> None:
    names, performances = list("abcdef"), [f"parallel-{k}" for k in range(6)]
    drawn = balanced_draw(names, performances, 30, 1)
    assert len({pair[1:] for pair in drawn}) == 30 and drawn == sorted(drawn)
    assert all(sum(one[0] == performance for one in drawn) == 5 for performance in performances)
    assert len(set(balanced_draw(names, performances, 1000, 1))) == 180
    few = balanced_draw(names, performances, 6, 1)
    assert {pair[1] for pair in few} == {pair[2] for pair in few} == set(names)
    assert drawn != balanced_draw(names, performances, 30, 2)


def test_best_worst_and_random_examples() -> None:
    measured = [{"metrics": {"lsd60_db": float(value)}} for value in np.random.default_rng(0).permutation(30)]
    key, chosen = report.choose(measured, 12, 0)
    assert key == "lsd60_db" and len({row for row, _ in chosen}) == 12
    by_why = {why: [measured[row]["metrics"][key] for row, kind in chosen if kind == why] for why in report.KINDS[1:]}
    assert by_why["best"] == [0, 1, 2, 3] and by_why["worst"] == [29, 28, 27, 26] and len(by_why["random"]) == 4
    assert [why for _, why in chosen[:3]] == ["random", "best", "worst"]
    assert report.choose(measured, 12, 1)[1] != chosen
    assert report.choose(measured[:3], 12, 0)[1] == [(0, "all"), (1, "all"), (2, "all")]
    assert len(report.choose(measured[:5], 12, 0)[1]) == 5 and len(report.choose(measured, 0, 0)[1]) == 0


def test_contours_break_where_nothing_is_played() -> None:
    path = contour_path(np.array([0.0, 0.0, 0.0, np.nan, np.nan, 10.0, 10.0]), 0.0, 10.0, 7)
    assert path == "M0.0 100.0L333.3 100.0M833.3 0.0L1000.0 0.0"


def test_compare_in_python() -> None:
    found = compare(MELODY, 0.5 * MELODY, SAMPLE_RATE)
    assert found["loudness_error_db"] == pytest.approx(6.02, abs=0.05) and found["loudness_contour_error_db"] < 0.1
    assert found["raw_pitch_accuracy"] == 1.0 and found["lsd60_db"] == pytest.approx(6.02, abs=0.3)
    assert found["mel_cepstral_distortion_db"] < 0.01 and all(np.isfinite(list(found.values())))
