"""Controls as they come, and how they are made playable for an instrument: what :mod:`.adaptation` does with a whole recording.

f0, periodicity and loudness of a frame are known as soon as a chosen stretch after its instant has been heard.

Nothing of what comes later is known, so octave and dynamics are estimated as the player goes on, from what was played up to now:

* The octave is decided by the first note and reconsidered, by the notes of the last half minute, whenever a note begins; never within
  a note, but for its first 50 ms, in which a tracker may still hear the attack.
* Loudness is moved as a whole, as for recordings, to where the instrument plays as hard as the player does. The player's loud notes are
  taken to be as loud as is usual at a microphone, and are known after two seconds of notes; or they are given (`loudest_db`). The level of
  the result comes down with a loud player as soon, and goes up with a soft one over half a minute, so that even notes do not swell.
* What is soft and keeps to a multiple of the mains' frequency, without having swelled, is hum and no note.
* A note ends when the sound stops being periodic, and keeps its pitch from there. It fades as the player's sound does, by 200 dB a second
  at least; where nothing at all is heard between notes, as in a synthesizer's, it dies away as the instrument's own.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.fft
import torch

from ..audio.frames import FrameGrid
from ..audio.hum import BASES_HZ
from ..audio.loudness import FLOOR_DB, N_FFT
from ..audio.stft import a_weighting, hann
from ..audio.units import hz_to_midi
from ..pitch.causal import CausalTracker
from ..pitch.tracking import VOICED_OFF
from .adaptation import (
    DOUBT_DB_PER_S,
    DOUBTFUL,
    FADE_DB_PER_S,
    GRACE_FRAMES,
    LOUD_MARGIN_DB,
    LOUD_QUANTILE,
    NOTHING,
    STRAY_SHARE,
    smallest_octave_shift,
)
from .dynamics import QUANTILES, REST_DB, STRETCH_S, loud_end_db
from .profile import SILENCE_DB, SILENT_FRAMES, Target, playable_release

USUAL_LOUDEST_DB = -16.0  # of a player at a microphone that is set well
MEMORY_S = 30.0
LEARNING_S = 2.0  # of notes, after which the assumption about the player's dynamics counts no more
FAINTEST_NOTE_DB = -75.0  # a live input hums and hisses more than a recording's rests do
START_BELOW_DB, STAY_BELOW_DB = 40.0, 50.0  # re the loud notes, as for recordings
USUAL_RANGE_DB = 4.0  # from the loudest to the usual stretch of half a second, before enough of them were heard
FEWEST_SWELLS = 6
N_HUM_LINES, HUM_OFF, HUM_NEAR = 6, 0.004, 0.02  # multiples of the mains' frequency; how far from one, and from one that is known to hum
HUM_BELOW_DB = 12.0  # re the loud notes
HUM_FRAMES, STEADY_DB = 10, 4.0  # by less does the level of hum move in so many frames; a note's rises by more when it begins
STARTING = 0.65  # periodicity with which a note begins: a little less than in recordings, where the surer frames that follow are known
LEAP_SEMITONES = 1.0
FALLING_DB = 2.0  # per frame: a sound that dies away; its last periods are often taken for a subharmonic
UNSURE_FRAMES = 5  # at the beginning of a note
BIN_DB = 1.0
RENEW_FRAMES = 10  # of notes, after which the shift of loudness is decided anew
SHIFT_MOVES = 0.2  # share of the way to the new one in each frame: no steps


class ControlFrame(NamedTuple):
    """One frame of controls."""

    f0_hz: float
    periodicity: float
    loudness_db: float


def prompt_loudness_db(frames: np.ndarray, grid: FrameGrid, look_ahead: int) -> np.ndarray:
    """A-weighted loudness (n_frames,), as :func:`tonetransfer.audio.loudness.loudness_db` defines it, with a window that ends sooner.

    The window is the definition's Hann window up to the frame's instant; after it, half a Hann window falls within `look_ahead` [samples].
    From 1024 samples on it is the definition itself. `frames` (n_frames, window_length(look_ahead)) hold what lies from 1024 samples before
    each instant to the look-ahead after it.
    """
    window, weighting = _window(look_ahead), _weighting(grid.sample_rate)
    spectrum = scipy.fft.rfft(frames * window, N_FFT, axis=-1)
    power = np.square(spectrum.real) @ weighting + np.square(spectrum.imag) @ weighting
    full_scale_sine = N_FFT * float(np.square(window).sum()) / 4.0
    return 10.0 * np.log10(np.maximum(power / full_scale_sine, 10.0 ** (FLOOR_DB / 10.0)))


def window_length(look_ahead: int) -> int:
    """Samples that the loudness of a frame is taken from."""
    return N_FFT // 2 + min(look_ahead, N_FFT // 2)


class CausalExtractor:
    """Controls of audio that comes in blocks of any size.

    `look_ahead` [samples] is what is heard after a frame's instant before it is described; `path_frames` as for
    :class:`~tonetransfer.pitch.causal.CausalTracker`.
    """

    def __init__(self, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> None:
        self.grid, self.look_ahead, self.path_frames = grid, look_ahead, path_frames
        self._tracker = CausalTracker(grid, look_ahead, path_frames=path_frames)
        self.reset()
        self.push(np.zeros(look_ahead + grid.hop_length))  # what is loaded at first must not be waited for later
        self.reset()

    @property
    def latency_samples(self) -> int:
        """From a frame's instant to its description."""
        return self.look_ahead + self.path_frames * self.grid.hop_length

    def reset(self) -> None:
        """Forget what was heard."""
        self._tracker.reset()
        self._recent = np.zeros(N_FFT // 2 + self.look_ahead, np.float32)  # the newest frame's instant lies after the first half window
        self._loudness_db: list[float] = []
        self._pending: list[np.ndarray] = []
        self._n_pending, self._n_wanted = 0, self.look_ahead

    def push(self, audio: np.ndarray) -> list[ControlFrame]:
        """Hear a block (n_samples,) of any size, 0 included; the frames that can be described now."""
        self._pending.append(np.array(audio, dtype=np.float32))
        self._n_pending += len(audio)
        if self._n_pending < self._n_wanted:
            return []
        pending, found, first = np.concatenate(self._pending), [], 0
        while len(pending) - first >= self._n_wanted:
            found += self._hear(pending[first : first + self._n_wanted])
            first, self._n_wanted = first + self._n_wanted, self.grid.hop_length
        self._pending, self._n_pending = [pending[first:]], len(pending) - first
        return found

    def _hear(self, audio: np.ndarray) -> list[ControlFrame]:
        self._recent = np.concatenate([self._recent, audio])[-len(self._recent) :]
        window = self._recent[: window_length(self.look_ahead)]
        self._loudness_db.append(float(prompt_loudness_db(window[None], self.grid, self.look_ahead)[0]))
        rows = [(one.f0_hz, one.periodicity, self._loudness_db.pop(0)) for one in self._tracker.push(audio)]
        return [ControlFrame(*map(float, np.array(row, np.float32))) for row in rows]  # as precise as Controls are, and no more


@lru_cache(maxsize=8)
def _window(look_ahead: int) -> np.ndarray:
    after = min(look_ahead, N_FFT // 2)
    return np.concatenate([hann(N_FFT).numpy()[: N_FFT // 2], hann(2 * after).numpy()[after:]])


@lru_cache(maxsize=8)
def _weighting(sample_rate: int) -> np.ndarray:
    return a_weighting(sample_rate, N_FFT).numpy()


class Asked(NamedTuple):
    """One frame of what the instrument is to play."""

    f0_hz: float
    loudness_db: float
    is_note: bool
    gain_db: float = 0.0  # of the sound: how hard is played does not decide how loud the result is


class Adapter:
    """Frame by frame, what a player does to what an instrument is asked for.

    `loudness_db` is added to what is asked; `loudest_db` is how loud the player's loud notes are (None: learned as they come); `dynamic`,
    as :func:`~tonetransfer.controls.dynamics.parse_dynamic` reads it, how hard the usual note is played (None: as the notes suggest).
    Without `fit`, octave, dynamics and sounds between notes stay the player's.
    """

    def __init__(
        self,
        target: Target,
        frame_rate: float,
        *,
        transpose: float | Literal["auto"] = "auto",
        loudness_db: float = 0.0,
        loudest_db: float | None = None,
        dynamic: str | float | None = None,
        fit: bool = True,
    ) -> None:
        self.dynamic = dynamic
        self.frame_rate, self.transpose, self.loudness_db, self.loudest_db = frame_rate, transpose, loudness_db, loudest_db
        self.fit = fit and target.quantiles is not None
        self.target = target
        self._edges = np.arange(-120.0, 1.0, BIN_DB)
        self.reset()

    def reset(self) -> None:
        """Forget the player."""
        self._counts = np.zeros(len(self._edges) - 1)
        self._swells: deque[float] = deque(maxlen=round(MEMORY_S / STRETCH_S))
        self._swell_db, self._swell_frames = -math.inf, 0
        self._shift_db: float | None = None
        self._gain_db = 0.0
        self._note_frames = 0
        self._renew(self.target.quantiles)
        self._midis, self._midi_counts = np.arange(128.0), np.zeros(128)
        self._frames_played = 0  # frames of this note so far
        self.semitones = 0.0 if self.transpose == "auto" else float(self.transpose)
        self._octave_known = False
        self._playing, self._frames_since = False, GRACE_FRAMES + 1
        self._f0_hz, self._heard_hz, self._heard_db = 0.0, 0.0, FLOOR_DB
        self._level_db = self._ceiling_db = FLOOR_DB
        self._silent_frames = 0
        self._hum = _Hum()

    def frame(self, heard: ControlFrame, quantiles: torch.Tensor | None = None, release_db_per_s: float | None = None) -> Asked:
        """Adapt the next frame to the instrument; quantiles (13,) [dB] and release are those while it changes, None the target's."""
        was_playing, leap = self._playing, self._leaps(heard.f0_hz)
        self._playing = self._is_note(heard, leap)
        if self._hum.stands and was_playing and not self._playing:
            self._forget_pitch(heard.f0_hz)
        self._heard_hz, self._heard_db = heard.f0_hz, heard.loudness_db
        if self._playing:
            self._learn(heard)
            self._note_frames += 1
            if self._note_frames % RENEW_FRAMES == 0:
                self._renew(self.target.quantiles if quantiles is None else quantiles)
        if not self.fit:
            level = heard.loudness_db + self.loudness_db if heard.loudness_db > FLOOR_DB else FLOOR_DB
            return Asked(heard.f0_hz * 2.0 ** (self.semitones / 12.0), level, self._playing)
        self._frames_played = 0 if not was_playing or leap else self._frames_played + 1
        if self._playing and self._frames_played <= UNSURE_FRAMES:
            self._choose_octave()
        self._frames_since = 0 if self._playing else self._frames_since + 1
        if self._playing or not self._f0_hz:
            self._f0_hz = heard.f0_hz * 2.0 ** (self.semitones / 12.0)
        rate = self.target.release_db_per_s if release_db_per_s is None else release_db_per_s
        self._silent_frames += heard.loudness_db <= SILENCE_DB  # as in :func:`.profile.is_dry`
        sinking = self._level_db - playable_release(rate, in_room=self._silent_frames < SILENT_FRAMES) / self.frame_rate
        self._level_db = max(self._faded(heard), sinking, FLOOR_DB)
        asked = self._level_db + self.loudness_db if self._level_db > FLOOR_DB else FLOOR_DB
        return Asked(self._f0_hz, asked, self._playing, self._gain_db)

    def _faded(self, heard: ControlFrame) -> float:
        """Level [dB] asked of the instrument: beyond a note what is heard fades, and never rises, as :func:`.adaptation.fade_out` says."""
        if heard.loudness_db <= FLOOR_DB:
            return FLOOR_DB
        moved = self._moved(heard.loudness_db)
        if self._playing:
            self._ceiling_db = moved
        elif self._frames_since > GRACE_FRAMES:
            periodicity = heard.periodicity if heard.loudness_db >= self._least_db else 0.0
            self._ceiling_db -= float(np.interp(periodicity, (NOTHING, DOUBTFUL), (FADE_DB_PER_S, DOUBT_DB_PER_S))) / self.frame_rate
        return moved if self._playing else min(moved, self._ceiling_db, self._level_db)

    def _leaps(self, f0_hz: float) -> bool:
        return self._heard_hz > 0.0 and abs(12.0 * math.log2(f0_hz / self._heard_hz)) > LEAP_SEMITONES

    def _is_note(self, heard: ControlFrame, leap: bool) -> bool:
        """Test whether a note goes on; or, after a rest or a leap, begins: no note does while the sound dies away."""
        goes_on = self._playing and not leap
        self._hum.push(heard, self._loud_db - HUM_BELOW_DB)
        if self._hum.stands or (not goes_on and (self._hum.near or heard.loudness_db < self._heard_db - FALLING_DB)):
            return False
        periodicity, below = (VOICED_OFF, STAY_BELOW_DB) if goes_on else (STARTING, START_BELOW_DB)
        return heard.periodicity >= periodicity and heard.loudness_db > max(FAINTEST_NOTE_DB, self._loud_db - below)

    def _learn(self, heard: ControlFrame) -> None:
        kept = 1.0 - 1.0 / (MEMORY_S * self.frame_rate)
        if self.loudest_db is None:
            self._counts *= kept
            self._counts[int(min(max((heard.loudness_db + 120.0) / BIN_DB, 0.0), len(self._counts) - 1))] += 1.0
        self._swell_db, self._swell_frames = max(self._swell_db, heard.loudness_db), self._swell_frames + 1
        if self._swell_frames >= STRETCH_S * self.frame_rate:
            self._swells.append(self._swell_db)
            self._swell_db, self._swell_frames = -math.inf, 0
        self._midi_counts *= kept
        self._midi_counts[int(min(max(hz_to_midi(heard.f0_hz) + 0.5, 0.0), 127.0))] += 1.0

    def _forget_pitch(self, f0_hz: float) -> None:
        """Take back a pitch that was no note's: no octave is chosen for its sake."""
        self._midi_counts[int(hz_to_midi(f0_hz) + 0.5)] = 0.0
        if not self._midi_counts.any() and self.transpose == "auto":
            self.semitones, self._octave_known = 0.0, False

    def _choose_octave(self) -> None:
        if self.transpose != "auto":
            return
        lowest, highest = (end - self.semitones for end in (self.target.lowest_midi, self.target.highest_midi))
        outside = (self._midis < lowest - 0.5) | (self._midis > highest + 0.5)
        if not self._octave_known or float(outside @ self._midi_counts) > STRAY_SHARE * float(self._midi_counts.sum()):
            ends = self.target.lowest_midi, self.target.highest_midi
            self.semitones = float(smallest_octave_shift(self._midis, *ends, weights=self._midi_counts))
            self._octave_known = True

    def _quantiles(self) -> np.ndarray:
        """Of the loudness of the player's notes, (13,): at first as the instrument's own, below what is usual at a microphone."""
        usual = np.zeros(len(QUANTILES)) if self.target.quantiles is None else (self.target.quantiles - self.target.quantiles[-1]).numpy()
        if self.loudest_db is not None:
            return usual + self.loudest_db
        total = np.concatenate([[0.0], np.cumsum(self._counts)])
        known = min(self._note_frames / (LEARNING_S * self.frame_rate), 1.0)
        return (1.0 - known) * (usual + USUAL_LOUDEST_DB) + known * np.interp(np.array(QUANTILES) * total[-1], total, self._edges)

    def _renew(self, quantiles: torch.Tensor | None) -> None:
        """Decide by how much loudness is moved from what is known of the player now."""
        levels_db = self._quantiles()
        self._loud_db, self._least_db = float(levels_db[-1]), float(levels_db[LOUD_QUANTILE]) - LOUD_MARGIN_DB
        if quantiles is not None:
            near = [level for level in self._swells if level > max(self._swells) - REST_DB]
            range_db = max(near) - float(np.median(near)) if len(near) >= FEWEST_SWELLS else USUAL_RANGE_DB
            effort_db = loud_end_db(range_db, self.dynamic)
            self._wanted_db = float(quantiles[-1]) + effort_db - self._loud_db, self._loud_db - self._level_of_output() - effort_db
            if self._shift_db is None:
                self._shift_db, self._gain_db = self._wanted_db

    def _level_of_output(self) -> float:
        """Level of the player's loud notes [dB] that the level of the result goes by: it comes down slowly to a soft player's."""
        if self.loudest_db is not None:
            return self.loudest_db
        believed = min(self._note_frames / (MEMORY_S * self.frame_rate), 1.0)
        return max(self._loud_db, USUAL_LOUDEST_DB + believed * (self._loud_db - USUAL_LOUDEST_DB))

    def _moved(self, loudness_db: float) -> float:
        assert self._shift_db is not None
        wanted_shift_db, wanted_gain_db = self._wanted_db
        self._shift_db += SHIFT_MOVES * (wanted_shift_db - self._shift_db)
        self._gain_db += SHIFT_MOVES * (wanted_gain_db - self._gain_db)
        return loudness_db + self._shift_db


class _Hum:
    """Detector of mains hum, which is soft and stands still on one of its first lines."""

    def __init__(self) -> None:
        self._levels_db = deque([0.0] * HUM_FRAMES, maxlen=HUM_FRAMES)
        self._frames, self._frames_on_line, self._known_hz = 0, 0, 0.0
        self.near = self.stands = False  # no note begins here; and none goes on

    def push(self, heard: ControlFrame, below_db: float) -> None:
        """Take the next frame; hum lies below a level."""
        soft, line_hz = heard.loudness_db < below_db, _nearest_line_hz(heard.f0_hz)
        begun = self._frames >= HUM_FRAMES  # what is there from the beginning has not swelled, and half a window tells little of it
        rises = begun and heard.loudness_db > min(self._levels_db) + STEADY_DB
        self._levels_db.append(heard.loudness_db)
        self._frames += 1
        on_line = soft and abs(heard.f0_hz - line_hz) < (HUM_OFF if begun else HUM_NEAR) * line_hz
        self._frames_on_line = self._frames_on_line + 1 if on_line else 0
        self.stands = self._frames_on_line >= HUM_FRAMES and max(self._levels_db) - min(self._levels_db) < STEADY_DB
        self._known_hz = line_hz if self.stands else self._known_hz
        known = soft and abs(heard.f0_hz - self._known_hz) < HUM_NEAR * self._known_hz
        self.near = (on_line or known) and not rises


def _nearest_line_hz(f0_hz: float) -> float:
    """Line of mains hum that is nearest to a pitch."""
    lines = (base_hz * min(max(round(f0_hz / base_hz), 1), N_HUM_LINES) for base_hz in BASES_HZ)
    return min(lines, key=lambda hz: abs(hz - f0_hz))
