"""The tracker that does not know the future: known answers, and the same numbers whatever comes later or however it comes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import melody, tone
from whole_recordings import track_causal

from tonetransfer.audio.files import load_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.controls import extract
from tonetransfer.evaluation.metrics import raw_pitch_accuracy
from tonetransfer.pitch.causal import CausalTracker

GRID, AHEAD = FrameGrid(), 480


@pytest.mark.parametrize("f0_hz", [41.2, 55.0, 110.0, 233.1, 440.0, 987.8, 2093.0, 3951.1])
def test_known_answer(f0_hz: float) -> None:
    found, periodicity, _ = track_causal(tone(f0_hz, 0.4).numpy(), GRID, AHEAD)
    cents = 1200.0 * np.log2(found[15:35] / f0_hz)
    assert np.abs(cents).max() < 6.0 and periodicity[15:35].min() > 0.95


def test_a_sine_and_a_missing_fundamental() -> None:
    t = np.arange(19200) / 48000
    sine = 0.3 * np.sin(2 * np.pi * 700.0 * t)
    missing = sum(0.1 * np.sin(2 * np.pi * 200.0 * k * t) for k in (3, 4, 5))
    for sound, f0_hz in ((sine, 700.0), (missing, 200.0)):
        assert np.abs(1200.0 * np.log2(track_causal(sound, GRID, AHEAD)[0][10:30] / f0_hz)).max() < 10.0


def test_leaps_are_followed_at_once() -> None:
    sound = np.concatenate([tone(220.0, 0.4).numpy(), tone(440.0, 0.4).numpy(), tone(330.0, 0.4).numpy()])
    found = track_causal(sound, GRID, AHEAD)[0]
    for first, f0_hz in ((40, 440.0), (80, 330.0)):
        right = np.abs(1200.0 * np.log2(found[first : first + 35] / f0_hz)) < 50.0
        assert right[3:].all()


def test_what_comes_later_changes_nothing() -> None:
    sound = melody([60, 67, 55], seconds=0.2).numpy()
    n = 30 * 480
    other = np.concatenate([sound[:n], np.random.default_rng(0).normal(0, 0.3, len(sound) - n)])
    a, b = (track_causal(x, GRID, AHEAD) for x in (sound, other))
    decided = (n - AHEAD) // 480 + 1  # frames whose look-ahead ends before the two differ
    for one, two in zip(a, b, strict=True):
        assert np.array_equal(one[:decided], two[:decided])
    assert not np.array_equal(a[0], b[0])


@pytest.mark.parametrize(("path_frames", "look_ahead"), [(0, AHEAD), (3, AHEAD), (0, 2400), (0, 4800), (0, 9600)])
def test_piece_by_piece_is_the_whole(path_frames: int, look_ahead: int) -> None:
    sound = melody([62, 50, 74], seconds=0.15).numpy().astype(np.float64)
    whole = track_causal(sound, GRID, look_ahead, path_frames=path_frames)
    tracker = CausalTracker(GRID, look_ahead, path_frames=path_frames)
    frames = tracker.push(sound[:look_ahead])
    for first in range(look_ahead, len(sound) - 480, 480):
        frames += tracker.push(sound[first : first + 480])
    for row, name in zip(whole, ("f0_hz", "periodicity", "level_db"), strict=True):
        assert np.allclose([getattr(one, name) for one in frames], row[: len(frames)], rtol=1e-9, atol=1e-9)


def test_noise_and_silence_have_no_pitch() -> None:
    rng = np.random.default_rng(1)
    assert np.median(track_causal(rng.normal(0, 0.1, 24000), GRID, AHEAD)[1]) < 0.6
    f0_hz, periodicity, _ = track_causal(np.zeros(9600), GRID, AHEAD)
    assert (periodicity == 0.0).all() and (f0_hz > 0.0).all()


@pytest.mark.slow
def test_agrees_with_the_tracker_of_recordings() -> None:
    audio, _ = load_audio("examples/flute.flac", 48000)
    audio = audio[: 5 * 48000]
    reference = extract(audio, GRID)
    notes = reference.note_frames()
    found, _, _ = track_causal(audio.numpy(), GRID, AHEAD)
    import torch

    assert raw_pitch_accuracy(reference.f0_hz[notes], torch.from_numpy(found)[notes]) > 0.95
