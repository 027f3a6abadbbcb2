"""Liveliness in numbers: each difference is made by hand, and its own metric reads it back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, tone

from tonetransfer.evaluation.performance_metrics import (
    articulation_recall,
    articulations_s,
    attack_times_s,
    band_differences_db,
    between_partials_db,
    centroid_difference_octaves,
    find_lag_s,
    ghost_difference_db,
    partial_movement_db,
)

N_FRAMES = 200  # two seconds


def partials(f0_hz: float, amplitudes: np.ndarray, seconds: float = 2.0) -> torch.Tensor:
    """A steady tone of partials 1, 2 ... whose amplitudes are (n_partials,) or (n_partials, n_samples)."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    k = np.arange(1, len(amplitudes) + 1)[:, None]
    waves = np.sin(2 * np.pi * k * f0_hz * t + 0.7 * k**2)
    return torch.from_numpy((waves * amplitudes.reshape(len(amplitudes), -1)).sum(axis=0).astype(np.float32))


def pitch(f0_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """f0 and where it sounds: everywhere."""
    return np.full(N_FRAMES, f0_hz), np.ones(N_FRAMES, bool)


def noise(level_db: float, seconds: float = 2.0) -> torch.Tensor:
    samples = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE)) * 10.0 ** (level_db / 20.0)
    return torch.from_numpy(samples.astype(np.float32))


def notes(starts_s: list[float], seconds: float = 2.0) -> torch.Tensor:
    """Repeated notes, each of them until 80 ms before the next."""
    sound = torch.zeros(round(seconds * SAMPLE_RATE))
    for start, stop in zip(starts_s, [*starts_s[1:], seconds], strict=True):
        note = tone(440.0, stop - start - 0.08)
        first = round(start * SAMPLE_RATE)
        sound[first : first + len(note)] = note
    return sound


@pytest.mark.parametrize("late_s", [0.02, -0.02, 0.0, 0.04])
def test_a_lag_is_read_back(late_s: float) -> None:
    sound = notes([0.2, 0.8, 1.3])
    assert find_lag_s(sound, torch.roll(sound, round(late_s * SAMPLE_RATE)), SAMPLE_RATE) == pytest.approx(late_s)


def test_silence_has_no_lag() -> None:
    assert find_lag_s(torch.zeros(SAMPLE_RATE), torch.zeros(SAMPLE_RATE), SAMPLE_RATE) == 0.0


def test_what_a_filter_takes_is_missing_in_its_bands_and_in_the_centroid() -> None:
    full = np.full(14, 0.03)
    filtered = np.where(np.arange(1, 15) * 1100.0 > 5000.0, full * 10.0 ** (-12.0 / 20.0), full)
    x, y = partials(1100.0, full), partials(1100.0, filtered)
    assert band_differences_db(x, y, SAMPLE_RATE) == pytest.approx([0.0, -12.0, -12.0, -12.0], abs=0.05)
    assert band_differences_db(y, x, SAMPLE_RATE) == pytest.approx([0.0, 12.0, 12.0, 12.0], abs=0.05)
    means = [np.average(np.arange(1, 15), weights=amplitudes**2) for amplitudes in (full, filtered)]
    expected = np.log2(means[1] / means[0])
    assert expected < -1.0
    assert centroid_difference_octaves(x, y, SAMPLE_RATE) == pytest.approx(expected, abs=0.02)


def test_an_empty_band_is_a_finite_number() -> None:
    silence = torch.zeros(2 * SAMPLE_RATE)
    differences = band_differences_db(partials(1000.0, np.full(14, 0.03)), silence, SAMPLE_RATE)
    assert np.isfinite(differences).all() and max(differences) < -100.0
    assert band_differences_db(silence, silence, SAMPLE_RATE) == [0.0] * 4


def test_ten_decibels_of_noise_are_ten_between_the_partials() -> None:
    sound = partials(440.0, 0.3 / np.arange(1, 9))
    levels = [between_partials_db(sound + noise(level_db), SAMPLE_RATE, *pitch(440.0)) for level_db in (-60.0, -50.0, -40.0)]
    assert np.diff(np.array(levels, float)) == pytest.approx([10.0, 10.0], abs=0.3)
    assert between_partials_db(sound, SAMPLE_RATE, *pitch(440.0)) < levels[0] - 10.0


def test_partials_that_swing_by_3_db_move_by_3_db() -> None:
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    phase = np.arange(7)[:, None]
    swing = 10.0 ** (3.0 * np.sin(2 * np.pi * 6.0 * t + phase) / 20.0)
    amplitudes = np.concatenate([np.full((1, len(t)), 0.3), 0.02 * swing])  # the first is steady and strong: so is the whole
    still = partial_movement_db(partials(440.0, amplitudes[:, :1]), SAMPLE_RATE, *pitch(440.0))
    moving = partial_movement_db(partials(440.0, amplitudes), SAMPLE_RATE, *pitch(440.0))
    assert still == pytest.approx(0.0, abs=0.05)
    assert moving == pytest.approx(3.0 / np.sqrt(2.0), rel=0.15)  # rms
    halved = np.concatenate([amplitudes[:1], 0.02 * np.sqrt(swing)])
    assert partial_movement_db(partials(440.0, halved), SAMPLE_RATE, *pitch(440.0)) == pytest.approx(moving / 2.0, rel=0.03)


def test_a_swell_of_the_whole_is_no_movement() -> None:
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    swell = 10.0 ** (6.0 * np.sin(2 * np.pi * 4.0 * t) / 20.0)
    sound = partials(440.0, 0.2 / np.arange(1, 9)) * torch.from_numpy(swell.astype(np.float32))
    assert partial_movement_db(sound, SAMPLE_RATE, *pitch(440.0)) < 0.2


def test_notes_too_short_to_move_have_no_movement() -> None:
    f0_hz, sounding = pitch(440.0)
    sounding[::50] = False
    sound = partials(440.0, 0.2 / np.arange(1, 9))
    assert partial_movement_db(sound, SAMPLE_RATE, f0_hz, sounding) is None
    assert between_partials_db(sound, SAMPLE_RATE, f0_hz, np.zeros(N_FRAMES, bool)) is None


def test_ghosts_count_where_the_recording_is_silent() -> None:
    reference = torch.cat([torch.full((50,), -20.0), torch.full((50,), -120.0)])
    ghost = torch.cat([torch.full((50,), -10.0), torch.full((50,), -70.0)])
    assert ghost_difference_db(reference, ghost) == pytest.approx(30.0)  # silence counts as 80 dB below the loudest
    assert ghost_difference_db(reference, reference) == 0.0
    assert ghost_difference_db(reference[:55], ghost[:55]) is None


def test_notes_played_anew_are_found() -> None:
    assert articulations_s(notes([0.2, 0.8, 1.3]), SAMPLE_RATE) == pytest.approx([0.8, 1.3], abs=0.03)
    assert len(articulations_s(notes([0.2]), SAMPLE_RATE)) == 0


def test_an_attack_and_the_dip_before_it_are_one() -> None:
    tongued = notes([0.2, 0.8, 1.3])
    for start in (0.2, 0.8, 1.3):
        first = round(start * SAMPLE_RATE)
        tongued[first : first + 1440] += noise(-25.0, 0.03)
    attacks = attack_times_s(tongued, SAMPLE_RATE)
    assert attacks == pytest.approx([0.2, 0.8, 1.3], abs=0.03)
    assert articulations_s(tongued, SAMPLE_RATE) == pytest.approx(attacks[1:])


def test_notes_that_are_slurred_or_late_are_missed() -> None:
    played = notes([0.2, 0.8, 1.3])
    assert articulation_recall(played, played, SAMPLE_RATE) == 1.0
    assert articulation_recall(played, notes([0.2, 1.3]), SAMPLE_RATE) == 0.5
    assert articulation_recall(played, notes([0.2, 0.8, 1.42]), SAMPLE_RATE) == 0.5
    assert articulation_recall(notes([0.2, 1.3]), played, SAMPLE_RATE) == 1.0
    assert articulation_recall(notes([0.2]), played, SAMPLE_RATE) is None
