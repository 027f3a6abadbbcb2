"""What is in a recording, from audio to numbers in one call: descriptors, notes, tracks, playing techniques."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..audio.files import AudioLike
from ..audio.frames import FrameGrid
from ..controls.controls import extract
from ..pipeline.target import at_rate
from ..pitch.estimators import DEFAULT_TRACKER
from . import descriptors as features
from . import techniques
from .spectral_shape import ROLLOFF_PERCENT
from .techniques import Technique


def describe(audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> dict[str, float]:
    """Timbre descriptors of a recording; see :mod:`tonetransfer.analysis.descriptors`.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
    sample_rate : int, > 0 [Hz]

    Raises
    ------
    AudioError, InstrumentError
    """
    return features.summarize(_analyzed(audio, sample_rate, tracker))


def describe_notes(audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> list[dict[str, float]]:
    """Descriptors of each note of a recording, in order: where it is, envelope, vibrato, tremolo, partials, spectrum.

    Arguments and errors as for :func:`describe`; an empty list where no note is heard.
    """
    return features.notes_of(_analyzed(audio, sample_rate, tracker))


def describe_frames(
    audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER, rolloff_percent: Sequence[float] = ROLLOFF_PERCENT
) -> dict[str, np.ndarray]:
    """Descriptors over time, 100 values a second: `time_s` and all tracks (n_frames,), and the mel spectrogram `mel_db` (n_frames, 96).

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
    sample_rate : int, > 0 [Hz]
    tracker : str
    rolloff_percent : sequence of float, between 0 and 100
        Each has a track of its own, `spectral_rolloff_85_hz`.

    Raises
    ------
    AudioError, InstrumentError, SettingsError
    """
    grid = FrameGrid()
    samples = at_rate(audio, sample_rate, grid.sample_rate)
    return features.describe_frames(samples, extract(samples, grid, tracker=tracker), rolloff_percent=rolloff_percent)


def find_techniques(audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> list[Technique]:
    """Playing techniques of a recording as labelled time spans; see :mod:`tonetransfer.analysis.techniques`.

    Arguments and errors as for :func:`describe`; an empty list where none is heard.
    """
    return techniques.find_techniques(_analyzed(audio, sample_rate, tracker))


def _analyzed(audio: AudioLike, sample_rate: int, tracker: str) -> features.Analysis:
    grid = FrameGrid()
    samples = at_rate(audio, sample_rate, grid.sample_rate)
    return features.analyze_timbre(samples, extract(samples, grid, tracker=tracker))
