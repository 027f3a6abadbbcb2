"""Loops compiled by Numba, where they stand in for tensors, and where what was compiled is kept.

Numba keeps what it has compiled in one numbered file a signature and an index of them; two processes that compile at the same time leave an
index that names the other's file, and every later start runs machine code of another signature. Here each file is named after all that it
depends on, written whole, and carries a check sum; what is damaged is compiled again.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

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
    if "NUMBA_CACHE_DIR" not in os.environ and (folder := cache_folder()) is not None:
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


def _guard(caching: Any) -> None:
    """Replace how Numba's :class:`IndexDataCacheFile` finds, reads and writes."""
    import llvmlite
    import numba

    versions = (numba.__version__, llvmlite.__version__, sys.version_info[:3])

    def place(self: Any, key: Any) -> str:
        name = hashlib.sha256(repr((versions, self._source_stamp, key)).encode()).hexdigest()[:32]
        return str(self._data_path(f"{self._index_name.removesuffix('.nbi')}.{name}.nbc"))

    def save(self: Any, key: Any, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(place(self, key)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def load(self: Any, key: Any) -> Any:
        try:
            with open(place(self, key), "rb") as file:
                told, content = file.read(32), file.read()
            if hashlib.sha256(content).digest() != told:
                raise ValueError("another check sum")
            return caching.pickle.loads(content)
        except OSError:
            return None
        except Exception:  # whatever a damaged pickle raises: it is compiled again
            with suppress(OSError):
                os.unlink(place(self, key))
            return None

    def flush(self: Any) -> None:
        pass

    file = caching.IndexDataCacheFile
    if all(hasattr(file, name) for name in ("_data_path", "_dump", "_open_for_write")):  # else it is another Numba
        file.save, file.load, file.flush = save, load, flush
