"""Added and lost, apart from each other: each failure is planted, and only its own metric may see it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, tone

from tonetransfer.evaluation.performance_metrics import high_frequency_failures_hz, transient_failures_db


def sine(f0_hz: float, seconds: float = 1.0) -> torch.Tensor:
    return tone(f0_hz, seconds, n_harmonics=1)


def strokes(attack_s: float) -> torch.Tensor:
    """Four decaying bursts of noise, a quarter of a second apart."""
    t = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal((4, len(t)))
    envelope = np.clip(t / attack_s, 0.0, 1.0) * np.exp(-t / 0.08)
    return torch.from_numpy((0.1 * noise * envelope).astype(np.float32).reshape(-1))


def test_nothing_added_and_nothing_lost() -> None:
    sound = strokes(0.002)
    for metric, tolerance in ((high_frequency_failures_hz, 40.0), (transient_failures_db, 0.5)):
        assert metric(sound, sound, SAMPLE_RATE) == (0.0, 0.0)
        assert metric(sound, 0.5 * sound, SAMPLE_RATE) == pytest.approx((0.0, 0.0), abs=tolerance)


def test_the_distance_of_two_tones_is_read_back() -> None:
    low, high = sine(1000.0), sine(3000.0)
    bin_hz = SAMPLE_RATE / 2048
    assert high_frequency_failures_hz(low, high, SAMPLE_RATE)[0] == pytest.approx(2000.0, abs=2 * bin_hz)
    assert high_frequency_failures_hz(low, high, SAMPLE_RATE)[1] == 0.0
    assert high_frequency_failures_hz(high, low, SAMPLE_RATE)[1] == pytest.approx(2000.0, abs=2 * bin_hz)
    assert high_frequency_failures_hz(high, low, SAMPLE_RATE)[0] == 0.0


def test_hiss_in_one_half_cannot_make_up_for_dullness_in_the_other() -> None:
    middle = sine(3000.0)
    both = torch.cat([sine(9000.0, 0.5), sine(1000.0, 0.5)])
    assert high_frequency_failures_hz(middle, both, SAMPLE_RATE)[0] == pytest.approx(3000.0, rel=0.06)
    assert high_frequency_failures_hz(middle, both, SAMPLE_RATE)[1] == pytest.approx(1000.0, rel=0.06)


def test_smeared_attacks_are_lost_and_sharper_ones_added() -> None:
    sharp, smeared = strokes(0.002), strokes(0.1)
    added, lost = transient_failures_db(sharp, smeared, SAMPLE_RATE)
    assert lost > 8.0 and added < 0.3 * lost
    added, lost = transient_failures_db(smeared, sharp, SAMPLE_RATE)
    assert added > 8.0 and lost < 0.3 * added


def test_silence_and_clips_shorter_than_a_window() -> None:
    for sound in (torch.zeros(SAMPLE_RATE), torch.zeros(1), torch.full((100,), 0.1)):
        for metric in (high_frequency_failures_hz, transient_failures_db):
            assert metric(sound, torch.zeros(len(sound)), SAMPLE_RATE) == (0.0, 0.0)
