"""Training audio: the same performances on many instruments, from soundfonts and from folders of single notes.

What is rendered, from where and how far each instrument reaches stands in a YAML file (``configs/corpus.yaml``). The result is
a folder a timbre, with a FLAC and an NPZ (``f0_hz``, ``voiced``, on the frame grid) a performance, and one ``manifest.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..atomic import replacing, write_text
from ..audio.files import load_audio, save_audio
from ..audio.frames import FrameGrid
from ..audio.units import db_to_amplitude, midi_to_hz
from ..controls.controls import extract
from ..errors import InstrumentError, SettingsError
from ..models.instrument_names import players_performance
from ..pitch.f0_refinement import refine_f0
from ..threads import Progress, counted
from .composition import Performance
from .corpus_config import RecordedPhrase, Score, Timbre, chosen, entry, load_config, phrases, score_seed, scores, taught_by_all, voices
from .jobs import run_jobs
from .sample_folder import NoteFolder
from .soundfont import SoundFont, find_soundfont, tilt

PEAK = 0.7  # peak of every rendering
GRID = FrameGrid()
AS_RECORDED_DB = -8.0  # how hard the notes of a soundfont were played when it was recorded: between mf and f
PHRASE_DB = -24.0  # loudness of a phrase's notes (median): of a mezzo-forte in a performance whose loudest passage has the peak above
GONE_DB = -65.0  # re full scale: a tail has ended
TAIL_DB = -40.0  # below the loudest of its note: a tail has ended
open_soundfont, open_notes = lru_cache(maxsize=2)(SoundFont), lru_cache(maxsize=2)(NoteFolder)


@dataclass(frozen=True)
class RenderJob:
    """One file to render: a score on a voice of a timbre."""

    name: str
    timbre: Timbre
    channel: int
    slope: float
    origin: Path
    score: Score | RecordedPhrase
    out: Path


def list_timbres(config: Path) -> dict[str, dict[str, Any]]:
    """Every timbre that a configuration renders, variants included, with what the manifest says of it."""
    described = load_config(config)
    return {name: entry(described, name, timbre) for name, timbre, _ in voices(described)}


def render_corpus(
    config: Path,
    out: Path,
    *,
    seed: int = 0,
    split: Literal["train", "test"] = "train",
    soundfont: Path | None = None,
    soundfont_folders: Sequence[Path] = (),
    samples: Path | None = None,
    only: Iterable[str] | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Render a corpus.

    What exists already is kept, so an interrupted run is resumed by running it again; several runs into one folder add up. After a
    change of the configuration's slopes or sources, or of this package, render into a new folder.

    Parameters
    ----------
    config : Path
    out : Path
        Folder of the corpus.
    seed : int, 0 to 999999
        Another seed, other performances.
    split : "train" or "test"
        No performance of one is in the other, whatever the seeds.
    soundfont : Path or None
        Instead of looking for the file that the configuration names.
    soundfont_folders : sequence of Path
        Where to look for it before the system's folders.
    samples : Path or None
        Folder that the configuration's note folders lie in; without it their timbres are left out.
    only : names of timbres or None
        None renders all.
    workers : int
        Processes.
    progress : callable (done, total) or None

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    SettingsError
        The configuration, the seed or the split is not usable.
    InstrumentError
        `only` names a timbre that the configuration does not have, or a folder holds no usable notes.
    MissingDependencyError
        FluidSynth or the soundfont is missing.
    """
    described = load_config(config)
    if split not in ("train", "test"):
        raise SettingsError(f"split is {split!r}; train or test is wanted")
    parts = chosen(list(voices(described)), only, samples)
    font = None
    if any(timbre.program is not None for _, timbre, _ in parts):
        font = Path(soundfont) if soundfont else find_soundfont(described.soundfont, soundfont_folders)
    jobs = []
    for name, timbre, channel in parts:
        folder = timbre.folder or timbre.phrases
        origin = Path(samples or ".") / folder if folder else font or Path(described.soundfont)
        for score in phrases(origin, timbre.files) if timbre.phrases else scores(described, timbre, channel, split=split, seed=seed):
            jobs.append(RenderJob(name, timbre, channel, described.slope(timbre), origin, score, Path(out)))
    files = list(counted(run_jobs(_render_job, jobs, workers=workers), progress, len(jobs)))
    entries = {name: entry(described, name, timbre) for name, timbre, _ in parts}
    for name, timbre in taught_by_all(described, entries):
        entries[name] = entry(described, name, timbre)
        files += [_shared(file, name, Path(out)) for file in files if file["timbre"] in timbre.players]
    return _write_manifest(Path(out), entries, files, seed=seed, split=split)


def _shared(file: dict[str, Any], name: str, out: Path) -> dict[str, Any]:
    """A player's file as one of an instrument that several players teach; linked, not copied, where the disk can."""
    shared = {**file, "timbre": name, "performance": players_performance(file["performance"], file["timbre"])}
    (out / name).mkdir(parents=True, exist_ok=True)
    for ending in (".flac", ".npz"):
        source, link = (out / one["timbre"] / (one["performance"] + ending) for one in (file, shared))
        if link.exists():
            continue
        try:
            os.link(source, link)
        except OSError:
            shutil.copyfile(source, link)
    return shared


def render_parallel(
    config: Path,
    out: Path,
    *,
    soundfont: str | Path = "fluid",
    soundfont_folders: Sequence[Path] = (),
    seed: int = 0,
    workers: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Render the test set in which every instrument plays the same performances, and one reference each that differs; its manifest.

    The configuration's own font is rendered as for training. Any other, by a name that the configuration knows (``fluid``, ``generaluser``)
    or a file, is an outside source and stays as it is: no tilt. Other arguments as for :func:`render_corpus`; performances are called
    ``parallel-*`` and ``reference``.
    """
    described = load_config(config)
    test = described.parallel
    file = test.soundfonts.get(str(soundfont), str(soundfont))
    outside = Path(file).name != described.soundfont
    origin = find_soundfont(file, soundfont_folders)
    pieces = [Score(f"parallel-{n}", score_seed("parallel", seed, n), *test.range, test.duration_s) for n in range(test.performances)]
    pieces.append(Score("reference", score_seed("reference", seed, 0), *test.range, test.reference_duration_s))
    timbres = {name: described.timbres[name] for name in test.instruments}
    jobs = [
        RenderJob(name, timbre, 0, 0.0 if outside else described.slope(timbre), origin, score, Path(out))
        for name, timbre in timbres.items()
        for score in pieces
    ]
    files = list(counted(run_jobs(_render_job, jobs, workers=workers), progress, len(jobs)))
    source = described.source_of_font(file)
    entries = {name: {**entry(described, name, timbre), **source.model_dump()} for name, timbre in timbres.items()}
    return _write_manifest(Path(out), entries, files, seed=seed, split="parallel")


def _render_job(job: RenderJob) -> dict[str, Any]:
    """Render one file unless it exists; describe it."""
    sound = job.out / job.name / f"{job.score.id}.flac"
    label = sound.with_suffix(".npz")
    if not (sound.exists() and label.exists()):
        sound.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(job.score, RecordedPhrase):
            audio, f0_hz, voiced = read_phrase(job.score.file)
        else:
            audio, f0_hz, voiced = render_performance(job.score.compose(), job.timbre, job.origin, channel=job.channel, slope=job.slope)
        with replacing(label, alone=True) as part, open(part, "wb") as file:
            np.savez_compressed(file, f0_hz=f0_hz, voiced=voiced)
        save_audio(sound, audio, GRID.sample_rate, overwrite=True)
    with np.load(label) as stored:
        heard_frames = stored["voiced"]
        heard = stored["f0_hz"][heard_frames]
    f0_range = [round(float(heard.min()), 2), round(float(heard.max()), 2)] if len(heard) else None
    return {
        "timbre": job.name,
        "performance": job.score.id,
        "seconds": round(len(heard_frames) / GRID.frame_rate, 2),
        "lowest_f0_hz": f0_range and f0_range[0],
        "highest_f0_hz": f0_range and f0_range[1],
        "sha256": hashlib.sha256(sound.read_bytes()).hexdigest(),
    }


def render_performance(
    performance: Performance, timbre: Timbre, origin: Path, *, channel: int = 0, slope: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Play a performance on a timbre: audio (n_samples,) of peak 0.7, f0 [Hz] and where a note is held or rings on, (n_frames,) each.

    `origin` is the soundfont or the folder of notes; `channel` 0 left, 1 right, never their mean: they are two microphones; `slope` [dB per
    octave and dB] is how much brighter louder playing is (:mod:`tonetransfer.data.soundfont`).
    """
    if timbre.folder is None:
        assert timbre.program is not None  # the configuration is checked
        audio = open_soundfont(origin, sample_rate=GRID.sample_rate).render(performance, program=timbre.program, bank=timbre.bank)[channel]
        recorded_db = np.full(performance.n_frames, AS_RECORDED_DB)
    else:
        audio, recorded_db = open_notes(origin, files=timbre.files, sample_rate=GRID.sample_rate).render(performance)
    nominal_hz = midi_to_hz(performance.midi_curve())
    gain = np.interp(np.arange(len(audio)) / GRID.hop_length, np.arange(performance.n_frames), db_to_amplitude(performance.expression_db))
    audio = tilt(audio * gain, performance.intensity_db() - recorded_db, nominal_hz, slope, GRID)
    audio = (audio * (PEAK / max(float(np.abs(audio).max()), 1e-6))).astype(np.float32)
    return audio, refine_f0(audio, nominal_hz, GRID), _voiced(audio, performance)


def read_phrase(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A recorded phrase, brought to the level of a mezzo-forte, with its measured f0, as :func:`render_performance` gives it.

    InstrumentError: no notes are heard in it.
    """
    recording = load_audio(file, GRID.sample_rate)[0]
    controls = extract(recording, GRID)
    notes = controls.note_frames()
    if not bool(notes.any()):
        raise InstrumentError(f"{file} holds no notes; phrases of one instrument, one note at a time, are wanted")
    gain = db_to_amplitude(PHRASE_DB - float(controls.loudness_db[notes].median()))
    audio = recording.numpy() * min(gain, PEAK / max(float(recording.abs().max()), 1e-6))
    audio = np.pad(audio, (0, controls.n_samples - len(audio))).astype(np.float32)
    return audio, refine_f0(audio, controls.f0_hz.numpy(), GRID), notes.numpy()


def _voiced(audio: np.ndarray, performance: Performance) -> np.ndarray:
    """Frames in which a note or its tail sounds, (n_frames,)."""
    power = (audio.reshape(performance.n_frames, -1).astype(np.float64) ** 2).mean(axis=1)
    level_db = 10.0 * np.log10(np.convolve(power, np.ones(3) / 3.0, mode="same") + 1e-12)
    index = performance.note_index()
    loudest = np.array([level_db[index == which].max() for which in range(len(performance.notes))])
    started = np.arange(performance.n_frames) >= performance.notes[0].start
    decaying = level_db > loudest[index] + TAIL_DB
    return started & (level_db > GONE_DB) & (performance.sounding() | decaying)


def _write_manifest(out: Path, entries: dict[str, Any], files: list[dict[str, Any]], *, seed: int, split: str) -> Path:
    """Write the manifest, adding to the one that is there."""
    path = out / "manifest.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"timbres": {}, "files": []}
    fresh = {(file["timbre"], file["performance"]) for file in files}
    kept = [file for file in known["files"] if (file["timbre"], file["performance"]) not in fresh]
    manifest = {
        "seed": seed,
        "split": split,
        "version": version("tonetransfer"),
        "sample_rate": GRID.sample_rate,
        "hop_length": GRID.hop_length,
        "timbres": {**known["timbres"], **entries},
        "files": sorted([*kept, *files], key=lambda file: (file["timbre"], file["performance"])),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(manifest, indent=1))
    return path
