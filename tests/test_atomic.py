"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tonetransfer.atomic import check_new, replacing, replacing_all, temporary_name, write_text
from tonetransfer.errors import SettingsError


def test_a_file_is_replaced_when_its_content_is_whole(tmp_path: Path) -> None:
    (path := tmp_path / "a.txt").write_text("before")
    with replacing(path) as part:
        part.write_text("after")
        assert path.read_text() == "before" and part.suffix == ".txt"
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    (path := tmp_path / "a.txt").write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path, error=SettingsError) as part:
        part.write_text("after")
        raise ZeroDivisionError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    with pytest.raises(ZeroDivisionError), replacing_all(paths) as parts:
        parts[0].write_text("a")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with replacing_all(paths) as parts:
        for part, text in zip(parts, "ab", strict=True):
            part.write_text(text)
    assert [path.read_text() for path in paths] == ["a", "b"] and len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_told_in_the_words_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "hidden name")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SettingsError, match=r"a\.txt cannot be written \(No space left on device\)"):
        write_text(tmp_path / "a.txt", "text", error=SettingsError)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.txt", "text")
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (link := tmp_path / "link.txt").symlink_to(tmp_path / "elsewhere" / "a.txt")
    write_text(link, "text")
    assert link.is_symlink() and (tmp_path / "elsewhere" / "a.txt").read_text() == "text"


def test_the_remains_of_a_killed_process_are_written_over(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert temporary_name(path, alone=True) == temporary_name(path, alone=True) != temporary_name(path) != temporary_name(path)


def test_what_could_not_be_written_in_the_end_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "a.txt").touch()
    assert check_new(path, SettingsError, overwrite=True) == path
    for wrong, words in ((path, "a.txt exists.*--overwrite"), (tmp_path, "is a folder"), (tmp_path / "no" / "a.txt", "no folder")):
        with pytest.raises(SettingsError, match=words):
            check_new(wrong, SettingsError)


def test_what_a_killed_process_left_is_removed_before_the_file_is_made_again(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tonetransfer.atomic import replacing
with replacing({str(tmp_path / "a.txt")!r}) as part, replacing({str(tmp_path / "b.txt")!r}) as other:
    part.mkdir() or (part / "inside").touch()
    other.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    with replacing(tmp_path / "a.txt") as ours:
        ours.touch()
        assert len(list(tmp_path.iterdir())) == 3
        check_new(tmp_path / "a.txt", SettingsError)
        assert ours.exists() and len(list(tmp_path.iterdir())) == 2  # what lives stays, and what is not asked for
