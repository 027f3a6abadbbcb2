"""All classifiers by name: what each looks at, and the model on top of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import SettingsError, did_you_mean
from .embeddings import AstEmbedding, ClapEmbedding, MertEmbedding, PannsCnn14, TimbreZ
from .estimators import Forest, SupportVectors, VectorHead
from .frontends import Descriptors, Frontend, LogMel, Spectrum, Waveform
from .networks import (
    Cnn14Like,
    Conv1dNetwork,
    ConvolutionalRecurrent,
    FullyConvolutional,
    HarmonicCnn,
    Musicnn,
    SampleCnn,
    SelfAttention,
    ShortChunk,
    SpectrogramTransformer,
)


@dataclass(frozen=True)
class Kind:
    """A registered classifier."""

    frontend: type[Frontend]
    model: type[nn.Module]
    fixed: tuple[tuple[str, bool], ...] = ()  # options that make this kind what it is


REGISTRY: dict[str, Kind] = {
    "forest": Kind(Descriptors, Forest),
    "svm": Kind(Descriptors, SupportVectors),
    "cnn_1d": Kind(LogMel, Conv1dNetwork),
    "fcn": Kind(LogMel, FullyConvolutional),
    "short_chunk": Kind(LogMel, ShortChunk),
    "short_chunk_residual": Kind(LogMel, ShortChunk, (("residual", True),)),
    "crnn": Kind(LogMel, ConvolutionalRecurrent),
    "musicnn": Kind(LogMel, Musicnn),
    "harmonic_cnn": Kind(Spectrum, HarmonicCnn),
    "self_attention": Kind(LogMel, SelfAttention),
    "spectrogram_transformer": Kind(LogMel, SpectrogramTransformer),
    "cnn14": Kind(LogMel, Cnn14Like),
    "sample_cnn": Kind(Waveform, SampleCnn),
    "z": Kind(TimbreZ, VectorHead),
    "panns": Kind(PannsCnn14, VectorHead),
    "ast": Kind(AstEmbedding, VectorHead),
    "mert": Kind(MertEmbedding, VectorHead),
    "clap": Kind(ClapEmbedding, VectorHead),
}


def find_kind(name: str) -> Kind:
    """The registered classifier of a name; raises SettingsError with the nearest one."""
    if name in REGISTRY:
        return REGISTRY[name]
    raise SettingsError(f"there is no classifier {name!r}; {did_you_mean(name, REGISTRY)}choose one of {', '.join(REGISTRY)}")


def build(builder: Callable[..., Any], options: dict[str, Any], section: str, *places: Any) -> Any:
    """Call a class with options that it has."""
    known = [name for name, p in inspect.signature(builder).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known).rstrip() or f"there are {', '.join(known) or 'none'}"
            raise SettingsError(f"{section}.{name}: no such option; {hint}")
    needed = [name for name, p in inspect.signature(builder).parameters.items() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if missing := [name for name in needed if name not in options]:
        raise SettingsError(f"{section}.{missing[0]} is wanted and not set; for example --set {section}.{missing[0]}=PATH")
    try:
        return builder(*places, **options)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise SettingsError(f"{section}: {builder.__name__} cannot be built of {options} ({' '.join(str(error).split())[:120]})") from None
