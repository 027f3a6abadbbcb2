"""Run a fuzzer: inputs made from a seed, one after another in a child process that is watched for time and memory.

A fuzzer is two functions of a module: ``mutate(random) -> bytes`` makes an input from a ``random.Random``, the same for the same seed, and
``attempt(data, folder) -> str`` tries it in an empty folder and says how it ended ("played", "refused"). Everything that `attempt`
raises is a fault; so is an input that takes more than CPU_S of processor time or LARGEST_BYTES of memory. An input of a seed can be made
again by its number: ``python tests/fuzz/midi.py --seed 0 --only 1234``.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

sys.path += map(str, Path(__file__).parents[1:3])  # what all tests share, and the page, for a fuzzer that is run by hand
CPU_S, WALL_S = 20.0, 120.0
LARGEST_BYTES = 2 << 30
ROOM_BYTES = 6 << 30  # of addresses, beyond which memory is refused: a fault must not take the whole computer

Mutate = Callable[[random.Random], bytes]
Attempt = Callable[[bytes, Path], str]


@dataclass
class Report:
    """Outcomes of a run.

    Parameters
    ----------
    name : str
    n_inputs : int
    outcomes : Counter
        How often an attempt ended in which way.
    faults : list of (int, str)
        Numbers of inputs, and what happened.
    slowest : (float, int)
        Processor time [s] of the slowest input, and its number.
    largest_bytes : int
        Memory of the process, at most.
    """

    name: str
    n_inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    largest_bytes: int = 0

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        lines = [f"{self.name}: {self.n_inputs} inputs: {ended or 'nothing'}; {len(self.faults)} faults"]
        lines.append(f"  slowest {self.slowest[0]:.1f} s (input {self.slowest[1]}), memory up to {self.largest_bytes / 1e9:.2f} GB")
        return "\n".join(lines + [f"  input {number}: {what.strip()}" for number, what in self.faults[:20]])


def run(
    name: str,
    mutate: Mutate,
    attempt: Attempt,
    *,
    seconds: float | None = None,
    count: int | None = None,
    seed: int = 0,
    keep: Path | None = None,
) -> Report:
    """Try inputs for so many seconds, or so many of them.

    Parameters
    ----------
    name : str
    mutate, attempt : callable
        Functions of a module, not of another function: a fresh process imports them.
    seconds : float or None
    count : int or None
    seed : int
    keep : Path or None
        Folder for the inputs that are faults.
    """
    report, begin = Report(name), time.monotonic()
    child: _Child | None = None
    try:
        while (count is None or report.n_inputs < count) and (seconds is None or time.monotonic() - begin < seconds):
            number = report.n_inputs
            child = child or _Child(mutate, attempt, seed)
            outcome, fault, cpu_s, peak_bytes = child.try_input(number)
            report.n_inputs += 1
            report.slowest = max(report.slowest, (cpu_s, number))
            report.largest_bytes = max(report.largest_bytes, peak_bytes)
            report.outcomes[outcome] += 1
            if not fault:
                continue
            report.faults.append((number, fault))
            child.end()
            child = None
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                keep.joinpath(f"{name}-{seed}-{number}").write_bytes(make(mutate, seed, number))
    finally:
        if child:
            child.end()
    return report


def make(mutate: Mutate, seed: int, number: int) -> bytes:
    """Input of a number."""
    return mutate(random.Random(f"{seed}/{number}"))


class _Child:
    """A process that tries inputs until one is a fault."""

    def __init__(self, mutate: Mutate, attempt: Attempt, seed: int) -> None:
        from clean_process import clean_processes

        context = clean_processes()
        self._line, far = context.Pipe()
        self._folder = tempfile.mkdtemp(prefix="fuzz-")
        self._process = context.Process(target=_serve, args=(far, mutate, attempt, seed, self._folder), daemon=True)
        self._process.start()
        far.close()

    def try_input(self, number: int) -> tuple[str, str, float, int]:
        """Try an input: how it ended, what is wrong with that or nothing, processor time [s], and memory of the process at most."""
        try:
            self._line.send(number)
            if self._line.poll(WALL_S):
                outcome, fault, cpu_s, peak_bytes = self._line.recv()
                if cpu_s > CPU_S:
                    fault = fault or f"took {cpu_s:.0f} s of processor time"
                if peak_bytes > LARGEST_BYTES:
                    fault = fault or f"took {peak_bytes / 1e9:.1f} GB"
                return ("fault" if fault else outcome), fault, cpu_s, peak_bytes
        except (EOFError, OSError):
            self._process.join()
            return "fault", f"the process ended with {self._process.exitcode}", 0.0, 0
        return "fault", f"took more than {WALL_S:.0f} s", WALL_S, 0

    def end(self) -> None:
        """Stop the process and remove its folder."""
        self._line.close()
        self._process.join(5.0)
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _serve(line: Connection, mutate: Mutate, attempt: Attempt, seed: int, home: str) -> None:
    """Try an input of every number that comes, in the child."""
    attempt(make(mutate, seed, 0), _empty(Path(home)))  # what is imported and compiled the first time is nobody's fault
    resource.setrlimit(resource.RLIMIT_AS, (_addresses() + ROOM_BYTES,) * 2)
    while True:
        try:
            data, folder = make(mutate, seed, line.recv()), _empty(Path(home))
        except EOFError:
            return
        begin, outcome, fault = time.process_time(), "fault", ""
        try:
            outcome = attempt(data, folder)
        except BaseException:
            fault = traceback.format_exc()
        line.send((outcome, fault, time.process_time() - begin, _peak_bytes()))


def _peak_bytes() -> int:
    """Memory of this process at most; what the system counts for a process that was started holds that of its parent, too."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return 1024 * (found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _addresses() -> int:
    """Bytes of addresses that this process has taken."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()


def _empty(home: Path) -> Path:
    shutil.rmtree(home / "inputs", ignore_errors=True)
    (home / "inputs").mkdir()
    return home / "inputs"


def command_line(name: str, mutate: Mutate, attempt: Attempt) -> int:
    """Run a fuzzer by hand; the exit code is 1 if there were faults."""
    parser = argparse.ArgumentParser(description=f"Fuzz {name}.")
    parser.add_argument("--seconds", type=float, help="how long (default: a minute, without --count)")
    parser.add_argument("--count", type=int, help="how many inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this input alone, in this process")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to put inputs that are faults")
    given = parser.parse_args()
    if given.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(attempt(make(mutate, given.seed, given.only), Path(folder)))
        return 0
    seconds = given.seconds if given.seconds or given.count else 60.0
    report = run(name, mutate, attempt, seconds=seconds, count=given.count, seed=given.seed, keep=given.keep)
    print(report)
    return 1 if report.faults else 0
