"""Loops compiled by Numba, where they stand in for tensors, and where what was compiled is kept.

Numba keeps what it has compiled in numbered files and an index of them. Two processes that compile at the same time leave files that do not
fit each other, and every later start ends in a segmentation fault. Here one process at a time writes, each file is named after all that it
depends on, written whole, and carries a check sum; what is damaged is compiled again.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

TURN_S = 120.0  # without anything being compiled, until another process may write
LONGEST_S = 3600.0  # that one function is waited for, on a computer that has much else to do
FAST = {"reassoc", "contract", "arcp", "nsz"}  # not "nnan": a sound that is not a number must stay one


def compiled(function: Callable[..., Any]) -> Any:
    """`function`, compiled at its first call; kept on disk where there is a place for it."""
    import numba  # takes a second, which a start without training and streams does without

    try:
        return numba.njit(nogil=True, error_model="numpy", fastmath=FAST, cache=True)(function)
    except RuntimeError:  # neither beside the module nor in the user's cache may be written
        return numba.njit(nogil=True, error_model="numpy", fastmath=FAST)(function)


def in_loops(tensor: torch.Tensor, *, halves: bool = False) -> bool:
    """Test whether training computes with a tensor in compiled loops: on a processor, in float32 (`halves`: or under autocast),
    and nobody takes it down.
    """
    import torch

    plain = tensor.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return tensor.device.type == "cpu" and (plain or halves) and not torch.jit.is_tracing() and not torch.compiler.is_compiling()


def use_own_cache() -> None:
    """Keep what Numba compiles for this process, librosa's functions too, in a folder of our own, and guard it.

    A folder that ``NUMBA_CACHE_DIR`` names is used instead. Nothing is imported.
    """
    if (folder := cache_folder()) is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))  # else torch leaves a folder among the temporary files
        if "NUMBA_CACHE_DIR" not in os.environ:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            if "numba" in sys.modules:
                sys.modules["numba"].config.CACHE_DIR = str(folder)
    if (loaded := sys.modules.get("numba.core.caching")) is not None:
        _guard(loaded)
    elif not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


def cache_folder() -> Path | None:
    """A folder that this user alone may write into: in the user's cache, or where that cannot be written among the temporary files."""
    home = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    place = "Library/Caches" if sys.platform == "darwin" else ".cache"
    user = str(os.getuid()) if hasattr(os, "getuid") else ""
    for folder in (
        Path(os.environ.get(home) or os.path.join(os.path.expanduser("~"), place)) / "tonetransfer" / "compiled",
        Path(tempfile.gettempdir()) / f"tonetransfer-compiled-{user}",
    ):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            known = folder.lstat()  # whoever writes here has us run what they like
            own = not user or (known.st_uid, known.st_mode & 0o022) == (int(user), 0)
            if own and stat.S_ISDIR(known.st_mode) and os.access(folder, os.W_OK):
                return folder
    return None


class _Guard(MetaPathFinder):
    """Guards Numba's files as soon as Numba is imported, by whomever."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "numba.core.caching":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_guard(module: Any) -> None:
                run(module)
                _guard(module)

            spec.loader.exec_module = run_and_guard  # type: ignore[method-assign]  # the loader of this one module
        return spec


class _Turn:
    """One process at a time writes; what another compiles meanwhile stays in its own memory.

    Machine code of one file calls that of another by names that hold a number of the process: files of two processes do not fit each
    other. So a process that lacks a file writes all that it compiles from then on, if nobody else does, or does without files altogether.
    While nothing is being compiled others may have the turn: a server may run for months. It can be taken again, because what this process
    has compiled lies in files by then.
    """

    def __init__(self) -> None:
        self.writes: bool | None = None  # None: nothing is being compiled; False: others' files do not fit any more
        self.process, self.lock, self.timer = os.getpid(), -1, threading.Timer(0.0, lambda: None)
        self.lacking: dict[str, float] = {}  # files that are being made, and since when
        self.guard, self.healed_ns = threading.RLock(), 0

    def closed(self, folder: Path) -> bool:
        """Test whether this process does without files."""
        healed_ns = 0
        with suppress(OSError):
            healed_ns = (folder / "lock").stat().st_mtime_ns
        if self.healed_ns and self.healed_ns != healed_ns:
            self.end()
        self.healed_ns = healed_ns
        return self.writes is False or self.process != os.getpid()  # a fork's numbers go on from its parent's

    def take(self, folder: Path, lacks: str) -> bool:
        """Begin to write, if nobody else does, for want of a file."""
        with self.guard:
            if self.writes is None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    self.lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
                    lock_file(self.lock)
                    self.writes, self.healed_ns = True, os.fstat(self.lock).st_mtime_ns
                except OSError:
                    self.end()
            if self.writes:
                self.lacking.setdefault(lacks, time.monotonic())
                self.wait()
            return self.writes is True

    def heal(self, folder: Path) -> None:
        """Remove all files; whoever has read some of them does without others from now on."""
        for path in folder.rglob("*.nbc"):
            path.unlink(missing_ok=True)
        os.utime(folder / "lock")
        self.healed_ns = (folder / "lock").stat().st_mtime_ns

    def made(self, name: str) -> None:
        """A file is there that was lacking."""
        with self.guard:
            self.lacking.pop(name, None)
            self.wait()

    def wait(self) -> None:
        """Give the turn away when nothing has been compiled for a while."""
        self.timer.cancel()
        self.timer = threading.Timer(TURN_S, self.pause)
        self.timer.daemon = True
        self.timer.start()

    def pause(self) -> None:
        """Let others write, but not while something is being compiled."""
        with self.guard:
            now = time.monotonic()
            if any(now - since < LONGEST_S for since in self.lacking.values()):
                self.wait()
            else:  # what is still lacking was not to be compiled
                self.release(None if not self.lacking else False)

    def end(self) -> None:
        """Do without files from now on."""
        self.release(False)

    def release(self, writes: bool | None) -> None:
        """Let others write."""
        with self.guard:
            self.writes, lock, self.lock = writes, self.lock, -1
            with suppress(OSError):
                os.close(lock)


def lock_file(file: int) -> None:
    """Lock an open file until it is closed, or raise OSError because another process has."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _guard(caching: Any) -> None:
    """Replace how Numba's :class:`IndexDataCacheFile` finds, reads and writes."""
    import llvmlite
    import numba

    versions = (numba.__version__, llvmlite.__version__, sys.version_info[:3])
    turn = _Turn()

    def folder_of(self: Any) -> Path:
        return Path(getattr(numba.config, "CACHE_DIR", "") or self._cache_path)

    def place(self: Any, key: Any) -> str:
        name = hashlib.sha256(repr((versions, self._source_stamp, key)).encode()).hexdigest()[:32]
        return str(self._data_path(f"{self._index_name.removesuffix('.nbi')}.{name}.nbc"))

    def save(self: Any, key: Any, data: Any) -> None:
        if turn.closed(folder_of(self)) or not turn.take(folder_of(self), place(self, key)):
            return
        content = self._dump(data)
        with self._open_for_write(place(self, key)) as file:
            file.write(hashlib.sha256(content).digest() + content)
        turn.made(place(self, key))

    def read(self: Any, key: Any) -> Any:
        """Load what was compiled; None: nothing was. Raises what a damaged pickle raises."""
        try:
            with open(place(self, key), "rb") as file:
                told, content = file.read(32), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() != told:
            raise ValueError("another check sum")
        return caching.pickle.loads(content)

    def load(self: Any, key: Any) -> Any:
        if turn.closed(folder_of(self)):
            return None
        try:
            found = read(self, key)
            if found is None and turn.take(folder_of(self), place(self, key)):
                found = read(self, key)  # somebody may have been done just now
                if found is not None:
                    turn.made(place(self, key))
            return found
        except Exception:  # it is compiled again, with all that calls it by its old names
            if turn.take(folder_of(self), place(self, key)):
                turn.heal(folder_of(self))
            return None

    def flush(self: Any) -> None:
        pass

    file = caching.IndexDataCacheFile
    if all(hasattr(file, name) for name in ("_data_path", "_dump", "_open_for_write")):  # else it is another Numba
        file.save, file.load, file.flush, file.turn = save, load, flush, turn
