"""MIDI files that people bring: what they sound like, heard by a tracker of another house, and what is told of them."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from midi_bytes import A4, C5, D5, E5, END, Piece, control, midi, off, on, parameter, riff, track, vlq, wheel
from test_midi_files import pure_model

from tonetransfer.audio.files import load_audio
from tonetransfer.cli.main import main
from tonetransfer.models.weights import save_model
from tonetransfer.realtime.midi_files import Part, duration_s, read_score

REST = 0.0
HALF = 480  # ticks of half a second
RANGE_12 = parameter(0, 0, control(6, 12))
LONG_A4 = [(0, on(A4)), (3 * HALF, off(A4)), END]
STEP = [(HALF, wheel(16383)), (HALF, wheel(8192))]  # up from 0.5 to 1.0 s


def note(pitch: int, ticks: int = HALF, channel: int = 0) -> list[Piece]:
    return [(0, on(pitch, channel)), (ticks, off(pitch, channel))]


def hz(pitch: float) -> float:
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


# Content; what is heard from and to [s]: a pitch [MIDI] or a rest; the length [s]; what is told.
CASES: dict[str, tuple[bytes, list[tuple[float, float, float]], float, str]] = {
    "note of no length": (
        midi(track(*note(C5, 384), (96, on(60)), (0, off(60)), (HALF, on(D5)), (384, off(D5)), END)),
        [(0.0, 0.4, C5), (0.55, 0.95, REST), (1.0, 1.4, D5), (1.6, 2.3, REST)],
        2.4,
        "1 note of no length is left out",
    ),
    "NRPN after RPN": (
        midi(
            track(*parameter(0, 0, control(6, 2)), *parameter(1, 8, control(6, 64), registered=False), (0, on(A4)), *STEP, LONG_A4[1], END)
        ),
        [(0.0, 0.5, A4), (0.5, 1.0, A4 + 2), (1.0, 1.5, A4)],
        3.5,
        "",
    ),
    "cents of a bend range": (
        midi(track(*parameter(0, 0, control(6, 0), control(38, 50)), (0, on(A4)), *STEP, (HALF, off(A4)), END)),
        [(0.0, 0.5, A4), (0.5, 1.0, A4 + 0.5), (1.0, 1.5, A4)],
        2.5,
        "",
    ),
    "cents first": (
        midi(track(*parameter(0, 0, control(38, 50), control(6, 1)), (0, on(A4)), *STEP, (HALF, off(A4)), END)),
        [(0.0, 0.5, A4), (0.5, 1.0, A4 + 1.5), (1.0, 1.5, A4)],
        2.5,
        "",
    ),
    "tuning by RPN": (
        midi(track(*parameter(0, 1, control(6, 96), control(38, 0)), *parameter(0, 2, control(6, 76)), *note(A4), END)),
        [(0.0, 0.5, A4 + 12.5)],
        1.5,
        "",
    ),
    "no parameter selected": (
        midi(track(*parameter(127, 127, control(6, 12)), (0, on(A4)), *STEP, (HALF, off(A4)), END)),
        [(0.0, 0.5, A4), (0.5, 1.0, A4 + 2), (1.0, 1.5, A4)],
        2.5,
        "",
    ),
    "bend in another track": (
        midi(track(*RANGE_12, *STEP, END), track(*LONG_A4)),
        [(0.0, 0.5, A4), (0.5, 1.0, A4 + 12), (1.0, 1.5, A4)],
        2.5,
        "",
    ),
    "range in a third track": (
        midi(track(*LONG_A4), track(*STEP, END), track(*RANGE_12, END)),
        [(0.0, 0.5, A4), (0.5, 1.0, A4 + 12), (1.0, 1.5, A4)],
        2.5,
        "",
    ),
    "bend of another channel": (midi(track(*LONG_A4), track((0, wheel(0, 1)), END)), [(0.0, 1.5, A4)], 2.5, ""),
    "end in another track": (
        midi(track((0, on(A4)), END), track((HALF, off(A4)), *note(C5, channel=1), END)),
        [(0.0, 0.5, A4), (0.5, 1.0, C5)],
        2.0,
        "",
    ),
    "reset of all controllers": (
        midi(track((0, on(A4)), (240, wheel(16383)), (240, off(A4)), (20, control(121, 0)), (460, on(C5)), (HALF, off(C5)), END)),
        [(0.0, 0.25, A4), (0.25, 0.5, A4 + 2), (1.0, 1.5, C5)],
        2.5,
        "",
    ),
    "all notes off": (
        midi(track((0, on(A4)), (HALF, control(123, 0)), (HALF, on(C5)), (HALF, off(C5)), END)),
        [(0.0, 0.5, A4), (0.7, 0.95, REST), (1.0, 1.5, C5)],
        2.5,
        "",
    ),
    "all sound off": (
        midi(track((0, control(64, 127)), (0, on(A4)), (HALF, control(120, 0)), (0, control(64, 0)), (HALF, on(C5)), (HALF, off(C5)), END)),
        [(0.0, 0.5, A4), (0.53, 0.95, REST), (1.0, 1.5, C5)],
        2.5,
        "",
    ),
    "struck twice, ended once": (
        midi(track((0, on(A4)), (HALF, on(A4)), (HALF, off(A4)), *note(C5), (HALF, END[1]))),
        [(0.0, 0.48, A4), (0.5, 1.0, A4), (1.0, 1.5, C5), (1.7, 2.4, REST)],
        2.5,
        "",
    ),
    "struck again before it ends": (
        midi(track((0, on(A4)), (HALF, on(A4)), (20, off(A4)), (HALF - 20, off(A4)), END)),
        [(0.0, 0.48, A4), (0.55, 1.0, A4)],
        2.0,
        "",
    ),
    "never ended": (
        midi(track((0, on(A4)), (HALF, on(C5, 1)), (HALF, off(C5, 1)), END)),
        [(0.0, 0.48, A4)],
        2.0,
        "1 note without an end sounds for 10 s at most",
    ),
    "stray event": (midi(track(*note(A4), *note(C5), (200_000, control(64, 0)), END)), [(0.0, 0.5, A4), (0.5, 1.0, C5)], 2.0, ""),
    "pedal that is never lifted": (
        midi(track(*note(A4), (0, control(64, 127)), *note(C5), (2_000_000, control(1, 0)), END)),
        [(0.0, 0.5, A4), (0.5, 10.9, C5), (11.3, 11.9, REST)],
        12.0,
        "",
    ),
    "value over 127": (midi(track((0, control(7, 255)), *note(A4), *note(C5), END)), [(0.0, 0.5, A4), (0.5, 1.0, C5)], 2.0, "over 127"),
    "cut off": (
        midi(track(*note(A4), *note(C5), *note(D5), *note(E5), END))[:-16],
        [(0.0, 0.5, A4), (0.5, 1.0, C5), (1.0, 1.5, D5)],
        2.5,
        "cut off",
    ),
    "RIFF": (riff(midi(track(*note(A4), *note(C5), END))), [(0.0, 0.5, A4), (0.5, 1.0, C5)], 2.0, ""),
    "type 2": (midi(track(*note(A4), END), track(*note(C5), END), kind=2), [(0.0, 0.5, A4), (0.5, 1.0, C5)], 2.0, "one after another"),
    "key signature": (midi(track((0, b"\xff\x59\x02\x63\x09"), *note(A4), END)), [(0.0, 0.5, A4)], 1.5, ""),
    "MPE": (
        midi(
            track(
                *parameter(0, 6, control(6, 15)), (0, wheel(12288, 9)), *note(A4, channel=9), (0, wheel(16383)), *note(C5, channel=2), END
            )
        ),
        [(0.0, 0.5, A4 + 24), (0.5, 1.0, C5 + 2)],
        2.0,
        "",
    ),
    "MPE range of one member": (
        midi(
            track(
                *parameter(0, 6, control(6, 15)),
                *parameter(0, 0, control(6, 12, 1), channel=1),
                (0, wheel(16383, 4)),
                *note(A4, channel=4),
                END,
            )
        ),
        [(0.0, 0.5, A4 + 12)],
        1.5,
        "",
    ),
    "MPE of the upper channels": (
        midi(track(*parameter(0, 6, control(6, 4, 15), channel=15), (0, wheel(12288, 14)), *note(A4, channel=14), *note(C5), END)),
        [(0.0, 0.5, A4 + 24), (0.5, 1.0, C5)],
        2.0,
        "",
    ),
    "MPE switched off": (
        midi(track(*parameter(0, 6, control(6, 15)), *parameter(0, 6, control(6, 0)), (0, wheel(16383, 3)), *note(A4, channel=3), END)),
        [(0.0, 0.5, A4 + 2)],
        1.5,
        "",
    ),
    "drums": (midi(track((0, on(38, 9)), *note(A4), (0, off(38, 9)), END)), [(0.0, 0.5, A4)], 1.5, "channel 10 holds drums"),
}


@pytest.fixture(scope="module")
def pure_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pure.safetensors"
    save_model(path, pure_model(), notes={"steps": 0})
    return path


def play(path: Path, out: Path, weights: Path, *more: str) -> int:
    return main(["play", str(path), str(out), "--weights", str(weights), "--attack", "0", *(more or ("--to", "violin"))])


@pytest.mark.parametrize("name", CASES)
def test_what_is_heard(name: str, tmp_path: Path, pure_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, heard, seconds, told = CASES[name]
    path, out = tmp_path / "a.mid", tmp_path / "a.wav"
    path.write_bytes(content)
    assert play(path, out, pure_weights) == 0
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if str(path) in line]
    assert len(lines) == (1 if told else 0) and told in err, err
    sound = load_audio(out, 48000)[0].numpy()
    assert len(sound) / 48000 == pytest.approx(seconds, abs=0.001)
    f0_hz = librosa.yin(sound, fmin=100.0, fmax=2500.0, sr=48000, frame_length=2048, hop_length=480)
    for begin, end, pitch in heard:
        if pitch == REST:
            assert np.abs(sound[round(begin * 48000) : round(end * 48000)]).max() < 1e-3, (begin, end)
            continue
        span = slice(round(begin * 100) + 6, round(end * 100) - 5)
        cents = 1200.0 * np.log2(f0_hz[span] / hz(pitch))
        assert np.abs(cents).max() < 20.0, (begin, end, pitch, cents)
        assert np.abs(sound[round(begin * 48000) + 2400 : round(end * 48000) - 1000]).max() > 0.01


def parts_of(tmp_path: Path, content: bytes) -> tuple[Part, ...]:
    path = tmp_path / "a.mid"
    path.write_bytes(content)
    return read_score(path)


def lengths(parts: tuple[Part, ...]) -> list[tuple[float, float, int]]:
    found = []
    for part in parts:
        begun: dict[int, float] = {}
        for time_s, message in part.notes:
            if message.type == "note_on":
                begun[message.note] = time_s
            elif message.type == "note_off":
                found.append((begun.pop(message.note), time_s, message.note))
    return sorted(found)


def test_who_ends_whom(tmp_path: Path) -> None:
    chain = [(0, on(A4)), (440, on(A4)), (40, off(A4)), (440, on(A4)), (40, off(A4)), (480, off(A4))]
    assert lengths(parts_of(tmp_path, midi(track(*chain, END)))) == pytest.approx(
        [pytest.approx(one) for one in ((0.0, 440 / 960, A4), (440 / 960, 920 / 960, A4), (920 / 960, 1.5, A4))]
    )
    twice = [(0, on(A4)), (0, on(A4)), (HALF, off(A4)), (0, off(A4)), END]
    assert lengths(parts_of(tmp_path, midi(track(*twice)))) == [(0.0, 0.5, A4)]
    doubled = midi(track(*note(A4, 2 * HALF), END), track((240, on(A4)), (240, off(A4)), END))  # each track its own
    assert lengths(parts_of(tmp_path, doubled)) == [(0.0, 1.0, A4), (0.25, 0.5, A4)]


def test_two_thousand_notes_at_once(tmp_path: Path) -> None:
    pieces = [(0, on(number, channel)) for channel in range(16) for number in range(127)]
    ends = [(HALF if not channel + number else 0, off(number, channel)) for channel in range(16) for number in range(127)]
    with pytest.warns(UserWarning) as told:
        parts = parts_of(tmp_path, midi(track(*pieces, *ends, END)))
    assert sum(part.n_notes for part in parts) == 64
    assert "1841 notes that would sound together with 64 others are left out" in str(told[0].message) and len(told) == 1


def test_a_note_of_77_hours(tmp_path: Path, pure_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "long.mid", tmp_path / "long.wav"
    path.write_bytes(midi(track((0, on(A4)), (77 * 3600 * 960, off(A4)), END)))
    begin = time.process_time()
    assert play(path, out, pure_weights) == 0
    assert time.process_time() - begin < 20.0
    assert "77.0 hours in which no note begins or ends are shortened to 2 minutes" in capsys.readouterr().err
    assert len(load_audio(out)[0]) == 121 * 48000


def test_few_notes_are_not_hours_of_sound(tmp_path: Path) -> None:
    long = [(48_000, on(30 + i)) for i in range(20)]
    ends = [(96_000 * (i == 0), off(30 + i)) for i in range(20)]
    short = [piece for _ in range(20) for piece in note(C5)]
    with pytest.warns(UserWarning, match="20 notes of 17.5 minutes and less are shortened to 80 s") as told:
        found = lengths(parts_of(tmp_path, midi(track(*long, *ends, *short, END))))
    assert len(told) == 1 and sum(end - start for start, end, _ in found) == pytest.approx(1200 + 10 * 40)
    assert sorted(end - start for start, end, _ in found)[:21] == pytest.approx([0.5] * 20 + [79.5])


def test_a_pedal_does_not_hold_for_minutes(tmp_path: Path) -> None:
    held = track((0, control(64, 127)), (0, on(A4)), (960, off(A4)), (0, on(A4)), (48_000, off(A4)), END)
    melody = track(*[piece for _ in range(50) for piece in note(C5, 960, 1)], END)
    part = parts_of(tmp_path, midi(held, melody))[0]
    offs = [(time_s, message.control) for time_s, message in part.notes if message.type == "control_change"]
    assert offs == [(61.0, 120)]


def test_drums_that_are_out_of_order_are_not_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as told:
        parts_of(tmp_path, midi(track(*note(A4), (0, on(38, 9)), (0, off(38, 9)), (0, on(40, 9)), END)))
    assert str(told[0].message).endswith("a.mid: channel 10 holds drums, which have no pitch, and is left out")


def test_hours_of_rest_keep_the_notes_behind_them(tmp_path: Path) -> None:
    late = track(*note(A4), (10 * 3600 * 960, wheel(0)), (960, on(C5)), (HALF, off(C5)), END)
    with pytest.warns(UserWarning, match="10.0 hours"):
        parts = parts_of(tmp_path, midi(late))
    assert lengths(parts) == [(0.0, 0.5, A4), (120.5, 121.0, C5)]
    assert [e.time_s for e in parts[0].controllers] == [120.5]


def test_a_score_is_at_most_three_hours(tmp_path: Path) -> None:
    sparse = [piece for _ in range(500) for piece in ((24_000 - HALF, on(A4)), (HALF, off(A4)))]
    with pytest.warns(UserWarning, match="68 notes after 3 hours are left out"):
        parts = parts_of(tmp_path, midi(track(*sparse, END)))
    assert sum(part.n_notes for part in parts) == 432 and duration_s(parts) <= 3 * 3600.0


def test_few_notes_do_not_make_hours_of_rests(tmp_path: Path) -> None:
    sparse = [piece for _ in range(50) for piece in ((96_000, on(A4)), (HALF, off(A4)))]
    with pytest.warns(UserWarning, match="stretches of up to 100 s in which no note begins or ends are shortened to 54 s"):
        parts = parts_of(tmp_path, midi(track(*sparse, END)))
    assert duration_s(parts) == pytest.approx(1200 + 30 * 50)


def test_a_large_file_takes_time_in_proportion(tmp_path: Path) -> None:
    pieces = [piece for i in range(10_000) for piece in ((1, on(i % 127, i % 9)), (1, wheel(i % 16384, i % 9)))]
    begin = time.process_time()
    with pytest.warns(UserWarning):
        parts = parts_of(tmp_path, midi(track(*pieces, END)))
        read_score(tmp_path / "a.mid", top=True)
    assert sum(len(part.notes) for part in parts) and time.process_time() - begin < 5.0


def exclusive(text: str) -> Piece:
    body = bytes.fromhex(text) + b"\xf7"
    return 0, b"\xf0" + vlq(len(body)) + body


XG_ON = exclusive("43104c00007e00")
GS_DRUMS_ON_11, GS_MELODY_ON_10 = exclusive("41104212401a150110"), exclusive("4110421240101500 1b")


@pytest.mark.parametrize(
    ("told", "melodies"),
    [
        ([], {1, 11}),
        ([GS_DRUMS_ON_11], {1}),
        ([GS_MELODY_ON_10], {1, 10, 11}),
        ([exclusive("43104c080a0702")], {1}),  # XG: part 11 is a drum kit
        ([XG_ON, (0, control(0, 127, 10))], {1}),
        ([(0, control(0, 127, 10))], {1, 11}),  # a bank of sounds like others
        ([(0, control(0, 120, 10))], {1}),
        ([(0, control(0, 0, 9))], {1, 11}),
    ],
)
def test_drums_by_other_conventions(tmp_path: Path, told: list[Piece], melodies: set[int]) -> None:
    pieces = [(0, on(60 + channel, channel)) for channel in (0, 9, 10)] + [(HALF, off(60 + channel, channel)) for channel in (0, 9, 10)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = parts_of(tmp_path, midi(track(*told, *pieces, END), kind=0))
    assert {part.number for part in parts} == melodies


def instruments_of(found: dict[str, Any]) -> dict[str, str]:
    return {voice["name"]: voice["instrument"] for voice in found["voices"]}


def test_each_track_may_have_its_own_instrument(tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "a.mid", tmp_path / "a.wav"
    path.write_bytes(midi(track(*note(60)), track(*note(64)), track(*note(67))))
    common = ["play", str(path), str(out), "--weights", str(tiny_weights), "--overwrite", "--json"]
    assert main([*common, "--to", "violin", "--to", "2=tuba"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(instruments_of(found).values()) == ["violin", "tuba", "violin"] and found["instrument"] == "violin, tuba"
    assert main([*common, "--to", "1=tuba", "--to", "2=tuba", "--to", "3=violin"]) == 0
    assert list(instruments_of(json.loads(capsys.readouterr().out)).values()) == ["tuba", "tuba", "violin"]
    for wrong, why in (
        (("2=tuba",), "says nothing of track 1"),
        (("violin", "tuba"), "give one for all"),
        (("violin", "4=tuba"), "there are in 1, 2, 3"),
        (("violin", 5000 * "1" + "=tuba"), "give one for all"),
        (("violin", "2=tubba"), "did you mean tuba"),
    ):
        assert main([*common, *(word for one in wrong for word in ("--to", one))]) == 1
        assert why in capsys.readouterr().err


def test_in_a_file_of_one_track_numbers_are_channels(tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(midi(track(*note(60), *note(64, channel=1)), kind=0))
    command = ["play", str(path), str(tmp_path / "a.wav"), "--weights", str(tiny_weights), "--json", "--to", "violin", "--to", "2=tuba"]
    assert main(command) == 0
    assert list(instruments_of(json.loads(capsys.readouterr().out)).values()) == ["violin", "tuba"]


def test_general_midi_names_the_instruments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mid"
    programs = track((0, b"\xc1\x38"), (0, b"\xc2\x76"), END)  # trumpet; synth drum
    change = track((0, b"\xc0\x28"), *note(60), (0, b"\xc0\x2a"), *note(48), END)  # violin, then cello
    path.write_bytes(midi(programs, change, track(*note(64, channel=1)), track(*note(50, channel=2)), track(*note(38, channel=9))))
    assert main(["play", str(path), str(tmp_path / "a.wav"), "--to", "auto", "--to", "3=oboe", "--json"]) == 0
    found = capsys.readouterr()
    assert instruments_of(json.loads(found.out)) == {
        "track 2, channel 1, program 41": "violin",
        "track 2, channel 1, program 43": "cello",
        "track 3, channel 2": "oboe",
    }
    assert "holds drums" in found.err and "left out: track 4, channel 3 (program 119)" in found.err
    path.write_bytes(midi(programs, track(*note(50, channel=2))))
    assert main(["play", str(path), str(tmp_path / "b.wav"), "--to", "auto"]) == 1
    assert "name an instrument" in capsys.readouterr().err


def test_every_program_has_a_player_that_exists() -> None:
    from tonetransfer import load_model
    from tonetransfer.models.instrument_names import PLAYERS, player

    assert len(PLAYERS) == 128 and {player(n) for n in range(128)} - {None} <= set(load_model().names)
    assert [player(n) for n in (40, 56, 73, 118)] == ["violin", "trumpet", "flute", None]


def test_an_interrupted_play_leaves_nothing(
    tmp_path: Path, pure_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(midi(track(*note(A4, 100_000), END)))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tonetransfer.audio.files.AudioWriter._convert", interrupt)
    assert play(path, tmp_path / "a.wav", pure_weights) == 130
    assert "interrupted" in capsys.readouterr().err and [one.name for one in tmp_path.iterdir()] == ["a.mid"]
