"""Real phrases beside their resynthesis: what must not count does not, and every file is accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run, as_json, check_refused
from conftest import SAMPLE_RATE, melody, tone

from tonetransfer.audio.files import save_audio
from tonetransfer.evaluation import recordings
from tonetransfer.evaluation.recordings import FIGURES, compare_resynthesis, evaluate_phrases, figure_rows, instrument_of
from tonetransfer.models.timbre_model import TimbreModel

HEARD: dict[tuple[bytes, int], tuple[np.ndarray, np.ndarray]] = {}
ZERO = set(FIGURES) - {"raw_pitch_accuracy", "articulation_recall", "movement_db", "recording_movement_db"}


@pytest.fixture(scope="module")
def phrase() -> torch.Tensor:
    """Silence, two notes, silence; 2 s."""
    quiet = torch.zeros(round(0.15 * SAMPLE_RATE))
    return torch.cat([quiet, tone(440.0, 0.8, n_harmonics=30), quiet[:4800], tone(440.0, 0.65, n_harmonics=30), quiet, quiet])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "phrases"
    place.mkdir()
    for name, midi in {"violin_a.wav": 69, "violin_b.wav": 71, "tuba_a.wav": 45, "kazoo_a.wav": 69}.items():
        save_audio(place / name, melody([midi]), SAMPLE_RATE)
    (place / "INDEX.tsv").write_text("not a recording")
    return place


@pytest.fixture
def without_pitch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitch, which takes most of the time, is not compared: the test is about the rest."""
    monkeypatch.setattr(recordings, "_compare_pitch", lambda *_: {})


@pytest.fixture(autouse=True)
def heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of CREPE, which takes seconds, shared between tests."""
    crepe = recordings.TRACKERS["crepe"]

    def estimate(audio: np.ndarray, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        key = audio.tobytes(), n_frames
        if key not in HEARD:
            HEARD[key] = crepe.estimate(audio, n_frames)
        return HEARD[key]

    monkeypatch.setitem(recordings.TRACKERS, "crepe", crepe._replace(estimate=estimate))


def check_right(found: dict[str, float], tolerance: float) -> None:
    assert set(found) == set(FIGURES)
    assert {key: found[key] for key in ZERO - {"lag_ms"}} == pytest.approx(dict.fromkeys(ZERO - {"lag_ms"}, 0.0), abs=tolerance)
    assert found["raw_pitch_accuracy"] == found["articulation_recall"] == 1.0
    assert found["movement_db"] == pytest.approx(found["recording_movement_db"], abs=tolerance)


def test_the_same_is_right_in_everything(phrase: torch.Tensor) -> None:
    found = compare_resynthesis(phrase, phrase, SAMPLE_RATE)
    check_right(found, 1e-6)
    assert found["lag_ms"] == 0.0


@pytest.mark.parametrize("late", [960, -960])
def test_6_db_and_20_ms_change_nothing_else(phrase: torch.Tensor, late: int) -> None:
    found = compare_resynthesis(phrase, 2.0 * torch.roll(phrase, late), SAMPLE_RATE)
    check_right(found, 0.05)
    assert found["lag_ms"] == pytest.approx(late / 48.0)


@pytest.mark.usefixtures("without_pitch")
def test_a_note_struck_twice_is_added_and_a_slur_is_missed(phrase: torch.Tensor) -> None:
    twice = phrase.clone()
    twice[62400:72000] *= 1.0 - torch.hann_window(9600)
    added = compare_resynthesis(phrase, twice, SAMPLE_RATE)
    assert (added["articulation_recall"], added["added_articulation_share"]) == (1.0, 0.5)
    missed = compare_resynthesis(twice, phrase, SAMPLE_RATE)
    assert (missed["articulation_recall"], missed["added_articulation_share"]) == (0.5, 0.0)


def test_other_rates_read_the_same(phrase: torch.Tensor) -> None:
    check_right(compare_resynthesis(phrase[::2], phrase[::2].numpy(), SAMPLE_RATE // 2), 1e-6)


def test_a_dull_result_is_dark_and_a_hissing_one_is_filled(phrase: torch.Tensor) -> None:
    spectrum = torch.fft.rfft(phrase)
    hertz = torch.linspace(0.0, SAMPLE_RATE / 2.0, len(spectrum))
    dull = compare_resynthesis(phrase, torch.fft.irfft(torch.where(hertz < 5000.0, spectrum, 0.1 * spectrum), len(phrase)), SAMPLE_RATE)
    passed, *stopped = (dull[key] for key in recordings.BAND_KEYS[:3])
    assert 0.0 <= passed < 1.0 and np.array(stopped) - passed == pytest.approx([-20.0, -20.0], abs=0.2)
    assert dull["centroid_octaves"] < -0.05 and dull["lsd60_db"] > 3.0
    hiss = 1e-3 * torch.randn(len(phrase), generator=torch.Generator().manual_seed(0))
    hissing = compare_resynthesis(phrase, phrase + hiss, SAMPLE_RATE)
    assert hissing["between_partials_db"] > 10.0 and hissing["ghost_db"] > 10.0


def test_silence_has_no_figures(phrase: torch.Tensor) -> None:
    silence = torch.zeros_like(phrase)
    assert compare_resynthesis(phrase, silence, SAMPLE_RATE) == compare_resynthesis(silence, phrase, SAMPLE_RATE) == {}


@pytest.mark.parametrize(
    ("file", "instrument"),
    [
        ("violin_bach_1.flac", "violin"),
        ("Alto Sax 2.wav", "alto_sax"),
        ("alto_sax_mtg-7.wav", "alto_sax_mtg"),
        ("tuba.wav", "tuba"),
        ("violinist_1.wav", None),
        ("my_violin.wav", None),
        ("violoncello__3.wav", "cello"),
        ("kazoo__violin.wav", "kazoo"),
    ],
)
def test_names_of_files_say_who_plays(file: str, instrument: str | None) -> None:
    assert instrument_of(file, ("violin", "cello", "alto_sax", "alto_sax_mtg", "tuba")) == instrument


def test_phrases_are_played_as_what_they_are(folder: Path, tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def play(audio: torch.Tensor, _rate: int, _model: TimbreModel, **options: object) -> torch.Tensor:
        asked.append(options)
        return audio

    monkeypatch.setattr(recordings, "transfer", play)
    found = evaluate_phrases(tiny_model, folder)
    assert asked == [{"transpose": 0, "to": "tuba"}, {"transpose": 0, "to": "violin"}, {"transpose": 0, "to": "violin"}]
    assert list(found["recordings"]) == ["tuba_a.wav", "violin_a.wav", "violin_b.wav"] and list(found["skipped"]) == ["kazoo_a.wav"]
    assert found["instruments"]["violin"]["n_recordings"] == 2 and found["mean"]["n_recordings"] == 3
    assert found["mean"]["lsd60_db"] == 0.0


def test_the_timbre_of_another_phrase(folder: Path, tiny_model: TimbreModel) -> None:
    found = evaluate_phrases(tiny_model, folder, like=True)
    assert {name: row["like"] for name, row in found["recordings"].items()} == {
        "violin_a.wav": "violin_b.wav",
        "violin_b.wav": "violin_a.wav",
    }
    assert "no other phrase" in found["skipped"]["tuba_a.wav"]


def test_the_colour_of_another_phrase(folder: Path, tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(recordings, "transfer", lambda audio, *_, **options: (asked.append(options), audio)[1])
    found = evaluate_phrases(tiny_model, folder, match=True, only=["violin"])
    assert found["timbre"] == "match" and found["recordings"]["violin_a.wav"]["match"] == "violin_b.wav"
    assert [(one["to"], len(one["match"])) for one in asked] == [("violin", 2)] * 2  # audio and its rate


def test_means_are_of_what_is_there(folder: Path, tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = iter([{"lsd60_db": 1.0}, {"lsd60_db": 4.0, "ghost_db": 2.0}, {"lsd60_db": 7.0}])
    monkeypatch.setattr(recordings, "transfer", lambda audio, *_, **__: audio)
    monkeypatch.setattr(recordings, "compare_resynthesis", lambda *_: next(levels))
    found = evaluate_phrases(tiny_model, folder)
    assert found["mean"] == {"n_recordings": 3, "lsd60_db": 4.0, "ghost_db": 2.0}
    assert found["instruments"]["violin"] == {"n_recordings": 2, "lsd60_db": 5.5, "ghost_db": 2.0}
    rows = figure_rows(found)
    assert [row[0] for row in rows] == ["", "", "tuba_a.wav", "violin_a.wav", "violin_b.wav", "tuba (1)", "violin (2)", "all (3)"]
    assert rows[-1][1] == "4.00" and rows[2][-1] == "-" and len({len(row) for row in rows}) == 1


def test_the_command_measures_results_of_others(folder: Path, run: Run, tiny_weights: Path) -> None:
    made = folder.parent / "made"
    made.mkdir()
    save_audio(made / "violin_a.flac", melody([69]), SAMPLE_RATE)
    asked = ["evaluate", "recordings", folder, "--results", made, "--only", "violin", "--weights", tiny_weights]
    found = as_json(run(*asked, "--json", "--out", "figures.json"))
    assert list(found["recordings"]) == ["violin_a.wav"] and found["mean"]["raw_pitch_accuracy"] == 1.0
    assert set(found["skipped"]) == {"kazoo_a.wav", "violin_b.wav"} and found["timbre"] == "results"
    assert json.loads(Path("figures.json").read_text()) == {key: value for key, value in found.items() if key != "warnings"}
    check_refused(run(*asked, "--out", "figures.json"), "figures.json exists", "--overwrite")
    code, out, err = run(*asked)
    assert code == 0 and out.splitlines()[0].split()[:2] == ["LSD-60", "MCD"] and out.splitlines()[-1].startswith("all (1)")
    assert "kazoo_a.wav is skipped: begins with no known instrument" in err


def test_the_command_plays_them_itself(folder: Path, run: Run, tiny_weights: Path) -> None:
    found = as_json(run("evaluate", "recordings", folder, "--only", "tuba", "--weights", tiny_weights, "--json"))
    assert list(found["recordings"]) == ["tuba_a.wav"] and found["recordings"]["tuba_a.wav"]["lsd60_db"] > 1.0


def test_what_cannot_be_measured_is_refused_in_one_line(folder: Path, run: Run, tiny_weights: Path) -> None:
    empty = folder.parent / "empty"
    empty.mkdir()
    weights = ("--weights", tiny_weights)
    check_refused(run("evaluate", "recordings", empty, *weights), "holds no recording of a known instrument", "violin_1.flac")
    check_refused(run("evaluate", "recordings", "nowhere", *weights), "nowhere is no folder")
    check_refused(run("evaluate", "recordings", folder, "--results", "nowhere", *weights), "nowhere is no folder; one of results")
    check_refused(run("evaluate", "recordings", folder, "--only", "violn", *weights), "did you mean violin?", "tuba, violin")
    check_refused(
        run("evaluate", "recordings", folder, "--results", empty, *weights), "nothing could be measured", "no result of this name"
    )
