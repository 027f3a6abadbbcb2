"""Periodicity of sound, the weight-free evidence about f0 that every tracker is checked with.

The normalised autocorrelation; and the fit of a spectrum's partials to f0, which tells a note from the common subharmonic of two notes
that ring together.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ..audio.stft import fast_length, magnitudes

SAMPLE_RATE = 16000  # Hz
HOP_LENGTH = 160  # samples: 10 ms
FRAME_RATE = SAMPLE_RATE / HOP_LENGTH  # Hz
LOWEST_HZ, HIGHEST_HZ = 26.7, 4400.0  # below the contrabass's A0; above the piccolo's C8
FLOOR = 1e-8  # power per sample, -80 dB: what is added so that silence does not repeat itself
# Only prime partials count (Camacho and Harris, 2008, "A sawtooth waveform inspired pitch estimator", SWIPE'): all partials of a
# note at f are partials of f/2, too, but few of them are prime ones.
PARTIALS = np.array([1, 2, 3, 5, 7, 11, 13])
WEIGHTS = PARTIALS**-0.5
HIGHEST_PARTIAL_HZ = 7800.0
NORM_FROM_HZ = 50.0
SPLIT_HZ = 200.0  # below, frames of 128 ms; above, of 64 ms
LENGTHS = {True: 2048, False: 1024}  # samples, for frequencies below and above the split
UPPER_PARTIALS = 10
AUDIBLE_ROOT = 0.1  # of the strongest partial: 40 dB below
PEAK_BINS = 2.0  # what a Hann-windowed sinusoid adds up to, in units of its peak magnitude
SplitSpectra = dict[bool, np.ndarray]
"""Spectra for frequencies below (True) and above the split, (n_frames, n_bins) each."""


class Band(NamedTuple):
    """Lags that are looked at with one frame length."""

    frame_length: int  # samples
    upsampling: int  # of the autocorrelation: at 4 kHz a period is 4 samples
    lowest_lag: float  # samples
    highest_lag: float
    n_peaks: int


# Short frames for high notes, so that fast notes are not smeared; at least two periods of the lowest.
BANDS = (Band(512, 4, SAMPLE_RATE / HIGHEST_HZ, 42.0, 4), Band(1024, 1, 42.0, 168.0, 4), Band(2048, 1, 168.0, SAMPLE_RATE / LOWEST_HZ, 5))
COHERENT_LAG = 41.0  # samples, 2.6 ms: shorter lags must repeat up to there, too; hissing consonants do not
COHERENCE_SLACK = 0.4  # what a high note may lose on the way, in vibrato or while another note rings
BLOCK_FRAMES = 256  # at a time, so that the spectra stay in the processor's cache
MOST_WAVES = 200  # lags from which on an inverse FFT takes less time
N_PEAKS = sum(band.n_peaks for band in BANDS)
LAG_PRIOR = 0.02  # per octave: of two lags at which a sound repeats itself alike, the shorter one is the period


class Autocorrelation:
    """Normalised autocorrelation of audio (n_samples,) at 16 kHz, without offset.

    Frame t is centred on sample ``t * 160``, zeros beyond the ends. For a lag, the two halves of the frame that lie one lag apart are
    compared: 2 sum(x y) / (sum(x^2) + sum(y^2)). It is 1 for a sound of exactly that period, 1 - (noise power / total power) for one in
    noise, and independent of level.
    """

    def __init__(self, audio: np.ndarray, n_frames: int) -> None:
        self.n_frames = n_frames
        longest = BANDS[-1].frame_length
        padded = np.zeros(n_frames * HOP_LENGTH + longest, dtype=np.float32)
        n_copied = min(len(audio), len(padded) - longest // 2)
        padded[longest // 2 : longest // 2 + n_copied] = audio[:n_copied]
        self._tables = [self._table(padded[(longest - band.frame_length) // 2 :], band) for band in BANDS]

    def peaks(self) -> tuple[np.ndarray, np.ndarray]:
        """The lags at which the sound repeats itself best: frequencies [Hz] (0 where there are fewer) and heights, (n_frames, N_PEAKS)."""
        found = [_table_peaks(*table, band) for table, band in zip(self._tables, BANDS, strict=True)]
        frequency_hz, value = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        lag = SAMPLE_RATE / np.maximum(frequency_hz, LOWEST_HZ)
        return frequency_hz, np.minimum(value, self._coherence(lag, [-1.0, -0.5, 0.0, 0.5, 1.0]))

    def at(self, frequency_hz: np.ndarray) -> np.ndarray:
        """The value at given frequencies (n_frames, n), the best within 35 cents; in [-1, 1]."""
        lag = SAMPLE_RATE / np.clip(frequency_hz, LOWEST_HZ, HIGHEST_HZ)
        best = np.full(frequency_hz.shape, -1.0, dtype=np.float32)
        for detune in np.linspace(-0.02, 0.02, 9):
            near = lag * (1.0 + detune)
            for table, band in zip(self._tables, BANDS, strict=True):
                inside = (lag >= band.lowest_lag) & (lag <= band.highest_lag)
                best = np.where(inside, np.maximum(best, _read(table, near)), best)
        return np.minimum(best, self._coherence(lag, np.linspace(-1.0, 1.0, 9)))

    def _coherence(self, lag: np.ndarray, offsets: Iterable[float]) -> np.ndarray:
        """Upper bound of short lags (n_frames, n) by their longest multiple, the best within `offsets` [samples]; 1 for long lags."""
        multiple = np.floor(COHERENT_LAG / lag)
        best = np.full(lag.shape, -1.0, dtype=np.float32)
        for offset in offsets:
            best = np.maximum(best, _read(self._tables[0], lag * np.maximum(multiple, 1.0) + offset))
        return np.where(multiple > 1.0, best + COHERENCE_SLACK, 1.0)

    def _table(self, padded: np.ndarray, band: Band) -> tuple[np.ndarray, np.ndarray]:
        """Lags (n_lags,) [samples] and values (n_frames, n_lags), one lag more at either end than the band's."""
        length, up = band.frame_length, band.upsampling
        first, last = int(band.lowest_lag * up) - 1, int(band.highest_lag * up) + 2
        lags = np.arange(first, last) / up
        # Energy of both halves, from running sums over the whole piece: sum over [0, length - lag) and over [lag, length).
        running = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
        whole = slice(first // up, last // up + 2)
        below, share = (np.floor(lags) - whole.start).astype(int), (lags % 1.0).astype(np.float32)
        frames = torch.from_numpy(padded).unfold(0, length, HOP_LENGTH)
        all_sums = np.lib.stride_tricks.sliding_window_view(running, length + 1)[::HOP_LENGTH]
        n_fft = fast_length(length + last // up + 1)
        waves = _waves(n_fft, first, last, up) if len(lags) <= MOST_WAVES else None
        values = np.empty((self.n_frames, len(lags)), dtype=np.float32)
        for begin in range(0, self.n_frames, BLOCK_FRAMES):
            block = slice(begin, min(begin + BLOCK_FRAMES, self.n_frames))
            parts = torch.view_as_real(torch.fft.rfft(frames[block], n_fft)).square_()
            power = parts[..., 0] + parts[..., 1]
            # Zeros above Nyquist interpolate.
            products = power @ waves if waves is not None else torch.fft.irfft(power, n_fft * up)[:, first:last].mul_(2.0 * up)
            sums = all_sums[block]
            energy = np.empty((len(sums), whole.stop - whole.start), dtype=np.float32)
            both_ends = sums[:, -1:] - sums[:, :1] + 2.0 * FLOOR * length
            np.add(sums[:, ::-1][:, whole] - sums[:, whole], both_ends, out=energy, casting="same_kind")
            if up > 1:
                energy = energy[:, below] * (1.0 - share) + energy[:, below + 1] * share
            np.divide(products.numpy(), energy[:, : len(lags)], out=values[block])
        return lags, values


@lru_cache(maxsize=4)
def _waves(n_fft: int, first: int, last: int, up: int) -> torch.Tensor:
    """Cosines that sum the bins of a power spectrum to twice the autocorrelation at some lags, (n_fft // 2 + 1, last - first).

    Lags count in parts of a sample, `up` to each. Where they are few, a product takes less time than an inverse FFT, which gives all.
    """
    bins = np.arange(n_fft // 2 + 1)[:, None]
    weight = np.where((bins == 0) | (2 * bins == n_fft * up), 2.0, 4.0) / n_fft
    return torch.from_numpy((weight * np.cos(2.0 * np.pi / (n_fft * up) * bins * np.arange(first, last))).astype(np.float32))


def _read(table: tuple[np.ndarray, np.ndarray], lag: np.ndarray) -> np.ndarray:
    """Values at lags (n_frames, n) [samples], linear between those of the table, held beyond them."""
    lags, values = table
    position = np.clip((lag - lags[0]) / (lags[1] - lags[0]), 0, len(lags) - 1.001)
    left = position.astype(int)
    rows = np.arange(len(values))[:, None]
    share = (position - left).astype(np.float32)
    return values[rows, left] * (1.0 - share) + values[rows, left + 1] * share


def _table_peaks(lags: np.ndarray, values: np.ndarray, band: Band) -> tuple[np.ndarray, np.ndarray]:
    before, here, after = values[:, :-2], values[:, 1:-1], values[:, 2:]
    is_peak = (here > before) & (here >= after) & (here > 0.2)
    rank = np.where(is_peak, here - LAG_PRIOR * np.log2(lags[1:-1]), -np.inf)
    chosen = np.argpartition(-rank, band.n_peaks, axis=1)[:, : band.n_peaks]
    before, here, after, is_peak = (np.take_along_axis(a, chosen, axis=1) for a in (before, here, after, is_peak))
    offset = 0.5 * (before - after) / np.minimum(before - 2.0 * here + after, -1e-9)  # parabola through three points
    lag = lags[1:-1][chosen] + np.clip(offset, -0.5, 0.5) / band.upsampling
    value = np.clip(here - 0.25 * (before - after) * offset, -1.0, 1.0)
    return np.where(is_peak, SAMPLE_RATE / lag, 0.0), np.where(is_peak, value, -1.0)


def split_spectra(audio: np.ndarray, n_frames: int) -> SplitSpectra:
    """Square roots of magnitudes of audio (n_samples,) at 16 kHz; frame t is centred on sample ``t * 160``."""
    return {low: root_spectra(audio, n_frames, length) for low, length in LENGTHS.items()}


def salience(spectra: SplitSpectra, frequency_hz: np.ndarray) -> np.ndarray:
    """Contrast between the prime partials of candidates for f0 (n_frames, n_candidates) and the gaps between them.

    Spectra are square roots of magnitudes, so that a strong partial does not outvote the others. About 0.9 for a rich tone at its f0, 0.65
    for a sine, below 0.5 at a subharmonic, 0 in silence and where there is no candidate (0 Hz).
    """
    there, frequency_hz = frequency_hz > 0.0, np.clip(frequency_hz, LOWEST_HZ, HIGHEST_HZ)
    result = np.zeros(frequency_hz.shape, dtype=np.float32)
    for low, length in LENGTHS.items():
        rows, columns = np.nonzero(there & ((frequency_hz < SPLIT_HZ) == low))
        spectrum = spectra[low]
        norm = np.sqrt(np.square(spectrum[:, int(NORM_FROM_HZ * length / SAMPLE_RATE) :]).sum(axis=1) / PEAK_BINS) + 1e-6
        f0_hz = frequency_hz[rows, columns]
        total = np.zeros(len(rows), dtype=np.float32)
        for partial, weight in zip(PARTIALS, WEIGHTS, strict=True):
            here, below, above = (read_spectra(spectrum, rows, (partial + offset) * f0_hz) for offset in (0.0, -0.5, 0.5))
            total += np.where(partial * f0_hz < HIGHEST_PARTIAL_HZ, weight * (here - 0.5 * (below + above)), 0.0)
        result[rows, columns] = total / norm[rows]
    return result / np.linalg.norm(WEIGHTS)


def upper_odd_partials(spectra: SplitSpectra, rows: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """How strong partials 5, 7 and 9 are beside their even neighbours, where those can be heard: square roots of magnitudes.

    For f0 (n,) in frames `rows` (n,): about 1 where they are as strong, 0 where there are none.
    """
    low = frequency_hz < SPLIT_HZ
    partials = np.zeros((UPPER_PARTIALS + 1, len(rows)), dtype=np.float32)
    for split in LENGTHS:
        here = low == split
        for k in range(2, UPPER_PARTIALS + 1):
            partials[k, here] = read_spectra(spectra[split], rows[here], k * frequency_hz[here])
    beside = 0.5 * (partials[4:-1:2] + partials[6::2])
    heard = (beside > AUDIBLE_ROOT * partials.max(axis=0)) & (
        np.arange(6, UPPER_PARTIALS + 1, 2)[:, None] * frequency_hz < HIGHEST_PARTIAL_HZ
    )
    return (partials[5::2] * heard).sum(axis=0) / np.maximum((beside * heard).sum(axis=0), 1e-9)


def root_spectra(audio: np.ndarray, n_frames: int, length: int) -> np.ndarray:
    """Square roots of magnitudes, Hann window, every 10 ms: (n_frames, length // 2 + 1)."""
    padded = np.zeros(n_frames * HOP_LENGTH + length, dtype=np.float32)
    n_copied = min(len(audio), len(padded) - length // 2)
    padded[length // 2 : length // 2 + n_copied] = audio[:n_copied]
    return magnitudes(torch.from_numpy(padded), length, HOP_LENGTH, center=False).T[:n_frames].sqrt_().numpy()


def read_spectra(spectra: np.ndarray, rows: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Values (n,) in given rows at given frequencies, linear between bins."""
    n_bins = spectra.shape[1]
    position = np.clip(frequency_hz * (2.0 * (n_bins - 1) / SAMPLE_RATE), 0.0, n_bins - 1.001)
    left = position.astype(int)
    share = (position - left).astype(np.float32)
    return spectra[rows, left] * (1.0 - share) + spectra[rows, left + 1] * share
