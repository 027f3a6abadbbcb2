"""Trials of exports: what a file plays must be what the model plays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..errors import ExportError
from ..models.timbre_model import TimbreModel

TOLERANCE_DB = -80.0
TEST_S = 1.0


def level_db(error: np.ndarray | torch.Tensor, reference: np.ndarray | torch.Tensor) -> float:
    """RMS of an error re that of what it is an error of [dB], never below -200."""
    power, of = (float(np.square(np.asarray(x, dtype=np.float64)).mean()) for x in (error, reference))
    return 10.0 * math.log10(max(power / max(of, 1e-30), 1e-20))


def check(figures: dict[str, float], *, what: str = "the export", tolerance_db: float = TOLERANCE_DB) -> dict[str, float]:
    """Figures [dB] of an export that is good enough, rounded; raises ExportError if one is not."""
    worst = max(figures, key=lambda key: figures[key])
    if figures[worst] > tolerance_db:
        raise ExportError(f"{what} failed its own test: {worst} is {figures[worst]:.1f} dB, {tolerance_db:g} dB or less was wanted")
    return {key: round(value, 1) for key, value in figures.items()}


def phrase(model: TimbreModel) -> tuple[torch.Tensor, torch.Tensor]:
    """f0 [Hz] and loudness [dB] of a glide with vibrato and a swell, sample by sample, each (n_samples,)."""
    seconds = torch.arange(round(TEST_S * model.sample_rate) // model.grid.hop_length * model.grid.hop_length) / model.sample_rate
    f0_hz = 330.0 * 2.0 ** (0.4 * torch.sin(2 * torch.pi * 0.7 * seconds) + 0.02 * torch.sin(2 * torch.pi * 6.0 * seconds))
    return f0_hz, -25.0 + 12.0 * torch.sin(2 * torch.pi * 0.9 * seconds)


def block_times(run: Callable[[int], Any], count: int) -> dict[str, float]:
    """Processing times of blocks [ms]: the median and the 99th percentile, after the first ten."""
    times = []
    for t in range(count):
        begin = time.perf_counter()
        run(t)
        times.append(1000.0 * (time.perf_counter() - begin))
    middle, last = np.percentile(times[10:] or times, [50, 99])
    return {"median_ms": round(float(middle), 2), "p99_ms": round(float(last), 2)}
