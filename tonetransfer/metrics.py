"""How far two recordings are apart.

Each metric is one function; conventions are fixed here so that figures can be compared between systems.

* Log-spectral distance (LSD): |STFT| with a Hann window of 2048 and a hop of 512 samples, 20 log10(|STFT| + 1e-3); the RMS of the
  difference over bins, averaged over frames. Meant for 48 kHz audio with a peak of 0.7.
* LSD-60: the RMS of the difference in dB over those bins, of all frames, where either signal is within 60 dB of the reference's largest
  magnitude, both floored 80 dB below it: what can be heard, without the room's noise floor. No peak or level is adjusted.
"""

from __future__ import annotations

import torch

from .spectral import magnitudes

N_FFT = 2048
HOP_LENGTH = 512
FLOOR = 1e-3


def _same_length(reference: torch.Tensor, estimate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    n_samples = min(reference.shape[-1], estimate.shape[-1])
    return reference[..., :n_samples], estimate[..., :n_samples]


def log_spectral_distance_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """Log-spectral distance of two recordings of the same performance [dB]; the longer one is cut.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
    """
    x, y = (20.0 * torch.log10(magnitudes(a, N_FFT, HOP_LENGTH) + FLOOR) for a in _same_length(reference, estimate))
    return float((x - y).square().mean(dim=-2).sqrt().mean())


def audible_log_spectral_distance_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """LSD-60 [dB]: see the module's conventions; the longer one is cut, and 0 is given where nothing is audible.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
    """
    x, y = (magnitudes(a, N_FFT, HOP_LENGTH) for a in _same_length(reference, estimate))
    largest = x.max().clamp(min=1e-9)
    audible = torch.maximum(x, y) >= largest * 1e-3
    x, y = (20.0 * torch.log10(magnitude.clamp(min=largest * 1e-4)) for magnitude in (x, y))
    return float((x - y)[audible].square().mean().sqrt()) if bool(audible.any()) else 0.0


def raw_pitch_accuracy(reference_hz: torch.Tensor, estimate_hz: torch.Tensor, *, tolerance_cents: float = 50.0) -> float:
    """Share of frames whose f0 is within `tolerance_cents` of the reference, octave errors counted as errors (Poliner et al. 2007).

    Parameters
    ----------
    reference_hz, estimate_hz : Tensor [shape=(n_frames,)], > 0
        Voiced frames of the reference, and the estimate in the same frames.
    """
    if not reference_hz.numel():
        return 0.0
    cents = 1200.0 * torch.log2(estimate_hz.double() / reference_hz.double())
    return float((cents.abs() < tolerance_cents).double().mean())
