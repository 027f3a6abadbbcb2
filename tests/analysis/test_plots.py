import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from tonetransfer.analysis import plot_panels as panels
from tonetransfer.analysis import plots as plot
from tonetransfer.analysis.descriptors import analyze_timbre
from tonetransfer.analysis.plot_panels import log_spectrogram, part_borders
from tonetransfer.analysis.plots import plot_analysis, plot_transfer
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.audio.units import PRINTED, note_name
from tonetransfer.controls.controls import Controls
from tonetransfer.errors import AudioError, ControlsError, ToneTransferError

GRID = FrameGrid()
RATE = GRID.sample_rate
PNG = b"\x89PNG\r\n\x1a\n"


def played(f0_hz, duration_s=1.0, gain=0.2):
    t = np.arange(round(duration_s * RATE)) / RATE
    audio = gain * np.clip(np.minimum(t, duration_s - t) / 0.05, 0, 1) * sum(np.sin(2 * np.pi * k * f0_hz * t) / k for k in range(1, 9))
    audio = torch.from_numpy(audio.astype(np.float32))
    n_frames = GRID.n_frames(len(audio))
    return audio, Controls(torch.full((n_frames,), f0_hz), torch.ones(n_frames), loudness_db(audio, GRID), GRID)


def silence(n_samples=RATE):
    n_frames = GRID.n_frames(n_samples)
    return torch.zeros(n_samples), Controls(torch.full((n_frames,), 220.0), torch.zeros(n_frames), torch.full((n_frames,), -120.0), GRID)


def pixels(path):
    """Width and height of a PNG file, from its header."""
    head = path.read_bytes()[:24]
    assert head.startswith(PNG)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(plot, "DPI", 30)


def test_pictures_are_written_whole_and_nothing_else_is_left(tmp_path):
    source, result = played(220.0), played(440.0, 1.2)
    before = source[0].clone()
    plot_analysis(tmp_path / "analysis.png", *source, title="A3, $50, 100 %")
    plot_transfer(tmp_path / "transfer.png", *source, *result, title="A3 to A4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["analysis.png", "transfer.png"]
    assert min(*pixels(tmp_path / "analysis.png"), *pixels(tmp_path / "transfer.png")) > 300
    assert torch.equal(source[0], before)


@pytest.mark.parametrize("recording", [silence(), silence(1), played(4000.0, 0.05), played(41.2, 0.3, gain=1e-5)])
def test_odd_recordings_have_pictures_too(tmp_path, recording):
    plot_analysis(tmp_path / "a.png", *recording)
    plot_transfer(tmp_path / "t.png", *recording, *played(330.0, 0.2))
    assert pixels(tmp_path / "a.png") and pixels(tmp_path / "t.png")


def test_only_the_first_minute_is_looked_at(tmp_path, monkeypatch):
    assert plot.LONGEST_S == 60.0
    monkeypatch.setattr(plot, "LONGEST_S", 1.0)
    seen = []

    def watch(audio, controls):
        seen.append((len(audio), controls.n_frames))
        return analyze_timbre(audio, controls)

    monkeypatch.setattr(plot, "analyze_timbre", watch)
    plot_analysis(tmp_path / "long.png", *silence(2 * RATE))
    assert seen == [(RATE, 100)]


def test_an_existing_picture_is_kept_unless_allowed(tmp_path):
    path = tmp_path / "kept.png"
    path.write_bytes(b"mine")
    for draw in (
        lambda **more: plot_analysis(path, *silence(4800), **more),
        lambda **more: plot_transfer(path, *silence(4800), *silence(4800), **more),
    ):
        with pytest.raises(ToneTransferError, match="exists") as caught:
            draw()
        assert "\n" not in str(caught.value) and path.read_bytes() == b"mine"
    plot_analysis(path, *silence(4800), overwrite=True)
    assert pixels(path)


@pytest.mark.parametrize(
    ("name", "says"), [("picture.jpg", "ending in .png"), ("nowhere/picture.png", "no folder"), ("folder.png", "is a folder")]
)
def test_a_place_that_cannot_be_is_refused_in_one_line(tmp_path, name, says):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ToneTransferError, match=says) as caught:
        plot_analysis(tmp_path / name, *silence(4800), overwrite=True)
    assert "\n" not in str(caught.value)


def test_bad_audio_leaves_no_picture(tmp_path):
    audio, controls = played(220.0)
    with pytest.raises(AudioError):
        plot_analysis(tmp_path / "a.png", audio * float("nan"), controls)
    with pytest.raises(ControlsError):
        plot_analysis(tmp_path / "a.png", audio[:4800], controls)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [plot, panels])
def test_importing_draws_in_no_matplotlib(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported and "matplotlib" not in " ".join(ast.unparse(node) for node in imported)


@pytest.mark.parametrize("f0_hz", [100.0, 1000.0, 15000.0])
def test_a_sine_is_brightest_at_its_frequency_and_reads_its_level(f0_hz):
    audio = 0.1 * np.sin(2 * np.pi * f0_hz * np.arange(RATE) / RATE).astype(np.float32)
    frequencies, level_db = log_spectrogram(audio, RATE, 480, 40.0)
    column = level_db[:, 50]
    assert frequencies[column.argmax()] == pytest.approx(f0_hz, rel=0.02, abs=6)  # half a bin
    assert column.max() == pytest.approx(-20, abs=1.6)  # a Hann window loses up to 1.4 dB between bins
    assert frequencies[-1] == RATE / 2


def test_names_and_borders():
    assert [note_name(midi, PRINTED) for midi in (60, 69.4, 58, 20.6)] == ["C4", "A4", "B♭3", "A0"]
    note = {"onset_s": 1.0, "attack_s": 0.1, "decay_s": 0.0, "sustain_s": 0.5, "release_s": 0.2}
    assert part_borders(note)["release"] == pytest.approx((1.6, 1.8))
