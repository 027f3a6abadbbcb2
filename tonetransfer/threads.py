"""Threads, which share out stages of the work rather than each stage, and the memory that they leave behind; and how far work has come."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import threadpoolctl
import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]  # is told how much of how much is done

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # parameters of mallopt(3)
LARGE_BYTES, KEPT_BYTES, MOST_ARENAS = 1 << 20, 4 << 20, 2


def ahead(work: Callable[[Item], Result], items: Iterable[Item], n_threads: int = 1) -> Iterator[Result]:
    """``map(work, items)``, in threads that are `n_threads` items ahead of what is asked for.

    One thread takes the items in their order, one after the other. What the work raises is raised here.
    """
    at_work: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n_threads) as workers:
        for item in items:
            at_work.append(workers.submit(work, item))
            if len(at_work) > n_threads:
                yield at_work.popleft().result()
        for done in at_work:
            yield done.result()


def parallel_map(work: Callable[[int], Item], count: int) -> list[Item]:
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
    """Let no library divide a sum over cores: the same last bits whatever their number.

    A context manager. A frame is little work; what is gained by dividing it is less than what the meeting of threads costs.

    Yields
    ------
    None

    Examples
    --------
    >>> with tt.one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def trim_malloc() -> None:
    """Give freed memory back to the system: what there is of it now, and from now on large pieces as soon as they are freed.

    glibc learns from the largest piece that was freed to keep pieces of that size, in a heap for each thread; what such heaps hold grows
    by hundreds of megabytes in an hour of sound, more or less as threads happen to meet. It costs a twentieth of the speed. Elsewhere than
    on glibc nothing happens.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, malloc_trim = library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):  # another system, another library
        return
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_ARENA_MAX, MOST_ARENAS)
    malloc_trim(0)


def counted(items: Iterable[Item], progress: Progress | None, total: int | None = None) -> Iterator[Item]:
    """Go through items, and tell after each how many of all (or of `total`, where they have no length) are done."""
    total = len(items) if isinstance(items, Collection) else total or 0
    for done, item in enumerate(items, start=1):
        yield item
        if progress:
            progress(done, total)
