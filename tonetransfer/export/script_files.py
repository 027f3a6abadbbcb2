"""Instruments as TorchScript files, tried as a host would play them."""

from __future__ import annotations

import io
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models.timbre_model import TimbreModel
from ..synthesis.render import render_batch
from .checks import block_times, check, level_db, phrase
from .torchscript import RealtimeInstrument, ScriptedInstrument, counted_noise

TEST_BLOCKS = (1, 480, 64, 511, 2048, 1000)  # samples


@torch.no_grad()
def write_script(path: Path, model: TimbreModel, name: str, z: torch.Tensor | None, *, realtime: bool) -> dict[str, Any]:
    instrument = ScriptedInstrument(model, name, z)
    latency = instrument.latency
    exported: nn.Module = RealtimeInstrument(instrument) if realtime else instrument
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is what these hosts read, deprecated or not
        content = io.BytesIO()  # written here: PyTorch ends the process where a disk is full, and takes no name that is not text
        torch.jit.save(torch.jit.script(exported), content)
        path.write_bytes(content.getvalue())
        script = torch.jit.load(io.BytesIO(path.read_bytes())).eval()
    f0_hz, loud = phrase(model)
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
    timing = block_times(lambda t: play(t * hop, (t + 1) * hop), len(f0_hz) // hop)
    return {
        "signature": signature,
        "latency_samples": latency,
        "latency_ms": round(1000.0 * latency / model.sample_rate, 2),
        "test": check(figures),
        "compute": {"block_samples": hop, **timing},
    }


def _offline(model: TimbreModel, z: torch.Tensor, f0_hz: torch.Tensor, loudness_db: torch.Tensor) -> torch.Tensor:
    """Render with the model itself, with the noise of the scripts: frames (n_frames,) to audio (n_frames * hop,)."""
    before = torch.cat([f0_hz[:1], f0_hz[:-1]])
    params, _ = model.decoder(f0_hz[None], loudness_db[None], z[None], None, torch.maximum(before, f0_hz)[None])
    hop = model.grid.hop_length
    return render_batch(params, model.grid, counted_noise(-hop, (len(f0_hz) + 2) * hop)[None])[0]
