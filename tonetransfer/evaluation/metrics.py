"""Distances of two recordings, and the uncertainty of their means.

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
* Embeddings: the cosine distance of timbre vectors, and the Fréchet distance of two sets of them.

Added and lost high frequencies and attacks, and what makes playing lively: :mod:`tonetransfer.evaluation.performance_metrics`.

Intervals are those of the percentile bootstrap (Efron and Tibshirani, 1993), repeatable, with a count. What was made from one recording is
not independent: values can be given groups, and then whole groups are drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from ..audio.stft import HOP_LENGTH, N_FFT, magnitudes, mel_filters, same_length
from ..errors import SettingsError, check_number
from ..training.losses import spectral_loss

N_MELS, N_CEPSTRA, LOWEST_MEL_HZ = 80, 13, 40.0
TOLERANCE_CENTS = 50.0
N_SIZES, DRAWS_PER_SIZE = 8, 6
SMALLEST_SHARE = 0.4  # smallest part of a set to extrapolate from
ROUNDING = 1e-10  # of the sets' total variance and squared means
N_RESAMPLES = 2000


def multi_scale_spectral_distance(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """Multi-scale spectral distance of two recordings (n_samples,), without a unit; the longer one is cut."""
    x, y = same_length(reference, estimate)
    return float(spectral_loss(y[None], x[None]))


def mel_cepstral_distortion_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Mel-cepstral distortion [dB]: how far the coarse shapes of the spectra are apart; a gain alone is no distance.

    Of recordings (n_samples,); the longer one is cut, and 0 is given where nothing can be heard.
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
    """Mean distance of loudness [dB] in the frames (n,) that count, those of the reference's notes, say; 0 where there is none."""
    difference = estimate_db.double() - reference_db.double()
    return float(difference.abs().mean()) if difference.numel() else 0.0


def loudness_contour_error_db(reference_db: torch.Tensor, estimate_db: torch.Tensor) -> float:
    """:func:`loudness_error_db` after the mean difference is taken out: are the swells kept, whatever the level? Arguments as there."""
    difference = estimate_db.double() - reference_db.double()
    return float((difference - difference.mean()).abs().mean()) if difference.numel() else 0.0


def raw_pitch_accuracy(reference_hz: torch.Tensor, estimate_hz: torch.Tensor, *, tolerance_cents: float = TOLERANCE_CENTS) -> float:
    """Share of the reference's voiced frames (n,) whose f0 is within `tolerance_cents`, octave errors counted as errors (Poliner 2007)."""
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
    """Share of the reference's voiced frames that are voiced in the estimate, (n_frames,) each."""
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


@dataclass(frozen=True)
class Extrapolation:
    """A Fréchet distance as it is, and without the bias of small sets."""

    distance: float
    extrapolated: float | None  # to sets without end; None where the smallest part would have fewer vectors than dimensions
    n_reference: int
    n_estimate: int
    n_dimensions: int


def embedding_distance(reference: torch.Tensor, estimate: torch.Tensor, mean: torch.Tensor | None = None) -> float:
    """Cosine distance of two embeddings (n,): 0 the same direction, 1 unrelated, 2 opposite.

    Directions are taken from `mean` (n,), what all embeddings have in common.
    """
    x, y = (one.double() - (0.0 if mean is None else mean.double()) for one in (reference, estimate))
    return float((1.0 - torch.nn.functional.cosine_similarity(x, y, dim=0)).clamp(min=0.0, max=2.0))


def frechet_distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Fréchet distance of two sets of embeddings.

    Parameters
    ----------
    reference, estimate : ndarray [shape=(n, n_dimensions)], finite
        Two or more vectors each; the sets may differ in size.

    Returns
    -------
    float, >= 0
        0 for identical sets, in any order. Biased upwards for small ones: see the module's docstring.

    Raises
    ------
    SettingsError
        Shapes that do not fit, fewer than two vectors, or values that are not finite.

    References
    ----------
    .. [1] D. C. Dowson and B. V. Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate Anal. 12(3),
       1982.
    .. [2] K. Kilgour, M. Zuluaga, D. Roblek and M. Sharifi, "Fréchet Audio Distance", Interspeech 2019.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).standard_normal((100, 4))
    >>> tt.frechet_distance(vectors, vectors)
    0.0
    >>> round(tt.frechet_distance(vectors, vectors + 1.0), 6)  # the squared distance of the means
    4.0
    """
    x, y = _checked(reference, "reference"), _checked(estimate, "estimate")
    if x.shape[1] != y.shape[1]:
        raise SettingsError(f"embeddings of {x.shape[1]} and of {y.shape[1]} numbers came; both sets must be of one embedding")
    mean_x, mean_y = x.mean(0), y.mean(0)
    half_x, half_y = ((z - mean) / np.sqrt(len(z) - 1) for z, mean in ((x, mean_x), (y, mean_y)))
    cross = np.linalg.svd(_square(half_x) @ _square(half_y).T, compute_uv=False).sum()
    variance = (half_x**2).sum() + (half_y**2).sum()
    distance = float(((mean_x - mean_y) ** 2).sum() + variance - 2.0 * cross)
    scale = float(variance + (mean_x**2).sum() + (mean_y**2).sum())
    return distance if distance > ROUNDING * scale else 0.0


def extrapolate_frechet(reference: np.ndarray, estimate: np.ndarray, *, seed: int = 0) -> Extrapolation:
    """:func:`frechet_distance`, and what it would be with sets without end.

    The distance is measured on random parts of both sets, from 40 % of them to all, and a line over 1 / n is followed to 0.
    """
    distance = frechet_distance(reference, estimate)
    x, y = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    extrapolated = None
    if SMALLEST_SHARE * min(len(x), len(y)) >= x.shape[1]:
        extrapolated = 0.0 if distance == 0.0 else _follow_to_zero(x, y, np.random.default_rng(seed))
    return Extrapolation(distance, extrapolated, len(x), len(y), x.shape[1])


def _follow_to_zero(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    inverse, distances = [], []
    for share in np.linspace(SMALLEST_SHARE, 1.0, N_SIZES):
        for _ in range(1 if share == 1.0 else DRAWS_PER_SIZE):
            parts = [z[rng.choice(len(z), max(round(share * len(z)), 2), replace=False)] for z in (x, y)]
            inverse.append(1.0 / len(parts[0]) + 1.0 / len(parts[1]))
            distances.append(frechet_distance(*parts))
    slope, intercept = np.polyfit(inverse, distances, 1)
    return max(float(intercept), 0.0)


def _checked(vectors: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(vectors, np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise SettingsError(f"{name} has the shape {values.shape}; (n, n_dimensions) with two or more finite vectors is wanted")
    return values


def _square(half: np.ndarray) -> np.ndarray:
    """A factor of the same covariance with no more rows than columns, so that its cost does not grow with the set."""
    return np.asarray(np.linalg.qr(half, mode="r")) if len(half) > half.shape[1] else half


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie, had other examples been drawn."""

    mean: float
    low: float  # as high as `mean`, like `high`, where there is one group only: nothing is known then
    high: float
    count: int  # values
    groups: int  # that are independent


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Mean of some values and its percentile bootstrap interval.

    Parameters
    ----------
    values : sequence of float or ndarray [shape=(n,)], n > 0, finite
        Of a metric, in its unit.
    groups : sequence [shape=(n,)] or None
        Values of the same group are drawn together (the cluster bootstrap); None: each value is drawn by itself.
    seed : int, >= 0
        Of the draws.
    n_resamples : int, > 0
        Draws.
    confidence : float, in (0, 1)
        Share of the draws whose mean lies in the interval.

    Returns
    -------
    Interval
        In the unit of the values.

    Raises
    ------
    SettingsError
        No values, values that are not finite, or groups of another length.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993.

    Examples
    --------
    >>> interval = tt.bootstrap_interval([1.0, 2.0, 3.0, 4.0], groups=["a", "a", "b", "b"])
    >>> interval.mean, interval.low, interval.high, interval.groups
    (2.5, 1.5, 3.5, 2)
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise SettingsError(f"values of the shape {given.shape} came; one or more finite numbers in a row are wanted")
    if groups is not None and len(groups) != len(given):
        raise SettingsError(f"{len(given)} values and {len(groups)} groups came; each value needs its group")
    if not 0.0 < confidence < 1.0:
        raise SettingsError(f"confidence is {confidence}; a number between 0 and 1 is wanted")
    check_number("n_resamples", n_resamples, 1, np.inf, "a whole number from 1", whole=True)
    _, which = np.unique([repr(one) for one in groups] if groups is not None else np.arange(len(given)), return_inverse=True)
    sums, counts = np.bincount(which, weights=given), np.bincount(which)
    mean, n_groups = float(given.mean()), len(sums)
    if n_groups == 1:
        return Interval(mean, mean, mean, len(given), 1)
    drawn = np.random.default_rng(seed).integers(0, n_groups, (n_resamples, n_groups))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.5 - confidence / 2, 0.5 + confidence / 2))
    return Interval(mean, float(low), float(high), len(given), n_groups)
