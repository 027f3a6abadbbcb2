"""Instruments for other programs: TorchScript for Max and Pure Data, ONNX for anything, the room as a sound file.

Every export is read again and tried before it is done: what the file does must be what the model does, and what it does in blocks must be
what it does at once. What it is, and what was measured, stands in a card beside it.
"""

from __future__ import annotations

import json
import os
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..atomic import check_new, replacing_all, write_text
from ..audio.files import save_audio
from ..errors import ExportError
from ..models.timbre_model import Instrument, TimbreModel
from .onnx import write_onnx
from .torchscript import write_script

FORMATS = {  # name: ending, what it is
    "torchscript": (".ts", "TorchScript for nn~ in Max and Pure Data"),
    "realtime": (".ts", "TorchScript with the call of ddsp_pytorch's realtime external"),
    "onnx": (".onnx", "ONNX of decoder and encoder"),
    "ir": (".wav", "impulse response of the room"),
}


def export(
    path: str | Path,
    model: TimbreModel,
    *,
    format: str,
    instrument: str | None = None,
    z: torch.Tensor | None = None,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write an instrument for another program, try it, and write its card, ``<name>.json``, beside it.

    Parameters
    ----------
    path : str or Path
        With the ending of the format. ONNX is two files: ``<name>.decoder.onnx`` and ``<name>.encoder.onnx``.
    model : TimbreModel
    format : str
        A key of :data:`FORMATS`.
    instrument : str or None
        Who plays at first; None: the model's first instrument. With `z` a name for it.
    z : Tensor [shape=(z_dim,)] or None
        A timbre of no named instrument.
    notes : mapping or None
        What the weights say of themselves (:func:`~tonetransfer.models.weights.read_notes`): sources and licence go into the card.
    overwrite : bool

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ExportError
        No such format, the file exists, there is nothing to export, or the file failed its test; then it is not there.
    MissingDependencyError
    """
    path = Path(path)
    if format not in FORMATS:
        raise ExportError(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    if path.suffix != FORMATS[format][0]:
        raise ExportError(f"{path}: {FORMATS[format][1]} is a file ending in {FORMATS[format][0]}; choose such a name")
    name = instrument or (model.names[0] if model.names else None)
    if name is None:
        raise ExportError("the model holds no named instrument; name one with --to, --like or --mix")
    if z is None:
        name = model.instrument(name).name
        model = model.with_note_table(model.note_table(name))
    files = [path.with_suffix(f".{part}.onnx") for part in ("decoder", "encoder")] if format == "onnx" else [path]
    card_path = path.with_suffix(".json")
    for file in (*files, card_path):
        check_new(file, ExportError, overwrite=overwrite)
    with replacing_all(files, error=ExportError) as parts:
        if format == "onnx":
            facts = write_onnx(parts, model, model.timbre(name) if z is None else z)
        elif format == "ir":
            facts = _export_room(parts[0], model)
        else:
            facts = write_script(parts[0], model, name, z, realtime=format == "realtime")
    card = {
        "format": format,
        "what": FORMATS[format][1],
        "files": {file.name: os.path.getsize(file) for file in files},
        "instrument": name,
        "sample_rate_hz": model.sample_rate,
        "hop_length": model.grid.hop_length,
        **facts,
        **_origin(model, name if z is None else None, notes or {}),
    }
    write_text(card_path, json.dumps(card, indent=2) + "\n", error=ExportError)
    return card


def _origin(model: TimbreModel, name: str | None, notes: dict[str, Any]) -> dict[str, Any]:
    """Authors and licences of the recordings that it is made of."""
    told = notes.get("notes", {})
    known: Instrument | None = model.instrument(name) if name else None
    return {
        "licence": known.licence if known else None,
        "source": known.source if known else None,
        "range_midi": [known.lowest_midi, known.highest_midi] if known else None,
        "weights_sources": told.get("sources", []) if isinstance(told, dict) else [],
        "package": f"tonetransfer {metadata.version('tonetransfer')}",
        "torch": torch.__version__,
    }


def _export_room(path: Path, model: TimbreModel) -> dict[str, Any]:
    room = getattr(model, "room", None)
    if room is None:
        raise ExportError("these weights hold no room, so there is no impulse response to export; the instrument plays dry")
    response = room.detach().cpu().clone()
    response[0] += 1.0  # the direct sound, which rooms are kept without
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # turned down as a whole where it peaks above 1: a response has no absolute level
        save_audio(path, response, model.sample_rate)
    return {"seconds": len(response) / model.sample_rate, "latency_samples": 0}
