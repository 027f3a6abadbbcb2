"""Colour, fluctuation and string damping of a reference: what is left when a model plays it as well as its timbre vector lets it.

The decoder plays the reference's own f0 and loudness, and the mean spectra of both are compared, of the partials and of what lies between
them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..audio.loudness import correct_loudness_in_pieces
from ..audio.stft import band_centres_hz, band_interpolation, frame_magnitudes
from ..controls.controls import Controls
from ..models.timbre_model import TimbreModel
from ..synthesis.damping import STRING_DAMPING, free_decay
from ..synthesis.fluctuation import fluctuation_depths, fluctuation_to_add, measure_beside

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


@torch.no_grad()
def match_colour(
    model: TimbreModel, z: torch.Tensor, reference: torch.Tensor, heard: Controls, *, string_damping: float = 0.0
) -> torch.Tensor:
    """Gains (2, n_bands) [dB], at most 18 dB either way, that bring what a model plays to the mean spectrum of a reference.

    Of partials and of noise, at the centres of the noise bands. `reference` (n_samples,) is at the model's rate, `heard` is what is played
    in it; `string_damping` that with which the model plays it.
    """
    reference, heard = _beginning(reference, heard)
    notes = heard.note_frames()
    played = _played(model, z, heard, notes, string_damping)
    of_reference, of_played = (_partials_and_noise(sound, heard, notes, model.settings.n_bands) for sound in (reference, played))
    tone, noise = (_gain(*pair) for pair in zip(of_reference, of_played, strict=True))
    return torch.stack([tone, torch.minimum(noise, tone + NOISE_ABOVE_DB)])


@torch.no_grad()
def match_fluctuation(model: TimbreModel, z: torch.Tensor, reference: torch.Tensor, heard: Controls) -> torch.Tensor | None:
    """Fluctuation (n_harmonics,) [dB] with which the partials of what a model plays move as far as a reference's.

    Arguments as for `match_colour`. None: no note is long enough, or nothing is to be added.
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

    Arguments as for `match_colour`. The string damping [dB/s per square root of a hertz] with which the ends of notes come nearer to those
    of the reference; 0 if there are too few.
    """
    reference, heard = _beginning(reference, heard)
    ends = free_decay(heard.loudness_db, heard.grid.frame_rate) > ENDING_S
    if int(ends.sum()) < FEWEST_ENDING_FRAMES:
        return 0.0
    notes = heard.note_frames()
    recorded_db, *played_db = (
        _shape_db(sound, ends, heard, model.settings.n_bands)
        for sound in (reference, *(_played(model, z, heard, notes, damping) for damping in (0.0, STRING_DAMPING)))
    )
    without, with_it = (float((recorded_db - one).abs().mean()) for one in played_db)
    return STRING_DAMPING if with_it < without - CLEARLY_DB else 0.0


def _played(model: TimbreModel, z: torch.Tensor, heard: Controls, notes: torch.Tensor, string_damping: float) -> torch.Tensor:
    """Render controls as loud as they are, (n_samples,)."""
    sound = model.play(heard, z, string_damping=string_damping)
    return torch.cat(list(correct_loudness_in_pieces(sound, heard.loudness_db, notes, heard.grid)))


def _shape_db(sound: torch.Tensor, frames: torch.Tensor, heard: Controls, n_bands: int) -> torch.Tensor:
    """Level of bands in some frames of a sound re their mean over bands [dB], (n_chosen, n_bands)."""
    power = frame_magnitudes(sound, heard.grid, N_FFT).square()[frames]
    level_db = 10.0 * torch.log10(power @ band_interpolation(n_bands, N_FFT, heard.grid.sample_rate).T + 1e-12)
    level_db = torch.maximum(level_db, level_db.amax(-1, keepdim=True) + FAINTEST_SHAPE_DB)
    return level_db - level_db.mean(-1, keepdim=True)


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
        return 10.0 * np.log10(np.where(count > 0, total / count, np.nan) + 1e-12)


def _gain(reference_db: np.ndarray, played_db: np.ndarray) -> torch.Tensor:
    """Gain of each band [dB], (n_bands,): the mean difference, smoothed, and the less the fewer frames know of it."""
    known = np.isfinite(reference_db) & np.isfinite(played_db)
    known &= np.where(known, np.maximum(reference_db, played_db), -np.inf) > np.nanmax(reference_db, initial=-200.0) + FAINTEST_DB
    difference = np.where(known, reference_db - played_db, 0.0)
    kernel = np.array([0.25, 0.5, 0.25])
    total, count = (np.convolve(values.sum(0), kernel, "same") for values in (difference, known.astype(float)))
    return torch.from_numpy(np.clip(total / (count + TRUSTED_FRAMES), -LARGEST_DB, LARGEST_DB)).float()
