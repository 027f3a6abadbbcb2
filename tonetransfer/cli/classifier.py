"""``classifier``: train, measure and compare classifiers of instruments."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from ..atomic import check_new
from ..errors import SettingsError
from . import options
from .options import CORPUS_CONFIG, Report, show, table

CLASSIFIER_CONFIGS = Path("configs/classify")
PHRASES, UNSEEN_PHRASES = Path("corpus/classify_test"), Path("corpus/classify_unseen")
UNSEEN_FONT = "GeneralUser-v1.47.sf2"


def add_classifier(verbs: Any) -> None:
    classifiers = options.add_family(verbs, "classifier", "train, measure and compare classifiers of instruments")
    _add_train(classifiers)
    _add_evaluate(classifiers)
    _add_table(classifiers)


def _add_train(classifiers: Any) -> None:
    verb = options.add_verb(
        classifiers, "train", "train a classifier on a corpus, folders, a CSV file or a mirdata dataset", train_classifier
    )
    verb.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file of what differs from the defaults; see configs/classify")
    verb.add_argument("output", metavar="FILE.safetensors", type=Path)
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for example data.folder=sounds")
    options.add_overwrite(verb)


def train_classifier(arguments: Namespace) -> Report:
    from ..classification.classifier import Classifier
    from ..classification.clips import read_clips
    from ..classification.settings import load_classifier_settings
    from .steps import progress_bar

    check_new(arguments.output, SettingsError, overwrite=arguments.overwrite)
    settings = load_classifier_settings(arguments.config, arguments.overrides)
    classifier = Classifier(settings)
    with progress_bar("step") as progress:
        begin = time.perf_counter()
        measured = classifier.fit(read_clips(settings.data), progress=progress)
    minutes = (time.perf_counter() - begin) / 60.0
    classifier.save(arguments.output, notes={"training_minutes": round(minutes, 2)}, overwrite=arguments.overwrite)
    result = {"weights": str(arguments.output), "classes": len(classifier.classes), "parameters": classifier.n_parameters}
    result |= {**measured, "training_minutes": minutes, "files_left_out": classifier.notes["files_left_out"]}
    return result, table([(key, show(value)) for key, value in result.items()])


def _add_evaluate(classifiers: Any) -> None:
    verb = options.add_verb(classifiers, "evaluate", "measure a classifier on recordings whose labels are known", evaluate_classifier)
    verb.add_argument("data", metavar="DATA", type=Path, nargs="+", help="a corpus, a folder of folders, or a CSV file")
    options.add_classifier(verb)


def evaluate_classifier(arguments: Namespace) -> Report:
    from ..classification.classifier import load_classifier
    from ..classification.clips import find_clips
    from ..classification.evaluation import evaluate_classifier as measure
    from .steps import progress_bar

    classifier = load_classifier(arguments.weights)
    result, lines = {}, []
    for place in arguments.data:
        with progress_bar("file") as progress:
            clips = find_clips(place, classifier.settings.data.classes)  # labels are merged as the classifier's were
            result[str(place)] = figures = measure(classifier, clips, progress=progress)
        lines += [str(place)] + table([(f"  {key}", show(value)) for key, value in figures.items() if not isinstance(value, dict | list)])
        lines += [f"  {one['files']} x {one['truth']} taken for {one['said']}" for one in figures.get("confusions", [])]
    return {"data": result}, lines


def _add_table(classifiers: Any) -> None:
    verb = options.add_verb(
        classifiers,
        "table",
        "train and measure many on the same recordings, and on an unseen soundfont",
        classifier_table,
        kept="classifiers that are done are kept in --out; the same command goes on with the next",
    )
    verb.add_argument("configs", metavar="CONFIG", type=Path, nargs="*", help="default: all of configs/classify but bundled.yaml")
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for all of them")
    verb.add_argument("--test", metavar="DATA", type=Path, help="unseen phrases of trained sources (default: rendered now)")
    verb.add_argument("--unseen", metavar="DATA", type=Path, help="recordings of a source never trained on (default: rendered now)")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--out", metavar="FOLDER", type=Path, help="keep the classifiers, and do not train those again that are there")


def classifier_table(arguments: Namespace) -> Report:
    from ..classification.evaluation import classifier_table as measure
    from ..classification.evaluation import in_order, render_phrases
    from ..data.soundfont import find_soundfont
    from .steps import progress_bar, tell

    every = sorted(path for path in CLASSIFIER_CONFIGS.glob("*.yaml") if path.stem != "bundled")  # which hears another font besides
    configs = in_order(arguments.configs or every, arguments.overrides)
    sets = {"test": arguments.test or PHRASES, "unseen": arguments.unseen or UNSEEN_PHRASES}
    for name, place in sets.items():
        if not place.exists() and getattr(arguments, name) is None:
            font = find_soundfont(UNSEEN_FONT, arguments.soundfonts) if name == "unseen" else None
            with progress_bar("file") as progress:
                render_phrases(CORPUS_CONFIG, place, soundfont=font, progress=progress)
    begin = time.perf_counter()
    rows = measure(configs, sets["test"], sets["unseen"], overrides=arguments.overrides, out=arguments.out, report=tell)
    keys = ("classifier", "accuracy", "macro_f1", "unseen_accuracy", "unseen_macro_f1", "parameters", "training_minutes", "realtime_factor")
    lines = table([keys, *(tuple(show(row[key]) for key in keys) for row in rows)])
    return {"classifiers": rows, "minutes": (time.perf_counter() - begin) / 60.0}, lines
