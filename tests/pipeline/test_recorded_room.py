"""The room of a recording stays around the result: its noise and its reverberation; a drone, hum and a loud place do not come along."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, make_controls, melody

import tonetransfer as tt
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.recorded_room import RecordedRoom
from tonetransfer.synthesis.colour import room_presence, tone_loudness_db
from tonetransfer.synthesis.reverb import hall_response, reverberate

RESTS = [(48000 * k + 33600, 48000 * (k + 1)) for k in range(3)]


def with_rests(noise: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Four seconds: a note and a rest in each, over a noise."""
    return melody([69, 71, 72, 74], seconds=0.7, rest=0.3) + noise


def band_noise(n: int, low_hz: float, high_hz: float, rms: float) -> torch.Tensor:
    spectrum = torch.fft.rfft(torch.randn(n, generator=torch.Generator().manual_seed(1)))
    hertz = torch.fft.rfftfreq(n, 1.0 / SAMPLE_RATE)
    noise = torch.fft.irfft(spectrum * ((hertz >= low_hz) & (hertz < high_hz)), n)
    return noise * (rms / noise.square().mean().sqrt())


def level_db(sound: torch.Tensor, low_hz: float, high_hz: float) -> float:
    """Level of a band in the rests."""
    powers = []
    for begin, end in RESTS:
        piece = sound[begin + 6000 : end]
        spectrum = torch.fft.rfft(piece * torch.hann_window(len(piece)))
        hertz = torch.fft.rfftfreq(len(piece), 1.0 / SAMPLE_RATE)
        powers.append(float(spectrum[(hertz >= low_hz) & (hertz < high_hz)].abs().square().sum()) / len(piece) ** 2)
    return 10.0 * math.log10(np.mean(powers) + 1e-20)


def loudest_db(sound: torch.Tensor, model: TimbreModel) -> float:
    heard = tt.analyze(sound, SAMPLE_RATE, model)
    return float(heard.loudness_db[heard.note_frames()].quantile(0.99))


@pytest.mark.parametrize(("low_hz", "high_hz", "rms"), [(25.0, 90.0, 3e-3), (3000.0, 9000.0, 2e-5)])
def test_rests_keep_the_noise_of_the_recording(low_hz: float, high_hz: float, rms: float) -> None:
    model = tt.load_model()
    source = with_rests(band_noise(4 * SAMPLE_RATE, low_hz, high_hz, rms))
    result = tt.transfer(source, SAMPLE_RATE, model, to="trumpet", transpose=0)
    of_source, of_result = (level_db(one, low_hz, high_hz) - loudest_db(one, model) for one in (source, result))
    assert of_result == pytest.approx(of_source, abs=4.0)  # the quietest moments are a little quieter than all
    without = tt.transfer(source, SAMPLE_RATE, model, to="trumpet", transpose=0, room=False)
    assert level_db(without, low_hz, high_hz) < level_db(result, low_hz, high_hz) - 10.0


def test_hiss_that_one_would_hear_does_not_come_along() -> None:
    model = tt.load_model()
    source = with_rests(band_noise(4 * SAMPLE_RATE, 1000.0, 9000.0, 3e-3))
    with_room, without = (tt.transfer(source, SAMPLE_RATE, model, to="trumpet", transpose=0, room=room) for room in (True, False))
    assert level_db(with_room, 1000.0, 9000.0) < level_db(without, 1000.0, 9000.0) + 3.0


@pytest.mark.parametrize(("drone", "loudest_db"), [(True, -40.0), (False, -70.0)])
def test_a_drone_and_hum_are_no_room(tiny_model: TimbreModel, drone: bool, loudest_db: float) -> None:
    """Densities [dB/Hz]; around the drone's fundamental they hold the skirts of the analysis window."""
    seconds = torch.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    lines = range(1, 20) if drone else range(1, 6)
    steady = sum(torch.sin(2.0 * math.pi * (98.0 if drone else 50.0) * k * seconds) / k for k in lines)
    sound = 0.2 * steady if drone else with_rests() + 1e-3 * steady
    room = tt.measure_room(sound, tt.analyze(sound, SAMPLE_RATE, tiny_model))
    assert room is not None and float(room.tone_db.max()) < loudest_db


def test_hum_in_a_reference_is_not_its_room(tiny_model: TimbreModel) -> None:
    seconds = torch.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    sound = with_rests() + 1e-3 * sum(torch.sin(2.0 * math.pi * 50.0 * k * seconds) / k for k in range(1, 6))
    tone_db = tt.find_target(tiny_model, SAMPLE_RATE, like=sound).room_tone_db
    assert tone_db is not None and float(tone_db.max()) < -70.0


def slurred() -> torch.Tensor:
    """Notes without rests, none a harmonic of the one before."""
    return melody([60.0, 65.0, 63.0, 68.0, 66.0, 71.0] * 2, seconds=0.4, rest=0.0)


@pytest.mark.parametrize(("decay_s", "level_db"), [(1.0, -8.0), (1.8, -12.0)])
def test_a_hall_is_measured(tiny_model: TimbreModel, decay_s: float, level_db: float) -> None:
    dry = slurred()
    wet = reverberate(dry, 10.0 ** (level_db / 20.0) * hall_response(SAMPLE_RATE, decay_s=decay_s))
    for sound, expected in ((wet, True), (dry, False)):
        room = tt.measure_room(sound, tt.analyze(sound, SAMPLE_RATE, tiny_model))
        assert room is not None and (room.level_db is not None) == expected
        if room.level_db is not None:
            assert room.decay_s == pytest.approx(decay_s, rel=0.3) and room.level_db == pytest.approx(level_db, abs=4.0)


def test_loudness_in_a_room_is_that_of_the_sound_and_of_what_rings() -> None:
    """Notes of a tenth of a second; power adds up."""
    room = RecordedRoom(torch.full((64,), -150.0), 1.5, -9.0)
    direct_db = torch.full((400,), -60.0)
    for begin in range(20, 400, 40):
        direct_db[begin : begin + 10] = -20.0
    power, ringing = 10.0 ** (direct_db.double() / 10.0), 0.0
    kept = 10.0 ** (-6.0 / 1.5 / 100.0)
    for t, value in enumerate(power.tolist()):
        power[t] += ringing
        ringing = kept * ringing + 10.0**-0.9 * (1.0 - kept) * value
    found = room.direct((10.0 * power.log10()).float(), 100.0)
    notes = direct_db > -30.0
    assert torch.allclose(found[notes], direct_db[notes], atol=0.05)
    assert float((10.0 * power.log10() - found)[~notes][30:].min()) > 10.0  # between them it rings by itself


def test_the_hall_stays_around_another_player() -> None:
    """What rings on of a note while the next is played is there again in the result."""
    model, dry = tt.load_model(), slurred()
    wet = reverberate(dry, 10.0 ** (-8.0 / 20.0) * hall_response(SAMPLE_RATE, decay_s=1.5))
    results = [tt.transfer(wet, SAMPLE_RATE, model, to="flute", transpose=0, room=room) for room in (True, False)]
    levels = [tt.measure_room(one, tt.analyze(one, SAMPLE_RATE, model)) for one in results]
    assert levels[0] is not None and levels[0].level_db is not None and levels[0].level_db == pytest.approx(-8.0, abs=5.0)
    assert levels[1] is not None and levels[1].level_db is None


def test_without_notes_there_is_no_room(tiny_model: TimbreModel) -> None:
    silence = torch.zeros(SAMPLE_RATE)
    assert tt.measure_room(silence, tt.analyze(silence, SAMPLE_RATE, tiny_model)) is None


def test_the_tone_of_a_room_is_not_heard_where_the_source_is_silent() -> None:
    notes, silent = torch.zeros(60, dtype=torch.bool), torch.zeros(60, dtype=torch.bool)
    notes[10:40], silent[:8], silent[45:] = True, True, True
    presence = room_presence(notes, silent, 100.0)
    assert not bool(presence[silent].any())
    assert bool((presence[12:40] == 1.0).all()) and float(presence.diff().abs().max()) < 0.5  # it comes and goes gently


def test_instrument_and_room_tone_together_are_as_loud_as_the_source() -> None:
    model = tt.load_model()
    heard = make_controls([69, 71, 72], [-20.0, -20.0, -20.0], noise_db=-72.0)
    room = RecordedRoom(torch.full((64,), -95.0))  # 53 dB below the notes, and so is the sound between them: -52 dB
    target = tt.find_target(model, SAMPLE_RATE, to="flute")
    within, alone = (tt.arrange(heard, target, transpose=0, room=one) for one in (room, replace(room, tone_db=torch.full((64,), -150.0))))
    assert within.room_presence is not None
    tone = within.room_presence**2 * 10.0 ** ((within.loudest_db + tone_loudness_db(room.tone_db, SAMPLE_RATE)) / 10.0)
    together_db = 10.0 * torch.log10(10.0 ** (within.loudness_db / 10.0) + tone)
    louder = 10.0 ** (alone.loudness_db / 10.0) > 1.2 * tone
    assert float((together_db - alone.loudness_db)[louder].abs().max()) < 0.01
    faint = (within.room_presence > 0.9) & louder & (within.loudness_db < alone.loudness_db - 1.0)
    assert int(faint.sum()) >= 2  # where it matters: as notes begin and fade
