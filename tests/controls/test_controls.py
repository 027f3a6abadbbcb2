"""Controls: legal or refused, the same after a round trip, and every change does what its name says."""

import dataclasses

import numpy as np
import pytest
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.audio.units import hz_to_midi, midi_to_hz
from tonetransfer.controls.controls import Controls, extract
from tonetransfer.errors import AudioError, ControlsError, InstrumentError

GRID = FrameGrid()


def controls_of(midi, periodicity=1.0, loudness=-20.0, grid=GRID):
    """Controls with a given pitch (n_frames,) [MIDI]; the rest may be numbers or arrays."""
    midi = np.asarray(midi, dtype=float)
    return Controls(midi_to_hz(midi), np.broadcast_to(periodicity, midi.shape), np.broadcast_to(loudness, midi.shape), grid)


def tone(hz=440.0, seconds=1.0, amplitude=0.3):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * 48000)) / 48000)).astype(np.float32)


def same(a, b):
    return a.grid == b.grid and all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("f0_hz", "periodicity", "loudness_db"))


def midi_of(controls):
    return hz_to_midi(controls.f0_hz.double()).numpy()


# --- extracting


@pytest.mark.parametrize("n_samples", [1, 481, 48000, 70001])
def test_extracted_controls_fit_the_grid(n_samples):
    audio = torch.from_numpy(tone(seconds=2.0)[:n_samples])
    before = audio.clone()
    controls = extract(audio, GRID)
    assert controls.n_frames == GRID.n_frames(n_samples) and controls.n_samples >= n_samples
    assert torch.equal(audio, before) and not controls.f0_hz.requires_grad


def test_extracted_controls_tell_what_is_played():
    audio = np.concatenate([0.1 * tone(400.0), 0 * tone(), tone(600.0)])
    controls = extract(audio, GRID)
    for first, last, hz, level_db in ((10, 90, 400.0, -35.3), (210, 290, 600.0, -12.6)):
        assert (controls.f0_hz[first:last] / hz - 1.0).abs().max() < 0.005
        assert (controls.loudness_db[first:last] - level_db).abs().max() < 0.5
        assert controls.periodicity[first:last].min() > 0.9
    assert not controls.periodicity[108:192].any() and (controls.loudness_db[108:192] == -120.0).all()
    torch.testing.assert_close(controls.loudness_db, loudness_db(torch.from_numpy(audio), GRID))


def test_a_click_shows_at_its_frame_in_every_row():
    audio = 0.2 * tone(1000.0, 2.0)
    audio[48000:] *= 4.0
    audio[96000 // 4 * 3 :] = 0.0
    controls = extract(audio, GRID)
    step = np.diff(controls.loudness_db.numpy())
    assert abs(int(np.argmax(step[80:120])) + 80 - 99.5) <= 1
    ends = np.flatnonzero(controls.periodicity.numpy() > 0.5)[-1]
    assert abs(ends - 150) <= 3


def test_mains_hum_changes_neither_notes_nor_pitch_and_rests_stay_silent():
    clean = np.concatenate([part for hz in (440.0, 523.3, 587.3, 659.3, 523.3, 440.0) for part in (tone(hz, 0.5), 0 * tone(seconds=0.5))])
    time = np.arange(len(clean)) / 48000
    hum = sum(level * np.sin(2 * np.pi * k * 50.0 * time) for k, level in ((1, 1.0), (2, 0.6), (3, 0.8), (5, 0.4), (7, 0.2)))
    hum *= 0.1 * np.sqrt(2.0 * np.square(clean).mean() / np.square(hum).mean())  # 20 dB below the notes
    without, heard = extract(clean, GRID), extract((clean + hum).astype(np.float32), GRID)
    assert abs(int(heard.note_frames().sum()) - int(without.note_frames().sum())) <= 6
    both = (heard.note_frames() & without.note_frames()).numpy()
    assert np.abs(midi_of(heard) - midi_of(without))[both].max() < 0.5
    rests = np.concatenate([np.arange(100 * k + 55, 100 * k + 95) for k in range(6)])
    assert not heard.note_frames()[rests].any() and heard.loudness_db[rests].max() < heard.loudness_db.max() - 55.0


def test_extracting_refuses_what_is_not_audio():
    with pytest.raises(AudioError):
        extract(np.zeros((2, 480)), GRID)
    with pytest.raises(AudioError):
        extract(np.zeros(0), GRID)
    with pytest.raises(InstrumentError, match="joint"):
        extract(tone(), GRID, tracker="joynt")


# --- legal or refused


def test_frozen_and_batched():
    controls = Controls(torch.full((2, 3, 10), 440.0), torch.ones(2, 3, 10), torch.zeros(2, 3, 10))
    assert controls.n_frames == 10 and controls.n_samples == 4800
    with pytest.raises(dataclasses.FrozenInstanceError):
        controls.f0_hz = controls.f0_hz


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"f0_hz": torch.zeros(5)}, "positive"),
        ({"f0_hz": torch.full((5,), -440.0)}, "positive"),
        ({"f0_hz": torch.full((5,), torch.nan)}, "finite"),
        ({"f0_hz": torch.full((5,), torch.inf)}, "finite"),
        ({"f0_hz": torch.ones(4)}, "shapes"),
        ({"f0_hz": torch.ones(1, 5)}, "shapes"),
        ({"f0_hz": "high"}, "f0_hz"),
        ({"f0_hz": None}, "f0_hz"),
        ({"periodicity": torch.full((5,), 1.2)}, "periodicity"),
        ({"periodicity": torch.full((5,), -0.1)}, "periodicity"),
        ({"loudness_db": torch.full((5,), -torch.inf)}, "loudness_db"),
        ({"grid": (48000, 480)}, "FrameGrid"),
    ],
)
def test_illegal_controls_are_told_in_one_line(change, words):
    legal = {"f0_hz": torch.full((5,), 440.0), "periodicity": torch.ones(5), "loudness_db": torch.full((5,), -20.0), "grid": GRID}
    Controls(**legal)
    with pytest.raises(ControlsError, match=words) as error:
        Controls(**{**legal, **change})
    assert "\n" not in str(error.value)


def test_no_frames_are_refused():
    for empty in (torch.zeros(0), torch.tensor(1.0), torch.zeros(3, 0)):
        with pytest.raises(ControlsError):
            Controls(empty, empty, empty)


def test_arrays_are_copied():
    array = np.full(5, 440.0)
    controls = Controls(array, np.ones(5), np.zeros(5))
    array[:] = 1.0
    assert (controls.f0_hz == 440.0).all()


# --- changing


def test_transposing_moves_f0_alone():
    controls = controls_of(np.linspace(50, 70, 100))
    up = controls.transpose(12)
    torch.testing.assert_close(up.f0_hz, 2.0 * controls.f0_hz)
    assert torch.equal(up.periodicity, controls.periodicity) and torch.equal(up.loudness_db, controls.loudness_db)
    torch.testing.assert_close(up.transpose(-12).f0_hz, controls.f0_hz)
    torch.testing.assert_close(hz_to_midi(controls.transpose(0.5).f0_hz), hz_to_midi(controls.f0_hz) + 0.5)


def test_louder_moves_loudness_alone():
    controls = controls_of(np.full(10, 60.0), loudness=np.linspace(-60, -10, 10))
    louder = controls.shift_loudness(6.0)
    torch.testing.assert_close(louder.loudness_db, controls.loudness_db + 6.0)
    assert torch.equal(louder.f0_hz, controls.f0_hz)


def test_slices_are_parts():
    controls = controls_of(np.arange(100) * 0.1 + 40)
    part = controls.slice(0.2, 0.5)
    assert part.n_frames == 30 and torch.equal(part.f0_hz, controls.f0_hz[20:50])
    assert same(controls.slice(-1.0, 99.0), controls)
    for start, end in ((0.5, 0.5), (0.5, 0.2), (2.0, 3.0)):
        with pytest.raises(ControlsError, match="1.00 s"):
            controls.slice(start, end)


def test_another_clock_keeps_instants_and_length():
    midi = 60 + np.sin(np.arange(300) / 20)
    controls = controls_of(midi, np.linspace(0, 1, 300), np.linspace(-60, -10, 300))
    other = controls.resample(FrameGrid(44100, 256))
    times = other.grid.times(other.n_frames)
    inner = times < 2.98
    assert abs(other.n_frames * 256 / 44100 - 3.0) < 0.006
    np.testing.assert_allclose(midi_of(other)[inner], 60 + np.sin(times[inner] * 5.0), atol=0.01)
    np.testing.assert_allclose(
        other.loudness_db[inner], np.interp(times[inner], np.arange(300) / 100, np.linspace(-60, -10, 300)), atol=1e-3
    )
    assert controls.resample(GRID) is controls
    batch = Controls(controls.f0_hz.expand(2, 1, -1), controls.periodicity.expand(2, 1, -1), controls.loudness_db.expand(2, 1, -1))
    assert torch.equal(batch.resample(other.grid).f0_hz[1, 0], other.f0_hz)


def test_changes_leave_the_original_alone():
    controls = controls_of(np.linspace(50, 70, 100))
    before = controls.f0_hz.clone(), controls.loudness_db.clone()
    controls.transpose(3).shift_loudness(3).autotune(0.7).resample(FrameGrid(16000, 160))
    assert torch.equal(controls.f0_hz, before[0]) and torch.equal(controls.loudness_db, before[1])


# --- autotune

NOTES = np.repeat([60.0, 64.0, 67.0, 72.0, 67.0, 64.0], 60)


def test_autotune_at_0_changes_nothing_and_at_1_everything():
    sung = controls_of(NOTES + np.random.default_rng(0).uniform(-0.35, 0.35, 6).repeat(60))
    assert sung.autotune(0.0) is sung
    np.testing.assert_allclose(midi_of(sung.autotune(1.0)), NOTES, atol=1e-3)
    half = midi_of(sung.autotune(0.5)) - NOTES
    np.testing.assert_allclose(half[20:40], 0.5 * (midi_of(sung) - NOTES)[20:40], atol=0.02)


def test_autotune_twice_is_autotune_once():
    once = controls_of(NOTES + 0.2).autotune(1.0)
    torch.testing.assert_close(once.autotune(1.0).f0_hz, once.f0_hz)
    in_tune = controls_of(NOTES)
    torch.testing.assert_close(in_tune.autotune(0.6).f0_hz, in_tune.f0_hz, rtol=1e-5, atol=0)


def test_vibrato_survives_autotune_and_its_centre_moves():
    time = np.arange(300) / 100
    controls = controls_of(64.3 + 0.4 * np.sin(2 * np.pi * 5.7 * time))
    tuned = midi_of(controls.autotune(0.6))[30:-30]
    assert abs(tuned.mean() - 64.0 - 0.4 * 0.3) < 0.12  # a common detuning is no reason to stay: 64.0 is meant
    assert 0.5 < np.ptp(tuned) / 0.8 < 0.75  # 1 - 0.6^2 = 0.64
    assert np.ptp(midi_of(controls.autotune(1.0))[30:-30]) < 1e-3


def test_autotune_does_not_swallow_short_notes():
    midi = np.repeat([60.2, 62.2, 60.2, 62.2, 64.2, 60.2], 8)
    np.testing.assert_allclose(midi_of(controls_of(midi).autotune(1.0)), midi - 0.2, atol=1e-3)


def test_a_performance_tuned_high_keeps_its_intervals():
    played = np.array([60, 62, 64, 65, 67, 65, 64, 62], float) + 0.45 + np.array([0.1, -0.1, 0.08, -0.05, 0.1, 0, -0.1, 0.05])
    tuned = midi_of(controls_of(played.repeat(50)).autotune(1.0))[25::50]
    np.testing.assert_allclose(np.diff(tuned), [2, 2, 1, 2, -2, -1, -2], atol=1e-3)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_autotune_has_bounds(strength):
    with pytest.raises(ControlsError, match="0 .*1"):
        controls_of(NOTES).autotune(strength)


# --- notes


def test_notes_are_periodic_and_loud():
    loudness = np.concatenate([np.full(50, -120.0), np.full(100, -20.0), np.full(50, -75.0), np.full(50, -40.0)])
    controls = controls_of(np.full(250, 60.0), 0.99, loudness)
    assert controls.note_frames().tolist() == [False] * 50 + [True] * 100 + [False] * 50 + [True] * 50
    noise = controls_of(np.full(250, 60.0), 0.4, loudness)
    assert not noise.note_frames().any()


def test_notes_begin_and_end_with_hysteresis():
    periodicity = np.concatenate([np.linspace(0, 1, 101), np.linspace(1, 0, 101)])
    notes = controls_of(np.full(202, 60.0), periodicity).note_frames().numpy()
    assert notes.sum() == (periodicity >= 0.55).sum()  # reached 0.75 once: one note, as long as it stays over 0.55
    assert not controls_of(np.full(50, 60.0), 0.7).note_frames().any()


def test_gain_and_transposition_do_not_change_the_notes():
    generator = np.random.default_rng(0)
    controls = controls_of(np.full(400, 60.0), generator.uniform(0, 1, 400), generator.uniform(-60, -20, 400))
    notes = controls.note_frames()
    assert torch.equal(controls.shift_loudness(-12).note_frames(), notes) and torch.equal(controls.transpose(7).note_frames(), notes)


def test_silence_holds_no_notes_and_rows_are_independent():
    silent, loud = controls_of(np.full(50, 60.0), 1.0, -120.0), controls_of(np.full(50, 60.0))
    assert not silent.note_frames().any() and loud.note_frames().all()
    both = Controls(*(torch.stack([getattr(c, n) for c in (silent, loud)]) for n in ("f0_hz", "periodicity", "loudness_db")))
    assert both.note_frames().shape == (2, 50) and both.note_frames().any(dim=1).tolist() == [False, True]


# --- files


def test_saved_and_loaded_are_equal_to_the_bit(tmp_path):
    generator = np.random.default_rng(0)
    controls = controls_of(
        generator.uniform(40, 90, 500), generator.uniform(0, 1, 500), generator.uniform(-90, 0, 500), FrameGrid(44100, 441)
    )
    controls.save(tmp_path / "a.npz")
    assert same(Controls.load(tmp_path / "a.npz"), controls) and [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_saved_controls_can_be_edited_with_numpy(tmp_path):
    controls_of(np.full(10, 60.0)).save(tmp_path / "a.npz")
    stored = dict(np.load(tmp_path / "a.npz"))
    assert stored["sample_rate"] == 48000 and stored["hop_length"] == 480
    stored["f0_hz"] = stored["f0_hz"].astype(np.float64) * 2
    np.savez(tmp_path / "b.npz", **stored)
    np.testing.assert_allclose(midi_of(Controls.load(tmp_path / "b.npz")), 72.0, atol=1e-5)
    stored["f0_hz"][3] = 0.0
    np.savez(tmp_path / "c.npz", **stored)
    with pytest.raises(ControlsError, match=r"c\.npz.*positive"):
        Controls.load(tmp_path / "c.npz")


def test_nothing_is_replaced_without_leave(tmp_path):
    path = tmp_path / "a.npz"
    controls_of(np.full(10, 60.0)).save(path)
    with pytest.raises(ControlsError, match="exists"):
        controls_of(np.full(10, 61.0)).save(path)
    assert midi_of(Controls.load(path))[0] == pytest.approx(60.0, abs=1e-4)
    controls_of(np.full(10, 61.0)).save(path, overwrite=True)
    assert midi_of(Controls.load(path))[0] == pytest.approx(61.0, abs=1e-4)


def bad_files(folder):
    controls_of(np.full(100, 60.0)).save(folder / "good.npz")
    whole, stored = (folder / "good.npz").read_bytes(), dict(np.load(folder / "good.npz"))
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("not an archive")
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    middle = len(whole) // 4
    (folder / "rotten.npz").write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    np.save(folder / "array.npy", np.zeros(10))
    (folder / "array.npy").rename(folder / "array.npz")
    np.savez(folder / "foreign.npz", a=np.zeros(3))
    np.savez(folder / "pickle.npz", **{**stored, "f0_hz": np.array([{"run": "me"}], dtype=object)})
    np.savez(folder / "newer.npz", **{**stored, "format_version": 99})
    np.savez(folder / "louder.npz", **{**stored, "loudness_version": 99})
    np.savez(folder / "lacking.npz", **{name: value for name, value in stored.items() if name != "periodicity"})
    np.savez(folder / "uneven.npz", **{**stored, "periodicity": np.ones(99)})
    np.savez(folder / "words.npz", **{**stored, "loudness_db": np.array(["a"] * 100)})
    np.savez(folder / "clockless.npz", **{**stored, "hop_length": 0})
    np.savez(folder / "odd.npz", **{**stored, "sample_rate": np.array([1, 2])})
    return sorted(path.name for path in folder.iterdir() if path.name != "good.npz")


def test_bad_files_are_told_in_one_line(tmp_path):
    names = bad_files(tmp_path)
    assert len(names) == 14
    for name in [*names, "missing.npz", "."]:
        with pytest.raises(ControlsError) as error:
            Controls.load(tmp_path / name)
        assert "\n" not in str(error.value) and str(tmp_path) in str(error.value), name


def test_unwritable_places_are_told(tmp_path):
    for path in (tmp_path / "no" / "a.npz", tmp_path):
        with pytest.raises(ControlsError) as error:
            controls_of(np.full(10, 60.0)).save(path, overwrite=True)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
