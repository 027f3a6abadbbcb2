"""Verbs that measure: how well a model plays, and how fast everything is."""

from __future__ import annotations

import json
import time
import warnings
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError, SettingsError, ToneTransferWarning
from . import options
from .options import CORPUS_CONFIG, Report, show, table

if TYPE_CHECKING:
    from ..models.timbre_model import TimbreModel

PARALLEL, UNSEEN = Path("corpus/parallel"), Path("corpus/unseen")
MATERIAL_KEPT = "material that was rendered is kept; nothing else was written"
RECORDINGS_ON = ("violin", "trumpet", "flute", "cello")


def add_bench(verbs: Any) -> None:
    verb = options.add_verb(verbs, "bench", "measure how fast everything is on this computer, beside other programs", bench)
    verb.add_argument("--source", metavar="FILE", type=Path, help="a recording to measure with, repeated as often as it takes")
    verb.add_argument("--out", metavar="PAGE.md", type=Path, help="write the tables between the marks of this page, or a new page")
    verb.add_argument("--hour", action="store_true", help="a recording of an hour, too: minutes more")
    verb.add_argument("--no-peers", dest="peers", action="store_false", help="leave other programs out")


def bench(arguments: Namespace) -> Report:
    from ..benchmarks.benchmark import bench as measure
    from ..benchmarks.benchmark import table_lines, write_page
    from .steps import tell

    if arguments.out and not arguments.out.absolute().parent.is_dir():
        raise SettingsError(
            f"{arguments.out} cannot be written: there is no folder {arguments.out.parent}; make it first, or choose another"
        )
    result = measure(arguments.source, hour=arguments.hour, peers=arguments.peers, report=tell)
    if arguments.out:
        write_page(arguments.out, result)
    return result, table_lines(result)


def add_evaluate(verbs: Any) -> None:
    evaluate = options.add_family(verbs, "evaluate", "measure a model, and compare results by ear and in numbers")
    _add_parallel(evaluate)
    _add_report(evaluate)
    _add_recordings(evaluate)
    _add_finetune(evaluate)
    _add_techniques(evaluate)
    _add_timbre(evaluate)


def _add_parallel(evaluate: Any) -> None:
    verb = options.add_verb(
        evaluate, "parallel", "compare transfers with the true performance on the target", evaluate_parallel, kept=MATERIAL_KEPT
    )
    verb.add_argument("--corpus", metavar="FOLDER", type=Path, help="made by corpus render --split parallel (default: rendered now)")
    verb.add_argument("--unseen", metavar="FOLDER", type=Path, help="the same, from a soundfont never trained on (default: rendered now)")
    verb.add_argument("--recordings", metavar="FOLDER", type=Path, help="real recordings: are their melodies kept?")
    options.add_weights(verb)


def evaluate_parallel(arguments: Namespace) -> Report:
    from ..evaluation.transfer_quality import evaluate_parallel as measure
    from ..evaluation.transfer_quality import evaluate_recordings
    from ..models.weights import load_model
    from .steps import progress_bar

    model = load_model(arguments.weights)
    trained = _test_set(arguments.corpus or PARALLEL, "fluid", given=arguments.corpus is not None)
    try:
        unseen = _test_set(arguments.unseen or UNSEEN, "generaluser", given=arguments.unseen is not None)
    except MissingDependencyError as error:
        warnings.warn(f"no figures for an unseen source: {error}", ToneTransferWarning, stacklevel=2)
        unseen = None
    with progress_bar("recording") as progress:
        figures = measure(model, trained, unseen, progress=progress)
    if arguments.recordings:
        with progress_bar("recording") as progress:
            figures |= evaluate_recordings(model, arguments.recordings, RECORDINGS_ON, progress=progress)
    return dict(figures), table([(key, show(value)) for key, value in figures.items() if not isinstance(value, dict)])


def _add_report(evaluate: Any) -> None:
    verb = options.add_verb(
        evaluate,
        "report",
        "a page to listen to and a JSON of all metrics: of folders of results, of recordings, or of transfers",
        evaluate_report,
        kept=MATERIAL_KEPT,
    )
    verb.add_argument(
        "folders",
        metavar="REFERENCE ESTIMATE",
        type=Path,
        nargs="*",
        help="files of the same name are compared; results of further systems may follow, and stand beside each other on the page",
    )
    verb.add_argument("--source", metavar="FOLDER", type=Path, help="what the estimates were made from, by the same names")
    verb.add_argument("--match-level", action="store_true", help="bring each estimate to the loudness of its reference first")
    verb.add_argument("--recordings", metavar="FOLDER", type=Path, help="play these instead; no right answer is known")
    verb.add_argument("--on", metavar="NAME,...", help="instruments that play them (default: violin, trumpet, flute and cello)")
    verb.add_argument("--corpus", metavar="FOLDER", type=Path, help="made by corpus render --split parallel (default: rendered now)")
    verb.add_argument("--transfers", metavar="N", type=options.COUNT, default=30, help="to be made from the corpus (default: 30)")
    verb.add_argument(
        "--out", metavar="FILE.html", type=Path, default=Path("report.html"), help="with a .json beside it (default: report.html)"
    )
    verb.add_argument("--title", metavar="TEXT", help="of the page")
    verb.add_argument("--shown", metavar="N", type=options.COUNT, default=12, help="examples that can be heard, at most (default: 12)")
    verb.add_argument("--megabytes", metavar="MB", type=options.MEGABYTES, default=20.0, help="of the page, at most (default: 20)")
    verb.add_argument("--seed", metavar="N", type=options.COUNT, default=0, help="of all that is drawn (default: 0)")
    verb.add_argument("--classifier", metavar="FILE.safetensors", type=Path, help="a classifier of your own instead of the bundled one")
    options.add_overwrite(verb)
    options.add_weights(verb)


def evaluate_report(arguments: Namespace) -> Report:
    from ..classification.classifier import load_classifier
    from ..evaluation.report.build import check_report, write_report
    from ..models.weights import load_model
    from .steps import progress_bar

    check_report(arguments.out, overwrite=arguments.overwrite)
    model, classifier = load_model(arguments.weights), load_classifier(arguments.classifier)
    examples = _report_examples(arguments, model)
    with progress_bar("example") as progress:
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
    if left_out := findings["left_out"]:
        named = "; ".join(left_out[:3])
        warnings.warn(f"{len(left_out)} files left out or incomplete, named in {files.figures}: {named}", ToneTransferWarning, stacklevel=2)
    result, rows = _of_one(findings) if "systems" not in findings else _of_several(findings)
    result |= {"page": str(files.page), "figures": str(files.figures), "shown": files.n_shown, "page_megabytes": files.megabytes}
    told = (
        f"{files.page}: {findings['examples']} examples, {files.n_shown} to be heard, {files.megabytes:.1f} MB; figures in {files.figures}"
    )
    return result | {"elapsed_seconds": time.perf_counter() - begin}, [*table(rows), told]


def _of_one(findings: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """JSON and rows of a report of one system."""
    rows: list[tuple[str, ...]] = [("metric", "mean", "95 % interval", "n")]
    for key, x in findings["metrics"].items():
        rows.append((key, show(x["mean"]), f"{show(x['low'])} to {show(x['high'])}", str(x["count"])))
    return {key: findings[key] for key in ("examples", "metrics", "frechet", "left_out")}, rows


def _of_several(findings: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """JSON and rows of a report of several systems: one column each."""
    metrics = {name: found["metrics"] for name, found in findings["systems"].items()}
    rows: list[tuple[str, ...]] = [("mean of", *metrics)]
    for key in dict.fromkeys(key for found in metrics.values() for key in found):
        rows.append((key, *(show(found[key]["mean"]) if key in found else "-" for found in metrics.values())))
    systems = {name: {key: found[key] for key in ("metrics", "frechet")} for name, found in findings["systems"].items()}
    return {"examples": findings["examples"], "systems": systems, "left_out": findings["left_out"]}, rows


def _add_recordings(evaluate: Any) -> None:
    verb = options.add_verb(
        evaluate, "recordings", "play real phrases again as the instruments that they are, and measure both", evaluate_recordings
    )
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="recordings whose names begin with their instrument: violin_1.flac")
    timbre = verb.add_mutually_exclusive_group()
    timbre.add_argument("--to-own", action="store_true", help="by the bundled instrument of that name (default)")
    timbre.add_argument("--like", action="store_true", help="by the timbre of another phrase of the same instrument in FOLDER")
    timbre.add_argument("--match", action="store_true", help="by the bundled instrument in the colour of another phrase in FOLDER")
    timbre.add_argument("--results", metavar="FOLDER", type=Path, help="measure what another program made of them, by the same names")
    verb.add_argument("--only", metavar="NAME,...", help="these instruments only")
    verb.add_argument("--out", metavar="FILE.json", type=Path, help="write the figures to this file, too")
    options.add_overwrite(verb)
    options.add_weights(verb)


def evaluate_recordings(arguments: Namespace) -> Report:
    from ..atomic import check_new, write_text
    from ..evaluation.recordings import evaluate_phrases, figure_rows
    from ..models.weights import load_model
    from .steps import progress_bar

    if arguments.out:
        check_new(arguments.out, SettingsError, overwrite=arguments.overwrite)
    with progress_bar("recording") as progress:
        figures = evaluate_phrases(
            load_model(arguments.weights),
            arguments.folder,
            like=arguments.like,
            match=arguments.match,
            results=arguments.results,
            only=arguments.only.split(",") if arguments.only else None,
            progress=progress,
        )
    for name, reason in figures["skipped"].items():
        warnings.warn(f"{name} is skipped: {reason}", ToneTransferWarning, stacklevel=2)
    if arguments.out:
        write_text(arguments.out, json.dumps(figures, indent=1, allow_nan=False) + "\n", error=SettingsError)
    return figures, table(figure_rows(figures))


def _add_finetune(evaluate: Any) -> None:
    verb = options.add_verb(
        evaluate,
        "finetune",
        "train on a minute or more of an unseen instrument, and compare with one-shot transfer",
        evaluate_finetune,
        kept=MATERIAL_KEPT,
    )
    verb.add_argument("--material", metavar="FOLDER", type=Path, default=Path("corpus/finetune"), help="rendered on first use, then kept")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--only", metavar="NAME,...", help="these instruments only")
    verb.add_argument("--config", metavar="CONFIG", type=Path, default=Path("configs/finetune_1min.yaml"), help="how to train")
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for example train.steps=200")
    verb.add_argument(
        "--seconds", metavar="N", type=options.SECONDS, default=60.0, help="of the instrument that are learned from (default: 60)"
    )
    verb.add_argument("--performances", metavar="N", type=options.COUNT, default=3, help="that are played by each instrument (default: 3)")
    options.add_weights(verb)


def evaluate_finetune(arguments: Namespace) -> Report:
    from ..benchmarks.finetuning import evaluate_finetune as measure
    from ..benchmarks.finetuning import render_material
    from ..training.settings import FinetuningSettings, read_settings
    from .steps import progress_bar, tell

    settings = read_settings(arguments.config, arguments.overrides)
    if not isinstance(settings, FinetuningSettings):
        raise SettingsError(f"{arguments.config}: trains many instruments; a file with `kind: solo` is wanted")
    with progress_bar("file") as progress:
        render_material(CORPUS_CONFIG, arguments.material, soundfont_folders=arguments.soundfonts, progress=progress)
    figures = measure(
        arguments.material,
        settings,
        seconds=arguments.seconds,
        performances=arguments.performances,
        only=arguments.only.split(",") if arguments.only else None,
        weights=arguments.weights,
        report=tell,
    )
    keys = [key for key, value in figures.items() if not isinstance(value, dict | list)]
    return figures, table([(key, show(figures[key])) for key in keys])


def _add_techniques(evaluate: Any) -> None:
    verb = options.add_verb(
        evaluate, "techniques", "are playing techniques found, in performances whose techniques are known", evaluate_techniques
    )
    verb.add_argument("--etudes", metavar="N", type=options.COUNT, default=24, help="how many performances of 15 s (default: 24)")
    verb.add_argument(
        "--seed", metavar="N", type=options.COUNT, default=1000, help="of the first; the rules were set below 100 (default: 1000)"
    )
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--synthesizer-only", action="store_true", help="do without FluidR3_GM, whose presets play every other one")
    options.add_tracker(verb)


def evaluate_techniques(arguments: Namespace) -> Report:
    from ..benchmarks.technique_detection import SOUNDFONT
    from ..benchmarks.technique_detection import evaluate_techniques as measure
    from ..data.soundfont import find_soundfont
    from .steps import progress_bar, tracker_of

    if arguments.etudes < 1:
        raise SettingsError("--etudes 0; at least 1 is wanted, and some 20 to trust the figures")
    font = None if arguments.synthesizer_only else find_soundfont(SOUNDFONT, arguments.soundfonts)
    with progress_bar("etude") as progress:
        result = measure(font, n_etudes=arguments.etudes, first_seed=arguments.seed, tracker=tracker_of(arguments), progress=progress)
    keys = ("precision", "recall", "f1", "n_true", "n_found", "n_right")
    rows = [(name, *(show(round(scores[key], 3)) for key in keys)) for name, scores in result["techniques"].items()]
    lines = table([("technique", *keys), *rows, ("mean", "", "", f"{result['mean_f1']:.3f}", "", "", "")])
    return result, lines


def _add_timbre(evaluate: Any) -> None:
    verb = options.add_verb(evaluate, "timbre", "examine whether z says who plays, and nothing else", evaluate_timbre, kept=MATERIAL_KEPT)
    verb.add_argument("--material", metavar="FOLDER", type=Path, default=Path("corpus/timbre"), help="rendered on first use, then kept")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--samples", metavar="FOLDER", type=Path, help="where the folders of single notes are, for instruments made of them")
    verb.add_argument("--baseline", metavar="FILE.safetensors", type=Path, help="a second model, examined beside the first")
    verb.add_argument("--probes-only", action="store_true", help="leave out swaps and blends, which play and listen")
    verb.add_argument("--recordings", metavar="FOLDER", type=Path, help="real solo recordings, played again from their own timbre")
    verb.add_argument(
        "--refine", action="store_true", help="the same also with the model fitted to each recording: half a minute more each"
    )
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw a map of z, coloured by instrument and by pitch")
    options.add_overwrite(verb)
    options.add_weights(verb)


def evaluate_timbre(arguments: Namespace) -> Report:
    from ..benchmarks import disentanglement as disentangle
    from ..evaluation.transfer_quality import evaluate_resynthesis, refined
    from ..models.weights import load_model
    from .steps import check_files, progress_bar

    check_files(arguments, reads=[])
    if arguments.refine and not arguments.recordings:
        raise SettingsError("--refine fits the model to each of some recordings; name their folder with --recordings")
    model = load_model(arguments.weights)
    baseline = load_model(arguments.baseline) if arguments.baseline else None
    _render_material(arguments)
    with progress_bar("step") as progress:
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
    if arguments.plot:
        from ..analysis.plots import plot_timbre_map

        plot_timbre_map(arguments.plot, *disentangle.map_of(material.trained, model), overwrite=arguments.overwrite)
    return {"encoder": model.encoder.checksum(), **figures}, table(disentangle.table_rows(figures))


def _test_set(folder: Path, font: str, *, given: bool) -> Path:
    """A folder of parallel performances; one that was not asked for by name is rendered if it is not there."""
    from .steps import progress_bar

    if (folder / "manifest.json").is_file():
        return folder
    render = f"tonetransfer corpus render {CORPUS_CONFIG} {folder} --split parallel --soundfont {font}"
    if given or not CORPUS_CONFIG.is_file():
        raise SettingsError(f"{folder}: holds no test set (manifest.json); make one with `{render}`")
    from ..data.render_corpus import render_parallel

    with progress_bar("file") as progress:
        render_parallel(CORPUS_CONFIG, folder, soundfont=font, progress=progress)
    return folder


def _report_examples(arguments: Namespace, model: TimbreModel) -> Any:
    """Collect the examples of ``evaluate report``."""
    from ..evaluation.report import examples as report_sets

    folders = arguments.folders
    if len(folders) == 1:
        raise SettingsError("1 folder came; REFERENCE and ESTIMATE are wanted (and more of them), or none, for transfers that are made now")
    if bool(folders) + bool(arguments.recordings) + bool(arguments.corpus) > 1:
        raise SettingsError("two folders to compare, --recordings and --corpus ask for different reports; give one of them")
    if (arguments.source or arguments.match_level) and not folders:
        raise SettingsError("--source and --match-level belong to two folders that are compared; name REFERENCE and ESTIMATE, too")
    if arguments.on and not arguments.recordings:
        raise SettingsError("--on says what recordings are played on; name their folder with --recordings")
    if folders:
        reference, *estimates = folders
        sets = report_sets.pairs_of_systems(reference, estimates, arguments.source, model.grid, match_level=arguments.match_level)
        return sets if len(sets) > 1 else sets[0]
    if arguments.recordings:
        instruments = arguments.on.split(",") if arguments.on else RECORDINGS_ON
        return report_sets.transfers_of_recordings(model, arguments.recordings, instruments, play_seed=arguments.seed)
    corpus = _test_set(arguments.corpus or PARALLEL, "fluid", given=arguments.corpus is not None)
    return report_sets.transfers_of_corpus(model, corpus, count=arguments.transfers, seed=arguments.seed, play_seed=arguments.seed)


def _render_material(arguments: Namespace) -> None:
    """Render the test sets of `evaluate timbre` if they are not there; without the unseen font the rest goes on."""
    from ..benchmarks.excerpts import TRAINED, UNSEEN, render_material
    from .steps import progress_bar

    if all((arguments.material / name / "manifest.json").is_file() for name in (TRAINED, UNSEEN)):
        return
    if not CORPUS_CONFIG.is_file():
        raise SettingsError(f"{arguments.material}: holds no test material, and {CORPUS_CONFIG}, from which it is made, is not here either")
    with progress_bar("file") as progress:
        try:
            render_material(
                CORPUS_CONFIG, arguments.material, soundfont_folders=arguments.soundfonts, samples=arguments.samples, progress=progress
            )
        except MissingDependencyError as error:
            if not (arguments.material / TRAINED / "manifest.json").is_file():
                raise
            warnings.warn(str(error), ToneTransferWarning, stacklevel=2)
