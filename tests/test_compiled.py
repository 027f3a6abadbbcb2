"""What is compiled is kept where it cannot be damaged for good: not by two processes at once, not by a disk."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba  # guarded because tonetransfer is imported
import pytest
from numba.core import caching

import tonetransfer
from tonetransfer.compiled import cache_folder

PROGRAM = """
import tonetransfer, sys, numpy as np
from tonetransfer.compiled import compiled
from tonetransfer.synthesis import kernels
row = kernels.row
row(3)
if "loops" in sys.argv[1:]:
    from compiled_loops import localmax
    assert list(np.asarray(localmax(np.array([0, 1, 0], np.float32)))) == [0, 1, 0]
stats = row.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
PLACES = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Numba's files in a folder of their own, with nobody's turn."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    turn: Any = caching.IndexDataCacheFile.turn
    before = turn.writes, turn.lock, turn.healed_ns
    turn.writes, turn.lock, turn.healed_ns, turn.lacking = None, -1, 0, {}

    def make() -> Any:
        return caching.IndexDataCacheFile(str(tmp_path), "f-1.py311", ("stamp", 1))

    yield make
    turn.end()
    turn.writes, turn.lock, turn.healed_ns = before


def kept(folder: Path) -> list[Path]:
    return list(folder.glob("*.nbc"))


def test_two_that_compile_at_once_do_not_take_each_others_code(files: Any) -> None:
    one, other = files(), files()
    assert one.load("float") is None and other.load("double") is None  # both begin with nothing
    one.save("float", b"code for floats")
    other.save("double", b"code for doubles")
    for file in (one, other, files()):
        assert file.load("float") == b"code for floats" and file.load("double") == b"code for doubles"
    assert files().load("integer") is None


@pytest.mark.parametrize("damage", [lambda c: c[:40], lambda c: b"", lambda c: c[:-1] + bytes((c[-1] ^ 1,)), lambda c: bytes(len(c))])
def test_damaged_code_is_discarded(files: Any, tmp_path: Path, damage: Any) -> None:
    files().save("float", b"code for floats")
    files().save("double", b"code that calls it")
    path = min(kept(tmp_path))
    path.write_bytes(damage(path.read_bytes()))
    assert None in [files().load(key) for key in ("float", "double")] and not kept(tmp_path)  # nor what calls it by its old names
    files().save("float", b"again")
    assert files().load("float") == b"again"


def test_one_process_at_a_time_writes(files: Any, tmp_path: Path) -> None:
    files().save("float", b"code for floats")
    program = f"""
import os; os.environ["NUMBA_CACHE_DIR"] = {str(tmp_path)!r}
import tonetransfer
from numba.core import caching
file = caching.IndexDataCacheFile({str(tmp_path)!r}, "f-1.py311", ("stamp", 1))
print(file.load("float"), file.load("double"), file.load("float"))
file.save("double", b"code for doubles")
"""
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.split() == ["b'code", "for", "floats'", "None", "None"]  # once it lacks a file, it does without any
    assert len(kept(tmp_path)) == 1
    caching.IndexDataCacheFile.turn.pause()  # type: ignore[attr-defined]  # our turn is over: nothing is being compiled
    assert subprocess.run([sys.executable, "-c", program], check=True).returncode == 0 and len(kept(tmp_path)) == 2
    assert files().load("double") == b"code for doubles" and files().load("integer") is None
    files().save("integer", b"code for integers")  # and the turn is taken again
    assert len(kept(tmp_path)) == 3


def test_a_turn_lasts_as_long_as_something_is_compiled(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonetransfer.compiled.TURN_S", 0.05)
    turn: Any = caching.IndexDataCacheFile.turn
    assert files().load("float") is None  # it takes longer than a turn, on a computer with much else to do
    time.sleep(0.3)
    assert turn.writes is True
    files().save("float", b"code for floats")
    time.sleep(0.3)
    assert turn.writes is None and files().load("float") == b"code for floats"
    monkeypatch.setattr("tonetransfer.compiled.LONGEST_S", 0.1)
    assert files().load("double") is None  # and is not compiled at all
    time.sleep(0.5)
    assert turn.writes is False and files().load("float") is None


def test_who_has_read_what_another_removes_does_without_files(files: Any, tmp_path: Path) -> None:
    files().save("float", b"code for floats")
    caching.IndexDataCacheFile.turn.pause()  # type: ignore[attr-defined]
    kept(tmp_path)[0].write_bytes(b"damaged")
    program = f"""
import os; os.environ["NUMBA_CACHE_DIR"] = {str(tmp_path)!r}
import tonetransfer
from numba.core import caching
file = caching.IndexDataCacheFile({str(tmp_path)!r}, "f-1.py311", ("stamp", 1))
print(file.load("float"))
file.save("float", b"other code for floats")
"""
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.split() == ["None"] and len(kept(tmp_path)) == 1
    assert files().load("float") is None


def test_another_source_has_other_code(files: Any, tmp_path: Path) -> None:
    files().save("float", b"code for floats")
    assert caching.IndexDataCacheFile(str(tmp_path), "f-1.py311", ("stamp", 2)).load("float") is None


def spawn(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": PLACES}
    environment.pop("NUMBA_CACHE_DIR", None)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, "loops"], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_it_is_kept_in_the_users_cache_and_survives_a_race(tmp_path: Path) -> None:
    racing = [spawn(tmp_path) for _ in range(2)]
    assert [process.communicate()[0].split()[0] for process in racing] and all(process.returncode == 0 for process in racing)
    kept = sorted((tmp_path / "tonetransfer" / "compiled").rglob("*.nbc"))
    assert any("kernels.row" in path.name for path in kept) and any("localmax" in path.name for path in kept)
    again = spawn(tmp_path)
    assert again.communicate()[0].split() == ["1", "0"] and again.returncode == 0
    for path in kept:
        path.write_bytes(path.read_bytes()[:-100])
    healed = spawn(tmp_path)
    assert healed.communicate()[0].split() == ["0", "1"] and healed.returncode == 0


def heed_permissions() -> None:
    """Let root, too, write only where files may be written."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="permissions of Linux")
def test_a_package_that_cannot_be_written_is_compiled_once(tmp_path: Path) -> None:
    package, home, temporary = tmp_path / "site" / "tonetransfer", tmp_path / "home", tmp_path / "temporary"
    shutil.copytree(Path(tonetransfer.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "instruments", "classifiers"))
    home.mkdir()
    temporary.mkdir()
    for place in (home, *package.parent.rglob("*")):
        place.chmod(place.stat().st_mode & ~0o222)
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": PLACES}
    program = f"import sys; sys.path.insert(0, {str(package.parent)!r}){PROGRAM}print(tonetransfer.__file__)"

    def start() -> list[str]:
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, preexec_fn=heed_permissions, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.split()

    assert [start(), start()] == [["0", "1", f"{package}/__init__.py"], ["1", "0", f"{package}/__init__.py"]]
    assert not list(package.rglob("*.nb?")) and not any(home.iterdir())


def test_the_folder_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = cache_folder()
    assert folder == tmp_path / "cache" / "tonetransfer" / "compiled" and stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)  # others may write
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert cache_folder() == tmp_path / f"tonetransfer-compiled-{os.getuid()}"
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    assert cache_folder() == tmp_path / f"tonetransfer-compiled-{os.getuid()}"
    (tmp_path / f"tonetransfer-compiled-{os.getuid()}").rmdir()
    (tmp_path / f"tonetransfer-compiled-{os.getuid()}").symlink_to(tmp_path)
    assert cache_folder() is None
