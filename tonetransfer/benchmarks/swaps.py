"""Timbre exchanged and timbre blended, heard by a reference classifier that knows nothing of z.

Swap: an excerpt is played with the timbre of a recording of another instrument. Does the classifier hear that instrument, and how far does
its posterior move (Hung, Chen and Yang, 2018, "timbre crossover"; Luo, Agres and Herremans, ISMIR 2019)? Are f0 and loudness as asked?

Blend: one excerpt on ``a:1-t,b:t``. Do timbre descriptors and the classifier's probabilities move one way, and do loudness and pitch stay?

The reference classifier is a random forest on the mean and deviation of MFCC, level left out, fitted on recordings of known instruments.
Anything with `names` and `probabilities` can take its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict

from ..analysis.descriptors import describe_controls
from ..audio.loudness import loudness_db
from ..audio.units import hz_to_midi
from ..controls.controls import Controls
from ..controls.dynamics import loudness_quantiles
from ..controls.profile import Target
from ..evaluation.metrics import raw_pitch_accuracy
from ..models.timbre_model import TimbreModel
from ..pipeline.target import find_target
from ..pipeline.transfer import Arrangement, analyze, arrange, play
from ..threads import Progress, counted
from .excerpts import EXCERPT_S, N_MFCC, Excerpt, Excerpts, mfcc_statistics, read_recording

SWAPS_PER_TARGET = 4
PAIRS = (
    ("violin", "flute"),
    ("trumpet", "clarinet"),
    ("cello", "horn"),
    ("alto_sax", "oboe"),
    ("bassoon", "trombone"),
    ("viola", "accordion"),
)
N_STEPS = 7
DESCRIPTORS = {  # what a blend is followed by, and how large a step back is still none
    "spectral_centroid_octaves": 0.03,
    "odd_to_even_ratio_db": 1.0,
    "tristimulus_1": 0.02,
    "tristimulus_2": 0.02,
    "tristimulus_3": 0.02,
    "harmonic_to_noise_ratio_db": 1.0,
}
PROBABILITY_STEP = 0.03
N_TREES = 300
SHAPE = [column for column in range(2 * N_MFCC) if column % N_MFCC]  # all but the level and its deviation


@dataclass(frozen=True)
class Swap:
    """An excerpt, and a recording of whom is to play it."""

    source: Excerpt
    source_kind: str
    reference: Excerpt
    target_kind: str


def choose_swaps(sources: Excerpts, references: Excerpts, kinds: Iterable[str]) -> list[Swap]:
    """For each kind some excerpts of other kinds, and recordings of it in which other phrases are played."""
    rng, swaps = np.random.default_rng(0), []
    known = sorted(set(kinds) & set(sources.kinds) & set(references.kinds))
    for kind in known:
        others = np.flatnonzero(np.isin(sources.kinds, [other for other in known if other != kind]))
        for row in rng.choice(others, min(SWAPS_PER_TARGET, len(others)), replace=False):
            different = (references.kinds == kind) & (references.performances != sources.performances[row])
            if different.any():
                reference = references.rows[int(rng.choice(np.flatnonzero(different)))]
                swaps.append(Swap(sources.rows[row], str(sources.kinds[row]), reference, kind))
    return swaps


def evaluate_swaps(
    model: TimbreModel, swaps: list[Swap], classifier: ForestClassifier, *, progress: Progress | None = None
) -> dict[str, float]:
    """Play all swaps and classify the results.

    ``target_accuracy`` among its instruments, and ``resynthesis_accuracy``: of the reference played from its own controls with the same z;
    ``target_probability`` and ``source_probability`` of the result, ``*_before`` of the excerpt as it was; ``raw_pitch_accuracy`` (50
    cents, f0 of the result as it is tracked against the asked one, note frames), and ``source_raw_pitch_accuracy``: what the tracker
    reaches on the excerpt as it was; ``loudness_error_db``.
    """
    scores: dict[str, list[float]] = {}
    for swap in counted(swaps, progress):
        for key, value in _measure_swap(model, swap, classifier).items():
            scores.setdefault(key, []).append(value)
    return {key: round(fmean(values), 4) for key, values in scores.items()} | {"n_swaps": len(swaps)}


def _measure_swap(model: TimbreModel, swap: Swap, classifier: ForestClassifier) -> dict[str, float]:
    audio, controls = read_excerpt(swap.source, model)
    target = like_labelled(swap.reference, model)
    arrangement = arrange(controls, target)
    sound = torch.cat(list(play(arrangement, model, target.z)))
    again = torch.cat(list(play(arrange(read_excerpt(swap.reference, model)[1], target, fit=False), model, target.z)))
    before, after, own = (_probabilities(classifier, x, model) for x in (audio, sound, again))
    scores = {"target_accuracy": float(_first(after) == swap.target_kind), "resynthesis_accuracy": float(_first(own) == swap.target_kind)}
    for who, kind in (("target", swap.target_kind), ("source", swap.source_kind)):
        scores |= {f"{who}_probability_before": before.get(kind, 0.0), f"{who}_probability": after.get(kind, 0.0)}
    scores |= _errors(sound, arrangement, model)[1]
    notes, tracked = controls.note_frames(), analyze(audio, model.sample_rate, model)
    return scores | {"source_raw_pitch_accuracy": raw_pitch_accuracy(controls.f0_hz[notes], tracked.f0_hz[notes])}


def _probabilities(classifier: ForestClassifier, sound: torch.Tensor, model: TimbreModel) -> dict[str, float]:
    likely = classifier.probabilities(sound.numpy(), model.sample_rate)
    return {name: float(share) for name, share in zip(classifier.names, likely, strict=True)}


def _first(opinion: dict[str, float]) -> str:
    return max(opinion, key=lambda name: opinion[name])


def like_labelled(reference: Excerpt, model: TimbreModel) -> Target:
    """The target that a whole labelled recording describes, without tracking its f0."""
    audio, controls = read_recording(reference.path, model)
    notes = controls.note_frames()
    mean_midi = float(hz_to_midi(controls.f0_hz[notes].double()).mean())
    return Target(model.encode(audio, weight=notes), loudness_quantiles(controls.loudness_db, notes), mean_midi)


def read_excerpt(excerpt: Excerpt, model: TimbreModel) -> tuple[torch.Tensor, Controls]:
    """Audio and controls of an excerpt."""
    audio, controls = read_recording(excerpt.path, model)
    first = round(excerpt.start_s * model.sample_rate)
    return audio[first : first + round(EXCERPT_S * model.sample_rate)], controls.slice(excerpt.start_s, excerpt.start_s + EXCERPT_S)


def _errors(sound: torch.Tensor, arrangement: Arrangement, model: TimbreModel) -> tuple[Controls, dict[str, float]]:
    """Controls of a result, and their distances from what was asked for."""
    heard, asked, notes = analyze(sound, model.sample_rate, model), arrangement.asked, arrangement.notes
    if not bool(notes.any()):
        return heard, {}
    accuracy = raw_pitch_accuracy(asked.f0_hz[notes], heard.f0_hz[notes])
    error_db = float((loudness_db(sound, model.grid) - arrangement.loudness_db)[notes].abs().mean())
    return heard, {"raw_pitch_accuracy": accuracy, "loudness_error_db": error_db}


def evaluate_blends(
    model: TimbreModel, sources: Excerpts, classifier: ForestClassifier, *, progress: Progress | None = None
) -> dict[str, float]:
    """Walk from instrument to instrument.

    ``*_monotone_share``: of the steps that do not go back (:func:`monotone_share`); ``*_spearman``: mean absolute rank correlation with t,
    where the ends differ; ``loudness_deviation_db``: largest distance of a blend's mean loudness from the line between the ends;
    ``pitch_deviation_cents``: largest median distance of its f0 from what was asked for.
    """
    pairs = [(pair, found) for pair in PAIRS if set(pair) <= set(model.names) and (found := _playable_by_both(model, sources, pair))]
    return summarize_paths([_walk(model, pair, excerpt, classifier) for pair, excerpt in counted(pairs, progress)])


def _playable_by_both(model: TimbreModel, sources: Excerpts, pair: tuple[str, str]) -> Excerpt | None:
    """The loudest excerpt of the first that lies well inside the range of both."""
    ends = [model.instrument(name) for name in pair]
    lowest, highest = max(one.lowest_midi for one in ends), min(one.highest_midi for one in ends)
    inside = [
        row
        for row in sources.rows
        if row.instrument == pair[0]
        and lowest <= row.pitch_midi - row.pitch_range_semitones / 2
        and row.pitch_midi + row.pitch_range_semitones / 2 <= highest
    ]
    return max(inside, key=lambda row: row.loudness_db, default=None)


def _walk(model: TimbreModel, pair: tuple[str, str], excerpt: Excerpt, classifier: ForestClassifier) -> dict[str, np.ndarray]:
    """Values along a blend, each (N_STEPS,)."""
    _, controls = read_excerpt(excerpt, model)
    points = []
    for share in np.linspace(0.0, 1.0, N_STEPS):
        target = find_target(model, model.sample_rate, mix={pair[0]: 1.0 - float(share), pair[1]: float(share)})
        arrangement = arrange(controls, target, transpose=0.0, fit=False)
        sound = torch.cat(list(play(arrangement, model, target.z)))
        points.append(_point(model, sound, arrangement, pair, classifier))
    return {key: np.array([point[key] for point in points]) for key in points[0]}


def _point(
    model: TimbreModel, sound: torch.Tensor, arrangement: Arrangement, pair: tuple[str, str], classifier: ForestClassifier
) -> dict[str, float]:
    heard, _ = _errors(sound, arrangement, model)
    notes, described = arrangement.notes, describe_controls(sound, heard)
    likely = _probabilities(classifier, sound, model)
    cents = 1200.0 * torch.log2(heard.f0_hz[notes] / arrangement.asked.f0_hz[notes])
    return {
        "spectral_centroid_octaves": float(np.log2(max(described["spectral_centroid_hz"], 1.0))),
        **{key: described[key] for key in DESCRIPTORS if key in described},
        "first_probability": likely.get(pair[0], 0.0),
        "second_probability": likely.get(pair[1], 0.0),
        "loudness_db": float(heard.loudness_db[notes].mean()),
        "pitch_cents": float(cents.median()),
    }


def summarize_paths(paths: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Paths, each a mapping to (n_steps,), in the figures of :func:`evaluate_blends`."""
    if not paths:
        return {"n_blends": 0}
    figures: dict[str, float] = {"n_blends": len(paths)}
    tolerances = DESCRIPTORS | {"first_probability": PROBABILITY_STEP, "second_probability": PROBABILITY_STEP}
    for key, tolerance in tolerances.items():
        figures[f"{key}_monotone_share"] = fmean(monotone_share(path[key], tolerance) for path in paths)
        moving = [path[key] for path in paths if abs(path[key][-1] - path[key][0]) > tolerance]
        if moving:
            figures[f"{key}_spearman"] = fmean(abs(float(spearmanr(np.arange(len(path)), path).statistic)) for path in moving)
    for what in ("monotone_share", "spearman"):
        figures[f"descriptors_{what}"] = fmean(figures[f"{key}_{what}"] for key in DESCRIPTORS if f"{key}_{what}" in figures)
    lines = [path["loudness_db"] - np.linspace(path["loudness_db"][0], path["loudness_db"][-1], len(path["loudness_db"])) for path in paths]
    figures["loudness_deviation_db"] = max(float(np.abs(line).max()) for line in lines)
    figures["pitch_deviation_cents"] = max(float(np.abs(path["pitch_cents"]).max()) for path in paths)
    return {key: round(value, 4) for key, value in figures.items()}


def monotone_share(path: np.ndarray, tolerance: float) -> float:
    """Share of the steps of a path (n,) that do not go against its direction, from end to end, by more than `tolerance`."""
    direction = np.sign(path[-1] - path[0])
    return float((np.diff(path) * direction >= -tolerance).mean()) if direction else float((np.abs(np.diff(path)) <= tolerance).mean())


class ForestClassifier:
    """Says which instrument is heard; fitted on MFCC statistics (n, 40) of known instruments (n,)."""

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
    said = cross_val_predict(_forest(), mfcc[:, SHAPE], instruments, groups=groups, cv=GroupKFold(3))
    return float((said == instruments).mean())


def _forest() -> RandomForestClassifier:
    return RandomForestClassifier(N_TREES, min_samples_leaf=2, class_weight="balanced", random_state=0)
