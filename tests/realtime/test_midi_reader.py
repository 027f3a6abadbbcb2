"""MIDI files as they should not be: what is there is read, what is missing is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from midi_bytes import A4, C5, D5, END, midi, off, on, riff, track, vlq

from tonetransfer.errors import ControlsError
from tonetransfer.realtime.midi_reader import MidiFile, read_midi

SONG = track((0, on(A4)), (480, off(A4)), (0, on(C5)), (480, off(C5)), END)
NOTES = [(0.0, A4), (0.5, C5)]


def read(tmp_path: Path, content: bytes) -> MidiFile:
    path = tmp_path / "a.mid"
    path.write_bytes(content)
    return read_midi(path)


def notes(file: MidiFile) -> list[tuple[float, int]]:
    return sorted(
        (round(e.time_s, 6), e.message.note) for events in file.tracks for e in events if e.message.type == "note_on" and e.message.velocity
    )


UNUSUAL = {
    "type 1": midi(SONG),
    "type 0": midi(SONG, kind=0),
    "type 7": midi(SONG, kind=7),
    "RIFF": riff(midi(SONG)),
    "MacBinary": b"\0" * 128 + midi(SONG),
    "longer header": midi(SONG).replace(b"\0\0\0\6", b"\0\0\0\x0a", 1).replace(b"\1\xe0MTrk", b"\1\xe0\0\0\0\0MTrk"),
    "header without end": midi(SONG).replace(b"\0\0\0\6", b"\xff\xff\xff\xff", 1),
    "more tracks than are promised": midi(track(END), SONG, count=1),
    "foreign chunk": midi(b"XFIH\0\0\0\2ab" + SONG),
    "rubbish before": midi(b"rubbish" + SONG),
    "rubbish after": midi(SONG + b"\0\0\0"),
    "no end of track": midi(track((0, on(A4)), (480, off(A4)), (0, on(C5)), (480, off(C5)))),
    "signatures there are none of": midi(track((0, b"\xff\x59\x02\x0e\x07"), (0, b"\xff\x59\x00"), (0, b"\xff\x58\x01\0"), END), SONG),
    "system messages": midi(track((0, b"\xf0\x03\x41\x10\xf7"), (0, b"\xf2\1\2"), (0, b"\xfe"), (0, b"\xff\x7f\x02\xff\xff"), END), SONG),
    "running status": midi(
        track((0, b"\x90\x45\x64"), (480, b"\x45\x00"), (0, b"\xff\x01\x01a"), (0, b"\x48\x64"), (480, b"\x48\x00"), END)
    ),
    "time code": midi(SONG, division=0xE728),  # 25 frames of 40 ticks, 1000 a second
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_read_without_a_word(tmp_path: Path, name: str) -> None:
    file = read(tmp_path, UNUSUAL[name])
    wanted = [(0.0, A4), (0.48, C5)] if name == "time code" else NOTES
    assert notes(file) == wanted and file.faults == ()


@pytest.mark.parametrize(("length", "told"), [(0, 0), (5, 0), (30, 0), (1 << 31, 0)])
@pytest.mark.parametrize("following", [0, 1])
def test_lengths_of_tracks_may_lie(tmp_path: Path, length: int, told: int, following: int) -> None:
    first = track((0, on(A4)), (480, off(A4)), (0, on(C5)), (480, off(C5)), END, length=length)
    other = track((0, on(D5)), (480, off(D5)), END)
    file = read(tmp_path, midi(first, *[other] * following))
    assert notes(file) == [(0.0, A4), *[(0.0, D5)] * following, (0.5, C5)] and len(file.faults) == told


@pytest.mark.parametrize(
    ("content", "wanted", "fault"),
    [
        (midi(SONG, count=3), NOTES, "1 of the 3 tracks are there"),
        (midi(SONG, division=0), NOTES, "no time base"),
        (SONG, NOTES, "header is missing"),
        (midi(SONG)[:-14], NOTES[:1], "cut off"),
        (midi(SONG)[:-6], NOTES, "cut off"),
        (midi(track((0, b"\xb0\x07\xff"), (0, on(A4)), (480, off(A4)), (0, on(C5)), (480, off(C5)), END)), NOTES, "over 127"),
        (midi(track((0, b"\xff\x51\x03\0\0\0"), END), SONG), NOTES, "tempo"),
        (midi(track((0, b"\xff\x51\x01\x05"), END), SONG), NOTES, "tempo"),
        (midi(track((0, b"\x45\x64"), END), SONG), NOTES, "belong to no event"),
        (midi(SONG, track((0, on(D5)), (0, b"\xff\x01" + vlq(1 << 27)))), [(0.0, A4), (0.0, D5), (0.5, C5)], "reaches beyond its track"),
        (midi(SONG, track((0, on(D5)), (480, off(D5)), END), kind=2), [*NOTES, (1.0, D5)], "2 sequences"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, content: bytes, wanted: list[tuple[float, int]], fault: str) -> None:
    file = read(tmp_path, content)
    assert notes(file) == wanted and len(file.faults) == 1 and fault in file.faults[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"not MIDI at all", "does not begin as one"),
        (midi()[:9], "ends after 9 bytes"),
        (midi(), "no track"),
        (b"RIFF\x10\0\0\0WAVEdata\0\0\0\0", "does not begin as one"),
    ],
)
def test_what_is_no_midi_file(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(ControlsError, match=f"a.mid cannot be read as MIDI .*{why}"):
        read(tmp_path, content)


def test_sequences_of_type_2_leave_nothing_behind(tmp_path: Path) -> None:
    first = track((0, b"\xff\x51\x03\x0f\x42\x40"), (0, b"\xb3\x40\x7f"), (480, on(A4, 3)), (480, END[1]))  # 60 beats a minute
    file = read(tmp_path, midi(first, SONG, kind=2))
    assert notes(file) == [(1.0, A4), (2.0, A4), (2.5, C5)]
    ended = [e for e in file.tracks[0] if e.message.type == "control_change" and e.message.channel == 3][1:]
    assert [(e.time_s, e.message.control) for e in ended] == [(2.0, 120), (2.0, 121)]


def test_ports_have_channels_of_their_own_where_that_matters(tmp_path: Path) -> None:
    second = (0, b"\xff\x21\x01\x01")
    file = read(tmp_path, midi(SONG, track(second, (0, on(D5)), (480, off(D5)), END)))
    assert file.tracks[1][0].message.channel == 16
    file = read(tmp_path, midi(SONG, track(second, (0, on(D5, 2)), (480, off(D5, 2)), END)))
    assert file.tracks[1][0].message.channel == 2


def test_what_is_too_much_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonetransfer.realtime.midi_reader.MOST_MESSAGES", 3)
    with pytest.raises(ControlsError, match="over 3 messages"):
        read(tmp_path, midi(SONG))
    monkeypatch.setattr("tonetransfer.realtime.midi_reader.LARGEST_BYTES", 10)
    with pytest.raises(ControlsError, match="of at most 0 MB"):
        read(tmp_path, midi(SONG))


def test_tempo_changes_of_any_track_hold_for_all(tmp_path: Path) -> None:
    tempo = track((240, b"\xff\x51\x03\x0f\x42\x40"), END)
    assert notes(read(tmp_path, midi(tempo, SONG))) == [(0.0, A4), (0.75, C5)]
