"""Examples of a report: results, each with the recordings that it is to be compared with, from folders or played now.

Three kinds. :func:`pairs_of_folders`: files of any system, matched by name. :func:`transfers_of_corpus`: a test set that
``corpus render --split parallel`` made, in which the right answer is known. :func:`transfers_of_recordings`: recordings played on some
instruments, where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...audio.files import FORMATS, load_audio, resample, sound_files
from ...audio.frames import FrameGrid
from ...audio.units import db_to_amplitude
from ...controls.controls import extract
from ...controls.profile import Target
from ...errors import SettingsError
from ...models.timbre_model import TimbreModel
from ...pipeline.target import find_target
from ...pipeline.transfer import Arrangement, arrange, play
from ..compare import HeardRecording, track_recording

PEAK = 0.7  # of every reference: what the spectral distances are meant for
LONGEST_S = 60.0  # files are read up to here
KEPT = 24  # recordings that are held in memory, since they are met again


@dataclass(frozen=True)
class Sounds:
    """One result, tracked, and what belongs to it."""

    estimate: HeardRecording
    reference: HeardRecording | None = None  # the right answer, if there is one
    source: HeardRecording | None = None  # what it was made from
    asked: Arrangement | None = None  # what the instrument was asked to play, if that is known
    highest_hz: float = 24000.0  # half of the estimate's own sample rate: above it there can be nothing


@dataclass(frozen=True)
class Example:
    """Origin of one result."""

    name: str
    group: str  # what it was made from: examples of one group are not independent
    source_name: str | None  # the instrument, where it is known, as `target`
    target: str | None
    reference_name: str  # examples of the same reference share it
    load: Callable[[], Sounds]  # raises an AudioError where a file cannot be used


@dataclass(frozen=True)
class ExampleSet:
    """Examples, and what to say of them as a whole."""

    kind: str  # "pairs", "parallel" or "recordings"
    title: str
    examples: list[Example]
    left_out: list[str]  # what was there and is not among them, with the reason
    system: str = "tonetransfer"  # what made the results


def pairs_of_folders(reference: Path, estimate: Path, source: Path | None, grid: FrameGrid, *, match_level: bool = False) -> ExampleSet:
    """Files of two folders, and perhaps of a third, of what the estimates were made from, that have the same name.

    Names are compared without their endings and with the folders below the given ones. Files are resampled to the grid's rate, the first
    minute counts, and reference and estimate are given the same gain, with which the reference peaks at 0.7; with `match_level` each
    estimate is brought to the mean loudness of its reference's notes: for systems whose level means nothing. SettingsError: something is no
    folder, or no name is in both.
    """
    files = {role: _sounds_of(folder) for role, folder in (("reference", reference), ("estimate", estimate))}
    sources = _sounds_of(source) if source else {}
    names = sorted(set(files["reference"]) & set(files["estimate"]))
    if not names:
        there = [next(iter(one), "no sound file") for one in files.values()]
        raise SettingsError(
            f"no file of {reference} ({there[0]} ...) has the name of a file of {estimate} ({there[1]} ...); "
            "name results like their references"
        )
    left_out = [f"{path}: no estimate of this name" for name, path in files["reference"].items() if name not in names]
    left_out += [f"{path}: no reference of this name" for name, path in files["estimate"].items() if name not in names]
    left_out += [f"{source / name}: no source of this name, shown without one" for name in names if source and name not in sources]
    left_out += [one for folder in (reference, estimate, source) if folder for one in _doubles(folder)]

    examples = []
    for name in names:
        load = partial(_load_pair, files["reference"][name], files["estimate"][name], sources.get(name), grid, match_level)
        examples.append(Example(name, name, None, Path(name).parent.name or None, name, load))
    return ExampleSet("pairs", f"{estimate.name} against {reference.name}", examples, left_out, estimate.name)


def pairs_of_systems(
    reference: Path, estimates: Sequence[Path], source: Path | None, grid: FrameGrid, *, match_level: bool = False
) -> list[ExampleSet]:
    """:func:`pairs_of_folders` for several systems, each under its folder's name: only files that all of them have are compared.

    SettingsError: as there; two folders have the same name, or no file is in all of them.
    """
    names = [folder.resolve().name for folder in estimates]
    if len(set(names)) < len(names):
        names = [folder.as_posix() for folder in estimates]
    if len(set(names)) < len(names):
        raise SettingsError(f"a folder of results came twice: {', '.join(names)}; name each system once")
    sets = [pairs_of_folders(reference, one, source, grid, match_level=match_level) for one in estimates]
    common = set.intersection(*({example.name for example in one.examples} for one in sets))
    if not common:
        raise SettingsError(f"no file has the same name in all of {', '.join(names)}; name results of all systems like their references")
    found = []
    for name, one in zip(names, sets, strict=True):
        left_out = [f"{name}, {example.name}: not every system has it" for example in one.examples if example.name not in common]
        kept = [example for example in one.examples if example.name in common]
        found.append(replace(one, examples=kept, left_out=one.left_out + left_out, system=name))
    return found


def transfers_of_corpus(model: TimbreModel, folder: Path, *, count: int, seed: int = 0, play_seed: int = 0) -> ExampleSet:
    """Transfers whose right answer is known, in a folder made by ``corpus render --split parallel``.

    `count` of them are drawn so that all pairs of instruments, and then all performances, come equally often; `play_seed` is that of the
    noise in the sound. SettingsError: the folder holds no such test set, or instruments that the model does not have.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    performances = sorted(path.stem for path in (folder / names[0]).glob("parallel-*.flac")) if names else []
    if len(names) < 2 or not performances:
        raise SettingsError(f"{folder}: holds no test set; make one with `tonetransfer corpus render CONFIG {folder} --split parallel`")
    targets = {name: find_target(model, model.sample_rate, to=name) for name in names}

    @lru_cache(maxsize=KEPT)
    def heard(performance: str, name: str) -> HeardRecording:
        return _hear_file(folder / name / f"{performance}.flac", model.grid)

    def load(performance: str, one: str, other: str) -> Sounds:
        source = heard(performance, one)
        estimate, asked = _play(model, source, targets[other], transpose=0.0, seed=play_seed)
        return Sounds(estimate, heard(performance, other), source, asked, model.sample_rate / 2.0)

    chosen = balanced_draw(names, performances, count, seed)
    examples = [
        Example(f"{p}: {one} to {other}", p, one, other, f"{p}/{other}", partial(load, p, one, other)) for p, one, other in chosen
    ]  # in the order of performances, so that recordings are met again while they are held
    return ExampleSet("parallel", "Transfers against the true performance", examples, [])


def transfers_of_recordings(model: TimbreModel, folder: Path, instruments: Iterable[str], *, play_seed: int = 0) -> ExampleSet:
    """Each recording of a folder played on each instrument, as a user would: octave, dynamics and all are fitted.

    SettingsError if there is none.
    """
    files = _sounds_of(folder)
    if not files:
        raise SettingsError(f"{folder}: holds no recordings; put files ending in {', '.join(FORMATS)} there")
    targets = {model.instrument(name).name: find_target(model, model.sample_rate, to=name) for name in instruments}

    @lru_cache(maxsize=KEPT)
    def heard(name: str) -> HeardRecording:
        return _hear_file(files[name], model.grid)

    def load(name: str, target: Target) -> Sounds:
        estimate, asked = _play(model, heard(name), target, transpose="auto", seed=play_seed)
        return Sounds(estimate, None, heard(name), asked, model.sample_rate / 2.0)

    examples = [
        Example(f"{name} on {to}", name, None, to, name, partial(load, name, target)) for name in files for to, target in targets.items()
    ]
    return ExampleSet("recordings", f"{folder.name} on {', '.join(targets)}", examples, [])


def balanced_draw(names: list[str], performances: list[str], count: int, seed: int) -> list[tuple[str, str, str]]:
    """Performance, source and target of some transfers, sorted.

    However many are asked for, each instrument is source and target as often as any other, give or take one; once through, all pairs
    have come equally often, and performances, too.
    """
    rng = np.random.default_rng(seed)
    who, what = [names[k] for k in rng.permutation(len(names))], [performances[k] for k in rng.permutation(len(performances))]
    steps = 1 + rng.permutation(len(names) - 1)
    pairs = [(one, who[(k + step) % len(who)]) for step in steps for k, one in enumerate(who)]
    shift = [k + k // len(who) for k in range(len(pairs))]  # a source meets another performance with each target
    chosen = [(what[(by + turn) % len(what)], *pair) for turn in range(len(what)) for by, pair in zip(shift, pairs, strict=True)]
    return sorted(chosen[:count])


def _play(model: TimbreModel, source: HeardRecording, target: Target, *, seed: int, **how: Any) -> tuple[HeardRecording, Arrangement]:
    asked = arrange(source.controls, target, **how)
    sound = torch.cat(list(play(asked, model, target.z, seed=seed)))
    return HeardRecording(sound, extract(sound, model.grid)), asked


def _load_pair(reference: Path, estimate: Path, source: Path | None, grid: FrameGrid, match_level: bool) -> Sounds:
    (x, gain), (y, rate) = _read(reference, grid), _read_raw(estimate, grid)
    truth, result = track_recording(x, grid.sample_rate, grid), track_recording(y * gain, grid.sample_rate, grid)
    if match_level:
        result = _at_level_of(truth, result)
    return Sounds(result, truth, _hear_file(source, grid) if source else None, None, rate / 2.0)


def _at_level_of(reference: HeardRecording, estimate: HeardRecording) -> HeardRecording:
    levels = [float(one.controls.loudness_db[one.notes].mean()) if bool(one.notes.any()) else None for one in (reference, estimate)]
    if levels[0] is None or levels[1] is None:
        return estimate
    shift_db = levels[0] - levels[1]
    return HeardRecording(estimate.audio * db_to_amplitude(shift_db), estimate.controls.shift_loudness(shift_db))


def _hear_file(path: Path, grid: FrameGrid) -> HeardRecording:
    return track_recording(_read(path, grid)[0], grid.sample_rate, grid)


def _read(path: Path, grid: FrameGrid) -> tuple[torch.Tensor, float]:
    """The beginning of a recording with a peak of 0.7, and by what it was multiplied; silence stays as it is."""
    audio, _ = _read_raw(path, grid)
    peak = float(audio.abs().max())
    gain = PEAK / peak if peak > 1e-6 else 1.0
    return audio * gain, gain


def _read_raw(path: Path, grid: FrameGrid) -> tuple[torch.Tensor, int]:
    """The beginning of a recording at the grid's rate, and its own rate [Hz]."""
    audio, rate = load_audio(path)
    audio = audio[: round(LONGEST_S * rate)]
    return resample(audio, rate, grid.sample_rate), rate


def _sounds_of(folder: Path | None) -> dict[str, Path]:
    """Sound files below a folder, by their names without endings; of several endings the first."""
    if folder is None or not folder.is_dir():
        raise SettingsError(f"{folder}: is not a folder; one that holds sound files is wanted")
    files: dict[str, Path] = {}
    for path in sound_files(folder, below=True):
        files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return files


def _doubles(folder: Path) -> list[str]:
    """Files that have the name of another one, but for the ending."""
    used = set(_sounds_of(folder).values())
    return [f"{path}: another file has the same name but for its ending" for path in sound_files(folder, below=True) if path not in used]
