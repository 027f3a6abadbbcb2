"""Verbs that tell of recordings, and of the instruments that there are."""

from __future__ import annotations

import cmath
import math
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import AudioError, plural
from . import options
from .options import Report, show, table

SECTIONS = {  # title to how the keys in it begin; the first that fits counts
    "Performance": ("file", "seconds", "duration", "note", "f0_", "lowest", "highest", "pitch_", "loudness", "controls", "plot", "midi"),
    "Envelope of the notes": ("attack", "decay", "sustain", "release", "log_attack", "temporal"),
    "Vibrato and tremolo": ("vibrato", "tremolo"),
    "Partials": ("harmonic", "odd_", "inharmonicity", "spectral_slope", "tristimulus", "partial"),
    "Spectrum": ("",),
}
FIRST_NOTES = 16  # that a line names
MOST_ROWS = 40  # rows of notes and of techniques; JSON holds all


def add_instruments(verbs: Any) -> None:
    verb = options.add_verb(verbs, "instruments", "list the instruments: names, ranges, sources, licences", instruments)
    options.add_weights(verb)


def instruments(arguments: Namespace) -> Report:
    from ..audio.units import note_name
    from ..models.weights import find_weights, load_model

    model = load_model(arguments.weights)
    ends = [{"lowest_note": note_name(one.lowest_midi), "highest_note": note_name(one.highest_midi)} for one in model.instruments]
    found: list[dict[str, Any]] = [one.to_dict() | its for one, its in zip(model.instruments, ends, strict=True)]
    rows = [("name", "family", "range", "source", "licence")]
    rows += [(one["name"], one["family"], f"{one['lowest_note']}-{one['highest_note']}", one["source"], one["licence"]) for one in found]
    return {"weights": str(find_weights(arguments.weights)), "instruments": found}, table(rows)


def add_analyze(verbs: Any) -> None:
    verb = options.add_verb(verbs, "analyze", "measure what is played in a recording, and its timbre", analyze)
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--all", action="store_true", help="print every measurement, and each note")
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw waveform, spectrogram, notes, techniques, descriptors")
    verb.add_argument("--save", metavar="CONTROLS.npz", type=Path, help="write f0, periodicity and loudness, to be edited and synthesized")
    verb.add_argument("--midi", dest="to_midi", metavar="FILE.mid", type=Path, help="write its notes, with their bends, vibrato and swells")
    verb.add_argument(
        "--rolloff", metavar="PERCENT", type=options.PERCENT, action="append", default=[], help="add a roll-off frequency, such as 99"
    )
    options.add_tracker(verb)
    options.add_overwrite(verb)


def analyze(arguments: Namespace) -> Report:
    from ..analysis.descriptors import analyze_timbre, notes_of, summarize
    from ..analysis.spectral_shape import ROLLOFF_PERCENT
    from ..analysis.techniques import find_techniques
    from ..audio.files import LongAudio, open_audio
    from ..audio.frames import FrameGrid
    from ..audio.units import note_name
    from ..controls.controls import extract
    from ..pipeline.transfer import warn_about
    from ..threads import one_thread, trim_malloc
    from .steps import check_files, summarize_controls, tracker_of

    check_files(arguments, reads=[arguments.file])
    grid = FrameGrid()
    with one_thread():
        audio, _ = open_audio(arguments.file, grid.sample_rate)
        controls = extract(audio, grid, tracker=tracker_of(arguments))
    if isinstance(audio, LongAudio):
        trim_malloc()
    warn_about(audio, controls)
    analysis = analyze_timbre(audio, controls, rolloff_percent=tuple(dict.fromkeys([*ROLLOFF_PERCENT, *arguments.rolloff])))
    if arguments.save:
        controls.save(arguments.save, overwrite=arguments.overwrite)
    if arguments.to_midi:
        from ..realtime.midi_writer import write_midi

        write_midi(arguments.to_midi, controls, analysis.notes, name=arguments.file.stem, overwrite=arguments.overwrite)
    if arguments.plot:
        from ..analysis.plots import plot_analysis

        plot_analysis(arguments.plot, audio, controls, title=arguments.file.name, overwrite=arguments.overwrite)
    result = {"file": str(arguments.file), "seconds": len(audio) / grid.sample_rate, **summarize_controls(controls), **summarize(analysis)}
    notes: list[dict[str, Any]] = list(notes_of(analysis))
    for number, note in enumerate(notes):  # in place: an hour has ten thousand
        notes[number] = {"note": note_name(note["f0_midi"]), **note}
    result["notes"] = notes
    result["techniques"] = [one.to_dict() for one in find_techniques(analysis)]
    written = {"controls": arguments.save, "plot": arguments.plot, "midi": arguments.to_midi}
    result |= {key: str(path) for key, path in written.items() if path}
    if arguments.all or arguments.rolloff:
        return result, analysis_lines(result)
    return result, musician_lines(result) + [f"{path} is written" for path in written.values() if path]


def musician_lines(result: Mapping[str, Any]) -> list[str]:
    """Ten lines from what is printed as JSON: what is played, how it is in tune, how it is played and what it sounds like."""
    notes, loudness = result["notes"], f"{result['loudness_mean_db']:.0f} dB on average"
    if not notes:
        return [f"{result['file']}: {result['seconds']:.1f} s, no note is heard", *table([("loudness", loudness)])]
    ranked = sorted(notes, key=lambda one: one["f0_midi"])
    named, more = " ".join(one["note"] for one in notes[:FIRST_NOTES]), len(notes) - FIRST_NOTES
    semitones = round(result["pitch_range_semitones"])
    techniques = Counter(one["technique"].replace("_", "-") for one in result["techniques"])
    rows = [
        ("notes", named + (f" and {more} more" if more > 0 else "")),
        ("range", f"{ranked[0]['note']} to {ranked[-1]['note']}, {plural(semitones, 'semitone')}; in the middle {_middle(ranked)['note']}"),
        ("tuning", _tuning(notes)),
        ("rhythm", f"a note lasts {result['note_duration_s']:.2f} s; {len(notes) / result['seconds']:.1f} notes a second"),
        ("loudness", f"{loudness}, {result['loudness_range_db']:.0f} dB between soft and loud"),
        ("attack", f"{1000 * result['attack_s']:.0f} ms; a note dies away in {1000 * result['release_s']:.0f} ms"),
        ("vibrato", _vibrato(result)),
        (
            "tone",
            f"centre of the spectrum {result['spectral_centroid_hz']:.0f} Hz; {result['harmonic_to_noise_ratio_db']:.0f} dB above noise",
        ),
        ("techniques", ", ".join(f"{name} ({n})" for name, n in techniques.most_common()) or "none"),
    ]
    told = f"{result['file']}: {result['seconds']:.1f} s, {plural(len(notes), 'note')}, {result['note_seconds']:.1f} s of sound"
    return [told, *table(rows)]


def _middle(ranked: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of notes by their pitch, the one up to which half of the time is played."""
    left = 0.5 * sum(one["duration_s"] for one in ranked)
    for one in ranked:
        left -= one["duration_s"]
        if left <= 0.0:
            break
    return one


def _tuning(notes: Sequence[Mapping[str, Any]]) -> str:
    """Mean deviation of notes from those of a piano, on the circle of a semitone, and their spread around it, in words."""
    whole_s = sum(one["duration_s"] for one in notes)
    mean = sum(one["duration_s"] * cmath.exp(2j * math.pi * one["f0_midi"]) for one in notes) / whole_s
    cents = 100.0 * cmath.phase(mean) / (2.0 * math.pi)
    off = [abs((100.0 * one["f0_midi"] - cents + 50.0) % 100.0 - 50.0) for one in notes]
    stray = sum(one["duration_s"] * each for one, each in zip(notes, off, strict=True)) / whole_s
    how = f"{abs(cents):.0f} cents {'sharp' if cents > 0 else 'flat'}" if round(cents) else "as a piano's"
    return f"{how} (A = {440.0 * 2.0 ** (cents / 1200.0):.1f} Hz); notes stray by {stray:.0f} cents"


def _vibrato(result: Mapping[str, Any]) -> str:
    if not result["vibrato_rate_hz"]:
        return "none"
    share = f"{100 * result['vibrato_share']:.0f} % of the time"
    return f"{result['vibrato_rate_hz']:.1f} Hz, ±{result['vibrato_extent_cents']:.0f} cents, {share}"


def analysis_lines(result: Mapping[str, Any]) -> list[str]:
    """Every measurement of what is printed as JSON: sections, one descriptor a line, its spread beside it."""
    lines: list[str] = []
    left = {key: value for key, value in result.items() if key not in ("notes", "techniques")}
    for title, beginnings in SECTIONS.items():
        inside = {key: left.pop(key) for key in list(left) if key.startswith(beginnings)}
        spreads = {key.replace("_iqr", ""): f"(iqr {show(value)})" for key, value in inside.items() if _is_iqr(key)}
        rows = [(f"  {key}", show(value), spreads.get(key, "")) for key, value in inside.items() if not _is_iqr(key)]
        lines += [*([""] if lines else []), title, *table(rows)]
        if title == "Performance":
            lines += _note_lines(result["notes"]) + _technique_lines(result["techniques"])
    return lines


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


def add_classify(verbs: Any) -> None:
    verb = options.add_verb(verbs, "classify", "which instrument plays, in a recording and in each second of it", classify)
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--step", metavar="SECONDS", type=options.SECONDS, default=1.0, help="of time (default: 1)")
    options.add_classifier(verb)


def classify(arguments: Namespace) -> Report:
    from ..classification.classifier import classify_file, load_classifier

    found = classify_file(arguments.file, load_classifier(arguments.weights), step_seconds=arguments.step)
    best = list(found["probabilities"].items())[:5]
    lines = [f"{arguments.file}: {' + '.join(found.get('labels', [found['instrument']])) or 'nothing that it knows'}"]
    lines += table([(f"  {name}", f"{probability:.3f}") for name, probability in best])
    lines += table([(f"  {one['start_s']:g}-{one['end_s']:g} s", one["label"]) for one in found["activity"]])
    return found, lines


def add_embed(verbs: Any) -> None:
    verb = options.add_verb(verbs, "embed", "timbre vectors of recordings, and the named instruments nearest to them", embed)
    verb.add_argument("files", metavar="FILE", type=Path, nargs="+")
    options.add_weights(verb)


def embed(arguments: Namespace) -> Report:
    from ..audio.files import load_audio
    from ..models.weights import load_model
    from ..pipeline.target import nearest_timbres

    model = load_model(arguments.weights)
    found, lines = [], []
    for path in arguments.files:
        audio, _ = load_audio(path, model.sample_rate)
        try:
            z = model.encode(audio)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from None
        near = [{"instrument": name, "distance": round(distance, 4)} for name, distance in nearest_timbres(model, z)]
        found.append({"file": str(path), "z": z.tolist(), "nearest": near})
        lines.append(f"{path}: " + ", ".join(f"{one['instrument']} {one['distance']:.2f}" for one in near))
    return {"files": found}, lines
