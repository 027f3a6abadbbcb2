"""Every setting of training one instrument, with its default and its reason. A YAML file holds only what differs.

Such a file says ``kind: solo``; one without it trains many instruments at once (:mod:`tonetransfer.training.settings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..errors import SettingsError
from ..models.settings import ModelSettings, Section
from ..models.settings_files import read_mapping, validate_as
from ..suggest import did_you_mean
from .settings import Settings

BUNDLED = "bundled"
KINDS = ("solo", "ensemble")


class FinetuningDataSettings(Section):
    """Settings of the training data."""

    prepared: str = "prepared"  # a folder made by `tonetransfer prepare`
    excerpt_seconds: float = Field(1.0, gt=0)
    lead_seconds: float = Field(0.0, ge=0)  # played before each excerpt and not compared: a room must have rung up
    transposed_semitones: float = Field(0.0, ge=0, le=3)  # half of the excerpts are played so much faster or slower at most
    batch_size: int = Field(8, gt=0)  # over all devices together
    judged: int = Field(32, gt=0)  # seconds of the validation split that say when to stop


class RoomSettings(Section):
    """The room that the recordings were made in, learned beside the instrument; it can be left out when it plays."""

    learn: bool = False
    seconds: float = Field(0.8, gt=0, le=5)  # length of the impulse response
    learning_rate: float = Field(3e-2, gt=0)


class FinetuningTrainSettings(Section):
    """Settings of the optimisation."""

    start: str | None = BUNDLED  # weights that training goes out from: `bundled`, a file, or null for none: from scratch
    moves: Literal["z", "last", "decoder"] = "decoder"  # the timbre vector, with the last layers, with all of the decoder
    steps: int = Field(800, gt=0)  # eight excerpts each: five minutes of recordings some twenty times over
    learning_rate: float = Field(7e-4, gt=0)  # of the networks; warmed up, then a cosine down to a twentieth
    z_learning_rate: float = Field(2e-2, gt=0)
    register_learning_rate: float = Field(4e-3, ge=0)  # of what it does in the course of a note; 0: nothing of its own. Not for `z`
    warmup_steps: int = Field(20, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    average: float = Field(0.98, ge=0, lt=1)  # a running mean of the weights is what is judged and kept: excerpts differ
    coupling_weight: float = Field(1.0, ge=0)  # what loudness does to a spectrum stays as it was learned from many instruments
    validate_every: int = Field(50, gt=0)  # steps
    patience: int = Field(6, gt=0)  # validations without a better one, then it ends
    devices: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"  # processes or GPUs, distributed data parallel; see solo.processes_for
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the networks; spectra and sound stay in float32
    tensorboard: bool = False  # figures, audio and spectrograms; needs the extra `tensorboard`
    seed: int = Field(0, ge=0)
    threads: int | None = None
    output: str | None = None  # None: runs/NAME


class FinetuningSettings(Section):
    """All of it."""

    kind: Literal["solo"] = "solo"
    name: str = Field("my_instrument", pattern=r"^[a-z0-9][a-z0-9_]*$")  # name of the instrument, and of its weights file
    family: str = "own"
    source: str = "own recordings"  # whose they are; stands in the weights and in the model card
    licence: str | None = None  # None: as `tonetransfer prepare --licence` was told
    model: ModelSettings = ModelSettings()  # from scratch only; otherwise that of the weights training goes out from
    data: FinetuningDataSettings = FinetuningDataSettings()
    room: RoomSettings = RoomSettings()
    train: FinetuningTrainSettings = FinetuningTrainSettings()

    @property
    def output(self) -> Path:
        """Folder of the run."""
        return Path(self.train.output or f"runs/{self.name}")


def read_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings | FinetuningSettings:
    """Settings of a training of either kind.

    Raises
    ------
    SettingsError
        With every problem at once, and the nearest known name for each unknown one.
    """
    content = read_mapping(path, overrides)
    kind = str(content.get("kind", "ensemble"))
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        raise SettingsError(f"{path}: kind is {kind!r}; {hint}{' (one instrument) or '.join(KINDS)} (many) is wanted")
    return as_finetuning_settings(content, where=str(path)) if kind == "solo" else _ensemble(content, str(path))


def as_finetuning_settings(content: dict[str, Any], *, where: str = "settings") -> FinetuningSettings:
    """A plain mapping to :class:`FinetuningSettings`; raises SettingsError."""
    return validate_as(FinetuningSettings, content, where=where)


def _ensemble(content: dict[str, Any], where: str) -> Settings:
    content.pop("kind", None)
    return validate_as(Settings, content, where=where)
