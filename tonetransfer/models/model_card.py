"""The model card of an instrument: what it is, what it heard, how well it plays, whose it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..atomic import write_text

FIGURES = {
    "lsd_db": "log-spectral distance [dB]",
    "lsd60_db": "the same within 60 dB of the loudest [dB]",
    "loudness_error_db": "loudness, played against recorded [dB]",
    "raw_pitch_accuracy": "notes in tune within 50 cents",
}


def model_card(instruments: list[dict[str, Any]], notes: dict[str, Any]) -> str:
    """A model card as Markdown, with the header that model hubs read.

    Parameters
    ----------
    instruments : list of dict
        As :meth:`tonetransfer.models.timbre_model.Instrument.to_dict` gives them.
    notes : dict
        What a weights file says of its training; what it does not say is left out.
    """
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
    told += " Before: at first hearing." if notes.get("started_from") else " Before: untrained."
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
