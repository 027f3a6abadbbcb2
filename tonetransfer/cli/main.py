"""The command line: what is asked, and how errors, warnings and results come back.

A group of verbs is a module of this folder, each verb's parser beside the function that runs it. Parsing needs nothing heavy: those
functions import what they need.
Exit code 0: done. 1: a problem that the user can put right, told in one line on stderr. 2: a command that was not understood.
128 + N: ended by signal N (Ctrl-C: 130), with a line that says what is kept.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import os
import shutil
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..errors import ToneTransferError, printable
from . import analyze, classifier, data, demo, evaluate, export, live, play

PROGRAM = "tonetransfer"
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # that end a program
INSIST_S = 2.0  # between an interruption and the next
NO_MEMORY = ("can't allocate memory", "not enough memory")  # as torch words it, in a RuntimeError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code. SystemExit with 2 for a command that was not understood, with 0 after ``--help``."""
    heard = _as_program() if argv is None else []
    arguments = build_parser().parse_args(argv)
    arguments.is_program, arguments.words = argv is None, list(sys.argv[1:] if argv is None else argv)
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other packages say while they are loaded
        try:
            _check_names(arguments)
            if arguments.loads:
                import_module(f".{arguments.loads}", __package__)
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_args, **_more: _warn(str(message), said)  # type: ignore[assignment]  # fewer names
            result, lines = arguments.run(arguments)
            _print(result | {"warnings": said} if arguments.json else lines)
            if arguments.is_program:
                _end_at_once_when_signalled()
            return 0
        except KeyboardInterrupt:
            return _interrupted(arguments, heard)
        except SystemExit:  # Lightning raises it when it is interrupted
            if not heard:
                raise
            return _interrupted(arguments, heard)
        except Exception as error:  # somebody may have caught the interruption, and failed for want of what it interrupted
            return _interrupted(arguments, heard) if heard else _failed(error)


def _failed(error: Exception) -> int:
    """Tell what the user can put right; raise whatever else it is."""
    if isinstance(error, ToneTransferError):
        return _fail(str(error))
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again while it ends
        return _fail("the reader of the output went away")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in NO_MEMORY)):
        return _fail("memory ran out; close other programs, or use a shorter recording")
    if isinstance(error, OSError):
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    raise error


def _as_program() -> list[int]:
    """Be ended by signals as by Ctrl-C, so that nothing half done is left, and print what a console cannot show in other signs.

    Signals so far.
    """
    came: list[int] = []

    def end(number: int, _frame: Any) -> None:
        came.append(number)
        if len(came) > 3:  # somebody insists
            os._exit(128 + number)
        if len(came) == 1:
            if hasattr(signal, "setitimer"):
                signal.signal(signal.SIGALRM, _insist)
                signal.setitimer(signal.ITIMER_REAL, INSIST_S, INSIST_S)
            raise KeyboardInterrupt

    if _is_helper():  # were it gone before who began it is, Lightning would kill that without a word
        _handle_signals(signal.SIG_IGN, ("SIGINT", "SIGHUP"))  # that reach all processes of a terminal
    _handle_signals(end)
    sys.unraisablehook = _tell_unraisable
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return came


def _is_helper() -> bool:
    """Test whether another process of a distributed run began this one, and ends it."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _handle_signals(handle: Callable[[int, Any], None] | signal.Handlers, names: Sequence[str] = SIGNALS) -> None:
    for name in names:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, handle)


def _end_at_once_when_signalled() -> None:
    """Leave nothing to interrupt once the work is done: Python would print where its own end was interrupted."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    _handle_signals(lambda _number, _frame: os._exit(0))


def _tell_unraisable(told: Any) -> None:
    """Say what Python cannot raise, but for an interruption: it comes again."""
    if not issubclass(told.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(told)


def _insist(_number: int, _frame: Any) -> None:
    """Interrupt once more if nobody is ending: what is raised in a destructor, or in a callback of the import system, is lost."""
    handled = sys.exc_info()[1]
    while handled is not None and not isinstance(handled, KeyboardInterrupt):
        handled = handled.__context__
    if handled is None:
        raise KeyboardInterrupt


def _interrupted(arguments: argparse.Namespace, heard: list[int]) -> int:
    """Tell what is kept; a program ends here, because Python forgets the exit code of some interruptions (those in a text it executes)."""
    if not _is_helper():
        print(f"{PROGRAM}: interrupted; {arguments.kept}", file=sys.stderr, flush=True)
    if heard:
        with suppress(Exception):
            atexit._run_exitfuncs()
        os._exit(128 + heard[0])
    return 128 + signal.SIGINT


def _check_names(arguments: argparse.Namespace) -> None:
    """Refuse an instrument that the weights do not have before anything heavy is loaded; all else is left to who opens them."""
    to, mix = getattr(arguments, "to", None), getattr(arguments, "mix", None)
    asked = [to] if isinstance(to, str) else [one.rpartition("=")[2] for one in to or ()] + list(mix or ())
    asked = [name for name in asked if name != "auto"]
    if not asked or any(mark in name for name in asked for mark in (".", "/", ":")):
        return
    from ..models.instrument_names import find_name
    from ..models.weights_header import find_weights, read_header

    try:
        described = read_header(find_weights(arguments.weights)).json("instruments", list)
        names = [str(one["name"]) for one in described]
    except (ToneTransferError, TypeError, KeyError):
        return
    for name in asked:
        find_name(name, names)


def _print(result: dict[str, Any] | list[str]) -> None:
    if isinstance(result, dict):
        sys.stdout.writelines(json.JSONEncoder(indent=2, allow_nan=False).iterencode(result))  # an hour of notes is a million pieces
        print(flush=True)
    else:
        print(printable("\n".join(result)), flush=True)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split())).replace(" (overwrite=True)", "")  # which is how it is said in Python


def _fail(message: str) -> int:
    print(f"{PROGRAM}: {_one_line(message)}", file=sys.stderr, flush=True)
    return 1


def _warn(message: str, said: list[str]) -> None:
    if (line := _one_line(message)) not in said:
        said.append(line)
        print(f"{PROGRAM}: warning: {line}", file=sys.stderr, flush=True)


GROUPS = {  # of verbs, in the order in which they are needed
    "play": (play.add_transfer, analyze.add_instruments, demo.add_demo, live.add_live, play.add_play),
    "look into a recording, and change it": (analyze.add_analyze, play.add_synthesize, analyze.add_classify, analyze.add_embed),
    "make an instrument of your own": (data.add_doctor, data.add_prepare, data.add_train, export.add_push, export.add_pull),
    "play it in other programs": (export.add_export,),
    "train and measure models": (data.add_corpus, classifier.add_classifier, evaluate.add_evaluate, evaluate.add_bench),
}


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    form = argparse.RawDescriptionHelpFormatter
    usage = "%(prog)s [-h] [--version] VERB ..."
    parser = argparse.ArgumentParser(PROGRAM, usage, formatter_class=form, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", prog=PROGRAM, required=True, help=argparse.SUPPRESS)
    parts = ["Play one recording with another instrument's timbre.\n"]
    for title, adders in GROUPS.items():
        before = len(verbs.choices)
        for add in adders:
            add(verbs)
        told = [(name, verb.description or "") for name, verb in list(verbs.choices.items())[before:]]
        parts.append("\n".join([f"{title}:", *(_listed(name, description) for name, description in told)]) + "\n")
    parser.description = "\n".join([*parts, f"{PROGRAM} VERB --help says more of each."])
    return parser


def _listed(name: str, description: str) -> str:
    """A verb and what it does, as argparse lists them."""
    width = max(shutil.get_terminal_size().columns - 2, 40)
    summary = description[0].lower() + description[1:].rstrip(".")
    return textwrap.fill(f"{name:<12} {summary}", width, initial_indent="  ", subsequent_indent=15 * " ", break_on_hyphens=False)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_args: Any, **_more: Any) -> None:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        parser.exit()
