"""The verbs classify and classifier, from a command line to exit codes and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from classify_toys import RATE, TIMBRES, synthetic, toy, toy_settings

from tonetransfer.audio.files import save_audio
from tonetransfer.classification import evaluation as classify_table
from tonetransfer.classification.clips import class_of
from tonetransfer.classification.evaluation import in_order
from tonetransfer.classification.settings import INSTRUMENTS, load_classifier_settings
from tonetransfer.cli.main import main
from tonetransfer.data.corpus_config import load_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("classify")
    toy(place / "sounds", files=6)
    content = toy_settings("svm").model_dump(mode="json") | {"data": {"folder": str(place / "sounds"), "classes": {}, "copies": 1}}
    (place / "svm.yaml").write_text(yaml.safe_dump(content))
    content |= {"classifier": "cnn_1d", "frontend": {"n_mels": 48, "n_fft": 512}}
    (place / "cnn_1d.yaml").write_text(yaml.safe_dump(content))
    save_audio(
        place / "what.wav", np.concatenate([synthetic("noisy", 1.0, 3), np.zeros(RATE, np.float32), synthetic("noisy", 1.0, 4)]), RATE
    )
    assert main(["classifier", "train", str(place / "svm.yaml"), str(place / "mine.safetensors"), "--json"]) == 0
    return place


def asked(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_classify_keeps_its_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, "classify", folder / "what.wav", "--weights", folder / "mine.safetensors", "--json")
    found = json.loads(out)
    assert code == 0 and found["instrument"] == "noisy"
    assert list(found["probabilities"])[0] == "noisy" and set(found["probabilities"]) == set(TIMBRES)
    assert [one["instrument"] for one in found["per_second"]] == ["noisy", None, "noisy"]
    assert set(found["per_second"][0]) == {"start_s", "end_s", "instrument", "probability"}
    code, out, _ = asked(capsys, "classify", folder / "what.wav", "--weights", folder / "mine.safetensors", "--step", "0.5")
    assert code == 0 and "noisy" in out.splitlines()[0] and "0-1 s" in out


def test_evaluate_and_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, "classifier", "evaluate", folder / "sounds", "--weights", folder / "mine.safetensors", "--json")
    figures = json.loads(out)["data"][str(folder / "sounds")]
    assert code == 0 and figures["accuracy"] == 1.0 and figures["files"] == 18 and figures["macro_f1"] == 1.0
    toy(folder / "unseen", files=2, seconds=0.8)
    words = ["--test", folder / "sounds", "--unseen", folder / "unseen", "--out", folder / "kept", "--json"]
    code, out, err = asked(capsys, "classifier", "table", folder / "svm.yaml", folder / "cnn_1d.yaml", "--set", "fit.steps=30", *words)
    rows = json.loads(out)["classifiers"]
    assert code == 0 and {row["classifier"] for row in rows} == {"svm", "cnn_1d"} and "windows" in err
    assert all(row["accuracy"] > 0.8 and row["unseen_files"] == 6 and row["parameters"] > 0 for row in rows)
    assert {path.name for path in (folder / "kept").iterdir()} == {"svm.safetensors", "cnn_1d.safetensors"}
    before = (folder / "kept" / "svm.safetensors").read_bytes()
    (folder / "kept" / "cnn_1d.safetensors").unlink()
    code, out, err = asked(capsys, "classifier", "table", folder / "svm.yaml", folder / "cnn_1d.yaml", "--set", "fit.steps=30", *words)
    again = {row["classifier"]: row for row in json.loads(out)["classifiers"]}
    assert code == 0 and "svm: taken from" in err and "svm: learned" not in err and "cnn_1d: learned" in err
    for row in rows:
        assert again[row["classifier"]]["accuracy"] == row["accuracy"]
        assert row["classifier"] != "svm" or again["svm"]["training_minutes"] == row["training_minutes"]
    code, out, err = asked(capsys, "classifier", "table", folder / "svm.yaml", "--set", "fit.seed=7", *words)
    assert code == 1 and "is another classifier" in err and (folder / "kept" / "svm.safetensors").read_bytes() == before


def test_problems_are_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    save_audio(tmp_path / "silent.wav", np.zeros(RATE, np.float32), RATE)
    (tmp_path / "labels.csv").write_text(f"file,label\n{folder}/what.wav,trumpet\n")
    for argv, words in (
        (["classify", tmp_path / "silent.wav", "--weights", folder / "mine.safetensors"], "silent"),
        (["classify", tmp_path / "none.wav", "--weights", folder / "mine.safetensors"], "does not exist"),
        (["classify", folder / "what.wav", "--weights", folder / "what.wav"], "not a readable classifier"),
        (["classifier", "train", folder / "svm.yaml", folder / "mine.safetensors"], "exists"),
        (["classifier", "train", folder / "none.yaml", tmp_path / "a.safetensors"], "cannot be read"),
        (["classifier", "train", folder / "svm.yaml", tmp_path / "a.safetensors", "--set", "fit.stps=3"], "did you mean steps"),
        (["classifier", "train", folder / "svm.yaml", tmp_path / "a.safetensors", "--set", f"data.folder={tmp_path}"], "holds no sounds"),
        (["classifier", "evaluate", tmp_path / "labels.csv", "--weights", folder / "mine.safetensors"], "does not know: trumpet"),
    ):
        code, out, err = asked(capsys, *argv)
        assert code == 1 and words in err and len(err.strip().splitlines()) == 1 and not out, (argv, err)
    with pytest.raises(SystemExit, match="2"):
        main(["classify", str(folder / "what.wav"), "--step", "0"])


def test_the_table_leaves_out_what_it_cannot_have() -> None:
    configs = sorted((Path(__file__).parents[2] / "configs" / "classify").glob("*.yaml"))
    ordered = in_order(configs)
    assert {"forest", "svm", "harmonic_cnn", "z", "sample_cnn"} <= {path.stem for path in ordered}
    assert not {"panns", "activity"} & {path.stem for path in ordered}
    keys = [load_classifier_settings(path).sample_rate for path in ordered]
    assert sum(a != b for a, b in zip(keys[:-1], keys[1:], strict=True)) <= 2  # each set of windows is made once


def test_phrases_of_the_table_are_short_and_leave_an_unseen_source_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked_for = []
    monkeypatch.setattr(classify_table, "render_corpus", lambda config, _out, **more: asked_for.append((load_config(config), more)))
    corpus = Path(__file__).parents[2] / "configs" / "corpus.yaml"
    classify_table.render_phrases(corpus, tmp_path)
    classify_table.render_phrases(corpus, tmp_path, soundfont=Path("other.sf2"))
    (known, first), (other, second) = asked_for
    assert first["split"] == second["split"] == "test" and second["soundfont"] == Path("other.sf2")
    assert known.slopes["brass"] > 0 and not any(other.slope(timbre) for timbre in other.timbres.values())
    classes = [{class_of(name, INSTRUMENTS) for name in more["only"]} for more in (first, second)]
    assert all(len(some) >= 24 for some in classes) and "violin_fluid@R" in first["only"] and "violin_fluid@R" not in second["only"]
    assert all(known.timbres[name.partition("@")[0]].program is not None for name in (*first["only"], *second["only"]))  # no recordings


def test_the_bundled_classifier_is_small_and_knows_the_instruments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tonetransfer as tt

    bundled = Path(tt.__file__).parent / "classifiers" / "bundled.safetensors"
    assert bundled.stat().st_size < 5_000_000 and str(Path.home()).encode() not in bundled.read_bytes()
    classifier = tt.load_classifier()
    assert len(classifier.classes) >= 24 and {"violin", "muted_trumpet", "voice_ooh"} <= set(classifier.classes)
    said = tt.classify(synthetic("bright", 2.5, 1, rate=48000), 48000)
    assert len(said.per_step()) == 3 and abs(said.probabilities.sum() - 1.0) < 1e-4
    code, out, _ = asked(capsys, "classify", folder / "what.wav", "--json")
    assert code == 0 and json.loads(out)["instrument"] in classifier.classes
