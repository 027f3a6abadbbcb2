"""The public names are documented: numpydoc sections, shapes, sources, and examples that run."""

from __future__ import annotations

import doctest
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpydoc.docscrape import ClassDoc, FunctionDoc, NumpyDocString
from numpydoc.validate import validate

import tonetransfer as tt

ROOT = Path(__file__).parents[1]
WANTED = {
    *("GL06", "GL07", "GL08", "SS01"),  # sections are known and in order; there is a docstring, and a first line
    *("PR01", "PR02", "PR03", "PR04", "PR07", "PR10"),  # every parameter, no other, in order, with its type and what it is
    *("RT01", "YD01", "EX01"),  # what is returned, and an example
}
RAISE_NOTHING = {
    "apply_edits",
    "estimate_dynamic",
    "estimate_effort",
    "find_notes",
    "measure_room",
    "nearest_timbres",
    "one_thread",
    "warn_about",
}
HAVE_A_SOURCE = {
    *("Controls", "SynthParams", "TimbreModel", "transfer", "bootstrap_interval", "compare", "frechet_distance", "find_notes"),
    *("describe", "describe_controls", "describe_frames", "describe_notes", "descriptor_tracks", "find_techniques"),
}


def documentation(name: str) -> NumpyDocString:
    value = getattr(tt, name)
    return ClassDoc(value) if inspect.isclass(value) else FunctionDoc(value)


def home(name: str) -> str:
    value = getattr(tt, name)
    return f"{value.__module__}.{value.__qualname__}"


@pytest.mark.parametrize("name", tt.__all__)
def test_a_public_name_is_documented(name: str) -> None:
    page, value = documentation(name), getattr(tt, name)
    returned = "RT01" if page["Yields"] or page["Warns"] else ""  # an iterator is described by what it yields
    faults = [f"{code}: {words}" for code, words in validate(home(name))["errors"] if code in WANTED - {returned}]
    assert not faults, "\n".join(faults)
    if inspect.isfunction(value):
        assert page["Raises"] or name in RAISE_NOTHING, "errors are not told"
    assert page["References"] or name not in HAVE_A_SOURCE, "a formula has a source"


@pytest.mark.parametrize("name", tt.__all__)
def test_arrays_have_shapes(name: str) -> None:
    parameters = documentation(name)["Parameters"]
    annotations = {key: str(one.annotation) for key, one in inspect.signature(getattr(tt, name)).parameters.items()} if parameters else {}
    for names, kind, words in parameters:
        for one in names.split(", "):
            if any(array in annotations[one.lstrip("*")] for array in ("Tensor", "ndarray", "AudioLike")):
                assert "shape=" in f"{kind} {words}", f"{one} has no shape"


@pytest.mark.parametrize("name", tt.__all__)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    value = getattr(tt, name)
    known = {"tt": tt, "np": np, "torch": torch}
    tests = doctest.DocTestFinder(recurse=False).find(value, name, module=sys.modules[value.__module__], globs=known)
    assert tests[0].examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    runner.run(tests[0], out=said.append)
    assert not runner.failures, "".join(said)
