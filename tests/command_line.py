"""The command line as tests run it, and what they ask of its answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = tuple[int, str, str]
Run = Callable[..., Result]


def as_json(result: Result) -> dict[str, Any]:
    assert result[0] == 0, result[2]
    return json.loads(result[1])  # fails if anything else is on stdout


def check_refused(result: Result, *says: str) -> None:
    code, out, err = result
    assert code == 1, (out, err)
    assert out == "" and err.count("\n") == 1 and err.startswith("tonetransfer: ") and "Traceback" not in err
    assert len(err.replace(f"{Path.cwd()}/", "")) < 400  # the folder that a test runs in is not what makes it long
    for part in says:
        assert part in err


def spawn(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tonetransfer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)
