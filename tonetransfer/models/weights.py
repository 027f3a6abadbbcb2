"""Instruments as files: safetensors, never pickle, because opening a stranger's violin must not run code.

A file holds the tensors of a :class:`~tonetransfer.models.timbre_model.TimbreModel` (networks, named timbres, loudness quantiles) and text
metadata: format number, settings, what each named timbre is, feature definitions with their versions, package version, steps and validation
figures.
"""

from __future__ import annotations

import json
import os
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..atomic import check_new, replacing
from ..audio.loudness import LOUDNESS_VERSION
from ..errors import WeightsError
from .settings import ModelSettings
from .timbre_model import Instrument, TimbreModel

FORMAT = 2
BUNDLED = "bundled.safetensors"
FOLDER_VARIABLE = "TONETRANSFER_INSTRUMENTS"


def save_model(path: str | Path, model: TimbreModel, *, notes: dict[str, Any] | None = None, overwrite: bool = False) -> None:
    """Write a model as one file, whole or not at all.

    Parameters
    ----------
    path : path ending in ``.safetensors``
    model : TimbreModel
    notes : mapping or None
        Anything JSON can hold that is worth knowing: steps, validation figures, corpus, licence.
    overwrite : bool

    Raises
    ------
    WeightsError
        The file exists, or cannot be written.
    """
    path = check_new(path, WeightsError, overwrite=overwrite)
    text = {
        "format": str(FORMAT),
        "settings": model.settings.model_dump_json(),
        "instruments": json.dumps([instrument.to_dict() for instrument in model.instruments]),
        "loudness_version": str(LOUDNESS_VERSION),
        "package_version": metadata.version("tonetransfer"),
        "notes": json.dumps(notes or {}),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path, error=WeightsError) as part:
        part.write_bytes(save(tensors, metadata=text))


def find_weights(name: str | Path | None = None) -> Path:
    """Where a weights file is: a path, a name in ``$TONETRANSFER_INSTRUMENTS``, or (None or ``bundled``) the bundled one.

    Raises
    ------
    WeightsError
        There is no such file.
    """
    if name is None or str(name) == Path(BUNDLED).stem:
        bundled = Path(str(resources.files("tonetransfer.instruments") / BUNDLED))
        if not bundled.is_file():
            raise WeightsError("the bundled weights are missing from this installation; install the package again, or give a weights file")
        return bundled
    path = Path(name)
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; a weights file ending in .safetensors was wanted")
    if path.exists():
        return path
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / path.name).exists():
        return Path(folder) / path.name
    raise WeightsError(f"{path}: there is no such weights file" + (f" (nor in {folder})" if folder else "") + "; give the path of one")


def read_notes(path: str | Path | None = None) -> dict[str, Any]:
    """What is written in a weights file beside its tensors: settings, instruments, versions, notes."""
    text = _read(find_weights(path), tensors=False)[0]
    return {key: json.loads(value) if value[:1] in "[{" else value for key, value in text.items()}


def load_model(path: str | Path | None = None) -> TimbreModel:
    """Load a model, ready to play.

    Parameters
    ----------
    path : path or None
        None: the bundled weights.

    Raises
    ------
    WeightsError
        Missing, truncated, foreign, or of another version; the message says what differs.
    """
    found = find_weights(path)
    text, tensors = _read(found, tensors=True)
    try:
        settings = ModelSettings.model_validate_json(text["settings"])
        instruments = tuple(Instrument(**fields) for fields in json.loads(text["instruments"]))
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        problem = " ".join(str(error).split())[:120]
        raise WeightsError(f"{found.name}: its description does not fit this version ({problem}); use weights of this version") from None
    model = TimbreModel(settings, instruments)
    if len(instruments) == 1 and "room" in tensors and tensors["room"].dim() == 1:
        model.room = torch.zeros_like(tensors["room"])  # of any length, and files without one stay as they are
    if len(instruments) == 1 and "decoder.register.table" in tensors:
        model.decoder.add_register()
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    came = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    different = sorted(name for name in wanted.keys() | came.keys() if wanted.get(name) != came.get(name))
    if different:
        name = different[0]
        raise WeightsError(
            f"{found.name}: {len(different)} tensors differ from what its settings ask for "
            f"({name}: wanted {wanted.get(name)}, came {came.get(name)}); the file is damaged or of another version"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise WeightsError(f"{found.name}: holds numbers that are not finite; the file is damaged or its training failed")
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


def _read(path: Path, *, tensors: bool) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata() or {}
            content = {name: file.get_tensor(name).float() for name in file.keys()} if tensors else {}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError) as error:
        problem = " ".join(str(error).split())
        raise WeightsError(f"{path}: is not a readable weights file ({problem}); it may be truncated or of another kind") from None
    if "format" not in text or "settings" not in text:
        raise WeightsError(f"{path.name}: is a safetensors file, but no instrument of tonetransfer; give one made by `tonetransfer train`")
    if text["format"] != str(FORMAT):
        raise WeightsError(f"{path.name}: has format {text['format']}, this version reads {FORMAT}; install the version that wrote it")
    if text.get("loudness_version") != str(LOUDNESS_VERSION):
        raise WeightsError(
            f"{path.name}: was trained with loudness definition {text.get('loudness_version')}, this version measures {LOUDNESS_VERSION}; "
            "train it again"
        )
    return text, content
