"""The command line: what is asked, and how errors, warnings and results come back.

A group of verbs is a module of this folder, each verb's parser beside the function that runs it. Parsing needs nothing heavy: those
functions import what they need.
Exit code 0: done. 1: a problem that the user can put right, told in one line on stderr. 2: a command that was not understood.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..errors import ToneTransferError
from . import analyze, classifier, data, demo, evaluate, export, live, play, train

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
            if arguments.loads:
                import_module(f".{arguments.loads}", __package__)
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_args, **_more: _warn(str(message), heard)  # type: ignore[assignment]  # fewer names
            result, lines = arguments.run(arguments)
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


VERBS = (  # as help lists them
    play.add_transfer,
    export.add_export,
    evaluate.add_bench,
    analyze.add_instruments,
    analyze.add_analyze,
    play.add_synthesize,
    live.add_live,
    play.add_play,
    analyze.add_classify,
    analyze.add_embed,
    data.add_corpus,
    data.add_doctor,
    data.add_prepare,
    train.add_train,
    export.add_push,
    export.add_pull,
    classifier.add_classifier,
    evaluate.add_evaluate,
    demo.add_demo,
)


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    parser = argparse.ArgumentParser(PROGRAM, description="Play one recording with another instrument's timbre.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add in VERBS:
        add(verbs)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_args: Any, **_more: Any) -> None:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        parser.exit()
