"""What is heard of an instrument in prepared recordings, and how well a model plays those of them that are held out."""

from __future__ import annotations

from statistics import fmean

import torch

from .controls import extract
from .convert import hz_to_midi
from .dynamics import loudness_quantiles
from .likeness import single_instrument
from .loudness import FLOOR_DB, loudness_db
from .metrics import audible_log_spectral_distance_db, log_spectral_distance_db, raw_pitch_accuracy
from .model import Instrument, TimbreModel
from .release import USUAL_DB_PER_S, release_rate
from .solo_data import Material
from .solo_settings import SoloSettings
from .transfer import Arrangement, play

RANGE = 0.005, 0.995  # of the notes' pitch: a tracker's slips are no notes
LONGEST_S = 60.0  # of a recording that is played again
MOST_S = 180.0  # of all


def instrument_heard(model: TimbreModel, material: Material, settings: SoloSettings, *, encoded: bool = True) -> TimbreModel:
    """A copy of a model with the instrument of prepared recordings alone: its register, dynamics, release, and timbre at first hearing.

    Parameters
    ----------
    model : TimbreModel
    material : Material
    settings : SoloSettings
        Name, family, source and licence.
    encoded : bool
        False: the encoder knows nothing yet; the timbre vector is zero.
    """
    pieces = material.learned_pieces()
    notes = [piece.heard.note_frames() for piece in pieces]
    loud = torch.cat([piece.heard.loudness_db for piece in pieces])
    played = torch.cat(notes)
    midi = hz_to_midi(torch.cat([piece.heard.f0_hz[some] for piece, some in zip(pieces, notes, strict=True)]).double())
    lowest, highest = (round(float(end), 1) for end in torch.quantile(_thinned(midi), torch.tensor(RANGE, dtype=midi.dtype)))
    rest = torch.full((100,), FLOOR_DB)
    release = release_rate(torch.cat([part for piece in pieces for part in (piece.heard.loudness_db, rest)]), material.grid.frame_rate)
    facts = Instrument(
        settings.name,
        settings.family,
        lowest,
        highest,
        round(float(midi.mean()), 2),
        settings.source,
        settings.licence or str(material.prepared.manifest.get("licence", "not stated")),
        round(release or USUAL_DB_PER_S, 1),
    )
    z = model.encode(material.reference()) if encoded else torch.zeros(model.settings.z_dim)
    return single_instrument(
        model, facts, z, loudness_quantiles(_thinned(loud[played]), torch.ones_like(_thinned(loud[played]), dtype=torch.bool))
    )


def _thinned(values: torch.Tensor, most: int = 1_000_000) -> torch.Tensor:
    """Every n-th value, so that torch can take quantiles of many."""
    return values[:: max(1, -(-len(values) // most))]


def measure_solo(model: TimbreModel, material: Material) -> dict[str, float]:
    """How well a model of one instrument plays what is held out, from its own controls.

    Parameters
    ----------
    model : TimbreModel
    material : Material

    Returns
    -------
    dict
        ``lsd_db``, ``lsd60_db`` (:mod:`tonetransfer.metrics`); over note frames ``loudness_error_db`` and ``raw_pitch_accuracy`` (50
        cents); ``seconds`` that were compared. Empty where nothing is held out.
    """
    found: dict[str, list[float]] = {}
    seconds, n = 0.0, material.length
    for piece in material.pieces:
        if not len(piece.judged) or seconds >= MOST_S:
            continue
        truth = material.sound_of(piece, LONGEST_S)
        n_frames = len(truth) // material.grid.hop_length
        heard = piece.heard.slice(0.0, n_frames / material.grid.frame_rate)
        notes = heard.note_frames()
        sound = torch.cat(list(play(Arrangement(heard, notes, 0.0), model, model.timbres[0])))
        again = extract(sound, material.grid)
        level = loudness_db(sound, material.grid)
        for first in piece.judged[piece.judged + n <= n_frames]:
            span = slice(first + material.lead, min(first + material.lead + n, n_frames))
            cut = slice(span.start * material.grid.hop_length, span.stop * material.grid.hop_length)
            found.setdefault("lsd_db", []).append(log_spectral_distance_db(truth[cut], sound[cut]))
            found.setdefault("lsd60_db", []).append(audible_log_spectral_distance_db(truth[cut], sound[cut]))
            some = notes[span]
            if bool(some.any()):
                found.setdefault("loudness_error_db", []).append(float((level - heard.loudness_db)[span][some].abs().mean()))
                found.setdefault("raw_pitch_accuracy", []).append(raw_pitch_accuracy(heard.f0_hz[span][some], again.f0_hz[span][some]))
            seconds += (span.stop - span.start) / material.grid.frame_rate
    return {key: round(fmean(values), 4) for key, values in found.items()} | ({"seconds": round(seconds, 1)} if found else {})
