"""``train``: a model on a corpus, or one instrument on a prepared folder."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from . import options
from .options import Report, show, table


def add_train(verbs: Any) -> None:
    """Parser of ``train``."""
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
    """``train CONFIG``."""
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
    from ..benchmarks.finetuning import measure_instrument
    from ..data.dataset import Prepared
    from ..training.finetuning import finetune, processes_for

    if alone and settings.train.devices == "auto":
        settings = settings.model_copy(update={"train": settings.train.model_copy(update={"devices": processes_for(settings)})})
    weights, notes = finetune(settings, lambda grid: Prepared(settings.data.prepared, grid), measure_instrument, resume=resume)
    keys = ("steps", "before", "after", "alarms", "minutes", "processor_minutes")
    result = {"weights": str(weights), "card": str(weights.with_suffix(".md"))} | {key: notes[key] for key in keys}
    lines = [f"{weights}: {notes['steps']} steps in {notes['minutes']:.1f} minutes; play it with transfer --to {weights}"]
    lines += table([(f"  {key}", show(value), "->", show(notes["after"][key])) for key, value in notes["before"].items()])
    return result, lines + [f"  alarm: {text}" for text in notes["alarms"].values()]
