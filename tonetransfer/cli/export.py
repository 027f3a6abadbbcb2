"""Verbs that hand instruments on: to other programs, and to a model hub and back."""

from __future__ import annotations

from argparse import Namespace
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import options
from .options import Report


def add_export(verbs: Any) -> None:
    verb = options.add_verb(verbs, "export", "write an instrument for another program: Max, Pure Data, ONNX, a page for browsers", export)
    verb.add_argument(
        "output",
        metavar="OUTPUT",
        type=Path,
        help="a new file: .ts, .onnx or .wav; a card (.json) is written beside it. For web: a new folder",
    )
    verb.add_argument(
        "--format",
        choices=("torchscript", "realtime", "onnx", "ir", "web"),
        required=True,
        help="torchscript: for nn~; realtime: (pitch, loudness) -> sound, as ddsp_pytorch's; onnx: decoder and encoder; ir: the room; "
        "web: a page that transfers recordings in any browser, for any static host",
    )
    who = verb.add_mutually_exclusive_group()
    who.add_argument(
        "--to",
        metavar="NAME|FILE.safetensors",
        action="append",
        help="who plays at first (default: the first instrument); web: once for each",
    )
    who.add_argument("--mix", metavar="NAME:SHARE,...", type=options.MIX, help="a blend, for example violin:0.5,flute:0.5")
    verb.add_argument("--runtime", metavar="FOLDER", type=Path, help="web: the npm package onnxruntime-web, if web/node_modules has it not")
    verb.set_defaults(like=None, match=None, refine=False, keep=None, tracker=None)
    verb.set_defaults(room=True)
    options.add_weights(verb)
    options.add_overwrite(verb)


def export(arguments: Namespace) -> Report:
    from ..errors import ExportError

    if arguments.format == "web":
        return _export_web(arguments)
    if arguments.runtime:
        raise ExportError("--runtime is for --format web; leave it out")
    if len(arguments.to or []) > 1:
        raise ExportError(f"{len(arguments.to)} instruments came; one --to is wanted (only --format web takes several)")
    arguments.to = arguments.to[0] if arguments.to else None
    return _export_file(arguments)


def _export_file(arguments: Namespace) -> Report:
    """One instrument for another program."""
    from ..export.export import export as write
    from ..models.weights import load_model, read_notes
    from .steps import WEIGHTS_ENDING, open_target

    weights, name, z = arguments.weights, None, None
    if arguments.to or arguments.mix:
        model, target, name = open_target(arguments)
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


def _export_web(arguments: Namespace) -> Report:
    """A page with several instruments."""
    from ..errors import ExportError
    from ..export.web import WebPlayer, export_web
    from ..models.weights import load_model
    from .steps import WEIGHTS_ENDING, open_target

    if arguments.mix:
        raise ExportError("a page plays named instruments, not a blend; name each with --to")
    load, players = lru_cache(load_model), []
    for to in arguments.to or load(arguments.weights).names[:1]:
        own = None if WEIGHTS_ENDING in to else arguments.weights
        players.append(WebPlayer(*open_target(Namespace(**vars(arguments) | {"to": to, "weights": own}), load)))
    page = export_web(arguments.output, players, runtime=arguments.runtime, overwrite=arguments.overwrite)
    megabytes = sum(page["files"].values()) / 1e6
    lines = [f"{one['name']}: {one['bytes'] / 1e6:.1f} MB, {one['test']['harmonics_vs_model_db']} dB off" for one in page["instruments"]]
    return page, [f"{arguments.output} ({megabytes:.1f} MB): a page for any static host", *lines]


def add_push(verbs: Any) -> None:
    verb = options.add_verb(verbs, "push", "put an instrument and its model card on a model hub", push)
    verb.add_argument("file", metavar="FILE.safetensors", type=Path)
    verb.add_argument("address", metavar="hf://OWNER/REPO")
    verb.add_argument("--private", action="store_true", help="if the repository is made: only you see it")


def push(arguments: Namespace) -> Report:
    from ..models.hub import push as send
    from ..models.weights import find_weights

    address = send(find_weights(arguments.file), arguments.address, private=arguments.private)
    return {"url": address}, [address]


def add_pull(verbs: Any) -> None:
    verb = options.add_verb(verbs, "pull", "fetch an instrument from a model hub", pull)
    verb.add_argument("address", metavar="hf://OWNER/REPO[/FILE.safetensors]")
    verb.add_argument("output", metavar="OUTPUT.safetensors", type=Path, nargs="?", help="default: the file's own name, here")
    options.add_overwrite(verb)


def pull(arguments: Namespace) -> Report:
    from ..models.hub import pull as fetch
    from ..models.weights import load_model

    path = fetch(arguments.address, arguments.output, overwrite=arguments.overwrite)
    names = load_model(path).names
    return {"weights": str(path), "instruments": names}, [f"{path}: {', '.join(names) or 'no named instrument'}"]
