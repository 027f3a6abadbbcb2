"""The page that needs no server: exported, put under a path of a static host, and used in a browser."""

from __future__ import annotations

import functools
import http.server
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import numpy as np
import pytest
import soundfile
from browser import PATIENCE_MS, chromium

from tonetransfer.cli.main import main

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RATE = 48000


class Host(NamedTuple):
    """A static host, and the paths that it was asked for."""

    address: str
    asked: list[str]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_told: Any) -> None:
        pass

    def send_head(self) -> Any:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        return super().send_head()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "some").mkdir()
    assert main(["export", str(folder / "some" / "path"), "--format", "web", "--to", "violin", "--to", "flute"]) == 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Host(f"http://127.0.0.1:{server.server_port}/some/path/", server.asked)  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of a flute."""
    audio, rate = soundfile.read(ROOT / "examples" / "flute.flac", frames=10 * RATE)
    path = tmp_path_factory.mktemp("recording") / "flute take 1.wav"
    soundfile.write(path, audio, rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(recording: Path) -> Iterator[Any]:
    """With a microphone that hears the flute over and over."""
    microphone = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={recording}")
    with chromium("--autoplay-policy=no-user-gesture-required", *microphone) as opened:
        yield opened


def open_page(browser: Any, host: Host, before: str = "") -> tuple[Any, list[str]]:
    """The page and what is strange: requests to elsewhere, errors in its console. `before` runs first in it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page.set_default_timeout(PATIENCE_MS)
    strange: list[str] = []
    elsewhere = lambda request: strange.append(request.url) if not request.url.startswith((host.address, "blob:")) else None  # noqa: E731
    page.on("request", elsewhere)
    page.on("pageerror", lambda error: strange.append(str(error)))
    page.on("console", lambda told: strange.append(told.text) if told.type == "error" else None)
    if before:
        page.add_init_script(before)
    page.goto(host.address, timeout=PATIENCE_MS)
    return page, strange


def wait(page: Any, condition: str) -> None:
    """Until it holds in the page, whose policy forbids what Playwright's own waiting does."""
    late = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < late, condition
        page.wait_for_timeout(100)


def pitch_hz(audio: np.ndarray) -> np.ndarray:
    """f0 each 10 ms by YIN, NaN where it is soft."""
    f0_hz = librosa.yin(audio.astype(np.float32), fmin=150, fmax=2000, sr=RATE, frame_length=2048, hop_length=480)
    level = librosa.feature.rms(y=audio, frame_length=2048, hop_length=480)[0][: len(f0_hz)]
    return np.where(level > 0.1 * level.max(), f0_hz, np.nan)


def test_a_recording_is_played_without_anything_from_elsewhere(browser: Any, host: Host, recording: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    page, strange = open_page(browser, host)
    page.wait_for_selector(".card")
    loaded = time.perf_counter()
    assert page.locator(".card").count() == 2
    page.set_input_files("#file", str(recording))  # it is played at once
    page.wait_for_selector("#result:not([hidden])")
    print(f"loaded in {loaded - began:.2f} s; {page.inner_text('#facts')}")
    with page.expect_download() as kept:
        page.click("#download")
    assert kept.value.suggested_filename == "flute_take_1_violin.wav"
    kept.value.save_as(tmp_path / "violin.wav")
    source, (result, rate) = soundfile.read(recording)[0], soundfile.read(tmp_path / "violin.wav")
    assert rate == RATE and len(result) == len(source) and 0.05 < np.abs(result).max() <= 1.0
    cents = 1200.0 * np.log2(pitch_hz(result) / pitch_hz(source))
    cents = cents[np.isfinite(cents)]
    assert len(cents) > 500 and np.mean(np.abs(cents) < 50.0) > 0.9 and abs(np.median(cents)) < 5.0
    assert strange == []
    assert all(path.startswith("/some/path/") for path in host.asked)
    page.close()


def test_live_playing_answers_the_microphone(browser: Any, host: Host) -> None:
    page, strange = open_page(browser, host)
    page.wait_for_selector(".card")
    page.click("#tab-live")
    page.click("#live")
    wait(page, "document.getElementById('level-out').value > -40")  # the instrument is heard
    page.wait_for_timeout(4000)
    told = {name: page.inner_text(f"#{name}") for name in ("latency", "in-time", "missed")}
    print(told)
    assert 80 <= int(told["latency"].removesuffix(" ms")) <= 140
    assert re.fullmatch(r"[\d.]+ %", told["in-time"])  # how many depends on what else the computer does
    page.click("#live")
    page.wait_for_selector("#live-told", state="hidden")
    assert strange == []
    page.close()


def test_the_microphone_is_recorded(browser: Any, host: Host) -> None:
    page, strange = open_page(browser, host)
    page.wait_for_selector(".card")
    page.click("#record")
    wait(page, "parseFloat(document.getElementById('record').style.getPropertyValue('--level')) > 0.3")
    page.wait_for_timeout(2000)
    page.click("#record")
    page.wait_for_selector("#result:not([hidden])")
    page.check("input[value=flute]")  # and on another instrument
    wait(page, "document.getElementById('facts').textContent.startsWith('Flute')")
    assert "Your recording" in page.inner_text("#source") and strange == []
    page.close()


def test_a_long_recording_can_be_stopped(browser: Any, host: Host, recording: Path, tmp_path: Path) -> None:
    audio, rate = soundfile.read(recording)
    soundfile.write(tmp_path / "long.wav", np.tile(audio, 9), rate)
    page, _ = open_page(browser, host)
    page.wait_for_selector(".card")
    page.set_input_files("#file", str(tmp_path / "long.wav"))
    page.wait_for_selector("#go:not([disabled])")
    page.click("#go")
    wait(page, "/ left$/.test(document.getElementById('left').textContent)")
    page.click("#stop")
    page.wait_for_selector("#working", state="hidden")
    assert page.inner_text("#status") == "Stopped" and page.is_hidden("#result") and page.is_hidden("#trouble")
    assert page.is_enabled("#go")  # one can begin again
    page.close()


DROP = """async ({ name, text }) => {
    const given = new DataTransfer();
    given.items.add(new File([text], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
}"""


def trouble(page: Any) -> str:
    page.wait_for_selector("#trouble:not([hidden])")
    return page.inner_text("#trouble")


def test_what_goes_wrong_is_told_in_words(browser: Any, host: Host, tmp_path: Path) -> None:
    denied = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    page, _ = open_page(browser, host, denied)
    page.wait_for_selector(".card")
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(0).normal(0.0, 0.01, 3 * RATE), RATE)
    page.evaluate(DROP, {"name": "broken.mp3", "text": "no sound"})
    assert "cannot read broken.mp3" in trouble(page)
    page.set_input_files("#file", str(tmp_path / "silence.wav"))
    wait(page, "document.getElementById('trouble').textContent.includes('silence.wav is silent')")
    page.set_input_files("#file", str(tmp_path / "hiss.wav"))
    wait(page, "document.getElementById('trouble').textContent.includes('No note is heard')")
    page.click("#record")
    wait(page, "document.getElementById('trouble').textContent.includes('was not allowed')")
    page.close()


def test_a_browser_without_simd_is_told_so(browser: Any, host: Host) -> None:
    page, _ = open_page(browser, host, "WebAssembly.validate = () => false")
    assert "WebAssembly with SIMD" in trouble(page) and page.locator(".card").count() == 0 and page.is_disabled("#go")
    page.close()
