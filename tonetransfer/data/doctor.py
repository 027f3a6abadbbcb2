"""Assessment of recordings as training material: every file is measured, then the folder as a whole.

What is measured, and how, is in :mod:`tonetransfer.data.defects`; what it means in :mod:`tonetransfer.data.advice`. Which files are taken
is decided by the same rules as in ``prepare`` (:mod:`tonetransfer.data.scan`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..analysis.notes import close_gaps, find_notes
from ..audio.files import stream_channels
from ..audio.frames import FrameGrid
from ..audio.units import PRINTED, amplitude_to_db, hz_to_midi, note_name
from ..controls.controls import common_offset
from ..controls.recording_checks import CLIPPED_SHARE, clipped_share
from ..errors import AudioError
from ..pitch.estimators import DEFAULT_TRACKER, find_tracker
from ..threads import Progress, one_thread
from .advice import AGREEING, HINT, LIMIT, STOP, advise
from .defects import RawMeter, decay_times_s, find_hum, noise_floor_db, pause_seconds, reverberation_s
from .jobs import run_jobs
from .scan import Skipped, SourceFile, Stretch, Suitability, check_found, find_sources, read_stretches, short_reason

NOTES = 128  # MIDI numbers of the register histogram
LOUDNESS_EDGES_DB = np.arange(-90.0, 2.0, 2.0)
LEAST_PAUSE_S = 0.3  # in which a file's noise can be heard
EDGE_S = 0.05  # of a note at both ends, that says nothing of how loudly it is played; of a short note a quarter
SHOWN_FILES = 12  # in lines for people


def examine_folder(
    folder: str | Path, *, tracker: str = DEFAULT_TRACKER, workers: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure all recordings of a folder, or a single one, and judge them as training material.

    Gives `verdict` and `findings` (:func:`tonetransfer.data.advice.advise`); measurements of all usable recordings together; `recordings`,
    the same for each of them; `skipped`, with kind and reason. Keys end in their unit; None stands where nothing could be measured.
    `progress` is told of seconds of audio. SettingsError: there is no recording; the message says what is there.
    """
    find_tracker(tracker)
    sources, skipped = find_sources(folder)
    check_found(folder, sources, skipped)
    done, total_s, heard = 0.0, sum(one.seconds for one in sources), []
    for found in run_jobs(partial(examine_file, tracker=tracker), sorted(sources, key=lambda one: -one.seconds), workers=workers):
        heard.append(found)
        done += found["header_seconds"]
        if progress:
            progress(round(done), max(round(total_s), 1))
    heard.sort(key=lambda one: one["name"])
    files = [one for one in heard if not one["kind"]]
    skipped += [Skipped(one["name"], one["kind"], one["reason"]) for one in heard if one["kind"]]
    kinds = dict(sorted(Counter(one.kind for one in skipped).items()))
    measured = {
        "folder": str(folder),
        "files": len(files),
        "unsuitable_files": sum(bool(one["kind"]) and one["kind"] != "unreadable" for one in heard),
        "skipped_by_kind": kinds,
        **_together(files),
    }
    shown = [{key: value for key, value in one.items() if key not in PRIVATE} for one in files]
    return (
        advise(measured) | measured | {"recordings": shown, "skipped": [asdict(one) for one in sorted(skipped, key=lambda one: one.name)]}
    )


def examine_file(source: SourceFile, *, tracker: str) -> dict[str, Any]:
    """Measure one file; `kind` and `reason` say why it cannot be used, and are empty if it can."""
    found: dict[str, Any] = {"name": source.name, "kind": "", "reason": "", "header_seconds": source.seconds}
    try:
        with one_thread():
            return found | _as_in_file(source) | _as_heard(source, tracker)
    except AudioError as error:
        return found | {"kind": "unreadable", "reason": short_reason(error, source.path)}


def _as_in_file(source: SourceFile) -> dict[str, Any]:
    """Measure the samples at their own rate."""
    meter, flat_share = RawMeter(source.facts.sample_rate), 0.0
    for number, piece in enumerate(stream_channels(source.path)):
        meter.add(piece)
        if not number:
            flat_share = max(clipped_share(torch.from_numpy(np.ascontiguousarray(channel))) for channel in piece.T)
    channels = meter.channels()
    dead = source.facts.n_channels > 1 and channels.best_correlation == 0.0
    flat = flat_share > CLIPPED_SHARE and meter.peak > 0.1  # turned down after it clipped
    return {
        "sample_rate_hz": source.facts.sample_rate,
        "channels": source.facts.n_channels,
        "coding": source.facts.coding,
        "peak_db": float(amplitude_to_db(meter.peak)),
        "clipped_samples": meter.full_scale_samples,
        "clipped_runs": meter.clipped_runs,
        "clipped_share": max(meter.clipped_share if meter.clipped_runs else 0.0, flat_share if flat else 0.0),
        "bandwidth_hz": meter.bandwidth_hz(),
        "channel_correlation": channels.correlation,
        "channel_delay_ms": channels.delay_ms,
        "channel_level_difference_db": channels.level_difference_db,
        "dead_channel": dead,
        "disagreeing_channels": source.facts.n_channels > 1 and not dead and abs(channels.correlation) < AGREEING,
    }


def _as_heard(source: SourceFile, tracker: str) -> dict[str, Any]:
    """Measure pitch, loudness and noise."""
    grid = FrameGrid()
    judged, floors, decays, hum, stretches, pauses_s = Suitability(), [], [], None, [], 0.0
    for heard in read_stretches(source.path, grid, tracker):
        judged = judged.add(heard)
        loudness, rate = heard.controls.loudness_db.numpy(), grid.frame_rate
        floors.append(noise_floor_db(loudness, rate))
        pauses_s += pause_seconds(heard.controls.note_frames().numpy(), loudness, rate)
        decays += decay_times_s(loudness, rate, floors[-1])
        hum = hum or find_hum(heard.audio.numpy(), grid.sample_rate)  # of the first stretch: it does not come and go
        stretches.append(_played(heard))
    kind, reason = judged.objection() or ("", "")
    assert hum is not None  # a recording has at least one stretch
    register, levels = (np.sum([one[name] for one in stretches], axis=0) for name in ("register_seconds", "loudness_seconds"))
    note_midi = np.concatenate([one["note_midi"] for one in stretches])
    rt60, offset = reverberation_s(decays), common_offset(note_midi)
    return {
        "kind": kind,
        "reason": reason,
        "seconds": judged.seconds,
        "note_seconds": judged.note_seconds,
        "notes": len(note_midi),
        "voices_share": judged.voices_seconds / max(judged.seconds, 1e-9),
        "noise_floor_db": min(floors),
        "pause_seconds": pauses_s,
        **_levels(levels),
        "hum_hz": hum.base_hz,
        "hum_db": hum.level_db,
        "reverberation_s": rt60,
        "tuning_offset_cents": None if offset is None else 100.0 * offset,
        "register_seconds": register,
        "loudness_seconds": levels,
        "note_midi": note_midi,
        "decays_s": decays,
    }


def _played(heard: Stretch) -> dict[str, np.ndarray]:
    """Notes and histograms of a stretch."""
    controls, rate = heard.controls, heard.controls.grid.frame_rate
    notes, loudness = controls.note_frames().numpy(), controls.loudness_db.numpy()
    f0_hz = controls.f0_hz.double().numpy()
    midi = hz_to_midi(f0_hz)
    found = find_notes(f0_hz, loudness, close_gaps(notes, rate), rate)
    edges = [min(round(EDGE_S * rate), (note.stop - note.start) // 4) for note in found]
    inner = [loudness[note.start + edge : note.stop - edge] for note, edge in zip(found, edges, strict=True)]
    numbers = np.clip(np.round(midi[notes]).astype(int), 0, NOTES - 1)
    return {
        "note_midi": np.array([float(np.median(midi[note.frames])) for note in found]),
        "register_seconds": np.bincount(numbers, minlength=NOTES) / rate,
        "loudness_seconds": np.histogram(np.clip(np.concatenate([*inner, []]), -89.9, -0.1), LOUDNESS_EDGES_DB)[0] / rate,
    }


PRIVATE = ("kind", "reason", "header_seconds", "register_seconds", "loudness_seconds", "note_midi", "decays_s")


def _together(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Measurements of all usable files; medians are weighted by how long each file is played."""
    weight = np.array([one["note_seconds"] for one in files])
    register = np.sum([one["register_seconds"] for one in files], axis=0) if files else np.zeros(NOTES)
    levels = np.sum([one["loudness_seconds"] for one in files], axis=0) if files else np.zeros(len(LOUDNESS_EDGES_DB) - 1)
    midi = np.concatenate([one["note_midi"] for one in files]) if files else np.zeros(0)
    offset = common_offset(midi)
    hums = [one for one in files if one["hum_hz"]]
    samples = sum(one["seconds"] * one["sample_rate_hz"] for one in files)
    loudness = _levels(levels)
    paused = [one["pause_seconds"] >= LEAST_PAUSE_S for one in files]
    trusted = np.array(paused) if any(paused) else np.ones(len(files), bool)
    floors_db = [one["noise_floor_db"] for one, known in zip(files, trusted, strict=True) if known]
    floor_db = _median(floors_db, weight[trusted], -120.0)
    worst_hum = max(hums, key=lambda one: one["hum_db"], default=None)
    return {
        "minutes": sum(one["seconds"] for one in files) / 60.0,
        "note_minutes": float(weight.sum()) / 60.0,
        "notes": len(midi),
        **_register(register),
        **loudness,
        "noise_floor_db": floor_db,
        "noise_floor_known": any(paused),
        "signal_to_noise_db": loudness["note_loudness_db"] - floor_db,
        "clipped_share": sum(one["clipped_share"] * one["seconds"] * one["sample_rate_hz"] for one in files) / max(samples, 1.0),
        "clipped_samples": sum(one["clipped_samples"] for one in files),
        "clipped_runs": sum(one["clipped_runs"] for one in files),
        "clipped_files": sum(one["clipped_share"] > 0.0 for one in files),
        "hum_hz": worst_hum["hum_hz"] if worst_hum else 0.0,
        "hum_db": worst_hum["hum_db"] if worst_hum else -120.0,
        "hum_files": len(hums),
        "reverberation_s": reverberation_s(time for one in files for time in one["decays_s"]),
        "tuning_offset_cents": None if offset is None else 100.0 * offset,
        "sample_rates_hz": _counts(files, "sample_rate_hz"),
        "channel_counts": _counts(files, "channels"),
        "bandwidth_hz": _median([one["bandwidth_hz"] for one in files], weight, 0.0),
        "disagreeing_files": sum(one["disagreeing_channels"] for one in files),
        "dead_channel_files": sum(one["dead_channel"] for one in files),
        "register_seconds": {int(k): round(float(register[k]), 2) for k in np.flatnonzero(register)},
        "loudness_seconds": {
            float(edge): round(float(value), 2) for edge, value in zip(LOUDNESS_EDGES_DB, levels, strict=False) if value > 0
        },
    }


def _register(register: np.ndarray) -> dict[str, Any]:
    """Range and widest gap of a register histogram [s]; semitones with under 0.1 s, or 0.1 % of all, are passing errors."""
    played = np.flatnonzero(register > max(0.1, 1e-3 * register.sum()))
    if not len(played):
        played = np.flatnonzero(register)
    if not len(played):
        empty = {"lowest_note_midi": 0, "highest_note_midi": 0, "lowest_note": "", "highest_note": ""}
        return empty | {"widest_gap_semitones": 0, "gap_above_note": ""}
    gaps = np.diff(played)
    widest = int(np.argmax(gaps)) if len(gaps) else 0
    return {
        "lowest_note_midi": int(played[0]),
        "highest_note_midi": int(played[-1]),
        "lowest_note": note_name(played[0], PRINTED),
        "highest_note": note_name(played[-1], PRINTED),
        "widest_gap_semitones": int(gaps[widest]) - 1 if len(gaps) else 0,
        "gap_above_note": note_name(played[widest], PRINTED),
    }


def _levels(seconds: np.ndarray) -> dict[str, float]:
    """Loudness of the notes from its histogram [s]: median, and how far its 5th and 95th percentiles lie apart."""
    total = float(np.sum(seconds))
    if not total:
        return {"note_loudness_db": -120.0, "softest_note_db": -120.0, "loudest_note_db": -120.0, "loudness_range_db": 0.0}
    share = np.concatenate([[0.0], np.cumsum(seconds)]) / total
    soft, middle, loud = (float(np.interp(q, share, LOUDNESS_EDGES_DB)) for q in (0.05, 0.5, 0.95))
    return {"note_loudness_db": middle, "softest_note_db": soft, "loudest_note_db": loud, "loudness_range_db": loud - soft}


def _median(values: list[float], weight: np.ndarray, empty: float) -> float:
    """Weighted median."""
    if not len(values) or not weight.sum():
        return float(np.median(values)) if values else empty
    order = np.argsort(values)
    passed = np.cumsum(weight[order]) >= 0.5 * weight.sum()
    return float(np.asarray(values)[order][int(np.argmax(passed))])


def _counts(files: list[dict[str, Any]], key: str) -> dict[int, int]:
    return dict(sorted(Counter(one[key] for one in files).items()))


def report_lines(found: dict[str, Any]) -> list[str]:
    """Format what :func:`examine_folder` found as lines of text."""
    lines = [f"{found['folder']}: {found['verdict']}", ""]
    marks = {STOP: "!!", LIMIT: "! ", HINT: "- "}
    lines += [f"  {marks[one['weight']]} {one['finding']}\n      {one['advice']}" for one in found["findings"]]
    lines += [""] if found["findings"] else ["  nothing to change", ""]
    lines += [f"  {name:<16} {value}" for name, value in _facts(found)]
    skipped = found["skipped"]
    if skipped:
        lines += ["", f"skipped {len(skipped)} files:"] + [f"  {one['name']}: {one['reason']}" for one in skipped[:SHOWN_FILES]]
        lines += [f"  and {len(skipped) - SHOWN_FILES} more; --json lists all"] if len(skipped) > SHOWN_FILES else []
    return "\n".join(lines).split("\n")


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("recordings", f"{found['files']}, {found['minutes']:.1f} minutes, {found['note_minutes']:.1f} of them notes")]
    if not found["notes"]:
        return facts
    rt60, offset = found["reverberation_s"], found["tuning_offset_cents"]
    hum = f"{found['hum_hz']:.0f} Hz at {found['hum_db']:.0f} dB, in {found['hum_files']} files" if found["hum_hz"] else "none"
    unsure = "" if found["noise_floor_known"] else " or more: there is no pause to hear it in"
    rates = ", ".join(f"{rate} Hz ({count})" for rate, count in found["sample_rates_hz"].items())
    channels = ", ".join(f"{count} x {n}" for n, count in found["channel_counts"].items())
    return [
        *facts,
        ("register", f"{found['lowest_note']} to {found['highest_note']}, {found['notes']} notes"),
        ("loudness", f"{found['softest_note_db']:.0f} to {found['loudest_note_db']:.0f} dB(A)"),
        ("noise floor", f"{found['noise_floor_db']:.0f} dB(A), {found['signal_to_noise_db']:.0f} dB below the notes{unsure}"),
        ("hum", hum),
        ("reverberation", "too few free decays to tell" if rt60 is None else f"{rt60:.2f} s"),
        ("clipping", f"{found['clipped_samples']} samples at full scale, {found['clipped_runs']} runs"),
        ("tuning", "no common tuning" if offset is None else f"{offset:+.0f} cents"),
        ("bandwidth", f"{found['bandwidth_hz'] / 1000:.1f} kHz"),
        ("sample rates", rates),
        ("channels", f"files x channels: {channels}"),
    ]
