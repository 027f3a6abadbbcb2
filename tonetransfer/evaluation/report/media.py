"""Sound and contours of a page, as text that stands in it: sound as MP3, contours as SVG paths."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...analysis.notes import Note
from ...audio.files import encode_mp3
from ...audio.units import PRINTED, hz_to_midi, note_name
from ...controls.controls import Controls

DEEPEST_DB = 60.0  # softer loudness is not drawn
NOTE_SEMITONES = 0.8  # height of a note's bar


@dataclass(frozen=True)
class ContourLine:
    """One line of a contour: class of its colour, what it is called, SVG path data."""

    colour: str
    name: str
    path: str


@dataclass(frozen=True)
class NoteBar:
    """A note behind a contour, in a box of 1000 x 100; `outside`: the instrument cannot play it."""

    x: float
    y: float
    width: float
    height: float
    name: str
    outside: bool


@dataclass(frozen=True)
class Contours:
    """Lines over each other, names and heights (0 at the bottom, 1 at the top) at the side, and bars of notes behind them."""

    title: str
    lines: Sequence[ContourLine]
    marks: Sequence[tuple[str, float]]
    notes: Sequence[NoteBar] = ()


@dataclass(frozen=True)
class Drawn:
    """Controls whose contours are drawn, with their note frames [shape=(n_frames,)], a colour and a name."""

    colour: str
    name: str
    controls: Controls
    notes: torch.Tensor


def contours(
    drawn: Sequence[Drawn], seconds: float, bars: Sequence[Note] = (), reach: tuple[float, float] | None = None
) -> Iterator[Contours]:
    """f0 in note frames, and loudness, over each other, the last on top, over so many seconds.

    `bars` are notes of the last, `reach` the MIDI numbers between which it can play.
    """
    n_frames = [round(seconds * one.controls.grid.frame_rate) for one in drawn]

    def lines(values: Sequence[np.ndarray], lowest: float, highest: float) -> list[ContourLine]:
        paths = (contour_path(own, lowest, highest, n) for own, n in zip(values, n_frames, strict=True))
        return [ContourLine(one.colour, one.name, path) for one, path in zip(drawn, paths, strict=True)]

    pitch = [
        torch.where(one.notes, hz_to_midi(one.controls.f0_hz.double()), torch.nan)[:n].numpy()
        for one, n in zip(drawn, n_frames, strict=True)
    ]
    known = np.concatenate([values[np.isfinite(values)] for values in pitch])
    if len(known):
        lowest, highest = np.floor(np.quantile(known, 0.005)) - 1.0, np.ceil(np.quantile(known, 0.995)) + 1.0
        named = _round_marks(lowest, highest, (1, 2, 3, 4, 6, 12, 24), lambda midi: note_name(midi, PRINTED))
        shown = [_bar(note, pitch[-1], (lowest, highest), n_frames[-1], reach) for note in bars if note.start < n_frames[-1]]
        yield Contours("Pitch", lines(pitch, lowest, highest), named, shown)
    loudness = [one.controls.loudness_db[:n].double().numpy() for one, n in zip(drawn, n_frames, strict=True)]
    top = max(float(one.max()) for one in loudness)
    top = max(5.0 * np.ceil(top / 5.0), -115.0)
    bottom = max(top - DEEPEST_DB, -120.0)
    named = _round_marks(bottom, top, (5, 10, 20), lambda level: f"{level:.0f} dB".replace("-", "−"))
    yield Contours("Loudness", lines(loudness, bottom, top), named)


def _bar(note: Note, midi: np.ndarray, ends: tuple[float, float], n_frames: int, reach: tuple[float, float] | None) -> NoteBar:
    level = float(np.nanmedian(midi[note.frames])) if np.isfinite(midi[note.frames]).any() else ends[0]
    nearest, semitone = round(level), 100.0 / (ends[1] - ends[0])
    x, width = 1000.0 * note.start / n_frames, 1000.0 * (note.stop - note.start) / n_frames
    outside = reach is not None and not reach[0] - 0.5 <= nearest <= reach[1] + 0.5
    y = (ends[1] - nearest - NOTE_SEMITONES / 2.0) * semitone
    return NoteBar(x, y, width, NOTE_SEMITONES * semitone, note_name(nearest, PRINTED), outside)


def _round_marks(lowest: float, highest: float, steps: tuple[int, ...], name: Callable[[float], str]) -> list[tuple[str, float]]:
    """Names and heights of the round values in a range: as many as can be read."""
    step = next((step for step in steps if (highest - lowest) / step <= 5), steps[-1])
    values = np.arange(np.ceil(lowest / step) * step, highest + 0.01, step)
    return [(name(float(value)), float((value - lowest) / (highest - lowest))) for value in values]


def audio_uri(audio: torch.Tensor, sample_rate: int) -> str:
    """Sound (n_samples,) as a data URI."""
    return data_uri("audio/mpeg", encode_mp3(audio, sample_rate))


def contour_path(values: np.ndarray, lowest: float, highest: float, n_frames: int) -> str:
    """A line as SVG path data in a box of 1000 x 100, broken where values (n,) are NaN; `n_frames` fill its width."""
    x = np.arange(len(values)) / max(n_frames - 1, 1) * 1000.0
    y = 100.0 * (1.0 - (np.clip(values, lowest, highest) - lowest) / max(highest - lowest, 1e-9))
    known = np.isfinite(values)
    keep = known & _bends(y, known)
    parts, pen_down = [], False
    for k in np.flatnonzero(keep | ~known):
        if known[k]:
            parts.append(f"{'L' if pen_down else 'M'}{x[k]:.1f} {y[k]:.1f}")
        pen_down = bool(known[k])
    return "".join(parts)


def _bends(y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Every other frame, and the ends of lines: at 100 frames a second, no picture shows more."""
    keep = np.arange(len(y)) % 2 == 0
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False))
    keep[np.minimum(edges - (np.arange(len(edges)) % 2), len(y) - 1)] = True
    return keep


def data_uri(kind: str, data: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
