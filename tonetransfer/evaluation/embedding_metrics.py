"""Distances between embeddings: of one sound from another, and of a set of sounds from a set of sounds.

The Fréchet distance compares two sets as if each were a Gaussian (Dowson and Landau 1982; Heusel et al. 2017; Kilgour et al. 2019):

    |mean_x - mean_y|^2 + trace(C_x + C_y - 2 (C_x C_y)^(1/2))

* Covariances are those of the sample (n - 1). The trace of the root is the nuclear norm of the product of the two centred sets, so no
  root of a matrix is taken, sets may be smaller than the embedding has dimensions, identical sets give 0 and the result is never negative.
* **Small sets are biased upwards**, by about as much again for each halving: two sets drawn from one population do not give 0. The
  distance is therefore also extrapolated to sets without end, from a line over 1 / n (Chong and Forsyth 2020; Gui et al. 2024, FAD-inf),
  and figures of sets of different sizes should be compared by that alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import SettingsError

N_SIZES, DRAWS_PER_SIZE = 8, 6
SMALLEST_SHARE = 0.4  # smallest part of a set to extrapolate from
ROUNDING = 1e-10  # of the sets' total variance and squared means


@dataclass(frozen=True)
class Extrapolation:
    """A Fréchet distance as it is, and without the bias of small sets.

    Parameters
    ----------
    distance : float, >= 0
        Of the sets as they are.
    extrapolated : float or None, >= 0
        To sets without end; None where the smallest part would have fewer vectors than dimensions: no line leads there.
    n_reference, n_estimate, n_dimensions : int
    """

    distance: float
    extrapolated: float | None
    n_reference: int
    n_estimate: int
    n_dimensions: int


def embedding_distance(reference: torch.Tensor, estimate: torch.Tensor, mean: torch.Tensor | None = None) -> float:
    """Cosine distance of two embeddings: 0 the same direction, 1 unrelated, 2 opposite.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_dimensions,)]
    mean : Tensor [shape=(n_dimensions,)] or None
        What all embeddings have in common; directions are taken from it.
    """
    x, y = (one.double() - (0.0 if mean is None else mean.double()) for one in (reference, estimate))
    return float((1.0 - torch.nn.functional.cosine_similarity(x, y, dim=0)).clamp(min=0.0, max=2.0))


def frechet_distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Fréchet distance of two sets of embeddings.

    Parameters
    ----------
    reference, estimate : ndarray [shape=(n, n_dimensions)], finite
        Two or more vectors each; the sets may differ in size.

    Returns
    -------
    float, >= 0
        0 for identical sets, in any order. Biased upwards for small ones: see the module's docstring.

    Raises
    ------
    SettingsError
        Shapes that do not fit, fewer than two vectors, or values that are not finite.

    References
    ----------
    .. [1] D. C. Dowson and B. V. Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate Anal. 12(3),
       1982.
    .. [2] K. Kilgour, M. Zuluaga, D. Roblek and M. Sharifi, "Fréchet Audio Distance", Interspeech 2019.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).standard_normal((100, 4))
    >>> tt.frechet_distance(vectors, vectors)
    0.0
    >>> round(tt.frechet_distance(vectors, vectors + 1.0), 6)  # the squared distance of the means
    4.0
    """
    x, y = _checked(reference, "reference"), _checked(estimate, "estimate")
    if x.shape[1] != y.shape[1]:
        raise SettingsError(f"embeddings of {x.shape[1]} and of {y.shape[1]} numbers came; both sets must be of one embedding")
    mean_x, mean_y = x.mean(0), y.mean(0)
    half_x, half_y = ((z - mean) / np.sqrt(len(z) - 1) for z, mean in ((x, mean_x), (y, mean_y)))
    cross = np.linalg.svd(_square(half_x) @ _square(half_y).T, compute_uv=False).sum()
    variance = (half_x**2).sum() + (half_y**2).sum()
    distance = float(((mean_x - mean_y) ** 2).sum() + variance - 2.0 * cross)
    scale = float(variance + (mean_x**2).sum() + (mean_y**2).sum())
    return distance if distance > ROUNDING * scale else 0.0


def extrapolate_frechet(reference: np.ndarray, estimate: np.ndarray, *, seed: int = 0) -> Extrapolation:
    """:func:`frechet_distance`, and what it would be with sets without end.

    The distance is measured on random parts of both sets, from 40 % of them to all, and a line over 1 / n is followed to 0.
    """
    distance = frechet_distance(reference, estimate)
    x, y = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    extrapolated = None
    if SMALLEST_SHARE * min(len(x), len(y)) >= x.shape[1]:
        extrapolated = 0.0 if distance == 0.0 else _follow_to_zero(x, y, np.random.default_rng(seed))
    return Extrapolation(distance, extrapolated, len(x), len(y), x.shape[1])


def _follow_to_zero(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    inverse, distances = [], []
    for share in np.linspace(SMALLEST_SHARE, 1.0, N_SIZES):
        for _ in range(1 if share == 1.0 else DRAWS_PER_SIZE):
            parts = [z[rng.choice(len(z), max(round(share * len(z)), 2), replace=False)] for z in (x, y)]
            inverse.append(1.0 / len(parts[0]) + 1.0 / len(parts[1]))
            distances.append(frechet_distance(*parts))
    slope, intercept = np.polyfit(inverse, distances, 1)
    return max(float(intercept), 0.0)


def _checked(vectors: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(vectors, np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise SettingsError(f"{name} has the shape {values.shape}; (n, n_dimensions) with two or more finite vectors is wanted")
    return values


def _square(half: np.ndarray) -> np.ndarray:
    """A factor of the same covariance with no more rows than columns, so that its cost does not grow with the set."""
    return np.asarray(np.linalg.qr(half, mode="r")) if len(half) > half.shape[1] else half
