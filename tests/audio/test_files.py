"""Sound survives the way in and out of files; bad files and arrays are told in one line."""

import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tonetransfer.audio.files import (
    AudioWriter,
    LongAudio,
    check_audio,
    load_audio,
    open_audio,
    peak_of,
    resample,
    save_audio,
    sound_files,
    stream_audio,
)
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.errors import AudioError

RATE = 48000


def tone(seconds=0.5, rate=RATE, hz=440.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def one_line(error):
    message = str(error.value)
    assert "\n" not in message and len(message) > 30
    return message


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 96000, 192000])
def test_clicks_stay_at_their_instants(tmp_path, rate):
    instants = np.array([0.2, 0.52, 1.0, 2.36])  # s, whole samples at every rate
    audio = np.zeros(3 * rate, dtype=np.float32)
    audio[np.round(instants * rate).astype(int)] = 0.9
    soundfile.write(tmp_path / "clicks.wav", audio, rate, subtype="FLOAT")
    loaded, loaded_rate = load_audio(tmp_path / "clicks.wav", RATE)
    assert loaded_rate == RATE and len(loaded) == 3 * RATE
    for instant in np.round(instants * RATE).astype(int):
        power = loaded[instant - 400 : instant + 400].double().square()
        centre = float((power * torch.arange(-400, 400)).sum() / power.sum())
        assert abs(centre) < 0.05  # samples


def test_files_longer_than_a_block_resample_like_the_whole(tmp_path):
    audio = np.random.default_rng(0).normal(0, 0.1, 700_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", audio, 44100, subtype="FLOAT")
    loaded, _ = load_audio(tmp_path / "long.wav", RATE)
    torch.testing.assert_close(loaded, resample(audio, 44100, RATE), rtol=0, atol=1e-6)
    assert abs(len(loaded) - len(audio) * RATE / 44100) < 1


def test_resampling_keeps_a_tone_and_removes_what_does_not_fit():
    low, high = tone(1.0, 44100, 1000.0), tone(1.0, 44100, 12000.0)
    wanted = tone(1.0, 16000, 1000.0)
    assert np.abs(resample(low + high, 44100, 16000).numpy() - wanted)[800:-800].max() < 1e-4
    assert len(resample(np.ones(1, np.float32), 192000, 8000)) == 1


@pytest.mark.parametrize(
    ("extension", "subtype", "tolerance"),
    [(".wav", "PCM_16", 1e-4), (".wav", "PCM_24", 1e-6), (".wav", "PCM_U8", 0.01), (".wav", "FLOAT", 0), (".flac", "PCM_24", 1e-6)],
)
def test_any_sample_format_is_read(tmp_path, extension, subtype, tolerance):
    path = tmp_path / f"tone{extension}"
    soundfile.write(path, tone(), 44100, subtype=subtype)
    audio, rate = load_audio(path)
    assert rate == 44100 and audio.dtype == torch.float32 and audio.dim() == 1
    assert np.abs(audio.numpy() - tone()).max() <= tolerance


def write_channels(path, channels, rate=RATE):
    soundfile.write(path, np.stack(channels, axis=1), rate, subtype="FLOAT")
    return load_audio(path)[0].numpy()


def test_channels_are_averaged(tmp_path):
    left, right = tone(hz=300), tone(hz=500)
    np.testing.assert_allclose(write_channels(tmp_path / "a.wav", [left, right]), (left + right) / 2, atol=1e-6)


def test_a_dead_channel_does_not_halve_the_level(tmp_path):
    hiss = np.random.default_rng(1).normal(0, 1e-5, len(tone())).astype(np.float32)
    np.testing.assert_allclose(write_channels(tmp_path / "a.wav", [tone(), np.zeros_like(tone())]), tone(), atol=1e-6)
    np.testing.assert_allclose(write_channels(tmp_path / "b.wav", [hiss, tone(), hiss, hiss]), tone(), atol=1e-6)


def test_channels_in_antiphase_do_not_cancel(tmp_path):
    audio = write_channels(tmp_path / "a.wav", [0.5 * tone(), -tone()])
    assert np.abs(np.abs(audio) - np.abs(tone())).max() < 1e-6


def test_independent_channels_are_no_antiphase(tmp_path):
    channels = list(np.random.default_rng(2).normal(0, 0.1, (6, RATE)).astype(np.float32))
    np.testing.assert_allclose(write_channels(tmp_path / "a.wav", channels), np.mean(channels, axis=0), atol=1e-6)


def test_floats_beyond_one_are_kept(tmp_path):
    soundfile.write(tmp_path / "hot.wav", 3 * tone(), RATE, subtype="FLOAT")
    assert abs(float(load_audio(tmp_path / "hot.wav")[0].max()) - 1.5) < 1e-3


def test_silence_is_silence(tmp_path):
    soundfile.write(tmp_path / "s.wav", np.zeros((4800, 2)), RATE)
    assert not load_audio(tmp_path / "s.wav", 16000)[0].any()


def broken_files(folder):
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is not a sound.\n" * 40)
    soundfile.write(folder / "none.wav", np.zeros(0), RATE)
    bad = tone()
    bad[100] = np.nan
    soundfile.write(folder / "nan.wav", bad, RATE, subtype="FLOAT")
    bad[100] = np.inf
    soundfile.write(folder / "inf.wav", np.stack([tone(), bad], 1), RATE, subtype="FLOAT")
    soundfile.write(folder / "huge.wav", 32768 * tone(), RATE, subtype="FLOAT")
    soundfile.write(folder / "whole.wav", tone(), RATE)
    (folder / "cut.wav").write_bytes((folder / "whole.wav").read_bytes()[:20])
    (folder / "sound.raw").write_bytes(bytes(1000))
    return ["missing.wav", ".", "empty.wav", "text.wav", "none.wav", "nan.wav", "inf.wav", "huge.wav", "cut.wav", "sound.raw"]


def test_bad_files_are_told_in_one_line(tmp_path):
    messages = []
    for name in broken_files(tmp_path):
        for rate in (None, 16000):
            with pytest.raises(AudioError) as error:
                load_audio(tmp_path / name, rate)
            message = one_line(error)
        assert str(tmp_path) in message
        messages.append(message.replace(str(tmp_path / name), ""))
    assert len(set(messages)) == len(messages) - 1  # nan and inf are alike; each of the others has words of its own


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, lambda a: a.astype(np.float64), lambda a: torch.from_numpy(a).double()])
def test_arrays_and_tensors_pass_unchanged(make):
    audio = make(tone())
    before = audio.copy() if isinstance(audio, np.ndarray) else audio.clone()
    checked = check_audio(audio, RATE)
    assert checked.dtype == torch.float32
    np.testing.assert_array_equal(checked.numpy(), tone())
    assert (before == audio).all()


def test_integers_are_scaled_by_their_full_scale():
    assert check_audio(np.array([0, -(2**15), 2**14], np.int16), RATE).tolist() == [0, -1, 0.5]
    assert check_audio(torch.tensor([0, -(2**31), 2**30], dtype=torch.int32), RATE).tolist() == [0, -1, 0.5]
    assert check_audio(np.array([128, 0, 192], np.uint8), RATE).tolist() == [0, -1, 0.5]


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0),
        np.zeros((2, 100)),
        np.float32(0.5),
        np.array([0.0, np.nan]),
        np.array([0.0, -np.inf]),
        np.array([1e30, 0.0]) * 1e30,
        np.array([True, False]),
        np.array([1j]),
        np.array(["a"]),
        [0.1, 0.2],
        None,
        "a.wav",
        32768 * tone(),
    ],
)
def test_bad_arrays_are_told_in_one_line(audio):
    with pytest.raises(AudioError) as error, np.errstate(all="ignore"):
        check_audio(audio, RATE)
    one_line(error)


@pytest.mark.parametrize("rate", [0, -48000, 44100.5, float("nan"), None, "48000", True, 10**9, np.inf])
def test_bad_rates_are_told_in_one_line(rate):
    with pytest.raises(AudioError) as error:
        check_audio(tone(), rate)
    one_line(error)


@pytest.mark.parametrize(("extension", "tolerance"), [(".wav", 2e-7), (".flac", 2e-7), (".aiff", 2e-7), (".ogg", 0.05), (".mp3", 0.1)])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_saved_sound_is_the_sound(tmp_path, extension, tolerance, kind):
    path = tmp_path / f"tone{extension}"
    audio = kind(tone(2.0))
    save_audio(path, audio, RATE)
    loaded, rate = load_audio(path)
    assert rate == RATE and [p.name for p in tmp_path.iterdir()] == [path.name]
    n_samples = min(len(loaded), len(audio))
    assert n_samples > 1.9 * RATE
    assert np.abs(loaded.numpy()[:n_samples] - tone(2.0)[:n_samples])[4800:-4800].max() < tolerance
    assert (np.asarray(audio) == tone(2.0)).all()


def test_24_bit_is_written(tmp_path):
    for name in ("a.wav", "a.flac"):
        save_audio(tmp_path / name, tone(), RATE)
        assert soundfile.info(tmp_path / name).subtype == "PCM_24"


def test_nothing_clips_in_silence(tmp_path):
    with pytest.warns(UserWarning, match=r"turned down by 6\.0 dB"):
        save_audio(tmp_path / "a.wav", tone(amplitude=2.0), RATE)
    loaded = load_audio(tmp_path / "a.wav")[0].numpy()
    assert 0.999 < loaded.max() < 1.0
    np.testing.assert_allclose(loaded, tone(amplitude=2.0) / tone(amplitude=2.0).max(), atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_audio(tmp_path / "b.wav", np.array([1.0, -1.0, 0.0]), RATE)


def test_nothing_is_replaced_without_leave(tmp_path):
    path = tmp_path / "a.wav"
    save_audio(path, tone(), RATE)
    before = path.read_bytes()
    with pytest.raises(AudioError, match="exists") as error:
        save_audio(path, 0 * tone(), RATE)
    one_line(error)
    assert path.read_bytes() == before
    save_audio(path, 0 * tone(), RATE, overwrite=True)
    assert not load_audio(path)[0].any()


def test_bad_outputs_are_told_in_one_line(tmp_path):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "folder.wav").mkdir()
    for name in ("a.xyz", "a", "no/such/folder/a.wav", "file.txt/a.wav", "folder.wav"):
        with pytest.raises(AudioError) as error:
            save_audio(tmp_path / name, tone(), RATE)
        assert str(tmp_path) in one_line(error)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.txt", "folder.wav"]


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a folder where nobody may write")
def test_an_unwritable_place_is_told():
    with pytest.raises(AudioError, match="cannot be written") as error:
        save_audio("/proc/tone.wav", tone(), RATE)
    one_line(error)


def test_a_rate_that_the_format_cannot_hold_is_told(tmp_path):
    with pytest.raises(AudioError, match="cannot be written") as error:
        save_audio(tmp_path / "a.mp3", tone(), 192000)
    one_line(error)
    assert not list(tmp_path.iterdir())


def test_pieces_make_the_whole(tmp_path):
    audio = torch.from_numpy(tone(3.0))
    with AudioWriter(tmp_path / "pieces.flac", RATE) as writer:
        for piece in audio.split(10007):
            writer.write(piece)
    save_audio(tmp_path / "whole.flac", audio, RATE)
    assert (tmp_path / "pieces.flac").read_bytes() == (tmp_path / "whole.flac").read_bytes()


@pytest.mark.parametrize("peak", [4.0, 400.0])
def test_a_late_peak_turns_down_the_whole(tmp_path, peak):
    with pytest.warns(UserWarning), AudioWriter(tmp_path / "a.wav", RATE) as writer:
        writer.write(np.full(1000, 0.5, np.float32))
        writer.write(np.full(10, -peak, np.float32))
    loaded = load_audio(tmp_path / "a.wav")[0]
    assert abs(float(loaded[0]) - 0.5 / peak) < 1e-4 and -1.0 < float(loaded[-1]) < -0.9999


def test_a_failure_leaves_nothing_behind(tmp_path):
    save_audio(tmp_path / "a.wav", tone(), RATE)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(KeyboardInterrupt), AudioWriter(tmp_path / "a.wav", RATE, overwrite=True) as writer:
        writer.write(tone())
        raise KeyboardInterrupt
    with pytest.raises(AudioError, match="finite"), AudioWriter(tmp_path / "b.wav", RATE) as writer:
        writer.write(np.array([0.0, np.nan]))
    with pytest.raises(AudioError, match="nothing to write"), AudioWriter(tmp_path / "c.wav", RATE):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == before


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    """100 s of 192 kHz in six channels are 0.46 GB as floats; only the mono result may be held."""
    with soundfile.SoundFile(tmp_path / "big.flac", "w", 192000, 6, "PCM_16") as file:
        for _ in range(100):
            file.write(np.zeros((192000, 6), dtype=np.int16))
    program = (
        "import resource, sys, tonetransfer.audio.files as a\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "a.load_audio(sys.argv[1], 48000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path / "big.flac")], capture_output=True, text=True, check=True)
    assert int(run.stdout) / 1024 < 19 + 80  # MB: the result and the pieces on the way


def test_of_a_stream_two_stretches_are_held(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(200 * RATE, np.float32), RATE)
    tracemalloc.start()
    lengths = []
    for stretch in stream_audio(tmp_path / "a.wav", RATE, 60 * RATE):
        lengths.append(len(stretch))
        del stretch
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lengths == [60 * RATE] * 3 + [20 * RATE] and peak < 3 * 4 * 60 * RATE


def test_a_long_recording_stays_on_disk_and_reads_alike(tmp_path: Path) -> None:
    sound = 0.3 * np.random.default_rng(0).standard_normal((44100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    whole, rate = load_audio(tmp_path / "a.wav", 48000)
    long, same = open_audio(tmp_path / "a.wav", 48000, held_s=0.5)
    assert isinstance(long, LongAudio) and rate == same and len(long) == len(whole) == long.shape[-1]
    assert torch.equal(long[:], whole) and torch.equal(long[..., 1000:1200], whole[1000:1200]) and torch.equal(long[-50:], whole[-50:])
    assert len(long[len(whole) : len(whole) + 10]) == 0 and long.peak == peak_of(whole)
    short, _ = open_audio(tmp_path / "a.wav", 48000)
    assert isinstance(short, torch.Tensor) and torch.equal(short, whole)


def test_controls_of_a_long_recording_are_those_of_a_short_one(tmp_path: Path) -> None:
    from tonetransfer.controls.controls import extract

    t = np.arange(26 * 48000) / 48000
    sound = torch.from_numpy((0.2 * np.sin(2 * np.pi * 330.0 * t) * (1 + np.sin(3 * t))).astype(np.float32))
    long = LongAudio(iter(np.array_split(sound.numpy(), 7)))
    a, b = extract(sound, FrameGrid(), tracker="yin"), extract(long, FrameGrid(), tracker="yin")
    assert torch.equal(a.f0_hz, b.f0_hz) and torch.equal(a.loudness_db, b.loudness_db) and torch.equal(a.periodicity, b.periodicity)


def test_what_is_too_long_is_refused_before_it_is_all_read(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(48000 * 30), 48000)
    with pytest.raises(AudioError, match="longer than 10 s"):
        load_audio(path, longest_s=10.0)
    assert len(load_audio(path, longest_s=30.0)[0]) == 48000 * 30


def test_many_channels_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    one = 0.1 * np.random.default_rng(0).standard_normal((20000, 1))
    sound = one * np.linspace(0.5, 1.0, 40)
    soundfile.write(path, sound, 48000, subtype="FLOAT")
    assert np.allclose(load_audio(path)[0].numpy(), sound.mean(1), atol=1e-6)


def test_recordings_of_a_folder_by_their_names(tmp_path):
    (tmp_path / "inner.wav").mkdir()
    for name in ("b.WAV", "a.flac", "notes.txt", "inner.wav/c.ogg", ".hidden"):
        (tmp_path / name).touch()
    assert [path.name for path in sound_files(tmp_path)] == ["a.flac", "b.WAV"]
    assert [path.name for path in sound_files(tmp_path, below=True)] == ["a.flac", "b.WAV", "c.ogg"]
