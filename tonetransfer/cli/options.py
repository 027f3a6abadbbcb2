"""Options that several verbs have, the kinds of values that they take, and tables of results for people. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Report = tuple[dict[str, Any], list[str]]
CORPUS_CONFIG = Path("configs/corpus.yaml")


def _typed(convert: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    """A type for argparse whose complaint says what was wanted."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} came, {wanted} was wanted") from None

    return read


def _finite(text: str, lowest: float = -math.inf, highest: float = math.inf) -> float:
    value = float(text)
    if not math.isfinite(value) or not lowest <= value <= highest:
        raise ValueError(text)
    return value


def _whole(text: str, highest: int) -> int:
    value = int(text)
    if not 0 <= value <= highest:
        raise ValueError(text)
    return value


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.rpartition(":") if ":" in part else (part, ":", "1")
        if not name.strip():
            raise ValueError(text)
        shares[name.strip()] = shares.get(name.strip(), 0.0) + _finite(share, lowest=0.0)
    if not sum(shares.values()):
        raise ValueError(text)
    return shares


NUMBER = _typed(_finite, "a number")
SHARE = _typed(lambda text: _finite(text, 0.0, 1.0), "a number from 0 to 1")
PERCENT = _typed(lambda text: _finite(text, 0.01, 99.99), "a percentage from 0.01 to 99.99")
DYNAMICS = _typed(lambda text: _finite(text, 0.0, 2.0), "a number from 0 to 2")
NOISE = _typed(lambda text: _finite(text, -60.0, 24.0), "a number of decibels from -60 to 24")
MINUTES = _typed(lambda text: _finite(text, 0.05, 1e6), "a number of minutes from 0.05")
SECONDS = _typed(lambda text: _finite(text, 0.01, 3600.0), "a number of seconds from 0.01")
TIME = _typed(lambda text: _finite(text, 0.0, 60.0), "a number of seconds, 0 or more,")
LOUDNESS = _typed(lambda text: _finite(text, -120.0, 60.0), "a number of decibels from -120 to 60")
LEVEL = _typed(lambda text: _finite(text, -100.0, 0.0), "a number of decibels from -100 to 0")
MEGABYTES = _typed(lambda text: _finite(text, 1.0, 2000.0), "a number of megabytes from 1")
PORT = _typed(lambda text: _whole(text, 65535), "a whole number from 0 to 65535")
COUNT = _typed(lambda text: _whole(text, 2**63 - 1), "a whole number from 0 to 2^63 - 1")
TRANSPOSE = _typed(lambda text: text if text == "auto" else _finite(text, -96.0, 96.0), "auto or a number of semitones")
MIX = _typed(_shares, "names with shares, such as violin:0.5,flute:0.5,")


def add_verb(
    verbs: Any,
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], Report],
    *,
    loads: str | None = "steps",
    kept: str = "nothing was written",
) -> argparse.ArgumentParser:
    """A parser for a verb that `run` does: it takes the parsed arguments and gives a mapping for ``--json``, and lines for people.

    `loads` is a module of this folder that is imported before warnings are told: what other packages say while they are loaded is not.
    `kept` says what is there after an interruption, and how to go on.
    """
    parser = verbs.add_parser(name, help=summary, description=_sentence(summary), allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run, loads=loads, kept=kept)
    return parser


def add_family(verbs: Any, name: str, summary: str) -> Any:
    """Parsers of the verbs of a family, such as ``evaluate report``; arguments as for :func:`add_verb`."""
    return verbs.add_parser(name, description=_sentence(summary), allow_abbrev=False).add_subparsers(metavar="VERB", required=True)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def add_target(parser: argparse.ArgumentParser, *, tracks: bool = False) -> Any:
    who = parser.add_argument_group("who plays")
    target = who.add_mutually_exclusive_group(required=True)
    of_track = "; 2=NAME: of track 2 (of channel 2 in a file of one track); auto: by the programs of General MIDI" if tracks else ""
    target.add_argument(
        "--to",
        action="append" if tracks else "store",
        metavar="[TRACK=]NAME|FILE.safetensors" if tracks else "NAME|FILE.safetensors",
        help=f"an instrument, a file that holds one (FILE.safetensors:NAME of several), or hf://OWNER/REPO{of_track}",
    )
    target.add_argument("--like", metavar="REF", type=Path, help="a recording of the instrument, a few seconds or more")
    target.add_argument("--mix", metavar="NAME:SHARE,...", type=MIX, help="a blend, for example violin:0.5,flute:0.5")
    who.add_argument(
        "--match", metavar="REF", type=Path, help="with --to or --mix: in the colour (body, microphone, room) of a recording of it"
    )
    who.add_argument("--refine", action="store_true", help="fit the model to --like first: half a minute, and a closer likeness")
    who.add_argument("--keep", metavar="FILE.safetensors", type=Path, help="keep the refined instrument, for --to")
    add_weights(who)
    return target


def add_keys(parser: argparse.ArgumentParser) -> None:
    keys = parser.add_argument_group("notes of MIDI")
    keys.add_argument("--attack", metavar="S", type=TIME, default=0.02, help="rise of a note (default: 0.02)")
    keys.add_argument("--decay", metavar="S", type=TIME, default=0.1, help="fall from its peak (default: 0.1)")
    keys.add_argument("--sustain", metavar="DB", type=LEVEL, default=-2.0, help="of a held note, re its peak (default: -2)")
    keys.add_argument("--release", metavar="DB/S", type=NUMBER, help="how fast ended notes sink (default: the instrument's)")
    keys.add_argument("--velocity-curve", metavar="SHARE", type=SHARE, default=1.0, help="0: all notes are loud (default: 1)")


def add_arrangement(parser: argparse.ArgumentParser) -> Any:
    """Groups of options of how it is played, which is returned, and how it sounds."""
    how, sound = parser.add_argument_group("how it is played"), parser.add_argument_group("how it sounds")
    how.add_argument(
        "--transpose", metavar="auto|SEMITONES", type=TRANSPOSE, default="auto", help="auto: as it is, or by octaves if it is out of reach"
    )
    how.add_argument("--loudness", metavar="DB", type=LOUDNESS, default=0.0, help="ask for so much more (default: 0)")
    how.add_argument(
        "--autotune", metavar="0..1", type=SHARE, default=0.0, help="how far to pull notes to the nearest of the scale (default: 0)"
    )
    how.add_argument("--scale", default="chromatic", help="of --autotune, in the source: 'C major', 'A blues' (default: chromatic)")
    how.add_argument(
        "--dynamics", metavar="0..2", type=DYNAMICS, default=1.0, help="0: all notes equally loud, 1: as played, 2: twice as far apart"
    )
    sound.add_argument("--noise", metavar="DB", type=NOISE, default=0.0, help="change of breath or bow noise, -60 to 24 (default: 0)")
    sound.add_argument("--hall", metavar="0..1", type=SHARE, default=0.0, help="how much of a hall is heard (default: 0, dry)")
    sound.add_argument(
        "--no-room",
        dest="room",
        action="store_false",
        help="leave out every room: the recording's, which else stays around the result, and one that an instrument has learned",
    )
    sound.add_argument("--seed", metavar="N", type=COUNT, default=0, help="of the noise in the sound (default: 0)")
    return how


def add_dynamic(parser: Any) -> None:
    parser.add_argument(
        "--dynamic",
        metavar="MARKING|DB",
        help="how hard it is played, which changes the timbre and not the level: ppp to fff, or dB re the strongest (default: estimated)",
    )


def add_tracker(parser: Any) -> None:
    parser.add_argument("--tracker", metavar="NAME", help="of f0; an unknown name lists those there are")


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", metavar="N", type=COUNT, default=0, help="processes (default: 0, one for each core)")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def add_weights(parser: Any) -> None:
    parser.add_argument("--weights", metavar="FILE.safetensors", type=Path, help="a model of your own instead of the bundled one")


def add_classifier(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FILE.safetensors", type=Path, help="a classifier of your own instead of the bundled one")


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Cells in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def show(value: Any) -> str:
    """A value as people read it: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
