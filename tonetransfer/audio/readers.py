"""Open sound files for reading: by libsndfile, in parts where header and content disagree, or by FFmpeg where it is installed.

Whatever opens a file, it is read as :class:`soundfile.SoundFile` reads: block after block, from the start.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr

from ..errors import ToneTransferWarning
from .containers import ByteRange, Window, examine

RATES = range(1000, 1_000_001)  # Hz; outside these a "sample rate" is something else
MEDIA = {  # first bytes and where they stand: FFmpeg's name; it is told, so that a playlist is never followed
    (4, b"ftyp"): "mov",
    (0, b"\x1aE\xdf\xa3"): "matroska",
    (0, b"0&\xb2u"): "asf",
    (0, b"\xff\xf1"): "aac",
    (0, b"\xff\xf9"): "aac",
    (0, b"#!AMR"): "amr",
    (0, b"MAC "): "ape",
    (0, b"wvpk"): "wv",
    (0, b"caff"): "caf",
    (0, b"OggS"): "ogg",
}


class SoundReader(Protocol):
    """Interface of an open sound file; `frames` is a promise, 0 if there is none, and `notes` are to be said once it is read."""

    samplerate: int
    channels: int
    frames: int
    format: str
    subtype: str

    def read(self, length: int, dtype: str, always_2d: bool) -> np.ndarray: ...
    def seek(self, frames: int) -> int: ...
    def __enter__(self) -> SoundReader: ...
    def __exit__(self, *_args: Any) -> None: ...


def open_reader(path: Path, *, quiet: bool = False) -> SoundReader:
    """Open a sound file; says by a ToneTransferWarning what is missing in it, unless `quiet`.

    SoundFileError, OSError, TypeError: it is none.
    """
    findings = examine(path)
    if findings.parts:
        reader: SoundReader = PartsReader(path, findings.parts, findings.notes)
    else:
        try:
            reader = soundfile.SoundFile(native_name(path))
        except soundfile.SoundFileError:
            if (name := media_format(path)) is None or (decoder := find_decoder()) is None:
                raise
            reader, findings.notes = decoder(path, name), []
    for note in () if quiet else findings.notes:
        warnings.warn(f"{path}: {note}", ToneTransferWarning, stacklevel=5)
    return reader


def native_name(path: Path) -> Path | bytes:
    """A name as libsndfile takes it, which need not be text."""
    return path if os.name == "nt" else os.fsencode(path)


def media_format(path: Path) -> str | None:
    """FFmpeg's name of a file's format, if it is one that libsndfile may not know."""
    with open(path, "rb") as file:
        start = file.read(16)
    return next((name for (at, mark), name in MEDIA.items() if start[at:].startswith(mark)), None)


def find_decoder() -> Any:
    """Find a decoder of MP4, WebM and the like: PyAV, a program ``ffmpeg``, or None."""
    try:
        import av  # noqa: F401
    except ImportError:
        return ProgramReader if shutil.which("ffmpeg") else None
    return AvReader


class _PieceReader(ABC):
    """Blocks from a generator, which begins anew when the reader goes back to the start."""

    samplerate: int
    channels: int
    frames: int
    format: str
    subtype: str

    def __init__(self) -> None:
        self._pieces: Iterator[np.ndarray] | None = None

    @abstractmethod
    def _begin(self, length: int) -> Iterator[np.ndarray]:
        """Blocks (n_samples, n_channels) from the first sample on, of about `length` samples."""

    def read(self, length: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next block (n_samples, n_channels), float32, of about `length`; an empty one at the end."""
        if self._pieces is None:
            self._pieces = self._begin(length)
        return next((piece for piece in self._pieces if len(piece)), np.zeros((0, self.channels), np.float32))

    def seek(self, frames: int) -> int:
        """Go back to the start."""
        assert frames == 0
        self.close()
        return 0

    def close(self) -> None:
        """End reading and let go of what it holds."""
        if self._pieces is not None:
            self._pieces.close()  # type: ignore[attr-defined]  # a generator has it
        self._pieces = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class PartsReader(_PieceReader):
    """Parts of a file, read one after the other at the rate and with the channels of the first; what is left out is added to `notes`."""

    def __init__(self, path: Path, parts: list[ByteRange], notes: list[str]) -> None:
        super().__init__()
        self._path = path
        self._parts: list[ByteRange] = []
        self.samplerate = self.channels = self.frames = 0
        for number, part in enumerate(parts):
            try:
                self._add(part)
            except (soundfile.SoundFileError, ValueError):
                if not self.frames and number == len(parts) - 1:
                    raise
                notes.append(f"part {number + 1} of {len(parts)} ({part.end - part.start} bytes) cannot be read and is left out")

    def _add(self, part: ByteRange) -> None:
        with Window(self._path, part) as window, soundfile.SoundFile(window) as sound:
            if sound.samplerate not in RATES:
                raise ValueError(f"a sample rate of {sound.samplerate}")
            if not self._parts:
                self.samplerate, self.channels = sound.samplerate, sound.channels
                self.format, self.subtype = sound.format, sound.subtype
            self._parts.append(part)
            self.frames += round(sound.frames * self.samplerate / sound.samplerate)

    def _begin(self, length: int) -> Iterator[np.ndarray]:
        for part in self._parts:
            with Window(self._path, part) as window, soundfile.SoundFile(window) as sound:
                yield from self._as_first(sound, length)

    def _as_first(self, sound: soundfile.SoundFile, length: int) -> Iterator[np.ndarray]:
        same = sound.samplerate == self.samplerate
        stream = None if same else soxr.ResampleStream(sound.samplerate, self.samplerate, self.channels, dtype="float32", quality="VHQ")
        left = sound.frames
        while left > 0 and len(block := sound.read(min(length, left), dtype="float32", always_2d=True)):
            left -= len(block)
            if sound.channels != self.channels:
                block = np.repeat(block.mean(axis=1, keepdims=True), self.channels, axis=1)
            yield block if stream is None else stream.resample_chunk(np.ascontiguousarray(block)).reshape(-1, self.channels)
        if stream is not None:
            yield stream.resample_chunk(np.zeros((0, self.channels), np.float32), last=True).reshape(-1, self.channels)


class AvReader(_PieceReader):
    """Any format of FFmpeg's, by its name, through PyAV."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self._path, self.format = path, name
        with open(path, "rb") as file, self._open(file) as container:
            stream = container.streams.audio[0]
            codec = stream.codec_context
            if codec is None or codec.channels < 1 or codec.sample_rate not in RATES:
                raise OSError("its coding is not known, or damaged")
            self.samplerate, self.channels, self.subtype = codec.sample_rate, codec.channels, codec.name.upper()
            seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
            self.frames = max(round(seconds * self.samplerate), 0)

    def _open(self, file: Any) -> Any:
        import av

        try:
            container = av.open(file, format=self.format)
        except (av.FFmpegError, ValueError) as error:
            raise OSError(str(getattr(error, "strerror", None) or error)) from error
        if not container.streams.audio:
            container.close()
            raise OSError("there is no sound in it")
        return container

    def _begin(self, length: int) -> Iterator[np.ndarray]:
        import av

        with open(self._path, "rb") as file, self._open(file) as container:
            stream = container.streams.audio[0]
            plain = av.AudioResampler(format="flt", layout=stream.codec_context.layout, rate=self.samplerate)
            try:
                for frame in container.decode(stream):
                    yield from (piece.to_ndarray().reshape(-1, self.channels) for piece in plain.resample(frame))
                yield from (piece.to_ndarray().reshape(-1, self.channels) for piece in plain.resample(None))
            except (av.FFmpegError, ValueError) as error:
                raise OSError(str(getattr(error, "strerror", None) or error)) from error


class ProgramReader(_PieceReader):
    """Any format of FFmpeg's, by its name, through the program ``ffmpeg``."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self._path, self.format, self.subtype, self.frames = path, name, "FFMPEG", 0
        with _running(path, name) as (_, self.samplerate, self.channels):
            pass

    def _begin(self, length: int) -> Iterator[np.ndarray]:
        with _running(self._path, self.format) as (output, _, channels):
            while content := output.read(4 * channels * length):
                yield np.frombuffer(content[: len(content) // (4 * channels) * 4 * channels], "<f4").reshape(-1, channels)


@contextmanager
def _running(path: Path, name: str) -> Iterator[tuple[Any, int, int]]:
    """The program at work: its output after the WAV header, rate and channels; ended on leaving."""
    source = os.fsencode("file:") + os.fsencode(os.path.abspath(path))
    words: list[str | bytes] = [*("ffmpeg", "-nostdin", "-v", "error", "-protocol_whitelist", "file", "-f", name, "-i", source)]
    words += [*("-map", "0:a:0", "-f", "wav", "-c:a", "pcm_f32le", "-fflags", "+bitexact", "pipe:1")]
    with (
        tempfile.TemporaryFile() as told,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=told, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            header = _wav_header(process.stdout)
        except OSError:
            process.wait()
            told.seek(0)
            said = " ".join(told.read(400).decode("utf-8", "replace").split())
            raise OSError(said.removeprefix("file:") or "there is no sound in it") from None
        try:
            yield process.stdout, *header
        finally:
            process.kill()


def _wav_header(stream: Any) -> tuple[int, int]:
    """Read a WAV header up to the samples; rate and channels."""
    rate = channels = 0
    if stream.read(12)[:4] != b"RIFF":
        raise OSError("no header")
    while len(start := stream.read(8)) == 8:
        name, length = struct.unpack("<4sI", start)
        if name == b"data":
            return rate, channels
        content = stream.read(length + length % 2)
        if name == b"fmt ":
            _, channels, rate = struct.unpack_from("<HHI", content)
    raise OSError("no sound")
