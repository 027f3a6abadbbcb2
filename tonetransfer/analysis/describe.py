"""Description of a recording, from audio to numbers in one call: descriptors, notes, tracks, playing techniques."""

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
from .spectral_shape import ROLLOFF_PERCENT, mel_tracks
from .techniques import Technique


def describe(audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> dict[str, float]:
    """Timbre descriptors of a recording; see :mod:`tonetransfer.analysis.descriptors`.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        One voice or instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Returns
    -------
    dict of float
        All finite; always the same keys in the same order. Keys end in their unit.

    Raises
    ------
    AudioError
        The recording is not audio.
    InstrumentError
        There is no such tracker.

    References
    ----------
    .. [1] G. Peeters, B. L. Giordano, P. Susini, N. Misdariis and S. McAdams, "The Timbre Toolbox: Extracting audio descriptors
       from musical signals", JASA 130(5), 2011.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> f0_hz = 440 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * t))
    >>> audio = 0.3 * np.sin(2 * np.pi * np.cumsum(f0_hz) / 48000)
    >>> described = tt.describe(audio, 48000)
    >>> described["note_count"], round(described["vibrato_rate_hz"], 1)
    (1.0, 5.5)
    """
    return features.summarize(_analyzed(audio, sample_rate, tracker))


def describe_notes(audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> list[dict[str, float]]:
    """Descriptors of each note of a recording: place, envelope, vibrato, tremolo, partials, spectrum.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        One voice or instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Returns
    -------
    list of dict of float
        In order; empty where no note is heard. Keys end in their unit.

    Raises
    ------
    AudioError
        The recording is not audio.
    InstrumentError
        There is no such tracker.

    References
    ----------
    .. [1] G. Peeters, B. L. Giordano, P. Susini, N. Misdariis and S. McAdams, "The Timbre Toolbox: Extracting audio descriptors
       from musical signals", JASA 130(5), 2011.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> f0_hz = 440 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * t))
    >>> audio = 0.3 * np.sin(2 * np.pi * np.cumsum(f0_hz) / 48000)
    >>> (note,) = tt.describe_notes(audio, 48000)
    >>> round(note["f0_midi"]), round(note["vibrato_extent_cents"], -1)
    (69, 50.0)
    """
    return features.notes_of(_analyzed(audio, sample_rate, tracker))


def describe_frames(
    audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER, rolloff_percent: Sequence[float] = ROLLOFF_PERCENT
) -> dict[str, np.ndarray]:
    """Descriptors over time, 100 values a second.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        One voice or instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.
    rolloff_percent : sequence of float, in (0, 100)
        Each has a track of its own, `spectral_rolloff_85_hz`.

    Returns
    -------
    dict of ndarray [shape=(n_frames,)]
        `time_s` and all tracks; and the mel spectrogram `mel_db` [shape=(n_frames, 96)].

    Raises
    ------
    AudioError
        The recording is not audio.
    InstrumentError
        There is no such tracker.
    SettingsError
        A percentage is out of its range.

    References
    ----------
    .. [1] G. Peeters, B. L. Giordano, P. Susini, N. Misdariis and S. McAdams, "The Timbre Toolbox: Extracting audio descriptors
       from musical signals", JASA 130(5), 2011.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> tracks = tt.describe_frames(0.3 * np.sin(2 * np.pi * 1000 * t), 48000)
    >>> tracks["mel_db"].shape, bool(abs(np.median(tracks["spectral_centroid_hz"]) - 1000) < 20)
    ((100, 96), True)
    """
    analysis = _analyzed(audio, sample_rate, tracker, rolloff_percent)
    times_s = analysis.grid.times(analysis.controls.n_frames)
    return {"time_s": times_s} | features.tracks_of(analysis) | mel_tracks(analysis.audio, analysis.grid)


def find_techniques(audio: AudioLike, sample_rate: int, *, tracker: str = DEFAULT_TRACKER) -> list[Technique]:
    """Playing techniques of a recording as labelled time spans; see :mod:`tonetransfer.analysis.techniques`.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        One voice or instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Returns
    -------
    list of Technique
        In order; empty where none is heard.

    Raises
    ------
    AudioError
        The recording is not audio.
    InstrumentError
        There is no such tracker.

    References
    ----------
    .. [1] Y.-P. Chen, L. Su and Y.-H. Yang, "Electric guitar playing technique detection in real-world recordings based on F0 sequence
       pattern recognition", ISMIR 2015.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> f0_hz = 440 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * t))
    >>> audio = 0.3 * np.sin(2 * np.pi * np.cumsum(f0_hz) / 48000)
    >>> [technique.name for technique in tt.find_techniques(audio, 48000)]
    ['vibrato']
    """
    return techniques.find_techniques(_analyzed(audio, sample_rate, tracker))


def _analyzed(audio: AudioLike, sample_rate: int, tracker: str, rolloff_percent: Sequence[float] = ROLLOFF_PERCENT) -> features.Analysis:
    grid = FrameGrid()
    samples = at_rate(audio, sample_rate, grid.sample_rate)
    return features.analyze_timbre(samples, extract(samples, grid, tracker=tracker), rolloff_percent=rolloff_percent)
