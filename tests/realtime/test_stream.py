"""Streamed is offline: whatever the blocks, to -80 dB; nothing clicks when the instrument changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_model, melody
from whole_recordings import stream_at_once

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.profile import Target
from tonetransfer.errors import AudioError, InstrumentError, SettingsError
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.target import find_target
from tonetransfer.realtime.stream import Stream, StreamSettings

PLAYED = melody([60, 67, 55], seconds=0.25, rest=0.1)
SETTINGS = {
    "default": StreamSettings(),
    "exact": StreamSettings(noise="exact", seed=3),
    "patient": StreamSettings(look_ahead_s=0.025, path_frames=2),
    "plain": StreamSettings(fit=False, follow=False, loudness_db=-3.0),
}
BLOCKS = {"1": [1], "7": [7], "480": [480], "512": [512], "4096": [4096], "random": [3, 0, 999, 480, 1, 5000, 64]}


def streamed(stream: Stream, sound: torch.Tensor, sizes: list[int]) -> np.ndarray:
    """What comes out, without the latency."""
    out, first, i = [], 0, 0
    while first < len(sound):
        block = sound[first : first + sizes[i % len(sizes)]].numpy()
        out.append(stream.push(block))
        assert len(out[-1]) == len(block)
        first, i = first + len(block), i + 1
    latency = stream.latency_samples
    return np.concatenate([*out, stream.flush()])[latency:]


def error_db(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape and np.abs(expected).max() > 0.01
    return float(10 * np.log10(np.mean((found - expected) ** 2) / np.mean(expected**2) + 1e-30))


@pytest.fixture(scope="module")
def violin(tiny_model: TimbreModel) -> Target:
    return find_target(tiny_model, 48000, to="violin")


@pytest.fixture(scope="module")
def expected(tiny_model: TimbreModel, violin: Target) -> dict[str, np.ndarray]:
    return {name: stream_at_once(PLAYED, tiny_model, violin, settings).numpy() for name, settings in SETTINGS.items()}


@pytest.mark.parametrize("blocks", BLOCKS)
def test_streamed_is_offline(tiny_model: TimbreModel, violin: Target, expected: dict[str, np.ndarray], blocks: str) -> None:
    assert error_db(streamed(Stream(tiny_model, violin), PLAYED, BLOCKS[blocks]), expected["default"]) < -80.0


@pytest.mark.parametrize("name", ["exact", "patient", "plain"])
def test_streamed_is_offline_with_other_settings(
    tiny_model: TimbreModel, violin: Target, expected: dict[str, np.ndarray], name: str
) -> None:
    stream = Stream(tiny_model, violin, SETTINGS[name])
    assert error_db(streamed(stream, PLAYED, BLOCKS["random"]), expected[name]) < -80.0
    assert error_db(expected[name], expected["default"]) > -60.0  # the settings do something


def test_what_an_instrument_does_in_the_course_of_a_note_is_streamed_alike(violin: Target) -> None:
    own = make_model()
    plain = stream_at_once(PLAYED, own, violin).numpy()
    own.decoder.add_note_age_table()
    assert own.decoder.register is not None
    torch.nn.init.normal_(own.decoder.register.table, std=0.2, generator=torch.Generator().manual_seed(0))
    expected = stream_at_once(PLAYED, own, violin).numpy()
    assert error_db(streamed(Stream(own, violin), PLAYED, [700]), expected) < -80.0
    assert error_db(expected, plain) > -20.0


def traits(seed: int, *, fluctuation_db: float = 2.0) -> dict[str, torch.Tensor | float]:
    """What recorded players have beside their timbre, for a tiny model."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "note_table": 0.3 * torch.randn(25, 15, 37, generator=generator),
        "fluctuation_db": fluctuation_db * torch.rand(24, generator=generator),
        "colour_db": 6.0 * torch.randn(2, 12, generator=generator),
        "string_damping": 20.0,
    }


@pytest.mark.parametrize("trait", ["note_table", "fluctuation_db", "colour_db", "string_damping", "all"])
@pytest.mark.parametrize("name", ["default", "exact"])
def test_traits_of_players_are_streamed_alike(
    tiny_model: TimbreModel, violin: Target, expected: dict[str, np.ndarray], trait: str, name: str
) -> None:
    own = replace(violin, **(traits(0) if trait == "all" else {trait: traits(0)[trait]}))
    whole = stream_at_once(PLAYED, tiny_model, own, SETTINGS[name]).numpy()
    assert error_db(streamed(Stream(tiny_model, own, SETTINGS[name]), PLAYED, BLOCKS["random"]), whole) < -80.0
    assert error_db(whole, expected[name]) > -30.0  # it does something


def test_a_table_beside_that_of_a_model_is_streamed_alike(violin: Target) -> None:
    own = make_model()
    own.decoder.add_note_age_table()
    assert own.decoder.register is not None
    torch.nn.init.normal_(own.decoder.register.table, std=0.2, generator=torch.Generator().manual_seed(0))
    target = replace(violin, note_table=traits(1)["note_table"])
    expected = stream_at_once(PLAYED, own, target).numpy()
    assert error_db(streamed(Stream(own, target), PLAYED, [700]), expected) < -80.0
    assert error_db(expected, stream_at_once(PLAYED, own, violin).numpy()) > -30.0


@pytest.mark.parametrize("dynamic", ["pp", "f", -20.0])
def test_effort_is_streamed_alike(tiny_model: TimbreModel, violin: Target, expected: dict[str, np.ndarray], dynamic: str | float) -> None:
    settings = StreamSettings(dynamic=dynamic)
    whole = stream_at_once(PLAYED, tiny_model, violin, settings).numpy()
    assert error_db(streamed(Stream(tiny_model, violin, settings), PLAYED, [700]), whole) < -80.0
    level_db = [10 * np.log10(np.mean(sound[4800:] ** 2)) for sound in (whole, expected["default"])]
    assert level_db[0] == pytest.approx(level_db[1], abs=1.5) and error_db(whole, expected["default"]) > -60.0


def test_a_room_is_streamed_alike(tiny_model: TimbreModel, violin: Target, expected: dict[str, np.ndarray]) -> None:
    room = np.exp(-np.arange(9000) / 2000.0) * np.random.default_rng(0).normal(0, 0.1, 9000)
    wet = stream_at_once(PLAYED, tiny_model, violin, room=room).numpy()
    assert error_db(streamed(Stream(tiny_model, violin, room=room), PLAYED, [700]), wet) < -80.0
    assert error_db(wet, expected["default"]) > -20.0


def test_the_latency_is_what_it_says(tiny_model: TimbreModel, violin: Target) -> None:
    stream = Stream(tiny_model, violin)
    assert stream.latency == {"look_ahead": 480, "path": 0, "frame": 480, "noise": 0} and stream.latency_samples == 960
    silence = torch.zeros(9600)
    out = np.concatenate([stream.push(torch.cat([silence, PLAYED]).numpy()), stream.flush()])
    onset = int(np.argmax(np.abs(out) > 1e-3))
    assert 9600 < onset <= 9600 + 960 + 960  # not before it was played, and at most a short attack after the latency
    exact = Stream(tiny_model, violin, StreamSettings(noise="exact", path_frames=1))
    assert exact.latency_samples == 480 + 480 + 480 + 960 == sum(exact.latency.values())


def test_nothing_is_known_of_the_future(tiny_model: TimbreModel, violin: Target) -> None:
    n = 12000
    other = torch.cat([PLAYED[:n], torch.randn(len(PLAYED) - n, generator=torch.Generator().manual_seed(0))])
    one, two = (Stream(tiny_model, violin).push(sound.numpy()) for sound in (PLAYED, other))
    assert np.array_equal(one[:n], two[:n]) and not np.array_equal(one, two)


def test_reset_and_flush_begin_anew(tiny_model: TimbreModel, violin: Target) -> None:
    stream = Stream(tiny_model, violin)
    first = stream.push(PLAYED[:9000].numpy())
    stream.reset()
    again = stream.push(PLAYED[:9000].numpy())
    stream.flush()
    assert np.array_equal(first, again) and np.array_equal(first, stream.push(PLAYED[:9000].numpy()))
    assert np.abs(first).max() > 0.0 and not stream.push(np.zeros(0, np.float32)).size


def steady(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * 48000)) / 48000
    return (0.2 * sum(np.sin(2 * np.pi * 330.0 * k * t) / k for k in range(1, 6))).astype(np.float32)


def burst_db(sound: np.ndarray, at: int) -> float:
    """Energy above 18 kHz around an instant, re the loudest such stretch elsewhere [dB]; a click fills that octave."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::128] * np.hanning(512)
    high = (np.abs(np.fft.rfft(frames)[:, 192:]) ** 2).sum(axis=1)
    centre = np.arange(len(high)) * 128 + 256
    near = (centre > at - 1000) & (centre < at + 25000)
    return float(10 * np.log10(high[near].max() / high[~near][20:-20].max()))


@pytest.mark.parametrize("glide_s", [0.0, 0.3])
def test_changing_the_instrument_does_not_click(glide_s: float) -> None:
    model = make_model(n_harmonics=24)
    model.decoder.head.bias.data[25:] = -9.0  # hardly any noise: a click would show
    model.timbres[1] = model.timbres[0] + 0.5 * torch.sign(model.timbres[1])
    one, other = (find_target(model, 48000, to=name) for name in ("violin", "alto_sax"))
    stream, sound = Stream(model, one, StreamSettings(transpose=0.0)), steady(2.0)
    out = [stream.push(sound[:48000])]
    stream.change(other, glide_s)
    out = np.concatenate([*out, stream.push(sound[48000:])])
    at = 48000 + 480
    inside = slice(30000, 90000)
    steps = np.abs(np.diff(out))
    usual = max(steps[30000:47000].max(), steps[75000:90000].max())
    assert steps[inside].max() < 1.5 * usual
    assert burst_db(out[20000:94000], at - 20000) < 6.0
    plain = Stream(model, one, StreamSettings(transpose=0.0)).push(sound)
    assert np.array_equal(plain[:48000], out[:48000]) and error_db(out[80000:], plain[80000:]) > -20.0  # and it did change
    cut = np.concatenate([plain[:at], Stream(model, other, StreamSettings(transpose=0.0)).push(sound)[at:]])
    assert burst_db(cut[20000:94000], at - 20000) > 6.0 or np.abs(np.diff(cut))[at - 2 : at + 2].max() > 1.5 * usual


def test_a_change_arrives_at_the_new_instrument(tiny_model: TimbreModel, violin: Target) -> None:
    sax = find_target(tiny_model, 48000, to="alto_sax")
    stream = Stream(tiny_model, violin)
    stream.push(np.zeros(4800, np.float32))
    stream.change(sax, 0.2)
    stream.push(np.zeros(2400, np.float32))
    stream.change(find_target(tiny_model, 48000, mix={"violin": 1, "alto_sax": 1}), 0.0)  # while the first change is on its way
    stream.push(np.zeros(4800, np.float32))
    stream.flush()
    expected = Stream(tiny_model, find_target(tiny_model, 48000, mix={"violin": 1, "alto_sax": 1})).push(PLAYED.numpy())
    assert np.array_equal(stream.push(PLAYED.numpy()), expected)


def test_traits_arrive_with_a_change(tiny_model: TimbreModel, violin: Target) -> None:
    """Also where the new instrument shares its table with the last one, and in the middle of another change."""
    one, other = (replace(violin, **traits(seed)) for seed in (0, 1))
    same_table = replace(other, fluctuation_db=None)
    stream = Stream(tiny_model, one)
    for target, glide_s in ((other, 0.2), (same_table, 0.0)):
        stream.push(np.zeros(4800, np.float32))
        stream.change(target, glide_s)
    stream.push(np.zeros(4800, np.float32))
    stream.flush()
    assert np.array_equal(stream.push(PLAYED.numpy()), Stream(tiny_model, same_table).push(PLAYED.numpy()))


def test_silence_in_silence_out_and_inputs_stay(tiny_model: TimbreModel, violin: Target) -> None:
    block = PLAYED[:4800].numpy().copy()
    before = block.copy()
    stream = Stream(tiny_model, violin)
    stream.push(block)
    assert np.array_equal(block, before)
    stream.reset()
    assert not stream.push(np.zeros(24000, np.float32)).any()


@pytest.mark.parametrize("block", [np.zeros((2, 480)), np.array([0.0, np.nan]), np.array([np.inf])])
def test_what_is_no_block(tiny_model: TimbreModel, violin: Target, block: np.ndarray) -> None:
    with pytest.raises(AudioError, match="block"):
        Stream(tiny_model, violin).push(block)


def test_bad_settings(tiny_model: TimbreModel, violin: Target) -> None:
    for wrong in (
        {"dynamic": "loud"},
        {"dynamic": "p", "fit": False},
        {"look_ahead_s": 0.0},
        {"look_ahead_s": 1.0},
        {"path_frames": -1},
        {"noise": "loud"},
        {"transpose": 200.0},
        {"transpose": "low"},
        {"seed": -1},
        {"loudest_db": 20.0},
        {"loudness_db": 61.0},
    ):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            StreamSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InstrumentError, match="shape"):
        Stream(tiny_model, Target(torch.zeros(3)))
    with pytest.raises(SettingsError, match="glide_s"):
        Stream(tiny_model, violin).change(violin, -1.0)


def test_another_clock() -> None:
    model = make_model(sample_rate=44100, hop_length=441)
    violin = find_target(model, 44100, to="violin")
    assert model.grid == FrameGrid(44100, 441)
    whole = stream_at_once(PLAYED, model, violin).numpy()
    assert error_db(streamed(Stream(model, violin), PLAYED, [512]), whole) < -80.0
