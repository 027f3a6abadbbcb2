"""All classifiers on the same recordings, one row each; the phrases they are tested on are rendered here if they are not there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..data.corpus_config import load_config
from ..data.render_corpus import list_timbres, render_corpus
from ..errors import SettingsError
from .classifier import Classifier
from .clips import Clip, class_of, find_clips, read_clips
from .evaluation import evaluate_classifier
from .settings import INSTRUMENTS, ClassifierSettings, load_classifier_settings
from .windows import Windows, prepare

NEEDS_WEIGHTS = ("panns", "ast", "mert", "clap")  # of someone else: in the table only where a configuration says where they are
Report = Callable[[str], None]


def classifier_table(
    configs: Sequence[Path],
    test: Path,
    unseen: Path,
    *,
    overrides: list[str] | None = None,
    out: Path | None = None,
    report: Report = lambda line: None,
) -> list[dict[str, Any]]:
    """Train and measure one classifier a configuration.

    Parameters
    ----------
    configs : sequence of Path
        YAML files; see ``configs/classify``.
    test, unseen : Path
        Labelled recordings (see :func:`~tonetransfer.classification.clips.find_clips`): unseen phrases of the trained sources, and a source
        that was not trained on.
    overrides : list of str or None
        ``section.key=value`` for all of them.
    out : Path or None
        Folder in which each is saved under its name.
    report : callable
        Told of each step, for a person who waits.

    Returns
    -------
    list of dict
        The best on `unseen` first.
    """
    rows: list[dict[str, Any]] = []
    kept: dict[str, tuple[Windows, Windows, tuple[str, ...]]] = {}
    for config in configs:
        settings = load_classifier_settings(config, overrides or ())
        key = shared_key(settings)
        report(f"{config.stem}: windows")
        if key not in kept:
            kept.clear()  # one set of windows is a gigabyte
            begin = time.perf_counter()
            kept[key] = prepare(read_clips(settings.data), settings)
            report(f"{config.stem}: {len(kept[key][0].audio)} windows in {time.perf_counter() - begin:.0f} s")
        windows, validation, classes = kept[key]
        classifier = Classifier(settings)
        begin = time.perf_counter()
        classifier.fit_windows(windows, validation, classes)
        minutes = (time.perf_counter() - begin) / 60.0
        report(f"{config.stem}: learned in {minutes:.1f} minutes")
        if out:
            out.mkdir(parents=True, exist_ok=True)
            classifier.save(out / f"{config.stem}.safetensors", overwrite=True)
        rows.append({"classifier": config.stem, **measured(classifier, test, unseen), "training_minutes": minutes})
        report(f"{config.stem}: {rows[-1]['accuracy']:.3f} on unseen phrases, {rows[-1]['unseen_accuracy']:.3f} on the unseen source")
    return sorted(rows, key=lambda row: -row["unseen_accuracy"])


def measured(classifier: Classifier, test: Path, unseen: Path) -> dict[str, Any]:
    """The figures of one row."""
    known, other = (evaluate_classifier(classifier, known_clips(place, classifier)) for place in (test, unseen))
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


def known_clips(place: Path, classifier: Classifier) -> list[Clip]:
    """Clips of a test set, its labels merged as the classifier's were."""
    return find_clips(place, classifier.settings.data.classes)


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


def render_phrases(
    config: Path, out: Path, *, soundfont: Path | None = None, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Render phrases that no training saw, a few of each class's timbres, across its range.

    Parameters
    ----------
    config : Path
        Of the corpus.
    out : Path
    soundfont : Path or None
        Another source, which stays as it is: no tilt.
    seed : int
    progress : callable (done, total) or None

    Returns
    -------
    Path
        The folder.
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
        render_corpus(reduced, out, split="test", seed=seed, soundfont=soundfont, only=only, workers=1, progress=progress)
    return out
