"""Loops compiled by Numba, and where they stand in for tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    """Whether what training computes from a tensor is computed in compiled loops: on a processor, in float32 (`halves`: or under autocast),
    and nobody takes it down.
    """
    plain = tensor.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return tensor.device.type == "cpu" and (plain or halves) and not torch.jit.is_tracing() and not torch.compiler.is_compiling()
