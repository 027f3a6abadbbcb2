"""Log-spectral distances of two recordings, by the conventions of :mod:`tonetransfer.evaluation.metrics`."""

from __future__ import annotations

import torch

from .stft import magnitudes

N_FFT = 2048
HOP_LENGTH = 512
FLOOR = 1e-3


def same_length(reference: torch.Tensor, estimate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two recordings, the longer one cut."""
    n_samples = min(reference.shape[-1], estimate.shape[-1])
    return reference[..., :n_samples], estimate[..., :n_samples]


def log_spectral_distance_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """Log-spectral distance of two recordings of the same performance [dB]; the longer one is cut.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
    """
    x, y = (20.0 * torch.log10(magnitudes(a, N_FFT, HOP_LENGTH) + FLOOR) for a in same_length(reference, estimate))
    return float((x - y).square().mean(dim=-2).sqrt().mean())


def audible_log_spectral_distance_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """LSD-60 [dB]: the longer one is cut, and 0 is given where nothing is audible.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
    """
    x, y = (magnitudes(a, N_FFT, HOP_LENGTH) for a in same_length(reference, estimate))
    largest = x.max().clamp(min=1e-9)
    audible = torch.maximum(x, y) >= largest * 1e-3
    x, y = (20.0 * torch.log10(magnitude.clamp(min=largest * 1e-4)) for magnitude in (x, y))
    return float((x - y)[audible].square().mean().sqrt()) if bool(audible.any()) else 0.0
