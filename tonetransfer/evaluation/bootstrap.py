"""Uncertainty of a mean: percentile bootstrap intervals (Efron and Tibshirani, 1993), repeatable, with a count.

What was made from one recording is not independent: values can be given groups, and then whole groups are drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError

N_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie, had other examples been drawn.

    Parameters
    ----------
    mean, low, high : float
        `low` and `high` are equal to `mean` where there is one group only: nothing is known then.
    count : int
        Values.
    groups : int
        Independent groups of values.
    """

    mean: float
    low: float
    high: float
    count: int
    groups: int


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Mean of some values and its percentile bootstrap interval.

    Parameters
    ----------
    values : sequence of float or ndarray [shape=(n,)], n > 0, finite
        Of a metric, in its unit.
    groups : sequence [shape=(n,)] or None
        Values of the same group are drawn together (the cluster bootstrap); None: each value is drawn by itself.
    seed : int, >= 0
        Of the draws.
    n_resamples : int, > 0
        Draws.
    confidence : float, in (0, 1)
        Share of the draws whose mean lies in the interval.

    Returns
    -------
    Interval
        In the unit of the values.

    Raises
    ------
    SettingsError
        No values, values that are not finite, or groups of another length.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993.

    Examples
    --------
    >>> interval = tt.bootstrap_interval([1.0, 2.0, 3.0, 4.0], groups=["a", "a", "b", "b"])
    >>> interval.mean, interval.low, interval.high, interval.groups
    (2.5, 1.5, 3.5, 2)
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise SettingsError(f"values of the shape {given.shape} came; one or more finite numbers in a row are wanted")
    if groups is not None and len(groups) != len(given):
        raise SettingsError(f"{len(given)} values and {len(groups)} groups came; each value needs its group")
    if not 0.0 < confidence < 1.0:
        raise SettingsError(f"confidence is {confidence}; a number between 0 and 1 is wanted")
    _, which = np.unique([repr(one) for one in groups] if groups is not None else np.arange(len(given)), return_inverse=True)
    sums, counts = np.bincount(which, weights=given), np.bincount(which)
    mean, n_groups = float(given.mean()), len(sums)
    if n_groups == 1:
        return Interval(mean, mean, mean, len(given), 1)
    drawn = np.random.default_rng(seed).integers(0, n_groups, (n_resamples, n_groups))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.5 - confidence / 2, 0.5 + confidence / 2))
    return Interval(mean, float(low), float(high), len(given), n_groups)
