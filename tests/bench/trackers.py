"""Measure every tracker on sound whose f0 is known, and write the table of docs/trackers.md.

    python tests/bench/trackers.py PERFORMANCES... --notes NOTES [--trackers joint swift ...] [--write docs/trackers.md] [--json FILE]

PERFORMANCES are folders that `tonetransfer corpus render` made (sound, and beside it an .npz with `f0_hz` and `voiced`); NOTES is a
folder of recorded single notes whose file names say the note. One thread; speed is processor time, so that a busy machine
does not matter. With --json, results are kept, and trackers that are in the file are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import mir_eval  # noqa: E402 (the number of threads is read on import)
import numpy as np  # noqa: E402
import scipy.signal  # noqa: E402

from tonetransfer.audio.files import load_audio, resample  # noqa: E402
from tonetransfer.audio.frames import FrameGrid  # noqa: E402
from tonetransfer.audio.units import midi_to_hz  # noqa: E402
from tonetransfer.data.sample_folder import note_of_name  # noqa: E402
from tonetransfer.pitch.autocorrelation import SAMPLE_RATE  # noqa: E402
from tonetransfer.pitch.estimators import TRACKERS  # noqa: E402
from tonetransfer.pitch.tracking import VOICED_ON, track_f0  # noqa: E402

GRID = FrameGrid()
TOLERANCE_CENTS = 50.0
NOTE_TOLERANCE_CENTS = 70.0  # a named note is not tuned to the cent
SETTLED_FRAMES = 6  # after an onset or a leap: until then the last note, or its attack, is what sounds
LONGEST_NOTE_S = 6
RT60_S, DIRECT_DB = 1.5, 4.0  # of the synthetic hall; direct sound over reverberation
EIGHTH = ", every eighth file"
THIN_OUT = {"crepe-full" + EIGHTH: 8, "joint" + EIGHTH: 8}  # the one needs four seconds for one of sound; the other to compare it with
AS_IT_COMES = ("swift", "crepe", "yin")  # one of each kind, also without anything around it
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Track = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]  # audio and its rate to f0 and periodicity on the grid


class Sound(NamedTuple):
    """A recording and what is true of it, on the grid."""

    material: str
    audio: np.ndarray  # (n_samples,) at 48 kHz
    f0_hz: np.ndarray  # (n_frames,)
    voiced: np.ndarray  # (n_frames,), bool
    settled: np.ndarray  # (n_frames,), bool
    tolerance_cents: float


def performances(folder: Path, hall: bool = False) -> Iterator[Sound]:
    """Rendered performances, and, on request, the same in a hall."""
    impulse = hall_response() if hall else None
    for path in sorted(folder.glob("*/parallel-*.flac"))[::3]:
        audio = load_audio(path, GRID.sample_rate)[0].numpy()
        truth = np.load(path.with_suffix(".npz"))
        n_frames = min(len(truth["f0_hz"]), GRID.n_frames(len(audio)))
        f0_hz, voiced = truth["f0_hz"][:n_frames].astype(float), truth["voiced"][:n_frames]
        changes = (np.abs(np.diff(np.log2(f0_hz), prepend=0.0)) > 0.04) | (np.diff(voiced.astype(int), prepend=0) == 1)
        recent = np.convolve(changes, np.ones(SETTLED_FRAMES), "full")[:n_frames] > 0
        if impulse is not None:
            audio = scipy.signal.fftconvolve(audio, impulse)[: len(audio)].astype(np.float32)
        yield Sound(folder.name + (" in a hall" if hall else ""), audio, f0_hz, voiced, voiced & ~recent, TOLERANCE_CENTS)


def hall_response() -> np.ndarray:
    time_s = np.arange(int(1.5 * RT60_S * GRID.sample_rate)) / GRID.sample_rate
    tail = np.random.default_rng(0).normal(size=len(time_s)) * 10.0 ** (-3.0 * time_s / RT60_S)
    tail *= 10.0 ** (-DIRECT_DB / 20.0) / np.linalg.norm(tail)
    tail[0] = 1.0
    return tail


def notes(folder: Path) -> Iterator[Sound]:
    """Every fifth recorded note whose name says what it is; octaves of names differ between makers, and all notes of a maker decide."""
    named = [(path, note_of_name(path.stem)) for path in sorted(folder.glob("*/*.flac")) if "looped" not in path.name]
    named = [(path, midi) for path, midi in named if midi is not None]
    makers = defaultdict(list)
    for path, midi in named:
        makers[path.parent.name, path.name.split("_")[0]].append((path, midi))
    octaves = {maker: octave_of_names(files) for maker, files in makers.items()}
    for path, midi in named[::5]:
        audio = load_audio(path, GRID.sample_rate)[0][: LONGEST_NOTE_S * GRID.sample_rate].numpy()
        level = level_db(audio)
        sounding = level > level.max() - 30.0
        true_hz = midi_to_hz(midi + 12.0 * octaves[path.parent.name, path.name.split("_")[0]])
        yield Sound("real notes", audio, np.full(len(level), true_hz), sounding, sounding, NOTE_TOLERANCE_CENTS)


def octave_of_names(files: list[tuple[Path, int]]) -> int:
    """How many octaves the notes of one maker sound above their names: the middle of what two unrelated trackers hear."""
    heard = []
    for path, midi in files[:: max(1, len(files) // 12)]:
        audio = load_audio(path, SAMPLE_RATE)[0].numpy()
        for tracker in ("yin", "swift"):
            f0_hz, _ = TRACKERS[tracker].estimate(audio, len(audio) // 160)
            heard.append(round((12 * np.log2(np.median(f0_hz) / 440.0) + 69 - midi) / 12))
    return int(np.median(heard))


def level_db(audio: np.ndarray) -> np.ndarray:
    frames = GRID.pad(resample(audio, 48000, 48000)).reshape(-1, GRID.hop_length).numpy()
    return 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)


def as_used(name: str) -> Track:
    """A tracker as track_f0 runs it."""
    return lambda audio, rate: tuple(values.numpy().astype(float) for values in track_f0(audio, rate, GRID, tracker=name))


def as_it_comes(name: str) -> Track:
    """A tracker without anything around it; voiced where its confidence reaches one half."""

    def track(audio: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
        f0_hz, confidence = TRACKERS[name].estimate(resample(audio, rate, SAMPLE_RATE).numpy(), GRID.n_frames(len(audio)))
        return f0_hz, confidence + VOICED_ON - 0.5

    return track


def measure(track: Track, sounds: list[Sound]) -> dict[str, dict[str, float]]:
    """Figures by material, and the speed over all of them."""
    track(sounds[0].audio[:48000], GRID.sample_rate)  # loads what is loaded once
    figures, spent_s, sound_s = defaultdict(list), 0.0, 0.0
    for sound in sounds:
        start = time.process_time()
        f0_hz, periodicity = track(sound.audio, GRID.sample_rate)
        spent_s += time.process_time() - start
        sound_s += len(sound.audio) / GRID.sample_rate
        figures[sound.material].append(compare(sound, f0_hz[: len(sound.f0_hz)], periodicity[: len(sound.f0_hz)]))
    means = {material: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} for material, rows in figures.items()}
    return {**means, "speed": {"times_real_time": sound_s / spent_s}}


def compare(sound: Sound, f0_hz: np.ndarray, periodicity: np.ndarray) -> dict[str, float]:
    times = GRID.times(len(f0_hz))
    true_hz, heard_hz = np.where(sound.voiced, sound.f0_hz, 0.0), np.where(periodicity >= VOICED_ON, f0_hz, -f0_hz)
    voicing_true, cents_true, voicing, cents = mir_eval.melody.to_cent_voicing(times, true_hz, times, heard_hz)
    recall, false_alarm = mir_eval.melody.voicing_measures(voicing_true, voicing)
    settled = sound.settled
    off = 1200.0 * np.log2(f0_hz / sound.f0_hz)[settled]
    octave_off = (np.abs(off) > 600.0) & (np.abs(off - 1200.0 * np.round(off / 1200.0)) < 100.0)
    tolerance = sound.tolerance_cents
    return {
        "raw_pitch_accuracy": mir_eval.melody.raw_pitch_accuracy(voicing_true, cents_true, voicing, cents, cent_tolerance=tolerance),
        "raw_pitch_accuracy_settled": float(np.mean(np.abs(off) < tolerance)),
        "octave_error_share": float(np.mean(octave_off)),
        "median_error_cents": float(np.median(np.abs(off))),
        "voicing_recall": recall,
        "voicing_false_alarm": false_alarm,
    }


def table(results: dict[str, dict]) -> str:
    materials = [material for material in next(iter(results.values())) if material != "speed"]
    rows = [
        "| tracker | " + " | ".join(materials) + " | median error, cents | voiced frames found / false | x real time |",
        "|---|" + "---|" * (len(materials) + 3),
    ]
    performed = [material for material in materials if material != "real notes"]
    for name, result in results.items():
        cells = [f"{100 * result[m]['raw_pitch_accuracy_settled']:.1f} ({100 * result[m]['octave_error_share']:.1f})" for m in materials]
        dry = [result[m] for m in performed if "hall" not in m]
        error = np.mean([figures["median_error_cents"] for figures in dry])
        found, false = (100 * np.mean([figures[key] for figures in dry]) for key in ("voicing_recall", "voicing_false_alarm"))
        speed = result["speed"]["times_real_time"]
        rows.append(
            f"| {name} | " + " | ".join(cells) + f" | {error:.1f} | {found:.1f} / {false:.1f} | {speed:.{0 if speed > 10 else 1}f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("performances", nargs="+", type=Path)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--trackers", nargs="+", default=[*TRACKERS])
    parser.add_argument("--write", type=Path, help="replace the table in this page")
    parser.add_argument("--json", type=Path, help="keep the results here, and start from what it holds")
    arguments = parser.parse_args()
    sounds = [sound for folder in arguments.performances for hall in (False, True) for sound in performances(folder, hall)]
    sounds += list(notes(arguments.notes)) if arguments.notes else []
    results = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    tracks = {name: as_used(name) for name in arguments.trackers if name + EIGHTH not in THIN_OUT or name == "joint"}
    tracks |= {name: as_used(name.removesuffix(EIGHTH)) for name in THIN_OUT if name.removesuffix(EIGHTH) in arguments.trackers}
    tracks |= {f"{name}, as it comes": as_it_comes(name) for name in AS_IT_COMES if name in arguments.trackers}
    for name, track in tracks.items():
        if name not in results:
            results[name] = measure(track, sounds[:: THIN_OUT.get(name, 1)])
            print(name, results[name], flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    ordered = {name: results[name] for name in tracks}
    print(table(ordered))
    if arguments.write:
        page = arguments.write.read_text()
        head, tail = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
        arguments.write.write_text(f"{head}\n{table(ordered)}\n{tail}")


if __name__ == "__main__":
    main()
