"""Fuzz the reading of sound: damaged, cut, joined and lying files. By hand: ``python tests/fuzz/audio.py --seconds 600``."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import soundfile
import torch
from harness import command_line
from mutations import damage

from tonetransfer.audio.files import load_audio, open_audio, sound_facts, stream_audio
from tonetransfer.errors import AudioError, ToneTransferWarning

RATE = 24000
KINDS = {  # ending: libsndfile's format, and codings
    "wav": ("WAV", ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM")),
    "rf64": ("RF64", ("PCM_16",)),
    "flac": ("FLAC", ("PCM_16", "PCM_24")),
    "ogg": ("OGG", ("VORBIS", "OPUS")),
    "mp3": ("MP3", ("MPEG_LAYER_III",)),
    "aiff": ("AIFF", ("PCM_16", "PCM_24", "FLOAT")),
    "au": ("AU", ("PCM_16", "FLOAT")),
    "caf": ("CAF", ("PCM_16", "ALAC_16")),
    "w64": ("W64", ("PCM_16",)),
    "m4a": ("", ("aac",)),
    "webm": ("", ("libopus",)),
}
SIZES = (b"data", b"SSND", b"COMM", b"RIFF", b"FORM", b"Xing", b"fmt ", b"OggS", b"ds64", b"mdat", b"moov", b"stsz", b"desc")

ID3 = b"ID3\x03\x00\x00\x00\x00\x00\x2eTIT2\x00\x00\x00\x24\x00\x00\x00\x1b]0;owned\x07\xff\xfb\x90\x64" + bytes(24)
BETWEEN = (b"", b"", ID3, b"TAG" + bytes(125), b"APETAGEX" + bytes(24), bytes(4000), b"LIST\x04\x00\x00\x00INFO", b"\xff" * 500)


@lru_cache(maxsize=64)
def sound(ending: str, coding: str, channels: int, seconds: float) -> bytes:
    """A file of a second or so."""
    t = np.arange(round(seconds * RATE)) / RATE
    samples = 0.3 * np.sin(2.0 * np.pi * 440.0 * t) + np.random.default_rng(0).normal(0.0, 0.02, len(t))
    if ending in ("m4a", "webm"):
        return _media(ending, coding, samples.astype(np.float32))
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples] * channels, axis=1), RATE, coding, format=KINDS[ending][0])
    return file.getvalue()


def _media(ending: str, coding: str, samples: np.ndarray) -> bytes:
    import av

    path = str(Path(gettempdir()) / f"fuzz-media.{ending}")
    with av.open(path, "w") as container:
        stream = container.add_stream(coding, rate=RATE, layout="mono")
        for first in range(0, len(samples), 480):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 480], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path).read_bytes()


def mutate(chance: random.Random) -> bytes:
    """A sound file, most often damaged; or several, or none."""
    ending = chance.choice(tuple(KINDS))
    content = sound(ending, chance.choice(KINDS[ending][1]), chance.choice((1, 2)), chance.choice((0.1, 0.6, 1.5)))
    while chance.random() < 0.25:
        content += chance.choice(BETWEEN) + sound(ending, chance.choice(KINDS[ending][1]), 1, 0.6)
    if chance.random() < 0.4:
        content = _lie(content, chance)
    if chance.random() < 0.3:
        content = content[: chance.randrange(len(content))]
    content = damage(content, chance) if chance.random() < 0.6 else content
    if chance.random() < 0.1:  # what matters is at the beginning
        content = damage(content[:64], chance) + content[64:]
    return content if chance.random() < 0.98 else chance.randbytes(chance.randrange(300))


def _lie(content: bytes, chance: random.Random) -> bytes:
    """Another number behind one of the marks that sizes follow."""
    at = content.find(chance.choice(SIZES))
    if at < 0:
        return content
    number = chance.choice((0, 1, 4, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chance.randrange(1 << 32)))
    at += chance.choice((4, 4, 4, 8, 10, 12, 14, 16))
    return content[:at] + struct.pack(chance.choice("<>") + "I", number) + content[at + 4 :]


def attempt(data: bytes, folder: Path) -> str:
    """Read it in every way: as often as it is read, it is the same finite sound."""
    path = folder / "a.sound"
    path.write_bytes(data)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore", ToneTransferWarning)
        try:
            facts = sound_facts(path)
            assert 1000 <= facts.sample_rate <= 1_000_000 and facts.n_samples >= 0
            audio, rate = load_audio(path, RATE, longest_s=600.0)
        except AudioError as error:
            assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 500, str(error)
            return "refused"
        assert rate == RATE and len(audio) > 0 and bool(torch.isfinite(audio).all())
        assert len(audio) <= 600 * RATE + (1 << 18) * RATE // 1000
        long = open_audio(path, RATE, held_s=0.5)[0]
        assert len(long) == len(audio) and torch.equal(long[:], audio)
        assert sum(map(len, stream_audio(path, RATE, 5000))) == len(audio)
    return "read"


if __name__ == "__main__":
    sys.exit(command_line("audio", mutate, attempt))
