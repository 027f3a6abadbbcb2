"""The running fit: an octave at the first note, dynamics that come to what the whole recording would give, an instrument's own release."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import melody

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.adaptation import level_shift_db
from tonetransfer.controls.causal import Adapter, Asked, CausalExtractor, ControlFrame
from tonetransfer.controls.profile import Target

QUANTILES = torch.linspace(-40.0, -12.0, 13)


def target(mean_midi: float = 69.0, release_db_per_s: float = 300.0) -> Target:
    return Target(torch.zeros(8), QUANTILES, mean_midi, mean_midi - 15, mean_midi + 15, release_db_per_s)


def note(midi: float, n: int, level: float = -20.0) -> list[ControlFrame]:
    return [ControlFrame(440.0 * 2.0 ** ((midi - 69.0) / 12.0), 0.98, level)] * n


REST = [ControlFrame(300.0, 0.1, -70.0)] * 40
NOTHING = [ControlFrame(220.0, 0.0, -120.0)] * 40


def play(adapter: Adapter, frames: list[ControlFrame]) -> list[Asked]:
    return [adapter.frame(one) for one in frames]


@pytest.mark.parametrize(("midi", "shift"), [(69.0, 0), (84.0, 0), (54.0, 0), (53.0, 12), (40.0, 24), (93.0, -12)])
def test_the_first_note_decides_the_octave(midi: float, shift: int) -> None:
    asked = play(Adapter(target(), 100.0), note(midi, 5))
    assert 12.0 * np.log2(asked[0].f0_hz / 440.0) + 69.0 == pytest.approx(midi + shift)


def test_an_attack_that_was_misheard_does_not_decide() -> None:
    adapter = Adapter(target(), 100.0)
    play(adapter, [ControlFrame(3500.0, 0.8, -30.0)] + note(66.0, 40))
    assert adapter.semitones == 0.0


def test_the_octave_never_changes_within_a_note_but_at_the_next() -> None:
    adapter = Adapter(target(), 100.0)
    play(adapter, note(69.0, 10) + REST)
    glide = [ControlFrame(440.0 * 2.0 ** (-k / 600.0), 0.98, -20.0) for k in range(1200)]  # two octaves down in one breath
    f0_hz = np.array([one.f0_hz for one in play(adapter, glide)])
    assert np.abs(np.diff(np.log2(f0_hz))).max() < 0.01 and adapter.semitones == 0.0
    play(adapter, REST + note(45.0, 300) + REST)
    assert play(adapter, note(45.0, 5))[-1].f0_hz == pytest.approx(220.0, rel=1e-6) and adapter.semitones == 12.0


def test_a_given_transposition_stays() -> None:
    adapter = Adapter(target(), 100.0, transpose=-5.0)
    assert 12.0 * np.log2(play(adapter, note(30.0, 20))[-1].f0_hz / 440.0) + 69.0 == pytest.approx(25.0)


def swelling(n: int, *, gain_db: float = 0.0) -> np.ndarray:
    """Loudness (n,) of a player who swells by 12 dB every four seconds."""
    return -38.0 + gain_db + 6.0 * np.sin(np.arange(n) / 60.0) + np.random.default_rng(0).normal(0.0, 0.5, n)


def test_loudness_comes_to_what_the_whole_recording_would_give() -> None:
    levels = swelling(4000)
    adapter = Adapter(target(), 100.0)
    asked = np.array([one.loudness_db for one in play(adapter, [ControlFrame(440.0, 0.98, float(level)) for level in levels])])
    heard, notes = torch.from_numpy(levels).float(), torch.ones(4000, dtype=torch.bool)
    error = asked - levels - level_shift_db(heard, notes, QUANTILES, 100.0)
    assert np.abs(error[:50]).mean() > 3.0 and np.abs(error[1500:]).mean() < 1.0


def test_the_player_s_gain_is_forgotten_and_the_players_dynamics_are_kept() -> None:
    """However loud the input is: after half a minute the same is asked for, and the swells are as wide as the player's."""
    asked = []
    for gain_db in (0.0, 15.0):
        frames = [ControlFrame(440.0, 0.98, float(level)) for level in swelling(9000, gain_db=gain_db)]
        asked.append(np.array([one.loudness_db for one in play(Adapter(target(), 100.0), frames)]))
    assert np.abs(asked[1] - asked[0])[8000:].max() < 1.1
    assert np.ptp(asked[0][8000:]) == pytest.approx(np.ptp(swelling(9000)[8000:]), abs=0.7)


@pytest.mark.parametrize(("dynamic", "effort_db"), [(None, -7.0), ("pp", -22.0), ("f", -1.0), (-20.0, -16.0)])
def test_a_known_level_is_right_from_the_first_note(dynamic: str | float | None, effort_db: float) -> None:
    """The loud end is taken 4 dB above the usual note until some seconds were heard; what effort takes away, the gain gives back."""
    adapter = Adapter(target(), 100.0, loudest_db=-38.0, dynamic=dynamic)
    asked = play(adapter, note(69.0, 3, -38.0))[-1]
    assert asked.loudness_db == pytest.approx(float(QUANTILES[-1]) + effort_db) and asked.gain_db == pytest.approx(-effort_db)
    assert asked.loudness_db + asked.gain_db == pytest.approx(float(QUANTILES[-1]))


def test_equal_notes_become_a_mezzo_forte_and_a_wide_range_a_fortissimo() -> None:
    steady = play(Adapter(target(), 100.0, loudest_db=-20.0), note(69.0, 1000, -20.0))[-1]
    assert steady.gain_db == pytest.approx(11.0, abs=0.01) and steady.loudness_db == pytest.approx(-12.0 - 11.0, abs=0.01)
    wide = play(Adapter(target(), 100.0, loudest_db=-20.0), note(69.0, 100, -20.0) + note(69.0, 900, -32.0))[-1]
    assert wide.gain_db == pytest.approx(0.0, abs=0.01) and wide.loudness_db == pytest.approx(-12.0 - 12.0, abs=0.01)


def test_effort_and_level_change_without_steps() -> None:
    adapter = Adapter(target(), 100.0, dynamic="mf")
    asked = play(adapter, note(69.0, 300, -20.0) + note(69.0, 300, -45.0) + note(69.0, 300, -20.0))
    steps = np.diff([one.gain_db for one in asked])
    assert np.abs(steps).max() < 3.0 and {one.is_note for one in asked} == {True}


def test_notes_of_a_dry_source_end_as_the_instrument_s_do_and_keep_their_pitch() -> None:
    adapter = Adapter(target(release_db_per_s=250.0), 100.0)
    asked = play(adapter, NOTHING + note(69.0, 50) + NOTHING)[-len(NOTHING) :]
    level = np.array([one.loudness_db for one in asked])
    assert np.allclose(np.diff(level[3:25]), -2.5) and level.min() >= -120.0
    assert {round(one.f0_hz, 3) for one in asked} == {440.0} and not asked[5].is_note


@pytest.mark.parametrize(
    ("heard_db_per_s", "periodicity", "asked_db_per_s"), [(300.0, 0.9, 300.0), (60.0, 0.1, 200.0), (5000.0, 0.1, 800.0)]
)
def test_notes_in_a_room_end_as_they_are_heard(heard_db_per_s: float, periodicity: float, asked_db_per_s: float) -> None:
    """A note that dies away is followed, what hisses on fades, and what is cut off does not ring on for long."""
    adapter = Adapter(target(release_db_per_s=110.0), 100.0, loudest_db=-20.0)
    dying = [ControlFrame(440.0, periodicity, max(-20.0 - 0.01 * heard_db_per_s * k, -78.0)) for k in range(1, 16)]
    level = np.array([one.loudness_db for one in play(adapter, note(69.0, 50) + dying)[50:]])
    assert np.allclose(np.diff(level)[4:6], -0.01 * asked_db_per_s) and (np.diff(level) <= 0.0).all()


def test_a_breath_between_notes_is_not_played() -> None:
    """However loud it is: once a note has faded, nothing sounds before the next."""
    breath = [ControlFrame(300.0, 0.2, -75.0)] * 20 + [ControlFrame(300.0, 0.2, -30.0)] * 60
    level = np.array([one.loudness_db for one in play(Adapter(target(), 100.0), note(69.0, 300) + breath)])
    assert level[299] > -40.0 and level[320:].max() < -75.0


@pytest.mark.parametrize("level_db", [-40.0, -4.0])
def test_a_soft_microphone_is_known_soon_and_turned_up_slowly(level_db: float) -> None:
    """The effort is learned in two seconds of notes; the level of the result rises by about 1 dB a second, and falls as soon as that."""
    asked = play(Adapter(target(), 100.0), note(69.0, 4000, level_db))
    known = float(QUANTILES[-1]) - 11.0  # equal notes are a mezzo-forte; four decibels more until several seconds were heard
    assert abs(asked[250].loudness_db - known - 4.0) < 1.0 and abs(asked[-1].loudness_db - known) < 1.0
    sound = np.array([one.loudness_db + one.gain_db for one in asked])
    assert abs(sound[-1] - float(QUANTILES[-1])) < 1.0
    if level_db < -16.0:
        assert abs(sound[50] - (float(QUANTILES[-1]) + level_db + 16.0)) < 1.0 and np.abs(np.diff(sound)).max() < 0.05
    else:
        assert abs(sound[250] - float(QUANTILES[-1])) < 1.0


def test_a_subharmonic_in_the_dying_sound_is_no_note() -> None:
    adapter = Adapter(target(), 100.0)
    dying = [ControlFrame(110.0, 0.85, -20.0 - 5.0 * k) for k in range(1, 6)]
    asked = play(adapter, note(69.0, 50) + dying + REST)
    assert {round(one.f0_hz, 3) for one in asked} == {440.0}
    slur = play(adapter, note(69.0, 20) + note(74.0, 20, -21.5))
    assert slur[-1].f0_hz == pytest.approx(440.0 * 2 ** (5 / 12)) and all(one.is_note for one in slur)


def test_without_fit_everything_stays() -> None:
    adapter = Adapter(target(mean_midi=40.0), 100.0, fit=False, loudness_db=3.0)
    for heard, asked in zip(note(69.0, 3) + REST, play(adapter, note(69.0, 3) + REST), strict=True):
        assert (asked.f0_hz, asked.loudness_db, asked.gain_db) == (heard.f0_hz, heard.loudness_db + 3.0, 0.0)


def test_reset_forgets_the_player() -> None:
    adapter = Adapter(target(), 100.0)
    frames = note(50.0, 30, -45.0) + REST + note(55.0, 30, -30.0)
    first = play(adapter, frames)
    adapter.reset()
    assert play(adapter, frames) == first


@pytest.mark.parametrize("midi", [45.0, 76.0])  # of the instrument
@pytest.mark.parametrize("lines", [(1.0, 0.3, 0.8, 0.0, 0.4), (0.0, 1.0, 0.0, 0.5)])
@pytest.mark.parametrize("base_hz", [50.0, 60.03])
def test_mains_hum_is_no_note_and_moves_no_octave(base_hz: float, lines: tuple[float, ...], midi: float) -> None:
    notes = torch.cat([torch.zeros(24000), melody([69, 72, 74, 64, 57], rest=0.4)]).numpy()
    time = np.arange(len(notes)) / 48000
    hum = sum(level * np.sin(2.0 * np.pi * base_hz * k * time + k) for k, level in enumerate(lines, 1)) / np.linalg.norm(lines)
    hum *= 0.1 * np.sqrt(np.square(notes[notes != 0.0]).mean() / np.square(hum).mean())
    extractor, found = CausalExtractor(FrameGrid(), 480), []
    for audio in (notes, notes + hum):
        extractor.reset()
        adapter = Adapter(target(midi), 100.0)
        found.append((np.array([one.is_note for one in play(adapter, extractor.push(audio))]), adapter.semitones))
    (clean, octave), (humming, same_octave) = found
    assert octave == same_octave and clean.sum() > 200
    assert (humming & ~clean).sum() <= 5 and (clean & ~humming).sum() <= 15  # frames


@pytest.mark.parametrize("level", [-45.0, -14.0])
def test_notes_on_a_line_of_the_mains_are_played(level: float) -> None:
    attack = [ControlFrame(100.0, 0.98, level - 3.0 * k) for k in range(6, 0, -1)]
    frames = (REST + attack + [ControlFrame(100.0 * 2.0 ** (0.1 * np.sin(k) / 12.0), 0.98, level) for k in range(50)]) * 3
    asked = play(Adapter(target(45.0), 100.0), note(57.0, 100, -14.0) + frames)
    assert sum(one.is_note for one in asked[100:]) > 3 * 50
