"""Files that appear whole or not at all, and take the place of others only where that is allowed."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from .errors import ToneTransferError

PARTIAL = ".part"  # in temporary names, before the ending
ENDINGS = {"picture": (".png",), "MIDI file": (".mid", ".midi"), "page": (".html",)}


def check_new(path: str | os.PathLike[str], error: type[ToneTransferError], *, kind: str | None = None, overwrite: bool = False) -> Path:
    """Refuse, before any long work, a file that could not be written in the end; remove what a killed process left of it.

    `error` is raised where `path` is a folder, exists and may not be replaced, lies in a folder that is missing or may not be written to,
    or has not the ending of its `kind`.
    """
    path = Path(path)
    if path.is_dir():
        raise error(f"{path} is a folder; a file is wanted: add a name, e.g. {path / 'result'}")
    if path.exists() and not overwrite:
        raise error(f"{path} exists; a new file is wanted: choose another name, or replace it with --overwrite (overwrite=True)")
    if not path.parent.is_dir():
        raise error(f"{path} cannot be written: there is no folder {path.parent}; make it first, or choose another")
    if not os.access(path.parent, os.W_OK):
        raise error(f"{path} cannot be written: no permission in {path.parent}; choose another folder")
    if kind and path.suffix.lower() not in ENDINGS[kind]:
        ending = ENDINGS[kind][0]
        raise error(f"{path}: a {kind} is written into a file ending in {ending}; name it {path.stem}{ending}")
    remove_remains(Path(os.path.realpath(path)))
    return path


def temporary_name(path: Path, *, alone: bool = False) -> Path:
    """A hidden name beside `path`, with the same ending, of nobody else's.

    With `alone` nobody else writes this file: the name is always the same, so that the remains of a process that was killed are written
    over.
    """
    token = "" if alone else f".{_computer()}-{os.getpid():x}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem}{token}{PARTIAL}{path.suffix}")


def remove_remains(path: Path) -> None:
    """Remove the temporary files of `path` whose processes ended without doing it; those of other computers stay."""
    begin, end = f".{path.stem}.{_computer()}-", f"{PARTIAL}{path.suffix}"
    with suppress(OSError):
        for part in [one for one in path.parent.iterdir() if one.name.startswith(begin) and one.name.endswith(end)]:
            process = part.name.removeprefix(begin).partition("-")[0]
            with suppress(OSError, ValueError):
                if not _is_running(int(process, 16)):
                    _remove(part)


def _is_running(process: int) -> bool:
    if sys.platform != "win32":  # where a process that is asked so ends
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except OSError:  # somebody else's
            pass
    return True


@lru_cache(maxsize=1)
def _computer() -> str:
    """A short name of what gives processes their numbers: a computer since it was started, or a container on it."""
    facts = [os.uname().nodename if hasattr(os, "uname") else ""]
    with suppress(OSError):
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:6]


def _remove(part: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


@contextmanager
def replacing(path: str | os.PathLike[str], *, error: type[ToneTransferError] | None = None, alone: bool = False) -> Iterator[Path]:
    """A temporary name for a file, which gets its own when the block has ended, and is gone if that raises; a link stays a link.

    `error` is raised in place of an OSError, with its reason; `alone` as for :func:`temporary_name`.
    """
    target = Path(os.path.realpath(path))
    part = temporary_name(target, alone=alone)
    try:
        yield part
        os.replace(part, target)
    except OSError as problem:
        if error is None:
            raise
        raise error(f"{path} cannot be written ({problem.strerror or problem}); choose another place") from problem
    finally:
        _remove(part)


@contextmanager
def replacing_all(paths: Sequence[Path], *, error: type[ToneTransferError] | None = None) -> Iterator[list[Path]]:
    """As :func:`replacing`, for several files: all of them get their names, or none."""
    with ExitStack() as stack:
        yield [stack.enter_context(replacing(path, error=error)) for path in reversed(paths)][::-1]


def write_text(path: str | os.PathLike[str], text: str, *, error: type[ToneTransferError] | None = None) -> None:
    """Write a text file in UTF-8."""
    with replacing(path, error=error) as part:
        part.write_text(text, encoding="utf-8")
