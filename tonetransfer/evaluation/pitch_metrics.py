"""Accuracy of pitch and voicing: the measures of melody extraction (Poliner et al. 2007; Salamon et al. 2014), as mir_eval computes them.

Conventions
-----------
- f0 [Hz] is positive in every frame; whether a frame is voiced is said apart from it. Frames of reference and estimate describe the same
  instants; where one has more of them, the rest is left out.
- An estimate is right within `tolerance_cents` of the reference, the tolerance itself excluded. Chroma folds octaves together.
- Shares of nothing (a reference without a voiced frame) are 0.
"""

from __future__ import annotations

import torch

TOLERANCE_CENTS = 50.0


def raw_pitch_accuracy(reference_hz: torch.Tensor, estimate_hz: torch.Tensor, *, tolerance_cents: float = TOLERANCE_CENTS) -> float:
    """Share of frames whose f0 is within `tolerance_cents` of the reference, octave errors counted as errors (Poliner et al. 2007).

    Parameters
    ----------
    reference_hz, estimate_hz : Tensor [shape=(n_frames,)], > 0
        Voiced frames of the reference, and the estimate in the same frames.
    """
    if not reference_hz.numel():
        return 0.0
    return float((_cents(reference_hz, estimate_hz).abs() < tolerance_cents).double().mean())


def raw_chroma_accuracy(reference_hz: torch.Tensor, estimate_hz: torch.Tensor, *, tolerance_cents: float = TOLERANCE_CENTS) -> float:
    """:func:`raw_pitch_accuracy` with octave errors forgiven; arguments as there."""
    if not reference_hz.numel():
        return 0.0
    cents = _cents(reference_hz, estimate_hz)
    folded = cents - 1200.0 * torch.floor(cents / 1200.0 + 0.5)
    return float((folded.abs() < tolerance_cents).double().mean())


def pitch_error_cents(reference_hz: torch.Tensor, estimate_hz: torch.Tensor) -> float:
    """Median distance of the estimate from the reference [cents], >= 0; frames as for :func:`raw_pitch_accuracy`."""
    return float(_cents(reference_hz, estimate_hz).abs().median()) if reference_hz.numel() else 0.0


def voicing_recall(reference_voiced: torch.Tensor, estimate_voiced: torch.Tensor) -> float:
    """Share of the reference's voiced frames that are voiced in the estimate.

    Parameters
    ----------
    reference_voiced, estimate_voiced : Tensor [shape=(n_frames,)], bool
    """
    return _share(estimate_voiced, reference_voiced)


def voicing_false_alarm(reference_voiced: torch.Tensor, estimate_voiced: torch.Tensor) -> float:
    """Share of the reference's unvoiced frames that are voiced in the estimate: a note where there is none. Arguments as above."""
    return _share(estimate_voiced, ~reference_voiced)


def _cents(reference_hz: torch.Tensor, estimate_hz: torch.Tensor) -> torch.Tensor:
    n_frames = min(len(reference_hz), len(estimate_hz))
    return 1200.0 * torch.log2(estimate_hz[:n_frames].double() / reference_hz[:n_frames].double())


def _share(said: torch.Tensor, where: torch.Tensor) -> float:
    n_frames = min(len(said), len(where))
    said, where = said[:n_frames], where[:n_frames]
    return float(said[where].double().mean()) if bool(where.any()) else 0.0
