"""Instruments as files: safetensors, never pickle, because opening a stranger's violin must not run code.

A file holds the tensors of a :class:`~tonetransfer.models.timbre_model.TimbreModel` (networks, named timbres, loudness quantiles) and text
metadata: format number, settings, what each named timbre is, feature definitions with their versions, package version, steps and validation
figures. The model card beside it says the same to people.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.overrides import TorchFunctionMode

from ..atomic import check_new, replacing, write_text
from ..audio.loudness import LOUDNESS_VERSION
from ..errors import WeightsError
from ..synthesis.colour import TONE_POINTS_HZ
from .note_age_table import N_AGES, N_LEVELS, N_PITCHES
from .settings import ModelSettings
from .timbre_model import Instrument, TimbreModel, check_model
from .weights_header import FORMAT, Header, find_weights, read_header

SPARE_NUMBERS, SPARE_TENSORS = 4_000_000, 4000  # that a network may make beside those that are kept: filters, first values
MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.rand, torch.randn, torch.arange, torch.linspace}


def read_tensors(header: Header, *, what: str = "weights file") -> dict[str, torch.Tensor]:
    """The tensors of a file whose header was read; raises WeightsError."""
    try:
        return load(header.path.read_bytes())  # by its content: safetensors opens no name that is not UTF-8
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise WeightsError(f"{header.path}: is not a readable {what} ({problem}); it may be truncated or of another kind") from None


@contextmanager
def no_larger_than(header: Header) -> Iterator[None]:
    """While this lasts, networks that are built may hold what the file holds and little more, else WeightsError: settings can lie."""
    with _Budget(header):
        yield


class _Budget(TorchFunctionMode):
    def __init__(self, header: Header) -> None:
        super().__init__()
        self.header = header
        self.numbers = 2 * header.n_numbers + SPARE_NUMBERS
        self.tensors = 10 * len(header.shapes) + SPARE_TENSORS

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in MAKERS:
            self.tensors -= 1
            self.numbers -= _asked(function, args, kwargs)
            if min(self.tensors, self.numbers) < 0:
                raise WeightsError(
                    f"{self.header.path}: its settings ask for networks larger than the file; the file is damaged or of another version"
                )
        return function(*args, **kwargs)


def _asked(function: Any, args: Any, kwargs: dict[str, Any]) -> int:
    """Number of elements that a call makes; shapes of tensors only."""
    sizes = kwargs.get("size", args[0] if args and isinstance(args[0], tuple | list) else args)
    numbers = [int(n) for n in sizes if isinstance(n, int)] if isinstance(sizes, tuple | list) else [int(sizes)]
    if function in (torch.arange, torch.linspace):
        return max((abs(n) for n in numbers), default=1)
    if function is torch.eye and len(numbers) == 1:
        return numbers[0] ** 2
    return math.prod(numbers)


HALVED = ("note_tables",)  # stored in 16 bits: they add to raw outputs of some units, where 0.001 is not heard
FIGURES = {
    "lsd_db": "log-spectral distance [dB]",
    "lsd60_db": "the same within 60 dB of the loudest [dB]",
    "loudness_error_db": "loudness, played against recorded [dB]",
    "raw_pitch_accuracy": "notes in tune within 50 cents",
}


def save_model(path: str | Path, model: TimbreModel, *, notes: dict[str, Any] | None = None, overwrite: bool = False) -> None:
    """Write a model as one file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ends in ``.safetensors``.
    model : TimbreModel
        Not changed.
    notes : mapping or None
        Anything JSON can hold that is worth knowing: steps, validation figures, corpus, licence.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    WeightsError
        The file exists, or cannot be written.

    Examples
    --------
    >>> tt.save_model("copy.safetensors", tt.load_model())
    >>> tt.load_model("copy.safetensors").names == tt.load_model().names
    True
    """
    check_model(model)
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
    tensors |= {name: tensors[name].half() for name in HALVED if name in tensors}
    with replacing(path, error=WeightsError) as part:
        part.write_bytes(save(tensors, metadata=text))


def read_notes(path: str | Path | None = None) -> dict[str, Any]:
    """Read what a weights file holds beside its tensors: settings, instruments, versions, notes; raises WeightsError."""
    header = _header(find_weights(path))
    kinds = {"settings": dict, "notes": dict, "instruments": list}
    return {key: header.json(key, kinds[key]) if key in kinds else value for key, value in header.text.items()}


def load_model(path: str | Path | None = None) -> TimbreModel:
    """Load a model, ready to play.

    Parameters
    ----------
    path : str, Path or None
        A ``.safetensors`` file; None: the bundled weights.

    Returns
    -------
    TimbreModel
        Frozen, on the CPU.

    Raises
    ------
    WeightsError
        Missing, truncated, foreign, or of another version; the message says what differs.

    Examples
    --------
    >>> model = tt.load_model()
    >>> model.sample_rate
    48000
    """
    found = find_weights(path)
    header = _header(found)
    try:
        settings = ModelSettings.model_validate(header.json("settings", dict))
        instruments = tuple(_instrument(fields) for fields in header.json("instruments", list))
    except (TypeError, ValueError) as error:
        problem = " ".join(str(error).split())[:120]
        raise WeightsError(f"{found.name}: its description does not fit this version ({problem}); use weights of this version") from None
    with no_larger_than(header):
        model = TimbreModel(settings, instruments)
    came = header.shapes
    if len(instruments) == 1 and "room" in came and len(came["room"]) == 1:
        model.room = torch.zeros(came["room"])  # of any length, and files without one stay as they are
    if came.get("note_tables", ())[1:] == (N_PITCHES + N_LEVELS, N_AGES, model.decoder.head.out_features):
        model.note_tables = torch.zeros(came["note_tables"])
    if came.get("room_tone_db") == (len(TONE_POINTS_HZ),):
        model.room_tone_db = torch.zeros(came["room_tone_db"])
    if len(instruments) == 1 and "decoder.register.table" in came:
        model.decoder.add_note_age_table()
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    different = sorted(name for name in wanted.keys() | came.keys() if wanted.get(name) != came.get(name))
    if different:
        name = different[0]
        raise WeightsError(
            f"{found.name}: {len(different)} tensors differ from what its settings ask for "
            f"({name}: wanted {wanted.get(name)}, came {came.get(name)}); the file is damaged or of another version"
        )
    tensors = {name: tensor.float() for name, tensor in read_tensors(header).items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise WeightsError(f"{found.name}: holds numbers that are not finite; the file is damaged or its training failed")
    model.load_state_dict(tensors)
    n_tables = 0 if model.note_tables is None else len(model.note_tables)
    if n_tables and (lost := [one.name for one in instruments if one.note_table >= n_tables]):
        raise WeightsError(f"{found.name}: {lost[0]} plays with a note-age table that is not in the file, which is damaged")
    return model.eval().requires_grad_(False)


def _instrument(fields: dict[str, Any]) -> Instrument:
    """An instrument of a file's description; raises TypeError or ValueError where a field is missing or of another kind."""
    made = Instrument(**fields)
    for field in ("name", "family", "source", "licence"):
        if not isinstance(getattr(made, field), str):
            raise TypeError(f"{field} of an instrument is {getattr(made, field)!r}, text was wanted")
    if isinstance(made.note_table, bool) or not isinstance(made.note_table, int) or not isinstance(made.in_room_tone, bool):
        raise TypeError(f"note_table and in_room_tone of {made.name} are {made.note_table!r} and {made.in_room_tone!r}")
    for field in ("lowest_midi", "highest_midi", "mean_midi", "release_db_per_s", "fluctuation_db"):
        number = getattr(made, field)
        if isinstance(number, bool) or not isinstance(number, int | float) or not -1e4 < number < 1e4:
            raise TypeError(f"{field} of {made.name} is {number!r}, a number was wanted")
    return made


def _header(path: Path) -> Header:
    """The header of an instrument of this version."""
    header = read_header(path)
    text = header.text
    if "format" not in text or "settings" not in text:
        raise WeightsError(f"{path.name}: is a safetensors file, but no instrument of tonetransfer; give one made by `tonetransfer train`")
    if text["format"] != str(FORMAT):
        raise WeightsError(f"{path.name}: has format {text['format']}, this version reads {FORMAT}; install the version that wrote it")
    if text.get("loudness_version") != str(LOUDNESS_VERSION):
        raise WeightsError(
            f"{path.name}: was trained with loudness definition {text.get('loudness_version')}, this version measures {LOUDNESS_VERSION}; "
            "train it again"
        )
    return header


def model_card(instruments: list[dict[str, Any]], notes: dict[str, Any]) -> str:
    """A model card as Markdown, with the header that model hubs read; what the notes of a weights file do not say is left out."""
    name = str(notes.get("name") or (instruments[0]["name"] if instruments else "timbres"))
    licences = " and ".join(sorted({str(one["licence"]) for one in instruments})) or "not stated"
    lines = ["---", "library_name: tonetransfer", "tags: [audio, tone-transfer, timbre, ddsp]", "license: other"]
    lines += [f"license_name: {_slug(licences)}", "---", "", f"# {name}", "", "For tonetransfer:", ""]
    lines += ["```sh", f"tonetransfer transfer voice.wav out.wav --to {name}.safetensors", "```", ""]
    lines += [f"- `{one['name']}`: MIDI notes {one['lowest_midi']:g} to {one['highest_midi']:g}; {one['source']}" for one in instruments]
    if notes.get("room"):
        lines += ["", "It has learned the room of its recordings; `--no-room` leaves it out."]
    if "data" in notes:
        data = notes["data"]
        held_out = f", {data['validation_recordings']} of them held out" if data["validation_recordings"] else ""
        lines += ["", "## What it heard", "", f"{data['recordings']} recordings, {data['minutes']:.1f} minutes{held_out}."]
    lines += _measured(notes) + _licence(licences, notes)
    if "settings" in notes:
        lines += ["", "## Settings", "", *(f"    {key}: {value}" for key, value in leaves(notes["settings"]).items())]
    return "\n".join([*lines, ""])


def _slug(text: str) -> str:
    """Text as hubs want a licence's name: small letters, digits, points and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "not-stated"


def _measured(notes: dict[str, Any]) -> list[str]:
    before, after = notes.get("before", {}), notes.get("after", {})
    rows = [f"| {words} | {before[key]:.3g} | {after[key]:.3g} |" for key, words in FIGURES.items() if key in before and key in after]
    if not rows:
        return []
    told = f"What was held out ({after['seconds']:g} s), played from its own pitch and loudness."
    told += " Before: one-shot, from the bundled weights." if notes.get("started_from") else " Before: untrained."
    alarms = [f"- Alarm in training: {text}" for text in notes.get("alarms", {}).values()]
    return ["", "## How well it plays", "", told, "", "| | before | after |", "|---|---|---|", *rows, *([""] if alarms else []), *alarms]


def _licence(licences: str, notes: dict[str, Any]) -> list[str]:
    lines = ["", "## Licence", "", f"Recordings: {licences}."]
    if notes.get("started_from"):
        lines += ["", f"The training went out from {notes['started_from']}, which had heard:", ""]
    lines += [f"- {one['source']}: {one['licence']}{', ' + one['credit'] if one.get('credit') else ''}" for one in notes.get("sources", [])]
    return lines


def leaves(settings: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Settings in sections as one mapping of ``section.key`` to value."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= leaves(value, f"{place}{key}.") if isinstance(value, dict) else {f"{place}{key}": value}
    return found


def write_card(path: Path, instruments: list[dict[str, Any]], notes: dict[str, Any]) -> Path:
    """Write the card of a weights file beside it, whole or not at all; returns its path."""
    card = path.with_suffix(".md")
    write_text(card, model_card(instruments, notes))
    return card
