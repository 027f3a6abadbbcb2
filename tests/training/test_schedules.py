"""Learning rates rise, then fall along a cosine."""

from __future__ import annotations

import pytest

from tonetransfer.training.settings import warm_cosine


def test_it_rises_to_one_falls_by_half_and_ends_low() -> None:
    factors = [warm_cosine(step, 110, warmup=10, last=0.1, begin=10) for step in range(120)]
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10] == 1.0 and factors[60] == pytest.approx(0.55) and factors[110:] == pytest.approx([0.1] * 10)
    assert all(later <= earlier for earlier, later in zip(factors[10:], factors[11:], strict=False))


def test_a_cosine_that_begins_at_once_falls_while_it_warms_up() -> None:
    assert warm_cosine(5, 10, warmup=6, last=0.0) == pytest.approx(0.5)
    assert warm_cosine(0, 10, warmup=0, last=0.0) == 1.0
