"""Speed of everything on this computer, beside other programs: the measurements of `tonetransfer bench`.

All rows of a table come from one run on one recording. Each is repeated, and the best counts: other processes can only slow it down. How
busy they keep the machine is told, and processor time stands beside the clock's, which tells more where the machine is shared.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from ..atomic import write_text
from ..audio.files import AudioWriter, load_audio, resample, save_audio
from ..audio.loudness import N_FFT, loudness_db
from ..audio.units import midi_to_hz
from ..controls.controls import Controls, extract
from ..controls.profile import Target
from ..errors import ToneTransferError
from ..models.settings import validate_as
from ..models.timbre_model import TimbreModel
from ..models.weights import load_model
from ..pipeline.target import find_target
from ..pipeline.transfer import arrange, play, transfer
from ..realtime.stream import Stream
from ..synthesis.render import render_batch
from ..threads import one_thread
from ..training.finetuning import WORTH_STEPS, processes_for
from ..training.losses import heard_difference
from ..training.pretraining import half_precision
from ..training.settings import FinetuningSettings
from .baselines import PEERS, Peer

PROGRAM = "tonetransfer"
SOURCE = Path("examples/flute.flac")
INSTRUMENT = "violin"
STAGE_S, STREAM_S = 30.0, 6.0
LENGTHS_S, HOUR_S = (1.0, 10.0, 60.0, 600.0), 3600.0
BATCHES = (1, 4, 16)
TRAINED_S, TRAINED_STEPS = 60.0, (40, 200)  # length of a recording, and steps of two runs
BUDGET_S, MOST_REPEATS = 5.0, 5  # of a row: it is repeated until either is reached, but at least twice
BUSY_LOAD = 0.3  # processes waiting, per core, from which on figures are not to be trusted
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Report = Callable[[str], None]


def bench(source: Path | None = None, *, hour: bool = False, peers: bool = True, report: Report = lambda line: None) -> dict[str, Any]:
    """Measure how fast everything is here.

    `source` is a recording, repeated to the lengths that are needed (None: ``examples/flute.flac``, or a melody rendered now); `hour`: also
    transfer a recording of an hour; `peers`: also measure the other programs that are installed; `report` is told what is measured next.
    Returns ``machine``, ``stages``, ``peers`` (rows), ``absent`` (names), ``lengths``, ``batches``, ``train``, ``start_up``. Factors are
    seconds of sound per second: by the clock (``realtime_factor``) and by processor time, of all threads (``realtime_factor_cpu``).
    """
    begin, load = time.perf_counter(), os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model = load_model()
    audio = _recording(source, model)
    result: dict[str, Any] = {"stages": [], "peers": [], "absent": []}
    with one_thread():  # as the command line does it
        for name, row in _stages(model, audio):
            report(name)
            result["stages"].append({"what": name, **row()})
    if peers:
        for peer in PEERS:
            report(peer.name)
            try:
                result["peers"].append(_measure_peer(peer, audio, model.sample_rate))
            except ImportError:
                result["absent"].append(peer.name)
            except Exception as error:  # what other programs may raise is not known; they must not end the bench
                result["absent"].append(f"{peer.name} (failed: {' '.join(str(error).split())[:80]})")
    report("lengths")
    result["lengths"] = [_whole_command(audio, model, seconds) for seconds in (*LENGTHS_S, *([HOUR_S] if hour else []))]
    result["batches"] = []
    for size in BATCHES:
        report(f"training, batch {size}")
        result["batches"].append({"batch": size, **_training(model, audio, size)})
    report("training, one instrument")
    result["train"] = _whole_training(audio, model.sample_rate)
    report("start-up")
    result["start_up"] = _start_up()
    loads = (load, os.getloadavg()[0])
    result["machine"] = {
        "cores": cores,
        "threads": torch.get_num_threads(),
        "load_before": round(loads[0], 2),
        "load_after": round(loads[1], 2),
        "busy": loads[0] > BUSY_LOAD * cores,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    return result


def best_of(run: Callable[[], object], sound_s: float) -> dict[str, float]:
    """The best of several runs, as seconds of sound per second."""
    clock, processor, start = math.inf, math.inf, time.perf_counter()
    for repeat in range(MOST_REPEATS):
        begin, used = time.perf_counter(), time.process_time()
        run()
        clock = min(clock, time.perf_counter() - begin)
        processor = min(processor, time.process_time() - used)
        if repeat and time.perf_counter() - start > BUDGET_S:
            break
    return {"seconds": sound_s, "realtime_factor": sound_s / clock, "realtime_factor_cpu": sound_s / max(processor, 1e-9)}


def _recording(source: Path | None, model: TimbreModel) -> torch.Tensor:
    """A recording (n_samples,) at the model's rate."""
    if source is not None or SOURCE.is_file():
        return load_audio(source or SOURCE, model.sample_rate)[0]
    midi = torch.tensor([67.0, 71.0, 74.0, 79.0, 76.0, 72.0]).repeat_interleave(40)
    swell = -28.0 + 8.0 * torch.sin(torch.arange(len(midi)) / 12.0)
    return model.render(model.decode(Controls(midi_to_hz(midi), torch.ones(len(midi)), swell, model.grid), model.timbre("flute")))


def looped(audio: torch.Tensor, n_samples: int) -> torch.Tensor:
    """Audio repeated to (n_samples,)."""
    return audio.repeat(-(-n_samples // len(audio)))[:n_samples]


def _stages(model: TimbreModel, audio: torch.Tensor) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    rate = model.sample_rate
    sound = looped(audio, round(STAGE_S * rate))
    target = find_target(model, rate, to=INSTRUMENT)
    heard = extract(sound, model.grid)
    arrangement = arrange(heard, target)
    params = model.decode(arrangement.asked, target.z)
    yield "extract (f0, loudness)", lambda: best_of(lambda: extract(sound, model.grid), STAGE_S)
    yield "decode", lambda: best_of(lambda: model.decode(arrangement.asked, target.z), STAGE_S)
    yield "render", lambda: best_of(lambda: model.render(params), STAGE_S)
    yield "decode + render", lambda: best_of(lambda: list(model.play(arrangement.asked, target.z)), STAGE_S)
    yield "decode + render + loudness followed", lambda: best_of(lambda: list(play(arrangement, model, target.z)), STAGE_S)
    yield "wav to wav", lambda: _wav_to_wav(model, sound)
    yield "stream, blocks of 10 ms", lambda: _stream(model, target, sound[: round(STREAM_S * rate)])


def _wav_to_wav(model: TimbreModel, sound: torch.Tensor) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "source.wav", Path(folder) / "output.wav"
        save_audio(source, sound, model.sample_rate)

        def run() -> None:
            heard, rate = load_audio(source, model.sample_rate)
            save_audio(output, transfer(heard, rate, model, to=INSTRUMENT), model.sample_rate, overwrite=True)

        return best_of(run, len(sound) / model.sample_rate)


def _stream(model: TimbreModel, target: Target, sound: torch.Tensor) -> dict[str, float]:
    stream, hop = Stream(model, target), model.grid.hop_length
    blocks = sound[: len(sound) // hop * hop].numpy().reshape(-1, hop)
    times: list[float] = []

    def run() -> None:
        stream.reset()
        spent = []
        for block in blocks:
            begin = time.perf_counter()
            stream.push(block)
            spent.append(1000.0 * (time.perf_counter() - begin))
        if not times or np.percentile(spent, 99) < np.percentile(times, 99):
            times[:] = spent

    figures = best_of(run, len(blocks) * hop / model.sample_rate)
    middle, last = np.percentile(times, [50, 99])
    latency_ms = 1000.0 * stream.latency_samples / model.sample_rate
    return {**figures, "block_median_ms": float(middle), "block_p99_ms": float(last), "latency_ms": latency_ms}


def _training(model: TimbreModel, audio: torch.Tensor, batch: int) -> dict[str, float]:
    """One step of what pretraining does with a batch of 1 s: encoder, decoder, synthesizer, losses, backward, update."""
    grid, rate = model.grid, model.sample_rate
    learner = TimbreModel(model.settings)
    learner.encoder.load_state_dict(model.encoder.state_dict())
    learner.decoder.load_state_dict(model.decoder.state_dict())
    learner.train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-5, fused=True)
    target = torch.stack([looped(audio.roll(-i * rate // 2), rate) for i in range(batch)])
    reference = torch.stack([looped(audio.roll(i * rate // 3), 2 * rate) for i in range(2 * batch)])
    f0_hz, loud = torch.full((batch, grid.n_frames(rate)), 440.0), loudness_db(target, grid)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half_precision(torch.device("cpu"))):
            z = learner.encoder(reference)[:batch].float()
            params, _ = learner.decoder(f0_hz, loud, z)
        sound = render_batch(params, grid)
        loss, _ = heard_difference(sound, target, rate, (N_FFT, 512), distance_weight=1.5, loudness_weight=0.05, faint_db=-60.0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()

    return best_of(step, float(batch))


def _whole_training(audio: torch.Tensor, sample_rate: int) -> dict[str, float]:
    """`tonetransfer train` of one instrument, processes and all: by how much a run of more steps takes longer, so that neither its start
    nor its judging counts.
    """
    content: dict[str, Any] = {"kind": "solo", "name": "bench", "data": {"batch_size": BATCHES[-1], "transposed_semitones": 1.0}}
    processes = processes_for(validate_as(FinetuningSettings, {**content, "train": {"steps": WORTH_STEPS}}))
    elapsed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recordings").mkdir()
        _write_looped(folder / "recordings" / "source.wav", audio, sample_rate, TRAINED_S)
        _run_command(["prepare", str(folder / "recordings"), str(folder / "prepared")])
        content["data"]["prepared"] = str(folder / "prepared")
        for steps in TRAINED_STEPS:
            run = {"steps": steps, "validate_every": steps, "devices": processes, "output": str(folder / str(steps))}
            config = folder / f"{steps}.yaml"
            config.write_text(yaml.safe_dump({**content, "train": run}), encoding="utf-8")
            elapsed.append(_run_command(["train", str(config)])[0])
    sound_s = (TRAINED_STEPS[1] - TRAINED_STEPS[0]) * BATCHES[-1] * validate_as(FinetuningSettings, content).data.excerpt_seconds
    return {"batch": BATCHES[-1], "processes": processes, "realtime_factor": sound_s / max(elapsed[1] - elapsed[0], 1e-9)}


def _whole_command(audio: torch.Tensor, model: TimbreModel, seconds: float) -> dict[str, float]:
    """`tonetransfer transfer` as a process of its own: time from its start to its end, and the most memory it held."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.wav"
        _write_looped(source, audio, model.sample_rate, seconds)
        words = ["transfer", str(source), str(Path(folder) / "output.wav"), "--to", INSTRUMENT, "--json"]
        elapsed, memory = _run_command(words)
    return {"seconds": seconds, "elapsed_seconds": elapsed, "realtime_factor": seconds / elapsed, "peak_memory_mb": memory}


def _write_looped(path: Path, audio: torch.Tensor, sample_rate: int, seconds: float) -> None:
    left = round(seconds * sample_rate)
    with AudioWriter(path, sample_rate) as writer:
        while left > 0:
            writer.write(audio[:left])
            left -= len(audio)


MEASURED_BY = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended.returncode)
"""  # a small process: on Linux a child's peak begins with the memory of whoever started it


def _run_command(words: list[str]) -> tuple[float, float]:
    """Seconds and megabytes of a command of ours; memory reads 0 where the system does not tell it."""
    command = [sys.executable, "-m", PROGRAM, *words]
    measured = importlib.util.find_spec("resource") is not None
    begin = time.perf_counter()
    ended = subprocess.run([sys.executable, "-S", "-c", MEASURED_BY, *command] if measured else command, capture_output=True, text=True)
    elapsed = time.perf_counter() - begin
    if ended.returncode:
        raise ToneTransferError(
            f"`tonetransfer {words[0]}` ended with {ended.returncode} while it was measured; run it by itself to see why"
        )
    return elapsed, int(ended.stdout) / (1024.0 if sys.platform != "darwin" else 1024.0**2) if measured else 0.0


def _start_up() -> dict[str, float]:
    """Seconds, the best of three: until help is printed; until nothing but what is needed to play is loaded, weights included."""
    first_sound = (
        "import tonetransfer as tt; m = tt.load_model(); import torch; z = m.timbre('violin'); "
        "c = tt.Controls(torch.full((10,), 440.0), torch.ones(10), torch.full((10,), -20.0)); next(m.play(c, z))"
    )
    found = {}
    for name, words in {"help_seconds": ["-m", PROGRAM, "--help"], "first_sound_seconds": ["-c", first_sound]}.items():
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - begin)
        found[name] = min(times)
    return found


def _measure_peer(peer: Peer, audio: torch.Tensor, sample_rate: int) -> dict[str, Any]:
    """A row; raises ImportError where the peer is not installed."""
    sound = resample(looped(audio, round(peer.seconds * sample_rate)), sample_rate, peer.sample_rate).numpy()
    run = peer.make()
    run(sound[: peer.sample_rate])  # loads what is loaded once
    return {"what": peer.name, "kind": peer.kind, "sample_rate_hz": peer.sample_rate, **best_of(lambda: run(sound), peer.seconds)}


def table_lines(result: dict[str, Any]) -> list[str]:
    """The tables, in Markdown."""
    machine = result["machine"]
    lines = [
        f"{machine['cores']} cores, {machine['threads']} threads; load {machine['load_before']} before, {machine['load_after']} after."
    ]
    if machine["busy"]:
        lines += ["", "**Other processes kept the machine busy: the figures are lower than they would be, the ratios to peers hold.**"]
    lines += ["", "| what | sound | x real time | by processor time | |", "|---|---|---|---|---|"]
    lines += [_row(row) for row in (*result["stages"], *result["peers"])]
    if result["absent"]:
        lines += ["", f"Not installed, and so not measured: {', '.join(result['absent'])}."]
    lines += ["", "| `tonetransfer transfer`, whole process | s | x real time | peak memory, MB |", "|---|---|---|---|"]
    lines += [
        f"| {row['seconds']:g} s | {row['elapsed_seconds']:.1f} | {_factor(row['realtime_factor'])} | {row['peak_memory_mb']:.0f} |"
        for row in result["lengths"]
    ]
    lines += ["", "| training step, batch | s of sound a second | by processor time |", "|---|---|---|"]
    lines += [
        f"| {row['batch']} | {_factor(row['realtime_factor'])} | {_factor(row['realtime_factor_cpu'])} |" for row in result["batches"]
    ]
    start, train = result["start_up"], result["train"]
    lines += [
        "",
        f"`tonetransfer train` of one instrument, batch {train['batch']}, processes: {train['processes']}: "
        f"{_factor(train['realtime_factor'])} s of sound a second, all a run does between its start and its end.",
        "",
        f"Start-up: `--help` {start['help_seconds']:.2f} s; first sound, with imports and weights, {start['first_sound_seconds']:.2f} s.",
    ]
    return lines


def _row(row: dict[str, Any]) -> str:
    more = (
        f"block {row['block_median_ms']:.2f} ms, p99 {row['block_p99_ms']:.2f} ms; latency {row['latency_ms']:.1f} ms"
        if "latency_ms" in row
        else ""
    )
    more = f"{row['kind']}, {row['sample_rate_hz'] / 1000:g} kHz" if "kind" in row else more
    return f"| {row['what']} | {row['seconds']:g} s | {_factor(row['realtime_factor'])} | {_factor(row['realtime_factor_cpu'])} | {more} |"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def write_page(path: Path, result: dict[str, Any]) -> None:
    """Put the tables between the marks of a page; a page that is not there is begun."""
    page = (
        path.read_text(encoding="utf-8")
        if path.exists()
        else f"# Benchmarks\n\nWritten by `tonetransfer bench --out {path.name}`.\n\n{BEGIN}\n{END}\n"
    )
    if BEGIN not in page or END not in page:
        raise ToneTransferError(f"{path}: has no marks {BEGIN} and {END} to write between; add them, or choose another page")
    head, tail = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
    write_text(path, head + "\n" + "\n".join(table_lines(result)) + "\n" + tail)
