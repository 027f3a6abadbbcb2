"""The page that needs no server: its graphs play what the model plays, and it works in a browser, from under a path of a static host."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from browser import PATIENCE_MS, chromium, wait
from conftest import make_model
from test_web import stand_in
from whole_recordings import highest_so_far, loudness_of

import tonetransfer as tt
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.audio.stft import frame_magnitudes, log_spectral_distance_db
from tonetransfer.cli.main import main
from tonetransfer.controls.dynamics import loudness_quantiles
from tonetransfer.controls.profile import traits_of
from tonetransfer.export import web
from tonetransfer.export.checks import level_db
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import save_model
from tonetransfer.realtime.voice import correction_gain_db
from tonetransfer.synthesis.colour import TONE_KEY
from tonetransfer.synthesis.damping import DecayClock, damped
from tonetransfer.synthesis.fluctuation import NOISE_KEY
from tonetransfer.synthesis.render import white_noise

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RATE, HOP = 48000, 480
OPERATORS_OF_NO_PAGE = {"DFT", "STFT", "Loop", "Scan", "If", "SequenceAt", "RandomNormalLike", "RandomUniformLike"}


def own_model() -> TimbreModel:
    """A small instrument that has everything: a note-age table, fluctuating partials, a room and a room tone."""
    made = make_model()
    instrument = replace(made.instruments[1], name="my_sax", fluctuation_db=3.0, note_table=0, in_room_tone=True)
    model = TimbreModel(made.settings, (instrument,))
    model.decoder = made.decoder
    model.decoder.add_note_age_table()
    generator = torch.Generator().manual_seed(0)
    assert model.decoder.register is not None
    torch.nn.init.normal_(model.decoder.register.table, std=0.2, generator=generator)
    model.timbres.copy_(made.timbres[1:2])
    model.quantiles.copy_(made.quantiles[1:2])
    model.note_tables = 0.2 * torch.randn(1, 25, 15, model.decoder.head.out_features, generator=generator)
    model.room_tone_db = torch.linspace(-95.0, -130.0, 64)
    model.room = 0.1 * torch.randn(5000, generator=generator) * torch.exp(-torch.arange(5000) / 1000.0)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an instrument of one's own."""
    folder = tmp_path_factory.mktemp("web")
    save_model(folder / "own.safetensors", own_model())
    return folder


@pytest.fixture(scope="module")
def page(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A page with two bundled instruments and one of one's own: its manifest, and a function that opens a graph."""
    tos = ["--to", "violin", "--to", "horn fluid", "--to", str(place / "own.safetensors")]
    folder, runtime = place / "some" / "path", stand_in(tmp_path_factory.mktemp("runtime"))
    folder.parent.mkdir()
    assert main(["export", str(folder), "--format", "web", *tos, "--runtime", str(runtime)]) == 0
    manifest = json.loads((folder / web.MANIFEST).read_text())
    graph = functools.cache(lambda file: onnxruntime.InferenceSession(str(folder / file)))
    return manifest | {"folder": folder, "graph": graph, "entries": {one["name"]: one for one in manifest["instruments"]}}


Performance = tuple[tt.TimbreModel, Any, tt.Target]


@pytest.fixture(scope="module")
def heard() -> tt.Controls:
    """Real playing."""
    audio, sample_rate = tt.load_audio(ROOT / "examples" / "flute.flac")
    return tt.analyze(audio[: 6 * sample_rate], sample_rate, tt.load_model())


@pytest.fixture(scope="module")
def performance(place: Path, heard: tt.Controls) -> Callable[[str], Performance]:
    """Real playing, arranged for an instrument of the page."""
    bundled = tt.load_model()

    def arranged(name: str) -> Performance:
        model = tt.load_model(place / "own.safetensors") if name == "my_sax" else bundled
        target = tt.find_target(model, model.sample_rate, to=name)
        return model, tt.arrange(heard, target), target

    return arranged


def noise(n_frames: int, n_harmonics: int, seed: int, *, hiss: bool = True) -> np.ndarray:
    """The noise that the product itself takes, as a graph wants it."""
    white = white_noise(0, n_frames * HOP, seed).reshape(n_frames, HOP) * float(hiss)
    moves = white_noise(0, n_frames * n_harmonics, seed ^ NOISE_KEY).reshape(n_frames, n_harmonics)
    return torch.cat([white, moves], dim=1).numpy()


def played(page: dict[str, Any], name: str, asked: tt.Controls, *, seed: int = 0, hiss: bool = True, at_once: int = 100) -> torch.Tensor:
    entry = page["entries"][name]
    random = noise(asked.n_frames + 2, entry["n_noise"] - HOP, seed, hiss=hiss)
    sound = web.play(page["graph"](entry["file"]), asked, random, at_once)
    return torch.from_numpy(sound)


def offline(model: TimbreModel, asked: tt.Controls, target: tt.Target, *, noise_db: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.cat(list(model.play(asked, target.z, noise_db=noise_db, seed=seed, **traits_of(target))))


@pytest.mark.parametrize("name", ["violin", "horn_fluid", "my_sax"])
def test_harmonics_are_those_of_the_model(page: dict[str, Any], performance: Callable[[str], Performance], name: str) -> None:
    model, arrangement, target = performance(name)
    expected = offline(model, arrangement.asked, target, noise_db=-200.0)
    assert level_db(played(page, name, arrangement.asked, hiss=False) - expected, expected) < -60.0


def spiccato() -> tt.Controls:
    """Short notes of a thrown bow, after a rest: when the bow has left, the string is on its own."""
    frames = torch.arange(35)
    stroke = -16.0 - 8.0 * (3 - frames).clamp(min=0) - 0.9 * (frames - 10).clamp(min=0)
    level = torch.cat([torch.full((35,), -120.0), *(stroke + loud for loud in (0.0, -6.0, 2.0, -3.0))])
    f0_hz = torch.tensor([196.0, 196.0, 293.66, 440.0, 659.25]).repeat_interleave(35)
    return tt.Controls(f0_hz, torch.ones(len(f0_hz)), level)


def test_strings_die_away_as_those_of_the_model(page: dict[str, Any], performance: Callable[[str], Performance]) -> None:
    model, _, target = performance("violin")
    asked, driven = spiccato(), replace(target, string_damping=0.0)
    tone, driven_tone = (offline(model, asked, one, noise_db=-200.0) for one in (target, driven))
    made = played(page, "violin", asked, hiss=False)
    assert level_db(made - tone, tone) < -60.0 and level_db(driven_tone - tone, tone) > -30.0
    noise, driven_noise = offline(model, asked, target) - tone, offline(model, asked, driven) - driven_tone
    assert level_db(played(page, "violin", asked) - made - noise, noise) < -35.0 and level_db(driven_noise - noise, noise) > -20.0


def test_bands_of_noise_are_those_of_the_model(page: dict[str, Any], performance: Callable[[str], Performance]) -> None:
    model, arrangement, target = performance("violin")
    parts = [
        played(page, "violin", arrangement.asked, seed=5) - played(page, "violin", arrangement.asked, seed=5, hiss=False),
        offline(model, arrangement.asked, target) - offline(model, arrangement.asked, target, noise_db=-200.0),
    ]
    power = [frame_magnitudes(part, model.grid, 2048).square().mean(0)[8:840].reshape(-1, 32).mean(1) for part in parts]
    assert (10.0 * torch.log10(power[0] / power[1])).abs().max() < 0.5
    same = played(page, "violin", arrangement.asked) - played(page, "violin", arrangement.asked, hiss=False)
    assert level_db(same - parts[1], parts[1]) < -35.0  # with the same white noise, the same sound


@pytest.mark.parametrize("name", ["violin", "my_sax"])
def test_blocks_do_not_show(page: dict[str, Any], performance: Callable[[str], Performance], name: str) -> None:
    asked = performance(name)[1].asked.slice(0.0, 2.0)
    whole = played(page, name, asked, at_once=1000)
    assert all(level_db(played(page, name, asked, at_once=size) - whole, whole) < -100.0 for size in (1, 2, 33))


@pytest.mark.parametrize("name", ["violin", "my_sax"])
def test_a_page_makes_what_transfer_makes(
    page: dict[str, Any], performance: Callable[[str], Performance], heard: tt.Controls, name: str
) -> None:
    """Instrument and finish together, with the noise of the program itself, in pieces."""
    model, arrangement, target = performance(name)
    expected = torch.cat(list(tt.play(arrangement, model, target.z)))
    asked, entry, n = arrangement.asked, page["entries"][name], arrangement.asked.n_frames
    reach, before = page["finish"]["context_frames"], page["finish"]["noise_frames"]
    sound = played(page, name, asked).reshape(n, HOP).numpy()
    white = white_noise(-before * HOP, (before + n) * HOP, TONE_KEY).reshape(before + n, HOP).numpy()
    silent = heard.loudness_db < float(loudness_quantiles(heard.loudness_db, arrangement.notes)[-1]) + entry["silent_below_db"]
    marks = torch.where(arrangement.notes, 1.0, torch.where(silent, -1.0, 0.0)).numpy()
    level = np.array([entry["loudness_quantiles_db"][-1] if entry["room_tone"] else -300.0], np.float32)
    pieces = []
    for first in range(0, n, 250):
        begin, end = max(first - reach, 0), min(first + 250 + reach, n)
        tracks = asked.loudness_db[None, begin:end].numpy(), marks[None, begin:end]
        inputs = sound[begin:end], *tracks, np.array([arrangement.gain_db], np.float32), level, white[begin : end + before]
        names = [one.name for one in page["graph"](entry["finish"]).get_inputs()]
        finished = page["graph"](entry["finish"]).run(None, dict(zip(names, inputs, strict=True)))[0][0]
        pieces.append(finished[(first - begin) * HOP : (min(first + 250, n) - begin) * HOP])
    made = torch.from_numpy(np.concatenate(pieces))
    assert log_spectral_distance_db(made, expected) < 0.2
    assert level_db(made - expected, expected) < -50.0


def test_the_phase_is_right_after_a_minute(page: dict[str, Any], place: Path) -> None:
    model, n = tt.load_model(place / "own.safetensors"), 6000
    asked = tt.Controls(torch.full((n,), 987.6), torch.ones(n), torch.full((n,), -20.0))
    heard = played(page, "my_sax", asked, hiss=False, at_once=5)[-HOP * 100 : -HOP]  # the last hop goes on
    expected = offline(model, asked, tt.find_target(model, 48000, to="my_sax"), noise_db=-200.0)[-HOP * 100 : -HOP]
    assert level_db(heard - expected, expected) < -60.0


@pytest.mark.parametrize("name", ["horn_fluid", "violin"])
def test_live_follows_loudness_as_the_stream_does(page: dict[str, Any], performance: Callable[[str], Performance], name: str) -> None:
    model, arrangement, target = performance(name)
    asked, session, clock = arrangement.asked, page["graph"](f"instruments/{name}.onnx"), DecayClock(model.grid.frame_rate)
    decay_s = torch.tensor([clock.next(level) for level in asked.loudness_db.tolist()])
    model = model.with_note_table(target.note_table)
    with torch.no_grad():
        batch, _ = model.decoder(asked.f0_hz[None], asked.loudness_db[None], target.z[None], highest_hz=highest_so_far(asked.f0_hz)[None])
    heard, params = (
        next(damped([one], decay_s, target.string_damping, model.sample_rate)) if target.string_damping else one
        for one in (batch.map(lambda x: x[0]), model.decode(asked, target.z))
    )
    gain_db, gains = 0.0, []
    for sounds, wanted in zip(loudness_of(heard, model.grid).tolist(), asked.loudness_db.tolist(), strict=True):
        gain_db = correction_gain_db(sounds, wanted, gain_db, model.grid.frame_rate)
        gains.append(gain_db)
    gain = 10.0 ** (torch.tensor(gains) / 20.0)
    expected = model.render(replace(params, amplitude=params.amplitude * gain, noise_magnitudes=0.0 * params.noise_magnitudes))
    f0_hz, level, state = asked.f0_hz[None].numpy(), asked.loudness_db[None].numpy(), np.zeros(session.get_inputs()[-1].shape, np.float32)
    silent = np.zeros((asked.n_frames, page["entries"][name]["n_noise"]), np.float32)
    inputs = dict(zip(web.INPUTS, (f0_hz, level, decay_s[None].numpy(), silent, np.ones(1, np.float32), state), strict=True))
    sound = torch.from_numpy(session.run(None, inputs)[0][0][2 * HOP :])
    assert max(gains) - min(gains) > 1.0
    assert level_db(sound - expected[: -2 * HOP], expected[: -2 * HOP]) < -60.0


def test_loudness_is_the_product_s_in_pieces(page: dict[str, Any]) -> None:
    audio = 0.1 * torch.randn(1, 48000 + 123, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.0, 1.0, 48123)
    expected, graph = loudness_db(audio, tt.FrameGrid())[0].numpy(), page["graph"](page["loudness"]["file"])
    assert np.abs(graph.run(None, {"audio": audio.numpy()})[0][0] - expected).max() < 0.001
    reach = page["loudness"]["context_frames"]
    piece = graph.run(None, {"audio": audio[:, (40 - reach) * HOP : (70 + reach) * HOP].numpy()})[0][0]
    assert np.abs(piece[reach:-reach] - expected[40:70]).max() < 0.001


def test_what_a_page_holds(page: dict[str, Any]) -> None:
    folder = page["folder"]
    for entry in page["instruments"]:
        content = (folder / entry["file"]).read_bytes()
        assert len(content) == entry["bytes"] < 6e6 and hashlib.sha256(content).hexdigest() == entry["sha256"]
        model = onnx.load_from_string(content)
        assert {one.domain for one in model.opset_import} == {""} and not {node.op_type for node in model.graph.node} & OPERATORS_OF_NO_PAGE
        assert entry["latency_samples"] == 960 and entry["licence"] and entry["source"] and entry["range_midi"][0] < entry["range_midi"][1]
    assert [one["name"] for one in page["instruments"]] == ["violin", "horn_fluid", "my_sax"]
    assert page["entries"]["violin"]["room_tone"] and not page["entries"]["horn_fluid"]["room_tone"]
    assert page["entries"]["violin"]["finish"] != page["entries"]["my_sax"]["finish"]
    assert (folder / "ort" / "ort-wasm-simd-threaded.js").is_file() and (folder / "index.html").is_file()
    assert "MIT" in (folder / "graphs" / "pitch.LICENSE.txt").read_text()
    pitch = page["graph"](page["pitch"]["file"])
    t = np.arange(16000, dtype=np.float32) / 16000
    ends = {name: np.array(page["pitch"][key], np.float32) for name, key in (("fmin", "lowest_hz"), ("fmax", "highest_hz"))}
    assert np.median(pitch.run(None, {"audio": 0.5 * np.sin(2 * np.pi * 440 * t)[None], **ends})[0]) == pytest.approx(440.0, rel=0.005)


# ---- in a browser


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
def host(page: dict[str, Any], place: Path) -> Iterator[Host]:
    if not (ROOT / "web" / "node_modules").is_dir():
        if (npm := shutil.which("npm")) is None:
            pytest.skip("npm is not installed")  # .ci/run installs it
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=ROOT / "web", check=True)
    for source, name in web._runtime_files(None):  # in place of the stand-in
        shutil.copyfile(source, page["folder"] / name)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(place)))
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
    assert page.locator(".card").count() == 3
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
    page.check("input[value=horn_fluid]")  # and on another instrument
    wait(page, "document.getElementById('facts').textContent.startsWith('Horn fluid')")
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
