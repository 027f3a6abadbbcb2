"""Accuracy of the detection of playing techniques: on etudes that are played, recorded as audio and analysed like any recording.

Conventions
-----------
- A label is right if one of the same technique is matched with it: the spans' intersection over union is at least 0.5. Slurs
  (`hammer_on`, `pull_off`) are instants whose spans are nominal; their middles must lie within 50 ms. Matching is one to one, the
  best first.
- Counts are summed over all etudes before precision, recall and F1 are computed. A technique that neither occurs nor is found
  has no figures.
- The rules of :mod:`tonetransfer.analysis.techniques` were set on the etudes of seeds below 100; evaluation takes seeds from 1000 on.

Etudes
------
An :class:`Etude` is a row of gestures with rests between them. Each gesture shows one technique (a note with vibrato, a slide, a
staccato run ...) or none (a held note that swells and drifts, a detached run): those must stay without a label.

Half of the players are our own additive synthesizer with a random spectrum and a little noise. The others are presets of FluidR3_GM,
chosen so that nothing but the etude is in the sound: of 32 presets these were, on three held notes each, free of recorded vibrato (mostly
below 4 cents, the trumpet up to 8) and tremolo (below 0.5 dB) and die away within 80 ms. Flute, oboe, bassoon, strings and alto sax have
a recorded vibrato of 6 to 16 cents, horn and piccolo a swing of 2 dB, nylon guitar and church organ ring for 0.3 s. The trombone was
recorded with a scoop of 75 cents in every attack, and the overdriven guitar's f0 is lost in its noise for 0.1 s; both are left out. A
slur is a step of the pitch bend on a sounding note; a new note, legato ones too, is a new attack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ..analysis.descriptors import analyze_timbre
from ..analysis.techniques import TECHNIQUES, Technique, find_techniques
from ..audio.frames import FrameGrid
from ..audio.units import db_to_amplitude, midi_to_hz
from ..controls.controls import extract
from ..data.composition import FRAME_RATE, LEAD_FRAMES, TAIL_FRAMES, ComposedNote, Performance, velocity_db
from ..data.soundfont import SoundFont
from ..pitch.estimators import DEFAULT_TRACKER
from ..synthesis.render import SynthParams, render
from ..threads import Progress, counted

FIRST_SEED = 1000
LEAST_OVERLAP = 0.5  # intersection over union
INSTANTS = ("hammer_on", "pull_off")
TOLERANCE_S = 0.05
SOUNDFONT = "FluidR3_GM.sf2"
PRESETS = {  # program, lowest and highest home note
    "jazz_guitar": (26, 48, 66),
    "baritone_sax": (67, 44, 60),
    "trumpet": (56, 58, 74),
    "reed_organ": (20, 50, 72),
    "tenor_sax": (66, 50, 66),
    "clarinet": (71, 55, 76),
}
SYNTHESIZER = "synthesizer"
SYNTHESIZER_RANGE = (46, 79)
N_GESTURES = 9
N_HARMONICS, N_BANDS = 24, 16
PEAK = 0.5


def match_techniques(truth: Sequence[Technique], found: Sequence[Technique]) -> list[tuple[int, int]]:
    """Pairs of labels that agree, one to one, as their places in `truth` and in `found`."""
    overlaps = {(i, j): _overlap(one, other) for i, one in enumerate(truth) for j, other in enumerate(found)}
    pairs: list[tuple[int, int]] = []
    for (i, j), value in sorted(overlaps.items(), key=lambda item: -item[1]):
        if value > 0 and all(i != k and j != m for k, m in pairs):
            pairs.append((i, j))
    return sorted(pairs)


def score_techniques(pairs: Sequence[tuple[Sequence[Technique], Sequence[Technique]]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1, each in [0, 1], and counts of each technique over recordings, of pairs (truth, found), one for each."""
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
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Play etudes of nine gestures in some 15 s, analyse the audio, and compare the labels with what was played.

    `soundfont` is FluidR3_GM, whose presets play every other etude; None: the synthesizer plays all. Returns `techniques` as of
    :func:`score_techniques`, `mean_f1`, `lowest_f1`, the mean f1 of each player's etudes in `players`, counts, and `mistakes`: every label
    that was missed or made up, by seed.
    """
    grid = FrameGrid()
    players = [SYNTHESIZER, *PRESETS] if soundfont else [SYNTHESIZER]
    results: dict[str, list[tuple[Sequence[Technique], Sequence[Technique]]]] = {}
    mistakes: list[dict[str, Any]] = []
    for number in counted(range(n_etudes), progress):
        seed = first_seed + number
        player = players[1 + (number // 2) % len(PRESETS)] if soundfont and number % 2 == 0 else SYNTHESIZER
        etude = compose_etude(*(SYNTHESIZER_RANGE if player == SYNTHESIZER else PRESETS[player][1:]), seed=seed)
        audio = torch.from_numpy(play_etude(etude, player, grid, soundfont))
        found = find_techniques(analyze_timbre(audio, extract(audio, grid, tracker=tracker)))
        results.setdefault(player, []).append((etude.techniques, found))
        mistakes += _mistakes(etude.techniques, found, seed, player)
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


def _mistakes(truth: Sequence[Technique], found: Sequence[Technique], seed: int, player: str) -> list[dict[str, Any]]:
    pairs = match_techniques(truth, found)
    wrong = [("missed", one) for i, one in enumerate(truth) if i not in {i for i, _ in pairs}]
    wrong += [("made_up", one) for j, one in enumerate(found) if j not in {j for _, j in pairs}]
    return [{"seed": seed, "player": player, "mistake": kind, **one.to_dict()} for kind, one in wrong]


def _overlap(one: Technique, other: Technique) -> float:
    """In (0, 1] for labels that agree, 0 for others."""
    if one.name != other.name:
        return 0.0
    if one.name in INSTANTS:
        apart_s = abs(one.start_s + one.end_s - other.start_s - other.end_s) / 2.0
        return 1.0 - 0.5 * apart_s / TOLERANCE_S if apart_s <= TOLERANCE_S else 0.0
    shared_s = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    overlap = shared_s / max(max(one.end_s, other.end_s) - min(one.start_s, other.start_s), 1e-9)
    return overlap if overlap >= LEAST_OVERLAP else 0.0


@dataclass(frozen=True)
class Etude:
    """A performance, and the techniques in it in order of their starts."""

    performance: Performance
    techniques: tuple[Technique, ...]


@dataclass(frozen=True)
class _Gesture:
    """A few notes from frame 0 on, their curves (n_frames,), and techniques as (name, first frame, frame after the last)."""

    notes: list[ComposedNote]
    bend: np.ndarray
    expression_db: np.ndarray
    marks: list[tuple[str, int, int]]


def compose_etude(lowest_midi: int, highest_midi: int, *, seed: int) -> Etude:
    """Compose an etude whose gestures begin on notes of a window; the same numbers give the same etude."""
    rng = np.random.default_rng([seed, lowest_midi, highest_midi])
    kinds = rng.permutation(np.array(GESTURES, dtype=object))[:N_GESTURES]
    notes: list[ComposedNote] = []
    techniques: list[Technique] = []
    bend, expression = [np.zeros(LEAD_FRAMES)], [np.zeros(LEAD_FRAMES)]
    clock = LEAD_FRAMES
    for kind in kinds:
        gesture = kind(rng, int(rng.integers(lowest_midi, highest_midi + 1)))
        n, rest = len(gesture.bend), int(rng.integers(25, 50))
        notes += [ComposedNote(clock + note.start, note.length, note.midi, note.velocity) for note in gesture.notes]
        techniques += [Technique(name, (clock + start) / FRAME_RATE, (clock + stop) / FRAME_RATE) for name, start, stop in gesture.marks]
        bend.append(np.pad(gesture.bend, (0, rest), mode="edge"))
        expression.append(np.pad(gesture.expression_db, (0, rest), mode="edge"))
        clock += n + rest
    bend.append(np.full(TAIL_FRAMES, bend[-1][-1]))
    expression.append(np.full(TAIL_FRAMES, expression[-1][-1]))
    curves = np.concatenate(bend), np.concatenate(expression)
    performance = Performance(f"etude-{seed}", seed, lowest_midi, highest_midi, tuple(notes), *curves)
    return Etude(performance, tuple(_joined(sorted(techniques, key=lambda one: one.start_s))))


def play_etude(etude: Etude, player: str, grid: FrameGrid, soundfont: Path | None) -> np.ndarray:
    """Sound of an etude (n_samples,), in [-0.5, 0.5], by a name in `PRESETS` (of FluidR3_GM, `soundfont`) or by `SYNTHESIZER`."""
    performance = etude.performance
    if player == SYNTHESIZER:
        audio = _synthesize(performance, grid)
    else:
        assert soundfont is not None
        audio = SoundFont(soundfont, sample_rate=grid.sample_rate).render(performance, program=PRESETS[player][0])[0]
        time_s = np.arange(len(audio)) / grid.sample_rate
        gain = np.interp(time_s * FRAME_RATE, np.arange(performance.n_frames), db_to_amplitude(performance.expression_db))
        audio = audio * gain
    return (PEAK * audio / max(float(np.abs(audio).max()), 1e-9)).astype(np.float32)


def _synthesize(performance: Performance, grid: FrameGrid) -> np.ndarray:
    """Additive synthesis with attacks and releases; a new note that joins the last one begins with a dip and a breath of noise."""
    rng = np.random.default_rng([performance.seed, 7])
    time_s = np.arange(performance.n_frames) / FRAME_RATE
    attack_s, release_s, dip = rng.uniform(0.015, 0.05), rng.uniform(0.02, 0.05), rng.uniform(0.1, 0.35)
    level, breath = np.zeros(performance.n_frames), np.zeros(performance.n_frames)
    for number, note in enumerate(performance.notes):
        since = time_s - note.start / FRAME_RATE
        joined = number > 0 and performance.notes[number - 1].end >= note.start
        rise = np.clip(since / attack_s, dip if joined else 0.0, 1.0)
        fall = np.exp(-np.maximum(time_s - note.end / FRAME_RATE, 0.0) / release_s)
        own = since >= 0
        level = np.where(own, db_to_amplitude(velocity_db(note.velocity)) * rise * fall, level)
        breath = np.where(own, np.exp(-np.maximum(since, 0.0) / 0.03), breath)
    level = level * db_to_amplitude(performance.expression_db)
    f0_hz = midi_to_hz(performance.midi_curve())
    order = np.arange(1, N_HARMONICS + 1)
    weights = order ** -rng.uniform(0.8, 2.2) * rng.uniform(0.4, 1.0, N_HARMONICS)
    distribution = np.where(order * f0_hz[:, None] * 1.06 < grid.sample_rate / 2.0, weights, 0.0)
    noise = (level * (0.004 + 0.03 * breath))[:, None] * np.linspace(1.0, 0.2, N_BANDS)
    columns = (f0_hz, level, distribution / distribution.sum(-1, keepdims=True), noise)
    params = SynthParams(*(torch.from_numpy(np.asarray(column, np.float32)) for column in columns))
    return render(params, grid, seed=performance.seed).numpy()


def _joined(techniques: list[Technique]) -> list[Technique]:
    """Two staccato runs with half a second or less between them are one: nobody could tell."""
    joined: list[Technique] = []
    for one in techniques:
        if joined and one.name == joined[-1].name == "staccato" and one.start_s - joined[-1].end_s <= 0.5:
            joined[-1] = replace(joined[-1], end_s=one.end_s)
        else:
            joined.append(one)
    return joined


def _held(rng: np.random.Generator, midi: int, n: int) -> _Gesture:
    """One note with what every held note has: a swell and a slow drift of pitch."""
    time_s = np.arange(n) / FRAME_RATE
    drift = 0.06 * np.sin(2.0 * np.pi * (rng.uniform(0.2, 0.8) * time_s + rng.random()))
    swell = rng.uniform(0.0, 5.0) * np.sin(np.pi * np.linspace(0.0, rng.uniform(0.3, 1.0), n)) - 6.0
    return _Gesture([ComposedNote(0, n, midi, int(rng.integers(70, 115)))], drift, swell, [])


def _plain(rng: np.random.Generator, midi: int) -> _Gesture:
    return _held(rng, midi, int(rng.integers(60, 150)))


def _vibrato(rng: np.random.Generator, midi: int) -> _Gesture:
    gesture = _held(rng, midi, int(rng.integers(90, 200)))
    n = len(gesture.bend)
    onset, ramp = int(rng.integers(0, 40)), int(rng.integers(5, 25))
    time_s = np.arange(n) / FRAME_RATE
    growth = np.clip((np.arange(n) - onset) / ramp, 0.0, 1.0)
    swing = rng.uniform(0.15, 0.6) * growth * np.sin(2.0 * np.pi * rng.uniform(4.5, 7.5) * time_s + rng.uniform(0.0, 6.28))
    return _Gesture(gesture.notes, gesture.bend + swing, gesture.expression_db, [("vibrato", onset + ramp // 2, n)])


def _tremolo(rng: np.random.Generator, midi: int) -> _Gesture:
    gesture = _held(rng, midi, int(rng.integers(90, 200)))
    n, onset = len(gesture.bend), int(rng.integers(0, 30))
    depth_db, rate_hz = rng.uniform(1.5, 5.0), rng.uniform(4.0, 8.0)
    swing = np.where(np.arange(n) >= onset, np.sin(2.0 * np.pi * rate_hz * np.arange(n) / FRAME_RATE), 0.0)
    return _Gesture(gesture.notes, gesture.bend, gesture.expression_db + depth_db * (swing - 1.0), [("tremolo", onset, n)])


def _arch(rng: np.random.Generator, midi: int) -> _Gesture:
    """A note bent up (sometimes down), held there for a moment or not, and back."""
    before, rise, top, fall, after = (int(rng.integers(*span)) for span in ((25, 60), (10, 26), (0, 16), (10, 26), (20, 60)))
    gesture = _held(rng, midi, before + rise + top + fall + after)
    depth = rng.uniform(0.8, 2.2) if rng.random() < 0.75 else -rng.uniform(0.8, 1.5)
    parts = np.zeros(before), _glide(rise), np.ones(top), 1.0 - _glide(fall), np.zeros(after)
    return _Gesture(
        gesture.notes, gesture.bend + depth * np.concatenate(parts), gesture.expression_db, [("bend", before, before + rise + top + fall)]
    )


def _scoop(rng: np.random.Generator, midi: int) -> _Gesture:
    """A note that begins too low and rises into place."""
    gesture, travel = _held(rng, midi, int(rng.integers(60, 120))), int(rng.integers(12, 26))
    short = rng.uniform(0.8, 2.0) * np.clip(1.0 - np.sin(0.5 * np.pi * np.arange(len(gesture.bend)) / travel), 0.0, 1.0)
    short[travel:] = 0.0
    return _Gesture(gesture.notes, gesture.bend - short, gesture.expression_db, [("bend", 0, travel)])


def _slide(rng: np.random.Generator, midi: int) -> _Gesture:
    """From one held note to another, 2 to 7 semitones away."""
    before, travel, after = (int(rng.integers(*span)) for span in ((25, 70), (9, 26), (25, 70)))
    gesture = _held(rng, midi, before + travel + after)
    interval = int(rng.integers(2, 8)) * int(rng.choice((-1, 1)))
    ramp = _glide(travel) if rng.random() < 0.6 else np.linspace(0.0, 1.0, travel)
    curve = interval * np.concatenate([np.zeros(before), ramp, np.ones(after)])
    return _Gesture(gesture.notes, gesture.bend + curve, gesture.expression_db, [("slide", before, before + travel)])


def _slurs(rng: np.random.Generator, midi: int) -> _Gesture:
    """One attack, then two to four steps of 1 to 4 semitones, each within a frame or two."""
    lengths = rng.integers(15, 45, size=int(rng.integers(3, 6)))
    starts = np.cumsum(lengths)[:-1]
    gesture = _held(rng, midi, int(lengths.sum()))
    offset, curve, marks = 0, np.zeros(len(gesture.bend)), [("legato", 0, len(gesture.bend))]
    for start in starts:
        step = int(rng.integers(1, 5)) * int(rng.choice((-1, 1)))
        step = -step if abs(offset + step) > 6 else step
        offset += step
        curve[start:] += step
        marks.append(("hammer_on" if step > 0 else "pull_off", int(start) - 3, int(start) + 3))
    if rng.random() < 0.5:  # a step that takes 20 ms
        curve = (curve + np.append(curve[1:], curve[-1])) / 2.0
    return _Gesture(gesture.notes, gesture.bend + curve, gesture.expression_db, marks)


def _staccato(rng: np.random.Generator, midi: int) -> _Gesture:
    count, apart, share = int(rng.integers(3, 7)), int(rng.integers(20, 42)), rng.uniform(0.25, 0.45)
    return _run(rng, midi, count, apart, max(round(apart * share), 6), "staccato")


def _legato(rng: np.random.Generator, midi: int) -> _Gesture:
    count, apart = int(rng.integers(3, 7)), int(rng.integers(18, 50))
    return _run(rng, midi, count, apart, apart + int(rng.integers(1, 3)), "legato")


def _detached(rng: np.random.Generator, midi: int) -> _Gesture:
    count, apart = int(rng.integers(3, 6)), int(rng.integers(40, 65))
    return _run(rng, midi, count, apart, min(round(apart * rng.uniform(0.7, 0.85)), apart - 9), "")


def _run(rng: np.random.Generator, midi: int, count: int, apart: int, held: int, name: str) -> _Gesture:
    """Notes of even length; their span is the technique of that name."""
    midis = [midi, *(midi + int(step) for step in np.cumsum(rng.choice((-4, -2, -1, 1, 2, 3, 5), count - 1)))]
    last = held if name != "legato" else apart
    notes = [ComposedNote(number * apart, held if number + 1 < count else last, note, 90) for number, note in enumerate(midis)]
    n = notes[-1].end
    level = np.repeat(rng.uniform(-6.0, 0.0, count), apart)[:n]
    return _Gesture(notes, np.zeros(n), level, [(name, 0, n)] if name else [])


def _glide(n: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)


GESTURES: tuple[Callable[[np.random.Generator, int], _Gesture], ...] = (
    *(_plain, _vibrato, _vibrato, _tremolo, _tremolo, _arch, _arch, _scoop, _slide, _slide),
    *(_slurs, _slurs, _staccato, _staccato, _legato, _legato, _detached),
)
