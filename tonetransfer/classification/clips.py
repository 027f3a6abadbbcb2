"""Clips for training and test: files with labels, from a corpus, folders, a CSV file or a mirdata dataset.

They are heard as another player, microphone and room would have given them, through audiomentations: a classifier trained on one soundfont
learns its recordings; what differs in the next is pitch of the samples, equalisation, room and noise.
"""

from __future__ import annotations

import contextlib
import csv
import json
import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.files import save_audio, sound_files
from ..errors import MissingDependencyError, SettingsError, did_you_mean
from ..models.instrument_names import is_players
from .settings import AugmentSettings, ClipSettings

LABELS_OF = {  # mirdata datasets: the attribute of a track that holds its label, or the label itself
    "tinysol": ".instrument_full",
    "good_sounds": ".instrument",
    "medley_solos_db": ".instrument",
    "irmas": ".instrument",
    "vocadito": "singing",
    "guitarset": "guitar",
    "maestro": "piano",
    "filosax": "saxophone",
}
Augment = Callable[[np.ndarray], np.ndarray]
SMALLEST_M, LARGEST_M = (3.0, 2.5, 2.4), (14.0, 10.0, 5.0)  # sides of a room: a bathroom to a small hall


@dataclass(frozen=True)
class Span:
    """A label that holds for a part of a recording."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Clip:
    """A recording and what sounds in it."""

    path: Path
    labels: tuple[str, ...]
    spans: tuple[Span, ...] = ()  # when the labels hold; empty: throughout
    source: str = ""  # timbre or collection, so that files can be chosen evenly


def read_clips(settings: ClipSettings) -> list[Clip]:
    """The clips that settings name, with labels renamed to classes. SettingsError: they are not there.

    MissingDependencyError: no mirdata.
    """
    if settings.mirdata:
        return rename(read_mirdata(settings.mirdata, settings.mirdata_home), settings.classes)
    if settings.csv:
        return rename(read_csv(settings.csv), settings.classes)
    if settings.folder:
        return rename(read_folder(settings.folder), settings.classes)
    return [clip for corpus in settings.corpora for clip in read_corpus(corpus, settings.classes)]


def find_clips(place: str | Path, classes: dict[str, tuple[str, ...]]) -> list[Clip]:
    """Clips of a corpus folder, of a folder of folders, or of a CSV file, whichever `place` is."""
    place = Path(place)
    if place.suffix.lower() == ".csv":
        return rename(read_csv(place), classes)
    if (place / "manifest.json").exists():
        return read_corpus(place, classes)
    return rename(read_folder(place), classes)


def read_corpus(folder: str | Path, classes: dict[str, tuple[str, ...]]) -> list[Clip]:
    """Files of a corpus whose timbre belongs to a class; other timbres, and a player's files under an instrument's name, are left out."""
    folder = Path(folder)
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        every = [(str(file["timbre"]), str(file["performance"])) for file in manifest["files"]]
    except OSError:
        raise SettingsError(f"{folder}: holds no manifest.json; make a corpus with `tonetransfer corpus render`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{folder}/manifest.json: is damaged ({error!r}); render the corpus again") from None
    names = {timbre for timbre, _ in every}
    files = [(timbre, performance) for timbre, performance in every if not is_players(performance, names)]
    found = [(file, class_of(file[0], classes)) for file in files]
    clips = [
        Clip(folder / timbre / f"{performance}.flac", (label,), source=f"{folder.name}/{timbre}")
        for (timbre, performance), label in found
        if label
    ]
    if not clips:
        raise SettingsError(f"{folder}: none of its timbres belongs to a class; it has {_some({timbre for timbre, _ in files})}")
    return clips


def read_folder(folder: str | Path) -> list[Clip]:
    """Sounds of a folder that has one folder for each class, at any depth."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingsError(f"{folder}: is no folder; one with a folder of sounds for each class was wanted")
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    clips = [Clip(path, (one.name,), source=one.name) for one in inside for path in sound_files(one, below=True)]
    empty = [one.name for one in inside if not any(clip.source == one.name for clip in clips)]
    if not clips:
        raise SettingsError(
            f"{folder}: holds no sounds in folders; wanted is a folder of sounds for each class, such as {folder}/violin/a.wav"
        )
    if empty:
        raise SettingsError(f"{folder}: no sounds in {_some(empty)}; put some there, or remove the folder")
    return clips


def read_csv(path: str | Path) -> list[Clip]:
    """Clips of a CSV file: ``file`` (relative to it), ``label`` (several with | between), and optionally ``start_s`` and ``end_s``."""
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); a CSV file with the columns file and label was wanted") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is no CSV file ({error}); one with the columns file and label was wanted") from None
    if not rows or not {"file", "label"} <= rows[0].keys():
        came = ", ".join(str(key) for key in rows[0]) if rows else "no rows"
        raise SettingsError(f"{path}: the columns file and label were wanted (start_s and end_s may follow); came: {came}")
    clips: dict[str, Clip] = {}
    for number, row in enumerate(rows, start=2):
        labels = tuple(label.strip() for label in (row["label"] or "").split("|") if label.strip())
        spans = tuple(_spans(row, labels, f"{path}, line {number}"))
        known = clips.get(row["file"], Clip(path.parent / row["file"], ()))
        clips[row["file"]] = replace(known, labels=tuple(dict.fromkeys(known.labels + labels)), spans=known.spans + spans)
    return list(clips.values())


def _spans(row: dict[str, str], labels: Sequence[str], where: str) -> Iterator[Span]:
    if not row.get("start_s") and not row.get("end_s"):
        return
    try:
        start_s, end_s = float(row["start_s"]), float(row["end_s"])
    except (KeyError, ValueError, TypeError):
        raise SettingsError(f"{where}: start_s and end_s are to be numbers; came {row.get('start_s')!r} and {row.get('end_s')!r}") from None
    if not 0.0 <= start_s < end_s:
        raise SettingsError(f"{where}: start_s {start_s:g} and end_s {end_s:g} are no stretch of time; 0 <= start_s < end_s was wanted")
    yield from (Span(label, start_s, end_s) for label in labels)


def read_mirdata(name: str, home: str | None = None) -> list[Clip]:
    """Clips of a dataset that the user has and mirdata knows. Nothing is downloaded."""
    if name not in LABELS_OF:
        hint = did_you_mean(name, LABELS_OF)
        raise SettingsError(f"mirdata dataset {name!r}: its labels are not known here; {hint}choose one of {', '.join(LABELS_OF)}")
    try:
        import mirdata

        dataset = mirdata.initialize(name, data_home=home)
    except ImportError as error:
        raise MissingDependencyError(
            f"mirdata datasets need mirdata ({error.name} is missing); install it with `pip install tonetransfer[datasets]`"
        ) from None
    return clips_of(dataset, LABELS_OF[name])


def clips_of(dataset: Any, label: str) -> list[Clip]:
    """Clips of an open mirdata dataset; `label` is a label, or with a dot before it the attribute of the tracks that holds theirs."""
    clips, name = [], dataset.name
    try:
        for track in dataset.load_tracks().values():
            path = getattr(track, "audio_path", None) or getattr(track, "audio_mic_path", None)
            value = getattr(track, label[1:]) if label.startswith(".") else label
            labels = tuple(value) if isinstance(value, list | tuple) else (value,)
            if path and all(labels) and Path(path).exists():
                clips.append(Clip(Path(path), tuple(str(one).strip().lower().replace(" ", "_") for one in labels), source=name))
    except OSError as error:
        problem = " ".join(str(error).split())
        raise SettingsError(f"mirdata dataset {name}: cannot be opened in {dataset.data_home} ({problem}); fetch it with mirdata") from None
    if not clips:
        raise SettingsError(
            f"mirdata dataset {name}: no recordings with a label in {dataset.data_home}; fetch it with mirdata, or say where it is"
        )
    return clips


def class_of(label: str, classes: dict[str, tuple[str, ...]]) -> str | None:
    """The class that a label or timbre belongs to. An exact name goes before a pattern, so that `horn_*` takes nothing from others."""
    exact = [name for name, members in classes.items() if label == name or label in members]
    return next(iter(exact or [name for name, members in classes.items() if any(fnmatchcase(label, member) for member in members)]), None)


def rename(clips: Iterable[Clip], classes: dict[str, tuple[str, ...]]) -> list[Clip]:
    """Clips with their labels merged into classes; a label that is in none keeps its name."""
    merge = {label: class_of(label, classes) or label for clip in clips for label in clip.labels} if (clips := list(clips)) else {}
    return [
        replace(
            clip,
            labels=tuple(dict.fromkeys(merge[label] for label in clip.labels)),
            spans=tuple(replace(span, label=merge[span.label]) for span in clip.spans),
        )
        for clip in clips
    ]


def check_labels(clips: Sequence[Clip], classes: Sequence[str]) -> None:
    """Refuse labels that a classifier does not know, by a SettingsError that names them, and the nearest class."""
    unknown = sorted({label for clip in clips for label in clip.labels} - set(classes))
    if unknown:
        hint = did_you_mean(unknown[0], classes)
        raise SettingsError(f"labels that this classifier does not know: {_some(unknown)}; {hint}it knows {_some(classes, 40)}")


def classes_of(clips: Sequence[Clip], *, fewest: int = 2) -> tuple[str, ...]:
    """Names of the classes, sorted.

    SettingsError for fewer than `fewest`, or one of a single file, of which nothing can be kept for validation.
    """
    counts = Counter(label for clip in clips for label in clip.labels)
    if len(counts) < fewest:
        raise SettingsError(f"{len(counts)} class(es) came ({_some(counts)}); at least {fewest} are wanted to tell apart")
    if alone := sorted(label for label, count in counts.items() if count < 2):
        raise SettingsError(
            f"one file only in {_some(alone)}; two are wanted, one to learn from and one to validate: add some, or leave it out"
        )
    return tuple(sorted(counts))


def choose(clips: Sequence[Clip], per_class: int) -> list[Clip]:
    """At most so many clips of each class, shared fairly by its sources and, within one, taken evenly over its files."""
    chosen: dict[Path, Clip] = {}
    for label in sorted({label for clip in clips for label in clip.labels}):
        by_source: dict[str, list[Clip]] = {}
        for clip in sorted((clip for clip in clips if label in clip.labels), key=lambda clip: str(clip.path)):
            by_source.setdefault(clip.source, []).append(clip)
        share = _fair_shares({source: len(some) for source, some in by_source.items()}, per_class)
        for source, some in by_source.items():
            keep = np.linspace(0, len(some) - 1, share[source]).round().astype(int)
            chosen |= {some[i].path: some[i] for i in keep}
    return list(chosen.values())


def _fair_shares(sizes: dict[str, int], total: int) -> dict[str, int]:
    """As many as there are of each, but no more than `total` together, the small ones whole."""
    shares, left = {}, total
    for place, (source, size) in enumerate(sorted(sizes.items(), key=lambda item: (item[1], item[0]))):
        shares[source] = min(size, -(-left // (len(sizes) - place)))
        left -= shares[source]
    return shares


def split(clips: Sequence[Clip], share: float, *, seed: int = 0) -> tuple[list[Clip], list[Clip]]:
    """Clips to learn from and clips to validate on: of every class at least one of each."""
    rng = np.random.default_rng(seed)
    held_out: set[Path] = set()
    for label in sorted({label for clip in clips for label in clip.labels}):
        paths = [clip.path for clip in clips if label in clip.labels]
        free = [path for path in paths if path not in held_out]
        missing = max(1, round(share * len(paths))) - (len(paths) - len(free))
        if missing > 0 and len(free) > 1:
            held_out |= {free[i] for i in rng.permutation(len(free))[: min(missing, len(free) - 1)]}
    return [clip for clip in clips if clip.path not in held_out], [clip for clip in clips if clip.path in held_out]


def _some(names: Iterable[str], most: int = 8) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@contextlib.contextmanager
def augmenter(settings: AugmentSettings, sample_rate: int, *, seed: int) -> Iterator[Augment]:
    """A function from a window (n_samples,) to another of the same length.

    MissingDependencyError without audiomentations or pyroomacoustics. The global random states, which audiomentations draws from, are put
    back at the end. Where nothing is asked for, windows stay as they are.
    """
    if not any(value > 0 for name, value in settings.model_dump().items() if name.endswith("_share")):
        yield lambda window: window
        return
    try:
        import audiomentations as am
    except ImportError:
        raise MissingDependencyError(
            "augmentation needs audiomentations; install it with `pip install tonetransfer[classify]`, or set every share of augment to 0"
        ) from None
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # audiomentations draws from the global one
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about clipping and peaks, which floats do not mind
        steps = [
            am.PitchShift(-2.0, 2.0, p=settings.pitch_share),
            am.TimeStretch(0.85, 1.18, p=settings.stretch_share),
            am.SevenBandParametricEQ(-10.0, 10.0, p=settings.equalise_share),
            am.OneOf([am.LowPassFilter(2500, 10000), am.HighShelfFilter(), am.HighPassFilter(60, 300)], p=settings.filter_share),
            am.TanhDistortion(0.01, 0.4, p=settings.distort_share),
        ]
        if settings.room_share > 0:
            make_rooms(Path(folder), settings.rooms, sample_rate, seed=seed)
            steps.append(am.ApplyImpulseResponse(folder, p=settings.room_share, leave_length_unchanged=True))
        steps.append(am.AddColorNoise(15.0, 50.0, p=settings.noise_share))
        chain = am.Compose(steps)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        rng = np.random.default_rng(seed)

        def augment(window: np.ndarray) -> np.ndarray:
            changed = np.nan_to_num(chain(window.astype(np.float32), sample_rate=sample_rate))[: len(window)]
            changed = np.pad(changed, (0, len(window) - len(changed)))
            return leave_gap(changed, rng) if rng.random() < settings.gap_share else changed

        try:
            yield augment
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def leave_gap(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Silence at the beginning or at the end, up to two thirds of the window."""
    length = int(rng.uniform(0.1, 0.67) * len(window))
    changed = window.copy()
    part = slice(0, length) if rng.random() < 0.5 else slice(len(window) - length, None)
    changed[part] = 0.0
    return changed


def make_rooms(folder: Path, count: int, sample_rate: int, *, seed: int) -> None:
    """Write impulse responses of shoebox rooms, by the image source method (pyroomacoustics)."""
    try:
        import pyroomacoustics
    except ImportError:
        raise MissingDependencyError(
            "rooms need pyroomacoustics; install it with `pip install tonetransfer[classify]`, or set augment.room_share to 0"
        ) from None
    rng = np.random.default_rng(seed)
    for number in range(count):
        size = rng.uniform(SMALLEST_M, LARGEST_M)
        material = pyroomacoustics.Material(rng.uniform(0.08, 0.6))
        room = pyroomacoustics.ShoeBox(size, fs=sample_rate, materials=material, max_order=10)
        places = rng.uniform(0.15, 0.85, (2, 3)) * size
        room.add_source(places[0])
        room.add_microphone(places[1])
        room.compute_rir()
        response = np.asarray(room.rir[0][0], np.float32)
        response = response[max(int(np.abs(response).argmax()) - 40, 0) :]  # without the time the sound takes to arrive
        save_audio(folder / f"{number}.wav", response / max(float(np.abs(response).max()), 1e-9), sample_rate)
