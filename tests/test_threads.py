"""Work in other threads, in order; freed memory goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading

import pytest

from tonetransfer.threads import ahead


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_come_in_the_order_of_the_items(n_threads: int) -> None:
    before_us = threading.current_thread()
    found = list(ahead(lambda item: (item**2, threading.current_thread()), range(20), n_threads))
    assert [square for square, _ in found] == [n**2 for n in range(20)]
    threads = {thread for _, thread in found}
    assert len(threads) <= n_threads and before_us not in threads


def test_one_thread_takes_one_item_after_the_other() -> None:
    sums = [0]
    for _ in ahead(lambda item: sums.append(sums[-1] + item), range(1, 50)):
        pass
    assert sums == [n * (n + 1) // 2 for n in range(50)]


def test_no_more_is_made_than_is_asked_for() -> None:
    taken = []
    results = ahead(lambda item: item, (taken.append(n) or n for n in range(100)), 2)
    assert next(results) == 0
    assert len(taken) == 3
    results.close()


def test_what_the_work_raises_is_raised_here() -> None:
    results = ahead(lambda item: 1 // item, [2, 1, 0, 1])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


HOLES = """
import numpy as np
from tonetransfer.threads import trim_malloc

def held_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

trim_malloc()
for _ in range(2):
    np.ones(7 * 2**19)  # 28 MB: glibc keeps pieces up to this size from now on
pieces = [np.ones(3 * 2**17) for _ in range(100)]  # 3 MB each
full = held_mb()
del pieces[::2]
print(full - held_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere nothing is changed")
def test_holes_are_given_back() -> None:
    ended = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert float(ended.stdout) > 140.0  # of 150; 0 without
