"""Evaluation of classifiers on recordings whose labels are known: accuracy, F1, confusions, speed; of one, or of all, a row each."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..audio.files import load_audio
from ..data.corpus_config import load_config
from ..data.render_corpus import list_timbres, render_corpus
from ..errors import AudioError, SettingsError, ToneTransferWarning, WeightsError
from ..threads import Progress, counted
from .classifier import Classifier, described, load_classifier
from .clips import Clip, check_labels, class_of, find_clips, read_clips
from .settings import INSTRUMENTS, ClassifierSettings, load_classifier_settings
from .windows import Windows, prepare

N_RESAMPLES = 1000  # of the files, for the interval of the accuracy
NEEDS_WEIGHTS = ("panns", "ast", "mert", "clap")  # of someone else: in the table only where a configuration says where they are
MINUTES = "training_minutes"  # in the notes of a classifier
Report = Callable[[str], None]


def evaluate_classifier(classifier: Classifier, clips: Sequence[Clip], *, progress: Progress | None = None) -> dict[str, Any]:
    """Measure a classifier on clips; files that cannot be read are named in a warning, counted and left out.

    ``files``, ``files_left_out``, ``classes``, ``realtime_factor``. One class a file: ``accuracy`` with the bounds of its 95 % interval,
    ``macro_f1``, ``window_accuracy``, ``per_class`` and the most frequent ``confusions``. Several labels: ``macro_f1``, ``micro_f1`` and
    ``mean_average_precision``. With spans also ``segment_f1``, over all steps of time. SettingsError: labels that the classifier does not
    know, or no file that can be used.
    """
    check_labels(clips, classifier.classes)
    rows, whole, steps, skipped, seconds = [], [], [], [], 0.0
    begin = time.perf_counter()
    for clip in counted(clips, progress):
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


def classifier_table(
    configs: Sequence[Path],
    test: Path,
    unseen: Path,
    *,
    overrides: list[str] | None = None,
    out: Path | None = None,
    report: Report = lambda line: None,
) -> list[dict[str, Any]]:
    """Train and measure one classifier a configuration (see ``configs/classify``); rows, the best on `unseen` first.

    `test` and `unseen` are labelled recordings (:func:`~tonetransfer.classification.clips.find_clips`): unseen phrases of the trained
    sources, and a source that was not trained on. `overrides` are ``section.key=value`` for all of them, `out` is a folder in which each is
    saved under its name, and those that lie there are not trained again; `report` is told of each step. WeightsError: another classifier
    lies there under such a name.
    """
    rows: list[dict[str, Any]] = []
    windows: dict[str, tuple[Windows, Windows, tuple[str, ...]]] = {}
    settings = {config: load_classifier_settings(config, overrides or ()) for config in configs}
    paths = {config: out / f"{config.stem}.safetensors" if out else None for config in configs}
    kept = {config: _kept(paths[config], settings[config]) for config in configs}
    for config in configs:
        classifier, path = kept[config], paths[config]
        if classifier is not None:
            report(f"{config.stem}: taken from {path}")
        else:
            classifier = _trained(config.stem, settings[config], windows, report)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                classifier.save(path)
        rows.append({"classifier": config.stem, **measured(classifier, test, unseen), "training_minutes": classifier.notes[MINUTES]})
        report(f"{config.stem}: {rows[-1]['accuracy']:.3f} on unseen phrases, {rows[-1]['unseen_accuracy']:.3f} on the unseen source")
    return sorted(rows, key=lambda row: -row["unseen_accuracy"])


def _kept(path: Path | None, settings: ClassifierSettings) -> Classifier | None:
    """The classifier that a table has saved before, if it has."""
    if path is None or not path.exists():
        return None
    classifier = load_classifier(path)
    if described(classifier.settings) != described(settings) or MINUTES not in classifier.notes:
        raise WeightsError(f"{path}: is another classifier than the one that would be kept there; choose another folder, or move it")
    return classifier


def _trained(
    name: str, settings: ClassifierSettings, windows: dict[str, tuple[Windows, Windows, tuple[str, ...]]], report: Report
) -> Classifier:
    """A classifier fitted on windows, which are made if the last ones are others."""
    key = shared_key(settings)
    report(f"{name}: windows")
    if key not in windows:
        windows.clear()  # one set of windows is a gigabyte
        begin = time.perf_counter()
        windows[key] = prepare(read_clips(settings.data), settings)
        report(f"{name}: {len(windows[key][0].audio)} windows in {time.perf_counter() - begin:.0f} s")
    classifier = Classifier(settings)
    begin = time.perf_counter()
    classifier.fit_windows(*windows[key])
    classifier.notes[MINUTES] = (time.perf_counter() - begin) / 60.0
    report(f"{name}: learned in {classifier.notes[MINUTES]:.1f} minutes")
    return classifier


def measured(classifier: Classifier, test: Path, unseen: Path) -> dict[str, Any]:
    """The figures of one row."""
    known, other = (evaluate_classifier(classifier, find_clips(place, classifier.settings.data.classes)) for place in (test, unseen))
    return {
        "accuracy": known["accuracy"],
        "macro_f1": known["macro_f1"],
        "unseen_accuracy": other["accuracy"],
        "unseen_macro_f1": other["macro_f1"],
        "classes": known["classes"],
        "unseen_classes": other["classes"],
        "files": known["files"],
        "unseen_files": other["files"],
        "parameters": classifier.n_parameters,
        "realtime_factor": known["realtime_factor"],
    }


def shared_key(settings: ClassifierSettings) -> str:
    """Key of the settings that decide the windows: equal keys, equal windows."""
    return settings.model_dump_json(include={"task", "sample_rate", "window_seconds", "step_seconds", "data", "augment"})


def in_order(configs: Sequence[Path], overrides: list[str] | None = None) -> list[Path]:
    """Configurations of single instruments whose weights are at hand, those with the same windows one after the other."""
    settings = {config: load_classifier_settings(config, overrides or ()) for config in configs}
    usable = [
        config
        for config, one in settings.items()
        if one.task == "single" and (one.classifier not in NEEDS_WEIGHTS or one.frontend.get("weights"))
    ]
    if not usable:
        raise SettingsError("no configuration of single-label classifiers whose weights are at hand; see configs/classify")
    return sorted(usable, key=lambda config: (shared_key(settings[config]), config.stem))


def render_phrases(config: Path, out: Path, *, soundfont: Path | None = None, progress: Progress | None = None) -> Path:
    """Render phrases that no training saw, a few of each class's timbres of a corpus, across its range; the folder.

    Another `soundfont` stays as it is: no tilt.
    """
    described = load_config(config)
    content = described.model_dump(mode="json") | {
        "duration_s": 10.0,
        "window_step": 15,
        "performances_per_window": {"named": 2 if soundfont else 1, "variants": 1, "extras": 1},
    }
    if soundfont:
        content["slopes"] = dict.fromkeys(described.slopes, 0.0)
        for timbre in content["timbres"].values():
            timbre["slope"] = None
    timbres = {name: described.timbres[name.partition("@")[0]] for name in list_timbres(config) if class_of(name, INSTRUMENTS)}
    only = [
        name
        for name, timbre in timbres.items()
        if timbre.program is not None and not (soundfont and ("@" in name or timbre.bank))  # other banks are FluidR3's own
    ]
    with tempfile.TemporaryDirectory() as folder:
        reduced = Path(folder) / "corpus.yaml"
        reduced.write_text(yaml.safe_dump(content), encoding="utf-8")
        render_corpus(reduced, out, split="test", seed=0, soundfont=soundfont, only=only, workers=1, progress=progress)
    return out
