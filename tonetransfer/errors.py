"""Errors and warnings, in words for the person who can put things right.

Every message says what came, what was wanted and what to do, in one line. The command line prints it
without a traceback and exits with 1; a caller from Python catches :class:`ToneTransferError` for all of them. Names that do not exist are
answered with the nearest one that does.
"""

import difflib
import operator
import unicodedata
from collections.abc import Iterable
from typing import Any

TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}  # marks that let text run the other way


class ToneTransferError(Exception):
    """Root of every error that this package raises on purpose.

    Its message is one line: what came, what was wanted and what to do.

    Examples
    --------
    >>> try:
    ...     tt.load_audio("nothing.wav")
    ... except tt.ToneTransferError as error:
    ...     print(error)
    nothing.wav does not exist; a recording is wanted: check the name and the folder
    """


class ToneTransferWarning(UserWarning):
    """Warning that a result may not be what was hoped for.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     tt.save_audio("loud.wav", np.full(480, 2.0), 48000)
    >>> issubclass(told[0].category, tt.ToneTransferWarning)
    True
    """


class AudioError(ToneTransferError):
    """A recording cannot be read, written, or is not something to work on."""


class ControlsError(ToneTransferError):
    """Controls (f0, periodicity, loudness) are malformed or do not fit the model's grid."""


class InstrumentError(ToneTransferError):
    """An instrument, tracker or blend was asked for that does not exist."""


class WeightsError(ToneTransferError):
    """A weights file is missing, truncated, foreign or of another version."""


class SettingsError(ToneTransferError):
    """A setting has a value or a name that is not understood."""


class MissingDependencyError(ToneTransferError):
    """Something outside this package is needed and not installed; the message says how to install it."""


class ExportError(ToneTransferError):
    """An export cannot be made, or failed its own test."""


def check_number(
    name: str,
    value: Any,
    lowest: float,
    highest: float,
    wanted: str,
    *,
    whole: bool = False,
    error: type[ToneTransferError] = SettingsError,
) -> None:
    """Refuse a value that is no number, or a number out of [lowest, highest]; `wanted` says in words which ones are allowed."""
    try:
        allowed = bool(lowest <= (operator.index(value) if whole else value) <= highest)
    except (TypeError, ValueError, RuntimeError):  # of what cannot be compared: texts, None, arrays
        allowed = False
    if not allowed:
        raise error(f"{name} is {value!r}; {wanted} is wanted")


def check_type(name: str, value: Any, kind: type, source: str, *, error: type[ToneTransferError] = SettingsError) -> None:
    """Refuse what is not of a class; `source` says what makes one, for example ``"load_model() gives one"``."""
    if not isinstance(value, kind):
        raise error(f"{name} is of type {type(value).__name__}; a {kind.__name__} is wanted: {source}")


def printable(text: str) -> str:
    """Text without what a terminal takes for commands, and without bytes of a file's name that are no text; both are shown as \\x1b."""
    return text if text.isprintable() and text.isascii() else "".join(map(_shown, text))


def _shown(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # as Python reads a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if letter in "\n\t" or (unicodedata.category(letter) not in ("Cc", "Cs") and code not in TURNING):
        return letter
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most like `name`; None where none is like it by `cutoff`, in [0, 1]."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6, quoted: bool = False) -> str:
    """``"did you mean X? "``, to be put into an error message, or nothing."""
    near = nearest(name, known, cutoff=cutoff)
    return f"did you mean {repr(near) if quoted else near}? " if near else ""


def plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
