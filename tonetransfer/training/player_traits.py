"""Traits of recorded players that no gradient teaches: how far their partials fluctuate, and the room tone they are heard in.

Both are measured on the recordings of a corpus after a training. Instruments that no free recording holds take the median of their family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from ..audio.stft import band_centres_hz
from ..audio.units import midi_to_hz
from ..controls.controls import Controls
from ..models.instrument_names import is_players
from ..models.note_age_table import HIGHEST_MIDI, LONGEST_AGE, LOWEST_MIDI, N_AGES, N_LEVELS, N_PITCHES, age_shares, coarse_places
from ..models.timbre_model import Instrument, TimbreModel
from ..synthesis.colour import measure_room_tone
from ..synthesis.fluctuation import fluctuation_to_add, measure_beside
from .batches import QUIET_DB, Corpus, Recording

MOST_RECORDINGS = 4  # that a player is measured on
LARGEST_DB = {"brass": 1.8}  # single notes promise more than phrases hold: in these, partials of horn and trombone move by 0.4 to 1.2 dB
LARGEST_ELSEWHERE_DB = 4.0
ACOUSTIC = ("strings", "flute", "reed", "sax", "brass", "voice")
HIGHS_HZ = (9000.0, 13000.0)  # where the gain of the highest bands begins, and where it is whole
DB_PER_UNIT = 20.0  # of a decoder's raw outputs, where what comes out is faint
SOUNDFONT_ENDING = "_fluid"  # variants of recorded instruments, which stay as they are


def with_traits(model: TimbreModel, corpus: Corpus) -> TimbreModel:
    """A model that was trained on a corpus, changed in place, whose named instruments know their traits."""
    measured = {one.name: player_fluctuation_db(model, corpus, one) for one in model.instruments if one.note_table >= 0}
    known = {name: value for name, value in measured.items() if value is not None}
    families = {one.name: one.family for one in model.instruments}
    model.instruments = tuple(_with_trait(one, known, families) for one in model.instruments)
    tones = [tone for one in corpus.recordings if (tone := _room_tone(corpus, one)) is not None]
    if tones:
        model.room_tone_db = torch.stack(tones).median(0).values
    return model


def with_primaries(model: TimbreModel, primaries: Mapping[str, Mapping[str, float]]) -> TimbreModel:
    """A model, changed in place, in which some named timbres are one of their players, or the mean of several, in given shares.

    Names, ranges and note-age tables stay; timbre and dynamics become those of the players, release and usual pitch those of the first of
    them. InstrumentError: there is no such one.
    """
    mixed = {name: (model.mix(shares), _dynamics(model, shares)) for name, shares in primaries.items()}
    for name, (z, quantiles) in mixed.items():
        row, player = model.find(name), model.instrument(next(iter(primaries[name])))
        model.timbres[row], model.quantiles[row] = z, quantiles
        known = replace(model.instruments[row], release_db_per_s=player.release_db_per_s, mean_midi=player.mean_midi)
        model.instruments = (*model.instruments[:row], known, *model.instruments[row + 1 :])
    return model


def with_highs(model: TimbreModel, gain_db: float) -> TimbreModel:
    """A model, changed in place, whose instruments in a room tone are louder above 9 kHz, wholly from 13 kHz on.

    Distances of log spectra teach the median of what comes and goes, and its mean power is higher. The gain goes into the note-age tables;
    instruments that have none share a new one.
    """
    if not gain_db or model.note_tables is None:
        return model
    highs = _highs_table(model, gain_db / DB_PER_UNIT)
    without = [one for one in model.instruments if one.in_room_tone and one.note_table < 0]
    shared = {one.name: replace(one, note_table=len(model.note_tables)) for one in without}
    model.note_tables = torch.cat([model.note_tables + highs, *([highs[None]] if without else [])])
    model.instruments = tuple(shared.get(one.name, one) for one in model.instruments)
    return model


def _highs_table(model: TimbreModel, gain: float) -> torch.Tensor:
    """Note-age table (25, 15, n_out) that adds a gain to the raw outputs of partials and noise in the highest bands, whatever the age."""
    midi, ages = torch.arange(LOWEST_MIDI, HIGHEST_MIDI + 1.0), torch.arange(LONGEST_AGE + 1.0)
    partials_hz = midi_to_hz(midi)[:, None] * torch.arange(1, model.settings.n_harmonics + 1)
    bands_hz = torch.from_numpy(band_centres_hz(model.settings.n_bands, model.sample_rate)).float().expand(len(midi), -1)
    first, whole = (float(np.log(edge)) for edge in HIGHS_HZ)
    wanted = ((torch.cat([partials_hz, bands_hz], 1).clamp(min=1.0).log() - first) / (whole - first)).clamp(0.0, 1.0)
    wanted = torch.nn.functional.pad(gain * wanted, (1, 0))  # not the amplitude of the whole
    places = coarse_places(midi, torch.zeros_like(midi))[:, :N_PITCHES]
    pitches = torch.linalg.lstsq(places, wanted).solution
    shares = torch.linalg.lstsq(age_shares(ages), torch.ones(len(ages), 1)).solution[:, 0]
    return torch.cat([pitches[:, None] * shares[:, None], torch.zeros(N_LEVELS, N_AGES, wanted.shape[-1])])


def in_order(model: TimbreModel) -> TimbreModel:
    """A model whose instruments stand by family, and each before its players and its soundfont; changed in place."""
    kinds = list(dict.fromkeys(_kind(one.name) for one in model.instruments))
    families = list(dict.fromkeys(one.family for one in model.instruments))
    named = [(families.index(one.family), kinds.index(_kind(one.name)), one.name) for one in model.instruments]
    order = sorted(range(len(named)), key=named.__getitem__)
    model.instruments = tuple(model.instruments[row] for row in order)
    model.timbres, model.quantiles = model.timbres[order].clone(), model.quantiles[order].clone()
    return model


def _kind(name: str) -> str:
    """The instrument that a player or a soundfont's variant plays: `alto_sax` for `alto_sax_2` and `alto_sax_fluid`."""
    base, _, last = name.rpartition("_")
    return base if base and (last.isdigit() or f"_{last}" == SOUNDFONT_ENDING) else name


def _dynamics(model: TimbreModel, shares: Mapping[str, float]) -> torch.Tensor:
    """Weighted mean of the loudness quantiles of some instruments, (13,) [dB]."""
    total = sum(shares.values())
    return torch.stack([model.quantiles[model.find(name)] * (share / total) for name, share in shares.items()]).sum(0)


def _with_trait(instrument: Instrument, known: dict[str, float], families: dict[str, str]) -> Instrument:
    """An instrument with its fluctuation, or that of its family's players."""
    family = [value for name, value in known.items() if families[name] == instrument.family]
    leans = instrument.family in ACOUSTIC and not instrument.name.endswith(SOUNDFONT_ENDING)
    value = known.get(instrument.name, float(np.median(family)) if family and leans else 0.0)
    return replace(instrument, fluctuation_db=round(value, 2), in_room_tone=instrument.note_table >= 0 or (bool(family) and leans))


@torch.no_grad()
def player_fluctuation_db(model: TimbreModel, corpus: Corpus, instrument: Instrument) -> float | None:
    """Fluctuation that makes a model's partials move as far as a player's [dB]; None if no note is long enough."""
    row = next(i for i, timbre in enumerate(corpus.timbres) if timbre["name"] == instrument.name)
    z, table = model.timbre(instrument.name), model.note_table(instrument.name)
    levels = []
    own = [one for one in corpus.recordings if one.timbre == row]
    for recording in own[:: 1 + len(own) // MOST_RECORDINGS]:
        heard, sound = _heard(corpus, recording)

        def play(depth_db: torch.Tensor | None, heard: Controls = heard) -> Iterator[torch.Tensor]:
            return model.play(heard, z, note_table=table, fluctuation_db=depth_db)

        levels.append(measure_beside(sound, play, model.settings.n_harmonics, heard.f0_hz, heard.note_frames(), corpus.grid))
    return fluctuation_to_add(levels, LARGEST_DB.get(instrument.family, LARGEST_ELSEWHERE_DB))


def _heard(corpus: Corpus, recording: Recording) -> tuple[Controls, torch.Tensor]:
    """Controls of a recording of a corpus, and its sound."""
    span, hop = slice(recording.first, recording.first + recording.n_frames), corpus.grid.hop_length
    loud, voiced = corpus.loudness[span], corpus.voiced[span]
    controls = Controls(corpus.f0_hz[span], (voiced & (loud > QUIET_DB)).astype(np.float32), loud, corpus.grid)
    return controls, corpus.sound(recording.first * hop, recording.n_frames * hop)


def _room_tone(corpus: Corpus, recording: Recording) -> torch.Tensor | None:
    """Room tone of a recorded phrase; None of what was strung from notes, whose rests are empty."""
    names = [timbre["name"] for timbre in corpus.timbres]
    if not recording.performance.startswith("phrase-") or is_players(recording.performance, names):
        return None
    hop = corpus.grid.hop_length
    return measure_room_tone(corpus.sound(recording.first * hop, recording.n_frames * hop), float(recording.quantiles[-1]), corpus.grid)
