"""Measurements of a recording, as tables for people: sections, one descriptor a line, with its spread beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SECTIONS = {  # title to how the keys in it begin; the first that fits counts
    "Performance": (
        "file",
        "seconds",
        "duration",
        "note_",
        "notes",
        "f0_",
        "lowest",
        "highest",
        "pitch_",
        "loudness",
        "controls",
        "plot",
        "midi",
    ),
    "Envelope of the notes": ("attack", "decay", "sustain", "release", "log_attack", "temporal"),
    "Vibrato and tremolo": ("vibrato", "tremolo"),
    "Partials": ("harmonic", "odd_", "inharmonicity", "spectral_slope", "tristimulus", "partial"),
    "Spectrum": ("",),
}
MOST_ROWS = 40  # rows of notes and of techniques; JSON holds all


def analysis_lines(result: Mapping[str, Any]) -> list[str]:
    """Lines of ``analyze``.

    Parameters
    ----------
    result : mapping
        As for JSON: descriptors, `notes`, `techniques`.
    """
    lines: list[str] = []
    left = {key: value for key, value in result.items() if key not in ("notes", "techniques")}
    for title, beginnings in SECTIONS.items():
        inside = {key: left.pop(key) for key in list(left) if key.startswith(beginnings)}
        spreads = {_without_iqr(key): value for key, value in inside.items() if _is_iqr(key)}
        rows = [(f"  {key}", show(value), _spread(spreads.get(key))) for key, value in inside.items() if not _is_iqr(key)]
        lines += [*([""] if lines else []), title, *table(rows)]
        if title == "Performance":
            lines += _note_lines(result["notes"]) + _technique_lines(result["techniques"])
    return lines


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Cells in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _note_lines(notes: Sequence[Mapping[str, Any]]) -> list[str]:
    rows: list[tuple[str, ...]] = [("  note", "start_s", "duration_s", "f0_hz", "attack_s", "release_s", "vibrato", "tremolo")]
    for one in notes[:MOST_ROWS]:
        vibrato = f"{one['vibrato_rate_hz']:.1f} Hz ±{one['vibrato_extent_cents']:.0f} cents" if one["vibrato_rate_hz"] else "-"
        tremolo = f"{one['tremolo_rate_hz']:.1f} Hz ±{one['tremolo_depth_db']:.1f} dB" if one["tremolo_rate_hz"] else "-"
        numbers = (f"{one[key]:.3f}" for key in ("start_s", "duration_s"))
        parts = (f"{one[key]:.3f}" if one[key] else "-" for key in ("attack_s", "release_s"))
        rows.append((f"  {one['note']}", *numbers, f"{one['f0_hz']:.1f}", *parts, vibrato, tremolo))
    return ["", "Notes", *(table(rows) if notes else ["  none"]), *_more(notes)]


def _technique_lines(techniques: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for one in techniques[:MOST_ROWS]:
        figures = ", ".join(f"{key} {show(value)}" for key, value in one.items() if key not in ("technique", "start_s", "end_s"))
        rows.append((f"  {one['technique']}", f"{one['start_s']:.2f}-{one['end_s']:.2f} s", figures))
    return ["", "Techniques", *(table(rows) if rows else ["  none"]), *_more(techniques)]


def _more(rows: Sequence[Any]) -> list[str]:
    return [f"  ... and {len(rows) - MOST_ROWS} more; --json lists all"] if len(rows) > MOST_ROWS else []


def _is_iqr(key: str) -> bool:
    return "iqr" in key.split("_")


def _without_iqr(key: str) -> str:
    return key.replace("_iqr", "")


def _spread(value: float | None) -> str:
    return "" if value is None else f"(iqr {show(value)})"


def show(value: Any) -> str:
    """A value as people read it: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
