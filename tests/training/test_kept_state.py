"""A kept state of a run that was damaged is told, and how to begin anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tonetransfer.errors import SettingsError
from tonetransfer.training.callbacks import LAST, check_state


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
