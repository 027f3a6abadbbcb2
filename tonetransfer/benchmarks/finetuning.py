"""Gain of fine-tuning on an instrument that no training heard: a minute learned, against the same minute as a reference.

Performances are rendered with a soundfont that the bundled model never saw. From some of them an instrument is trained as a user would do
it; others, with other seeds, are then played: from the instrument's own controls, and from those of other instruments playing the
same. Both are compared with the instrument's true recording, beside what the model makes of the same minute as ``--like``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..audio.files import load_audio
from ..audio.frames import FrameGrid
from ..audio.loudness import loudness_db
from ..audio.stft import audible_log_spectral_distance_db, log_spectral_distance_db
from ..controls.controls import Controls, extract
from ..controls.profile import Target
from ..data.corpus_config import load_config, write_config
from ..data.dataset import PreparedRecording
from ..data.render_corpus import render_parallel
from ..errors import InstrumentError
from ..evaluation.metrics import raw_pitch_accuracy
from ..evaluation.transfer_quality import load_at_peak
from ..models.timbre_model import TimbreModel
from ..models.weights import load_model
from ..pipeline.target import find_target
from ..pipeline.transfer import Arrangement, arrange, play
from ..threads import Progress
from ..training.finetuning import finetune
from ..training.finetuning_data import TRAIN, VALIDATION, Material
from ..training.settings import FinetuningSettings

LEARNED, TESTED = "learned", "tested"
SEEDS = {LEARNED: 2001, TESTED: 0}  # no performance of one is in the other
PERFORMANCES = {LEARNED: 25, TESTED: 6}  # 12 s each: five minutes to learn from
FONT = "generaluser"
HELD_OUT = 5  # one performance of so many is validation
METHODS = ("encoded", "one_shot", "finetuned")
LONGEST_S = 60.0  # a recording is played again up to here
MOST_S = 180.0  # all recordings together


def render_material(config: Path, out: Path, *, soundfont_folders: Sequence[Path] = (), progress: Progress | None = None) -> None:
    """Render what is not there yet: performances of the unseen soundfont, to learn from and to test with.

    `config` is that of the training corpus; `out` gets the folders `learned` and `tested`, each with the configuration that made it. The
    other arguments are those of :func:`~tonetransfer.data.render_corpus.render_parallel`.
    """
    for name, seed in SEEDS.items():
        folder = out / name
        if (folder / "manifest.json").is_file():
            continue
        described = load_config(config)
        parallel = described.parallel.model_copy(update={"performances": PERFORMANCES[name], "reference_duration_s": 2.0})
        written = write_config(described.model_copy(update={"parallel": parallel}), folder)
        render_parallel(written, folder, soundfont=FONT, soundfont_folders=soundfont_folders, seed=seed, progress=progress)


class HeldRecordings:
    """A :class:`~tonetransfer.training.finetuning_data.PreparedFolder` of sounds (n_samples,) in memory, one of five held out."""

    def __init__(self, sounds: Sequence[torch.Tensor], grid: FrameGrid) -> None:
        self.manifest: dict[str, Any] = {}
        self._sounds = {str(i): sound for i, sound in enumerate(sounds)}
        self._heard = {name: extract(sound, grid) for name, sound in self._sounds.items()}
        self.recordings = [
            PreparedRecording(name, heard.n_frames, VALIDATION if i % HELD_OUT == HELD_OUT // 2 else TRAIN, key=name)
            for i, (name, heard) in enumerate(self._heard.items())
        ]

    def audio(self, recording: PreparedRecording, first_sample: int, n_samples: int) -> torch.Tensor:
        """A stretch of a recording."""
        return self._sounds[recording.name][first_sample : first_sample + n_samples]

    def controls(self, recording: PreparedRecording) -> Controls:
        """Extract the controls of a recording."""
        return self._heard[recording.name]


def evaluate_finetune(
    folder: Path,
    settings: FinetuningSettings,
    *,
    seconds: float = 60.0,
    performances: int = 3,
    only: Sequence[str] | None = None,
    weights: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fine-tuning against one-shot transfer, on instruments of a soundfont that no training saw.

    Parameters
    ----------
    folder : Path
        Made by :func:`render_material`.
    settings : FinetuningSettings
        How to train; name and output are set here.
    seconds : float, > 0
        Of each instrument that are learned from: whole performances of 12 s.
    performances : int, > 0
        That are tested.
    only : sequence of str or None
        These instruments; None: all.
    weights : Path or None
        What both go out from; None: the bundled weights.
    report : callable
        Told of each instrument that is done.

    Returns
    -------
    dict
        ``encoded_*`` (z as the encoder guesses it), ``one_shot_*`` (the guess checked, as ``--like`` does it) and ``finetuned_*``:
        ``resynthesis_lsd_db`` (own controls), ``transfer_lsd_db`` (others' controls), both against the true recording;
        ``loudness_error_db`` over note frames; ``raw_pitch_accuracy`` (50 cents) of transfers. ``*_gain_db``: by how much the distance
        falls from one-shot to fine-tuned. ``training_minutes``, ``training_processor_minutes``: the longest. ``instruments``: the same
        for each.
    """
    model = load_model(weights)
    names = sorted(path.name for path in (folder / TESTED).iterdir() if path.is_dir())
    if unknown := sorted(set(only or ()) - set(names)):
        raise InstrumentError(f"{folder}: holds no {', '.join(unknown)}; it has {', '.join(names)}")
    tested = _Tested(folder / TESTED, names, performances, model)
    found: dict[str, dict[str, float]] = {}
    for name in only or names:
        found[name] = figures = _one(folder / LEARNED / name, name, settings, seconds, weights, model, tested)
        report(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    keys = next(iter(found.values()))
    means = {key: round(fmean(one[key] for one in found.values()), 4) for key in keys if "minutes" not in key}
    longest = {key: max(one[key] for one in found.values()) for key in keys if "minutes" in key}
    return {"seconds": seconds, **means, **longest, "instruments": found}


def _one(
    folder: Path, name: str, settings: FinetuningSettings, seconds: float, weights: Path | None, model: TimbreModel, tested: _Tested
) -> dict[str, float]:
    sounds, total = [], 0.0
    for path in sorted(folder.glob("parallel-*.flac"), key=lambda path: int(path.stem.rpartition("-")[2])):
        if total >= seconds:
            break
        sounds.append(load_audio(path, model.sample_rate)[0])
        total += len(sounds[-1]) / model.sample_rate
    begin = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as output:
        start = settings.train.start if weights is None else str(weights)
        train = settings.train.model_copy(update={"output": output, "start": start})
        prepared = HeldRecordings(sounds, model.grid)
        path, _ = finetune(settings.model_copy(update={"name": name, "train": train}), lambda grid: prepared, measure_instrument)
        tuned = load_model(path)
    wall, processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
    together = torch.cat(sounds)
    heard = find_target(model, model.sample_rate, like=together)
    encoded = model.encode(together, weight=extract(together, model.grid).note_frames())
    targets = {
        "encoded": (model, replace(heard, z=encoded)),
        "one_shot": (model, heard),
        "finetuned": (tuned, find_target(tuned, tuned.sample_rate, to=name)),
    }
    figures = {f"{method}_{key}": value for method in METHODS for key, value in tested.measure(name, *targets[method]).items()}
    for kind in ("resynthesis", "transfer"):
        figures[f"{kind}_gain_db"] = round(figures[f"one_shot_{kind}_lsd_db"] - figures[f"finetuned_{kind}_lsd_db"], 4)
    return figures | {"training_minutes": round(wall / 60.0, 2), "training_processor_minutes": round(processor / 60.0, 2)}


class _Tested:
    """Performances to test with: each instrument's recording at peak 0.7, and what is played in it."""

    def __init__(self, folder: Path, names: Sequence[str], performances: int, model: TimbreModel) -> None:
        self.names = names
        self.audio: dict[tuple[int, str], torch.Tensor] = {}
        for number in range(min(performances, PERFORMANCES[TESTED])):
            for name in names:
                self.audio[number, name] = load_at_peak(folder / name / f"parallel-{number}.flac", model)
        self.heard = {key: extract(audio, model.grid) for key, audio in self.audio.items()}

    def measure(self, name: str, model: TimbreModel, target: Target) -> dict[str, float]:
        """Measure a target on an instrument's performances."""
        found: dict[str, list[float]] = {}
        for (number, source), heard in self.heard.items():
            truth, own = self.audio[number, name], source == name
            arrangement = arrange(heard, target, transpose=0.0, fit=not own)
            sound = torch.cat(list(play(arrangement, model, target.z)))
            found.setdefault("resynthesis_lsd_db" if own else "transfer_lsd_db", []).append(log_spectral_distance_db(truth, sound))
            notes = arrangement.notes
            if not own and bool(notes.any()):
                again, asked = extract(sound, model.grid), arrangement.asked
                found.setdefault("loudness_error_db", []).append(float((again.loudness_db - arrangement.loudness_db)[notes].abs().mean()))
                audible = notes & (asked.loudness_db > -60.0)
                found.setdefault("raw_pitch_accuracy", []).append(raw_pitch_accuracy(asked.f0_hz[audible], again.f0_hz[audible]))
        return {key: round(fmean(values), 4) for key, values in found.items()}


def measure_instrument(model: TimbreModel, material: Material) -> dict[str, float]:
    """Measure a model of one instrument on held-out recordings, from their own controls.

    ``lsd_db``, ``lsd60_db`` (:mod:`tonetransfer.evaluation.metrics`); over note frames ``loudness_error_db`` and ``raw_pitch_accuracy`` (50
    cents); ``seconds`` that were compared. Empty where nothing is held out.
    """
    found: dict[str, list[float]] = {}
    seconds, n = 0.0, material.length
    for piece in material.pieces:
        if not len(piece.held_out) or seconds >= MOST_S:
            continue
        truth = material.sound_of(piece, LONGEST_S)
        n_frames = len(truth) // material.grid.hop_length
        heard = piece.heard.slice(0.0, n_frames / material.grid.frame_rate)
        notes = heard.note_frames()
        sound = torch.cat(list(play(Arrangement(heard, notes, 0.0), model, model.timbres[0])))
        again = extract(sound, material.grid)
        level = loudness_db(sound, material.grid)
        for first in piece.held_out[piece.held_out + n <= n_frames]:
            span = slice(first + material.lead, min(first + material.lead + n, n_frames))
            cut = slice(span.start * material.grid.hop_length, span.stop * material.grid.hop_length)
            found.setdefault("lsd_db", []).append(log_spectral_distance_db(truth[cut], sound[cut]))
            found.setdefault("lsd60_db", []).append(audible_log_spectral_distance_db(truth[cut], sound[cut]))
            some = notes[span]
            if bool(some.any()):
                found.setdefault("loudness_error_db", []).append(float((level - heard.loudness_db)[span][some].abs().mean()))
                found.setdefault("raw_pitch_accuracy", []).append(raw_pitch_accuracy(heard.f0_hz[span][some], again.f0_hz[span][some]))
            seconds += (span.stop - span.start) / material.grid.frame_rate
    return {key: round(fmean(values), 4) for key, values in found.items()} | ({"seconds": round(seconds, 1)} if found else {})
