"""The model card of an instrument: what it is, what it heard, how well it plays, whose it is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

FIGURES = {
    "lsd_db": "log-spectral distance [dB]",
    "lsd60_db": "the same within 60 dB of the loudest [dB]",
    "loudness_error_db": "loudness, played against recorded [dB]",
    "raw_pitch_accuracy": "notes in tune within 50 cents",
}


def model_card(instrument: dict[str, Any], notes: dict[str, Any]) -> str:
    """A model card as Markdown, with the header that model hubs read.

    Parameters
    ----------
    instrument : dict
        As :meth:`tonetransfer.model.Instrument.to_dict` gives it.
    notes : dict
        What a weights file says of its training.
    """
    name, data, before, after = instrument["name"], notes["data"], notes["before"], notes["after"]
    rows = [f"| {words} | {before[key]:.3g} | {after[key]:.3g} |" for key, words in FIGURES.items() if key in before and key in after]
    started = notes["started_from"]
    lines = [
        "---",
        "library_name: tonetransfer",
        "tags: [audio, tone-transfer, timbre, ddsp]",
        f'license_name: "{instrument["licence"]}"',
        "license: other",
        "---",
        "",
        f"# {name}",
        "",
        "An instrument for [tonetransfer](https://pypi.org/project/tonetransfer/):",
        "",
        "```sh",
        f"tonetransfer transfer voice.wav out.wav --to {name}.safetensors",
        "```",
        "",
        f"It plays from MIDI note {instrument['lowest_midi']:g} to {instrument['highest_midi']:g}."
        + (" It has learned the room of its recordings; `--no-room` leaves it out." if notes["room"] else ""),
        "",
        "## What it heard",
        "",
        f"{data['recordings']} recordings, {data['minutes']:.1f} minutes ({data['validation_recordings']} of them held out): {instrument['source']}.",
        "",
        "## How well it plays",
        "",
        f"What was held out ({after.get('seconds', 0):g} s), played from its own pitch and loudness"
        + (
            f"; before is the model at first hearing, untrained on it. {notes['steps']} steps." if started else f". {notes['steps']} steps."
        ),
        "",
    ]
    lines += ["| | before | after |", "|---|---|---|", *rows, ""] if rows else ["Nothing was held out.", ""]
    lines += [f"- {text}" for text in notes["alarms"].values()]
    lines += ["## Licence", "", f"Recordings: {instrument['licence']}."]
    if started:
        lines += ["", f"The training went out from {started}; what that had heard:", ""]
        lines += [f"- {one['source']}: {one['licence']}{', ' + one['credit'] if one.get('credit') else ''}" for one in notes["sources"]]
    settings = "\n".join(f"    {line}" for line in _flat(notes["settings"]))
    return "\n".join([*lines, "", "## Settings", "", settings, ""])


def _flat(settings: dict[str, Any], place: str = "") -> list[str]:
    found = []
    for key, value in settings.items():
        found += _flat(value, f"{place}{key}.") if isinstance(value, dict) else [f"{place}{key}: {value}"]
    return found


def write_card(path: Path, instrument: dict[str, Any], notes: dict[str, Any]) -> Path:
    """Write the card of a weights file beside it, whole or not at all; returns its path."""
    card = path.with_suffix(".md")
    with tempfile.NamedTemporaryFile("w", dir=card.parent, suffix=".part", delete=False, encoding="utf-8") as file:
        file.write(model_card(instrument, notes))
    os.chmod(file.name, 0o644)
    os.replace(file.name, card)
    return card
