"""Files of visitors are read, tracked and classified by a process of its own: what brings that down, brings nothing else down.

Decoders, trackers and classifiers are native code that is handed whatever somebody uploads. The process lives as long as the page; when
it ends before it has answered, the recording that it was at is refused, and the next one begins another. Messages are JSON in a line and
samples: nothing is unpickled.

Run as a script this is that process.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LONGEST_ANSWER_S = 300.0  # processor and all; five minutes of sound take half a minute of a slow one
AT_ONCE = 2


class Lost(Exception):
    """The process ended, or was ended, without an answer."""


class Listener:
    """Processes that work on recordings, begun when they are needed.

    Parameters
    ----------
    weights : Path or None
        Of the model whose clock is used; None: the bundled one.
    """

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._lock, self._turns = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)

    def warm_up(self) -> None:
        """Begin a process, so that nobody waits for it."""
        with self._turns, suppress(Lost):
            self._give_back(self._take())

    def ask(self, do: str, path: str | Path, **options: Any) -> tuple[Any, list[str]]:
        """Have a process do something with a recording.

        Parameters
        ----------
        do : str
            A name in :data:`WORK`.
        path : str or Path
        **options
            As that function takes them.

        Returns
        -------
        found
            As that function.
        said : list of str
            Its warnings.

        Raises
        ------
        ToneTransferError
            As that function.
        Lost
        """
        import tonetransfer as tt

        with self._turns:
            process = self._take()
            try:
                told = _ask(process, {"do": do, "path": os.fspath(path), "options": options})
            finally:
                self._give_back(process)
        if "refused" in told:
            raise tt.ToneTransferError(told["refused"])
        if "memory" in told:
            raise MemoryError
        return told["found"], told["said"]

    def close(self) -> None:
        """End all processes; who waits for the answer of one gets `Lost`, and so does who asks afterwards."""
        with self._lock:
            self._closed = True
            for process in self._busy:
                process.kill()
            while self._idle:
                _end(self._idle.pop())

    def _take(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(__file__).resolve()), *([str(self.weights)] if self.weights else [])]
        with self._lock:
            if self._closed:
                raise Lost
            while self._idle:
                process = self._idle.pop()
                if process.poll() is None:
                    break
                _end(process)
            else:  # in a group of its own: Ctrl-C is for the page, which ends it
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
            self._busy.add(process)
        return process

    def _give_back(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._busy.discard(process)
            if process.poll() is None and not self._closed:
                self._idle.append(process)


def read(model: Any, path: str, *, sample_rate: int, longest_s: float, tracker: str) -> tuple[Any, Any]:
    """A recording (n_samples,), and what is played in it, Controls."""
    import tonetransfer as tt

    audio, rate = tt.load_audio(path, sample_rate, longest_s=longest_s)
    return audio, tt.analyze(audio, rate, model, tracker=tracker)


def find_target(model: Any, path: str, *, longest_s: float, tracker: str, named: dict[str, Any]) -> Any:
    """The instrument of a recording, Target; or a named one (`to` or `mix`) in its colour."""
    import tonetransfer as tt

    reference = tt.load_audio(path, longest_s=longest_s)
    return tt.find_target(model, model.sample_rate, tracker=tracker, **named, **{"match" if named else "like": reference})


def classify(model: Any, path: str, *, longest_s: float) -> tuple[str, list[Any], list[Any]]:
    """Classify the instrument of a recording: the likeliest, all with their probabilities, sorted, and the answer of each second."""
    import tonetransfer as tt

    found = tt.classify(*tt.load_audio(path, model.sample_rate, longest_s=longest_s))
    return found.label, list(found.ranked().items()), found.per_step()


WORK: dict[str, Callable[..., Any]] = {"read": read, "find_target": find_target, "classify": classify}


def _ask(process: subprocess.Popen[bytes], asked: dict[str, Any]) -> dict[str, Any]:
    """Ask a process: its answer."""
    assert process.stdin is not None and process.stdout is not None
    late = threading.Timer(LONGEST_ANSWER_S, process.kill)
    late.start()
    try:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        told: dict[str, Any] = json.loads(process.stdout.readline())
        return told | {"found": _unpacked(told["found"], process.stdout)} if "found" in told else told
    except (OSError, ValueError):
        _end(process)
        raise Lost from None
    finally:
        late.cancel()


def _packed(value: Any, rows: list[np.ndarray]) -> Any:
    """Convert a value to JSON; its tensors are added to the rows, which are sent after it."""
    import torch

    if isinstance(value, torch.Tensor):
        rows.append(np.ascontiguousarray(value.numpy()))
        return {"dtype": rows[-1].dtype.str, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return {"parts": [_packed(part, rows) for part in value]}
    if is_dataclass(value):
        return {"class": type(value).__name__, "fields": {one.name: _packed(getattr(value, one.name), rows) for one in fields(value)}}
    return value


def _unpacked(told: Any, rows: BinaryIO) -> Any:
    """The value of :func:`_packed`."""
    import torch

    import tonetransfer as tt

    if not isinstance(told, dict):
        return told
    if "parts" in told:
        return tuple(_unpacked(part, rows) for part in told["parts"])
    if "class" in told:
        made = {"Controls": tt.Controls, "FrameGrid": tt.FrameGrid, "Target": tt.Target}[told["class"]]
        return made(**{name: _unpacked(part, rows) for name, part in told["fields"].items()})
    dtype = np.dtype(told["dtype"])
    content = rows.read(dtype.itemsize * math.prod(told["shape"]))
    return torch.from_numpy(np.frombuffer(bytearray(content), dtype).reshape(told["shape"]))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not yet written has nobody to read it
                pipe.close()


def _answer(asked: dict[str, Any], model: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Do what is asked, in the process."""
    import tonetransfer as tt

    rows: list[np.ndarray] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", tt.ToneTransferWarning)
        try:
            found = _packed(WORK[asked["do"]](model, asked["path"], **asked["options"]), rows)
        except tt.ToneTransferError as error:
            return {"refused": str(error)}, []
        except MemoryError:
            return {"memory": True}, []
    return {"found": found, "said": list(dict.fromkeys(str(one.message) for one in caught))}, rows


def _serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer as long as somebody asks."""
    import torch

    import tonetransfer as tt

    model = tt.load_model(sys.argv[1] if len(sys.argv) > 1 else None)
    with tt.one_thread():  # the same sound to the last bit as the command line makes
        tt.analyze(0.3 * torch.sin(torch.arange(model.sample_rate) * 0.04), model.sample_rate, model)  # what is loaded once is loaded now
        for line in questions:
            told, rows = _answer(json.loads(line), model)
            answers.write(json.dumps(told).encode() + b"\n")
            for row in rows:
                answers.write(row.data)
            answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no groups
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # where the package is, run from a checkout
    line = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    with suppress(BrokenPipeError):  # nobody waits any more
        _serve(sys.stdin.buffer, line)
