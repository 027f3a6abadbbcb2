"""Play the recordings of docs/examples.yaml on the instruments that it names, with the bundled weights, and draw the README's picture.

    python docs/make_examples.py && python docs/tables.py

The first writes docs/sound/*.mp3 and docs/transfer.png (half a minute of one core), the second the players of docs/index.md and credits.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

import tonetransfer as tt

DOCS = Path(__file__).parent
EXAMPLES = DOCS / "examples.yaml"
HALL = 0.15  # a little, as on the page in the browser: dry sound is tiring in headphones


def examples() -> list[dict[str, Any]]:
    """Recordings and who plays them."""
    found: list[dict[str, Any]] = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))
    return found


def result(example: dict[str, Any]) -> Path:
    """Where the result of an example lies."""
    target = example["to"] if "to" in example else f"like_{Path(example['like']).stem}"
    return DOCS / "sound" / f"{Path(example['file']).stem}_{target}.mp3"


def main() -> None:
    model = tt.load_model()
    for example in examples():
        audio, sample_rate = tt.load_audio(DOCS.parent / example["file"])
        like = tt.load_audio(DOCS.parent / example["like"], sample_rate)[0] if "like" in example else None
        out = tt.transfer(audio, sample_rate, model, to=example.get("to"), like=like, hall=HALL)
        tt.save_audio(result(example), out, model.sample_rate, overwrite=True)
        print(result(example).relative_to(DOCS.parent), file=sys.stderr)


def draw_picture() -> None:
    """The picture of the command that the README begins with."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tonetransfer", "transfer", "examples/flute.flac", f"{folder}/violin.wav", "--to", "violin"]
        subprocess.run([*command, "--plot", f"{folder}/picture.png"], cwd=DOCS.parent, check=True)
        Image.open(f"{folder}/picture.png").quantize(256).save(DOCS / "transfer.png", optimize=True)  # a third of the size


if __name__ == "__main__":
    with tt.one_thread():
        main()
    draw_picture()
