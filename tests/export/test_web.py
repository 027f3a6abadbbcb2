"""A page that needs no server is refused, or written whole; test_web_page.py looks at what is in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import web_table
from command_line import Run
from conftest import make_model

import tonetransfer as tt
from tonetransfer.export import web
from tonetransfer.models.weights import save_model


def stand_in(folder: Path) -> Path:
    """A stand-in for ONNX Runtime."""
    (folder / "dist").mkdir()
    for name in web.RUNTIME:
        (folder / "dist" / name).write_text(name)
    return folder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("runtime"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "violin", "--to", "violin"], "comes twice"),
        (["--to", "vioin"], "did you mean violin"),
        (["--mix", "violin:1,flute:1"], "not a blend"),
        (["--to", "violin", "--runtime", "nowhere"], "npm install"),
        (["--to", "other_grid.safetensors"], "plays at 48000 Hz with 240 samples a frame"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_written(runtime: Path, run: Run, arguments: list[str], told: str) -> None:
    save_model("other_grid.safetensors", make_model(hop_length=240))
    given = arguments if "--runtime" in arguments else [*arguments, "--runtime", runtime]
    code, out, err = run("export", "site", "--format", "web", *given)
    assert (code, out) == (1, "") and told in err and err.count("\n") == 1 and not Path("site").exists()


def test_a_page_that_is_not_built_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(web, "PAGE", tmp_path)
    code, _, err = run("export", "site", "--format", "web", "--to", "violin")
    assert code == 1 and "npm run build" in err and err.count("\n") == 1


def test_several_instruments_are_for_a_page_alone(run: Run) -> None:
    code, _, err = run("export", "a.ts", "--format", "torchscript", "--to", "violin", "--to", "flute")
    assert code == 1 and "only --format web takes several" in err


def test_an_earlier_page_is_replaced_only_when_asked_and_nothing_else_ever(
    runtime: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_write_graphs", lambda part, players, sessions: {"instruments": [], "n": len(players)})
    arguments = ["export", "site", "--format", "web", "--to", "violin", "--runtime", runtime]
    assert run(*arguments)[0] == 0
    code, _, err = run(*arguments)
    assert code == 1 and "--overwrite" in err
    assert run(*arguments, "--to", "flute", "--overwrite")[0] == 0
    assert json.loads(Path("site", web.MANIFEST).read_text())["n"] == 2 and sorted(one.name for one in Path().iterdir()) == ["site"]

    def fails(*_: Any) -> dict[str, Any]:
        raise tt.ToneTransferError("it failed its own test")

    monkeypatch.setattr(web, "_write_graphs", fails)
    assert run(*arguments, "--overwrite")[0] == 1
    assert json.loads(Path("site", web.MANIFEST).read_text())["n"] == 2 and sorted(one.name for one in Path().iterdir()) == ["site"]
    monkeypatch.setattr(web, "_write_graphs", lambda part, players, sessions: {"instruments": [], "n": len(players)})
    Path("site", ".git").mkdir()
    Path("site", "README.md").write_text("mine")
    assert run(*arguments, "--overwrite")[0] == 0 and Path("site", ".git").is_dir() and Path("site", "README.md").read_text() == "mine"
    assert json.loads(Path("site", web.MANIFEST).read_text())["n"] == 1
    Path("site", web.MANIFEST).unlink()
    code, _, err = run(*arguments, "--overwrite")
    assert code == 1 and "not of an earlier export" in err and Path("site", "README.md").read_text() == "mine"
    shutil.rmtree("site")
    Path("site").write_text("mine")
    assert run(*arguments, "--overwrite")[0] == 1 and Path("site").read_text() == "mine"


def test_the_table_for_javascript_is_what_python_makes() -> None:
    written = json.loads(web_table.TABLE.read_text())
    made = json.loads(json.dumps(web_table.table()))
    assert [one["name"] for one in written["cases"]] == [one["name"] for one in made["cases"]]
    assert written["decay"] == made["decay"]
    kinds = ("cases", "readings", "decays")
    for one, other in zip(*(sum((whole[kind] for kind in kinds), []) for whole in (written, made)), strict=True):
        for key, values in other["expected"].items():
            assert np.allclose(one["expected"][key], values, atol=2e-3), (other.get("name"), key)
