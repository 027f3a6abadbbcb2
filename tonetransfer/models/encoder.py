"""Recording to timbre vector: who plays, whatever is played."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn

from ..audio.stft import magnitudes, mel_edges_hz, mel_filters

REFERENCE_PEAK = 0.7  # peak of the recordings that it is trained on
N_FFT = 2048
N_MELS = 128
LOWEST_HZ = 40.0
DROPOUT = 0.1
N_PLAYED = 2  # mean pitch, mean loudness
N_ANCHORS = 192  # most timbres whose own ways of telling the pitch are learned
SOFTNESS = 4.0  # variances within a timbre over which z is shared out among them
FLOOR_DB = 80.0  # below the excerpt's own loudest band: quieter than this is the recording, not the instrument


class TimbreEncoder(nn.Module):
    """One z for an excerpt of audio.

    A log-mel spectrogram whose overall level is divided out (how loud the recording is says nothing of who plays; how loud the bands are
    among each other says everything), three strided convolutions over time, then an attention-weighted mean and deviation over the
    frames (Okabe et al. 2018), and mean and deviation of the spectrum itself. There is no recurrence and no position: what is left cannot
    hold a melody.
    Each number of z is normalised to unit variance over the timbres: without it all timbres begin, and long stay, almost in one point.
    In the end what pitch and loudness do to z is estimated, from their own traces in the spectrogram, and taken out.

    Parameters
    ----------
    sample_rate, hop_length : int
        The model's; the encoder looks at every second frame of it.
    z_dim, width : int
    """

    mel: torch.Tensor
    anchors: torch.Tensor
    anchor_known: torch.Tensor
    metric: torch.Tensor

    def __init__(self, sample_rate: int, hop_length: int, z_dim: int, width: int) -> None:
        super().__init__()
        self.hop_length = 2 * hop_length
        self.register_buffer("mel", mel_filters(sample_rate, N_FFT, N_MELS, LOWEST_HZ, sample_rate / 2.0).clone(), persistent=False)
        layers: list[nn.Module] = []
        for n_in, stride in ((N_MELS, 1), (width, 2), (width, 2)):
            layers += [nn.Conv1d(n_in, width, 5, stride, padding=2), nn.GroupNorm(8, width), nn.SiLU()]
        self.frames = nn.Sequential(*layers)
        self.attention = nn.Sequential(nn.Conv1d(width, width // 2, 1), nn.Tanh(), nn.Conv1d(width // 2, width, 1))
        self.project = nn.Sequential(
            *(nn.Dropout(DROPOUT), nn.Linear(2 * width + 2 * N_MELS, width), nn.LayerNorm(width), nn.SiLU()),
            *(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, z_dim)),
        )
        self.skip = nn.Linear(N_MELS, z_dim, bias=False)  # the mean spectrum, past all layers: as it is equalised, so is the instrument
        nn.init.zeros_(self.skip.weight)
        self.spread = nn.BatchNorm1d(z_dim, affine=False, momentum=0.02)  # normalises z; as weights files name it
        self.played = nn.Sequential(
            *(nn.Linear(2 * width + 2 * N_MELS, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()), nn.Linear(width, N_PLAYED)
        )
        self.effect = nn.Sequential(
            *(nn.Linear(z_dim + N_PLAYED, 4 * z_dim), nn.SiLU(), nn.Linear(4 * z_dim, 4 * z_dim), nn.SiLU()),
            nn.Linear(4 * z_dim, z_dim),
        )
        self.register_buffer("anchors", torch.zeros(N_ANCHORS, z_dim))
        self.register_buffer("anchor_known", torch.zeros(N_ANCHORS))
        self.register_buffer("metric", torch.eye(z_dim))
        self.forget_effect()

    def forget_effect(self) -> None:
        """Take nothing out, until :func:`~tonetransfer.training.concept_erasure.erase_played` has learned what is to be taken."""
        last = self.effect[-1]
        assert isinstance(last, nn.Linear)
        for parameters in (last.weight, last.bias):
            nn.init.zeros_(parameters)
        self.played.requires_grad_(False)
        self.effect.requires_grad_(False)

    def who(self, z: torch.Tensor) -> torch.Tensor:
        """The timbres of the corpus that z may be one of, in their mean: (batch, z_dim), without what is particular to an excerpt."""
        distance = torch.cdist(z @ self.metric, self.anchors @ self.metric).square()
        return torch.softmax(-distance / (2.0 * SOFTNESS) - 1e4 * (1.0 - self.anchor_known), dim=-1) @ self.anchors

    def mel_db(self, audio: torch.Tensor) -> torch.Tensor:
        """Mel spectrogram in dB, not normalised: (batch, n_samples) -> (batch, N_MELS, n_frames)."""
        with torch.autocast(audio.device.type, enabled=False):
            power = magnitudes(audio, N_FFT, self.hop_length).square().transpose(-1, -2) @ self.mel
        return 10.0 * torch.log10(power.clamp(min=1e-10)).transpose(-1, -2)

    def log_mel(self, audio: torch.Tensor) -> torch.Tensor:
        """Level-free log-mel spectrogram: (batch, n_samples) -> (batch, N_MELS, n_frames), about -1 to 1."""
        return level_free(self.mel_db(audio))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Timbre (batch, z_dim) of excerpts (batch, n_samples) at the model's sample rate."""
        return self.encode_mel(self.log_mel(audio))

    def encode_mel(self, mel: torch.Tensor) -> torch.Tensor:
        """Timbre of a level-free log-mel spectrogram: (batch, N_MELS, n_frames) -> (batch, z_dim)."""
        z, pooled = self.pool(mel)
        return z - self.effect(torch.cat([self.who(z), self.played(pooled)], dim=-1))

    def pool(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Timbre before what is played is taken out of it (batch, z_dim), and the statistics it is read from (batch, n_statistics)."""
        h = self.frames(mel)  # (batch, width, n_frames / 4)
        loudest = mel.amax(dim=1, keepdim=True).clamp(max=0.0)
        sounding = nn.functional.adaptive_avg_pool1d(loudest, h.shape[-1])
        mean, deviation = _statistics(h, torch.softmax(self.attention(h) + 4.0 * sounding, dim=-1))  # near-silent frames hardly count
        spectrum, movement = _statistics(mel, torch.softmax(4.0 * loudest, dim=-1))
        pooled = torch.cat([mean, deviation, spectrum, movement], dim=-1)
        return self.spread((self.project(pooled) + self.skip(spectrum)).float()), pooled.float()

    def checksum(self) -> str:
        """Checksum of the parameters, sixteen hexadecimal digits: by it figures and classifiers name the encoder that they are of."""
        state = self.state_dict()
        return hashlib.sha256(b"".join(state[name].float().numpy().tobytes() for name in sorted(state))).hexdigest()[:16]

    @torch.no_grad()
    def transform(self, matrix: torch.Tensor) -> None:
        """Put a linear map (z_dim, z_dim) behind :meth:`pool`, as it is outside of training, by folding it into the last layers."""
        last, skip, spread = self.project[-1], self.skip, self.spread
        assert isinstance(last, nn.Linear) and spread.running_mean is not None and spread.running_var is not None
        whole = matrix.double() * (spread.running_var.double() + spread.eps).rsqrt()
        last.bias.copy_(whole @ (last.bias.double() - spread.running_mean.double()))
        last.weight.copy_(whole @ last.weight.double())
        skip.weight.copy_(whole @ skip.weight.double())
        spread.running_mean.zero_()
        spread.running_var.fill_(1.0 - spread.eps)


def level_free(mel_db: torch.Tensor) -> torch.Tensor:
    """A mel spectrogram (batch, n_mels, n_frames) in dB, re its loudest band, from -1 (:data:`FLOOR_DB` below it) to 1."""
    loudest = mel_db.flatten(1).amax(dim=1)[:, None, None]
    return (mel_db - loudest).clamp(min=-FLOOR_DB) / (FLOOR_DB / 2) + 1.0


def mel_centres_hz(sample_rate: int) -> np.ndarray:
    """Centres of the encoder's bands [Hz], shape (N_MELS,)."""
    return mel_edges_hz(N_MELS, LOWEST_HZ, sample_rate / 2.0)[1:-1]


def _statistics(values: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean and deviation over the last axis; weights sum to 1."""
    mean = (weight * values).sum(-1)
    return mean, (weight * (values - mean[..., None]).square()).sum(-1).clamp(min=1e-6).sqrt()
