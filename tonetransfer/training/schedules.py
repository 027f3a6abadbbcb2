"""Schedules of the learning rate."""

from __future__ import annotations

import math


def warm_cosine(step: int, steps: int, *, warmup: int = 10, last: float = 0.05, begin: int = 0) -> float:
    """Factor on a learning rate: warmed up linearly, then a cosine down to a share of it.

    Parameters
    ----------
    step : int, from 0 on
    steps : int
        Of the training; later ones keep the `last` factor.
    warmup : int
        Steps until the warm-up is over.
    last : float, in [0, 1]
    begin : int
        Step at which the cosine begins to fall.
    """
    done = min(max(step - begin, 0) / max(steps - begin, 1), 1.0)
    return min((step + 1) / max(warmup, 1), 1.0) * (last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * done)))
