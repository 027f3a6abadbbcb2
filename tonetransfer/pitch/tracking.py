"""Pitch tracking: f0 and how much to believe it, on the frame grid, for recordings of any length.

Three witnesses: a tracker names what it hears; the autocorrelation says how well the sound repeats itself at that period, at its
octaves and elsewhere; the spectrum says which partials are there. A shortest path through the candidates decides. A network
confuses octaves with great confidence on real reeds and strings, autocorrelation takes notes that ring together for
their common subharmonic, and a spectrum knows little of bass notes; they seldom err together. Where a note gives way to another,
:mod:`tonetransfer.pitch.f0_refinement` looks once more, closely.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from ..audio.files import AudioLike, LongAudio, check_audio, peak_of, resample
from ..audio.frames import FrameGrid
from ..audio.stft import fast_length
from .autocorrelation import (
    FRAME_RATE,
    HIGHEST_HZ,
    HOP_LENGTH,
    LOWEST_HZ,
    N_PEAKS,
    SAMPLE_RATE,
    Autocorrelation,
    SplitSpectra,
    salience,
    split_spectra,
    upper_odd_partials,
)
from .estimators import DEFAULT_TRACKER, Tracker, find_tracker
from .f0_refinement import refine_note_transitions

F0_VERSION = 3
"""Changes whenever the numbers change; stored in prepared datasets and compared on loading."""

SHORTEST_CHUNK_S, CHUNK_S = 8, 12  # even numbers of seconds: whole samples at every rate, and whole frames of swift-f0 (16 ms)
MOST_THREADS = 4  # pieces at a time: each is held in memory, with its spectra
RUMBLE_HZ = 20.0
RUNG_OUT, FORGOTTEN = 3200, 512  # samples after which the filters of rumble and of hum have died away
HUM_HZ = 150.0  # the level falls by 6 dB per octave below: mains hum is not music

# Of the path. Costs are in natural-log units of the part of the sound that does not repeat.
EVIDENCE_FLOOR = 0.03  # differences below 3 % of the power say nothing: vibrato and decay cause them, too
SALIENCE_WEIGHT = 8.0
OCTAVE_PRIOR = 0.1  # per octave, in favour of high: a sound of period T also repeats at 2T
LEAP_COST, LEAP_HIGHEST = 0.5, 4.0  # per semitone between frames; a leap of 8 semitones or more costs all alike
OVERBLOWN_COST, ODD_LOSS = 3.0, 0.09  # repetition that is lost with odd partials 15 dB below the even ones
AGREE_SEMITONES = 0.7
PATH_FRAMES = 1000  # whose steps are held at a time
OWN_RATIOS = (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)  # how one-value trackers err

# Of voicing.
VOICED_ON, VOICED_OFF = 0.75, 0.55  # periodicity; hysteresis
CLEARLY_PERIODIC, SUPPORTED = 0.9, 0.25  # a note starts on either: repetition alone, or the tracker's confidence at that f0
SURE, BARELY_PERIODIC = 0.7, 0.3  # a note sounds under noise if the tracker is sure of it
UNSUPPORTED_HZ = 52.0  # networks know nothing of notes below: that one is as periodic as any note must do
LEAP_SEMITONES = 1.0  # between two frames: a new note, to be judged for itself
SILENCE_DB = -100.0  # re full scale, of the recording as it is
RANGE_DB = 55.0  # below the loud parts a recording holds room, hiss and hum
SHORTEST_S, SHORTEST_FAINT_S = 0.03, 0.1
AROUND_S, FAINT_DB, FAINTER_DB = 0.5, 22.0, 35.0  # below the loudest nearby; below the loud parts
SHORT_GAP_S, WIDEST_SLIDE_SEMITONES = 0.08, 7.0  # a larger way in so little time is a leap
NO_NOTE = 0.5  # periodicity where something else than the f0 that is held repeats itself
EDGE_S, EDGE_DB, EDGE_RATIOS = 0.08, 10.0, (2, 3, 4)  # of notes: how long, and how much softer than the note itself
HELD_NOTE_S = 0.15
HELD_FROM_S = 0.05
NOTHING_PLAYED_HZ = 220.0


class _Evidence(NamedTuple):
    """Evidence about each frame of the trackers' clock (10 ms); an hour of it is held, as float32."""

    candidates_hz: np.ndarray  # (n_frames, n_candidates), 0: none
    repetition: np.ndarray  # (n_frames, n_candidates), normalised autocorrelation there
    support: np.ndarray  # (n_frames, n_candidates), in [0, 1], the tracker's confidence in it
    cost: np.ndarray  # (n_frames, n_candidates)
    level_db: np.ndarray  # (n_frames,), RMS of 32 ms


def track_f0(
    audio: AudioLike | LongAudio, sample_rate: int, grid: FrameGrid, *, tracker: str = DEFAULT_TRACKER
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fundamental frequency of one instrument playing one note at a time.

    Unvoiced frames carry an f0 too: interpolated in log-frequency across gaps of up to 80 ms and 7 semitones; across others the last
    note is held until the sound is weakest, the next one taken from there on, so that an attack's noise belongs to the note
    that it begins. Memory stays bounded: the recording is worked through in pieces of 12 s, the path runs over the whole.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
    sample_rate : int [Hz]
        Of the audio; it need not be the grid's.
    grid : FrameGrid
        The clock of the result.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`; docs/trackers.md compares them.

    Returns
    -------
    f0_hz : Tensor [shape=(n_frames,)], 26 to 4400 Hz
        Positive and finite everywhere.
    periodicity : Tensor [shape=(n_frames,)], in [0, 1]
        How well the sound repeats itself at that f0, whichever tracker named it; 0 in silence, at most 0.5 in pauses in which
        something else repeats itself. Where `joint` is sure of a note under noise, its confidence.

    Raises
    ------
    AudioError
        The audio is not audio.
    InstrumentError
        There is no such tracker; the nearest is named.
    """
    chosen = find_tracker(tracker)
    samples: torch.Tensor | LongAudio = audio if isinstance(audio, LongAudio) else check_audio(audio, sample_rate)
    n_frames = grid.n_frames(-(-len(samples) * grid.sample_rate // sample_rate))
    gain = 0.5 / max(peak_of(samples), 1e-6)  # trackers were trained at one level, and soft recordings are music as well
    evidence = _gather_evidence(samples, sample_rate, chosen, gain)
    f0_hz, periodicity = _decide(evidence, gain, sure_of_itself=not chosen.own_octaves)
    f0_hz = refine_note_transitions(f0_hz, samples, sample_rate, FRAME_RATE)
    periodicity = grid.place(np.arange(len(f0_hz)) / FRAME_RATE, periodicity, n_frames)
    return torch.from_numpy(place_f0(f0_hz, FRAME_RATE, grid, n_frames)).float(), torch.from_numpy(periodicity).float()


def _decide(evidence: _Evidence, gain: float, *, sure_of_itself: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """f0 and periodicity, each (n_frames,), of a recording that was heard `gain` times as loud as it is.

    If the tracker is `sure_of_itself` with reason, its confidence counts where noise, or another string, hides how periodic a note is.
    """
    level_db = evidence.level_db - 20.0 * math.log10(gain)
    f0_hz, periodicity, support = _shortest_path(evidence)
    f0_hz = settle_edges(f0_hz, level_db)
    if sure_of_itself:
        sure = (support >= SURE) & (periodicity >= BARELY_PERIODIC) & ~_faint(level_db)
        periodicity = np.where(sure, np.maximum(periodicity, support), periodicity)
    voiced = voiced_frames(f0_hz, periodicity, support, level_db)
    periodicity = np.where(_audible(level_db), np.clip(periodicity, 0.0, 1.0), 0.0)
    filled = fill_unvoiced(f0_hz, voiced, level_db)
    elsewhere = _long_gaps(voiced) & (np.abs(np.log2(filled / f0_hz)) > LEAP_SEMITONES / 12.0)
    return filled, np.where(elsewhere, np.minimum(periodicity, NO_NOTE), periodicity)


def settle_edges(f0_hz: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Give what begins a note an octave or more too low, or ends it as much too high, or leaves it for an instant, the pitch of the note.

    Reeds and overblown pipes speak low before they settle; where a note dies away, its weak fundamental goes first; and nobody plays an
    octave and back in 80 ms. Tracks are (n_frames,).
    """
    leaps = np.flatnonzero(np.abs(np.diff(np.log2(f0_hz))) > LEAP_SEMITONES / 12.0) + 1
    edges, settled = np.concatenate([[0], leaps, [len(f0_hz)]]), f0_hz.copy()
    for begin, change, end in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        ratio = round(f0_hz[change] / f0_hz[change - 1])
        if ratio not in EDGE_RATIOS or abs(_semitones(f0_hz[change - 1], f0_hz[change] / ratio)) > AGREE_SEMITONES:
            continue
        if change - begin <= EDGE_S * FRAME_RATE < end - change and level_db[begin] < level_db[change:end].max() - EDGE_DB:
            settled[begin:change] *= ratio
        elif end - change <= EDGE_S * FRAME_RATE < change - begin and level_db[end - 1] < level_db[begin:change].max() - EDGE_DB:
            settled[change:end] /= ratio
    return _without_flips(settled, edges)


def _without_flips(f0_hz: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """f0 without runs, given by their edges (n_runs + 1,), that leave a held note for its octave and come back at once."""
    lengths, steady = np.diff(edges), f0_hz.copy()
    held = np.minimum(lengths[:-2], lengths[2:]) >= HELD_NOTE_S * FRAME_RATE
    for run in 1 + np.flatnonzero(held & (lengths[1:-1] <= EDGE_S * FRAME_RATE)):
        begin, end = edges[run], edges[run + 1]
        octaves = float(_semitones(steady[begin:end], steady[begin - 1]).mean()) / 12.0
        back = abs(_semitones(steady[end], steady[begin - 1])) < LEAP_SEMITONES
        if back and abs(octaves - math.copysign(1.0, octaves)) < AGREE_SEMITONES / 12.0:
            steady[begin:end] *= 2.0 ** -round(octaves)
    return steady


def voiced_frames(f0_hz: np.ndarray, periodicity: np.ndarray, support: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Voiced frames: hysteresis on periodicity, never in silence, no note shorter than 30 ms, no faint one shorter than 100 ms.

    A leap of f0 of over a semitone between two frames begins another note; `support`, in [0, 1], is the tracker's confidence. All
    (n_frames,).
    """
    audible, loud = _audible(level_db), ~_faint(level_db)
    clear = (periodicity >= CLEARLY_PERIODIC) | (f0_hz < UNSUPPORTED_HZ)
    starts = (periodicity >= VOICED_ON) & ((support >= SUPPORTED) | (clear & loud)) & audible
    stays = (periodicity >= VOICED_OFF) & audible
    leaps = np.abs(np.diff(np.log2(f0_hz), prepend=np.log2(f0_hz[0]))) > LEAP_SEMITONES / 12.0
    run = np.cumsum(leaps | np.diff(stays, prepend=False))  # number of the run that a frame belongs to
    faint = np.ones(run[-1] + 1, bool)
    faint[run[loud]] = False
    long_enough = np.bincount(run[stays], minlength=run[-1] + 1) >= np.round(np.where(faint, SHORTEST_FAINT_S, SHORTEST_S) * FRAME_RATE)
    started = np.bincount(run[starts & stays], minlength=run[-1] + 1) > 0
    return stays & (long_enough & started)[run]


def hysteresis(on: np.ndarray, stay: np.ndarray) -> np.ndarray:
    """Runs of `stay` (n_frames,) that hold at least one frame of `on`, bool."""
    run = np.cumsum(np.diff(stay, prepend=False))  # odd where `stay` holds
    return stay & (np.bincount(run[on & stay], minlength=run[-1] + 1 if len(run) else 0) > 0)[run]


def fill_unvoiced(f0_hz: np.ndarray, voiced: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Replace f0 where nothing is voiced; see :func:`track_f0` for how. Tracks are (n_frames,).

    What is held is the median of a note's last (or first) 50 ms: where sound breaks off, single frames are inexact.
    """
    if not voiced.any():
        return np.full(len(f0_hz), NOTHING_PLAYED_HZ)
    filled = f0_hz.copy()
    edges = np.flatnonzero(np.diff(voiced, prepend=False, append=False)).reshape(-1, 2)  # first frame of each note, and first behind it
    held = round(HELD_FROM_S * FRAME_RATE)
    starts_hz = [float(np.median(f0_hz[first : min(first + held, end)])) for first, end in edges]
    ends_hz = [float(np.median(f0_hz[max(first, end - held) : end])) for first, end in edges]
    filled[: edges[0, 0]] = starts_hz[0]
    filled[edges[-1, 1] :] = ends_hz[-1]
    for k, (last, following) in enumerate(zip(edges[:-1, 1] - 1, edges[1:, 0], strict=True)):
        slides = abs(_semitones(f0_hz[following], f0_hz[last])) < WIDEST_SLIDE_SEMITONES
        if following - last - 1 <= SHORT_GAP_S * FRAME_RATE and slides:
            steps = np.arange(1, following - last) / (following - last)
            filled[last + 1 : following] = f0_hz[last] * (f0_hz[following] / f0_hz[last]) ** steps
        else:
            weakest = last + 1 + int(np.argmin(level_db[last + 1 : following]))
            filled[last + 1 : weakest] = ends_hz[k]
            filled[weakest:following] = starts_hz[k + 1]
    return filled


def _long_gaps(voiced: np.ndarray) -> np.ndarray:
    """Frames where nothing is voiced for over 80 ms, (n_frames,) bool."""
    run = np.cumsum(np.diff(voiced, prepend=False))
    return ~voiced & (np.bincount(run) > SHORT_GAP_S * FRAME_RATE)[run]


def _gather_evidence(samples: torch.Tensor | LongAudio, sample_rate: int, tracker: Tracker, gain: float) -> _Evidence:
    """Evidence for the whole recording, gathered in pieces that overlap by more than anything reaches, several at a time."""
    n_frames = int(len(samples) / sample_rate * FRAME_RATE) + 1
    length_s, at_once_s = len(samples) / sample_rate, MOST_THREADS * CHUNK_S
    n_pieces = MOST_THREADS * max(math.ceil(length_s / at_once_s), 1)  # all threads end at about the same time
    piece_s = max(SHORTEST_CHUNK_S, 2 * math.ceil(length_s / n_pieces / 2))
    n_candidates = len(OWN_RATIOS) if tracker.own_octaves else N_PEAKS + 1
    whole = _Evidence(*(np.empty((n_frames, *shape), np.float32) for shape in 4 * [(n_candidates,)] + [()]))

    def gather_from(start: int) -> None:
        end = min(start + int(piece_s * FRAME_RATE), n_frames)
        from_s, to_s = max(0.0, start / FRAME_RATE - tracker.reach_s), start / FRAME_RATE + piece_s + tracker.reach_s
        piece = samples[round(from_s * sample_rate) : round(to_s * sample_rate)]
        audio = resample(piece * gain, sample_rate, SAMPLE_RATE).numpy()
        first = start - round(from_s * FRAME_RATE)
        for part, destination in zip(_listen_once(_without_rumble(audio), first, first + end - start, tracker), whole, strict=True):
            destination[start:end] = part

    starts = range(0, n_frames, int(piece_s * FRAME_RATE))
    if len(starts) > 1:
        tracker.estimate(np.zeros(4 * HOP_LENGTH, np.float32), 4)  # loads what is loaded once, before there are threads
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        list(pool.map(gather_from, starts))
    return whole


def _listen_once(audio: np.ndarray, first: int, last: int, tracker: Tracker) -> _Evidence:
    """Evidence for frames first to last - 1 of a piece."""
    n_frames = max(last, -(-len(audio) // HOP_LENGTH))
    heard_hz, confidence = tracker.estimate(audio, n_frames)
    heard_hz = np.clip(heard_hz, LOWEST_HZ, HIGHEST_HZ)
    autocorrelation = Autocorrelation(audio, n_frames)
    if tracker.own_octaves:
        candidates = heard_hz[:, None] * np.array(OWN_RATIOS)
        candidates[(candidates < LOWEST_HZ) | (candidates > HIGHEST_HZ)] = 0.0
        repetition = autocorrelation.at(np.maximum(candidates, LOWEST_HZ))
    else:
        peaks_hz, peak_values = autocorrelation.peaks()
        peaks_hz = np.minimum(peaks_hz, HIGHEST_HZ)
        known = (np.abs(_semitones(peaks_hz, heard_hz[:, None])) < AGREE_SEMITONES).any(axis=1)
        candidates = np.column_stack([peaks_hz, np.where(known, 0.0, heard_hz)])
        repetition = np.column_stack([peak_values, autocorrelation.at(heard_hz[:, None])])
    support = _credible(candidates, repetition, heard_hz, confidence)[:, None] * _agreement(candidates, heard_hz)
    noise = np.clip(1.0 - repetition, 0.0, 2.0)
    spectra = split_spectra(audio, n_frames)
    cost = np.log(noise / EVIDENCE_FLOOR + 1.0) - tracker.trust * support - SALIENCE_WEIGHT * salience(spectra, candidates)
    cost -= OCTAVE_PRIOR * np.log2(np.maximum(candidates, LOWEST_HZ))
    cost += OVERBLOWN_COST * _overblown(candidates, repetition, spectra)
    fields = (candidates, repetition, support, cost, _level_db(audio, n_frames))
    return _Evidence(*(field[first:last] for field in fields))


def _agreement(candidates_hz: np.ndarray, heard_hz: np.ndarray) -> np.ndarray:
    """Closeness of candidates (n_frames, n) to what the tracker heard (n_frames,): 1 to 0 within a semitone."""
    return np.exp(-np.square(_semitones(candidates_hz, heard_hz[:, None]) / AGREE_SEMITONES))


def _credible(candidates_hz: np.ndarray, repetition: np.ndarray, heard_hz: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The tracker's confidence (n_frames,), less where it names a multiple of a period that explains nearly everything (low flutes)."""
    above = np.zeros(len(heard_hz))
    for multiple in (2.0, 3.0):
        near = np.abs(_semitones(candidates_hz, multiple * heard_hz[:, None])) < AGREE_SEMITONES
        above = np.maximum(above, np.where(near, repetition, 0.0).max(axis=1))
    return confidence * (1.0 - np.clip((above - 0.985) / 0.01, 0.0, 1.0))


def _overblown(candidates_hz: np.ndarray, repetition: np.ndarray, spectra: SplitSpectra) -> np.ndarray:
    """How far candidates are what overblowing leaves of a lower note, (n_frames, n) in [0, 1].

    The octave above explains the sound nearly as well, and what it does not explain is faint everywhere: a low note whose fundamental
    is weak has strong odd partials higher up.
    """
    octave = np.abs(_semitones(candidates_hz[:, None, :], 2.0 * np.maximum(candidates_hz[:, :, None], 1.0))) < AGREE_SEMITONES
    above = np.where(octave, repetition[:, None, :], -1.0).max(axis=2)
    nearly = np.clip((ODD_LOSS - repetition + above) / (0.5 * ODD_LOSS), 0.0, 1.0) * (above > VOICED_ON)
    rows, columns = np.nonzero(nearly)
    odd = upper_odd_partials(spectra, rows, candidates_hz[rows, columns])
    nearly[rows, columns] *= np.clip((0.85 - odd) / 0.25, 0.0, 1.0)
    return nearly


def _shortest_path(evidence: _Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f0, its repetition and the tracker's support for it, each (n_frames,), along the cheapest path through the candidates."""
    # Soft frames follow their neighbours: what is between the notes has no say in them.
    loudest = np.percentile(evidence.level_db, 99.0)
    weight = np.clip((evidence.level_db - loudest + 60.0) / 30.0, 0.02, 1.0)
    cost = np.where(evidence.candidates_hz > 0.0, evidence.cost * weight[:, None].astype(np.float32), np.float32(1e3))
    semitones = 12.0 * np.log2(np.maximum(evidence.candidates_hz, 1.0))
    chosen = np.arange(len(cost)), _viterbi(cost, semitones)
    real = evidence.candidates_hz[chosen] > 0.0  # nothing repeats itself in silence
    f0_hz = np.where(real, evidence.candidates_hz[chosen], NOTHING_PLAYED_HZ).astype(np.float64)
    return f0_hz, evidence.repetition[chosen] * real, evidence.support[chosen] * real


def _viterbi(cost: np.ndarray, semitones: np.ndarray) -> np.ndarray:
    """Columns (n_frames,) of the path of least cost; a step between frames costs by its semitones."""
    n_frames, n_candidates = cost.shape
    back = np.zeros((n_frames, n_candidates), dtype=np.int8)
    best, rows = np.empty(n_candidates, dtype=np.intp), n_candidates * np.arange(n_candidates)
    total = cost[0].copy()
    for begin in range(1, n_frames, PATH_FRAMES):
        here = slice(begin, min(begin + PATH_FRAMES, n_frames))
        leaps = np.abs(semitones[here, :, None] - semitones[here.start - 1 : here.stop - 1, None])  # (n_frames, to, from)
        for leap, came_from, costs in zip(np.minimum(LEAP_COST * leaps, LEAP_HIGHEST), back[here], cost[here], strict=True):
            leap += total
            came_from[:] = leap.argmin(1, best)
            total = leap.take(rows + best)
            total += costs
            total -= total.min()
    path = np.empty(n_frames, dtype=np.int64)
    path[-1] = total.argmin()
    for t in range(n_frames - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def _semitones(frequency_hz: np.ndarray, reference_hz: np.ndarray) -> np.ndarray:
    return 12.0 * np.log2(np.maximum(frequency_hz, 1.0) / reference_hz)


def _level_db(audio: np.ndarray, n_frames: int, length: int = 512) -> np.ndarray:
    """RMS level (n_frames,) of 32 ms around each frame's instant, dB re full scale, less what hums."""
    heard = _filtered(audio, _first_order(fast_length(len(audio) + FORGOTTEN)))
    energy = np.concatenate([[0.0], np.cumsum(np.square(heard, dtype=np.float64))])
    centre = np.arange(n_frames) * HOP_LENGTH
    begin, end = (np.clip(centre + side * length // 2, 0, len(audio)) for side in (-1, 1))
    mean_square = np.maximum((energy[end] - energy[begin]) / length - 1e-14, 0.0)  # silence, filtered in float32: to be all alike
    return 10.0 * np.log10(mean_square + 1e-12)


def _audible(level_db: np.ndarray) -> np.ndarray:
    return level_db > max(SILENCE_DB, float(np.percentile(level_db, 95.0)) - RANGE_DB)


def _faint(level_db: np.ndarray) -> np.ndarray:
    """Frames far softer than the notes around them, or than most, (n_frames,) bool: breath, keys, and the room are heard there."""
    around = maximum_filter1d(level_db, 2 * round(AROUND_S * FRAME_RATE) + 1)
    return level_db < np.maximum(around - FAINT_DB, float(np.percentile(level_db, 95.0)) - FAINTER_DB)


def _without_rumble(audio: np.ndarray) -> np.ndarray:
    """Offset and rumble removed, phase kept: a constant repeats itself at every lag."""
    beyond = min(len(audio) - 1, RUNG_OUT)  # point reflections of both ends, so that the filter does not meet a step there
    padded = np.pad(np.pad(audio, beyond, "reflect", reflect_type="odd"), RUNG_OUT - beyond, "edge")
    return _filtered(padded, _forth_and_back(fast_length(len(padded))))[RUNG_OUT : RUNG_OUT + len(audio)]


def _filtered(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Audio (n_samples,), zeros behind it, through a filter whose response (n_fft // 2 + 1,) is given; float32."""
    n_fft = 2 * (len(response) - 1)
    filtered = np.fft.irfft(np.fft.rfft(audio, n_fft) * response, n_fft)
    return filtered[: len(audio)].astype(np.float32, copy=False)


@lru_cache(maxsize=4)
def _first_order(n_fft: int) -> np.ndarray:
    """Frequency response of a Butterworth high-pass of first order at :data:`HUM_HZ`, (n_fft // 2 + 1,)."""
    bent = math.tan(math.pi * HUM_HZ / SAMPLE_RATE)
    turn = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)
    return ((1.0 - turn) / (1.0 + bent - (1.0 - bent) * turn)).astype(np.complex64)


@lru_cache(maxsize=4)
def _forth_and_back(n_fft: int) -> np.ndarray:
    """Response (n_fft // 2 + 1,) of a Butterworth high-pass of second order at :data:`RUMBLE_HZ`, run forwards and backwards."""
    bent = math.tan(math.pi * RUMBLE_HZ / SAMPLE_RATE) ** 4
    tangent = np.tan(np.pi * np.arange(n_fft // 2 + 1) / n_fft) ** 4
    return (tangent / (tangent + bent)).astype(np.float32)


def place_f0(f0_hz: np.ndarray, frame_rate: float, grid: FrameGrid, n_frames: int) -> np.ndarray:
    """f0 (n,), whose first value is for instant 0, on another clock: linear in log-frequency, but never gliding through a leap.

    A leap is over a semitone; the last value is held.
    """
    position = np.clip(grid.times(n_frames) * frame_rate, 0, len(f0_hz) - 1)
    left = position.astype(int)
    right = np.minimum(left + 1, len(f0_hz) - 1)
    interval = np.log2(f0_hz[right] / f0_hz[left])
    share = position - left
    share = np.where(np.abs(interval) > 1.0 / 12.0, np.round(share), share)
    return f0_hz[left] * 2.0 ** (interval * share)
