"""An independent ear: says which instrument a sound is, and knows nothing of any z.

A random forest on the mean and deviation of MFCC, level left out, fitted on recordings of known instruments. Anything with `names` and
`probabilities` can take its place.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from .excerpts import N_MFCC, mfcc_statistics

N_TREES = 300
SHAPE = [column for column in range(2 * N_MFCC) if column % N_MFCC]  # all but the level and its deviation


class ReferenceClassifier(Protocol):
    """Says which instrument is heard."""

    @property
    def names(self) -> list[str]:
        """Instruments that are known."""

    def probabilities(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Probability of each of them, (n_names,), for audio (n_samples,)."""


class ForestClassifier:
    """A classifier fitted on MFCC statistics.

    Parameters
    ----------
    mfcc : ndarray [shape=(n, 40)]
        From :func:`~tonetransfer.benchmarks.excerpts.mfcc_statistics`.
    instruments : ndarray [shape=(n,)]
    """

    def __init__(self, mfcc: np.ndarray, instruments: np.ndarray) -> None:
        self.forest = _forest().fit(mfcc[:, SHAPE], instruments)

    @property
    def names(self) -> list[str]:
        """Instruments that are known."""
        return list(self.forest.classes_)

    def probabilities(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Probability of each of them, (n_names,), for audio (n_samples,)."""
        return self.forest.predict_proba(mfcc_statistics(audio, sample_rate)[None, SHAPE])[0]


def reference_classifier_accuracy(mfcc: np.ndarray, instruments: np.ndarray, groups: np.ndarray) -> float:
    """Accuracy of such a classifier on performances that it was not fitted on; arguments as for :class:`ForestClassifier`."""
    right = np.zeros(len(instruments), dtype=bool)
    for train, test in GroupKFold(3).split(mfcc, groups=groups):
        right[test] = _forest().fit(mfcc[train][:, SHAPE], instruments[train]).predict(mfcc[test][:, SHAPE]) == instruments[test]
    return float(right.mean())


def _forest() -> RandomForestClassifier:
    return RandomForestClassifier(N_TREES, min_samples_leaf=2, class_weight="balanced", random_state=0)
