"""Bootstrap intervals: their width is that of theory, groups widen them, and they are the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from tonetransfer.errors import SettingsError
from tonetransfer.evaluation.metrics import bootstrap_interval

VALUES = np.random.default_rng(0).normal(3.0, 2.0, 400)


def test_width_is_that_of_the_standard_error() -> None:
    found = bootstrap_interval(VALUES)
    error = 1.96 * VALUES.std() / np.sqrt(400)
    assert found.mean == pytest.approx(VALUES.mean()) and (found.count, found.groups) == (400, 400)
    assert found.low == pytest.approx(found.mean - error, abs=0.1 * error) and found.high == pytest.approx(
        found.mean + error, abs=0.1 * error
    )


def test_copies_in_groups_tell_no_more_than_one_of_each() -> None:
    once = bootstrap_interval(VALUES[:40])
    copied = bootstrap_interval(np.repeat(VALUES[:40], 10), np.repeat(np.arange(40), 10))
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05) and copied.groups == 40
    naive = bootstrap_interval(np.repeat(VALUES[:40], 10))
    assert naive.high - naive.low < 0.5 * (copied.high - copied.low)


def test_repeatable_and_the_seed_counts() -> None:
    assert bootstrap_interval(VALUES, seed=1) == bootstrap_interval(VALUES, seed=1) != bootstrap_interval(VALUES, seed=2)


def test_one_group_knows_no_interval() -> None:
    found = bootstrap_interval([1.0, 2.0], ["a", "a"])
    assert (found.low, found.mean, found.high, found.groups) == (1.5, 1.5, 1.5, 1)


@pytest.mark.parametrize("values", [[], [np.nan], [[1.0]]])
def test_what_is_no_list_of_numbers_is_refused(values: list[float]) -> None:
    with pytest.raises(SettingsError):
        bootstrap_interval(values)
    with pytest.raises(SettingsError, match="n_resamples"):
        bootstrap_interval([1.0, 2.0], n_resamples=0)
