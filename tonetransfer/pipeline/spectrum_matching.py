"""Comparison of a recording's spectrum with what a model plays: the same f0 and loudness, on a named instrument or on a timbre vector.

In bands, it tells instruments and effort apart. The named timbres that play a reference most like it are where the search for its timbre
vector begins; when that is found, mean spectra of the partials and of what lies between them give the colour that is left, and fluctuation
and the ends of notes are compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from ..audio.files import LongAudio
from ..audio.loudness import correct_loudness_in_pieces
from ..audio.stft import band_centres_hz, band_interpolation, fast_length, frame_magnitudes, hann, narrow_band_hz
from ..audio.units import db_to_amplitude, hz_to_midi
from ..controls.adaptation import level_shift_db
from ..controls.controls import Controls
from ..controls.profile import Target, traits_of
from ..controls.recording_checks import warn_of_narrow_band
from ..models.note_age_table import looked_up, note_age
from ..models.timbre_model import TimbreModel
from ..synthesis.colour import BAND_EDGES_HZ, coloured
from ..synthesis.damping import STRING_DAMPING, free_decay
from ..synthesis.fluctuation import fluctuation_depths, fluctuation_to_add, measure_beside
from ..synthesis.render import SynthParams

STRETCH_S, MOST_STRETCHES = 1.0, 3  # of a recording that are listened to: those with the loudest notes
BAND_FFT = 2048
FLOOR_DB = -45.0  # of a band, below the strongest: rooms and microphones hide what is fainter
PLAYED_AT_A_TIME = 8  # instruments: more would only take memory
SOFTEST_JUDGED_DB = 25.0  # below the loudest notes
DECISION_DB = 0.5  # of distance, by which a timbre counts less in the mean by a factor of e
N_FFT = 4096  # 85 ms: tells partials from what is between them above 100 Hz
LONGEST_S = 30.0  # the reference is heard up to here
ON_HZ, OFF_SHARE = 30.0, 0.3  # from a partial: on it; and, as a share of f0, between two
LARGEST_DB = 18.0
NOISE_ABOVE_DB = 3.0  # the partials' gain: moving partials and a room are seen between partials, too, and are no noise
TRUSTED_FRAMES = 60  # a band heard in so many frames is half believed
LARGEST_FLUCTUATION_DB = 2.5  # a few notes tell it roughly
FAINTEST_DB = -75.0  # fainter bands, below the strongest, do not count
ENDING_S, FEWEST_ENDING_FRAMES = 0.03, 30  # of a fall, from which on its spectrum is compared; and how many frames of it are enough
FAINTEST_SHAPE_DB = -50.0
CLEARLY_DB = 0.5  # nearer in the mean over bands
EDGE = 0.9  # share of a narrow band at which what lies above is faded in


def loud_sound(audio: torch.Tensor | LongAudio, heard: Controls, notes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Frames (n, n_frames) of the stretches whose notes are the loudest, and their sound (n, n_samples); None if there are none."""
    length, hop = round(STRETCH_S * heard.grid.frame_rate), heard.grid.hop_length
    n = len(notes) // length
    power = torch.where(notes, 10.0 ** (heard.loudness_db / 10.0), 0.0)[: n * length].reshape(n, length).mean(-1)
    chosen = torch.argsort(power, descending=True, stable=True)[:MOST_STRETCHES]
    firsts = sorted(int(i) * length for i in chosen if power[i] > 0.0)
    frames = torch.tensor(firsts, dtype=torch.long)[:, None] + torch.arange(length)
    return frames, torch.stack([_samples(audio, first * hop, length * hop) for first in firsts]) if firsts else None


def _samples(audio: torch.Tensor | LongAudio, first: int, n_samples: int) -> torch.Tensor:
    sound = audio[first : first + n_samples]
    return torch.nn.functional.pad(sound, (0, n_samples - len(sound)))


@torch.no_grad()
def similar_timbre(
    model: TimbreModel, reference: torch.Tensor, heard: Controls, *, highest_hz: float = BAND_EDGES_HZ[-1]
) -> torch.Tensor | None:
    """Mean of the named timbres (z_dim,), those that play a reference most like it before all others.

    Each of them plays the loudest notes of the reference (n_samples,) as hard as they are played in it. A distance is the mean absolute
    difference between the shapes of both spectra, over bands up to `highest_hz` and over frames. None: there is nothing to compare.
    """
    notes, level_db = heard.note_frames(), heard.loudness_db
    frames, sound = loud_sound(reference, heard, notes)
    if sound is None or not len(model.quantiles):
        return None
    f0_hz, playing, level = heard.f0_hz[frames], notes[frames], level_db[frames]
    judged = playing & (level > level[playing].max() - SOFTEST_JUDGED_DB)
    n_bands = int(np.searchsorted(BAND_EDGES_HZ, highest_hz, side="right")) - 1
    spectra = frame_magnitudes(sound, heard.grid, BAND_FFT)[judged]
    recorded_db = shape_db(in_db(bands_of_spectra(spectra, heard.grid.sample_rate)[:, :n_bands]))
    asked = [
        (Target(z), level_shift_db(level_db, notes, quantiles, heard.grid.frame_rate))
        for z, quantiles in zip(model.timbres, model.quantiles, strict=True)
    ]
    played = bands_played(model, asked, f0_hz, level)
    away_db = torch.tensor([np.abs(recorded_db - shape_db(in_db(bands[judged.numpy()][:, :n_bands]))).mean() for bands in played])
    return torch.softmax(-away_db / DECISION_DB, 0).to(model.timbres) @ model.timbres


@torch.no_grad()
def bands_played(
    model: TimbreModel, asked: Sequence[tuple[Target, float]], f0_hz: torch.Tensor, level_db: torch.Tensor
) -> Iterator[np.ndarray]:
    """Power in bands of what instruments play, each at a gain [dB], (n, n_frames, n_bands); f0 and level are (n, n_frames)."""
    n = len(f0_hz)
    for first in range(0, len(asked), PLAYED_AT_A_TIME):
        some = asked[first : first + PLAYED_AT_A_TIME]
        f0, level = f0_hz.repeat(len(some), 1), torch.cat([level_db + gain for _, gain in some])
        z = torch.stack([player.z.reshape(-1, player.z.shape[-1]).mean(0) for player, _ in some])
        params = model.decoder(f0, level, z.repeat_interleave(n, 0), addition=_of_age([player for player, _ in some], n, f0, level))[0]
        for row, (player, _) in enumerate(some):
            its = params.map(lambda x, row=row: x[row * n : (row + 1) * n].flatten(0, 1))  # a default of the loop's
            yield bands_of_params(its, player, model.sample_rate).reshape(*f0_hz.shape, -1)


def _of_age(players: Sequence[Target], n: int, f0_hz: torch.Tensor, level_db: torch.Tensor) -> torch.Tensor | None:
    """Additions of instruments' note-age tables, `n` rows each, to the decoder's raw outputs (rows, n_frames, n_out); None: no table."""
    tables = [player.note_table for player in players]
    if (known := next((table for table in tables if table is not None), None)) is None:
        return None
    stacked = torch.stack([torch.zeros_like(known) if table is None else table for table in tables])
    return looked_up(stacked.repeat_interleave(n, 0), hz_to_midi(f0_hz), level_db, note_age(f0_hz, level_db))


def bands_of_spectra(magnitudes: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Power of frames of sound (n_frames, BAND_FFT // 2 + 1) in bands, re a full-scale sine, (n_frames, n_bands)."""
    power = magnitudes.square().numpy() / (BAND_FFT * float(hann(BAND_FFT).square().sum()) / 4.0)
    edges = np.searchsorted(np.arange(BAND_FFT // 2 + 1) * sample_rate / BAND_FFT, BAND_EDGES_HZ)
    return np.stack([power[:, first:last].sum(-1) for first, last in pairwise(edges)], axis=-1)


def bands_of_params(params: SynthParams, player: Target, sample_rate: int) -> np.ndarray:
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
    n_bands = len(BAND_EDGES_HZ) - 1
    band = np.searchsorted(BAND_EDGES_HZ, frequency_hz.numpy(), side="right") - 1
    inside = (band >= 0) & (band < n_bands)
    place = (np.arange(len(band))[:, None] * n_bands + band)[inside]
    return np.bincount(place, power.double().numpy()[inside], len(band) * n_bands).reshape(-1, n_bands)


def in_db(power: np.ndarray) -> np.ndarray:
    """Decibels of a power, >= -120."""
    return 10.0 * np.log10(power + 1e-12)


def shape_db(level_db: np.ndarray, floor_db: float = FLOOR_DB) -> np.ndarray:
    """Levels of bands (..., n_bands) re their mean [dB]; what is faint beside the strongest is held at a floor."""
    level_db = np.maximum(level_db, level_db.max(-1, keepdims=True) + floor_db)
    return level_db - level_db.mean(-1, keepdims=True)


@torch.no_grad()
def widened(model: TimbreModel, reference: torch.Tensor, heard: Controls, target: Target | None = None) -> torch.Tensor:
    """A reference (n_samples,) whose band ends early, as a telephone's does, with what a target plays above it; others as they are.

    The target plays what is `heard` in the reference, as loud beside it as it is in the octave below the end of the band. None: the mean of
    the named timbres that play the rest most like it.
    """
    rate = heard.grid.sample_rate
    end_hz = narrow_band_hz(reference[: round(LONGEST_S * rate)].numpy(), rate)
    if end_hz is None or (target is None and not model.names):
        return reference
    if target is None:
        z = similar_timbre(model, reference, heard, highest_hz=end_hz)
        if z is None:
            return reference
        target = Target(z)
    warn_of_narrow_band(end_hz)
    n_fft = fast_length(len(reference))
    played = torch.fft.rfft(_played(model, target, heard, heard.note_frames())[: len(reference)], n_fft)
    recorded, frequency_hz = torch.fft.rfft(reference, n_fft), torch.fft.rfftfreq(n_fft, 1.0 / rate)
    below = (frequency_hz > 0.5 * end_hz) & (frequency_hz < EDGE * end_hz)
    gain = (recorded[below].abs().square().sum() / played[below].abs().square().sum().clamp(min=1e-12)).sqrt()
    largest = db_to_amplitude(LARGEST_DB)
    share = ((frequency_hz / end_hz - EDGE) / (1.0 - EDGE)).clamp(0.0, 1.0)
    return torch.fft.irfft(recorded + gain.clamp(1.0 / largest, largest) * share * played, n_fft)[: len(reference)]


@torch.no_grad()
def match_colour(model: TimbreModel, target: Target, reference: torch.Tensor, heard: Controls) -> torch.Tensor:
    """Gains (2, n_bands) [dB], at most 18 dB either way, that bring what a target plays to the mean spectrum of a reference.

    Of partials and of noise, at the centres of the noise bands. `reference` (n_samples,) is at the model's rate, `heard` is what is played
    in it, both as loud as the target is when it plays as hard.
    """
    reference, heard = _beginning(reference, heard)
    notes = heard.note_frames()
    played = _played(model, target, heard, notes)
    of_reference, of_played = (_partials_and_noise(sound, heard, notes, model.settings.n_bands) for sound in (reference, played))
    tone, noise = (_gain(*pair) for pair in zip(of_reference, of_played, strict=True))
    return torch.stack([tone, torch.minimum(noise, tone + NOISE_ABOVE_DB)])


@torch.no_grad()
def match_fluctuation(model: TimbreModel, z: torch.Tensor, reference: torch.Tensor, heard: Controls) -> torch.Tensor | None:
    """Fluctuation (n_harmonics,) [dB] with which the partials of what a model plays on a timbre z move as far as a reference's.

    Other arguments as for `match_colour`. None: no note is long enough, or nothing is to be added.
    """
    reference, heard = _beginning(reference, heard)
    notes, n_harmonics = heard.note_frames(), model.settings.n_harmonics

    def play(depth_db: torch.Tensor | None) -> Iterator[torch.Tensor]:
        return model.play(heard, z, fluctuation_db=depth_db)

    levels = measure_beside(reference, play, n_harmonics, heard.f0_hz, notes, heard.grid)
    return fluctuation_depths(fluctuation_to_add([levels], LARGEST_FLUCTUATION_DB) or 0.0, n_harmonics)


@torch.no_grad()
def match_string_damping(model: TimbreModel, z: torch.Tensor, reference: torch.Tensor, heard: Controls) -> float:
    """Tell whether the notes of a reference die away as undriven strings do, or as the model has learned it.

    Arguments as for `match_fluctuation`. The string damping [dB/s per square root of a hertz] with which the ends of notes come nearer to
    those of the reference; 0 if there are too few.
    """
    reference, heard = _beginning(reference, heard)
    ends = free_decay(heard.loudness_db, heard.grid.frame_rate) > ENDING_S
    if int(ends.sum()) < FEWEST_ENDING_FRAMES:
        return 0.0
    notes = heard.note_frames()
    recorded_db, *played_db = (
        _spectrum_shape_db(sound, ends, heard, model.settings.n_bands)
        for sound in (reference, *(_played(model, Target(z, string_damping=damping), heard, notes) for damping in (0.0, STRING_DAMPING)))
    )
    without, with_it = (float(np.abs(recorded_db - one).mean()) for one in played_db)
    return STRING_DAMPING if with_it < without - CLEARLY_DB else 0.0


def _played(model: TimbreModel, target: Target, heard: Controls, notes: torch.Tensor) -> torch.Tensor:
    """Render controls as loud as they are, (n_samples,)."""
    sound = model.play(heard, target.z, **traits_of(target))
    return torch.cat(list(correct_loudness_in_pieces(sound, heard.loudness_db, notes, heard.grid)))


def _spectrum_shape_db(sound: torch.Tensor, frames: torch.Tensor, heard: Controls, n_bands: int) -> np.ndarray:
    """Shape of the spectrum of a sound in some frames, as :func:`shape_db`, (n_chosen, n_bands)."""
    power = frame_magnitudes(sound, heard.grid, N_FFT).square()[frames]
    return shape_db(in_db((power @ band_interpolation(n_bands, N_FFT, heard.grid.sample_rate).T).numpy()), FAINTEST_SHAPE_DB)


def _beginning(reference: torch.Tensor, heard: Controls) -> tuple[torch.Tensor, Controls]:
    """The part of a reference that is compared with what a model plays, and what is heard in it: equally long."""
    heard = heard.slice(0.0, LONGEST_S)
    return torch.nn.functional.pad(reference, (0, max(heard.n_samples - len(reference), 0)))[: heard.n_samples], heard


def _partials_and_noise(sound: torch.Tensor, heard: Controls, notes: torch.Tensor, n_bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Power of each band on the partials and between them in note frames [dB], each (n_frames, n_bands); NaN where nothing lies."""
    grid = heard.grid
    power = frame_magnitudes(sound, grid, N_FFT).square()[notes].numpy()
    frequencies, f0_hz = np.arange(power.shape[-1]) * grid.sample_rate / N_FFT, heard.f0_hz[notes].numpy()
    centres = band_centres_hz(n_bands, grid.sample_rate)
    band = np.clip(np.searchsorted(0.5 * (centres[:-1] + centres[1:]), frequencies), 0, n_bands - 1)
    away = np.abs(frequencies - np.maximum(np.round(frequencies / f0_hz[:, None]), 1.0) * f0_hz[:, None])
    between = (away > OFF_SHARE * f0_hz[:, None]) & (away > 1.5 * ON_HZ)
    return _mean_in_bands(power, band, away <= ON_HZ, n_bands), _mean_in_bands(power, band, between, n_bands)


def _mean_in_bands(power: np.ndarray, band: np.ndarray, chosen: np.ndarray, n_bands: int) -> np.ndarray:
    """Mean power of the chosen bins of each band [dB], (n_frames, n_bands); NaN where there are none."""
    edges = np.searchsorted(band, np.arange(n_bands))
    total, count = (np.add.reduceat(values, edges, axis=1) for values in (power * chosen, chosen.astype(np.float32)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return in_db(np.where(count > 0, total / count, np.nan))


def _gain(reference_db: np.ndarray, played_db: np.ndarray) -> torch.Tensor:
    """Gain of each band [dB], (n_bands,): the mean difference, smoothed, and the less the fewer frames know of it."""
    known = np.isfinite(reference_db) & np.isfinite(played_db)
    known &= np.where(known, np.maximum(reference_db, played_db), -np.inf) > np.nanmax(reference_db, initial=-200.0) + FAINTEST_DB
    difference = np.where(known, reference_db - played_db, 0.0)
    kernel = np.array([0.25, 0.5, 0.25])
    total, count = (np.convolve(values.sum(0), kernel, "same") for values in (difference, known.astype(float)))
    return torch.from_numpy(np.clip(total / (count + TRUSTED_FRAMES), -LARGEST_DB, LARGEST_DB)).float()
