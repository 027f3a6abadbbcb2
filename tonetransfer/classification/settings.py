"""Every setting of a classifier, with its default and its reason. A YAML file in ``configs/classify`` holds only what differs."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import SettingsError
from ..training.settings import FEATURED

# What a class is made of besides the timbre of its name, its second microphone (@R) and its recorded notes (NAME_SOURCE).
ALSO = {
    "violin": ("fiddle", "fiddle@R", "gm_slow_violin"),
    "accordion": ("gm_italian_accordion",),
    "organ": ("gm_church_organ_2",),
}
INSTRUMENTS: dict[str, tuple[str, ...]] = {name: (name, f"{name}@R", f"{name}_*", *ALSO.get(name, ())) for name in FEATURED} | {
    "piano": ("gm_piano", "gm_piano@R"),
    "acoustic_guitar": ("acoustic_guitar", "gm_steel_guitar", "gm_ukulele"),
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """What is learned from. One of `corpora`, `folder`, `csv` and `mirdata` is read; the last three win over the first."""

    corpora: tuple[str, ...] = ("corpus/train",)  # folders made by `tonetransfer corpus render`
    folder: str | None = None  # a folder for each class
    csv: str | None = None  # columns file, label (several with | between), and where labels change over time start_s, end_s
    mirdata: str | None = None  # name of a dataset that mirdata knows, for example tinysol
    mirdata_home: str | None = None  # where it lies; None: where mirdata puts it
    classes: dict[str, tuple[str, ...]] = INSTRUMENTS  # of a corpus: timbres of each class, * allowed; of others: labels that count as one
    files_per_class: int = Field(24, ge=2)  # spread over the class's timbres and registers
    windows_per_file: int = Field(5, gt=0)
    copies: int = Field(2, gt=0)  # of every window, each with another augmentation
    mixture_share: float = Field(0.0, ge=0, le=1)  # windows in which a second class sounds too: multi label from single instruments
    validation_share: float = Field(0.1, gt=0, lt=1)  # of the files of each class


class AugmentSettings(_Section):
    """How often each thing happens to a window. An unseen soundfont differs from the trained one in just these."""

    pitch_share: float = Field(0.25, ge=0, le=1)  # up to 2 semitones, formants with it: a smaller or larger instrument
    stretch_share: float = Field(0.1, ge=0, le=1)
    equalise_share: float = Field(0.8, ge=0, le=1)  # seven bands, up to 10 dB each
    filter_share: float = Field(0.3, ge=0, le=1)  # a cheap microphone: low-pass or high shelf
    distort_share: float = Field(0.05, ge=0, le=1)
    room_share: float = Field(0.5, ge=0, le=1)
    noise_share: float = Field(0.4, ge=0, le=1)  # 15 to 50 dB below
    gap_share: float = Field(0.15, ge=0, le=1)  # silence before or after: short clips and ends of files
    rooms: int = Field(32, gt=0)


class FitSettings(_Section):
    """How the weights of networks and heads are found."""

    steps: int = Field(1000, gt=0)
    batch_size: int = Field(32, gt=1)
    learning_rate: float = Field(2e-3, gt=0)  # one cycle: up in the first tenth, then a cosine down
    weight_decay: float = Field(0.02, ge=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    mixup: float = Field(0.2, ge=0)  # Beta(mixup, mixup) of pairs of windows; 0: none
    curve_db: float = Field(5.0, ge=0)  # deviation of a random curve over the bands, new in every batch: equalisation for nothing
    mask_share: float = Field(0.15, ge=0, lt=1)  # of the bands and of the frames, at most, that are hidden (SpecAugment)
    gradient_clip: float = Field(2.0, gt=0)
    seed: int = Field(0, ge=0)
    threads: int | None = None


class ClassifierSettings(_Section):
    """All of it; stored with the weights."""

    classifier: str = "cnn_1d"  # a name in the registry (tonetransfer.classification.registry)
    task: Literal["single", "multi"] = "single"  # one class a recording, or any number at once
    sample_rate: int = Field(24000, gt=0)  # above 12 kHz soundfonts differ more in their noise than instruments do
    window_seconds: float = Field(3.0, gt=0)
    step_seconds: float = Field(1.0, gt=0)
    options: dict[str, int | float | bool | str] = {}  # of the registered classifier: widths, depths, trees
    frontend: dict[str, int | float | bool | str] = {}  # of what it looks at: bands, hop, a weights file
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    fit: FitSettings = FitSettings()


def load_classifier_settings(path: str | Path, overrides: list[str] | None = None) -> ClassifierSettings:
    """Read a YAML file of differences, and ``section.key=value`` overrides.

    Raises
    ------
    SettingsError
        With every problem at once, and the nearest known name for each unknown one.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); give a YAML file of settings, see configs/classify") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not YAML ({' '.join(str(error).split())}); see configs/classify for examples") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: holds a {type(content).__name__}; a mapping of settings was wanted, see configs/classify")
    for override in overrides or []:
        _apply(content, override)
    return classifier_settings(content, where=str(path))


def classifier_settings(content: dict[str, Any], *, where: str = "settings") -> ClassifierSettings:
    """A plain mapping to :class:`ClassifierSettings`; raises SettingsError."""
    try:
        return ClassifierSettings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{where}: " + "; ".join(_explain(problem) for problem in error.errors())) from None


def _apply(content: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {override}: wanted section.key=value, for example fit.steps=1000")
    *sections, key = name.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise SettingsError(f"--set {override}: {section} is a single value, not a section")
    content[key] = yaml.safe_load(value)


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{place}: {problem['msg'].lower()} (came: {problem['input']!r})"
    model: Any = ClassifierSettings
    for part in problem["loc"][:-1]:
        model = model.model_fields[str(part)].annotation
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
    return f"{place}: no such setting" + (f", did you mean {near[0]}?" if near else f"; there are {', '.join(known)}")
