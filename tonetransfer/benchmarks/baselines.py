"""Other programs that do parts of what this one does, each as a function of audio, to be measured beside it.

Pitch trackers as they come; WORLD's analysis and synthesis; and the synthesizer that is written first by everyone who reads of DDSP. They
are imported when they are measured; what is not installed is left out.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..pitch.autocorrelation import HOP_LENGTH, SAMPLE_RATE
from ..pitch.estimators import find_tracker

Run = Callable[[np.ndarray], object]


class Peer(NamedTuple):
    """Something to be measured."""

    name: str
    kind: str
    sample_rate: int  # Hz
    seconds: float  # of sound: what takes long is measured with less
    make: Callable[[], Run]


class PlainSynthesis(nn.Module):
    """Decoder and synthesizer of DDSP (Engel et al. 2020) in the plainest PyTorch: the baseline.

    Two small networks, a GRU of 512, a dense network; 100 harmonics, upsampled and summed sample by sample; noise through 65 bands.
    """

    def __init__(self, sample_rate: int, hop_length: int, width: int = 512, n_harmonics: int = 100, n_bands: int = 65) -> None:
        super().__init__()
        self.sample_rate, self.hop_length, self.n_harmonics = sample_rate, hop_length, n_harmonics
        self.inputs = nn.ModuleList([_dense(1, width), _dense(1, width)])
        self.memory = nn.GRU(2 * width, width, batch_first=True)
        self.output = _dense(width + 2, width)
        self.head = nn.Linear(width, 1 + n_harmonics + n_bands)

    def forward(self, f0_hz: torch.Tensor, loudness: torch.Tensor) -> torch.Tensor:
        """f0 [Hz] and loudness, (batch, n_frames, 1), to audio (batch, n_frames * hop_length)."""
        hop, n_frames = self.hop_length, f0_hz.shape[1]
        h = torch.cat([layer(x) for layer, x in zip(self.inputs, (f0_hz / 1000.0, loudness), strict=True)], dim=-1)
        h = self.output(torch.cat([self.memory(h)[0], f0_hz / 1000.0, loudness], dim=-1))
        raw = 2.0 * torch.sigmoid(self.head(h)) ** math.log(10.0) + 1e-7
        numbers = torch.arange(1, self.n_harmonics + 1)
        amplitudes = raw[..., 1 : self.n_harmonics + 1] * (f0_hz * numbers < self.sample_rate / 2)
        amplitudes = raw[..., :1] * amplitudes / amplitudes.sum(-1, keepdim=True)
        a, f = (
            nn.functional.interpolate(x.transpose(1, 2), size=n_frames * hop, mode="linear").transpose(1, 2) for x in (amplitudes, f0_hz)
        )
        phase = torch.cumsum(2 * math.pi * f / self.sample_rate, dim=1)
        tonal = (a * torch.sin(phase * numbers)).sum(-1)
        filters = torch.fft.irfft(raw[..., self.n_harmonics + 1 :])
        white = torch.rand(*filters.shape[:2], hop) * 2 - 1
        n_fft = hop + filters.shape[-1]
        noise = torch.fft.irfft(torch.fft.rfft(white, n=n_fft) * torch.fft.rfft(filters, n=n_fft), n=n_fft)[..., :hop]
        return tonal + noise.flatten(1)


def _dense(n_in: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(3):
        layers += [nn.Linear(n_in if i == 0 else width, width), nn.LayerNorm(width), nn.LeakyReLU()]
    return nn.Sequential(*layers)


def _tracker(name: str) -> Run:
    estimate = find_tracker(name).estimate
    return lambda audio: estimate(audio, len(audio) // HOP_LENGTH)


def _pesto() -> Run:
    import pesto

    model = pesto.load_model("mir-1k_g7", step_size=10.0, sampling_rate=SAMPLE_RATE)

    def run(audio: np.ndarray) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(audio)[None], convert_to_freq=True)

    return run


def _fcpe() -> Run:
    import torchfcpe

    with contextlib.redirect_stdout(sys.stderr):  # it tells of its settings; stdout is for results
        model = torchfcpe.spawn_bundled_infer_model(device="cpu")

    def run(audio: np.ndarray) -> object:
        with torch.inference_mode():
            return model.infer(torch.from_numpy(audio)[None, :, None], sr=SAMPLE_RATE, decoder_mode="local_argmax", threshold=0.006)

    return run


def _world() -> Run:
    import pyworld

    def run(audio: np.ndarray) -> object:
        sound = audio.astype(np.float64)
        f0_hz, envelope, aperiodicity = pyworld.wav2world(sound, 48000, frame_period=10.0)
        return pyworld.synthesize(f0_hz, envelope, aperiodicity, 48000, frame_period=10.0)

    return run


def _plain(sample_rate: int, hop_length: int) -> Run:
    torch.manual_seed(0)
    model = PlainSynthesis(sample_rate, hop_length).eval()

    def run(audio: np.ndarray) -> object:
        n_frames = len(audio) // hop_length
        with torch.inference_mode():
            return model(torch.full((1, n_frames, 1), 440.0), torch.zeros(1, n_frames, 1))

    return run


PEERS = (
    Peer("swift-f0", "tracker", SAMPLE_RATE, 20.0, lambda: _tracker("swift")),
    Peer("torchcrepe tiny", "tracker", SAMPLE_RATE, 4.0, lambda: _tracker("crepe")),
    Peer("torchcrepe full", "tracker", SAMPLE_RATE, 1.0, lambda: _tracker("crepe-full")),
    Peer("librosa pYIN", "tracker", SAMPLE_RATE, 4.0, lambda: _tracker("pyin")),
    Peer("pesto", "tracker", SAMPLE_RATE, 10.0, _pesto),
    Peer("torchfcpe", "tracker", SAMPLE_RATE, 10.0, _fcpe),
    Peer("WORLD, analysis and synthesis", "vocoder", 48000, 5.0, _world),
    Peer("plain DDSP, decode + render", "baseline", 48000, 4.0, lambda: _plain(48000, 480)),
    Peer("plain DDSP, decode + render", "baseline", 16000, 8.0, lambda: _plain(16000, 160)),
)
