"""The command line: what is asked, and how errors, warnings and results come back.

Parsing needs nothing heavy; a verb is run by the function of the same name in :mod:`tonetransfer.cli.commands`, imported after parsing
(``demo``: in :mod:`tonetransfer.cli.demo`, which does not wait for torch).
Exit code 0: done. 1: a problem that the user can put right, told in one line on stderr. 2: a command that was not understood.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ToneTransferError

PROGRAM = "tonetransfer"
NO_MEMORY = ("can't allocate memory", "not enough memory")  # as torch words it, in a RuntimeError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    Raises
    ------
    SystemExit
        With 2 for a command that was not understood, with 0 after ``--help``.
    """
    arguments = build_parser().parse_args(argv)
    arguments.is_program = argv is None
    heard: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other packages say while they are loaded
        try:
            verb = getattr(import_module(f".{arguments.module}", __package__), arguments.run)
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_args, **_more: _warn(str(message), heard)  # type: ignore[assignment]  # fewer names
            result, lines = verb(arguments)
            _print(result | {"warnings": heard} if arguments.json else lines)
            return 0
        except ToneTransferError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            return _fail("interrupted; nothing was written")
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again while it ends
            return _fail("the reader of the output went away")
        except MemoryError:
            return _fail("memory ran out; close other programs, or use a shorter recording")
        except OSError as error:
            return _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
        except RuntimeError as error:
            if not any(phrase in str(error) for phrase in NO_MEMORY):
                raise
            return _fail("memory ran out; close other programs, or use a shorter recording")


def _print(result: dict[str, Any] | list[str]) -> None:
    text = json.dumps(result, indent=2, allow_nan=False) if isinstance(result, dict) else "\n".join(result)
    print(text, flush=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(message: str) -> int:
    print(f"{PROGRAM}: {_one_line(message)}", file=sys.stderr, flush=True)
    return 1


def _warn(message: str, heard: list[str]) -> None:
    if (line := _one_line(message)) not in heard:
        heard.append(line)
        print(f"{PROGRAM}: warning: {line}", file=sys.stderr, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    parser = argparse.ArgumentParser(PROGRAM, description="Play one recording with another instrument's timbre.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = _verb(verbs, "transfer", "play a recording on another instrument")
    verb.add_argument("source", metavar="SOURCE", type=Path, help="a recording of one voice or instrument, one note at a time")
    verb.add_argument("output", metavar="OUTPUT", type=Path, help="a new file: .wav, .flac, .aiff, .ogg or .mp3")
    _add_target(verb)
    _add_arrangement(verb)
    verb.add_argument("--no-fit", dest="fit", action="store_false", help="keep the source's octave, dynamics and sounds between notes")
    _add_tracker(verb)
    verb.add_argument(
        "--trust", action="store_true", help="run the TorchScript of --to MODEL.ts (a ddsp_pytorch export): it can hold any code"
    )
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw source and result")
    _add_overwrite(verb)

    verb = _verb(verbs, "export", "write an instrument for another program: Max, Pure Data, ONNX")
    verb.add_argument("output", metavar="OUTPUT", type=Path, help="a new file: .ts, .onnx or .wav; a card (.json) is written beside it")
    verb.add_argument(
        "--format",
        choices=("torchscript", "realtime", "onnx", "ir"),
        required=True,
        help="torchscript: for nn~; realtime: (pitch, loudness) -> sound, as ddsp_pytorch's; onnx: decoder and encoder; ir: the room",
    )
    who = verb.add_mutually_exclusive_group()
    who.add_argument("--to", metavar="NAME|FILE.safetensors", help="who plays at first (default: the first instrument)")
    who.add_argument("--mix", metavar="NAME:SHARE,...", type=_mix, help="a blend, for example violin:0.5,flute:0.5")
    verb.set_defaults(like=None, refine=False, keep=None, tracker=None)
    verb.set_defaults(room=True)
    _add_weights(verb)
    _add_overwrite(verb)

    verb = _verb(verbs, "bench", "measure how fast everything is on this computer, beside other programs")
    verb.add_argument("--source", metavar="FILE", type=Path, help="a recording to measure with, repeated as often as it takes")
    verb.add_argument("--out", metavar="PAGE.md", type=Path, help="write the tables between the marks of this page, or a new page")
    verb.add_argument("--hour", action="store_true", help="a recording of an hour, too: minutes more")
    verb.add_argument("--no-peers", dest="peers", action="store_false", help="leave other programs out")

    verb = _verb(verbs, "instruments", "list the instruments: names, ranges, sources, licences")
    _add_weights(verb)

    verb = _verb(verbs, "analyze", "measure what is played in a recording, and its timbre")
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw waveform, spectrogram, notes, techniques, descriptors")
    verb.add_argument("--save", metavar="CONTROLS.npz", type=Path, help="write f0, periodicity and loudness, to be edited and synthesized")
    verb.add_argument(
        "--rolloff", metavar="PERCENT", type=_percent, action="append", default=[], help="add a roll-off frequency, such as 99"
    )
    _add_tracker(verb)
    _add_overwrite(verb)

    verb = _verb(verbs, "synthesize", "play saved controls on an instrument")
    verb.add_argument("controls", metavar="CONTROLS.npz", type=Path, help="made by analyze --save, edited or not")
    verb.add_argument("output", metavar="OUTPUT", type=Path)
    _add_target(verb)
    _add_arrangement(verb)
    verb.add_argument("--fit", action="store_true", help="move octave and dynamics to the instrument's, as transfer does")
    _add_tracker(verb)
    _add_overwrite(verb)

    verb = _verb(verbs, "live", "play on another instrument while you play: microphone or keyboard to loudspeaker")
    _add_target(verb).add_argument("--list-devices", action="store_true", help="list sound devices and MIDI inputs, and exit")
    _add_arrangement(verb)
    verb.add_argument("--input", dest="input_device", metavar="DEVICE", help="number or part of the name (default: the system's)")
    verb.add_argument("--output", dest="output_device", metavar="DEVICE", help="the same, for what is played")
    verb.add_argument(
        "--block", metavar="N", type=_count, default=240, help="samples at a time; 0: as the devices like (default: 240, 5 ms)"
    )
    verb.add_argument("--seconds", metavar="S", type=_seconds, help="play for so long (default: until Ctrl-C)")
    verb.add_argument("--midi", metavar="FILE.mid|PORT", help="play from a MIDI file or keyboard instead of the microphone")
    verb.add_argument("--simulate", metavar=("SOURCE", "OUTPUT"), type=Path, nargs=2, help="no devices: a recording, as if played live")
    verb.add_argument("--no-fit", dest="fit", action="store_false", help="keep the player's octave, dynamics and sounds between notes")
    verb.add_argument("--loudest", metavar="DB", type=_number, help="A-weighted level of your loud notes (default: learned as you play)")
    verb.add_argument(
        "--look-ahead", metavar="MS", type=_number, default=10.0, help="heard before a note is judged: latency, sureness (default: 10)"
    )
    verb.add_argument(
        "--path-frames", metavar="N", type=_count, default=0, help="10 ms each that octaves are thought over; latency (default: 0)"
    )
    _add_keys(verb)
    _add_overwrite(verb)
    verb.set_defaults(tracker=None)

    verb = _verb(verbs, "play", "play a MIDI file on an instrument", run="play_midi")
    verb.add_argument("score", metavar="SCORE.mid", type=Path)
    verb.add_argument("output", metavar="OUTPUT", type=Path)
    _add_target(verb, tracks=True)
    _add_arrangement(verb)
    verb.add_argument("--voices", choices=("all", "top"), default="all", help="of chords: all, mixed, or the highest (default: all)")
    _add_keys(verb)
    _add_overwrite(verb)
    verb.set_defaults(tracker=None, transpose=0.0)

    verb = _verb(verbs, "classify", "which instrument plays, in a recording and in each second of it")
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--step", metavar="SECONDS", type=_seconds, default=1.0, help="of time (default: 1)")
    _add_classifier(verb)

    verb = _verb(verbs, "embed", "timbre vectors of recordings, and the named instruments nearest to them")
    verb.add_argument("files", metavar="FILE", type=Path, nargs="+")
    _add_weights(verb)

    corpus = verbs.add_parser("corpus", help="training audio", allow_abbrev=False).add_subparsers(metavar="VERB", required=True)
    verb = _verb(corpus, "render", "render training or test audio from soundfonts and folders of notes", run="render_corpus")
    verb.add_argument("config", metavar="CONFIG", type=Path, help="which timbres, from where; see configs/corpus.yaml")
    verb.add_argument("out", metavar="FOLDER", type=Path, help="of the corpus; what is there already is kept")
    verb.add_argument("--split", choices=("train", "test", "parallel"), default="train", help="parallel: all instruments play the same")
    verb.add_argument("--soundfont", metavar="FILE", help="instead of the one that CONFIG names; for parallel also a name in CONFIG")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--samples", metavar="FOLDER", type=Path, help="where the folders of single notes are")
    verb.add_argument("--only", metavar="NAME,...", help="these timbres only")
    verb.add_argument("--seed", metavar="N", type=_count, default=0, help="another seed, other performances (default: 0)")
    verb.add_argument("--workers", metavar="N", type=_count, default=2, help="processes (default: 2)")

    verb = _verb(verbs, "doctor", "are these recordings good material to train an instrument on, and why not")
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="recordings of one instrument, in any mixture of formats")
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw registers, loudness, and every file")
    _add_workers(verb)
    _add_tracker(verb)
    _add_overwrite(verb)

    verb = _verb(verbs, "prepare", "make a dataset of recordings, to be trained on; go on with it, or add to it")
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="recordings of one instrument, in any mixture of formats")
    verb.add_argument("out", metavar="OUT", type=Path, help="folder of the dataset; what is done there already is kept")
    verb.add_argument("--licence", metavar="TEXT", help="whose the recordings are and what may be done with them; goes with the weights")
    verb.add_argument("--force", action="store_true", help="take files, too, that seem short, spoken, polyphonic or without pitch")
    _add_workers(verb)
    verb.add_argument("--engine", choices=("local", "dask"), default="local", help="dask: on a Dask cluster (default: local)")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask cluster (default: one is started here)")
    _add_tracker(verb)
    _add_overwrite(verb)

    verb = _verb(verbs, "train", "train a model on a corpus, or one instrument on a prepared folder")
    verb.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file of what differs from the defaults; see configs/")
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for example train.steps=2000")
    verb.add_argument("--from", dest="start", metavar="bundled|none|FILE", help="weights to go out from (one instrument: bundled)")
    verb.add_argument("--no-room", dest="room", action="store_false", help="learn no room with one instrument")
    verb.add_argument("--no-resume", dest="resume", action="store_false", help="begin anew instead of going on")

    verb = _verb(verbs, "push", "put an instrument and its model card on a model hub")
    verb.add_argument("file", metavar="FILE.safetensors", type=Path)
    verb.add_argument("address", metavar="hf://OWNER/REPO")
    verb.add_argument("--private", action="store_true", help="if the repository is made: only you see it")

    verb = _verb(verbs, "pull", "fetch an instrument from a model hub")
    verb.add_argument("address", metavar="hf://OWNER/REPO[/FILE.safetensors]")
    verb.add_argument("output", metavar="OUTPUT.safetensors", type=Path, nargs="?", help="default: the file's own name, here")
    _add_overwrite(verb)

    classifier = verbs.add_parser("classifier", help="train, measure and compare classifiers of instruments", allow_abbrev=False)
    classifiers = classifier.add_subparsers(metavar="VERB", required=True)
    verb = _verb(classifiers, "train", "train a classifier on a corpus, folders, a CSV file or a mirdata dataset", run="train_classifier")
    verb.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file of what differs from the defaults; see configs/classify")
    verb.add_argument("output", metavar="FILE.safetensors", type=Path)
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for example data.folder=sounds")
    _add_overwrite(verb)
    verb = _verb(classifiers, "evaluate", "measure a classifier on recordings whose labels are known", run="evaluate_classifier")
    verb.add_argument("data", metavar="DATA", type=Path, nargs="+", help="a corpus, a folder of folders, or a CSV file")
    _add_classifier(verb)
    verb = _verb(classifiers, "table", "train and measure many on the same recordings, and on an unseen soundfont", run="classifier_table")
    verb.add_argument("configs", metavar="CONFIG", type=Path, nargs="*", help="default: all of configs/classify but bundled.yaml")
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for all of them")
    verb.add_argument("--test", metavar="DATA", type=Path, help="unseen phrases of trained sources (default: rendered now)")
    verb.add_argument("--unseen", metavar="DATA", type=Path, help="recordings of a source never trained on (default: rendered now)")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--out", metavar="FOLDER", type=Path, help="keep the classifiers")

    evaluate = verbs.add_parser("evaluate", help="measure a model", allow_abbrev=False).add_subparsers(metavar="VERB", required=True)
    verb = _verb(evaluate, "parallel", "compare transfers with the true performance on the target", run="evaluate_parallel")
    verb.add_argument("--corpus", metavar="FOLDER", type=Path, help="made by corpus render --split parallel (default: rendered now)")
    verb.add_argument("--unseen", metavar="FOLDER", type=Path, help="the same, from a soundfont never trained on (default: rendered now)")
    verb.add_argument("--recordings", metavar="FOLDER", type=Path, help="real recordings: are their melodies kept?")
    _add_weights(verb)
    verb = _verb(
        evaluate,
        "report",
        "a page to listen to and a JSON of all metrics: of two folders, of recordings, or of transfers",
        run="evaluate_report",
    )
    verb.add_argument("folders", metavar="REFERENCE ESTIMATE", type=Path, nargs="*", help="files of the same name are compared")
    verb.add_argument("--source", metavar="FOLDER", type=Path, help="what the estimates were made from, by the same names")
    verb.add_argument("--match-level", action="store_true", help="bring each estimate to the loudness of its reference first")
    verb.add_argument("--recordings", metavar="FOLDER", type=Path, help="play these instead; no right answer is known")
    verb.add_argument("--on", metavar="NAME,...", help="instruments that play them (default: violin, trumpet, flute and cello)")
    verb.add_argument("--corpus", metavar="FOLDER", type=Path, help="made by corpus render --split parallel (default: rendered now)")
    verb.add_argument("--transfers", metavar="N", type=_count, default=30, help="to be made from the corpus (default: 30)")
    verb.add_argument(
        "--out", metavar="FILE.html", type=Path, default=Path("report.html"), help="with a .json beside it (default: report.html)"
    )
    verb.add_argument("--title", metavar="TEXT", help="of the page")
    verb.add_argument("--shown", metavar="N", type=_count, default=12, help="examples that can be heard, at most (default: 12)")
    verb.add_argument("--megabytes", metavar="MB", type=_megabytes, default=20.0, help="of the page, at most (default: 20)")
    verb.add_argument("--seed", metavar="N", type=_count, default=0, help="of all that is drawn (default: 0)")
    verb.add_argument("--classifier", metavar="FILE.safetensors", type=Path, help="a classifier of your own instead of the bundled one")
    _add_overwrite(verb)
    _add_weights(verb)
    verb = _verb(
        evaluate,
        "finetune",
        "train on a minute or more of an unseen instrument, and compare with hearing it once",
        run="evaluate_finetune",
    )
    verb.add_argument("--material", metavar="FOLDER", type=Path, default=Path("corpus/finetune"), help="rendered on first use, then kept")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--only", metavar="NAME,...", help="these instruments only")
    verb.add_argument("--config", metavar="CONFIG", type=Path, default=Path("configs/finetune_1min.yaml"), help="how to train")
    verb.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="for example train.steps=200")
    verb.add_argument("--seconds", metavar="N", type=_seconds, default=60.0, help="of the instrument that are learned from (default: 60)")
    verb.add_argument("--performances", metavar="N", type=_count, default=3, help="that are played by each instrument (default: 3)")
    _add_weights(verb)
    verb = _verb(
        evaluate, "techniques", "are playing techniques found, in performances whose techniques are known", run="evaluate_techniques"
    )
    verb.add_argument("--etudes", metavar="N", type=_count, default=24, help="how many performances of 15 s (default: 24)")
    verb.add_argument("--seed", metavar="N", type=_count, default=1000, help="of the first; the rules were set below 100 (default: 1000)")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--synthesizer-only", action="store_true", help="do without FluidR3_GM, whose presets play every other one")
    _add_tracker(verb)
    verb = _verb(evaluate, "timbre", "examine whether z says who plays, and nothing else", run="evaluate_timbre")
    verb.add_argument("--material", metavar="FOLDER", type=Path, default=Path("corpus/timbre"), help="rendered on first use, then kept")
    verb.add_argument("--soundfonts", metavar="FOLDER", type=Path, action="append", default=[], help="where to look first for soundfonts")
    verb.add_argument("--samples", metavar="FOLDER", type=Path, help="where the folders of single notes are, for instruments made of them")
    verb.add_argument("--baseline", metavar="FILE.safetensors", type=Path, help="a second model, examined beside the first")
    verb.add_argument("--probes-only", action="store_true", help="leave out swaps and blends, which play and listen")
    verb.add_argument("--recordings", metavar="FOLDER", type=Path, help="real solo recordings, played again from their own timbre")
    verb.add_argument(
        "--refine", action="store_true", help="the same also with the model fitted to each recording: half a minute more each"
    )
    verb.add_argument("--plot", metavar="PNG", type=Path, help="draw a map of z, coloured by instrument and by pitch")
    _add_overwrite(verb)
    _add_weights(verb)

    verb = _verb(verbs, "demo", "tone transfer in the browser, for this computer or for others", module="demo")
    verb.add_argument("--host", default="127.0.0.1", help="0.0.0.0: other computers may come, too (default: this one alone)")
    verb.add_argument("--port", metavar="N", type=_count, help="default: the first free one from 7860")
    verb.add_argument("--share", action="store_true", help="lend the page a public address, through a server of Gradio's makers")
    verb.add_argument("--keep", metavar="MINUTES", type=_minutes, default=30.0, help="recordings and results are kept (default: 30)")
    _add_weights(verb)
    return parser


def _verb(verbs: Any, name: str, summary: str, *, run: str | None = None, module: str = "commands") -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run or name, module=module)
    return parser


def _add_target(parser: argparse.ArgumentParser, *, tracks: bool = False) -> Any:
    target = parser.add_mutually_exclusive_group(required=True)
    of_track = "; 2=NAME: of track 2 (of channel 2 in a file of one track); auto: by the programs of General MIDI" if tracks else ""
    target.add_argument(
        "--to",
        action="append" if tracks else "store",
        metavar="[TRACK=]NAME|FILE.safetensors" if tracks else "NAME|FILE.safetensors",
        help=f"an instrument, a file that holds one (FILE.safetensors:NAME of several), or hf://OWNER/REPO{of_track}",
    )
    parser.add_argument(
        "--no-room", dest="room", action="store_false", help="leave out the room that an instrument of your own has learned"
    )
    target.add_argument("--like", metavar="REF", type=Path, help="a recording of the instrument, a few seconds or more")
    parser.add_argument("--refine", action="store_true", help="fit the model to --like first: half a minute, and a closer likeness")
    parser.add_argument("--keep", metavar="FILE.safetensors", type=Path, help="keep the refined instrument, for --to")
    target.add_argument("--mix", metavar="NAME:SHARE,...", type=_mix, help="a blend, for example violin:0.5,flute:0.5")
    _add_weights(parser)
    return target


def _add_keys(parser: argparse.ArgumentParser) -> None:
    keys = parser.add_argument_group("notes of MIDI")
    keys.add_argument("--attack", metavar="S", type=_time, default=0.02, help="rise of a note (default: 0.02)")
    keys.add_argument("--decay", metavar="S", type=_time, default=0.1, help="fall from its peak (default: 0.1)")
    keys.add_argument("--sustain", metavar="DB", type=_level, default=-2.0, help="of a held note, re its peak (default: -2)")
    keys.add_argument("--release", metavar="DB/S", type=_number, help="how fast ended notes sink (default: the instrument's)")
    keys.add_argument("--velocity-curve", metavar="SHARE", type=_share, default=1.0, help="0: all notes are loud (default: 1)")


def _add_arrangement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transpose", metavar="auto|SEMITONES", type=_transpose, default="auto", help="auto: by octaves to where the instrument plays"
    )
    parser.add_argument("--loudness", metavar="DB", type=_number, default=0.0, help="ask for so much more (default: 0)")
    parser.add_argument(
        "--autotune", metavar="0..1", type=_share, default=0.0, help="how far to pull notes to the nearest of the scale (default: 0)"
    )
    parser.add_argument("--scale", default="chromatic", help="of --autotune, in the source: 'C major', 'A blues' (default: chromatic)")
    parser.add_argument(
        "--dynamics", metavar="0..2", type=_dynamics, default=1.0, help="0: all notes equally loud, 1: as played, 2: twice as far apart"
    )
    parser.add_argument("--noise", metavar="DB", type=_noise, default=0.0, help="change of breath or bow noise, -60 to 24 (default: 0)")
    parser.add_argument("--hall", metavar="0..1", type=_share, default=0.0, help="how much of a hall is heard (default: 0, dry)")
    parser.add_argument("--seed", metavar="N", type=_count, default=0, help="of the noise in the sound (default: 0)")


def _add_tracker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tracker", metavar="NAME", help="of f0; an unknown name lists those there are")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", metavar="N", type=_count, default=0, help="processes (default: 0, one for each core)")


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FILE.safetensors", type=Path, help="a model of your own instead of the bundled one")


def _add_classifier(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FILE.safetensors", type=Path, help="a classifier of your own instead of the bundled one")


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


def _natural(text: str) -> int:
    return int(_finite(str(int(text)), lowest=0, highest=2**63 - 1))


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


_number = _typed(_finite, "a number")
_share = _typed(lambda text: _finite(text, 0.0, 1.0), "a number from 0 to 1")
_percent = _typed(lambda text: _finite(text, 0.01, 99.99), "a percentage from 0.01 to 99.99")
_dynamics = _typed(lambda text: _finite(text, 0.0, 2.0), "a number from 0 to 2")
_noise = _typed(lambda text: _finite(text, -60.0, 24.0), "a number of decibels from -60 to 24")
_minutes = _typed(lambda text: _finite(text, 0.05, 1e6), "a number of minutes from 0.05")
_seconds = _typed(lambda text: _finite(text, 0.01, 3600.0), "a number of seconds from 0.01")
_time = _typed(lambda text: _finite(text, 0.0, 60.0), "a number of seconds, 0 or more,")
_level = _typed(lambda text: _finite(text, -100.0, 0.0), "a number of decibels, at most 0,")
_megabytes = _typed(lambda text: _finite(text, 1.0, 2000.0), "a number of megabytes from 1")
_count = _typed(_natural, "a whole number, 0 or more")
_transpose = _typed(lambda text: text if text == "auto" else _finite(text, -96.0, 96.0), "auto or a number of semitones")
_mix = _typed(_shares, "names with shares, such as violin:0.5,flute:0.5,")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_args: Any, **_more: Any) -> None:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        parser.exit()
