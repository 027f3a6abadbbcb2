"""Evaluation of a classifier on recordings whose labels are known: accuracy, F1, confusions, speed."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..audio.files import load_audio
from ..errors import AudioError, SettingsError, ToneTransferWarning
from .classifier import Classifier
from .clips import Clip, check_labels
from .windows import Progress

N_RESAMPLES = 1000  # of the files, for the interval of the accuracy


def evaluate_classifier(classifier: Classifier, clips: Sequence[Clip], *, progress: Progress | None = None) -> dict[str, Any]:
    """Measure a classifier on clips.

    Parameters
    ----------
    classifier : Classifier
    clips : sequence of Clip
        Files that cannot be read are named in a warning, counted and left out.
    progress : callable (done, total) or None

    Returns
    -------
    dict
        ``files``, ``files_left_out``, ``classes``, ``realtime_factor``. One class a file: ``accuracy`` with the bounds of its 95 %
        interval, ``macro_f1``, ``window_accuracy``, ``per_class`` and the most frequent ``confusions``. Several labels: ``macro_f1``,
        ``micro_f1`` and ``mean_average_precision``. With spans also ``segment_f1``, over all steps of time.

    Raises
    ------
    SettingsError
        Labels that the classifier does not know, or no file that can be used.
    """
    check_labels(clips, classifier.classes)
    rows, whole, steps, skipped, seconds = [], [], [], [], 0.0
    begin = time.perf_counter()
    for number, clip in enumerate(clips):
        try:
            audio, rate = load_audio(clip.path, classifier.settings.sample_rate)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ToneTransferWarning)  # short clips are warned of
                said = classifier.predict(audio, rate)
            rows.append(clip)
            whole.append(said.probabilities)
            steps.append(said.steps[said.heard] if not clip.spans else said.steps)
            seconds += len(audio) / rate
        except AudioError as error:
            skipped.append(str(error) if str(clip.path) in str(error) else f"{clip.path}: {error}")
        if progress:
            progress(number + 1, len(clips))
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(clips)} files left out: {'; '.join(skipped[:3])}", ToneTransferWarning, stacklevel=2)
    if not rows:
        raise SettingsError(f"none of the {len(clips)} files could be used: {skipped[0] if skipped else 'there are none'}")
    found: dict[str, Any] = {
        "files": len(rows),
        "files_left_out": len(skipped),
        "classes": len({label for clip in rows for label in clip.labels}),
        "realtime_factor": seconds / (time.perf_counter() - begin),
    }
    measure = _several if classifier.multi else _single
    found |= measure(classifier.classes, rows, np.stack(whole), steps)
    if any(clip.spans for clip in rows):
        found["segment_f1"] = _segment_f1(classifier, rows, steps)
    return found


def _single(classes: tuple[str, ...], clips: list[Clip], whole: np.ndarray, steps: list[np.ndarray]) -> dict[str, Any]:
    from sklearn.metrics import f1_score

    truth = np.array([classes.index(clip.labels[0]) for clip in clips])
    said = whole.argmax(1)
    right = truth == said
    draws = np.random.default_rng(0).integers(0, len(right), (N_RESAMPLES, len(right)))
    low, high = np.quantile(right[draws].mean(1), (0.025, 0.975))
    present = np.unique(truth)
    wrong = Counter((classes[a], classes[b]) for a, b in zip(truth[~right], said[~right], strict=True))
    windows = [part.argmax(1) == row for part, row in zip(steps, truth, strict=True)]
    return {
        "accuracy": float(right.mean()),
        "accuracy_low": float(low),
        "accuracy_high": float(high),
        "macro_f1": float(f1_score(truth, said, labels=present, average="macro", zero_division=0.0)),
        "window_accuracy": float(np.concatenate(windows).mean()),
        "per_class": {classes[row]: round(float(right[truth == row].mean()), 4) for row in present},
        "confusions": [{"truth": a, "said": b, "files": count} for (a, b), count in wrong.most_common(12)],
    }


def _several(classes: tuple[str, ...], clips: list[Clip], whole: np.ndarray, _steps: list[np.ndarray]) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score, f1_score

    truth = np.array([[name in clip.labels for name in classes] for clip in clips])
    known = [row for row, column in enumerate(truth.T) if column.any()]
    mixed = [row for row in known if not truth[:, row].all()]
    said = whole >= 0.5
    precision = [average_precision_score(truth[:, row], whole[:, row]) for row in mixed]
    return {
        "macro_f1": float(f1_score(truth[:, known], said[:, known], average="macro", zero_division=0.0)),
        "micro_f1": float(f1_score(truth, said, average="micro", zero_division=0.0)),
        "mean_average_precision": float(np.mean(precision)) if precision else 0.0,
    }


def _segment_f1(classifier: Classifier, clips: list[Clip], steps: list[np.ndarray]) -> float:
    """F1 over all steps and classes, where a label holds for half of a step or more."""
    step_s = classifier.settings.step_seconds
    hits = asked = given = 0
    for clip, part in zip(clips, steps, strict=True):
        truth = np.zeros(part.shape, bool)
        starts = np.arange(len(part)) * step_s
        for span in clip.spans:
            overlap = np.minimum(span.end_s, starts + step_s) - np.maximum(span.start_s, starts)
            truth[overlap >= step_s / 2.0, classifier.classes.index(span.label)] = True
        best = part.argmax(1)[:, None] == np.arange(part.shape[1])
        said = part >= 0.5 if classifier.multi else best & (part.max(1, keepdims=True) > 0)
        hits, asked, given = hits + int((truth & said).sum()), asked + int(truth.sum()), given + int(said.sum())
    return 2.0 * hits / max(asked + given, 1)
