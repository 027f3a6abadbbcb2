"""Models of ddsp_pytorch play: their loudness is reproduced, their settings read, and nothing runs that is not trusted."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import SAMPLE_RATE, melody

from tonetransfer.audio.files import save_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.cli.main import main
from tonetransfer.errors import SettingsError, WeightsError
from tonetransfer.pipeline.ddsp_pytorch import ForeignModel, foreign_loudness, load_foreign, play_foreign

RATE, BLOCK = 16000, 160


class Whistle(torch.nn.Module):
    """A stand-in with their signature: a sine at the pitch, as loud as the standardized loudness says."""

    def __init__(self, block: int, rate: int, realtime: bool) -> None:
        super().__init__()
        self.block, self.rate, self.realtime = block, rate, realtime
        self.register_buffer("mean_loudness", torch.tensor(-30.0))
        self.register_buffer("std_loudness", torch.tensor(10.0))
        self.register_buffer("phase", torch.zeros(1))

    def forward(self, pitch: torch.Tensor, loudness: torch.Tensor) -> torch.Tensor:
        if self.realtime:
            pitch, loudness = pitch[:, :: self.block], loudness[:, :: self.block]
        level = 0.2 * torch.exp(0.3 * (loudness - self.mean_loudness) / self.std_loudness)
        turns = torch.cumsum(pitch.repeat_interleave(self.block, 1) / self.rate, 1) + self.phase
        if self.realtime:
            self.phase = turns[0, -1] % 1.0
        return level.repeat_interleave(self.block, 1) * torch.sin(2 * math.pi * turns)


def write(folder: Path, *, realtime: bool = False, rate: int = RATE, block: int = BLOCK) -> Path:
    path = folder / "ddsp_whistle_pretrained.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Whistle(block, rate, realtime)), str(path))
    config = {"preprocess": {"sampling_rate": rate, "block_size": block}, "data": {"mean_loudness": -30.0, "std_loudness": 10.0}}
    (folder / "ddsp_whistle_config.yaml").write_text(yaml.safe_dump(config))
    return path


def heard_hz(sound: torch.Tensor, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(sound.numpy() * np.hanning(len(sound))))
    return float(spectrum.argmax()) * rate / len(sound)


@pytest.mark.parametrize(("realtime", "rate", "block"), [(False, 16000, 160), (True, 16000, 160), (False, 44100, 512), (False, 48000, 512)])
def test_the_melody_is_played(tmp_path: Path, realtime: bool, rate: int, block: int) -> None:
    model = load_foreign(write(tmp_path, realtime=realtime, rate=rate, block=block), trust=True)
    source = melody([69.0, 76.0])
    before = source.clone()
    sound = play_foreign(source, SAMPLE_RATE, model, tracker="yin")
    assert len(sound) == -(-len(source) * rate // SAMPLE_RATE) and torch.equal(source, before)
    for begin_s, wanted in ((0.1, 440.0), (0.7, 659.26)):
        assert heard_hz(sound[int(begin_s * rate) : int((begin_s + 0.3) * rate)], rate) == pytest.approx(wanted, abs=4.0)


def test_the_loudness_is_theirs() -> None:
    """Written out as librosa's own functions say it."""
    import librosa

    grid, hiss = FrameGrid(RATE, BLOCK), 0.01 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    audio = melody([60.0])[:RATE] + hiss  # without hiss most bins hold rounding errors, whose logarithms differ
    padded = grid.pad(audio[: RATE // 2]).numpy()
    spectrum = np.log(np.abs(librosa.stft(padded, n_fft=2048, hop_length=BLOCK, center=True)) + 1e-7)
    curve = librosa.A_weighting(librosa.fft_frequencies(sr=RATE, n_fft=2048))
    expected = (spectrum + curve[:, None]).mean(0)[:-1]
    np.testing.assert_allclose(foreign_loudness(audio[: RATE // 2], grid).numpy(), expected, atol=2e-3)


def test_notes_are_as_loud_as_what_it_learned_from(tmp_path: Path) -> None:
    model = load_foreign(write(tmp_path), trust=True)
    levels = [float(play_foreign(gain * melody([69.0]), SAMPLE_RATE, model, tracker="yin").abs().max()) for gain in (1.0, 0.1)]
    assert levels[0] == pytest.approx(levels[1], rel=0.05) and 0.1 < levels[0] < 0.5


def test_long_music_has_no_seam() -> None:
    grid = FrameGrid(RATE, BLOCK)
    whistle = Whistle(BLOCK, RATE, False)
    model = ForeignModel(whistle, grid, -30.0, 10.0, True, False)
    from tonetransfer.pipeline import ddsp_pytorch as foreign

    n_frames = 4500
    sound = torch.cat(list(foreign._pieces(model, torch.full((n_frames,), 250.0), torch.full((n_frames,), -30.0))))
    assert len(sound) == n_frames * BLOCK
    assert float(sound.diff().abs().max()) < 1.2 * 0.2 * 2 * math.pi * 250.0 / RATE


def test_nothing_untrusted_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setattr(torch.jit, "load", lambda *_a, **_k: pytest.fail("it was loaded"))
    save_audio(tmp_path / "s.wav", melody([69.0]), SAMPLE_RATE)
    assert main(["transfer", str(tmp_path / "s.wav"), str(tmp_path / "o.wav"), "--to", str(path)]) == 1
    said = capsys.readouterr().err
    assert "--trust" in said and said.count("\n") == 1


def test_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path)
    save_audio(tmp_path / "s.wav", melody([69.0]), SAMPLE_RATE)
    words = ["transfer", str(tmp_path / "s.wav"), str(tmp_path / "o.wav"), "--to", str(path), "--trust", "--tracker", "yin"]
    assert main(words) == 0 and (tmp_path / "o.wav").is_file()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "ddsp_whistle_config.yaml").write_text("data: {mean_loudness: 1}")
    with pytest.raises(SettingsError, match="preprocess"):
        load_foreign(path, trust=True)
    (tmp_path / "ddsp_whistle_config.yaml").unlink()
    with pytest.raises(SettingsError, match="ddsp_whistle_config.yaml"):
        load_foreign(path, trust=True)
    bad = tmp_path / "bad.ts"
    bad.write_bytes(b"not a model")
    (tmp_path / "bad.yaml").write_text("data: {}")
    with pytest.raises(WeightsError, match="not TorchScript"):
        load_foreign(bad, trust=True)
