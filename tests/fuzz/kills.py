"""End commands at random moments by signals, and give them again: the same result, and nothing left beside it.

    python tests/fuzz/kills.py --kills 50 [--only train] [--seed N]

Each command is first left alone, which says how long it takes and what it makes. It is then begun in an empty folder, ended by SIGKILL,
SIGTERM or SIGINT somewhere on its way, begun again and often ended again, and then left alone. A fault is: another result; a file that
nobody asked for, beside the output or among the temporary files; shared memory; a process that outlives its parent; a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path += map(str, Path(__file__).parents[1:3])
from commands import tiny_weights
from processes import descendants, is_alive

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE_S = 300.0
END_S = 20.0  # for workers, after their parent
CORPUS = """
soundfont: none.sf2
performances_per_window: {named: 6, variants: 1, extras: 1}
slopes: {flute: 1.0}
sources: {own: {source: a test, licence: CC0-1.0, credit: nobody}}
timbres:
  flute: {family: flute, range: [60, 72], source: own, folder: notes}
parallel: {instruments: [], range: [60, 72], soundfonts: {}, sources: {}}
"""


@dataclass(frozen=True)
class Scenario:
    """A command and what it makes.

    Parameters
    ----------
    words : tuple of str
        Of the command, run in an empty folder.
    makes : tuple of str
        Names in that folder when it is done.
    content : callable
        Takes one of them; what must be the same.
    """

    words: tuple[str, ...]
    makes: tuple[str, ...]
    content: Callable[[Path], object]


@dataclass
class Report:
    """Kills, and what was wrong after them."""

    kills: Counter[str] = field(default_factory=Counter)
    ended_before: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        lines = [f"{self.kills.total()} kills ({told}), {self.ended_before} runs that were done before; {len(self.faults)} faults"]
        return "\n".join(lines + self.faults[:20])


def scenarios(home: Path, only: str | None = None) -> dict[str, Scenario]:
    """Commands, or one of them, whose inputs are made in a folder."""
    from conftest import SAMPLE_RATE, melody, tone

    from tonetransfer.audio.files import save_audio

    (home / "recordings").mkdir()
    (home / "samples" / "notes").mkdir(parents=True)
    save_audio(home / "voice.wav", melody([60, 64, 67, 72] * 12), SAMPLE_RATE)
    for number in range(4):
        save_audio(home / "recordings" / f"{number}.wav", melody([60 + number, 65, 67, 72] * 3), SAMPLE_RATE)
    for midi in range(60, 73, 3):
        save_audio(home / "samples" / "notes" / f"{midi}.wav", tone(440.0 * 2.0 ** ((midi - 69) / 12.0), 3.0), SAMPLE_RATE)
    (home / "corpus.yaml").write_text(CORPUS)
    shutil.copy(tiny_weights(), home / "weights.safetensors")
    if only in (None, "train"):
        subprocess.run(command(("prepare", f"{home}/recordings", f"{home}/prepared", "--force")), check=True, capture_output=True)
    weights = f"{home}/weights.safetensors"
    settings = ("data.prepared=" + f"{home}/prepared", "train.output=run", "train.steps=6", f"train.start={weights}")
    known = {
        "transfer": Scenario(("transfer", f"{home}/voice.wav", "out.flac", "--to", weights), ("out.flac",), file_hash),
        "prepare": Scenario(("prepare", f"{home}/recordings", "out", "--force", "--workers", "2"), ("out",), folder_hash),
        "train": Scenario(
            ("train", str(ROOT / "configs/tiny.yaml"), *(word for one in settings for word in ("--set", one))), ("run",), weights_hash
        ),
        "corpus": Scenario(
            ("corpus", "render", f"{home}/corpus.yaml", "out", "--samples", f"{home}/samples", "--workers", "2"), ("out",), folder_hash
        ),
        "export": Scenario(("export", "out.onnx", "--format", "onnx", "--weights", weights), (), export_names),
    }
    return {name: one for name, one in known.items() if only in (None, name)}


def command(words: tuple[str, ...]) -> list[str]:
    """The command line of a command."""
    return [sys.executable, "-m", "tonetransfer", *words]


def file_hash(path: Path) -> object:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_hash(folder: Path) -> object:
    """Names and hashes of all files in a folder."""
    return {str(path.relative_to(folder)): file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def weights_hash(folder: Path) -> object:
    """Hashes of the tensors that were learned, and the names of what lies beside them; the rest of it tells of times."""
    from safetensors.numpy import load_file

    learned = {path.name: {k: v.tobytes() for k, v in load_file(path).items()} for path in sorted(folder.glob("*.safetensors"))}
    return learned, [path.name for path in sorted(folder.glob("*.part*"))]


def export_names(folder: Path) -> object:
    """Names of exported files, and whether there is something in them: graphs name their nodes anew."""
    return [(path.name, path.stat().st_size > 0) for path in sorted(folder.iterdir())]


class Trial:
    """A scenario in a folder of its own, from the first beginning to the end."""

    def __init__(self, scenario: Scenario, home: Path) -> None:
        self.scenario, self.folder, self.temporary = scenario, home / "work", home / "temporary"
        for folder in (self.folder, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self.problems: list[str] = []

    def run(self, after_s: float | None = None, number: int = 0, *, when_something_is_there: bool = False) -> bool:
        """Run the command, and end it after some seconds, or when it has begun to write; True if it was ended."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)}
        shared = set(os.listdir("/dev/shm"))
        process = subprocess.Popen(
            command(self.scenario.words),
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in SIGNALS[1:]],  # nohup ignores them
        )
        ended, workers = False, []
        try:
            _, told = self._wait(process, when_something_is_there, PATIENCE_S if after_s is None else after_s)
        except subprocess.TimeoutExpired:
            workers = descendants(process.pid)
            process.send_signal(number)
            ended = number != 0
            try:
                _, told = process.communicate(timeout=60.0)
            except subprocess.TimeoutExpired:
                process.kill()
                self.problems.append(f"did not end in a minute after signal {number}")
                return True
        self._check_end(process.returncode, told, number if ended else None)
        self._check_remains(workers, shared, clean=number != signal.SIGKILL or not ended)
        return ended and process.returncode != 0

    def _wait(self, process: subprocess.Popen[str], when_something_is_there: bool, longest_s: float) -> tuple[str, str]:
        """Wait until a process has ended, and return both its outputs; TimeoutExpired: it is to be ended now."""
        if not when_something_is_there:
            return process.communicate(timeout=longest_s)
        deadline = time.monotonic() + longest_s
        while not any(self.folder.iterdir()) and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=0.02)
        raise subprocess.TimeoutExpired(process.args, longest_s)

    def _check_end(self, code: int, told: str, number: int | None) -> None:
        after = 0 if number is None else number
        if code not in (0, -after, 128 + after) or "Traceback" in told:  # -N: Python had not begun yet
            self.problems.append(f"code {code}, {told[-400:]!r}")

    def _check_remains(self, workers: list[int], shared: set[str], *, clean: bool) -> None:
        deadline = time.monotonic() + END_S
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left := [one for one in workers if is_alive(one)]:
            self.problems.append(f"{len(left)} processes outlived it")
        if left := sorted(path.name for path in self.temporary.iterdir()):
            self.problems.append(f"among the temporary files: {left}")
        ours = [str(one) for one in workers]  # others work here, too: what we share bears the number of a process
        if left := [name for name in set(os.listdir("/dev/shm")) - shared if any(one in name for one in ours)]:
            self.problems.append(f"in shared memory: {left}")
        if clean and (left := [path.name for path in self.folder.iterdir() if path.name.startswith(".")]):
            self.problems.append(f"beside the output: {left}")

    def result(self) -> object:
        """What has been made."""
        names = sorted(path.name for path in self.folder.iterdir())
        parts = [self.folder / name for name in self.scenario.makes] or [self.folder]
        return names, [self.scenario.content(path) for path in parts if path.exists()]


def end_at_random_moments(kills: int, *, seed: int = 0, only: str | None = None) -> Report:
    """End commands, each as often as the others."""
    report, chance = Report(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        home = Path(place)
        chosen = scenarios(home, only)
        for number, (name, scenario) in enumerate(chosen.items()):
            share = kills // len(chosen) + (number < kills % len(chosen))
            _end_one(name, scenario, share, home, chance, report)
    return report


def _end_one(name: str, scenario: Scenario, kills: int, home: Path, chance: random.Random, report: Report) -> None:
    trial, begin = Trial(scenario, home), time.monotonic()
    trial.run()
    lasted_s, known = time.monotonic() - begin, trial.result()
    problems, done = trial.problems, 0
    while done < kills:
        trial = Trial(scenario, home)
        for _ in range(2):  # a run that goes on from where it was ended is ended as well
            number = SIGNALS[(done + len(name)) % len(SIGNALS)]
            if done == kills or trial.result() == known:
                break
            if trial.run(lasted_s * chance.uniform(0.05, 0.8), number):
                report.kills[f"{name} {signal.Signals(number).name}"] += 1
                done += 1
            else:
                report.ended_before += 1
        if trial.result() != known:
            trial.run()
        if trial.result() != known:
            trial.problems.append(f"another result: {str(trial.result())[:300]}")
        problems += trial.problems
    report.faults += [f"{name}: {problem}" for problem in problems]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("transfer", "prepare", "train", "corpus", "export"))
    given = parser.parse_args()
    made = end_at_random_moments(given.kills, seed=given.seed, only=given.only)
    print(made)
    sys.exit(1 if made.faults else 0)
