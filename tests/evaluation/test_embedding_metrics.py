"""Fréchet distance: closed forms, another implementation, and the self-checks of the issue."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from tonetransfer.errors import SettingsError
from tonetransfer.evaluation.metrics import embedding_distance, extrapolate_frechet, frechet_distance


def cloud(seed: int, n: int = 200, n_dimensions: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_dimensions)) @ np.random.default_rng(99).standard_normal((n_dimensions, n_dimensions))


@pytest.mark.parametrize("shape", [(200, 12), (5, 12), (2, 300)])
def test_identical_sets_are_at_zero_in_any_order(shape: tuple[int, int]) -> None:
    x = cloud(0, *shape)
    assert frechet_distance(x, x) == 0.0 and frechet_distance(x, x[::-1]) == 0.0
    assert extrapolate_frechet(x, x.copy()).distance == 0.0


def test_closed_forms() -> None:
    x = cloud(1)
    variance = float(np.trace(np.cov(x.T)))
    shift = np.arange(12.0)
    assert frechet_distance(x, x + shift) == pytest.approx((shift**2).sum())
    assert frechet_distance(x, 3.0 * (x - x.mean(0)) + x.mean(0)) == pytest.approx(4.0 * variance)  # (3 - 1)^2 of the variance


def test_agrees_with_the_root_of_the_product_of_covariances() -> None:
    x, y = cloud(2), 0.7 * cloud(3, 150) + 0.5
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2.0 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-6)


def test_never_negative_also_where_sets_are_smaller_than_the_embedding() -> None:
    for seed in range(20):
        x = cloud(seed, 6, 40)
        assert frechet_distance(x, x + 1e-9) >= 0.0 and frechet_distance(x[:3], x) >= 0.0


def test_the_bias_of_small_sets_is_there_and_is_taken_out() -> None:
    small, large = (np.mean([frechet_distance(cloud(2 * k, n), cloud(2 * k + 1, n)) for k in range(5)]) for n in (40, 400))
    assert small > 4.0 * large  # of one population: 0 would be right
    found = [extrapolate_frechet(cloud(2 * k, 80), cloud(2 * k + 1, 80), seed=k) for k in range(5)]
    assert np.mean([one.extrapolated for one in found if one.extrapolated is not None]) < 0.35 * np.mean([one.distance for one in found])
    far = extrapolate_frechet(cloud(1, 80), cloud(2, 80) + 10.0)
    assert far.extrapolated == pytest.approx(1200.0, rel=0.1)
    assert extrapolate_frechet(cloud(1, 10), cloud(2, 10)).extrapolated is None


@pytest.mark.parametrize("wrong", [np.zeros((1, 12)), np.zeros(12), np.full((5, 12), np.nan), np.zeros((5, 3))])
def test_what_is_no_set_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(SettingsError):
        frechet_distance(cloud(0), wrong)


def test_embedding_distance() -> None:
    x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert embedding_distance(x, 5 * x) == 0.0 and embedding_distance(x, y) == pytest.approx(1.0)
    assert embedding_distance(x, -x) == pytest.approx(2.0)
    assert embedding_distance(x + 3, y + 3, mean=torch.tensor([3.0, 3.0])) == pytest.approx(1.0)
