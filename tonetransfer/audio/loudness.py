"""A-weighted loudness, frame by frame: one number of decibels that follows the ear's sensitivity; and its correction.

A decoder comes close to the loudness that it is asked for by itself; what it misses is a slow change of gain. A rendered sound is measured,
and what is too loud or too soft is corrected. Deviations within a tolerance are left alone: they are the instrument's own life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import torch

from .files import LongAudio
from .frames import FrameGrid
from .stft import a_weighting, hann, magnitudes_in_pieces
from .units import db_to_amplitude

LOUDNESS_VERSION = 1
"""Changes whenever the numbers change; stored in the weights and compared on loading."""
N_FFT = 2048  # 43 ms at 48 kHz: two periods of 50 Hz, and still short enough to follow an attack
FLOOR_DB = -120.0
CHUNK_FRAMES = 800  # held as a spectrogram at a time: 30 MB with what it is made of, where an hour would take 10 GB
TOLERANCE_DB = 1.0
LARGEST_DB = 12.0  # beyond this, gain would lift noise instead of the instrument
SMOOTH_S = 0.05  # width of the window over the gain: slower than any period, faster than a swell
QUIETEST_DB = -90.0  # measured below this, there is nothing to correct


def loudness_db(audio: torch.Tensor | LongAudio, grid: FrameGrid) -> torch.Tensor:
    """A-weighted loudness (..., n_frames) on the grid [dB re full scale], >= -120, of audio (..., n_samples) in [-1, 1].

    The power spectrum (Hann window of 2048 samples centred on the frame's instant, zeros beyond the ends) is weighted by the A curve (IEC
    61672) as power and summed; the window's power is divided out, so that a full-scale sine of 1 kHz reads 0 dB. Long audio is worked
    through in pieces, with the same result.
    """
    pieces = magnitudes_in_pieces(audio, grid, N_FFT, CHUNK_FRAMES)
    return torch.cat([level_db(piece, grid.sample_rate) for piece in pieces], dim=-1)


def level_db(magnitudes: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """A-weighted loudness (..., n_frames) [dB re full scale], >= -120, of magnitudes (..., n_frames, N_FFT // 2 + 1) with a Hann window."""
    power = magnitudes.square() @ power_weighting(sample_rate).to(magnitudes)
    return 10.0 * torch.log10(power.clamp(min=10.0 ** (FLOOR_DB / 10.0)))


@lru_cache(maxsize=8)
def power_weighting(sample_rate: int) -> torch.Tensor:
    """Weights of squared magnitudes in the power of a frame, (N_FFT // 2 + 1,); a sine of 1 kHz and amplitude 1 has the power 1."""
    full_scale_sine = N_FFT * float(hann(N_FFT).square().sum()) / 4.0  # Parseval: a sine of amplitude 1, one-sided
    return a_weighting(sample_rate, N_FFT) / full_scale_sine


def correction_db(measured_db: torch.Tensor, asked_db: torch.Tensor, notes: torch.Tensor, frame_rate: float) -> torch.Tensor:
    """Gain (n_frames,) that brings a measured loudness to within 1 dB of the asked one [dB], in [-12, 12], smooth.

    `notes` (n_frames,) are the frames in which the loudness matters; elsewhere what is too loud is turned down and nothing is turned up.
    """
    deviation = asked_db - measured_db
    excess = (deviation - deviation.clamp(-TOLERANCE_DB, TOLERANCE_DB)).clamp(-LARGEST_DB, LARGEST_DB)
    weight = ((notes | (excess < 0.0)) & (measured_db > QUIETEST_DB)).to(excess)
    window = _window(frame_rate).to(excess)
    stacked = torch.stack([weight * excess, weight])[:, None]
    smooth, total = torch.nn.functional.conv1d(stacked, window[None, None], padding=len(window) // 2)[:, 0]
    return smooth / total.clamp(min=0.25)  # at the edge of a note the mean of its own frames, then fading out


def correct_loudness(audio: torch.Tensor, asked_db: torch.Tensor, notes: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """A sound (n_frames * hop_length,) with its loudness brought to within 1 dB of what was asked for; see :func:`correction_db`."""
    gain_db = correction_db(loudness_db(audio, grid), asked_db, notes, grid.frame_rate)
    return audio * grid.upsample(db_to_amplitude(gain_db))


def correct_loudness_in_pieces(
    pieces: Iterable[torch.Tensor], asked_db: torch.Tensor, notes: torch.Tensor, grid: FrameGrid
) -> Iterator[torch.Tensor]:
    """:func:`correct_loudness` of consecutive pieces of whole hops; joined, they are what the whole would be.

    `asked_db` and `notes` (n_frames,) are those of all pieces; what comes out ends a few frames before that which came in.
    """
    hop = grid.hop_length
    reach = -(-N_FFT // (2 * hop)) + len(_window(grid.frame_rate)) // 2 + 1  # frames whose sound decides about a frame's gain
    held, first, done = asked_db.new_zeros(0), 0, 0  # `held` begins at frame `first`; frames before `done` are out
    for piece in pieces:
        held = torch.cat([held, piece])
        ready = first + len(held) // hop - reach
        if ready > done:
            yield _stretch(held, first, done, ready, asked_db, notes, grid)
            done, kept = ready, max(ready - reach, 0)
            held, first = held[(kept - first) * hop :], kept
    if len(held):
        yield _stretch(held, first, done, first + len(held) // hop, asked_db, notes, grid)


def _stretch(
    held: torch.Tensor, first: int, begin: int, end: int, asked_db: torch.Tensor, notes: torch.Tensor, grid: FrameGrid
) -> torch.Tensor:
    """Frames `begin` to `end` of the corrected sound."""
    span = slice(first, first + len(held) // grid.hop_length)
    corrected = correct_loudness(held, asked_db[span], notes[span], grid)
    return corrected[(begin - first) * grid.hop_length : (end - first) * grid.hop_length]


def _window(frame_rate: float) -> torch.Tensor:
    """Hann window of odd length, sum 1."""
    length = 2 * round(SMOOTH_S * frame_rate / 2) + 1
    window = torch.hann_window(length + 2, periodic=False)[1:-1]
    return window / window.sum()
