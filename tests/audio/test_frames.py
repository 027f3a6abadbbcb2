"""One grid, one clock."""

import numpy as np
import pytest
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.stft import frame_magnitudes
from tonetransfer.errors import SettingsError

GRIDS = [FrameGrid(), FrameGrid(44100, 256), FrameGrid(16000, 160), FrameGrid(48000, 1)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("n_samples", [1, 479, 480, 481, 48000, 48001])
def test_frames_cover_all_samples_and_no_more(grid, n_samples):
    n_frames = grid.n_frames(n_samples)
    assert grid.n_samples(n_frames) >= n_samples > grid.n_samples(n_frames - 1)
    assert grid.pad(torch.zeros(2, n_samples)).shape == (2, grid.n_samples(n_frames))


def test_instants_do_not_drift():
    grid = FrameGrid(44100, 441)
    assert grid.times(360_001)[-1] == 3600.0 and FrameGrid().frame_rate == 100.0


@pytest.mark.parametrize("n_fft", [256, 1024, 2048])
def test_a_click_shows_at_its_frame(n_fft):
    grid = FrameGrid()
    for t in (0, 7, 30, 49):
        audio = torch.zeros(grid.n_samples(50))
        audio[t * grid.hop_length] = 1.0
        energy = frame_magnitudes(audio, grid, n_fft).square().sum(dim=-1)
        assert energy.shape == (50,) and int(energy.argmax()) == t


def test_upsampling_is_linear_and_holds_at_the_end():
    grid = FrameGrid(48000, 4)
    samples = grid.upsample(torch.tensor([[0.0, 4.0, 2.0]]))
    torch.testing.assert_close(samples, torch.tensor([[0.0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 2, 2, 2]]))


def test_upsampling_meets_the_frames_and_knows_no_batch():
    grid, values = FrameGrid(), torch.randn(3, 2, 9)
    samples = grid.upsample(values)
    torch.testing.assert_close(samples[..., :: grid.hop_length], values)
    torch.testing.assert_close(samples[1, 1], grid.upsample(values[1, 1]))


def test_padding_leaves_the_audio_alone():
    audio = torch.randn(2, 481)
    padded = FrameGrid().pad(audio)
    assert torch.equal(padded[:, :481], audio) and not padded[:, 481:].any() and audio.shape == (2, 481)


def test_values_are_placed_at_the_instants():
    grid = FrameGrid(48000, 480)
    placed = grid.place(np.array([0.016, 0.032]), np.array([1.0, 2.0]), 6)
    np.testing.assert_allclose(placed, [1, 1, 1.25, 1.875, 2, 2])


@pytest.mark.parametrize("bad", [(0, 480), (48000, 0), (-1, 1), (48000, 480.0), ("48000", 480), (44100.5, 1)])
def test_bad_grids_are_told(bad):
    with pytest.raises(SettingsError, match="positive whole number"):
        FrameGrid(*bad)
