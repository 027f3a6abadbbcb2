"""How well a model plays prepared recordings that are held out of its training."""

from __future__ import annotations

from statistics import fmean

import torch

from ..audio.loudness import loudness_db
from ..controls.controls import extract
from ..evaluation.metrics import audible_log_spectral_distance_db, log_spectral_distance_db, raw_pitch_accuracy
from ..models.timbre_model import TimbreModel
from ..pipeline.transfer import Arrangement, play
from ..training.finetuning_data import Material

LONGEST_S = 60.0  # of a recording that is played again
MOST_S = 180.0  # of all


def measure_solo(model: TimbreModel, material: Material) -> dict[str, float]:
    """How well a model of one instrument plays what is held out, from its own controls.

    Parameters
    ----------
    model : TimbreModel
    material : Material

    Returns
    -------
    dict
        ``lsd_db``, ``lsd60_db`` (:mod:`tonetransfer.evaluation.metrics`); over note frames ``loudness_error_db`` and ``raw_pitch_accuracy``
        (50 cents); ``seconds`` that were compared. Empty where nothing is held out.
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
