"""Fuzz YAML files of settings and ``--set``. By hand: ``python tests/fuzz/settings.py --seconds 600``."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from harness import command_line
from mutations import damage

from tonetransfer.classification.settings import load_classifier_settings
from tonetransfer.data.corpus_config import load_config
from tonetransfer.errors import SettingsError
from tonetransfer.training.settings import read_settings

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs").rglob("*.yaml"))
VALUES = (
    "0x_", "2024-02-31", "2024-01-01", ".inf", ".nan", "1e999", "-1", "0", "~", "yes", "no", "1:30:00", "0b", "0o9", "9" * 5000,
    "[", "]", "{", "}", "[" * 25, "'", '"', "|", ">", "&a [*a]", "*a", "<<: *a", "!!python/name:os", "!!int x", "!!binary x",
    "!!omap [a]",
    "!!timestamp x", "? a", "- a", "%YAML 9.9", "---", "...", "\t", "\x00", "\ud800", "a: b: c", "#", "@", "`", "!", "!!set {a}",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")
BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True))


def mutate(chance: random.Random) -> bytes:
    """A file of settings, changed or damaged; after a zero byte an override."""
    lines = chance.choice(FILES).read_text(encoding="utf-8").splitlines() if chance.random() < 0.9 else []
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 5))):
        at = chance.randrange(len(lines) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            lines.insert(at, chance.choice((BOMB, "  " * chance.randrange(200) + "a:", "[" * chance.choice((5, 500, 5000)))))
        elif kind == 1 and at < len(lines):
            lines[at] = lines[at].partition(":")[0] + ": " + chance.choice(VALUES)
        elif kind == 2 and at < len(lines):
            del lines[at]
        elif kind == 3 and at < len(lines):
            lines[at] = chance.choice(("  ", "\t", "- ", "? ")) + lines[at]
        else:
            lines.insert(at, chance.choice(VALUES))
    encoding = chance.choice(ENCODINGS)
    content = "\n".join(lines).encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    content = damage(content, chance) if chance.random() < 0.25 else content
    override = chance.choice(("", "", "train.steps=", "name=", "data.folder=", "a.b.c=", "=", "train=")) + chance.choice(VALUES)
    return content + b"\x00--set\x00" + override.encode("utf-8", "surrogatepass")


def attempt(data: bytes, folder: Path) -> str:
    """Read it as settings of every kind."""
    content, _, override = data.rpartition(b"\x00--set\x00")
    path = folder / "a.yaml"
    path.write_bytes(content)
    given = [override.decode("utf-8", "surrogatepass")] if b"=" in override else []
    read = 0
    for load in (lambda: read_settings(path, given), lambda: load_classifier_settings(path, given), lambda: load_config(path)):
        try:
            load()
            read += 1
        except SettingsError as error:
            text = str(error)
            assert "\n" not in text and len(text) < 20_000 and (str(path) in text or "--set" in text), text
    return "read" if read else "refused"


if __name__ == "__main__":
    sys.exit(command_line("settings", mutate, attempt))
