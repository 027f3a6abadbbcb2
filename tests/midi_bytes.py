"""MIDI files byte by byte, right and wrong ones."""

from __future__ import annotations

Piece = tuple[int, bytes]  # ticks since the one before, and an event
END: Piece = (0, b"\xff\x2f\x00")
A4, C5, D5, E5 = 69, 72, 74, 76


def vlq(number: int) -> bytes:
    """A number of variable length."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | number & 0x7F)
    return bytes(reversed(groups))


def on(note: int, channel: int = 0, velocity: int = 100) -> bytes:
    """A note begins."""
    return bytes([0x90 | channel, note, velocity])


def off(note: int, channel: int = 0) -> bytes:
    """A note ends."""
    return bytes([0x80 | channel, note, 0])


def control(number: int, value: int, channel: int = 0) -> bytes:
    """A controller moves."""
    return bytes([0xB0 | channel, number, value])


def wheel(value: int, channel: int = 0) -> bytes:
    """The pitch wheel stands at a value, 0 to 16383."""
    return bytes([0xE0 | channel, value & 0x7F, value >> 7])


def parameter(coarse: int, fine: int, *entries: bytes, channel: int = 0, registered: bool = True) -> list[Piece]:
    """A parameter is selected, and data entered."""
    select = (101, 100) if registered else (99, 98)
    first = [control(select[0], coarse, channel), control(select[1], fine, channel)]
    return [(0, one) for one in (*first, *entries)]


def track(*pieces: Piece, length: int | None = None) -> bytes:
    """A track; `length` is what its header says, if it lies."""
    body = b"".join(vlq(delta) + event for delta, event in pieces)
    return b"MTrk" + (len(body) if length is None else length).to_bytes(4) + body


def midi(*tracks: bytes, kind: int = 1, count: int | None = None, division: int = 480) -> bytes:
    """A file of tracks, 480 ticks a beat, 120 beats a minute."""
    head = kind.to_bytes(2) + (len(tracks) if count is None else count).to_bytes(2) + division.to_bytes(2)
    return b"MThd" + len(head).to_bytes(4) + head + b"".join(tracks)


def riff(content: bytes) -> bytes:
    """A MIDI file in a RIFF file, between other chunks."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)

    return chunk(b"RIFF", b"RMID" + chunk(b"LIST", b"INFOINAM\4\0\0\0song") + chunk(b"data", content) + chunk(b"DISP", b"MTrk!"))
