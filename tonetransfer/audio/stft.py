"""Spectra on the frame grid, the scales that are laid over them, and log-spectral distances."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .frames import FrameGrid
from .units import Value, erb_to_hz, hz_to_erb

if TYPE_CHECKING:
    from .files import LongAudio

CACHED_SAMPLES = 2**19  # of frames that are gone through at a time: two megabytes
N_FFT, HOP_LENGTH, FLOOR = 2048, 512, 1e-3  # of log-spectral distances
BLOCK = 8192  # samples of a spectrum in which the end of a band is looked for
CLIFF_DB, CLIFF_BELOW_HZ, CLIFF_SLOPE_HZ, LOWEST_CLIFF_HZ = 15.0, 1500.0, 200.0, 3000.0
BETWEEN_PARTIALS, ABOVE_ALL = 20.0, 99.0  # percentiles of the spectrum below and above a cliff
NARROW_HZ = 3500.0, 14000.0  # where a narrow band ends
LOUD_BLOCK_DB, BENEATH_HZ = 20.0, 600.0  # below the loudest block, and below the end of a band
SURE_CLIFF_DB = 30.0  # what files of a low rate fall by at least; melodies whose partials end early fall by 15


@lru_cache(maxsize=32)
def hann(length: int) -> torch.Tensor:
    """Periodic Hann window, shape (length,). Shared: do not write into it."""
    return torch.hann_window(length)


@lru_cache(maxsize=32)
def fast_length(n: int) -> int:
    """The shortest length of at least `n` that an FFT is fast for: a power of two, or a small odd number of them."""
    return min(odd << (-(-n // odd) - 1).bit_length() for odd in (1, 3, 5, 7, 9, 15, 21, 25, 27, 45, 75))


def magnitudes(audio: torch.Tensor, n_fft: int, hop_length: int, *, center: bool = True) -> torch.Tensor:
    """Magnitude spectrogram (..., n_fft // 2 + 1, 1 + n_samples // hop_length) of audio (..., n_samples), Hann window, not normalised.

    With `center` frame t is centred on sample ``t * hop_length``, zeros beyond the ends.
    """
    flat = audio.reshape(-1, audio.shape[-1])
    window = hann(n_fft).to(flat)
    padded = torch.nn.functional.pad(flat, (n_fft // 2, n_fft // 2)) if center else flat
    if torch.is_grad_enabled() and flat.requires_grad:
        found: torch.Tensor = _Magnitudes.apply(padded, window, hop_length)
    else:
        found = _magnitudes(padded, window, hop_length).transpose(-1, -2)
    return found.reshape(*audio.shape[:-1], *found.shape[-2:])


def _magnitudes(audio: torch.Tensor, window: torch.Tensor, hop: int) -> torch.Tensor:
    """Magnitudes of audio (batch, n_samples), (batch, n_frames, n_bins); on a processor so many frames at a time as its cache holds."""
    frames = audio.unfold(-1, len(window), hop)
    if audio.device.type != "cpu" or torch.compiler.is_compiling():  # an exported model takes batches of any size
        return _spectra(frames, window)[1]
    at_once = max(CACHED_SAMPLES // len(window), 1)
    found = audio.new_empty(*frames.shape[:-1], len(window) // 2 + 1)
    for some, places in zip(frames, found, strict=True):
        for first in range(0, len(some), at_once):
            here = slice(first, first + at_once)
            places[here] = _spectra(some[here], window)[1]
    return found


def _spectra(frames: torch.Tensor, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectra of frames (..., n_fft) and their magnitudes, (..., n_bins)."""
    spectrum = torch.fft.rfft(frames * window)
    parts = torch.view_as_real(spectrum)
    return spectrum, parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1]).sqrt_()  # twice as fast as abs


class _Magnitudes(torch.autograd.Function):
    """Magnitudes (batch, n_bins, n_frames) of audio (batch, n_samples) that somebody learns from.

    The gradient of a real FFT is an inverse real FFT, at half the cost of the complex one that torch takes; the phase is made from what
    the forward pass has kept.
    """

    @staticmethod
    def forward(ctx: Any, audio: torch.Tensor, window: torch.Tensor, hop: int) -> torch.Tensor:
        spectrum, magnitude = _spectra(audio.unfold(-1, len(window), hop), window)
        ctx.hop, ctx.n_samples = hop, audio.shape[-1]
        ctx.save_for_backward(spectrum, magnitude, window)
        return magnitude.transpose(-1, -2)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (spectrum, magnitude, window), hop = ctx.saved_tensors, ctx.hop
        n_fft, n_frames = len(window), spectrum.shape[-2]
        smallest = torch.finfo(magnitude.dtype).tiny ** 0.5  # whose square can still be told from nothing
        slope = grads[0].transpose(-1, -2) / magnitude.clamp(min=smallest)
        slope[..., 1 : -(-n_fft // 2)] *= 0.5  # these bins stand for two
        frames = torch.fft.irfft(spectrum * slope, n_fft, norm="forward") * window
        total = frames.new_zeros(len(frames), max(n_frames + -(-n_fft // hop) - 1, -(-ctx.n_samples // hop)), hop)
        overlap_add(frames, total)
        return total.flatten(1)[:, : ctx.n_samples], None, None


def overlap_add(frames: torch.Tensor, total: torch.Tensor, margin: int = 0) -> None:
    """Add frames (batch, n_frames, n_fft), each a hop after the one before, to `total` (batch, n_hops, hop), which holds all of them.

    The first one begins `margin` samples after `total` does.
    """
    (n_frames, n_fft), hop = frames.shape[1:], total.shape[-1]
    for i in range(-(-(margin + n_fft) // hop)):  # hops that a frame reaches into, the outermost ones in part
        first, last = max(i * hop, margin), min((i + 1) * hop, margin + n_fft)
        total[:, i : i + n_frames, first - i * hop : last - i * hop] += frames[..., first - margin : last - margin]


def frame_magnitudes(audio: torch.Tensor, grid: FrameGrid, n_fft: int) -> torch.Tensor:
    """Magnitudes at the instants of the grid's frames, shape (..., n_frames, n_fft // 2 + 1)."""
    n_frames = grid.n_frames(audio.shape[-1])
    return magnitudes(grid.pad(audio), n_fft, grid.hop_length)[..., :n_frames].transpose(-1, -2)


def magnitudes_in_pieces(audio: torch.Tensor | LongAudio, grid: FrameGrid, n_fft: int, frames_per_piece: int) -> Iterator[torch.Tensor]:
    """:func:`frame_magnitudes` of consecutive pieces of audio (..., n_samples), so that the spectrogram of an hour need not be held."""
    n_frames, reach = grid.n_frames(audio.shape[-1]), -(-n_fft // (2 * grid.hop_length))  # frames that a window reaches to either side
    for first in range(0, n_frames, frames_per_piece):
        last, begin = min(first + frames_per_piece, n_frames), max(0, first - reach)
        piece = audio[..., begin * grid.hop_length : (last + reach) * grid.hop_length]
        yield frame_magnitudes(piece, grid, n_fft)[..., first - begin : last - begin, :]


def block_power(samples: np.ndarray) -> np.ndarray:
    """Power spectra (n_blocks, BLOCK // 2 + 1) of the whole blocks of samples (n_samples,), Blackman window."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.square(np.abs(np.fft.rfft(blocks * np.blackman(BLOCK), axis=-1)))


def bandwidth_hz(power: np.ndarray, sample_rate: int) -> float:
    """Frequency where a mean power spectrum (n_bins,) breaks off [Hz]; half the sample rate if it does not.

    An instrument's spectrum sinks into the noise of the recording, which goes on to the top; that of a file that was an MP3 or had a lower
    sample rate once ends at a cliff, noise and all. Compared are what lies between the partials below, and the strongest above.
    """
    level = 10.0 * np.log10(power + power.max(initial=0.0) * 1e-16 + 1e-30)
    bin_hz = 0.5 * sample_rate / (len(power) - 1)
    below, slope = round(CLIFF_BELOW_HZ / bin_hz), max(round(CLIFF_SLOPE_HZ / bin_hz), 1)
    edges = np.arange(round(LOWEST_CLIFF_HZ / bin_hz), len(level) - 2 * slope, max(slope // 4, 1))
    if not len(edges):
        return 0.5 * sample_rate
    between = [np.percentile(level[max(edge - below, 0) : edge], BETWEEN_PARTIALS) for edge in edges]
    drops = np.array([low - np.percentile(level[edge + slope :], ABOVE_ALL) for low, edge in zip(between, edges, strict=True)])
    if drops.max() < CLIFF_DB:
        return 0.5 * sample_rate
    return float((edges[int(np.argmax(drops > drops.max() - 3.0))] + slope) * bin_hz)


def narrow_band_hz(samples: np.ndarray, sample_rate: int) -> float | None:
    """Frequency above which there is nothing in any loud moment of a recording (n_samples,); None: its band is not narrow.

    An instrument whose partials end early has less beneath that frequency in some of its notes than in others; a file does not.
    """
    spectra = block_power(samples)
    end_hz = bandwidth_hz(spectra.mean(0), sample_rate) if len(spectra) else 0.0
    if not NARROW_HZ[0] < end_hz < NARROW_HZ[1]:
        return None
    total, bin_hz = spectra.sum(1), sample_rate / BLOCK
    loud = spectra[total > total.max() * 10.0 ** (-LOUD_BLOCK_DB / 10.0)]
    first, last, end = (round((end_hz - by_hz) / bin_hz) for by_hz in (2.0 * CLIFF_SLOPE_HZ + BENEATH_HZ, 2.0 * CLIFF_SLOPE_HZ, 0.0))
    beneath = np.percentile(loud[:, first:last], BETWEEN_PARTIALS, axis=1)
    above = np.percentile(loud[:, end:], ABOVE_ALL, axis=1)
    nothing = 1e-18 * total.max()
    drop_db = 10.0 * np.log10((beneath + nothing) / (above + nothing))
    return end_hz if np.percentile(drop_db, 10.0) > SURE_CLIFF_DB else None


def mel_edges_hz(n_mels: int, lowest_hz: float, highest_hz: float) -> np.ndarray:
    """Edges and centres of mel bands (Slaney) [Hz], shape (n_mels + 2,): band i reaches from i to i + 2, its centre is i + 1."""
    lowest_mel, highest_mel = _hz_to_mel(np.array([lowest_hz, highest_hz]))
    return _mel_to_hz(np.linspace(lowest_mel, highest_mel, n_mels + 2))


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int, lowest_hz: float, highest_hz: float) -> torch.Tensor:
    """Mel filter bank (Slaney), shape (n_fft // 2 + 1, n_mels)."""
    edges = mel_edges_hz(n_mels, lowest_hz, highest_hz)
    rising, falling = ((side - np.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1)[:, None]) for side in (edges[:-2], edges[2:]))
    width = np.diff(edges)
    triangles = np.maximum(0.0, np.minimum(-rising / width[:-1], falling / width[1:]))  # (n_bins, n_mels)
    return torch.from_numpy((triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32))


MEL_HZ, MEL_LOG_FROM_HZ, MEL_LOG_STEP = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0  # Slaney's auditory toolbox: linear, then logarithmic


def _hz_to_mel(frequency_hz: np.ndarray) -> np.ndarray:
    above = MEL_LOG_FROM_HZ / MEL_HZ + np.log(np.maximum(frequency_hz, MEL_LOG_FROM_HZ) / MEL_LOG_FROM_HZ) / MEL_LOG_STEP
    return np.where(frequency_hz < MEL_LOG_FROM_HZ, frequency_hz / MEL_HZ, above)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    knee = MEL_LOG_FROM_HZ / MEL_HZ
    return np.where(mel < knee, MEL_HZ * mel, MEL_LOG_FROM_HZ * np.exp(MEL_LOG_STEP * (np.maximum(mel, knee) - knee)))


@lru_cache(maxsize=8)
def a_weighting(sample_rate: int, n_fft: int) -> torch.Tensor:
    """A-weighting of the FFT bins as a factor on *power* (IEC 61672; 1.0 at 1 kHz), shape (n_fft // 2 + 1,)."""
    weight = a_weighting_at(np.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1))
    return torch.from_numpy(np.maximum(weight, 1e-12)).float()


def a_weighting_at(frequency_hz: Value) -> Value:
    """A-weighting of frequencies >= 0, ndarray or Tensor [shape=(...)], as a factor on power (IEC 61672; 1.0 at 1 kHz)."""
    square = frequency_hz * frequency_hz
    low, second, third, high = (pole**2 for pole in A_POLES_HZ)
    ends = (square / (square + low)) * (high / (square + high))
    return 10.0 ** (A_AT_1_KHZ_DB / 10.0) * ends * ends * (square / (square + second)) * (square / (square + third))


A_POLES_HZ, A_AT_1_KHZ_DB = (20.598997, 107.65265, 737.86223, 12194.217), 2.0


def band_centres_hz(n_bands: int, sample_rate: int) -> np.ndarray:
    """Centres of the noise bands [Hz], shape (n_bands,), from 0 to Nyquist.

    Halfway between the ERB-rate scale (Glasberg and Moore, 1990) and a linear one. On the ERB scale alone the top octave,
    half of all FFT bins, has a handful of bands, and the roll-off of a recording cannot be drawn with them.
    """
    nyquist = sample_rate / 2.0
    position = np.linspace(0.0, 1.0, n_bands)
    perceptual = erb_to_hz(position * hz_to_erb(nyquist))
    return 0.5 * perceptual + 0.5 * position * nyquist


@lru_cache(maxsize=8)
def band_interpolation(n_bands: int, n_fft: int, sample_rate: int) -> torch.Tensor:
    """Matrix that spreads band values linearly over FFT bins, shape (n_bands, n_fft // 2 + 1); columns sum to 1."""
    centres = band_centres_hz(n_bands, sample_rate)
    bins = np.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1)
    return torch.from_numpy(np.stack([np.interp(bins, centres, row) for row in np.eye(n_bands)])).float()


def same_length(reference: torch.Tensor, estimate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two recordings, the longer one cut."""
    n_samples = min(reference.shape[-1], estimate.shape[-1])
    return reference[..., :n_samples], estimate[..., :n_samples]


def log_spectral_distance_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """Log-spectral distance of two recordings (n_samples,) of the same performance [dB]; the longer one is cut."""
    x, y = (20.0 * torch.log10(magnitudes(a, N_FFT, HOP_LENGTH) + FLOOR) for a in same_length(reference, estimate))
    return float((x - y).square().mean(dim=-2).sqrt().mean())


def audible_log_spectral_distance_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """LSD-60 of two recordings (n_samples,) [dB]: the longer one is cut, and 0 is given where nothing is audible."""
    x, y = (magnitudes(a, N_FFT, HOP_LENGTH) for a in same_length(reference, estimate))
    largest = x.max().clamp(min=1e-9)
    audible = torch.maximum(x, y) >= largest * 1e-3
    x, y = (20.0 * torch.log10(magnitude.clamp(min=largest * 1e-4)) for magnitude in (x, y))
    return float((x - y)[audible].square().mean().sqrt()) if bool(audible.any()) else 0.0
