"""Recordings in, a prepared dataset out (:mod:`tonetransfer.data.dataset`).

Each file is one job that depends on nothing but its content, the settings and the versions of the features, and leaves one thing behind: a
group of the dataset, or a note of why there is none. Either appears whole, under a name made of what it depends on. So a file that was done
is never done again, whoever did it; a run that was killed is gone on with; and the result is the same on one core, on many, and on a
cluster. The index is made from what is there when all is done.

Splits for training and validation are whole recordings, chosen by their content, so that the choice is the same everywhere and every time:
an excerpt of a recording that was also trained on says nothing about overfitting. Where there is only one (or where each would take too
much away), the longest is cut at a silence, and a guard around the cut belongs to no split: the excerpts of training and validation then
share neither a note nor the reverberation of one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import PARTIAL, write_text
from ..audio.files import peak_of, stream_audio
from ..audio.frames import FrameGrid
from ..compiled import lock_file
from ..errors import AudioError, SettingsError
from ..pitch.estimators import DEFAULT_TRACKER, find_tracker
from ..threads import Progress, one_thread, trim_malloc
from . import scan
from .dataset import GROUPS, INDEX, Prepared, PreparedRecording, RecordingWriter, recording_facts, recording_key, stored_track, write_index
from .jobs import run_jobs

SKIPPED = "skipped"  # folder of the notes on files that were not taken
LOCK = "prepare.lock"
NOT_STATED = "not stated"
SHARE = 0.1  # part of all that is held out
LEAST_S, LARGEST_SHARE_OF_LITTLE = 5.0, 0.25  # of little material more: less than 5 s of validation is chance
MOST_S = 600.0  # more makes validating slow and no figure better
LARGEST_SHARE = 0.35  # of all that one recording may take away from training
SHORTEST_TO_CUT_S = 20.0
GUARD_S = 1.0  # between the parts of a recording that is cut
QUIET_S = 0.3  # a silence is sought in the mean loudness of so much
SEARCH = 0.5  # the cut lies where it is quietest within so much of the held-out length on both sides of its place


@dataclass(frozen=True)
class PrepareJob:
    """A file to be prepared, and all that the result depends on."""

    path: Path
    sha256: str
    key: str
    out: Path
    grid: FrameGrid
    tracker: str
    force: bool


def prepare(
    folder: str | Path,
    out: str | Path,
    *,
    grid: FrameGrid | None = None,
    tracker: str = DEFAULT_TRACKER,
    licence: str | None = None,
    force: bool = False,
    overwrite: bool = False,
    engine: str = "local",
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Make a dataset of a folder of recordings, or go on with one, or add what is new.

    Parameters
    ----------
    folder : str or Path
        Recordings of one instrument: any mixture of formats, rates, channels and lengths, in folders or not. Nothing in it is changed.
    out : str or Path
        Of the dataset.
    grid : FrameGrid or None
        Of the model that is to be trained; None: the bundled model's.
    tracker : str
        A name in :data:`tonetransfer.pitch.estimators.TRACKERS`.
    licence : str or None
        Whose the recordings are and what may be done with them; goes with the weights. None: as it was, or not stated.
    force : bool
        Take recordings, too, that seem to be too short, spoken, polyphonic or without pitch.
    overwrite : bool
        Let another folder's dataset be replaced; groups that are not used any more are removed.
    engine, workers, scheduler
        See :func:`tonetransfer.data.jobs.run_jobs`.
    progress : callable or None
        Told of the seconds of audio that are done and that are to be done.

    Returns
    -------
    Prepared

    Raises
    ------
    SettingsError
        Nothing in the folder can be used; the message says what is there. Or there is no room, or `out` is something else.
    """
    folder, grid = Path(folder), grid or FrameGrid()
    out = _check_out(out, folder)
    find_tracker(tracker)
    settings = {"sample_rate": grid.sample_rate, "hop_length": grid.hop_length, "tracker": tracker}
    sources, skipped = scan.find_sources(folder, without=out)
    scan.check_found(folder, sources, skipped)
    before = _read_old(out, grid)
    if before and not overwrite and not {one["sha256"] for one in before["sources"]} & {one.sha256 for one in sources}:
        raise SettingsError(f"{out} holds another dataset, not of {folder}; choose another place, or replace it with --overwrite")
    keys = {one.sha256: recording_key(one.sha256, settings) for one in sources}
    with _alone(out), _told_plainly(out):
        jobs = [
            (one, PrepareJob(one.path, one.sha256, keys[one.sha256], out, grid, tracker, force))
            for one in sources
            if not _is_done(out, keys[one.sha256], force)
        ]
        _work(jobs, engine, workers, scheduler, progress)
        content, candidates = _gather(out, sources, skipped, keys, force)
        if not candidates:
            raise SettingsError(scan.nothing_found(folder, [scan.Skipped(**one) for one in content["skipped"]], usable=True))
        content |= {"settings": settings | {"force": force}, "licence": licence or (before or {}).get("licence", NOT_STATED)}
        recordings = hold_out(candidates, grid, lambda key: stored_track(out, key, "loudness_db"))
        if _differs(before, content, [asdict(one) for one in recordings]):
            write_index(out, content, recordings)
        if overwrite:
            _remove_unused(out, set(keys.values()))
    return Prepared(out, grid)


def prepare_file(job: PrepareJob) -> str:
    """Do one file; returns its hash. This is what an engine runs."""
    with one_thread():
        try:
            kind, reason = _prepare(job)
        except AudioError as error:
            kind, reason = "unreadable", scan.short_reason(error, job.path)
        if kind:
            write_text(job.out / SKIPPED / f"{job.key}.json", json.dumps({"kind": kind, "reason": reason}, indent=1))
    return job.sha256


def _prepare(job: PrepareJob) -> tuple[str, str]:
    """Write a file's group, or say why not: kind and reason, both empty if it was written."""
    grid, peak, n_samples = job.grid, 0.0, 0
    for piece in stream_audio(job.path, grid.sample_rate, grid.n_samples(round(scan.STRETCH_S * grid.frame_rate))):
        peak, n_samples = max(peak, peak_of(piece)), n_samples + len(piece)
    if n_samples > scan.STRETCH_S * grid.sample_rate:
        trim_malloc()
    judged = scan.Suitability()
    writer = RecordingWriter(job.out, job.key, grid, n_samples=grid.n_samples(grid.n_frames(n_samples)), peak=peak)
    try:
        for heard in scan.read_stretches(job.path, grid, job.tracker):
            judged = judged.add(heard)
            writer.write(heard.audio, heard.controls)
        kind, reason = judged.objection() or ("", "")
        if kind and not (job.force and kind in scan.DOUBTS):
            return kind, reason
        facts = {"sha256": job.sha256, "seconds": round(judged.seconds, 4), "note_seconds": round(judged.note_seconds, 2)}
        writer.finish(facts | {"doubt": kind, "doubt_reason": reason})
        return "", ""
    finally:
        writer.abandon()


def _read_note(out: Path, key: str) -> dict[str, str] | None:
    try:
        return dict(json.loads((out / SKIPPED / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _is_done(out: Path, key: str, force: bool) -> bool:
    note = _read_note(out, key)
    return recording_facts(out, key) is not None or (note is not None and not (force and note["kind"] in scan.DOUBTS))


def _work(
    jobs: list[tuple[scan.SourceFile, PrepareJob]], engine: str, workers: int, scheduler: str | None, progress: Progress | None
) -> None:
    """Do the jobs, the longest first, so that no core waits for one at the end."""
    jobs = sorted(jobs, key=lambda pair: (-pair[0].seconds, pair[0].name))
    seconds = {job.sha256: source.seconds for source, job in jobs}
    done, total = 0.0, sum(seconds.values())
    for sha256 in run_jobs(prepare_file, [job for _, job in jobs], engine=engine, workers=workers, scheduler=scheduler) if jobs else ():
        done += seconds[sha256]
        if progress:
            progress(round(done), max(round(total), 1))


def _gather(
    out: Path, sources: list[scan.SourceFile], skipped: list[scan.Skipped], keys: dict[str, str], force: bool
) -> tuple[dict[str, Any], list[Candidate]]:
    """Entries of the index for sources and files that are left out, and the recordings to be assigned to splits."""
    candidates: list[Candidate] = []
    taken: list[dict[str, Any]] = []
    skipped = list(skipped)
    first_of: dict[str, str] = {}
    for one in sources:
        facts, note = recording_facts(out, keys[one.sha256]), _read_note(out, keys[one.sha256])
        if facts is None and note is None:
            raise SettingsError(f"{one.name} was worked on, but {out} does not show it; the workers of a cluster must see the same folders")
        if facts is None or (facts["doubt"] and not force):
            kind, reason = (facts["doubt"], facts["doubt_reason"]) if facts else (note["kind"], note["reason"])  # type: ignore[index]
            skipped.append(scan.Skipped(one.name, kind, reason))
        elif facts["audio_sha256"] in first_of:
            skipped.append(scan.Skipped(one.name, "duplicate", f"the same sound as {first_of[facts['audio_sha256']]}, in another file"))
        else:
            first_of[facts["audio_sha256"]] = one.name
            origin = {"sample_rate_hz": one.facts.sample_rate, "channels": one.facts.n_channels, "coding": one.facts.coding}
            told = {name: facts[name] for name in ("sha256", "seconds", "note_seconds", "audio_sha256", "doubt")}
            taken.append({"name": one.name, **told, **origin})
            candidates.append(Candidate(one.name, one.sha256, keys[one.sha256], facts["n_frames"]))
    return {"sources": taken, "skipped": [asdict(one) for one in sorted(skipped, key=lambda one: one.name)]}, candidates


def _differs(before: dict[str, Any] | None, content: dict[str, Any], recordings: list[dict[str, Any]]) -> bool:
    wanted = json.loads(json.dumps({**content, "recordings": recordings}))
    return before is None or any(before.get(name) != value for name, value in wanted.items())


def _check_out(out: str | Path, folder: Path) -> Path:
    """The place of the dataset, made if it is not there."""
    if "://" in str(out):
        raise SettingsError(f"{out} is a URL; prepare into a folder, and copy it there when it is done: training reads it from either")
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; a folder for the dataset is wanted: choose another name")
    if out.resolve() == folder.resolve():
        raise SettingsError(f"{out} is the folder of recordings itself; choose another place for the dataset")
    ours = out.is_dir() and ((out / GROUPS).is_dir() or (out / INDEX).exists())
    if out.is_dir() and not ours and any(out.iterdir()):
        raise SettingsError(f"{out} holds other things already; an empty or a new folder is wanted, or a dataset to go on with")
    return out


def _read_old(out: Path, grid: FrameGrid) -> dict[str, Any] | None:
    """The index that is there already, if it is one of this version."""
    try:
        return Prepared(out, grid).manifest
    except SettingsError:
        return None


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Folders in their places, nobody else at work in them, and none of the pieces that a killed run left."""
    for place in (out / GROUPS, out / SKIPPED):
        place.mkdir(parents=True, exist_ok=True)
    with open(out / LOCK, "w", encoding="utf-8") as lock:
        try:
            lock_file(lock.fileno())
        except OSError:
            raise SettingsError(f"{out} is being prepared by another process; wait for it, or choose another place") from None
        _remove_parts(out)
        try:
            yield
        finally:
            _remove_parts(out)
            with contextlib.suppress(OSError):
                (out / LOCK).unlink()


@contextlib.contextmanager
def _told_plainly(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise SettingsError("interrupted; what is done is kept: give the same command again to go on") from None
    except OSError as error:
        what = f"{out} cannot be written ({error.strerror or error})"
        raise SettingsError(f"{what}; what is done is kept: make room, and give the same command again") from error


def _remove_parts(out: Path) -> None:
    for place in (out, out / GROUPS, out / SKIPPED):
        for part in place.glob(f"*{PARTIAL}*"):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def _remove_unused(out: Path, keys: set[str]) -> None:
    for group in (out / GROUPS).iterdir():
        if group.name not in keys:
            shutil.rmtree(group, ignore_errors=True)
    for note in (out / SKIPPED).iterdir():
        if note.stem not in keys:
            note.unlink(missing_ok=True)


def summarize(prepared: Prepared) -> dict[str, Any]:
    """A dataset in numbers, for the command line."""
    rate, skipped = prepared.grid.frame_rate, prepared.manifest["skipped"]
    minutes = {name: sum(one.n_frames for one in prepared.split(name)) / rate / 60.0 for name in ("train", "validation")}
    return {
        "out": prepared.folder,
        "recordings": len(prepared.manifest["sources"]),
        "minutes": prepared.minutes,
        "note_minutes": sum(one["note_seconds"] for one in prepared.manifest["sources"]) / 60.0,
        "train_minutes": minutes["train"],
        "validation_minutes": minutes["validation"],
        "skipped_files": len(skipped),
        "skipped_by_kind": dict(sorted(Counter(one["kind"] for one in skipped).items())),
        "skipped": skipped,
        "licence": prepared.manifest["licence"],
    }


def report_lines(result: dict[str, Any]) -> list[str]:
    """Format what :func:`summarize` returns as lines of text."""
    lines = [
        f"{result['out']}: {result['recordings']} recordings, {result['minutes']:.1f} minutes, {result['note_minutes']:.1f} of them notes",
        f"to train on {result['train_minutes']:.1f} minutes, held out for validation {result['validation_minutes']:.1f}",
    ]
    if not result["validation_minutes"]:
        lines.append("nothing is held out: a single short recording; add another, and training can say when it has learned enough")
    lines += [f"skipped {one['name']}: {one['reason']}" for one in result["skipped"]]
    if any(one["kind"] in scan.DOUBTS for one in result["skipped"]):
        lines.append("files that were skipped for what is in them can be taken with --force")
    return lines


@dataclass(frozen=True)
class Candidate:
    """A recording to be assigned: its file's name and hash, its group, and its length in frames."""

    name: str
    sha256: str
    key: str
    n_frames: int


def hold_out(candidates: Sequence[Candidate], grid: FrameGrid, loudness_db: Callable[[str], np.ndarray]) -> list[PreparedRecording]:
    """Assign every recording to a split, in the order of the candidates; one that is cut stands twice.

    `loudness_db` gives the loudness (n_frames,) of a group by its key; it is asked of a recording that is cut alone.
    """
    total = sum(one.n_frames for one in candidates)
    if not total:
        return []
    wanted = _wanted_frames(total, grid.frame_rate)
    chosen = _whole(candidates, total, wanted)
    longest = max(candidates, key=lambda one: (one.n_frames, one.sha256))
    cut = not chosen and longest.n_frames >= SHORTEST_TO_CUT_S * grid.frame_rate
    if not chosen and not cut and len(candidates) > 1:
        chosen = {min(candidates, key=lambda one: (one.n_frames, one.sha256)).key}
    result = []
    for one in candidates:
        recording = PreparedRecording(one.name, one.n_frames, "validation" if one.key in chosen else "train", one.key)
        result += _cut(recording, wanted, grid, loudness_db(one.key)) if cut and one is longest else [recording]
    return result


def _wanted_frames(total: int, frame_rate: float) -> float:
    """Number of frames to be held out of `total`."""
    least = min(LEAST_S * frame_rate, LARGEST_SHARE_OF_LITTLE * total)
    return min(max(SHARE * total, least), MOST_S * frame_rate)


def _whole(candidates: Sequence[Candidate], total: int, wanted: float) -> set[str]:
    """Keys of whole recordings that are held out, in the order of their hashes, until there is enough."""
    chosen: set[str] = set()
    held = 0
    for one in sorted(candidates, key=lambda one: one.sha256):
        if held >= wanted:
            break
        if held + one.n_frames <= LARGEST_SHARE * total:
            chosen.add(one.key)
            held += one.n_frames
    return chosen


def _cut(recording: PreparedRecording, wanted: float, grid: FrameGrid, loudness_db: np.ndarray) -> list[PreparedRecording]:
    """The two parts of a recording: its end is held out."""
    n_frames, guard = recording.n_frames, round(0.5 * GUARD_S * grid.frame_rate)
    width = max(round(QUIET_S * grid.frame_rate), 1)
    power = np.convolve(10.0 ** (np.asarray(loudness_db[:n_frames], np.float64) / 10.0), np.ones(width) / width, mode="same")
    place = n_frames - wanted
    begin, end = int(place - SEARCH * wanted), int(min(place + SEARCH * wanted, n_frames - 2 * guard))
    middle = begin + int(power[begin:end].argmin())
    held = replace(recording, n_frames=n_frames - middle - guard, split="validation", first_frame=middle + guard)
    return [replace(recording, n_frames=middle - guard), held]
