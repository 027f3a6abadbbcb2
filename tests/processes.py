"""Processes, as /proc knows them, for tests that end commands."""

from __future__ import annotations

from pathlib import Path


def descendants(process: int) -> list[int]:
    """Processes that a process began, and those that these began."""
    own: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            own += map(int, task.read_text().split())
        except OSError:  # it has just ended
            continue
    return own + [other for one in own for other in descendants(one)]


def is_alive(process: int) -> bool:
    """Test whether a process runs."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
