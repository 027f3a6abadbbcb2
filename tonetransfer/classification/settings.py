"""Every setting of a classifier, with its default and its reason. A YAML file in ``configs/classify`` holds only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..models.settings import Section, read_mapping, validate_as
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


class ClipSettings(Section):
    """Settings of the training data. One of `corpora`, `folder`, `csv` and `mirdata` is read; the last three win over the first."""

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
    validation_share: float = Field(0.1, gt=0, lt=1)  # part of the files of each class


class AugmentSettings(Section):
    """Probability of each augmentation of a window. An unseen soundfont differs from the trained one in just these."""

    pitch_share: float = Field(0.25, ge=0, le=1)  # up to 2 semitones, formants with it: a smaller or larger instrument
    stretch_share: float = Field(0.1, ge=0, le=1)
    equalise_share: float = Field(0.8, ge=0, le=1)  # seven bands, up to 10 dB each
    filter_share: float = Field(0.3, ge=0, le=1)  # a cheap microphone: low-pass or high shelf
    distort_share: float = Field(0.05, ge=0, le=1)
    room_share: float = Field(0.5, ge=0, le=1)
    noise_share: float = Field(0.4, ge=0, le=1)  # 15 to 50 dB below
    gap_share: float = Field(0.15, ge=0, le=1)  # silence before or after: short clips and ends of files
    rooms: int = Field(32, gt=0)


class FitSettings(Section):
    """Settings of the optimisation of networks and heads."""

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


class ClassifierSettings(Section):
    """All of it; stored with the weights."""

    classifier: str = "cnn_1d"  # a name in the registry (REGISTRY of classifier.py)
    task: Literal["single", "multi"] = "single"  # one class a recording, or any number at once
    sample_rate: int = Field(24000, gt=0)  # above 12 kHz soundfonts differ more in their noise than instruments do
    window_seconds: float = Field(3.0, gt=0)
    step_seconds: float = Field(1.0, gt=0)
    options: dict[str, int | float | bool | str] = {}  # of the registered classifier: widths, depths, trees
    frontend: dict[str, int | float | bool | str] = {}  # of what it looks at: bands, hop, a weights file
    data: ClipSettings = ClipSettings()
    augment: AugmentSettings = AugmentSettings()
    fit: FitSettings = FitSettings()


def load_classifier_settings(path: str | Path, overrides: Sequence[str] = ()) -> ClassifierSettings:
    """Read a YAML file of differences, and ``section.key=value`` overrides.

    SettingsError names all problems, and the nearest known names.
    """
    return validate_as(ClassifierSettings, read_mapping(path, overrides, see="configs/classify"), where=str(path))
