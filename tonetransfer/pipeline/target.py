"""The target of a transfer: a named instrument, a recording, a blend or a timbre vector, and what is known of how it is played.

The encoder hears a recording for the first time and guesses. :func:`refine` checks the guess: the decoder plays the recording's own f0 and
loudness, what comes out is compared with the recording, and z and the last layers are moved until both are alike. What turns loudness
and pitch into a spectrum stays as it was learned from many instruments; a part of the recording is held out and says when to stop.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..audio.files import AudioLike, check_audio, resample
from ..audio.units import db_to_amplitude, hz_to_midi
from ..controls.adaptation import level_shift_db
from ..controls.controls import Controls, extract
from ..controls.dynamics import loudness_quantiles
from ..controls.profile import USUAL_DB_PER_S, Target, release_rate
from ..controls.recording_checks import (
    SHORTEST_S,
    note_seconds,
    warn_about_reference,
    warn_if_clipped,
    warn_of_long_reference,
    warn_of_no_match,
)
from ..errors import AudioError, ControlsError, InstrumentError, check_number
from ..models.encoder import REFERENCE_PEAK
from ..models.timbre_model import Instrument, TimbreModel, check_model, check_timbre
from ..pitch.estimators import DEFAULT_TRACKER
from ..synthesis.fluctuation import fluctuation_depths
from ..threads import Progress
from ..training.reconstruction import Reference, fit_few_shot, single_instrument
from .recorded_room import measure_room
from .spectrum_matching import match_colour, match_fluctuation, match_string_damping, similar_timbre, widened

LONGEST_REFERENCE_S = 300
UNHEARD_SEMITONES = 12.0  # that an instrument reaches beyond the notes of a reference
GUESS_SHARE = 0.5  # of the encoder, in the timbre that the search begins with
Z_RATE, Z_STEPS = 2e-2, 20
COLOUR_SHARE = 0.7  # of the colour of a matched recording: some of it belongs to the notes that are in it
Recording = tuple[AudioLike, int]
STEPS = 200  # with two excerpts each: about half a minute on two slow cores
RATES = {"z": 2e-2, "head.bias": 1e-2, "head.weight": 5e-4, "film_before.bias": 5e-3, "film_after.bias": 5e-3}  # what is moved, how fast


def find_target(
    model: TimbreModel,
    sample_rate: int,
    *,
    to: str | None = None,
    like: AudioLike | Recording | None = None,
    mix: Mapping[str, float] | None = None,
    timbre: torch.Tensor | Target | None = None,
    match: AudioLike | Recording | None = None,
    tracker: str = DEFAULT_TRACKER,
) -> Target:
    """Find out who is to play: exactly one of `to`, `like`, `mix` and `timbre`.

    A recording's range, dynamics, colour and room tone are its own, and stay with the target that this returns; a bare timbre vector
    borrows range and dynamics of the named instrument nearest to it.

    Parameters
    ----------
    model : TimbreModel
        Knows the names.
    sample_rate : int, > 0 [Hz]
        Of `like`.
    to : str or None
        The name of an instrument; spaces, capitals and common synonyms are understood.
    like : Tensor or ndarray [shape=(n_samples,)], pair or None
        A recording of it; or a pair of audio and its own sample rate.
    mix : mapping of str to float or None, >= 0
        Shares of named instruments.
    timbre : Tensor [shape=(z_dim,)], Target or None
        A timbre vector, or what this function returned before.
    match : Tensor or ndarray [shape=(n_samples,)], pair or None
        A recording of such an instrument, at `sample_rate` or with its own: the target takes its colour and its room tone, and stays what
        it is in every other way. Not beside `like`, which brings its own.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Returns
    -------
    Target

    Raises
    ------
    InstrumentError
        Not exactly one came, or `match` came with `like`; there is no instrument of that name, or no such tracker.
    AudioError
        The reference is not audio, or silent.

    Warns
    -----
    ToneTransferWarning
        The reference is short, clipped, spoken, has several voices, or lasts longer than five minutes, of which the loudest are used.

    Examples
    --------
    >>> model = tt.load_model()
    >>> blend = tt.find_target(model, 48000, mix={"flute": 3.0, "oboe": 1.0})
    >>> torch.allclose(blend.z, 0.75 * model.timbre("flute") + 0.25 * model.timbre("oboe"), atol=1e-5)
    True
    """
    check_model(model)
    given = [name for name, value in (("to", to), ("like", like), ("mix", mix), ("timbre", timbre)) if value is not None]
    if len(given) != 1:
        came = " and ".join(given) or "none"
        raise InstrumentError(f"{came} came; exactly one of to, like, mix and timbre is wanted: it says who is to play")
    if like is not None:
        if match is not None:
            raise InstrumentError("match came with like, which brings the colour of its own recording; leave one of them out")
        return _like(model, _reference(model, like, sample_rate), tracker)[0]
    if to is not None:
        target = _blend(model, {model.names[model.find(to)]: 1.0})
    elif mix is not None:
        target = _blend(model, mix)
    else:
        target = timbre if isinstance(timbre, Target) else _like_nearest(model, _as_timbre(timbre))
    return target if match is None else _matched(model, target, _reference(model, match, sample_rate), tracker)


def as_pair(recording: AudioLike | Recording, sample_rate: int) -> Recording:
    """A recording with its sample rate: its own, or else the one that is given."""
    if isinstance(recording, tuple) and len(recording) != 2:
        raise AudioError(f"the reference is a tuple of {len(recording)}; audio is wanted, or a pair of audio and its sample rate")
    return recording if isinstance(recording, tuple) else (recording, sample_rate)


def _reference(model: TimbreModel, recording: AudioLike | Recording, sample_rate: int) -> torch.Tensor:
    """A reference (n_samples,) at the model's rate."""
    reference, rate = as_pair(recording, sample_rate)
    reference = _loudest(check_audio(reference, rate), round(rate))
    warn_if_clipped(reference)
    return at_rate(reference, rate, model.sample_rate)


def _loudest(reference: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """A reference (n_samples,), or of a very long one the stretch with most power: it shows as much, in less time and memory."""
    if len(reference) <= LONGEST_REFERENCE_S * sample_rate:
        return reference
    warn_of_long_reference(len(reference) / sample_rate, LONGEST_REFERENCE_S)
    n_seconds = len(reference) // sample_rate
    amplitude = torch.linalg.vector_norm(reference[: n_seconds * sample_rate].reshape(n_seconds, sample_rate), dim=1)
    power = amplitude.double().square().unfold(0, LONGEST_REFERENCE_S, 1).sum(1)
    begin = int(power.argmax()) * sample_rate
    return reference[begin : begin + LONGEST_REFERENCE_S * sample_rate]


def _like(model: TimbreModel, reference: torch.Tensor, tracker: str) -> tuple[Target, torch.Tensor, Controls]:
    """The instrument heard in a reference (n_samples,) at the model's rate; and the reference as it was compared, with what is heard in it.

    Its level is first put to where the average instrument plays as hard as it is played (:mod:`~tonetransfer.controls.dynamics`). Below the
    loudest notes its dynamics are its own where they are wider than an average instrument's: a few seconds need not show how soft it can
    play. What the timbre vector cannot say of its body, microphone and room is measured (:mod:`~tonetransfer.pipeline.spectrum_matching`).
    """
    reference = at_peak(reference)
    heard = extract(reference, model.grid, tracker=tracker)
    warn_about_reference(reference, heard)
    notes = heard.note_frames()
    if not bool(notes.any()):
        return _like_nearest(model, model.encode(reference)), reference, heard
    rate = model.grid.frame_rate
    quantiles = loudness_quantiles(heard.loudness_db, notes)
    recorded, heard = at_its_effort(model, reference, heard)
    reference = widened(model, recorded, heard)
    if len(model.quantiles):
        typical = model.quantiles.mean(0)
        quantiles = typical[-1] + torch.minimum(quantiles - quantiles[-1], typical - typical[-1])
    midi = hz_to_midi(heard.f0_hz[notes].double())
    lowest, highest = float(midi.quantile(0.02)) - UNHEARD_SEMITONES, float(midi.quantile(0.98)) + UNHEARD_SEMITONES
    target = Target(
        model.encode(reference, weight=notes),
        quantiles,
        float(midi.mean()),
        lowest,
        highest,
        release_rate(heard.loudness_db, rate) or USUAL_DB_PER_S,
    )
    if float(notes.sum()) < SHORTEST_S * rate:
        return target, reference, heard
    z = _checked(model, target.z, reference, heard)
    damping, room = match_string_damping(model, z, reference, heard), measure_room(recorded, heard)
    target = replace(
        target,
        z=z,
        fluctuation_db=match_fluctuation(model, z, reference, heard),
        colour_db=match_colour(model, Target(z, string_damping=damping), reference, heard),
        string_damping=damping,
        room_tone_db=None if room is None else room.tone_db,
    )
    return target, reference, heard


def _matched(model: TimbreModel, target: Target, reference: torch.Tensor, tracker: str) -> Target:
    """A target in the colour and the room tone of a reference (n_samples,) at the model's rate.

    Body, microphone and room show in the mean spectrum of its notes beside that of the same notes on the target; the target plays them as
    hard as they are played (:mod:`~tonetransfer.controls.dynamics`).
    """
    if target.quantiles is None:
        raise InstrumentError("match came with an instrument of unknown dynamics; a named one, or one from find_target, is wanted")
    reference = at_peak(reference)
    heard = extract(reference, model.grid, tracker=tracker)
    if (seconds := note_seconds(heard)) < SHORTEST_S:
        warn_of_no_match(seconds)
        return target
    warn_about_reference(reference, heard)
    room = measure_room(reference, heard)
    plain = replace(target, z=target.z.reshape(-1, target.z.shape[-1]).mean(0), colour_db=None)
    reference, heard = _at_effort_of(target.quantiles, reference, heard)
    colour_db = COLOUR_SHARE * match_colour(model, plain, widened(model, reference, heard, plain), heard)
    return replace(target, colour_db=colour_db, room_tone_db=None if room is None else room.tone_db)


def at_its_effort(model: TimbreModel, reference: torch.Tensor, heard: Controls) -> tuple[torch.Tensor, Controls]:
    """A reference (n_samples,) and what is heard in it, as loud as the average instrument is when it plays as hard."""
    return _at_effort_of(model.quantiles.mean(0), reference, heard) if len(model.quantiles) else (reference, heard)


def _at_effort_of(quantiles: torch.Tensor, reference: torch.Tensor, heard: Controls) -> tuple[torch.Tensor, Controls]:
    """A reference and what is heard in it, as loud as an instrument of such quantiles (13,) is when it plays as hard."""
    shift_db = level_shift_db(heard.loudness_db, heard.note_frames(), quantiles, heard.grid.frame_rate)
    return reference * db_to_amplitude(shift_db), heard.shift_loudness(shift_db)


def _checked(model: TimbreModel, z: torch.Tensor, reference: torch.Tensor, heard: Controls) -> torch.Tensor:
    """Improve the encoder's guess from a reference by playing the reference; some seconds of work.

    The search begins near the named timbres that play the reference most like it: they are known in all registers, and what is fitted to
    the notes of the reference alone is not.
    """
    if (similar := similar_timbre(model, reference, heard)) is not None:
        z = (1.0 - GUESS_SHARE) * similar + GUESS_SHARE * z
    with torch.enable_grad():
        return fit_few_shot(model, z, Reference(reference, heard), {"z": Z_RATE}, Z_STEPS)


def at_peak(reference: torch.Tensor) -> torch.Tensor:
    """A reference (n_samples,) at the level of the recordings a model is trained on."""
    peak = float(reference.abs().max())
    if peak == 0.0:
        raise AudioError("the reference is silent; a few seconds of the instrument playing are wanted")
    return reference * (REFERENCE_PEAK / peak)


def nearest_timbres(model: TimbreModel, z: torch.Tensor, count: int = 5) -> list[tuple[str, float]]:
    """Named timbres nearest to a timbre vector.

    Parameters
    ----------
    model : TimbreModel
        Holds the named timbres.
    z : Tensor [shape=(z_dim,)]
        Timbre vector.
    count : int, > 0
        How many are wanted.

    Returns
    -------
    list of (str, float)
        Names with their cosine distance (0 the same, 2 opposite), nearest first. Cosines are taken between deviations from the mean of all
        named timbres, which says nothing of any of them.

    Raises
    ------
    ControlsError
        z is of another shape.
    SettingsError
        `count` is no whole number from 1.

    Examples
    --------
    >>> model = tt.load_model()
    >>> nearest = tt.nearest_timbres(model, model.timbre("oboe"), count=3)
    >>> nearest[0][0], abs(round(nearest[0][1], 3)), len(nearest)
    ('oboe', 0.0, 3)
    """
    check_model(model)
    check_timbre(z)
    check_number("count", count, 1, math.inf, "a whole number from 1", whole=True)
    if z.shape != (model.settings.z_dim,):
        raise ControlsError(f"z has the shape {tuple(z.shape)}; one timbre vector of this model, ({model.settings.z_dim},), is wanted")
    mean = model.timbres.mean(0) if len(model.timbres) > 1 else torch.zeros_like(z)
    distance = 1.0 - torch.nn.functional.cosine_similarity(model.timbres - mean, (z - mean)[None], dim=-1)
    order = torch.argsort(distance, stable=True)[:count].tolist()
    return [(model.instruments[row].name, float(distance[row])) for row in order]


def at_rate(audio: AudioLike, sample_rate: int, wanted_rate: int) -> torch.Tensor:
    """Audio (n_samples,) at another rate: exactly ceil(n_samples * wanted_rate / sample_rate) samples."""
    samples = check_audio(audio, sample_rate)
    n_samples = -(-len(samples) * wanted_rate // sample_rate)
    samples = resample(samples, sample_rate, wanted_rate)
    return torch.nn.functional.pad(samples, (0, n_samples - len(samples))) if len(samples) != n_samples else samples


def _blend(model: TimbreModel, shares: Mapping[str, float]) -> Target:
    z, total = model.mix(shares), sum(shares.values())
    rows = [(model.find(name), share / total) for name, share in shares.items()]
    known = [(model.instruments[row], share) for row, share in rows]
    return Target(
        z,
        torch.stack([model.quantiles[row] * share for row, share in rows]).sum(0),
        sum(one.mean_midi * share for one, share in known),
        sum(one.lowest_midi * share for one, share in known),
        sum(one.highest_midi * share for one, share in known),
        math.exp(sum(math.log(one.ring_db_per_s) * share for one, share in known)),
        _mean_table(model, rows),
        fluctuation_depths(sum(one.fluctuation_db * share for one, share in known), model.settings.n_harmonics),
        room_tone_db=model.room_tone_db if any(one.in_room_tone for one, _ in known) else None,
        string_damping=sum(one.string_damping * share for one, share in known),
    )


def _mean_table(model: TimbreModel, rows: list[tuple[int, float]]) -> torch.Tensor | None:
    """Weighted mean of the note-age tables of some instruments [(row, share)]; who has none does nothing of his own."""
    tables = model.note_tables
    known = [(model.instruments[row].note_table, share) for row, share in rows if model.instruments[row].note_table >= 0]
    return torch.stack([tables[row] * share for row, share in known]).sum(0) if tables is not None and known else None


def _as_timbre(timbre: Any) -> torch.Tensor:
    try:
        return torch.as_tensor(timbre, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InstrumentError(f"timbre is of type {type(timbre).__name__}; a vector or a Target is wanted: for a name, use to") from error


def _like_nearest(model: TimbreModel, z: torch.Tensor) -> Target:
    if z.shape[-1] != model.settings.z_dim:
        raise InstrumentError(
            f"the timbre has {z.shape[-1]} numbers; this model's have {model.settings.z_dim}: take one made by this model"
        )
    if not len(model.timbres):
        return Target(z)
    near = nearest_timbres(model, z.reshape(-1, z.shape[-1]).mean(0))[0][0]
    named = _blend(model, {near: 1.0})
    return replace(named, z=z)


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
    SettingsError
        `steps` is no whole number from 1.

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
    check_model(model)
    check_number("steps", steps, 1, math.inf, "a whole number from 1", whole=True)
    target, sound, heard = _like(model, _reference(model, reference, sample_rate), tracker)
    if (seconds := note_seconds(heard)) < SHORTEST_S:
        raise AudioError(f"the reference holds {seconds:.1f} s of notes; refining takes {SHORTEST_S:.0f} s or more, better 5")
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
