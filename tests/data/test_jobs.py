"""What workers warn of is told here, once."""

from __future__ import annotations

import multiprocessing
import warnings

import pytest

from tonetransfer.data.jobs import run_jobs
from tonetransfer.errors import ToneTransferWarning


def doubled(number: int) -> int:
    for _ in range(2):
        warnings.warn(f"{number} came", ToneTransferWarning, stacklevel=1)
    warnings.warn("of others", DeprecationWarning, stacklevel=1)
    return 2 * number


def name_of_lock(_: int) -> str | None:
    name: str | None = multiprocessing.Lock()._semlock.name  # type: ignore[attr-defined]
    return name


@pytest.mark.slow
def test_locks_of_a_worker_leave_nothing_when_it_is_killed() -> None:
    assert list(run_jobs(name_of_lock, [1, 2], workers=2)) == [None, None]


@pytest.mark.slow
def test_what_workers_warn_of_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert sorted(run_jobs(doubled, [1, 2, 3], workers=2)) == [2, 4, 6]
    assert sorted(str(one.message) for one in caught if one.category is ToneTransferWarning) == ["1 came", "2 came", "3 came"]
    assert capfd.readouterr() == ("", "")
