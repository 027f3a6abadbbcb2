"""Verbs that make and check recordings to train on, and that train: a model on a corpus, or one instrument on a prepared folder."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from . import options
from .options import Report, show, table


def add_corpus(verbs: Any) -> None:
    corpus = options.add_family(verbs, "corpus", "training audio")
    verb = options.add_verb(
        corpus,
        "render",
        "render training or test audio from soundfonts and folders of notes",
        render_corpus,
        kept="what is rendered is kept: give the same command again to go on",
    )
    verb.add_argument("config", metavar="CONFIG", type=Path, help="which timbres, from where; see configs/corpus.yaml")
    verb.add_argument("out", metavar="FOLDER", type=Path, help="of the corpus; what is there already is kept")
    verb.add_argument("--split", choices=("train", "test", "parallel"), default="train", help="parallel: all instruments play the same")
    verb.add_argument("--soundfont", metavar="FILE", help="instead of the one that CONFIG names; for parallel also a name in CONFIG")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--samples", metavar="FOLDER", type=Path, help="where the folders of single notes are")
    verb.add_argument("--only", metavar="NAME,...", help="these timbres only")
    verb.add_argument("--seed", metavar="N", type=options.COUNT, default=0, help="another seed, other performances (default: 0)")
    verb.add_argument("--workers", metavar="N", type=options.COUNT, default=2, help="processes (default: 2)")


def render_corpus(arguments: Namespace) -> Report:
    from ..data import render_corpus as corpus
    from .steps import progress_bar

    with progress_bar("file") as progress:
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
    return {"manifest": str(manifest)}, [str(manifest)]


def add_doctor(verbs: Any) -> None:
    verb = options.add_verb(verbs, "doctor", "are these recordings good material to train an instrument on, and why not", doctor)
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="recordings of one instrument, in any mixture of formats")
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw registers, loudness, and every file")
    options.add_workers(verb)
    options.add_tracker(verb)
    options.add_overwrite(verb)


def doctor(arguments: Namespace) -> Report:
    from ..data.doctor import examine_folder, report_lines
    from ..data.jobs import usable_cores
    from .steps import check_files, progress_bar, tracker_of

    check_files(arguments, reads=[])
    with progress_bar("s", "examining") as progress:
        found = examine_folder(
            arguments.folder, tracker=tracker_of(arguments), workers=arguments.workers or usable_cores(), progress=progress
        )
    if arguments.plot:
        from ..data.doctor_plot import plot_doctor

        plot_doctor(arguments.plot, found, overwrite=arguments.overwrite)
        found["plot"] = str(arguments.plot)
    return found, report_lines(found)


def add_prepare(verbs: Any) -> None:
    verb = options.add_verb(
        verbs,
        "prepare",
        "make a dataset of recordings, to be trained on; go on with it, or add to it",
        prepare,
        kept="what is done is kept: give the same command again to go on",
    )
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="recordings of one instrument, in any mixture of formats")
    verb.add_argument("out", metavar="OUT", type=Path, help="folder of the dataset; what is done there already is kept")
    verb.add_argument("--licence", metavar="TEXT", help="whose the recordings are and what may be done with them; goes with the weights")
    verb.add_argument("--force", action="store_true", help="take files, too, that seem short, spoken, polyphonic or without pitch")
    options.add_workers(verb)
    verb.add_argument("--engine", choices=("local", "dask"), default="local", help="dask: on a Dask cluster (default: local)")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask cluster (default: one is started here)")
    options.add_tracker(verb)
    options.add_overwrite(verb)


def prepare(arguments: Namespace) -> Report:
    from ..data.jobs import usable_cores
    from ..data.prepare import prepare as make
    from ..data.prepare import report_lines, summarize
    from .steps import progress_bar, tracker_of

    with progress_bar("s", "preparing") as progress:
        prepared = make(
            arguments.folder,
            arguments.out,
            tracker=tracker_of(arguments),
            licence=arguments.licence,
            force=arguments.force,
            overwrite=arguments.overwrite,
            engine=arguments.engine,
            workers=arguments.workers or usable_cores(),
            scheduler=arguments.scheduler,
            progress=progress,
        )
    result = summarize(prepared)
    return result, report_lines(result)


def add_train(verbs: Any) -> None:
    verb = options.add_verb(
        verbs,
        "train",
        "train a model on a corpus, or one instrument on a prepared folder",
        train,
        kept="the run is kept as it was last validated: give the same command again to go on",
    )
    verb.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file of what differs from the defaults; see configs/")
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for example train.steps=2000")
    verb.add_argument("--from", dest="start", metavar="bundled|none|FILE", help="weights to go out from (one instrument: bundled)")
    verb.add_argument("--no-room", dest="room", action="store_false", help="learn no room with one instrument")
    verb.add_argument("--no-resume", dest="resume", action="store_false", help="begin anew instead of going on")


def train(arguments: Namespace) -> Report:
    from ..training.settings import FinetuningSettings, read_settings

    changes = [] if arguments.start is None else [f"train.start={'null' if arguments.start == 'none' else arguments.start}"]
    changes += [] if arguments.room else ["room.learn=false"]
    settings = read_settings(arguments.config, arguments.overrides + changes)
    if isinstance(settings, FinetuningSettings):
        return _finetune(settings, resume=arguments.resume, alone=arguments.is_program)
    from ..training import pretraining as training

    weights = training.train(settings, resume=arguments.resume)
    return {"weights": str(weights)}, [str(weights)]


def _finetune(settings: Any, *, resume: bool, alone: bool) -> Report:
    """One instrument: what it is like before and after. `alone`: this command is the process, and may be begun again beside itself."""
    from ..data.dataset import Prepared, read_index

    read_index(settings.data.prepared)  # what is not there is told before Lightning is loaded, which takes seconds
    from ..benchmarks.finetuning import measure_instrument
    from ..training.finetuning import finetune, processes_for

    if alone and settings.train.devices == "auto":
        settings = settings.model_copy(update={"train": settings.train.model_copy(update={"devices": processes_for(settings)})})
    weights, notes = finetune(settings, lambda grid: Prepared(settings.data.prepared, grid), measure_instrument, resume=resume)
    keys = ("steps", "before", "after", "alarms", "minutes", "processor_minutes")
    result = {"weights": str(weights), "card": str(weights.with_suffix(".md"))} | {key: notes[key] for key in keys}
    lines = [f"{weights}: {notes['steps']} steps in {notes['minutes']:.1f} minutes; play it with transfer --to {weights}"]
    lines += table([(f"  {key}", show(value), "->", show(notes["after"][key])) for key, value in notes["before"].items()])
    return result, lines + [f"  alarm: {text}" for text in notes["alarms"].values()]
