"""Evaluation of transfers: the same performances on every instrument give the right answers.

`evaluate_parallel` plays each performance of a test set from every instrument's recording on every other instrument, the way a user would
(default tracker, fit, no transposition because the octave is known), and compares with that instrument's own rendering.

`evaluate_resynthesis` plays real recordings again from their own timbre and controls: how much of them do z and decoder hold?
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ..audio.files import load_audio, sound_files
from ..audio.loudness import loudness_db
from ..audio.stft import audible_log_spectral_distance_db, log_spectral_distance_db
from ..audio.units import midi_to_hz
from ..controls.controls import Controls
from ..controls.profile import Target
from ..controls.recording_checks import POLYPHONIC_SHARE, sounds_spoken, voices_share
from ..data.soundfont import measure_slope
from ..errors import ToneTransferWarning
from ..models.timbre_model import TimbreModel
from ..pipeline.target import find_target, refine
from ..pipeline.transfer import analyze, arrange, play, synthesize
from ..threads import Progress, counted
from .metrics import raw_pitch_accuracy

PEAK = 0.7
LOUD_DB, SOFT_DB = -14.0, -38.0  # the swell with which brightness is measured: ff to p
BRIGHTNESS = ("alto_sax", "cello", "trumpet")  # what is recorded of them stands in configs/corpus.yaml
Adapt = Callable[[TimbreModel, torch.Tensor], tuple[TimbreModel, torch.Tensor]]


def evaluate_parallel(
    model: TimbreModel, trained: Path, unseen: Path | None = None, *, progress: Progress | None = None
) -> dict[str, float]:
    """Measure transfers whose right answer is known.

    Parameters
    ----------
    model : TimbreModel
        Plays.
    trained : Path
        Folder made by ``corpus render --split parallel`` from the soundfont of the training.
    unseen : Path or None
        Likewise from a soundfont that no training saw, with a `reference` recording of each instrument, for one-shot transfer.
    progress : callable (done, total) or None
        Told how many of how many steps are done.

    Returns
    -------
    dict of float
        ``*_lsd_db`` [dB], the log-spectral distance, lower is better: `source` (left as it is), `resynthesis` (own controls), `transfer`;
        the same for the unseen font, `named` with the trained font's timbre of the same name, `one_shot` with a timbre and dynamics from
        10 s of reference. ``loudness_error_db``: mean |result - asked| over note frames. ``realtime_factor``: wav to wav, all in.

    Raises
    ------
    AudioError
        A recording cannot be read.
    InstrumentError
        A folder has the name of no instrument of the model.

    Examples
    --------
    >>> from pathlib import Path
    >>> t = np.arange(24000) / 48000
    >>> for name, share in (("flute", 0.1), ("oboe", 0.5)):  # real ones are rendered from one performance
    ...     Path("parallel", name).mkdir(parents=True)
    ...     audio = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.3 * share * np.sin(2 * np.pi * 880 * t)
    ...     tt.save_audio(f"parallel/{name}/parallel-0.flac", audio, 48000)
    >>> figures = tt.evaluate(tt.load_model(), Path("parallel"))
    >>> figures["n_transfers"], figures["transfer_lsd_db"] > 0.0
    (2, True)
    """
    sets = [("", _TestSet(trained, model))] + ([("unseen_", _TestSet(unseen, model))] if unseen is not None else [])
    total = sum(len(test.recordings) for _, test in sets)
    figures: dict[str, float] = {}
    done = 0
    for prefix, test in sets:
        kinds = {"named": _named(model, test.names)}
        if prefix:
            kinds["one_shot"] = {name: find_target(model, rate, like=audio) for name, (audio, rate) in test.references.items()}
        scores: defaultdict[str, list[float]] = defaultdict(list)
        for performance, name in test.recordings:
            _play_on_all(model, test, performance, name, kinds, scores)
            done += 1
            if progress:
                progress(done, total)
        means = {key: fmean(values) for key, values in scores.items() if values}
        if not prefix:
            means["transfer_lsd_db"] = means.pop("named_lsd_db")
            means["realtime_factor"] = means.pop("audio_s") / means.pop("seconds")
        else:
            means = {key: value for key, value in means.items() if key.endswith("_lsd_db")}
        figures |= {prefix + key: round(value, 3) for key, value in means.items()}
        figures[prefix + "n_transfers"] = len(scores["named_lsd_db"])
    figures |= {f"brightness_{name}_octaves_per_db": brightness_slope(model, name) for name in BRIGHTNESS if name in model.names}
    return figures


class _TestSet:
    """Recordings of a parallel folder, by performance and instrument, and the references."""

    def __init__(self, folder: Path, model: TimbreModel) -> None:
        self.names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.performances = sorted(path.stem for path in (folder / self.names[0]).glob("parallel-*.flac"))
        self.audio = {(p, n): load_at_peak(folder / n / f"{p}.flac", model) for p in self.performances for n in self.names}
        self.recordings = list(self.audio)
        found = {name: folder / name / "reference.flac" for name in self.names}
        self.references = {name: load_audio(path) for name, path in found.items() if path.exists()}


def load_at_peak(path: Path, model: TimbreModel) -> torch.Tensor:
    audio, _ = load_audio(path, model.sample_rate)
    return audio * (PEAK / audio.abs().max().clamp(min=1e-9))


def _named(model: TimbreModel, names: Iterable[str]) -> dict[str, Target]:
    return {name: find_target(model, model.sample_rate, to=name) for name in names}


def _play_on_all(
    model: TimbreModel,
    test: _TestSet,
    performance: str,
    name: str,
    kinds: dict[str, dict[str, Target]],
    scores: defaultdict[str, list[float]],
) -> None:
    """One recording played on every instrument; what comes out is compared with that instrument's own rendering."""
    source = test.audio[performance, name]
    begin = time.perf_counter()
    heard = analyze(source, model.sample_rate, model)
    extraction_s = time.perf_counter() - begin
    for other in test.names:
        truth = test.audio[performance, other]
        if other == name:
            own = kinds["named"][other]
            scores["resynthesis_lsd_db"].append(log_spectral_distance_db(truth, _sound(model, heard, own, fit=False)[0]))
            continue
        scores["source_lsd_db"].append(log_spectral_distance_db(truth, source))
        for kind, targets in kinds.items():
            begin = time.perf_counter()
            result, error_db = _sound(model, heard, targets[other])
            scores["seconds"].append(time.perf_counter() - begin + extraction_s)
            scores["audio_s"].append(len(result) / model.sample_rate)
            scores[f"{kind}_lsd_db"].append(log_spectral_distance_db(truth, result))
            scores["loudness_error_db"].append(error_db)


def _sound(model: TimbreModel, heard: Controls, target: Target, *, fit: bool = True) -> tuple[torch.Tensor, float]:
    """A transfer, and how far its loudness is from what was asked for [dB]."""
    arrangement = arrange(heard, target, transpose=0.0, fit=fit)
    result = torch.cat(list(play(arrangement, model, target.z)))
    notes = arrangement.notes
    if not bool(notes.any()):
        return result, 0.0
    return result, float((loudness_db(result, model.grid) - arrangement.loudness_db)[notes].abs().mean())


def brightness_slope(model: TimbreModel, name: str) -> float:
    """Octaves of spectral centroid per dB of loudness, in swells from soft to loud over an instrument's middle octave."""
    instrument = model.instrument(name)
    n_frames = round(3.0 * model.grid.frame_rate)
    swell = torch.cat([torch.full((20,), -120.0), torch.linspace(SOFT_DB, LOUD_DB, n_frames), torch.full((30,), -120.0)])
    slopes = []
    for interval in (-6, -2, 2, 6):
        f0_hz = torch.full_like(swell, midi_to_hz(instrument.mean_midi + interval))
        controls = Controls(f0_hz, torch.ones_like(swell), swell, model.grid)
        sound = model.render(model.decode(controls, model.timbre(name)))
        slopes.append(measure_slope(sound.numpy(), model.sample_rate, span_db=LOUD_DB - SOFT_DB))
    return round(float(np.mean(slopes)), 4)


def evaluate_recordings(
    model: TimbreModel, folder: Path, instruments: Iterable[str], *, progress: Progress | None = None
) -> dict[str, Any]:
    """Real recordings of one voice each, played on some instruments: is the melody kept, and the asked loudness met?

    ``raw_pitch_accuracy`` (50 cents; the result's f0, tracked like the source's, against what was asked for, over the source's note
    frames), ``recordings_loudness_error_db``, ``recordings``: the same per file.
    """
    files = sound_files(folder)
    targets = _named(model, instruments)
    per_file: dict[str, dict[str, float]] = {}
    for path in counted(files, progress):
        heard = analyze(*load_audio(path), model)
        accuracy, errors = [], []
        for target in targets.values():
            arrangement = arrange(heard, target)
            sound = torch.cat(list(play(arrangement, model, target.z)))
            again = analyze(sound, model.sample_rate, model)
            notes = arrangement.notes & (arrangement.asked.loudness_db > -60.0)
            if not bool(notes.any()):
                continue
            accuracy.append(raw_pitch_accuracy(arrangement.asked.f0_hz[notes], again.f0_hz[notes]))
            errors.append(float((again.loudness_db - arrangement.loudness_db)[notes].abs().mean()))
        if accuracy:
            per_file[path.name] = {"raw_pitch_accuracy": round(fmean(accuracy), 4), "loudness_error_db": round(fmean(errors), 3)}
    if not per_file:
        return {"recordings": per_file}
    accuracy_all, error_all = (fmean(one[key] for one in per_file.values()) for key in ("raw_pitch_accuracy", "loudness_error_db"))
    return {"raw_pitch_accuracy": round(accuracy_all, 4), "recordings_loudness_error_db": round(error_all, 4), "recordings": per_file}


def one_shot(model: TimbreModel, reference: torch.Tensor) -> tuple[TimbreModel, torch.Tensor]:
    """The model as it is, and the z (z_dim,) of a reference (n_samples,) at its sample rate."""
    return model, model.encode(reference)


def refined(model: TimbreModel, reference: torch.Tensor) -> tuple[TimbreModel, torch.Tensor]:
    """The model fitted to a reference (n_samples,) at its sample rate, and the z (z_dim,) that came of it."""
    fitted = refine(reference, model.sample_rate, model)
    return fitted, fitted.timbre(fitted.names[0])


def evaluate_resynthesis(
    model: TimbreModel, folder: Path, *, adapt: Adapt = one_shot, name: str = "resynthesis", progress: Progress | None = None
) -> dict[str, Any]:
    """LSD-60 of recordings played from their own z and controls, nothing fitted.

    Recordings of several notes at once, and of speech, are listed but do not count: no solo instrument plays them. `adapt` says how a
    timbre is had from a recording: :func:`one_shot` or :func:`refined`. ``resynthesis_lsd60_db`` (keys begin with `name`) is the mean over
    what counts; ``resynthesis`` has for each file ``lsd60_db`` and whether it ``counts``.
    """
    files = sound_files(folder)
    found: dict[str, dict[str, Any]] = {}
    for path in counted(files, progress):
        audio, _ = load_audio(path, model.sample_rate)
        heard = analyze(audio, model.sample_rate, model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ToneTransferWarning)
            adapted, z = adapt(model, audio)
            sound = synthesize(heard, adapted, z)
        solo = voices_share(audio, heard) <= POLYPHONIC_SHARE and not sounds_spoken(heard)
        found[path.name] = {"lsd60_db": round(audible_log_spectral_distance_db(audio, sound), 3), "counts": solo}
    solos = [one["lsd60_db"] for one in found.values() if one["counts"]]
    return ({f"{name}_lsd60_db": round(fmean(solos), 3)} if solos else {}) | {name: found}
