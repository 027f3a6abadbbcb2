"""A-weighted loudness, frame by frame: one number of decibels that follows the ear's sensitivity."""

from __future__ import annotations

from functools import lru_cache

import torch

from .files import LongAudio
from .frames import FrameGrid
from .stft import a_weighting, frame_magnitudes, hann

LOUDNESS_VERSION = 1
"""Changes whenever the numbers change; stored in the weights and compared on loading."""

N_FFT = 2048  # 43 ms at 48 kHz: two periods of 50 Hz, and still short enough to follow an attack
FLOOR_DB = -120.0
CHUNK_FRAMES = 800  # held as a spectrogram at a time: 30 MB with what it is made of, where an hour would take 10 GB


def loudness_db(audio: torch.Tensor | LongAudio, grid: FrameGrid) -> torch.Tensor:
    """A-weighted loudness on the grid.

    The power spectrum (Hann window of 2048 samples centred on the frame's instant, zeros beyond the ends) is weighted
    by the A curve (IEC 61672) as power and summed; the window's power is divided out, so that a full-scale sine of 1 kHz reads 0 dB.
    Long audio is worked through in pieces, with the same result.

    Parameters
    ----------
    audio : Tensor [shape=(..., n_samples)] or LongAudio, in [-1, 1]
    grid : FrameGrid

    Returns
    -------
    Tensor [shape=(..., n_frames)], dB re full scale, >= -120
    """
    n_frames = grid.n_frames(audio.shape[-1])
    reach = -(-N_FFT // (2 * grid.hop_length))  # frames that a window reaches to either side
    pieces = []
    for first in range(0, n_frames, CHUNK_FRAMES):
        last = min(first + CHUNK_FRAMES, n_frames)
        begin = max(0, first - reach)
        piece = audio[..., begin * grid.hop_length : (last + reach) * grid.hop_length]
        pieces.append(_loudness_db(piece, grid)[..., first - begin : last - begin])
    return torch.cat(pieces, dim=-1)


def _loudness_db(audio: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    return level_db(frame_magnitudes(audio, grid, N_FFT), grid.sample_rate)


def level_db(magnitudes: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """A-weighted loudness of frames whose magnitudes are there already.

    Parameters
    ----------
    magnitudes : Tensor [shape=(..., n_frames, N_FFT // 2 + 1)]
        Hann window of `N_FFT`.
    sample_rate : int [Hz]

    Returns
    -------
    Tensor [shape=(..., n_frames)], dB re full scale, >= -120
    """
    power = magnitudes.square() @ power_weighting(sample_rate).to(magnitudes)
    return 10.0 * torch.log10(power.clamp(min=10.0 ** (FLOOR_DB / 10.0)))


@lru_cache(maxsize=8)
def power_weighting(sample_rate: int) -> torch.Tensor:
    """Weights of squared magnitudes in the power of a frame, (N_FFT // 2 + 1,); a sine of 1 kHz and amplitude 1 has the power 1."""
    full_scale_sine = N_FFT * float(hann(N_FFT).square().sum()) / 4.0  # Parseval: a sine of amplitude 1, one-sided
    return a_weighting(sample_rate, N_FFT) / full_scale_sine
