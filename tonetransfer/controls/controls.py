"""Controls of a performance: f0, periodicity and loudness on the model's grid; and their files (.npz), from anywhere: sizes are looked at
first, and only what is wanted is read.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..atomic import check_new, replacing
from ..audio.files import LongAudio, check_audio, check_sample_rate
from ..audio.frames import FrameGrid
from ..audio.hum import without_hum
from ..audio.loudness import LOUDNESS_VERSION, loudness_db
from ..audio.units import CHROMATIC, find_scale, hz_to_midi, midi_to_hz, nearest_in_scale
from ..errors import AudioError, ControlsError, SettingsError, check_number, check_type
from ..pitch.estimators import DEFAULT_TRACKER
from ..pitch.tracking import VOICED_OFF, VOICED_ON, hysteresis, place_f0, track_f0

FORMAT = "tonetransfer-controls"
FORMAT_VERSION = 1
FAINTEST_NOTE_DB = -90.0
SLOW_S = 0.17  # the median over one period of a vibrato is its centre, and it does not blur the step to the next note
FASTEST_SEMITONES = 1.0  # further from the centre is another note, not vibrato
HOLD_SEMITONES = 0.65  # how far a note may drift before it is another one
FIELDS = ("f0_hz", "periodicity", "loudness_db")
SCALARS = ("sample_rate", "hop_length", "format", "format_version", "loudness_version")
MOST_FRAMES = 20_000_000  # an entry of a file holds no more; a day has 8,640,000
LONGEST_S = 48 * 3600.0  # a file of controls is no longer


@dataclass(frozen=True)
class Controls:
    """A performance without its timbre.

    Tensors are never edited in place; every method returns new controls. NumPy arrays are accepted and copied.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames)], > 0, finite
        Fundamental frequency; held or interpolated where nothing is played.
    periodicity : Tensor [shape=(..., n_frames)], in [0, 1]
        How much to believe f0.
    loudness_db : Tensor [shape=(..., n_frames)], dB re full scale
        A-weighted, as :func:`tonetransfer.audio.loudness.loudness_db` defines it.
    grid : FrameGrid
        The clock of the frames.

    Raises
    ------
    ControlsError
        Shapes differ, there is no frame, or a value is outside its range.

    References
    ----------
    .. [1] IEC 61672-1:2013, "Electroacoustics - Sound level meters": the A-weighting of the loudness.

    Examples
    --------
    >>> held = tt.Controls(torch.full((100,), 440.0), torch.ones(100), torch.full((100,), -20.0))
    >>> held.n_frames, held.n_samples
    (100, 48000)
    >>> float(held.transpose(12.0).f0_hz[0])
    880.0
    """

    f0_hz: torch.Tensor
    periodicity: torch.Tensor
    loudness_db: torch.Tensor
    grid: FrameGrid = FrameGrid()

    def __post_init__(self) -> None:
        for name in FIELDS:
            object.__setattr__(self, name, _as_values(name, getattr(self, name)))
        shapes = {name: tuple(getattr(self, name).shape) for name in FIELDS}
        if len(set(shapes.values())) > 1:
            raise ControlsError(f"controls have the shapes {shapes}; all three must be equal: cut or resample them alike")
        if not self.f0_hz.dim() or not self.f0_hz.shape[-1]:
            raise ControlsError(f"controls have the shape {shapes['f0_hz']}; (..., n_frames) with at least one frame is wanted")
        check_type("grid", self.grid, FrameGrid, "FrameGrid(sample_rate, hop_length)", error=ControlsError)
        if float(self.f0_hz.min()) <= 0:
            raise ControlsError(f"f0_hz falls to {float(self.f0_hz.min()):g}; positive values are wanted: hold the last f0 through silence")
        lowest, highest = float(self.periodicity.min()), float(self.periodicity.max())
        if lowest < 0 or highest > 1:
            raise ControlsError(f"periodicity runs from {lowest:g} to {highest:g}; it must stay in [0, 1]: clip it")

    @property
    def n_frames(self) -> int:
        return self.f0_hz.shape[-1]

    @property
    def n_samples(self) -> int:
        """Samples that the frames span at the grid's rate."""
        return self.grid.n_samples(self.n_frames)

    def transpose(self, semitones: float) -> Controls:
        """The same performance `semitones` higher."""
        return replace(self, f0_hz=self.f0_hz * 2.0 ** (float(semitones) / 12.0))

    def shift_loudness(self, db: float) -> Controls:
        """The same performance `db` louder."""
        return replace(self, loudness_db=self.loudness_db + float(db))

    def slice(self, start_s: float, end_s: float) -> Controls:
        """The frames from `start_s` to before `end_s` [s]; what lies outside the performance is left out.

        Raises
        ------
        ControlsError
            No frame lies between.
        """
        first = max(0, round(start_s * self.grid.frame_rate))
        last = min(self.n_frames, round(end_s * self.grid.frame_rate))
        if first >= last:
            duration_s = self.n_frames / self.grid.frame_rate
            raise ControlsError(f"no frame lies from {start_s:g} to {end_s:g} s; ask for a part of the {duration_s:.2f} s there are")
        return replace(self, **{name: getattr(self, name)[..., first:last] for name in FIELDS})

    def resample(self, grid: FrameGrid) -> Controls:
        """The same performance on another clock; f0 in log-frequency and without gliding through leaps."""
        if grid == self.grid:
            return self
        n_frames = max(1, round(self.n_frames / self.grid.frame_rate * grid.frame_rate))
        times = self.grid.times(self.n_frames)
        return Controls(
            _by_row(lambda row: place_f0(row, self.grid.frame_rate, grid, n_frames), self.f0_hz),
            _by_row(lambda row: grid.place(times, row, n_frames), self.periodicity),
            _by_row(lambda row: grid.place(times, row, n_frames), self.loudness_db),
            grid,
        )

    def autotune(self, strength: float, scale: str = CHROMATIC) -> Controls:
        """Pull the pitch towards the notes of a scale in equal temperament (A4 = 440 Hz).

        Notes are moved by `strength` of what they are out of tune; what is fast in them, vibrato and inflection, is kept
        by 1 - strength^2, so that a vibrato is nearly whole at 0.5 and gone at 1. If the whole performance is tuned higher
        or lower than 440 Hz, every note is taken to the semitone it means, not to the one it happens to be nearest to.

        Parameters
        ----------
        strength : float, in [0, 1]
        scale : str
            As :func:`tonetransfer.audio.units.find_scale` reads it: "chromatic" (every semitone), "C major", "A blues" ... A note
            that the scale lacks goes to the nearest that it has, of two equally near to the lower.

        Raises
        ------
        ControlsError
            `strength` is outside.
        SettingsError
            There is no such scale.
        """
        degrees = find_scale(scale)
        check_number(
            "autotune strength", strength, 0.0, 1.0, "a number from 0 (off) to 1 (every note exactly in tune)", error=ControlsError
        )
        if strength == 0.0:
            return self
        played = self.note_frames().reshape(-1, self.n_frames).numpy()
        midi = hz_to_midi(self.f0_hz.detach().double().cpu()).reshape(-1, self.n_frames).numpy()
        tuned = np.stack([_tuned(row, mask, strength, self.grid.frame_rate, degrees) for row, mask in zip(midi, played, strict=True)])
        return replace(self, f0_hz=torch.from_numpy(midi_to_hz(tuned)).reshape(self.f0_hz.shape))

    def note_frames(self) -> torch.Tensor:
        """Find the frames of notes: periodic by hysteresis, and not more than 40 dB below the loud parts.

        A note starts where periodicity reaches 0.75 within 40 dB of the loudness that 5 % of the frames exceed, and lasts
        while periodicity stays over 0.55 within 50 dB of it. Gain and transposition do not change the result; below
        -90 dB nothing is a note.

        Returns
        -------
        Tensor [shape=(..., n_frames)], bool
        """
        rows = []
        for periodicity, loudness in zip(*(_rows(getattr(self, name)) for name in ("periodicity", "loudness_db")), strict=True):
            below = float(np.percentile(loudness, 95.0)) - loudness
            start = (periodicity >= VOICED_ON) & (below <= 40.0) & (loudness > FAINTEST_NOTE_DB)
            last = (periodicity >= VOICED_OFF) & (below <= 50.0) & (loudness > FAINTEST_NOTE_DB)
            rows.append(hysteresis(start, last))
        return torch.from_numpy(np.stack(rows)).reshape(self.f0_hz.shape)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write to an .npz file that NumPy can open and edit.

        It holds `f0_hz`, `periodicity`, `loudness_db`, and as scalars `sample_rate`, `hop_length`, `format`,
        `format_version` and `loudness_version`.

        Raises
        ------
        ControlsError
            The file exists and `overwrite` is False, or it cannot be written.
        """
        path = check_new(path, ControlsError, overwrite=overwrite)
        arrays: dict[str, Any] = {name: getattr(self, name).detach().cpu().numpy() for name in FIELDS}
        with replacing(path, error=ControlsError) as part, open(part, "wb") as file:
            np.savez_compressed(
                file,
                **arrays,
                sample_rate=self.grid.sample_rate,
                hop_length=self.grid.hop_length,
                format=FORMAT,
                format_version=FORMAT_VERSION,
                loudness_version=LOUDNESS_VERSION,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Controls:
        """Read what :meth:`save` wrote, edited or not.

        Raises
        ------
        ControlsError
            The file is missing, damaged, foreign, of another version, or holds illegal values.
        """
        path = Path(path)
        if not path.is_file():
            raise ControlsError(f"{path} is not a file; saved controls (.npz) are wanted: make them with analyze --save")
        stored: dict[str, Any] = read_npz(path, {**dict.fromkeys(FIELDS, MOST_FRAMES), **dict.fromkeys(SCALARS, 1)})
        if str(stored.get("format")) != FORMAT:
            raise ControlsError(f"{path} is an .npz, but holds no controls; one made by analyze --save is wanted")
        versions = {"format_version": FORMAT_VERSION, "loudness_version": LOUDNESS_VERSION}
        for name, wanted in versions.items():
            if name not in stored or stored[name].item() != wanted:
                raise ControlsError(f"{path} has {name} {stored.get(name)}, this program {wanted}: analyze the recording again")
        if missing := [name for name in (*FIELDS, "sample_rate", "hop_length") if name not in stored]:
            raise ControlsError(f"{path} lacks {', '.join(missing)}; keep all entries when editing")
        try:
            grid = FrameGrid(check_sample_rate(stored["sample_rate"].item()), int(stored["hop_length"].item()))
            controls = cls(stored["f0_hz"], stored["periodicity"], stored["loudness_db"], grid)
        except (AudioError, ControlsError, SettingsError, ValueError, TypeError, OverflowError) as error:
            raise ControlsError(f"{path}: {error}") from error
        if (seconds := controls.n_frames / grid.frame_rate) > LONGEST_S:
            raise ControlsError(f"{path} spans {seconds / 3600.0:.0f} hours by its hop_length; at most {LONGEST_S / 3600.0:g} are taken")
        return controls


def extract(audio: Any, grid: FrameGrid, *, tracker: str = DEFAULT_TRACKER) -> Controls:
    """Extract the controls of a recording (n_samples,) at ``grid.sample_rate``; mains hum is left out of all three rows.

    `tracker` is a name in :data:`tonetransfer.pitch.estimators.TRACKERS`; InstrumentError if there is none, AudioError of what is not
    audio.
    """
    samples: torch.Tensor | LongAudio = audio if isinstance(audio, LongAudio) else check_audio(audio, grid.sample_rate)
    samples = without_hum(samples, grid.sample_rate)
    level = torch.no_grad()(loudness_db)
    if isinstance(samples, LongAudio):  # one after the other: what either holds is then not held twice
        return Controls(*track_f0(samples, grid.sample_rate, grid, tracker=tracker), level(samples, grid), grid)
    with ThreadPoolExecutor(1) as worker:
        loudness = worker.submit(level, samples, grid)
        return Controls(*track_f0(samples, grid.sample_rate, grid, tracker=tracker), loudness.result(), grid)


def _tuned(midi: np.ndarray, played: np.ndarray, strength: float, frame_rate: float, degrees: tuple[int, ...]) -> np.ndarray:
    """Pitch (n_frames,) [MIDI], pulled towards whole numbers in a scale; see :meth:`Controls.autotune`."""
    width = 2 * round(0.5 * SLOW_S * frame_rate) + 1
    from scipy.ndimage import median_filter

    slow = median_filter(midi, width, mode="nearest")
    slow = np.where(np.abs(midi - slow) > FASTEST_SEMITONES, median_filter(midi, 5, mode="nearest"), slow)
    offset = common_offset(slow[played]) or 0.0
    target = np.empty_like(slow)
    note = np.round(slow[0] - offset)
    for t, value in enumerate(slow - offset):
        if abs(value - note) > HOLD_SEMITONES:
            note = np.round(value)
        target[t] = note
    target = nearest_in_scale(target, degrees)
    return slow + strength * (target - slow) + (1.0 - strength**2) * (midi - slow)


def common_offset(midi: np.ndarray) -> float | None:
    """Common offset of notes (n,) from the semitones of A4 = 440 Hz [semitones], in (-0.5, 0.5]; None if they do not agree."""
    if not len(midi):
        return None
    direction = np.exp(2j * np.pi * midi).mean()
    return float(np.angle(direction) / (2.0 * np.pi)) if abs(direction) > 0.5 else None


def _rows(values: torch.Tensor) -> np.ndarray:
    """(..., n_frames) as (n_rows, n_frames), float64."""
    return values.detach().cpu().double().reshape(-1, values.shape[-1]).numpy()


def _by_row(function: Callable[[np.ndarray], np.ndarray], values: torch.Tensor) -> torch.Tensor:
    changed = np.stack([function(row) for row in _rows(values)])
    return torch.from_numpy(changed).reshape(*values.shape[:-1], -1)


def check_controls(controls: Controls) -> None:
    """Refuse, by a ControlsError, what is no Controls."""
    check_type("controls", controls, Controls, "analyze() gives them", error=ControlsError)


def _as_values(name: str, values: Any) -> torch.Tensor:
    try:
        tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, dtype=np.float32))
        tensor = tensor.to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ControlsError(f"{name} is a {type(values).__name__}; a Tensor or array of numbers is wanted") from error
    if not bool(torch.isfinite(tensor).all()):
        raise ControlsError(f"{name} has values that are not finite; numbers are wanted in every frame: interpolate or hold them")
    return tensor


def read_npz(path: Path, wanted: Mapping[str, int]) -> dict[str, Any]:
    """Entries of an .npz file, and nothing else of it: whatever lies beside them is not read.

    `wanted` names them, and how many numbers each may hold at most; given are those that are there. ControlsError: the file is none, is
    damaged, or an entry holds more.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _entry(archive, name, most) for name, most in wanted.items() if f"{name}.npy" in archive.NameToInfo}
    except Exception as error:  # zipfile, zlib and NumPy raise some twenty kinds at bytes that are none
        problem = " ".join(str(error).split())[:80] or type(error).__name__
        raise ControlsError(
            f"{path} cannot be read as controls ({problem}); an .npz made by analyze --save is wanted: make it again"
        ) from error


def _entry(archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    if math.prod(shape) > most or (most == 1 and math.prod(shape) != 1) or dtype.itemsize > 256 or dtype.hasobject:
        raise ValueError(f"{name} has the shape {shape} of {dtype}; at most {most} numbers of a plain kind are taken")
    with archive.open(f"{name}.npy") as file:
        values = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # to its end, where its check sum is compared
            raise ValueError(f"{name} is longer than it says")
    return values
