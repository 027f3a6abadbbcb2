"""Distances of two recordings.

Each metric is one function; conventions are fixed here so that figures can be compared between systems. References come first, as in
mir_eval. Nothing is aligned, and no level is adjusted: a delay or a gain counts. The longer of two recordings is cut.

* Log-spectral distance (LSD): |STFT| with a Hann window of 2048 and a hop of 512 samples, 20 log10(|STFT| + 1e-3); the RMS of the
  difference over bins, averaged over frames. Meant for 48 kHz audio with a peak of 0.7.
* LSD-60: the RMS of the difference in dB over those bins, of all frames, where either signal is within 60 dB of the reference's largest
  magnitude, both floored 80 dB below it: what can be heard, without the room's noise floor. No peak or level is adjusted.
* Multi-scale spectral distance (Engel et al. 2020): mean |X - Y| + mean |ln X - ln Y|, averaged over FFT sizes 4096 to 128 with a quarter
  of the size as hop, magnitudes scaled by sqrt(2048 / size), the logarithm floored at 1e-3. For 48 kHz and a peak of 0.7 as well.
* Mel-cepstral distortion (Kubichek 1993) of 13 coefficients, without that of the level; spectra as for LSD-60, each floored 80 dB below
  its own largest magnitude; means over 80 mel bands (Slaney) up to Nyquist. It is the RMS difference of two smooth spectra in dB,
  averaged over the frames in which either is within 60 dB of its largest.
* Pitch and voicing (melody extraction: Poliner et al. 2007; Salamon et al. 2014), as mir_eval computes them. f0 [Hz] is positive in every
  frame; whether a frame is voiced is said apart from it. Frames of both describe the same instants; where one has more of them, the rest
  is left out. An estimate is right within `tolerance_cents`, the tolerance itself excluded; chroma folds octaves together. Shares of
  nothing (a reference without a voiced frame) are 0.
* Added and lost high frequencies and attacks: :mod:`tonetransfer.evaluation.artifact_metrics`. Embeddings:
  :mod:`tonetransfer.evaluation.embedding_metrics`. All can be imported from here.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch

from ..audio.stft import HOP_LENGTH, N_FFT, audible_log_spectral_distance_db, log_spectral_distance_db, magnitudes, mel_filters, same_length
from ..training.losses import spectral_loss
from .artifact_metrics import (
    added_high_frequency_hz,
    added_transients_db,
    high_frequency_failures_hz,
    lost_high_frequency_hz,
    lost_transients_db,
    transient_failures_db,
)
from .embedding_metrics import embedding_distance, frechet_distance

__all__ = [
    "added_high_frequency_hz",
    "added_transients_db",
    "audible_log_spectral_distance_db",
    "embedding_distance",
    "frechet_distance",
    "high_frequency_failures_hz",
    "log_spectral_distance_db",
    "loudness_contour_error_db",
    "loudness_error_db",
    "lost_high_frequency_hz",
    "lost_transients_db",
    "mel_cepstral_distortion_db",
    "multi_scale_spectral_distance",
    "pitch_error_cents",
    "raw_chroma_accuracy",
    "raw_pitch_accuracy",
    "transient_failures_db",
    "voicing_false_alarm",
    "voicing_recall",
]
N_MELS, N_CEPSTRA, LOWEST_MEL_HZ = 80, 13, 40.0
TOLERANCE_CENTS = 50.0


def multi_scale_spectral_distance(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """Multi-scale spectral distance, without a unit; the longer one is cut.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
    """
    x, y = same_length(reference, estimate)
    return float(spectral_loss(y[None], x[None]))


def mel_cepstral_distortion_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Mel-cepstral distortion [dB]: how far the coarse shapes of the spectra are apart; a gain alone is no distance.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
        The longer one is cut; 0 is given where nothing can be heard.
    sample_rate : int [Hz]
    """
    x, y = (magnitudes(a, N_FFT, HOP_LENGTH) for a in same_length(reference, estimate))
    largest = [magnitude.max().clamp(min=1e-9) for magnitude in (x, y)]
    audible = torch.maximum(x.amax(dim=0) / largest[0], y.amax(dim=0) / largest[1]) >= 1e-3
    if not bool(audible.any()):
        return 0.0
    filters = mel_filters(sample_rate, N_FFT, N_MELS, LOWEST_MEL_HZ, sample_rate / 2.0)
    share = filters / filters.sum(0).clamp(min=1e-9)  # each band is a mean of bins, whatever its width
    bands = [(share.T @ magnitude[:, audible] / top).clamp(min=1e-4) for magnitude, top in zip((x, y), largest, strict=True)]
    levels = [20.0 * torch.log10(band.double()) for band in bands]
    cepstra = scipy.fft.dct((levels[0] - levels[1]).numpy(), axis=0, norm="ortho")[1 : N_CEPSTRA + 1]
    return float(np.sqrt((cepstra**2).sum(0) / N_MELS).mean())


def loudness_error_db(reference_db: torch.Tensor, estimate_db: torch.Tensor) -> float:
    """Mean distance of loudness [dB]; 0 where there is no frame.

    Parameters
    ----------
    reference_db, estimate_db : Tensor [shape=(n_frames,)]
        In the frames that count: those of the reference's notes, say.
    """
    difference = estimate_db.double() - reference_db.double()
    return float(difference.abs().mean()) if difference.numel() else 0.0


def loudness_contour_error_db(reference_db: torch.Tensor, estimate_db: torch.Tensor) -> float:
    """:func:`loudness_error_db` after the mean difference is taken out: are the swells kept, whatever the level? Arguments as there."""
    difference = estimate_db.double() - reference_db.double()
    return float((difference - difference.mean()).abs().mean()) if difference.numel() else 0.0


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
