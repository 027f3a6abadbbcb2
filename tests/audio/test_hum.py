"""Mains hum goes, from rests and from under notes; notes stay, on its lines as well."""

import numpy as np
import pytest
import torch

from tonetransfer.audio.files import LongAudio
from tonetransfer.audio.hum import find_lines, without_hum


def melody(rate, *notes_hz, rest_s=0.4):
    """Half a second of each note, rich in partials, then a rest: (n_samples,), float32."""
    time = np.arange(round(0.5 * rate)) / rate
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.02)
    rest = np.zeros(round(rest_s * rate))
    notes = [edge * sum(np.sin(2 * np.pi * k * hz * time) / k for k in range(1, 7)) for hz in notes_hz]
    return (0.2 * np.concatenate([part for note in notes for part in (note, rest)])).astype(np.float32)


def hum(n_samples, rate, base_hz, levels=(1.0, 0.3, 0.8, 0.0, 0.4), drift_hz=0.0):
    """Lines on an f0 that sways a little, its power 20 dB below that of the melody."""
    time = np.arange(n_samples) / rate
    turns = base_hz * time + 0.5 * drift_hz * 10.0 / np.pi * np.sin(2 * np.pi * time / 10.0)
    sound = sum(level * np.cos(2 * np.pi * k * turns + k) for k, level in enumerate(levels, 1))
    return (0.025 * sound / np.linalg.norm(levels)).astype(np.float32)


def rms_db(audio):
    return 10.0 * np.log10(np.mean(np.square(np.asarray(audio))) + 1e-20)


NOTES_HZ = (440.0, 523.25, 587.33, 659.26, 523.25, 440.0, 349.23, 246.94)


@pytest.mark.parametrize(("base_hz", "drift_hz"), [(50.0, 0.0), (60.03, 0.0), (49.9, 0.03)])
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_hum_is_subtracted_and_notes_are_not(rate, base_hz, drift_hz):
    notes = melody(rate, *NOTES_HZ)
    added = hum(len(notes), rate, base_hz, drift_hz=drift_hz)
    left = without_hum(torch.from_numpy(notes + added), rate).numpy() - notes
    assert rms_db(left) < rms_db(added) - (23.0 if not drift_hz else 18.0)
    found = find_lines(torch.from_numpy(notes + added), rate)
    assert found.lines.tolist() == [1, 2, 3, 5] and abs(found.base_hz - base_hz) < 0.02


@pytest.mark.parametrize("notes_hz", [NOTES_HZ, (49.0, 61.74, 98.0, 123.47), (100.0,) * 6, (60.0,) * 6])
@pytest.mark.parametrize("rest_s", [0.0, 0.4])
def test_music_is_no_hum(notes_hz, rest_s):
    audio = torch.from_numpy(melody(48000, *notes_hz, rest_s=rest_s))
    assert without_hum(audio, 48000) is audio


def test_what_is_short_silent_or_noise_stays():
    noise = torch.randn(96000, generator=torch.Generator().manual_seed(0))
    for audio in (noise, torch.zeros(96000), noise[:1000], noise[:1]):
        assert without_hum(audio, 48000) is audio


def test_long_recordings_are_read_without_hum():
    rate = 8000
    notes = melody(rate, *NOTES_HZ)
    audio = notes + hum(len(notes), rate, 50.0)
    whole, long = without_hum(torch.from_numpy(audio), rate), without_hum(LongAudio([audio[:9999], audio[9999:]]), rate)
    assert isinstance(long, LongAudio) and len(long) == len(audio)
    for part in (slice(0, 100), slice(1999, 23456), slice(50000, None), slice(20, 20)):
        torch.testing.assert_close(long[part], whole[part])
