"""Pitch metrics: agreement with mir_eval, and what is decided where mir_eval is asked of nothing."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest
import torch

from tonetransfer.evaluation.metrics import pitch_error_cents, raw_chroma_accuracy, raw_pitch_accuracy, voicing_false_alarm, voicing_recall


def melodies(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """f0 and voicing of a reference and of an estimate that errs in cents, in octaves and in voicing."""
    rng = np.random.default_rng(seed)
    reference = 220.0 * 2.0 ** rng.uniform(-1, 2, 800)
    estimate = reference * 2.0 ** (rng.normal(0, 40, 800) / 1200.0) * 2.0 ** rng.choice([0, 0, 0, 1, -1, -2], 800)
    return reference, rng.uniform(size=800) < 0.7, estimate, rng.uniform(size=800) < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_mir_eval(seed: int) -> None:
    reference, voiced, estimate, said = melodies(seed)
    as_cents = [mir_eval.melody.hz2cents(f0_hz) for f0_hz in (reference, estimate)]
    arguments = (voiced.astype(float), as_cents[0], said.astype(float), as_cents[1])
    x, y, mask, heard = (torch.from_numpy(one) for one in (reference, estimate, voiced, said))
    assert raw_pitch_accuracy(x[mask], y[mask]) == pytest.approx(mir_eval.melody.raw_pitch_accuracy(*arguments))
    assert raw_chroma_accuracy(x[mask], y[mask]) == pytest.approx(mir_eval.melody.raw_chroma_accuracy(*arguments))
    recall, false_alarm = mir_eval.melody.voicing_measures(arguments[0], arguments[2])
    assert voicing_recall(mask, heard) == pytest.approx(recall)
    assert voicing_false_alarm(mask, heard) == pytest.approx(false_alarm)


def test_octaves_are_forgiven_by_chroma_alone() -> None:
    f0 = torch.full((10,), 220.0)
    assert raw_chroma_accuracy(f0, 4 * f0) == 1.0 and raw_pitch_accuracy(f0, 4 * f0) == 0.0
    assert raw_chroma_accuracy(f0, f0 * 2 ** (60 / 1200)) == 0.0


def test_a_detuning_is_read_back() -> None:
    f0 = torch.linspace(100.0, 900.0, 50)
    assert pitch_error_cents(f0, f0 * 2 ** (-17 / 1200)) == pytest.approx(17.0, abs=0.01)
    assert pitch_error_cents(f0, f0[:20]) == 0.0  # the rest is left out


def test_shares_of_nothing_are_zero() -> None:
    nothing, every = torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)
    assert raw_chroma_accuracy(torch.empty(0), torch.empty(0)) == pitch_error_cents(torch.empty(0), torch.empty(0)) == 0.0
    assert voicing_recall(nothing, every) == 0.0 and voicing_false_alarm(every, every) == 0.0
    assert voicing_recall(every, nothing) == 0.0 and voicing_false_alarm(nothing, every) == 1.0
