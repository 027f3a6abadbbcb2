"""How far long work has come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

Progress = Callable[[int, int], None]  # is told how much of how much is done
Item = TypeVar("Item")


def counted(items: Iterable[Item], progress: Progress | None, total: int | None = None) -> Iterator[Item]:
    """Go through items, and tell after each how many of all (or of `total`, where they have no length) are done."""
    total = len(items) if isinstance(items, Collection) else total or 0
    for done, item in enumerate(items, start=1):
        yield item
        if progress:
            progress(done, total)
