"""The training loop of classification networks: short enough to be written out, no framework."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..errors import SettingsError
from ..threads import Progress, counted
from ..training.settings import warm_cosine
from .frontends import Frontend, as_float
from .settings import FitSettings

Batch = Callable[[np.ndarray], torch.Tensor]


def fit_network(
    network: nn.Module,
    frontend: Frontend,
    batch_of: Batch,
    targets: torch.Tensor,
    settings: FitSettings,
    *,
    multi: bool,
    progress: Progress | None = None,
) -> float:
    """Fit a network by gradient descent, on the CPU; the mean loss of the last tenth of the steps.

    `batch_of` gives the features of rows, which the network takes to scores; `targets` are (n_windows, n_classes), and with `multi` classes
    do not exclude each other; the frontend says whether features are bands, which can be equalised and masked. SettingsError: it came
    apart.
    """
    rng = np.random.default_rng(settings.seed)
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    rise = max(settings.steps // 10, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_cosine(step, settings.steps, warmup=rise, last=0.001, begin=rise)
    )
    chooser, losses = balanced(targets.numpy(), rng), []
    half = torch.cpu._is_avx512_bf16_supported()
    network.train()
    for _ in counted(range(settings.steps), progress):
        rows = chooser(settings.batch_size)
        x, y = batch_of(rows), targets[rows]
        if frontend.bands_db:
            disturbed = disturb(x[:, : frontend.n_bands], settings, frontend.bands_db, rng)
            x = torch.cat([disturbed, x[:, disturbed.shape[1] :]], dim=1)
        if settings.mixup > 0:
            x, y = mix_up(x, y, float(rng.beta(settings.mixup, settings.mixup)), rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = network(x)
        loss = loss_of(scores.float(), y, multi=multi, smoothing=settings.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        raise SettingsError(f"training failed: the weights are no longer finite after {settings.steps} steps; lower fit.learning_rate")
    network.eval()
    return float(np.mean(losses[-max(settings.steps // 10, 1) :]))


def balanced(targets: np.ndarray, rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """A function that draws rows so that every class comes up equally often, and rows without a class as often as one."""
    rows = [np.flatnonzero(column > 0) for column in targets.T]
    rows = [some for some in [*rows, np.flatnonzero(targets.sum(1) == 0)] if len(some)]

    def draw(count: int) -> np.ndarray:
        return np.array([rng.choice(rows[kind]) for kind in rng.integers(0, len(rows), count)])

    return draw


def disturb(x: torch.Tensor, settings: FitSettings, bands_db: float, rng: np.random.Generator) -> torch.Tensor:
    """Features of bands (n, n_bands, n_frames), each under a random smooth curve and with a stripe of bands and of frames hidden."""
    n, n_bands, n_frames = x.shape
    x = x.clone()
    if settings.curve_db > 0:
        knots = torch.from_numpy(rng.normal(0.0, settings.curve_db, (n, 1, 8)).astype(np.float32))
        curve = nn.functional.interpolate(knots, n_bands, mode="linear", align_corners=True)[:, 0, :, None]
        silent = x <= -1.0
        x = x + curve / bands_db
        x = (x - x.flatten(1).amax(1)[:, None, None] + 1.0).clamp(min=-1.0).masked_fill(silent, -1.0)
    for row in range(n):
        for axis, size in ((0, n_bands), (1, n_frames)):
            length = int(rng.uniform(0.0, settings.mask_share) * size)
            start = int(rng.integers(0, size - length + 1))
            x[row].narrow(axis, start, length).fill_(-1.0)
    return x


def mix_up(x: torch.Tensor, y: torch.Tensor, share: float, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Each item blended with another one (Zhang et al., 2018)."""
    other = torch.from_numpy(rng.permutation(len(x)))
    return share * x + (1.0 - share) * x[other], share * y + (1.0 - share) * y[other]


def loss_of(scores: torch.Tensor, targets: torch.Tensor, *, multi: bool, smoothing: float) -> torch.Tensor:
    """Cross entropy, of one class or of each."""
    if multi:
        return nn.functional.binary_cross_entropy_with_logits(scores, targets * (1.0 - smoothing) + 0.5 * smoothing)
    return nn.functional.cross_entropy(scores, targets, label_smoothing=smoothing)


def batches_from(frontend: Frontend, audio: np.ndarray, features: torch.Tensor | None) -> Batch:
    """Features of rows: kept ones, or computed from audio when they are asked for."""
    if features is not None:
        return lambda rows: features[rows]

    def compute(rows: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            return frontend(as_float(audio[rows]))

    return compute
