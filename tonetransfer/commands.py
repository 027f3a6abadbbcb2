"""What each verb of the command line does: a few calls of the functions above, with files around them.

Each takes the parsed arguments and returns what it found: a mapping for ``--json``, and lines for people.
"""

from __future__ import annotations

import filecmp
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .audio import AudioWriter, check_output, load_audio
from .controls import Controls, extract
from .errors import AudioError, ControlsError, InstrumentError, MissingDependencyError, SettingsError, ToneTransferWarning
from .frames import FrameGrid
from .model import TimbreModel
from .reference import warn_if_same
from .refine import refine
from .target import Target, find_target, nearest_timbres
from .trackers import DEFAULT_TRACKER
from .transfer import Arrangement, arrange, play, warn_about
from .weights import find_weights, load_model, save_model

Report = tuple[dict[str, Any], list[str]]

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
WEIGHTS_ENDING = ".safetensors"
KEPT_S = 60  # of a result, to be drawn
PARALLEL, UNSEEN = Path("corpus/parallel"), Path("corpus/unseen")
CORPUS_CONFIG = Path("configs/corpus.yaml")
CLASSIFIER_CONFIGS = Path("configs/classify")
PHRASES, UNSEEN_PHRASES = Path("corpus/classify_test"), Path("corpus/classify_unseen")
UNSEEN_FONT = "GeneralUser-v1.47.sf2"
RECORDINGS_ON = ("violin", "trumpet", "flute", "cello")


def transfer(arguments: Namespace) -> Report:
    """``transfer SOURCE OUTPUT``."""
    _check_files(arguments, reads=[arguments.source, arguments.like])
    model, target, name = _open_target(arguments)
    begin = time.perf_counter()
    audio, _ = load_audio(arguments.source, model.sample_rate)
    heard = extract(audio, model.grid, tracker=_tracker(arguments))
    warn_about(audio, heard)
    if arguments.like and filecmp.cmp(arguments.source, arguments.like, shallow=False):
        warn_if_same()
    arrangement = _arrange(arguments, heard, target)
    peak, beginning = _write(arguments, arrangement, model, target, len(audio))
    elapsed = time.perf_counter() - begin
    if arguments.plot:
        from .plot import plot_transfer

        again = extract(beginning, model.grid, tracker=_tracker(arguments))
        title = f"{arguments.source.name} on {name}"
        plot_transfer(arguments.plot, audio, heard, beginning, again, title=title, overwrite=arguments.overwrite)
    return _report(arguments, arrangement, name, len(audio), peak, elapsed)


def synthesize(arguments: Namespace) -> Report:
    """``synthesize CONTROLS.npz OUTPUT``."""
    _check_files(arguments, reads=[arguments.controls, arguments.like])
    controls = Controls.load(arguments.controls)
    model, target, name = _open_target(arguments)
    begin = time.perf_counter()
    arrangement = _arrange(arguments, controls, target)
    peak, _ = _write(arguments, arrangement, model, target, controls.n_samples)
    return _report(arguments, arrangement, name, controls.n_samples, peak, time.perf_counter() - begin)


def instruments(arguments: Namespace) -> Report:
    """``instruments``."""
    model = load_model(arguments.weights)
    found: list[dict[str, Any]] = []
    for one in model.instruments:
        ends = {"lowest_note": note_name(one.lowest_midi), "highest_note": note_name(one.highest_midi)}
        found.append(one.to_dict() | ends)
    rows = [("name", "family", "range", "source", "licence")]
    rows += [(one["name"], one["family"], f"{one['lowest_note']}-{one['highest_note']}", one["source"], one["licence"]) for one in found]
    return {"weights": str(find_weights(arguments.weights)), "instruments": found}, _table(rows)


def analyze(arguments: Namespace) -> Report:
    """``analyze FILE``."""
    from .features import describe_controls

    _check_files(arguments, reads=[arguments.file])
    grid = FrameGrid()
    audio, _ = load_audio(arguments.file, grid.sample_rate)
    controls = extract(audio, grid, tracker=_tracker(arguments))
    warn_about(audio, controls)
    described = describe_controls(audio, controls)
    if arguments.save:
        controls.save(arguments.save, overwrite=arguments.overwrite)
    if arguments.plot:
        from .plot import plot_analysis

        plot_analysis(arguments.plot, audio, controls, title=arguments.file.name, overwrite=arguments.overwrite)
    result = {"file": str(arguments.file), "seconds": len(audio) / grid.sample_rate, **_summarize(controls), **described}
    written = {"controls": arguments.save, "plot": arguments.plot}
    result |= {key: str(path) for key, path in written.items() if path}
    return result, _table([(key, _show(value)) for key, value in result.items()])


def embed(arguments: Namespace) -> Report:
    """``embed FILE...``."""
    model = load_model(arguments.weights)
    found, lines = [], []
    for path in arguments.files:
        audio, _ = load_audio(path, model.sample_rate)
        try:
            z = model.encode(audio)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from None
        near = [{"instrument": name, "distance": round(distance, 4)} for name, distance in nearest_timbres(model, z)]
        found.append({"file": str(path), "z": z.tolist(), "nearest": near})
        lines.append(f"{path}: " + ", ".join(f"{one['instrument']} {one['distance']:.2f}" for one in near))
    return {"files": found}, lines


def classify(arguments: Namespace) -> Report:
    """``classify FILE``."""
    from .classify import classify_file, load_classifier

    found = classify_file(arguments.file, load_classifier(arguments.weights), step_seconds=arguments.step)
    best = list(found["probabilities"].items())[:5]
    lines = [f"{arguments.file}: {' + '.join(found.get('labels', [found['instrument']])) or 'nothing that it knows'}"]
    lines += _table([(f"  {name}", f"{probability:.3f}") for name, probability in best])
    lines += _table([(f"  {one['start_s']:g}-{one['end_s']:g} s", one["label"]) for one in found["activity"]])
    return found, lines


def train_classifier(arguments: Namespace) -> Report:
    """``classifier train CONFIG OUTPUT``."""
    from .classifier import Classifier
    from .classify_data import read_clips
    from .classify_settings import load_classifier_settings

    if arguments.output.exists() and not arguments.overwrite:
        raise SettingsError(f"{arguments.output}: exists already; choose another name, or replace it with --overwrite")
    settings = load_classifier_settings(arguments.config, arguments.overrides)
    classifier = Classifier(settings)
    progress, close = _progress("step")
    begin = time.perf_counter()
    measured = classifier.fit(read_clips(settings.data), progress=progress)
    close()
    minutes = (time.perf_counter() - begin) / 60.0
    classifier.save(arguments.output, notes={"training_minutes": round(minutes, 2)}, overwrite=arguments.overwrite)
    result = {"weights": str(arguments.output), "classes": len(classifier.classes), "parameters": classifier.n_parameters}
    result |= {**measured, "training_minutes": minutes, "files_left_out": classifier.notes["files_left_out"]}
    return result, _table([(key, _show(value)) for key, value in result.items()])


def evaluate_classifier(arguments: Namespace) -> Report:
    """``classifier evaluate DATA...``."""
    from .classify import load_classifier
    from .classify_measure import evaluate_classifier as measure
    from .classify_table import known_clips

    classifier = load_classifier(arguments.weights)
    result, lines = {}, []
    for place in arguments.data:
        progress, close = _progress("file")
        result[str(place)] = figures = measure(classifier, known_clips(place, classifier), progress=progress)
        close()
        lines += [str(place)] + _table([(f"  {key}", _show(value)) for key, value in figures.items() if not isinstance(value, dict | list)])
        lines += [f"  {one['files']} x {one['truth']} taken for {one['said']}" for one in figures.get("confusions", [])]
    return {"data": result}, lines


def classifier_table(arguments: Namespace) -> Report:
    """``classifier table [CONFIG...]``."""
    from .classify_table import classifier_table as measure
    from .classify_table import in_order, render_phrases
    from .soundfont import find_soundfont

    configs = in_order(arguments.configs or sorted(CLASSIFIER_CONFIGS.glob("*.yaml")), arguments.overrides)
    sets = {"test": arguments.test or PHRASES, "unseen": arguments.unseen or UNSEEN_PHRASES}
    for name, place in sets.items():
        if not place.exists() and getattr(arguments, name) is None:
            font = find_soundfont(UNSEEN_FONT, arguments.soundfonts) if name == "unseen" else None
            progress, close = _progress("file")
            render_phrases(CORPUS_CONFIG, place, soundfont=font, progress=progress)
            close()
    begin = time.perf_counter()
    rows = measure(configs, sets["test"], sets["unseen"], overrides=arguments.overrides, out=arguments.out, report=_tell)
    keys = ("classifier", "accuracy", "macro_f1", "unseen_accuracy", "unseen_macro_f1", "parameters", "training_minutes", "realtime_factor")
    lines = _table([keys, *(tuple(_show(row[key]) for key in keys) for row in rows)])
    return {"classifiers": rows, "minutes": (time.perf_counter() - begin) / 60.0}, lines


def render_corpus(arguments: Namespace) -> Report:
    """``corpus render CONFIG FOLDER``."""
    from . import corpus

    progress, close = _progress("file")
    common: dict[str, Any] = {
        "seed": arguments.seed,
        "soundfont_folders": arguments.soundfonts,
        "workers": max(arguments.workers, 1),
        "progress": progress,
    }
    if arguments.split == "parallel":
        if arguments.only or arguments.samples:
            raise SettingsError("--only and --samples do not apply to --split parallel; CONFIG says which instruments play")
        font = {"soundfont": arguments.soundfont} if arguments.soundfont else {}
        manifest = corpus.render_parallel(arguments.config, arguments.out, **font, **common)
    else:
        manifest = corpus.render_corpus(
            arguments.config,
            arguments.out,
            split=arguments.split,
            soundfont=Path(arguments.soundfont) if arguments.soundfont else None,
            samples=arguments.samples,
            only=arguments.only.split(",") if arguments.only else None,
            **common,
        )
    close()
    return {"manifest": str(manifest)}, [str(manifest)]


def train(arguments: Namespace) -> Report:
    """``train CONFIG``."""
    from .config import load_settings

    settings = load_settings(arguments.config, arguments.overrides)
    from . import train as training

    weights = training.train(settings, resume=arguments.resume)
    return {"weights": str(weights)}, [str(weights)]


def evaluate_parallel(arguments: Namespace) -> Report:
    """``evaluate parallel``."""
    from .evaluate import evaluate_parallel as measure
    from .evaluate import evaluate_recordings

    model = load_model(arguments.weights)
    trained = _test_set(arguments.corpus or PARALLEL, "fluid", given=arguments.corpus is not None)
    try:
        unseen = _test_set(arguments.unseen or UNSEEN, "generaluser", given=arguments.unseen is not None)
    except MissingDependencyError as error:
        warnings.warn(f"no figures for an unseen source: {error}", ToneTransferWarning, stacklevel=2)
        unseen = None
    progress, close = _progress("recording")
    figures = measure(model, trained, unseen, progress=progress)
    close()
    if arguments.recordings:
        progress, close = _progress("recording")
        figures |= evaluate_recordings(model, arguments.recordings, RECORDINGS_ON, progress=progress)
        close()
    return dict(figures), _table([(key, _show(value)) for key, value in figures.items() if not isinstance(value, dict)])


def evaluate_timbre(arguments: Namespace) -> Report:
    """``evaluate timbre``."""
    from . import disentangle
    from .resynthesis import evaluate_resynthesis, refined

    _check_files(arguments, reads=[])
    if arguments.refine and not arguments.recordings:
        raise SettingsError("--refine fits the model to each of some recordings; name their folder with --recordings")
    model = load_model(arguments.weights)
    baseline = load_model(arguments.baseline) if arguments.baseline else None
    _render_material(arguments)
    progress, close = _progress("step")
    material = disentangle.read_material(arguments.material, model, baseline, progress=progress)
    if material.unseen is None:
        warnings.warn(f"no figures for an unseen source: {arguments.material} holds none", ToneTransferWarning, stacklevel=2)
    figures: dict[str, Any] = dict(disentangle.evaluate_timbre(material))
    if not arguments.probes_only:
        figures |= disentangle.evaluate_exchange(material, model, progress=progress)
    if arguments.recordings:
        figures |= evaluate_resynthesis(model, arguments.recordings, progress=progress)
    if arguments.refine:
        figures |= evaluate_resynthesis(model, arguments.recordings, adapt=refined, name="refined_resynthesis", progress=progress)
    close()
    if arguments.plot:
        from .plot import plot_timbre_map

        plot_timbre_map(arguments.plot, *disentangle.map_of(material.trained, model), overwrite=arguments.overwrite)
    return figures, _table(disentangle.table_rows(figures))


def _render_material(arguments: Namespace) -> None:
    """What `evaluate timbre` examines, rendered if it is not there; without the unseen font the rest goes on."""
    from .excerpts import TRAINED, UNSEEN, render_material

    if all((arguments.material / name / "manifest.json").is_file() for name in (TRAINED, UNSEEN)):
        return
    if not CORPUS_CONFIG.is_file():
        raise SettingsError(f"{arguments.material}: holds no test material, and {CORPUS_CONFIG}, from which it is made, is not here either")
    progress, close = _progress("file")
    try:
        render_material(
            CORPUS_CONFIG, arguments.material, soundfont_folders=arguments.soundfonts, samples=arguments.samples, progress=progress
        )
    except MissingDependencyError as error:
        if not (arguments.material / TRAINED / "manifest.json").is_file():
            raise
        warnings.warn(str(error), ToneTransferWarning, stacklevel=2)
    finally:
        close()


def _test_set(folder: Path, font: str, *, given: bool) -> Path:
    """A folder of parallel performances; one that was not asked for by name is rendered if it is not there."""
    if (folder / "manifest.json").is_file():
        return folder
    render = f"tonetransfer corpus render {CORPUS_CONFIG} {folder} --split parallel --soundfont {font}"
    if given or not CORPUS_CONFIG.is_file():
        raise SettingsError(f"{folder}: holds no test set (manifest.json); make one with `{render}`")
    from .corpus import render_parallel

    progress, close = _progress("file")
    render_parallel(CORPUS_CONFIG, folder, soundfont=font, progress=progress)
    close()
    return folder


def note_name(midi: float) -> str:
    """Name of the nearest note: 60 is C4."""
    number = round(midi)
    return f"{NOTES[number % 12]}{number // 12 - 1}"


def _check_files(arguments: Namespace, *, reads: Sequence[Path | None]) -> None:
    """Refuse at once what could not be written in the end."""
    output, plot, saved, kept = (getattr(arguments, name, None) for name in ("output", "plot", "save", "keep"))
    sources = [path for path in (*reads, getattr(arguments, "weights", None)) if path and path.exists()]
    for path in (path for path in (output, plot, saved, kept) if path and path.exists()):
        if any(path.samefile(source) for source in sources):
            raise AudioError(f"{path} is a source itself; another file is wanted for the result: choose another name")
    if output:
        check_output(output, overwrite=arguments.overwrite)
    if plot:
        from .plot import check_picture

        check_picture(plot, overwrite=arguments.overwrite)
    if saved and saved.exists() and not (saved.is_file() and arguments.overwrite):
        raise ControlsError(f"{saved} exists; a new file is wanted: choose another name, or replace it with --overwrite")
    if saved and not saved.parent.is_dir():
        raise ControlsError(f"{saved} cannot be written: there is no folder {saved.parent}; make it first, or choose another")
    if kept:
        _check_kept(kept, overwrite=arguments.overwrite)
    written = [path.absolute() for path in (output, plot, saved, kept) if path]
    if len(set(written)) < len(written):
        raise AudioError("two results are to go into one file; give each a name of its own")


def _check_kept(path: Path, *, overwrite: bool) -> None:
    if path.suffix != WEIGHTS_ENDING:
        raise SettingsError(f"{path}: an instrument is kept in a file ending in {WEIGHTS_ENDING}; choose such a name")
    if path.is_dir() or (path.exists() and not overwrite):
        raise SettingsError(f"{path} exists; a new file is wanted: choose another name, or replace it with --overwrite")
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"{path} cannot be written: there is no folder {path.parent}; make it first, or choose another")


def _open_target(arguments: Namespace) -> tuple[TimbreModel, Target, str]:
    """Model, timbre and its name, of ``--to``, ``--like`` or ``--mix``."""
    to, weights = arguments.to, arguments.weights
    if arguments.refine and not arguments.like:
        raise SettingsError("--refine fits the model to a recording of the instrument; give one with --like")
    if arguments.keep and not arguments.refine:
        raise SettingsError("--keep keeps a refined instrument; it wants --like and --refine")
    if to and WEIGHTS_ENDING in to:
        if weights:
            raise SettingsError("--to names a weights file, and so does --weights; give one of them")
        file, _, name = to.partition(f"{WEIGHTS_ENDING}:") if f"{WEIGHTS_ENDING}:" in to else (to.removesuffix(WEIGHTS_ENDING), "", "")
        weights = Path(file + WEIGHTS_ENDING)
        model = load_model(weights)
        if not model.names:
            raise InstrumentError(f"{weights}: holds no named instrument; use it with --weights and --like")
        to = name or model.names[0]
    else:
        model = load_model(weights)
    if arguments.refine:
        model = _refined(arguments, model)
        return model, find_target(model, model.sample_rate, to=model.names[0]), arguments.like.name
    like = load_audio(arguments.like) if arguments.like else None
    target = find_target(model, model.sample_rate, to=to, like=like, mix=arguments.mix, tracker=_tracker(arguments))
    if to:
        return model, target, model.instrument(to).name
    return model, target, arguments.like.name if arguments.like else " + ".join(arguments.mix)


def _refined(arguments: Namespace, model: TimbreModel) -> TimbreModel:
    """The model fitted to ``--like``, and kept if that was asked for."""
    progress, close = _progress("step", "refining")
    like, name = load_audio(arguments.like), arguments.like.stem
    refined = refine(*like, model, name=name, tracker=_tracker(arguments), seed=arguments.seed, progress=progress)
    close()
    if arguments.keep:
        save_model(arguments.keep, refined, notes={"refined": arguments.like.name}, overwrite=arguments.overwrite)
    return refined


def _arrange(arguments: Namespace, heard: Controls, target: Target) -> Arrangement:
    return arrange(
        heard,
        target,
        transpose=arguments.transpose,
        loudness_db=arguments.loudness,
        fit=arguments.fit,
        autotune=arguments.autotune,
        scale=arguments.scale,
        dynamics=arguments.dynamics,
    )


def _write(
    arguments: Namespace, arrangement: Arrangement, model: TimbreModel, target: Target, n_samples: int
) -> tuple[float, torch.Tensor]:
    """Play into the output file; the peak before anything was turned down, and the first minute as it was written."""
    beginning: list[torch.Tensor] = []
    with (
        AudioWriter(arguments.output, model.sample_rate, overwrite=arguments.overwrite) as writer,
        tqdm(total=round(n_samples / model.sample_rate), unit="s", desc="playing", disable=None, leave=False) as bar,
    ):
        options = {"seed": arguments.seed, "noise_db": arguments.noise, "room": arguments.room}
        for piece in play(arrangement, model, target.z, n_samples=n_samples, **options):
            if writer.n_samples < KEPT_S * model.sample_rate:
                beginning.append(piece)
            writer.write(piece)
            bar.update(len(piece) / model.sample_rate)
    return writer.peak, torch.cat(beginning) / max(writer.peak, 1.0)


def _report(arguments: Namespace, arrangement: Arrangement, name: str, n_samples: int, peak: float, elapsed: float) -> Report:
    seconds = n_samples / arrangement.asked.grid.sample_rate
    result = {
        "output": str(arguments.output),
        "instrument": name,
        "seconds": seconds,
        "sample_rate_hz": arrangement.asked.grid.sample_rate,
        "transpose_semitones": arrangement.transposed,
        **_summarize(arrangement.asked, arrangement.notes),
        "peak": min(peak, 1.0),
        "elapsed_seconds": elapsed,
        "realtime_factor": seconds / elapsed,
    }
    moved = f", transposed by {arrangement.transposed:+g} semitones" if arrangement.transposed else ""
    return result, [f"{arguments.output}: {seconds:.1f} s of {name}{moved}, in {elapsed:.1f} s ({seconds / elapsed:.0f}x real time)"]


def _summarize(controls: Controls, notes: torch.Tensor | None = None) -> dict[str, float]:
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


def _tracker(arguments: Namespace) -> str:
    return arguments.tracker or DEFAULT_TRACKER


def _progress(unit: str, what: str | None = None) -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """A progress bar as a function of (done, total), and what closes it."""
    bar = tqdm(unit=unit, desc=what, disable=None, leave=what is None)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show, bar.close


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
