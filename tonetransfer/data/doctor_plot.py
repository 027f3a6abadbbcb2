"""A picture of what `doctor` found: which notes, how loud, and every file at a glance."""

from __future__ import annotations

import os
import textwrap
from typing import Any

import numpy as np

from ..analysis.plot_panels import FAINT, INK, RESULT, SOURCE, tidy
from ..analysis.plots import _figure, _save, _style
from ..atomic import check_new
from ..audio.units import PRINTED, note_name
from ..errors import ToneTransferError, printable
from .advice import LIMITED, NOT_YET, READY

COLOURS = {READY: "#4c9f70", LIMITED: "#e0a030", NOT_YET: "#c0504d"}
MOST_FILES = 40  # that are drawn, the longest
MOST_FINDINGS = 7
LONGEST_NAME = 32
LINE_IN = 0.21  # height of a finding
WIDEST = 172  # letters of one


def plot_doctor(path: str | os.PathLike[str], found: dict[str, Any], *, overwrite: bool = False) -> None:
    """Draw a report of :func:`tonetransfer.data.doctor.examine_folder` as a new .png file; ToneTransferError if it cannot be written."""
    path = check_new(path, ToneTransferError, kind="picture", overwrite=overwrite)
    files = sorted(found["recordings"], key=lambda one: -one["note_seconds"])[:MOST_FILES]
    heights = (0.8 + LINE_IN * max(min(len(found["findings"]), MOST_FINDINGS), 1), 2.6, 0.4 + 0.21 * max(len(files), 4))  # inches
    total = sum(heights) + 2.2
    with _style():
        figure = _figure(13.0, total, "")
        top, bottom = 1.0 - 0.2 / total, 0.5 / total
        gap = 0.75 / (sum(heights) / 3.0)
        rows = figure.add_gridspec(3, 1, height_ratios=heights, hspace=gap, left=0.05, right=0.98, top=top, bottom=bottom)
        _draw_findings(figure.add_subplot(rows[0]), found, heights[0])
        middle = rows[1].subgridspec(1, 2, width_ratios=(1.5, 1.0), wspace=0.14)
        _draw_register(figure.add_subplot(middle[0]), found)
        _draw_loudness(figure.add_subplot(middle[1]), found)
        below = rows[2].subgridspec(1, 4, width_ratios=(0.62, 1.0, 1.0, 0.85), wspace=0.06)
        _draw_files([figure.add_subplot(below[column]) for column in range(4)], files, len(found["recordings"]))
        _save(figure, path)


def _draw_findings(axes: Any, found: dict[str, Any], height_in: float) -> None:
    axes.axis("off")
    axes.text(0.0, 1.0, found["verdict"], fontsize=18, weight="bold", color=COLOURS[found["verdict"]], va="top")
    said = f"{found['files']} recordings, {found['minutes']:.1f} minutes, {found['note_minutes']:.1f} of them notes"
    skipped = f", {len(found['skipped'])} files skipped" if found["skipped"] else ""
    axes.text(0.0, 1.0 - 0.36 / height_in, printable(f"{found['folder']}: {said}{skipped}"), va="top", fontsize=9, parse_math=False)
    for row, one in enumerate(found["findings"][:MOST_FINDINGS]):
        colour = {"stop": COLOURS[NOT_YET], "limit": COLOURS[LIMITED], "hint": FAINT}[one["weight"]]
        place = 1.0 - (0.68 + LINE_IN * row) / height_in
        axes.text(0.0, place, "■", color=colour, va="top", fontsize=9)
        words = textwrap.shorten(f"{one['finding']}: {one['advice']}", WIDEST, placeholder=" …")
        axes.text(0.016, place, printable(words), va="top", fontsize=8.5, parse_math=False)
    if not found["findings"]:
        axes.text(0.0, 1.0 - 0.68 / height_in, "nothing to change", va="top", fontsize=8.5)


def _draw_register(axes: Any, found: dict[str, Any]) -> None:
    axes.set_title("Register: seconds of each note")
    seconds = found["register_seconds"]
    if seconds:
        midi = np.array(sorted(seconds))
        shown = midi[(midi >= found["lowest_note_midi"] - 2) & (midi <= found["highest_note_midi"] + 2)]
        axes.bar(shown, [seconds[int(note)] for note in shown], width=0.85, color=SOURCE)
        first, last = int(shown.min()) - 1, int(shown.max()) + 1
        step = 1 if last - first <= 18 else 12 if last - first > 60 else 3
        ticks = [note for note in range(first, last + 1) if note % step == 0]
        axes.set_xticks(ticks, [note_name(note, PRINTED) for note in ticks])
        axes.set_xlim(first, last)
    tidy(axes, "[s]")


def _draw_loudness(axes: Any, found: dict[str, Any]) -> None:
    axes.set_title("Loudness of the notes, and the noise floor")
    seconds = found["loudness_seconds"]
    if seconds:
        edges = np.array(sorted(seconds))
        axes.bar(edges + 1.0, [seconds[float(edge)] for edge in edges], width=1.8, color=SOURCE)
        floor_db = found["noise_floor_db"]
        known = found["noise_floor_known"]
        axes.axvline(floor_db, color=RESULT, lw=1.6, ls="-" if known else ":")
        top = axes.get_ylim()[1]
        near_left = floor_db < -70.0
        words = f" noise {'' if known else 'at most '}{floor_db:.0f} dB(A) "
        axes.text(floor_db, 0.97 * top, words, color=RESULT, va="top", ha="left" if near_left else "right", fontsize=8)
        axes.set_xlim(min(floor_db - 4.0, float(edges.min()) - 4.0), min(max(float(edges.max()) + 6.0, -10.0), 2.0))
    tidy(axes, "[s]", xlabel="[dB(A) re full scale]")


def _draw_files(columns: list[Any], files: list[dict[str, Any]], total: int) -> None:
    """One row for each file: how long it is played, loudness of its notes over its noise floor, and its faults in words."""
    names, playing, levels, words = columns
    rows = np.arange(len(files))
    more = f" (the {len(files)} longest of {total})" if total > len(files) else ""
    playing.set_title(f"Seconds, notes in blue{more}")
    playing.barh(rows, [one["seconds"] for one in files], height=0.7, color="#d9e4ef")
    playing.barh(rows, [one["note_seconds"] for one in files], height=0.7, color=SOURCE)
    playing.set_yticks(rows, [""] * len(rows))
    for row, one in zip(rows, files, strict=True):
        name = one["name"] if len(one["name"]) <= LONGEST_NAME else "…" + one["name"][-LONGEST_NAME + 1 :]
        names.text(1.0, row, printable(name), va="center", ha="right", fontsize=7, color=INK, parse_math=False)
    tidy(playing, "", xlabel="[s]")
    levels.set_title("Soft to loud notes, noise floor")
    for row, one in zip(rows, files, strict=True):
        levels.plot([one["softest_note_db"], one["loudest_note_db"]], [row, row], color=SOURCE, lw=4.0, solid_capstyle="butt")
        levels.plot([max(one["noise_floor_db"], -119.0)], [row], marker="|", color=RESULT, ms=8, mew=1.8, ls="none")
    levels.set_yticks(rows, [""] * len(rows))
    tidy(levels, "", xlabel="[dB(A) re full scale]")
    for axes in (names, words):
        axes.axis("off")
        axes.set_xlim(0.0, 1.0)
    words.set_title("What stands out")
    for row, one in zip(rows, files, strict=True):
        words.text(0.0, row, printable(_faults(one)), va="center", fontsize=7)
    for axes in columns:
        axes.set_ylim(len(rows) - 0.4, -0.6)


def _faults(one: dict[str, Any]) -> str:
    said = [f"{one['sample_rate_hz'] / 1000:g} kHz"]
    if one["clipped_share"]:
        said.append(f"clipped {100 * one['clipped_share']:.2g} %")
    if one["hum_hz"]:
        said.append(f"hum {one['hum_hz']:.0f} Hz {one['hum_db']:.0f} dB")
    if one["reverberation_s"] is not None and one["reverberation_s"] > 0.4:
        said.append(f"RT60 {one['reverberation_s']:.1f} s")
    if one["bandwidth_hz"] < 14000.0:
        said.append(f"up to {one['bandwidth_hz'] / 1000:.1f} kHz")
    if one["disagreeing_channels"]:
        said.append(f"channels agree {one['channel_correlation']:.2f}")
    if one["dead_channel"]:
        said.append("a dead channel")
    if one["voices_share"] > 0.1:
        said.append(f"second note {100 * one['voices_share']:.0f} %")
    return ", ".join(said)
