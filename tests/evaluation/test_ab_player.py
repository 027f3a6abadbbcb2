"""The player that swaps takes, in a browser: what is heard, what the keys do, and what a screen reader is told."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import pytest
from browser import PATIENCE_MS, chromium

pytestmark = pytest.mark.slow
RATE = 48000
# Takes are sines of [frequency, amplitude]; `captured` collects what goes to the loudspeaker.
SET_UP = """async ({ takes, seconds }) => {
    const player = document.createElement("ab-player");
    document.body.append(player);
    player.takes = takes.map(([hertz, amplitude], k) => ({
        name: `Take ${k + 1}`, role: ["source", "result", "reference"][k], sampleRate: 48000,
        samples: Float32Array.from({ length: 48000 * seconds }, (_, n) => amplitude * Math.sin(2 * Math.PI * hertz * n / 48000)),
    }));
    await player.load();
    const code = `registerProcessor("keep", class extends AudioWorkletProcessor {
        process([input]) { if (input.length) this.port.postMessage(input[0].slice()); return true; } })`;
    const context = player.output.context;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const keep = new AudioWorkletNode(context, "keep");
    window.captured = [];
    window.rate = context.sampleRate;
    keep.port.onmessage = (event) => window.captured.push(...event.data);
    player.output.connect(keep).connect(context.destination);
    window.player = player;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--autoplay-policy=no-user-gesture-required") as opened:
        yield opened


def open_player(browser: Any, takes: list[tuple[float, float]], seconds: float = 3.0) -> Any:
    page = browser.new_page(viewport={"width": 900, "height": 700})
    page.set_default_timeout(PATIENCE_MS)
    empty = "<!doctype html><html lang='en'><title>player</title><body></body></html>"
    page.route("http://localhost/", lambda route: route.fulfill(body=empty, content_type="text/html"))
    page.goto("http://localhost/")  # nothing is served: worklets want a secure origin
    code = resources.files("tonetransfer.evaluation.report").joinpath("ab_player.js").read_text(encoding="utf-8")
    page.add_script_tag(content=code, type="module")
    page.wait_for_function("customElements.get('ab-player') !== undefined")
    page.evaluate(SET_UP, {"takes": takes, "seconds": seconds})
    return page


def heard(page: Any) -> tuple[np.ndarray, int]:
    """What went to the loudspeaker, without silence before and after."""
    samples, rate = np.asarray(page.evaluate("window.captured"), np.float64), page.evaluate("window.rate")
    sounding = np.flatnonzero(np.abs(samples) > 1e-4)
    return samples[sounding[0] : sounding[-1] + 1], rate


def test_a_swap_between_equal_takes_cannot_be_heard(browser: Any) -> None:
    page = open_player(browser, [(440.0, 0.3), (440.0, 0.3)])
    page.evaluate("player.play()")
    for _ in range(4):
        page.wait_for_timeout(250)
        page.evaluate("player.swap()")
    page.wait_for_function("player.currentTime > 1.6")
    page.evaluate("player.pause()")
    page.wait_for_timeout(200)
    samples, rate = heard(page)
    samples = samples[rate // 50 : len(samples) - rate // 10]
    assert len(samples) > 1.2 * rate
    phase = 2.0 * np.pi * 440.0 * np.arange(len(samples)) / rate
    basis = np.stack([np.sin(phase), np.cos(phase)], 1)
    rest = samples - basis @ np.linalg.lstsq(basis, samples, rcond=None)[0]
    assert np.abs(rest).max() < 3e-3  # one sample of delay between the takes would leave 0.017
    page.close()


def test_a_swap_goes_to_the_other_take_without_a_gap(browser: Any) -> None:
    page = open_player(browser, [(300.0, 0.3), (900.0, 0.3)], seconds=20.0)
    page.evaluate("player.matched = false")
    page.evaluate("player.currentTime = 8.0; player.play()")
    page.wait_for_function("player.currentTime > 8.6")
    page.locator("ab-player .stage").press("Space")
    assert page.evaluate("player.selected") == 1 and page.evaluate("player.currentTime") > 8.6  # it goes on where it was
    page.wait_for_timeout(700)
    page.evaluate("player.pause()")
    page.wait_for_timeout(200)
    samples, rate = heard(page)
    hop = rate // 100
    frames = samples[: len(samples) // hop * hop].reshape(-1, hop)[2:-6]
    levels = np.sqrt((frames**2).mean(1))
    assert levels.min() > 0.5 * levels.max()
    share = [np.abs(np.fft.rfft(one * np.hanning(len(one))))[[3, 9]] for one in (frames[10], frames[-10])]
    assert share[0][0] > 20.0 * share[0][1] and share[1][1] > 20.0 * share[1][0]
    page.close()


def test_loudness_is_that_of_bs_1770_and_levels_are_matched_without_clipping(browser: Any) -> None:
    page = open_player(browser, [(997.0, 1.0), (997.0, 0.1), (997.0, 0.0)])
    full, soft, silent = page.evaluate(
        "player.takes.map((one) => [Number.isFinite(one.loudness_db) ? one.loudness_db : -999, one.gain_db])"
    )
    assert full[0] == pytest.approx(-3.01, abs=0.05) and soft[0] == pytest.approx(-23.01, abs=0.05)  # full scale: -3.01 LUFS
    assert full[0] + full[1] == pytest.approx(soft[0] + soft[1], abs=0.01) and full[1] <= -1.0  # the louder leaves headroom
    assert silent == [-999, 0.0]
    page.close()


def test_a_dragged_span_repeats(browser: Any) -> None:
    page = open_player(browser, [(440.0, 0.3), (660.0, 0.3)])
    box = page.locator("ab-player .stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30, steps=4)
    page.mouse.up()
    assert page.evaluate("player.loop") == pytest.approx([1.0, 1.5], abs=0.02)
    page.evaluate("player.play()")
    places = []
    for _ in range(8):
        page.wait_for_timeout(150)
        places.append(page.evaluate("player.currentTime"))
    assert min(places) >= 0.98 and max(places) <= 1.52 and not page.evaluate("player.paused")
    page.locator("ab-player .unloop").click()
    page.wait_for_function("player.paused")  # it comes to its end
    page.close()


def test_keys_and_what_a_screen_reader_is_told(browser: Any) -> None:
    page = open_player(browser, [(440.0, 0.3), (660.0, 0.3), (880.0, 0.3)])
    stage = page.locator("ab-player .stage")
    stage.press("ArrowRight")
    stage.press("2")
    assert stage.get_attribute("aria-valuetext") == "1.0 seconds of 3.0 seconds, Take 2 is heard"
    assert page.locator("ab-player .said").text_content() == "Now: Take 2"
    stage.press("Space")
    stage.press("Space")
    assert page.evaluate("player.selected") == 0
    stage.press("Enter")
    page.wait_for_function("!player.paused")
    assert page.locator("ab-player .play").get_attribute("aria-label") == "Pause"
    stage.press("Enter")
    assert page.evaluate("player.paused")
    stage.press("End")
    assert page.evaluate("player.currentTime") == 3.0
    assert page.locator("ab-player .take").nth(0).get_attribute("aria-pressed") == "true"
    page.close()


def test_what_cannot_be_fetched_is_said_and_left_to_the_browsers_player(browser: Any) -> None:
    page = open_player(browser, [(440.0, 0.3)])
    page.route("**/gone.mp3", lambda route: route.fulfill(status=404))
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        '\'<ab-player id="other"><audio controls src="http://localhost/gone.mp3" data-name="Gone"></audio></ab-player>\')'
    )
    page.wait_for_function("!document.querySelector('#other').shadowRoot.querySelector('.fault').hidden")
    assert page.locator("#other audio").is_visible() and not page.locator("#other slot").evaluate("(one) => one.hidden")
    page.close()
