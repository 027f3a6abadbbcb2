"""Prediction of a classifier for a recording: as a whole, and step by step of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .clips import Span

THRESHOLD = 0.5


@dataclass(frozen=True)
class Prediction:
    """Probabilities of classes.

    Parameters
    ----------
    classes : tuple of str
    probabilities : ndarray [shape=(n_classes,)]
        Of the recording. They sum to 1, unless several classes can hold at once (`multi`).
    steps : ndarray [shape=(n_steps, n_classes)]
        Of each step of time; 0 where nothing sounds.
    heard : ndarray [shape=(n_steps,)], bool
        Where something sounds.
    step_seconds : float
    multi : bool
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    steps: np.ndarray
    heard: np.ndarray
    step_seconds: float
    multi: bool = False

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    def labels(self, threshold: float = THRESHOLD) -> list[str]:
        """All classes above a threshold, the most probable first; of a single-label classifier the best one."""
        if not self.multi:
            return [self.label]
        return [self.classes[i] for i in np.argsort(-self.probabilities, kind="stable") if self.probabilities[i] >= threshold]

    def ranked(self) -> dict[str, float]:
        """Probability of each class, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return {self.classes[i]: round(float(self.probabilities[i]), 4) for i in order}

    def per_step(self) -> list[dict[str, Any]]:
        """One entry a step: ``start_s``, ``end_s``, ``instrument`` (None in silence) and its ``probability``."""
        found: list[dict[str, Any]] = []
        for number, (row, loud) in enumerate(zip(self.steps, self.heard, strict=True)):
            best = int(row.argmax())
            place = {"start_s": round(number * self.step_seconds, 3), "end_s": round((number + 1) * self.step_seconds, 3)}
            name = self.classes[best] if loud and (not self.multi or row[best] >= THRESHOLD) else None
            found.append(place | {"instrument": name, "probability": round(float(row[best]), 4) if loud else 0.0})
        return found

    def activity(self, threshold: float = THRESHOLD) -> list[Span]:
        """Stretches of time in which each class sounds: where it is the best, or with several at once, where it is above the threshold."""
        if self.multi:
            active = self.steps >= threshold
        else:
            active = (np.arange(len(self.classes)) == self.steps.argmax(1)[:, None]) & self.heard[:, None]
        spans = []
        for name, column in zip(self.classes, active.T, strict=True):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(int), [0]])))
            pairs = edges.reshape(-1, 2) * self.step_seconds
            spans += [Span(name, round(float(start), 3), round(float(end), 3)) for start, end in pairs]
        return sorted(spans, key=lambda span: (span.start_s, span.label))


def pool(steps: np.ndarray, levels_db: np.ndarray, *, multi: bool) -> np.ndarray:
    """Probabilities of a recording from those of its steps (n_steps, n_classes); louder steps say more of it.

    One class: the geometric mean, in which one doubtful step cannot outvote the others. Several at once: the mean of the highest quarter,
    for a class that sounds in a part of the recording does sound in it.
    """
    if multi:
        most = np.sort(steps, axis=0)[::-1]
        return most[: max(len(steps) // 4, 1)].mean(0)
    weight = 10.0 ** (np.clip(levels_db - levels_db.max(), -30.0, 0.0) / 20.0)
    mean = (np.log(np.maximum(steps, 1e-4)) * weight[:, None]).sum(0) / weight.sum()
    likely = np.exp(mean - mean.max())
    return (likely / likely.sum()).astype(np.float32)
