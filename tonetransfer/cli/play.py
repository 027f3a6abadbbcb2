"""Verbs that play a recording, saved controls or a MIDI file on an instrument, into a file."""

from __future__ import annotations

import filecmp
import os
import re
import shlex
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ControlsError, SettingsError, ToneTransferWarning
from . import options
from .options import Report

if TYPE_CHECKING:
    from ..controls.profile import Target

SHARED_S = 300.0  # part of a result that stands in the page of --share
SCRIPT_ENDING = ".ts"  # ending of models of other programs
OURS = ("autotune", "loudness", "dynamic", "plot", "share", "refine", "match")  # options that do not apply to those models
TRACK, AUTO = re.compile(r"\d{1,5}="), "auto"  # values of --to: for one track; by General MIDI


def add_transfer(verbs: Any) -> None:
    verb = options.add_verb(verbs, "transfer", "play a recording on another instrument", transfer)
    verb.add_argument("source", metavar="SOURCE", type=Path, help="a recording of one voice or instrument, one note at a time")
    verb.add_argument("output", metavar="OUTPUT", type=Path, help="a new file: .wav, .flac, .aiff, .ogg or .mp3")
    options.add_target(verb)
    how = options.add_arrangement(verb)
    options.add_dynamic(how)
    how.add_argument("--no-fit", dest="fit", action="store_false", help="keep the source's octave, dynamics and sounds between notes")
    options.add_tracker(how)
    verb.add_argument(
        "--trust", action="store_true", help="run the TorchScript of --to MODEL.ts (a ddsp_pytorch export): it can hold any code"
    )
    more = verb.add_argument_group("more files")
    more.add_argument("--plot", metavar="PNG", type=Path, help="draw source and result")
    more.add_argument("--share", metavar="FILE.html", type=Path, help="one page to send on: source and result to swap, notes, settings")
    options.add_overwrite(verb)


def transfer(arguments: Namespace) -> Report:
    from ..audio.files import LongAudio, open_audio
    from ..controls.controls import extract
    from ..controls.dynamics import check_dynamic
    from ..controls.recording_checks import warn_if_same
    from ..pipeline.transfer import measure_source, warn_about
    from ..threads import one_thread, trim_malloc
    from .steps import KEPT_S, arrange_as_asked, check_files, open_target, play_arrangement, report_arrangement, tracker_of

    if (arguments.to or "").endswith(SCRIPT_ENDING):
        return _transfer_foreign(arguments)
    check_files(arguments, reads=[arguments.source])
    check_dynamic(arguments.dynamic, fit=arguments.fit)
    model, target, name = open_target(arguments)
    begin = time.perf_counter()
    with one_thread():
        audio, _ = open_audio(arguments.source, model.sample_rate)
        heard = extract(audio, model.grid, tracker=tracker_of(arguments))
        if isinstance(audio, LongAudio):
            trim_malloc()
        warn_about(audio, heard)
        if arguments.like and filecmp.cmp(arguments.source, arguments.like, shallow=False):
            warn_if_same()
        asked = {name: getattr(arguments, name) for name in ("dynamic", "fit", "room")}
        arrangement = arrange_as_asked(arguments, heard, target, **measure_source(audio, heard, model, target, **asked))
        kept_s = SHARED_S if arguments.share else KEPT_S
        writer, beginning = play_arrangement(arguments, arrangement, model, target, len(audio), kept_s)
    elapsed = time.perf_counter() - begin
    if arguments.plot:
        from ..analysis.plots import plot_transfer

        again = extract(beginning, model.grid, tracker=tracker_of(arguments))
        title = f"{arguments.source.name} on {name}"
        plot_transfer(arguments.plot, audio, heard, beginning, again, title=title, overwrite=arguments.overwrite)
    if arguments.share:
        _share(arguments, audio, heard, beginning, arrangement, target, name)
    result, lines = report_arrangement(arguments, arrangement, name, writer, elapsed)
    return result | ({"share": str(arguments.share)} if arguments.share else {}), lines


def _share(arguments: Namespace, audio: Any, heard: Any, result: Any, arrangement: Any, target: Target, name: str) -> None:
    """Write the page of ``--share``; on it files are called by their names alone."""
    from ..evaluation.report.take import write_take

    words = [os.path.basename(word) if os.sep in word and "://" not in word else word for word in arguments.words]
    settings = {
        "Instrument": name,
        "Pitch": f"moved by {arrangement.transposed:+g} semitones" if arrangement.transposed else "as in the recording",
        "Command line": shlex.join(["tonetransfer", *words]),
    }
    reach = (target.lowest_midi, target.highest_midi)
    names = (arguments.source.stem, name.replace("_", " "))
    write_take(
        arguments.share, audio, heard, result, arrangement, names=names, settings=settings, reach=reach, overwrite=arguments.overwrite
    )


def add_synthesize(verbs: Any) -> None:
    verb = options.add_verb(verbs, "synthesize", "play saved controls on an instrument", synthesize)
    verb.add_argument("controls", metavar="CONTROLS.npz", type=Path, help="made by analyze --save, edited or not")
    verb.add_argument("output", metavar="OUTPUT", type=Path)
    options.add_target(verb)
    how = options.add_arrangement(verb)
    options.add_dynamic(how)
    how.add_argument("--fit", action="store_true", help="move octave and dynamics to the instrument's, as transfer does")
    options.add_tracker(how)
    options.add_overwrite(verb)


def synthesize(arguments: Namespace) -> Report:
    from ..controls.controls import Controls
    from ..controls.dynamics import check_dynamic
    from ..threads import one_thread
    from .steps import arrange_as_asked, check_files, open_target, play_arrangement, report_arrangement

    check_files(arguments, reads=[arguments.controls])
    check_dynamic(arguments.dynamic, fit=arguments.fit)
    controls = Controls.load(arguments.controls)
    if controls.f0_hz.dim() != 1:
        shape = tuple(controls.f0_hz.shape)
        raise ControlsError(f"{arguments.controls} holds controls of the shape {shape}; one performance, (n_frames,), is wanted")
    model, target, name = open_target(arguments)
    begin = time.perf_counter()
    with one_thread():
        arrangement = arrange_as_asked(arguments, controls, target)
        writer, _ = play_arrangement(arguments, arrangement, model, target, controls.n_samples)
    return report_arrangement(arguments, arrangement, name, writer, time.perf_counter() - begin)


def add_play(verbs: Any) -> None:
    verb = options.add_verb(verbs, "play", "play a MIDI file on an instrument", play_midi)
    verb.add_argument("score", metavar="SCORE.mid", type=Path)
    verb.add_argument("output", metavar="OUTPUT", type=Path)
    options.add_target(verb, tracks=True)
    options.add_arrangement(verb).add_argument(
        "--voices", choices=("all", "top"), default="all", help="of chords: all, mixed, or the highest (default: all)"
    )
    options.add_keys(verb)
    options.add_overwrite(verb)
    verb.set_defaults(tracker=None, transpose=0.0)


def play_midi(arguments: Namespace) -> Report:
    from ..realtime.midi_files import duration_s, read_score
    from ..realtime.midi_playback import TAIL_S, play_score
    from ..threads import one_thread
    from .steps import check_files, report_sound, write_sound

    check_files(arguments, reads=[arguments.score])
    if arguments.autotune:
        raise SettingsError("--autotune pulls the pitch of a recording; a MIDI file says its notes itself: leave it out")
    parts, performers, names = _performers(arguments, read_score(arguments.score, top=arguments.voices == "top"))
    begin, rate = time.perf_counter(), performers[0].model.sample_rate
    with one_thread():
        pieces = play_score(parts, performers, seed=arguments.seed, noise_db=arguments.noise, hall=arguments.hall)
        writer, _ = write_sound(arguments, pieces, rate, round((duration_s(parts) + TAIL_S) * rate))
    voices = [
        {"name": part.name, "instrument": name, "transpose_semitones": performer.settings.transpose, "notes": part.n_notes}
        for part, name, performer in zip(parts, names, performers, strict=True)
    ]
    facts = {"voices": voices, "notes": sum(part.n_notes for part in parts)}
    told = f", {facts['notes']} notes in {len(parts)} voices"
    elapsed, semitones = time.perf_counter() - begin, performers[0].settings.transpose
    return report_sound(arguments, ", ".join(dict.fromkeys(names)), semitones, writer, elapsed, facts, told)


def _transfer_foreign(arguments: Namespace) -> Report:
    from ..audio.files import load_audio
    from ..pipeline.ddsp_pytorch import load_foreign, play_foreign
    from .steps import check_files, report_sound, tracker_of, write_sound

    check_files(arguments, reads=[arguments.source])
    if any(getattr(arguments, name) for name in OURS):
        *others, last = (f"--{name}" for name in OURS)
        raise SettingsError(f"{', '.join(others)} and {last} do not apply to a model of another program; leave them out")
    model = load_foreign(arguments.to, trust=arguments.trust)
    begin = time.perf_counter()
    audio, sample_rate = load_audio(arguments.source)
    semitones = 0.0 if arguments.transpose == "auto" else arguments.transpose
    sound = play_foreign(audio, sample_rate, model, transpose=semitones, fit=arguments.fit, tracker=tracker_of(arguments))
    writer, _ = write_sound(arguments, [sound], model.grid.sample_rate, len(sound))
    return report_sound(arguments, Path(arguments.to).name, semitones, writer, time.perf_counter() - begin, {})


def _performers(arguments: Namespace, parts: Sequence[Any]) -> tuple[Sequence[Any], list[Any], list[str]]:
    """The parts that are played, and who plays each of them, with names: ``--to`` for all, or for a track."""
    from ..models.weights import load_model
    from ..realtime.midi_playback import Performer
    from .live import key_settings
    from .steps import open_target

    parts, wanted = _cast(arguments, parts)
    load = lru_cache(load_model)  # one model for all of its instruments
    opened = {to: open_target(Namespace(**{**vars(arguments), "to": to}), load) for to in dict.fromkeys(wanted)}
    if len(rates := {model.sample_rate for model, *_ in opened.values()}) > 1:
        raise SettingsError(f"the instruments have sample rates of {' and '.join(map(str, sorted(rates)))} Hz; take those of one rate")
    own = {to: [part for part, its in zip(parts, wanted, strict=True) if its == to] for to in opened}
    settings = {to: key_settings(arguments, own[to], target) for to, (_, target, _) in opened.items()}
    _warn_of_range([(name, target, own[to], settings[to].transpose) for to, (_, target, name) in opened.items()])
    return parts, [Performer(*opened[to][:2], settings[to]) for to in wanted], [opened[to][2] for to in wanted]


def _cast(arguments: Namespace, parts: Sequence[Any]) -> tuple[Sequence[Any], list[str | None]]:
    """The parts that somebody plays, and what ``--to`` says of each; None for ``--like`` and ``--mix``."""
    from ..models.instrument_names import player

    plain = [to for to in arguments.to or () if not TRACK.match(to)]
    given = {int(number): to for number, _, to in (to.partition("=") for to in arguments.to or () if TRACK.match(to))}
    there = sorted({part.number for part in parts})
    if len(plain) > 1:
        raise SettingsError(f"--to names {' and '.join(plain)} for all tracks; give one for all, and others as NUMBER=NAME for a track")
    if missing := sorted(set(given) - set(there)):
        tracks = ", ".join(map(str, there))
        raise SettingsError(f"--to {missing[0]}={given[missing[0]]}: there are no notes in a track of this number; there are in {tracks}")
    if not plain and given and (others := [number for number in there if number not in given]):
        raise SettingsError(f"--to says nothing of track {others[0]}; give an instrument for all the others, too: --to NAME")
    every = plain[0] if plain else None
    wanted = [given.get(part.number, player(part.program) if every == AUTO else every) for part in parts]
    if every != AUTO:
        return parts, wanted
    played = [(part, to) for part, to in zip(parts, wanted, strict=True) if to is not None]
    if not played:
        raise SettingsError("--to auto: all the programs in this file are percussion or effects without pitch; name an instrument")
    if len(played) < len(parts):
        names = ", ".join(f"{part.name} (program {part.program + 1})" for part, to in zip(parts, wanted, strict=True) if to is None)
        warnings.warn(f"percussion and effects without pitch are left out: {names}", ToneTransferWarning, stacklevel=2)
    return [part for part, _ in played], [to for _, to in played]


def _warn_of_range(casts: Sequence[tuple[str, Target, Sequence[Any], float]]) -> None:
    from ..audio.units import note_name
    from ..realtime.midi_playback import outside_share

    told = []
    for name, target, parts, transpose in casts:
        if (share := outside_share(parts, target, transpose)) > 0.05:
            reach = f"{note_name(target.lowest_midi)}-{note_name(target.highest_midi)}"
            told.append(f"{100 * share:.0f} % of the notes lie outside what {name} plays ({reach})")
    if told:
        warnings.warn(f"{'; '.join(told)}; --transpose moves them", ToneTransferWarning, stacklevel=2)
