"""A command on hostile input: a result with a few warnings, or one line that says why not, and nothing left beside it."""

from __future__ import annotations

import contextlib
import io
import json
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir

from tonetransfer.cli.main import main


def try_command(folder: Path, *words: object, makes: tuple[str, ...] = ()) -> str:
    """Run a command on what lies in a folder; "done" or "refused".

    Parameters
    ----------
    folder : Path
    words
        Of the command; with ``--json`` among them what it prints is read.
    makes : tuple of str
        Names of files that are there afterwards if it was done.

    Raises
    ------
    AssertionError
        It ended otherwise, said more than a line, or left something behind.
    """
    before = {one.name for one in folder.iterdir()}
    printed, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(printed):
        code = main([str(word) for word in words])
    lines = told.getvalue().splitlines()
    assert code in (0, 1), code
    assert all(line.startswith("tonetransfer: ") and line.isprintable() for line in lines), lines
    left = {one.name for one in folder.iterdir()} - before
    if code == 1:
        assert not left and sum("warning: " not in line for line in lines) == 1 and not printed.getvalue(), (left, lines)
        return "refused"
    assert left == set(makes) and all("warning: " in line for line in lines), (left, lines)
    if "--json" in words:
        json.loads(printed.getvalue())
    printed.getvalue().encode("utf-8")
    return "done"


@lru_cache(maxsize=1)
def tiny_weights() -> Path:
    """Weights of a model that is small and knows nothing."""
    from conftest import make_model

    from tonetransfer.models.weights import save_model

    path = Path(gettempdir()) / "fuzz-tiny.safetensors"
    save_model(path, make_model(), notes={"steps": 0}, overwrite=True)
    return path
