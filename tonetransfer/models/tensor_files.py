"""Tensors of safetensors files from anywhere; settings that lie about sizes make nothing larger than the file.

Place and header of a weights file are found first, and without torch.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch.overrides import TorchFunctionMode

from ..errors import WeightsError

SPARE_NUMBERS, SPARE_TENSORS = 4_000_000, 4000  # that a network may make beside those that are kept: filters, first values
MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.rand, torch.randn, torch.arange, torch.linspace}
FORMAT = 2
BUNDLED = "bundled.safetensors"
FOLDER_VARIABLE = "TONETRANSFER_INSTRUMENTS"
LONGEST_HEADER = 20_000_000  # bytes


def read_tensors(header: Header, *, what: str = "weights file") -> dict[str, torch.Tensor]:
    """The tensors of a file whose header was read; raises WeightsError."""
    try:
        return load(header.path.read_bytes())  # by its content: safetensors opens no name that is not UTF-8
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise WeightsError(f"{header.path}: is not a readable {what} ({problem}); it may be truncated or of another kind") from None


@contextmanager
def no_larger_than(header: Header) -> Iterator[None]:
    """While this lasts, networks that are built may hold what the file holds and little more: settings can lie.

    Raises
    ------
    WeightsError
        More was to be made.
    """
    with _Budget(header):
        yield


class _Budget(TorchFunctionMode):
    def __init__(self, header: Header) -> None:
        super().__init__()
        self.header = header
        self.numbers = 2 * header.n_numbers + SPARE_NUMBERS
        self.tensors = 10 * len(header.shapes) + SPARE_TENSORS

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in MAKERS:
            self.tensors -= 1
            self.numbers -= _asked(function, args, kwargs)
            if min(self.tensors, self.numbers) < 0:
                raise WeightsError(
                    f"{self.header.path}: its settings ask for networks larger than the file; the file is damaged or of another version"
                )
        return function(*args, **kwargs)


def _asked(function: Any, args: Any, kwargs: dict[str, Any]) -> int:
    """Number of elements that a call makes; shapes of tensors only."""
    sizes = kwargs.get("size", args[0] if args and isinstance(args[0], tuple | list) else args)
    numbers = [int(n) for n in sizes if isinstance(n, int)] if isinstance(sizes, tuple | list) else [int(sizes)]
    if function in (torch.arange, torch.linspace):
        return max((abs(n) for n in numbers), default=1)
    if function is torch.eye and len(numbers) == 1:
        return numbers[0] ** 2
    return math.prod(numbers)


def find_weights(name: str | Path | None = None) -> Path:
    """Find a weights file: a path, a name in ``$TONETRANSFER_INSTRUMENTS``, or (None or ``bundled``) the bundled one.

    Raises
    ------
    WeightsError
        There is no such file.
    """
    if name is None or str(name) == Path(BUNDLED).stem:
        bundled = Path(str(resources.files("tonetransfer.instruments") / BUNDLED))
        if not bundled.is_file():
            raise WeightsError("the bundled weights are missing from this installation; install the package again, or give a weights file")
        return bundled
    path = Path(name)
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; a weights file ending in .safetensors was wanted")
    if path.exists():
        return path
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / path.name).exists():
        return Path(folder) / path.name
    raise WeightsError(f"{path}: there is no such weights file" + (f" (nor in {folder})" if folder else "") + "; give the path of one")


@dataclass(frozen=True)
class Header:
    """Header of a safetensors file: its text, and the shape of each tensor."""

    path: Path
    text: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    @property
    def n_numbers(self) -> int:
        """Of all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def json(self, key: str, kind: type) -> Any:
        """Parse a text as JSON of a kind (dict or list).

        Raises
        ------
        WeightsError
            It is missing, no JSON, or of another kind.
        """
        wanted = "an object" if kind is dict else "a list"
        try:
            value = json.loads(self.text[key])
        except KeyError:
            raise WeightsError(f"{self.path}: its description lacks {key}; the file is damaged or of another version") from None
        except (ValueError, RecursionError) as error:
            problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
            raise WeightsError(f"{self.path}: its {key} are no JSON ({problem}); {wanted} was wanted, the file is damaged") from None
        if not isinstance(value, kind):
            raise WeightsError(f"{self.path}: its {key} hold a {type(value).__name__}; {wanted} was wanted, the file is damaged")
        return value


def read_header(path: Path, *, what: str = "weights file") -> Header:
    """Read the header of a safetensors file.

    Raises
    ------
    WeightsError
        It is none, or its header does not fit its size.
    """
    try:
        if not path.is_file():
            raise ValueError("no file")
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(size - 8, LONGEST_HEADER):
                raise ValueError("its header is cut off or none")
            entries = json.loads(file.read(length))
        return _checked(path, entries, size - 8 - length)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        problem = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())[:120]
        raise WeightsError(f"{path}: is not a readable {what} ({problem}); it may be truncated or of another kind") from None


def _checked(path: Path, entries: dict[str, Any], n_bytes: int) -> Header:
    text = entries.pop("__metadata__", {}) or {}
    if not all(isinstance(value, str) for value in text.values()):
        raise ValueError("its description is no text")
    shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
    if not all(isinstance(n, int) and n >= 0 for shape in shapes.values() for n in shape):
        raise ValueError("sizes that are none")
    if max((entry["data_offsets"][1] for entry in entries.values()), default=0) != n_bytes:
        raise ValueError("its tensors do not fit its size")
    return Header(path, text, shapes)
