"""The page in a browser, with the bundled model: record, choose, hear, swap, edit, download, reload, on a phone, and with errors."""

from __future__ import annotations

import base64
import json
import os
import shlex
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import librosa
import mido
import numpy as np
import pytest
import soundfile
import torch
from browser import PATIENCE_MS, chromium, wait
from conftest import SAMPLE_RATE, melody, tone

import tonetransfer as tt
from tonetransfer.cli import demo

pytestmark = pytest.mark.slow
SPOKEN_HZ = 392.0  # what the fake microphone hears: G4, one note a second
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js")
CAPTURE = """async () => {
    if (window.captured) { window.captured = []; return; }
    const player = document.querySelector("#tt-player"), context = player.output.context;
    const code = `registerProcessor("keep", class extends AudioWorkletProcessor {
        process([input]) { if (input.length) this.port.postMessage(input[0].slice()); return true; } })`;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const keep = new AudioWorkletNode(context, "keep");
    window.captured = [];
    keep.port.onmessage = (event) => window.captured.push(...event.data);
    player.output.connect(keep).connect(context.destination);
}"""


class Served:
    """The page, and its folder."""

    def __init__(self, folder: Path) -> None:
        self.blocks, self.address, self.work = demo.find_page().launch("127.0.0.1", folder=folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    before = tempfile.tempdir, os.environ.get("GRADIO_TEMP_DIR")
    page = Served(tmp_path_factory.mktemp("page") / "work")
    yield page
    page.blocks.close(verbose=False)
    page.work.close()
    tempfile.tempdir = before[0]
    os.environ.pop("GRADIO_TEMP_DIR", None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    spoken = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    note = tone(SPOKEN_HZ, 0.8)
    soundfile.write(spoken, torch.cat([note, torch.zeros(round(0.2 * SAMPLE_RATE))]).repeat(20).numpy(), SAMPLE_RATE)
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={spoken}")
    with chromium(*fake, "--autoplay-policy=no-user-gesture-required") as opened:
        yield opened


def wait_for_first_result(page: Any) -> None:
    page.wait_for_selector(".tt-card")
    wait(page, "document.querySelector('#tt-player').duration > 0")


class Visit:
    """One visitor's page; `strange` holds errors, and addresses elsewhere that were asked."""

    def __init__(self, browser: Any, served: Served, *, width: int = 1280, height: int = 900, context: Any = None, **options: Any) -> None:
        options = {"bypass_csp": True, **options}  # what waits in the page for a test is a string that is evaluated
        self.context = context or browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
        self.page, self.strange, self.served = self.context.new_page(), [], served
        self.page.set_default_timeout(PATIENCE_MS)
        own = (served.address, "data:", "blob:")
        self.page.on("request", lambda request: self.strange.append(request.url) if not request.url.startswith(own) else None)
        self.page.on("pageerror", lambda error: self.strange.append(str(error)))
        self.open()

    def open(self) -> None:
        """Load the page, and wait for its first result."""
        self.page.goto(self.served.address, timeout=PATIENCE_MS)
        wait_for_first_result(self.page)

    def choose(self, instrument: str) -> None:
        self.page.locator(f".tt-card:has(input[value={instrument}])").click()

    def wait_for(self, *, source: str, to: str) -> str:
        """The command line of a result, once it is there."""
        self.page.wait_for_function(
            "([source, to]) => { const told = document.querySelector('#tt-command').textContent;"
            " return told.includes(source) && told.includes(to) && document.querySelector('#tt-work').hidden; }",
            arg=[source, to],
        )
        return str(self.page.locator("#tt-command").text_content())

    def upload(self, path: str | Path) -> None:
        self.page.set_input_files("#tt-upload", str(path))

    def heard(self, seconds: float = 1.2) -> tuple[float, float]:
        """Peak and f0 (pYIN: it is not one of ours) of what sounds for a while; it then goes on from the beginning again and again."""
        self.page.evaluate("(() => { const player = document.querySelector('#tt-player'); player.loop = [0, player.duration]; })()")
        self.page.evaluate(CAPTURE)
        self.page.wait_for_timeout(1000 * seconds)
        samples = np.asarray(self.page.evaluate("window.captured"), np.float32)
        rate = self.page.evaluate("document.querySelector('#tt-player').output.context.sampleRate")
        f0, voiced, _ = librosa.pyin(samples, fmin=80.0, fmax=1500.0, sr=rate)
        return float(np.abs(samples).max()), float(np.nanmedian(f0[voiced])) if voiced.any() else float("nan")

    def close(self) -> None:
        assert self.strange == []
        self.context.close()


def semitones(found_hz: float, wanted_hz: float) -> float:
    return 12.0 * float(np.log2(found_hz / wanted_hz))


def write(folder: Path, name: str, midi: list[int]) -> Path:
    tt.save_audio(folder / name, melody(midi, seconds=0.5), SAMPLE_RATE, overwrite=True)
    return folder / name


def test_one_click_to_sound_and_the_space_bar_swaps(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    page = visit.page
    assert page.locator("#tt-go").text_content() == "Play violin"
    page.click("#tt-go")
    page.wait_for_function("!document.querySelector('#tt-player').paused")
    assert visit.heard()[0] > 0.01
    before = page.evaluate("document.querySelector('#tt-player').currentTime")
    page.locator("body").press("Space")
    after = page.evaluate("[document.querySelector('#tt-player').selected, document.querySelector('#tt-player').currentTime]")
    assert after[0] == 0 and after[1] != before and visit.heard(0.6)[0] > 0.01
    visit.close()


def test_the_first_click_counts_however_early(browser: Any, served: Served) -> None:
    context, held = browser.new_context(bypass_csp=True), []
    page = context.new_page()
    page.route("**/hum_violin.json", lambda route: held.append(route))  # the first result is late
    with page.expect_request("**/hum_violin.json"):
        page.goto(served.address, timeout=PATIENCE_MS)
    assert page.is_disabled("#tt-go")
    held[0].continue_()
    page.click("#tt-go")
    wait(page, "!document.querySelector('#tt-player').paused")
    context.close()


def test_record_and_hear_it_at_once_at_the_right_pitch(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    page = visit.page
    page.uncheck(".tt-count")
    page.click(".tt-record")
    page.wait_for_selector("tt-recorder[data-state=recording]")
    page.wait_for_timeout(3200)
    page.click(".tt-record")
    visit.wait_for(source="recording", to="--to violin")
    page.wait_for_function("!document.querySelector('#tt-player').paused")  # it plays by itself
    peak, f0_hz = visit.heard()
    assert peak > 0.01 and abs(semitones(f0_hz, SPOKEN_HZ)) < 0.5
    page.locator("#tt-player .stage").press("1")
    page.evaluate("document.querySelector('#tt-player').currentTime = 0.2")
    peak, f0_hz = visit.heard()
    assert peak > 0.01 and abs(semitones(f0_hz, SPOKEN_HZ)) < 0.2
    length = page.evaluate("document.querySelector('#tt-player').duration")
    page.click(".tt-trim summary")
    page.locator(".tt-end").fill("0.5")
    page.click("[data-act=cut]")
    visit.wait_for(source="(cut)", to="--to violin")
    page.wait_for_function(f"Math.abs(document.querySelector('#tt-player').duration - {length / 2}) < 0.2")
    visit.close()


def test_the_policy_of_the_page_forbids_nothing_that_it_does(browser: Any, served: Served) -> None:
    page, said = browser.new_page(bypass_csp=False), []
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: said.append(message.text) if "Content Security Policy" in message.text else None)
    answer = page.goto(served.address)
    assert "script-src 'self' blob:" in answer.headers["content-security-policy"]
    wait_for_first_result(page)
    page.click("#tt-go")
    page.wait_for_selector("#tt-player[playing]")
    page.uncheck(".tt-count")
    page.click(".tt-record")
    page.wait_for_selector("tt-recorder[data-state=recording]")
    page.wait_for_timeout(1500)
    page.click(".tt-record")
    page.wait_for_selector("#tt-source-name:has-text('recording')")
    page.wait_for_selector("#tt-downloads button")
    page.wait_for_selector("#tt-player[playing]")
    assert said == []
    page.close()


def test_octaves_notes_out_of_reach_and_edits(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    visit.upload(write(tmp_path, "Lied für Anna.wav", [55, 57, 60]))
    visit.wait_for(source="Lied für Anna.wav", to="--to violin")
    assert "Lied für Anna.wav" in page.inner_text("#tt-source") and str(served.work.folder) not in page.inner_text("body")
    visit.choose("piccolo")
    assert "--transpose" not in visit.wait_for(source="Lied", to="--to piccolo")
    assert page.locator(".tt-beyond").is_hidden()
    page.get_by_label("at my pitch").check(force=True)
    visit.wait_for(source="--transpose 0", to="--to piccolo")
    assert "3 of 3 notes are beyond this instrument" in page.inner_text(".tt-beyond")
    visit.choose("violin")
    visit.wait_for(source="--transpose 0", to="--to violin")
    page.get_by_label("automatic", exact=True).first.check(force=True)
    visit.wait_for(source="transfer 'Lied", to="--to violin")
    page.click(".tt-tools summary")
    page.click("[data-edit=octave_up]")
    command = visit.wait_for(source="synthesize", to="--to violin")
    with page.expect_download() as download:
        page.click("#tt-controls")
    download.value.save_as(tmp_path / "controls.npz")
    controls = tt.Controls.load(tmp_path / "controls.npz")
    notes = controls.f0_hz[controls.note_frames()]
    assert shlex.split(command)[0] == "tonetransfer" and float(notes.min()) > 380.0 and float(notes.max()) < 540.0  # G4 to C5
    visit.close()


def test_cards_are_found_opened_blended_and_heard_before_they_are_chosen(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    page = visit.page
    assert not page.is_visible(".tt-card:has(input[value=cello_2])")
    page.fill("#tt-search", "cel")
    assert page.is_visible(".tt-card:has(input[value=cello_2])") and not page.is_visible(".tt-card:has(input[value=violin])")
    page.fill("#tt-search", "kazoo")
    assert page.is_visible(".tt-none")
    page.fill("#tt-search", "")
    visit.choose("cello")
    visit.wait_for(source="hum.mp3", to="--to cello")
    assert page.is_visible(".tt-card:has(input[value=cello_2])")  # its players stand beside it
    assert page.inner_text(".tt-card:has(input[value=tuba]) .tt-fit").startswith("all, moved")
    page.wait_for_function("!document.querySelector('#tt-player').paused")
    page.evaluate("document.querySelector('#tt-player').pause()")
    with page.expect_response("**/call/page_preview"):
        page.hover(".tt-card:has(input[value=cello_3])")
    page.wait_for_selector(".tt-card.tt-heard:has(input[value=cello_3])")
    page.locator("[name=tt-how][value=blend]").check(force=True)
    page.locator("[name=tt-slot][value='1']").check(force=True)
    visit.choose("trumpet")
    page.locator("#tt-share").fill("0.25")
    visit.wait_for(source="hum.mp3", to="--mix cello:0.75,trumpet:0.25")
    assert page.inner_text("#tt-share-told") == "75 % cello, 25 % trumpet"
    visit.close()


def test_a_pitch_drawn_over_a_rest_is_said_to_be_silent_and_stays_in_the_picture(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    sound = torch.cat([melody([69], seconds=0.8), torch.zeros(SAMPLE_RATE), melody([69], seconds=0.8)])
    tt.save_audio(tmp_path / "rest.wav", sound, SAMPLE_RATE)
    visit.upload(tmp_path / "rest.wav")
    visit.wait_for(source="rest.wav", to="--to violin")
    page.click(".tt-tools summary")
    page.click("[data-tool=pitch]")
    page.locator("tt-roll canvas").scroll_into_view_if_needed()
    box = page.locator("tt-roll canvas").bounding_box()
    before = box["height"]
    across = [box["x"] + 44 + (box["width"] - 52) * share for share in (0.40, 0.60)]
    page.mouse.move(across[0], box["y"] + 30)
    page.mouse.down()
    page.mouse.move(across[1], box["y"] + 30, steps=6)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.tt-edited').textContent.includes('over a rest')")
    for _ in range(4):
        page.click("[data-edit=octave_down]")
    page.wait_for_function("document.querySelector('#tt-roll').edits.length === 5")
    page.click("[data-edit=clear]")
    higher = "document.querySelector('#tt-roll').edits = [{ start_s: 0, end_s: 0.8, semitones: 48 }]"
    after = page.evaluate(f"{higher}; document.querySelector('tt-roll canvas').offsetHeight")
    assert after > before  # four octaves higher, and still seen
    visit.close()


def phone_memo(path: Path) -> Path:
    """1.5 s of 330 Hz as a phone keeps it."""
    import av

    samples = tone(330.0, 1.5).numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for first in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 960], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("dropped", [False, True])
def test_a_phones_recording_is_decoded_in_the_browser(
    browser: Any, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped: bool
) -> None:
    monkeypatch.setattr("tonetransfer.audio.readers.find_decoder", lambda: None)  # the server knows no such format
    memo, visit = phone_memo(tmp_path / f"memo{dropped}.m4a"), Visit(browser, served)
    with pytest.raises(tt.ToneTransferError):
        tt.load_audio(memo)
    if dropped:
        visit.page.evaluate(
            """([name, content]) => {
                const given = new DataTransfer(), bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                given.items.add(new File([bytes], name, { type: "audio/mp4" }));
                const dropped = { bubbles: true, cancelable: true, dataTransfer: given };
                document.querySelector("main").dispatchEvent(new DragEvent("drop", dropped));
            }""",
            [memo.name, base64.b64encode(memo.read_bytes()).decode()],
        )
    else:
        visit.upload(memo)
    visit.wait_for(source=f"memo{dropped}.wav", to="--to violin")
    (uploaded,) = served.work.folder.rglob(f"memo{dropped}.wav")
    audio, rate = tt.load_audio(uploaded)
    controls = tt.analyze(audio, rate, served.work.model)
    assert len(audio) / rate == pytest.approx(1.5, abs=0.06) and float(controls.f0_hz[40:110].median()) == pytest.approx(330.0, abs=2.0)
    visit.close()


def test_a_second_setting_stands_beside_the_first(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    page = visit.page
    page.click("#tt-fine > summary")
    assert page.is_disabled("#tt-scale") and page.is_disabled("#tt-tonic")
    assert page.locator("#tt-tracker option").first.text_content() == "automatic"
    page.locator("[name=tt-ab][value='1']").check(force=True)
    page.get_by_role("button", name="Intimate cello").click()
    visit.wait_for(source="--dynamic p", to="--to cello")
    page.wait_for_function("document.querySelector('#tt-player').takes.length === 3")
    assert page.evaluate("document.querySelector('#tt-player').takes.map((one) => one.name)") == ["Your recording", "A: violin", "B: cello"]
    page.locator("[data-setting=autotune]").fill("0.5")
    assert page.is_enabled("#tt-scale")
    visit.wait_for(source="--autotune 0.5", to="--to cello")
    visit.close()


def test_like_a_recording_and_by_name_in_its_colour(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    page.locator("[name=tt-how][value=like]").check(force=True)
    page.set_input_files("#tt-reference", str(write(tmp_path, "mine.wav", [45, 48, 52])))
    assert "--to" not in visit.wait_for(source="hum.mp3", to="--like mine.wav")
    page.select_option("#tt-kind", "tuba")
    visit.wait_for(source="--to tuba", to="--match mine.wav")
    assert page.inner_text("#tt-go") == "Play tuba in the colour of mine.wav" and "Tuba" in page.inner_text("#tt-told")
    for path in served.work.folder.rglob("mine.wav"):
        path.unlink()  # the server has removed it meanwhile
    visit.upload(write(tmp_path, "tune.wav", [69, 72]))
    visit.wait_for(source="tune.wav", to="--match mine.wav")
    page.locator("[name=tt-how][value=named]").check(force=True)
    visit.wait_for(source="tune.wav", to="--to violin")
    page.locator("#tt-take-list button").filter(has_text="mine.wav").last.click()
    visit.wait_for(source="--to tuba", to="--match mine.wav")
    assert page.locator("#tt-kind").input_value() == "tuba" and page.locator("[name=tt-how][value=like]").is_checked()
    visit.close()


def test_a_reload_brings_recording_settings_and_takes_back(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    visit.upload(write(tmp_path, "tune.wav", [69, 72]))
    visit.wait_for(source="tune.wav", to="--to violin")
    visit.choose("oboe")
    visit.wait_for(source="tune.wav", to="--to oboe")
    page.locator("#tt-dynamic").fill("2")
    visit.wait_for(source="--dynamic p", to="--to oboe")
    page.wait_for_timeout(600)
    for path in served.work.folder.rglob("tune.wav"):
        path.unlink()  # the server has removed it meanwhile
    page.reload()
    page.wait_for_selector(".tt-card")
    visit.wait_for(source="--dynamic p", to="--to oboe")
    page.wait_for_function("document.querySelector('#tt-player').takes.length === 2 && document.querySelector('#tt-player').duration > 0.9")
    assert "tune.wav" in page.inner_text("#tt-source") and page.locator("#tt-take-list li").count() == 3
    assert page.locator("#tt-dynamic").input_value() == "2"
    visit.choose("flute")
    visit.wait_for(source="tune.wav", to="--to flute")  # given to the server once more
    visit.close()


def test_an_error_stays_where_it_happened_and_nothing_stale_stands_beside_it(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    bad = tmp_path / "shopping list.wav"
    bad.write_text("milk, eggs\n" * 40)
    visit.upload(bad)
    page.wait_for_selector("#tt-source-error:not([hidden])")
    assert "shopping list.wav is not a sound file that can be read" in page.inner_text("#tt-source-error")
    assert page.locator("#tt-downloads button").count() == 0 and page.locator("#tt-told").text_content() == ""
    assert page.locator("#tt-roll").is_hidden() and page.locator("#tt-error").is_hidden()
    text = page.inner_text("body")
    assert "Traceback" not in text and str(served.work.folder) not in text
    visit.upload(write(tmp_path, "good.wav", [69]))
    visit.wait_for(source="good.wav", to="--to violin")
    assert page.locator("#tt-source-error").is_hidden()
    page.get_by_role("tab", name="Batch").click()
    page.click("#tt-batch-go")
    page.wait_for_selector("#tt-batch-error:not([hidden])")
    assert page.locator("#tt-error").is_hidden()
    visit.close()


def test_stop_stops(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    path = tmp_path / "long.wav"
    tt.save_audio(path, melody([69, 72, 76, 74], seconds=0.5).repeat(60), SAMPLE_RATE)
    page.uncheck("#tt-auto")
    visit.upload(path)
    page.wait_for_function("document.querySelector('#tt-work').hidden && document.querySelector('#tt-roll').scene?.seconds > 100")
    assert page.locator("#tt-go").text_content() == "Transfer to violin"
    begun = len(list((served.work.folder / "made").iterdir()))
    page.click("#tt-go")
    page.wait_for_function("document.querySelector('#tt-progress').value > 0.1")
    page.click("#tt-stop")
    page.wait_for_selector("#tt-work", state="hidden")
    time.sleep(3.0)
    assert page.locator("#tt-error").is_hidden() and page.locator("#tt-told").text_content() == ""
    made = [one for one in (served.work.folder / "made").iterdir() if list(one.glob("long_violin.wav"))]
    assert made == [] and len(list((served.work.folder / "made").iterdir())) <= begun + 1  # at most its beginning was made
    visit.close()


def test_every_tab_gives_its_download(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    page = visit.page
    source = write(tmp_path, "hum.wav", [69, 71, 72])

    def get(button: str) -> Path:
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / "got" / download.value.suggested_filename)
        return tmp_path / "got" / download.value.suggested_filename

    assert soundfile.info(str(get("#tt-wav"))).duration == pytest.approx(7.9, abs=0.2)  # of the take that the page opened with: made now
    visit.upload(source)
    visit.wait_for(source="hum.wav", to="--to violin")
    length = soundfile.info(str(source)).duration
    assert soundfile.info(str(get("#tt-flac"))).duration == soundfile.info(str(get("#tt-wav"))).duration == pytest.approx(length)
    shared = get("#tt-page").read_text(encoding="utf-8")
    assert "<ab-player" in shared and "hum.wav" in shared and "--to violin" in shared and str(served.work.folder) not in shared
    assert len(mido.MidiFile(get("#tt-midi")).tracks) > 0
    assert tt.Controls.load(get("#tt-controls")).n_frames == round(100 * length)
    page.get_by_role("tab", name="Compare").click()
    page.select_option("#tt-which", "One family")
    page.click("#tt-compare-go")
    page.wait_for_selector("#tt-compare-files button")
    assert "hum_violin.mp3" in zipfile.ZipFile(get("#tt-compare-files button")).namelist()
    page.locator("#tt-cells button").nth(2).click()
    page.wait_for_function("!document.querySelector('#tt-compare-player').paused")
    page.get_by_role("tab", name="Analyze").click()
    page.click("#tt-analyze-go")
    page.wait_for_selector("#tt-analyze-files button")
    assert json.loads(get("#tt-analyze-files button").read_text())["note_count"] == 3.0
    page.get_by_role("tab", name="Batch").click()
    page.set_input_files("#tt-files", [str(source), str(write(tmp_path, "two words.wav", [60]))])
    page.click("#tt-batch-go")
    page.wait_for_selector("#tt-batch-files button")
    assert zipfile.ZipFile(get("#tt-batch-files button")).namelist() == ["hum_violin.wav", "two_words_violin.wav"]
    assert "two words.wav" in page.inner_text("#tt-rows")
    visit.close()


def test_at_the_width_of_a_phone(browser: Any, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served, width=390, height=844, has_touch=True, is_mobile=True)
    page = visit.page
    for button in ("#tt-go", "#tt-mini", "#tt-bar-who", ".tt-record"):
        box = page.locator(button).bounding_box()
        assert box is not None and box["y"] + box["height"] <= 844 and box["height"] >= 40, button  # seen without scrolling
    page.tap("#tt-mini")
    page.wait_for_function("!document.querySelector('#tt-player').paused")
    visit.upload(write(tmp_path, "a name that is much too long for the little width of a telephone held upright.wav", [69, 71]))
    visit.wait_for(source="telephone", to="--to violin")
    for tab in ("Compare", "Analyze", "Batch", "Play"):
        page.get_by_role("tab", name=tab).tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab  # nothing sticks out
    tops = page.evaluate("[...document.querySelectorAll('.tt-card')].filter((one) => one.offsetParent).map((one) => one.offsetTop)")
    assert len(tops) > 40 and len(set(tops)) == 1  # one row of cards
    visit.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, served: Served, tmp_path: Path, scheme: str) -> None:
    for width in (1280, 390) if scheme == "light" else (1280,):  # colours are those of all widths
        visit = Visit(browser, served, width=width, color_scheme=scheme)
        page = visit.page
        page.evaluate(AXE.read_text(encoding="utf-8"))
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for how in ("like", "blend", "named"):
            page.locator(f"[name=tt-how][value={how}]").check(force=True)
        for tab in ("Play", "Compare", "Analyze", "Batch")[: 4 if width > 800 else 1]:
            page.get_by_role("tab", name=tab).click()
            if tab == "Analyze":
                page.click("#tt-analyze-go")
                page.wait_for_selector("#tt-analyze-files button")
            found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert [(one["id"], [node["html"][:90] for node in one["nodes"][:3]]) for one in serious] == [], (scheme, width, tab)
        visit.close()


def test_tab_order_begins_where_the_work_begins(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    page, found = visit.page, []
    for _ in range(40):
        page.keyboard.press("Tab")
        found.append(page.evaluate("document.activeElement.className || document.activeElement.id"))
    assert found[0] == "tt-skip" and "tt-record" in found[:4]
    assert page.evaluate("document.querySelector('#tt-live').getAttribute('aria-live')") == "polite"
    visit.open()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first stop leads to the main button
    wait(page, "document.activeElement.id === 'tt-go'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('.tt-right').contains(document.activeElement)")
    visit.close()
