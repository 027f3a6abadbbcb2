"""MIDI files of performances: other programs read the same notes, pitches and levels at the same instants."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from command_line import Run, as_json, check_refused
from conftest import SAMPLE_RATE, make_controls, melody

import tonetransfer as tt
from tonetransfer.analysis.notes import Note
from tonetransfer.audio.units import hz_to_midi, midi_to_hz
from tonetransfer.errors import ControlsError
from tonetransfer.realtime.midi_files import read_score
from tonetransfer.realtime.midi_writer import write_midi

NOTES = [Note(0, 80), Note(100, 180), Note(200, 280)]


def sung() -> tt.Controls:
    """Three notes: one with vibrato, one 30 cents flat, one that slides up by five semitones in its end; swells of 3 dB."""
    controls = make_controls([69.0, 63.7, 72.0], [-20.0, -26.0, -32.0], seconds=0.8)
    midi = hz_to_midi(controls.f0_hz.double())
    t = torch.arange(80) / 100.0
    midi[:80] += 0.6 * torch.sin(2 * torch.pi * 5.5 * t)
    midi[200:280] += 5.0 * ((t - 0.6) / 0.2).clamp(0.0, 1.0)
    return replace(controls, f0_hz=midi_to_hz(midi).float())


def heard(path: Path, rate: float, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """What a synthesizer would play of a MIDI file: pitch [MIDI number] and level [dB re velocity and expression 127], NaN in rests."""
    file, clock, span = mido.MidiFile(path), 0.0, 0.0
    number: dict[int, int] = {}
    key, velocity, bend, expression = None, 0, 0, 127
    pitch, level = np.full(n_frames, np.nan), np.full(n_frames, np.nan)
    for message in file:
        frames = slice(round(clock * rate), round((clock + message.time) * rate))
        if key is not None:
            pitch[frames] = key + span * bend / 8192.0
            level[frames] = 40.0 * np.log10(velocity / 127.0 * expression / 127.0)
        clock += message.time
        if message.type == "control_change":
            number[message.control] = message.value
            if message.control == 6:
                assert number[101] == 0 and number[100] == 0
                span = float(message.value)
            expression = message.value if message.control == 11 else expression
        elif message.type == "pitchwheel":
            bend = message.pitch
        elif message.type == "note_on":
            assert key is None and message.velocity
            key, velocity = message.note, message.velocity
        elif message.type == "note_off":
            assert key == message.note
            key = None
    assert key is None and abs(clock - n_frames / rate) < 1e-9
    return pitch, level


def test_pitch_and_level_come_back_to_the_cent(tmp_path: Path) -> None:
    controls = sung()
    assert tt.write_midi(tmp_path / "sung.mid", controls, NOTES, name="Sung") == 3
    pitch, level = heard(tmp_path / "sung.mid", 100.0, controls.n_frames)
    notes = controls.note_frames().numpy()
    assert (np.isfinite(pitch) == notes).all()
    assert np.abs(pitch - hz_to_midi(controls.f0_hz.double().numpy()))[notes].max() < 0.01
    wanted = controls.loudness_db.double().numpy()
    assert np.abs(level - (wanted - wanted[notes].max()))[notes].max() < 0.5  # what steps of 7 bits allow
    struck = [one for one in mido.MidiFile(tmp_path / "sung.mid") if one.type == "note_on"]
    assert [one.note for one in struck] == [69, 64, 72] and struck[0].velocity == 127 > struck[1].velocity > struck[2].velocity


def test_the_wheel_reaches_as_far_as_it_must(tmp_path: Path) -> None:
    plain, slide = make_controls([60.0, 61.4], [-20.0, -20.0]), sung()
    for controls, notes, reach in ((plain, None, 2), (slide, NOTES, 12)):
        tt.write_midi(tmp_path / "x.mid", controls, notes, overwrite=True)
        assert [one.value for one in mido.MidiFile(tmp_path / "x.mid") if one.type == "control_change" and one.control == 6] == [reach]
    bends = [one for one in mido.MidiFile(tmp_path / "x.mid") if one.type == "pitchwheel"]
    assert len(bends) < 140  # where nothing moves, nothing is written


def test_our_own_reader_takes_it(tmp_path: Path) -> None:
    tt.write_midi(tmp_path / "sung.mid", sung(), NOTES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (part,) = read_score(tmp_path / "sung.mid")
    assert part.pitches.tolist() == [69, 64, 72]
    times = [event.time_s for event in part.notes]
    assert np.allclose(times, [0.0, 0.8, 1.0, 1.8, 2.0, 2.8], atol=1e-9)


def test_silence_has_no_notes_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    silence = make_controls([60.0], [-120.0], noise_db=-120.0)
    assert write_midi(tmp_path / "silence.mid", silence) == 0
    assert not [one for one in mido.MidiFile(tmp_path / "silence.mid") if one.type == "note_on"]
    with pytest.raises(ControlsError, match="exists"):
        write_midi(tmp_path / "silence.mid", silence)
    with pytest.raises(ControlsError, match="ending in .mid"):
        write_midi(tmp_path / "silence.wav", silence)
    with pytest.raises(ControlsError, match="one performance"):
        twice = {name: torch.stack([getattr(silence, name)] * 2) for name in ("f0_hz", "periodicity", "loudness_db")}
        write_midi(tmp_path / "two.mid", replace(silence, **twice))


def test_analyze_writes_the_notes_that_it_lists(tmp_path: Path, run: Run) -> None:
    tt.save_audio(tmp_path / "tune.wav", melody([69, 72, 76.3]), SAMPLE_RATE)
    result = as_json(run("analyze", tmp_path / "tune.wav", "--midi", tmp_path / "tune.mid", "--json"))
    notes = [one for one in mido.MidiFile(tmp_path / "tune.mid") if one.type == "note_on"]
    assert [one.note for one in notes] == [69, 72, 76] and result["note_count"] == 3 and result["midi"].endswith("tune.mid")
    check_refused(run("analyze", tmp_path / "tune.wav", "--midi", tmp_path / "tune.mid"), "tune.mid exists")
