"""Swaps, blends and their reference classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE_RATE, tone
from test_excerpts import PARTIALS, excerpts, material  # noqa: F401  # fixtures

from tonetransfer.benchmarks.excerpts import Excerpt, Excerpts, mfcc_statistics
from tonetransfer.benchmarks.swaps import (
    DESCRIPTORS,
    N_STEPS,
    ForestClassifier,
    choose_swaps,
    evaluate_blends,
    evaluate_swaps,
    monotone_share,
    reference_classifier_accuracy,
    summarize_paths,
)
from tonetransfer.models.timbre_model import TimbreModel

RAMP = np.linspace(0.0, 1.0, N_STEPS)


def test_the_reference_classifier_hears_the_spectrum_and_not_the_level() -> None:
    rng = np.random.default_rng(0)
    names = np.array([name for name in PARTIALS for _ in range(12)])
    sounds = [tone(rng.uniform(150, 600), 1.0, n_harmonics=PARTIALS[name], level=rng.uniform(0.05, 0.5)).numpy() for name in names]
    mfcc = np.stack([mfcc_statistics(sound, SAMPLE_RATE) for sound in sounds])
    assert reference_classifier_accuracy(mfcc, names, np.arange(len(names))) > 0.7
    classifier = ForestClassifier(mfcc, names)
    for name, n_harmonics in PARTIALS.items():
        opinion = classifier.probabilities(tone(400.0, 1.0, n_harmonics=n_harmonics, level=0.01).numpy(), SAMPLE_RATE)
        assert classifier.names[int(opinion.argmax())] == name and opinion.sum() == pytest.approx(1.0)


class Believer:
    """Is told nothing and hears a tuba in everything."""

    names = ["tuba", "violin"]

    def probabilities(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        return np.array([0.9, 0.1])


def test_swaps_are_between_instruments_and_between_phrases(excerpts: Excerpts) -> None:  # noqa: F811
    swaps = choose_swaps(excerpts, excerpts, PARTIALS)
    assert len(swaps) == 12 and {swap.target_kind for swap in swaps} == set(PARTIALS)
    for swap in swaps:
        assert swap.source_kind != swap.target_kind == swap.reference.instrument
        assert swap.source.performance != swap.reference.performance
    assert choose_swaps(excerpts, excerpts, PARTIALS) == swaps
    assert choose_swaps(excerpts, excerpts, ["violin"]) == []


def test_a_swap_is_measured_by_what_the_classifier_says(excerpts: Excerpts, tiny_model: TimbreModel) -> None:  # noqa: F811
    swaps = [swap for swap in choose_swaps(excerpts, excerpts, ["violin", "tuba"]) if swap.source.pitch_midi < 65.0]
    chosen = [next(swap for swap in swaps if swap.target_kind == kind) for kind in ("violin", "tuba")]
    found = evaluate_swaps(tiny_model, chosen, Believer())
    assert found["n_swaps"] == 2 and found["target_accuracy"] == 0.5 == found["resynthesis_accuracy"]
    assert found["target_probability"] == found["target_probability_before"] == 0.5  # 0.9 of one, 0.1 of the other
    assert found["source_raw_pitch_accuracy"] > 0.95 and found["raw_pitch_accuracy"] > 0.8
    assert 0.0 <= found["loudness_error_db"] < 10.0


def test_which_way_a_path_goes() -> None:
    assert monotone_share(RAMP, 0.0) == monotone_share(-RAMP, 0.0) == 1.0
    assert monotone_share(np.array([0.0, 0.5, 0.4, 1.0]), 0.2) == 1.0  # a step back that is none
    assert monotone_share(np.array([0.0, 0.5, 0.4, 1.0]), 0.05) == pytest.approx(2 / 3)
    assert monotone_share(np.array([0.0, 1.0, 0.0]), 0.1) == 0.0  # nowhere, by a detour
    assert monotone_share(np.zeros(4), 0.1) == 1.0


def test_paths_in_figures() -> None:
    path = {key: RAMP for key in DESCRIPTORS} | {"first_probability": 1 - RAMP, "second_probability": RAMP**2}
    path |= {"loudness_db": -20.0 - 6.0 * RAMP, "pitch_cents": np.full(N_STEPS, -3.0)}
    found = summarize_paths([path])
    assert found["descriptors_monotone_share"] == found["first_probability_spearman"] == 1.0
    assert found["loudness_deviation_db"] == 0.0 and found["pitch_deviation_cents"] == 3.0
    dipped = path["loudness_db"].copy()
    dipped[3] -= 2.5
    zigzag = RAMP + np.array([0, 0.5, 0, 0.5, 0, 0.5, 0])
    found = summarize_paths([path, path | {"loudness_db": dipped, "tristimulus_1": zigzag}])
    assert found["loudness_deviation_db"] == 2.5 and found["n_blends"] == 2
    assert found["tristimulus_1_monotone_share"] == pytest.approx(0.75) and found["tristimulus_1_spearman"] < 1.0
    assert summarize_paths([]) == {"n_blends": 0}


@pytest.mark.slow
def test_a_walk_from_instrument_to_instrument(material: Path, tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("tonetransfer.benchmarks.swaps.PAIRS", (("violin", "alto_sax"), ("violin", "nobody")))
    path = material / "trained" / "violin" / "test0-0.flac"
    sources = Excerpts([Excerpt(path, 0.0, "violin", "test0-0", 57.0, 0.0, -20.0)], {})
    found = evaluate_blends(tiny_model, sources, Believer())
    assert found["n_blends"] == 1 and found["pitch_deviation_cents"] < 50.0 and found["loudness_deviation_db"] < 3.0
    assert found["first_probability_monotone_share"] == 1.0
