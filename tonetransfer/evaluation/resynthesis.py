"""A recording played again from its own timbre and its own controls: how much of it do z and decoder hold?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..audio.files import load_audio, sound_files
from ..controls.polyphony import POLYPHONIC_SHARE, voices_share
from ..controls.recording_checks import sounds_spoken
from ..errors import ToneTransferWarning
from ..models.timbre_model import TimbreModel
from ..pipeline.refine import refine
from ..pipeline.transfer import analyze, synthesize
from .metrics import audible_log_spectral_distance_db

Adapt = Callable[[TimbreModel, torch.Tensor], tuple[TimbreModel, torch.Tensor]]


def one_shot(model: TimbreModel, reference: torch.Tensor) -> tuple[TimbreModel, torch.Tensor]:
    """The model as it is, and the z (z_dim,) of a reference (n_samples,) at its sample rate."""
    return model, model.encode(reference)


def refined(model: TimbreModel, reference: torch.Tensor) -> tuple[TimbreModel, torch.Tensor]:
    """The model fitted to a reference (n_samples,) at its sample rate, and the z (z_dim,) that came of it."""
    fitted = refine(reference, model.sample_rate, model)
    return fitted, fitted.timbre(fitted.names[0])


def evaluate_resynthesis(
    model: TimbreModel,
    folder: Path,
    *,
    adapt: Adapt = one_shot,
    name: str = "resynthesis",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """LSD-60 of recordings played from their own z and controls, nothing fitted.

    Recordings of several notes at once, and of speech, are listed but do not count: no solo instrument plays them.

    Parameters
    ----------
    model : TimbreModel
    folder : Path
    adapt : callable
        (model, reference) -> (model, z): how a timbre is had from a recording; :func:`one_shot` or :func:`refined`.
    name : str
        What the figures' keys begin with.
    progress : callable or None

    Returns
    -------
    dict
        ``resynthesis_lsd60_db``: mean over what counts; ``resynthesis``: for each file ``lsd60_db`` and whether it ``counts``.
    """
    files = sound_files(folder)
    found: dict[str, dict[str, Any]] = {}
    for done, path in enumerate(files):
        audio, _ = load_audio(path, model.sample_rate)
        heard = analyze(audio, model.sample_rate, model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ToneTransferWarning)
            adapted, z = adapt(model, audio)
            sound = synthesize(heard, adapted, z)
        solo = voices_share(audio, heard) <= POLYPHONIC_SHARE and not sounds_spoken(heard)
        found[path.name] = {"lsd60_db": round(audible_log_spectral_distance_db(audio, sound), 3), "counts": solo}
        if progress:
            progress(done + 1, len(files))
    counted = [one["lsd60_db"] for one in found.values() if one["counts"]]
    return ({f"{name}_lsd60_db": round(fmean(counted), 3)} if counted else {}) | {name: found}
