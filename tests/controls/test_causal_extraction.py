"""Controls as they come: the loudness of the definition, sooner; blocks of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import melody
from whole_recordings import extract_causal

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.controls.causal import CausalExtractor

GRID = FrameGrid()


def test_with_enough_look_ahead_it_is_the_definition() -> None:
    sound = melody([57, 76], seconds=0.2)
    heard = extract_causal(sound, GRID, 1024)
    assert torch.allclose(heard.loudness_db, loudness_db(sound, GRID), atol=0.01)


@pytest.mark.parametrize("f0_hz", [110.0, 1000.0, 4000.0])
def test_a_steady_sine_reads_alike_with_little_look_ahead(f0_hz: float) -> None:
    sine = torch.from_numpy((0.1 * np.sin(2 * np.pi * f0_hz * np.arange(24000) / 48000)).astype(np.float32))
    difference = extract_causal(sine, GRID, 480).loudness_db - loudness_db(sine, GRID)
    assert float(difference[5:-5].abs().max()) < 1.0


@pytest.mark.parametrize("path_frames", [0, 2])
def test_blocks_of_any_size_are_the_whole(path_frames: int) -> None:
    sound = melody([60, 64], seconds=0.2)
    whole = extract_causal(sound, GRID, 480, path_frames=path_frames)
    rng = np.random.default_rng(0)
    extractor, frames, first = CausalExtractor(GRID, 480, path_frames=path_frames), [], 0
    while first < len(sound):
        n = int(rng.choice([0, 1, 7, 480, 700, 4096]))
        frames += extractor.push(sound[first : first + n].numpy())
        first += n
    assert len(frames) == (len(sound) - 480) // 480 + 1 - path_frames
    for row, name in zip(np.array(frames).T, ("f0_hz", "periodicity", "loudness_db"), strict=True):
        assert np.allclose(row, getattr(whole, name)[: len(row)].numpy(), rtol=1e-5, atol=1e-4)


def test_a_frame_comes_when_its_look_ahead_was_heard() -> None:
    extractor = CausalExtractor(GRID, 480)
    assert extractor.push(np.zeros(479, np.float32)) == [] and len(extractor.push(np.zeros(1, np.float32))) == 1
    assert extractor.push(np.zeros(479, np.float32)) == [] and len(extractor.push(np.zeros(481, np.float32))) == 2
    assert extractor.latency_samples == 480
