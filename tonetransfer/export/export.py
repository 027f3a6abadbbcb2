"""Instruments for other programs: TorchScript for Max and Pure Data, ONNX for anything, the room as a sound file.

Every export is read again and tried before it is done: what the file does must be what the model does, and what it does in blocks must be
what it does at once. What it is, and what was measured, stands in a card beside it.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..atomic import check_new, replacing_all, write_text
from ..audio.files import save_audio
from ..errors import ExportError, MissingDependencyError
from ..models.note_age_table import LEAP_FRAMES, LEAP_SEMITONES, LONGEST_AGE, RISE_DB, RISE_FRAMES, note_age
from ..models.timbre_model import EXCERPT_SECONDS, Instrument, TimbreModel
from ..synthesis.render import render_batch
from .torchscript import FrameDecoder, RealtimeInstrument, ScriptedInstrument, counted_noise

FORMATS = {  # name: ending, what it is
    "torchscript": (".ts", "TorchScript for nn~ in Max and Pure Data"),
    "realtime": (".ts", "TorchScript with the call of ddsp_pytorch's realtime external"),
    "onnx": (".onnx", "ONNX of decoder and encoder"),
    "ir": (".wav", "impulse response of the room"),
}
TOLERANCE_DB = -80.0
TEST_BLOCKS = (1, 480, 64, 511, 2048, 1000)  # samples
TEST_S = 1.0
OPSET = 18


def export(
    path: str | Path,
    model: TimbreModel,
    *,
    format: str,
    instrument: str | None = None,
    z: torch.Tensor | None = None,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write an instrument for another program, try it, and write its card, ``<name>.json``, beside it.

    Parameters
    ----------
    path : str or Path
        With the ending of the format. ONNX is two files: ``<name>.decoder.onnx`` and ``<name>.encoder.onnx``.
    model : TimbreModel
    format : str
        A key of :data:`FORMATS`.
    instrument : str or None
        Who plays at first; None: the model's first instrument. With `z` a name for it.
    z : Tensor [shape=(z_dim,)] or None
        A timbre of no named instrument.
    notes : mapping or None
        What the weights say of themselves (:func:`~tonetransfer.models.weights.read_notes`): sources and licence go into the card.
    overwrite : bool

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ExportError
        No such format, the file exists, there is nothing to export, or the file failed its test; then it is not there.
    MissingDependencyError
    """
    path = Path(path)
    if format not in FORMATS:
        raise ExportError(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    if path.suffix != FORMATS[format][0]:
        raise ExportError(f"{path}: {FORMATS[format][1]} is a file ending in {FORMATS[format][0]}; choose such a name")
    name = instrument or (model.names[0] if model.names else None)
    if name is None:
        raise ExportError("the model holds no named instrument; name one with --to, --like or --mix")
    name = name if z is not None else model.instrument(name).name
    files = [path.with_suffix(f".{part}.onnx") for part in ("decoder", "encoder")] if format == "onnx" else [path]
    card_path = path.with_suffix(".json")
    for file in (*files, card_path):
        check_new(file, ExportError, overwrite=overwrite)
    with replacing_all(files, error=ExportError) as parts:
        if format == "onnx":
            facts = _export_onnx(parts, model, model.timbre(name) if z is None else z)
        elif format == "ir":
            facts = _export_room(parts[0], model)
        else:
            facts = _export_script(parts[0], model, name, z, realtime=format == "realtime")
    card = {
        "format": format,
        "what": FORMATS[format][1],
        "files": {file.name: os.path.getsize(file) for file in files},
        "instrument": name,
        "sample_rate_hz": model.sample_rate,
        "hop_length": model.grid.hop_length,
        **facts,
        **_origin(model, name if z is None else None, notes or {}),
    }
    write_text(card_path, json.dumps(card, indent=2) + "\n", error=ExportError)
    return card


def level_db(error: np.ndarray | torch.Tensor, reference: np.ndarray | torch.Tensor) -> float:
    """RMS of an error re that of what it is an error of [dB], never below -200."""
    power, of = (float(np.square(np.asarray(x, dtype=np.float64)).mean()) for x in (error, reference))
    return 10.0 * math.log10(max(power / max(of, 1e-30), 1e-20))


def _origin(model: TimbreModel, name: str | None, notes: dict[str, Any]) -> dict[str, Any]:
    """Whose recordings it is made of."""
    told = notes.get("notes", {})
    known: Instrument | None = model.instrument(name) if name else None
    return {
        "licence": known.licence if known else None,
        "source": known.source if known else None,
        "range_midi": [known.lowest_midi, known.highest_midi] if known else None,
        "weights_sources": told.get("sources", []) if isinstance(told, dict) else [],
        "package": f"tonetransfer {metadata.version('tonetransfer')}",
        "torch": torch.__version__,
    }


def _check(figures: dict[str, float]) -> dict[str, float]:
    worst = max(figures, key=lambda key: figures[key])
    if figures[worst] > TOLERANCE_DB:
        raise ExportError(f"the export failed its own test: {worst} is {figures[worst]:.1f} dB, {TOLERANCE_DB:g} dB or less was wanted")
    return {key: round(value, 1) for key, value in figures.items()}


def _test_phrase(model: TimbreModel) -> tuple[torch.Tensor, torch.Tensor]:
    """f0 [Hz] and loudness [dB] of a glide with vibrato and a swell, sample by sample, each (n_samples,)."""
    seconds = torch.arange(round(TEST_S * model.sample_rate) // model.grid.hop_length * model.grid.hop_length) / model.sample_rate
    f0_hz = 330.0 * 2.0 ** (0.4 * torch.sin(2 * torch.pi * 0.7 * seconds) + 0.02 * torch.sin(2 * torch.pi * 6.0 * seconds))
    return f0_hz, -25.0 + 12.0 * torch.sin(2 * torch.pi * 0.9 * seconds)


def _offline(model: TimbreModel, z: torch.Tensor, f0_hz: torch.Tensor, loudness_db: torch.Tensor) -> torch.Tensor:
    """What the model itself plays, with the noise of the scripts: frames (n_frames,) to audio (n_frames * hop,)."""
    before = torch.cat([f0_hz[:1], f0_hz[:-1]])
    params, _ = model.decoder(f0_hz[None], loudness_db[None], z[None], None, torch.maximum(before, f0_hz)[None])
    hop = model.grid.hop_length
    return render_batch(params, model.grid, counted_noise(-hop, (len(f0_hz) + 2) * hop)[None])[0]


@torch.no_grad()
def _export_script(path: Path, model: TimbreModel, name: str, z: torch.Tensor | None, *, realtime: bool) -> dict[str, Any]:
    instrument = ScriptedInstrument(model, name, z)
    latency = instrument.latency
    exported: nn.Module = RealtimeInstrument(instrument) if realtime else instrument
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is what these hosts read, deprecated or not
        content = io.BytesIO()  # written here: PyTorch ends the process where a disk is full, and takes no name that is not text
        torch.jit.save(torch.jit.script(exported), content)
        path.write_bytes(content.getvalue())
        script = torch.jit.load(io.BytesIO(path.read_bytes())).eval()
    f0_hz, loud = _test_phrase(model)
    hop = model.grid.hop_length

    def play(first: int, last: int) -> torch.Tensor:
        span = slice(first, last)
        if realtime:
            return script(f0_hz[None, span, None], loud[None, span, None])[0, :, 0]
        return script(torch.stack([f0_hz[span], loud[span]])[None])[0, 0]

    whole = play(0, len(f0_hz))
    script.reset(1)
    pieces, first = [], 0
    for size in cycle(TEST_BLOCKS):
        if first >= len(f0_hz):
            break
        pieces.append(play(first, min(first + size, len(f0_hz))))
        first += size
    expected = _offline(model, model.timbre(name) if z is None else z, f0_hz[::hop], loud[::hop])
    kept = len(whole) - latency
    figures = {
        "streamed_vs_whole_db": level_db(torch.cat(pieces) - whole, whole),
        "exported_vs_model_db": level_db(whole[latency:] - expected[:kept], expected[:kept]),
    }
    signature = (
        {"forward": "pitch [Hz] (batch, n, 1), loudness [dB re full scale, A-weighted] (batch, n, 1) -> sound (batch, n, 1)"}
        if realtime
        else {
            "forward": "(batch, 2, n): pitch [Hz], loudness [dB re full scale, A-weighted] -> (batch, 1, n): sound",
            "forward_params": script.forward_params.tolist(),
            "attributes": script.get_attributes(),
            "instruments": script.get_instruments(),
        }
    )
    script.reset(1)
    timing = _block_times(lambda t: play(t * hop, (t + 1) * hop), len(f0_hz) // hop)
    return {
        "signature": signature,
        "latency_samples": latency,
        "latency_ms": round(1000.0 * latency / model.sample_rate, 2),
        "test": _check(figures),
        "compute": {"block_samples": hop, **timing},
    }


def _block_times(run: Callable[[int], Any], count: int) -> dict[str, float]:
    """How long blocks take here [ms]: the median and the 99th percentile, after the first ten."""
    times = []
    for t in range(count):
        begin = time.perf_counter()
        run(t)
        times.append(1000.0 * (time.perf_counter() - begin))
    middle, last = np.percentile(times[10:] or times, [50, 99])
    return {"median_ms": round(float(middle), 2), "p99_ms": round(float(last), 2)}


def _export_room(path: Path, model: TimbreModel) -> dict[str, Any]:
    room = getattr(model, "room", None)
    if room is None:
        raise ExportError("these weights hold no room, so there is no impulse response to export; the instrument plays dry")
    response = room.detach().cpu().clone()
    response[0] += 1.0  # the direct sound, which rooms are kept without
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # turned down as a whole where it peaks above 1: a response has no absolute level
        save_audio(path, response, model.sample_rate)
    return {"seconds": len(response) / model.sample_rate, "latency_samples": 0}


class _Encoder(nn.Module):
    def __init__(self, model: TimbreModel) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.encoder(audio)


@torch.no_grad()
def _export_onnx(paths: list[Path], model: TimbreModel, z: torch.Tensor) -> dict[str, Any]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # what torch.onnx writes with
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is needed for ONNX; install it with: pip install 'tonetransfer[export]'") from None
    batch, frames = torch.export.Dim("batch", min=1, max=1024), torch.export.Dim("n_frames", min=1, max=1 << 20)
    width = model.decoder.memory.hidden_size
    f0_hz = torch.linspace(200.0, 900.0, 20).reshape(2, 10)
    f0, loud = (track[:: model.grid.hop_length][None] for track in _test_phrase(model))
    own = model.decoder.register is not None  # of one instrument, which tells how long a note has sounded
    names = ["f0_hz", "loudness_db", "highest_hz", "z", "memory", *(["age"] if own else [])]
    inputs = (f0, loud, f0, z.expand(1, f0.shape[1], -1).contiguous(), torch.zeros(1, 1, width), note_age(f0, loud))[: len(names)]
    n_samples = int(EXCERPT_SECONDS * model.sample_rate)
    audio = 0.1 * torch.randn(2, n_samples, generator=torch.Generator().manual_seed(0))
    # Before anything is traced: windows and filters are kept on first use, and the tracer's are no numbers.
    expected, wanted = FrameDecoder(model)(*inputs), model.encoder(audio[:1]).numpy()
    example = (f0_hz, -f0_hz / 20.0, f0_hz, z.expand(2, 10, -1).contiguous(), torch.zeros(1, 2, width), torch.ones(2, 10))[: len(names)]
    per_frame = {0: batch, 1: frames}
    _to_onnx(
        FrameDecoder(model),
        example,
        paths[0],
        names,
        ["harmonic_amplitudes", "noise_magnitudes", "next_memory"],
        {name: {1: batch} if name == "memory" else per_frame for name in names},
    )
    _to_onnx(_Encoder(model), (audio,), paths[1], ["audio"], ["z"], {"audio": {0: batch}})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    decoder, encoder = (onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in paths)
    tracks = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    start = {"memory": tracks.pop("memory")}
    whole = decoder.run(None, tracks | start)
    memory, pieces = start["memory"], []
    for t in range(0, f0.shape[1], 7):
        *piece, memory = decoder.run(None, {name: x[:, t : t + 7] for name, x in tracks.items()} | {"memory": memory})
        pieces.append(piece)
    streamed = [np.concatenate(part, axis=1) for part in zip(*pieces, strict=True)]
    came = encoder.run(None, {"audio": audio[:1].numpy()})[0]
    figures = {
        "harmonics_vs_model_db": level_db(whole[0] - expected[0].numpy(), expected[0]),
        "noise_vs_model_db": level_db(whole[1] - expected[1].numpy(), expected[1]),
        "harmonics_streamed_vs_whole_db": level_db(streamed[0] - whole[0], whole[0]),
        "noise_streamed_vs_whole_db": level_db(streamed[1] - whole[1], whole[1]),
        "encoder_vs_model_db": level_db(came - wanted, wanted),
    }
    frame = {name: x[:, :1] for name, x in tracks.items()} | start
    signature = {
        "decoder": "f0_hz, loudness_db, highest_hz (batch, n_frames), z (batch, n_frames, z_dim), memory (1, batch, width)"
        f"{', age (batch, n_frames)' if own else ''} -> "
        "harmonic_amplitudes (batch, n_frames, n_harmonics), noise_magnitudes (batch, n_frames, n_bands), next_memory",
        "encoder": f"audio (batch, {n_samples}) at {model.sample_rate} Hz -> z (batch, z_dim)",
        "highest_hz": "the highest f0 of each frame and its neighbours: harmonics of it above Nyquist are left out",
        "memory": "zeros at first, then next_memory of the frames before",
    }
    if own:
        signature["age"] = (
            f"frames since the note began, at most {LONGEST_AGE}: since f0 moved by more than {LEAP_SEMITONES:g} semitones "
            f"within {LEAP_FRAMES} frames, or loudness_db rose by more than {RISE_DB:g} within {RISE_FRAMES}"
        )
    return {
        "signature": signature,
        "z": [round(float(number), 6) for number in z],
        "latency_samples": 0,
        "test": _check(figures),
        "compute": {"block_frames": 1, **_block_times(lambda t: decoder.run(None, frame), 100)},
    }


def _to_onnx(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, dict[int, Any]],
) -> None:
    shapes = tuple(dynamic.get(name, {}) for name in inputs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells that torchvision is not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
