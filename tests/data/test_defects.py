"""Every measurement of a recording's faults against sounds in which the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLE_RATE, melody, tone

from tonetransfer.audio.files import resample, stream_channels
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.data.defects import (
    RawMeter,
    compare_channels,
    decay_times_s,
    find_hum,
    full_scale_runs,
    noise_floor_db,
    pause_seconds,
    reverberation_s,
)

GRID = FrameGrid()
RNG = np.random.default_rng(0)
TUNE = [60, 64, 67, 72, 55, 62, 69, 65]


def loudness(audio: np.ndarray) -> np.ndarray:
    return loudness_db(torch.from_numpy(np.asarray(audio, np.float32)), GRID).numpy()


def played(rest: float = 0.25, level: float = 0.3) -> np.ndarray:
    return melody(TUNE, seconds=0.4, rest=rest, level=level).numpy().astype(np.float64)


def noise(n_samples: int, rms: float = 1.0) -> np.ndarray:
    return rms * np.random.default_rng(1).standard_normal(n_samples)


@pytest.mark.parametrize("floor_db", [-70.0, -50.0, -35.0])
def test_noise_floor_of_a_tune_with_rests(floor_db: float) -> None:
    hiss = noise(len(played()))
    hiss *= 10.0 ** ((floor_db - 10.0 * np.log10(np.mean(10.0 ** (loudness(hiss) / 10.0)))) / 20.0)
    assert noise_floor_db(loudness(played() + hiss), GRID.frame_rate) == pytest.approx(floor_db, abs=1.5)


def test_digital_silence_hides_no_noise() -> None:
    hiss = noise(len(played()), 1e-3)
    gated = (played() + hiss) * (np.arange(len(hiss)) % 48000 < 36000)
    floors = [noise_floor_db(loudness(audio), GRID.frame_rate) for audio in (played() + hiss, gated)]
    assert floors[1] == pytest.approx(floors[0], abs=2.0)
    assert noise_floor_db(loudness(np.zeros(48000)), GRID.frame_rate) == -120.0


def test_pauses_are_where_noise_can_be_heard() -> None:
    notes = np.ones(1000, dtype=bool)
    notes[200:300] = notes[500:510] = False  # a second, less a tenth at both ends; and no pause
    level = np.full(1000, -70.0)
    assert pause_seconds(notes, level, 100.0) == pytest.approx(0.8)
    level[250:] = -120.0  # gated
    assert pause_seconds(notes, level, 100.0) == pytest.approx(0.3)
    assert pause_seconds(np.ones(1000, dtype=bool), level, 100.0) == 0.0


@pytest.mark.parametrize("base_hz", [50.0, 60.0])
@pytest.mark.parametrize("level", [0.01, 0.001])
def test_hum_is_found_and_measured(base_hz: float, level: float) -> None:
    t = np.arange(len(played())) / SAMPLE_RATE
    hum = level * (np.sin(2 * np.pi * base_hz * t) + 0.5 * np.sin(2 * np.pi * 3 * base_hz * t + 1.0))
    found = find_hum(played() + hum + noise(len(t), 1e-4), SAMPLE_RATE)
    assert found.base_hz == base_hz
    assert found.level_db == pytest.approx(20.0 * np.log10(level * np.sqrt(1.25)), abs=1.0)


def test_no_hum_is_no_hum() -> None:
    for audio in (played() + noise(len(played()), 1e-4), noise(96000, 0.01), np.zeros(48000), played(), np.zeros(100)):
        assert find_hum(audio, SAMPLE_RATE).base_hz == 0.0


@pytest.mark.parametrize("rt60", [0.2, 0.4, 0.8, 1.5])
def test_reverberation_time(rt60: float) -> None:
    t = np.arange(round(1.5 * rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    room = np.random.default_rng(2).standard_normal(len(t)) * 10.0 ** (-3.0 * t / rt60)
    room[0] = 4.0 * np.sqrt(np.square(room).sum())  # what comes straight from the instrument
    dry = played(rest=max(0.5, 0.8 * rt60))
    wet = np.fft.irfft(np.fft.rfft(dry, 1 << 20) * np.fft.rfft(room, 1 << 20))[: len(dry)] / room[0]
    level = loudness(wet + noise(len(wet), 1e-5))
    found = reverberation_s(decay_times_s(level, GRID.frame_rate, noise_floor_db(level, GRID.frame_rate)))
    assert found == pytest.approx(rt60, rel=0.25)


def test_dry_notes_have_no_room() -> None:
    level = loudness(played() + noise(len(played()), 1e-5))
    found = reverberation_s(decay_times_s(level, GRID.frame_rate, noise_floor_db(level, GRID.frame_rate)))
    assert found is not None and found <= 0.15
    assert reverberation_s(decay_times_s(loudness(tone(220.0, 2.0).numpy()), GRID.frame_rate, -100.0)) is None  # one decay tells nothing


def test_clipping_is_counted() -> None:
    t = np.arange(48000) / SAMPLE_RATE
    assert full_scale_runs(0.99 * np.sin(2 * np.pi * 440 * t)) == (0, 0)
    loud = np.clip(1.2 * np.sin(2 * np.pi * 440 * t), -1.0, 1.0)
    samples, clipped = full_scale_runs(loud)
    assert samples == (np.abs(loud) >= 1.0 - 2.0**-14).sum() and clipped == 880  # twice a period


@pytest.mark.parametrize("source_rate", [16000, 32000])
def test_bandwidth_of_a_file_that_had_a_lower_rate(source_rate: int, tmp_path: Path) -> None:
    low = melody(TUNE).numpy() + noise(len(melody(TUNE)), 1e-3)
    there = resample(resample(low, SAMPLE_RATE, source_rate), source_rate, SAMPLE_RATE).numpy()
    soundfile.write(tmp_path / "was_low.wav", there, SAMPLE_RATE, subtype="PCM_24")
    assert meter(tmp_path / "was_low.wav").bandwidth_hz() == pytest.approx(0.5 * source_rate, rel=0.08)


@pytest.mark.parametrize("f0_midi", [36, 60, 91])
def test_a_full_band_is_full_whatever_is_played(f0_midi: int, tmp_path: Path) -> None:
    note = tone(440.0 * 2.0 ** ((f0_midi - 69) / 12.0), 2.0, n_harmonics=40).numpy()
    soundfile.write(tmp_path / "full.wav", note + noise(len(note), 1e-4), SAMPLE_RATE)
    assert meter(tmp_path / "full.wav").bandwidth_hz() == 24000.0


def meter(path: Path) -> RawMeter:
    found = RawMeter(soundfile.info(path).samplerate)
    for piece in stream_channels(path):
        found.add(piece)
    return found


def test_channels() -> None:
    one = noise(48000)
    same = compare_channels(np.stack([one, 0.5 * one], axis=1), SAMPLE_RATE)
    assert same.correlation == pytest.approx(1.0) and same.delay_ms == 0.0
    assert same.level_difference_db == pytest.approx(-6.02, abs=0.1)
    late = compare_channels(np.stack([one, np.roll(one, 96)], axis=1), SAMPLE_RATE)
    assert abs(late.correlation) < 0.1 and late.delay_ms == pytest.approx(2.0) and late.best_correlation > 0.95
    swapped = compare_channels(np.stack([one, -one], axis=1), SAMPLE_RATE)
    assert swapped.correlation == pytest.approx(-1.0)
    assert compare_channels(np.stack([one, 1e-5 * one], axis=1), SAMPLE_RATE).best_correlation == 0.0  # dead
    assert compare_channels(one[:, None], SAMPLE_RATE).correlation == 1.0
