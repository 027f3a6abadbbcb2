"""Fuzz the names of files, on every verb and in folders. By hand: ``python tests/fuzz/names.py --seconds 600``."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

from commands import tiny_weights, try_command
from harness import command_line
from weights import _voice

LETTERS = (
    *(
        b"a",
        b"Z",
        b"0",
        b" ",
        b".",
        b"-",
        b"_",
        b"'",
        b'"',
        b"\\",
        b"$",
        b"`",
        b"*",
        b"?",
        b"[",
        b"]",
        b"{",
        b"}",
        b"<",
        b">",
        b"|",
        b"&",
        b";",
    ),
    *(
        b"\n",
        b"\t",
        b"\r",
        b"\x1b[31m",
        b"\x07",
        b"\x7f",
        b"\xe9",
        b"\xff",
        b"\xc3",
        "é".encode(),
        "笛".encode(),
        "🎻".encode(),
        "\u202e".encode(),
    ),
    *(b"%s", b"%d", b"{0}", b"$^", b"\\alpha", b"~", b"#", b"@", b"!", b":", b",", b"=", b"\xed\xa0\x80", b"hf:", b".safetensors", b".ts"),
)
VERBS = ("transfer", "like", "analyze", "synthesize", "embed", "instruments", "doctor", "prepare", "missing", "plot")


def mutate(chance: random.Random) -> bytes:
    """A name, and after a slash a verb."""
    name = b"".join(chance.choice(LETTERS) for _ in range(chance.choice((1, 2, 3, 8, 30)))) or b"a"
    name = name.lstrip(b"-")[:100] or b"a"  # a name that begins so is an option
    return name + b"/" + chance.choice(VERBS).encode()


def attempt(data: bytes, folder: Path) -> str:
    """Use it for what is read and for what is written."""
    stem, _, verb = data.rpartition(b"/")
    name = os.fsdecode(stem)
    sound, weights = folder / f"{name}.wav", tiny_weights()
    shutil.copy(_voice(), sound)
    words: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
        "transfer": (("transfer", sound, folder / f"{name}_.flac", "--to", weights), (f"{name}_.flac",)),
        "like": (("transfer", _voice(), folder / f"{name}_.mp3", "--like", sound, "--weights", weights), (f"{name}_.mp3",)),
        "analyze": (("analyze", sound, "--save", folder / f"{name}.npz"), (f"{name}.npz",)),
        "plot": (("transfer", sound, folder / "a_.wav", "--to", weights, "--plot", folder / f"{name}.png"), ("a_.wav", f"{name}.png")),
        "embed": (("embed", sound, "--weights", weights, "--json"), ()),
        "missing": (("embed", folder / f"{name}.not", "--weights", weights), ()),
        "instruments": (("instruments", "--weights", folder / f"{name}.safetensors"), ()),
        "doctor": (("doctor", folder, "--workers", 1), ()),
        "prepare": (("prepare", folder, folder.parent / "prepared", "--workers", 1, "--force", "--json"), ()),
    }
    if verb == b"instruments":
        shutil.copy(weights, folder / f"{name}.safetensors")
    if verb == b"synthesize":
        try_command(folder, "analyze", sound, "--save", folder / f"{name}.npz", makes=(f"{name}.npz",))
        return try_command(folder, "synthesize", folder / f"{name}.npz", folder / f"{name}_.wav", "--to", weights, makes=(f"{name}_.wav",))
    shutil.rmtree(folder.parent / "prepared", ignore_errors=True)
    command, makes = words[verb.decode()]
    return try_command(folder, *command, makes=makes)


if __name__ == "__main__":
    sys.exit(command_line("names", mutate, attempt))
