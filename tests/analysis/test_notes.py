import numpy as np
import pytest

from tonetransfer.analysis.notes import Note, close_gaps, find_notes, runs
from tonetransfer.audio.units import midi_to_hz

RATE = 100.0


def perform(*notes, gap=0, vibrato_cents=0.0):
    """f0, level and mask of (midi, n_frames) one after the other, `gap` silent frames between them."""
    midi, sounding = [], []
    for pitch, n_frames in notes:
        midi += [pitch] * (n_frames + gap)
        sounding += [True] * n_frames + [False] * gap
    time = np.arange(len(midi)) / RATE
    midi = np.array(midi, float) + vibrato_cents / 100 * np.sin(2 * np.pi * 5.7 * time)
    return midi_to_hz(midi), np.full(len(midi), -20.0), np.array(sounding)


def borders(notes):
    return [(note.start, note.stop) for note in notes]


@pytest.mark.parametrize("vibrato_cents", [0.0, 30.0, 90.0])
def test_a_slurred_scale_is_divided_at_its_steps(vibrato_cents):
    pitches = [(pitch, 60) for pitch in (60, 62, 64, 65, 67, 66)]
    found = find_notes(*perform(*pitches, vibrato_cents=vibrato_cents), RATE)
    assert len(found) == 6
    np.testing.assert_allclose([note.start for note in found], np.arange(6) * 60, atol=8)  # half a cycle of vibrato
    assert found[-1].stop == 360 and all(a.stop == b.start for a, b in zip(found, found[1:], strict=False))


def test_short_notes_of_a_fast_run():
    found = find_notes(*perform(*[(60 + 2 * k, 8) for k in range(10)]), RATE)
    assert len(found) == 10


def test_silence_divides_notes_of_one_pitch_but_flicker_does_not():
    f0_hz, level_db, sounding = perform((60, 40), (60, 40), gap=10)
    assert borders(find_notes(f0_hz, level_db, sounding, RATE)) == [(0, 40), (50, 90)]
    f0_hz, level_db, sounding = perform((60, 40), (60, 40), gap=2)
    assert borders(find_notes(f0_hz, level_db, close_gaps(sounding, RATE), RATE)) == [(0, 82)]


def test_a_dip_is_a_repeated_note_and_tremolo_is_not():
    f0_hz, level_db, sounding = perform((60, 200))
    dipped = level_db.copy()
    dipped[95:105] -= 15 * np.hanning(10)
    assert len(find_notes(f0_hz, dipped, sounding, RATE)) == 2
    swinging = level_db + 5 * np.sin(2 * np.pi * 6 * np.arange(200) / RATE)
    assert len(find_notes(f0_hz, swinging, sounding, RATE)) == 1


def test_a_step_and_the_dip_beside_it_are_one_border():
    f0_hz, level_db, sounding = perform((60, 100), (63, 100))
    level_db[98:108] -= 15 * np.hanning(10)
    assert borders(find_notes(f0_hz, level_db, sounding, RATE)) == [(0, 102), (102, 200)]


def test_a_slide_is_divided_at_most_once_and_a_scoop_belongs_to_its_note():
    slide = np.concatenate([np.full(60, 60.0), np.linspace(60, 67, 40), np.full(60, 67.0)])
    assert len(find_notes(midi_to_hz(slide), np.full(160, -20.0), np.ones(160, bool), RATE)) == 2
    scoop = np.concatenate([np.linspace(58, 60, 8), np.full(80, 60.0)])
    assert len(find_notes(midi_to_hz(scoop), np.full(88, -20.0), np.ones(88, bool), RATE)) == 1


def test_nothing_sounds_or_too_short():
    f0_hz, level_db, _ = perform((60, 50))
    assert find_notes(f0_hz, level_db, np.zeros(50, bool), RATE) == []
    assert find_notes(f0_hz, level_db, np.arange(50) < 3, RATE) == []
    assert borders(find_notes(f0_hz[:5], level_db[:5], np.ones(5, bool), RATE)) == [(0, 5)]


def test_runs():
    assert runs(np.array([True, True, False, True])) == [Note(0, 2), Note(3, 4)]
    assert runs(np.zeros(3, bool)) == [] and runs(np.zeros(0, bool)) == []
