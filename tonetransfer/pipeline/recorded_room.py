"""The room in which a recording was made, which stays around the result: another player comes in, and the place remains.

Its tone is what is heard in the quietest moments. Its reverberation is what rings on of one note while the next is played: at the partials
of the old note, where the new one has none. There the decay is seen alone, as it never is in the loudness of a performance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..audio.files import AudioLike, LongAudio
from ..audio.frames import FrameGrid
from ..audio.hum import without_hum
from ..audio.loudness import FLOOR_DB
from ..controls.controls import Controls
from ..controls.dynamics import loudness_quantiles
from ..controls.recording_checks import check_recording
from ..pitch.f0_refinement import notes_of_one_pitch
from ..synthesis.colour import LONGEST_TONE_S, measure_room_tone

BEFORE_S = 0.5  # the first note, in which the room is heard alone
N_FFT = 4096  # 85 ms: what rings on is told from what is played
OTHER_CENTS = 80.0  # between two notes
SHORTEST_FRAMES, GAP_FRAMES = 12, 3  # of a note, and between two that follow each other
BEFORE_FRAMES = 6  # the end of a note, where its partials are measured
AFTER_FRAMES = range(7, 30, 2)  # the beginning of the next, where they are measured again
N_PARTIALS, HIGHEST_HZ = 12, 6000.0  # that are looked at
CLEAR_HZ, FAINTEST = 60.0, 1e-3  # their least distance from those of the new note, and power re the strongest
ASIDE_HZ, ASIDE_CLEAR_HZ = (-50.0, -38.0, 38.0, 50.0), 45.0  # where what is neither note is measured
FEWEST_NOTES, FEWEST_LEVELS, FEWEST_POINTS = 6, 100, 4  # that tell a room
SOFTEST_DB = -18.0  # reverberation of a held note, re the direct sound: below, it is a small dry room and stays out
SLOWEST_DB_PER_S, FASTEST_DB_PER_S = 18.0, 80.0
STRAIGHT_DB = 3.0  # largest mean deviation from a straight decay
LONGEST_S = 60.0
LEAST_DIRECT = 0.03  # share of the power that stays the player's where a room rings


@dataclass(frozen=True)
class RecordedRoom:
    """A room as it is heard in a recording.

    Parameters
    ----------
    tone_db : Tensor [shape=(64,)]
        Stationary noise [dB re the loud notes, per hertz]; see :mod:`tonetransfer.synthesis.colour`.
    decay_s : float, > 0 [s]
        Reverberation time (60 dB).
    level_db : float or None [dB]
        Reverberation of a held note re its direct sound; None: too little to be told.

    See Also
    --------
    measure_room : The room of a recording.

    Examples
    --------
    >>> tt.RecordedRoom(torch.full((64,), -150.0)).tone_db.shape  # as good as none
    torch.Size([64])
    """

    tone_db: torch.Tensor
    decay_s: float = 1.0
    level_db: float | None = None

    def direct(self, loudness_db: torch.Tensor, frame_rate: float) -> torch.Tensor:
        """Loudness of the direct sound alone (n_frames,), of that in the room (n_frames,) [dB]."""
        if self.level_db is None:
            return loudness_db
        kept = 10.0 ** (-6.0 / self.decay_s / frame_rate)
        fed = 10.0 ** (self.level_db / 10.0) * (1.0 - kept)
        power, ringing = 10.0 ** (loudness_db.double().numpy() / 10.0), 0.0
        direct = np.empty_like(power)
        for t, value in enumerate(power):
            direct[t] = max(value - ringing, LEAST_DIRECT * value)
            ringing = kept * ringing + fed * direct[t]
        return torch.from_numpy(10.0 * np.log10(direct)).to(loudness_db).clamp(min=FLOOR_DB)


def measure_room(audio: AudioLike | LongAudio, heard: Controls) -> RecordedRoom | None:
    """Measure the room of a recording.

    Parameters
    ----------
    audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
        At the rate of its controls' grid.
    heard : Controls [shape=(n_frames,)]
        What is played in it.

    Returns
    -------
    RecordedRoom or None
        None: there are no notes.

    Raises
    ------
    AudioError
        The recording is not audio.
    ControlsError
        The controls have another number of frames than the recording.

    Examples
    --------
    >>> audio, sample_rate = tt.load_audio("examples/flute.flac")
    >>> room = tt.measure_room(audio, tt.analyze(audio, sample_rate, tt.load_model()))
    >>> room.tone_db.shape
    torch.Size([64])
    """
    audio, notes, grid = check_recording(audio, heard), heard.note_frames(), heard.grid
    if not bool(notes.any()):
        return None
    first = max(int(notes.nonzero()[0]) - round(BEFORE_S * grid.frame_rate), 0)
    sound = audio[first * grid.hop_length : (first * grid.hop_length) + round(LONGEST_S * grid.sample_rate)]
    loudest_db = float(loudness_quantiles(heard.loudness_db, notes)[-1])
    lowest_hz = float(heard.f0_hz[notes].quantile(0.02))
    quiet = without_hum(sound[: round(LONGEST_TONE_S * grid.sample_rate)], grid.sample_rate)
    tone_db = measure_room_tone(quiet, loudest_db, grid, lowest_hz=lowest_hz)
    frames = slice(first, first + round(LONGEST_S * grid.frame_rate))
    decay = _decay(sound.numpy(), heard.f0_hz[frames].numpy(), notes[frames].numpy(), grid)
    return RecordedRoom(tone_db) if decay is None else RecordedRoom(tone_db, 60.0 / decay[0], decay[1])


def _decay(sound: np.ndarray, f0_hz: np.ndarray, notes: np.ndarray, grid: FrameGrid) -> tuple[float, float] | None:
    """Decay of a room [dB/s], and level of a held note in it [dB re the direct sound]; None if there is too little to measure."""
    padded = np.pad(sound, (N_FFT // 2, N_FFT))
    window = np.hanning(N_FFT).astype(np.float32)
    levels: dict[int, list[float]] = {after: [] for after in AFTER_FRAMES}
    n_changes = 0
    for old, new in _changes(f0_hz, notes):
        n_changes += 1
        old_hz, new_hz = (float(np.median(f0_hz[a + 3 : b - 2])) for a, b in (old, new))
        before = _power(padded, old[1] - BEFORE_FRAMES, window, grid)
        for after in range(AFTER_FRAMES.start, min(AFTER_FRAMES.stop, new[1] - new[0] - 3), AFTER_FRAMES.step):
            levels[after] += _ringing_db(before, _power(padded, new[0] + after, window, grid), old_hz, new_hz, grid)
    seen = {after: found for after, found in levels.items() if len(found) >= FEWEST_LEVELS // len(levels)}
    if n_changes < FEWEST_NOTES or sum(map(len, seen.values())) < FEWEST_LEVELS or len(seen) < FEWEST_POINTS:
        return None
    time_s, level_db = np.array(list(seen)) / grid.frame_rate, np.array([np.median(found) for found in seen.values()])
    slope, start = np.polyfit(time_s, level_db, 1, w=np.sqrt([len(found) for found in seen.values()]))
    bent = np.abs(level_db - (start + slope * time_s)).mean()
    if start < SOFTEST_DB or not SLOWEST_DB_PER_S <= -slope <= FASTEST_DB_PER_S or bent > STRAIGHT_DB:
        return None
    return float(-slope), float(min(start, 0.0))


def _changes(f0_hz: np.ndarray, notes: np.ndarray) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of steady notes that follow each other at once, each (first frame, past the last)."""
    steady = notes_of_one_pitch(f0_hz, notes, SHORTEST_FRAMES)
    for old, new in zip(steady[:-1], steady[1:], strict=True):
        other = abs(1200.0 * np.log2(np.median(f0_hz[slice(*new)]) / np.median(f0_hz[slice(*old)]))) > OTHER_CENTS
        if new[0] - old[1] <= GAP_FRAMES and new[1] - new[0] >= SHORTEST_FRAMES + 4 and other:
            yield old, new


def _power(padded: np.ndarray, frame: int, window: np.ndarray, grid: FrameGrid) -> np.ndarray:
    begin = frame * grid.hop_length
    return np.abs(np.fft.rfft(padded[begin : begin + N_FFT] * window)) ** 2


def _ringing_db(before: np.ndarray, now: np.ndarray, old_hz: float, new_hz: float, grid: FrameGrid) -> list[float]:
    """Level of the partials of the note before, re what they were [dB], where the new note has none."""
    partials_hz = old_hz * np.arange(1, N_PARTIALS + 1)
    partials_hz = partials_hz[(partials_hz <= HIGHEST_HZ) & (_distance_hz(partials_hz, new_hz) >= CLEAR_HZ)]
    was = _at(before, partials_hz, grid)
    strong = was >= FAINTEST * before.max()
    partials_hz, was = partials_hz[strong], was[strong]
    beside_hz = partials_hz[:, None] + np.array(ASIDE_HZ)
    aside = np.where(_distance_hz(beside_hz, new_hz) > ASIDE_CLEAR_HZ, _at(now, beside_hz, grid), np.inf).min(1)
    rest = _at(now, partials_hz, grid) - np.where(np.isfinite(aside), aside, 0.0)
    return list(10.0 * np.log10(np.maximum(rest / was, 1e-6)))


def _distance_hz(frequency_hz: np.ndarray, f0_hz: float) -> np.ndarray:
    """Distance from the nearest partial."""
    return np.abs(frequency_hz - np.maximum(np.round(frequency_hz / f0_hz), 1.0) * f0_hz)


def _at(power: np.ndarray, frequency_hz: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """Power of the three bins around frequencies (...), (...)."""
    centre = np.round(frequency_hz * N_FFT / grid.sample_rate).astype(int)
    return power[np.maximum(centre[..., None] + np.arange(-1, 2), 0)].sum(-1)
