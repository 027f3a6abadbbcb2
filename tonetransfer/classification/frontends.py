"""Input features of classifiers: log-mel spectrogram, spectrum, waveform, or descriptors pooled over time.

A frontend has nothing to learn. It takes windows of audio (n_windows, n_samples) and gives features (n_windows, ...); level is divided
out, because how loud a recording is says nothing of who plays.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ..analysis.descriptors import descriptor_tracks
from ..analysis.spectral_shape import spectral_tracks
from ..audio.frames import FrameGrid
from ..audio.stft import magnitudes, mel_filters
from ..controls.controls import extract
from ..errors import SettingsError

FLOOR_DB = 80.0  # below the loudest band of the window
LEVEL_FREE = ("rms_db", "loudness_db")  # what is left out of the descriptors
AUDIBLE_DB = 50.0
LONGEST_WINDOW_S = 30.0
BATCH_SIZE = 64  # windows


class Frontend(nn.Module):
    """Base of all frontends: of windows of `n_samples` at a sample rate [Hz]."""

    bands_db = 0.0  # dB to one unit of the features, if they are levels of bands (n_windows, n_bands, n_frames); 0: they are not
    n_bands: int | None = None  # that the features begin with; None: all of them are bands
    model_options: dict[str, float] = {}  # that a model needs to know of its features, by the names of its options
    cached = True  # cheaper to keep than to compute again

    def __init__(self, sample_rate: int, n_samples: int) -> None:
        super().__init__()
        within("sample_rate", sample_rate, 1000, 192_000)
        within("window_seconds", n_samples / sample_rate, 0.01, LONGEST_WINDOW_S)
        self.sample_rate, self.n_samples = sample_rate, n_samples

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of one window."""
        return tuple(self(torch.zeros(1, self.n_samples)).shape[1:])

    def describe(self) -> dict[str, str]:
        """Facts that a weights file has to state so that the same features come out later."""
        return {}


def within(name: str, value: float, lowest: float, highest: float) -> None:
    """Refuse a size that nobody means: a file from elsewhere might ask for any; raises ValueError."""
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value:g}; {lowest:g} to {highest:g} is wanted")


def _resolution(sample_rate: int, n_fft: int, frame_rate: float) -> tuple[int, int]:
    """Samples of a frame, and from one frame to the next; raises ValueError."""
    within("n_fft", n_fft, 16, 16384)
    within("frame_rate", frame_rate, 1.0, 400.0)
    return n_fft, round(sample_rate / frame_rate)


class LogMel(Frontend):
    """Log-mel spectrogram, 0 dB at its loudest: (n_windows, n_mels, n_frames), -1 to 1; the frame rate is in Hz."""

    bands_db = FLOOR_DB / 2.0
    mel: torch.Tensor

    def __init__(
        self,
        sample_rate: int,
        n_samples: int,
        *,
        n_mels: int = 96,
        n_fft: int = 2048,
        frame_rate: float = 25.0,
        lowest_hz: float = 40.0,
        highest_hz: float = math.inf,
    ) -> None:
        super().__init__(sample_rate, n_samples)
        within("n_mels", n_mels, 1, 512)
        self.n_fft, self.hop_length = _resolution(sample_rate, n_fft, frame_rate)
        highest_hz = min(highest_hz, sample_rate / 2.0)
        self.register_buffer("mel", mel_filters(sample_rate, n_fft, n_mels, lowest_hz, highest_hz).clone(), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        power = magnitudes(audio, self.n_fft, self.hop_length).square().transpose(-1, -2) @ self.mel
        return relative_level(power).transpose(-1, -2)


class Spectrum(Frontend):
    """Power spectrum up to `highest_hz` in the same scale: (n_windows, n_bins, n_frames); for filters that are learned."""

    bands_db = FLOOR_DB / 2.0
    cached = False  # as large as the audio

    def __init__(
        self, sample_rate: int, n_samples: int, *, n_fft: int = 2048, frame_rate: float = 25.0, highest_hz: float = 8000.0
    ) -> None:
        super().__init__(sample_rate, n_samples)
        self.n_fft, self.hop_length = _resolution(sample_rate, n_fft, frame_rate)
        self.model_options = {"highest_hz": highest_hz}
        self.n_bins = min(round(highest_hz / sample_rate * n_fft), n_fft // 2) + 1

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return relative_level(magnitudes(audio, self.n_fft, self.hop_length)[..., : self.n_bins, :].square())


class Waveform(Frontend):
    """The samples themselves, with an RMS of 1/4: (n_windows, n_samples)."""

    cached = False

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return 0.25 * audio / audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-5)


class Descriptors(Frontend):
    """Timbre descriptors (:mod:`tonetransfer.analysis.descriptors`), their mean and deviation over the audible frames: (n_windows, n).

    With `partials` also those that need f0: tristimulus, odd-to-even ratio, noisiness, partial levels. Ten times slower.
    """

    def __init__(self, sample_rate: int, n_samples: int, *, partials: bool = False, hop_length: int = 480) -> None:
        super().__init__(sample_rate, n_samples)
        within("hop_length", hop_length, 16, sample_rate)
        self.grid = FrameGrid(sample_rate, hop_length)
        self.partials = partials

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.from_numpy(self._pool(window)) for window in audio])

    def _pool(self, window: torch.Tensor) -> np.ndarray:
        window = 0.1 * window / window.square().mean().sqrt().clamp(min=1e-5)
        tracks = descriptor_tracks(window, extract(window, self.grid)) if self.partials else spectral_tracks(window.numpy(), self.grid)
        level = tracks["rms_db"]
        audible = level > max(float(level.max()) - AUDIBLE_DB, -80.0)
        kept = [
            np.log2(np.maximum(values[audible], 1.0)) if key.endswith("_hz") else values[audible]  # as frequencies are heard
            for key, values in tracks.items()
            if key not in LEVEL_FREE
        ]
        moments = [(float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0) for values in kept]
        return np.array([number for pair in moments for number in pair], np.float32)


def relative_level(power: torch.Tensor) -> torch.Tensor:
    """Power (n_windows, ...) in dB below the window's largest, from -1 (FLOOR_DB below) to 1."""
    level_db = 10.0 * torch.log10(power.clamp(min=1e-10))
    loudest = level_db.flatten(1).amax(1).clamp(min=-60.0).reshape(-1, *([1] * (power.dim() - 1)))
    return (level_db - loudest).clamp(min=-FLOOR_DB) / (FLOOR_DB / 2.0) + 1.0


def features_of(frontend: Frontend, audio: np.ndarray) -> torch.Tensor:
    """Features of windows (n_windows, n_samples), int16 or float, batch by batch, without gradient.

    SettingsError if they are not finite.
    """
    parts = []
    with torch.inference_mode():
        for first in range(0, len(audio), BATCH_SIZE):
            parts.append(frontend(as_float(audio[first : first + BATCH_SIZE])).float())
    features = torch.cat(parts).clone()
    if not bool(torch.isfinite(features).all()):
        raise SettingsError(f"{type(frontend).__name__} gave features that are not finite; choose another frontend or other audio")
    return features


def as_float(audio: np.ndarray) -> torch.Tensor:
    """Windows as float32 in [-1, 1]."""
    if audio.dtype == np.int16:
        return torch.from_numpy(audio.astype(np.float32) / 32767.0)
    return torch.from_numpy(np.array(audio, np.float32))  # a copy: the caller's view may be read-only
