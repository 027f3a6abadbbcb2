"""Timbre descriptors of a monophonic recording: numbers with names and units.

Two kinds. *Tracks* have a value in each frame of the grid (:func:`tracks_of`); *note descriptors* have one for each note, and
hold the median of each track over the note's frames besides (:func:`notes_of`). :func:`describe_controls` condenses both to one
number each for the whole recording.

Decisions
---------
- A track is condensed to its median and its interquartile range (`_iqr_`), as in the Timbre Toolbox: the first and last frames of
  notes, where there is little to measure, then do no harm. Spectral tracks count in the frames that can be heard, within 50 dB of
  the loudest and above -80 dB; tracks that need partials count in the frames of notes, and are 0 in others.
- Note descriptors are means over the notes, with three exceptions. Attack, decay and release: over the notes that have one (a
  slurred note has no attack). Vibrato and tremolo: over the notes that have it, weighted with the time it lasts.
  Inharmonicity: the median.
- **What is not there reads 0**: no vibrato, rate and extent 0; no note (silence, noise, a click), `note_count` 0 and everything
  about notes 0. Levels of silence read -120 dB. No value is ever NaN or infinite.
- Keys end in their unit; those without one are ratios or counts.

Formulas: Peeters, Giordano, Susini, Misdariis and McAdams, "The Timbre Toolbox", JASA 130(5), 2011, unless a function says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..audio.files import AudioLike, DiskArray, LongAudio, Samples, check_audio
from ..audio.frames import FrameGrid
from ..audio.units import hz_to_midi
from ..controls.controls import Controls
from ..errors import ControlsError, SettingsError
from .envelope import ENVELOPE_RATE, Adsr, Modulation, amplitude_envelope, find_adsr, find_modulation, temporal_centroid_s, window_s
from .notes import Note, close_gaps, find_notes
from .partials import (
    Partials,
    find_partials,
    inharmonicity,
    odd_to_even_ratio_db,
    partials_db,
    spectral_slope_db_per_octave,
    swing_response,
    tristimulus,
)
from .spectral_shape import ROLLOFF_PERCENT, onset_strength_db, spectral_tracks

N_PARTIALS_SHOWN = 10
AUDIBLE_DB = 50.0  # below the loudest frame
QUIETEST_DB = -80.0
EDGE_S, LONGEST_EDGE_S = 0.03, 0.15  # parts of a note where f0 and level still settle
LEAST_VIBRATO_CENTS = 5.0
LEAST_TREMOLO_DB = 0.5
AT_ONCE = 20_000  # frames

UNITS = ("hz", "midi", "db", "db_per_octave", "cents", "semitones", "s", "log10_s")


@dataclass(frozen=True)
class Analysis:
    """A recording taken apart once, for tracks, notes and pictures alike."""

    audio: Samples  # (n_samples,)
    controls: Controls
    partials: Partials
    notes: list[Note]
    in_note: np.ndarray  # (n_frames,), bool
    audible: np.ndarray  # (n_frames,), bool
    rolloff_percent: tuple[float, ...] = ROLLOFF_PERCENT

    @property
    def grid(self) -> FrameGrid:
        return self.controls.grid

    @cached_property
    def harmonic(self) -> dict[str, np.ndarray]:
        """Tracks that need partials, each (n_frames,); 0 outside of notes."""
        return _harmonic_tracks(self)

    @cached_property
    def spectral(self) -> dict[str, np.ndarray]:
        """Tracks of the spectrum, each (n_frames,)."""
        return spectral_tracks(self.audio, self.grid, rolloff_percent=self.rolloff_percent)

    @cached_property
    def onset_strength_db(self) -> np.ndarray:
        """Mean rise of the mel bands, (n_frames,)."""
        return onset_strength_db(self.audio, self.grid)

    @cached_property
    def described(self) -> list[dict[str, float]]:
        """Descriptors of each note."""
        return [describe_note(self, number) for number in range(len(self.notes))]


def analyze_timbre(audio: AudioLike | LongAudio, controls: Controls, *, rolloff_percent: Sequence[float] = ROLLOFF_PERCENT) -> Analysis:
    """Find notes and partials of a recording.

    `audio` (n_samples,) is at the rate of the controls that were extracted from it; each of `rolloff_percent`, between 0 and 100, becomes a
    descriptor. What is not audio, controls of another length and other percentages raise AudioError, ControlsError, SettingsError.
    """
    if wrong := [percent for percent in rolloff_percent if not 0.0 < percent < 100.0]:
        raise SettingsError(f"a roll-off of {wrong[0]:g} %; a share of the spectrum between 0 and 100 % is wanted, for example 85")
    grid = controls.grid
    samples = DiskArray(audio) if isinstance(audio, LongAudio) else check_audio(audio, grid.sample_rate).numpy()
    wanted = (grid.n_frames(len(samples)),)
    if tuple(controls.f0_hz.shape) != wanted:
        raise ControlsError(
            f"controls have the shape {tuple(controls.f0_hz.shape)}, the audio asks for {wanted}: extract them from this audio"
        )
    loudness = controls.loudness_db.numpy()
    audible = loudness > max(QUIETEST_DB, float(loudness.max()) - AUDIBLE_DB)
    sounding = close_gaps(controls.note_frames().numpy(), grid.frame_rate)
    partials = find_partials(samples, controls.f0_hz.double().numpy(), grid, where=sounding)
    notes = find_notes(partials.f0_hz, partials.level_db, sounding, grid.frame_rate)
    in_note = np.zeros(wanted, bool)
    for note in notes:
        in_note[note.frames] = True
    return Analysis(samples, controls, partials, notes, in_note, audible, tuple(rolloff_percent))


def describe_controls(audio: AudioLike, controls: Controls) -> dict[str, float]:
    """Timbre descriptors of a recording whose controls are known.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        At ``controls.grid.sample_rate``.
    controls : Controls [shape=(n_frames,)]
        Of the audio, as :func:`tonetransfer.analyze` returns them.

    Returns
    -------
    dict of float
        All finite; always the same keys in the same order. See the module's docstring for what is averaged over what.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls are not those of the audio.

    References
    ----------
    .. [1] G. Peeters, B. L. Giordano, P. Susini, N. Misdariis and S. McAdams, "The Timbre Toolbox: Extracting audio descriptors
       from musical signals", JASA 130(5), 2011.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> audio = 0.3 * np.sin(2 * np.pi * 440 * t)
    >>> described = tt.describe_controls(audio, tt.analyze(audio, 48000, tt.load_model()))
    >>> round(described["f0_mean_hz"])
    440
    """
    return summarize(analyze_timbre(audio, controls))


def descriptor_tracks(audio: AudioLike, controls: Controls) -> dict[str, np.ndarray]:
    """Descriptors over time of a recording whose controls are known.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        At ``controls.grid.sample_rate``.
    controls : Controls [shape=(n_frames,)]
        Of the audio, as :func:`tonetransfer.analyze` returns them.

    Returns
    -------
    dict of ndarray [shape=(n_frames,)]
        All finite. Keys end in their unit.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls are not those of the audio.

    References
    ----------
    .. [1] G. Peeters, B. L. Giordano, P. Susini, N. Misdariis and S. McAdams, "The Timbre Toolbox: Extracting audio descriptors
       from musical signals", JASA 130(5), 2011.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> audio = 0.3 * np.sin(2 * np.pi * 440 * t)
    >>> tracks = tt.descriptor_tracks(audio, tt.analyze(audio, 48000, tt.load_model()))
    >>> tracks["f0_hz"].shape
    (100,)
    """
    return tracks_of(analyze_timbre(audio, controls))


def notes_of(analysis: Analysis) -> list[dict[str, float]]:
    """Each note's own descriptors, in order, and the medians of the tracks in it, all finite, of a recording that has been analysed."""
    tracks = analysis.harmonic | analysis.spectral | {"onset_strength_db": analysis.onset_strength_db}
    return [
        described | {key: float(np.median(values[note.frames])) for key, values in tracks.items()}
        for note, described in zip(analysis.notes, analysis.described, strict=True)
    ]


def summarize(analysis: Analysis) -> dict[str, float]:
    """:func:`describe_controls` of a recording that has been analysed."""
    described = {"duration_s": len(analysis.audio) / analysis.grid.sample_rate}
    described |= _summarize_notes(analysis.described) | _summarize_performance(analysis, analysis.described)
    spectral = analysis.spectral | {"onset_strength_db": analysis.onset_strength_db}
    for tracks, frames in ((analysis.harmonic, analysis.in_note), (spectral, analysis.audible)):
        for key, values in tracks.items():
            low, middle, high = np.quantile(values[frames], (0.25, 0.5, 0.75)) if frames.any() else (0.0, 0.0, 0.0)
            described |= {key: float(middle), _iqr_key(key): float(high - low)}
    if not analysis.audible.any():
        described["rms_db"] = -120.0
    return described


def tracks_of(analysis: Analysis) -> dict[str, np.ndarray]:
    """:func:`descriptor_tracks` of a recording that has been analysed."""
    f0 = {"f0_hz": analysis.partials.f0_hz, "loudness_db": analysis.controls.loudness_db.numpy()}
    return f0 | analysis.harmonic | analysis.spectral


def describe_note(analysis: Analysis, number: int) -> dict[str, float]:
    """Descriptors of one note of a recording that has been analysed."""
    note, rate = analysis.notes[number], analysis.grid.frame_rate
    f0_hz = float(np.exp2(np.median(np.log2(analysis.partials.f0_hz[note.frames]))))
    envelope, first_s = note_envelope(analysis, number)
    adsr = find_adsr(envelope, smoothing_s=window_s(f0_hz))
    vibrato, tremolo = _vibrato(analysis, note, f0_hz), _tremolo(analysis, note, f0_hz, adsr)
    return {
        "start_s": note.start / rate,
        "duration_s": (note.stop - note.start) / rate,
        "f0_hz": f0_hz,
        "f0_midi": hz_to_midi(f0_hz),
        "loudness_db": float(analysis.controls.loudness_db[note.frames].mean()),
        "onset_s": first_s + adsr.onset_s,
        "attack_s": adsr.attack_s,
        "log_attack_time_log10_s": adsr.log_attack_time,
        "decay_s": adsr.decay_s,
        "sustain_s": adsr.sustain_s,
        "sustain_db": adsr.sustain_db,
        "release_s": adsr.release_s,
        "temporal_centroid_s": temporal_centroid_s(envelope, adsr.onset_s),
        "vibrato_rate_hz": vibrato.rate_hz,
        "vibrato_extent_cents": vibrato.extent,
        "vibrato_onset_s": vibrato.onset_s,
        "vibrato_end_s": vibrato.end_s,
        "vibrato_duration_s": vibrato.duration_s,
        "tremolo_rate_hz": tremolo.rate_hz,
        "tremolo_depth_db": tremolo.extent,
        "tremolo_onset_s": tremolo.onset_s,
        "tremolo_end_s": tremolo.end_s,
        "tremolo_duration_s": tremolo.duration_s,
        "inharmonicity_coefficient": inharmonicity(analysis.partials.stretch[note.frames], analysis.partials.amplitudes[note.frames]),
    }


def note_envelope(analysis: Analysis, number: int) -> tuple[np.ndarray, float]:
    """Envelope (n,) of one note, 1000 values a second, with silence before (to 0.1 s) and after it (to 0.5 s), and where it begins [s]."""
    notes, grid = analysis.notes, analysis.grid
    note = notes[number]
    earliest = _quietest(analysis, notes[number - 1].stop, note.start) if number > 0 else 0
    latest = _quietest(analysis, note.stop, notes[number + 1].start) if number + 1 < len(notes) else len(analysis.in_note)
    first = max(earliest, note.start - round(0.1 * grid.frame_rate))
    last = min(latest, note.stop + round(0.5 * grid.frame_rate))
    f0_hz = float(np.median(analysis.partials.f0_hz[note.frames]))
    around = math.ceil(window_s(f0_hz) * grid.frame_rate)  # frames, so that the smoothing meets its neighbours' sound and not silence
    context = max(first - around, 0)
    envelope = amplitude_envelope(analysis.audio[grid.n_samples(context) : grid.n_samples(last + around)], grid.sample_rate, f0_hz)
    begin, end = (round((frame - context) / grid.frame_rate * ENVELOPE_RATE) for frame in (first, last))
    return envelope[begin:end], first / grid.frame_rate


def _quietest(analysis: Analysis, start: int, stop: int) -> int:
    """The quietest frame between two notes, where one gives way to the other."""
    return start + int(analysis.controls.loudness_db[start : stop + 1].argmin()) if stop > start else start


def _vibrato(analysis: Analysis, note: Note, f0_hz: float) -> Modulation:
    edge = round(EDGE_S * analysis.grid.frame_rate)
    cents = 1200.0 * np.log2(analysis.partials.f0_hz[note.frames] / f0_hz)
    return _modulation(cents, edge, edge, analysis.grid, f0_hz, least=LEAST_VIBRATO_CENTS, squared=False)


def _tremolo(analysis: Analysis, note: Note, f0_hz: float, adsr: Adsr) -> Modulation:
    """Of the level between attack and release, which are steep and would pass for part of a swing."""
    parts_s = np.clip([adsr.attack_s, adsr.release_s], EDGE_S, LONGEST_EDGE_S)
    first, last = (round(float(part_s) * analysis.grid.frame_rate) + 1 for part_s in parts_s)
    return _modulation(analysis.partials.level_db[note.frames], first, last, analysis.grid, f0_hz, least=LEAST_TREMOLO_DB, squared=True)


def _modulation(contour: np.ndarray, first: int, last: int, grid: FrameGrid, f0_hz: float, *, least: float, squared: bool) -> Modulation:
    """The swing of one note without its first and last frames, with what the window took from it given back."""
    body = contour[first : max(len(contour) - last, first)]
    found = find_modulation(body, grid.frame_rate, least_extent=least)
    if not found.extent:
        return found
    first_s = first / grid.frame_rate
    extent = found.extent / swing_response(found.rate_hz, f0_hz, squared=squared)
    return replace(found, extent=extent, onset_s=found.onset_s + first_s if found.onset_s else 0.0, end_s=found.end_s + first_s)


def _summarize_notes(notes: list[dict[str, float]]) -> dict[str, float]:
    described = {"note_count": float(len(notes))}
    for key in ("attack_s", "decay_s", "release_s"):
        described[key] = _mean([note[key] for note in notes if note[key] > 0])
    attacks = [note["log_attack_time_log10_s"] for note in notes if note["attack_s"] > 0]
    described["log_attack_time_log10_s"] = _mean(attacks) if attacks or not notes else -3.0
    for key in ("sustain_s", "sustain_db", "temporal_centroid_s"):
        described[key] = _mean([note[key] for note in notes])
    described["note_duration_s"] = _mean([note["duration_s"] for note in notes])
    described["inharmonicity_coefficient"] = float(np.median([note["inharmonicity_coefficient"] for note in notes])) if notes else 0.0
    return described | _summarize_swing(notes, "vibrato", "extent_cents") | _summarize_swing(notes, "tremolo", "depth_db")


def _summarize_swing(notes: list[dict[str, float]], name: str, size: str) -> dict[str, float]:
    weights = np.array([note[f"{name}_duration_s"] for note in notes])
    keys = [f"{name}_rate_hz", f"{name}_{size}"] + (["vibrato_onset_s"] if name == "vibrato" else [])
    swinging = float(weights.sum())
    described = {key: float(np.average([note[key] for note in notes], weights=weights)) if swinging > 0 else 0.0 for key in keys}
    total_s = sum(note["duration_s"] for note in notes)
    described[f"{name}_share"] = min(swinging / total_s, 1.0) if total_s else 0.0
    return described


def _summarize_performance(analysis: Analysis, notes: list[dict[str, float]]) -> dict[str, float]:
    loudness, frames = analysis.controls.loudness_db.numpy(), analysis.in_note
    pitches = [note["f0_midi"] for note in notes] or [0.0]
    f0_midi = _mean(hz_to_midi(analysis.partials.f0_hz[frames]))
    heard = loudness[frames] if frames.any() else loudness[analysis.audible]
    return {
        "f0_mean_hz": _mean(analysis.partials.f0_hz[frames]),
        "f0_mean_midi": f0_midi,
        "lowest_note_midi": min(pitches),
        "highest_note_midi": max(pitches),
        "pitch_range_semitones": max(pitches) - min(pitches),
        "loudness_mean_db": float(heard.mean()) if len(heard) else -120.0,
        "loudness_range_db": float(np.subtract(*np.quantile(heard, [0.95, 0.05]))) if len(heard) else 0.0,
        "note_share": float(frames.mean()),
    }


def _harmonic_tracks(analysis: Analysis) -> dict[str, np.ndarray]:
    partials = analysis.partials
    parts = [_tracks_of_partials(partials.amplitudes[first : first + AT_ONCE]) for first in range(0, len(analysis.in_note), AT_ONCE)]
    tracks = {"harmonic_to_noise_ratio_db": partials.harmonic_to_noise_ratio_db}
    tracks |= {key: np.concatenate([part.pop(key) for part in parts]) for key in list(parts[0])}
    return {key: np.where(analysis.in_note, values, np.float32(0)) for key, values in tracks.items()}


def _tracks_of_partials(amplitudes: np.ndarray) -> dict[str, np.ndarray]:
    """Tracks of some frames, of the amplitudes of their partials (n_frames, n_partials)."""
    stimulus, levels = tristimulus(amplitudes), partials_db(amplitudes)
    tracks = {
        "odd_to_even_ratio_db": odd_to_even_ratio_db(amplitudes),
        "spectral_slope_db_per_octave": spectral_slope_db_per_octave(amplitudes),
    }
    tracks |= {f"tristimulus_{k + 1}": stimulus[:, k] for k in range(3)}
    tracks |= {f"partial_{k + 1:02d}_db": levels[:, k] for k in range(N_PARTIALS_SHOWN)}
    return {key: values.astype(np.float32) for key, values in tracks.items()}


def _mean(values: np.ndarray | list[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _iqr_key(key: str) -> str:
    """`spectral_centroid_hz` to `spectral_centroid_iqr_hz`: the unit stays last."""
    for unit in sorted(UNITS, key=len, reverse=True):
        if key.endswith(f"_{unit}"):
            return f"{key.removesuffix(unit)}iqr_{unit}"
    return f"{key}_iqr"
