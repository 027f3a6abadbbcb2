"""A made-up hall around a sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, pairwise, tee

import numpy as np
import torch

from .render import white_noise
from .reverb import reverberate_stream

FIRST_S = 0.012  # until the first reflection
LONGEST_S = 1.6
DECAY_AT_HZ = (0.0, 500.0, 2000.0, 6000.0, 24000.0)
DECAY_S = (1.3, 1.3, 1.0, 0.6, 0.25)  # to fall by 60 dB: air takes the treble
N_BANDS = 12
SEED = 1  # one hall, always the same
FADE_S = 0.02  # of the tail where the recording ends


@lru_cache(maxsize=4)
def hall_response(sample_rate: int) -> torch.Tensor:
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


def with_hall(pieces: Iterable[torch.Tensor], sample_rate: int, amount: float) -> Iterator[torch.Tensor]:
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
    share = 1.0 / np.sqrt(1.0 + amount**2)
    fade = round(FADE_S * sample_rate)
    dry, copy = tee(pieces)
    heard = reverberate_stream(copy, amount * hall_response(sample_rate))
    for (direct, piece), following in pairwise(chain(zip(dry, heard, strict=True), [None])):  # type: ignore[misc]  # None comes last
        if following is None and len(piece) > fade:
            piece = piece.clone()
            piece[-fade:] -= (piece - direct)[-fade:] * torch.linspace(0.0, 1.0, fade)
        yield share * piece
