"""How long a block of a stream takes, and how right its tracker is.

    python tests/bench/stream.py FILE... [--to NAME] [--block N] [--seconds S] [--look-ahead MS] [--path-frames N] [--repeats N]

For every recording: raw pitch accuracy of the causal tracker in note frames, against the f0 that the corpus states (an .npz beside
the file) or else against the default tracker of recordings. Then the recordings, one after the other, are pushed through a stream on one
thread: wall-clock and processor time of each push.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from tonetransfer.audio.files import load_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.controls import extract
from tonetransfer.models.weights import load_model
from tonetransfer.pipeline.target import find_target
from tonetransfer.pitch.tracking import VOICED_OFF
from tonetransfer.realtime.devices import undisturbed
from tonetransfer.realtime.stream import Stream, StreamSettings

sys.path.insert(0, str(Path(__file__).parents[1]))

from whole_recordings import track_causal

SETTLED_FRAMES = 6  # from 60 ms after an onset or leap, as docs/trackers.md counts


def reference(path: Path, audio: torch.Tensor, grid: FrameGrid) -> tuple[np.ndarray, np.ndarray, str]:
    """f0, note frames, and who says so."""
    if (known := path.with_suffix(".npz")).is_file():
        with np.load(known) as stored:
            return stored["f0_hz"].astype(float), stored["voiced"], "corpus"
    controls = extract(audio, grid)
    return controls.f0_hz.double().numpy(), controls.note_frames().numpy(), "default tracker"


def settled(f0_hz: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Note frames from 60 ms after an onset or leap."""
    leap = np.abs(np.diff(np.log2(f0_hz), prepend=np.log2(f0_hz[0]))) > 0.5 / 12.0
    begins = np.flatnonzero(leap | (np.diff(notes, prepend=False) & notes))
    calm = notes.copy()
    for begin in begins:
        calm[begin : begin + SETTLED_FRAMES] = False
    return calm


def accuracy(path: Path, grid: FrameGrid, look_ahead: int, path_frames: int) -> dict[str, object]:
    """Figures of the causal tracker on one file."""
    audio, _ = load_audio(path, grid.sample_rate)
    truth, notes, who = reference(path, audio, grid)
    begin = time.thread_time()
    found, periodicity, _ = track_causal(audio.numpy(), grid, look_ahead, path_frames=path_frames)
    seconds = time.thread_time() - begin
    n = min(len(found), len(truth))
    cents = 1200.0 * np.log2(found[:n] / truth[:n])
    result: dict[str, object] = {"file": path.name, "reference": who}
    for name, frames in (("raw_pitch_accuracy", notes[:n]), ("raw_pitch_accuracy_settled", settled(truth[:n], notes[:n]))):
        result[name] = round(float((np.abs(cents[frames]) < 50.0).mean()), 4) if frames.any() else None
    octaves = np.abs(np.abs(cents[notes[:n]]) - 1200.0) < 50.0
    result["octave_errors"] = round(float(octaves.mean()), 4) if len(octaves) else None
    result["voiced_found"] = round(float((periodicity[:n][notes[:n]] >= VOICED_OFF).mean()), 4) if len(octaves) else None
    result["realtime_factor"] = round(len(audio) / grid.sample_rate / seconds, 1)
    return result


def timings(paths: list[Path], to: str, block: int, seconds: float, settings: StreamSettings, repeats: int = 1) -> dict[str, float]:
    """What pushes take; of each push, the least of `repeats` equal runs, which leaves out what a busy machine adds."""
    model = load_model()
    stream = Stream(model, find_target(model, model.sample_rate, to=to), settings)
    sound = np.concatenate([load_audio(path, model.sample_rate)[0].numpy() for path in paths])
    sound = np.resize(sound, round(seconds * model.sample_rate))
    wall: list[list[float]] = []
    own: list[list[float]] = []
    with undisturbed():
        for _ in range(repeats):
            stream.reset()
            wall.append([])
            own.append([])
            for first in range(0, len(sound) - block + 1, block):
                begin, own_begin = time.perf_counter(), time.thread_time()
                stream.push(sound[first : first + block])
                own[-1].append(time.thread_time() - own_begin)
                wall[-1].append(time.perf_counter() - begin)
    result = {"block_ms": 1e3 * block / model.sample_rate, "latency_ms": 1e3 * stream.latency_samples / model.sample_rate}
    for name, times in (("wall", np.min(wall, axis=0)), ("processor", np.min(own, axis=0))):
        for label, value in zip(("p5", "median", "p90", "p99"), np.percentile(times, [5, 50, 90, 99]), strict=True):
            result[f"{name}_{label}_ms"] = round(1e3 * float(value), 3)
    return result | {"load_average": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--to", default="violin")
    parser.add_argument("--block", type=int, default=480)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--look-ahead", type=float, default=10.0)
    parser.add_argument("--path-frames", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--skip-accuracy", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    grid, settings = FrameGrid(), StreamSettings(look_ahead_s=arguments.look_ahead / 1e3, path_frames=arguments.path_frames)
    if not arguments.skip_accuracy:
        for path in arguments.files:
            print(json.dumps(accuracy(path, grid, settings.look_ahead(grid), settings.path_frames)), flush=True)
    if arguments.seconds:
        timed = timings(arguments.files, arguments.to, arguments.block, arguments.seconds, settings, arguments.repeats)
        print(json.dumps(timed), flush=True)


if __name__ == "__main__":
    main()
