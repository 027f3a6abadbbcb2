"""Units into units: hertz and MIDI numbers, decibels and linear amplitude.

Every function takes a number, a NumPy array or a Tensor and returns the same kind.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch

Value = TypeVar("Value", float, np.ndarray, torch.Tensor)

A4_HZ = 440.0
A4_MIDI = 69.0
SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")  # to be typed
PRINTED = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


def hz_to_midi(f0_hz: Value) -> Value:
    """Frequency [Hz], > 0, to MIDI note number (fractional; 69 = 440 Hz)."""
    return 12.0 * (_log2(f0_hz) - math.log2(A4_HZ)) + A4_MIDI


def midi_to_hz(midi: Value) -> Value:
    """MIDI note number (fractional) to frequency [Hz]."""
    return A4_HZ * 2.0 ** ((midi - A4_MIDI) / 12.0)


def note_name(midi: float, names: tuple[str, ...] = SHARPS) -> str:
    """Name of the nearest note, with the twelve names that are given: 60 is C4."""
    nearest = round(midi)
    return f"{names[nearest % 12]}{nearest // 12 - 1}"


def db_to_amplitude(level_db: Value) -> Value:
    """Level [dB re 1.0] to linear amplitude."""
    return 10.0 ** (level_db / 20.0)


def amplitude_to_db(amplitude: Value, floor_db: float = -120.0) -> Value:
    """Linear amplitude, >= 0, to level [dB re 1.0], never below `floor_db`."""
    lowest = 10.0 ** (floor_db / 20.0)
    if isinstance(amplitude, torch.Tensor):
        return 20.0 * torch.log10(amplitude.clamp(min=lowest))
    if isinstance(amplitude, np.ndarray):
        return 20.0 * np.log10(np.maximum(amplitude, lowest))
    return 20.0 * math.log10(max(amplitude, lowest))


def hz_to_erb(frequency_hz: Value) -> Value:
    """Frequency [Hz] to ERB-rate number (Glasberg and Moore, 1990)."""
    return 21.4 * (_log2(1.0 + 0.00437 * frequency_hz) / math.log2(10.0))


def erb_to_hz(erb: Value) -> Value:
    """ERB-rate number to frequency [Hz]; the inverse of :func:`hz_to_erb`."""
    return (10.0 ** (erb / 21.4) - 1.0) / 0.00437


def _log2(value: Value) -> Value:
    if isinstance(value, torch.Tensor):
        return torch.log2(value)
    return np.log2(value) if isinstance(value, np.ndarray) else math.log2(value)
