"""The nearest of the known names, where one was asked for that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most like `name`; None where none is like it by `cutoff`, in [0, 1]."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6, quoted: bool = False) -> str:
    """``"did you mean X? "``, to be put into an error message, or nothing."""
    near = nearest(name, known, cutoff=cutoff)
    return f"did you mean {repr(near) if quoted else near}? " if near else ""
