"""Pulses of low notes: each period of a bassoon, a horn or a double bass is heard as a beat of its own, and is where it was in the source.

Below some 150 Hz a period lasts as long as an attack. A synthesizer whose phase goes on from note to note plays the beats of a note up to
half a period too early or too late; mixed with the recording, that is heard. So the phase is set right where a note begins.
"""

from __future__ import annotations

import numpy as np
import torch

from ..audio.files import AudioLike, LongAudio
from ..audio.frames import FrameGrid
from ..controls.controls import Controls
from ..controls.recording_checks import check_recording
from ..pitch.f0_refinement import notes_of_one_pitch

HIGHEST_HZ = 150.0  # f0 of notes whose pulses are heard one by one
HEARD_S, SHORTEST_FRAMES = 0.3, 8  # of a note that is listened to, from its beginning on; and of a note that is
FIRST_PARTIAL, LOWEST_BAND_HZ, HIGHEST_BAND_HZ = 4.0, 200.0, 4000.0  # of the band whose envelope beats
EDGE_S = 0.1  # beyond the note on either side, for the filter
LEAST_BEAT = 0.1  # of the envelope, re its mean: where it beats less, there are no pulses
RAMP = np.array([0.25, 0.5, 0.25])  # over frames, of a step of phase
LOWEST_SHIFTED_HZ = 20.0


def find_pulses(audio: AudioLike | LongAudio, heard: Controls) -> torch.Tensor | None:
    """Find a pulse of each low note of a recording.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
        At the rate of its controls' grid.
    heard : Controls [shape=(n_frames,)]
        What is played in it.

    Returns
    -------
    Tensor [shape=(n_frames,), dtype=float64] [s], or None
        In each frame of a note below 150 Hz the time of one of its pulses, near its beginning; elsewhere NaN. None: there is no such note.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording.

    See Also
    --------
    arrange : Takes the pulses.

    Examples
    --------
    >>> t = torch.arange(48000) / 48000
    >>> audio = 0.1 * sum(torch.cos(2 * torch.pi * 80 * k * (t - 0.005)) for k in range(1, 30))  # beats at 5 ms, and every 12.5 ms
    >>> pulses = tt.find_pulses(audio, tt.analyze(audio, 48000, tt.load_model()))
    >>> round(float((pulses[50] - 0.005) * 80) % 1, 1) % 1  # periods between it and one of them
    0.0
    """
    audio, grid = check_recording(audio, heard), heard.grid
    f0_hz, notes = heard.f0_hz.double().numpy(), heard.note_frames().numpy()
    found = np.full(len(f0_hz), np.nan)
    cycles = _cycles(f0_hz, grid)
    for first, last in notes_of_one_pitch(f0_hz, notes, SHORTEST_FRAMES):
        note_hz = float(np.median(f0_hz[first:last]))
        if note_hz >= HIGHEST_HZ:
            continue
        heard_to = min(last, first + round(HEARD_S * grid.frame_rate))
        envelope = _envelope(audio, first * grid.hop_length, heard_to * grid.hop_length, note_hz, grid)
        phase = np.interp(np.arange(len(envelope)) / grid.hop_length + first, np.arange(len(cycles)), cycles)
        beat = np.mean(envelope * np.exp(-2j * np.pi * phase)) / max(envelope.mean(), 1e-12)
        if abs(beat) > LEAST_BEAT:
            middle = phase[len(phase) // 2]  # and the next instant at which the envelope is the largest
            wanted = middle + (-np.angle(beat) / (2.0 * np.pi) - middle) % 1.0
            found[first:last] = np.interp(wanted, phase, np.arange(len(phase))) / grid.sample_rate + first / grid.frame_rate
    return None if np.isnan(found).all() else torch.from_numpy(found)


def pulse_shift_hz(pulses: torch.Tensor, f0_hz: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """Change of the synthesizer's f0 (n_frames,) [Hz] with which the pulses of low notes come at given times (n_frames,) [s].

    It lasts some frames where a note begins, and moves the phase by half a period at most.
    """
    times, cycles = pulses.numpy(), _cycles(f0_hz.double().numpy(), grid)
    offset, shift = np.zeros(len(times)), 0.0
    begins = np.flatnonzero(~np.isnan(times) & (times != np.concatenate([[np.nan], times[:-1]])))
    for first in begins:
        at_pulse = np.interp(times[first] * grid.frame_rate, np.arange(len(cycles)), cycles)
        shift += (0.5 - at_pulse - shift) % 1.0 - 0.5  # to a whole number of cycles, by the shorter way
        offset[max(first, len(RAMP) - 1) :] = shift  # a track begins at phase 0: the step takes frames there as well
    ramp = np.convolve(np.pad(offset, 1, mode="edge"), RAMP, "valid")
    change_hz = np.gradient(ramp) * grid.frame_rate if len(ramp) > 1 else np.zeros(len(ramp))
    return torch.maximum(torch.from_numpy(change_hz).to(f0_hz), LOWEST_SHIFTED_HZ - f0_hz).where(torch.from_numpy(change_hz != 0.0), 0.0)


def _cycles(f0_hz: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """Phase of a synthesizer at the instants of frames [cycles], (n_frames,): f0 goes straight from one to the next."""
    return np.concatenate([[0.0], np.cumsum(0.5 * (f0_hz[1:] + f0_hz[:-1]))]) / grid.frame_rate


def _envelope(audio: torch.Tensor | LongAudio, first: int, last: int, f0_hz: float, grid: FrameGrid) -> np.ndarray:
    """Envelope (n_samples,) of the upper partials of a note between two samples."""
    from scipy.signal import butter, hilbert, sosfiltfilt

    edge = round(EDGE_S * grid.sample_rate)
    begin = max(first - edge, 0)
    piece = audio[begin : last + edge].double().numpy()
    band = butter(2, [max(FIRST_PARTIAL * f0_hz, LOWEST_BAND_HZ), HIGHEST_BAND_HZ], btype="band", fs=grid.sample_rate, output="sos")
    return np.abs(hilbert(sosfiltfilt(band, piece)))[first - begin : last - begin]
