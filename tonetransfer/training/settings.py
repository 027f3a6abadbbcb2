"""Every setting of training many instruments at once or one (``kind: solo``), with its default and its reason.

A YAML file holds only what differs. Networks never see these objects: they take plain numbers. The schedule of
learning rates stands below them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..errors import SettingsError, did_you_mean
from ..models.settings import ModelSettings, Section, read_mapping, validate_as

FEATURED = (
    *("violin", "viola", "cello", "contrabass", "flute", "piccolo", "recorder", "pan_flute", "oboe", "english_horn", "clarinet", "bassoon"),
    *("soprano_sax", "alto_sax", "tenor_sax", "baritone_sax", "trumpet", "muted_trumpet", "horn", "trombone", "tuba", "harmonica"),
    *("accordion", "organ", "voice_ooh", "voice_aah"),
)
BUNDLED = "bundled"
KINDS = ("solo", "ensemble")


class DataSettings(Section):
    """Settings of the batches."""

    corpus: str = "corpus/train"  # a folder made by `tonetransfer corpus render`
    others: tuple[str, ...] = ()  # more of them, heard by the encoder alone: what makes an oboe is common to several recordings of oboes
    excerpt_seconds: float = Field(1.0, gt=0)
    reference_seconds: float = Field(2.0, gt=0)
    batch_size: int = Field(16, gt=0)
    parallel_share: float = Field(0.5, ge=0, le=1)  # loudness of instrument A, sound of instrument B: what users do
    named_share: float = Field(0.7, ge=0, le=1)  # the named instruments are what most people play; the others fill the space of timbres
    featured: tuple[str, ...] = FEATURED  # of the named ones, those that come up three times as often
    equalise_share: float = Field(0.5, ge=0, le=1)  # random equalisation and tilt of reference and target alike: new timbres
    rescale_share: float = Field(0.25, ge=0, le=1)  # pitch and formants moved together: a smaller or larger instrument
    capture_share: float = Field(0.4, ge=0, le=1)  # references heard through a room, a microphone and hiss: z must leave the recording out
    heard_seconds: float = Field(192.0, gt=0)  # of a batch that is heard only: it costs the encoder alone
    other_share: float = Field(0.2, ge=0, le=1)  # of the encoder's excerpts that come from `others`
    validation_performances: int = Field(1, ge=0)  # held out of training, in the middle register
    validation_names: tuple[str, ...] = ("violin_fluid", "trumpet_fluid", "flute_fluid", "clarinet_fluid", "alto_sax_fluid", "oboe_fluid")
    workers: int = Field(1, ge=0)  # processes that make batches while the last one is learned from


class TrainSettings(Section):
    """Settings of the optimisation."""

    steps: int = Field(6000, gt=0)
    learning_rate: float = Field(2e-3, gt=0)  # warmed up, then a cosine down to a hundredth
    table_learning_rate: float = Field(4e-3, gt=0)  # a row is seen in one batch of ten: what it learns there must count
    warmup_steps: int = Field(200, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    table_start: float = Field(0.4, ge=0, le=1)  # share of the steps in which the table follows the encoder, before it learns by itself
    table_share: float = Field(0.5, ge=0, le=1)  # then: items that take z from the table of timbres instead of the encoder
    drawn_weight: float = Field(0.06, ge=0)  # the table's rows are drawn to the encoder's z a little
    alignment_weight: float = Field(1.0, ge=0)  # losses of z: see losses.py
    kind_weight: float = Field(1.0, ge=0)
    consistency_weight: float = Field(0.5, ge=0)
    contrast_weight: float = Field(0.3, ge=0)
    encoder_steps: int = Field(0, ge=0)  # before the others, while decoder and table of `start` stand still
    encoder_learning_rate: float = Field(2e-3, ge=0)  # 0: the encoder of `start` stays as it is, and nothing is heard beside what is played
    note_table_learning_rate: float = Field(0.0, ge=0)  # of what recorded instruments do in the course of a note; 0: no such tables
    primaries: dict[str, dict[str, float]] = {}  # named timbres that are one of their players in the end, or a mean: {cello: {cello_5: 1}}
    highs_db: float = Field(0.0, ge=0, le=12)  # gain of recorded instruments above 9 kHz in the end: log spectra teach less than mean power
    audible_weight: float = Field(0.0, ge=0)  # of the distance within 60 dB of the loudest: real recordings have a room further down
    log_spectral_weight: float = Field(1.5, ge=0)
    loudness_weight: float = Field(0.05, ge=0)  # per dB: without it the tone comes out some dB too soft, because most bins hold noise
    validate_every: int = Field(1000, gt=0)
    start: str | None = None  # weights file whose networks (and timbres of the same names) training goes out from
    seed: int = 0
    threads: int | None = None
    output: str = "runs/all"


class Settings(Section):
    """All of it."""

    name: str = "all"
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()


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
    """Read a YAML file of differences, and `section.key=value` overrides, of a training of either kind.

    SettingsError names every problem at once, and the nearest known name for each unknown one.
    """
    content = read_mapping(path, overrides)
    kind = str(content.get("kind", "ensemble"))
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        raise SettingsError(f"{path}: kind is {kind!r}; {hint}{' (one instrument) or '.join(KINDS)} (many) is wanted")
    if kind == "solo":
        return validate_as(FinetuningSettings, content, where=str(path))
    content.pop("kind", None)
    return validate_as(Settings, content, where=str(path))


def warm_cosine(step: int, steps: int, *, warmup: int = 10, last: float = 0.05, begin: int = 0) -> float:
    """Factor on a learning rate: warmed up linearly in `warmup` steps; from step `begin` on a cosine takes it down to `last`."""
    done = min(max(step - begin, 0) / max(steps - begin, 1), 1.0)
    return min((step + 1) / max(warmup, 1), 1.0) * (last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * done)))
