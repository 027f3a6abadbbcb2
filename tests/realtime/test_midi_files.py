"""MIDI files: the right notes at the right time."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest
import torch
from conftest import make_model
from whole_recordings import track_causal

from tonetransfer.audio.files import load_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.cli.main import main
from tonetransfer.controls.profile import Target
from tonetransfer.errors import ControlsError, MissingDependencyError, SettingsError, ToneTransferWarning
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import save_model
from tonetransfer.pipeline.target import find_target
from tonetransfer.realtime import devices as live
from tonetransfer.realtime import midi_files as score
from tonetransfer.realtime import midi_playback
from tonetransfer.realtime.midi_controller import KeySettings

GRID = FrameGrid()
Row = tuple[float, float, int]  # start and end [s], note


def write(path: Path, *tracks: list[Row], tempo_at: float | None = None, channel: int = 0, velocity: int = 110) -> Path:
    """A MIDI file of tracks, 480 ticks a beat, 120 beats a minute; from `tempo_at` on half as fast."""
    file = mido.MidiFile(ticks_per_beat=480)

    def ticks(seconds: float) -> int:
        slow = max(seconds - tempo_at, 0.0) if tempo_at is not None else 0.0
        return round((seconds - slow) * 960 + slow * 480)

    if tempo_at is not None:
        meta = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1_000_000, time=ticks(tempo_at))])
        file.tracks.append(meta)
    for number, rows in enumerate(tracks):
        events = [(ticks(end), 0, mido.Message("note_off", note=note, channel=channel + number)) for _, end, note in rows]
        events += [
            (ticks(start), 1, mido.Message("note_on", note=note, velocity=velocity, channel=channel + number)) for start, _, note in rows
        ]
        clock, track = 0, mido.MidiTrack()
        for tick, _, message in sorted(events, key=lambda event: event[:2]):
            track.append(message.copy(time=tick - clock))
            clock = tick
        file.tracks.append(track)
    file.save(path)
    return path


MELODY: list[Row] = [(0.203, 0.6, 69), (0.697, 1.05, 64), (1.1, 1.5, 76), (1.5, 1.9, 72)]


def pure_model() -> TimbreModel:
    """An instrument of few strong harmonics and no noise to speak of, so that its notes can be told."""
    model = make_model(n_harmonics=6)
    model.decoder.head.weight.data *= 0.05
    model.decoder.head.bias.data[1:7] = torch.tensor([3.0, 1.0, 0.5, 0.0, -1.0, -2.0])
    model.decoder.head.bias.data[7:] = -9.0
    model.decoder.spectrum.weight.data.zero_()
    return model


def test_a_rendered_score_has_its_notes_at_their_times(tmp_path: Path) -> None:
    weights = tmp_path / "pure.safetensors"
    save_model(weights, pure_model(), notes={"steps": 0})
    out = tmp_path / "out.wav"
    path = write(tmp_path / "a.mid", MELODY, tempo_at=0.65)
    assert main(["play", str(path), str(out), "--to", "violin", "--weights", str(weights), "--attack", "0"]) == 0
    audio, _ = load_audio(out, 48000)
    f0_hz, periodicity, _ = track_causal(audio.numpy(), GRID, 480)
    for start, end, note in MELODY:
        span = slice(round(start * 100) + 5, round(end * 100) - 3)
        cents = 1200.0 * np.log2(f0_hz[span] / (440.0 * 2.0 ** ((note - 69) / 12)))
        assert np.abs(cents).max() < 15.0 and periodicity[span].min() > 0.8
    envelope = np.sqrt(np.convolve(audio.numpy() ** 2, np.ones(96) / 96, "same"))
    for start, end, _ in MELODY[:3]:  # the last follows without a rest
        n = round(start * 48000)
        sustained = np.median(envelope[n + 4800 : round(end * 48000) - 2400])
        rises = n - 2400 + int(np.flatnonzero(envelope[n - 2400 : n + 2400] < 0.5 * sustained)[-1]) + 1
        assert abs(rises - n) < 0.010 * 48000


def test_perform_is_exact(tmp_path: Path) -> None:
    (part,) = score.read_score(write(tmp_path / "a.mid", MELODY, tempo_at=0.65))
    assert part.n_notes == 4 and score.duration_s([part]) == pytest.approx(1.9, abs=0.01)
    target = Target(torch.zeros(8), torch.linspace(-50.0, -12.0, 13), release_db_per_s=2000.0)
    (phrase,) = midi_playback.perform(part.events, target, GRID, KeySettings(attack_s=0.0))
    loud = phrase.asked.loudness_db.numpy() > -60.0
    starts = np.flatnonzero(np.diff(loud.astype(int)) > 0) + 1 + phrase.first
    assert len(starts) == 3 and all(0.0 <= t / 100 - row[0] < 0.0101 for t, row in zip(starts, MELODY, strict=False))


def test_rests_cost_nothing_and_phrases_keep_their_places(tmp_path: Path) -> None:
    (part,) = score.read_score(write(tmp_path / "a.mid", [(0.02, 0.2, 69), (60.0, 60.5, 72)]))
    target = Target(torch.zeros(8), torch.linspace(-50.0, -12.0, 13), release_db_per_s=2000.0)
    one, other = midi_playback.perform(part.events, target, GRID)
    assert (one.first, other.first) == (0, 5990) and len(one.asked.f0_hz) < 200 and len(other.asked.f0_hz) < 230
    assert float(other.asked.f0_hz[20]) == pytest.approx(523.25, abs=0.1)
    model = pure_model()
    performer = midi_playback.Performer(model, find_target(model, 48000, to="violin"), KeySettings())
    sound = torch.cat(list(midi_playback.play_score([part], [performer])))
    assert len(sound) == round(61.5 * 48000) and not sound[2 * 48000 : 59 * 48000].any()
    assert sound[60 * 48000 + 4800 :][:4800].abs().max() > 0.01


def test_chords_are_divided_and_the_top_can_be_had(tmp_path: Path) -> None:
    chord = [(0.1, 0.5, 60), (0.1, 0.5, 64), (0.1, 0.5, 67), (0.5, 0.9, 62), (0.46, 0.9, 65)]
    path = write(tmp_path / "chord.mid", chord, [(0.1, 0.9, 36)])
    parts = score.read_score(path)
    assert [part.n_notes for part in parts] == [2, 2, 1, 1] and "channel 2" in parts[-1].name
    (top,) = score.read_score(path, top=True)
    assert [e.message.note for e in top.events if e.message.type == "note_on" and e.message.velocity] == [67, 65]
    model = pure_model()
    performer = midi_playback.Performer(model, find_target(model, 48000, to="violin"), KeySettings())
    sound = torch.cat(list(midi_playback.play_score(parts, [performer] * len(parts))))
    spectrum = np.abs(np.fft.rfft(sound[9600:21600].numpy() * np.hanning(12000)))
    for note in (36, 60, 64, 67):
        bin_ = round(440.0 * 2 ** ((note - 69) / 12) / 4.0)
        assert spectrum[bin_ - 1 : bin_ + 2].max() > 10.0 * np.median(spectrum[:300])


def test_however_voices_are_rendered_they_sound_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = score.read_score(write(tmp_path / "a.mid", [(0.0, 5.0, 60), (0.3, 9.0, 64), (7.0, 9.3, 67)], [(4.1, 4.5, 36), (8.0, 8.5, 40)]))
    model = pure_model()
    performers = [midi_playback.Performer(model, find_target(model, 48000, to="violin"), KeySettings())] * len(parts)
    whole = torch.cat(list(midi_playback.play_score(parts, performers)))
    for at_once in (0, 1):
        monkeypatch.setattr(midi_playback, "RENDERED_AT_ONCE", at_once)
        assert torch.allclose(torch.cat(list(midi_playback.play_score(parts, performers))), whole, atol=1e-6)
    alone = torch.cat(list(midi_playback.play_score(parts[:1], performers[:1])))
    assert (whole[: len(alone)] - alone).abs().max() > 0.01


def test_a_file_has_the_colour_of_its_instrument_as_keys_have(tmp_path: Path) -> None:
    (part,) = score.read_score(write(tmp_path / "a.mid", MELODY))
    model = pure_model()
    plain = find_target(model, 48000, to="violin")
    colour = torch.zeros(2, model.decoder.n_bands)
    colour[0, 1:] = -20.0  # from 2 kHz on
    fourth_db = []  # partial of an A4, re the first
    for target in (plain, replace(plain, colour_db=colour)):
        offline = torch.cat(list(midi_playback.play_score([part], [midi_playback.Performer(model, target, KeySettings())])))
        live_ = torch.from_numpy(midi_playback.KeyedVoice(model, target, KeySettings(), events=part.events).pull(len(offline)))
        for sound in (offline, live_):
            level = torch.fft.rfft(sound[14_000:26_000] * torch.hann_window(12_000)).abs()  # 4 Hz a bin
            fourth_db.append(20.0 * float(torch.log10(level[436:444].max() / level[107:114].max())))
    assert fourth_db[1] == pytest.approx(fourth_db[0], abs=0.5) and fourth_db[3] == pytest.approx(fourth_db[2], abs=0.5)
    assert fourth_db[2] < fourth_db[0] - 8.0


def test_legato_overlap_stays_one_voice(tmp_path: Path) -> None:
    parts = score.read_score(write(tmp_path / "legato.mid", [(0.1, 0.55, 60), (0.5, 1.0, 62), (0.98, 1.3, 64)]))
    assert [part.n_notes for part in parts] == [3]


def test_drums_and_range_are_told(tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "drums.mid", [(0.1, 0.3, 60)], [(0.1, 0.3, 38)], channel=8)
    with pytest.warns(ToneTransferWarning, match="drums"):
        assert len(score.read_score(path)) == 1
    low = write(tmp_path / "low.mid", [(0.1, 0.3, 24), (0.3, 0.5, 28)])
    command = ["play", str(low), str(tmp_path / "low.wav"), "--to", "violin", "--weights", str(tiny_weights), "--json"]
    assert main(command) == 0
    found = capsys.readouterr()
    assert "100 % of the notes" in found.err and json.loads(found.out)["notes"] == 2
    assert main([*command[:-1], "--overwrite", "--transpose", "auto", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["transpose_semitones"] == 36.0  # 24 and 28, to where a violin begins


@pytest.mark.parametrize(
    "content", [b"", b"not MIDI at all", b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\x00\x00\x00\x04\x00\xff\x2f\x00"]
)
def test_what_is_no_score(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.mid"
    path.write_bytes(content)
    with pytest.raises(ControlsError, match="bad.mid"):
        score.read_score(path)
    assert main(["play", str(tmp_path / "none.mid"), str(tmp_path / "x.wav"), "--to", "violin"]) == 1
    assert "is not a file" in capsys.readouterr().err and not (tmp_path / "x.wav").exists()


def test_an_old_file_of_time_code(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mid", [(0.0, 0.5, 60)])
    content = bytearray(path.read_bytes())
    content[12:14] = bytes([256 - 25, 40])  # 25 frames of 40 ticks: 1000 ticks a second
    path.write_bytes(content)
    (part,) = score.read_score(path)
    assert part.until_s == pytest.approx(0.48)


def test_a_keyboard_plays(tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:
    target = find_target(tiny_model, 48000, to="violin")
    voice = midi_playback.KeyedVoice(tiny_model, target)
    ports = SimpleNamespace(get_input_names=lambda: ["Keystation 49", "Pads"])
    ports.open_input = lambda name, callback: SimpleNamespace(name=name, callback=callback, close=lambda: None)
    monkeypatch.setattr(midi_playback, "_mido", lambda: ports)
    port = midi_playback.open_port("keys", voice)
    assert port.name == "Keystation 49" and not voice.pull(1000).any()
    port.callback(mido.Message("note_on", note=76, velocity=100))
    sound = voice.pull(4800)
    onset = int(np.argmax(np.abs(sound) > 1e-4))
    assert 0 < onset <= voice.latency_samples == 960 and np.abs(sound).max() > 0.001
    with pytest.raises(SettingsError, match="there are: Keystation 49, Pads"):
        midi_playback.open_port("organ", voice)


def test_any_number_of_samples_can_be_pulled(tiny_model: TimbreModel, tmp_path: Path) -> None:
    (part,) = score.read_score(write(tmp_path / "a.mid", MELODY[:2]))
    target = find_target(tiny_model, 48000, to="violin")
    once, often = (midi_playback.KeyedVoice(tiny_model, target, events=part.events) for _ in range(2))
    whole = once.pull(30000)
    joined = np.concatenate([often.pull(n) for n in (0, 1, 479, 5000, 24520)])
    assert np.array_equal(whole, joined) and whole.any()


def test_command_plays_a_file_live(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_weights: Path
) -> None:
    from test_devices import FakeDevices

    card = FakeDevices(np.zeros(48000, np.float32))
    monkeypatch.setattr(live, "sound_devices", lambda: card)
    path = write(tmp_path / "two.mid", [(0.1, 0.5, 76), (0.1, 0.5, 64)])
    assert main(["live", "--to", "violin", "--weights", str(tiny_weights), "--midi", str(path), "--seconds", "60"]) == 0
    assert "2 voices" in capsys.readouterr().err and np.abs(np.concatenate(card.played)).max() > 0.001


def test_files_need_no_mido_and_keyboards_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mid", MELODY)
    monkeypatch.setitem(sys.modules, "mido", None)
    assert len(score.read_score(path)) == 1
    with pytest.raises(MissingDependencyError, match=r"tonetransfer\[midi\]"):
        midi_playback.midi_ports()
