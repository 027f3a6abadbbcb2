"""Keys, wheels and pedals: what a player of a keyboard expects of one voice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tonetransfer.analysis.envelope import Adsr
from tonetransfer.audio.loudness import FLOOR_DB
from tonetransfer.controls.causal import Asked
from tonetransfer.controls.profile import Target
from tonetransfer.errors import SettingsError
from tonetransfer.realtime.midi_controller import Keys, KeySettings

TARGET = Target(torch.zeros(8), torch.linspace(-50.0, -12.0, 13), release_db_per_s=300.0)
PLAIN = KeySettings(attack_s=0.0, decay_s=0.0, sustain_db=0.0)


def on(note: int, velocity: int = 127, channel: int = 0) -> Any:
    return SimpleNamespace(type="note_on", channel=channel, note=note, velocity=velocity)


def off(note: int, channel: int = 0) -> Any:
    return SimpleNamespace(type="note_off", channel=channel, note=note, velocity=0)


def control(number: int, value: int, channel: int = 0) -> Any:
    return SimpleNamespace(type="control_change", channel=channel, control=number, value=value)


def wheel(pitch: int, channel: int = 0) -> Any:
    return SimpleNamespace(type="pitchwheel", channel=channel, pitch=pitch)


def frames(keys: Keys, n: int, *messages: Any) -> list[Asked]:
    for message in messages:
        keys.handle(message)
    return [keys.frame() for _ in range(n)]


def midi(asked: Asked) -> float:
    return float(12.0 * np.log2(asked.f0_hz / 440.0) + 69.0)


def test_a_note_is_its_pitch_and_velocity() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    assert frames(keys, 1)[0].loudness_db == FLOOR_DB
    loud = frames(keys, 1, on(60))[0]
    assert midi(loud) == pytest.approx(60.0) and loud.loudness_db == pytest.approx(-12.0) and loud.is_note
    frames(keys, 100, off(60))
    assert frames(keys, 3, on(60, 64))[-1].loudness_db == pytest.approx(-12.0 + 40 * np.log10(64 / 127))
    frames(keys, 100, off(60))
    assert frames(keys, 3, on(60, 1))[-1].loudness_db == pytest.approx(-50.0)  # never softer than the instrument plays
    assert frames(Keys(TARGET, 100.0, KeySettings(velocity_curve=0.0)), 10, on(60, 5))[2].loudness_db == pytest.approx(-12.0, abs=1.0)


def test_velocity_zero_is_an_end() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 2, on(60))
    assert not frames(keys, 1, on(60, 0))[0].is_note


def test_the_envelope() -> None:
    keys = Keys(TARGET, 100.0, KeySettings(attack_s=0.05, decay_s=0.1, sustain_db=-6.0))
    level = np.array([one.loudness_db for one in frames(keys, 40, on(60))]) + 12.0
    assert np.allclose(10 ** (level[:5] / 20), [0.2, 0.4, 0.6, 0.8, 1.0]) and np.allclose(level[15:], -6.0)
    assert np.all(np.diff(level[5:15]) < -0.5)
    release = np.array([one.loudness_db for one in frames(keys, 60, off(60))])
    assert np.allclose(np.diff(release[:20]), -3.0) and release[-1] == FLOOR_DB
    assert KeySettings.of(Adsr(0.0, 0.03, 0.2, 1.0, 0.1, -4.0)).sustain_db == -4.0
    fast = frames(Keys(TARGET, 100.0, KeySettings(release_db_per_s=1000.0)), 5, on(60), off(60))
    assert np.allclose(np.diff([one.loudness_db for one in fast]), -10.0)


def test_a_slur_glides_without_a_new_attack_and_comes_back() -> None:
    keys = Keys(TARGET, 100.0, KeySettings(attack_s=0.05, decay_s=0.0, sustain_db=0.0, glide_s=0.03))
    frames(keys, 20, on(60))
    slur = frames(keys, 10, on(64))
    assert [round(midi(one), 2) for one in slur[:4]] == [61.33, 62.67, 64.0, 64.0]
    assert min(one.loudness_db for one in slur) > -12.5
    back = frames(keys, 10, off(64))
    assert midi(back[-1]) == pytest.approx(60.0) and back[-1].is_note
    frames(keys, 1, on(64), off(60))
    assert midi(frames(keys, 5)[-1]) == pytest.approx(64.0)


def test_a_note_struck_again_is_heard_again() -> None:
    keys = Keys(TARGET, 100.0, KeySettings(attack_s=0.03))
    frames(keys, 30, on(60))
    again = [one.loudness_db for one in frames(keys, 6, off(60), on(60))]
    assert again[0] < -17.0 and again[4] == pytest.approx(-12.0, abs=1.0)


def test_wheels() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    assert midi(frames(keys, 3, on(60), wheel(8191))[-1]) == pytest.approx(62.0, abs=0.01)
    assert midi(frames(keys, 1, control(101, 0), control(100, 0), control(6, 12), wheel(-8192))[-1]) == pytest.approx(48.0)
    frames(keys, 1, wheel(0), control(1, 127))
    curve = np.array([midi(one) for one in frames(keys, 200)])
    assert np.ptp(curve) == pytest.approx(0.9, abs=0.05)
    crossings = np.flatnonzero(np.diff(np.sign(curve - 60.0)) > 0)
    assert 100.0 / np.diff(crossings).mean() == pytest.approx(5.5, abs=0.1)
    half = frames(keys, 1, control(1, 0), control(11, 64))[-1]
    assert half.loudness_db == pytest.approx(-12.0 + 40 * np.log10(64 / 127)) and midi(half) == pytest.approx(60.0)
    assert frames(keys, 1, control(11, 0))[-1].loudness_db == FLOOR_DB


def test_the_pedal_holds() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 5, control(64, 127), on(60))
    assert frames(keys, 50, off(60))[-1].is_note
    assert midi(frames(keys, 5, on(67), off(67))[-1]) == pytest.approx(67.0)
    assert not frames(keys, 1, control(64, 0))[-1].is_note
    frames(keys, 5, on(60), control(64, 127), control(64, 0))
    assert frames(keys, 1)[-1].is_note  # the key is still down
    assert not frames(keys, 1, control(123, 0))[-1].is_note


def test_channels_have_their_own_wheels_and_pedals() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 1, on(60), wheel(8191, 1), control(11, 0, 1), control(64, 127, 1))
    assert midi(frames(keys, 1)[0]) == pytest.approx(60.0) and not frames(keys, 1, off(60))[0].is_note
    other = frames(keys, 40, control(11, 127, 1), on(60, channel=1))[-1]
    assert midi(other) == pytest.approx(62.0, abs=0.01) and frames(keys, 5, off(60, 1))[-1].is_note


def test_a_note_of_another_channel_is_another_note() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 5, on(60), on(60, channel=1))
    assert frames(keys, 5, off(60))[-1].is_note and not frames(keys, 5, off(60, 1))[-1].is_note


def test_all_sound_off_is_at_once_and_all_notes_off_obeys_the_pedal() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 5, control(64, 127), on(60))
    assert frames(keys, 5, control(123, 0))[-1].is_note and not frames(keys, 1, control(64, 0))[0].is_note
    frames(keys, 100, control(64, 127))
    assert not any(one.is_note for one in frames(keys, 5, control(123, 0)))  # nothing that has ended comes back
    frames(keys, 5, on(60))
    assert frames(keys, 1, control(120, 0))[0].loudness_db == FLOOR_DB and keys.silent
    frames(keys, 5, control(64, 0), on(60))
    assert not frames(keys, 1, control(126, 1))[0].is_note  # changes of mode end notes, too


def test_reset_of_all_controllers_leaves_volume_and_bend_range() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 1, control(101, 0), control(100, 0), control(6, 12), control(7, 50), control(1, 127), control(11, 3), wheel(8191))
    reset = frames(keys, 3, control(121, 0), on(60))[-1]
    assert midi(reset) == pytest.approx(60.0) and reset.loudness_db == pytest.approx(-12.0 + 40 * np.log10(50 / 100))
    assert midi(frames(keys, 1, control(6, 3), wheel(-8192))[0]) == pytest.approx(48.0)  # no parameter is selected any more


def test_parameters_and_their_fine_parts() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    frames(keys, 1, on(60), wheel(-8192), control(101, 0), control(100, 0))
    for entries, semitones in (
        ([(6, 5)], 5.0),
        ([(38, 25)], 5.25),
        ([(6, 7)], 7.0),  # a new coarse part begins without a fine one
        ([(96, 0)], 8.0),
        ([(97, 0), (97, 0)], 6.0),
        ([(99, 0), (98, 0), (6, 1)], 6.0),  # not registered
        ([(101, 0), (100, 0), (38, 50)], 6.5),
        ([(101, 0), (100, 0), (38, 10), (6, 2)], 2.1),
        ([(101, 127), (100, 127), (6, 9)], 2.1),
        ([(101, 0), (100, 1), (38, 127)], 2.1 - 127 / 8192),
        ([(100, 2), (97, 0)], 3.1 - 127 / 8192),
    ):
        asked = frames(keys, 1, *(control(*entry) for entry in entries))[0]
        assert midi(asked) == pytest.approx(60.0 - semitones, abs=1e-6), entries


def test_a_zone_of_mpe() -> None:
    keys = Keys(TARGET, 100.0, PLAIN)
    zone = control(101, 0), control(100, 6), control(6, 3)
    frames(keys, 1, *zone, wheel(4096, 1), wheel(8191), on(60, channel=1))
    assert midi(frames(keys, 1)[0]) == pytest.approx(60.0 + 24.0 + 2.0, abs=0.01)
    assert midi(frames(keys, 1, on(60, channel=4))[0]) == pytest.approx(60.0)  # outside the zone
    frames(keys, 1, off(60, 4), control(64, 127))
    assert frames(keys, 5, off(60, 1))[-1].is_note  # the manager's pedal is everybody's
    frames(keys, 100, control(64, 0))
    upper = control(101, 0, 15), control(100, 6, 15), control(6, 2, 15)
    assert midi(frames(keys, 2, *upper, wheel(-8192, 14), on(60, channel=14))[-1]) == pytest.approx(12.0)


def test_transposition_and_level() -> None:
    keys = Keys(TARGET, 100.0, KeySettings(attack_s=0.0, transpose=-12.0, loudness_db=-3.0))
    first = frames(keys, 1, on(72))[0]
    assert midi(first) == pytest.approx(60.0) and first.loudness_db == pytest.approx(-15.0)


def test_bad_settings() -> None:
    for wrong in (
        {"attack_s": -1.0},
        {"sustain_db": 3.0},
        {"release_db_per_s": 0.0},
        {"release_db_per_s": 1e-9},
        {"vibrato_hz": float("nan")},
        {"loudness_db": 1e9},
    ):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            KeySettings(**wrong)  # type: ignore[arg-type]
