"""Verbs that tell of recordings, and of the instruments that there are."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from ..errors import AudioError
from . import options
from .options import Report, table


def add_instruments(verbs: Any) -> None:
    """Parser of ``instruments``."""
    verb = options.add_verb(verbs, "instruments", "list the instruments: names, ranges, sources, licences", instruments)
    options.add_weights(verb)


def instruments(arguments: Namespace) -> Report:
    """``instruments``."""
    from ..audio.units import note_name
    from ..models.weights import find_weights, load_model

    model = load_model(arguments.weights)
    found: list[dict[str, Any]] = []
    for one in model.instruments:
        ends = {"lowest_note": note_name(one.lowest_midi), "highest_note": note_name(one.highest_midi)}
        found.append(one.to_dict() | ends)
    rows = [("name", "family", "range", "source", "licence")]
    rows += [(one["name"], one["family"], f"{one['lowest_note']}-{one['highest_note']}", one["source"], one["licence"]) for one in found]
    return {"weights": str(find_weights(arguments.weights)), "instruments": found}, table(rows)


def add_analyze(verbs: Any) -> None:
    """Parser of ``analyze``."""
    verb = options.add_verb(verbs, "analyze", "measure what is played in a recording, and its timbre", analyze)
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw waveform, spectrogram, notes, techniques, descriptors")
    verb.add_argument("--save", metavar="CONTROLS.npz", type=Path, help="write f0, periodicity and loudness, to be edited and synthesized")
    verb.add_argument("--midi", dest="to_midi", metavar="FILE.mid", type=Path, help="write its notes, with their bends, vibrato and swells")
    verb.add_argument(
        "--rolloff", metavar="PERCENT", type=options.PERCENT, action="append", default=[], help="add a roll-off frequency, such as 99"
    )
    options.add_tracker(verb)
    options.add_overwrite(verb)


def analyze(arguments: Namespace) -> Report:
    """``analyze FILE``."""
    from ..analysis.descriptors import analyze_timbre, notes_of, summarize
    from ..analysis.spectral_shape import ROLLOFF_PERCENT
    from ..analysis.techniques import find_techniques
    from ..audio.files import LongAudio, open_audio
    from ..audio.frames import FrameGrid
    from ..audio.units import note_name
    from ..controls.controls import extract
    from ..pipeline.transfer import warn_about
    from ..threads import one_thread, trim_malloc
    from .options import analysis_lines
    from .steps import check_files, summarize_controls, tracker_of

    check_files(arguments, reads=[arguments.file])
    grid = FrameGrid()
    with one_thread():
        audio, _ = open_audio(arguments.file, grid.sample_rate)
        if isinstance(audio, LongAudio):
            trim_malloc()
        controls = extract(audio, grid, tracker=tracker_of(arguments))
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
    result["notes"] = [{"note": note_name(note["f0_midi"]), **note} for note in notes_of(analysis)]
    result["techniques"] = [one.to_dict() for one in find_techniques(analysis)]
    written = {"controls": arguments.save, "plot": arguments.plot, "midi": arguments.to_midi}
    result |= {key: str(path) for key, path in written.items() if path}
    return result, analysis_lines(result)


def add_classify(verbs: Any) -> None:
    """Parser of ``classify``."""
    verb = options.add_verb(verbs, "classify", "which instrument plays, in a recording and in each second of it", classify)
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--step", metavar="SECONDS", type=options.SECONDS, default=1.0, help="of time (default: 1)")
    options.add_classifier(verb)


def classify(arguments: Namespace) -> Report:
    """``classify FILE``."""
    from ..classification.classifier import classify_file, load_classifier

    found = classify_file(arguments.file, load_classifier(arguments.weights), step_seconds=arguments.step)
    best = list(found["probabilities"].items())[:5]
    lines = [f"{arguments.file}: {' + '.join(found.get('labels', [found['instrument']])) or 'nothing that it knows'}"]
    lines += table([(f"  {name}", f"{probability:.3f}") for name, probability in best])
    lines += table([(f"  {one['start_s']:g}-{one['end_s']:g} s", one["label"]) for one in found["activity"]])
    return found, lines


def add_embed(verbs: Any) -> None:
    """Parser of ``embed``."""
    verb = options.add_verb(verbs, "embed", "timbre vectors of recordings, and the named instruments nearest to them", embed)
    verb.add_argument("files", metavar="FILE", type=Path, nargs="+")
    options.add_weights(verb)


def embed(arguments: Namespace) -> Report:
    """``embed FILE...``."""
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
