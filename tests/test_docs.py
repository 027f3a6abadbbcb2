"""The documents say what is."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tables_are_what_the_commands_write() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "tables.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_of_recordings_has_a_row_an_instrument() -> None:
    table = runpy.run_path(str(ROOT / "docs" / "tables.py"))["recordings_table"]
    means = {"n_recordings": 2, "lsd60_db": 9.125, "articulation_recall": 0.5}
    head, rule, *rows = table({"recordings": {}, "instruments": {"violin": means}, "mean": means}).splitlines()
    assert head.startswith("|  | LSD-60 [dB] | MCD [dB] |") and rule.count("---") == head.count("|") - 1
    assert [row.split(" | ")[:3] for row in rows] == [["| violin (2)", "9.12", "-"], ["| all (2)", "9.12", "-"]]
    assert all(row.count("|") == head.count("|") and row.endswith("| 0.50 | - |") for row in rows)


def test_the_six_lines_of_python_run(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run([sys.executable, "-c", code.group(1)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "violin.wav").stat().st_size > 1_000_000


def test_every_command_in_the_readme_parses() -> None:
    from tonetransfer.cli.main import build_parser

    parser = build_parser()
    commands = re.findall(
        r"(?:^|&& )tonetransfer (.*?)(?:  +#.*)?$", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)), re.MULTILINE
    )
    assert len(commands) >= 10
    for command in commands:
        parser.parse_args(shlex.split(command))


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
