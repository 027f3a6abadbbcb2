"""Decoder and encoder of an instrument as ONNX files, tried with ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..errors import MissingDependencyError
from ..models.note_age_table import LEAP_FRAMES, LEAP_SEMITONES, LONGEST_AGE, RISE_DB, RISE_FRAMES, note_age
from ..models.timbre_model import EXCERPT_SECONDS, TimbreModel
from .checks import block_times, check, level_db, phrase
from .torchscript import FrameDecoder

OPSET = 18
OUTPUTS = ["harmonic_amplitudes", "noise_magnitudes", "next_memory"]
AXES = {**dict.fromkeys(OUTPUTS[:2], {0: "batch", 1: "n_frames"}), "next_memory": {1: "batch"}, "z": {0: "batch"}}  # of any size
LARGEST_CONSTANT = 1 << 16  # bytes that may be stored in place of what computes them
STREAMED = 7  # frames at a time, where the decoder is tried in blocks


class _Encoder(nn.Module):
    def __init__(self, model: TimbreModel) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.encoder(audio)


class _Inputs(NamedTuple):
    """Inputs of a decoder by name: those it is traced with, and a phrase that it is tried with."""

    names: list[str]
    example: tuple[torch.Tensor, ...]
    phrase: tuple[torch.Tensor, ...]


@torch.no_grad()
def write_onnx(paths: list[Path], model: TimbreModel, z: torch.Tensor) -> dict[str, Any]:
    """Write decoder and encoder into two paths, and try them with the timbre z (z_dim,).

    Gives for the card ``signature``, ``z``, ``latency_samples``, ``test`` [dB], ``compute``. ExportError: what was written does not do what
    the model does.
    """
    sessions = open_runtime()
    inputs, n_samples = _inputs(model, z), int(EXCERPT_SECONDS * model.sample_rate)
    audio = 0.1 * torch.randn(2, n_samples, generator=torch.Generator().manual_seed(0))
    # Before anything is traced: windows and filters are kept on first use, and the tracer's are no numbers.
    expected, wanted = FrameDecoder(model)(*inputs.phrase), model.encoder(audio[:1]).numpy()
    batch, frames = torch.export.Dim("batch", min=1, max=1024), torch.export.Dim("n_frames", min=1, max=1 << 20)
    dynamic = {name: {1: batch} if name == "memory" else {0: batch, 1: frames} for name in inputs.names}
    content = to_onnx(FrameDecoder(model), inputs.example, inputs.names, OUTPUTS, dynamic)
    paths[0].write_bytes(_labelled(content).SerializeToString())
    content = to_onnx(_Encoder(model), (audio,), ["audio"], ["z"], {"audio": {0: batch}})
    paths[1].write_bytes(_labelled(content).SerializeToString())
    decoder, encoder = (sessions(path.read_bytes()) for path in paths)  # not by their names, which need not be text
    figures, one_frame = _try_decoder(decoder, inputs, expected)
    figures["encoder_vs_model_db"] = level_db(encoder.run(None, {"audio": audio[:1].numpy()})[0] - wanted, wanted)
    return {
        "signature": _signature(inputs.names, n_samples, model.sample_rate),
        "z": [round(float(number), 6) for number in z],
        "latency_samples": 0,
        "test": check(figures),
        "compute": {"block_frames": 1, **block_times(lambda t: decoder.run(None, one_frame), 100)},
    }


def open_runtime() -> Any:
    """A function that opens an ONNX graph, given as bytes."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # what torch.onnx writes with
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is needed for ONNX; install it with: pip install 'tonetransfer[export]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return lambda content: onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _inputs(model: TimbreModel, z: torch.Tensor) -> _Inputs:
    width = model.decoder.memory.hidden_size
    f0_hz = torch.linspace(200.0, 900.0, 20).reshape(2, 10)
    f0, loud = (track[:: model.grid.hop_length][None] for track in phrase(model))
    own = model.decoder.register is not None  # of one instrument, which tells how long a note has sounded
    names = ["f0_hz", "loudness_db", "highest_hz", "z", "memory", *(["age"] if own else [])]
    example = f0_hz, -f0_hz / 20.0, f0_hz, z.expand(2, 10, -1).contiguous(), torch.zeros(1, 2, width), torch.ones(2, 10)
    played = f0, loud, f0, z.expand(1, f0.shape[1], -1).contiguous(), torch.zeros(1, 1, width), note_age(f0, loud)
    return _Inputs(names, example[: len(names)], played[: len(names)])


def _try_decoder(decoder: Any, inputs: _Inputs, expected: tuple[torch.Tensor, ...]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measure its error [dB], at once and in blocks; give back the inputs of one frame, too."""
    tracks = {name: x.numpy() for name, x in zip(inputs.names, inputs.phrase, strict=True)}
    start = {"memory": tracks.pop("memory")}
    whole = decoder.run(None, tracks | start)
    memory, pieces = start["memory"], []
    for t in range(0, tracks["f0_hz"].shape[1], STREAMED):
        *piece, memory = decoder.run(None, {name: x[:, t : t + STREAMED] for name, x in tracks.items()} | {"memory": memory})
        pieces.append(piece)
    streamed = [np.concatenate(part, axis=1) for part in zip(*pieces, strict=True)]
    figures = {
        "harmonics_vs_model_db": level_db(whole[0] - expected[0].numpy(), expected[0]),
        "noise_vs_model_db": level_db(whole[1] - expected[1].numpy(), expected[1]),
        "harmonics_streamed_vs_whole_db": level_db(streamed[0] - whole[0], whole[0]),
        "noise_streamed_vs_whole_db": level_db(streamed[1] - whole[1], whole[1]),
    }
    return figures, {name: x[:, :1] for name, x in tracks.items()} | start


def _signature(names: list[str], n_samples: int, sample_rate: int) -> dict[str, str]:
    own = "age" in names
    signature = {
        "decoder": "f0_hz, loudness_db, highest_hz (batch, n_frames), z (batch, n_frames, z_dim), memory (1, batch, width)"
        f"{', age (batch, n_frames)' if own else ''} -> "
        "harmonic_amplitudes (batch, n_frames, n_harmonics), noise_magnitudes (batch, n_frames, n_bands), next_memory",
        "encoder": f"audio (batch, {n_samples}) at {sample_rate} Hz -> z (batch, z_dim)",
        "highest_hz": "the highest f0 of each frame and its neighbours: harmonics of it above Nyquist are left out",
        "memory": "zeros at first, then next_memory of the frames before",
    }
    if own:
        signature["age"] = (
            f"frames since the note began, at most {LONGEST_AGE}: since f0 moved by more than {LEAP_SEMITONES:g} semitones "
            f"within {LEAP_FRAMES} frames, or loudness_db rose by more than {RISE_DB:g} within {RISE_FRAMES}"
        )
    return signature


def _labelled(content: Any) -> Any:
    """A model whose outputs may be of any size; they are labelled with the number of frames of the example."""
    for value in content.graph.output:
        sizes = value.type.tensor_type.shape.dim
        for axis, label in AXES[value.name].items():
            sizes[axis].dim_param = label
    return content


def to_onnx(
    module: nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], outputs: list[str], dynamic: dict[str, dict[int, Any]]
) -> Any:
    """A module as an ONNX ``ModelProto``, called with an example as often as it takes to see what it does.

    `dynamic` are the axes of an input whose sizes may differ, as ``torch.export`` takes them.
    """
    import onnxscript.optimizer

    for name in ("torch.onnx", "onnxscript"):  # they tell that torchvision is not there, and what they leave as it is
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple(dynamic.get(name, {}) for name in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    content = onnxscript.optimizer.optimize(program.model_proto, num_iterations=1, output_size_limit=LARGEST_CONSTANT)
    del content.graph.value_info[:]  # after the recurrence it holds the number of frames of the example
    for node in content.graph.node:
        del node.metadata_props[:]  # where in the code it comes from: as long as the graph itself
    return content
