"""Effort heard in a recording's spectrum: how bright it is for its pitch and for the kind of instrument that plays.

Analysis by synthesis: the decoder plays what the source plays, at several efforts, on the named instrument most like the source and on
the one that is to play; the efforts whose spectra are nearest to the source's are the ones that are heard. Where the source is of the
same kind as the target, the target itself explains it best, and its own brightness does not count as effort. What the levels of the notes
suggest (:mod:`tonetransfer.controls.dynamics`) is the prior, since players and microphones differ in brightness as well.
"""

from __future__ import annotations

import numpy as np
import torch

from ..audio.files import LongAudio
from ..audio.frames import FrameGrid
from ..audio.stft import band_centres_hz, frame_magnitudes, hann
from ..audio.units import hz_to_midi
from ..controls.controls import Controls
from ..controls.dynamics import SOFTEST_DB, loud_end_db, loudness_quantiles, swell_range_db
from ..controls.profile import Target
from ..models.note_age_table import looked_up, note_age
from ..models.timbre_model import TimbreModel
from ..synthesis.colour import coloured
from ..synthesis.render import SynthParams
from .target import find_target, nearest_timbres

STRETCH_S, MOST_STRETCHES = 1.0, 3  # of the source that are listened to: those with the loudest notes
CANDIDATES_DB = (-24.0, -16.0, -8.0, 0.0)
EDGES_HZ = (100.0, 200.0, 300.0, 450.0, 670.0, 1000.0, 1500.0, 2200.0, 3300.0, 5000.0, 7500.0, 11000.0)
FLOOR_DB = -45.0  # of a band, below the strongest: rooms and microphones hide what is fainter
MISFIT_DB = 7.0  # between two players of an instrument, in a band
PRIOR_DB = 7.0  # spread of the effort around what the levels suggest
N_FFT = 2048


def estimate_dynamic(audio: torch.Tensor | LongAudio, heard: Controls, model: TimbreModel, target: Target | None = None) -> float | None:
    """Estimate how hard the usual note of a recording is played.

    Parameters
    ----------
    audio : Tensor or LongAudio [shape=(n_samples,)]
        At the model's rate.
    heard : Controls [shape=(n_frames,)]
        What is played in it.
    model : TimbreModel
        Its named instruments are compared with.
    target : Target or None
        Who is to play, and is compared with as well.

    Returns
    -------
    float, in [-36, 0] [dB re the strongest], to a tenth, or None
        None: there are no notes to judge by, or no named instruments to compare with.

    Examples
    --------
    >>> model = tt.load_model()
    >>> t = torch.arange(48000) / 48000
    >>> audio = 0.3 * torch.sin(2 * torch.pi * 440 * t)
    >>> -36.0 <= tt.estimate_dynamic(audio, tt.analyze(audio, 48000, model), model) <= 0.0
    True
    """
    notes, grid = heard.note_frames(), heard.grid
    length = round(STRETCH_S * grid.frame_rate)
    firsts = _loud_stretches(heard.loudness_db, notes, length)
    if not firsts or not model.names:
        return None
    hop = grid.hop_length
    sound = torch.stack([_samples(audio, first * hop, length * hop) for first in firsts])
    frames = torch.tensor(firsts)[:, None] + torch.arange(length)
    nearest = nearest_timbres(model, model.encode(sound.flatten()), 1)[0][0]
    f0_hz, level_db, playing = heard.f0_hz[frames], heard.loudness_db[frames], notes[frames]
    bands_db = _bands_of_sound(sound, playing, grid)
    loudest_db = float(loudness_quantiles(heard.loudness_db, notes)[-1])
    range_db = swell_range_db(heard.loudness_db, notes, grid.frame_rate)
    efforts, misfits = np.array(CANDIDATES_DB), []
    for player in (find_target(model, model.sample_rate, to=nearest), target):
        if player is None or player.quantiles is None:
            continue
        gains = efforts + float(player.quantiles[-1]) - loudest_db
        played = _bands_played(model, player, f0_hz, level_db, playing, gains)
        misfits += [_misfit(bands_db + gain, bands) for gain, bands in zip(gains, played, strict=True)]
    efforts = np.tile(efforts, len(misfits) // len(efforts))
    cost = np.array(misfits) / (2.0 * MISFIT_DB**2) + (efforts - loud_end_db(range_db)) ** 2 / (2.0 * PRIOR_DB**2)
    weight = np.exp(cost.min() - cost)
    return round(float(np.clip(weight @ efforts / weight.sum() - range_db, SOFTEST_DB, 0.0)), 1)


def _loud_stretches(loudness_db: torch.Tensor, notes: torch.Tensor, length: int) -> list[int]:
    """First frames of the stretches whose notes are the loudest, in order."""
    n = len(notes) // length
    power = torch.where(notes, 10.0 ** (loudness_db / 10.0), 0.0)[: n * length].reshape(n, length).mean(-1)
    chosen = torch.argsort(power, descending=True, stable=True)[:MOST_STRETCHES]
    return sorted(int(i) * length for i in chosen if power[i] > 0.0)


def _samples(audio: torch.Tensor | LongAudio, first: int, n_samples: int) -> torch.Tensor:
    sound = audio[first : first + n_samples]
    return torch.nn.functional.pad(sound, (0, n_samples - len(sound)))


def _bands_of_sound(sound: torch.Tensor, playing: torch.Tensor, grid: FrameGrid) -> np.ndarray:
    """Mean power of sound (n, n_samples) in its note frames, in bands [dB re a full-scale sine], (n_bands,)."""
    power = frame_magnitudes(sound, grid, N_FFT).square()[playing] / (N_FFT * float(hann(N_FFT).square().sum()) / 4.0)
    return _in_bands(power.mean(0), torch.arange(N_FFT // 2 + 1) * grid.sample_rate / N_FFT)


@torch.no_grad()
def _bands_played(
    model: TimbreModel, player: Target, f0_hz: torch.Tensor, level_db: torch.Tensor, playing: torch.Tensor, gains: np.ndarray
) -> list[np.ndarray]:
    """The same of what an instrument plays at several gains [dB], from its parameters; f0 and level are (n, n_frames)."""
    n, count = len(f0_hz), len(gains)
    f0_hz, level_db = f0_hz.repeat(count, 1), level_db.repeat(count, 1) + torch.from_numpy(gains).float().repeat_interleave(n)[:, None]
    addition = None
    if player.note_table is not None:
        addition = looked_up(player.note_table.expand(len(f0_hz), -1, -1, -1), hz_to_midi(f0_hz), level_db, note_age(f0_hz, level_db))
    z = player.z.reshape(-1, player.z.shape[-1]).mean(0)
    params: SynthParams = model.decoder(f0_hz, level_db, z.expand(len(f0_hz), -1), addition=addition)[0]
    found = []
    for first in range(0, count * n, n):
        some = params.map(lambda x, first=first: x[first : first + n][playing])  # type: ignore[misc]  # a default of the loop's
        found.append(_bands_of_params(some, player, model.sample_rate))
    return found


def _bands_of_params(params: SynthParams, player: Target, sample_rate: int) -> np.ndarray:
    """Mean power of parameters, tensors (n_frames, ...), in bands [dB re a full-scale sine], (n_bands,)."""
    if player.colour_db is not None:
        params = next(coloured([params], player.colour_db, sample_rate))
    partials_hz = params.f0_hz[:, None] * torch.arange(1, params.harmonic_distribution.shape[-1] + 1)
    tone = (params.amplitude[:, None] * params.harmonic_distribution).square() / len(params.f0_hz)
    centres = torch.from_numpy(band_centres_hz(params.noise_magnitudes.shape[-1], sample_rate)).float()
    share = torch.gradient(centres)[0] / (sample_rate / 2.0)  # part of white noise that falls into a band
    noise = 2.0 * params.noise_magnitudes.square().mean(0) * share  # a full-scale sine has the power one half
    return _in_bands(torch.cat([tone.flatten(), noise]), torch.cat([partials_hz.flatten(), centres]))


def _in_bands(power: torch.Tensor, frequency_hz: torch.Tensor) -> np.ndarray:
    """Power of components added up in bands [dB], (n_bands,)."""
    total, _ = np.histogram(frequency_hz.numpy(), EDGES_HZ, weights=power.double().numpy())
    return 10.0 * np.log10(total + 1e-12)


def _misfit(bands_db: np.ndarray, played_db: np.ndarray) -> float:
    """Sum of squared differences of shape over bands, whatever is faint in both left out."""
    floor = max(bands_db.max(), played_db.max()) + FLOOR_DB
    difference = np.maximum(bands_db, floor) - np.maximum(played_db, floor)
    return float(np.square(difference - difference.mean()).sum())
