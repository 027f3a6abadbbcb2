"""Probes of a set of vectors: models that are fitted on some performances and asked about others.

A probe asks whether a label can be *read*, not whether the vectors were meant to hold it. Two kinds: linear, and a small network. All
figures are from rows that the probe has not seen, and no performance is on both sides: rows of one `group` stay together.

*Within an instrument*, a label is its deviation from the instrument's mean: high for a cello is low for a flute, and that much any
vector that knows the instrument tells. The probe is given the deviation of the vector from its instrument's mean. The network reads
what the line leaves, and is given the mean too, so it knows who plays; alone it would find less than the line does, of so few examples.
R2 is 1 for a perfect reading, 0 for one that is no better than the instrument's mean, negative for a worse one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

N_FOLDS = 5
N_INNER_FOLDS = 3
HIDDEN = 64
PATIENCE, MOST_EPOCHS = 12, 100
REGISTER_SEMITONES = 7.0
ALPHAS = tuple(10.0**power for power in range(-1, 6))


@dataclass(frozen=True)
class Probed:
    """Scores of a linear probe and a small network."""

    linear: float
    mlp: float


def instrument_accuracy(vectors: np.ndarray, names: np.ndarray, groups: np.ndarray) -> Probed:
    """Share of rows whose instrument is read correctly.

    Parameters
    ----------
    vectors : ndarray [shape=(n, d)]
    names, groups : ndarray [shape=(n,)]
        Instrument and performance of each row.
    """
    right = np.zeros((2, len(names)), dtype=bool)
    for train, test in _folds(groups, N_FOLDS):
        for kind, mlp in enumerate((False, True)):
            right[kind, test] = _classifier(vectors[train], names[train], mlp=mlp).predict(vectors[test]) == names[test]
    return Probed(*(float(row.mean()) for row in right))


def transferred_accuracy(vectors: np.ndarray, names: np.ndarray, other_vectors: np.ndarray, other_names: np.ndarray) -> Probed:
    """The same with probes fitted on one source and asked about another; arguments as for :func:`instrument_accuracy`."""
    found = [(_classifier(vectors, names, mlp=mlp).predict(other_vectors) == other_names).mean() for mlp in (False, True)]
    return Probed(*(float(share) for share in found))


def within_instrument_r2(vectors: np.ndarray, label: np.ndarray, names: np.ndarray, groups: np.ndarray) -> Probed:
    """R2 of reading a label's deviation from its instrument's mean.

    Parameters
    ----------
    vectors : ndarray [shape=(n, d)]
    label : ndarray [shape=(n,)]
        A number, such as the mean pitch.
    names, groups : ndarray [shape=(n,)]
        Instrument and performance of each row.
    """
    wanted = _deviation(label[:, None], names)[:, 0]
    means = vectors - (deviations := _deviation(vectors, names))
    known = np.concatenate([deviations, means], axis=1)
    linear, mlp = np.zeros(len(label)), np.zeros(len(label))
    for train, test in _folds(groups, N_FOLDS):
        line = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(deviations[train], wanted[train])
        linear[test] = line.predict(deviations[test])
        left = wanted[train] - line.predict(deviations[train])
        mlp[test] = linear[test] + _network_reading(known[train], left, groups[train], known[test])
    return Probed(float(r2_score(wanted, linear)), float(r2_score(wanted, mlp)))


def shuffled_within(label: np.ndarray, names: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """A label with its values dealt anew within each instrument: nothing of it can be read any more."""
    rng, shuffled = np.random.default_rng(seed), label.copy()
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        shuffled[rows] = label[rng.permutation(rows)]
    return shuffled


def nearest_is_same(
    queries: np.ndarray, query_names: np.ndarray, gallery: np.ndarray, gallery_names: np.ndarray, allowed: np.ndarray | None = None
) -> float:
    """Share of queries whose nearest neighbour is of the same instrument.

    Nearest by the cosine between deviations from the gallery's mean. Queries without an allowed neighbour of their instrument do not count.

    Parameters
    ----------
    queries : ndarray [shape=(n, d)]
    gallery : ndarray [shape=(m, d)]
    query_names, gallery_names : ndarray [shape=(n,)], [shape=(m,)]
    allowed : ndarray [shape=(n, m)], bool, or None
        Which neighbours may be found.
    """
    mean = gallery.mean(axis=0)
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (queries - mean, gallery - mean)]
    likeness = unit[0] @ unit[1].T  # (n, m)
    same = query_names[:, None] == gallery_names[None]
    if allowed is not None:
        likeness, same = np.where(allowed, likeness, -np.inf), same & allowed
    answerable = same.any(axis=1)
    found = gallery_names[likeness.argmax(axis=1)]
    return float((found == query_names)[answerable].mean()) if answerable.any() else 0.0


def _folds(groups: np.ndarray, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    _, codes = np.unique(groups, return_inverse=True)
    return list(GroupKFold(min(n_folds, int(codes.max()) + 1)).split(codes, groups=codes))


def _deviation(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Values (n, d) less the mean of their instrument."""
    _, codes = np.unique(names, return_inverse=True)
    sums = np.zeros((int(codes.max()) + 1, values.shape[1]))
    np.add.at(sums, codes, values)
    return values - (sums / np.bincount(codes)[:, None])[codes]


def _classifier(vectors: np.ndarray, names: np.ndarray, *, mlp: bool):  # type: ignore[no-untyped-def]  # scikit-learn has no types
    if mlp:
        model = MLPClassifier(hidden_layer_sizes=(HIDDEN,), alpha=1e-2, max_iter=120, random_state=0)
    else:
        model = LogisticRegression(C=0.3, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), model).fit(vectors, names)


def _network_reading(known: np.ndarray, wanted: np.ndarray, groups: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Mean of the answers of networks, each stopped by performances that it was not fitted on."""
    scaler, scale = StandardScaler().fit(known), max(float(wanted.std()), 1e-9)
    known, asked = scaler.transform(known), scaler.transform(asked)
    answers = []
    for seed, (train, stop) in enumerate(_folds(groups, N_INNER_FOLDS)):
        network = MLPRegressor(
            hidden_layer_sizes=(HIDDEN,), alpha=0.1, batch_size=min(32, len(train)), learning_rate_init=2e-3, random_state=seed
        )
        best, answer, since = float(np.mean(wanted[stop] ** 2)) / scale**2, np.zeros(len(asked)), 0
        for _ in range(MOST_EPOCHS):
            network.partial_fit(known[train], wanted[train] / scale)
            error = float(np.mean((network.predict(known[stop]) - wanted[stop] / scale) ** 2))
            since += 1
            if error < best:
                best, answer, since = error, network.predict(asked), 0
            if since >= PATIENCE:
                break
        answers.append(answer * scale)
    return np.mean(answers, axis=0)
