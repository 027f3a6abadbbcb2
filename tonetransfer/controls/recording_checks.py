"""Checks of a recording that is to be a reference for a timbre, and what to expect of a bad one."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from ..audio.units import hz_to_midi
from ..errors import ToneTransferWarning
from .controls import Controls
from .polyphony import POLYPHONIC_SHARE, voices_share

SHORTEST_S = 1.0  # notes that a reference holds at least
CLIPPED_RUN = 4  # neighbouring samples at the very same extreme: a converter or an editor at its limit
CLIPPED_SHARE = 1e-3  # share of all samples
FLAT = 2e-5  # times the peak: equal, but for rounding
STEADY_S, STEADY_SEMITONES = 0.15, 0.5
STEADY_SHARE = 0.2  # measured: a speaker 0.13, singers and instruments 0.38 and more
VOICED_SHARE = 0.85  # of what is audible; a speaker 0.73, singers and instruments 0.89 and more
AUDIBLE_DB = 40.0  # below the loudest


def warn_about_reference(audio: torch.Tensor, heard: Controls) -> None:
    """Warn if a reference (n_samples,), at the rate of its controls' grid, will not make a good likeness."""
    seconds = float(heard.note_frames().sum()) / heard.grid.frame_rate
    if seconds < SHORTEST_S:
        _warn(f"the reference holds {seconds:.1f} s of notes; a good likeness takes {SHORTEST_S:.0f} s or more of one instrument")
    if voices_share(audio, heard) > POLYPHONIC_SHARE:
        _warn("several notes sound at once in the reference; a good likeness takes one instrument playing one note at a time")
    if sounds_spoken(heard):
        _warn("the reference sounds like speech; the tone of the voice is taken from it, not the words: sung or played notes do better")


def warn_if_clipped(audio: torch.Tensor) -> None:
    """Warn if a reference (n_samples,), at the rate at which it was recorded, is cut off at its peaks."""
    if (share := clipped_share(audio)) > CLIPPED_SHARE:
        _warn(f"the reference is clipped ({100 * share:.1f} % of its samples); the likeness will be as harsh: record it at a lower level")


def warn_if_same() -> None:
    """Say what comes of a source that is its own reference."""
    _warn("the reference is the source itself; this plays it again on its own timbre, and only shows what the model makes of it")


def clipped_share(audio: torch.Tensor) -> float:
    """Share of samples in runs of four or more at the recording's highest or lowest value, in [0, 1]; resampling hides them."""
    samples = audio.numpy()
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak:
        return 0.0
    extreme = np.abs(samples) >= (1.0 - FLAT) * peak
    edges = np.flatnonzero(np.diff(np.concatenate([[0], extreme.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(samples))


def sounds_spoken(controls: Controls) -> bool:
    """Test whether controls (n_frames,) look like speech: the pitch hardly ever holds, and much of what is heard has none.

    One of the two alone is music: fast passages and trills, or consonants and breath.
    """
    notes = controls.note_frames().numpy()
    loud = controls.loudness_db.numpy()
    audible = loud > loud.max() - AUDIBLE_DB
    length = round(STEADY_S * controls.grid.frame_rate)
    if notes.sum() < SHORTEST_S * controls.grid.frame_rate or len(notes) < length:
        return False
    midi = np.lib.stride_tricks.sliding_window_view(hz_to_midi(controls.f0_hz.double()).numpy(), length)
    whole = np.lib.stride_tricks.sliding_window_view(notes, length).all(axis=-1)
    if not whole.any() or (notes & audible).sum() >= VOICED_SHARE * audible.sum():
        return False
    return bool((np.ptp(midi[whole], axis=-1) < STEADY_SEMITONES).mean() < STEADY_SHARE)


def _warn(message: str) -> None:
    warnings.warn(message, ToneTransferWarning, stacklevel=4)
