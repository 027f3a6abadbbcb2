"""Play one recording with another instrument's timbre.

    import tonetransfer as tt
    audio, sample_rate = tt.load_audio("voice.wav")
    model = tt.load_model()
    out = tt.transfer(audio, sample_rate, model, to="violin")
    tt.save_audio("violin.wav", out, model.sample_rate)

Names are loaded when they are first used (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime, which runs the tracker, else reports to its makers: nothing leaves here

if TYPE_CHECKING:
    from .audio import load_audio, save_audio
    from .bootstrap import bootstrap_interval
    from .classifier import Classifier
    from .classify import classify, load_classifier
    from .compare import compare
    from .controls import Controls
    from .description import describe, describe_frames, describe_notes, find_techniques
    from .edits import Edit, apply_edits
    from .errors import ToneTransferError, ToneTransferWarning
    from .evaluate import evaluate_parallel as evaluate
    from .features import describe_controls, descriptor_tracks
    from .frames import FrameGrid
    from .metrics import frechet_distance
    from .model import Instrument, TimbreModel
    from .notes import find_notes
    from .refine import refine
    from .report import write_report
    from .stream import Stream, StreamSettings
    from .synth import SynthParams
    from .target import Target, find_target, nearest_timbres
    from .techniques import Technique
    from .threads import one_thread
    from .transfer import (
        Arrangement,
        analyze,
        arrange,
        play,
        synthesize,
        transfer,
        warn_about,
    )
    from .weights import load_model, save_model

_HOMES = {
    "load_audio": "audio",
    "save_audio": "audio",
    "bootstrap_interval": "bootstrap",
    "Classifier": "classifier",
    "classify": "classify",
    "load_classifier": "classify",
    "compare": "compare",
    "Controls": "controls",
    "describe": "description",
    "describe_frames": "description",
    "describe_notes": "description",
    "find_techniques": "description",
    "Edit": "edits",
    "apply_edits": "edits",
    "ToneTransferError": "errors",
    "ToneTransferWarning": "errors",
    "evaluate": "evaluate",
    "describe_controls": "features",
    "descriptor_tracks": "features",
    "FrameGrid": "frames",
    "frechet_distance": "metrics",
    "Instrument": "model",
    "TimbreModel": "model",
    "find_notes": "notes",
    "refine": "refine",
    "Stream": "stream",
    "StreamSettings": "stream",
    "write_report": "report",
    "SynthParams": "synth",
    "Technique": "techniques",
    "Target": "target",
    "find_target": "target",
    "nearest_timbres": "target",
    "one_thread": "threads",
    "Arrangement": "transfer",
    "analyze": "transfer",
    "arrange": "transfer",
    "play": "transfer",
    "synthesize": "transfer",
    "transfer": "transfer",
    "warn_about": "transfer",
    "load_model": "weights",
    "save_model": "weights",
}

_ALIASES = {"evaluate": "evaluate_parallel"}

__all__ = [
    "Arrangement",
    "Classifier",
    "Controls",
    "Edit",
    "FrameGrid",
    "Instrument",
    "Stream",
    "StreamSettings",
    "SynthParams",
    "Target",
    "Technique",
    "TimbreModel",
    "ToneTransferError",
    "ToneTransferWarning",
    "analyze",
    "apply_edits",
    "arrange",
    "bootstrap_interval",
    "classify",
    "compare",
    "describe",
    "describe_controls",
    "describe_frames",
    "describe_notes",
    "descriptor_tracks",
    "evaluate",
    "find_notes",
    "find_target",
    "find_techniques",
    "frechet_distance",
    "load_audio",
    "load_classifier",
    "load_model",
    "nearest_timbres",
    "one_thread",
    "play",
    "refine",
    "save_audio",
    "save_model",
    "synthesize",
    "transfer",
    "warn_about",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tonetransfer")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), _ALIASES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Importing a submodule must not put it in the place of the function of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
