"""Importing Gradio takes a third less time if it need not write stubs (.pyi) of its components for editors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_stubs() -> Iterator[None]:
    """While this lasts, classes of Gradio components have no source file: it writes no stub of such a class."""
    getfile = inspect.getfile

    def getfile_of_others(thing: Any) -> str:
        if type(thing).__module__ == "gradio.component_meta":
            raise OSError("no stub is wanted")
        return getfile(thing)

    inspect.getfile = getfile_of_others
    try:
        yield
    finally:
        inspect.getfile = getfile
