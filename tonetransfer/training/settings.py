"""Every setting of a model and of its training, with its default and its reason. A YAML file holds only what differs.

Networks never see these objects: they take plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ..models.settings import ModelSettings, Section
from ..models.settings_files import read_mapping, validate_as

FEATURED = (
    *("violin", "viola", "cello", "contrabass", "flute", "piccolo", "recorder", "pan_flute", "oboe", "english_horn", "clarinet", "bassoon"),
    *("soprano_sax", "alto_sax", "tenor_sax", "baritone_sax", "trumpet", "muted_trumpet", "horn", "trombone", "tuba", "harmonica"),
    *("accordion", "organ", "voice_ooh", "voice_aah"),
)


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


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a YAML file of differences, and `section.key=value` overrides.

    Raises
    ------
    SettingsError
        With every problem at once, and the nearest known name for each unknown one.
    """
    return validate_settings(read_mapping(path, overrides), where=str(path))


def validate_settings(content: dict[str, Any], *, where: str = "settings") -> Settings:
    """A plain mapping to :class:`Settings`; raises SettingsError."""
    return validate_as(Settings, content, where=where)
