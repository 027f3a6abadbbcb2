"""Contours whose techniques are known: played by a few lines of additive synthesis, found with the true f0 and through the tracker."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tonetransfer as tt
from tonetransfer.analysis.descriptors import analyze_timbre
from tonetransfer.analysis.techniques import TECHNIQUES, Technique, find_techniques
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.benchmarks.technique_detection import (
    SYNTHESIZER,
    SYNTHESIZER_RANGE,
    compose_etude,
    evaluate_techniques,
    match_techniques,
    play_etude,
    score_techniques,
)
from tonetransfer.cli.main import main
from tonetransfer.controls.controls import Controls

GRID = FrameGrid()
RATE = GRID.sample_rate


def play(midi, level):
    """Eight partials along MIDI numbers and linear levels given 100 times a second; silent for 0.2 s before and after."""
    midi, level = np.pad(np.asarray(midi, float), 20, mode="edge"), np.pad(np.asarray(level, float), 20)
    time = np.arange(len(midi) * 480) / 480
    f0_hz = 440 * 2 ** ((np.interp(time, np.arange(len(midi)), midi) - 69) / 12)
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
    sound = 0.2 * np.interp(time, np.arange(len(level)), level) * sum(np.sin(k * phase) / k for k in range(1, 9))
    return sound.astype(np.float32), f0_hz[::480]


def found_in(midi, level=None):
    """Techniques, from the true f0; times count from the start of `midi`."""
    level = fades(len(midi)) if level is None else level
    audio, f0_hz = play(midi, level)
    loudness = loudness_db(torch.from_numpy(audio), GRID)
    analysis = analyze_timbre(audio, Controls(f0_hz, (loudness > loudness.max() - 30).float(), loudness, GRID))
    return [(one.name, one.start_s - 0.2, one.end_s - 0.2, one.figures) for one in find_techniques(analysis)]


def fades(n):
    return np.clip(np.minimum(np.arange(n) + 1, n - np.arange(n)) / 4, 0, 1)


def glide(n):
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)


def steady(midi, n):
    return np.full(n, float(midi))


def names(found):
    return [one[0] for one in found]


def test_a_plain_note_has_none():
    drift = 0.08 * np.sin(2 * np.pi * 0.5 * np.arange(150) / 100)
    assert found_in(60 + drift, fades(150) * np.linspace(0.3, 1, 150)) == []


def test_vibrato_has_a_span_and_figures():
    time = np.arange(200) / 100
    (one,) = found_in(62 + np.where(time > 0.6, 0.4, 0.0) * np.sin(2 * np.pi * 5.5 * time))
    assert one[0] == "vibrato" and one[1] == pytest.approx(0.6, abs=0.12) and one[2] == pytest.approx(2.0, abs=0.12)
    assert one[3]["vibrato_rate_hz"] == pytest.approx(5.5, rel=0.03)
    assert one[3]["vibrato_extent_cents"] == pytest.approx(40, rel=0.03)


def test_tremolo_is_of_the_level_only():
    time = np.arange(200) / 100
    (one,) = found_in(steady(57, 200), fades(200) * 10 ** (3 / 20 * np.sin(2 * np.pi * 6 * time)))
    assert one[0] == "tremolo" and one[3]["tremolo_depth_db"] == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize("depth", [1.0, 2.0, -1.0])
def test_away_and_back_is_a_bend(depth):
    curve = np.concatenate([np.zeros(40), glide(16), np.ones(8), 1 - glide(16), np.zeros(40)])
    (one,) = found_in(60 + depth * curve)
    assert one[0] == "bend" and one[1] == pytest.approx(0.4, abs=0.06) and one[2] == pytest.approx(0.8, abs=0.06)
    assert one[3]["bend_cents"] == pytest.approx(100 * depth, abs=15)


def test_into_the_note_is_a_bend_too():
    (one,) = found_in(60 - 1.5 * np.concatenate([1 - np.arange(20) / 20, np.zeros(60)]))
    assert one[0] == "bend" and one[1] == pytest.approx(0.0, abs=0.06) and one[2] == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("interval", [2, 5, -4])
def test_from_level_to_level_is_a_slide(interval):
    (one,) = found_in(60 + interval * np.concatenate([np.zeros(50), glide(18), np.ones(50)]))
    assert one[0] == "slide" and one[1] == pytest.approx(0.5, abs=0.06) and one[2] == pytest.approx(0.68, abs=0.06)
    assert one[3]["interval_cents"] == pytest.approx(100 * interval, abs=15)


def test_steps_without_attacks_are_slurs_and_three_notes_are_legato():
    found = found_in(np.repeat([60.0, 62.0, 59.0], 40))
    assert sorted(names(found)) == ["hammer_on", "legato", "pull_off"]
    middles = {name: (start + end) / 2 for name, start, end, _ in found}
    assert middles["hammer_on"] == pytest.approx(0.4, abs=0.03) and middles["pull_off"] == pytest.approx(0.8, abs=0.03)


def test_new_attacks_are_legato_but_no_slurs():
    dips = np.ones(120)
    for start in (40, 80):
        dips[start : start + 5] = np.linspace(0.4, 1, 5)
    assert names(found_in(np.repeat([60.0, 62.0, 64.0], 40), fades(120) * dips)) == ["legato"]


def test_short_notes_with_gaps_are_staccato_and_longer_ones_are_not():
    def run(held, apart):
        return np.tile(np.pad(fades(held), (0, apart - held)), 4)

    (one,) = found_in(np.repeat([60.0, 62.0, 64.0, 60.0], 30), run(11, 30))
    assert one[0] == "staccato" and one[3]["note_count"] == 4
    assert one[1] == pytest.approx(0.0, abs=0.05) and one[2] == pytest.approx(1.0, abs=0.08)
    assert found_in(np.repeat([60.0, 62.0, 64.0, 60.0], 50), run(40, 50)) == []


@pytest.mark.parametrize("audio", [np.zeros(RATE), np.zeros(1), 0.1 * np.random.default_rng(0).standard_normal(RATE), np.ones(300) * 0.1])
def test_silence_noise_and_clips_shorter_than_a_window_have_none(audio):
    audio = audio.astype(np.float32)
    assert tt.find_techniques(audio, RATE) == [] and tt.describe_notes(audio, RATE) == []
    assert all(np.isfinite(values).all() for values in tt.describe_frames(audio, RATE).values())


def test_labels_are_matched_one_to_one():
    truth = [Technique("vibrato", 0.0, 1.0), Technique("hammer_on", 2.0, 2.06), Technique("slide", 3.0, 3.2)]
    found = [Technique("vibrato", 0.3, 1.0), Technique("vibrato", 0.0, 0.6), Technique("hammer_on", 2.04, 2.1), Technique("bend", 3.0, 3.2)]
    assert match_techniques(truth, found) == [(0, 0), (1, 2)]
    assert match_techniques(truth, [Technique("hammer_on", 2.06, 2.12), Technique("vibrato", 0.6, 1.0)]) == []
    scores = score_techniques([(truth, found)])
    assert scores["vibrato"]["precision"] == 0.5 and scores["vibrato"]["recall"] == 1.0
    assert scores["vibrato"]["f1"] == pytest.approx(2 / 3)
    assert scores["slide"]["f1"] == scores["bend"]["f1"] == 0.0 and "legato" not in scores


def test_an_etude_is_the_same_every_time_and_fits_its_labels():
    first, again, other = (compose_etude(*SYNTHESIZER_RANGE, seed=seed) for seed in (3, 3, 4))
    assert first.techniques == again.techniques != other.techniques
    np.testing.assert_array_equal(first.performance.bend_semitones, again.performance.bend_semitones)
    assert {one.name for seed in range(8) for one in compose_etude(50, 60, seed=seed).techniques} == set(TECHNIQUES)
    audio = play_etude(first, SYNTHESIZER, GRID, None)
    assert len(audio) == round(first.performance.duration_s * RATE) and np.abs(audio).max() == pytest.approx(0.5)
    for note in first.performance.notes:
        assert np.abs(audio[note.start * 480 : note.end * 480]).max() > 0.01
    assert all(0 < one.start_s < one.end_s < first.performance.duration_s for one in first.techniques)


@pytest.mark.slow
def test_techniques_are_found_in_audio(capsys):
    result = evaluate_techniques(None, n_etudes=3)
    assert result["mean_f1"] >= 0.9, result["mistakes"]
    assert main(["evaluate", "techniques", "--etudes", "1", "--synthesizer-only", "--json"]) == 0
    assert {"techniques", "mean_f1", "lowest_f1", "mistakes", "least_overlap"} <= json.loads(capsys.readouterr().out).keys()
