"""Probes: what is planted is found, what is absent is not."""

from __future__ import annotations

import numpy as np
import pytest

from tonetransfer.benchmarks.disentanglement import (
    instrument_accuracy,
    nearest_is_same,
    shuffled_within,
    transferred_accuracy,
    within_instrument_r2,
)

RNG = np.random.default_rng(0)
N_INSTRUMENTS, N_PERFORMANCES, N_EXCERPTS, N_DIMENSIONS = 10, 6, 8, 12
NAMES = np.repeat([f"instrument {i}" for i in range(N_INSTRUMENTS)], N_PERFORMANCES * N_EXCERPTS)
GROUPS = np.tile(np.repeat([f"performance {i}" for i in range(N_PERFORMANCES)], N_EXCERPTS), N_INSTRUMENTS)
HOME = np.repeat(RNG.uniform(40.0, 90.0, N_INSTRUMENTS), N_PERFORMANCES * N_EXCERPTS)  # each instrument's own register
PITCH = HOME + RNG.normal(0.0, 5.0, len(NAMES))
WHO = np.repeat(RNG.normal(0.0, 3.0, (N_INSTRUMENTS, N_DIMENSIONS)), N_PERFORMANCES * N_EXCERPTS, axis=0)
NOISE = RNG.normal(0.0, 1.0, (len(NAMES), N_DIMENSIONS))


def with_pitch() -> np.ndarray:
    """Vectors that hold the instrument, and in three numbers the pitch."""
    vectors = WHO + 0.3 * NOISE
    vectors[:, :3] += 0.4 * (PITCH - HOME)[:, None] * RNG.choice((-1.0, 1.0), 3)
    return vectors


def test_who_plays_is_found() -> None:
    found = instrument_accuracy(WHO + NOISE, NAMES, GROUPS)
    assert found.linear > 0.95 and found.mlp > 0.95


def test_who_plays_is_not_found_where_it_is_not() -> None:
    found = instrument_accuracy(NOISE, NAMES, GROUPS)
    assert found.linear < 0.2 and found.mlp < 0.2


def test_a_planted_leak_is_found() -> None:
    found = within_instrument_r2(with_pitch(), PITCH, NAMES, GROUPS)
    assert found.linear > 0.8 and found.mlp > 0.8


def test_a_bent_leak_is_found_by_the_network_alone() -> None:
    vectors = WHO + 0.3 * NOISE
    vectors[:, 0] += PITCH - HOME
    found = within_instrument_r2(vectors, np.abs(PITCH - HOME), NAMES, GROUPS)
    assert found.linear < 0.2 and found.mlp > 0.4


def test_a_leak_that_turns_with_the_instrument_is_found_by_the_network() -> None:
    sign = np.where(np.arange(N_INSTRUMENTS) % 2, 1.0, -1.0).repeat(N_PERFORMANCES * N_EXCERPTS)
    vectors = WHO + 0.3 * NOISE
    vectors[:, 0] += sign * (PITCH - HOME)
    found = within_instrument_r2(vectors, PITCH, NAMES, GROUPS)
    assert found.linear < 0.2 and found.mlp > 0.3


def test_an_absent_leak_is_not_found() -> None:
    found = within_instrument_r2(WHO + NOISE, PITCH, NAMES, GROUPS)  # the register of each instrument is no leak
    assert found.linear < 0.05 and found.mlp < 0.05
    shuffled = within_instrument_r2(with_pitch(), shuffled_within(PITCH, NAMES), NAMES, GROUPS)
    assert shuffled.linear < 0.05 and shuffled.mlp < 0.05


def test_shuffling_stays_within_the_instrument() -> None:
    shuffled = shuffled_within(PITCH, NAMES)
    assert not np.array_equal(shuffled, PITCH)
    for name in np.unique(NAMES):
        assert np.array_equal(np.sort(shuffled[name == NAMES]), np.sort(PITCH[name == NAMES]))


def test_one_performance_does_not_vouch_for_itself() -> None:
    """Vectors that say only which recording this is: known by heart in the fit, worthless for other performances."""
    _, recording = np.unique(np.char.add(NAMES, GROUPS), return_inverse=True)
    vectors = RNG.normal(0.0, 1.0, (recording.max() + 1, 40))[recording] + 0.01 * RNG.normal(0.0, 1.0, (len(NAMES), 40))
    mean = np.array([PITCH[recording == one].mean() for one in range(recording.max() + 1)])[recording]
    assert instrument_accuracy(vectors, NAMES, GROUPS).linear < 0.3
    assert within_instrument_r2(vectors, mean, NAMES, GROUPS).mlp < 0.1


def test_another_source() -> None:
    shifted = WHO + RNG.normal(0.0, 0.5, WHO.shape)
    assert transferred_accuracy(WHO + NOISE, NAMES, shifted, NAMES).linear > 0.9
    assert transferred_accuracy(WHO + NOISE, NAMES, NOISE, NAMES).linear < 0.4


def test_neighbours() -> None:
    gallery, names = np.array([[1.0, 0.1], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.1]]), np.array(["a", "b", "c", "d"])
    queries, asked = np.array([[5.0, 0.0], [-3.0, 1.0], [0.0, 2.0]]), np.array(["a", "b", "d"])
    assert nearest_is_same(queries, asked, gallery, names) == pytest.approx(2 / 3)
    allowed = np.ones((3, 4), bool)
    allowed[2, 2] = False  # without c the third goes to a: still wrong
    allowed[0, 0] = False  # and the first can have no right answer
    assert nearest_is_same(queries, asked, gallery, names, allowed) == pytest.approx(1 / 2)
    assert nearest_is_same(queries, asked, gallery, names, np.zeros((3, 4), bool)) == 0.0
