"""Does z say who plays, and nothing else?

Asked of excerpts of known content (:mod:`tonetransfer.benchmarks.excerpts`) with probes and neighbours, side by side for z, for the mean
and deviation of MFCC, and where given for the z of another model.

A probe is a model that is fitted on some performances and asked about others: whether a label can be *read*, not whether the vectors were
meant to hold it. Two kinds: linear, and a small network. All figures are from rows that the probe has not seen, and no performance is on
both sides: rows of one `group` stay together.

*Within an instrument*, a label is its deviation from the instrument's mean: high for a cello is low for a flute, and that much any
vector that knows the instrument tells. The probe is given the deviation of the vector from its instrument's mean. The network reads
what the line leaves, and is given the mean too, so it knows who plays; alone it would find less than the line does, of so few examples.
R2 is 1 for a perfect reading, 0 for one that is no better than the instrument's mean, negative for a worse one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..models.timbre_model import TimbreModel
from ..threads import Progress
from .excerpts import COMMON, ORCHESTRA, TRAINED, UNSEEN, Excerpts, read_excerpts
from .swaps import ForestClassifier, choose_swaps, evaluate_blends, evaluate_swaps, reference_classifier_accuracy

COLUMNS = ("z", "baseline", "mfcc")
LABELS = {"pitch": "pitch_midi", "pitch_range": "pitch_range_semitones", "loudness": "loudness_db"}
MOST_ON_MAP = 1500  # excerpts
N_FOLDS = 5
N_INNER_FOLDS = 3
HIDDEN = 64
PATIENCE, MOST_EPOCHS = 12, 100
REGISTER_SEMITONES = 7.0
ALPHAS = tuple(10.0**power for power in range(-1, 6))


@dataclass(frozen=True)
class ExaminedMaterial:
    """Excerpts of the sources that were trained on, and of one that was not."""

    trained: Excerpts
    unseen: Excerpts | None


class Map(NamedTuple):
    """Places (n, 2) of excerpts; their instruments and mean pitches (n,); all instruments, families together; those to be named."""

    points: np.ndarray
    instruments: np.ndarray
    pitch_midi: np.ndarray
    order: list[str]
    named: list[str]


def read_material(
    folder: Path, model: TimbreModel, baseline: TimbreModel | None = None, *, progress: Progress | None = None
) -> ExaminedMaterial:
    """Excerpts of what :func:`~tonetransfer.benchmarks.excerpts.render_material` made, of instruments that the model names, encoded."""
    encoders = {"z": model} | ({"baseline": baseline} if baseline else {})
    trained = read_excerpts(folder / TRAINED, encoders, names=model.names, progress=progress)
    if not (folder / UNSEEN / "manifest.json").is_file():
        return ExaminedMaterial(trained, None)
    return ExaminedMaterial(trained, read_excerpts(folder / UNSEEN, encoders, names=model.names, progress=progress))


def evaluate_timbre(material: ExaminedMaterial) -> dict[str, float]:
    """Measure z with probes and nearest neighbours.

    Keys begin with what is examined (``z``, ``mfcc``, ``baseline``, ``chance``). Accuracies are shares, R2 as
    :func:`~tonetransfer.benchmarks.disentanglement.within_instrument_r2` defines it.
    """
    trained, unseen = material.trained, material.unseen
    figures: dict[str, float] = {"n_excerpts": len(trained.rows), "n_instruments": len(set(trained.instruments))}
    figures["common_n_instruments"] = len(set(trained.instruments) & set(COMMON))
    if unseen is not None:
        figures |= {"unseen_n_excerpts": len(unseen.rows), "unseen_n_instruments": len(set(unseen.instruments))}
    for name, vectors in trained.features.items():
        found = _read_trained(trained, vectors) | _retrieve_trained(trained, vectors)
        if unseen is not None:
            found |= _read_unseen(trained, unseen, vectors, unseen.features[name])
        figures |= {f"{name}_{key}": value for key, value in found.items()}
    return {key: round(value, 4) for key, value in (figures | _chance(trained)).items()}


def _read_trained(trained: Excerpts, vectors: np.ndarray) -> dict[str, float]:
    who = instrument_accuracy(vectors, trained.instruments, trained.performances)
    figures = {"instrument_linear_accuracy": who.linear, "instrument_mlp_accuracy": who.mlp}
    common = np.isin(trained.instruments, COMMON)
    if len(set(trained.instruments[common])) > 1:
        who = instrument_accuracy(vectors[common], trained.instruments[common], trained.performances[common])
        figures |= {"common_instrument_linear_accuracy": who.linear, "common_instrument_mlp_accuracy": who.mlp}
    for label, key in LABELS.items():
        what = within_instrument_r2(vectors, trained.label(key), trained.instruments, trained.performances)
        figures |= {f"{label}_linear_r2": what.linear, f"{label}_mlp_r2": what.mlp}
    return figures


def _retrieve_trained(trained: Excerpts, vectors: np.ndarray) -> dict[str, float]:
    """Neighbours among other performances, in another register, and with the same performance on other instruments as decoys."""
    names, performances, pitch = trained.instruments, trained.performances, trained.label("pitch_midi")
    elsewhere = performances[:, None] != performances[None]
    far = np.abs(pitch[:, None] - pitch[None]) >= REGISTER_SEMITONES
    decoys = elsewhere | (names[:, None] != names[None])
    sets = {"": elsewhere, "_across_registers": elsewhere & far, "_among_decoys": decoys}
    return {f"retrieval{key}_accuracy": nearest_is_same(vectors, names, vectors, names, allowed) for key, allowed in sets.items()}


def _read_unseen(trained: Excerpts, unseen: Excerpts, vectors: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Probes and neighbours from the trained sources, asked about the unseen one: all instruments of it, and the orchestra's twelve."""
    figures: dict[str, float] = {}
    for prefix, names in (("unseen", set(unseen.instruments)), ("unseen_orchestra", set(unseen.instruments) & set(ORCHESTRA))):
        known, asked = np.isin(trained.kinds, list(names)), np.isin(unseen.instruments, list(names))
        if len(names) < 2:
            continue
        who = transferred_accuracy(vectors[known], trained.kinds[known], other[asked], unseen.instruments[asked])
        figures |= {f"{prefix}_instrument_linear_accuracy": who.linear, f"{prefix}_instrument_mlp_accuracy": who.mlp}
        figures[f"{prefix}_retrieval_accuracy"] = nearest_is_same(
            other[asked], unseen.instruments[asked], vectors[known], trained.kinds[known]
        )
    return figures


def _chance(trained: Excerpts) -> dict[str, float]:
    """The same probes of z with labels dealt anew: what luck looks like."""
    rng, vectors = np.random.default_rng(0), trained.features["z"]
    dealt = trained.instruments[rng.permutation(len(trained.rows))]
    who = instrument_accuracy(vectors, dealt, trained.performances)
    pitch = shuffled_within(trained.label("pitch_midi"), trained.instruments)
    what = within_instrument_r2(vectors, pitch, trained.instruments, trained.performances)
    return {
        "chance_instrument_linear_accuracy": who.linear,
        "chance_instrument_mlp_accuracy": who.mlp,
        "chance_pitch_linear_r2": what.linear,
        "chance_pitch_mlp_r2": what.mlp,
    }


def evaluate_exchange(material: ExaminedMaterial, model: TimbreModel, *, progress: Progress | None = None) -> dict[str, float]:
    """Swaps and blends of common instruments, heard by a reference classifier that was fitted on the excerpts of both sources.

    ``judge_accuracy`` on performances that the classifier does not know; ``swap_*``, with references from the trained sources;
    ``unseen_swap_*``, with references from the other; ``blend_*``. See :mod:`tonetransfer.benchmarks.swaps`.
    """
    heard = [excerpts for excerpts in (material.trained, material.unseen) if excerpts is not None]
    mfcc, kinds, groups = (
        np.concatenate(x) for x in zip(*((one.features["mfcc"], one.kinds, one.performances) for one in heard), strict=True)
    )
    common = np.isin(kinds, COMMON)
    figures = {"judge_accuracy": round(reference_classifier_accuracy(mfcc[common], kinds[common], groups[common]), 4)}
    classifier = ForestClassifier(mfcc[common], kinds[common])
    for prefix, references in zip(("swap", "unseen_swap"), heard, strict=False):
        swaps = choose_swaps(material.trained, references, classifier.names)
        figures |= {f"{prefix}_{key}": value for key, value in evaluate_swaps(model, swaps, classifier, progress=progress).items()}
    blends = evaluate_blends(model, material.trained, classifier, progress=progress)
    return figures | {f"blend_{key}": value for key, value in blends.items()}


def map_of(excerpts: Excerpts, model: TimbreModel) -> Map:
    """Excerpts on a map of their z (t-SNE: neighbours stay neighbours), for :func:`~tonetransfer.analysis.plots.plot_timbre_map`."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.sort(np.random.default_rng(0).permutation(len(excerpts.rows))[:MOST_ON_MAP])
    z = excerpts.features["z"][rows]
    compact = PCA(min(30, *z.shape), random_state=0).fit_transform(z)
    points = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(compact)
    order = sorted(set(excerpts.instruments), key=lambda name: (model.instrument(name).family, name))
    return Map(points, excerpts.instruments[rows], excerpts.label("pitch_midi")[rows], order, [name for name in order if name in COMMON])


def table_rows(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """The figures for people: a line each question, a column each thing examined."""
    columns = [name for name in (*COLUMNS, "chance") if any(key.startswith(f"{name}_") for key in figures)]
    questions = list(dict.fromkeys(key.split("_", 1)[1] for key in figures if key.split("_", 1)[0] in columns))
    rows: list[tuple[str, ...]] = [("", *columns)]
    for question in questions:
        found = [figures.get(f"{name}_{question}") for name in columns]
        rows.append((question, *("" if value is None else f"{value:.3f}" for value in found)))
    rest = [(key, value) for key, value in figures.items() if key.split("_", 1)[0] not in columns]
    empty = [""] * (len(columns) - 1)
    rows += [(key, f"{value:.4g}", *empty) for key, value in rest if not isinstance(value, dict)]
    for key, found in figures.items():
        for recording, one in found.items() if isinstance(found, dict) else ():
            rows.append((f"{key} lsd60_db, {recording}", f"{one['lsd60_db']:.2f}" + ("" if one["counts"] else " (not solo)"), *empty))
    return rows


@dataclass(frozen=True)
class Probed:
    """Scores of a linear probe and a small network."""

    linear: float
    mlp: float


def instrument_accuracy(vectors: np.ndarray, names: np.ndarray, groups: np.ndarray) -> Probed:
    """Share of rows of `vectors` (n, d) whose instrument is read correctly, of their instruments and performances (`groups`), (n,) each."""
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
    """R2 of reading, from vectors (n, d), the deviation of a label (n,), such as the mean pitch, from its instrument's mean."""
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


def shuffled_within(label: np.ndarray, names: np.ndarray) -> np.ndarray:
    """A label with its values dealt anew within each instrument: nothing of it can be read any more."""
    rng, shuffled = np.random.default_rng(0), label.copy()
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        shuffled[rows] = label[rng.permutation(rows)]
    return shuffled


def nearest_is_same(
    queries: np.ndarray, query_names: np.ndarray, gallery: np.ndarray, gallery_names: np.ndarray, allowed: np.ndarray | None = None
) -> float:
    """Share of queries (n, d) whose nearest neighbour in a gallery (m, d) is of the same instrument.

    Nearest by the cosine between deviations from the gallery's mean. `allowed` (n, m) says which neighbours may be found; queries without
    an allowed neighbour of their instrument do not count.
    """
    mean = gallery.mean(axis=0)
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (queries - mean, gallery - mean)]
    similarity = unit[0] @ unit[1].T  # (n, m)
    same = query_names[:, None] == gallery_names[None]
    if allowed is not None:
        similarity, same = np.where(allowed, similarity, -np.inf), same & allowed
    answerable = same.any(axis=1)
    found = gallery_names[similarity.argmax(axis=1)]
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
