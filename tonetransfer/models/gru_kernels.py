"""Frames of a GRU and their gradients, compiled by Numba; :mod:`tonetransfer.models.decoder` calls them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import compiled
from ..synthesis.kernels import ONE, exponential, row


@compiled
def forward(given: Any, recurrent: Any, before: Any, gates: Any, new: Any, after: Any) -> None:
    """One frame of a GRU for the rows of a batch, behind its matrix product; see :mod:`tonetransfer.models.decoder`.

    `given` and `recurrent`, (batch, 3 * width), are from the input and from the state `before` (batch, width), biases included: reset,
    keep, new. `gates` (batch, 2 * width), `new` and `after` (batch, width) get the gates, the new state before it is mixed, and the state
    behind the frame.
    """
    width = before.shape[1]
    work, scales, power = row(2 * width), row(2 * width), row(2 * width)
    for b in range(before.shape[0]):
        from_input, from_state, gate = given[b], recurrent[b], gates[b]
        for i in range(2 * width):
            work[i] = -from_input[i] - from_state[i]
        exponential(work, scales, power)
        for i in range(2 * width):
            gate[i] = ONE / (ONE + power[i])
        asked, of_state = from_input[2 * width :], from_state[2 * width :]
        for i in range(width):
            work[i] = np.float32(-2.0) * (asked[i] + gate[i] * of_state[i])
        exponential(work[:width], scales[:width], power[:width])
        keep, fresh, old, out = gate[width:], new[b], before[b], after[b]
        for i in range(width):
            fresh[i] = np.float32(2.0) / (ONE + power[i]) - ONE  # tanh
            out[i] = fresh[i] + keep[i] * (old[i] - fresh[i])


@compiled
def backward(asked: Any, later: Any, gates: Any, new: Any, before: Any, of_state: Any, to_state: Any, to_input: Any) -> None:
    """The transpose of :func:`forward`.

    `asked` and `later`, (batch, width), are the gradient of the state behind the frame, from outside and from later frames; `later` gets
    what goes past the matrix product to the state before. `gates`, `new` and `before` are as :func:`forward` left them, `of_state` (batch,
    width) is the last third of its `recurrent`. `to_state` and `to_input`, (batch, 3 * width), get the gradients of its `recurrent` and
    `given`.
    """
    width = new.shape[1]
    for b in range(new.shape[0]):
        wanted, come, gate, fresh, old, part = asked[b], later[b], gates[b], new[b], before[b], of_state[b]
        recurrent, given = to_state[b], to_input[b]
        for i in range(width):
            reset, keep = gate[i], gate[width + i]
            come[i] += wanted[i]
            d_new = come[i] * (ONE - keep) * (ONE - fresh[i] * fresh[i])
            d_keep = come[i] * (old[i] - fresh[i]) * keep * (ONE - keep)
            d_reset = d_new * part[i] * reset * (ONE - reset)
            recurrent[i] = d_reset
            given[i] = d_reset
            recurrent[width + i] = d_keep
            given[width + i] = d_keep
            recurrent[2 * width + i] = d_new * reset
            given[2 * width + i] = d_new
            come[i] *= keep
