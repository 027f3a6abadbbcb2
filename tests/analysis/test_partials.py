"""Sounds are added up from sines, so the right answer of every measurement is known."""

import numpy as np
import pytest

from tonetransfer.analysis.partials import (
    find_partials,
    inharmonicity,
    odd_to_even_ratio_db,
    partials_db,
    spectral_slope_db_per_octave,
    swing_response,
    tristimulus,
)
from tonetransfer.audio.frames import FrameGrid

GRID = FrameGrid()
RATE = GRID.sample_rate
INNER = slice(15, -15)  # frames whose windows lie inside the sound, down to 40 Hz


def add_sines(f0_hz, amplitudes, *, stretch=0.0):
    """Partials k at k f0 sqrt(1 + stretch k^2) for f0 per sample; start phases differ, so that peaks do not pile up."""
    phase = np.cumsum(f0_hz) / RATE
    order = np.arange(1, len(amplitudes) + 1)
    audible = order * np.max(f0_hz) * np.sqrt(1 + stretch * order**2) < RATE / 2
    turns = order[audible] * np.sqrt(1 + stretch * order[audible] ** 2) * phase[:, None] + 0.13 * order[audible] ** 2
    return (np.sin(2 * np.pi * turns) @ np.asarray(amplitudes)[audible]).astype(np.float32)


def follow(audio, f0_hz):
    n_frames = GRID.n_frames(len(audio))
    return find_partials(audio, np.broadcast_to(f0_hz, n_frames).astype(float), GRID, where=np.ones(n_frames, bool))


@pytest.mark.parametrize("f0_hz", [41.2, 110.0, 440.0, 2500.0])
def test_amplitudes_are_those_that_were_added(f0_hz):
    amplitudes = 0.3 * 0.8 ** np.arange(20)
    found = follow(add_sines(np.full(RATE, f0_hz), amplitudes), f0_hz).amplitudes[INNER]
    audible = np.arange(1, 21) * f0_hz < RATE / 2
    np.testing.assert_allclose(found[:, audible], np.broadcast_to(amplitudes[audible], found[:, audible].shape), rtol=2e-3)
    assert (found[:, ~audible] == 0).all()


def test_ratios_follow_their_formulas():
    amplitudes = np.array([[4.0, 3.0, 2.0, 1.0, 1.0, 0.5]])
    np.testing.assert_allclose(tristimulus(amplitudes)[0], [4 / 11.5, 6 / 11.5, 1.5 / 11.5])
    assert odd_to_even_ratio_db(amplitudes)[0] == pytest.approx(10 * np.log10((16 + 4 + 1) / (9 + 1 + 0.25)))
    assert partials_db(amplitudes)[0, 0] == pytest.approx(20 * np.log10(4 / 11.5))
    sawtooth, square = 1 / np.arange(1, 21), (np.arange(1, 21) % 2) / np.arange(1, 21)
    assert spectral_slope_db_per_octave(sawtooth[None])[0] == pytest.approx(-6.0206, abs=1e-3)
    assert spectral_slope_db_per_octave(square[None])[0] == pytest.approx(-6.0206, abs=1e-3)
    assert odd_to_even_ratio_db(square[None])[0] == pytest.approx(80.0)


def test_silence_and_a_single_partial_have_ratios_too():
    silence, one = np.zeros((1, 20)), np.eye(1, 20)
    for function in (tristimulus, odd_to_even_ratio_db, partials_db, spectral_slope_db_per_octave):
        assert np.isfinite(function(silence)).all() and np.isfinite(function(one)).all()
    np.testing.assert_array_equal(tristimulus(silence), np.zeros((1, 3)))
    np.testing.assert_array_equal(tristimulus(one), [[1.0, 0.0, 0.0]])
    assert odd_to_even_ratio_db(silence)[0] == 0 and spectral_slope_db_per_octave(one)[0] == 0


def test_f0_is_set_right_even_if_the_tracker_flattened_and_shifted_it():
    time = np.arange(2 * RATE) / RATE
    truth = 330.0 * 2 ** (50 / 1200 * np.sin(2 * np.pi * 6 * time))
    given = 330.0 * 2 ** (35 / 1200 * np.sin(2 * np.pi * 6 * time[::480]) + 8 / 1200)
    found = follow(add_sines(truth, 0.2 * 0.7 ** np.arange(12)), given).f0_hz
    assert np.abs(1200 * np.log2(found / truth[::480]))[INNER].max() < 1.0


def test_a_large_correction_is_not_believed():
    audio = add_sines(np.full(RATE // 2, 440.0), [0.3])
    np.testing.assert_array_equal(follow(audio, 470.0).f0_hz[INNER], np.full(20, 470.0))


@pytest.mark.parametrize("coefficient", [0.0, 2e-5, 4e-4, 1e-3])
@pytest.mark.parametrize("f0_hz", [82.4, 261.6])
def test_inharmonicity_of_a_stiff_string(coefficient, f0_hz):
    found = follow(add_sines(np.full(RATE, f0_hz), 0.2 * 0.8 ** np.arange(20), stretch=coefficient), f0_hz)
    assert inharmonicity(found.stretch[INNER], found.amplitudes[INNER]) == pytest.approx(coefficient, rel=0.03, abs=2e-7)


def test_inharmonicity_of_nothing_is_zero():
    assert inharmonicity(np.ones((0, 20)), np.zeros((0, 20))) == 0
    assert inharmonicity(np.ones((5, 20)), np.zeros((5, 20))) == 0
    assert inharmonicity(np.ones((5, 20)), np.tile(np.eye(1, 20), (5, 1))) == 0


@pytest.mark.parametrize("ratio_db", [0.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("f0_hz", [110.0, 987.0])
def test_harmonic_to_noise_ratio(ratio_db, f0_hz):
    tone = add_sines(np.full(2 * RATE, f0_hz), 0.1 * 0.8 ** np.arange(20))
    noise = np.random.default_rng(1).standard_normal(len(tone))
    noise *= np.sqrt(np.mean(tone**2)) * 10 ** (-ratio_db / 20)
    found = follow((tone + noise).astype(np.float32), f0_hz).harmonic_to_noise_ratio_db[INNER]
    assert found.mean() == pytest.approx(ratio_db, abs=0.7)


def test_harmonic_to_noise_ratio_of_a_pure_tone_and_of_noise_lie_at_the_ends():
    assert follow(add_sines(np.full(RATE, 220.0), [0.5]), 220.0).harmonic_to_noise_ratio_db[INNER].min() > 50
    noise = 0.1 * np.random.default_rng(2).standard_normal(RATE).astype(np.float32)
    assert follow(noise, 220.0).harmonic_to_noise_ratio_db.mean() < -5


def test_vibrato_is_not_taken_for_noise():
    time = np.arange(2 * RATE) / RATE
    f0_hz = 440.0 * 2 ** (40 / 1200 * np.sin(2 * np.pi * 5.5 * time))
    assert follow(add_sines(f0_hz, 0.3 / np.arange(1, 11)), f0_hz[::480]).harmonic_to_noise_ratio_db[INNER].min() > 30


def test_level_of_a_full_scale_sine_is_zero_and_doubling_adds_six_db():
    sine = add_sines(np.full(RATE, 300.0), [1.0])
    level = follow(sine, 300.0).level_db[INNER]
    np.testing.assert_allclose(level, 0.0, atol=0.01)
    np.testing.assert_allclose(follow(2 * sine, 300.0).level_db[INNER] - level, 6.0206, atol=1e-3)


@pytest.mark.parametrize("f0_hz", [55.0, 220.0])
def test_what_the_window_takes_from_a_swing_is_known(f0_hz):
    time = np.arange(2 * RATE) / RATE
    swing = np.sin(2 * np.pi * 6 * time)
    level = follow((10 ** (swing / 20)).astype(np.float32) * add_sines(np.full(2 * RATE, f0_hz), [0.3]), f0_hz).level_db[INNER]
    depth_db = np.abs(2 * np.mean((level - level.mean())[:150] * np.exp(-2j * np.pi * 6 * np.arange(150) / 100)))
    assert depth_db == pytest.approx(swing_response(6.0, f0_hz, squared=True), rel=0.005)
    assert swing_response(0.0, f0_hz, squared=False) == pytest.approx(1.0)


def test_only_the_wanted_frames_are_looked_at_and_inputs_stay():
    audio, f0_hz = add_sines(np.full(RATE, 220.0), [0.5]), np.full(100, 221.0)
    before = audio.copy(), f0_hz.copy()
    where = np.arange(100) < 40
    found = find_partials(audio, f0_hz, GRID, where=where)
    assert (found.amplitudes[~where] == 0).all() and (found.level_db[~where] == -120).all() and (found.f0_hz[~where] == 221.0).all()
    np.testing.assert_array_equal(audio, before[0])
    np.testing.assert_array_equal(f0_hz, before[1])


def test_very_short_and_silent_audio():
    for audio in (np.zeros(1, np.float32), np.full(7, 0.5, np.float32), np.zeros(4800, np.float32)):
        found = follow(audio, 100.0)
        for values in (found.f0_hz, found.amplitudes, found.stretch, found.level_db, found.harmonic_to_noise_ratio_db):
            assert np.isfinite(values).all()
