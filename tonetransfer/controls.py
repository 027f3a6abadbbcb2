"""What the player does: f0, periodicity and loudness on the model's grid."""

from __future__ import annotations

import os
import secrets
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .audio import check_audio
from .errors import ControlsError, SettingsError
from .f0 import track_f0
from .frames import FrameGrid
from .loudness import LOUDNESS_VERSION, loudness_db
from .trackers import DEFAULT_TRACKER

FORMAT = "tonetransfer-controls"
FORMAT_VERSION = 1
FIELDS = ("f0_hz", "periodicity", "loudness_db")


@dataclass(frozen=True)
class Controls:
    """A performance without its timbre.

    Tensors are never edited in place; every method returns new controls. NumPy arrays are accepted and converted.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames)], > 0, finite
        Fundamental frequency; held or interpolated where nothing is played.
    periodicity : Tensor [shape=(..., n_frames)], in [0, 1]
        How much to believe f0.
    loudness_db : Tensor [shape=(..., n_frames)], dB re full scale
        A-weighted, as :func:`tonetransfer.loudness.loudness_db` defines it.
    grid : FrameGrid
        The clock of the frames.

    Raises
    ------
    ControlsError
        Shapes differ, there is no frame, or a value is outside its range.
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
        if not isinstance(self.grid, FrameGrid):
            raise ControlsError(f"grid is a {type(self.grid).__name__}; a FrameGrid is wanted: FrameGrid(sample_rate, hop_length)")
        if float(self.f0_hz.min()) <= 0:
            raise ControlsError(f"f0_hz falls to {float(self.f0_hz.min()):g}; it must be positive everywhere: hold the last f0 through silence")
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

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write to an .npz file that NumPy can open and edit.

        It holds `f0_hz`, `periodicity`, `loudness_db`, and as scalars `sample_rate`, `hop_length`, `format`,
        `format_version` and `loudness_version`.

        Raises
        ------
        ControlsError
            The file exists and `overwrite` is False, or it cannot be written.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise ControlsError(f"{path} exists; a new file is wanted: choose another name, or allow it to be replaced")
        part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part")
        arrays: dict[str, Any] = {name: getattr(self, name).detach().cpu().numpy() for name in FIELDS}
        try:
            with open(part, "wb") as file:
                np.savez_compressed(
                    file,
                    **arrays,
                    sample_rate=self.grid.sample_rate,
                    hop_length=self.grid.hop_length,
                    format=FORMAT,
                    format_version=FORMAT_VERSION,
                    loudness_version=LOUDNESS_VERSION,
                )
            os.replace(part, path)
        except OSError as error:
            raise ControlsError(f"{path} cannot be written ({error.strerror}); choose another place") from error
        finally:
            part.unlink(missing_ok=True)

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
        try:
            with np.load(path, allow_pickle=False) as archive:
                stored = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
            raise ControlsError(f"{path} cannot be read as controls; an .npz made by analyze --save is wanted: make it again") from error
        if str(stored.get("format")) != FORMAT:
            raise ControlsError(f"{path} is an .npz, but holds no controls; one made by analyze --save is wanted")
        versions = {"format_version": FORMAT_VERSION, "loudness_version": LOUDNESS_VERSION}
        for name, wanted in versions.items():
            if name not in stored or stored[name].item() != wanted:
                raise ControlsError(f"{path} has {name} {stored.get(name)}, this program {wanted}: analyze the recording again")
        if missing := [name for name in (*FIELDS, "sample_rate", "hop_length") if name not in stored]:
            raise ControlsError(f"{path} lacks {', '.join(missing)}; keep all entries when editing")
        try:
            grid = FrameGrid(int(stored["sample_rate"].item()), int(stored["hop_length"].item()))
            return cls(*(stored[name] for name in FIELDS), grid=grid)
        except (ControlsError, SettingsError, ValueError, TypeError) as error:
            raise ControlsError(f"{path}: {error}") from error


def extract(audio: Any, grid: FrameGrid, *, tracker: str = DEFAULT_TRACKER) -> Controls:
    """What is played in a recording.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        At ``grid.sample_rate``.
    grid : FrameGrid
    tracker : str
        A name in :data:`tonetransfer.trackers.TRACKERS`.

    Returns
    -------
    Controls
        With ``grid.n_frames(n_samples)`` frames.

    Raises
    ------
    AudioError, InstrumentError
        The audio is not audio; there is no such tracker.
    """
    samples = check_audio(audio, grid.sample_rate)
    f0_hz, periodicity = track_f0(samples, grid.sample_rate, grid, tracker=tracker)
    with torch.no_grad():
        return Controls(f0_hz, periodicity, loudness_db(samples, grid), grid)


def _as_values(name: str, values: Any) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(values).to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ControlsError(f"{name} is a {type(values).__name__}; a Tensor or array of numbers is wanted") from error
    if not bool(torch.isfinite(tensor).all()):
        raise ControlsError(f"{name} has values that are not finite; numbers are wanted in every frame: interpolate or hold them")
    return tensor
