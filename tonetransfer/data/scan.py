"""Scan of a folder: its recordings, what else lies in it, and whether a recording is fit for training.

A file is a recording if it can be opened as one, whatever its name ends in. It is heard a stretch at a time and judged as a whole, at the
limits at which `transfer` and `--like` warn about a recording. Everything that is left out is named with a reason, so that "no data" is
never all that somebody is told.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ..audio.files import SOUND_ENDINGS, PathLike, SoundFacts, sound_facts, stream_audio
from ..audio.frames import FrameGrid
from ..controls.controls import Controls, extract
from ..controls.recording_checks import AUDIBLE_DB, POLYPHONIC_SHARE, sounds_spoken, voices_share
from ..errors import AudioError, SettingsError
from ..pipeline.transfer import SHORTEST_S, UNPITCHED_SHARE

WANTED = "WAV, FLAC, OGG, MP3 or AIFF recordings of one instrument that plays one note at a time"
FOREIGN_ENDINGS = (".m4a", ".aac", ".mp4", ".m4b", ".wma", ".mov", ".mkv", ".webm", ".ape", ".wv", ".amr", ".avi")  # sound, not read here
NAMED = 5  # reasons in an error; more is a list, not a message
STRETCH_S = 300  # held at a time: 58 MB at 48 kHz, several times over while f0 is sought
MARGIN_S = 2  # heard on both sides of a stretch, so that a border shows nowhere
SHORTEST_FILE_S = 0.5  # half an excerpt of training
SILENT_DB = -70.0  # A-weighted loudness that is never exceeded: the noise of an open input, 50 dB and more below an instrument
DOUBTS = ("too_short", "no_pitch", "polyphonic", "speech")  # may be overruled; silence may not


@dataclass(frozen=True)
class SourceFile:
    """A recording: its path below the folder with slashes, where it is, the hash of its content, and what its header says."""

    name: str
    path: Path
    sha256: str
    facts: SoundFacts

    @property
    def seconds(self) -> float:
        return self.facts.n_samples / self.facts.sample_rate


@dataclass(frozen=True)
class Skipped:
    """A file that is left out: `kind` is one word (not_sound, unreadable, duplicate, ...), `reason` says it to people."""

    name: str
    kind: str
    reason: str


def find_sources(folder: str | Path, *, without: Path | None = None) -> tuple[list[SourceFile], list[Skipped]]:
    """All recordings of a folder (or a single file) and of the folders in it but `without`, in order of their names, and what is skipped.

    No two have the same content; hidden files, whose names begin with a dot, are not mentioned. SettingsError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.exists():
        raise SettingsError(f"{folder} does not exist; a folder of recordings is wanted: check the name")
    sources: list[SourceFile] = []
    skipped: list[Skipped] = []
    first_of: dict[str, str] = {}
    for path in _files(folder, without):
        name = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
        try:
            facts = sound_facts(path)  # first: pipes and devices have no end
            source = SourceFile(name, path, hash_file(path), facts)
        except (AudioError, OSError) as error:
            skipped.append(_not_a_recording(name, path, error))
            continue
        if source.sha256 in first_of:
            skipped.append(Skipped(name, "duplicate", f"the same file as {first_of[source.sha256]}"))
        else:
            first_of[source.sha256] = name
            sources.append(source)
    return sources, skipped


def check_found(folder: str | Path, sources: list[SourceFile], skipped: list[Skipped]) -> None:
    """Raise a SettingsError that says what was found and what was wanted, if there is no recording."""
    if not sources:
        raise SettingsError(nothing_found(folder, skipped))


def nothing_found(folder: str | Path, skipped: list[Skipped], *, usable: bool = False) -> str:
    """One line on a folder that holds nothing to work on: what there is, what was wanted, what to do."""
    what = "recording that can be used" if usable else "recording"
    if not skipped:
        return f"{folder} is empty: no {what} was found; {WANTED} are wanted: put them there, or check the name"
    endings = Counter(Path(one.name).suffix.lower() or "no ending" for one in skipped)
    found = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common(8))
    telling = sorted(skipped, key=lambda one: one.kind == "not_sound")  # those first that somebody will have meant to be recordings
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in telling[:NAMED])
    more = f"; and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
    return f"{folder} holds no {what} among its {len(skipped)} files ({found}); {WANTED} are wanted. {reasons}{more}"


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path, without: Path | None) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    left_out = without.resolve() if without else None
    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != left_out]
        found += [here / name for name in files if not name.startswith(".")]
    yield from sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _not_a_recording(name: str, path: Path, error: Exception) -> Skipped:
    ending = path.suffix.lower()
    if path.exists() and not path.is_file():
        return Skipped(name, "not_sound", "a pipe or a device")
    if ending in FOREIGN_ENDINGS:
        convert = f"ffmpeg -i {path.name} {path.stem}.wav"
        return Skipped(name, "unreadable", f"{ending} is not read here; convert it: {convert}")
    if isinstance(error, OSError):
        return Skipped(name, "unreadable", f"cannot be opened ({error.strerror or error})")
    if ending in SOUND_ENDINGS:
        return Skipped(name, "unreadable", short_reason(error, path))
    return Skipped(name, "not_sound", "not a sound file")


def short_reason(error: Exception, path: Path) -> str:
    """Message of an error about a file, without the path that it begins with."""
    text = str(error)
    return text[len(str(path)) :].lstrip(" :") if text.startswith(str(path)) else text


@dataclass(frozen=True)
class Stretch:
    """A stretch of a recording, without the margins that it was heard with."""

    audio: torch.Tensor  # (n_samples,), of whole frames: the end of a recording is padded with zeros
    controls: Controls
    seconds: float  # without the padding
    voices_share: float  # see controls/recording_checks.py
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


def read_stretches(path: PathLike, grid: FrameGrid, tracker: str) -> Iterator[Stretch]:
    """Read and track a recording, however long, in stretches of five minutes; AudioError if it cannot be read, or not to its end."""
    length, margin = (grid.n_samples(round(seconds * grid.frame_rate)) for seconds in (STRETCH_S, MARGIN_S))
    before = torch.zeros(0)
    stretches = stream_audio(Path(path), grid.sample_rate, length)
    current = next(stretches)
    while True:
        following = next(stretches, torch.zeros(0))
        audio = torch.cat([before, current, following[:margin]])
        current = audio[len(before) : len(before) + len(current)]  # which lets the one that was read go
        controls = extract(audio, grid, tracker=tracker)
        voices, spoken = voices_share(audio, controls), sounds_spoken(controls)
        first, n_frames = len(before) // grid.hop_length, grid.n_frames(len(current))
        span = slice(first, first + n_frames)
        own = Controls(controls.f0_hz[span], controls.periodicity[span], controls.loudness_db[span], grid)
        yield Stretch(grid.pad(current), own, len(current) / grid.sample_rate, voices, spoken)
        if not len(following):
            return
        before, current = current[-margin:].clone(), following
        del audio, following
