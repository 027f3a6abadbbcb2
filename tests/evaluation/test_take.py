"""A take to be passed on: one file with both sounds, the notes and how it was made, that plays in a browser."""

from __future__ import annotations

import base64
import io
import re
from importlib import resources
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile
from browser import PATIENCE_MS, chromium
from command_line import Run, as_json, check_refused
from conftest import SAMPLE_RATE, melody
from pages import check_self_contained

import tonetransfer as tt
from tonetransfer.errors import AudioError
from tonetransfer.evaluation.report import take

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js")
NOTES = [69, 72, 76]
SOUND = melody(NOTES)


@pytest.fixture(scope="module")
def arranged(tiny_model: tt.TimbreModel) -> tuple[Any, Any]:
    heard = tt.analyze(SOUND, SAMPLE_RATE, tiny_model)
    return heard, tt.arrange(heard, tt.find_target(tiny_model, SAMPLE_RATE, to="violin"), transpose=-12)


def write(path: Path, arranged: tuple[Any, Any], **more: Any) -> str:
    heard, arrangement = arranged
    tt.write_take(path, SOUND, heard, melody([n - 12 for n in NOTES], level=0.1), arrangement, **more)
    return path.read_text(encoding="utf-8")


def sounds(text: str) -> list[np.ndarray]:
    found = []
    for one in re.findall(r"data:audio/mpeg;base64,([^\"]+)", text):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(one)))
        assert rate == SAMPLE_RATE
        found.append(samples)
    return found


def test_the_page_holds_both_sounds_the_notes_and_the_settings(arranged: tuple[Any, Any], tmp_path: Path) -> None:
    settings = {"Command line": "tonetransfer transfer '<b>.wav' out.wav"}
    text = write(tmp_path / "take.html", arranged, names=("My hum", "Violin & co"), settings=settings, reach=(58.0, 62.0))
    check_self_contained(text)
    assert "Violin &amp; co" in text and "&lt;b&gt;.wav" in text and "<b>.wav" not in text and "moved by -12 semitones" in text
    source, result = sounds(text)
    for samples, f0_hz in ((source, 440.0), (result, 220.0)):
        controls = tt.analyze(samples.astype(np.float32), SAMPLE_RATE, tt.load_model())
        assert abs(float(controls.f0_hz[20]) / f0_hz - 1.0) < 0.005 and abs(len(samples) - len(SOUND)) < 0.08 * SAMPLE_RATE
    assert np.abs(result).max() < 0.5 * np.abs(source).max()  # levels are as they were made
    (midi,) = re.findall(r"data:audio/midi;base64,([^\"]+)", text)
    played = [one.note for one in mido.MidiFile(file=io.BytesIO(base64.b64decode(midi))) if one.type == "note_on"]
    assert played == [57, 60, 64]
    bars = re.findall(r"<rect( class=\"outside\")?[^>]*><title>([^<]+)</title>", text)
    assert bars == [(' class="outside"', "A3"), ("", "C4"), (' class="outside"', "E4")]


def test_of_a_long_recording_the_beginning_is_shared(arranged: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take, "LONGEST_S", 1.0)
    text = write(tmp_path / "take.html", arranged)
    assert all(len(one) < 1.1 * SAMPLE_RATE for one in sounds(text)) and "the first 1 s of 2" in text


def test_what_exists_and_what_is_no_page_is_refused(arranged: tuple[Any, Any], tmp_path: Path) -> None:
    write(tmp_path / "take.html", arranged)
    with pytest.raises(AudioError, match="exists"):
        write(tmp_path / "take.html", arranged)
    with pytest.raises(AudioError, match="ending in .html"):
        write(tmp_path / "take.txt", arranged)
    assert [path.name for path in tmp_path.iterdir()] == ["take.html"]


def test_transfer_shares_without_paths(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "my hum.wav"
    tt.save_audio(source, SOUND, SAMPLE_RATE)
    asked = [
        "transfer",
        source,
        tmp_path / "out.wav",
        "--to",
        "violin",
        "--weights",
        tiny_weights,
        "--share",
        tmp_path / "t.html",
        "--json",
    ]
    assert as_json(run(*asked, "--json"))["share"] == str(tmp_path / "t.html")
    text = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in text and "my hum.wav" in text and "--to violin" in text
    assert np.abs(sounds(text)[1]).max() == pytest.approx(np.abs(tt.load_audio(tmp_path / "out.wav")[0].numpy()).max(), rel=0.1)
    check_refused(run(*asked[:2], tmp_path / "new.wav", *asked[3:]), "t.html exists")
    assert not (tmp_path / "new.wav").exists()


def time_after(page: Any, least_s: float) -> float:
    """Where the player is, once it is past an instant; asked from outside, as the page forbids what Playwright would put into it."""
    for _ in range(PATIENCE_MS // 20):
        if (time_s := page.evaluate("document.querySelector('ab-player').currentTime")) > least_s:
            return time_s
        page.wait_for_timeout(20)
    raise AssertionError("it does not play")


@pytest.mark.slow
def test_it_plays_in_a_browser_from_a_file(arranged: tuple[Any, Any], tmp_path: Path) -> None:
    write(tmp_path / "take.html", arranged)
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto((tmp_path / "take.html").as_uri())
        page.evaluate("document.querySelector('ab-player').load()")
        plot = page.locator(".plot").first.bounding_box()
        page.mouse.click(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2)
        assert time_after(page, 0.5) == pytest.approx(len(SOUND) / SAMPLE_RATE / 2, abs=0.02)
        page.evaluate("document.querySelector('ab-player').loop = [1.2, 1.6]")  # on a busy computer it would come to its end
        page.locator("ab-player").get_by_role("button", name="Play").click()
        time_after(page, 1.2)
        page.keyboard.press("Space")
        assert page.evaluate("document.querySelector('ab-player').selected") == 1
        assert float(page.locator(".plot .head").first.evaluate("(head) => parseFloat(head.style.left)")) > 60.0
        assert wrong == []
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"] == []
