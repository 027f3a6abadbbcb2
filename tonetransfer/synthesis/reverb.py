"""Rooms: the one that an instrument was recorded in, learned beside it and left out at will, and a made-up hall.

A learned room belongs to one instrument, never to several: a room that is shared takes up what they have in common, and their timbres with
it. The direct sound always passes with gain 1; a response holds only what comes after it.
A stream is convolved block by block, in equal parts of the response, without latency of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, pairwise, tee

import numpy as np
import scipy.fft
import torch
from torch import nn

from ..audio.stft import band_interpolation
from ..errors import AudioError
from .render import white_noise

N_BANDS = 12
DECAY_S = 0.4  # reverberation time (60 dB) that learning begins with
SHORTEST_S, LONGEST_S = 0.05, 3.0
LEVEL_DB = -36.0  # of all that the room adds, re the direct sound, at the beginning
FIRST_S = 0.002  # before which nothing comes back from a wall
HALL_FIRST_S = 0.012  # until the first reflection
HALL_S = 1.6
HALL_DECAY_AT_HZ = (0.0, 500.0, 2000.0, 6000.0, 24000.0)
HALL_DECAY_S = (1.3, 1.3, 1.0, 0.6, 0.25)  # to fall by 60 dB: air takes the treble
HALL_BANDS = 12
HALL_SEED = 1  # one hall, always the same
FADE_S = 0.02  # fade of the tail where the recording ends


class Room(nn.Module):
    """A room that can be learned: noise in bands, each with a level and a decay of its own (Moorer 1979).

    Two numbers a band are found from little material, where a free impulse response would learn the phrases by heart; and it dies away
    whatever is learned.
    """

    bands: torch.Tensor
    seconds: torch.Tensor

    def __init__(self, seconds: float, sample_rate: int) -> None:
        super().__init__()
        n_taps = round(seconds * sample_rate)
        time_s = torch.arange(n_taps) / sample_rate
        self.register_buffer("seconds", time_s, persistent=False)
        self.register_buffer("bands", _noise_in_bands(n_taps, sample_rate), persistent=False)
        start_db = LEVEL_DB - 10.0 * math.log10(sum(_energy(self.bands, time_s, DECAY_S)))
        self.level_db = nn.Parameter(torch.full((N_BANDS,), start_db))
        self.decay = nn.Parameter(torch.full((N_BANDS,), math.log(DECAY_S)))

    def response(self) -> torch.Tensor:
        """Impulse response without the direct sound, shape (n_taps,)."""
        decay_s = self.decay.exp().clamp(SHORTEST_S, LONGEST_S)
        envelope = torch.exp(-6.9 * self.seconds / decay_s[:, None])
        gain = 10.0 ** (self.level_db / 20.0)
        return (gain[:, None] * envelope * self.bands).sum(0) * (self.seconds >= FIRST_S)


def _noise_in_bands(n_taps: int, sample_rate: int) -> torch.Tensor:
    """White noise of unit variance, split into bands whose sum it is, shape (N_BANDS, n_taps)."""
    n_fft = n_taps + n_taps % 2
    white = np.random.default_rng(0).standard_normal(n_fft).astype(np.float32)
    spectrum = torch.fft.rfft(torch.from_numpy(white))
    return torch.fft.irfft(spectrum * band_interpolation(N_BANDS, n_fft, sample_rate), n=n_fft)[:, :n_taps]


def _energy(bands: torch.Tensor, time_s: torch.Tensor, decay_s: float) -> list[float]:
    return (bands * torch.exp(-6.9 * time_s / decay_s)).square().sum(-1).tolist()


def reverberate(audio: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """Sound (..., n_samples) in a room, as long as it was; what rings on is cut.

    The response (n_taps,) is that without the direct sound.
    """
    return audio + _convolved(audio, response)[..., : audio.shape[-1]]


def reverberate_stream(pieces: Iterable[torch.Tensor], response: torch.Tensor) -> Iterator[torch.Tensor]:
    """:func:`reverberate` of consecutive pieces; joined, they are what the whole would be."""
    ringing = response.new_zeros(0)
    for piece in pieces:
        tail = _convolved(piece, response)
        n = max(len(tail), len(ringing))
        ringing = nn.functional.pad(tail, (0, n - len(tail))) + nn.functional.pad(ringing, (0, n - len(ringing)))
        yield piece + ringing[: len(piece)]
        ringing = ringing[len(piece) :]


def _convolved(audio: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    n_samples = audio.shape[-1] + len(response) - 1
    n_fft = 1 << (n_samples - 1).bit_length()
    return torch.fft.irfft(torch.fft.rfft(audio, n=n_fft) * torch.fft.rfft(response, n=n_fft), n=n_fft)[..., :n_samples]


@lru_cache(maxsize=4)
def hall_response(sample_rate: int, *, decay_s: float = HALL_DECAY_S[0], first_s: float = HALL_FIRST_S) -> torch.Tensor:
    """Impulse response (n_samples,) of a hall without the direct sound, of unit energy.

    Bands of noise, each dying away exponentially at its own rate (Moorer, Computer Music Journal 3(2), 1979). `decay_s` is the
    reverberation time (60 dB) at low frequencies, `first_s` the time until the first reflection.
    """
    n_samples = round(HALL_S / HALL_DECAY_S[0] * decay_s * sample_rate)
    spectrum = np.fft.rfft(white_noise(0, n_samples, HALL_SEED).double().numpy())
    frequencies = np.fft.rfftfreq(n_samples, 1.0 / sample_rate)
    centres = np.geomspace(60.0, sample_rate / 2.0, HALL_BANDS)
    shares = np.stack([np.interp(np.log(frequencies + 1.0), np.log(centres), row) for row in np.eye(HALL_BANDS)])
    decays_s = np.interp(centres, HALL_DECAY_AT_HZ, HALL_DECAY_S) * (decay_s / HALL_DECAY_S[0])
    time_s = np.arange(n_samples) / sample_rate
    bands = np.fft.irfft(spectrum * shares, n=n_samples) * 10.0 ** (-3.0 * time_s / decays_s[:, None])
    response = np.concatenate([np.zeros(round(first_s * sample_rate)), bands.sum(0)])
    return torch.from_numpy(response / np.sqrt(np.square(response).sum())).float()


def with_hall(pieces: Iterable[torch.Tensor], sample_rate: int, amount: float) -> Iterator[torch.Tensor]:
    """Consecutive pieces of a sound, heard in the hall; as many samples come out as went in.

    `amount`, in [0, 1], is the level of the hall re the direct sound: 0 none, 1 as loud. The sum keeps the power.
    """
    if amount == 0.0:
        yield from pieces
        return
    share = 1.0 / np.sqrt(1.0 + amount**2)
    fade = round(FADE_S * sample_rate)
    dry, copy = tee(pieces)
    heard = reverberate_stream(copy, amount * hall_response(sample_rate))
    for (direct, piece), following in pairwise(chain(zip(dry, heard, strict=True), [None])):  # type: ignore[misc]  # None comes last
        if following is None and len(piece) > fade:
            piece = piece.clone()
            piece[-fade:] -= (piece - direct)[-fade:] * torch.linspace(0.0, 1.0, fade)
        yield share * piece


class Convolution:
    """Uniformly partitioned overlap-save convolution (Wefers, Partitioned Convolution Algorithms for Real-Time Auralization, 2015).

    Each push, of `block_length` samples, costs two transforms and one product per part of the response (n,). AudioError: that is not one
    row of finite samples.
    """

    def __init__(self, response: np.ndarray, block_length: int) -> None:
        response = np.asarray(response, dtype=np.float64)
        if response.ndim != 1 or not len(response) or not np.isfinite(response).all():
            raise AudioError(f"a room's response has the shape {response.shape}; (n_samples,) of finite numbers is wanted")
        self.response, self.block_length = response, block_length
        n_parts = -(-len(response) // block_length)
        parts = np.pad(response, (0, n_parts * block_length - len(response))).reshape(n_parts, block_length)
        self._parts = scipy.fft.rfft(parts, 2 * block_length, axis=1)
        self.reset()

    def reset(self) -> None:
        """Silence before what comes next."""
        self._last = np.zeros(self.block_length)
        self._spectra = np.zeros_like(self._parts)  # of the last blocks; a ring, the newest at `_newest`
        self._newest = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """The sound (block_length,) of a block (block_length,) in the room."""
        self._newest = (self._newest - 1) % len(self._parts)
        self._spectra[self._newest] = scipy.fft.rfft(np.concatenate([self._last, block]))
        self._last = np.asarray(block, dtype=np.float64)
        split = len(self._parts) - self._newest
        total = np.einsum("ij,ij->j", self._spectra[self._newest :], self._parts[:split])
        if self._newest:
            total += np.einsum("ij,ij->j", self._spectra[: self._newest], self._parts[split:])
        return scipy.fft.irfft(total)[self.block_length :].astype(np.float32)

    def whole(self, sound: np.ndarray) -> np.ndarray:
        """The same of a whole sound (n_samples,), at once; what rings beyond its end is cut."""
        n_fft = scipy.fft.next_fast_len(len(sound) + len(self.response) - 1, real=True)
        spectrum = scipy.fft.rfft(np.asarray(sound, dtype=np.float64), n_fft) * scipy.fft.rfft(self.response, n_fft)
        return scipy.fft.irfft(spectrum, n_fft)[: len(sound)].astype(np.float32)
