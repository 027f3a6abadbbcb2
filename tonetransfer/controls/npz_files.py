"""Archives of arrays (.npz) from anywhere: sizes are looked at first, and only what is wanted is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ControlsError


def read_npz(path: Path, wanted: Mapping[str, int]) -> dict[str, Any]:
    """Entries of an .npz file, and nothing else of it: whatever lies beside them is not read.

    Parameters
    ----------
    path : Path
    wanted : mapping of str to int
        Names of entries, and how many numbers each may hold at most.

    Returns
    -------
    dict of ndarray
        Those of them that are there.

    Raises
    ------
    ControlsError
        It is none, is damaged, or an entry holds more.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _entry(archive, name, most) for name, most in wanted.items() if f"{name}.npy" in archive.NameToInfo}
    except Exception as error:  # zipfile, zlib and NumPy raise some twenty kinds at bytes that are none
        problem = " ".join(str(error).split())[:80] or type(error).__name__
        raise ControlsError(
            f"{path} cannot be read as controls ({problem}); an .npz made by analyze --save is wanted: make it again"
        ) from error


def _entry(archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    if math.prod(shape) > most or (most == 1 and math.prod(shape) != 1) or dtype.itemsize > 256 or dtype.hasobject:
        raise ValueError(f"{name} has the shape {shape} of {dtype}; at most {most} numbers of a plain kind are taken")
    with archive.open(f"{name}.npy") as file:
        values = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # to its end, where its check sum is compared
            raise ValueError(f"{name} is longer than it says")
    return values
