"""A room around a sound: one made-up hall, convolved piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np
import torch

from .synth import white_noise

FIRST_S = 0.012  # until the first reflection
LONGEST_S = 1.6
DECAY_AT_HZ = (0.0, 500.0, 2000.0, 6000.0, 24000.0)
DECAY_S = (1.3, 1.3, 1.0, 0.6, 0.25)  # to fall by 60 dB: air takes the treble
N_BANDS = 12
SEED = 1  # one hall, always the same
FADE_S = 0.02  # of the tail where the recording ends


@lru_cache(maxsize=4)
def room_response(sample_rate: int) -> torch.Tensor:
    """Impulse response of the hall without the direct sound, of unit energy.

    Bands of noise, each dying away exponentially at its own rate (Moorer, Computer Music Journal 3(2), 1979).

    Parameters
    ----------
    sample_rate : int, > 0 [Hz]

    Returns
    -------
    Tensor [shape=(n_samples,)]
    """
    n_samples = round(LONGEST_S * sample_rate)
    spectrum = np.fft.rfft(white_noise(0, n_samples, SEED).double().numpy())
    frequencies = np.fft.rfftfreq(n_samples, 1.0 / sample_rate)
    centres = np.geomspace(60.0, sample_rate / 2.0, N_BANDS)
    shares = np.stack([np.interp(np.log(frequencies + 1.0), np.log(centres), row) for row in np.eye(N_BANDS)])
    decay_s = np.interp(centres, DECAY_AT_HZ, DECAY_S)
    time_s = np.arange(n_samples) / sample_rate
    bands = np.fft.irfft(spectrum * shares, n=n_samples) * 10.0 ** (-3.0 * time_s / decay_s[:, None])
    response = np.concatenate([np.zeros(round(FIRST_S * sample_rate)), bands.sum(0)])
    return torch.from_numpy(response / np.sqrt(np.square(response).sum())).float()


def with_room(pieces: Iterable[torch.Tensor], sample_rate: int, amount: float) -> Iterator[torch.Tensor]:
    """Consecutive pieces of a sound, heard in the hall; as many samples come out as went in.

    Parameters
    ----------
    pieces : iterable of Tensor [shape=(n_samples_of_the_piece,)]
    sample_rate : int, > 0 [Hz]
    amount : float, in [0, 1]
        Level of the hall re the direct sound: 0 none, 1 as loud. The sum keeps the power.

    Yields
    ------
    Tensor
    """
    if amount == 0.0:
        yield from pieces
        return
    response, fade = room_response(sample_rate), round(FADE_S * sample_rate)
    direct, wet = 1.0 / np.sqrt(1.0 + amount**2), amount / np.sqrt(1.0 + amount**2)
    tail = torch.zeros(0)
    for piece, following in pairwise(chain(pieces, [None])):
        assert piece is not None
        n_fft = 1 << (len(piece) + len(response) - 2).bit_length()
        rung = torch.fft.irfft(torch.fft.rfft(piece, n=n_fft) * torch.fft.rfft(response, n=n_fft), n=n_fft)
        rung = rung[: len(piece) + len(response) - 1]
        tail = torch.nn.functional.pad(tail, (0, max(len(rung) - len(tail), 0)))
        tail[: len(rung)] += rung
        heard, tail = tail[: len(piece)].clone(), tail[len(piece) :]
        if following is None and len(heard) > fade:
            heard[-fade:] *= torch.linspace(1.0, 0.0, fade)
        yield direct * piece + wet * heard
