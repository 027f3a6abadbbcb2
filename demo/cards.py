"""Small drawings of instruments, in lines, and the list of cards made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

_TOLD = json.loads(Path(__file__).with_name("drawings.json").read_text(encoding="utf-8"))  # which the page of `web/` shows, too
FAMILIES: dict[str, str] = _TOLD["families"]
DRAWINGS: dict[str, str] = _TOLD["drawings"]  # each in a box of 48 by 48, drawn with one pen
BY_NAME: dict[str, str] = _TOLD["by_name"]  # the longest beginning of a name that is in this table decides, then the family
BY_FAMILY: dict[str, str] = _TOLD["by_family"]
SAMPLED = "fluid"  # how names end of players that come from a soundfont of that name


def drawing(name: str, family: str) -> str:
    """The picture of an instrument, as SVG; decoration, so that screen readers pass over it."""
    known = [start for start in BY_NAME if name == start or name.startswith(f"{start}_")]
    kind = BY_NAME[max(known, key=len)] if known else BY_FAMILY.get(family.replace(" ", "_"), "flute")
    return (
        '<svg viewBox="0 0 48 48" width="40" height="40" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" '
        f'stroke-linejoin="round" aria-hidden="true" focusable="false">{DRAWINGS[kind]}</svg>'
    )


def label(name: str) -> str:
    """`alto_sax_mtg` to `Alto sax mtg`."""
    return name.replace("_", " ").capitalize()


def players_of(instruments: Sequence[Any]) -> dict[str, list[Any]]:
    """Instruments by the name they are asked for: `cello` holds `cello`, `cello_2` ... and `cello_fluid`."""
    names, groups = {one.name for one in instruments}, {}
    for one in instruments:
        start, _, end = one.name.rpartition("_")
        key = start if start in names and (end.isdigit() or end == SAMPLED) else one.name
        groups.setdefault(key, []).append(one)
    return groups


def title(one: Any, number: int) -> str:
    """The name on the card of a group's n-th player: `Cello`, `Cello 2`, `Cello, sampled`."""
    start, _, end = one.name.rpartition("_")
    if number == 1:
        return label(one.name)
    return f"{label(start)}, sampled" if end == SAMPLED else f"{label(start)} {end}"


def facts(instruments: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Facts about each instrument, for the page."""
    found = {}
    for members in players_of(instruments).values():
        for number, one in enumerate(members, 1):
            found[one.name] = {"label": title(one, number), "family": one.family, "lowest": one.lowest_midi, "highest": one.highest_midi}
    return found


def picker(instruments: Sequence[Any], chosen: str, note_name: Callable[[float], str]) -> str:
    """Cards of all instruments, as radio buttons grouped by family: arrow keys walk through them, a screen reader reads them out."""
    families: dict[str, str] = {}
    for members in players_of(instruments).values():
        made = (_card(one, number, len(members), chosen, note_name) for number, one in enumerate(members, 1))
        key = members[0].family.replace(" ", "_")
        families[key] = families.get(key, "") + "".join(made)
    order = [key for key in FAMILIES if key in families] + [key for key in families if key not in FAMILIES]
    names = {key: escape(FAMILIES.get(key, label(key))) for key in order}
    groups = (
        f'<fieldset class="tt-family" data-family="{escape(key)}"><legend>{names[key]}</legend>'
        f'<div class="tt-cards">{families[key]}</div></fieldset>'
        for key in order
    )
    chips = (f'<button type="button" class="tt-chip" data-family="{escape(key)}">{names[key]}</button>' for key in order)
    return (
        f'<div class="tt-chips" role="group" aria-label="Go to a family">{"".join(chips)}</div>'
        f'<div class="tt-picker" role="radiogroup" aria-label="Instruments">{"".join(groups)}</div>'
    )


def _card(one: Any, number: int, of: int, chosen: str, note_name: Callable[[float], str]) -> str:
    name, checked = escape(one.name), " checked" if one.name == chosen else ""
    more = f'<span class="tt-more">{of} players</span>' if of > 1 and number == 1 else ""
    further = f' data-of="{escape(one.name.rpartition("_")[0])}" hidden' if number > 1 else ""
    return (
        f'<label class="tt-card"{further} title="{escape(one.source)} ({escape(one.licence)})">'
        f'<input type="radio" name="tt-instrument" value="{name}"{checked}>{drawing(one.name, one.family)}'
        f'<span class="tt-name">{escape(title(one, number))}</span>'
        f'<span class="tt-range">{note_name(one.lowest_midi)} – {note_name(one.highest_midi)}</span>'
        f'<span class="tt-fit"></span>{more}</label>'
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


def table(rows: list[list[str]]) -> str:
    """Rows of a batch."""
    cells = "".join(f"<tr><th scope='row'>{escape(a)}</th><td>{escape(b)}</td><td><code>{escape(c)}</code></td></tr>" for a, b, c in rows)
    head = "<tr><th scope='col'>Recording</th><th scope='col'>Result</th><th scope='col'>The same on the command line</th></tr>"
    return f'<div class="tt-scroll"><table class="tt-table"><thead>{head}</thead><tbody>{cells}</tbody></table></div>'
