"""Small drawings of instruments, in lines, and the list of cards made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

_TOLD = json.loads(Path(__file__).with_name("drawings.json").read_text(encoding="utf-8"))  # which the page of `web/` shows, too
FAMILIES: dict[str, str] = _TOLD["families"]
DRAWINGS: dict[str, str] = _TOLD["drawings"]  # each in a box of 48 by 48, drawn with one pen
BY_NAME: dict[str, str] = _TOLD["by_name"]  # the longest beginning of a name that is in this table decides, then the family
BY_FAMILY: dict[str, str] = _TOLD["by_family"]


def drawing(name: str, family: str) -> str:
    """The picture of an instrument, as SVG; decoration, so that screen readers pass over it."""
    known = [start for start in BY_NAME if name == start or name.startswith(f"{start}_")]
    kind = BY_NAME[max(known, key=len)] if known else BY_FAMILY.get(family.replace(" ", "_"), "flute")
    return (
        '<svg viewBox="0 0 48 48" width="40" height="40" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" '
        f'stroke-linejoin="round" aria-hidden="true" focusable="false">{DRAWINGS[kind]}</svg>'
    )


def by_family(instruments: Iterable[Any]) -> dict[str, list[Any]]:
    """Instruments under the name of their family, in the order of :data:`FAMILIES`."""
    groups: dict[str, list[Any]] = {key: [] for key in FAMILIES}
    for one in instruments:
        groups.setdefault(one.family.replace(" ", "_"), []).append(one)
    return {key: members for key, members in groups.items() if members}


def label(name: str) -> str:
    """`alto_sax_mtg` to `Alto sax mtg`."""
    return name.replace("_", " ").capitalize()


def picker(instruments: Sequence[Any], chosen: str, ranges: dict[str, str]) -> str:
    """Cards of all instruments, as radio buttons grouped by family: arrow keys walk through them, a screen reader reads them out."""
    chips, groups = [], []
    for key, members in by_family(instruments).items():
        title = escape(FAMILIES.get(key, label(key)))
        chips.append(f'<a class="tt-chip" href="#tt-family-{escape(key)}" data-family="{escape(key)}">{title}</a>')
        cards = "".join(_card(one, chosen, ranges[one.name]) for one in members)
        groups.append(
            f'<fieldset class="tt-family" id="tt-family-{escape(key)}"><legend>{title}</legend>'
            f'<div class="tt-cards">{cards}</div></fieldset>'
        )
    return (
        f'<nav class="tt-chips" aria-label="Families of instruments">{"".join(chips)}</nav>'
        f'<div class="tt-picker" role="group" aria-label="Instruments" tabindex="-1">{"".join(groups)}</div>'
    )


def _card(one: Any, chosen: str, played: str) -> str:
    checked = " checked" if one.name == chosen else ""
    name = escape(one.name)
    return (
        f'<label class="tt-card"><input type="radio" name="tt-instrument" value="{name}"{checked}>'
        f'{drawing(one.name, one.family)}<span class="tt-name">{escape(label(one.name))}</span>'
        f'<span class="tt-range">{escape(played)}</span></label>'
    )


def players(cells: Sequence[dict[str, str]]) -> str:
    """A grid of small players: `name`, `family`, `sound` (a data URI, or empty while it is being made) and `note`."""
    items = []
    for cell in cells:
        name = escape(cell["title"])
        sound = (
            f'<audio controls preload="metadata" src="{escape(cell["sound"])}" aria-label="{name}"></audio>'
            if cell["sound"]
            else '<div class="tt-wait" role="status">playing …</div>'
        )
        kind = "tt-player tt-original" if cell["name"] == "source" else "tt-player"
        items.append(
            f'<li class="{kind}">{drawing(cell["name"], cell["family"])}<div><h4>{name}</h4><p>{escape(cell["note"])}</p></div>{sound}</li>'
        )
    return f'<ul class="tt-players">{"".join(items)}</ul>'
