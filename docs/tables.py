"""Write tables of docs/: instruments and credits from the bundled weights, figures from the evaluations, players of docs/examples.yaml.

    tonetransfer evaluate parallel --json > docs/evaluation.json
    tonetransfer evaluate timbre --baseline AUTOENCODER --refine --recordings FOLDER --json > docs/timbre.json  (tests/bench/autoencoder.py)
    tonetransfer evaluate recordings FOLDER --json > docs/recordings.json
    tonetransfer classifier table --soundfonts FOLDER --json > docs/classifiers.json
    python docs/tables.py

With ``--check`` nothing is written; the exit code is 1 if a file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

from make_examples import examples, result

from tonetransfer.audio.units import note_name
from tonetransfer.evaluation.recordings import figure_rows
from tonetransfer.models.weights import read_notes

DOCS = Path(__file__).parent
FRONT, INSTRUMENTS, MEASURED, CREDITS = DOCS / "index.md", DOCS / "instruments.md", DOCS / "measured.md", DOCS / "credits.md"
EVALUATION, TIMBRE = DOCS / "evaluation.json", DOCS / "timbre.json"
RECORDINGS = DOCS / "recordings.json"
CLASSIFIERS, CLASSIFIER_FIGURES = DOCS / "classifiers.md", DOCS / "classifiers.json"

ROWS = (  # key, what, unit, what was to be reached
    ("source_lsd_db", "LSD, source left as it is", "dB", ""),
    ("resynthesis_lsd_db", "LSD, instrument resynthesised from its own controls", "dB", "6.0"),
    ("transfer_lsd_db", "LSD, transfer against the true performance on the target", "dB", "6.6"),
    ("unseen_source_lsd_db", "unseen: LSD, source left as it is", "dB", ""),
    ("unseen_named_lsd_db", "unseen: LSD, transfer with the trained font's named timbre", "dB", ""),
    ("unseen_one_shot_lsd_db", "unseen: LSD, transfer with the timbre of 10 s of reference", "dB", "7.4"),
    ("raw_pitch_accuracy", "raw pitch accuracy (50 cents) on real recordings", "", "0.98"),
    ("loudness_error_db", "loudness of the result against the asked one, note frames", "dB", "1.5"),
    ("recordings_loudness_error_db", "the same on real recordings", "dB", "1.5"),
    ("realtime_factor", "wav to wav, tracker and all, on two cores", "x real time", "10"),
    (
        "brightness_trumpet_octaves_per_db",
        "brightness over loudness, trumpet (training: 0.075)",
        "octaves of centroid per dB",
        "",
    ),
    ("brightness_alto_sax_octaves_per_db", "the same, alto sax (recorded notes: 0.056)", "octaves of centroid per dB", "within 40 %"),
    ("brightness_cello_octaves_per_db", "the same, cello (recorded notes: 0.031)", "octaves of centroid per dB", "within 40 %"),
)

TIMBRE_ROWS = (  # key without what is examined, what, what was to be reached
    ("common_instrument_linear_accuracy", "instrument, 25 classes, linear probe, unseen phrases", ">= 0.95"),
    ("unseen_orchestra_instrument_linear_accuracy", "instrument, 12 classes, unseen source", ">= 0.65"),
    ("retrieval_accuracy", "nearest neighbour is the same instrument (58)", ""),
    ("retrieval_across_registers_accuracy", "the same, at least a fifth away", ""),
    ("pitch_linear_r2", "mean pitch within an instrument, R2, linear probe", "<= 0.15"),
    ("pitch_mlp_r2", "the same, small network", "<= 0.15"),
    ("loudness_linear_r2", "loudness within an instrument, R2, linear probe", "<= 0.15"),
    ("loudness_mlp_r2", "the same, small network", "<= 0.15"),
    ("swap_raw_pitch_accuracy", "raw pitch accuracy of swaps", ">= 0.98"),
    ("resynthesis_lsd60_db", "LSD-60 [dB] of six real solo recordings, from their own z and controls", "<= 13.5"),
    ("refined_resynthesis_lsd60_db", "the same with `--refine`", "<= 12.5"),
)


def instruments_table(instruments: list[dict[str, Any]]) -> str:
    """One line a family: names with their ranges."""
    families: dict[str, list[str]] = {}
    for one in instruments:
        reach = f"{note_name(one['lowest_midi'])}-{note_name(one['highest_midi'])}"
        families.setdefault(one["family"], []).append(f"`{one['name']}` {reach}")
    lines = ["| family | instruments and their ranges |", "|---|---|"]
    lines += [f"| {family.replace('_', ' ')} | {', '.join(names)} |" for family, names in families.items()]
    return f"{len(instruments)} are bundled.\n\n" + "\n".join(lines)


def evaluation_table(figures: dict[str, Any]) -> str:
    """The figures that are there, in the order of ROWS."""
    lines = ["| | measured | aim |", "|---|---|---|"]
    lines += [f"| {what} | {figures[key]:.3g} {unit} | {aim} |" for key, what, unit, aim in ROWS if key in figures]
    return "\n".join(lines)


def timbre_table(figures: dict[str, Any]) -> str:
    """What can be read from z, beside z of a plain autoencoder, and mean and deviation of MFCC."""
    lines = ["| read from | z | plain autoencoder | MFCC | aim for z |", "|---|---|---|---|---|"]
    for key, what, aim in TIMBRE_ROWS:
        if f"z_{key}" in figures:
            found = [figures.get(f"{who}_{key}") for who in ("z", "baseline", "mfcc")]
            lines.append(f"| {what} | {' | '.join('' if value is None else f'{value:.2f}' for value in found)} | {aim} |")
        elif key in figures:
            lines.append(f"| {what} | {figures[key]:.3g} | | | {aim} |")
    return "\n".join(lines)


def recordings_table(figures: dict[str, Any]) -> str:
    """Real phrases beside their resynthesis, a row an instrument."""
    headings, units, *rows = figure_rows(figures, files=False)
    lines = [f"{heading} [{unit}]" if unit else "" for heading, unit in zip(headings, units, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines, ["---"] * len(lines), *rows))


def classifiers_page(figures: dict[str, Any]) -> str:
    """All classifiers on the same split."""
    rows = figures["classifiers"]
    first = rows[0]
    lines = [
        "# Classifiers",
        "",
        "Written by `python docs/tables.py` from what `tonetransfer classifier table --soundfonts FOLDER --json` printed; all of it took"
        f" {figures['minutes']:.0f}",
        "minutes on two cores. Each was trained on the same recordings, rendered with FluidR3 GM and from recorded notes, and tested on"
        f" {first['files']} unseen phrases",
        f"of these sources ({first['classes']} classes) and on {first['unseen_files']} phrases of GeneralUser GS"
        f" ({first['unseen_classes']} classes), which none of them heard. One run each; steps are few, so that",
        "all of them fit into an hour: not all of the networks are done learning.",
        *([figures["note"]] if "note" in figures else []),
        "",
        "| classifier | accuracy | macro F1 | unseen font | macro F1 | parameters | training, minutes | x real time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = " | ".join(f"{row[key]:.3f}" for key in ("accuracy", "macro_f1", "unseen_accuracy", "unseen_macro_f1"))
        size, speed = f"{row['parameters']:,}".replace(",", " "), f"{row['realtime_factor']:.0f}"
        lines.append(f"| {row['classifier'].replace('_', ' ')} | {shares} | {size} | {row['training_minutes']:.1f} | {speed} |")
    return "\n".join(lines) + "\n"


def credits_page(notes: dict[str, Any]) -> str:
    """Whose recordings the weights were trained on, and whose are played on the first page."""
    lines = ["# Credits", "", "The bundled weights were trained on these recordings and on renderings of them.", ""]
    lines += ["| source | licence | whose | where |", "|---|---|---|---|"]
    lines += [f"| {one['source']} | {one['licence']} | {one['credit']} | <{one['url']}> |" for one in notes["sources"]]
    lines += ["", "The recordings of Freesound, one by one: [docs/freesound.md](freesound.md).", "", "## Recordings on the first page", ""]
    lines += ["Nothing was trained on them. What was made of a recording has the recording's licence.", ""]
    lines += ["| recording | from | licence | whose |", "|---|---|---|---|"]
    for one in examples():
        origin = f"[{one['from']}]({one['url']})" if "url" in one else one["from"]
        origin += f": {one['part']}" if "part" in one else ""
        lines.append(f"| {one['title']} | {origin} | {one['licence']} | {one['credit']} |")
    return "\n".join(lines) + "\n"


def players(shown: list[dict[str, Any]]) -> str:
    """Two players for each example, source and result, as HTML."""
    lines = ['<div class="examples">']
    for one in shown:
        lines += ["<figure>", f"<figcaption>{escape(one['title'])}</figcaption>"]
        for label, path in (("before", Path(one["file"])), ("after", result(one))):
            described = escape(f"{one['title']}: {label}", quote=True)
            lines.append(f'<div>{label}<audio controls preload="none" aria-label="{described}" src="sound/{path.name}"></audio></div>')
        lines += [f"<small>{escape(one['from'])}; {escape(one['licence'])}</small>", "</figure>"]
    return "\n".join([*lines, "</div>"])


def between(text: str, mark: str, content: str) -> str:
    """`text` with what stands between the marks replaced."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    head, rest = text.split(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def wanted() -> dict[Path, str]:
    """What the files should hold."""
    weights = read_notes()
    pages = {path: path.read_text(encoding="utf-8") for path in (FRONT, INSTRUMENTS, MEASURED)}
    pages[FRONT] = between(pages[FRONT], "examples", players(examples()))
    pages[INSTRUMENTS] = between(pages[INSTRUMENTS], "instruments", instruments_table(weights["instruments"]))
    for mark, source, table in (
        ("evaluation", EVALUATION, evaluation_table),
        ("timbre", TIMBRE, timbre_table),
        ("recordings", RECORDINGS, recordings_table),
    ):
        pages[MEASURED] = between(pages[MEASURED], mark, table(json.loads(source.read_text(encoding="utf-8"))))
    classifiers = classifiers_page(json.loads(CLASSIFIER_FIGURES.read_text(encoding="utf-8")))
    return pages | {CLASSIFIERS: classifiers, CREDITS: credits_page(weights["notes"])}


if __name__ == "__main__":
    stale = {path: text for path, text in wanted().items() if not path.exists() or path.read_text(encoding="utf-8") != text}
    if "--check" in sys.argv:
        sys.exit("\n".join(f"{path.name} is not up to date; run python docs/tables.py" for path in stale) or 0)
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
