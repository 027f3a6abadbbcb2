"""Files whose headers do not say what is in them: all the sound that is there is read, and what is missing is told."""

from __future__ import annotations

import os
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tonetransfer.audio import readers
from tonetransfer.audio.containers import ByteRange, Window, examine
from tonetransfer.audio.files import LongAudio, load_audio, open_audio, sound_facts, stream_audio
from tonetransfer.errors import AudioError, ToneTransferWarning

RATE = 48000
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".aiff": "AIFF", ".au": "AU", ".caf": "CAF", ".ogg": "OGG", ".mp3": "MP3"}


def sound(seconds: float = 4.0, f0_hz: float = 440.0, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0.0, 0.05, len(t))
    return 0.3 * np.sin(2.0 * np.pi * f0_hz * t) + noise


def encoded(folder: Path, ending: str, samples: np.ndarray, rate: int = RATE) -> bytes:
    path = folder / f"whole{ending}"
    subtype = {".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}.get(ending, "PCM_16")
    soundfile.write(path, samples, rate, format=FORMATS.get(ending, ending[1:].upper()), subtype=subtype)
    return path.read_bytes()


def read(path: Path) -> tuple[float, list[str]]:
    """Seconds, and what is said of the file."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        audio, rate = load_audio(path)
    return len(audio) / rate, [str(one.message) for one in heard]


def at(content: bytes, mark: bytes, change: bytes, *, after: int = 4) -> bytes:
    """Content with bytes put in place of those that stand `after` bytes behind the beginning of a mark."""
    place = content.index(mark) + after
    return content[:place] + change + content[place + len(change) :]


LITTLE: dict[str, tuple[str, Callable[[bytes], bytes], float]] = {  # ending, what happens to the file, what its header then says
    "wav of size 0": (".wav", lambda c: at(at(c, b"RIFF", bytes(4)), b"data", bytes(4)), 0.0),
    "wav of size 0 in data alone": (".wav", lambda c: at(c, b"data", bytes(4)), 0.0),
    "wav of its first second": (".wav", lambda c: at(c, b"data", struct.pack("<I", 2 * RATE)), 1.0),
    "rf64 that was being recorded": (".rf64", lambda c: at(c, b"ds64", bytes(24), after=8), 0.0),
    "aiff of its first second": (".aiff", lambda c: at(c, b"SSND", struct.pack(">I", 2 * RATE + 8)), 1.0),
    "aiff of size 0": (".aiff", lambda c: at(at(c, b"COMM", bytes(4), after=10), b"SSND", bytes(4)), 0.0),
    "caf that was being recorded": (".caf", lambda c: at(c, b"data", struct.pack(">q", -1)), 0.0),
    "w64 of size 0": (".w64", lambda c: at(c, b"data", bytes(8), after=16), 0.0),
    "w64 of its first second": (".w64", lambda c: at(c, b"data", struct.pack("<Q", 2 * RATE + 24), after=16), 1.0),
    "au of size 0": (".au", lambda c: at(c, c[:4], bytes(4), after=8), 0.0),
    "flac of a thousand samples": (".flac", lambda c: with_flac_total(c, 1000), 1000 / RATE),
    "mp3 of ten frames": (".mp3", lambda c: at(c, b"Xing", struct.pack(">I", 10), after=8), 0.24),
}


def with_flac_total(content: bytes, n_samples: int) -> bytes:
    number = int.from_bytes(content[18:26], "big") >> 36 << 36 | n_samples
    return content[:18] + number.to_bytes(8, "big") + content[26:]


@pytest.mark.parametrize("case", LITTLE)
def test_all_the_sound_is_read_however_little_the_header_says(tmp_path: Path, case: str) -> None:
    ending, damage, said_s = LITTLE[case]
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(damage(encoded(tmp_path, ending, sound())))
    seconds, notes = read(path)
    assert seconds == pytest.approx(4.0, abs=0.03)
    assert len(notes) == 1 and f"says that it lasts {said_s:.1f} s" in notes[0] and "4.0 s of sound are there" in notes[0]
    assert sound_facts(path).n_samples == pytest.approx(4.0 * RATE, abs=2000)


@pytest.mark.parametrize("ending", [".wav", ".flac", ".aiff", ".au", ".caf", ".w64", ".mp3"])
def test_what_is_missing_of_a_cut_file_is_told(tmp_path: Path, ending: str) -> None:
    content = encoded(tmp_path, ending, sound())
    path = tmp_path / f"cut{ending}"
    path.write_bytes(content[: len(content) // 2 + 1])
    seconds, notes = read(path)
    assert seconds == pytest.approx(2.0, abs=0.15)
    assert len(notes) == 1 and "was cut off" in notes[0] and "of 4.0 s" in notes[0]
    assert float(notes[0].split("the last ")[1].split()[0]) == pytest.approx(4.0 - seconds, abs=0.1)


def test_a_cut_ogg_is_told(tmp_path: Path) -> None:
    content = encoded(tmp_path, ".ogg", sound(20.0))
    (tmp_path / "cut.ogg").write_bytes(content[: len(content) // 2])
    seconds, notes = read(tmp_path / "cut.ogg")
    assert 8.0 < seconds < 12.0 and "no end mark" in notes[0]


@pytest.mark.parametrize("ending", [".mp3", ".ogg", ".flac", ".wav"])
def test_joined_files_are_read_to_their_end(tmp_path: Path, ending: str) -> None:
    content = encoded(tmp_path, ending, sound(2.0, 440.0)) + encoded(tmp_path, ending, sound(3.0, 660.0))
    path = tmp_path / f"joined{ending}"
    path.write_bytes(content)
    audio, _ = load_audio(path)
    assert len(audio) == 5 * RATE
    for first, f0_hz in ((0.5, 440.0), (4.0, 660.0)):
        spectrum = np.abs(np.fft.rfft(audio[round(first * RATE) :][: RATE // 2].numpy()))
        assert 2.0 * spectrum.argmax() == f0_hz
    assert sound_facts(path).n_samples == 5 * RATE
    assert sum(map(len, stream_audio(path, RATE, 10000))) == 5 * RATE


def test_joined_files_of_other_rates_and_channels_are_read(tmp_path: Path) -> None:
    stereo = np.stack([sound(2.0, 660.0, 44100)] * 2, axis=1)
    path = tmp_path / "joined.flac"
    path.write_bytes(encoded(tmp_path, ".flac", sound(2.0)) + encoded(tmp_path, ".flac", stereo, 44100))
    audio, rate = load_audio(path)
    assert rate == RATE and len(audio) == pytest.approx(4 * RATE, abs=2)
    spectrum = np.abs(np.fft.rfft(audio[3 * RATE : 3 * RATE + RATE // 2].numpy()))
    assert 2.0 * spectrum.argmax() == 660.0


def test_a_part_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    second = bytearray(encoded(tmp_path, ".flac", sound(2.0)))
    second[18:21] = bytes(3)  # a sample rate of 0
    (tmp_path / "joined.flac").write_bytes(encoded(tmp_path, ".flac", sound(1.0)) + bytes(second))
    seconds, notes = read(tmp_path / "joined.flac")
    assert seconds == 1.0 and "part 2 of 2" in notes[0] and "left out" in notes[0]


def test_an_mp3_of_varying_rate_without_a_count_is_read_whole(tmp_path: Path) -> None:
    content = encoded(tmp_path, ".mp3", np.concatenate([sound(2.0), np.zeros(2 * RATE)]))
    (tmp_path / "bare.mp3").write_bytes(at(content, b"Xing", bytes(4), after=0))
    seconds, notes = read(tmp_path / "bare.mp3")
    assert seconds == pytest.approx(4.0, abs=0.06) and not notes


def test_a_flac_of_unknown_length_is_read_whole_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "piped.flac").write_bytes(with_flac_total(encoded(tmp_path, ".flac", sound()), 0))
    assert read(tmp_path / "piped.flac") == (4.0, [])


@pytest.mark.parametrize("ending", FORMATS)
def test_sound_files_are_read_as_libsndfile_reads_them(tmp_path: Path, ending: str) -> None:
    encoded(tmp_path, ending, sound())
    assert examine(tmp_path / f"whole{ending}").parts == []
    seconds, notes = read(tmp_path / f"whole{ending}")
    assert seconds == 4.0 and not notes


@pytest.mark.parametrize("rest", [b"LIST" + struct.pack("<I", 5000) + bytes(5000), b"TAG" + bytes(5000), bytes(9000), b"rest" * 100])
def test_what_follows_the_sound_is_no_sound(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "more.wav").write_bytes(encoded(tmp_path, ".wav", sound(1.0)) + rest)
    assert read(tmp_path / "more.wav") == (1.0, [])


def test_a_wav_beyond_four_gigabytes_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with open(path, "wb") as file:
        file.write(at(encoded(tmp_path, ".wav", sound(1.0)), b"data", struct.pack("<I", 2 * RATE)))
        file.truncate(5 << 30)  # holes cost no room on the disk
    with open(path, "r+b") as file:
        file.seek(2 * RATE + 44)
        file.write(b"\x01\x02" * 4096)
    assert sound_facts(path).n_samples == ((5 << 30) - 44) // 2


def test_what_is_longer_than_it_says_stays_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(at(encoded(tmp_path, ".wav", sound(4.0)), b"data", bytes(4)))
    with pytest.warns(ToneTransferWarning, match=r"4\.0 s of sound are there"):
        audio = open_audio(tmp_path / "a.wav", held_s=3.0)[0]
    assert isinstance(audio, LongAudio) and len(audio) == 4 * RATE


def test_a_window_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with Window(tmp_path / "a", ByteRange(b"ab", 4, 8)) as window:
        assert window.read() == b"ab4567"
        assert window.seek(1) == 1 and window.read(2) == b"b4" and window.tell() == 3
        assert window.seek(-1, os.SEEK_END) == 5 and window.read(9) == b"7" and window.read(1) == b""


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="pipe"):
        load_audio(tmp_path / "a.wav")


# ---- what FFmpeg decodes


def media(path: Path, seconds: float = 2.0) -> Path:
    """A phone's .m4a or a browser's .webm of 440 Hz."""
    import av

    codec = {".m4a": "aac", ".webm": "libopus"}[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        samples = (0.5 * sound(seconds)).astype(np.float32)
        for first in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 960], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("ending", [".m4a", ".webm"])
def test_recordings_of_phones_and_browsers(tmp_path: Path, ending: str) -> None:
    path = media(tmp_path / f"memo{ending}")
    audio, rate = load_audio(path)
    assert rate == RATE and len(audio) == pytest.approx(2 * RATE, abs=0.06 * RATE)
    assert 2.0 * np.abs(np.fft.rfft(audio[RATE : RATE + RATE // 2].numpy())).argmax() == 440.0
    assert isinstance(open_audio(path, held_s=1.0)[0], LongAudio)


def test_without_a_decoder_they_are_refused_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media(tmp_path / "memo.m4a")
    monkeypatch.setattr(readers, "find_decoder", lambda: None)
    monkeypatch.setattr("tonetransfer.audio.files.find_decoder", lambda: None)
    with pytest.raises(AudioError, match=r"ffmpeg -i IN OUT.wav, or pip install 'tonetransfer\[media\]'"):
        load_audio(path)


def test_the_program_decodes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in its place that writes what ffmpeg would: a WAV header without a length, and samples."""
    samples = sound(2.0).astype("<f4")
    header = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, RATE, 4 * RATE, 4, 32) + b"data\xff\xff\xff\xff"
    (tmp_path / "content").write_bytes(header + samples.tobytes())
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{tmp_path}/words'\ncat '{tmp_path}/content'\n")
    program.chmod(0o755)
    path = media(tmp_path / "memo.m4a")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(readers, "find_decoder", lambda: readers.ProgramReader)
    audio, rate = load_audio(path)
    assert rate == RATE and np.array_equal(audio.numpy(), samples)
    words = (tmp_path / "words").read_text().splitlines()
    assert words[words.index("-protocol_whitelist") + 1] == "file" and words[words.index("-f") + 1] == "mov"
    assert words[words.index("-i") + 1] == f"file:{path}"


def test_media_without_sound_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.m4a").write_bytes(bytes((0, 0, 0, 24)) + b"ftypM4A " + bytes(500))
    with pytest.raises(AudioError, match="not a sound file"):
        load_audio(tmp_path / "broken.m4a")


def test_what_is_no_sound_within_an_mp3_is_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = encoded(tmp_path, ".mp3", sound(4.0))
    whole = load_audio(tmp_path / "whole.mp3")[0]
    middle = content.index(content[:2], len(content) // 2)  # a frame begins there
    (tmp_path / "dirty.mp3").write_bytes(content[:middle] + bytes(5000) + b"\xff\xfb junk" * 20 + content[middle:])
    seconds, notes = read(tmp_path / "dirty.mp3")
    assert seconds == 4.0 and not notes
    assert np.array_equal(load_audio(tmp_path / "dirty.mp3")[0], whole)
    assert capfd.readouterr().err == ""  # nor does the decoder complain


def test_a_window_leaves_holes_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with Window(tmp_path / "a", ByteRange(b"ab", 1, 10, ((2, 4), (5, 8)))) as window:
        assert window.read() == b"ab1489"
        for at in range(7):
            assert window.seek(at) == at and window.read(2) == b"ab1489"[at : at + 2]


@pytest.mark.parametrize("ending", [".mp3", ".ogg", ".flac", ".wav"])
def test_thousands_of_pieces_take_no_time(tmp_path: Path, ending: str) -> None:
    """Nobody joins so many files; somebody might make one that looks so. Five times as many take five times as long, not twenty-five."""
    piece = encoded(tmp_path, ending, sound(0.02))
    seconds = []
    for count in (500, 2500):
        path = tmp_path / f"{count}{ending}"
        path.write_bytes(piece * count)
        begin = time.process_time()
        found = examine(path)
        examined_s = time.process_time() - begin
        facts = sound_facts(path)
        seconds.append(time.process_time() - begin)
    assert examined_s < 2.5 and 150 < len(found.parts) <= 2000
    assert seconds[1] < 5.0 and facts.n_samples > 150 * 960
    assert seconds[1] < 10.0 * seconds[0] + 0.2
