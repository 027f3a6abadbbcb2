import numpy as np
import pytest
import torch
from command_line import Run, as_json

from tonetransfer.analysis.descriptors import analyze_timbre, describe_controls, descriptor_tracks, notes_of
from tonetransfer.audio.files import save_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.controls.controls import Controls, extract
from tonetransfer.errors import AudioError, ControlsError

GRID = FrameGrid()
RATE = GRID.sample_rate
SAWTOOTH = 0.25 / np.arange(1, 21)


def tone(f0_hz, amplitudes=SAWTOOTH, envelope=1.0):
    """Harmonic sound with f0 per sample; silent before and after for 0.1 s."""
    order = np.arange(1, len(amplitudes) + 1)
    order = order[order * np.max(f0_hz) < RATE / 2]
    turns = order * np.cumsum(f0_hz)[:, None] / RATE + 0.13 * order**2
    sound = envelope * (np.sin(2 * np.pi * turns) @ np.asarray(amplitudes)[: len(order)])
    return np.pad(sound, RATE // 10).astype(np.float32)


def time(duration_s):
    return np.arange(round(duration_s * RATE)) / RATE


def fades(duration_s, fade_s=0.03):
    return np.clip(np.minimum(time(duration_s), duration_s - time(duration_s)) / fade_s, 0, 1)


def controls_of(audio, f0_hz):
    """True controls: f0 known at each sample (or one number), loudness measured, certain wherever there is sound."""
    n_frames = GRID.n_frames(len(audio))
    f0 = np.pad(np.broadcast_to(f0_hz, len(audio) - RATE // 5), RATE // 10, mode="edge")[:: GRID.hop_length][:n_frames]
    loudness = loudness_db(torch.from_numpy(audio), GRID)
    return Controls(f0.copy(), (loudness > loudness.max() - 40).float(), loudness, GRID)


def describe(audio, f0_hz):
    return describe_controls(audio, controls_of(audio, f0_hz))


def vibrato_tone(base_hz, rate_hz=5.5, extent_cents=40.0, tremolo_rate_hz=0.0, depth_db=0.0, duration_s=2.0):
    t = time(duration_s)
    f0_hz = base_hz * 2 ** (extent_cents / 1200 * np.sin(2 * np.pi * rate_hz * t))
    swell = 10 ** (depth_db / 20 * np.sin(2 * np.pi * tremolo_rate_hz * t))
    return tone(f0_hz, SAWTOOTH / 2, fades(duration_s) * swell), f0_hz


@pytest.mark.parametrize("base_hz", [65.4, 196.0, 440.0, 1760.0])
def test_vibrato_is_read_back(base_hz):
    found = describe(*vibrato_tone(base_hz))
    assert found["vibrato_rate_hz"] == pytest.approx(5.5, rel=0.01)
    assert found["vibrato_extent_cents"] == pytest.approx(40.0, rel=0.01)
    assert found["note_count"] == 1 and found["tremolo_rate_hz"] == found["tremolo_depth_db"] == 0


@pytest.mark.parametrize("base_hz", [82.4, 330.0, 1318.5])
@pytest.mark.parametrize(("rate_hz", "depth_db"), [(4.5, 1.5), (6.0, 3.0), (7.0, 6.0)])
def test_tremolo_is_read_back(base_hz, rate_hz, depth_db):
    found = describe(*vibrato_tone(base_hz, extent_cents=0.0, tremolo_rate_hz=rate_hz, depth_db=depth_db))
    assert found["tremolo_rate_hz"] == pytest.approx(rate_hz, rel=0.01)
    assert found["tremolo_depth_db"] == pytest.approx(depth_db, rel=0.03)
    assert found["note_count"] == 1 and found["vibrato_rate_hz"] == found["vibrato_extent_cents"] == 0


def test_vibrato_and_tremolo_at_once():
    found = describe(*vibrato_tone(294.0, 6.2, 25.0, 4.8, 2.0))
    assert found["vibrato_rate_hz"] == pytest.approx(6.2, rel=0.01) and found["vibrato_extent_cents"] == pytest.approx(25, rel=0.02)
    assert found["tremolo_rate_hz"] == pytest.approx(4.8, rel=0.01) and found["tremolo_depth_db"] == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("base_hz", [98.0, 440.0, 880.0])
def test_vibrato_is_read_back_through_the_tracker(base_hz):
    audio, _ = vibrato_tone(base_hz)
    found = describe_controls(audio, extract(audio, GRID))
    assert found["vibrato_rate_hz"] == pytest.approx(5.5, rel=0.03)
    assert found["vibrato_extent_cents"] == pytest.approx(40.0, rel=0.03)


def test_no_vibrato_reads_zero():
    found = describe(tone(np.full(RATE, 440.0), envelope=fades(1.0)), 440.0)
    for key in ("vibrato_rate_hz", "vibrato_extent_cents", "vibrato_onset_s", "vibrato_share", "tremolo_rate_hz", "tremolo_depth_db"):
        assert found[key] == 0


def test_vibrato_onset_counts_from_the_start_of_the_note():
    t = time(2.5)
    f0_hz = 392.0 * 2 ** (np.clip((t - 0.7) / 0.2, 0, 1) * 40 / 1200 * np.sin(2 * np.pi * 5.5 * t))
    assert describe(tone(f0_hz, envelope=fades(2.5)), f0_hz)["vibrato_onset_s"] == pytest.approx(0.8, abs=0.08)


def test_a_sawtooth_has_the_descriptors_of_its_formula():
    found = describe(tone(np.full(RATE, 220.0), envelope=fades(1.0)), 220.0)
    total = (1 / np.arange(1, 21)).sum()
    assert found["tristimulus_1"] == pytest.approx(1 / total, rel=0.01)
    assert found["tristimulus_2"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / total, rel=0.01)
    assert found["tristimulus_3"] == pytest.approx(1 - (1 + 1 / 2 + 1 / 3 + 1 / 4) / total, rel=0.01)
    assert found["partial_01_db"] - found["partial_04_db"] == pytest.approx(12.04, abs=0.1)
    assert found["spectral_slope_db_per_octave"] == pytest.approx(-6.02, abs=0.1)
    assert found["harmonic_to_noise_ratio_db"] > 30
    assert found["inharmonicity_coefficient"] < 1e-6
    assert found["f0_mean_hz"] == pytest.approx(220, rel=1e-4) and found["f0_mean_midi"] == pytest.approx(57, abs=0.01)
    assert found["pitch_range_semitones"] == 0


def test_more_gain_changes_levels_and_nothing_else():
    audio = tone(np.full(RATE, 262.0), envelope=fades(1.0))
    quiet, loud = describe(audio / 2, 262.0), describe(audio, 262.0)
    for key in ("rms_db", "loudness_mean_db"):
        assert loud[key] - quiet[key] == pytest.approx(6.02, abs=0.1)
    for key in ("spectral_centroid_hz", "tristimulus_1", "harmonic_to_noise_ratio_db", "attack_s", "odd_to_even_ratio_db"):
        assert loud[key] == pytest.approx(quiet[key], rel=0.02), key


def test_notes_and_their_attacks():
    pitches, envelope = [262.0, 330.0, 392.0], np.clip(np.minimum(time(0.5) / 0.06, (0.5 - time(0.5)) / 0.1), 0, 1)
    f0_hz = np.repeat(pitches, RATE // 2)
    audio = tone(f0_hz, envelope=np.tile(envelope, 3))
    notes = notes_of(analyze_timbre(audio, controls_of(audio, f0_hz)))
    assert len(notes) == 3
    for number, note in enumerate(notes):
        assert note["f0_hz"] == pytest.approx(pitches[number], rel=1e-3)
        assert note["onset_s"] == pytest.approx(0.1 + 0.5 * number, abs=0.02)
        assert note["attack_s"] == pytest.approx(0.06, rel=0.1)
        assert note["release_s"] == pytest.approx(0.1, rel=0.1)
        assert note["temporal_centroid_s"] == pytest.approx(0.24, abs=0.01)
    found = describe(audio, f0_hz)
    assert found["note_count"] == 3 and found["pitch_range_semitones"] == pytest.approx(12 * np.log2(392 / 262), abs=0.01)
    assert found["log_attack_time_log10_s"] == pytest.approx(np.log10(0.06), abs=0.05)


def all_finite(values):
    return all(isinstance(value, float) and np.isfinite(value) for value in values.values())


@pytest.mark.parametrize("n_samples", [1, 479, 480, 961, 4800, RATE])
def test_silence_and_short_clips_give_finite_numbers_under_the_same_keys(n_samples):
    keys = list(describe(tone(np.full(RATE // 2, 440.0)), 440.0))
    n_frames = GRID.n_frames(n_samples)
    for audio in (np.zeros(n_samples, np.float32), tone(np.full(RATE, 440.0))[RATE // 10 :][:n_samples]):
        loudness = loudness_db(torch.from_numpy(audio), GRID)
        found = describe_controls(audio, Controls(np.full(n_frames, 440.0), (loudness > -50).float(), loudness, GRID))
        assert all_finite(found) and list(found) == keys
    silence = describe_controls(
        np.zeros(n_samples), Controls(np.full(n_frames, 440.0), np.zeros(n_frames), np.full(n_frames, -120.0), GRID)
    )
    assert silence["note_count"] == 0 and silence["f0_mean_hz"] == 0 and silence["spectral_centroid_hz"] == 0
    assert silence["rms_db"] == silence["loudness_mean_db"] == -120


def test_noise_has_a_spectrum_and_no_notes():
    noise = 0.1 * np.random.default_rng(5).standard_normal(RATE).astype(np.float32)
    loudness = loudness_db(torch.from_numpy(noise), GRID)
    found = describe_controls(noise, Controls(np.full(100, 220.0), np.zeros(100), loudness, GRID))
    assert all_finite(found) and found["note_count"] == 0 and found["f0_mean_hz"] == 0
    assert found["spectral_centroid_hz"] == pytest.approx(12000, rel=0.03) and found["spectral_flatness"] > 0.3


def test_tracks_are_finite_one_a_frame_and_inputs_stay():
    audio = tone(np.full(RATE // 2, 440.0))
    controls = controls_of(audio, 440.0)
    before = audio.copy(), controls.f0_hz.clone()
    tracks = descriptor_tracks(torch.from_numpy(audio), controls)
    assert all(values.shape == (controls.n_frames,) and np.isfinite(values).all() for values in tracks.values())
    np.testing.assert_array_equal(audio, before[0])
    assert torch.equal(controls.f0_hz, before[1])


def test_other_grids():
    grid = FrameGrid(16000, 160)
    t = np.arange(16000) / 16000
    audio = (0.3 * np.sin(2 * np.pi * np.cumsum(440 * 2 ** (40 / 1200 * np.sin(2 * np.pi * 5.5 * t))) / 16000)).astype(np.float32)
    found = describe_controls(audio, Controls(np.full(100, 440.0), np.ones(100), loudness_db(torch.from_numpy(audio), grid), grid))
    assert found["vibrato_extent_cents"] == pytest.approx(40, rel=0.03) and all_finite(found)


def test_what_does_not_fit_is_refused():
    audio = tone(np.full(RATE // 2, 440.0))
    with pytest.raises(ControlsError, match="extract them from this audio"):
        describe_controls(audio[:-4800], controls_of(audio, 440.0))
    with pytest.raises(AudioError):
        describe_controls(np.full(len(audio), np.nan, np.float32), controls_of(audio, 440.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base_hz", "rate_hz", "extent_cents"),
    [(73.4, 6.0, 60.0), (155.6, 4.6, 120.0), (330.0, 5.5, 40.0), (740.0, 6.8, 20.0), (1480.0, 5.5, 40.0)],
)
def test_modulation_is_read_back_from_a_file(run: Run, base_hz: float, rate_hz: float, extent_cents: float) -> None:
    """Vibrato of one file, tremolo of another, by the tracker and the command line."""
    for name, tone in {
        "vibrato": vibrato_tone(base_hz, rate_hz, extent_cents),
        "tremolo": vibrato_tone(base_hz, 0.0, 0.0, rate_hz, extent_cents / 20),
    }.items():
        save_audio(f"{name}.wav", tone[0], RATE)
        found = as_json(run("analyze", f"{name}.wav", "--json"))
        size, wanted = ("extent_cents", extent_cents) if name == "vibrato" else ("depth_db", extent_cents / 20)
        assert found[f"{name}_rate_hz"] == pytest.approx(rate_hz, rel=0.03)
        assert found[f"{name}_{size}"] == pytest.approx(wanted, rel=0.03)
