"""Recordings in, a dataset out: whatever the files, whoever does the work, and however often it is killed."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import shutil
import signal
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
import torch
from clean_process import clean_processes
from conftest import SAMPLE_RATE, melody, tone

from tonetransfer.audio.files import load_audio, stream_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.controls import extract
from tonetransfer.data import dataset, prepare
from tonetransfer.data import scan as suitability
from tonetransfer.data.dataset import Prepared, PreparedRecording
from tonetransfer.data.jobs import run_jobs
from tonetransfer.data.prepare import Candidate, hold_out
from tonetransfer.data.scan import find_sources
from tonetransfer.errors import MissingDependencyError, SettingsError

GRID = FrameGrid()


def write(path: Path, audio: torch.Tensor, sample_rate: int = SAMPLE_RATE, **more: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.numpy(), sample_rate, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files of several kinds, and every kind of bad ones."""
    place = tmp_path_factory.mktemp("recordings")
    write(place / "a.wav", melody([60, 64, 67]))
    write(place / "b" / "low rate.flac", melody([62, 65])[::3], 16000)
    write(place / "c.ogg", melody([67, 72]), format="OGG", subtype="VORBIS")
    write(place / "stereo.wav", torch.stack([melody([69, 71]), torch.zeros(57600)], dim=1))
    shutil.copy(place / "a.wav", place / "a again.wav")
    write(place / "a as flac.flac", load_audio(place / "a.wav")[0], subtype="PCM_16")
    shutil.copy(place / "b" / "low rate.flac", place / "wrong ending.txt")
    with open(place / "wrong ending.txt", "ab") as file:
        file.write(b"\0")  # not a copy
    (place / "notes.txt").write_text("take 3 is the best")
    (place / "empty.wav").write_bytes(b"")
    (place / "phone.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    (place / "cut.flac").write_bytes((place / "b" / "low rate.flac").read_bytes()[:3000])
    write(place / "silent.wav", torch.zeros(48000))
    write(place / "short.wav", tone(220.0, 0.2))
    chord = sum(tone(220.0 * 2.0 ** (i / 12.0), 1.2, level=0.1) for i in (0, 4, 7))
    write(place / "chord.wav", torch.as_tensor(chord))
    (place / ".hidden.wav").write_bytes(b"no")
    return place


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare.prepare(folder, tmp_path_factory.mktemp("made") / "out", licence="CC0, by a test")


def fingerprint(out: Path | str) -> dict[str, str]:
    """Every file of a dataset with the hash of its bytes."""
    files = (path for path in sorted(Path(out).rglob("*")) if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_file_is_taken_or_named_with_a_reason(made: Prepared) -> None:
    taken = {one["name"] for one in made.manifest["sources"]}
    kinds = {one["name"]: one["kind"] for one in made.manifest["skipped"]}
    assert taken == {"a again.wav", "b/low rate.flac", "c.ogg", "stereo.wav"}
    assert kinds == {
        "a as flac.flac": "duplicate",
        "a.wav": "duplicate",
        "chord.wav": "polyphonic",
        "cut.flac": "unreadable",
        "empty.wav": "unreadable",
        "notes.txt": "not_sound",
        "phone.m4a": "unreadable",
        "short.wav": "too_short",
        "silent.wav": "silent",
        "wrong ending.txt": "duplicate",
    }
    assert all(one["reason"] for one in made.manifest["skipped"])
    assert made.manifest["licence"] == "CC0, by a test"
    assert not list(Path(made.folder).rglob("*.part*")) and not (Path(made.folder) / prepare.LOCK).exists()


def test_what_is_read_is_what_was_recorded(made: Prepared, folder: Path) -> None:
    for recording in made.recordings:
        audio = load_audio(folder / recording.name, SAMPLE_RATE)[0]
        read = made.audio(recording, 0, len(audio))
        assert (read - audio).abs().max() <= 0.51 * audio.abs().max() / dataset.FULL_SCALE
        assert recording.n_frames == GRID.n_frames(len(audio))
        known, heard = extract(audio, GRID), made.controls(recording)
        for name in ("f0_hz", "periodicity", "loudness_db"):
            torch.testing.assert_close(getattr(heard, name), getattr(known, name), rtol=1e-4, atol=1e-4)
    assert made.minutes == pytest.approx(sum(one.n_frames for one in made.recordings) / 6000.0)


def test_outside_of_a_recording_is_silence(made: Prepared) -> None:
    recording = made.recordings[0]
    n_samples = GRID.n_samples(recording.n_frames)
    around = made.audio(recording, -100, n_samples + 200)
    assert not around[:100].any() and not around[-100:].any()
    assert torch.equal(around[100:-100], made.audio(recording, 0, n_samples))
    assert not made.audio(recording, n_samples, 50).any() and len(made.audio(recording, 5, 0)) == 0


def test_the_same_reader_reads_from_object_storage_and_in_workers(made: Prepared) -> None:
    remote = fsspec.filesystem("memory")
    remote.put(made.folder, "/bucket/sax", recursive=True)
    there = Prepared("memory://bucket/sax", GRID)
    assert there.recordings == made.recordings
    for reader in (there, pickle.loads(pickle.dumps(made))):
        assert torch.equal(reader.audio(made.recordings[1], 1000, 5000), made.audio(made.recordings[1], 1000, 5000))
        assert torch.equal(reader.controls(made.recordings[1]).f0_hz, made.controls(made.recordings[1]).f0_hz)


def test_validation_is_there_and_apart(made: Prepared) -> None:
    assert made.split("validation") and made.split("train")
    assert not {one.key for one in made.split("train")} & {one.key for one in made.split("validation")}
    with pytest.raises(SettingsError, match="train, validation"):
        made.split("test")


def test_a_second_run_does_nothing_and_a_new_file_costs_only_itself(
    made: Prepared, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, more = tmp_path / "out", tmp_path / "more"
    shutil.copytree(made.folder, out)
    shutil.copytree(folder, more)
    worked: list[str] = []
    original = prepare._prepare
    monkeypatch.setattr(prepare, "_prepare", lambda job: worked.append(job.path.name) or original(job))  # type: ignore[func-returns-value]
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    prepare.prepare(more, out)
    assert worked == [] and {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times
    write(more / "new.wav", melody([74]))
    again = prepare.prepare(more, out)
    assert worked == ["new.wav"] and len(again.manifest["sources"]) == 5 and again.manifest["licence"] == "CC0, by a test"


def test_doubtful_files_can_be_taken(made: Prepared, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made.folder, out)
    forced = prepare.prepare(folder, out, force=True)
    assert {one["name"]: one["doubt"] for one in forced.manifest["sources"] if one["doubt"]} == {
        "chord.wav": "polyphonic",
        "short.wav": "too_short",
    }
    assert prepare.prepare(folder, out).recordings == made.recordings


def test_long_recordings_are_heard_in_stretches_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = melody([60, 64, 67, 72, 55, 62, 69, 65, 60, 57])
    write(tmp_path / "in" / "long.wav", audio, subtype="FLOAT")
    whole = prepare.prepare(tmp_path / "in", tmp_path / "whole")
    held: list[int] = []
    monkeypatch.setattr(suitability, "STRETCH_S", 2)
    monkeypatch.setattr(suitability, "extract", lambda x, *a, **k: held.append(len(x)) or extract(x, *a, **k))  # type: ignore[func-returns-value]
    pieces = prepare.prepare(tmp_path / "in", tmp_path / "pieces")
    assert len(held) == 3 and max(held) <= 6 * SAMPLE_RATE  # two seconds with two on both sides
    one, other = whole.recordings[0], pieces.recordings[0]
    assert torch.equal(whole.audio(one, 0, len(audio)), pieces.audio(other, 0, len(audio)))
    known, heard = whole.controls(one), pieces.controls(other)
    torch.testing.assert_close(heard.loudness_db, known.loudness_db, rtol=0, atol=1e-3)
    notes = known.note_frames()
    assert (1200 * torch.log2(heard.f0_hz / known.f0_hz)[notes]).abs().quantile(0.99) < 5.0
    streamed = torch.cat(list(stream_audio(tmp_path / "in" / "long.wav", 44100, 10000)))
    assert torch.equal(streamed, load_audio(tmp_path / "in" / "long.wav", 44100)[0])


def test_soft_recordings_keep_their_bits(tmp_path: Path) -> None:
    soft = 1e-2 * melody([60, 64])
    write(tmp_path / "in" / "soft.wav", soft, subtype="FLOAT")
    made = prepare.prepare(tmp_path / "in", tmp_path / "out")
    error = made.audio(made.recordings[0], 0, len(soft)) - soft
    assert 20.0 * torch.log10(soft.square().mean().sqrt() / error.square().mean().sqrt()) > 75.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that were forked")
@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    for k in range(8):
        write(tmp_path / "in" / f"{k}.wav", melody([60 + k, 65 + k], seconds=0.3))
    write(tmp_path / "in" / "silent.wav", torch.zeros(48000))
    context = clean_processes()
    begin = time.monotonic()
    whole = context.Process(target=prepare.prepare, args=(tmp_path / "in", tmp_path / "whole"))
    whole.start()
    whole.join()
    lasted = time.monotonic() - begin
    assert whole.exitcode == 0
    known = fingerprint(tmp_path / "whole")
    chance, kills, trials, torn = random.Random(0), 0, 0, 0
    while kills < 10:
        run = context.Process(target=prepare.prepare, args=(tmp_path / "in", tmp_path / f"out{trials}"))
        run.start()
        run.join(chance.uniform(0.02, 0.5) * lasted)
        if run.is_alive():
            os.kill(run.pid or 0, signal.SIGKILL)
            kills += 1
            run.join()
            torn += bool(list((tmp_path / f"out{trials}").rglob("*.part*")))
            there = fingerprint(tmp_path / f"out{trials}")
            if dataset.INDEX in there:  # it comes last: then all is there
                assert known.items() <= there.items()
            else:
                with pytest.raises(SettingsError):  # nobody takes what was begun for a dataset
                    Prepared(tmp_path / f"out{trials}", GRID)
        else:
            assert run.exitcode == 0 and fingerprint(tmp_path / f"out{trials}") == known
            trials += 1
    last = context.Process(target=prepare.prepare, args=(tmp_path / "in", tmp_path / f"out{trials}"))
    last.start()
    last.join()
    assert fingerprint(tmp_path / f"out{trials}") == known
    assert torn > 0  # some kills met a group that was being written


@pytest.mark.slow
def test_two_workers_of_a_dask_cluster_make_the_same_bytes(made: Prepared, folder: Path, tmp_path: Path) -> None:
    prepare.prepare(folder, tmp_path / "out", engine="dask", workers=2, licence="CC0, by a test")
    assert fingerprint(tmp_path / "out") == fingerprint(made.folder)


def test_a_cluster_that_is_running_already_is_used(tmp_path: Path) -> None:
    """Its two workers are threads here, which start at once."""
    import distributed

    for midi in (60, 64):
        write(tmp_path / "in" / f"{midi}.wav", melody([midi], seconds=0.6))
    prepare.prepare(str(tmp_path / "in"), str(tmp_path / "local"))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        prepare.prepare(tmp_path / "in", tmp_path / "dask", engine="dask", scheduler=cluster.scheduler_address)
    assert fingerprint(tmp_path / "dask") == fingerprint(tmp_path / "local")


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(made: Prepared, folder: Path, tmp_path: Path) -> None:
    prepare.prepare(folder, tmp_path / "out", workers=2, licence="CC0, by a test")
    assert fingerprint(tmp_path / "out") == fingerprint(made.folder)


def test_engines_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="local, dask"):
        list(run_jobs(len, [[]], engine="spark"))
    with pytest.raises(SettingsError, match="--engine dask"):
        list(run_jobs(len, [[]], scheduler="tcp://there:1"))
    monkeypatch.setitem(__import__("sys").modules, "dask", None)
    with pytest.raises(MissingDependencyError, match="tonetransfer\\[dask\\]"):
        list(run_jobs(len, [[]], engine="dask"))


def test_folders_that_hold_nothing_say_what_they_hold(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        prepare.prepare(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="is empty.*WAV, FLAC"):
        prepare.prepare(tmp_path / "empty", tmp_path / "out")
    for name in ("notes.txt", "phone.m4a", "empty.wav"):
        (tmp_path / "other").mkdir(exist_ok=True)
        shutil.copy(folder / name, tmp_path / "other" / name)
    with pytest.raises(SettingsError, match=r"1 x \.m4a.*wanted.*ffmpeg -i phone\.m4a"):
        prepare.prepare(tmp_path / "other", tmp_path / "out")
    (tmp_path / "quiet").mkdir()
    shutil.copy(folder / "silent.wav", tmp_path / "quiet" / "silent.wav")
    with pytest.raises(SettingsError, match="no recording that can be used.*silent"):
        prepare.prepare(tmp_path / "quiet", tmp_path / "out")


def test_places_that_are_something_else(made: Prepared, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match="other things"):
        prepare.prepare(folder, tmp_path / "thesis")
    with pytest.raises(SettingsError, match="itself"):
        prepare.prepare(folder, folder)
    with pytest.raises(SettingsError, match="URL"):
        prepare.prepare(folder, "s3://bucket/x")
    write(tmp_path / "tuba" / "t.wav", melody([40, 43]))
    with pytest.raises(SettingsError, match="another dataset.*--overwrite"):
        prepare.prepare(tmp_path / "tuba", made.folder)


def test_reading_what_is_no_dataset(made: Prepared, tmp_path: Path) -> None:
    (tmp_path / "begun" / "recordings").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    (tmp_path / "sounds").mkdir()
    for name, words in (("begun", "not finished"), ("file", "is a file"), ("sounds", "tonetransfer prepare"), ("none", "no prepared")):
        with pytest.raises(SettingsError, match=words):
            Prepared(tmp_path / name, GRID)
    with pytest.raises(SettingsError, match="prepare the recordings again"):
        Prepared(made.folder, FrameGrid(44100, 441))
    with pytest.raises(SettingsError, match="cannot be opened"):
        Prepared("nothing://bucket", GRID)


def test_another_version_of_the_features_is_refused(made: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dataset.FEATURE_VERSIONS, "f0", 99)
    with pytest.raises(SettingsError, match="run prepare again"):
        Prepared(made.folder, GRID)


def test_a_full_disk_loses_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dataset.RecordingWriter, "write", full)
        with pytest.raises(SettingsError, match="No space left.*make room"):
            prepare.prepare(folder, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.part*")) and not (tmp_path / "out" / dataset.INDEX).exists()


def candidates(*seconds: float) -> list[Candidate]:
    hashes = [hashlib.sha256(str(k).encode()).hexdigest() for k in range(len(seconds))]
    return [Candidate(f"{k}.wav", sha, f"key{k}", round(100 * s)) for k, (sha, s) in enumerate(zip(hashes, seconds, strict=True))]


def test_a_tenth_is_held_out_by_recording() -> None:
    split = hold_out(candidates(*[10.0] * 60), GRID, lambda key: pytest.fail("nothing is cut"))
    held = [one for one in split if one.split == "validation"]
    assert len(held) == 6 and len(split) == 60
    turned = hold_out(candidates(*[10.0] * 60)[::-1], GRID, lambda key: np.zeros(0))
    assert {one.name for one in turned if one.split == "validation"} == {one.name for one in held}  # the order is nothing to it


def test_a_short_and_a_long_recording() -> None:
    split = hold_out(candidates(60.0, 10.0), GRID, lambda key: pytest.fail("nothing is cut"))
    assert {one.name: one.split for one in split} == {"0.wav": "train", "1.wav": "validation"}
    assert [one.split for one in hold_out(candidates(8.0), GRID, lambda key: np.zeros(800))] == ["train"]
    assert sorted(one.split for one in hold_out(candidates(8.0, 9.0), GRID, lambda key: np.zeros(900))) == ["train", "validation"]
    assert hold_out([], GRID, lambda key: np.zeros(0)) == []


def test_a_single_recording_is_cut_at_a_silence() -> None:
    loudness = np.full(6000, -20.0)
    loudness[5500:5540] = -80.0
    first, second = hold_out(candidates(60.0), GRID, lambda key: loudness)
    assert (first.split, second.split) == ("train", "validation") and first.first_frame == 0
    assert abs(first.n_frames + 50 - 5520) <= 15  # the cut is in the silence
    assert second.first_frame - first.n_frames == 100 and second.first_frame + second.n_frames == 6000  # a guard of one second
    assert isinstance(first, PreparedRecording)


def test_sources_are_found_below_and_once(folder: Path) -> None:
    sources, skipped = find_sources(folder, without=folder / "b")
    assert "b/low rate.flac" not in {one.name for one in sources} and "wrong ending.txt" in {one.name for one in sources}
    assert not any(".hidden" in one.name for one in skipped)
    assert [one.name for one in find_sources(folder / "a.wav")[0]] == ["a.wav"]
    assert next(one for one in sources if one.name == "stereo.wav").facts.n_channels == 2
