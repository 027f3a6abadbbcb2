"""A page that transfers recordings in any browser, without a server: a folder of files for any static host.

Instruments, loudness and the finish of a sound are ONNX graphs (:mod:`~tonetransfer.export.web_graphs`), f0 is swift-f0's own; the page is
built from ``web/`` and travels in the package. ``tonetransfer.json`` tells it what there is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from copy import copy, deepcopy
from importlib import metadata, resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..atomic import replacing, temporary_name
from ..audio.frames import FrameGrid
from ..controls.controls import Controls
from ..controls.profile import Target
from ..errors import ExportError
from ..models.note_age_table import N_AGES, N_LEVELS, N_PITCHES
from ..models.timbre_model import TimbreModel
from ..pitch.autocorrelation import SAMPLE_RATE as PITCH_RATE
from ..pitch.estimators import SWIFT_HOP
from ..synthesis.colour import SILENT_BELOW_DB, tone_loudness_db
from ..synthesis.damping import DEPTH_DB, GENTLE_DB_PER_S, SWELL_DB, free_decay
from .checks import check, level_db, phrase
from .onnx import open_runtime, to_onnx
from .web_graphs import LATENCY_FRAMES, Finish, Loudness, WebInstrument

PAGE = Path(__file__).parent / "site"  # as web/ builds it
FORMAT = 2
MANIFEST = "tonetransfer.json"
OURS = (MANIFEST, "index.html", "assets", "favicon.svg", "graphs", "instruments", "ort")
RUNTIME = {"ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js"}
RUNTIME_PACKAGE = "onnxruntime-web@1.22.0"
LARGEST_MB = 6.0  # of an instrument
SMALLEST_HALVED = 256  # numbers of a tensor that is stored in 16 bits
TOLERANCE_DB = -60.0
STREAMED = 7  # frames at a time, where an instrument is tried in blocks
INPUTS = ("f0_hz", "loudness_db", "decay_s", "noise", "follow", "state")
OWN = ("z", "depth_db", "note_table", "string_damping")  # inputs of an instrument's graph that become its own
TABLE_PLACES = (N_PITCHES + N_LEVELS, N_AGES)
LOWEST_HZ, HIGHEST_HZ = 46.875, 2093.75  # of swift-f0
# What its confidence is taken for: notes are found as joint finds them.
CONFIDENCE, PERIODICITY = [0.0, 0.2, 0.5, 1.0], [0.0, 0.55, 0.75, 1.0]


class WebPlayer(NamedTuple):
    """A named instrument for the page."""

    model: TimbreModel
    target: Target
    name: str


def export_web(folder: str | Path, players: Sequence[WebPlayer], *, runtime: Path | None = None, overwrite: bool = False) -> dict[str, Any]:
    """Write the page with some instruments into a new folder, which opens from any static host under any path, and try each of them.

    `runtime` is ONNX Runtime Web's npm package, or its folder ``dist``; None: that of a checkout's ``web/node_modules``. With `overwrite`
    an earlier page in that place may be replaced; what others have put beside it stays. Gives the manifest, and ``files``: bytes of each.
    ExportError: something is missing or in the way, or an instrument cannot be exported or failed its test; then nothing has changed.
    """
    folder = Path(os.path.abspath(folder))
    sessions = open_runtime()
    if not (PAGE / "index.html").is_file():
        raise ExportError("the built page is not part of this installation; in a checkout, build it: cd web && npm ci && npm run build")
    parts = _runtime_files(runtime) + _pitch_files()
    _check_folder(folder, overwrite=overwrite)
    _check_players(players)
    old = temporary_name(folder)
    with replacing(folder, error=ExportError) as part:
        shutil.copytree(PAGE, part)
        for name in ("ort", "graphs", "instruments"):
            (part / name).mkdir()
        for source, name in parts:
            shutil.copyfile(source, part / name)
        manifest = _write_graphs(part, players, sessions)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
    if old.exists():
        _keep_foreign(old, folder)
    files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    return manifest | {"files": files}


def _runtime_files(given: Path | None) -> list[tuple[Path, str]]:
    """Files of ONNX Runtime Web, and what they are called in the page."""
    here = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "onnxruntime-web"
    for folder in (given, given / "dist") if given else (here / "dist",):
        if all((folder / name).is_file() for name in RUNTIME):
            return [(folder / name, f"ort/{there}") for name, there in RUNTIME.items()]
    came = f"{given} does not hold it" if given else "it is not part of this package"
    raise ExportError(
        f"ONNX Runtime's WebAssembly (11 MB) is wanted, and {came}; run npm install {RUNTIME_PACKAGE}, "
        "and name node_modules/onnxruntime-web with --runtime"
    )


def _pitch_files() -> list[tuple[Path, str]]:
    network = Path(str(resources.files("swift_f0"))) / "model.onnx"
    licences = [file for file in metadata.files("swift-f0") or [] if file.name == "LICENSE"]
    if not network.is_file() or not licences:
        raise ExportError("swift-f0's network or licence is not where its package has it; install it again: pip install swift-f0")
    return [(network, "graphs/pitch.onnx"), (Path(str(licences[0].locate())), "graphs/pitch.LICENSE.txt")]


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise ExportError(
                f"{folder} exists; a new folder is wanted: choose another name, or replace it with --overwrite (overwrite=True)"
            )
        if not (folder / MANIFEST).is_file():
            raise ExportError(f"{folder} is not of an earlier export, and is not replaced; choose a folder of its own for the page")
    elif folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file; a new folder is wanted: choose another name")
    if not folder.parent.is_dir() or not os.access(folder.parent, os.W_OK):
        raise ExportError(f"{folder} cannot be written: {folder.parent} is no folder that may be written to; choose another")


def _keep_foreign(old: Path, folder: Path) -> None:
    """Move what others have put beside an earlier page, such as the settings of a host, to the new one; delete the rest."""
    for one in old.iterdir():
        if one.name not in OURS and not (folder / one.name).exists():
            os.replace(one, folder / one.name)
    shutil.rmtree(old, ignore_errors=True)


def _check_players(players: Sequence[WebPlayer]) -> None:
    """Refuse, before anything is written, what a page cannot play."""
    if not players:
        raise ExportError("no instrument came; name at least one with --to")
    names = [player.name for player in players]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ExportError(f"{twice} comes twice; each instrument of a page is wanted once, under a name of its own")
    for model, target, name in players:
        grid, wanted = model.grid, FrameGrid()
        if grid != wanted:
            raise ExportError(
                f"{name} plays at {grid.sample_rate} Hz with {grid.hop_length} samples a frame; "
                f"a page plays {wanted.sample_rate} / {wanted.hop_length}: export it with --format torchscript instead"
            )
        if target.quantiles is None or target.z.dim() != 1:
            raise ExportError(f"{name} has no loudness range or no single timbre; a named instrument is wanted: choose one with --to")
        megabytes = 2e-6 * sum(value.numel() for value in model.decoder.parameters())
        if megabytes > LARGEST_MB:
            raise ExportError(
                f"{name} takes {megabytes:.1f} MB; at most {LARGEST_MB:g} are wanted on a page: train it with a smaller decoder"
            )


@torch.no_grad()
def _write_graphs(part: Path, players: Sequence[WebPlayer], sessions: Any) -> dict[str, Any]:
    """Write all graphs, and give the manifest."""
    grid, entries = players[0].model.grid, []
    kinds: dict[int, tuple[WebInstrument, Any, str]] = {}
    finish, files = _finish_graph(Finish(grid)), {"graphs/loudness.onnx": _loudness_graph(grid)}
    for player in players:
        model = player.model
        if id(model) not in kinds:  # instruments of one model differ in a few inputs, which become their own
            graph, last = WebInstrument(halved(model)), f"graphs/finish{len(kinds) or ''}.onnx"
            kinds[id(model)] = graph, _instrument_graph(graph), last
            files[last] = _with_own(finish, {"room_tone": Finish(grid).room_tone(model.room_tone_db).numpy()})
        graph, template, last = kinds[id(model)]
        content = _with_own(template, own_inputs(player.target, template))
        figures = _tried(sessions(content), graph, player)
        file = f"instruments/{player.name}.onnx"
        files[file] = content
        entries.append(_entry(player, graph, content, figures) | {"file": file, "finish": last})
    for file, content in files.items():
        (part / file).write_bytes(content)
    pitch = {
        "lowest_hz": LOWEST_HZ,
        "highest_hz": HIGHEST_HZ,
        "confidence": CONFIDENCE,
        "periodicity": PERIODICITY,
        "source": f"swift-f0 {metadata.version('swift-f0')}, MIT licence",
    }
    return {
        "format": FORMAT,
        "version": metadata.version("tonetransfer"),
        "sample_rate": grid.sample_rate,
        "hop_length": grid.hop_length,
        "pitch": {"file": "graphs/pitch.onnx", "sample_rate": PITCH_RATE, "hop_length": SWIFT_HOP, **pitch},
        "loudness": {"file": "graphs/loudness.onnx", "context_frames": Loudness(grid).context_frames},
        "decay": {"gentle_db_per_s": GENTLE_DB_PER_S, "depth_db": DEPTH_DB, "swell_db": SWELL_DB},
        "finish": {"context_frames": Finish.context_frames(grid), "noise_frames": Finish.noise_frames(grid)},
        "instruments": entries,
    }


def _entry(player: WebPlayer, graph: WebInstrument, content: bytes, figures: dict[str, Any]) -> dict[str, Any]:
    """Entry of an instrument in the manifest."""
    target, known, tone_db = player.target, player.model.instrument(player.name), player.target.room_tone_db
    assert target.quantiles is not None
    faintest_db = None if tone_db is None else round(tone_loudness_db(tone_db, player.model.sample_rate) - SILENT_BELOW_DB, 4)
    return {
        "name": player.name,
        "label": player.name.replace("_", " ").capitalize(),
        "family": known.family,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "range_midi": [target.lowest_midi, target.highest_midi],
        "loudness_quantiles_db": [round(float(level), 4) for level in target.quantiles],
        "release_db_per_s": target.release_db_per_s,
        "room_tone": tone_db is not None,
        "silent_below_db": faintest_db,  # loudness of a source re its loud notes, below which the room tone is not there
        "state_size": graph.state_size,
        "n_noise": graph.n_noise,
        "latency_samples": LATENCY_FRAMES * graph.grid.hop_length,
        "licence": known.licence,
        "source": known.source,
        "test": figures,
    }


def halved(model: TimbreModel) -> TimbreModel:
    """The same model with the matrices of its decoder as 16 bits hold them; biases take little place, and are heard more."""
    model = copy(model)
    model._modules = {**model._modules, "decoder": deepcopy(model.decoder)}
    for value in model.decoder.parameters():
        value.data = value.data.half().float() if value.dim() > 1 else value.data
    return model


def _instrument_graph(graph: WebInstrument) -> Any:
    """The ONNX ``ModelProto`` of a model's instruments, whose own numbers are inputs still."""
    n, width, frames = 7, graph.decoder.head.out_features, torch.export.Dim("n_frames", min=1, max=1 << 16)
    example = (
        torch.full((1, n), 440.0),
        torch.full((1, n), -20.0),
        torch.zeros(1, n),
        torch.zeros(n, graph.n_noise),
        torch.zeros(1),
        torch.zeros(1, graph.state_size),
        torch.zeros(1, graph.decoder.spectrum.in_features),
        torch.zeros(graph.decoder.n_harmonics),
        torch.zeros(*TABLE_PLACES, width),
        torch.zeros(1),
    )
    dynamic = {"f0_hz": {1: frames}, "loudness_db": {1: frames}, "decay_s": {1: frames}, "noise": {0: frames}}
    return to_onnx(graph, example, [*INPUTS, *OWN], ["audio", "next_state"], dynamic)


def _with_own(template: Any, values: dict[str, np.ndarray]) -> bytes:
    """A graph with some of its inputs as its own, and weights stored in 16 bits."""
    from onnx import ModelProto, numpy_helper

    content = ModelProto()
    content.CopyFrom(template)
    inputs = [value for value in content.graph.input if value.name not in values]
    del content.graph.input[:]
    content.graph.input.extend(inputs)
    content.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    return _in_halves(content).SerializeToString()


def own_inputs(target: Target, content: Any) -> dict[str, np.ndarray]:
    """Inputs of an instrument's graph beside controls, as arrays; zeros for what it does not have."""
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in content.graph.input}
    found = zip(OWN, (target.z[None], target.fluctuation_db, target.note_table, torch.tensor([target.string_damping])), strict=True)
    return {name: np.zeros(shapes[name], np.float32) if x is None else x.float().numpy() for name, x in found}


def _in_halves(content: Any) -> Any:
    """Store in 16 bits, and read as 32, what loses nothing by it."""
    from onnx import TensorProto, helper, numpy_helper

    stored, casts = [], []
    for tensor in content.graph.initializer:
        x = numpy_helper.to_array(tensor)
        if x.dtype == np.float32 and x.size >= SMALLEST_HALVED and np.array_equal(x, x.astype(np.float16)):
            name = f"{tensor.name}.half"
            casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
            tensor = numpy_helper.from_array(x.astype(np.float16), name)
        stored.append(tensor)
    nodes = list(content.graph.node)
    for held, values in ((content.graph.initializer, stored), (content.graph.node, [*casts, *nodes])):
        del held[:]
        held.extend(values)
    return content


def _loudness_graph(grid: FrameGrid) -> bytes:
    samples = torch.export.Dim("n_samples", min=1, max=1 << 30)
    return to_onnx(Loudness(grid), (torch.zeros(1, 10_000),), ["audio"], ["loudness_db"], {"audio": {1: samples}}).SerializeToString()


def _finish_graph(finish: Finish) -> Any:
    hop, n, before = finish.grid.hop_length, 45, finish.noise_frames(finish.grid)
    frames = torch.export.Dim("n_frames", min=1, max=1 << 16)
    rows = torch.zeros(1, n), torch.zeros(1, n), torch.zeros(1), torch.zeros(1)
    names = ["audio", "loudness_db", "notes", "gain_db", "tone_level_db", "noise", "room_tone"]
    dynamic = {"audio": {0: frames}, "loudness_db": {1: frames}, "notes": {1: frames}, "noise": {0: frames + before}}
    example = (torch.zeros(n, hop), *rows, torch.zeros(before + n, hop), finish.room_tone(None))
    return to_onnx(finish, example, names, ["finished"], dynamic)


def _tried(session: Any, graph: WebInstrument, player: WebPlayer) -> dict[str, Any]:
    """Play a phrase without noise; raises ExportError where it is not what the model plays, or depends on the size of blocks."""
    model, target, name = player
    f0_hz, loud = (track[:: model.grid.hop_length] for track in phrase(model))
    controls = Controls(f0_hz, torch.ones_like(f0_hz), loud, model.grid)
    sound = model.play(controls, target.z, noise_db=-200.0, note_table=target.note_table, string_damping=target.string_damping)
    expected = torch.cat(list(sound)).numpy()
    noise = np.zeros((len(f0_hz) + LATENCY_FRAMES, graph.n_noise), np.float32)
    whole = play(session, controls, noise, len(noise))
    pieces = play(session, controls, noise, STREAMED)
    kept = slice(0, -model.grid.hop_length)  # the last hop goes on as the phrase would
    figures = {
        "harmonics_vs_model_db": level_db((whole - expected)[kept], expected),
        "streamed_vs_whole_db": level_db(pieces - whole, whole),
    }
    return check(figures, what=name, tolerance_db=TOLERANCE_DB)


def play(session: Any, controls: Controls, noise: np.ndarray, at_once: int) -> np.ndarray:
    """Play controls on an instrument's graph as the page does with a recording, so many frames at a time.

    Parameters
    ----------
    session : InferenceSession
    controls : Controls, tensors (n_frames,)
    noise : ndarray [shape=(n_frames + LATENCY_FRAMES, n_noise)]
    at_once : int, > 0

    Returns
    -------
    ndarray [shape=(n_frames * hop_length,)]
    """
    tracks = controls.f0_hz, controls.loudness_db, free_decay(controls.loudness_db, controls.grid.frame_rate)
    held = [torch.cat([track, track[-1:].expand(LATENCY_FRAMES)]).float()[None].numpy() for track in tracks]
    state = np.zeros(session.get_inputs()[-1].shape, np.float32)
    blocks = []
    for first in range(0, len(noise), at_once):
        span = slice(first, first + at_once)
        inputs = *(track[:, span] for track in held), noise[span], np.zeros(1, np.float32), state
        block, state = session.run(None, dict(zip(INPUTS, inputs, strict=True)))
        blocks.append(block[0])
    sound = np.concatenate(blocks)
    return sound[len(sound) // len(noise) * LATENCY_FRAMES :]
