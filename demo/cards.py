"""Small drawings of instruments, in lines, and the list of cards made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

FAMILIES = {
    "strings": "Strings",
    "flute": "Flutes",
    "reed": "Reeds",
    "sax": "Saxophones",
    "brass": "Brass",
    "free_reed": "Free reeds",
    "organ": "Organ",
    "voice": "Voices",
    "plucked": "Plucked and struck",
}
# Each in a box of 48 by 48, drawn with one pen.
DRAWINGS = {
    "violin": (
        '<g transform="rotate(35 24 24)"><path d="M24 3v17M21.5 5h5M21.5 8h5M20 20c-5 0-7 3-6 7 .5 2 2 2.500 2 4.500s-3 3-3 7.500'
        'c0 4.500 5 6.500 11 6.500s11-2 11-6.500-3-5.500-3-7.500 1.500-2.500 2-4.500c1-4-1-7-6-7z"/><path d="M22.700 20v16M25.300 20v16M21 38h6'
        'M18.500 28c-1 2 .5 4-.5 6M29.500 28c1 2-.5 4 .5 6"/></g>'
    ),
    "cello": (
        '<path d="M24 2v13M21.500 4h5M21.500 7h5M20 15c-5 0-7 3-6 7 .5 2 2 2.500 2 4.500s-4 4-4 8.500c0 5 6 7 12 7s12-2 12-7-4-6.500-4-8.500 '
        '1.500-2.500 2-4.500c1-4-1-7-6-7zM24 42v5"/><path d="M22.700 15v17M25.300 15v17M21 35h6M18 25c-1 2 .5 4-.5 6M30 25c1 2-.5 4 .5 6"/>'
    ),
    "strings": (
        '<path d="M15 3v12M13 5h4M11.500 15c-4 0-5 3-4.500 5s1.500 2 1.500 4-2.500 3-2.500 6.500c0 4 4 5.500 9 5.500s9-1.500 9-5.500-2.500-4.500-2.500-6.500 '
        '1-2 1.500-4-.5-5-4.500-5zM15 15v15"/><path d="M28 41 44 8M30.500 42 46 9M43 6l4 2"/>'
    ),
    "flute": '<path d="M4 36 36 12.500c1-.8 2.500-.6 3.300.4l1.500 2c.8 1 .5 2.500-.5 3.300L8 41.500z"/><path d="M36 17l1.500-1M15 33.500l.1-.1M20 30l.1-.1M25 26.300l.1-.1M30 22.500l.1-.1M7 33.800l3 4.200" />',
    "recorder": (
        '<g transform="rotate(40 24 24)"><path d="M21 2h6v6l1.500 2v4L27 16v22l2 7H19l2-7V16l-1.500-2v-4L21 8zM22.500 8h3"/>'
        '<path d="M24 20v.1M24 24v.1M24 28v.1M24 32v.1M24 36v.1"/></g>'
    ),
    "pan_flute": '<path d="M6 12h6v26a3 3 0 0 1-6 0zM12 12h6v21a3 3 0 0 1-6 0zM18 12h6v16.500a3 3 0 0 1-6 0zM24 12h6v12a3 3 0 0 1-6 0zM30 12h6v8.500a3 3 0 0 1-6 0zM36 12h6v5a3 3 0 0 1-6 0z"/><path d="M4 17.500 44 14.500"/>',
    "ocarina": '<path d="M6 27c0-8 8-13 18-13 9 0 18 3 18 9 0 8-9 13-19 13S6 33 6 27zM19 14.300 17 7h7l1.500 7"/><path d="M17 24v.1M23 22v.1M29 22v.1M19 30v.1M26 29v.1M33 26v.1"/>',
    "bottle": '<path d="M20 4h8v9c0 4 5 5 5 11v17a3 3 0 0 1-3 3H18a3 3 0 0 1-3-3V24c0-6 5-7 5-11zM20 8h8M15 29h18"/>',
    "clarinet": (
        '<g transform="rotate(38 24 24)"><path d="M22.500 1h3l1 8h-5zM21.500 9h5v28h-5zM21.500 37h5l4 9h-13zM21.500 23h5"/>'
        '<path d="M24 13v.1M24 16.500v.1M24 20v.1M24 27v.1M24 30.500v.1M24 34v.1M28 15h1.500M28 29h1.500"/></g>'
    ),
    "oboe": (
        '<g transform="rotate(38 24 24)"><path d="M24 1v8M22 9h4l1 29c3 2 3.500 5 1 8h-8c-2.500-3-2-6 1-8zM21.700 22h4.600"/>'
        '<path d="M24 13v.1M24 16.500v.1M24 26v.1M24 30v.1M24 34v.1M28 17h1.500"/></g>'
    ),
    "bassoon": (
        '<path d="M21 4h5v38a3 3 0 0 1-3 3h-1.500M21 4v33M21 37a3 3 0 0 0-5 0v5a3 3 0 0 0 3 3h4M16 38V24M16 24c0-6-6-7-8-2"/>'
        '<path d="M23.500 9v.1M23.500 14v.1M23.500 19v.1M23.500 28v.1M23.500 33v.1M29 16h2M29 26h2M20 4h7"/>'
    ),
    "sax": (
        '<path d="M11 9c0-3 2-5 5-5s5 2 5 5v21c0 4 2 6 5.500 6s5-2 5-5.500V20h10c-2 2-3 4-3 7v4c0 8-5 13-12.500 13C19 44 15 39 15 32V10c0-1-4-1-4-1z"/>'
        '<path d="M18 16v.1M18 21v.1M18 26v.1M24.500 17H27M24.500 22H27M31 20h11"/>'
    ),
    "soprano_sax": (
        '<g transform="rotate(35 24 24)"><path d="M23 1h2l.8 8h-3.600zM22 9h4l2.500 27 4 9h-17l4-9zM19.500 36h9"/>'
        '<path d="M24 14v.1M24 18v.1M24 22v.1M24 26v.1M24 30v.1M28.500 18H30M29 25h1.500"/></g>'
    ),
    "trumpet": (
        '<path d="M3 21h28c6 0 9-3 12-7v18c-3-4-6-7-12-7H8M3 19v4M13 25v4a4 4 0 0 0 4 4h11a4 4 0 0 0 4-4v-4"/>'
        '<path d="M17 21v-6M22 21v-6M27 21v-6M15.500 14h3M20.500 14h3M25.500 14h3M17 25v8M22 25v8M27 25v8"/>'
    ),
    "horn": (
        '<circle cx="21" cy="22" r="13"/><circle cx="21" cy="22" r="8"/><path d="M8 22C8 8 22 4 32 6M31 4.500v3M27 33.500l5 10c5-1 10-5 12-11l-11.500-3"/>'
        '<path d="M18 22v.1M21 22v.1M24 22v.1"/>'
    ),
    "trombone": (
        '<path d="M4 17h31a4 4 0 0 1 0 8H12M4 15v4M20 31h20M16 25v6a3 3 0 0 0 3 3h13c6 0 8 3 11 6V22c-3 4-5 6-11 6H20"/>'
        '<path d="M27 17v8"/>'
    ),
    "tuba": (
        '<path d="M9 4c2 4 4 7 4 12v15c0 7 5 12 11 12s11-5 11-12V20a4 4 0 0 0-8 0v11a3 3 0 0 1-6 0V16c0-5 2-8 4-12zM8 4h18"/>'
        '<path d="M35 18h6M41 16v4M29.500 24h3M29.500 28h3"/>'
    ),
    "brass": (
        '<path d="M3 16h20c5 0 8-2 10-5v14c-2-3-5-5-10-5H7M3 14v4M11 16v-5M15 16v-5M19 16v-5"/>'
        '<path d="M14 35h18c5 0 8-2 10-5v14c-2-3-5-5-10-5H18M14 33v4M22 35v-5M26 35v-5M30 35v-5"/>'
    ),
    "harmonica": '<path d="M5 18h38v12a3 3 0 0 1-3 3H8a3 3 0 0 1-3-3zM8 14h32v4H8z"/><path d="M11 22h3v5h-3zM17.500 22h3v5h-3zM24 22h3v5h-3zM30.500 22h3v5h-3zM37 22h1.500v5H37z"/>',
    "accordion": (
        '<path d="M5 11h9v27H5zM34 9h9v29h-9zM14 13l4-2 4 3 4-3 4 3 4-2M14 36l4 2 4-3 4 3 4-3 4 2M18 11v27M22 14v21M26 11v27M30 14v21"/>'
        '<path d="M37 14h3M37 18h3M37 22h3M37 26h3M37 30h3M9.500 17v.1M9.500 22v.1M9.500 27v.1M9.500 32v.1"/>'
    ),
    "bagpipe": (
        '<path d="M10 30c0-7 6-11 13-11 8 0 14 4 14 10s-6 9-13 9-14-2-14-8zM15 21 8 5M21 19 18 3M28 19.500 30 4M6 5.500l4-1.500M16 3.300l4-.6M28 3.700l4 .6"/>'
        '<path d="M33 36l6 9M36.500 45.500l4-2M12 26 5 24"/>'
    ),
    "organ": (
        '<path d="M7 38V20l2.500-3L12 20v18M14.500 38V13l2.500-3 2.500 3v25M21.500 38V7L24 4l2.500 3v31M28.500 38V13l2.500-3 2.500 3v25M36 38V20l2.500-3L41 20v18M4 38h40v6H4z"/>'
        '<path d="M8.500 33h2M16 33h2M23 33h2M30 33h2M37.500 33h2"/>'
    ),
    "voice": (
        '<path d="M17 46c0-4-3-4-6-4-2 0-3-1-3-3v-5l-4-2 4-7C7 13 13 5 24 5c10 0 17 7 17 17 0 9-6 12-6 24"/>'
        '<path d="M16 33c3 1 5 .5 7-1M17 21h4"/>'
    ),
    "guitar": (
        '<g transform="rotate(42 24 24)"><path d="M22.500 1h3v19h-3zM20 1h8v5h-8M20 20c-4 0-5.500 3-5 6 .3 2 1 2.500 1 4 0 2.500-4 3.500-4 8.500C12 44 17 47 24 47s12-3 12-8.500'
        'c0-5-4-6-4-8.500 0-1.500.7-2 1-4 .5-3-1-6-5-6z"/><circle cx="24" cy="31" r="3.500"/><path d="M20 41h8"/></g>'
    ),
    "harp": (
        '<path d="M10 44V9c0-3 2-5 5-5 6 0 8 8 15 8 4 0 7-1 9-3-1 13-9 27-25 35zM8 44h8"/>'
        '<path d="M15 12v26M20 14.500V34M25 17v12M30 18v5"/>'
    ),
    "mallets": (
        '<path d="M4 27h6v14H4zM12 28h6v12h-6zM20 29h6v10h-6zM28 30h6v8h-6zM36 31h6v6h-6z"/>'
        '<circle cx="13" cy="20" r="3.500"/><circle cx="34" cy="20" r="3.500"/><path d="M15 17 25 4M32.500 17 24 4"/>'
    ),
}
BY_NAME = {  # the longest beginning of a name that is in this table decides, then the family
    "violin": "violin",
    "viola": "violin",
    "fiddle": "violin",
    "cello": "cello",
    "contrabass": "cello",
    "string": "strings",
    "recorder": "recorder",
    "whistle": "recorder",
    "shakuhachi": "recorder",
    "pan_flute": "pan_flute",
    "ocarina": "ocarina",
    "bottle": "bottle",
    "clarinet": "clarinet",
    "oboe": "oboe",
    "english_horn": "oboe",
    "shenai": "oboe",
    "bassoon": "bassoon",
    "soprano_sax": "soprano_sax",
    "trumpet": "trumpet",
    "muted_trumpet": "trumpet",
    "horn": "horn",
    "trombone": "trombone",
    "tuba": "tuba",
    "brass": "brass",
    "harmonica": "harmonica",
    "bagpipe": "bagpipe",
    "reed_organ": "organ",
    "acoustic_guitar": "guitar",
    "harp": "harp",
    "pizzicato": "strings",
    "marimba": "mallets",
    "vibraphone": "mallets",
}
BY_FAMILY = {
    "strings": "violin",
    "flute": "flute",
    "reed": "clarinet",
    "sax": "sax",
    "brass": "trumpet",
    "free_reed": "accordion",
    "organ": "organ",
    "voice": "voice",
    "plucked": "guitar",
}


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
            f'<fieldset class="tt-family" id="tt-family-{escape(key)}"><legend>{title}</legend><div class="tt-cards">{cards}</div></fieldset>'
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
        f'{drawing(one.name, one.family)}<span class="tt-name">{escape(label(one.name))}</span><span class="tt-range">{escape(played)}</span></label>'
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
