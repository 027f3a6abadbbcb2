"""Accuracy of the detection of playing techniques: on etudes that are played, recorded as audio and analysed like any recording.

Conventions
-----------
- A label is right if one of the same technique is matched with it: the spans' intersection over union is at least 0.5. Slurs
  (`hammer_on`, `pull_off`) are instants whose spans are nominal; their middles must lie within 50 ms. Matching is one to one, the
  best first.
- Counts are summed over all etudes before precision, recall and F1 are computed. A technique that neither occurs nor is found
  has no figures.
- The rules of :mod:`tonetransfer.analysis.techniques` were set on the etudes of seeds below 100; evaluation takes seeds from 1000 on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..analysis.descriptors import analyze_timbre
from ..analysis.techniques import TECHNIQUES, Technique, find_techniques
from ..audio.frames import FrameGrid
from ..controls.controls import extract
from ..pitch.estimators import DEFAULT_TRACKER
from .technique_etudes import PRESETS, SYNTHESIZER, SYNTHESIZER_RANGE, compose_etude, play_etude

FIRST_SEED = 1000
LEAST_OVERLAP = 0.5  # intersection over union
INSTANTS = ("hammer_on", "pull_off")
TOLERANCE_S = 0.05


def match_techniques(truth: Sequence[Technique], found: Sequence[Technique]) -> list[tuple[int, int]]:
    """Pairs of labels that agree, one to one.

    Parameters
    ----------
    truth, found : sequence of Technique

    Returns
    -------
    list of (int, int)
        Places in `truth` and in `found`.
    """
    likeness = {(i, j): _likeness(one, other) for i, one in enumerate(truth) for j, other in enumerate(found)}
    pairs: list[tuple[int, int]] = []
    for (i, j), value in sorted(likeness.items(), key=lambda item: -item[1]):
        if value > 0 and all(i != k and j != m for k, m in pairs):
            pairs.append((i, j))
    return sorted(pairs)


def score_techniques(pairs: Sequence[tuple[Sequence[Technique], Sequence[Technique]]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and counts of each technique over recordings.

    Parameters
    ----------
    pairs : sequence of (truth, found)
        One pair of label lists for each recording.

    Returns
    -------
    dict
        Technique to `precision`, `recall`, `f1` (all in [0, 1]), `n_true`, `n_found`, `n_right`.
    """
    scores = {}
    for name in TECHNIQUES:
        n_true = sum(one.name == name for truth, _ in pairs for one in truth)
        n_found = sum(one.name == name for _, found in pairs for one in found)
        n_right = sum(truth[i].name == name for truth, found in pairs for i, _ in match_techniques(truth, found))
        if n_true or n_found:
            scores[name] = {
                "precision": n_right / n_found if n_found else 0.0,
                "recall": n_right / n_true if n_true else 0.0,
                "f1": 2.0 * n_right / (n_true + n_found),
                "n_true": n_true,
                "n_found": n_found,
                "n_right": n_right,
            }
    return scores


def evaluate_techniques(
    soundfont: Path | None,
    *,
    n_etudes: int = 24,
    first_seed: int = FIRST_SEED,
    tracker: str = DEFAULT_TRACKER,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Play etudes, analyse the audio, and compare the labels with what was played.

    Parameters
    ----------
    soundfont : Path or None
        FluidR3_GM, whose presets play every other etude; None: the synthesizer plays all.
    n_etudes : int, > 0
        Each holds nine gestures in some 15 s.
    first_seed : int, >= 0
    tracker : str
    progress : callable or None
        Told how many of how many etudes are done.

    Returns
    -------
    dict
        `techniques` as of :func:`score_techniques`, `mean_f1`, `lowest_f1`, the mean f1 of each player's etudes in `players`, counts, and
        `mistakes`: every label that was missed or made up, by seed.
    """
    grid = FrameGrid()
    players = [SYNTHESIZER, *PRESETS] if soundfont else [SYNTHESIZER]
    results: dict[str, list[tuple[Sequence[Technique], Sequence[Technique]]]] = {}
    mistakes: list[dict[str, Any]] = []
    for number in range(n_etudes):
        seed = first_seed + number
        player = players[1 + (number // 2) % len(PRESETS)] if soundfont and number % 2 == 0 else SYNTHESIZER
        etude = compose_etude(*(SYNTHESIZER_RANGE if player == SYNTHESIZER else PRESETS[player][1:]), seed=seed)
        found = _listen(torch.from_numpy(play_etude(etude, player, grid, soundfont)), grid, tracker)
        results.setdefault(player, []).append((etude.techniques, found))
        mistakes += _mistakes(etude.techniques, found, seed, player)
        if progress:
            progress(number + 1, n_etudes)
    techniques = score_techniques([pair for pairs in results.values() for pair in pairs])
    scores = [one["f1"] for one in techniques.values()]
    return {
        "techniques": techniques,
        "mean_f1": fmean(scores),
        "lowest_f1": min(scores),
        "players": {player: fmean(one["f1"] for one in score_techniques(pairs).values()) for player, pairs in results.items()},
        "n_etudes": n_etudes,
        "first_seed": first_seed,
        "least_overlap": LEAST_OVERLAP,
        "slur_tolerance_s": TOLERANCE_S,
        "mistakes": mistakes,
    }


def _listen(audio: torch.Tensor, grid: FrameGrid, tracker: str) -> list[Technique]:
    return find_techniques(analyze_timbre(audio, extract(audio, grid, tracker=tracker)))


def _mistakes(truth: Sequence[Technique], found: Sequence[Technique], seed: int, player: str) -> list[dict[str, Any]]:
    pairs = match_techniques(truth, found)
    wrong = [("missed", one) for i, one in enumerate(truth) if i not in {i for i, _ in pairs}]
    wrong += [("made_up", one) for j, one in enumerate(found) if j not in {j for _, j in pairs}]
    return [{"seed": seed, "player": player, "mistake": kind, **one.to_dict()} for kind, one in wrong]


def _likeness(one: Technique, other: Technique) -> float:
    """In (0, 1] for labels that agree, 0 for others."""
    if one.name != other.name:
        return 0.0
    if one.name in INSTANTS:
        apart_s = abs(one.start_s + one.end_s - other.start_s - other.end_s) / 2.0
        return 1.0 - 0.5 * apart_s / TOLERANCE_S if apart_s <= TOLERANCE_S else 0.0
    shared_s = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    overlap = shared_s / max(max(one.end_s, other.end_s) - min(one.start_s, other.start_s), 1e-9)
    return overlap if overlap >= LEAST_OVERLAP else 0.0
