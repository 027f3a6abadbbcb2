"""A one-layer GRU on a CPU, faster than torch's where it counts: learned from in batches, and played one sound at a time.

The weights are those of an ``nn.GRU`` (gates in the order reset, keep, new; Cho et al. 2014 in the variant of torch's documentation). Both
ways agree with it to float32 rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


def learn(gru: nn.GRU, h: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """States of a GRU, to be differentiated.

    Autograd takes the gradient of the recurrent weights frame by frame, and adds up as many matrices as there are frames; here it is one
    product of all frames. Under autocast the input goes through its weights in halves, what is remembered stays in float32.

    Parameters
    ----------
    gru : GRU, one layer, batch first
    h : Tensor [shape=(batch, n_frames, width)]
    state : Tensor [shape=(1, batch, width)] or None
        Before the first frame; None: zeros.

    Returns
    -------
    states : Tensor [shape=(batch, n_frames, width)]
    state : Tensor [shape=(1, batch, width)]
        Behind the last frame.
    """
    from_input, recurrent, input_bias, bias = gru.all_weights[0]
    given = nn.functional.linear(h.transpose(0, 1), from_input, input_bias)
    before = given.new_zeros(len(h), gru.hidden_size) if state is None else state[0]
    states = _Recurrence.apply(given, recurrent, bias, before)
    return states.transpose(0, 1), states[-1:]


class _Recurrence(torch.autograd.Function):
    """(n_frames, batch, 3 width), (3 width, width), (3 width,), (batch, width) -> (n_frames, batch, width)."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        from . import gru_kernels

        n_frames, batch, width = *given.shape[:2], weight.shape[1]
        states = given.new_empty(n_frames + 1, batch, width)
        states[0] = state
        gates, new = given.new_empty(n_frames, batch, 2 * width), given.new_empty(n_frames, batch, width)
        turned = weight.t().contiguous()  # a product with it takes two thirds of the time
        recurrent = given.new_empty(n_frames, batch, 3 * width)
        products = zip(states[:-1].unbind(), recurrent.unbind(), strict=True)
        tracks = _arrays(given.contiguous(), recurrent, states[:-1], gates, new, states[1:])
        for (before, product), track in zip(products, tracks, strict=True):
            torch.addmm(bias, before, turned, out=product)
            gru_kernels.forward(*track)
        ctx.save_for_backward(weight, states, gates, new, recurrent)
        return states[1:]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *asked: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from . import gru_kernels

        weight, states, gates, new, recurrent = ctx.saved_tensors
        n_frames, batch, width = new.shape
        to_state, to_input = (new.new_empty(n_frames, batch, 3 * width) for _ in range(2))
        later = new.new_zeros(batch, width)
        into = later.numpy()
        tracks = _arrays(asked[0].contiguous(), gates, new, states[:-1], recurrent[..., 2 * width :], to_state, to_input)
        for back, (wanted, *track) in zip(reversed(to_state.unbind()), reversed(tracks), strict=True):
            gru_kernels.backward(wanted, into, *track)
            later.addmm_(back, weight)
        flat = to_state.flatten(0, 1)
        return to_input, flat.t() @ states[:-1].flatten(0, 1), flat.sum(0), later


def _arrays(*tracks: torch.Tensor) -> list[tuple[np.ndarray, ...]]:
    """Tensors (n_frames, ...) frame by frame, as arrays that share their memory."""
    return list(zip(*(track.numpy() for track in tracks), strict=True))


def follow(gru: nn.GRU, h: torch.Tensor, state: torch.Tensor) -> np.ndarray:
    """States (n_frames, width) of a GRU over h (n_frames, width) of one sound, frame after frame in as few calls as possible.

    What they write into is told by position: a keyword takes half as long as the whole call. Where exp overflows, 1 / (1 + exp(-x)) is 0 as
    it should be.

    Parameters
    ----------
    gru : GRU, one layer
    h : Tensor [shape=(n_frames, width)], float32
    state : Tensor [shape=(width,)]
        Before the first frame.
    """
    width = h.shape[-1]
    from_input, recurrent, input_bias, recurrent_bias = (weight.detach() for weight in gru.all_weights[0])
    given = nn.functional.linear(h.detach(), from_input, input_bias)
    minus_gates = given[:, : 2 * width].add_(recurrent_bias[: 2 * width]).neg_().numpy()
    matrix, bias_new, one = recurrent.contiguous().numpy(), recurrent_bias[2 * width :].numpy(), np.ones(2 * width, np.float32)
    states, now = np.empty((len(h), width), dtype=np.float32), np.ascontiguousarray(state.detach().numpy())
    from_memory = np.empty(3 * width, dtype=np.float32)
    gates, new = from_memory[: 2 * width], from_memory[2 * width :]
    reset, keep = gates[:width], gates[width:]
    with np.errstate(over="ignore"):
        for minus_given, given_new, out in zip(minus_gates, given[:, 2 * width :].numpy(), states, strict=True):
            np.dot(matrix, now, from_memory)
            np.subtract(minus_given, gates, gates)
            np.exp(gates, gates)
            np.add(gates, one, gates)
            np.reciprocal(gates, gates)
            np.add(new, bias_new, new)
            np.multiply(new, reset, new)
            np.add(new, given_new, new)
            np.tanh(new, new)
            np.subtract(now, new, out)
            np.multiply(out, keep, out)
            now = np.add(out, new, out)
    return states
