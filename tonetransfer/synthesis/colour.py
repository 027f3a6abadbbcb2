"""Colour, movement and room tone: what a recording has beside what the decoder knows of an instrument.

A colour is two smooth gains over frequency, one for the partials and one for the noise between them: one body, one microphone, one room.
A movement is such a gain that changes from frame to frame, as a player's breath and bow let it. A room tone is the stationary noise in
which a recording was made; without it every rest is dead, and no recording of a real instrument is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..audio.stft import a_weighting, a_weighting_at, band_centres_hz, frame_magnitudes
from ..audio.units import db_to_amplitude
from .render import SynthParams, white_noise

BAND_EDGES_HZ = (
    100.0,
    200.0,
    300.0,
    450.0,
    670.0,
    1000.0,
    1500.0,
    2200.0,
    3300.0,
    5000.0,
    7500.0,
    11000.0,
)  # of spectra that are compared, and of a movement
TONE_POINTS_HZ = np.geomspace(16.0, 20000.0, 64)
TONE_TAPS = 9600  # at 48 kHz: a fifth of a second resolves the lowest points
TONE_KEY = 0xA1B  # another stream of noise than that of the instrument
TONE_FFT, TONE_HOP_S = 8192, 0.04
LONGEST_TONE_S = 30.0  # a recording is heard up to here
QUIET_SHARE, FEWEST_FRAMES = 0.05, 5  # share of its frames in which the room is heard, and how many they are at least
QUIETEST_DB = -150.0  # of a room tone's density, below the loud notes
LOUDEST_TONE_DB = -75.0  # A-weighted, below the loud notes: what is louder is music that never pauses
RUMBLE_HZ = 120.0  # what is lower is no music
BELOW_NOTES = 0.7  # of the lowest f0: nor is this
LOUDEST_RUMBLE_DB = -15.0  # below the loud notes, not weighted
HOLD_S, FADE_S = 0.4, 0.3  # beyond the notes that a room tone lasts, and fades
GATE_FRAMES = 5  # in which it comes and goes where the source is silent
SILENT_BELOW_DB = 6.0  # a room tone: where a source is so much quieter, it cannot be there


def coloured(pieces: Iterable[SynthParams], colour_db: torch.Tensor, sample_rate: int) -> Iterator[SynthParams]:
    """Parameters under a colour, in consecutive pieces; rows of the distribution still sum to 1.

    `colour_db` (2, n_bands): gains of partials and of noise at the centres of the noise bands.
    """
    noise = db_to_amplitude(colour_db[1])
    for piece in pieces:
        numbers = torch.arange(1, piece.harmonic_distribution.shape[-1] + 1, dtype=piece.f0_hz.dtype)
        gains = db_to_amplitude(gain_at(colour_db[0], piece.f0_hz[:, None] * numbers, sample_rate))
        yield _with_spectrum(piece, piece.harmonic_distribution * gains, piece.noise_magnitudes * noise)


def _with_spectrum(piece: SynthParams, partials: torch.Tensor, noise_magnitudes: torch.Tensor) -> SynthParams:
    """Parameters with other levels of partials (n_frames, n_harmonics), re their amplitude, and of noise (n_frames, n_bands)."""
    total = partials.sum(-1, keepdim=True)
    return replace(
        piece,
        amplitude=piece.amplitude * total[..., 0],
        harmonic_distribution=partials / total.clamp(min=1e-9),
        noise_magnitudes=noise_magnitudes,
    )


def moving(pieces: Iterable[SynthParams], movement_db: torch.Tensor, sample_rate: int) -> Iterator[SynthParams]:
    """Parameters whose spectrum moves and whose A-weighted level stays, in consecutive pieces; rows of the distribution still sum to 1.

    `movement_db` (n_frames, 11): gains of partials and noise between `BAND_EDGES_HZ`, at the middles of the bands.
    """
    begin = 0
    for piece in pieces:
        moved_db = movement_db[begin : begin + piece.n_frames]
        begin += piece.n_frames
        partials_hz = piece.f0_hz[:, None] * torch.arange(1, piece.harmonic_distribution.shape[-1] + 1)
        centres_hz = torch.from_numpy(band_centres_hz(piece.noise_magnitudes.shape[-1], sample_rate)).to(partials_hz)
        tone, noise = (_gains_between_bands(moved_db, hertz) for hertz in (partials_hz, centres_hz.expand(piece.n_frames, -1)))
        moved = piece.harmonic_distribution * tone
        weight = a_weighting_at(partials_hz)
        before, after = ((weight * distribution.square()).sum(-1) for distribution in (piece.harmonic_distribution, moved))
        level = torch.where(after > 0.0, before / after, 1.0).sqrt()
        as_loud = replace(piece, amplitude=piece.amplitude * level)
        yield _with_spectrum(as_loud, moved, piece.noise_magnitudes * level[:, None] * noise)


def _gains_between_bands(gain_db: torch.Tensor, frequency_hz: torch.Tensor) -> torch.Tensor:
    """Gains of frames (n_frames, n_bands) [dB] at frequencies (n_frames, n), linear: linear on a scale of octaves between, held beyond."""
    middles = np.sqrt(np.multiply(BAND_EDGES_HZ[1:], BAND_EDGES_HZ[:-1]))
    place = torch.from_numpy(np.interp(frequency_hz.clamp(min=1.0).log2().numpy(), np.log2(middles), np.arange(len(middles)))).to(gain_db)
    below = place.long().clamp(max=len(middles) - 2)
    return db_to_amplitude(torch.lerp(gain_db.gather(1, below), gain_db.gather(1, below + 1), place - below))


def gain_at(gain_db: torch.Tensor, frequency_hz: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """A gain given at the centres of the noise bands (n_bands,), at other frequencies (...): linear between, held beyond [dB]."""
    centres = band_centres_hz(len(gain_db), sample_rate)
    return torch.from_numpy(np.interp(frequency_hz.numpy(), centres, gain_db.numpy())).to(frequency_hz)


def with_room_tone(
    pieces: Iterable[torch.Tensor], tone_db: torch.Tensor, presence: torch.Tensor, grid: FrameGrid, *, level_db: float, seed: int = 0
) -> Iterator[torch.Tensor]:
    """Sound in a room tone, in consecutive pieces (n_samples,).

    `tone_db` (64,): power density at `TONE_POINTS_HZ` [dB re `level_db`, per hertz; that one re full scale]. `presence` (n_frames,), in [0,
    1]: how much of it is heard, see :func:`room_presence`.
    """
    taps = room_tone_taps(tone_db, grid.sample_rate) * db_to_amplitude(level_db)
    begin = 0
    for piece in pieces:
        end = begin + len(piece)
        white = white_noise(begin - len(taps) + 1, len(piece) + len(taps) - 1, seed ^ TONE_KEY).numpy()
        n_fft = 1 << (len(white) - 1).bit_length()
        tone = np.fft.irfft(np.fft.rfft(white, n_fft) * np.fft.rfft(taps, n_fft), n_fft)[len(taps) - 1 : len(white)]
        there = np.interp(np.arange(begin, end) / grid.hop_length, np.arange(len(presence)), presence.numpy())
        yield piece + torch.from_numpy(tone * there).to(piece)
        begin = end


def room_tone_taps(tone_db: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Linear-phase filter that gives white noise of unit variance a power density (64,) [dB per hertz], (n_taps,). Shared."""
    return _taps(tuple(tone_db.tolist()), sample_rate)


@lru_cache(maxsize=8)
def _taps(tone_db: tuple[float, ...], sample_rate: int) -> np.ndarray:
    n = TONE_TAPS * sample_rate // 48000
    frequencies = np.fft.rfftfreq(n, 1.0 / sample_rate)
    density_db = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(TONE_POINTS_HZ), tone_db)
    response = 10.0 ** (density_db / 20.0) * np.sqrt(sample_rate / 2.0) / np.sqrt(2.0)  # a full-scale sine has the power one half
    response[frequencies < TONE_POINTS_HZ[0]] = 0.0
    return np.roll(np.fft.irfft(response, n), n // 2) * np.hanning(n)


def room_presence(notes: torch.Tensor, silent: torch.Tensor, frame_rate: float) -> torch.Tensor:
    """Share of a room tone in each frame, (n_frames,): it is there while notes are and a moment before and after; silence stays silence.

    `notes` and `silent`, (n_frames,): frames of notes, and frames in which the source is quieter than the room.
    """
    if not bool(notes.any()):
        return torch.zeros(len(notes))
    frames, playing = np.arange(len(notes)), np.flatnonzero(notes.numpy())
    place = np.clip(np.searchsorted(playing, frames), 1, max(len(playing) - 1, 1))
    away = np.abs(frames[:, None] - playing[np.minimum(np.stack([place - 1, place], 1), len(playing) - 1)]).min(1) / frame_rate
    near = torch.from_numpy(presence_at(away)).float()
    beside_silence = torch.nn.functional.max_pool1d(silent[None, None].float(), GATE_FRAMES, 1, GATE_FRAMES // 2)[0, 0] > 0.0
    near[beside_silence] = 0.0  # so that the mean below is 0 in all of the silence
    return torch.nn.functional.avg_pool1d(near[None, None], GATE_FRAMES, 1, GATE_FRAMES // 2, count_include_pad=False)[0, 0]


def tone_loudness_db(tone_db: torch.Tensor, sample_rate: int) -> float:
    """A-weighted loudness of a room tone [dB re the loud notes]."""
    return float(_levels_db(tone_db.numpy(), sample_rate, a_weighting(sample_rate, TONE_FFT).numpy()))


def presence_at(away_s: np.ndarray) -> np.ndarray:
    """Share of a room tone so far from the nearest note [s]."""
    return np.clip(1.0 - (away_s - HOLD_S) / FADE_S, 0.0, 1.0)


def measure_room_tone(reference: torch.Tensor, loudest_db: float, grid: FrameGrid, *, lowest_hz: float = RUMBLE_HZ) -> torch.Tensor:
    """Stationary noise of a recording (n_samples,): the spectrum of its quietest moments.

    Power density (64,) at `TONE_POINTS_HZ` [dB re the loud notes, per hertz]. `loudest_db` is the loudness of its loud notes [dB re full
    scale], `lowest_hz` the f0 of its lowest: what lies above may be a note that never pauses.
    """
    n_fft = TONE_FFT
    sparse = FrameGrid(grid.sample_rate, round(TONE_HOP_S * grid.sample_rate))
    power = frame_magnitudes(reference[: round(LONGEST_TONE_S * grid.sample_rate)], sparse, n_fft).square().numpy()
    by_bin = np.ascontiguousarray(power.T)  # in which the quantile takes a third of the time
    steady = np.quantile(by_bin, QUIET_SHARE, axis=1) / -np.log(1.0 - QUIET_SHARE)  # were it noise from end to end
    level = power @ a_weighting(grid.sample_rate, n_fft).numpy()
    quietest = power[np.argsort(level)[: max(round(QUIET_SHARE * len(power)), FEWEST_FRAMES)]].mean(0)  # were it noise in the pauses
    # Periodogram to density: a full-scale sine, power one half, reads 0 dB; Hann's noise bandwidth is 1.5 bins.
    density = np.minimum(steady, quietest) / (n_fft / 4.0) ** 2 / (1.5 * grid.sample_rate / n_fft)
    frequencies = np.arange(len(density)) * grid.sample_rate / n_fft
    edges = np.sqrt(TONE_POINTS_HZ[:-1] * TONE_POINTS_HZ[1:])
    edges = np.concatenate([[TONE_POINTS_HZ[0] * 0.9], edges, [TONE_POINTS_HZ[-1] * 1.05]])
    levels = [
        density[chosen].mean() if (chosen := (frequencies >= low) & (frequencies < high)).any() else np.interp(at, frequencies, density)
        for low, high, at in zip(edges[:-1], edges[1:], TONE_POINTS_HZ, strict=True)
    ]
    tone_db = np.maximum(10.0 * np.log10(np.array(levels) + 1e-20) - loudest_db, QUIETEST_DB)
    return torch.from_numpy(_not_louder(tone_db, grid.sample_rate, min(RUMBLE_HZ, BELOW_NOTES * lowest_hz))).float()


def _not_louder(tone_db: np.ndarray, sample_rate: int, rumble_hz: float) -> np.ndarray:
    """A room tone that is no louder than one can be; rumble, which is hardly heard, is bounded apart."""
    frequencies = np.linspace(0.0, sample_rate / 2.0, TONE_FFT // 2 + 1)
    rumble = (frequencies > TONE_POINTS_HZ[0]) & (frequencies <= rumble_hz)
    weights = np.stack([rumble, (frequencies > rumble_hz) * a_weighting(sample_rate, TONE_FFT).numpy()])
    excess_db = np.maximum(_levels_db(tone_db, sample_rate, weights) - (LOUDEST_RUMBLE_DB, LOUDEST_TONE_DB), 0.0)
    return np.maximum(tone_db - np.where(rumble_hz >= TONE_POINTS_HZ, *excess_db), QUIETEST_DB)


def _levels_db(tone_db: np.ndarray, sample_rate: int, weights: np.ndarray) -> np.ndarray:
    """Level of a room tone under weights (..., n_bins) of its power [dB re the loud notes], (...)."""
    frequencies = np.linspace(0.0, sample_rate / 2.0, TONE_FFT // 2 + 1)
    density = 10.0 ** (np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(TONE_POINTS_HZ), tone_db) / 10.0)
    return 10.0 * np.log10(2.0 * (weights * density).sum(-1) * sample_rate / TONE_FFT + 1e-20)
