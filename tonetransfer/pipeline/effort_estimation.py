"""Effort heard in a recording's spectrum: how bright it is for its pitch and for the kind of instrument that plays.

Analysis by synthesis: the decoder plays what the source plays, at several efforts, on the named instrument most like the source and on
the one that is to play; the efforts whose spectra are nearest to the source's are the ones that are heard. Where the source is of the
same kind as the target, the target itself explains it best, and its own brightness does not count as effort. What the levels of the notes
suggest (:mod:`tonetransfer.controls.dynamics`) is the prior, since players and microphones differ in brightness as well.

In the course of a performance the same comparison tells where the source is brighter or duller than its loudness explains. What is
different all the time belongs to the player, the microphone and the room, and is left out.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from ..audio.files import LongAudio
from ..audio.stft import band_centres_hz, frame_magnitudes, hann, magnitudes_in_pieces
from ..audio.units import hz_to_midi
from ..controls.adaptation import level_shift_db
from ..controls.controls import Controls
from ..controls.dynamics import SOFTEST_DB, loud_end_db, loudness_quantiles, swell_range_db
from ..controls.profile import Target
from ..controls.recording_checks import check_whole
from ..models.note_age_table import looked_up, note_age
from ..models.timbre_model import TimbreModel
from ..synthesis.colour import coloured
from ..synthesis.render import PIECE_FRAMES, SynthParams
from .target import find_target, nearest_timbres

STRETCH_S, MOST_STRETCHES = 1.0, 3  # of the source that are listened to: those with the loudest notes
CANDIDATES_DB = (-24.0, -16.0, -8.0, 0.0)
EDGES_HZ = (100.0, 200.0, 300.0, 450.0, 670.0, 1000.0, 1500.0, 2200.0, 3300.0, 5000.0, 7500.0, 11000.0)
FLOOR_DB = -45.0  # of a band, below the strongest: rooms and microphones hide what is fainter
MISFIT_DB = 7.0  # between two players of an instrument, in a band
PRIOR_DB = 7.0  # spread of the effort around what the levels suggest
N_FFT = 2048
CHANGE_DB = 8.0  # how much softer and harder than asked the source is played, to know what effort does to its spectrum
LARGEST_CHANGE_DB = 12.0
CHANGE_PRIOR_DB = 6.0  # spread of the changes within a performance
CELL_FRAMES, SMOOTH_CELLS = 5, 11  # frames that are judged together, and width of the window over the cells
SOFT_DB = 30.0  # below the loudest notes: softer frames are not judged
FEWEST = 1e-3  # of the weight that the best-known cell has: less is as good as no note


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
    firsts, sound = _loud_sound(audio, heard, notes)
    if sound is None or not model.names:
        return None
    frames = torch.tensor(firsts)[:, None] + torch.arange(sound.shape[1] // grid.hop_length)
    f0_hz, level_db, playing = heard.f0_hz[frames], heard.loudness_db[frames], notes[frames]
    bands_db = _db(_bands_of_spectra(frame_magnitudes(sound, grid, N_FFT)[playing], grid.sample_rate).mean(0))
    loudest_db = float(loudness_quantiles(heard.loudness_db, notes)[-1])
    range_db = swell_range_db(heard.loudness_db, notes, grid.frame_rate)
    efforts, misfits = np.array(CANDIDATES_DB), []
    for player in (_most_similar(model, sound), target):
        if player is None or player.quantiles is None:
            continue
        gains = efforts + float(player.quantiles[-1]) - loudest_db
        played = _bands_played(model, player, f0_hz, level_db, playing, gains)
        misfits += [_misfit(bands_db + gain, bands) for gain, bands in zip(gains, played, strict=True)]
    efforts = np.tile(efforts, len(misfits) // len(efforts))
    cost = np.array(misfits) / (2.0 * MISFIT_DB**2) + (efforts - loud_end_db(range_db)) ** 2 / (2.0 * PRIOR_DB**2)
    weight = np.exp(cost.min() - cost)
    return round(float(np.clip(weight @ efforts / weight.sum() - range_db, SOFTEST_DB, 0.0)), 1)


@torch.no_grad()
def estimate_effort_changes(audio: torch.Tensor | LongAudio, heard: Controls, model: TimbreModel) -> torch.Tensor | None:
    """Estimate where a recording is played harder or more gently than its loudness tells.

    Parameters
    ----------
    audio : Tensor or LongAudio [shape=(n_samples,)]
        At the model's rate.
    heard : Controls [shape=(n_frames,)]
        What is played in it.
    model : TimbreModel
        Its named instrument most like the recording is what the recording is compared with.

    Returns
    -------
    Tensor [shape=(n_frames,)], in [-12, 12] [dB], or None
        Change of effort around what the loudness of each frame tells, over half a second. None: there are no notes to judge by, or no named
        instruments to compare with.

    Raises
    ------
    ControlsError
        The controls have another number of frames than the recording: they are of another one, or of a part of it.

    See Also
    --------
    estimate_dynamic : How hard the usual note is played.
    arrange : Takes the changes.

    Examples
    --------
    >>> model = tt.load_model()
    >>> t = torch.arange(48000) / 48000
    >>> audio = 0.3 * torch.sin(2 * torch.pi * 440 * t)  # the same from beginning to end
    >>> changes = tt.estimate_effort_changes(audio, tt.analyze(audio, 48000, model), model)
    >>> changes.shape, bool(changes[10:90].abs().max() < 1.0)
    (torch.Size([100]), True)
    """
    notes, grid = heard.note_frames(), heard.grid
    check_whole(audio, heard)
    firsts, sound = _loud_sound(audio, heard, notes)
    if sound is None or not model.names or (player := _most_similar(model, sound)).quantiles is None:
        return None
    asked = heard.shift_loudness(level_shift_db(heard.loudness_db, notes, player.quantiles, grid.frame_rate))
    frames = torch.tensor(firsts[-1:])[:, None] + torch.arange(sound.shape[1] // grid.hop_length)  # one stretch tells it well enough
    efforts = np.array([-CHANGE_DB, CHANGE_DB])
    played = _bands_played(model, player, asked.f0_hz[frames], asked.loudness_db[frames], notes[frames], efforts)
    by_effort = (_shape_db(played[1]) - _shape_db(played[0])) / np.ptp(efforts)
    level_db = heard.loudness_db.numpy() - float(loudness_quantiles(heard.loudness_db, notes)[-1])
    weight = np.where(notes.numpy() & (level_db > -SOFT_DB), 10.0 ** (level_db / 20.0), 0.0)
    recorded = (_bands_of_spectra(piece, grid.sample_rate) for piece in magnitudes_in_pieces(audio, grid, N_FFT, PIECE_FRAMES))
    expected = (_bands_of_params(piece, player, model.sample_rate) for piece in model.decode_stream(asked, player.z))
    cells, begin = np.zeros((-(-len(weight) // CELL_FRAMES), len(EDGES_HZ))), 0  # sums of weights and of weighted misfits
    for pair in zip(recorded, expected, strict=True):
        heard_db, played_db = (_shape_db(_db(bands)) for bands in pair)
        end = begin + len(heard_db)
        known = weight[begin:end, None]
        np.add.at(cells, np.arange(begin, end) // CELL_FRAMES, np.concatenate([known, known * (heard_db - played_db)], axis=1))
        begin = end
    return _changes(cells, by_effort, len(weight))


def _changes(cells: np.ndarray, by_effort: np.ndarray, n_frames: int) -> torch.Tensor:
    """Changes of effort (n_frames,) [dB].

    `cells` (n_cells, 1 + n_bands) are sums of weights and of weighted misfits [dB], `by_effort` (n_bands,) is what one decibel of effort
    changes in the bands [dB].
    """
    cells = cells - cells[:, :1] * np.append(0.0, cells[:, 1:].sum(0) / max(cells[:, 0].sum(), 1e-9))  # less what is there all the time
    window = np.hanning(SMOOTH_CELLS + 2)[1:-1]
    smooth = np.stack([np.convolve(column, window)[SMOOTH_CELLS // 2 :][: len(cells)] for column in cells.T], axis=1)
    known = smooth[:, 0] > FEWEST * smooth[:, 0].max()
    misfit_db = smooth[known, 1:] / smooth[known, :1]
    change_db = misfit_db @ by_effort / (by_effort @ by_effort + (MISFIT_DB / CHANGE_PRIOR_DB) ** 2)
    centres = CELL_FRAMES * np.flatnonzero(known) + CELL_FRAMES // 2
    return torch.from_numpy(np.interp(np.arange(n_frames), centres, np.clip(change_db, -LARGEST_CHANGE_DB, LARGEST_CHANGE_DB))).float()


def _shape_db(level_db: np.ndarray) -> np.ndarray:
    """Levels of bands (..., n_bands) re their mean [dB]; what is faint beside the strongest is held at a floor."""
    level_db = np.maximum(level_db, level_db.max(-1, keepdims=True) + FLOOR_DB)
    return level_db - level_db.mean(-1, keepdims=True)


def _loud_sound(audio: torch.Tensor | LongAudio, heard: Controls, notes: torch.Tensor) -> tuple[list[int], torch.Tensor | None]:
    """First frames of the stretches whose notes are the loudest, and their sound (n, n_samples); None if there are none."""
    length, hop = round(STRETCH_S * heard.grid.frame_rate), heard.grid.hop_length
    firsts = _loud_stretches(heard.loudness_db, notes, length)
    return firsts, torch.stack([_samples(audio, first * hop, length * hop) for first in firsts]) if firsts else None


def _most_similar(model: TimbreModel, sound: torch.Tensor) -> Target:
    """The named instrument most like some sound (n, n_samples)."""
    return find_target(model, model.sample_rate, to=nearest_timbres(model, model.encode(sound.flatten()), 1)[0][0])


def _loud_stretches(loudness_db: torch.Tensor, notes: torch.Tensor, length: int) -> list[int]:
    """First frames of the stretches whose notes are the loudest, in order."""
    n = len(notes) // length
    power = torch.where(notes, 10.0 ** (loudness_db / 10.0), 0.0)[: n * length].reshape(n, length).mean(-1)
    chosen = torch.argsort(power, descending=True, stable=True)[:MOST_STRETCHES]
    return sorted(int(i) * length for i in chosen if power[i] > 0.0)


def _samples(audio: torch.Tensor | LongAudio, first: int, n_samples: int) -> torch.Tensor:
    sound = audio[first : first + n_samples]
    return torch.nn.functional.pad(sound, (0, n_samples - len(sound)))


def _bands_of_spectra(magnitudes: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Power of frames of sound (n_frames, N_FFT // 2 + 1) in bands, re a full-scale sine, (n_frames, n_bands)."""
    power = magnitudes.square().numpy() / (N_FFT * float(hann(N_FFT).square().sum()) / 4.0)
    edges = np.searchsorted(np.arange(N_FFT // 2 + 1) * sample_rate / N_FFT, EDGES_HZ)
    return np.stack([power[:, first:last].sum(-1) for first, last in pairwise(edges)], axis=-1)


@torch.no_grad()
def _bands_played(
    model: TimbreModel, player: Target, f0_hz: torch.Tensor, level_db: torch.Tensor, playing: torch.Tensor, gains: np.ndarray
) -> list[np.ndarray]:
    """Mean power in bands of what an instrument plays at several gains [dB], (n_bands,) each; f0 and level are (n, n_frames)."""
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
        found.append(_db(_bands_of_params(some, player, model.sample_rate).mean(0)))
    return found


def _bands_of_params(params: SynthParams, player: Target, sample_rate: int) -> np.ndarray:
    """Power of parameters, tensors (n_frames, ...), in bands, re a full-scale sine, (n_frames, n_bands)."""
    if player.colour_db is not None:
        params = next(coloured([params], player.colour_db, sample_rate))
    partials_hz = params.f0_hz[:, None] * torch.arange(1, params.harmonic_distribution.shape[-1] + 1)
    tone = (params.amplitude[:, None] * params.harmonic_distribution).square()
    centres = torch.from_numpy(band_centres_hz(params.noise_magnitudes.shape[-1], sample_rate)).float()
    share = torch.gradient(centres)[0] / (sample_rate / 2.0)  # part of white noise that falls into a band
    noise = 2.0 * params.noise_magnitudes.square() * share  # a full-scale sine has the power one half
    return _in_bands(torch.cat([tone, noise], -1), torch.cat([partials_hz, centres.expand(len(tone), -1)], -1))


def _in_bands(power: torch.Tensor, frequency_hz: torch.Tensor) -> np.ndarray:
    """Power of components (n_frames, n) added up in bands, (n_frames, n_bands)."""
    n_bands = len(EDGES_HZ) - 1
    band = np.searchsorted(EDGES_HZ, frequency_hz.numpy(), side="right") - 1
    inside = (band >= 0) & (band < n_bands)
    place = (np.arange(len(band))[:, None] * n_bands + band)[inside]
    return np.bincount(place, power.double().numpy()[inside], len(band) * n_bands).reshape(-1, n_bands)


def _db(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(power + 1e-12)


def _misfit(bands_db: np.ndarray, played_db: np.ndarray) -> float:
    """Sum of squared differences of shape over bands, whatever is faint in both left out."""
    floor = max(bands_db.max(), played_db.max()) + FLOOR_DB
    difference = np.maximum(bands_db, floor) - np.maximum(played_db, floor)
    return float(np.square(difference - difference.mean()).sum())
