"""What the tests share: a tiny model with random weights, and tones whose every property is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Result, Run

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.cli.main import main
from tonetransfer.controls.controls import Controls
from tonetransfer.models.timbre_model import Instrument, TimbreModel
from tonetransfer.models.weights import save_model
from tonetransfer.pipeline import target
from tonetransfer.training.settings import ModelSettings

SAMPLE_RATE = 48000


def make_model(**changes: int) -> TimbreModel:
    """A model that is small and knows nothing; the same on every call."""
    sizes = {"z_dim": 8, "encoder_width": 16, "decoder_width": 16, "n_harmonics": 24, "n_bands": 12, **changes}
    names = {"violin": ("strings", 55.0, 100.0, 76.0), "alto_sax": ("sax", 49.0, 81.0, 65.0), "tuba": ("brass", 28.0, 58.0, 42.0)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TimbreModel(ModelSettings(**sizes), tuple(Instrument(name, *facts, "a test", "CC0-1.0") for name, facts in names.items()))
        model.timbres.copy_(torch.randn_like(model.timbres))
    model.decoder.head.bias.data[0] = -0.2  # some 5 dB softer than it is asked to be: within what can be corrected
    model.quantiles.copy_(torch.linspace(-42.0, -14.0, 13).expand(len(names), -1))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_model() -> TimbreModel:
    return make_model()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timbres are fitted to references in two steps: most tests are about something else, and there are many of them."""
    monkeypatch.setattr(target, "Z_STEPS", 2)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory, tiny_model: TimbreModel) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(path, tiny_model, notes={"steps": 0})
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in an empty folder; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        return code, *capsys.readouterr()

    return run_it


def tone(f0_hz: float, seconds: float, *, sample_rate: int = SAMPLE_RATE, n_harmonics: int = 8, level: float = 0.3) -> torch.Tensor:
    """A steady note (n_samples,) of harmonics 1 / k, with 20 ms of attack and release."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    audible = [k for k in range(1, n_harmonics + 1) if k * f0_hz < 0.45 * sample_rate]
    sound = sum(np.sin(2 * np.pi * k * f0_hz * t + k) / k for k in audible)
    envelope = np.clip(np.minimum(t, t[-1] - t) / 0.02, 0.0, 1.0)
    return torch.from_numpy((level * sound * envelope).astype(np.float32))


def melody(midi: list[float], *, seconds: float = 0.5, rest: float = 0.1, level: float = 0.3) -> torch.Tensor:
    """Notes with rests between them, (n_samples,) at 48 kHz."""
    gap = torch.zeros(round(rest * SAMPLE_RATE))
    notes = [tone(440.0 * 2.0 ** ((number - 69.0) / 12.0), seconds, level=level) for number in midi]
    return torch.cat([piece for note in notes for piece in (note, gap)])


def make_controls(
    midi: list[float], loudness_db: list[float], *, seconds: float = 0.5, rest: float = 0.2, noise_db: float = -80.0
) -> Controls:
    """Controls of notes with noise between them; every note swells by 3 dB."""
    grid, f0, periodicity, loud = FrameGrid(), [], [], []
    n, m = round(seconds * grid.frame_rate), round(rest * grid.frame_rate)
    for number, level in zip(midi, loudness_db, strict=True):
        f0 += [440.0 * 2.0 ** ((number - 69.0) / 12.0)] * (n + m)
        periodicity += [0.98] * n + [0.1] * m
        loud += list(level + 3.0 * np.sin(np.linspace(0.0, np.pi, n)) - 1.5) + [noise_db] * m
    return Controls(torch.tensor(f0), torch.tensor(periodicity), torch.tensor(loud), grid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a mistake shows in seconds."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
