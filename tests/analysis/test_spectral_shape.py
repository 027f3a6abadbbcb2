import tracemalloc

import librosa
import numpy as np
import pytest

from tonetransfer.analysis.spectral_shape import mel_tracks, spectral_flux, spectral_tracks
from tonetransfer.audio.frames import FrameGrid

GRID = FrameGrid()
RATE = GRID.sample_rate
TIME = np.arange(RATE) / RATE


def sawtooth(f0_hz, level=0.2):
    """One second with f0 per sample, faded in and out within 30 ms."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0_hz, RATE)) / RATE
    fade = np.clip(np.minimum(TIME, 1 - TIME) / 0.03, 0, 1)
    return (level * fade * sum(np.sin(k * phase) / k for k in range(1, 21))).astype(np.float32)


def test_tracks_are_those_of_librosa():
    audio = sawtooth(220 + 200 * TIME) + np.random.default_rng(0).normal(0, 1e-3, RATE).astype(np.float32)
    tracks = spectral_tracks(audio, GRID)
    spectrum = np.abs(librosa.stft(audio, n_fft=2048, hop_length=480, pad_mode="constant"))[:, :100]
    common = {"S": spectrum, "sr": RATE}
    frames = {"frame_length": 2048, "hop_length": 480}
    expected = {
        "spectral_centroid_hz": librosa.feature.spectral_centroid(**common),
        "spectral_bandwidth_hz": librosa.feature.spectral_bandwidth(**common),
        "spectral_rolloff_85_hz": librosa.feature.spectral_rolloff(**common, roll_percent=0.85),
        "spectral_flatness": librosa.feature.spectral_flatness(S=spectrum),
        "spectral_contrast_3_db": librosa.feature.spectral_contrast(**common)[3:4],
        "rms_db": librosa.amplitude_to_db(librosa.feature.rms(y=audio, pad_mode="constant", **frames), top_db=None),
    }
    for key, values in expected.items():
        np.testing.assert_allclose(tracks[key], values[0, :100], rtol=2e-3, atol=1e-6, err_msg=key)


def test_mel_spectrogram_onset_strength_and_any_roll_off_are_those_of_librosa():
    audio = sawtooth(np.where(TIME < 0.5, 220.0, 330.0))
    spectrum = np.abs(librosa.stft(audio, n_fft=2048, hop_length=480, pad_mode="constant"))[:, :100]
    mel_db = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=RATE, n_mels=96), amin=1e-10, top_db=None)
    found = mel_tracks(audio, GRID)
    np.testing.assert_allclose(found["mel_db"], mel_db.T, atol=0.05)
    onset = librosa.onset.onset_strength(S=mel_db, sr=RATE, center=False)
    np.testing.assert_allclose(found["onset_strength_db"][1:], onset[1:], atol=0.05)
    rolloff = librosa.feature.spectral_rolloff(S=spectrum, sr=RATE, roll_percent=0.33)[0]
    tracks = spectral_tracks(audio, GRID, rolloff_percent=(33,))
    np.testing.assert_allclose(tracks["spectral_rolloff_33_hz"], rolloff, atol=RATE / 2048)
    assert "spectral_rolloff_85_hz" not in tracks


def test_a_sine_of_1_khz_crosses_zero_2000_times_a_second():
    tracks = spectral_tracks((0.5 * np.sin(2 * np.pi * 1000 * TIME)).astype(np.float32), GRID)
    np.testing.assert_allclose(tracks["zero_crossing_rate_hz"][5:-5], 2000, rtol=0.02)


def test_pieces_of_a_long_recording_join_without_a_seam():
    tracks = spectral_tracks(np.tile(sawtooth(330.0), 12), GRID)  # 12 s; pieces are 10 s long
    for key in ("spectral_centroid_hz", "spectral_flux", "zero_crossing_rate_hz", "rms_db"):
        assert len(tracks[key]) == 1200
        np.testing.assert_allclose(tracks[key][950:1050], tracks[key][450:550], rtol=1e-3, atol=1e-5, err_msg=key)


def test_memory_is_that_of_the_tracks():
    """An hour of all that they are made of would be half a gigabyte."""

    def peak(seconds):
        audio = np.random.default_rng(0).normal(size=48000 * seconds).astype(np.float32)
        tracemalloc.start()
        tracks = spectral_tracks(audio, FrameGrid())
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held, sum(track.nbytes for track in tracks.values())

    (before, made_before), (after, made) = peak(20), peak(80)
    assert after - before < 1.7 * (made - made_before)


def test_flux_is_small_in_a_steady_tone_and_large_where_the_note_changes():
    flux = spectral_tracks(sawtooth(np.where(TIME < 0.5, 220.0, 311.0)), GRID)["spectral_flux"]
    assert flux[10:44].max() < 0.02 and flux[47:54].max() > 0.2


def test_flux_knows_shape_and_not_level():
    a, b = np.array([1.0, 2.0, 2.0]), np.array([0.0, 3.0, 4.0])
    np.testing.assert_allclose(spectral_flux(np.stack([a, 7 * a, b], axis=1)), [0.0, np.linalg.norm(a / 3 - b / 5)], atol=1e-9)
    np.testing.assert_allclose(spectral_flux(np.eye(2)), [np.sqrt(2)])
    np.testing.assert_array_equal(spectral_flux(np.zeros((3, 4))), np.zeros(3))


def test_moments_of_white_noise_are_those_of_a_flat_distribution():
    noise = 0.1 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    tracks = spectral_tracks(noise, GRID)
    assert np.median(tracks["spectral_skewness"]) == pytest.approx(0.0, abs=0.03)
    assert np.median(tracks["spectral_kurtosis"]) == pytest.approx(1.8, abs=0.03)
    assert np.median(tracks["spectral_centroid_hz"]) == pytest.approx(12000, rel=0.02)


@pytest.mark.parametrize("n_samples", [1, 480, 481, 5000])
def test_silence_is_finite(n_samples):
    tracks = spectral_tracks(np.zeros(n_samples, np.float32), GRID)
    assert all(len(values) == GRID.n_frames(n_samples) and np.isfinite(values).all() for values in tracks.values())
    assert (tracks["rms_db"] == -120).all() and (tracks["spectral_flux"] == 0).all()
