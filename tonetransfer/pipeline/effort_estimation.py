"""Effort heard in a recording's spectrum: how bright it is for its pitch and for the kind of instrument that plays.

Analysis by synthesis: the decoder plays what the source plays, at several efforts, on the named instrument most like the source and on
the one that is to play; the efforts whose spectra are nearest to the source's are the ones that are heard. Where the source is of the
same kind as the target, the target itself explains it best, and its own brightness does not count as effort. What the levels of the notes
suggest (:mod:`tonetransfer.controls.dynamics`) is the prior, since players and microphones differ in brightness as well.

In the course of a performance the same comparison tells where the source is brighter or duller than its loudness explains. What is
different all the time belongs to the player, the microphone and the room, and is left out. What is left within a note, band by band, is its
movement: breath, bow and vibrato make it, and a decoder that knows f0 and loudness alone cannot foresee it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ..audio.files import AudioLike, LongAudio
from ..audio.stft import frame_magnitudes, magnitudes_in_pieces
from ..audio.units import hz_to_midi
from ..controls.adaptation import level_shift_db
from ..controls.controls import Controls
from ..controls.dynamics import SOFTEST_DB, loud_end_db, loudness_quantiles, swell_range_db
from ..controls.profile import Target, check_target
from ..controls.recording_checks import check_recording
from ..models.timbre_model import TimbreModel, check_model
from ..synthesis.render import PIECE_FRAMES
from .spectrum_matching import BAND_FFT, DECISION_DB, FLOOR_DB, bands_of_params, bands_of_spectra, bands_played, in_db, loud_sound, shape_db
from .target import find_target, nearest_timbres

CANDIDATES_DB = (-24.0, -16.0, -8.0, 0.0)
MISFIT_DB = 7.0  # between two players of an instrument, in a band
PRIOR_DB = 7.0  # spread of the effort around what the levels suggest
CHANGE_DB = 8.0  # how much softer and harder than asked the source is played, to know what effort does to its spectrum
LARGEST_CHANGE_DB = 12.0
CHANGE_PRIOR_DB = 6.0  # spread of the changes within a performance
CELL_FRAMES, SMOOTH_CELLS = 5, 11  # frames that are judged together, and width of the window over the cells
SOFT_DB = 30.0  # below the loudest notes: softer frames are not judged
FAINT_DB, FAINTEST_BAND_DB = 40.0, -60.0  # below the loudest notes, and below the strongest band: what is softer does not move
STEP_SEMITONES = 0.8  # from frame to frame: more is another note
SHORTEST_NOTE_FRAMES = 8  # shorter notes do not tell their mean from their movement
MOVEMENT_SHARE, LARGEST_MOVEMENT_DB = 0.7, 6.0  # of the movement that is kept, and its limit
FEWEST = 1e-3  # of the weight that the best-known cell has: less is as good as no note


class Effort(NamedTuple):
    """Dynamic of a recording's usual note, and likeness of the target: how well it explains the recording's spectrum."""

    dynamic_db: float
    likeness: float


def estimate_dynamic(audio: AudioLike | LongAudio, heard: Controls, model: TimbreModel, target: Target | None = None) -> float | None:
    """Estimate how hard the usual note of a recording is played.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
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

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording.

    See Also
    --------
    estimate_effort : The same, and how well the target explains the recording.

    Examples
    --------
    >>> model = tt.load_model()
    >>> t = torch.arange(48000) / 48000
    >>> audio = 0.3 * torch.sin(2 * torch.pi * 440 * t)
    >>> -36.0 <= tt.estimate_dynamic(audio, tt.analyze(audio, 48000, model), model) <= 0.0
    True
    """
    found = estimate_effort(audio, heard, model, target)
    return None if found is None else found.dynamic_db


@torch.no_grad()
def estimate_effort(audio: AudioLike | LongAudio, heard: Controls, model: TimbreModel, target: Target | None = None) -> Effort | None:
    """Estimate how hard the usual note of a recording is played, and how well the target explains its spectrum.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
        At the model's rate.
    heard : Controls [shape=(n_frames,)]
        What is played in it.
    model : TimbreModel
        Its named instruments are compared with.
    target : Target or None
        Who is to play, and is compared with as well.

    Returns
    -------
    dynamic_db : float, in [-36, 0] [dB re the strongest], to a tenth
        As :func:`estimate_dynamic` returns it.
    likeness : float, in [0, 1]
        1: the target's spectra are as near to the recording's as those of the most similar named instrument, or there is no target; it
        falls by a factor of e for each half decibel that they are further away, over bands and frames.

    Instead of both None: there are no notes to judge by, or no named instruments to compare with.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording.

    Examples
    --------
    >>> model = tt.load_model()
    >>> t = torch.arange(48000) / 48000
    >>> audio = 0.3 * torch.sin(2 * torch.pi * 440 * t)
    >>> heard = tt.analyze(audio, 48000, model)
    >>> ocarina, violin = (tt.find_target(model, 48000, to=name) for name in ("ocarina", "violin"))
    >>> tt.estimate_effort(audio, heard, model, ocarina).likeness > tt.estimate_effort(audio, heard, model, violin).likeness
    True
    """
    check_model(model)
    if target is not None:
        check_target(target)
    audio, notes, grid = check_recording(audio, heard), heard.note_frames(), heard.grid
    frames, sound = loud_sound(audio, heard, notes)
    if sound is None or not model.names:
        return None
    f0_hz, level_db, playing = heard.f0_hz[frames], heard.loudness_db[frames], notes[frames]
    recorded = bands_of_spectra(frame_magnitudes(sound, grid, BAND_FFT)[playing], grid.sample_rate)
    bands_db, shapes_db = in_db(recorded.mean(0)), shape_db(in_db(recorded))
    loudest_db = float(loudness_quantiles(heard.loudness_db, notes)[-1])
    range_db = swell_range_db(heard.loudness_db, notes, grid.frame_rate)
    players = [(one, float(one.quantiles[-1])) for one in (_most_similar(model, sound), target) if one and one.quantiles is not None]
    asked = [(player, effort + strongest_db - loudest_db) for player, strongest_db in players for effort in CANDIDATES_DB]
    misfits, away_db = [], []
    for (_, gain), bands in zip(asked, bands_played(model, asked, f0_hz, level_db), strict=True):
        played = bands[playing.numpy()]
        misfits.append(_misfit(bands_db + gain, in_db(played.mean(0))))
        away_db.append(float(np.abs(shapes_db - shape_db(in_db(played))).mean()))
    efforts = np.tile(CANDIDATES_DB, len(players))
    cost = np.array(misfits) / (2.0 * MISFIT_DB**2) + (efforts - loud_end_db(range_db)) ** 2 / (2.0 * PRIOR_DB**2)
    weight = np.exp(cost.min() - cost)
    dynamic_db = round(float(np.clip(weight @ efforts / weight.sum() - range_db, SOFTEST_DB, 0.0)), 1)
    nearest_db = np.reshape(away_db, (len(players), -1)).min(1)
    return Effort(dynamic_db, float(np.exp(min(nearest_db[0] - nearest_db[-1], 0.0) / DECISION_DB)))


def estimate_effort_changes(audio: AudioLike | LongAudio, heard: Controls, model: TimbreModel) -> torch.Tensor | None:
    """Estimate where a recording is played harder or more gently than its loudness tells.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
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
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording: they are of another one, or of a part of it.

    See Also
    --------
    estimate_dynamic : How hard the usual note is played.
    estimate_expression : Changes of effort, and the movement within notes.
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
    found = estimate_expression(audio, heard, model)
    return None if found is None else found[0]


@torch.no_grad()
def estimate_expression(audio: AudioLike | LongAudio, heard: Controls, model: TimbreModel) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Estimate how a recording's spectrum changes beside what its f0 and loudness explain.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
        At the model's rate.
    heard : Controls [shape=(n_frames,)]
        What is played in it.
    model : TimbreModel
        Its named instrument most like the recording is what the recording is compared with.

    Returns
    -------
    effort_change_db : Tensor [shape=(n_frames,)], in [-12, 12] [dB]
        As :func:`estimate_effort_changes` returns it.
    movement_db : Tensor [shape=(n_frames, 11)], in [-6, 6] [dB]
        Gains of bands, around the mean of each note, between `BAND_EDGES_HZ` of :mod:`tonetransfer.synthesis.colour`. It belongs to the
        player and to the kind of instrument: what plays something else takes as much of it as it is like the recording
        (:func:`estimate_effort`).

    Instead of both None: there are no notes to judge by, or no named instruments to compare with.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording: they are of another one, or of a part of it.

    See Also
    --------
    arrange : Takes both.

    Examples
    --------
    >>> model = tt.load_model()
    >>> t = torch.arange(48000) / 48000
    >>> audio = 0.3 * torch.sin(2 * torch.pi * 440 * t)  # the same from beginning to end
    >>> effort_change_db, movement_db = tt.estimate_expression(audio, tt.analyze(audio, 48000, model), model)
    >>> movement_db.shape, bool(movement_db[20:80].abs().max() < 1.5)
    (torch.Size([100, 11]), True)
    """
    check_model(model)
    audio, notes, grid = check_recording(audio, heard), heard.note_frames(), heard.grid
    frames, sound = loud_sound(audio, heard, notes)
    if sound is None or not model.names or (player := _most_similar(model, sound)).quantiles is None:
        return None
    asked = heard.shift_loudness(level_shift_db(heard.loudness_db, notes, player.quantiles, grid.frame_rate))
    frames = frames[-1:]  # one stretch tells it well enough
    softer_and_harder = [(player, -CHANGE_DB), (player, CHANGE_DB)]
    played = bands_played(model, softer_and_harder, asked.f0_hz[frames], asked.loudness_db[frames])
    softer, harder = (shape_db(in_db(bands[notes[frames].numpy()].mean(0))) for bands in played)
    by_effort = (harder - softer) / (2.0 * CHANGE_DB)
    level_db = heard.loudness_db.numpy() - float(loudness_quantiles(heard.loudness_db, notes)[-1])
    weight = np.where(notes.numpy() & (level_db > -FAINT_DB), 10.0 ** (level_db / 20.0), 0.0)
    recorded = (bands_of_spectra(piece, grid.sample_rate) for piece in magnitudes_in_pieces(audio, grid, BAND_FFT, PIECE_FRAMES))
    expected = (bands_of_params(piece, player, model.sample_rate) for piece in model.decode_stream(asked, player.z))
    misfit_db, begin = np.zeros((len(weight), len(by_effort)), np.float32), 0
    for pair in zip(recorded, expected, strict=True):
        heard_db, played_db = (shape_db(in_db(bands), FAINTEST_BAND_DB) for bands in pair)
        misfit_db[begin : begin + len(heard_db)] = heard_db - played_db
        begin += len(heard_db)
    changes_db = _changes(misfit_db, np.where(level_db > -SOFT_DB, weight, 0.0), by_effort)
    movement_db = _movement(misfit_db, weight, hz_to_midi(heard.f0_hz).numpy())
    return torch.from_numpy(changes_db).float(), torch.from_numpy(movement_db)


def _changes(misfit_db: np.ndarray, weight: np.ndarray, by_effort: np.ndarray) -> np.ndarray:
    """Changes of effort (n_frames,) [dB] in misfits (n_frames, n_bands) with weights (n_frames,).

    `by_effort` (n_bands,) is what one decibel of effort changes in the bands [dB].
    """
    firsts = np.arange(0, len(weight), CELL_FRAMES)
    cells = np.add.reduceat(np.concatenate([weight[:, None], weight[:, None] * misfit_db], axis=1), firsts)
    cells -= cells[:, :1] * np.append(0.0, cells[:, 1:].sum(0) / max(cells[:, 0].sum(), 1e-9))  # less what is there all the time
    window = np.hanning(SMOOTH_CELLS + 2)[1:-1]
    smooth = np.stack([np.convolve(column, window)[SMOOTH_CELLS // 2 :][: len(cells)] for column in cells.T], axis=1)
    known = smooth[:, 0] > FEWEST * smooth[:, 0].max()
    change_db = smooth[known, 1:] / smooth[known, :1] @ by_effort / (by_effort @ by_effort + (MISFIT_DB / CHANGE_PRIOR_DB) ** 2)
    centres = CELL_FRAMES * np.flatnonzero(known) + CELL_FRAMES // 2
    return np.interp(np.arange(len(weight)), centres, np.clip(change_db, -LARGEST_CHANGE_DB, LARGEST_CHANGE_DB))


def _movement(misfit_db: np.ndarray, weight: np.ndarray, midi: np.ndarray) -> np.ndarray:
    """Movement (n_frames, n_bands) [dB] around the means of notes.

    In misfits (n_frames, n_bands) with weights (n_frames,), at pitches [MIDI] (n_frames,); where nothing is heard the weight is zero.
    """
    heard = weight > 0.0
    begins = (heard[1:] != heard[:-1]) | (np.abs(np.diff(midi)) > STEP_SEMITONES)
    firsts = np.flatnonzero(np.append(True, begins))
    lengths = np.diff(np.append(firsts, len(heard)))
    weighted = weight[:, None].astype(np.float32) * misfit_db
    means = np.add.reduceat(weighted, firsts) / np.maximum(np.add.reduceat(weight, firsts), 1e-9)[:, None]
    moved = MOVEMENT_SHARE * (misfit_db - np.repeat(means.astype(np.float32), lengths, axis=0))
    moved[~heard | np.repeat(lengths < SHORTEST_NOTE_FRAMES, lengths)] = 0.0
    return np.clip(moved, -LARGEST_MOVEMENT_DB, LARGEST_MOVEMENT_DB)


def _most_similar(model: TimbreModel, sound: torch.Tensor) -> Target:
    """The named instrument most like some sound (n, n_samples)."""
    return find_target(model, model.sample_rate, to=nearest_timbres(model, model.encode(sound.flatten()), 1)[0][0])


def _misfit(bands_db: np.ndarray, played_db: np.ndarray) -> float:
    """Sum of squared differences of shape over bands, whatever is faint in both left out."""
    floor = max(bands_db.max(), played_db.max()) + FLOOR_DB
    difference = np.maximum(bands_db, floor) - np.maximum(played_db, floor)
    return float(np.square(difference - difference.mean()).sum())
