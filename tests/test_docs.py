"""The documents say what is."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tonetransfer.models.weights import load_model

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
GENERATED = {
    "api.md",
    "changelog.md",
    "commands.md",
    "contributing.md",
}  # while the site is built; mkdocs build --strict sees to links to them
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_figures_of_the_timbre_vector_are_of_the_bundled_encoder() -> None:
    """Another encoder, or one from which what is played was not taken out, is examined before it is shipped."""
    measured = json.loads((ROOT / "docs" / "timbre.json").read_text(encoding="utf-8"))
    assert measured["encoder"] == load_model().encoder.checksum()
    assert max(measured[f"z_{label}_{probe}_r2"] for label in ("pitch", "loudness") for probe in ("linear", "mlp")) <= 0.15


def test_tables_are_what_the_commands_write() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "tables.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_of_recordings_has_a_row_an_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    table = runpy.run_path(str(ROOT / "docs" / "tables.py"))["recordings_table"]
    means = {"n_recordings": 2, "lsd60_db": 9.125, "articulation_recall": 0.5}
    head, rule, *rows = table({"recordings": {}, "instruments": {"violin": means}, "mean": means}).splitlines()
    assert head.startswith("|  | LSD-60 [dB] | MCD [dB] |") and rule.count("---") == head.count("|") - 1
    assert [row.split(" | ")[:3] for row in rows] == [["| violin (2)", "9.12", "-"], ["| all (2)", "9.12", "-"]]
    assert all(row.count("|") == head.count("|") and row.endswith("| 0.50 | - |") for row in rows)


def test_the_six_lines_of_python_run_and_what_follows_them(tmp_path: Path) -> None:
    (six_lines,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0] == six_lines
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "violin.wav").stat().st_size > 1_000_000


def test_every_command_that_is_shown_parses() -> None:
    from tonetransfer.cli.main import build_parser

    parser = build_parser()
    shown = "\n".join(block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    commands = re.findall(r"(?:^|&& )tonetransfer (.*?)(?:  +#.*)?$", shown, re.MULTILINE)
    assert len(commands) >= 30
    for command in commands:
        parser.parse_args(shlex.split(command))


def test_sounds_of_the_first_page_are_there_and_small() -> None:
    folder = ROOT / "docs" / "sound"
    played = re.findall(r'src="sound/([^"]+)"', (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert len(played) >= 24
    for name in played:
        assert (folder / name).is_file() or (ROOT / "demo" / "examples" / name).is_file(), name
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) < 300_000 and sum(sizes) < 2_500_000
    assert {path.name for path in folder.iterdir()} <= set(played)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    import nbclient
    import nbformat

    shutil.copy(ROOT / "examples" / "flute.flac", tmp_path)
    notebook = nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("text/html" in output.get("data", {}) for output in shown) >= 4  # players
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2
    assert (tmp_path / "cello.wav").stat().st_size > 500_000


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert target in GENERATED or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_map_of_the_package_is_true() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:`(\w+)/`|\*\(top\)\*) \|.*\| (.*) \|$", page, re.MULTILINE)
    folders = {path.parent.name for path in (ROOT / "tonetransfer").glob("*/__init__.py")} - {"instruments", "classifiers"}
    assert {folder for folder, _ in rows} == folders | {""}
    for folder, modules in rows:
        for name in re.findall(r"`(\w+\.py)`", modules):
            assert (ROOT / "tonetransfer" / folder / name).is_file(), f"{folder}/{name}"


def test_files_that_are_named_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:\w+/)+\w+\.(?:py|md|yaml))`", page.read_text(encoding="utf-8")):
            at_home = any((root / path).is_file() for root in (ROOT, ROOT / "tonetransfer"))
            assert at_home or path.isupper() or "NAME" in path, f"{page.name} names {path}"


def test_nothing_tells_of_one_machine() -> None:
    found = subprocess.run(
        ["git", "grep", "-nIE", "/(root|home|work|opt)/[a-z]", "--", ".", ":!tests/test_docs.py"], cwd=ROOT, capture_output=True, text=True
    )
    lines = [line for line in found.stdout.splitlines() if "/opt/homebrew" not in line]
    assert lines == []
