"""Tensors of safetensors files from anywhere; settings that lie about sizes make nothing larger than the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch.overrides import TorchFunctionMode

from ..errors import WeightsError
from .weights_header import Header

SPARE_NUMBERS, SPARE_TENSORS = 4_000_000, 4000  # that a network may make beside those that are kept: filters, first values
MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.rand, torch.randn, torch.arange, torch.linspace}


def read_tensors(header: Header, *, what: str = "weights file") -> dict[str, torch.Tensor]:
    """The tensors of a file whose header was read; raises WeightsError."""
    try:
        return load(header.path.read_bytes())  # by its content: safetensors opens no name that is not UTF-8
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise WeightsError(f"{header.path}: is not a readable {what} ({problem}); it may be truncated or of another kind") from None


@contextmanager
def no_larger_than(header: Header) -> Iterator[None]:
    """While this lasts, networks that are built may hold what the file holds and little more, else WeightsError: settings can lie."""
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
