"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .loudness import N_FFT, level_db
from .spectral import magnitudes

FFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
FLOOR = 1e-3  # of a magnitude with a Hann window of 2048: the same floor as the log-spectral distance that judges the result


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
        weight = distance_weight if n_fft == (2048 if 2048 in sizes else sizes[0]) else 0.0
        total = total + _Difference.apply(x, y, (2048 / n_fft) ** 0.5, 1.0 / len(sizes), weight)
    return total


class _Difference(torch.autograd.Function):
    """share * (mean |x - y| + mean |log x - log y|) + weight * mean over frames of the RMS of log x - log y, of (batch, n_bins, n_frames).

    The gradient is made on the way, in place: autograd goes over all bins three times as often.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor, scale: float, share: float, weight: float) -> torch.Tensor:
        floored = x * scale + FLOOR
        logs = floored.log().sub_((y * scale).add_(FLOOR).log_())
        plain = (x - y).mul_(scale)
        total = share * (plain.abs().mean() + logs.abs().mean())
        if weight:
            distance = (logs.square().mean(dim=-2, keepdim=True) + 1e-6).sqrt()
            total = total + weight * distance.mean()
        if ctx.needs_input_grad[0]:
            slope = logs.sign().mul_(share / x.numel())
            if weight:
                slope.addcmul_(logs, weight / (x.numel() * distance))
            ctx.save_for_backward(slope.div_(floored).add_(plain.sign_(), alpha=share / x.numel()).mul_(scale))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.saved_tensors[0] * grads[0], None, None, None, None


def audible_distance(x: torch.Tensor, y: torch.Tensor, faintest: float, floor: float) -> torch.Tensor:
    """RMS difference of log magnitudes [nepers] over the bins in which either is above `faintest`; the mean over excerpts.

    Parameters
    ----------
    x, y : Tensor [shape=(batch, n_bins, n_frames)], >= 0
        `y` is given: no gradient goes there.
    faintest : float, > 0
    floor : float, > 0
        What is below counts as this.

    Returns
    -------
    Tensor [shape=()]
    """
    return _AudibleDistance.apply(x, y, faintest, floor)


class _AudibleDistance(torch.autograd.Function):
    """As :class:`_Difference`, the gradient is made on the way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor, faintest: float, floor: float) -> torch.Tensor:
        audible = ((x > faintest) | (y > faintest)).to(x)
        floored = x.clamp(min=floor)
        logs = floored.log().sub_(y.clamp(min=floor).log_()).mul_(audible)
        count = audible.sum((-2, -1), keepdim=True).clamp(min=1.0)
        distance = (logs.square().sum((-2, -1), keepdim=True) / count + 1e-6).sqrt()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(logs.div_(floored.mul_(len(x) * count * distance)).mul_(x > floor))
        return distance.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.saved_tensors[0] * grads[0], None, None, None


def level_distance(x: torch.Tensor, y: torch.Tensor, sample_rate: int, faintest_db: float) -> torch.Tensor:
    """Mean difference of loudness [dB], where `y` is louder than `faintest_db`.

    Parameters
    ----------
    x, y : Tensor [shape=(batch, 1025, n_frames)]
        Magnitudes with a Hann window of 2048.
    sample_rate : int [Hz]
    faintest_db : float

    Returns
    -------
    Tensor [shape=()]
    """
    level, wanted = (level_db(one.transpose(-1, -2), sample_rate) for one in (x, y))
    return ((level - wanted).abs() * (wanted > faintest_db)).mean()


def heard_difference(
    sound: torch.Tensor,
    target: torch.Tensor,
    sample_rate: int,
    sizes: Sequence[int],
    *,
    distance_weight: float,
    loudness_weight: float,
    faint_db: float,
    audible: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All that training compares sounds by: :func:`spectral_loss` and :func:`level_distance`, and what else is asked of the spectra.

    On a processor excerpt by excerpt, gradient and all, so that spectra stay in its cache.

    Parameters
    ----------
    sound, target : Tensor [shape=(batch, n_samples)]
        The target is given: no gradient goes there.
    sample_rate : int [Hz]
    sizes : sequence of int [samples]
        Of FFTs.
    distance_weight, loudness_weight : float, >= 0
    faint_db : float
        Loudness is compared where the target's is above.
    audible : callable or None
        What is added, given the magnitudes of both, (batch, 1025, n_frames), as a mean over excerpts.

    Returns
    -------
    loss : Tensor [shape=()]
    off_db : Tensor [shape=()]
        Mean difference of loudness, for information: it is in the loss.
    """

    def compare(one: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pair = magnitudes(one, N_FFT, N_FFT // 4), magnitudes(wanted, N_FFT, N_FFT // 4)
        off_db = level_distance(*pair, sample_rate, faint_db)
        loss = spectral_loss(one, wanted, sizes, distance_weight=distance_weight, known={N_FFT: pair}) + loudness_weight * off_db
        return (loss if audible is None else loss + audible(*pair)), off_db

    n_pieces = len(sound) if sound.device.type == "cpu" else 1
    return _PieceByPiece.apply(sound, target, compare, n_pieces)


class _PieceByPiece(torch.autograd.Function):
    """Mean over excerpts of (loss, figure) = compare(sound, target), a piece of the batch at a time; the loss can be differentiated."""

    @staticmethod
    def forward(
        ctx: Any, sound: torch.Tensor, target: torch.Tensor, compare: Callable[..., tuple[torch.Tensor, torch.Tensor]], n_pieces: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total, learned = sound.new_zeros(2), ctx.needs_input_grad[0]
        slopes = []
        for one, wanted in zip(sound.tensor_split(n_pieces), target.tensor_split(n_pieces), strict=True):
            share = len(one) / len(sound)
            with torch.set_grad_enabled(learned):
                one = one.detach().requires_grad_(learned)
                found = compare(one, wanted)
            if learned:
                slopes.append(share * torch.autograd.grad(found[0], one)[0])
            total += share * torch.stack(found).detach()
        if learned:
            ctx.save_for_backward(torch.cat(slopes))
        loss, figure = total.unbind()
        ctx.mark_non_differentiable(figure)
        return loss, figure

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.saved_tensors[0] * grads[0], None, None, None


def supervised_contrast(z: torch.Tensor, labels: torch.Tensor, prototypes: torch.Tensor, temperature: float = 0.15) -> torch.Tensor:
    """Same label, near; another label, far (Khosla et al. 2020, the form with the sum outside of the logarithm).

    Parameters
    ----------
    z : Tensor [shape=(n, z_dim)]
        Compared with each other and with the prototypes, by their cosines.
    labels : Tensor [shape=(n,)], int
        From `n_classes` on: something without a prototype.
    prototypes : Tensor [shape=(n_classes, z_dim)]
        One of each class, so that a batch of a few classes is kept away from all of them.
    temperature : float, > 0

    Returns
    -------
    Tensor [shape=()], >= 0
    """
    n = len(z)
    direction = torch.nn.functional.normalize(torch.cat([z, prototypes]), dim=-1)
    known = torch.cat([labels, torch.arange(len(prototypes), device=z.device)])
    itself = torch.eye(n, len(known), dtype=torch.bool, device=z.device)
    log_share = torch.log_softmax((direction[:n] @ direction.T / temperature).masked_fill(itself, -torch.inf), dim=-1)
    same = (labels[:, None] == known[None]) & ~itself
    n_same = same.sum(-1)
    return -(torch.where(same, log_share, 0.0).sum(-1) / n_same.clamp(min=1)).sum() / (n_same > 0).sum().clamp(min=1)
