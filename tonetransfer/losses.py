"""What training makes small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from .spectral import magnitudes

FFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
FLOOR = 1e-3  # of a magnitude with a Hann window of 2048: the same floor as the log-spectral distance that judges the result


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
        scale = (2048 / n_fft) ** 0.5
        pair = (known or {}).get(n_fft) or [magnitudes(signal, n_fft, n_fft // 4) for signal in (audio, target)]
        x, y = (one * scale for one in pair)
        difference = torch.log(x + FLOOR) - torch.log(y + FLOOR)
        total = total + ((x - y).abs().mean() + difference.abs().mean()) / len(sizes)
        if distance_weight and n_fft == (2048 if 2048 in sizes else sizes[0]):
            total = total + distance_weight * (difference.square().mean(dim=-2) + 1e-6).sqrt().mean()
    return total


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
