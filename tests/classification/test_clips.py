"""Where recordings and labels come from, and what happens when they are not as they should be."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from classify_toys import RATE, synthetic, toy, toy_settings

from tonetransfer.audio.files import save_audio
from tonetransfer.classification.classifier import Classifier
from tonetransfer.classification.clips import (
    Clip,
    Span,
    augmenter,
    check_labels,
    choose,
    class_of,
    classes_of,
    clips_of,
    find_clips,
    leave_gap,
    read_clips,
    read_csv,
    read_folder,
    read_mirdata,
    split,
)
from tonetransfer.classification.evaluation import evaluate_classifier
from tonetransfer.classification.settings import INSTRUMENTS, AugmentSettings, ClipSettings
from tonetransfer.classification.windows import StepWindows, level_db, make_windows, sounding
from tonetransfer.errors import MissingDependencyError, SettingsError, ToneTransferWarning


def many(label: str, count: int, *, source: str = "") -> list[Clip]:
    return [Clip(Path(f"{label}{source}{number:02d}.wav"), (label,), source=source or label) for number in range(count)]


def test_timbres_find_their_class() -> None:
    found = {
        name: class_of(name, INSTRUMENTS) for name in ("violin@R", "fiddle", "cello_winer", "alto_sax_mtg", "gm_piano", "viola", "horn@R")
    }
    assert found == {
        "violin@R": "violin",
        "fiddle": "violin",
        "cello_winer": "cello",
        "alto_sax_mtg": "alto_sax",
        "gm_piano": "piano",
        "viola": "viola",
        "horn@R": "horn",
    }
    assert class_of("gm_sitar", INSTRUMENTS) is None and class_of("voice_solo", INSTRUMENTS) is None
    assert len(INSTRUMENTS) >= 24


def test_a_corpus_is_read_and_other_timbres_left_out(tmp_path: Path) -> None:
    files = [{"timbre": name, "performance": "train0-055-070-0"} for name in ("violin", "violin@R", "gm_sitar", "flute_ixox")]
    files.append({"timbre": "flute", "performance": "train0-055-070-0+flute_ixox"})  # the same once more
    files.append({"timbre": "viola", "performance": "phrase-allegro+trio"})  # from a file of that name
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    clips = find_clips(tmp_path, INSTRUMENTS)
    assert [(clip.labels, clip.source) for clip in clips] == [
        (("violin",), f"{tmp_path.name}/violin"),
        (("violin",), f"{tmp_path.name}/violin@R"),
        (("flute",), f"{tmp_path.name}/flute_ixox"),
        (("viola",), f"{tmp_path.name}/viola"),
    ]
    assert clips[0].path == tmp_path / "violin" / "train0-055-070-0.flac"
    with pytest.raises(SettingsError, match="none of its timbres"):
        find_clips(tmp_path, {"tuba": ("tuba",)})
    (tmp_path / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(SettingsError, match="damaged"):
        find_clips(tmp_path, INSTRUMENTS)
    with pytest.raises(SettingsError, match="corpus render"):
        read_clips(ClipSettings(corpora=(str(tmp_path / "none"),)))


def test_folders_csv_and_their_faults(tmp_path: Path) -> None:
    for name in ("flute/deep/a.wav", "flute/b.flac", "tuba/c.mp3", "tuba/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [(clip.path.name, clip.labels) for clip in read_folder(tmp_path)] == [
        ("b.flac", ("flute",)),
        ("a.wav", ("flute",)),
        ("c.mp3", ("tuba",)),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="no sounds in empty"):
        read_folder(tmp_path)
    with pytest.raises(SettingsError, match="holds no sounds"):
        read_folder(tmp_path / "flute" / "deep")
    with pytest.raises(SettingsError, match="is no folder"):
        read_folder(tmp_path / "none")
    table = tmp_path / "labels.csv"
    table.write_text("file,label,start_s,end_s\na.wav,flute|voice,0,2.5\na.wav,tuba,2,3\nb.wav,tuba,,\n")
    first, second = read_csv(table)
    assert first.labels == ("flute", "voice", "tuba") and second.spans == ()
    assert first.spans == (Span("flute", 0.0, 2.5), Span("voice", 0.0, 2.5), Span("tuba", 2.0, 3.0))
    for content, words in (
        ("path,label\na,b\n", "came: path, label"),
        ("file,label\n", "no rows"),
        ("file,label,start_s,end_s\na.wav,b,one,2\n", "line 2.*numbers"),
        ("file,label,start_s,end_s\na.wav,b,3,2\n", "no stretch of time"),
    ):
        table.write_text(content)
        with pytest.raises(SettingsError, match=words):
            read_csv(table)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")


def test_classes_with_one_file_and_unknown_labels() -> None:
    with pytest.raises(SettingsError, match="one file only in tuba"):
        classes_of(many("flute", 3) + many("tuba", 1))
    with pytest.raises(SettingsError, match="at least 2"):
        classes_of(many("flute", 3))
    assert classes_of(many("tuba", 2) + many("flute", 2)) == ("flute", "tuba")
    with pytest.raises(SettingsError, match="does not know: flut; did you mean flute"):
        check_labels(many("flut", 1), ("flute", "tuba"))


def test_every_class_is_split_and_sources_share_fairly() -> None:
    learned, held_out = split(many("flute", 20) + many("tuba", 2), 0.1)
    assert sum(clip.labels == ("tuba",) for clip in held_out) == 1 and sum(clip.labels == ("flute",) for clip in held_out) == 2
    assert not {clip.path for clip in learned} & {clip.path for clip in held_out} and len(learned) + len(held_out) == 22
    kept = choose(many("sax", 30, source="font") + many("sax", 4, source="notes"), 12)
    assert [sum(clip.source == source for clip in kept) for source in ("font", "notes")] == [8, 4]
    assert kept[0].path.name == "saxfont00.wav" and any(clip.path.name == "saxfont29.wav" for clip in kept)


def test_unreadable_files_are_named_counted_and_left_out(tmp_path: Path) -> None:
    toy(tmp_path, files=4)
    (tmp_path / "bright" / "broken.wav").write_bytes(b"RIFF nothing")
    save_audio(tmp_path / "bright" / "silent.wav", np.zeros(RATE, np.float32), RATE)
    settings = toy_settings("svm")
    clips = find_clips(tmp_path, {})
    with pytest.warns(ToneTransferWarning, match=r"2 of 14 files left out: .*broken.wav.*silent.wav"):
        windows = make_windows(clips, ("bright", "hollow", "noisy"), settings, augmented=False)
    assert len(windows.skipped) == 2 and set(windows.clips) == {
        number for number, clip in enumerate(clips) if "n.wav" not in clip.path.name
    } - {number for number, clip in enumerate(clips) if clip.path.stem in ("broken", "silent")}
    with pytest.raises(SettingsError, match="nothing usable is left of tuba"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_windows(clips, ("bright", "hollow", "noisy", "tuba"), settings, augmented=False)
    with pytest.raises(SettingsError, match="none of the 1 files"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_windows([Clip(tmp_path / "bright" / "broken.wav", ("bright",))], ("bright",), settings, augmented=False)


def test_evaluation_counts_what_it_could_not_use_and_refuses_other_labels(tmp_path: Path) -> None:
    toy(tmp_path / "train", files=6)
    classifier = Classifier(toy_settings("svm"))
    classifier.fit(find_clips(tmp_path / "train", {}))
    toy(tmp_path / "test", files=2)
    save_audio(tmp_path / "test" / "bright" / "0.wav", synthetic("bright", 0.3, 0), RATE, overwrite=True)  # shorter than a window
    (tmp_path / "test" / "noisy" / "0.wav").write_bytes(b"")
    with pytest.warns(ToneTransferWarning, match="1 of 6 files left out"):
        found = evaluate_classifier(classifier, find_clips(tmp_path / "test", {}))
    assert found["files"] == 5 and found["files_left_out"] == 1 and found["classes"] == 3
    assert found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"] and found["accuracy"] >= 0.8
    (tmp_path / "test" / "noisy").rename(tmp_path / "test" / "noise")
    with pytest.raises(SettingsError, match="does not know: noise; did you mean noisy"):
        evaluate_classifier(classifier, find_clips(tmp_path / "test", {}))


def test_several_labels_where_one_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set task: multi"):
        make_windows([Clip(tmp_path / "a.wav", ("a", "b"))], ("a", "b"), toy_settings("svm"), augmented=False)


def test_windows_lie_around_their_step() -> None:
    settings = toy_settings(window_seconds=1.0, step_seconds=0.5)
    audio = np.zeros(3 * RATE, np.float32)
    audio[RATE : RATE + 80] = 1.0  # a click at 1 s
    cut = StepWindows(audio, settings)
    windows = cut.take(np.arange(6))
    assert len(cut) == 6 and windows.shape == (6, RATE) and sounding(cut.levels_db).tolist() == [False, False, True, False, False, False]
    assert np.abs(windows[2]).argmax() == RATE // 4  # step 2 begins at 1 s, its window a quarter of a second before
    assert StepWindows(audio[:100], settings).take(np.arange(1)).shape == (1, RATE)
    whole, rest = StepWindows(audio, settings, 3600.0), StepWindows(audio[: RATE + 80], settings, 1.0)
    assert len(whole) == 1 and whole.step == 3 * RATE and whole.levels_db[0] == pytest.approx(level_db(audio))
    assert np.abs(whole.take(np.arange(1))[0]).argmax() == 0  # from 1 to 2 s
    assert np.abs(rest.take(np.arange(2))[1]).argmax() == RATE // 2 - 40  # around the middle of the 80 samples that are left
    apart = StepWindows(np.arange(4 * RATE, dtype=np.float32), toy_settings(window_seconds=0.5), 1.0)  # a window shorter than its step
    starts = RATE * (np.arange(4) + 0.25)  # peaks are brought to full scale
    assert apart.take(np.arange(4))[:, 0] == pytest.approx(starts / (starts + RATE // 2 - 1))


def test_augmentation_changes_sound_and_nothing_else() -> None:
    window = synthetic("bright", 0.5, 1)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with augmenter(AugmentSettings(rooms=2), RATE, seed=3) as augment:
        changed = [augment(window) for _ in range(8)]
    with augmenter(AugmentSettings(rooms=2), RATE, seed=3) as augment:
        again = [augment(window) for _ in range(8)]
    np.testing.assert_array_equal(np.stack(changed), np.stack(again))  # the seed decides
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert all(one.shape == window.shape and np.isfinite(one).all() for one in changed)
    assert sum(not np.allclose(one, window, atol=1e-3) for one in changed) >= 6
    gap = leave_gap(window, np.random.default_rng(0))
    assert 0.05 < (gap == 0.0).mean() < 0.7


class Track:
    def __init__(self, path: Path, instrument: object) -> None:
        self.audio_path, self.instrument = str(path), instrument


class Dataset:
    """What the adapter needs of a dataset of mirdata."""

    name, data_home = "medley_solos_db", "somewhere"

    def __init__(self, tracks: dict[str, Track]) -> None:
        self.tracks = tracks

    def load_tracks(self) -> dict[str, Track]:
        return self.tracks


def test_mirdata_tracks_become_clips(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    here, gone = tmp_path / "a.wav", tmp_path / "b.wav"
    clips = clips_of(
        Dataset({"1": Track(here, "Tenor Saxophone"), "2": Track(gone, "flute"), "3": Track(here, ["cello", "violin"])}), ".instrument"
    )
    assert [clip.labels for clip in clips] == [("tenor_saxophone",), ("cello", "violin")]
    assert clips_of(Dataset({"1": Track(here, None)}), "singing")[0].labels == ("singing",)
    with pytest.raises(SettingsError, match="no recordings with a label"):
        clips_of(Dataset({}), "singing")


def test_mirdata_itself_opens_a_tiny_dataset(tmp_path: Path) -> None:
    import mirdata

    dataset = mirdata.initialize("tinysol", data_home=str(tmp_path))
    sound = tmp_path / "audio" / "Brass" / "Bass_Tuba" / "a.wav"
    sound.parent.mkdir(parents=True)
    save_audio(sound, synthetic("bright", 0.5, 0), RATE)
    index = {"version": "1", "tracks": {"BTb-ord-F#1-pp-N-N": {"audio": ["audio/Brass/Bass_Tuba/a.wav", None]}}, "metadata": {}}
    dataset.index_path = str(tmp_path / "index.json")
    Path(dataset.index_path).write_text(json.dumps(index))
    (tmp_path / "annotation").mkdir()
    head = (
        "Path,Fold,Family,Instrument (abbr.),Instrument (in full),Technique (abbr.),Technique (in full),Pitch,Pitch ID,Dynamics,Dynamics ID"
    )
    row = "Brass/Bass_Tuba/ordinario/BTb-ord-F#1-pp-N-N.wav,1,Brass,BTb,Bass Tuba,ord,ordinario,F#1,30,pp,0"
    (tmp_path / "annotation" / "TinySOL_metadata.csv").write_text(
        f"{head},Instance ID,String ID (if applicable),Needed digital retuning\n{row},0,,False\n"
    )
    assert clips_of(dataset, ".instrument_full") == [Clip(sound, ("bass_tuba",), source="tinysol")]


def test_mirdata_datasets_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean tinysol"):
        read_mirdata("tinysoll", str(tmp_path))
    with pytest.raises((SettingsError, MissingDependencyError), match="mirdata dataset"):
        read_mirdata("tinysol", str(tmp_path))
