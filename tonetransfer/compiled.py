"""Where the loops of :mod:`tonetransfer.synthesis.kernels` stand in for tensors."""

from __future__ import annotations

import torch


def in_loops(tensor: torch.Tensor, *, halves: bool = False) -> bool:
    """Whether what training computes from a tensor is computed in compiled loops: on a processor, in float32 (`halves`: or under autocast),
    and nobody takes it down.
    """
    plain = tensor.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return tensor.device.type == "cpu" and (plain or halves) and not torch.jit.is_tracing() and not torch.compiler.is_compiling()
