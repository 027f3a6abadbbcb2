"""A model fitted to one recording: an instrument of its own.

The encoder hears a recording for the first time and guesses. Here the guess is checked: the decoder plays the recording's own f0 and
loudness, what comes out is compared with the recording, and z and the last layers are moved until both are alike. What turns loudness
and pitch into a spectrum stays as it was learned from many instruments; a part of the recording is held out and says when to stop.
"""

from __future__ import annotations

import re

import torch

from ..audio.files import AudioLike
from ..controls.controls import extract
from ..controls.profile import Target
from ..controls.recording_checks import SHORTEST_S
from ..errors import AudioError
from ..models.timbre_model import Instrument, TimbreModel
from ..pitch.estimators import DEFAULT_TRACKER
from ..training.few_shot import Progress, Reference, fit_few_shot
from ..training.reconstruction import single_instrument
from .target import at_its_effort, at_peak, at_rate, find_target

STEPS = 200  # with two excerpts each: about half a minute on two slow cores
RATES = {"z": 2e-2, "head.bias": 1e-2, "head.weight": 5e-4, "film_before.bias": 5e-3, "film_after.bias": 5e-3}  # what is moved, how fast


def refine(
    reference: AudioLike,
    sample_rate: int,
    model: TimbreModel,
    *,
    name: str = "refined",
    steps: int = STEPS,
    tracker: str = DEFAULT_TRACKER,
    seed: int = 0,
    progress: Progress | None = None,
) -> TimbreModel:
    """Fit a model to a recording of one instrument.

    Takes half a minute on two cores, whatever the length of the recording. The number of steps is fixed, so that the same recording and
    seed give the same instrument.

    Parameters
    ----------
    reference : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        3 s or more of one instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the reference.
    model : TimbreModel
        Not changed.
    name : str
        Of the instrument; other signs than letters and digits become ``_``.
    steps : int, > 0
        Of the optimizer.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.
    seed : int, >= 0
        Of the batches.
    progress : callable or None
        Told how many of how many steps are done.

    Returns
    -------
    TimbreModel
        With one instrument, whose range and dynamics are those of the recording. :func:`~tonetransfer.models.weights.save_model`
        makes a file of it.

    Raises
    ------
    AudioError
        The recording holds less than 1 s of notes.

    Warns
    -----
    ToneTransferWarning
        As for a reference that is not refined.

    Examples
    --------
    >>> audio, sample_rate = tt.load_audio("examples/flute.flac")
    >>> refined = tt.refine(audio[: 2 * sample_rate], sample_rate, tt.load_model(), name="my flute", steps=1)
    >>> refined.names
    ['my_flute']
    """
    target = find_target(model, sample_rate, like=reference, tracker=tracker)
    sound = at_peak(at_rate(reference, sample_rate, model.sample_rate))
    heard = extract(sound, model.grid, tracker=tracker)
    seconds = float(heard.note_frames().sum()) / model.grid.frame_rate
    if seconds < SHORTEST_S:
        raise AudioError(f"the reference holds {seconds:.1f} s of notes; refining takes {SHORTEST_S:.0f} s or more, better 5")
    sound, heard = at_its_effort(model, sound, heard)
    refined = _instrument_of(model, target, re.sub(r"[\W_]+", "_", name.lower()).strip("_") or "refined")
    with torch.enable_grad():
        z = fit_few_shot(refined, refined.timbres[0], Reference(sound, heard), RATES, steps, seed=seed, progress=progress)
    refined.timbres.copy_(z[None])
    return refined.eval().requires_grad_(False)


def _instrument_of(model: TimbreModel, target: Target, name: str) -> TimbreModel:
    """A copy of a model with the instrument of a recording alone."""
    ends = target.lowest_midi, target.highest_midi, target.mean_midi
    facts = Instrument(name, "refined", *ends, "a recording", "that of the recording", target.release_db_per_s)
    return single_instrument(model, facts, target.z, target.quantiles)
