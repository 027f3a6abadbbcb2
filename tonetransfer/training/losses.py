"""Losses of sounds, and of timbre vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..audio.loudness import N_FFT, level_db, power_weighting
from ..audio.stft import hann, magnitudes
from ..compiled import in_loops
from ..threads import parallel_map

FFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
FLOOR = 1e-3  # of a magnitude with a Hann window of 2048: the same floor as the log-spectral distance of the evaluation
TEMPERATURE = 0.15  # of the contrast
SMOOTHING = 0.1  # of the instrument's label: a soundfont's oboe is not all there is to oboes


def two_sizes(rng: np.random.Generator) -> tuple[int, int]:
    """FFT sizes of a step: all of them in the long run, two at a time, for a third of the work; that of loudness is always there."""
    return N_FFT, int(rng.choice([n for n in FFT_SIZES if n != N_FFT]))


def spectral_loss(
    audio: torch.Tensor,
    target: torch.Tensor,
    sizes: Sequence[int] = FFT_SIZES,
    *,
    distance_weight: float = 0.0,
    known: Mapping[int, Sequence[torch.Tensor]] | None = None,
) -> torch.Tensor:
    """Multi-scale spectral loss: mean |X - Y| + mean |log X - log Y|, averaged over FFT sizes (Engel et al. 2020).

    Magnitudes are divided by the root of the window's power, so that noise weighs the same at every size, and the logarithm is floored:
    what cannot be heard must not be learned. To it the log-spectral distance [nepers] can be added: the mean over frames of the RMS over
    bins, at 2048 (or the first size), which is what ``metrics.log_spectral_distance_db`` measures.

    Parameters
    ----------
    audio, target : Tensor [shape=(batch, n_samples)]
        The target is given: no gradient goes there.
    sizes : sequence of int [samples]
    distance_weight : float, >= 0
    known : mapping of int to (Tensor, Tensor) or None
        Magnitudes of both that are there already, by FFT size; with a hop of a quarter of it.

    Returns
    -------
    Tensor [shape=()]
    """
    total = audio.new_zeros(())
    for n_fft in sizes:
        x, y = (known or {}).get(n_fft) or [magnitudes(signal, n_fft, n_fft // 4) for signal in (audio, target)]
        scale, weight = (2048 / n_fft) ** 0.5, distance_weight if n_fft == _size_of_distance(sizes) else 0.0
        logs = torch.log(x * scale + FLOOR) - torch.log(y * scale + FLOOR)
        total = total + (scale * (x - y).abs().mean() + logs.abs().mean()) / len(sizes)
        if weight:
            total = total + weight * (logs.square().mean(dim=-2) + 1e-6).sqrt().mean()
    return total


def _size_of_distance(sizes: Sequence[int]) -> int:
    """The FFT size of the log-spectral distance."""
    return 2048 if 2048 in sizes else sizes[0]


def audible_distance(x: torch.Tensor, y: torch.Tensor, faintest: float, floor: float) -> torch.Tensor:
    """RMS difference of log magnitudes [nepers] over the bins in which either is above `faintest`; the mean over excerpts.

    Magnitudes are (batch, n_bins, n_frames), what is below `floor` counts as that, and no gradient goes to `y`.
    """
    audible = ((x > faintest) | (y > faintest)).to(x)
    logs = (torch.log(x.clamp(min=floor)) - torch.log(y.clamp(min=floor))) * audible
    count = audible.sum((-2, -1)).clamp(min=1.0)
    return (logs.square().sum((-2, -1)) / count + 1e-6).sqrt().mean()


def level_distance(x: torch.Tensor, y: torch.Tensor, sample_rate: int, faintest_db: float) -> torch.Tensor:
    """Mean difference of loudness [dB] of magnitudes (batch, 1025, n_frames), Hann window of 2048, where `y` is above `faintest_db`."""
    level, wanted = (level_db(one.transpose(-1, -2), sample_rate) for one in (x, y))
    return ((level - wanted).abs() * (wanted > faintest_db)).mean()


class Audible(NamedTuple):
    """Weight of :func:`audible_distance`, and the magnitudes between which it hears."""

    weight: float
    faintest: float
    floor: float


def heard_difference(
    sound: torch.Tensor,
    target: torch.Tensor,
    sample_rate: int,
    sizes: Sequence[int],
    *,
    distance_weight: float,
    loudness_weight: float,
    faint_db: float,
    audible: Audible | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All that training compares sounds by: :func:`spectral_loss`, :func:`level_distance` and :func:`audible_distance`.

    `sound` and `target`, (batch, n_samples); no gradient goes to the target. That of loudness is among the FFT `sizes`; loudness is
    compared where the target's is above `faint_db`. Returns the loss and, for information, the mean difference of loudness [dB], which is
    in it.
    """
    if in_loops(sound):
        return _CompiledDifference.apply(sound, target, sample_rate, tuple(sizes), distance_weight, loudness_weight, faint_db, audible)
    pair = [magnitudes(signal, N_FFT, N_FFT // 4) for signal in (sound, target)]
    off_db = level_distance(pair[0], pair[1], sample_rate, faint_db)
    loss = spectral_loss(sound, target, sizes, distance_weight=distance_weight, known={N_FFT: pair}) + loudness_weight * off_db
    if audible is not None:
        loss = loss + audible.weight * audible_distance(pair[0], pair[1], audible.faintest, audible.floor)
    return loss, off_db.detach()


class _CompiledDifference(torch.autograd.Function):
    """The same, excerpts side by side; their gradients are made on the way, with the sums that they need."""

    @staticmethod
    def forward(
        ctx: Any,
        sound: torch.Tensor,
        target: torch.Tensor,
        sample_rate: int,
        sizes: tuple[int, ...],
        distance_weight: float,
        loudness_weight: float,
        faint_db: float,
        audible: Audible | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from ..synthesis import kernels
        from . import loss_kernels

        pairs = list(zip(*(signal.detach().contiguous().numpy() for signal in (sound, target)), strict=True))
        weighting, faint_power, learned = power_weighting(sample_rate).numpy(), 10.0 ** (faint_db / 10.0), ctx.needs_input_grad[0]

        def excerpt(i: int) -> tuple[float, float, np.ndarray]:
            loss, off_db, slope = 0.0, 0.0, np.zeros_like(pairs[i][0])
            for n_fft in sizes:
                hop, window = n_fft // 4, hann(n_fft).numpy()
                frames = np.empty((2, 1 + len(slope) // hop, n_fft), np.float32)
                for signal, into in zip(pairs[i], frames, strict=True):
                    kernels.cut(signal, window, hop, into)
                spectra = torch.fft.rfft(torch.from_numpy(frames)).numpy()
                back = np.empty_like(spectra[0])
                fixed = (2048 / n_fft) ** 0.5, FLOOR, 1.0 / len(sizes), distance_weight if n_fft == _size_of_distance(sizes) else 0.0
                level = weighting if n_fft == N_FFT else weighting[:0], loudness_weight, faint_power
                found = loss_kernels.difference(spectra[0], spectra[1], *fixed, *level, back)
                loss, off_db = loss + found[0], off_db + found[1]
                if n_fft == N_FFT and audible is not None:
                    more = np.empty_like(back)
                    distance = loss_kernels.audible_difference(
                        spectra[0], spectra[1], audible.faintest, audible.floor, audible.weight, more
                    )
                    loss, back = loss + audible.weight * distance, back + more
                if learned:
                    waves = torch.fft.irfft(torch.from_numpy(back), n_fft, norm="forward").numpy()  # bins that stand for two counted twice
                    kernels.overlap(waves, window, hop, slope)
            return loss, off_db, slope

        losses, off_db, slopes = zip(*parallel_map(excerpt, len(pairs)), strict=True)
        if learned:
            ctx.save_for_backward(torch.from_numpy(np.stack(slopes) / np.float32(len(pairs))))
        loss, figure = sound.new_tensor(np.mean(losses)), sound.new_tensor(np.mean(off_db))
        ctx.mark_non_differentiable(figure)
        return loss, figure

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.saved_tensors[0] * grads[0], *[None] * 7


def supervised_contrast(z: torch.Tensor, labels: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """Same label, near; another label, far (Khosla et al. 2020, the form with the sum outside of the logarithm).

    `z` (n, z_dim) are compared, by their cosines, with each other and with the `prototypes` (n_classes, z_dim), one of each class, so that
    a batch of a few classes is kept away from all of them. `labels` (n,): from `n_classes` on, something without a prototype.
    """
    n = len(z)
    direction = torch.nn.functional.normalize(torch.cat([z, prototypes]), dim=-1)
    known = torch.cat([labels, torch.arange(len(prototypes), device=z.device)])
    itself = torch.eye(n, len(known), dtype=torch.bool, device=z.device)
    log_share = torch.log_softmax((direction[:n] @ direction.T / TEMPERATURE).masked_fill(itself, -torch.inf), dim=-1)
    same = (labels[:, None] == known[None]) & ~itself
    n_same = same.sum(-1)
    return -(torch.where(same, log_share, 0.0).sum(-1) / n_same.clamp(min=1)).sum() / (n_same > 0).sum().clamp(min=1)


@dataclass(frozen=True)
class TimbreLossWeights:
    """Weights of the timbre losses; 0 leaves one out."""

    alignment: float  # z near the row of its timbre in the table: mean square of a number
    kind: float  # a linear reader of z names the instrument, whoever's recording it is, equalised, rescaled or captured: cross-entropy
    consistency: float  # the excerpts of one group near their mean: mean square of a number
    contrast: float  # excerpts of one timbre near each other and its row, those of others far; a changed timbre is another


class TimbreLosses(nn.Module):
    """Timbre losses, and the linear reader of the instrument that measures one of them."""

    def __init__(self, z_dim: int, n_kinds: int, weights: TimbreLossWeights) -> None:
        super().__init__()
        self.weights = weights
        self.kind = nn.Linear(z_dim, n_kinds)

    def forward(self, z: torch.Tensor, batch: dict[str, torch.Tensor], table: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Sum of the losses, and each as a figure; ``right`` is the share of excerpts whose instrument the reader names.

        z (n, z_dim) is that of a batch of :class:`~tonetransfer.training.encoder_batches.EncoderBatches`; no gradient reaches the rows of
        `table` (n_timbres, z_dim).
        """
        weights, table = self.weights, table.detach()
        known = batch["original"] & (batch["timbre"] >= 0)
        apart = (z[known] - table[batch["timbre"][known]]).square().mean()
        named = self.kind(z)
        kind = nn.functional.cross_entropy(named, batch["kind"], label_smoothing=SMOOTHING)
        groups = z.unflatten(0, (int(batch["group"][-1]) + 1, -1))  # (n_groups, excerpts of each, z_dim)
        consistency = (groups - groups.mean(1, keepdim=True)).square().mean()
        label = torch.where(known, batch["timbre"], len(table) + batch["group"])  # a changed timbre is one of its own
        contrast = supervised_contrast(z, label, table)
        loss = weights.alignment * apart + weights.kind * kind + weights.consistency * consistency + weights.contrast * contrast
        right = (named.argmax(-1) == batch["kind"]).float().mean()
        figures = {"apart": apart, "kind": kind, "right": right, "inconsistent": consistency, "contrast": contrast}
        return loss, figures
