"""Play the recordings of docs/examples.yaml on the instruments that it names, with the bundled weights: what the site lets one hear.

    python docs/make_examples.py && python docs/tables.py

The first writes docs/sound/*.mp3 (a quarter of a minute of one core), the second the players of docs/index.md and the credits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

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


if __name__ == "__main__":
    with tt.one_thread():
        main()
