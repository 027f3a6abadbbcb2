"""Microphone to loudspeaker, with a pretended sound card."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import melody
from whole_recordings import stream_at_once

from tonetransfer.audio.files import load_audio, save_audio
from tonetransfer.cli.main import main
from tonetransfer.errors import AudioError, MissingDependencyError, SettingsError
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.target import find_target
from tonetransfer.realtime import devices as live
from tonetransfer.realtime.stream import Stream

DEVICES = [
    {"name": "Built-in Microphone", "max_input_channels": 1, "max_output_channels": 0, "default_samplerate": 48000.0},
    {"name": "Built-in Speaker", "max_input_channels": 0, "max_output_channels": 2, "default_samplerate": 48000.0},
    {"name": "USB Audio", "max_input_channels": 2, "max_output_channels": 2, "default_samplerate": 44100.0},
    {"name": "USB Audio Pro", "max_input_channels": 2, "max_output_channels": 2, "default_samplerate": 96000.0},
]


class FakeDevices(types.SimpleNamespace):
    """What looks like sounddevice: a card that plays `sound` into the microphone and keeps what comes out."""

    class PortAudioError(Exception):
        pass

    class CallbackAbort(Exception):
        pass

    def __init__(self, sound: np.ndarray, devices: list[dict[str, Any]] = DEVICES, *, troubled: tuple[int, ...] = ()) -> None:
        super().__init__(default=types.SimpleNamespace(device=[0, 1]))
        self.sound, self.devices, self.troubled = sound, devices, troubled
        self.played: list[np.ndarray] = []
        self.opened: dict[str, Any] = {}
        self.refuses = False

    def query_devices(self) -> list[dict[str, Any]]:
        return self.devices

    def sleep(self, milliseconds: int) -> None:
        assert milliseconds >= 0
        self.run()

    def Stream(self, **options: Any) -> FakeStream:
        return FakeStream(self, options, hears=True)

    def OutputStream(self, **options: Any) -> FakeStream:
        return FakeStream(self, options, hears=False)


class FakeStream:
    """Plays everything at the first sleep."""

    def __init__(self, card: FakeDevices, options: dict[str, Any], *, hears: bool) -> None:
        if card.refuses:
            raise card.PortAudioError("Invalid sample rate")
        self.card, self.options, self.hears, self.active = card, options, hears, False
        self.latency = (0.004, 0.006) if hears else 0.006
        card.opened = options
        card.run = self.run

    def __enter__(self) -> FakeStream:
        self.active = True
        return self

    def __exit__(self, *_: Any) -> None:
        self.active = False

    def run(self) -> None:
        n, callback = self.options["blocksize"] or 512, self.options["callback"]
        for i, first in enumerate(range(0, len(self.card.sound) - n + 1, n)):
            heard = np.repeat(self.card.sound[first : first + n, None], 1, axis=1)
            out = np.full((n, 2), np.nan, np.float32)
            status = "input overflow" if i in self.card.troubled else ""
            try:
                callback(*([heard] if self.hears else []), out, n, None, status)
            except self.card.CallbackAbort:
                self.active = False
                return
            self.card.played.append(out)
        self.active = False


@pytest.fixture
def stream(tiny_model: TimbreModel) -> Stream:
    return Stream(tiny_model, find_target(tiny_model, 48000, to="violin"))


SOUND = melody([60, 67], seconds=0.2)


def test_the_loudspeaker_plays_the_stream(stream: Stream, tiny_model: TimbreModel) -> None:
    card = FakeDevices(SOUND.numpy(), troubled=(3, 5))
    ticks: list[int] = []
    report = live.play_live(stream, 48000, card, input_device=2, block_length=200, tick=lambda report: ticks.append(report.n_samples))
    played = np.concatenate(card.played)
    expected = stream_at_once(SOUND, tiny_model, find_target(tiny_model, 48000, to="violin")).numpy()
    n = len(played) - stream.latency_samples
    assert np.array_equal(played[:, 0], played[:, 1])
    difference = played[stream.latency_samples :, 0] - np.clip(expected[:n], -1.0, 1.0)
    assert np.abs(difference).max() < 1e-3 and np.abs(expected).max() > 0.01
    assert card.opened["samplerate"] == 48000 and card.opened["device"] == (2, None) and card.opened["channels"] == (1, 2)
    found = report.to_dict()
    assert found["xruns"] == 2 and found["latency_ms"] == pytest.approx(20.0) and found["device_latency_ms"] == pytest.approx(10.0)
    assert found["blocks"] == len(SOUND) // 200 and 0.0 < found["compute_median_ms"] <= found["compute_p99_ms"] and ticks


def test_nothing_beyond_full_scale_reaches_the_card(stream: Stream) -> None:
    card = FakeDevices(SOUND.numpy())
    loud = live.LiveReport(48000, 0)

    class Loud:
        latency_samples = 0

        def pull(self, n: int) -> np.ndarray:
            return np.full(n, 3.0, np.float32)

    report = live.play_live(Loud(), 48000, card, block_length=480)
    assert np.concatenate(card.played).max() == 1.0 and report.clipped == report.n_samples > loud.clipped
    assert card.opened["device"] is None and card.opened["channels"] == 2


def test_what_fails_in_the_callback_is_told(stream: Stream) -> None:
    sound = SOUND.numpy().copy()
    sound[5000] = np.nan
    card = FakeDevices(sound)
    with pytest.raises(AudioError, match="playing stopped: .*finite"):
        live.play_live(stream, 48000, card, block_length=480)
    assert np.isfinite(np.concatenate(card.played)).all()


def test_a_rate_that_is_refused(stream: Stream) -> None:
    card = FakeDevices(SOUND.numpy())
    card.refuses = True
    with pytest.raises(AudioError, match="48000 Hz .*Invalid sample rate"):
        live.play_live(stream, 48000, card)


@pytest.mark.parametrize(
    ("wanted", "kind", "number"),
    [(None, "input", None), ("2", "input", 2), ("usb audio", "input", 2), ("pro", "output", 3), ("speaker", "output", 1)],
)
def test_devices_are_found(wanted: str | None, kind: live.Kind, number: int | None) -> None:
    assert live.find_device(FakeDevices(SOUND.numpy()), wanted, kind) == number


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ("1", "input", "no input has this number"),
        ("usb", "output", "2 devices are called so"),
        ("Built-in Micro", "output", "did you mean 'Built-in Speaker'"),
    ],
)
def test_devices_that_are_not_there(wanted: str, kind: live.Kind, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        live.find_device(FakeDevices(SOUND.numpy()), wanted, kind)
    with pytest.raises(SettingsError, match="no input for sound"):
        live.find_device(FakeDevices(SOUND.numpy(), DEVICES[1:2]), None, "input")


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_command_lists_devices(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(live, "sound_devices", lambda: FakeDevices(SOUND.numpy()))
    monkeypatch.setattr("tonetransfer.realtime.midi_playback.midi_ports", lambda: ["Keystation"])
    found = run(["live", "--list-devices"], capsys)
    assert [one["name"] for one in found["devices"]] == [one["name"] for one in DEVICES] and found["midi_inputs"] == ["Keystation"]
    assert found["devices"][0]["default_input"] and found["devices"][1]["default_output"]
    assert main(["live", "--list-devices"]) == 0 and "USB Audio Pro" in capsys.readouterr().out


def test_command_plays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_weights: Path) -> None:
    card = FakeDevices(SOUND.numpy())
    monkeypatch.setattr(live, "sound_devices", lambda: card)
    found = run(["live", "--to", "tuba", "--weights", str(tiny_weights), "--input", "0", "--block", "480", "--seconds", "60"], capsys)
    assert found["instrument"] == "tuba" and found["xruns"] == 0 and np.abs(np.concatenate(card.played)).max() > 0.001


def test_command_simulates(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path, tiny_model: TimbreModel) -> None:
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    save_audio(source, SOUND, 48000)
    arguments = ["live", "--to", "violin", "--weights", str(tiny_weights), "--simulate", str(source), str(output), "--block", "300"]
    found = run(arguments, capsys)
    heard, _ = load_audio(source, 48000)
    expected = stream_at_once(heard, tiny_model, find_target(tiny_model, 48000, to="violin"))
    written, _ = load_audio(output, 48000)
    expected = expected / max(float(expected.abs().max()), 1.0)  # a file is turned down where it would clip
    assert torch.allclose(written, expected, atol=1e-3) and found["latency_ms"] == pytest.approx(20.0)
    assert main(arguments) == 1 and "exists" in capsys.readouterr().err  # nothing is overwritten


def test_a_simulation_without_notes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path) -> None:
    save_audio(tmp_path / "in.wav", torch.zeros(9600), 48000)
    command = ["live", "--to", "violin", "--weights", str(tiny_weights), "--simulate", str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
    assert main(command) == 0 and "no note is heard" in capsys.readouterr().err


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real: Callable[..., Any] = builtins.__import__

    def failing(error: Exception) -> Callable[..., Any]:
        def fake(name: str, *rest: Any, **more: Any) -> Any:
            if name == "sounddevice":
                raise error
            return real(name, *rest, **more)

        return fake

    for error, message in (
        (ImportError(), r"pip install 'tonetransfer\[live\]'"),
        (OSError("PortAudio library not found"), "libportaudio2"),
    ):
        monkeypatch.setattr(builtins, "__import__", failing(error))
        with pytest.raises(MissingDependencyError, match=message):
            live.sound_devices()
