"""Recordings in and out: the only place that knows about files of sound and about sample rates that differ."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import soundfile
import soxr
import torch

from ..atomic import check_new, replacing
from ..errors import AudioError, ToneTransferWarning
from ..threads import trim_malloc
from .readers import SoundReader, find_decoder, media_format, native_name, open_reader
from .units import amplitude_to_db

AudioLike: TypeAlias = "torch.Tensor | np.ndarray"
PathLike: TypeAlias = "str | os.PathLike[str]"

READ_LENGTH = 1 << 18  # samples a channel that are held at a time while a file is read or written
LONG_S = 300.0  # longer recordings stay on disk while they are worked on
RESAMPLER = "VHQ"  # 28 bit; twice as slow as HQ and still 500x real time
LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000  # Hz; outside these a "sample rate" is something else
HIGHEST_PEAK = 100.0  # 40 dB above full scale: integers that were never scaled, or a broken file
DEAD_CHANNEL_DB = -60.0  # below the loudest channel: the noise of an input where nothing is plugged in
CANCELLING_DB = -9.0  # what the mean may lose against the loudest channel; incoherent channels lose 3 (two) to 8 (six)
JUST_UNDER_ONE = 1.0 - 2.0**-15
MP3_QUALITY: Any = {"compression_level": 0.3, "bitrate_mode": "VARIABLE"}  # some 75 kbit/s for one instrument
CONVERT = "convert it, e.g. ffmpeg -i IN OUT.wav"
# Of files that are taken for recordings where a folder holds others, too.
SOUND_ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".caf", ".w64", ".rf64", ".au", ".snd", ".m4a")
FORMATS = {  # extension: libsndfile's format and subtype
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".aiff": ("AIFF", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def load_audio(path: PathLike, sample_rate: int | None = None, *, longest_s: float = math.inf) -> tuple[torch.Tensor, int]:
    """Read a recording as mono.

    Channels are averaged, with two exceptions: channels where nothing is recorded are left out, and where the
    channels cancel each other (one of them with its poles swapped) the loudest is taken alone. The file is read and resampled piece by
    piece: only the mono result is held.

    Parameters
    ----------
    path : str or Path
        Anything that libsndfile reads: WAV, FLAC, OGG, Opus, MP3, AIFF, CAF, ...
    sample_rate : int or None [Hz]
        The rate that is wanted; None keeps the file's own.
    longest_s : float [s]
        What is longer is refused, after no more than this has been read: a file's header need not tell the truth.

    Returns
    -------
    audio : Tensor [shape=(n_samples,)], float32
        In [-1, 1], beyond it only where a floating-point file is.
    sample_rate : int [Hz]
        The one that was wanted, or the file's own.

    Raises
    ------
    AudioError
        The file is missing, a folder, empty, not sound, damaged, too long, or holds no finite samples.

    Examples
    --------
    >>> audio, sample_rate = tt.load_audio("examples/flute.flac")
    >>> audio.shape, sample_rate
    (torch.Size([720000]), 48000)
    >>> tt.load_audio("examples/flute.flac", 16000)[0].shape
    torch.Size([240000])
    """
    audio, rate = open_audio(path, sample_rate, longest_s=longest_s, held_s=math.inf)
    assert isinstance(audio, torch.Tensor)
    return audio, rate


def open_audio(
    path: PathLike, sample_rate: int | None = None, *, longest_s: float = math.inf, held_s: float = LONG_S
) -> tuple[torch.Tensor | LongAudio, int]:
    """Open what :func:`load_audio` reads, in memory up to `held_s` seconds, and else in a temporary file; and its rate [Hz].

    Other arguments and errors as there.
    """
    with _open_sound(path) as file:
        target_rate = file.samplerate if sample_rate is None else check_sample_rate(sample_rate)
        expected = int(min(file.frames / file.samplerate, longest_s) * target_rate)
        pieces = _mono(path, file, target_rate, longest_s)
        return _held(pieces, expected, held_s * target_rate), target_rate


class LongAudio:
    """Audio in a temporary file, of which slices are read: an hour at 48 kHz would take 0.7 GB of memory.

    Made of float32 `pieces` (n_samples,).
    """

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the object
        self._lock = threading.Lock()
        self.n_samples, self.peak = 0, 0.0
        try:
            for piece in pieces:
                self._file.write(np.ascontiguousarray(piece, dtype=np.float32).data)
                self.n_samples += len(piece)
                self.peak = max(self.peak, float(np.max(np.abs(piece), initial=0.0)))
            self._file.flush()
        except OSError as error:
            raise AudioError(
                f"no room for a long recording in {tempfile.gettempdir()} ({_reason(error)}); set TMPDIR to a roomier folder"
            ) from error

    def __len__(self) -> int:
        return self.n_samples

    @property
    def shape(self) -> tuple[int]:
        return (self.n_samples,)

    def __getitem__(self, key: slice | tuple[Any, slice]) -> torch.Tensor:
        """A stretch, read now: [first:last] or [..., first:last]."""
        first, last, _ = (key[-1] if isinstance(key, tuple) else key).indices(self.n_samples)
        with self._lock:
            self._file.seek(4 * first)
            content = self._file.read(4 * max(last - first, 0))
        return torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.float32))


class DiskArray:
    """Audio in a temporary file, as what needs slices of an array takes it."""

    def __init__(self, audio: LongAudio) -> None:
        self.audio, self.shape = audio, audio.shape

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, key: slice) -> np.ndarray:
        """A stretch [shape=(n_samples,)], read now."""
        return self.audio[key].numpy()


Samples: TypeAlias = "np.ndarray | DiskArray"


def windows_at(samples: Samples, first: np.ndarray, length: int) -> np.ndarray:
    """Windows (n, length) of audio that begin at samples `first` (n,), in rising order; zeros beyond the ends."""
    windows = np.zeros((len(first), length), np.float32)
    start = 0
    while start < len(first):  # runs that one reading serves
        stop = int(np.searchsorted(first, first[start] + READ_LENGTH, side="right"))
        begin, end = max(int(first[start]), 0), max(int(first[stop - 1]) + length, 0)
        read = samples[begin:end]
        place = first[start:stop, None] - begin + np.arange(length)
        inside = (place >= 0) & (place < len(read))
        windows[start:stop] = np.where(inside, np.append(read, np.float32(0))[np.where(inside, place, -1)], np.float32(0))
        start = stop
    return windows


def peak_of(audio: torch.Tensor | LongAudio) -> float:
    """The largest magnitude in audio (n_samples,)."""
    if isinstance(audio, LongAudio):
        return audio.peak
    lowest, highest = torch.aminmax(audio)
    return max(-float(lowest), float(highest))


@dataclass(frozen=True)
class SoundFacts:
    """Facts that a sound file states: sample rate [Hz], number of channels, samples a channel (may err in MP3), and how it is coded."""

    sample_rate: int
    n_channels: int
    n_samples: int
    coding: str  # libsndfile's names of format and subtype


def sound_facts(path: PathLike) -> SoundFacts:
    """Read a sound file's header; raises AudioError as :func:`load_audio`."""
    with _open_sound(path, quiet=True) as file:
        return SoundFacts(file.samplerate, file.channels, max(file.frames, 0), f"{file.format} {file.subtype}")


def stream_audio(path: PathLike, sample_rate: int, n_samples: int) -> Iterator[torch.Tensor]:
    """Stream what :func:`load_audio` reads at a rate [Hz], `n_samples` at a time: of a day's recording no more is held.

    The last piece is shorter.
    """
    with _open_sound(path) as file:
        held, n_held = np.empty(n_samples, np.float32), 0
        for piece in _mono(path, file, check_sample_rate(sample_rate)):
            while len(piece):
                taken = piece[: n_samples - n_held]
                held[n_held : n_held + len(taken)] = taken
                piece, n_held = piece[len(taken) :], n_held + len(taken)
                if n_held == n_samples:
                    yield torch.from_numpy(held)
                    held, n_held = np.empty(n_samples, np.float32), 0
        if n_held:
            yield torch.from_numpy(held[:n_held])


def stream_channels(path: PathLike) -> Iterator[np.ndarray]:
    """A recording as it is in the file: pieces (n_samples, n_channels), float32, at its own rate; raises AudioError."""
    with _open_sound(path) as file:
        yield from _blocks(path, file, math.inf)


def check_audio(audio: AudioLike, sample_rate: int, *, highest_peak: float = HIGHEST_PEAK) -> torch.Tensor:
    """The gate for audio that callers from Python bring.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], n_samples > 0, finite
        Floating point in [-1, 1] (moderately beyond is let through), or integers, which are scaled by their type's full scale.
        Never written into.
    sample_rate : int, > 0 [Hz]
    highest_peak : float
        What is louder was never scaled, or is broken.

    Returns
    -------
    Tensor [shape=(n_samples,)], float32, on the CPU
        May share memory with `audio`.

    Raises
    ------
    AudioError
        Wrong type or shape, no samples, samples that are not finite or too loud, or a sample rate that is none.
    """
    check_sample_rate(sample_rate)
    samples = _as_float(audio)
    if samples.dim() != 1:
        raise AudioError(
            f"audio has shape {tuple(samples.shape)}; one channel, (n_samples,), is wanted: pick one, or average with audio.mean(...)"
        )
    if not len(samples):
        raise AudioError("audio holds no samples; at least one is wanted: check what was cut out or read")
    lowest, highest = torch.aminmax(samples)  # either is NaN if any sample is
    peak = max(abs(float(lowest)), abs(float(highest)))
    if not math.isfinite(peak) or not math.isfinite(float(lowest)):
        where = int((~torch.isfinite(samples)).nonzero()[0])
        raise AudioError(f"audio has {float(samples[where])} at sample {where}; finite samples are wanted: repair or replace it")
    if peak > highest_peak:
        raise AudioError(f"audio reaches {peak:.6g}; samples in [-1, 1] are wanted: divide by the full scale, e.g. 32768 for 16 bit")
    return samples


def check_sample_rate(sample_rate: Any, what: str = "sample_rate is") -> int:
    """The rate as a plain int [Hz], or an AudioError."""
    try:
        rate = int(sample_rate)
        legal = rate == sample_rate and LOWEST_RATE <= rate <= HIGHEST_RATE and not isinstance(sample_rate, bool)
    except (TypeError, ValueError, OverflowError):
        legal = False
    if not legal:
        raise AudioError(f"{what} {sample_rate!r}; a whole number of hertz from {LOWEST_RATE} to {HIGHEST_RATE} is wanted, e.g. 48000")
    return rate


def resample(audio: AudioLike, from_rate: int, to_rate: int) -> torch.Tensor:
    """Change the sample rate of audio (n_samples,); instants stay where they are, and at least one sample is left.

    At equal rates `audio` itself.
    """
    samples = check_audio(audio, from_rate)
    check_sample_rate(to_rate)
    if from_rate == to_rate:
        return samples
    pieces = (piece.numpy() for piece in samples.split(READ_LENGTH))
    return torch.from_numpy(_gather(_resampled(pieces, from_rate, to_rate), int(len(samples) * to_rate / from_rate)))


def sound_files(folder: Path, *, below: bool = False) -> list[Path]:
    """Files of a folder (`below`: and of those in it) that are recordings by their names, sorted."""
    paths = folder.rglob("*") if below else folder.iterdir()
    return sorted(path for path in paths if path.suffix.lower() in SOUND_ENDINGS and path.is_file())


def check_output(path: PathLike, *, overwrite: bool = False) -> Path:
    """Refuse, before any long work, an output that could not be written in the end; the extension names the format."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path} has the extension {path.suffix!r}, which is not written here; use one of {', '.join(FORMATS)}")
    return check_new(path, AudioError, overwrite=overwrite)


def save_audio(path: PathLike, audio: AudioLike, sample_rate: int, *, overwrite: bool = False) -> None:
    """Write a mono recording; the extension names the format (WAV, FLAC and AIFF in 24 bit, OGG, MP3).

    Nothing is left half written, and nothing clips: sound that reaches beyond full scale is turned down as a whole,
    and a ToneTransferWarning says by how much.

    Parameters
    ----------
    path : str or Path
        Ends in the extension of a format.
    audio : Tensor or ndarray [shape=(n_samples,)], finite
        Not changed.
    sample_rate : int, > 0 [Hz]
        Of the audio, and of the file.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    AudioError
        The audio is not audio, the file exists, or it cannot be written there or in that format.

    Warns
    -----
    ToneTransferWarning
        The sound was turned down.

    Examples
    --------
    >>> t = np.arange(48000) / 48000
    >>> tt.save_audio("a4.wav", 0.3 * np.sin(2 * np.pi * 440 * t), 48000)
    >>> tt.load_audio("a4.wav")[0].shape
    torch.Size([48000])
    """
    samples = check_audio(audio, sample_rate)
    with AudioWriter(path, sample_rate, overwrite=overwrite) as writer:
        for piece in samples.split(READ_LENGTH):
            writer.write(piece)


def encode_mp3(audio: AudioLike, sample_rate: int) -> bytes:
    """A short mono recording as the bytes of an MP3 file, which every browser plays; the same bytes for the same sound.

    What lies beyond [-1, 1] is cut: scale it first. AudioError at a sample rate [Hz] that is none of MPEG's, such as 44100 or 48000.
    """
    samples = check_audio(audio, sample_rate).clamp(-JUST_UNDER_ONE, JUST_UNDER_ONE).numpy()
    form, subtype = FORMATS[".mp3"]
    file = io.BytesIO()
    try:
        with soundfile.SoundFile(file, "w", sample_rate, 1, subtype, format=form, **MP3_QUALITY) as sound:
            for first in range(0, len(samples), READ_LENGTH):
                sound.write(samples[first : first + READ_LENGTH])
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise AudioError(
            f"sound cannot be encoded as MP3 ({_reason(error)}); use 44100 or 48000 Hz and a libsndfile from 1.1 on"
        ) from error
    return file.getvalue()


class AudioWriter:
    """Write a recording piece by piece, under the rules of :func:`save_audio`, however long it is.

    The peak is known at the end only, so the pieces go to a temporary file of floats beside the result, which is then converted. If the
    `with` body raises, nothing is left behind. AudioError: on entering, if the file exists or could not be written; on leaving, if no
    sample was.
    """

    def __init__(self, path: PathLike, sample_rate: int, *, overwrite: bool = False) -> None:
        self.path = check_output(path, overwrite=overwrite)
        self.sample_rate = check_sample_rate(sample_rate)
        self.peak = 0.0
        self.n_samples = 0
        form, subtype = FORMATS[self.path.suffix.lower()]
        if not soundfile.check_format(form, subtype):
            raise AudioError(f"{self.path} cannot be written: this libsndfile has no {form}; use .wav or .flac")

    def __enter__(self) -> AudioWriter:
        with self._translated():  # without a name, so that nothing is left of it whatever ends the process; closed in __exit__
            self._raw = tempfile.TemporaryFile(dir=Path(os.path.realpath(self.path)).parent)
        return self

    def write(self, audio: AudioLike) -> None:
        """Append audio [shape=(n_samples,)], n_samples > 0, finite, however loud: the whole is turned down."""
        samples = check_audio(audio, self.sample_rate, highest_peak=math.inf).detach()
        self.peak = max(self.peak, float(samples.abs().max()))
        self.n_samples += len(samples)
        with self._translated():
            self._raw.write(np.ascontiguousarray(samples.numpy(), dtype=np.float32).data)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._translated(), self._raw:
            if kind is None:
                with replacing(self.path) as part:
                    self._convert(part)

    def _convert(self, part: Path) -> None:
        if not self.n_samples:
            raise AudioError(f"nothing to write to {self.path}: the result holds no samples; give it at least one")
        gain = 1.0
        if self.peak > 1.0:
            gain = JUST_UNDER_ONE / self.peak
            loss_db = -float(amplitude_to_db(gain))
            message = f"{self.path}: the sound peaks above full scale and was turned down by {loss_db:.1f} dB"
            warnings.warn(message, ToneTransferWarning, stacklevel=4)
        form, subtype = FORMATS[self.path.suffix.lower()]
        self._raw.seek(0)
        with soundfile.SoundFile(native_name(part), "w", self.sample_rate, 1, subtype, format=form) as file:
            while piece := self._raw.read(4 * READ_LENGTH // 16):  # libsndfile's Vorbis encoder overflows the stack on large pieces
                file.write(np.frombuffer(piece, dtype=np.float32) * np.float32(gain))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, soundfile.SoundFileError) as error:
            raise AudioError(f"{self.path} cannot be written: {_reason(error)}; choose another place, format or sample rate") from error


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise AudioError(f"{path} does not exist; a recording is wanted: check the name and the folder")
    if path.is_dir():
        raise AudioError(f"{path} is a folder; one recording is wanted: name a file in it")
    if not path.is_file():
        raise AudioError(f"{path} is a pipe or a device; a file is wanted: save the sound to one first")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes); a recording is wanted: copy or export it again")


@contextlib.contextmanager
def _open_sound(path: PathLike, *, quiet: bool = False) -> Iterator[SoundReader]:
    """Open a sound file of a sample rate that can be meant."""
    path = Path(path)
    _check_readable(path)
    try:
        reader = open_reader(path, quiet=quiet)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:  # TypeError: raw files, which have no header
        with contextlib.suppress(OSError):
            foreign = media_format(path) is not None
        how = f"{CONVERT}, or pip install 'tonetransfer[media]'" if foreign and find_decoder() is None else CONVERT
        raise AudioError(
            f"{path} is not a sound file that can be read ({_reason(error)}); WAV, FLAC, OGG, MP3 or AIFF is wanted: {how}"
        ) from error
    with reader as file:
        check_sample_rate(file.samplerate, f"{path} has a sample rate")
        yield file


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")


def _blocks(path: PathLike, file: SoundReader, longest_s: float) -> Iterator[np.ndarray]:
    """The file from its start, in pieces (n_samples, n_channels), float32, finite."""
    start, length = 0, max(READ_LENGTH // max(file.channels // 8, 1), 1)  # a thousand channels are not held as two are
    try:
        file.seek(0)
        while len(block := file.read(length, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                where = start + int(np.argmin(np.isfinite(block).all(axis=1)))
                at_s = where / file.samplerate
                raise AudioError(f"{path} has a sample that is not finite at {at_s:.3f} s; finite samples are wanted: export it again")
            yield block
            start += len(block)
            if start > longest_s * file.samplerate:
                raise AudioError(f"{path} is longer than {longest_s:g} s, the most that is taken here; cut out the part that matters")
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(
            f"{path} is damaged after {start / file.samplerate:.1f} s ({_reason(error)}); a whole file is wanted: copy or export it again"
        ) from error


def _mono(path: PathLike, file: SoundReader, sample_rate: int, longest_s: float = math.inf) -> Iterator[np.ndarray]:
    """The file as mono at a rate, in pieces (n_samples,); at least one sample in all, none far beyond full scale."""
    weights = _mono_weights(path, file, longest_s)
    n_samples = 0
    for piece in _resampled((block @ weights for block in _blocks(path, file, longest_s)), file.samplerate, sample_rate):
        if len(piece) and (peak := float(max(piece.max(), -piece.min()))) > HIGHEST_PEAK:
            raise AudioError(f"{path} has samples up to {peak:.3g}; full scale is 1: scale the recording down to [-1, 1] and save it again")
        n_samples += len(piece)
        yield piece
    if not n_samples:
        raise AudioError(f"{path} holds no samples; a recording with sound in it is wanted: check how it was exported")


def _mono_weights(path: PathLike, file: SoundReader, longest_s: float) -> np.ndarray:
    """Weights of the channels in the mono mix, shape (n_channels,), float32."""
    n_channels = file.channels
    if n_channels == 1:
        return np.ones(1, dtype=np.float32)
    products = np.zeros((n_channels, n_channels))  # of all pairs of channels: the energy of any mix is a quadratic form of them
    for block in _blocks(path, file, longest_s):
        products += (block.T @ block).astype(np.float64)
    energy = np.diag(products)
    alive = energy > energy.max() * 10.0 ** (DEAD_CHANNEL_DB / 10.0)
    if not alive.any():
        alive[:] = True  # silence
    weights = alive / alive.sum()
    if weights @ products @ weights < energy.max() * 10.0 ** (CANCELLING_DB / 10.0):
        weights = np.arange(n_channels) == energy.argmax()
    return weights.astype(np.float32)


def _resampled(pieces: Iterator[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Pieces (n_samples,) at `from_rate` to pieces at `to_rate`; together as long as the whole, resampled at once."""
    if from_rate == to_rate:
        yield from pieces
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality=RESAMPLER)
    n_in = n_out = 0
    for piece in itertools.chain(pieces, [None]):
        n_in += 0 if piece is None else len(piece)
        given = np.zeros(0, dtype=np.float32) if piece is None else np.ascontiguousarray(piece)
        changed = stream.resample_chunk(given, last=piece is None)
        n_out += len(changed)
        yield changed
    if n_in and not n_out:  # a few samples at a high rate are less than half a sample at a low one
        yield np.zeros(1, dtype=np.float32)


def _held(pieces: Iterator[np.ndarray], expected: int, most: float) -> torch.Tensor | LongAudio:
    """Pieces in memory, or in a temporary file if they are more than `most` samples, whatever was expected."""
    begun: list[np.ndarray] = []
    if math.isinf(most):
        return torch.from_numpy(_gather(pieces, expected))
    while sum(map(len, begun)) <= most:
        if (piece := next(pieces, None)) is None:
            return torch.from_numpy(_gather(iter(begun), sum(map(len, begun))))
        begun.append(np.array(piece))
    trim_malloc()
    return LongAudio(itertools.chain(begun, pieces))


def _gather(pieces: Iterator[np.ndarray], expected: int) -> np.ndarray:
    """Join pieces without ever holding them twice. `expected` is a guess of the length (headers err)."""
    joined = np.empty(min(max(expected, 0), 1 << 28) + 16, dtype=np.float32)
    n_samples = 0
    for piece in pieces:
        if n_samples + len(piece) > len(joined):
            joined.resize(int(1.5 * (n_samples + len(piece))), refcheck=False)
        joined[n_samples : n_samples + len(piece)] = piece
        n_samples += len(piece)
    joined.resize(n_samples, refcheck=False)
    return joined


def _as_float(audio: AudioLike) -> torch.Tensor:
    """Floating samples of any caller's array, float32; integers scaled by their full scale."""
    if isinstance(audio, torch.Tensor):
        audio = audio.detach().cpu()
        if audio.dtype == torch.float32:
            return audio
        audio = audio.float().numpy() if audio.dtype == torch.bfloat16 else audio.numpy()
    if not isinstance(audio, np.ndarray) or audio.dtype.kind not in "fiu":
        kind = f"an array of {audio.dtype}" if isinstance(audio, np.ndarray) else f"a {type(audio).__name__}"
        raise AudioError(f"audio is {kind}; a Tensor or NumPy array of floating samples is wanted: read files with load_audio")
    if audio.dtype.kind == "f":
        samples = audio.astype(np.float32)
    else:
        full_scale = 2.0 ** (8 * audio.dtype.itemsize - 1)
        offset = full_scale if audio.dtype.kind == "u" else 0.0
        samples = ((audio.astype(np.float64) - offset) / full_scale).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(samples))
