"""What each verb of the command line does: a few calls of the functions above, with files around them.

Each takes the parsed arguments and returns what it found: a mapping for ``--json``, and lines for people.
"""

from __future__ import annotations

import filecmp
import re
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..atomic import check_new
from ..audio.files import AudioWriter, LongAudio, check_output, load_audio, open_audio
from ..audio.frames import FrameGrid
from ..audio.units import note_name
from ..controls.controls import Controls, extract
from ..controls.profile import Target
from ..controls.recording_checks import warn_if_same
from ..errors import AudioError, ControlsError, InstrumentError, MissingDependencyError, SettingsError, ToneTransferWarning
from ..models.hub import fetch, is_address, parse_address
from ..models.timbre_model import TimbreModel
from ..models.weights import find_weights, load_model, read_notes, save_model
from ..pipeline.refine import refine
from ..pipeline.target import find_target, nearest_timbres
from ..pipeline.transfer import Arrangement, arrange, play, warn_about
from ..pitch.estimators import DEFAULT_TRACKER
from ..threads import one_thread, trim_malloc

Report = tuple[dict[str, Any], list[str]]

WEIGHTS_ENDING, SCRIPT_ENDING = ".safetensors", ".ts"
TRACK, AUTO = re.compile(r"\d+="), "auto"  # of --to: for one track; by General MIDI
KEPT_S = 60  # of a result, to be drawn
PARALLEL, UNSEEN = Path("corpus/parallel"), Path("corpus/unseen")
CORPUS_CONFIG = Path("configs/corpus.yaml")
CLASSIFIER_CONFIGS = Path("configs/classify")
PHRASES, UNSEEN_PHRASES = Path("corpus/classify_test"), Path("corpus/classify_unseen")
UNSEEN_FONT = "GeneralUser-v1.47.sf2"
RECORDINGS_ON = ("violin", "trumpet", "flute", "cello")


def transfer(arguments: Namespace) -> Report:
    """``transfer SOURCE OUTPUT``."""
    if (arguments.to or "").endswith(SCRIPT_ENDING):
        return _transfer_foreign(arguments)
    _check_files(arguments, reads=[arguments.source, arguments.like])
    model, target, name = _open_target(arguments)
    begin = time.perf_counter()
    with one_thread():
        audio, _ = open_audio(arguments.source, model.sample_rate)
        if isinstance(audio, LongAudio):
            trim_malloc()
        heard = extract(audio, model.grid, tracker=_tracker(arguments))
        warn_about(audio, heard)
        if arguments.like and filecmp.cmp(arguments.source, arguments.like, shallow=False):
            warn_if_same()
        arrangement = _arrange(arguments, heard, target)
        peak, beginning = _write(arguments, arrangement, model, target, len(audio))
    elapsed = time.perf_counter() - begin
    if arguments.plot:
        from ..analysis.plots import plot_transfer

        again = extract(beginning, model.grid, tracker=_tracker(arguments))
        title = f"{arguments.source.name} on {name}"
        plot_transfer(arguments.plot, audio[:], heard, beginning, again, title=title, overwrite=arguments.overwrite)
    return _report(arguments, arrangement, name, len(audio), peak, elapsed)


def _transfer_foreign(arguments: Namespace) -> Report:
    """``transfer SOURCE OUTPUT --to MODEL.ts --trust``."""
    from ..pipeline.ddsp_pytorch import load_foreign, play_foreign

    _check_files(arguments, reads=[arguments.source])
    if arguments.autotune or arguments.loudness or arguments.plot or arguments.refine:
        raise SettingsError("--autotune, --loudness, --plot and --refine do not apply to a model of another program; leave them out")
    model = load_foreign(arguments.to, trust=arguments.trust)
    begin = time.perf_counter()
    audio, sample_rate = load_audio(arguments.source)
    semitones = 0.0 if arguments.transpose == "auto" else arguments.transpose
    sound = play_foreign(audio, sample_rate, model, transpose=semitones, fit=arguments.fit, tracker=_tracker(arguments))
    with AudioWriter(arguments.output, model.grid.sample_rate, overwrite=arguments.overwrite) as writer:
        writer.write(sound)
    seconds, elapsed = len(sound) / model.grid.sample_rate, time.perf_counter() - begin
    result = {
        "output": str(arguments.output),
        "instrument": Path(arguments.to).name,
        "seconds": seconds,
        "sample_rate_hz": model.grid.sample_rate,
        "transpose_semitones": semitones,
        "peak": min(writer.peak, 1.0),
        "elapsed_seconds": elapsed,
        "realtime_factor": seconds / elapsed,
    }
    return result, [
        f"{arguments.output}: {seconds:.1f} s of {result['instrument']}, in {elapsed:.1f} s ({seconds / elapsed:.0f}x real time)"
    ]


def export(arguments: Namespace) -> Report:
    """``export OUTPUT --format F``."""
    from ..export.export import export as write

    weights, name, z = arguments.weights, None, None
    if arguments.to or arguments.mix:
        model, target, name = _open_target(arguments)
        z = target.z if arguments.mix else None
        weights = Path(arguments.to.rpartition(WEIGHTS_ENDING)[0] + WEIGHTS_ENDING) if WEIGHTS_ENDING in (arguments.to or "") else weights
    else:
        model = load_model(weights)
    card = write(
        arguments.output, model, format=arguments.format, instrument=name, z=z, notes=read_notes(weights), overwrite=arguments.overwrite
    )
    sizes = ", ".join(f"{file} ({size / 1e6:.1f} MB)" for file, size in card["files"].items())
    late = f", latency {card['latency_ms']} ms" if "latency_ms" in card else ""
    tested = "".join(f"\n  {key}: {value}" for key, value in card.get("test", {}).items())
    return card, [f"{sizes}: {card['what']}{late}{tested}"]


def bench(arguments: Namespace) -> Report:
    """``bench``."""
    from ..benchmarks.benchmark import bench as measure
    from ..benchmarks.benchmark import table_lines, write_page

    if arguments.out and not arguments.out.absolute().parent.is_dir():
        raise SettingsError(
            f"{arguments.out} cannot be written: there is no folder {arguments.out.parent}; make it first, or choose another"
        )
    result = measure(arguments.source, hour=arguments.hour, peers=arguments.peers, report=_tell)
    if arguments.out:
        write_page(arguments.out, result)
    return result, table_lines(result)


def synthesize(arguments: Namespace) -> Report:
    """``synthesize CONTROLS.npz OUTPUT``."""
    _check_files(arguments, reads=[arguments.controls, arguments.like])
    controls = Controls.load(arguments.controls)
    if controls.f0_hz.dim() != 1:
        shape = tuple(controls.f0_hz.shape)
        raise ControlsError(f"{arguments.controls} holds controls of the shape {shape}; one performance, (n_frames,), is wanted")
    model, target, name = _open_target(arguments)
    begin = time.perf_counter()
    with one_thread():
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
    from ..analysis.descriptors import analyze_timbre, notes_of, summarize
    from ..analysis.spectral_shape import ROLLOFF_PERCENT
    from ..analysis.techniques import find_techniques
    from .tables import analysis_lines

    _check_files(arguments, reads=[arguments.file])
    grid = FrameGrid()
    with one_thread():
        audio, _ = load_audio(arguments.file, grid.sample_rate)
        controls = extract(audio, grid, tracker=_tracker(arguments))
    warn_about(audio, controls)
    analysis = analyze_timbre(audio, controls, rolloff_percent=tuple(dict.fromkeys([*ROLLOFF_PERCENT, *arguments.rolloff])))
    if arguments.save:
        controls.save(arguments.save, overwrite=arguments.overwrite)
    if arguments.plot:
        from ..analysis.plots import plot_analysis

        plot_analysis(arguments.plot, audio, controls, title=arguments.file.name, overwrite=arguments.overwrite)
    result = {"file": str(arguments.file), "seconds": len(audio) / grid.sample_rate, **_summarize(controls), **summarize(analysis)}
    result["notes"] = [{"note": note_name(note["f0_midi"]), **note} for note in notes_of(analysis)]
    result["techniques"] = [one.to_dict() for one in find_techniques(analysis)]
    written = {"controls": arguments.save, "plot": arguments.plot}
    result |= {key: str(path) for key, path in written.items() if path}
    return result, analysis_lines(result)


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


def live(arguments: Namespace) -> Report:
    """``live``."""
    from ..realtime import devices as playing

    if arguments.list_devices:
        return _devices()
    arguments.output = arguments.simulate[1] if arguments.simulate else None
    _check_files(arguments, reads=[arguments.like, *(arguments.simulate or [])[:1]])
    if arguments.midi and arguments.simulate:
        raise SettingsError("--simulate takes a recording; to hear a MIDI file offline use `tonetransfer play SCORE.mid OUTPUT`")
    model, target, name = _open_target(arguments)
    if arguments.simulate:
        return _simulate(arguments, model, target, name)
    devices = playing.sound_devices()
    output_device = playing.find_device(devices, arguments.output_device, "output")
    common = {"output_device": output_device, "block_length": arguments.block, "seconds": arguments.seconds, "tick": _live_status()}
    if arguments.midi:
        report = _live_midi(arguments, model, target, devices, common)
    else:
        stream = _stream(arguments, model, target)
        input_device = playing.find_device(devices, arguments.input_device, "input")
        later_ms = 1e3 * stream.latency_samples / model.sample_rate
        _tell(f"{name}: sound comes {later_ms:.0f} ms and the devices' own time later; Ctrl-C ends it")
        report = playing.play_live(stream, model.sample_rate, devices, input_device=input_device, **common)
    return _live_report(report.to_dict() | {"instrument": name})


def play_midi(arguments: Namespace) -> Report:
    """``play SCORE.mid OUTPUT``."""
    from ..realtime.midi_files import duration_s, read_score
    from ..realtime.midi_playback import TAIL_S, play_score

    _check_files(arguments, reads=[arguments.score, arguments.like])
    if arguments.autotune:
        raise SettingsError("--autotune pulls the pitch of a recording; a MIDI file says its notes itself: leave it out")
    parts, performers, names = _performers(arguments, read_score(arguments.score, top=arguments.voices == "top"))
    begin, rate = time.perf_counter(), performers[0].model.sample_rate
    with (
        one_thread(),
        AudioWriter(arguments.output, rate, overwrite=arguments.overwrite) as writer,
        tqdm(total=round(duration_s(parts) + TAIL_S), unit="s", desc="playing", disable=None, leave=False) as bar,
    ):
        for piece in play_score(parts, performers, seed=arguments.seed, noise_db=arguments.noise, hall=arguments.hall):
            writer.write(piece)
            bar.update(len(piece) / rate)
    elapsed, seconds = time.perf_counter() - begin, writer.n_samples / rate
    result = {
        "output": str(arguments.output),
        "instrument": ", ".join(dict.fromkeys(names)),
        "seconds": seconds,
        "sample_rate_hz": rate,
        "transpose_semitones": performers[0].settings.transpose,
        "voices": [
            {"name": part.name, "instrument": name, "transpose_semitones": performer.settings.transpose, "notes": part.n_notes}
            for part, name, performer in zip(parts, names, performers, strict=True)
        ],
        "notes": sum(part.n_notes for part in parts),
        "peak": min(writer.peak, 1.0),
        "elapsed_seconds": elapsed,
        "realtime_factor": seconds / elapsed,
    }
    line = f"{arguments.output}: {seconds:.1f} s of {result['instrument']}, {result['notes']} notes in {len(parts)} voices"
    return result, [f"{line}, in {elapsed:.1f} s ({seconds / elapsed:.0f}x real time)"]


def classify(arguments: Namespace) -> Report:
    """``classify FILE``."""
    from ..classification.classify import classify_file, load_classifier

    found = classify_file(arguments.file, load_classifier(arguments.weights), step_seconds=arguments.step)
    best = list(found["probabilities"].items())[:5]
    lines = [f"{arguments.file}: {' + '.join(found.get('labels', [found['instrument']])) or 'nothing that it knows'}"]
    lines += _table([(f"  {name}", f"{probability:.3f}") for name, probability in best])
    lines += _table([(f"  {one['start_s']:g}-{one['end_s']:g} s", one["label"]) for one in found["activity"]])
    return found, lines


def train_classifier(arguments: Namespace) -> Report:
    """``classifier train CONFIG OUTPUT``."""
    from ..classification.classifier import Classifier
    from ..classification.clips import read_clips
    from ..classification.settings import load_classifier_settings

    check_new(arguments.output, SettingsError, overwrite=arguments.overwrite)
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
    from ..classification.classify import load_classifier
    from ..classification.evaluation import evaluate_classifier as measure
    from ..classification.table import known_clips

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
    from ..classification.table import classifier_table as measure
    from ..classification.table import in_order, render_phrases
    from ..data.soundfont import find_soundfont

    every = sorted(path for path in CLASSIFIER_CONFIGS.glob("*.yaml") if path.stem != "bundled")  # which hears another font besides
    configs = in_order(arguments.configs or every, arguments.overrides)
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
    from ..data import render_corpus as corpus

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


def doctor(arguments: Namespace) -> Report:
    """``doctor FOLDER``."""
    from ..data.doctor import examine_folder, report_lines
    from ..data.jobs import usable_cores

    _check_files(arguments, reads=[])
    progress, close = _progress("s", "examining")
    found = examine_folder(arguments.folder, tracker=_tracker(arguments), workers=arguments.workers or usable_cores(), progress=progress)
    close()
    if arguments.plot:
        from ..data.doctor_plot import plot_doctor

        plot_doctor(arguments.plot, found, overwrite=arguments.overwrite)
        found["plot"] = str(arguments.plot)
    return found, report_lines(found)


def prepare(arguments: Namespace) -> Report:
    """``prepare FOLDER OUT``."""
    from ..data.jobs import usable_cores
    from ..data.prepare import prepare as make
    from ..data.prepare import report_lines, summarize

    progress, close = _progress("s", "preparing")
    try:
        prepared = make(
            arguments.folder,
            arguments.out,
            tracker=_tracker(arguments),
            licence=arguments.licence,
            force=arguments.force,
            overwrite=arguments.overwrite,
            engine=arguments.engine,
            workers=arguments.workers or usable_cores(),
            scheduler=arguments.scheduler,
            progress=progress,
        )
    finally:
        close()
    result = summarize(prepared)
    return result, report_lines(result)


def train(arguments: Namespace) -> Report:
    """``train CONFIG``."""
    from ..training.finetuning_settings import SoloSettings, read_settings

    changes = [] if arguments.start is None else [f"train.start={'null' if arguments.start == 'none' else arguments.start}"]
    changes += [] if arguments.room else ["room.learn=false"]
    settings = read_settings(arguments.config, arguments.overrides + changes)
    if isinstance(settings, SoloSettings):
        return _train_solo(settings, resume=arguments.resume, alone=arguments.is_program)
    from ..training import pretraining as training

    weights = training.train(settings, resume=arguments.resume)
    return {"weights": str(weights)}, [str(weights)]


def _train_solo(settings: Any, *, resume: bool, alone: bool) -> Report:
    """One instrument: what it is like before and after. `alone`: this command is the process, and may be begun again beside itself."""
    from ..benchmarks.finetuning_measure import measure_solo
    from ..data.dataset import Prepared
    from ..training.finetuning import processes_for, train_solo

    if alone and settings.train.devices == "auto":
        settings = settings.model_copy(update={"train": settings.train.model_copy(update={"devices": processes_for(settings)})})
    weights, notes = train_solo(settings, lambda grid: Prepared(settings.data.prepared, grid), measure_solo, resume=resume)
    keys = ("steps", "before", "after", "alarms", "minutes", "processor_minutes")
    result = {"weights": str(weights), "card": str(weights.with_suffix(".md"))} | {key: notes[key] for key in keys}
    lines = [f"{weights}: {notes['steps']} steps in {notes['minutes']:.1f} minutes; play it with transfer --to {weights}"]
    lines += _table([(f"  {key}", _show(value), "->", _show(notes["after"][key])) for key, value in notes["before"].items()])
    return result, lines + [f"  alarm: {text}" for text in notes["alarms"].values()]


def push(arguments: Namespace) -> Report:
    """``push FILE hf://OWNER/REPO``."""
    from ..models.hub import push as send

    address = send(find_weights(arguments.file), arguments.address, private=arguments.private)
    return {"url": address}, [address]


def pull(arguments: Namespace) -> Report:
    """``pull hf://OWNER/REPO [OUTPUT]``."""
    from ..models.hub import pull as fetch

    path = fetch(arguments.address, arguments.output, overwrite=arguments.overwrite)
    names = load_model(path).names
    return {"weights": str(path), "instruments": names}, [f"{path}: {', '.join(names) or 'no named instrument'}"]


def evaluate_finetune(arguments: Namespace) -> Report:
    """``evaluate finetune``."""
    from ..benchmarks.finetuning import evaluate_finetune as measure
    from ..benchmarks.finetuning import render_material
    from ..training.finetuning_settings import SoloSettings, read_settings

    settings = read_settings(arguments.config, arguments.overrides)
    if not isinstance(settings, SoloSettings):
        raise SettingsError(f"{arguments.config}: trains many instruments; a file with `kind: solo` is wanted")
    progress, close = _progress("file")
    render_material(CORPUS_CONFIG, arguments.material, soundfont_folders=arguments.soundfonts, progress=progress)
    close()
    figures = measure(
        arguments.material,
        settings,
        seconds=arguments.seconds,
        performances=arguments.performances,
        only=arguments.only.split(",") if arguments.only else None,
        weights=arguments.weights,
        report=_tell,
    )
    keys = [key for key, value in figures.items() if not isinstance(value, dict | list)]
    return figures, _table([(key, _show(figures[key])) for key in keys])


def evaluate_parallel(arguments: Namespace) -> Report:
    """``evaluate parallel``."""
    from ..evaluation.transfer_quality import evaluate_parallel as measure
    from ..evaluation.transfer_quality import evaluate_recordings

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


def evaluate_report(arguments: Namespace) -> Report:
    """``evaluate report [REFERENCE ESTIMATE]``."""
    from ..classification.classify import load_classifier
    from ..evaluation.report.build import check_report, write_report

    check_report(arguments.out, overwrite=arguments.overwrite)
    model, classifier = load_model(arguments.weights), load_classifier(arguments.classifier)
    examples = _report_examples(arguments, model)
    progress, close = _progress("example")
    begin = time.perf_counter()
    findings, files = write_report(
        arguments.out,
        examples,
        model,
        classifier,
        title=arguments.title,
        n_shown=arguments.shown,
        megabytes=arguments.megabytes,
        seed=arguments.seed,
        weights=arguments.weights.name if arguments.weights else "bundled",
        classifier_weights=arguments.classifier.name if arguments.classifier else "bundled",
        settings={"match_level": True} if arguments.match_level else None,
        overwrite=arguments.overwrite,
        progress=progress,
    )
    close()
    if left_out := findings["left_out"]:
        named = "; ".join(left_out[:3])
        warnings.warn(f"{len(left_out)} files left out or incomplete, named in {files.figures}: {named}", ToneTransferWarning, stacklevel=2)
    result = {key: findings[key] for key in ("examples", "metrics", "frechet", "left_out")}
    result |= {"page": str(files.page), "figures": str(files.figures), "shown": files.n_shown, "page_megabytes": files.megabytes}
    rows = [("metric", "mean", "95 % interval", "n")]
    rows += [(key, _show(x["mean"]), f"{_show(x['low'])} to {_show(x['high'])}", str(x["count"])) for key, x in findings["metrics"].items()]
    told = (
        f"{files.page}: {findings['examples']} examples, {files.n_shown} to be heard, {files.megabytes:.1f} MB; figures in {files.figures}"
    )
    return result | {"elapsed_seconds": time.perf_counter() - begin}, [*_table(rows), told]


def _report_examples(arguments: Namespace, model: TimbreModel) -> Any:
    """What ``evaluate report`` is about."""
    from ..evaluation.report import examples as report_sets

    folders = arguments.folders
    if len(folders) not in (0, 2):
        raise SettingsError(f"{len(folders)} folders came; REFERENCE and ESTIMATE are wanted, or none, for transfers that are made now")
    if bool(folders) + bool(arguments.recordings) + bool(arguments.corpus) > 1:
        raise SettingsError("two folders to compare, --recordings and --corpus ask for different reports; give one of them")
    if (arguments.source or arguments.match_level) and not folders:
        raise SettingsError("--source and --match-level belong to two folders that are compared; name REFERENCE and ESTIMATE, too")
    if arguments.on and not arguments.recordings:
        raise SettingsError("--on says what recordings are played on; name their folder with --recordings")
    if folders:
        reference, estimate = folders
        return report_sets.pairs_of_folders(reference, estimate, arguments.source, model.grid, match_level=arguments.match_level)
    if arguments.recordings:
        instruments = arguments.on.split(",") if arguments.on else RECORDINGS_ON
        return report_sets.transfers_of_recordings(model, arguments.recordings, instruments, play_seed=arguments.seed)
    corpus = _test_set(arguments.corpus or PARALLEL, "fluid", given=arguments.corpus is not None)
    return report_sets.transfers_of_corpus(model, corpus, count=arguments.transfers, seed=arguments.seed, play_seed=arguments.seed)


def evaluate_techniques(arguments: Namespace) -> Report:
    """``evaluate techniques``."""
    from ..benchmarks.technique_detection import evaluate_techniques as measure
    from ..benchmarks.technique_etudes import SOUNDFONT
    from ..data.soundfont import find_soundfont

    if arguments.etudes < 1:
        raise SettingsError("--etudes 0; at least 1 is wanted, and some 20 to trust the figures")
    font = None if arguments.synthesizer_only else find_soundfont(SOUNDFONT, arguments.soundfonts)
    progress, close = _progress("etude")
    result = measure(font, n_etudes=arguments.etudes, first_seed=arguments.seed, tracker=_tracker(arguments), progress=progress)
    close()
    keys = ("precision", "recall", "f1", "n_true", "n_found", "n_right")
    rows = [(name, *(_show(round(scores[key], 3)) for key in keys)) for name, scores in result["techniques"].items()]
    lines = _table([("technique", *keys), *rows, ("mean", "", "", f"{result['mean_f1']:.3f}", "", "", "")])
    return result, lines


def evaluate_timbre(arguments: Namespace) -> Report:
    """``evaluate timbre``."""
    from ..benchmarks import disentanglement as disentangle
    from ..evaluation.resynthesis import evaluate_resynthesis, refined

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
        from ..analysis.plots import plot_timbre_map

        plot_timbre_map(arguments.plot, *disentangle.map_of(material.trained, model), overwrite=arguments.overwrite)
    return figures, _table(disentangle.table_rows(figures))


def _render_material(arguments: Namespace) -> None:
    """What `evaluate timbre` examines, rendered if it is not there; without the unseen font the rest goes on."""
    from ..benchmarks.excerpts import TRAINED, UNSEEN, render_material

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
    from ..data.render_corpus import render_parallel

    progress, close = _progress("file")
    render_parallel(CORPUS_CONFIG, folder, soundfont=font, progress=progress)
    close()
    return folder


def _devices() -> Report:
    """Sound devices and MIDI inputs."""
    from ..realtime.devices import list_devices, sound_devices
    from ..realtime.midi_playback import midi_ports

    found = list_devices(sound_devices())
    try:
        ports = midi_ports()
    except MissingDependencyError:
        ports = []
    rows: list[tuple[str, ...]] = [("number", "device", "inputs", "outputs", "Hz", "default")]
    for one in found:
        default = " ".join(kind for kind in ("input", "output") if one[f"default_{kind}"])
        numbers = (one["input_channels"], one["output_channels"], round(one["sample_rate_hz"]))
        rows.append((str(one["number"]), str(one["name"]), *map(str, numbers), default))
    return {"devices": found, "midi_inputs": ports}, _table(rows) + [f"MIDI input: {port}" for port in ports]


def _stream(arguments: Namespace, model: TimbreModel, target: Target) -> Any:
    from ..realtime.stream import Stream, StreamSettings

    settings = StreamSettings(
        look_ahead_s=arguments.look_ahead / 1e3,
        path_frames=arguments.path_frames,
        transpose=arguments.transpose,
        loudness_db=arguments.loudness,
        loudest_db=arguments.loudest,
        fit=arguments.fit,
        seed=arguments.seed,
    )
    return Stream(model, target, settings)


def _simulate(arguments: Namespace, model: TimbreModel, target: Target, name: str) -> Report:
    from ..realtime.devices import simulate

    audio, _ = load_audio(arguments.simulate[0], model.sample_rate)
    sound, report = simulate(_stream(arguments, model, target), audio.numpy(), arguments.block or 480)
    with AudioWriter(arguments.output, model.sample_rate, overwrite=arguments.overwrite) as writer:
        writer.write(torch.from_numpy(sound))
    return _live_report(report.to_dict() | {"instrument": name, "output": str(arguments.output)})


def _performers(arguments: Namespace, parts: Sequence[Any]) -> tuple[Sequence[Any], list[Any], list[str]]:
    """The parts that are played, and who plays each of them, with names: ``--to`` for all, or for a track."""
    from ..realtime.midi_playback import Performer

    parts, wanted = _cast(arguments, parts)
    load = lru_cache(load_model)  # one model for all of its instruments
    opened = {to: _open_target(Namespace(**{**vars(arguments), "to": to}), load) for to in dict.fromkeys(wanted)}
    if len(rates := {model.sample_rate for model, *_ in opened.values()}) > 1:
        raise SettingsError(f"the instruments have sample rates of {' and '.join(map(str, sorted(rates)))} Hz; take those of one rate")
    own = {to: [part for part, its in zip(parts, wanted, strict=True) if its == to] for to in opened}
    settings = {to: _key_settings(arguments, own[to], target) for to, (_, target, _) in opened.items()}
    _warn_of_range([(name, target, own[to], settings[to].transpose) for to, (_, target, name) in opened.items()])
    return parts, [Performer(*opened[to][:2], settings[to]) for to in wanted], [opened[to][2] for to in wanted]


def _cast(arguments: Namespace, parts: Sequence[Any]) -> tuple[Sequence[Any], list[str | None]]:
    """The parts that somebody plays, and what ``--to`` says of each; None for ``--like`` and ``--mix``."""
    from ..realtime.general_midi import player

    plain = [to for to in arguments.to or () if not TRACK.match(to)]
    given = {int(number): to for number, _, to in (to.partition("=") for to in arguments.to or () if TRACK.match(to))}
    there = sorted({part.number for part in parts})
    if len(plain) > 1:
        raise SettingsError(f"--to names {' and '.join(plain)} for all tracks; give one for all, and others as NUMBER=NAME for a track")
    if missing := sorted(set(given) - set(there)):
        tracks = ", ".join(map(str, there))
        raise SettingsError(f"--to {missing[0]}={given[missing[0]]}: there are no notes in a track of this number; there are in {tracks}")
    if not plain and given and (others := [number for number in there if number not in given]):
        raise SettingsError(f"--to says nothing of track {others[0]}; give an instrument for all the others, too: --to NAME")
    every = plain[0] if plain else None
    wanted = [given.get(part.number, player(part.program) if every == AUTO else every) for part in parts]
    if every != AUTO:
        return parts, wanted
    played = [(part, to) for part, to in zip(parts, wanted, strict=True) if to is not None]
    if not played:
        raise SettingsError("--to auto: all the programs in this file are percussion or effects without pitch; name an instrument")
    if len(played) < len(parts):
        names = ", ".join(f"{part.name} (program {part.program + 1})" for part, to in zip(parts, wanted, strict=True) if to is None)
        warnings.warn(f"percussion and effects without pitch are left out: {names}", ToneTransferWarning, stacklevel=2)
    return [part for part, _ in played], [to for _, to in played]


def _warn_of_range(casts: Sequence[tuple[str, Target, Sequence[Any], float]]) -> None:
    from ..realtime.midi_playback import outside_share

    told = []
    for name, target, parts, transpose in casts:
        if (share := outside_share(parts, target, transpose)) > 0.05:
            told.append(f"{100 * share:.0f} % of the notes lie outside what {name} plays ({_reach(target)})")
    if told:
        warnings.warn(f"{'; '.join(told)}; --transpose moves them", ToneTransferWarning, stacklevel=2)


def _reach(target: Target) -> str:
    return f"{note_name(target.lowest_midi)}-{note_name(target.highest_midi)}"


def _live_midi(arguments: Namespace, model: TimbreModel, target: Target, devices: Any, common: dict[str, Any]) -> Any:
    """Play a MIDI file or keyboard through the loudspeaker."""
    from ..realtime.devices import play_live
    from ..realtime.midi_files import ENDINGS, duration_s, read_score
    from ..realtime.midi_playback import TAIL_S, KeyedVoice, open_port

    if Path(arguments.midi).suffix.lower() in ENDINGS:
        parts = read_score(Path(arguments.midi))
        if len(parts) > 1:
            warnings.warn(f"{arguments.midi} has {len(parts)} voices; the highest notes are played", ToneTransferWarning, stacklevel=2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they were given
                parts = read_score(Path(arguments.midi), top=True)
        voice = KeyedVoice(model, target, _key_settings(arguments, parts, target), events=parts[0].events, seed=arguments.seed)
        common["seconds"] = common["seconds"] or duration_s(parts) + TAIL_S
        return play_live(voice, model.sample_rate, devices, **common)
    voice = KeyedVoice(model, target, _key_settings(arguments, (), target), seed=arguments.seed)
    port = open_port(arguments.midi, voice)
    try:
        return play_live(voice, model.sample_rate, devices, **common)
    finally:
        port.close()


def _key_settings(arguments: Namespace, parts: Sequence[Any], target: Target) -> Any:
    from ..realtime.midi_controller import KeySettings
    from ..realtime.midi_playback import octave_of

    transpose = arguments.transpose
    if transpose == "auto":
        transpose = octave_of(parts, target) if parts else 0.0
    return KeySettings(
        attack_s=arguments.attack,
        decay_s=arguments.decay,
        sustain_db=arguments.sustain,
        release_db_per_s=arguments.release,
        velocity_curve=arguments.velocity_curve * arguments.dynamics,
        transpose=transpose,
        loudness_db=arguments.loudness,
    )


def _live_status() -> Callable[[Any], None]:
    """Tells of xruns when they come."""
    told = 0

    def tell(report: Any) -> None:
        nonlocal told
        if report.xruns > told:
            told = report.xruns
            _tell(f"{told} xruns: the devices had to wait; a larger --block helps")

    return tell


def _live_report(result: dict[str, Any]) -> Report:
    line = f"{result['seconds']:.1f} s of {result['instrument']}, {result['latency_ms']:.0f} ms later, {result['xruns']} xruns"
    line += f"; a block took {result['compute_median_ms']:.2f} ms, 99 % of them less than {result['compute_p99_ms']:.2f} ms"
    return result, [line]


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
        from ..analysis.plots import check_picture

        check_picture(plot, overwrite=arguments.overwrite)
    if saved:
        check_new(saved, ControlsError, overwrite=arguments.overwrite)
    if kept:
        _check_kept(kept, overwrite=arguments.overwrite)
    written = [path.absolute() for path in (output, plot, saved, kept) if path]
    if len(set(written)) < len(written):
        raise AudioError("two results are to go into one file; give each a name of its own")


def _check_kept(path: Path, *, overwrite: bool) -> None:
    if path.suffix != WEIGHTS_ENDING:
        raise SettingsError(f"{path}: an instrument is kept in a file ending in {WEIGHTS_ENDING}; choose such a name")
    check_new(path, SettingsError, overwrite=overwrite)


def _open_target(arguments: Namespace, load: Callable[[Path | None], TimbreModel] = load_model) -> tuple[TimbreModel, Target, str]:
    """Model, timbre and its name, of ``--to``, ``--like`` or ``--mix``."""
    to, weights = arguments.to, arguments.weights
    if to and is_address(to):
        name = parse_address(to)[2]
        to = str(fetch(to)) + (f":{name}" if name else "")
    if arguments.refine and not arguments.like:
        raise SettingsError("--refine fits the model to a recording of the instrument; give one with --like")
    if arguments.keep and not arguments.refine:
        raise SettingsError("--keep keeps a refined instrument; it wants --like and --refine")
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
        options = {"seed": arguments.seed, "noise_db": arguments.noise, "hall": arguments.hall}
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
