"""The figures of a report: every example by itself, then all of them with intervals, a confusion matrix and Fréchet distances."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ...audio.files import resample
from ...classification.classifier import Classifier
from ...classification.frontends import as_float
from ...classification.windows import StepWindows, sounding
from ...errors import AudioError, ToneTransferWarning
from ...models.timbre_model import EXCERPT_SECONDS, TimbreModel
from ...threads import Progress, counted
from ..compare import METRICS, HeardRecording, compare_heard, compare_played
from ..metrics import bootstrap_interval, embedding_distance, extrapolate_frechet
from .examples import Example, ExampleSet, Sounds

DESCRIPTORS = (
    "spectral_centroid_hz",
    "spectral_rolloff_95_hz",
    "harmonic_to_noise_ratio_db",
    "odd_to_even_ratio_db",
    "spectral_slope_db_per_octave",
    "tristimulus_1",
    "tristimulus_2",
    "tristimulus_3",
    "log_attack_time_log10_s",
    "vibrato_rate_hz",
    "vibrato_extent_cents",
    "tremolo_depth_db",
)
ROLES = ("source", "estimate", "reference")
QUIET_DB = -60.0  # RMS of an excerpt: it has no timbre
Vectors = dict[str, dict[str, dict[str, np.ndarray]]]  # embedding: role: name: (n, n_dimensions)


def measure(
    examples: ExampleSet, model: TimbreModel, classifier: Classifier, *, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure all examples of a set; those whose files cannot be read are named in ``left_out``, and counted.

    ``metrics``: for each key ``mean``, ``low``, ``high``, ``count``, ``groups``, and ``source``: the same for the source left as it is;
    ``frechet``; ``confusion``; ``descriptors``; ``per_example``; ``left_out``. All finite: what has no meaning is not there. `seed` is that
    of the bootstrap and of the extrapolation.
    """
    rows, left_out = [], list(examples.left_out)
    vectors: Vectors = {}
    for example in counted(examples.examples, progress):
        try:
            rows.append(_measure_one(example, example.load(), model, classifier, vectors))
        except AudioError as error:
            left_out.append(f"{example.name}: {error}")
    return {
        "examples": len(rows),
        "metrics": _summaries(rows, seed),
        "frechet": _frechet(vectors, seed),
        "confusion": _confusion(rows, classifier),
        "descriptors": _descriptors(rows, seed),
        "per_example": rows,
        "left_out": left_out,
    }


def _measure_one(example: Example, sounds: Sounds, model: TimbreModel, classifier: Classifier, vectors: Vectors) -> dict[str, Any]:
    estimate, reference, source = sounds.estimate, sounds.reference, sounds.source
    there = {role: getattr(sounds, role) for role in ROLES if getattr(sounds, role) is not None}
    row: dict[str, Any] = {"name": example.name, "group": example.group, "seconds": len(estimate.audio) / model.sample_rate}
    said = {role: _classify(heard, classifier) for role, heard in there.items()}
    wanted, known_by = _wanted(example, said, classifier)
    row |= {"source_name": example.source_name, "wanted": wanted, "wanted_known_by": known_by, "highest_hz": sounds.highest_hz}
    row["heard_as"] = {role: max(shares, key=lambda name: shares[name]) for role, shares in said.items() if shares}
    if reference is not None:
        row["metrics"] = compare_heard(reference, estimate)
        row["metrics_of_source"] = compare_heard(reference, source) if source is not None else {}
        row["length_difference_s"] = abs(len(reference.audio) - len(estimate.audio)) / model.sample_rate
    else:
        assert sounds.asked is not None  # a result without a reference was played here
        row["metrics"] = compare_played(sounds.asked.asked, sounds.asked.notes, estimate)
        row["metrics_of_source"] = {}
    row["descriptors"] = {
        role: {key: heard.described[key] for key in DESCRIPTORS if heard.described["note_count"]} for role, heard in there.items()
    }
    for role, key in (("estimate", "metrics"), ("source", "metrics_of_source")):
        if role in there:
            row[key] |= _timbre_metrics(there[role], _wanted_z(example, reference, model), said[role], wanted, model)
    for role, heard in there.items():
        if role != "source":
            name = example.reference_name if role == "reference" else example.name
            for kind, embedded in (("z", _excerpt_z(heard, model)), ("classifier", _classifier_features(heard, classifier))):
                if embedded is not None:
                    vectors.setdefault(kind, {}).setdefault(role, {})[name] = embedded
    return row


def _wanted(example: Example, said: dict[str, dict[str, float]], classifier: Classifier) -> tuple[str | None, str | None]:
    """The instrument that is wanted, and how that is known: from the name, or by listening to the reference."""
    if example.target in classifier.classes:
        return example.target, "name"
    if said.get("reference"):
        return max(said["reference"], key=lambda name: said["reference"][name]), "reference"
    return None, None


def _wanted_z(example: Example, reference: HeardRecording | None, model: TimbreModel) -> torch.Tensor | None:
    if reference is not None:
        return _encode(reference, model)
    return model.timbre(example.target) if example.target else None


def _timbre_metrics(
    heard: HeardRecording, wanted_z: torch.Tensor | None, said: dict[str, float], wanted: str | None, model: TimbreModel
) -> dict[str, float]:
    found = {}
    z = _encode(heard, model)
    if z is not None and wanted_z is not None:
        found["embedding_distance"] = embedding_distance(wanted_z, z, model.timbres.mean(0) if len(model.timbres) > 1 else None)
    if wanted is not None:
        found["classifier_success"] = float(bool(said) and max(said, key=lambda name: said[name]) == wanted)
        found["classifier_probability"] = said.get(wanted, 0.0)
    return found


def _encode(heard: HeardRecording, model: TimbreModel) -> torch.Tensor | None:
    """z, or None of silence."""
    try:
        return model.encode(heard.audio)
    except AudioError:
        return None


def _classify(heard: HeardRecording, classifier: Classifier) -> dict[str, float]:
    """Probability of each class; nothing of silence and of what is too short."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ToneTransferWarning)  # short clips are warned of
            said = classifier.predict(heard.audio, heard.controls.grid.sample_rate)
    except AudioError:
        return {}
    return {name: float(share) for name, share in zip(said.classes, said.probabilities, strict=True)}


def _excerpt_z(heard: HeardRecording, model: TimbreModel) -> np.ndarray | None:
    """z of each excerpt of 2 s that can be heard, (n, z_dim); of shorter recordings one."""
    length = round(EXCERPT_SECONDS * model.sample_rate)
    audio = torch.nn.functional.pad(heard.audio, (0, max(length - len(heard.audio), 0)))
    excerpts = audio.unfold(0, length, length)
    level_db = 10.0 * torch.log10(excerpts.square().mean(-1).clamp(min=1e-12))
    audible = excerpts[level_db > QUIET_DB]
    return torch.stack([model.encode(one) for one in audible]).double().numpy() if len(audible) else None


def _classifier_features(heard: HeardRecording, classifier: Classifier) -> np.ndarray | None:
    """Inputs of the last layer of a network, of each window that can be heard, (n, n_features); None of other classifiers."""
    layers = [layer for layer in classifier.model.modules() if isinstance(layer, torch.nn.Linear)]
    if not layers or layers[-1].out_features != len(classifier.classes):
        return None
    samples = resample(heard.audio, heard.controls.grid.sample_rate, classifier.settings.sample_rate).numpy()
    cut = StepWindows(samples, classifier.settings)
    windows = cut.take(np.flatnonzero(sounding(cut.levels_db)))
    if not len(windows):
        return None
    caught: list[torch.Tensor] = []
    hook = layers[-1].register_forward_pre_hook(lambda _layer, inputs: caught.append(inputs[0]))
    try:
        with torch.inference_mode():
            classifier.model(classifier.frontend(as_float(windows)).float())
    finally:
        hook.remove()
    return caught[0].flatten(1).double().numpy()


def _summaries(rows: list[dict[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Mean and interval of each metric over the examples that have it, and over their sources left as they are."""
    found = {}
    for metric in METRICS:
        summary = _interval(rows, "metrics", metric.key, seed)
        if summary is None:
            continue
        source = _interval(rows, "metrics_of_source", metric.key, seed)
        found[metric.key] = summary | {"unit": metric.unit, "better": metric.better} | ({"source": source} if source else {})
    return found


def _interval(rows: list[dict[str, Any]], which: str, key: str, seed: int) -> dict[str, Any] | None:
    having = [row for row in rows if key in row[which]]
    if not having:
        return None
    return asdict(bootstrap_interval([row[which][key] for row in having], [row["group"] for row in having], seed=seed))


def _frechet(vectors: Vectors, seed: int) -> dict[str, dict[str, Any]]:
    """Fréchet distances of all results from all references, with what the sets' own halves give: a figure to compare with."""
    found = {}
    for kind, roles in vectors.items():
        if len(roles) < 2:
            continue
        sets = {role: np.concatenate([roles[role][name] for name in sorted(roles[role])]) for role in ("reference", "estimate")}
        if min(len(one) for one in sets.values()) < 2:
            continue
        result = extrapolate_frechet(sets["reference"], sets["estimate"], seed=seed)
        found[kind] = {
            "distance": result.distance,
            "extrapolated": result.extrapolated,
            "of_identical_sets": extrapolate_frechet(sets["reference"], sets["reference"], seed=seed).distance,
            "n_reference": result.n_reference,
            "n_estimate": result.n_estimate,
            "n_dimensions": result.n_dimensions,
        }
    return found


def _confusion(rows: list[dict[str, Any]], classifier: Classifier) -> dict[str, Any]:
    """Confusions of the classifier: what was wanted against what it hears in results, and in references."""
    known = [row for row in rows if row["wanted"] is not None]
    wanted = sorted({row["wanted"] for row in known})
    heard = {row["heard_as"].get(role) for row in known for role in ("estimate", "reference")} - {None}
    columns = wanted + sorted(heard - set(wanted))
    found: dict[str, Any] = {"wanted": wanted, "heard": columns, "known_by": sorted({row["wanted_known_by"] for row in known})}
    for role in ("estimate", "reference"):
        pairs = [(row["wanted"], row["heard_as"][role]) for row in known if role in row["heard_as"]]
        found[role] = [[pairs.count((a, b)) for b in columns] for a in wanted]
    return found


def _descriptors(rows: list[dict[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Mean of each descriptor over sources, results and references that have notes."""
    found: dict[str, dict[str, Any]] = {}
    for key in DESCRIPTORS:
        for role in ROLES:
            having = [row for row in rows if key in row["descriptors"].get(role, {})]
            if having:
                values, groups = [row["descriptors"][role][key] for row in having], [row["group"] for row in having]
                interval = asdict(bootstrap_interval(values, groups, seed=seed))
                found.setdefault(key, {})[role] = {part: interval[part] for part in ("mean", "low", "high", "count")}
    return found
