"""Sound files whose headers and content disagree: what is really there, as byte ranges with the headers that they should have had.

libsndfile believes headers. A recorder that lost power leaves sizes of 0, a joined MP3 tells the length of its first piece, a cut FLAC a
length that is not there. Here the sound itself is looked for: frames of MPEG, pages of Ogg, chunks of WAV, Wave64, AIFF, AU and CAF, the
last frame of FLAC.
"""

from __future__ import annotations

import io
import itertools
import mmap
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

Content: TypeAlias = "mmap.mmap | bytes"

JUNK_BYTES = 4096  # less than this after the sound is some program's rest, not sound that a header forgot
STREAMED = 0x7FFF_0000  # sizes from here on are written by programs that do not know them yet
BIGGEST_RIFF = 0xFFFF_FF00
MOST_RIFFS = 200
MOST_PARTS = 2000  # joined files; more would take minutes to open
BAR_S = 0.1  # headers may be wrong by so much without a word


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` to `end` of a file without `holes`, in their order, with `head` before them: a sound file of its own."""

    head: bytes
    start: int
    end: int
    holes: tuple[tuple[int, int], ...] = ()

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Stretches of the file that are there."""
        edges = [self.start, *(edge for hole in self.holes for edge in hole), self.end]
        return [(first, last) for first, last in zip(edges[::2], edges[1::2], strict=True) if last > first]


@dataclass
class Findings:
    """Result of a file's examination: nothing to mend if `parts` is empty; what is to be said of it, each after "FILE: "."""

    parts: list[ByteRange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Window(io.RawIOBase):
    """A part of a file, as a file of its own."""

    def __init__(self, path: Path, part: ByteRange) -> None:
        self._file, self._part, self._at = open(path, "rb"), part, 0  # noqa: SIM115  # closed with this
        self._spans = part.spans
        lengths = [len(part.head), *(last - first for first, last in self._spans)]
        self._edges = list(itertools.accumulate(lengths))  # where each span begins, and the last one ends
        self._length = self._edges[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer, in truth
        wanted = max(min(len(buffer), self._length - self._at), 0)
        content = self._part.head[self._at : self._at + wanted]
        while len(content) < wanted:
            at = self._at + len(content)
            number = bisect_right(self._edges, at) - 1
            first, last = self._spans[number]
            place = first + at - self._edges[number]
            self._file.seek(place)
            read = self._file.read(min(wanted - len(content), last - place))
            if not read:  # the file has become shorter
                break
            content += read
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def examine(path: Path) -> Findings:
    """Compare a sound file's header with what is in it; OSError where it cannot be read."""
    with open(path, "rb") as file:
        start = file.read(12)
        kind = next((look for mark, look in _KINDS.items() if start.startswith(mark)), None)
        if kind is None and not _is_mpeg(start):
            return Findings()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                found = (kind or _mpeg)(content)
            except (struct.error, IndexError):  # cut in a header
                return Findings()
    if (n_parts := len(found.parts)) > MOST_PARTS:
        found.parts = found.parts[:MOST_PARTS]
        found.notes.append(f"holds {n_parts} recordings one after the other; the first {MOST_PARTS} are read")
    return found


def _compare(said_s: float, there_s: float) -> list[str]:
    """Describe a recording that is shorter, or longer, than its header says."""
    if said_s > there_s + BAR_S:
        return [f"was cut off: {there_s:.1f} s of {said_s:.1f} s are there; the last {said_s - there_s:.1f} s are missing"]
    if said_s < there_s - BAR_S:
        return [f"says that it lasts {said_s:.1f} s, but {there_s:.1f} s of sound are there, as when a recorder loses power; all are read"]
    return []


# ---- chunks: WAV, AIFF, CAF, and AU, which has only one


class _Chunk(NamedTuple):
    name: bytes
    start: int  # first byte of its content
    length: int  # as it says


def _chunks(content: Content, first: int, header: str) -> Iterator[_Chunk]:
    """The chunks of a file that begin one after the other from `first`; `header` is the struct of name and length."""
    at, size, padded = first, struct.calcsize(header), header != ">4sq"
    while at + size <= len(content):
        name, length = struct.unpack_from(header, content, at)
        yield _Chunk(name, at + size, length)
        if length < 0:
            return
        at += size + length + (length % 2 if padded else 0)


def _ends_well(content: Content, end: int, header: str) -> bool:
    """Test whether a chunk, or nothing worth a word, follows at `end`."""
    rest = len(content) - end
    if rest < JUNK_BYTES:
        return True
    if content[end : end + 4].startswith((b"TAG", b"ID3", b"APET")) or not any(content[end : end + JUNK_BYTES]):
        return True
    return _is_chunk(content, end, header)


def _sound_end(content: Content, chunk: _Chunk, header: str, *, streamed: int = STREAMED) -> int:
    """Find the real end of a chunk's sound."""
    end = chunk.start + chunk.length
    if chunk.length < 0 or chunk.length >= streamed or end > len(content):
        return len(content)
    if chunk.length == 0 and not _is_chunk(content, end, header) and len(content) > end:
        return len(content)
    padded = end + (chunk.length % 2)
    return end if _ends_well(content, end, header) or _ends_well(content, padded, header) else len(content)


def _is_chunk(content: Content, at: int, header: str) -> bool:
    rest = len(content) - at - struct.calcsize(header)
    if rest < 0:
        return False
    name, length = struct.unpack_from(header, content, at)
    return all(0x20 <= letter < 0x7F for letter in name) and 0 <= length <= rest + 1


def _riff(content: Content, first: int = 0, before: int = 0) -> Findings:
    """WAV and RF64 (BW64) from `first` on, behind `before` others; also several one after the other."""
    header, found, kept = "<4sI", Findings(), first + 12
    byte_rate, wide = 0, -1
    for chunk in _chunks(content, first + 12, header):
        if chunk.name == b"ds64" and chunk.length >= 16:
            wide = struct.unpack_from("<Q", content, chunk.start + 8)[0]
            kept = chunk.start + chunk.length
        elif chunk.name == b"fmt " and chunk.length >= 16:
            byte_rate = struct.unpack_from("<I", content, chunk.start + 8)[0]
        elif chunk.name == b"data":
            said = wide if wide >= 0 and chunk.length == 0xFFFF_FFFF else chunk.length
            asked = _Chunk(chunk.name, chunk.start, said)
            end = _sound_end(content, asked, header, streamed=1 << 62 if wide > 0 else STREAMED)
            return _mended_riff(content, kept, asked, end, byte_rate, before)
    return found


def _mended_riff(content: Content, kept: int, chunk: _Chunk, end: int, byte_rate: int, before: int) -> Findings:
    found, there, said = Findings(), end - chunk.start, chunk.length
    if byte_rate and said < STREAMED:
        found.notes += _compare(said / byte_rate, there / byte_rate)
    following = chunk.start + said + said % 2
    joined = end < len(content) and content[following : following + 4] in (b"RIFF", b"RF64", b"BW64")
    if there <= said and not joined and not (said == 0xFFFF_FFFF and there > BIGGEST_RIFF):
        return found
    found.parts.append(ByteRange(_riff_head(content[kept : chunk.start - 8], there), chunk.start, end))
    if joined:
        more = _riff(content, following, before + 1) if before < MOST_RIFFS else Findings()
        found.parts += more.parts or [ByteRange(b"", following, len(content))]
        found.notes += more.notes
    return found


def _riff_head(chunks: bytes, n_bytes: int) -> bytes:
    """The beginning of a WAV file, and of RF64 if it is too long for one."""
    if n_bytes + len(chunks) < BIGGEST_RIFF:
        return b"RIFF" + struct.pack("<I", n_bytes + len(chunks) + 12) + b"WAVE" + chunks + b"data" + struct.pack("<I", n_bytes)
    wide = b"ds64" + struct.pack("<IQQQI", 28, n_bytes + len(chunks) + 48, n_bytes, 0, 0)
    unknown = struct.pack("<I", 0xFFFF_FFFF)
    return b"RF64" + unknown + b"WAVE" + wide + chunks + b"data" + unknown


def _aiff(content: Content) -> Findings:
    """AIFF and AIFC of plain samples."""
    header, found, byte_rate, n_bytes = ">4sI", Findings(), 0.0, 0.0
    if content[8:11] != b"AIF":
        return found
    for chunk in _chunks(content, 12, header):
        if chunk.name == b"COMM" and chunk.length >= 18:
            channels, n_frames, bits = struct.unpack_from(">hIh", content, chunk.start)
            plain = content[8:12] == b"AIFF" or content[chunk.start + 18 : chunk.start + 22].upper() in _PLAIN_AIFC
            byte_rate = channels * -(-bits // 8) * _extended(content[chunk.start + 8 : chunk.start + 18]) if plain else 0.0
            n_bytes = n_frames * channels * -(-bits // 8)
        elif chunk.name == b"SSND" and byte_rate > 0:
            end = _sound_end(content, chunk, header)
            there, said = end - chunk.start - 8, max(chunk.length - 8, 0)
            found.notes += _compare(min(said, n_bytes) / byte_rate if there <= said or not said else said / byte_rate, there / byte_rate)
            if there > said > 0:  # libsndfile itself mends a size of 0
                sizes = struct.pack(">I", min(end - 8, 0xFFFF_FFFF)), struct.pack(">I", there + 8)
                found.parts.append(ByteRange(content[:4] + sizes[0] + content[8 : chunk.start - 4] + sizes[1], chunk.start, end))
            return found
    return found


_PLAIN_AIFC = (b"NONE", b"SOWT", b"TWOS", b"RAW ", b"FL32", b"FL64", b"IN24", b"IN32")


def _extended(number: bytes) -> float:
    """An 80 bit number of AIFF."""
    exponent, mantissa = struct.unpack(">HQ", number)
    return float(mantissa) * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63) if mantissa and exponent < 0x4050 else 0.0


def _caf(content: Content) -> Findings:
    """CAF of plain samples: libsndfile refuses the length -1, which recorders write until they know it."""
    header, found, byte_rate = ">4sq", Findings(), 0.0
    for chunk in _chunks(content, 8, header):
        if chunk.name == b"desc" and chunk.length >= 32:
            rate, kind, _, packet, per_packet = struct.unpack_from(">d4sIII", content, chunk.start)
            byte_rate = rate * packet / max(per_packet, 1) if kind == b"lpcm" else 0.0
        elif chunk.name == b"data" and byte_rate > 0:
            end = _sound_end(content, chunk, header, streamed=1 << 62)
            there, said = end - chunk.start, chunk.length
            if said == there:
                return found
            found.notes += _compare(max(said, 0) / byte_rate, there / byte_rate)
            found.parts.append(ByteRange(content[: chunk.start - 8] + struct.pack(">q", there), chunk.start, end))
            return found
    return found


def _au(content: Content) -> Findings:
    found = Findings()
    if len(content) < 24:
        return found
    order = ">" if content[:4] == b".snd" else "<"
    offset, said, _, rate, channels = struct.unpack_from(f"{order}5I", content, 4)
    there, width = len(content) - offset, _AU_BYTES.get(struct.unpack_from(f"{order}I", content, 12)[0], 0)
    if said >= STREAMED or not width * rate * channels or offset < 24 or there <= 0:
        return found
    byte_rate, longer = width * rate * channels, there > said + JUNK_BYTES or not said
    if longer or there < said:
        found.notes += _compare(said / byte_rate, there / byte_rate)
    if longer:
        found.parts.append(ByteRange(content[:8] + struct.pack(f"{order}I", 0xFFFF_FFFF) + content[12:offset], offset, len(content)))
    return found


def _w64(content: Content) -> Findings:
    """Wave64: names of 16 bytes, and lengths that count names and lengths as well."""
    found, at, byte_rate, head = Findings(), 40, 0, 24
    while at + head <= len(content):
        name, length = content[at : at + 4], int.from_bytes(content[at + 16 : at + head], "little")
        if name == b"fmt ":
            byte_rate = struct.unpack_from("<I", content, at + head + 8)[0]
        elif name == b"data" and byte_rate:
            there, said = len(content) - at - head, max(length - head, 0)
            after = at + head + said + -said % 8
            following = content[after : after + 4]
            if said < there and (there - said < JUNK_BYTES or (said and following.isalnum())):
                return found
            found.notes += _compare(said / byte_rate, there / byte_rate)
            if said < there:
                found.parts.append(ByteRange(content[: at + 16] + (there + head).to_bytes(8, "little"), at + head, len(content)))
            return found
        at += max(length + -length % 8, head)
    return found


_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


# ---- Ogg


def _ogg(content: Content) -> Findings:
    """Streams chained one after the other, of which libsndfile reads the first."""
    links, at, whole, ended, beginning = [0], 0, 0, False, True
    while (at := content.find(b"OggS", at)) >= 0 and at + 27 <= len(content):
        table = content[at + 27 : at + 27 + content[at + 26]]
        end = at + 27 + len(table) + sum(table)
        if content[at + 4] or end > len(content):
            break
        first_of_stream = bool(content[at + 5] & 2)
        if first_of_stream and not beginning:
            links.append(at)
        beginning, ended, whole, at = first_of_stream, bool(content[at + 5] & 4), end, end
    found = Findings()
    if not ended and whole:
        found.notes.append("has no end mark, so it was cut off, or recorded from a broadcast; what is there is read")
    if len(links) > 1:
        found.parts = [ByteRange(b"", first, last) for first, last in zip(links, [*links[1:], whole], strict=True)]
    return found


# ---- FLAC


def _flac(content: Content) -> Findings:
    """One FLAC file, or several one after the other."""
    starts, found = [0, *_places(content, b"fLaC\x00\x00\x00\x22")], Findings()
    bounds = list(zip(starts, [*starts[1:], len(content)], strict=True))
    parts = [_one_flac(content, first, last, found) for first, last in bounds]
    if any(part.head for part in parts) or len(parts) > 1:
        found.parts = parts
    return found


def _places(content: Content, mark: bytes) -> list[int]:
    """Positions of a mark after the beginning; what was looked through is not kept in memory."""
    found, step = [], 1 << 24
    for first in range(0, len(content), step):
        at = max(first - len(mark), 0)
        while (at := content.find(mark, at + 1, first + step)) > 0:
            found.append(at)
        if isinstance(content, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            content.madvise(mmap.MADV_DONTNEED, first, min(step, len(content) - first))
    return found


def _one_flac(content: Content, first: int, last: int, found: Findings) -> ByteRange:
    """A FLAC file with the length that it has, instead of the one that it was to have."""
    whole = ByteRange(b"", first, last)
    if last - first < 42 or content[first : first + 4] != b"fLaC":
        return whole
    info = content[first + 18 : first + 26]
    rate, said = int.from_bytes(info[:3], "big") >> 4, int.from_bytes(info, "big") & (1 << 36) - 1
    there, end = _flac_end(content, first, last)
    if not there or not rate or there == said:
        return whole
    found.notes += _compare(said / rate, there / rate) if said else []
    number = (int.from_bytes(info, "big") >> 36 << 36 | there).to_bytes(8, "big")
    return ByteRange(content[first : first + 18] + number + bytes(16), first + 42, end)


def _flac_end(content: Content, first: int, last: int) -> tuple[int, int]:
    """Samples and end (in bytes) of the last whole frame; 0 samples if there is none to be sure of."""
    block_size = int.from_bytes(content[first + 8 : first + 10], "big")
    longest = int.from_bytes(content[first + 15 : first + 18], "big") or 4 * block_size * 2
    tail = max(last - 3 * longest - 4096, first + 42)
    frames = list(_flac_frames(content, tail, last, block_size))
    for earlier, later in zip(reversed(frames[:-1]), reversed(frames[1:]), strict=True):
        if _is_whole(content, earlier[0], later[0]):
            junk = 128 if content[last - 128 : last - 125] == b"TAG" else 0
            complete = _is_whole(content, later[0], last - junk)
            return (later[1], last - junk) if complete else (earlier[1], later[0])
    return (frames[0][1], last) if frames and _is_whole(content, frames[0][0], last) else (0, last)


def _flac_frames(content: Content, first: int, last: int, block_size: int) -> Iterator[tuple[int, int]]:
    """Positions where frames seem to begin, and the samples up to their ends; a few are none."""
    at = first
    while (at := content.find(b"\xff", at, last - 8)) >= 0:
        if content[at + 1] in (0xF8, 0xF9) and (n_samples := _flac_header(content[at : at + 16], block_size)):
            yield at, n_samples
        at += 1


def _flac_header(header: bytes, block_size: int) -> int:
    """Samples up to the end of the frame that begins so; 0: it is none."""
    code, rate_code, number = header[2] >> 4, header[2] & 15, header[4]
    n_more = 0 if number < 0x80 else max(8 - (number ^ 0xFF).bit_length() - 1, 0)
    if code == 0 or rate_code == 15 or header[3] & 1 or n_more > 6 or (number >= 0x80 and n_more == 0):
        return 0
    value = number & (0x7F if not n_more else (1 << (6 - n_more)) - 1)
    for byte in header[5 : 5 + n_more]:
        value = value << 6 | byte & 0x3F
    at = 5 + n_more
    sizes = {1: 192, **{i: 576 << (i - 2) for i in range(2, 6)}, **{i: 256 << (i - 8) for i in range(8, 16)}}
    width = {6: 1, 7: 2}.get(code, 0)
    length = sizes.get(code) or int.from_bytes(header[at : at + width], "big") + 1
    at += width + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return 0
    return (value if header[1] & 1 else value * block_size) + length


def _is_whole(content: Content, first: int, last: int) -> bool:
    """Test whether a frame of FLAC lies between, with the check sum that it should have."""
    return last - first > 8 and _crc16(content[first : last - 2]) == int.from_bytes(content[last - 2 : last], "big")


def _crc8(content: bytes) -> int:
    table, value = _crc_table(8, 0x07), 0
    for byte in content:
        value = table[value ^ byte]
    return value


def _crc16(content: bytes) -> int:
    table, value = _crc16_of_words(), 0
    for (word,) in struct.iter_unpack(">H", bytes(len(content) % 2) + content):  # a zero before it changes nothing
        value = table[value ^ word]
    return value


@lru_cache
def _crc16_of_words() -> list[int]:
    """Check sums of all pairs of bytes: frames are read by two bytes at a time."""
    table = _crc_table(16, 0x8005)
    return [(first << 8 & 0xFFFF) ^ table[first >> 8 ^ byte] for first in table for byte in range(256)]


@lru_cache
def _crc_table(width: int, polynomial: int) -> list[int]:
    table, mask = [], (1 << width) - 1
    for value in range(256):
        value <<= width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (width - 1) else 0)) & mask
        table.append(value)
    return table


# ---- MPEG: MP3, and MP2


class _Run(NamedTuple):
    """Frames of one stream: first byte, byte after the last, samples, rate [Hz], and where its Xing tag is (0: it has none)."""

    start: int
    end: int
    n_samples: int
    rate: int
    tag: int
    steady: bool  # of one bit rate, so that libsndfile's guess of the length is right
    holes: tuple[tuple[int, int], ...] = ()  # bytes between its frames that are none


def _is_mpeg(start: bytes) -> bool:
    return start[:3] == b"ID3" or (len(start) > 3 and (start[0], start[1] & 0xE0) == (0xFF, 0xE0) and bool(_frame(start[1], start[2])))


def _frame(second: int, third: int) -> tuple[int, int, int] | None:
    """Bytes, samples and rate of an MPEG audio frame, of its header's second and third byte."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    if version == 1 or layer == 4 or third >> 4 in (0, 15) or third >> 2 & 3 == 3:
        return None
    rate = (44100, 48000, 32000)[third >> 2 & 3] >> (0 if version == 3 else 1 if version == 2 else 2)
    kilobits = _BITRATES[layer if version == 3 else 4 if layer == 1 else 5][third >> 4]
    padding = third >> 1 & 1
    if layer == 1:
        return (12000 * kilobits // rate + padding) * 4, 384, rate
    n_samples = 1152 if version == 3 or layer == 2 else 576
    return n_samples * 125 * kilobits // rate + padding, n_samples, rate


_BITRATES = {
    1: (0, *range(32, 449, 32)),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    4: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    5: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_FRAMES = {(second, third): frame for second in range(0xE0, 256) for third in range(256) if (frame := _frame(second, third))}


def _mpeg(content: Content) -> Findings:
    """MPEG streams one after the other, each with the number of frames that it has."""
    found, runs = Findings(), [run for run in _mpeg_runs(content) if run.n_samples]
    for run in runs:
        _, per_frame, _ = _FRAMES[content[run.start + 1], content[run.start + 2]]
        n_frames = run.n_samples // per_frame
        said = int.from_bytes(content[run.tag + 8 : run.tag + 12], "big") if run.tag and content[run.tag + 7] & 1 else None
        if said is not None and abs(said - n_frames) > 1 and len(runs) == 1:
            found.notes += _compare(said * per_frame / run.rate, run.n_samples / run.rate)
        right = run.steady if said is None else abs(said - n_frames) <= 1
        found.parts.append(ByteRange(b"", run.start, run.end, run.holes) if right else _counted(content, run, n_frames))
    if len(runs) == 1 and not found.parts[0].head and not runs[0].holes:
        found.parts.clear()
    return found


def _counted(content: Content, run: _Run, n_frames: int) -> ByteRange:
    """A stream with the counts in its Xing tag put right; or with a frame that has such a tag before it, if it has none."""
    n_bytes = run.end - run.start - sum(last - first for first, last in run.holes)
    if run.tag and content[run.tag + 7] & 3 == 3:
        return ByteRange(content[run.start : run.tag + 8] + struct.pack(">II", n_frames, n_bytes), run.tag + 16, run.end, run.holes)
    size, _, _ = _FRAMES[content[run.start + 1], content[run.start + 2]]
    header = bytes((0xFF, content[run.start + 1] | 1, content[run.start + 2], content[run.start + 3]))  # without a check sum
    tag = header + bytes(_side_bytes(header)) + b"Xing" + struct.pack(">III", 3, n_frames, n_bytes + size)
    return ByteRange(tag + bytes(max(size - len(tag), 0)), run.start, run.end, run.holes)


def _side_bytes(header: bytes) -> int:
    """Number of bytes between a frame's header and a Xing tag in it."""
    mono, newest = header[3] >> 6 == 3, header[1] >> 3 & 3 == 3
    return (17 if mono else 32) if newest else (9 if mono else 17)


def _mpeg_runs(content: Content) -> Iterator[_Run]:
    """Streams of frames; a new one begins at a Xing, Info or VBRI tag, or where a tag of names (ID3) or another rate comes between."""
    at, size, run = 0, len(content), None
    holes: list[tuple[int, int]] = []
    kind = (0, 0)
    while at + 4 <= size:
        frame = _FRAMES.get((content[at + 1], content[at + 2])) if content[at] == 0xFF else None
        after_junk = run is None or at > run.end
        if frame is None or (after_junk and not _followed(content, at, frame)):
            if run and content[at : at + 3] == b"ID3":
                yield run._replace(holes=tuple(holes))
                run = None
            at = _after_junk(content, at)
            continue
        tag = _tag(content, at)
        if run and (tag or frame[2] != run.rate):
            yield run._replace(holes=tuple(holes))
            run = None
        if run is None:
            run, holes = _Run(at + (frame[0] if tag < 0 else 0), at, 0, frame[2], max(tag, 0), True), []
            kind = (content[at + 1], content[at + 2] >> 4)
        elif after_junk:
            holes.append((run.end, at))
        steady = run.steady and (content[at + 1], content[at + 2] >> 4) == kind
        at += frame[0]
        run = run._replace(end=min(at, size), n_samples=run.n_samples + (0 if tag else frame[1]), steady=steady)
    if run and run.n_samples:
        yield run._replace(holes=tuple(holes))


def _tag(content: Content, at: int) -> int:
    """Position of a frame's Xing tag; -1: it has a VBRI tag; 0: it is sound."""
    place = at + 4 + _side_bytes(content[at : at + 4])
    if content[place : place + 4] in (b"Xing", b"Info"):
        return place
    return -1 if content[at + 36 : at + 40] == b"VBRI" else 0


def _followed(content: Content, at: int, frame: tuple[int, int, int]) -> bool:
    """Test whether another frame of the same kind comes after one that seems to be one."""
    following = at + frame[0]
    if following + 3 > len(content):
        return following == len(content)
    other = _FRAMES.get((content[following + 1], content[following + 2])) if content[following] == 0xFF else None
    return other is not None and other[2] == frame[2]


def _after_junk(content: Content, at: int) -> int:
    """Next position to look at: after tags of names, or at the next byte that may begin a frame."""
    if content[at : at + 3] == b"ID3" and at + 10 <= len(content):
        a, b, c, d = content[at + 6 : at + 10]
        return at + 10 + (a << 21 | b << 14 | c << 7 | d)
    if content[at : at + 3] == b"TAG":
        return at + 128
    following = content.find(b"\xff", at + 1)
    names = content.find(b"ID3", at + 1, following if following >= 0 else len(content))
    return names if names >= 0 else following if following >= 0 else len(content)


_KINDS = {
    b"RIFF": _riff,
    b"RF64": _riff,
    b"BW64": _riff,
    b"FORM": _aiff,
    b"caff": _caf,
    b".snd": _au,
    b"dns.": _au,
    b"riff": _w64,
    b"OggS": _ogg,
    b"fLaC": _flac,
}
