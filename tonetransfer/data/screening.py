"""Screening of recordings for training: heard a stretch at a time, judged as a whole.

The limits are those at which `transfer` and `--like` warn about a recording; here they decide whether a file is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ..audio.files import PathLike, stream_audio
from ..audio.frames import FrameGrid
from ..controls.controls import Controls, extract
from ..controls.polyphony import POLYPHONIC_SHARE, voices_share
from ..controls.recording_checks import AUDIBLE_DB, sounds_spoken
from ..pipeline.transfer import SHORTEST_S, UNPITCHED_SHARE

STRETCH_S = 300  # held at a time: 58 MB at 48 kHz, several times over while f0 is sought
MARGIN_S = 2  # heard on both sides of a stretch, so that a border shows nowhere
SHORTEST_FILE_S = 0.5  # half an excerpt of training
SILENT_DB = -70.0  # A-weighted loudness that is never exceeded: the noise of an open input, 50 dB and more below an instrument
DOUBTS = ("too_short", "no_pitch", "polyphonic", "speech")  # may be overruled; silence may not


@dataclass(frozen=True)
class Stretch:
    """A stretch of a recording, without the margins that it was heard with.

    Parameters
    ----------
    audio : Tensor [shape=(n_samples,)]
        Of whole frames: the end of a recording is padded with zeros.
    controls : Controls, tensors (n_frames,)
    seconds : float
        Without the padding.
    voices_share : float, in [0, 1]
        See :func:`tonetransfer.controls.polyphony.voices_share`.
    spoken : bool
    """

    audio: torch.Tensor
    controls: Controls
    seconds: float
    voices_share: float
    spoken: bool


@dataclass(frozen=True)
class Suitability:
    """A recording in the numbers that decide whether it is taken."""

    seconds: float = 0.0
    note_seconds: float = 0.0
    audible_seconds: float = 0.0
    loudest_db: float = -120.0
    voices_seconds: float = 0.0  # seconds times share of frames with a second note
    spoken_seconds: float = 0.0

    def add(self, heard: Stretch) -> Suitability:
        """With one more stretch."""
        rate, notes, loud = heard.controls.grid.frame_rate, heard.controls.note_frames(), heard.controls.loudness_db
        audible = loud > max(float(loud.max()) - AUDIBLE_DB, SILENT_DB)
        return Suitability(
            self.seconds + heard.seconds,
            self.note_seconds + float(notes.sum()) / rate,
            self.audible_seconds + float(audible.sum()) / rate,
            max(self.loudest_db, float(loud.max())),
            self.voices_seconds + heard.seconds * heard.voices_share,
            self.spoken_seconds + heard.seconds * heard.spoken,
        )

    def objection(self) -> tuple[str, str] | None:
        """Objection to a recording, as one word and in words for people; None: nothing."""
        voices, spoken = (value / max(self.seconds, 1e-9) for value in (self.voices_seconds, self.spoken_seconds))
        pitched = self.note_seconds / max(self.audible_seconds, 1e-9)
        if self.loudest_db < SILENT_DB:
            return "silent", f"silent: it never exceeds {self.loudest_db:.0f} dB(A), {SILENT_DB:.0f} is the least; check level and channel"
        if self.seconds < SHORTEST_FILE_S:
            return "too_short", f"{self.seconds:.2f} s long; {SHORTEST_FILE_S} s or more is wanted"
        if voices > POLYPHONIC_SHARE:
            return "polyphonic", f"several notes sound at once in {100 * voices:.0f} % of it; record one voice at a time"
        if self.note_seconds < SHORTEST_S or pitched < UNPITCHED_SHARE:
            heard = f"{self.note_seconds:.1f} s of notes in {self.audible_seconds:.1f} s of sound"
            return "no_pitch", f"{heard}; played or sung notes are wanted"
        if spoken > 0.5:
            return "speech", "it sounds like speech; played or sung notes are wanted"
        return None


def listen(path: PathLike, grid: FrameGrid, tracker: str) -> Iterator[Stretch]:
    """A recording, however long, in stretches of five minutes.

    Parameters
    ----------
    path : str or Path
    grid : FrameGrid
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.

    Yields
    ------
    Stretch

    Raises
    ------
    AudioError
        It cannot be read, or not to its end.
    """
    length, margin = (grid.n_samples(round(seconds * grid.frame_rate)) for seconds in (STRETCH_S, MARGIN_S))
    before = torch.zeros(0)
    stretches = stream_audio(Path(path), grid.sample_rate, length)
    current = next(stretches)
    while True:
        following = next(stretches, torch.zeros(0))
        audio = torch.cat([before, current, following[:margin]])
        controls = extract(audio, grid, tracker=tracker)
        voices, spoken = voices_share(audio, controls), sounds_spoken(controls)
        first, n_frames = len(before) // grid.hop_length, grid.n_frames(len(current))
        span = slice(first, first + n_frames)
        own = Controls(controls.f0_hz[span], controls.periodicity[span], controls.loudness_db[span], grid)
        yield Stretch(grid.pad(current), own, len(current) / grid.sample_rate, voices, spoken)
        if not len(following):
            return
        before, current = current[-margin:], following
