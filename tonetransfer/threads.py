"""Threads: stages of the work side by side, rather than each stage on several cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Barrier
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


def side_by_side(work: Callable[[int], Item], count: int) -> list[Item]:
    """``[work(0), ..., work(count - 1)]``, in as many threads as torch uses, which divides nothing further there.

    Worth it where `work` seldom holds the interpreter's lock.
    """
    n_threads = torch.get_num_threads()
    if min(n_threads, count) < 2:
        return [work(i) for i in range(count)]
    return list(_workers(n_threads, os.getpid()).map(work, range(count)))


@lru_cache(maxsize=1)
def _workers(n_threads: int, _process: int) -> ThreadPoolExecutor:
    """Threads that are kept, with the memory that they use: a new one would take its pages from the system again."""
    before, all_there = torch.get_num_threads(), Barrier(n_threads + 1)
    workers = ThreadPoolExecutor(n_threads, "tonetransfer", torch.set_num_threads, (1,))
    for _ in range(n_threads):
        workers.submit(all_there.wait)
    all_there.wait()
    torch.set_num_threads(before)  # what threads take that are begun later: each has its own number
    return workers


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
