"""Where the loops of :mod:`tonetransfer.kernels` stand in for tensors."""

from __future__ import annotations

import torch


def in_loops(tensor: torch.Tensor) -> bool:
    """Whether what training computes from a tensor is computed in compiled loops: on a processor, in float32, and nobody takes it down."""
    plain = tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and not torch.jit.is_tracing() and not torch.compiler.is_compiling()
