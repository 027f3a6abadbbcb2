"""What training makes small."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .spectral import magnitudes

FFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
FLOOR = 1e-3  # of a magnitude with a Hann window of 2048: the same floor as the log-spectral distance that judges the result


def spectral_loss(
    audio: torch.Tensor, target: torch.Tensor, sizes: Sequence[int] = FFT_SIZES, *, distance_weight: float = 0.0
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

    Returns
    -------
    Tensor [shape=()]
    """
    total = audio.new_zeros(())
    for n_fft in sizes:
        scale = (2048 / n_fft) ** 0.5
        x, y = (magnitudes(signal, n_fft, n_fft // 4) * scale for signal in (audio, target))
        difference = torch.log(x + FLOOR) - torch.log(y + FLOOR)
        total = total + ((x - y).abs().mean() + difference.abs().mean()) / len(sizes)
        if distance_weight and n_fft == (2048 if 2048 in sizes else sizes[0]):
            total = total + distance_weight * (difference.square().mean(dim=-2) + 1e-6).sqrt().mean()
    return total
