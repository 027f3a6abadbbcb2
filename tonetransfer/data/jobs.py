"""Run jobs in local processes, or on a Dask cluster that is there already. Jobs are independent of each other."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from ..errors import MissingDependencyError, SettingsError, ToneTransferWarning

Job = TypeVar("Job")
Done = TypeVar("Done")
ENGINES = ("local", "dask")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], Done], jobs: Sequence[Job], *, engine: str = "local", workers: int = 1, scheduler: str | None = None
) -> Iterator[Done]:
    """Call a function with each of some jobs.

    Parameters
    ----------
    function : callable
        Of a module (or partial of one); it is found by its name where it runs.
    jobs : sequence
        That can be pickled.
    engine : str
        "local": processes of this machine. "dask": a Dask cluster; tonetransfer must be installed on its workers, and they must see the
        same folders.
    workers : int, > 0
        Processes; not used with `scheduler`.
    scheduler : str or None
        Address of a running Dask scheduler, such as ``tcp://host:8786``; None: a cluster of processes on this machine.

    Yields
    ------
    What the function returns, as it is done

    Raises
    ------
    SettingsError, MissingDependencyError
        There is no such engine; its package is not installed; a worker was lost. What the function raises comes out as it is.
    """
    if engine not in ENGINES:
        raise SettingsError(f"there is no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if scheduler and engine != "dask":
        raise SettingsError(f"--scheduler names a Dask cluster, but the engine is {engine}; add --engine dask")
    workers = min(workers, len(jobs)) if engine == "local" else workers
    if engine == "local" and workers <= 1:
        yield from map(function, jobs)
        return
    with _processes(workers) if engine == "local" else _on_dask(workers, scheduler) as executor:
        with _interruptions_held():
            futures = [executor.submit(_with_warnings, function, job) for job in jobs]
        for future in as_completed(futures):
            done, warned = future.result()
            for text in warned:
                warnings.warn(text, ToneTransferWarning, stacklevel=2)
            yield done


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """Processes of this machine."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    except BrokenProcessPool:
        raise SettingsError(
            "a worker process was ended from outside, most likely because memory ran out; what was done is kept: "
            "give the same command again with fewer --workers"
        ) from None
    except (KeyboardInterrupt, GeneratorExit):  # nobody waits for what is being done
        for process in list(pool._processes.values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _with_warnings(function: Callable[[Job], Done], job: Job) -> tuple[Done, tuple[str, ...]]:
    """Call a function with a job; give back its result and its warnings: a worker has nobody to tell it to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ToneTransferWarning)
        done = function(job)
    return done, tuple(dict.fromkeys(str(one.message) for one in caught))


@contextmanager
def _interruptions_held() -> Iterator[None]:
    """Let Ctrl-C wait, and never reach the processes that are begun meanwhile: they would print where they were while they are loaded."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End a worker with its parent, whatever that was ended by, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it cannot be held
    if "fork" in multiprocessing.get_all_start_methods():  # libraries' locks then leave nothing behind when a worker is killed
        multiprocessing.set_start_method("fork", force=True)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _on_dask(workers: int, scheduler: str | None) -> Iterator[Executor]:
    """A Dask cluster: one that is there, or one of processes on this machine."""
    try:
        from dask import distributed
    except ImportError:
        raise MissingDependencyError("the engine dask needs Dask: pip install 'tonetransfer[dask]'") from None
    with ExitStack() as opened:
        cluster: Any = scheduler
        if scheduler is None:
            cluster = opened.enter_context(distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None))
        try:
            client = opened.enter_context(distributed.Client(cluster, timeout="20s"))
        except OSError as error:
            raise SettingsError(f"no Dask scheduler answers at {scheduler} ({error}); one like tcp://host:8786 is wanted") from error
        try:
            yield client.get_executor(pure=False)
        except distributed.KilledWorker:
            raise SettingsError("Dask lost worker after worker at the same file; most likely they want more memory") from None
