"""One recording against another: every metric that needs no model, in one mapping, and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from ..analysis.descriptors import describe_controls
from ..audio.files import AudioLike, resample
from ..audio.frames import FrameGrid
from ..audio.stft import audible_log_spectral_distance_db, log_spectral_distance_db
from ..controls.controls import Controls, extract
from ..pitch.estimators import DEFAULT_TRACKER
from . import metrics
from .performance_metrics import high_frequency_failures_hz, transient_failures_db

SILENT_DB = -90.0  # loudness: nothing that could be compared


@dataclass(frozen=True)
class Metric:
    """Name of a metric, and its meaning for somebody who has not met it."""

    key: str
    name: str
    unit: str
    better: Literal["lower", "higher"]
    group: Literal["Spectrum", "Failures", "Pitch", "Loudness", "Timbre"]
    meaning: str


METRICS = (
    Metric("lsd60_db", "LSD-60", "dB", "lower", "Spectrum",
           "Distance of the spectra in what can be heard: within 60 dB of the loudest."),
    Metric("lsd_db", "LSD", "dB", "lower", "Spectrum",
           "Log-spectral distance over the full band and all frames, silence and noise floor too."),
    Metric("multi_scale_spectral_distance", "Multi-scale spectral distance", "", "lower", "Spectrum",
           "Linear and logarithmic difference of spectra over six FFT sizes; a common training loss."),
    Metric("mel_cepstral_distortion_db", "Mel-cepstral distortion", "dB", "lower", "Spectrum",
           "Distance of the coarse shapes of the spectra; level and single partials do not count."),
    Metric("added_high_frequency_hz", "High frequencies added", "Hz", "lower", "Failures",
           "How far the 95 % roll-off lies above the reference's, where it does: hiss."),
    Metric("lost_high_frequency_hz", "High frequencies lost", "Hz", "lower", "Failures",
           "How far the 95 % roll-off lies below the reference's, where it does: dullness."),
    Metric("added_transients_db", "Attacks added", "dB", "lower", "Failures",
           "How much stronger attacks are than at the same place in the reference: clicks."),
    Metric("lost_transients_db", "Attacks lost", "dB", "lower", "Failures",
           "How much weaker the reference's attacks came out: smeared note beginnings."),
    Metric("raw_pitch_accuracy", "Raw pitch accuracy", "", "higher", "Pitch",
           "Share of the reference's note frames whose f0 is within 50 cents."),
    Metric("raw_chroma_accuracy", "Raw chroma accuracy", "", "higher", "Pitch",
           "The same, octave errors forgiven."),
    Metric("pitch_error_cents", "Pitch error", "cents", "lower", "Pitch",
           "Median distance of f0 where both play a note."),
    Metric("voicing_recall", "Voicing recall", "", "higher", "Pitch",
           "Share of the reference's note frames in which a note is heard."),
    Metric("voicing_false_alarm", "Voicing false alarm", "", "lower", "Pitch",
           "Share of the frames between notes in which a note is heard nevertheless."),
    Metric("loudness_error_db", "Loudness error", "dB", "lower", "Loudness",
           "Mean distance of A-weighted loudness in note frames."),
    Metric("loudness_contour_error_db", "Loudness contour error", "dB", "lower", "Loudness",
           "The same with the mean difference taken out: are the swells kept?"),
    Metric("centroid_error_octaves", "Spectral centroid", "octaves", "lower", "Timbre",
           "Distance of the median brightness."),
    Metric("harmonic_to_noise_error_db", "Harmonic-to-noise ratio", "dB", "lower", "Timbre",
           "Distance of the median share of breath, bow and hiss."),
    Metric("odd_to_even_error_db", "Odd-to-even ratio", "dB", "lower", "Timbre",
           "Distance of the median balance of odd and even partials: hollow or full."),
    Metric("spectral_slope_error_db_per_octave", "Spectral slope", "dB per octave", "lower", "Timbre",
           "Distance of the median fall of partials."),
    Metric("attack_error_log10_s", "Log attack time", "log10 s", "lower", "Timbre",
           "Distance of the mean log attack time; 0.3 is a factor of two."),
    Metric("vibrato_extent_error_cents", "Vibrato extent", "cents", "lower", "Timbre",
           "Distance of the mean extent of vibrato."),
    Metric("embedding_distance", "Embedding distance", "", "lower", "Timbre",
           "Cosine distance of the timbre vectors z: 0 the same, 1 unrelated, 2 opposite."),
    Metric("classifier_success", "Classifier success", "", "higher", "Timbre",
           "Share in which an instrument classifier hears the instrument that was wanted."),
    Metric("classifier_probability", "Classifier probability", "", "higher", "Timbre",
           "How sure the classifier is of the instrument that was wanted."),
)  # fmt: skip

DESCRIPTOR_ERRORS = {  # metric: descriptor
    "harmonic_to_noise_error_db": "harmonic_to_noise_ratio_db",
    "odd_to_even_error_db": "odd_to_even_ratio_db",
    "spectral_slope_error_db_per_octave": "spectral_slope_db_per_octave",
    "attack_error_log10_s": "log_attack_time_log10_s",
    "vibrato_extent_error_cents": "vibrato_extent_cents",
}


@dataclass(frozen=True)
class HeardRecording:
    """A recording and what is played in it."""

    audio: torch.Tensor  # (n_samples,), at the rate of its controls
    controls: Controls

    @cached_property
    def notes(self) -> torch.Tensor:
        """Frames of notes, (n_frames,), bool."""
        return self.controls.note_frames()

    @cached_property
    def described(self) -> dict[str, float]:
        """Timbre descriptors."""
        return describe_controls(self.audio, self.controls)

    @property
    def silent(self) -> bool:
        """True if nothing can be heard."""
        return float(self.controls.loudness_db.max()) <= SILENT_DB


def track_recording(audio: AudioLike, sample_rate: int, grid: FrameGrid | None = None, *, tracker: str = DEFAULT_TRACKER) -> HeardRecording:
    """Track a recording (n_samples,) at `sample_rate` [Hz] on a grid; None: the usual one, 48 kHz."""
    grid = grid or FrameGrid()
    samples = resample(audio, sample_rate, grid.sample_rate)
    return HeardRecording(samples, extract(samples, grid, tracker=tracker))


def compare(reference: AudioLike, estimate: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> dict[str, float]:
    """All metrics of :data:`METRICS` that need neither a model nor a classifier.

    Parameters
    ----------
    reference, estimate : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        The same performance; nothing is aligned or brought to one level, and the longer one is cut. The spectral distances are meant
        for 48 kHz, to which both are resampled, and for a reference with a peak of 0.7.
    sample_rate : int, > 0 [Hz]
        Of both.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Returns
    -------
    dict of float
        All finite. A metric that has no meaning is not there: of pitch, say, where the reference has no note.

    Raises
    ------
    AudioError
        Something is not audio.
    InstrumentError
        There is no such tracker.

    References
    ----------
    .. [1] J. Engel, L. Hantrakul, C. Gu and A. Roberts, "DDSP: Differentiable Digital Signal Processing", ICLR 2020: the multi-scale
       spectral distance.
    .. [2] R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", PACRIM 1993.
    .. [3] G. E. Poliner et al., "Melody transcription from music audio: Approaches and evaluation", IEEE TASLP 15(4), 2007.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> reference, estimate = (0.3 * np.sin(2 * np.pi * f0_hz * t) for f0_hz in (440.0, 445.0))
    >>> round(tt.compare(reference, estimate, 48000)["pitch_error_cents"])
    20
    """
    return compare_heard(*(track_recording(one, sample_rate, tracker=tracker) for one in (reference, estimate)))


def compare_heard(reference: HeardRecording, estimate: HeardRecording) -> dict[str, float]:
    """:func:`compare` of recordings that have been tracked on the same grid."""
    rate = reference.controls.grid.sample_rate
    x, y = reference.audio, estimate.audio
    found = {
        "lsd60_db": audible_log_spectral_distance_db(x, y),
        "lsd_db": log_spectral_distance_db(x, y),
        "multi_scale_spectral_distance": metrics.multi_scale_spectral_distance(x, y),
        "mel_cepstral_distortion_db": metrics.mel_cepstral_distortion_db(x, y, rate),
    }
    if not (reference.silent or estimate.silent):
        found["added_high_frequency_hz"], found["lost_high_frequency_hz"] = high_frequency_failures_hz(x, y, rate)
    if not reference.silent:
        found["added_transients_db"], found["lost_transients_db"] = transient_failures_db(x, y, rate)
    return (
        found | compare_played(reference.controls, reference.notes, estimate) | compare_described(reference.described, estimate.described)
    )


def compare_played(reference: Controls, notes: torch.Tensor, estimate: HeardRecording) -> dict[str, float]:
    """Metrics of pitch and loudness; empty where there is no note.

    `reference` is what was played, or what was to be played, and `notes` (n_frames,) its note frames.
    """
    n_frames = min(reference.n_frames, estimate.controls.n_frames)
    notes, heard = notes[:n_frames], estimate.notes[:n_frames]
    if not bool(notes.any()):
        return {}
    f0_hz = (reference.f0_hz[:n_frames], estimate.controls.f0_hz[:n_frames])
    loudness = [one.loudness_db[:n_frames][notes] for one in (reference, estimate.controls)]
    found = {
        "raw_pitch_accuracy": metrics.raw_pitch_accuracy(*(one[notes] for one in f0_hz)),
        "raw_chroma_accuracy": metrics.raw_chroma_accuracy(*(one[notes] for one in f0_hz)),
        "voicing_recall": metrics.voicing_recall(notes, heard),
        "loudness_error_db": metrics.loudness_error_db(*loudness),
        "loudness_contour_error_db": metrics.loudness_contour_error_db(*loudness),
    }
    if bool((notes & heard).any()):
        found["pitch_error_cents"] = metrics.pitch_error_cents(*(one[notes & heard] for one in f0_hz))
    if not bool(notes.all()):
        found["voicing_false_alarm"] = metrics.voicing_false_alarm(notes, heard)
    return found


def compare_described(reference: Mapping[str, float], estimate: Mapping[str, float]) -> dict[str, float]:
    """Distances of descriptors, as :func:`~.descriptors.describe_controls` gives them; empty where one has no notes."""
    if not (reference["note_count"] and estimate["note_count"]):
        return {}
    centroids = [max(one["spectral_centroid_hz"], 1.0) for one in (reference, estimate)]
    found = {"centroid_error_octaves": abs(float(np.log2(centroids[1] / centroids[0])))}
    return found | {key: abs(estimate[name] - reference[name]) for key, name in DESCRIPTOR_ERRORS.items()}
