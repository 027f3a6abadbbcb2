"""Files of visitors are read, and tracked, by a process of its own: what brings that down, brings nothing else down.

Decoders and trackers are native code that is handed whatever somebody uploads. The process lives as long as the page; when it ends
before it has answered, the recording that it was reading is refused, and the next one begins another. Messages are JSON in a line and
samples: nothing is unpickled.

Run as a script this is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LONGEST_ANSWER_S = 300.0  # processor and all; five minutes of sound take half a minute of a slow one
AT_ONCE = 2


class Lost(Exception):
    """The process ended, or was ended, without an answer."""


class Listener:
    """Processes that read and track, begun when they are needed.

    Parameters
    ----------
    weights : Path or None
        Of the model whose clock is used; None: the bundled one.
    """

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock, self._turns = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)

    def warm_up(self) -> None:
        """Begin a process, so that nobody waits for it."""
        with self._turns:
            self._give_back(self._take())

    def hear(self, path: str | Path, sample_rate: int | None, *, longest_s: float, tracker: str | None = None) -> tuple[Any, int, Any]:
        """Read a recording, and track it if a tracker is named.

        Returns
        -------
        audio : Tensor [shape=(n_samples,)]
        sample_rate : int
            The one that was asked for; None: the file's.
        heard : Controls or None

        Raises
        ------
        ToneTransferError
            As :func:`tonetransfer.load_audio` and :func:`tonetransfer.analyze`.
        Lost
        """
        import torch

        import tonetransfer as tt

        asked: dict[str, Any] = {"path": os.fspath(path), "sample_rate": sample_rate, "longest_s": longest_s, "tracker": tracker}
        with self._turns:
            process = self._take()
            said, rows = _ask(process, asked)
            self._give_back(process)
        if "refused" in said:
            raise tt.ToneTransferError(said["refused"])
        if "memory" in said:
            raise MemoryError
        tensors = [torch.from_numpy(row) for row in rows]
        for text in said["warnings"]:
            warnings.warn(text, tt.ToneTransferWarning, stacklevel=2)
        grid = tt.FrameGrid(said["sample_rate"], said["hop_length"])
        return tensors[0], said["sample_rate"], tt.Controls(*tensors[1:], grid) if tracker else None

    def close(self) -> None:
        """End the processes that are idle; a busy one ends with what it does."""
        with self._lock:
            while self._idle:
                _end(self._idle.pop())

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            while self._idle:
                if (process := self._idle.pop()).poll() is None:
                    return process
                _end(process)
        command = [sys.executable, str(Path(__file__).resolve()), *([str(self.weights)] if self.weights else [])]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _give_back(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._idle.append(process)


def _ask(process: subprocess.Popen[bytes], asked: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Ask a process: its answer, and rows of numbers, float32."""
    assert process.stdin is not None and process.stdout is not None
    late = threading.Timer(LONGEST_ANSWER_S, process.kill)
    late.start()
    try:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        contents = [process.stdout.read(4 * length) for length in said.get("lengths", ())]
        return said, [np.frombuffer(bytearray(content), np.float32) for content in contents]
    except (OSError, ValueError):
        _end(process)
        raise Lost from None
    finally:
        late.cancel()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _answer(asked: dict[str, Any], model: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read, and track, in the process."""
    import tonetransfer as tt

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", tt.ToneTransferWarning)
        try:
            audio, rate = tt.load_audio(asked["path"], asked["sample_rate"], longest_s=asked["longest_s"])
            rows, heard = [audio], None
            if asked["tracker"]:
                heard = tt.analyze(audio, rate, model, tracker=asked["tracker"])
                rows += [heard.f0_hz, heard.periodicity, heard.loudness_db]
        except tt.ToneTransferError as error:
            return {"refused": str(error)}, []
        except MemoryError:
            return {"memory": True}, []
    told = {"warnings": list(dict.fromkeys(str(one.message) for one in caught)), "sample_rate": rate, "hop_length": model.grid.hop_length}
    return told, [np.ascontiguousarray(row.numpy(), np.float32) for row in rows]


def _serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer as long as somebody asks."""
    import torch

    import tonetransfer as tt

    model = tt.load_model(sys.argv[1] if len(sys.argv) > 1 else None)
    with tt.one_thread():  # the same sound to the last bit as the command line makes
        tt.analyze(0.3 * torch.sin(torch.arange(model.sample_rate) * 0.04), model.sample_rate, model)  # what is loaded once is loaded now
        for line in questions:
            told, rows = _answer(json.loads(line), model)
            answers.write(json.dumps(told | {"lengths": [len(row) for row in rows]}).encode() + b"\n")
            for row in rows:
                answers.write(row.data)
            answers.flush()


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # where the package is, run from a checkout
    line = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    _serve(sys.stdin.buffer, line)
