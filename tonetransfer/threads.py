"""Threads: stages of the work side by side, rather than each stage on several cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import threadpoolctl
import torch

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; while one is worked with, the next is made in another thread.

    What making them raises is raised here. At most one item more than was asked for is made.
    """
    made, end = iter(items), object()
    with ThreadPoolExecutor(1) as worker:
        following = worker.submit(next, made, end)
        while (item := following.result()) is not end:
            following = worker.submit(next, made, end)
            yield cast(Item, item)


@contextmanager
def one_thread() -> Iterator[None]:
    """No library splits a sum over cores: the same last bits however many there are, and no cores that wait for each other.

    A frame is little work; what is gained by dividing it is less than what the meeting of threads costs.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
