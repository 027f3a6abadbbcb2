"""Classifiers learn what they are shown, say what they know, survive being saved, and refuse what they cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from classify_toys import RATE, TIMBRES, synthetic, toy, toy_settings
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tonetransfer.audio.files import save_audio
from tonetransfer.classification.classifier import REGISTRY, Classifier
from tonetransfer.classification.clips import Span, find_clips
from tonetransfer.classification.estimators import Forest, SupportVectors
from tonetransfer.classification.evaluation import evaluate_classifier
from tonetransfer.classification.settings import load_classifier_settings
from tonetransfer.classification.windows import Windows, mix
from tonetransfer.errors import AudioError, SettingsError, ToneTransferError, ToneTransferWarning, WeightsError


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def fitted(toy_folder: Path) -> Classifier:
    classifier = Classifier(toy_settings())
    classifier.fit(find_clips(toy_folder, {}))
    return classifier


ON_AUDIO = [name for name in REGISTRY if name not in ("z", "cnn_1d_z", "panns", "ast", "mert", "clap")]


@pytest.mark.parametrize("name", ON_AUDIO)
def test_every_classifier_learns_three_timbres_and_survives_being_saved(name: str, toy_folder: Path, tmp_path: Path) -> None:
    classifier = Classifier(toy_settings(name))
    measured = classifier.fit(find_clips(toy_folder, {}))
    assert measured["validation_accuracy"] >= 0.9, measured
    assert classifier.classes == TIMBRES
    for timbre in TIMBRES:
        audio = synthetic(timbre, 1.2, seed=99)
        said = classifier.predict(audio, RATE)
        assert said.label == timbre and abs(said.probabilities.sum() - 1.0) < 1e-4
    classifier.save(tmp_path / "one.safetensors")
    again = Classifier.load(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(again.predict(audio, RATE).steps, classifier.predict(audio, RATE).steps)
    assert again.classes == classifier.classes and again.settings.options == classifier.settings.options


def test_level_and_sample_rate_change_nothing(fitted: Classifier) -> None:
    audio = synthetic("bright", 2.0, seed=5)
    said = fitted.predict(audio, RATE)
    np.testing.assert_allclose(fitted.predict(0.01 * audio, RATE).probabilities, said.probabilities, atol=2e-3)
    assert fitted.predict(synthetic("bright", 2.0, seed=5, rate=16000), 16000).label == "bright"
    before = audio.copy()
    fitted.predict(audio, RATE)
    np.testing.assert_array_equal(audio, before)


def test_each_second_says_what_sounds_in_it(fitted: Classifier) -> None:
    parts = [synthetic("bright", 2.0, 50), np.zeros(2 * RATE, np.float32), synthetic("noisy", 2.0, 51)]
    said = fitted.predict(np.concatenate(parts), RATE, step_seconds=1.0)
    per_second = said.per_step()
    assert [one["instrument"] for one in per_second] == ["bright", "bright", None, None, "noisy", "noisy"]
    assert per_second[4] | {"probability": 0} == {"start_s": 4.0, "end_s": 5.0, "instrument": "noisy", "probability": 0}
    assert said.activity() == [Span("bright", 0.0, 2.0), Span("noisy", 4.0, 6.0)]
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="step_seconds"):
            fitted.predict(parts[0], RATE, step_seconds=wrong)


def test_several_labels_and_when_they_hold(tmp_path: Path) -> None:
    """Two sounds that come and go; the labels stand in a CSV with times."""
    rng = np.random.default_rng(3)
    lines = ["file,label,start_s,end_s"]
    for number in range(8):
        audio, first, second = np.zeros(6 * RATE, np.float32), rng.integers(0, 3), rng.integers(0, 3)
        for timbre, start in (("bright", first), ("noisy", second)):
            audio[start * RATE : (start + 3) * RATE] += 0.5 * synthetic(timbre, 3.0, number)
            lines.append(f"{number}.wav,{timbre},{start},{start + 3}")
        save_audio(tmp_path / f"{number}.wav", audio, RATE)
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    clips = find_clips(tmp_path / "labels.csv", {})
    classifier = Classifier(toy_settings(task="multi", data={"windows_per_file": 12}, fit={"steps": 100}))
    classifier.fit(clips)
    found = evaluate_classifier(classifier, clips)
    assert found["segment_f1"] > 0.85 and found["micro_f1"] > 0.9, found
    both = 0.5 * synthetic("bright", 2.0, 60) + 0.5 * synthetic("noisy", 2.0, 61)
    assert set(classifier.predict(both, RATE).labels()) == {"bright", "noisy"}
    assert classifier.predict(synthetic("noisy", 2.0, 61), RATE).labels()[0] == "noisy"


def test_single_sounds_can_be_mixed_into_several_labels() -> None:
    one = Windows(np.full((40, 8), 1000, np.int16), np.eye(2, dtype=np.float32)[np.arange(40) % 2], np.arange(40))
    mixed = mix(one, 0.5, np.random.default_rng(0))
    assert 5 <= int((mixed.targets.sum(1) == 2).sum()) <= 20 and (one.targets.sum(1) == 1).all()


def test_trees_and_support_vectors_say_what_scikit_learn_says() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(200, 6)).astype(np.float32))
    rows = torch.from_numpy(rng.integers(0, 4, 200))
    y = torch.nn.functional.one_hot(rows, 4).float()
    forest = Forest((6,), 4, n_trees=20)
    forest.learn(x, y, seed=7)
    theirs = RandomForestClassifier(20, min_samples_leaf=2, class_weight="balanced", random_state=7).fit(x.numpy(), rows.numpy())
    np.testing.assert_allclose(torch.softmax(forest(x), -1), np.clip(theirs.predict_proba(x.numpy()), 1e-4, 1), atol=3e-3)
    machine = SupportVectors((6,), 4)
    machine.learn(x, y, seed=0)
    standard = machine.standard(x).numpy()
    for row in range(4):
        theirs = SVC(C=10.0, gamma=1 / 6, class_weight="balanced").fit(standard, rows.numpy() == row)
        np.testing.assert_allclose(machine(x)[:, row] / machine.slope, theirs.decision_function(standard), atol=1e-3)


def test_a_forest_of_several_labels() -> None:
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(300, 4)).astype(np.float32))
    y = (x[:, :2] > 0).float()
    forest = Forest((4,), 2, n_trees=30, multi=True)
    forest.learn(x, y, seed=0)
    assert float(((torch.sigmoid(forest(x)) > 0.5) == (y > 0.5)).float().mean()) > 0.97


def test_a_file_that_leads_in_circles_is_refused(toy_folder: Path, tmp_path: Path) -> None:
    classifier = Classifier(toy_settings("forest", options={"n_trees": 3}))
    classifier.fit(find_clips(toy_folder, {}))
    path = tmp_path / "forest.safetensors"
    classifier.save(path)
    with safe_open(path, framework="pt") as file:
        text = file.metadata()
    tensors = load_file(path)
    tensors["branches"][0] = 0  # the root's children are the root
    save_file(tensors, path, metadata=text)
    with pytest.raises(WeightsError, match="hang together"):
        Classifier.load(path)


def test_what_is_saved_is_no_pickle_and_names_no_place(fitted: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    fitted.save(path)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    text = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    assert json.loads(text["classes"]) == list(TIMBRES) and json.loads(text["settings"])["classifier"] == "cnn_1d"
    assert "corpora" not in json.loads(text["settings"])["data"]
    with pytest.raises(WeightsError, match="exists"):
        fitted.save(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "no such classifier"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a readable classifier"),
        (lambda path: path.write_bytes(b"\x80\x04\x95pickle"), "not a readable classifier"),
        (lambda path: save_file({"a": torch.zeros(1)}, path), "no classifier"),
        (lambda path: rewrite(path, settings='{"classifier": "cnn_2d"}'), "did you mean cnn_1d"),
        (lambda path: rewrite(path, classes='["a", "b"]'), "does not hold the tensors"),
        (lambda path: rewrite(path, classifier_format="9"), "format 9"),
        (lambda path: rewrite(path, poison=True), "not finite"),
    ],
)
def test_damaged_files_are_told_in_one_line(change: object, words: str, fitted: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    fitted.save(path)
    change(path)
    with pytest.raises(ToneTransferError, match=words) as error:
        Classifier.load(path)
    assert "\n" not in str(error.value)


def rewrite(path: Path, *, poison: bool = False, **changes: str) -> None:
    with safe_open(path, framework="pt") as file:
        text = file.metadata()
    tensors = load_file(path)
    if poison:
        next(tensor for tensor in tensors.values() if tensor.is_floating_point()).view(-1)[0] = float("nan")
    save_file(tensors, path, metadata=text | changes)


def test_recordings_that_say_nothing(fitted: Classifier) -> None:
    with pytest.raises(AudioError, match="silent"):
        fitted.predict(np.zeros(RATE, np.float32), RATE)
    with pytest.raises(AudioError, match="0.050 s"):
        fitted.predict(synthetic("bright", 0.05, 1), RATE)
    with pytest.warns(ToneTransferWarning, match="counts less"):
        assert fitted.predict(synthetic("bright", 0.11, 1), RATE).steps.shape == (1, 3)
    with pytest.raises(SettingsError, match="learned nothing"):
        Classifier(toy_settings()).predict(synthetic("bright", 1.0, 1), RATE)


def test_options_are_checked() -> None:
    with pytest.raises(SettingsError, match="did you mean svm"):
        Classifier(toy_settings("svn"))
    with pytest.raises(SettingsError, match="options.widht.*did you mean width"):
        Classifier(toy_settings(options={"widht": 3}), TIMBRES)
    with pytest.raises(SettingsError, match="fit.stepps.*did you mean steps"):
        toy_settings(fit={"stepps": 3})
    with pytest.raises(SettingsError, match="frontend.weights is wanted"):
        Classifier(toy_settings("panns", sample_rate=32000, frontend={}))


def test_every_classifier_has_a_configuration() -> None:
    folder = Path(__file__).parents[2] / "configs" / "classify"
    settings = {path.stem: load_classifier_settings(path) for path in folder.glob("*.yaml")}
    assert set(REGISTRY) <= set(settings)
    assert all(settings[name].classifier == name for name in REGISTRY)
    assert all(one.classifier in REGISTRY for one in settings.values())
