"""Clips in, windows with targets out: what every classifier is fitted on; and its predictions, as a whole and step by step of time."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.files import Samples, load_audio, windows_at
from ..errors import AudioError, SettingsError, ToneTransferWarning
from ..threads import Progress, counted
from .clips import Clip, Span, augmenter, choose, classes_of, split
from .settings import ClassifierSettings

QUIET_DB = -70.0  # RMS of a window: nothing sounds in it
AT_ONCE = 64  # windows that are held
BELOW_DB = 35.0  # the loudest window of its recording: a pause or a tail
LARGEST_INT = 32767.0
THRESHOLD = 0.5
UNCHANGED: Any = contextlib.nullcontext(lambda window: window)


@dataclass(frozen=True)
class Windows:
    """Excerpts of one length."""

    audio: np.ndarray  # (n_windows, n_samples), int16, peak at full scale: level says nothing of who plays
    targets: np.ndarray  # (n_windows, n_classes), float32, 0 or 1
    clips: np.ndarray  # (n_windows,), which clip each comes from
    skipped: tuple[str, ...] = ()  # files that could not be used, with the reason


def to_int16(window: np.ndarray) -> np.ndarray:
    """A window with its peak at full scale; silence stays silence."""
    return (window * (LARGEST_INT / max(float(np.abs(window).max()), 1e-5))).astype(np.int16)


def level_db(windows: np.ndarray) -> np.ndarray:
    """RMS [dB re full scale] of windows (..., n_samples)."""
    return 10.0 * np.log10(np.maximum(np.square(windows, dtype=np.float32).mean(-1), 1e-12))


def sounding(levels_db: np.ndarray) -> np.ndarray:
    """In which of a recording's windows something sounds."""
    return (levels_db > QUIET_DB) & (levels_db > levels_db.max(initial=-np.inf) - BELOW_DB)


class StepWindows:
    """Windows around the middle of each step of a recording (n_samples,) at the settings' sample rate, cut when they are asked for.

    A step is no longer than the recording, and the middle of the last one is that of what is left. `levels_db` (n_steps,) is of the step
    itself: a second of silence between two notes is silent.
    """

    def __init__(self, audio: Samples, settings: ClassifierSettings, step_seconds: float | None = None) -> None:
        self.audio = audio
        self.length = round(settings.window_seconds * settings.sample_rate)
        self.step = min(round((step_seconds or settings.step_seconds) * settings.sample_rate), max(len(audio), 1))
        self.first = np.arange(-(-max(len(audio), 1) // self.step)) * self.step
        levels = [level_db(windows_at(audio, some, self.step)) for some in np.array_split(self.first, -(-len(self.first) // AT_ONCE))]
        self.levels_db = np.concatenate(levels)

    def __len__(self) -> int:
        return len(self.first)

    def take(self, steps: np.ndarray) -> np.ndarray:
        """Windows (n, n_samples) of some steps, in rising order, with their peaks at full scale; zeros beyond the ends."""
        lasts = np.minimum(self.first[steps] + self.step, len(self.audio)) - self.first[steps]
        windows = windows_at(self.audio, self.first[steps] + (lasts - self.length) // 2, self.length)
        return windows / np.maximum(np.abs(windows).max(-1, keepdims=True), 1e-5)


def make_windows(
    clips: Sequence[Clip],
    classes: Sequence[str],
    settings: ClassifierSettings,
    *,
    augmented: bool,
    seed: int = 0,
    progress: Progress | None = None,
) -> Windows:
    """Windows of clips, where something sounds, with augmented copies.

    Files that cannot be read are named in a warning, counted and left out. SettingsError: nothing is left, or nothing of some class; a clip
    has several labels where one is wanted.
    """
    _check_task(clips, settings)
    rng = np.random.default_rng(seed)
    length = round(settings.window_seconds * settings.sample_rate)
    audio, targets, origin, skipped = [], [], [], []
    with augmenter(settings.augment, settings.sample_rate, seed=seed) if augmented else UNCHANGED as augment:
        for number, clip in enumerate(counted(clips, progress)):
            try:
                sound = load_audio(clip.path, settings.sample_rate)[0].numpy()
                starts = _starts(sound, clip, settings, length, rng)
            except AudioError as error:
                skipped.append(str(error))
                starts = []
            for start in starts:
                window = _slice(sound, start, length)
                for copy in range(settings.data.copies if augmented else 1):
                    changed = augment(window) if copy or rng.random() < 0.8 else window
                    audio.append(to_int16(changed))
                    targets.append(np.isin(classes, list(_active(clip, start, settings))).astype(np.float32))
                    origin.append(number)
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(clips)} files left out: {'; '.join(skipped[:3])}", ToneTransferWarning, stacklevel=2)
    if not audio:
        raise SettingsError(f"none of the {len(clips)} files could be used" + (f": {skipped[0]}" if skipped else ""))
    windows = Windows(np.stack(audio), np.stack(targets), np.array(origin), tuple(skipped))
    if missing := [name for name, count in zip(classes, windows.targets.sum(0), strict=True) if not count]:
        raise SettingsError(f"nothing usable is left of {', '.join(missing[:8])}; see the files left out, or take the class out")
    return mix(windows, settings.data.mixture_share, rng) if augmented else windows


def prepare(
    clips: Sequence[Clip], settings: ClassifierSettings, *, progress: Progress | None = None
) -> tuple[Windows, Windows, tuple[str, ...]]:
    """Windows to learn from, windows to validate on, and the names of the classes: two or more, of two files each, else SettingsError."""
    classes = classes_of(clips, fewest=1 if settings.task == "multi" else 2)
    learned, held_out = split(choose(clips, settings.data.files_per_class), settings.data.validation_share)
    windows = make_windows(learned, classes, settings, augmented=True, seed=settings.fit.seed, progress=progress)
    return windows, make_windows(held_out, classes, settings, augmented=False), classes


def mix(windows: Windows, share: float, rng: np.random.Generator) -> Windows:
    """A share of the windows with another one added, 0 to 10 dB softer; both labels then hold."""
    count = round(share * len(windows.audio))
    if not count:
        return windows
    audio, targets = windows.audio.copy(), windows.targets.copy()
    for place in rng.permutation(len(audio))[:count]:
        other = int(rng.integers(len(audio)))
        softer = 10.0 ** (-rng.uniform(0.0, 10.0) / 20.0)
        audio[place] = to_int16(windows.audio[place].astype(np.float32) + softer * windows.audio[other].astype(np.float32))
        targets[place] = np.maximum(windows.targets[place], windows.targets[other])
    return Windows(audio, targets, windows.clips, windows.skipped)


def _check_task(clips: Sequence[Clip], settings: ClassifierSettings) -> None:
    if settings.task == "single" and (several := [clip for clip in clips if len(clip.labels) > 1 and not clip.spans]):
        raise SettingsError(
            f"{len(several)} files have several labels, for example {several[0].path.name} ({' and '.join(several[0].labels)}); "
            "set task: multi, or give each file one"
        )


def _starts(sound: np.ndarray, clip: Clip, settings: ClassifierSettings, length: int, rng: np.random.Generator) -> list[int]:
    """First samples of windows, drawn over the recording where something sounds; of clips with spans also where nothing does."""
    room = max(len(sound) - length, 0)
    count = min(settings.data.windows_per_file, 1 + 4 * room // length)
    edges = np.linspace(0, room + 1, count + 1)
    candidates = [int(rng.uniform(low, high)) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    levels = np.array([float(level_db(_slice(sound, start, length))) for start in candidates])
    if not clip.spans and not (levels > QUIET_DB).any():
        raise AudioError(f"{clip.path} is silent; a recording with sound in it is wanted")
    heard = sounding(levels)
    labelled = settings.task == "multi" or not clip.spans
    return [
        start
        for start, loud in zip(candidates, heard, strict=True)
        if (loud or clip.spans) and (labelled or len(_active(clip, start, settings)) == 1)
    ]


def _slice(sound: np.ndarray, start: int, length: int) -> np.ndarray:
    piece = sound[start : start + length]
    return np.pad(piece, (0, length - len(piece)))


def _active(clip: Clip, start: int, settings: ClassifierSettings) -> set[str]:
    """Labels that hold during at least half of the step in the middle of a window."""
    if not clip.spans:
        return set(clip.labels)
    step_s = min(settings.step_seconds, settings.window_seconds)
    first_s = start / settings.sample_rate + (settings.window_seconds - step_s) / 2.0
    time_s: dict[str, float] = {}
    for span in clip.spans:
        time_s[span.label] = time_s.get(span.label, 0.0) + max(min(span.end_s, first_s + step_s) - max(span.start_s, first_s), 0.0)
    return {label for label, seconds in time_s.items() if seconds >= step_s / 2.0}


@dataclass(frozen=True)
class Prediction:
    """Probabilities of classes."""

    classes: tuple[str, ...]
    probabilities: np.ndarray  # (n_classes,), of the recording; they sum to 1, unless several classes can hold at once (`multi`)
    steps: np.ndarray  # (n_steps, n_classes), of each step of time; 0 where nothing sounds
    heard: np.ndarray  # (n_steps,), bool, where something sounds
    step_seconds: float
    multi: bool = False

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    def labels(self, threshold: float = THRESHOLD) -> list[str]:
        """All classes above a threshold, the most probable first; of a single-label classifier the best one."""
        if not self.multi:
            return [self.label]
        return [self.classes[i] for i in np.argsort(-self.probabilities, kind="stable") if self.probabilities[i] >= threshold]

    def ranked(self) -> dict[str, float]:
        """Probability of each class, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return {self.classes[i]: round(float(self.probabilities[i]), 4) for i in order}

    def per_step(self) -> list[dict[str, Any]]:
        """One entry a step: ``start_s``, ``end_s``, ``instrument`` (None in silence) and its ``probability``."""
        found: list[dict[str, Any]] = []
        for number, (row, loud) in enumerate(zip(self.steps, self.heard, strict=True)):
            best = int(row.argmax())
            place = {"start_s": round(number * self.step_seconds, 3), "end_s": round((number + 1) * self.step_seconds, 3)}
            name = self.classes[best] if loud and (not self.multi or row[best] >= THRESHOLD) else None
            found.append(place | {"instrument": name, "probability": round(float(row[best]), 4) if loud else 0.0})
        return found

    def activity(self, threshold: float = THRESHOLD) -> list[Span]:
        """Stretches of time in which each class sounds: where it is the best, or with several at once, where it is above the threshold."""
        if self.multi:
            active = self.steps >= threshold
        else:
            active = (np.arange(len(self.classes)) == self.steps.argmax(1)[:, None]) & self.heard[:, None]
        spans = []
        for name, column in zip(self.classes, active.T, strict=True):
            edges = np.flatnonzero(np.diff(column, prepend=False, append=False))
            pairs = edges.reshape(-1, 2) * self.step_seconds
            spans += [Span(name, round(float(start), 3), round(float(end), 3)) for start, end in pairs]
        return sorted(spans, key=lambda span: (span.start_s, span.label))


def pool(steps: np.ndarray, levels_db: np.ndarray, *, multi: bool) -> np.ndarray:
    """Probabilities of a recording from those of its steps (n_steps, n_classes); louder steps say more of it.

    One class: the geometric mean, in which one doubtful step cannot outvote the others. Several at once: the mean of the highest quarter,
    for a class that sounds in a part of the recording does sound in it.
    """
    if multi:
        most = np.sort(steps, axis=0)[::-1]
        return most[: max(len(steps) // 4, 1)].mean(0)
    weight = 10.0 ** (np.clip(levels_db - levels_db.max(), -30.0, 0.0) / 20.0)
    mean = (np.log(np.maximum(steps, 1e-4)) * weight[:, None]).sum(0) / weight.sum()
    likely = np.exp(mean - mean.max())
    return (likely / likely.sum()).astype(np.float32)
