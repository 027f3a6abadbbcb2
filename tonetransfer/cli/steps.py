"""Steps that several verbs share: files are checked, an instrument is opened, sound is written, and figures are told."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..atomic import check_new
from ..audio.files import AudioWriter, check_output, load_audio
from ..controls.controls import Controls
from ..controls.profile import Target
from ..errors import AudioError, ControlsError, InstrumentError, SettingsError, ToneTransferError
from ..models.hub import fetch, is_address, parse_address
from ..models.timbre_model import TimbreModel
from ..models.weights import load_model, save_model
from ..pipeline.target import find_target, refine
from ..pipeline.transfer import Arrangement, arrange, play
from ..pitch.estimators import DEFAULT_TRACKER, find_tracker
from ..threads import Progress, one_thread
from .options import Report

WEIGHTS_ENDING = ".safetensors"
KEPT_S = 60  # part of a result that is kept to be drawn
READ = ("like", "match", "weights")  # options that name a file to be read
WRITTEN: dict[str, tuple[type[ToneTransferError], str | None]] = {  # by option: error where the file cannot be written, and its kind
    "plot": (ToneTransferError, "picture"),
    "save": (ControlsError, None),
    "keep": (SettingsError, None),
    "to_midi": (ControlsError, "MIDI file"),
    "share": (AudioError, "page"),
}


def check_files(arguments: Namespace, *, reads: Sequence[Path | None]) -> None:
    """Refuse at once what could not be written in the end."""
    results = {name: path for name in ("output", *WRITTEN) if (path := getattr(arguments, name, None))}
    sources = [path for path in (*reads, *(getattr(arguments, name, None) for name in READ)) if path and path.exists()]
    for path in (path for path in results.values() if path.exists()):
        if any(path.samefile(source) for source in sources):
            raise AudioError(f"{path} is a source itself; another file is wanted for the result: choose another name")
    if "output" in results:
        check_output(results["output"], overwrite=arguments.overwrite)
    for name, (error, kind) in WRITTEN.items():
        if name in results:
            check_new(results[name], error, kind=kind, overwrite=arguments.overwrite)
    if (kept := results.get("keep")) and kept.suffix != WEIGHTS_ENDING:
        raise SettingsError(f"{kept}: an instrument is kept in a file ending in {WEIGHTS_ENDING}; choose such a name")
    if len({path.absolute() for path in results.values()}) < len(results):
        raise AudioError("two results are to go into one file; give each a name of its own")


def open_target(arguments: Namespace, load: Callable[[Path | None], TimbreModel] = load_model) -> tuple[TimbreModel, Target, str]:
    """Model, target and its name, of ``--to``, ``--like`` or ``--mix``, and of ``--match``."""
    to, weights = arguments.to, arguments.weights
    if to and is_address(to):
        name = parse_address(to)[2]
        to = str(fetch(to)) + (f":{name}" if name else "")
    if arguments.refine and not arguments.like:
        raise SettingsError("--refine fits the model to a recording of the instrument; give one with --like")
    if arguments.keep and not arguments.refine:
        raise SettingsError("--keep keeps a refined instrument; it wants --like and --refine")
    if arguments.match and arguments.like:
        raise SettingsError("--like takes the colour of its recording by itself; give --match with --to or --mix, or leave it out")
    if to and WEIGHTS_ENDING in to:
        if weights:
            raise SettingsError("--to names a weights file, and so does --weights; give one of them")
        file, _, name = to.partition(f"{WEIGHTS_ENDING}:") if f"{WEIGHTS_ENDING}:" in to else (to.removesuffix(WEIGHTS_ENDING), "", "")
        weights = Path(file + WEIGHTS_ENDING)
        model = load(weights)
        if not model.names:
            raise InstrumentError(f"{weights}: holds no named instrument; use it with --weights and --like")
        to = name or model.names[0]
    else:
        model = load(weights)
    model = model if arguments.room else model.dry()
    if arguments.refine:
        model = _refined(arguments, model)
        return model, find_target(model, model.sample_rate, to=model.names[0]), arguments.like.name
    with one_thread():
        like, match = (load_audio(path) if path else None for path in (arguments.like, arguments.match))
        target = find_target(model, model.sample_rate, to=to, like=like, mix=arguments.mix, match=match, tracker=tracker_of(arguments))
    target = target if arguments.room else replace(target, room_tone_db=None)
    if to:
        return model, target, model.instrument(to).name
    return model, target, arguments.like.name if arguments.like else " + ".join(arguments.mix)


def _refined(arguments: Namespace, model: TimbreModel) -> TimbreModel:
    """The model fitted to ``--like``, and kept if that was asked for."""
    with progress_bar("step", "refining") as progress:
        like, name = load_audio(arguments.like), arguments.like.stem
        refined = refine(*like, model, name=name, tracker=tracker_of(arguments), seed=arguments.seed, progress=progress)
    if arguments.keep:
        save_model(arguments.keep, refined, notes={"refined": arguments.like.name}, overwrite=arguments.overwrite)
    return refined


def arrange_as_asked(arguments: Namespace, heard: Controls, target: Target, **of_source: Any) -> Arrangement:
    """Arrange as the options say; `of_source` is what :func:`~tonetransfer.pipeline.transfer.arrange` takes of a recording besides."""
    asked = {name: getattr(arguments, name) for name in ("transpose", "dynamic", "fit", "autotune", "scale", "dynamics")}
    return arrange(heard, target, loudness_db=arguments.loudness, **(asked | of_source))


def play_arrangement(
    arguments: Namespace, arrangement: Arrangement, model: TimbreModel, target: Target, n_samples: int, kept_s: float = KEPT_S
) -> tuple[AudioWriter, torch.Tensor]:
    """Play an arrangement into the output file; as :func:`write_sound`."""
    how = {"seed": arguments.seed, "noise_db": arguments.noise, "hall": arguments.hall}
    return write_sound(arguments, play(arrangement, model, target.z, n_samples=n_samples, **how), model.sample_rate, n_samples, kept_s)


def write_sound(
    arguments: Namespace, pieces: Iterable[torch.Tensor], sample_rate: int, n_samples: int, kept_s: float = 0.0
) -> tuple[AudioWriter, torch.Tensor]:
    """Write consecutive pieces, `n_samples` together, into the output file; what wrote it, and the first seconds as they were written."""
    beginning = [torch.zeros(0)]
    with (
        AudioWriter(arguments.output, sample_rate, overwrite=arguments.overwrite) as writer,
        tqdm(total=round(n_samples / sample_rate), unit="s", desc="playing", disable=None, leave=False) as bar,
    ):
        for piece in pieces:
            if writer.n_samples < kept_s * sample_rate:
                beginning.append(piece)
            writer.write(piece)
            bar.update(len(piece) / sample_rate)
    return writer, torch.cat(beginning) / max(writer.peak, 1.0)


def report_arrangement(arguments: Namespace, arrangement: Arrangement, name: str, writer: AudioWriter, elapsed: float) -> Report:
    facts = {"effort_db": arrangement.effort_db, **summarize_controls(arrangement.asked, arrangement.notes)}
    told = f", transposed by {arrangement.transposed:+g} semitones" if arrangement.transposed else ""
    return report_sound(arguments, name, arrangement.transposed, writer, elapsed, facts, told)


def report_sound(
    arguments: Namespace, name: str, semitones: float, writer: AudioWriter, elapsed: float, facts: Mapping[str, Any], told: str = ""
) -> Report:
    """Report on sound that was written: in JSON with `facts` among the others, and in a line with `told` in it."""
    seconds = writer.n_samples / writer.sample_rate
    what = {"output": str(arguments.output), "instrument": name, "seconds": seconds, "sample_rate_hz": writer.sample_rate}
    how_fast = {"elapsed_seconds": elapsed, "realtime_factor": seconds / elapsed}
    result = {**what, "transpose_semitones": semitones, **facts, "peak": min(writer.peak, 1.0), **how_fast}
    return result, [f"{arguments.output}: {seconds:.1f} s of {name}{told}, in {elapsed:.1f} s ({seconds / elapsed:.0f}x real time)"]


def summarize_controls(controls: Controls, notes: torch.Tensor | None = None) -> dict[str, float]:
    """Controls in a few numbers; without notes f0 reads 0."""
    notes = controls.note_frames() if notes is None else notes
    f0 = controls.f0_hz[notes] if bool(notes.any()) else torch.zeros(1)
    loud = controls.loudness_db[notes] if bool(notes.any()) else controls.loudness_db
    return {
        "note_seconds": float(notes.sum()) / controls.grid.frame_rate,
        "f0_median_hz": float(f0.median()),
        "f0_lowest_hz": float(f0.double().quantile(0.01)) if len(f0) < 10_000_000 else float(f0.min()),
        "f0_highest_hz": float(f0.double().quantile(0.99)) if len(f0) < 10_000_000 else float(f0.max()),
        "loudness_median_db": float(loud.median()),
    }


def tracker_of(arguments: Namespace) -> str:
    """Name of the tracker that was asked for, whether or not there is audio to track; InstrumentError: there is none of that name."""
    name = DEFAULT_TRACKER if arguments.tracker is None else arguments.tracker
    find_tracker(name)
    return name


@contextmanager
def progress_bar(unit: str, what: str | None = None) -> Iterator[Progress]:
    """A progress bar while the block runs, moved by what is given."""
    with tqdm(unit=unit, desc=what, disable=None, leave=what is None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
