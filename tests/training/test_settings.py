"""Settings are validated at once, with every problem and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tonetransfer.errors import SettingsError
from tonetransfer.models.settings import validate_as
from tonetransfer.training.settings import Settings, read_settings

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


def test_a_file_holds_only_differences(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, "train: {steps: 7}\n"))
    assert settings.train.steps == 7
    assert settings.model == Settings().model and settings.data == Settings().data
    assert read_settings(write(tmp_path, "")) == Settings()


def test_overrides_win(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {steps: 7}\nmodel: {z_dim: 4}\n")
    settings = read_settings(path, ["train.steps=9", "data.corpus=elsewhere", "train.learning_rate=1.0e-4", "name=try"])
    assert (settings.train.steps, settings.model.z_dim, settings.data.corpus, settings.name) == (9, 4, "elsewhere", "try")
    assert settings.train.learning_rate == pytest.approx(1e-4)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        validate_as(Settings, {"train": {"stepz": 3, "learning_rate": -1}, "modle": {}, "data": {"batch_size": "many"}})
    text = str(caught.value)
    for part in ("train.stepz", "did you mean steps?", "train.learning_rate", "modle", "did you mean model?", "data.batch_size", "'many'"):
        assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "says"), [("- a\n- b\n", "mapping"), ("train: [", "not YAML"), ("train: 3", "train"), ("a: b: c", "not YAML")]
)
def test_files_that_are_none(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_settings(write(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("override", ["train.steps", "=3", "name.first=3", "train.stepz=3", "train.steps=many", "train=3"])
def test_overrides_that_are_none(tmp_path: Path, override: str) -> None:
    with pytest.raises(SettingsError):
        read_settings(write(tmp_path, "name: x"), [override])


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.steps = 3  # type: ignore[misc]  # on purpose


def is_of_all_instruments(path: Path) -> bool:
    """Neither of a corpus nor of one instrument, whose settings tests/data/test_configs.py loads."""
    return path.name != "corpus.yaml" and "kind" not in yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", filter(is_of_all_instruments, CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_configurations_in_the_repository_are_valid(path: Path) -> None:
    read_settings(path)
