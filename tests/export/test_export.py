"""What is exported does what the model does, in blocks of any size, and speaks its hosts' conventions."""

from __future__ import annotations

import json
import logging
import resource
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from conftest import make_model
from onnx import load_from_string

from tonetransfer.audio.stft import hann, mel_filters
from tonetransfer.cli.main import main
from tonetransfer.errors import ExportError, InstrumentError
from tonetransfer.export import onnx as onnx_module
from tonetransfer.export import torchscript
from tonetransfer.export.checks import level_db
from tonetransfer.export.export import export
from tonetransfer.export.torchscript import FrameDecoder, counted_noise
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import save_model

HOP = 480
LATIN = "caf\udce9"  # as Python reads a name in Latin-1


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any], TimbreModel]:
    path, model = tmp_path_factory.mktemp("export") / "three.ts", make_model()
    card = export(path, model, format="torchscript", instrument="alto sax")
    return load(path), card, model


def load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path)).eval()


def phrase(n_samples: int, f0_hz: float = 300.0, loudness_db: float = -20.0) -> torch.Tensor:
    n = torch.arange(n_samples) / 48000
    return torch.stack([f0_hz * 2 ** (0.1 * torch.sin(12 * n)), loudness_db + 6.0 * torch.sin(20 * n)])[None]


def test_the_host_reads_what_it_needs(script: tuple[Any, dict[str, Any], TimbreModel]) -> None:
    """As the host does it: parameters of methods and attributes as tensors, getters and setters by name."""
    module, card, model = script
    for method in module.get_methods():
        channels_in, ratio_in, channels_out, ratio_out = getattr(module, f"{method}_params").tolist()
        assert len(getattr(module, f"{method}_input_labels")) == channels_in
        assert len(getattr(module, f"{method}_output_labels")) == channels_out
        for n_voices, n_samples in ((1, 2048), (4, 512)):
            sound = getattr(module, method)(torch.zeros(n_voices, channels_in, n_samples // ratio_in))
            assert sound.shape == (n_voices, channels_out, n_samples // ratio_out) and sound.dtype == torch.float32
    kinds = {0: bool, 1: int, 2: float, 3: str}
    for name in module.get_attributes():
        values = getattr(module, f"get_{name}")()
        wanted = [kinds[kind] for kind in getattr(module, f"{name}_params").tolist()]
        assert [type(value) for value in values] == wanted
        assert getattr(module, f"set_{name}")(*values) == 0
    assert module.get_instrument() == ["alto_sax"] and module.get_instruments() == model.names
    assert module.set_instrument("kazoo") == -1 and module.set_blend("tuba", 2.0) == -1 and module.set_transpose(1000.0) == -1
    assert card["latency_samples"] == 1024 and card["licence"] == "CC0-1.0" and card["test"]["streamed_vs_whole_db"] < -80.0


@pytest.mark.parametrize("size", [1, 64, 480, 1000])
def test_blocks_do_not_show(script: tuple[Any, dict[str, Any], TimbreModel], size: int) -> None:
    module, x = script[0], phrase(4800 if size > 1 else 1500)
    with torch.inference_mode():  # as hosts do
        module.reset(1)
        whole = module(x)
        module.reset(1)
        pieces = torch.cat([module(piece) for piece in x.split(size, dim=-1)], dim=-1)
    assert whole.abs().max() > 1e-3
    assert level_db(pieces - whole, whole) < -100.0


def test_latency_is_what_the_card_says(script: tuple[Any, dict[str, Any], TimbreModel]) -> None:
    module, card, _ = script
    module.reset(1)
    x = phrase(9600)
    x[:, 1, :4800] = -120.0
    level = module(x)[0, 0].abs()
    onset = int((level > 0.02 * level.max()).nonzero()[0])
    assert 0 <= onset - (4800 - HOP) - card["latency_samples"] < HOP + 200  # the sound rises from the frame before


def test_voices_are_independent(script: tuple[Any, dict[str, Any], TimbreModel]) -> None:
    module, x, y = script[0], phrase(4800), phrase(4800, 440.0, -30.0)
    module.reset(1)
    alone = module(x)
    module.reset(2)
    both = module(torch.cat([x, y]))
    assert level_db(both[:1] - alone, alone) < -100.0


def test_no_pitch_is_silence_and_the_last_pitch_is_held(script: tuple[Any, dict[str, Any], TimbreModel]) -> None:
    module = script[0]
    module.reset(1)
    x = phrase(14400)
    x[:, 0, 4800:] = 0.0
    x[:, 1, 9600:] = torch.nan
    sound = module(x)[0, 0]
    assert torch.isfinite(sound).all() and sound[:4800].abs().max() > 1e-3
    assert sound[4800 + 3 * HOP + 1024 :].abs().max() < 1e-4


def test_attributes_change_the_sound(script: tuple[Any, dict[str, Any], TimbreModel]) -> None:
    module, x = script[0], phrase(9600)

    def play() -> torch.Tensor:
        module.reset(1)
        return module(x)

    plain = play()
    module.set_transpose(12.0)
    octave = play()
    module.set_transpose(0.0)
    module.set_gain(-12.0)
    softer = play()
    module.set_gain(0.0)
    module.set_instrument("tuba")
    other = play()
    module.set_instrument("alto_sax")
    assert level_db(softer, plain) == pytest.approx(-12.0, abs=3.0)
    for changed in (octave, other):
        assert level_db(changed - plain, plain) > -30.0
    assert level_db(play() - plain, plain) < -100.0


def test_the_realtime_call_gives_the_same_sound(tmp_path: Path) -> None:
    model = make_model()
    card = export(tmp_path / "a.ts", model, format="realtime", instrument="violin")
    assert card["test"]["exported_vs_model_db"] < -80.0
    sound = load(tmp_path / "a.ts")(torch.full((1, 1024, 1), 440.0), torch.full((1, 1024, 1), -20.0))
    assert sound.shape == (1, 1024, 1)


def aged_model() -> TimbreModel:
    """A model that plays the course of a note."""
    model = make_model()
    model.decoder.add_note_age_table()
    assert model.decoder.register is not None
    torch.nn.init.normal_(model.decoder.register.table, std=0.2, generator=torch.Generator().manual_seed(0))
    return model


def test_what_an_instrument_does_in_the_course_of_a_note_is_exported(tmp_path: Path) -> None:
    card = export(tmp_path / "a.ts", aged_model(), format="torchscript", instrument="violin")
    assert max(value for key, value in card["test"].items() if key.endswith("_db")) < -80.0


def test_a_blend_stands_first_in_the_list(tmp_path: Path) -> None:
    model = make_model()
    export(tmp_path / "a.ts", model, format="torchscript", instrument="reed fiddle", z=model.mix({"violin": 1.0, "alto_sax": 1.0}))
    assert load(tmp_path / "a.ts").get_instruments()[0] == "reed fiddle"


def test_a_broken_export_is_told_and_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = torchscript._offline
    monkeypatch.setattr(torchscript, "_offline", lambda *given: 1.01 * offline(*given))  # the model is louder by 1 %
    with pytest.raises(ExportError, match="failed its own test"):
        export(tmp_path / "a.ts", make_model(), format="torchscript")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], TimbreModel]:
    """A folder with the two files of a model under a name that is no text, their card, and the model."""
    folder = tmp_path_factory.mktemp("onnx")
    weights, model = folder / f"{LATIN}.safetensors", make_model()
    save_model(weights, model, notes={})
    hann.cache_clear()  # as in a new process: nothing of the tracer's may stay in what is kept
    mel_filters.cache_clear()
    assert main(["export", str(folder / f"{LATIN}.onnx"), "--format", "onnx", "--weights", str(weights)]) == 0
    return folder, json.loads((folder / f"{LATIN}.json").read_text()), model


@pytest.mark.slow
def test_onnx_is_the_model(onnx: tuple[Path, dict[str, Any], TimbreModel]) -> None:
    _, card, model = onnx
    assert set(card["files"]) == {f"{LATIN}.decoder.onnx", f"{LATIN}.encoder.onnx"} and max(card["test"].values()) < -80.0
    assert card["z"] == pytest.approx(model.timbre("violin").tolist(), abs=1e-5)


@pytest.mark.slow
def test_onnx_takes_any_batch_and_length(onnx: tuple[Path, dict[str, Any], TimbreModel]) -> None:
    folder, _, model = onnx
    decoder, encoder = (onnxruntime.InferenceSession((folder / f"{LATIN}.{part}.onnx").read_bytes()) for part in ("decoder", "encoder"))
    assert [value.shape for value in decoder.get_outputs()] == [["batch", "n_frames", 24], ["batch", "n_frames", 12], [1, "batch", 16]]
    assert encoder.get_inputs()[0].shape == ["batch", 144000] and encoder.get_outputs()[0].shape == ["batch", 8]
    for batch, n_frames in ((1, 1), (1, 333), (3, 2), (5, 40)):
        f0_hz = torch.linspace(200.0, 900.0, batch * n_frames).reshape(batch, n_frames)
        tracks = f0_hz, -f0_hz / 20.0, f0_hz, model.timbre("tuba").expand(batch, n_frames, -1).contiguous(), torch.zeros(1, batch, 16)
        wanted = FrameDecoder(model)(*tracks)
        found = decoder.run(None, {value.name: x.numpy() for value, x in zip(decoder.get_inputs(), tracks, strict=True)})
        assert all(level_db(one - other.numpy(), other) < -100.0 for one, other in zip(found, wanted, strict=True))
        audio = 0.1 * torch.randn(batch, 144000, generator=torch.Generator().manual_seed(batch))
        wanted_z = model.encoder(audio)
        assert level_db(encoder.run(None, {"audio": audio.numpy()})[0] - wanted_z.numpy(), wanted_z) < -80.0


@pytest.mark.slow
def test_onnx_holds_the_course_of_a_note(
    onnx: tuple[Path, dict[str, Any], TimbreModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_onnx, encoder = onnx_module.to_onnx, load_from_string((onnx[0] / f"{LATIN}.encoder.onnx").read_bytes())

    def but_for_the_encoder(module: torch.nn.Module, *given: Any) -> Any:
        """The encoder is that of the model without a table, and is exported already."""
        return encoder if isinstance(module, onnx_module._Encoder) else to_onnx(module, *given)

    monkeypatch.setattr(onnx_module, "to_onnx", but_for_the_encoder)
    card = export(tmp_path / "a.onnx", aged_model(), format="onnx", instrument="violin")
    assert max(card["test"].values()) < -80.0 and "0.75 semitones within 2 frames" in card["signature"]["age"]


@pytest.mark.parametrize("form", ["torchscript", "realtime", pytest.param("onnx", marks=pytest.mark.slow), "ir"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    weights, out = tmp_path / "m.safetensors", tmp_path / "out"
    three = make_model()
    model = TimbreModel(three.settings, three.instruments[:1])
    model.room = torch.exp(-torch.arange(48_000) / 5000.0)
    save_model(weights, model, notes={})
    out.mkdir()
    ending = {"onnx": ".onnx", "ir": ".wav"}.get(form, ".ts")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no file may become larger: to whoever writes, as on a full disk
    try:
        code = main(["export", str(out / f"a{ending}"), "--format", form, "--weights", str(weights)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines = capsys.readouterr().err.splitlines()
    assert code == 1 and len(lines) == 1 and "cannot be written" in lines[0] and list(out.iterdir()) == []
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]  # which would be more lines


def test_a_room_is_written_and_none_is_said(tmp_path: Path) -> None:
    model = make_model()
    with pytest.raises(ExportError, match="hold no room"):
        export(tmp_path / "a.wav", model, format="ir")
    room = torch.zeros(4800)
    room[480:] = 0.01 * torch.exp(-torch.arange(4320) / 500)
    model.room = room
    export(tmp_path / "a.wav", model, format="ir")
    written, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 48000 and written[480] / written[0] == pytest.approx(0.01, rel=1e-3) and room[0] == 0.0


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "m.safetensors", make_model(), notes={"sources": [{"source": "a test", "licence": "CC0-1.0"}]})
    words = ["export", str(tmp_path / "a.ts"), "--format", "torchscript", "--to", f"{tmp_path}/m.safetensors:tuba", "--json"]
    assert main(words) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["instrument"] == "tuba" and card["weights_sources"][0]["licence"] == "CC0-1.0"
    assert main(words) == 1 and "exists" in capsys.readouterr().err
    for wrong, said in (
        (["a.wav", "--format", "onnx"], "ending in .onnx"),
        (["nowhere/a.ts", "--format", "torchscript"], "no folder"),
        (["b.ts", "--format", "torchscript", "--to", "kazoo"], "no instrument"),
    ):
        assert main(["export", str(tmp_path / wrong[0]), *wrong[1:], "--weights", str(tmp_path / "m.safetensors")]) == 1
        assert said in capsys.readouterr().err


def test_unknown_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="choose one of"):
        export(tmp_path / "a.ts", make_model(), format="vst")
    with pytest.raises(InstrumentError):
        export(tmp_path / "a.ts", make_model(), format="torchscript", instrument="kazoo")


def test_counted_noise_is_white_and_can_be_had_again() -> None:
    noise = counted_noise(-1000, 48000)
    assert torch.equal(noise[500:900], counted_noise(-500, 400))
    assert abs(float(noise.mean())) < 0.02 and float(noise.std()) == pytest.approx(1.0, abs=0.01)
    power = np.abs(np.fft.rfft(noise.numpy().reshape(-1, 480))) ** 2
    assert np.ptp(10 * np.log10(power.mean(0)[1:-1])) < 6.0
