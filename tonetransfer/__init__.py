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
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .compiled import use_own_cache

use_own_cache()
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime, which runs the tracker, else reports to its makers: nothing leaves here

if TYPE_CHECKING:
    from .analysis.describe import describe, describe_frames, describe_notes, find_techniques
    from .analysis.descriptors import describe_controls, descriptor_tracks
    from .analysis.notes import find_notes
    from .analysis.techniques import Technique
    from .audio.files import load_audio, save_audio
    from .audio.frames import FrameGrid
    from .classification.classifier import Classifier, classify, load_classifier
    from .controls.controls import Controls
    from .controls.edits import Edit, apply_edits
    from .controls.profile import Target
    from .errors import ToneTransferError, ToneTransferWarning
    from .evaluation.compare import compare
    from .evaluation.metrics import bootstrap_interval, frechet_distance
    from .evaluation.report.build import write_report
    from .evaluation.report.take import write_take
    from .evaluation.transfer_quality import evaluate_parallel as evaluate
    from .models.timbre_model import Instrument, TimbreModel
    from .models.weights import load_model, save_model
    from .pipeline.effort_estimation import estimate_dynamic, estimate_effort, estimate_effort_changes, estimate_expression
    from .pipeline.pulses import find_pulses
    from .pipeline.recorded_room import RecordedRoom, measure_room
    from .pipeline.target import find_target, nearest_timbres, refine
    from .pipeline.transfer import Arrangement, analyze, arrange, play, synthesize, transfer, warn_about
    from .realtime.midi_writer import write_midi
    from .realtime.stream import Stream, StreamSettings
    from .synthesis.render import SynthParams
    from .threads import one_thread

_NAMES = {  # by the module that they live in
    "analysis.describe": ("describe", "describe_frames", "describe_notes", "find_techniques"),
    "analysis.descriptors": ("describe_controls", "descriptor_tracks"),
    "analysis.notes": ("find_notes",),
    "analysis.techniques": ("Technique",),
    "audio.files": ("load_audio", "save_audio"),
    "audio.frames": ("FrameGrid",),
    "classification.classifier": ("Classifier", "classify", "load_classifier"),
    "controls.controls": ("Controls",),
    "controls.edits": ("Edit", "apply_edits"),
    "controls.profile": ("Target",),
    "errors": ("ToneTransferError", "ToneTransferWarning"),
    "evaluation.compare": ("compare",),
    "evaluation.metrics": ("bootstrap_interval", "frechet_distance"),
    "evaluation.report.build": ("write_report",),
    "evaluation.report.take": ("write_take",),
    "evaluation.transfer_quality": ("evaluate",),
    "models.timbre_model": ("Instrument", "TimbreModel"),
    "models.weights": ("load_model", "save_model"),
    "pipeline.effort_estimation": ("estimate_dynamic", "estimate_effort", "estimate_effort_changes", "estimate_expression"),
    "pipeline.pulses": ("find_pulses",),
    "pipeline.recorded_room": ("RecordedRoom", "measure_room"),
    "pipeline.target": ("find_target", "nearest_timbres", "refine"),
    "pipeline.transfer": ("Arrangement", "analyze", "arrange", "play", "synthesize", "transfer", "warn_about"),
    "realtime.midi_writer": ("write_midi",),
    "realtime.stream": ("Stream", "StreamSettings"),
    "synthesis.render": ("SynthParams",),
    "threads": ("one_thread",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

_ALIASES = {"evaluate": "evaluate_parallel"}

__all__ = [
    "Arrangement",
    "Classifier",
    "Controls",
    "Edit",
    "FrameGrid",
    "Instrument",
    "RecordedRoom",
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
    "estimate_dynamic",
    "estimate_effort",
    "estimate_effort_changes",
    "estimate_expression",
    "evaluate",
    "find_notes",
    "find_pulses",
    "find_target",
    "find_techniques",
    "frechet_distance",
    "load_audio",
    "load_classifier",
    "load_model",
    "measure_room",
    "nearest_timbres",
    "one_thread",
    "play",
    "refine",
    "save_audio",
    "save_model",
    "synthesize",
    "transfer",
    "warn_about",
    "write_midi",
    "write_report",
    "write_take",
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
