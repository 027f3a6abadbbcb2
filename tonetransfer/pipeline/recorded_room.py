"""The room in which a recording was made, which stays around the result: another player comes in, and the place remains."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..audio.files import LongAudio
from ..audio.hum import without_hum
from ..controls.controls import Controls
from ..controls.dynamics import loudness_quantiles
from ..synthesis.colour import LONGEST_TONE_S, measure_room_tone

BEFORE_S = 0.5  # the first note, in which the room is heard alone


@dataclass(frozen=True)
class RecordedRoom:
    """A room as it is heard in a recording.

    Parameters
    ----------
    tone_db : Tensor [shape=(64,)]
        Stationary noise [dB re the loud notes, per hertz]; see :mod:`tonetransfer.synthesis.colour`.

    See Also
    --------
    measure_room : The room of a recording.

    Examples
    --------
    >>> tt.RecordedRoom(torch.full((64,), -150.0)).tone_db.shape  # as good as none
    torch.Size([64])
    """

    tone_db: torch.Tensor


def measure_room(audio: torch.Tensor | LongAudio, heard: Controls) -> RecordedRoom | None:
    """Measure the room of a recording.

    Parameters
    ----------
    audio : Tensor or LongAudio [shape=(n_samples,)]
        At the rate of its controls' grid.
    heard : Controls [shape=(n_frames,)]
        What is played in it.

    Returns
    -------
    RecordedRoom or None
        None: there are no notes.

    Examples
    --------
    >>> audio, sample_rate = tt.load_audio("examples/flute.flac")
    >>> room = tt.measure_room(audio, tt.analyze(audio, sample_rate, tt.load_model()))
    >>> room.tone_db.shape
    torch.Size([64])
    """
    notes, grid = heard.note_frames(), heard.grid
    if not bool(notes.any()):
        return None
    first = max(int(notes.nonzero()[0]) * grid.hop_length - round(BEFORE_S * grid.sample_rate), 0)
    sound = audio[first : first + round(LONGEST_TONE_S * grid.sample_rate)]
    loudest_db = float(loudness_quantiles(heard.loudness_db, notes)[-1])
    lowest_hz = float(heard.f0_hz[notes].quantile(0.02))
    return RecordedRoom(measure_room_tone(without_hum(sound, grid.sample_rate), loudest_db, grid, lowest_hz=lowest_hz))
