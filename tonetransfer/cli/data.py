"""Verbs that make and check recordings to train on."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from . import options
from .options import Report


def add_corpus(verbs: Any) -> None:
    """Parser of ``corpus``."""
    corpus = verbs.add_parser("corpus", help="training audio", allow_abbrev=False).add_subparsers(metavar="VERB", required=True)
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
    """``corpus render CONFIG FOLDER``."""
    from ..data import render_corpus as corpus
    from .steps import progress_bar

    progress, close = progress_bar("file")
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


def add_doctor(verbs: Any) -> None:
    """Parser of ``doctor``."""
    verb = options.add_verb(verbs, "doctor", "are these recordings good material to train an instrument on, and why not", doctor)
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="recordings of one instrument, in any mixture of formats")
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw registers, loudness, and every file")
    options.add_workers(verb)
    options.add_tracker(verb)
    options.add_overwrite(verb)


def doctor(arguments: Namespace) -> Report:
    """``doctor FOLDER``."""
    from ..data.doctor import examine_folder, report_lines
    from ..data.jobs import usable_cores
    from .steps import check_files, progress_bar, tracker_of

    check_files(arguments, reads=[])
    progress, close = progress_bar("s", "examining")
    found = examine_folder(arguments.folder, tracker=tracker_of(arguments), workers=arguments.workers or usable_cores(), progress=progress)
    close()
    if arguments.plot:
        from ..data.doctor_plot import plot_doctor

        plot_doctor(arguments.plot, found, overwrite=arguments.overwrite)
        found["plot"] = str(arguments.plot)
    return found, report_lines(found)


def add_prepare(verbs: Any) -> None:
    """Parser of ``prepare``."""
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
    """``prepare FOLDER OUT``."""
    from ..data.jobs import usable_cores
    from ..data.prepare import prepare as make
    from ..data.prepare import report_lines, summarize
    from .steps import progress_bar, tracker_of

    progress, close = progress_bar("s", "preparing")
    try:
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
    finally:
        close()
    result = summarize(prepared)
    return result, report_lines(result)
