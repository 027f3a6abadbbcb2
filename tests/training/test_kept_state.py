"""A kept state of a run that was damaged is told, and how to begin anew."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tonetransfer.errors import SettingsError
from tonetransfer.training.callbacks import LAST, Keep, check_state


def flip(content: bytes) -> bytes:
    middle = len(content) // 2  # among the numbers of the tensor
    return content[:middle] + bytes((content[middle] ^ 4,)) + content[middle + 1 :]


DAMAGES: list[Callable[[bytes], bytes]] = [lambda c: c[:3000], lambda c: b"", lambda c: c[:-30], lambda c: bytes(len(c)), flip]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / LAST
    torch.save({"state_dict": {"weight": torch.randn(20_000)}, "step": 3}, path)
    check_state(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SettingsError, match=r"last\.ckpt: is damaged .*--no-resume") as caught:
        check_state(path)
    assert "\n" not in str(caught.value)


def test_a_state_for_which_there_is_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/part")

    trainer = SimpleNamespace(is_global_zero=True, save_checkpoint=full)
    (tmp_path / LAST).write_bytes(b"before")
    with pytest.raises(SettingsError, match=r"last\.ckpt cannot be written \(No space left on device\); the run is kept as it was"):
        Keep(tmp_path).on_train_batch_end(trainer, SimpleNamespace(is_due=lambda: True), None, None, 0)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == [LAST] and (tmp_path / LAST).read_bytes() == b"before"
