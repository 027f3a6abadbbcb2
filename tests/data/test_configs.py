"""Every file in configs/ that trains is understood, and holds nothing that is the default anyway."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tonetransfer.errors import SettingsError
from tonetransfer.models.weights import leaves
from tonetransfer.training.settings import FinetuningSettings, Settings, read_settings

CONFIGS = Path(__file__).parents[2] / "configs"
TRAINING = sorted(path for path in CONFIGS.rglob("*.yaml") if path.name != "corpus.yaml" and path.parent.name != "classify")
FAMILIES = {"strings", "flute", "reed", "sax", "brass", "free_reed", "organ", "voice", "plucked"}


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_it_holds_differences_and_reasons(path: Path) -> None:
    settings = read_settings(path)
    default = leaves(type(settings)().model_dump())
    written = leaves(yaml.safe_load(path.read_text(encoding="utf-8")))
    same = [
        key for key, value in written.items() if key not in ("kind", "name", "data.corpus", "train.output") and default.get(key) == value
    ]
    assert not same, f"{path.name} repeats the default of {same}"
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_there_is_one_for_each_bundled_family_and_task() -> None:
    assert {path.stem for path in TRAINING if path.parent.name == "families"} == FAMILIES
    assert {read_settings(CONFIGS / "families" / f"{name}.yaml").family for name in FAMILIES} == FAMILIES  # type: ignore[union-attr]  # solo
    names = {path.stem for path in TRAINING}
    assert {"finetune_1min", "finetune_5min", "finetune_15min", "scratch", "all_gpu", "tiny", "all"} <= names


def test_the_kind_decides() -> None:
    assert isinstance(read_settings(CONFIGS / "scratch.yaml"), FinetuningSettings)
    assert isinstance(read_settings(CONFIGS / "all.yaml"), Settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: solos", "did you mean solo"),
        ("{kind: solo, train: {stepps: 3}}", "train.stepps: no such setting, did you mean steps"),
        ("{kind: solo, data: {prepard: x}, train: {moves: all}}", "did you mean prepared.*train.moves"),
        ("{kind: solo, name: My Sax}", "name"),
        ("{kind: solo, train: {devices: 0}}", "train.devices"),
    ],
)
def test_a_typo_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        read_settings(tmp_path / "a.yaml")
