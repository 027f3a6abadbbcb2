"""Make the finished take that the page opens with, which needs no model to be loaded: ``python demo/first.py``.

It writes ``examples/hum_violin.json``, what the page shows of the hum and of the violin that plays it, and ``examples/hum_violin.mp3``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import app
import studio

EXAMPLE, INSTRUMENT = "hum", "violin"
TAKE = Path(__file__).parent / "examples" / f"{EXAMPLE}_{INSTRUMENT}.json"


def make(work: studio.Studio) -> tuple[dict[str, Any], studio.Performance]:
    """Make the finished take: contents of the page, and the performance."""
    page = app.Page(work)
    source = work.analyze(page.example(EXAMPLE))
    *_, performance = work.perform_source(source, studio.Player(INSTRUMENT), studio.Settings())
    assert performance is not None
    looked, taken = page.looked(source), page.taken(performance, [])
    return {"look": looked | {"path": None, "sound": None}, "take": taken | {"files": {}}}, performance


def main() -> None:
    work = studio.Studio()
    try:
        found, performance = make(work)
        TAKE.write_text(json.dumps(found, separators=(",", ":")), encoding="utf-8")
        shutil.copy(work.save(performance, ["mp3"])["mp3"], TAKE.with_suffix(".mp3"))
    finally:
        work.close()


if __name__ == "__main__":
    main()
