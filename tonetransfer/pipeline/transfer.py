"""One performance, another instrument: the main job, whole (:func:`transfer`) and piece by piece (:func:`arrange`, :func:`play`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ..audio.files import AudioLike, LongAudio, check_audio
from ..audio.loudness import FLOOR_DB, correct_loudness_in_pieces
from ..audio.units import CHROMATIC, db_to_amplitude
from ..controls.adaptation import adapt, check_transpose, octave_shift
from ..controls.controls import Controls, check_controls, extract
from ..controls.dynamics import check_dynamic, check_loudness, loud_end_db, loudness_quantiles, scale_dynamics, swell_range_db
from ..controls.profile import Target, check_target, find_releases, is_dry, playable_release, traits_of, with_release
from ..controls.recording_checks import POLYPHONIC_SHARE, check_recording, voices_share, warn_if_same
from ..errors import SettingsError, ToneTransferWarning, check_number
from ..models.timbre_model import TimbreModel, check_model
from ..pitch.estimators import DEFAULT_TRACKER
from ..synthesis.colour import SILENT_BELOW_DB, room_presence, tone_loudness_db, with_room_tone
from ..synthesis.render import check_seed
from ..synthesis.reverb import hall_response, reverberate_stream, with_hall
from ..threads import ahead, one_thread
from .effort_estimation import estimate_effort, estimate_expression
from .pulses import find_pulses, pulse_shift_hz
from .recorded_room import RecordedRoom, measure_room
from .target import Recording, as_pair, at_rate, find_target
from .target import refine as refine_model

SILENT_DB = -90.0  # loudness: a recording that never exceeds it holds nothing
UNPITCHED_SHARE = 0.2  # of the audible frames must be notes, or the program was meant for something else
SHORTEST_S = 0.1  # a recording with fewer notes is warned of
STEEPEST_DB = 8.0  # rise of loudness in a frame
LEAST_ALONE = 0.1  # of the power that is heard, at least, comes from the instrument
REPLACED = 0.5  # of the random fluctuation, by the movement of the recording where it is known
ROOM_FIRST_S = 0.004  # until the first reflection in a recorded room


@dataclass(frozen=True)
class Arrangement:
    """A performance written for an instrument.

    Parameters
    ----------
    asked : Controls
        What the instrument is to play [shape=(n_frames,)].
    notes : Tensor [shape=(n_frames,)], bool
        Where its loudness matters.
    transposed : float [semitones]
        By which the melody was moved.
    note_table, fluctuation_db, colour_db : Tensor or None [shape=as of Target]
        As of :class:`~tonetransfer.controls.profile.Target`.
    string_damping : float, >= 0 [dB/s per square root of a hertz]
        Likewise.
    room : RecordedRoom or None
        In which it is heard.
    room_presence : Tensor [shape=(n_frames,)] or None, in [0, 1]
        How much of the room tone is heard.
    loudest_db : float [dB re full scale]
        Loudness of the result's loud notes.
    effort_db : float or None
        How hard the loudest notes are played [dB re the strongest]; None: the performance stays as it was.
    effort_change_db : Tensor [shape=(n_frames,)] or None
        How much harder than its loudness tells each frame is played.
    movement_db : Tensor [shape=(n_frames, 11)] or None
        How bands of the spectrum move within notes.
    shift_hz : Tensor [shape=(n_frames,)] or None
        Added to the f0 of the sound alone: it lets the pulses of low notes come when they should.

    See Also
    --------
    arrange : The arrangement of a recording for an instrument.

    Examples
    --------
    >>> held = tt.Controls(torch.full((100,), 110.0), torch.ones(100), torch.full((100,), -20.0))
    >>> arrangement = tt.arrange(held, tt.find_target(tt.load_model(), 48000, to="flute"))
    >>> arrangement.transposed > 0.0, arrangement.asked.n_frames  # a flute has no A2
    (True, 100)
    """

    asked: Controls
    notes: torch.Tensor
    transposed: float
    note_table: torch.Tensor | None = None
    fluctuation_db: torch.Tensor | None = None
    colour_db: torch.Tensor | None = None
    string_damping: float = 0.0
    room: RecordedRoom | None = None
    room_presence: torch.Tensor | None = None
    loudest_db: float = 0.0
    effort_db: float | None = None
    effort_change_db: torch.Tensor | None = None
    movement_db: torch.Tensor | None = None
    shift_hz: torch.Tensor | None = None

    @property
    def gain_db(self) -> float:
        """Gain of the sound in the end: how hard is played does not decide how loud the result is."""
        return 0.0 if self.effort_db is None else 0.0 - self.effort_db

    @property
    def loudness_db(self) -> torch.Tensor:
        """Loudness that the sound is to have [dB re full scale], (n_frames,)."""
        return self.asked.loudness_db + self.gain_db


@one_thread()
def transfer(
    audio: AudioLike,
    sample_rate: int,
    model: TimbreModel,
    *,
    to: str | None = None,
    like: AudioLike | Recording | None = None,
    mix: Mapping[str, float] | None = None,
    timbre: torch.Tensor | Target | None = None,
    transpose: float | Literal["auto"] = "auto",
    loudness_db: float = 0.0,
    dynamic: str | float | None = None,
    fit: bool = True,
    autotune: float = 0.0,
    scale: str = CHROMATIC,
    dynamics: float = 1.0,
    noise_db: float = 0.0,
    hall: float = 0.0,
    room: bool = True,
    tracker: str = DEFAULT_TRACKER,
    seed: int = 0,
    refine: bool = False,
    match: AudioLike | Recording | None = None,
) -> torch.Tensor:
    """Play a recording on another instrument.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        One voice or instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    model : TimbreModel
        As :func:`load_model` returns it.
    to : str or None
        Who is to play, by name. Exactly one of `to`, `like`, `mix` and `timbre` is given.
    like : Tensor or ndarray [shape=(n_samples,)], pair or None
        A recording of the instrument, at `sample_rate`; or a pair of it and its own sample rate, as ``load_audio`` returns it.
    mix : mapping of str to float or None, >= 0
        Shares of named instruments.
    timbre : Tensor [shape=(z_dim,)], Target or None
        A timbre vector; or what :func:`find_target` found once, for several transfers.
    transpose : float, in [-96, 96] [semitones], or "auto"
        "auto" leaves the melody where it is, or moves it by octaves if the instrument cannot reach it.
    loudness_db : float, in [-120, 60] [dB]
        Added to the loudness that is asked of the instrument.
    dynamic : str, float or None
        How hard the usual note is played, which changes the timbre and not the level of the result: a marking from "ppp" to "fff", or
        decibels re the strongest, from -36 to 0. None: estimated from the recording, and so is where it is played harder or more gently.
    fit : bool
        False: octave, dynamics and the sound between the notes stay those of the source.
    autotune : float, in [0, 1]
        How far notes are pulled to the nearest note of the scale.
    scale : str
        The notes that `autotune` pulls to, of the source before it is transposed: "chromatic", "C major", "A blues" ...
    dynamics : float, in [0, 2]
        How closely the player's swells are followed: 0 all notes equally loud, 1 as played, 2 twice as far apart.
    noise_db : float, in [-60, 24] [dB]
        Change of the noise in the sound (breath, bow); -60 is as good as none.
    hall : float, in [0, 1]
        How much of a hall is heard around it; 0 is dry.
    room : bool
        The room that is heard in the recording stays around the result; with False, as without `fit`, it does not.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.
    seed : int, >= 0
        Of the noise in the sound, and of the refinement.
    refine : bool
        Fit the model to `like` first, which takes half a minute; see :func:`~tonetransfer.pipeline.target.refine`, which also lets the
        result be kept for several transfers.
    match : Tensor or ndarray [shape=(n_samples,)], pair or None
        A recording of such an instrument, at `sample_rate` or with its own, whose colour (body, microphone and room) the result takes;
        beside `to`, `mix` or `timbre`.

    Returns
    -------
    Tensor [shape=(ceil(n_samples * model.sample_rate / sample_rate),)]
        At ``model.sample_rate``. May exceed [-1, 1] where the instrument is asked to be loud; ``save_audio`` turns it down.

    Raises
    ------
    AudioError
        The recording or the reference is not audio, or the reference is silent.
    InstrumentError
        Not exactly one instrument is asked for, or `match` beside `like`, or there is none of that name; there is no such tracker.
    SettingsError
        A number is out of its range, or there is no such scale.

    Warns
    -----
    ToneTransferWarning
        The source is silent, has no pitch or several, or the reference is short, clipped, spoken, has several voices, or is the source.

    See Also
    --------
    analyze, find_target, arrange, play : Its steps, one by one.

    References
    ----------
    .. [1] J. Engel, L. Hantrakul, C. Gu and A. Roberts, "DDSP: Differentiable Digital Signal Processing", ICLR 2020.

    Examples
    --------
    >>> audio, sample_rate = tt.load_audio("examples/flute.flac")
    >>> out = tt.transfer(audio[: 2 * sample_rate], sample_rate, tt.load_model(), to="cello")
    >>> out.shape
    torch.Size([96000])
    """
    check_model(model)
    samples = at_rate(audio, sample_rate, model.sample_rate)
    if refine and (like is None or any(one is not None for one in (to, mix, timbre, match))):
        raise SettingsError("refine fits the model to a recording of the instrument; give that recording as like, and nothing else")
    if like is not None:
        reference = as_pair(like, sample_rate)
        if _equal((audio, sample_rate), reference):
            warn_if_same()
        if refine:
            model, like = refine_model(*reference, model, tracker=tracker, seed=seed), None
            to = model.names[0]
    target = find_target(model, sample_rate, to=to, like=like, mix=mix, timbre=timbre, match=match, tracker=tracker)
    if not room:
        target = replace(target, room_tone_db=None)
    heard = extract(samples, model.grid, tracker=tracker)
    warn_about(samples, heard)
    arrangement = arrange(
        heard,
        target,
        transpose=transpose,
        loudness_db=loudness_db,
        fit=fit,
        autotune=autotune,
        scale=scale,
        dynamics=dynamics,
        **measure_source(samples, heard, model, target, dynamic=dynamic, fit=fit, room=room),
    )
    return torch.cat(list(play(arrangement, model, target.z, n_samples=len(samples), seed=seed, noise_db=noise_db, hall=hall)))


def measure_source(
    audio: torch.Tensor | LongAudio,
    heard: Controls,
    model: TimbreModel,
    target: Target,
    *,
    dynamic: str | float | None = None,
    fit: bool = True,
    room: bool = True,
) -> dict[str, Any]:
    """Measure what :func:`arrange` takes of a recording besides its controls, as its arguments are called.

    How hard is played, and where harder or more gently, unless `dynamic` says it; how the spectrum moves within notes, the room, and the
    pulses of low notes. In two threads.
    """
    work: dict[str, Callable[[], Any]] = {
        "effort": lambda: estimate_effort(audio, heard, model, target) if fit else None,
        "expression": lambda: estimate_expression(audio, heard, model) if fit else None,
        "room": lambda: measure_room(audio, heard) if fit and room else None,
        "pulses": lambda: find_pulses(audio, heard),
    }
    found = dict(zip(work, ahead(lambda measure: measure(), work.values(), 2), strict=True))
    effort, expression = found.pop("effort"), found.pop("expression")
    found["dynamic"] = effort.dynamic_db if effort is not None and dynamic is None else dynamic
    if effort is not None and expression is not None:
        changes_db, movement_db = expression
        found |= {"effort_change_db": changes_db if dynamic is None else None, "movement_db": movement_db, "likeness": effort.likeness}
    return found


def analyze(audio: AudioLike, sample_rate: int, model: TimbreModel, *, tracker: str = DEFAULT_TRACKER) -> Controls:
    """Extract the controls of a recording, on the model's grid.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        One voice or instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    model : TimbreModel
        Its grid is used.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Returns
    -------
    Controls [shape=(n_frames,)]

    Raises
    ------
    AudioError
        The recording is not audio.
    InstrumentError
        There is no such tracker.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> heard = tt.analyze(0.3 * np.sin(2 * np.pi * 440 * t), 48000, tt.load_model())
    >>> heard.n_frames, round(float(heard.f0_hz.median()))
    (100, 440)
    """
    check_model(model)
    return extract(at_rate(audio, sample_rate, model.sample_rate), model.grid, tracker=tracker)


def synthesize(
    controls: Controls, model: TimbreModel, z: torch.Tensor | Target, *, seed: int = 0, noise_db: float = 0.0, hall: float = 0.0
) -> torch.Tensor:
    """Play controls as they are.

    Parameters
    ----------
    controls : Controls [shape=(n_frames,)]
        On the model's grid.
    model : TimbreModel
        Plays them.
    z : Tensor [shape=(z_dim,)] or [shape=(n_frames, z_dim)], or Target
        Timbre vector, or one for each frame; or an instrument with all that is known of it, as :func:`find_target` returns it.
    seed : int, >= 0
        Of the noise in the sound.
    noise_db : float, in [-60, 24] [dB]
        Change of the noise in the sound (breath, bow); -60 is as good as none.
    hall : float, in [0, 1]
        How much of a hall is heard around it; 0 is dry.

    Returns
    -------
    Tensor [shape=(n_frames * hop_length,)]

    Raises
    ------
    ControlsError
        The controls are on another grid, or z has another length.
    SettingsError
        `noise_db`, `hall` or `seed` is out of its range.

    Examples
    --------
    >>> model = tt.load_model()
    >>> held = tt.Controls(torch.full((100,), 440.0), torch.ones(100), torch.full((100,), -20.0))
    >>> tt.synthesize(held, model, model.timbre("flute")).shape
    torch.Size([48000])
    """
    check_controls(controls)
    arrangement = Arrangement(controls, controls.note_frames(), 0.0)
    if isinstance(z, Target):
        arrangement, z = replace(arrangement, **traits_of(z)), z.z
    return torch.cat(list(play(arrangement, model, z, seed=seed, noise_db=noise_db, hall=hall)))


def arrange(
    heard: Controls,
    target: Target,
    *,
    transpose: float | Literal["auto"] = "auto",
    loudness_db: float = 0.0,
    dynamic: str | float | None = None,
    fit: bool = True,
    autotune: float = 0.0,
    scale: str = CHROMATIC,
    dynamics: float = 1.0,
    room: RecordedRoom | None = None,
    effort_change_db: torch.Tensor | None = None,
    movement_db: torch.Tensor | None = None,
    likeness: float = 1.0,
    pulses: torch.Tensor | None = None,
) -> Arrangement:
    """Write what was heard for the target instrument.

    Parameters
    ----------
    heard : Controls [shape=(n_frames,)]
        Of the source.
    target : Target
        As :func:`find_target` returns it.
    transpose : float, in [-96, 96] [semitones], or "auto"
        As for :func:`transfer`.
    loudness_db : float, in [-120, 60] [dB]
        Added to the loudness that is asked of the instrument.
    dynamic : str, float or None
        A marking from "ppp" to "fff", or decibels re the strongest, from -36 to 0; None: as the notes suggest.
    fit : bool
        False: octave, dynamics and the sound between the notes stay those of the source.
    autotune : float, in [0, 1]
        How far notes are pulled to the nearest note of the scale.
    scale : str
        "chromatic", "C major", "A blues" ...
    dynamics : float, in [0, 2]
        How closely the player's swells are followed.
    room : RecordedRoom or None
        As :func:`~tonetransfer.pipeline.recorded_room.measure_room` returns it, to stay around the result; None: that of the target.
    effort_change_db : Tensor [shape=(n_frames,)] or None
        As :func:`~tonetransfer.pipeline.effort_estimation.estimate_effort_changes` returns it; None: effort follows loudness alone.
    movement_db : Tensor [shape=(n_frames, 11)] or None
        As :func:`~tonetransfer.pipeline.effort_estimation.estimate_expression` returns it; None: only what f0 and loudness say moves.
    likeness : float, in [0, 1]
        As :func:`~tonetransfer.pipeline.effort_estimation.estimate_effort` returns it: the share of the movement that is followed.
    pulses : Tensor [shape=(n_frames,)] or None [s]
        As :func:`~tonetransfer.pipeline.pulses.find_pulses` returns it: the pulses of low notes come at these times; None: at any.

    Returns
    -------
    Arrangement

    Raises
    ------
    SettingsError
        A number is out of its range, or there is no such scale.

    Examples
    --------
    >>> held = tt.Controls(torch.full((100,), 440.0), torch.ones(100), torch.full((100,), -20.0))
    >>> arrangement = tt.arrange(held, tt.find_target(tt.load_model(), 48000, to="flute"), transpose=-2.0)
    >>> round(float(arrangement.asked.f0_hz[50]), 2)
    392.0
    """
    semitones = _check_settings(transpose, loudness_db, autotune, dynamics)
    check_dynamic(dynamic, fit=fit)
    check_controls(heard)
    check_target(target)
    notes = heard.note_frames()
    fitted, presence = fit and target.quantiles is not None, None
    loudest_db = 0.0 if target.quantiles is None else float(target.quantiles[-1])
    if semitones is None:
        semitones = octave_shift(heard, target.lowest_midi, target.highest_midi) if fitted else 0.0
    asked, effort_db = heard.autotune(autotune, scale).transpose(semitones), None
    if fitted:
        assert target.quantiles is not None
        asked = adapt(asked, target.lowest_midi, target.highest_midi, target.quantiles, transpose=0.0, dynamic=dynamic)
        asked = replace(asked, loudness_db=_prompt(asked.loudness_db))
        dry = is_dry(heard.loudness_db)
        asked = _released(asked, notes, playable_release(target.release_db_per_s, in_room=not dry), dry=dry)
        if room is None and target.room_tone_db is not None:
            room = RecordedRoom(target.room_tone_db)
        if room is not None and room.level_db is not None:
            target = replace(target, string_damping=0.0)  # what dies away of a note is the room: the string cannot be told from it
        effort_db = loud_end_db(swell_range_db(heard.loudness_db, notes, heard.grid.frame_rate), dynamic)
        if room is not None:
            tone_db = tone_loudness_db(room.tone_db, asked.grid.sample_rate)
            presence = _presence(heard, notes, tone_db)
            direct_db = room.direct(asked.loudness_db, asked.grid.frame_rate)
            asked = replace(asked, loudness_db=_beside_tone(direct_db, loudest_db + effort_db + tone_db, presence))
    else:
        room = None
    silent = asked.loudness_db <= FLOOR_DB  # and stays silence
    asked = replace(asked, loudness_db=scale_dynamics(asked.loudness_db, notes, dynamics, asked.grid.frame_rate))
    louder = torch.where(silent, FLOOR_DB, asked.loudness_db + loudness_db)
    follows = min(dynamics, 1.0) * likeness if fitted else 0.0  # swells may grow; the spectrum moves no further than in the recording
    movement_db = follows * movement_db if follows and movement_db is not None else None
    if movement_db is not None and target.fluctuation_db is not None:
        target = replace(target, fluctuation_db=(1.0 - REPLACED * follows) * target.fluctuation_db)
    return Arrangement(
        replace(asked, loudness_db=louder),
        notes,
        float(semitones),
        **traits_of(target),
        room=room,
        room_presence=presence,
        loudest_db=loudest_db + loudness_db,
        effort_db=effort_db,
        effort_change_db=dynamics * effort_change_db if fitted and effort_change_db is not None else None,
        movement_db=movement_db,
        shift_hz=None if pulses is None else pulse_shift_hz(pulses, asked.f0_hz, asked.grid),
    )


def _presence(heard: Controls, notes: torch.Tensor, tone_db: float) -> torch.Tensor:
    """Share of a room tone so loud [dB re the loud notes] in each frame (n_frames,): none where the source is quieter than it."""
    loudest_db = float(loudness_quantiles(heard.loudness_db, notes)[-1]) if bool(notes.any()) else 0.0
    return room_presence(notes, heard.loudness_db < loudest_db + tone_db - SILENT_BELOW_DB, heard.grid.frame_rate)


def _beside_tone(loudness_db: torch.Tensor, tone_db: float, presence: torch.Tensor) -> torch.Tensor:
    """Loudness of an instrument alone (n_frames,), of that in a room tone so loud [dB], of which `presence` (n_frames,) is heard."""
    power = 10.0 ** (loudness_db.double() / 10.0)
    alone_db = 10.0 * torch.log10(torch.maximum(power - presence.square() * 10.0 ** (tone_db / 10.0), LEAST_ALONE * power))
    return torch.where(loudness_db > FLOOR_DB, alone_db.to(loudness_db), loudness_db)


def _prompt(loudness_db: torch.Tensor) -> torch.Tensor:
    """Loudness without the foot of steep attacks: a window of 43 ms hears a note some frames before it begins."""
    before = torch.cat([loudness_db[:1], loudness_db[:-1]])
    return torch.minimum(loudness_db, before + STEEPEST_DB)


def _released(asked: Controls, notes: torch.Tensor, release_db_per_s: float, *, dry: bool) -> Controls:
    """Controls whose notes end as the instrument's do, and ring on at their own pitch, not at that of the next."""
    ends = find_releases(asked.loudness_db, asked.grid.frame_rate)
    f0_hz = asked.f0_hz.clone()
    for first, last in ends:
        rest = slice(first + 1, last + 1)
        f0_hz[rest] = torch.where(notes[rest], f0_hz[rest], f0_hz[first])
    loudness_db = with_release(asked.loudness_db, release_db_per_s, asked.grid.frame_rate, ends, dry=dry)
    return replace(asked, f0_hz=f0_hz, loudness_db=loudness_db)


def play(
    arrangement: Arrangement,
    model: TimbreModel,
    z: torch.Tensor,
    *,
    n_samples: int | None = None,
    seed: int = 0,
    noise_db: float = 0.0,
    hall: float = 0.0,
) -> Iterator[torch.Tensor]:
    """Render an arrangement in consecutive pieces, in bounded memory.

    Parameters
    ----------
    arrangement : Arrangement
        As :func:`arrange` returns it.
    model : TimbreModel
        Plays it.
    z : Tensor [shape=(z_dim,)] or [shape=(n_frames, z_dim)]
        Timbre vector, or one for each frame.
    n_samples : int, >= 0, or None
        Length of the whole; None: all frames.
    seed : int, >= 0
        Of the noise in the sound.
    noise_db : float, in [-60, 24] [dB]
        Change of the noise in the sound (breath, bow); -60 is as good as none.
    hall : float, in [0, 1]
        How much of a hall is heard around it; 0 is dry.

    Yields
    ------
    Tensor [shape=(n_samples_of_the_piece,)]

    Raises
    ------
    SettingsError
        `noise_db` or `hall` is out of its range.

    Examples
    --------
    >>> model = tt.load_model()
    >>> held = tt.Controls(torch.full((100,), 440.0), torch.ones(100), torch.full((100,), -20.0))
    >>> target = tt.find_target(model, model.sample_rate, to="flute")
    >>> sum(len(piece) for piece in tt.play(tt.arrange(held, target), model, target.z))
    48000
    """
    check_model(model)
    check_number("noise_db", noise_db, -60.0, 24.0, "a change from -60 to 24 dB")
    check_number("hall", hall, 0.0, 1.0, "a number from 0 (dry) to 1 (the hall as loud as the instrument)")
    check_seed(seed)
    whole = arrangement.asked.n_samples if n_samples is None else n_samples
    sound = model.play(
        arrangement.asked,
        z,
        seed=seed,
        noise_db=noise_db,
        effort_change_db=arrangement.effort_change_db,
        movement_db=arrangement.movement_db,
        shift_hz=arrangement.shift_hz,
        **traits_of(arrangement),
    )
    sound = correct_loudness_in_pieces(sound, arrangement.asked.loudness_db, arrangement.notes, model.grid)
    if arrangement.gain_db:
        gain = db_to_amplitude(arrangement.gain_db)
        sound = (gain * piece for piece in sound)
    room, presence = arrangement.room, arrangement.room_presence
    if room is not None and room.level_db is not None:
        response = hall_response(model.sample_rate, decay_s=room.decay_s, first_s=ROOM_FIRST_S)
        sound = reverberate_stream(sound, db_to_amplitude(room.level_db) * response)
    if room is not None and presence is not None:
        level_db = arrangement.loudest_db + noise_db
        sound = with_room_tone(sound, room.tone_db, presence, model.grid, level_db=level_db, seed=seed)
    return with_hall(_cut(sound, whole), model.sample_rate, hall)


def _cut(pieces: Iterator[torch.Tensor], left: int) -> Iterator[torch.Tensor]:
    """The first `left` samples of consecutive pieces."""
    for piece in pieces:
        yield piece[:left]
        left -= len(piece)


def warn_about(audio: AudioLike | LongAudio, heard: Controls) -> None:
    """Warn if a recording is not one instrument playing one note at a time.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
        At the rate of its controls' grid.
    heard : Controls [shape=(n_frames,)]
        As :func:`analyze` returns them.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording.

    Warns
    -----
    ToneTransferWarning
        It is silent, has no pitch, or several at once.

    Examples
    --------
    >>> import warnings
    >>> silence = torch.zeros(48000)
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     tt.warn_about(silence, tt.analyze(silence, 48000, tt.load_model()))
    >>> print(told[0].message)
    the recording is silent, and so is the result; check the recording's level and channel
    """
    audio, notes = check_recording(audio, heard), heard.note_frames()
    loudest = float(heard.loudness_db.max())
    if loudest < SILENT_DB:
        return _warn("the recording is silent, and so is the result; check the recording's level and channel")
    if (share := voices_share(audio, heard)) > POLYPHONIC_SHARE:
        return _warn(
            f"several notes sound at once ({100 * share:.0f} % of the time); this program hears one note at a time: record one voice"
        )
    if float(notes.sum()) < SHORTEST_S * heard.grid.frame_rate:
        return _warn("no note is heard in the recording, so the result is (nearly) silent; a voice or an instrument playing is wanted")
    audible = heard.loudness_db > max(loudest - 40.0, SILENT_DB)
    if (share := float((notes & audible).sum() / audible.sum())) < UNPITCHED_SHARE:
        return _warn(f"only {100 * share:.0f} % of the recording has a pitch; noise, drums and much of speech do not become music")
    return None


def _equal(one: Recording, other: Recording) -> bool:
    return one[1] == other[1] and torch.equal(check_audio(*one), check_audio(*other))


def _check_settings(transpose: float | str, loudness_db: float, autotune: float, dynamics: float) -> float | None:
    """The transposition in semitones; None if it is to be found."""
    check_number("autotune", autotune, 0.0, 1.0, "a number from 0 (off) to 1 (every note on a semitone)")
    check_number("dynamics", dynamics, 0.0, 2.0, "a number from 0 (all notes equally loud) over 1 (as played) to 2")
    check_loudness(loudness_db)
    return check_transpose(transpose)


def _warn(message: str) -> None:
    warnings.warn(message, ToneTransferWarning, stacklevel=4)
