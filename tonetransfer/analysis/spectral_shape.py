"""The shape of the spectrum, frame by frame, for any sound, pitched or not.

Windows are those of the loudness: Hann, 2048 samples, centred on the frame's instant, zeros beyond the ends. Definitions are
librosa's where librosa has one; flux (of spectra scaled to an L2 norm of 1), skewness and kurtosis follow Peeters et al.,
"The Timbre Toolbox", JASA 130(5), 2011. They are computed here because loading librosa takes two seconds and 150 MB; tests compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
import torch

from ..audio.files import Samples
from ..audio.frames import FrameGrid
from ..audio.loudness import N_FFT
from ..audio.stft import magnitudes, mel_filters
from ..audio.units import amplitude_to_db

ROLLOFF_PERCENT = (50, 85, 95)
N_MFCC, N_MELS = 13, 96
CONTRAST_SHARE, CONTRAST_RANGE_DB = 0.02, 80.0
_PIECE_FRAMES = 1000


def spectral_tracks(audio: Samples, grid: FrameGrid, *, rolloff_percent: Sequence[float] = ROLLOFF_PERCENT) -> dict[str, np.ndarray]:
    """Descriptors of the spectrum of audio (n_samples,) on the grid, each (n_frames,), float32, finite; memory stays small."""
    parts = [_tracks(piece, grid, rolloff_percent) for piece in _pieces(audio, grid)]
    tracks = {key: np.concatenate([part.pop(key) for part in parts]) for key in list(parts[0])}
    tracks["spectral_flux"][:1] = 0.0  # nothing comes before the first frame
    return tracks


def mel_tracks(audio: Samples, grid: FrameGrid) -> dict[str, np.ndarray]:
    """librosa's mel spectrogram, and its onset strength: the mean rise of the mel bands from frame to frame.

    `mel_db` (n_frames, 96) [dB] is the power of each band, not below -100; `onset_strength_db` (n_frames,), >= 0.
    """
    mel = np.concatenate([piece[:, 1:].T for piece in _mel_pieces(audio, grid)]).astype(np.float64)
    return {"mel_db": mel, "onset_strength_db": onset_strength_db(audio, grid)}


def onset_strength_db(audio: Samples, grid: FrameGrid) -> np.ndarray:
    """The second of :func:`mel_tracks` alone, (n_frames,): nothing else is held."""
    rises = [np.maximum(np.diff(piece, axis=1), 0.0).mean(0) for piece in _mel_pieces(audio, grid)]
    return np.concatenate([[0.0], np.concatenate(rises).astype(np.float64)[1:]])


def _mel_pieces(audio: Samples, grid: FrameGrid) -> Iterator[np.ndarray]:
    """Mel spectrograms (n_mels, 1 + n_frames) of pieces from :func:`_pieces` [dB]."""
    for piece in _pieces(audio, grid):
        spectrum = magnitudes(torch.from_numpy(piece), N_FFT, grid.hop_length, center=False).numpy()
        yield _mel_db(spectrum, grid.sample_rate)


def _pieces(audio: Samples, grid: FrameGrid) -> Iterator[np.ndarray]:
    """Pieces of audio that hold the windows of 2000 frames each, and of the frame before them."""
    n_frames = grid.n_frames(len(audio))
    before = N_FFT // 2 + grid.hop_length
    for start in range(0, n_frames, _PIECE_FRAMES):
        stop = min(start + _PIECE_FRAMES, n_frames)
        first, last = grid.n_samples(start) - before, grid.n_samples(stop) + N_FFT - before
        piece = audio[max(first, 0) : last]
        yield np.pad(piece, (max(-first, 0), last - max(first, 0) - len(piece)))


def _tracks(audio: np.ndarray, grid: FrameGrid, rolloff_percent: Sequence[float]) -> dict[str, np.ndarray]:
    """All spectral tracks of a piece from :func:`_pieces`, without its first frame."""
    rate, hop = grid.sample_rate, grid.hop_length
    every = magnitudes(torch.from_numpy(audio), N_FFT, hop, center=False).numpy()  # (n_bins, 1 + n_frames)
    spectrum, audio = every[:, 1:], audio[hop:]
    frequency = np.linspace(0.0, rate / 2.0, len(spectrum), dtype=np.float32)
    share = spectrum / np.maximum(spectrum.sum(0), np.float32(1e-30))
    centroid = frequency @ share
    bandwidth = np.sqrt(np.einsum("ft,ft->t", share, np.square(frequency[:, None] - centroid)))
    skewness, kurtosis = _skewness_and_kurtosis(spectrum, rate)
    frames = np.lib.stride_tricks.sliding_window_view(audio, N_FFT)[::hop]
    power = np.maximum(np.square(spectrum), 1e-10)
    tracks = {
        "rms_db": amplitude_to_db(np.sqrt(np.square(frames).mean(1)).astype(np.float64)),
        "zero_crossing_rate_hz": rate * _crossings(audio, hop) / N_FFT,
        "spectral_centroid_hz": centroid,
        "spectral_bandwidth_hz": bandwidth,
        "spectral_skewness": skewness,
        "spectral_kurtosis": kurtosis,
        "spectral_flatness": np.exp(np.log(power).mean(0)) / power.mean(0),
        "spectral_flux": spectral_flux(every),
    }
    total = np.cumsum(spectrum, axis=0, dtype=np.float64)
    for percent in rolloff_percent:
        tracks[f"spectral_rolloff_{percent:g}_hz"] = frequency[(total >= percent / 100.0 * total[-1]).argmax(0)]
    tracks |= {f"spectral_contrast_{band}_db": values for band, values in enumerate(_contrast_db(spectrum, frequency, rate))}
    mfcc = scipy.fft.dct(_mel_db(spectrum, rate), axis=0, norm="ortho")[:N_MFCC]
    tracks |= {f"mfcc_{k + 1:02d}_db": values for k, values in enumerate(mfcc)}
    return {key: np.array(values, np.float32) for key, values in tracks.items()}  # copies: a view holds all that it was cut from


def _crossings(audio: np.ndarray, hop: int) -> np.ndarray:
    """Number of zero crossings in each window; what is next to nothing counts as positive."""
    negative = audio < -1e-10
    crossings = np.concatenate([[0], np.cumsum(negative[1:] != negative[:-1])])
    return crossings[N_FFT - 1 :: hop] - crossings[: len(audio) - N_FFT + 1 : hop]


def _contrast_db(spectrum: np.ndarray, frequency: np.ndarray, rate: int) -> np.ndarray:
    """Peak over valley [dB] in bands of an octave, the first up to 200 Hz, of magnitudes (n_bins, n_frames)."""
    n_octaves = min(6, int(math.log2(rate / 2 / 200.0)))
    edges = np.concatenate([[0.0], 200.0 * 2.0 ** np.arange(n_octaves + 1)])
    peaks, valleys = [], []
    for band in range(n_octaves + 1):
        inside = np.flatnonzero((frequency >= edges[band]) & (frequency <= edges[band + 1]))
        first = inside[0] - (band > 0)
        last = len(frequency) if band == n_octaves else inside[-1] + 1
        n_extreme = max(round(CONTRAST_SHARE * (last - first)), 1)
        ordered = np.sort(spectrum[first : last - (band < n_octaves)], axis=0)
        valleys.append(ordered[:n_extreme].mean(0))
        peaks.append(ordered[-n_extreme:].mean(0))
    peak_db, valley_db = (10.0 * np.log10(np.maximum(np.stack(levels), 1e-10)) for levels in (peaks, valleys))
    return np.maximum(peak_db, peak_db.max() - CONTRAST_RANGE_DB) - np.maximum(valley_db, valley_db.max() - CONTRAST_RANGE_DB)


def _mel_db(spectrum: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of mel bands [dB], (n_mels, n_frames), of magnitudes (n_bins, n_frames)."""
    mel = mel_filters(sample_rate, N_FFT, N_MELS, 0.0, sample_rate / 2.0).numpy().T @ np.square(spectrum)
    return np.asarray(10.0 * np.log10(np.maximum(mel, 1e-10)))


def spectral_flux(spectrum: np.ndarray) -> np.ndarray:
    """Change of a spectrum (n_bins, 1 + n_frames) from frame to frame: distance of the spectra scaled to an L2 norm of 1.

    In [0, sqrt(2)], (n_frames,); 0 where one of the two is silent. A change of level alone is no flux.
    """
    norm = np.sqrt((spectrum.astype(np.float64) ** 2).sum(0))
    both = (norm[1:] > 1e-4) & (norm[:-1] > 1e-4)
    unit = spectrum / np.maximum(norm, 1e-4)
    return np.where(both, np.sqrt((np.diff(unit, axis=1) ** 2).sum(0)), 0.0)


def _skewness_and_kurtosis(spectrum: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Third and fourth standardised moment of magnitudes (n_bins, n_frames) as a distribution over frequency; 0 in silence."""
    frequency = np.linspace(0.0, sample_rate / 2.0, len(spectrum), dtype=np.float32)
    share = spectrum / np.maximum(spectrum.sum(0), 1e-9)
    distance = frequency[:, None] - frequency @ share
    square = distance * distance
    spread = np.maximum(np.sqrt(np.einsum("ft,ft->t", share, square)), 1.0)
    weighted = share * square
    return np.einsum("ft,ft->t", weighted, distance) / spread**3, np.einsum("ft,ft->t", weighted, square) / spread**4
