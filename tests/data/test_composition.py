"""Performances: the same for everybody, playable by one player, and musical in what they cover."""

import numpy as np
import pytest

from tonetransfer.data.composition import FRAME_RATE, LOUD_DB, SOFTEST_DB, ComposedNote, Performance, compose, velocity_db

SEEDS = range(40)


@pytest.fixture(scope="module")
def performances() -> list[Performance]:
    return [compose(55, 70, seed=seed, id=f"test-{seed}") for seed in SEEDS]


def test_same_seed_same_performance(performances: list[Performance]) -> None:
    again = compose(55, 70, seed=3, id="test-3")
    assert again.notes == performances[3].notes
    assert np.array_equal(again.bend_semitones, performances[3].bend_semitones)
    assert np.array_equal(again.expression_db, performances[3].expression_db)
    assert performances[3].notes != performances[4].notes


def test_length_lead_and_tail(performances: list[Performance]) -> None:
    for performance in performances:
        assert performance.duration_s == 15.0 and performance.n_frames == 1500
        assert performance.notes[0].start == 20
        assert performance.notes[-1].end <= performance.n_frames - 50
    assert compose(55, 70, seed=0, id="short", duration_s=12.0).n_frames == 1200


def test_one_note_at_a_time(performances: list[Performance]) -> None:
    """Legato notes may overlap by two frames; never three notes, never two starts in one frame."""
    for performance in performances:
        for note, following in zip(performance.notes, performance.notes[1:], strict=False):
            assert note.start < following.start
            assert note.end - following.start <= 2


def test_notes_stay_in_the_window_and_bends_within_three_semitones(performances: list[Performance]) -> None:
    for performance in performances:
        assert all(55 <= note.midi <= 70 for note in performance.notes)
        assert np.abs(performance.bend_semitones).max() <= 3.0


def test_dynamics_span_what_real_instruments_span(performances: list[Performance]) -> None:
    intensity = np.concatenate([performance.intensity_db()[performance.sounding()] for performance in performances])
    assert intensity.max() <= 0.0 and intensity.min() >= SOFTEST_DB - 0.5
    assert np.percentile(intensity, 98) - np.percentile(intensity, 2) > 22.0
    velocities = [note.velocity for performance in performances for note in performance.notes]
    assert min(velocities) >= 20 and max(velocities) == 127


def test_always_a_loud_passage(performances: list[Performance]) -> None:
    for performance in performances:
        loud = performance.intensity_db()[performance.sounding()] > LOUD_DB - 0.5
        assert loud.sum() >= 0.4 * FRAME_RATE


def test_all_kinds_of_playing_occur(performances: list[Performance]) -> None:
    lengths = np.array([note.length for performance in performances for note in performance.notes])
    assert (lengths <= 12).mean() > 0.05 and (lengths >= 100).sum() > 20
    leaps = np.concatenate([np.abs(np.diff([note.midi for note in performance.notes])) for performance in performances])
    assert (leaps == 0).mean() > 0.05 and (leaps >= 7).mean() > 0.03 and (leaps <= 2).mean() > 0.4
    rests = [
        following.start - note.end
        for performance in performances
        for note, following in zip(performance.notes, performance.notes[1:], strict=False)
    ]
    assert max(rests) > 20 and np.mean(np.array(rests) <= 0) > 0.2


def test_vibrato_has_a_players_rate() -> None:
    """Of the notes whose bend swings, the strongest swing lies between 4 and 7.5 Hz."""
    rates = []
    for seed in range(60):
        performance = compose(60, 75, seed=seed, id="v")
        for note in performance.notes:
            bend = performance.bend_semitones[note.start : note.end]
            if len(bend) > 100 and np.ptp(bend[40:]) < 1.3 and np.std(bend[40:] - bend[40:].mean()) > 0.08:
                spectrum = np.abs(np.fft.rfft((bend[40:] - bend[40:].mean()) * np.hanning(len(bend) - 40), 4096))
                rates.append(np.argmax(spectrum[80:]) * 100 / 4096 + 80 * 100 / 4096)
    assert len(rates) > 20
    assert np.mean((np.array(rates) > 4.0) & (np.array(rates) < 7.5)) > 0.9


def test_curves_are_held_through_rests() -> None:
    performance = compose(55, 70, seed=1, id="r")
    index = performance.note_index()
    for number, note in enumerate(performance.notes[:-1]):
        rest = np.flatnonzero((index == number) & (np.arange(performance.n_frames) >= note.end))
        if len(rest):
            assert np.all(performance.midi_curve()[rest] == performance.midi_curve()[note.end - 1])


def test_velocity_curve() -> None:
    assert velocity_db(127) == 0.0
    assert velocity_db(64) == pytest.approx(-11.9, abs=0.1)


def test_a_narrow_window_is_playable() -> None:
    performance = compose(60, 61, seed=0, id="narrow")
    assert {note.midi for note in performance.notes} <= {60, 61}


def test_note_end() -> None:
    assert ComposedNote(10, 5, 60, 100).end == 15


@pytest.mark.parametrize("duration_s", [0.3, 1.0, 2.0])
def test_too_short_for_much(duration_s: float) -> None:
    for seed in SEEDS:
        short = compose(55, 70, seed=seed, id="short", duration_s=duration_s)
        assert all(note.start < len(short.bend_semitones) for note in short.notes)
    assert duration_s > 1.0 or any(not compose(55, 70, seed=seed, id="short", duration_s=duration_s).notes for seed in SEEDS)
