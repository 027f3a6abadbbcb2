"""Prepared recordings: the format in which training material is kept, and the class that reads it.

A prepared dataset is one Zarr (version 3) hierarchy::

    OUT/zarr.json                      the index: settings, sources, recordings with their split, what was skipped; written last
    OUT/recordings/KEY/audio           int16, times the group's `scale`; chunks of 2 s in shards of 60 s
    OUT/recordings/KEY/f0_hz, periodicity, loudness_db      float32, a value for each frame of the grid

Why Zarr: an excerpt is a slice of an array, read without what lies around it, from a folder or through fsspec from object storage
(``s3://``, ``gs://``, ``https://``, ``memory://``) by the same code; it is a published specification with several implementations, so
that other programs read it too; it pins neither NumPy nor torch. Archives of whole samples (webdataset, litdata) stream in sequence, but
training wants one second from anywhere; Arrow tables (HF datasets) hold audio as blobs that are decoded whole.

A group is named after the content of its file, the settings and the versions of the features (:func:`recording_key`), is written elsewhere
and moved into its place whole. The index is replaced whole, after everything that it names. So a reader never meets a half-written file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..atomic import temporary_name
from ..audio.frames import FrameGrid
from ..audio.loudness import LOUDNESS_VERSION
from ..controls.controls import FIELDS, Controls
from ..errors import SettingsError
from ..pitch.tracking import F0_VERSION

FORMAT, FORMAT_VERSION = "tonetransfer-dataset", 1
FEATURE_VERSIONS = {"f0": F0_VERSION, "loudness": LOUDNESS_VERSION}
INDEX = "zarr.json"
GROUPS = "recordings"
CHUNK_S, SHARD_S = 2, 60  # what is decoded at once; what is one file or object: an hour is 60 of them, not 1800
CONTROLS_CHUNK_S = 60
FULL_SCALE = 32767.0
KEPT_CONTROLS = 64  # recordings whose controls stay in memory
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class PreparedRecording:
    """A recording, or the part of one that belongs to a split."""

    name: str  # path of its file in the folder it came from
    n_frames: int
    split: str  # "train" or "validation"
    key: str  # name of its group
    first_frame: int = 0  # of the part in the group's arrays


class Prepared:
    """A prepared dataset, read piece by piece; nothing but the index is loaded on opening.

    It can be pickled, and so be used in the workers of a data loader, which open it again. `folder` was made by ``tonetransfer prepare``
    and may be a URL that fsspec knows, such as ``s3://bucket/sax``. SettingsError: no dataset is there, or it was made for another grid or
    by other versions of the features.
    """

    def __init__(self, folder: str | Path, grid: FrameGrid) -> None:
        self.folder, self.grid = str(folder), grid
        self.manifest: dict[str, Any] = read_index(self.folder)
        _check_versions(self.folder, self.manifest, grid)
        self.recordings = [PreparedRecording(**entry) for entry in self.manifest["recordings"]]
        self._array = lru_cache(maxsize=4 * KEPT_CONTROLS)(self._open_array)
        self._tracks = lru_cache(maxsize=KEPT_CONTROLS)(self._read_tracks)

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepared, (self.folder, self.grid)

    @property
    def sample_rate(self) -> int:
        return self.grid.sample_rate

    @property
    def minutes(self) -> float:
        """Of all recordings together."""
        return sum(recording.n_frames for recording in self.recordings) / self.grid.frame_rate / 60.0

    def split(self, name: str) -> list[PreparedRecording]:
        """The recordings of a split, "train" or "validation" (SettingsError for another name); there may be none for validation."""
        if name not in SPLITS:
            raise SettingsError(f"there is no split {name!r}; choose one of {', '.join(SPLITS)}")
        return [recording for recording in self.recordings if recording.split == name]

    def audio(self, recording: PreparedRecording, first_sample: int, n_samples: int) -> torch.Tensor:
        """A stretch (n_samples,) of a recording, from `first_sample` on, which may be negative; zeros outside of it."""
        length = self.grid.n_samples(recording.n_frames)
        begin, end = max(first_sample, 0), min(first_sample + n_samples, length)
        if begin >= end:
            return torch.zeros(n_samples)
        array, offset = self._array(recording.key, "audio"), self.grid.n_samples(recording.first_frame)
        sound = torch.from_numpy(np.asarray(array[offset + begin : offset + end], dtype=np.float32)) * float(array.attrs["scale"])
        return torch.nn.functional.pad(sound, (begin - first_sample, first_sample + n_samples - end))

    def controls(self, recording: PreparedRecording) -> Controls:
        """Controls of a recording, tensors (n_frames,); do not write into them."""
        span = slice(recording.first_frame, recording.first_frame + recording.n_frames)
        f0_hz, periodicity, loudness_db = (torch.from_numpy(track[span]) for track in self._tracks(recording.key))
        return Controls(f0_hz, periodicity, loudness_db, self.grid)

    def _read_tracks(self, key: str) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(self._array(key, name)[:], dtype=np.float32) for name in FIELDS)

    def _open_array(self, key: str, name: str) -> Any:
        import zarr

        try:
            return zarr.open_array(self.folder, path=f"{GROUPS}/{key}/{name}", mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(f"{self.folder}: {GROUPS}/{key}/{name} is named in the index but missing; run prepare again") from error


def recording_key(sha256: str, settings: dict[str, Any]) -> str:
    """Name of the group for a file's content: other settings or other versions of the features, another name."""
    content = json.dumps([FORMAT_VERSION, FEATURE_VERSIONS, sha256, settings], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


class RecordingWriter:
    """Write one recording's group, a stretch at a time; it appears in its place whole, when :meth:`finish` is called.

    `n_samples`, of whole frames, will be written; int16 is scaled to the audio's peak, so that soft recordings keep 16 bits.
    """

    def __init__(self, folder: Path, key: str, grid: FrameGrid, *, n_samples: int, peak: float) -> None:
        import zarr

        self.place = folder / GROUPS / key
        self.part = temporary_name(self.place)
        self.grid, self.scale, self._written = grid, max(peak, 1e-6) / FULL_SCALE, 0
        self._digest = hashlib.sha256(f"{self.scale:.9g}".encode())
        group = zarr.create_group(self.part, zarr_format=3)
        self._audio = _new_array(group, "audio", n_samples, "int16", CHUNK_S * grid.sample_rate, SHARD_S // CHUNK_S)
        self._audio.attrs["scale"] = self.scale
        n_frames, chunk = grid.n_frames(n_samples), round(CONTROLS_CHUNK_S * grid.frame_rate)
        self._tracks = {name: _new_array(group, name, n_frames, "float32", chunk, None) for name in FIELDS}
        self._group = group

    def write(self, audio: torch.Tensor, controls: Controls) -> None:
        """Append audio (n_samples,) of whole frames, and its controls; a multiple of 60 s, but for the last."""
        first, n_frames = self._written, controls.n_frames
        begin = self.grid.n_samples(first)
        samples = np.clip(np.round(audio.numpy() / self.scale), -FULL_SCALE, FULL_SCALE).astype(np.int16)
        self._audio[begin : begin + len(samples)] = samples
        for name, track in self._tracks.items():
            track[first : first + n_frames] = getattr(controls, name).numpy()
        self._digest.update(samples.tobytes())
        self._written += n_frames

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Move the group into its place, with facts about it; they come back with the hash of its audio among them."""
        facts = facts | {"audio_sha256": self._digest.hexdigest(), "n_frames": self._written}
        self._group.attrs.update(facts)
        try:
            os.replace(self.part, self.place)
        except OSError:
            if not self.place.is_dir():  # else another process was quicker: what it wrote is the same
                raise
            self.abandon()
        return facts

    def abandon(self) -> None:
        """Remove what was begun."""
        shutil.rmtree(self.part, ignore_errors=True)


def write_index(folder: Path, manifest: dict[str, Any], recordings: Iterable[PreparedRecording]) -> None:
    """Make the dataset known, or renew it, in one step."""
    import zarr

    part = temporary_name(folder / "index")
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "feature_versions": FEATURE_VERSIONS, **manifest}
    content["recordings"] = [asdict(recording) for recording in recordings]
    try:
        zarr.create_group(part, zarr_format=3, attributes=content)
        os.replace(part / INDEX, folder / INDEX)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def recording_facts(folder: Path, key: str) -> dict[str, Any] | None:
    """Facts that :meth:`RecordingWriter.finish` wrote of a group; None if it is not."""
    try:
        return dict(json.loads((folder / GROUPS / key / INDEX).read_text(encoding="utf-8"))["attributes"])
    except (OSError, ValueError, KeyError):
        return None


def stored_track(folder: Path, key: str, name: str) -> np.ndarray:
    """One of the controls of a group, (n_frames,), before there is an index."""
    import zarr

    return np.asarray(zarr.open_array(folder, path=f"{GROUPS}/{key}/{name}", mode="r")[:])


def _new_array(group: Any, name: str, length: int, kind: str, chunk: int, per_shard: int | None) -> Any:
    from zarr.codecs import BloscCodec

    compressor = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle" if kind == "int16" else "shuffle")
    shards = (chunk * min(per_shard, -(-length // chunk)),) if per_shard else None
    return group.create_array(name, shape=(length,), dtype=kind, chunks=(chunk,), shards=shards, compressors=compressor, fill_value=0)


def read_index(folder: str) -> dict[str, Any]:
    """Index of a prepared dataset; SettingsError: there is none."""
    import zarr

    try:
        found = dict(zarr.open_group(folder, mode="r").attrs)
    except FileNotFoundError:  # Zarr's own error for this is a ValueError as well
        raise SettingsError(f"{folder}: {_what_is_there(folder)}") from None
    except (ImportError, ValueError, OSError) as error:  # of a URL: its protocol is unknown, its package missing, its host away
        raise SettingsError(f"{folder}: cannot be opened ({error}); a folder, or a URL that fsspec knows, is wanted") from error
    if found.get("format") != FORMAT:
        raise SettingsError(f"{folder}: is a Zarr group, but not of recordings; a folder made by `tonetransfer prepare` is wanted")
    return found


def _what_is_there(folder: str) -> str:
    path, make = Path(folder), "make a dataset with `tonetransfer prepare FOLDER OUT`"
    if "://" in folder or not path.exists():
        return f"there is no prepared dataset here; {make}, or check the name"
    if not path.is_dir():
        return f"is a file; the folder of a prepared dataset is wanted: {make}"
    if (path / GROUPS).is_dir():
        return "was begun and not finished; give the same `tonetransfer prepare` again, it goes on where it was"
    return f"holds no prepared dataset (no {INDEX} among its {sum(1 for _ in path.iterdir())} entries); {make}"


def _check_versions(folder: str, manifest: dict[str, Any], grid: FrameGrid) -> None:
    if manifest.get("format_version") != FORMAT_VERSION or manifest.get("feature_versions") != FEATURE_VERSIONS:
        made = {"format": manifest.get("format_version"), **manifest.get("feature_versions", {})}
        wanted = {"format": FORMAT_VERSION, **FEATURE_VERSIONS}
        raise SettingsError(f"{folder}: was prepared with versions {made}, this program has {wanted}; run prepare again")
    settings = manifest["settings"]
    if (settings["sample_rate"], settings["hop_length"]) != (grid.sample_rate, grid.hop_length):
        raise SettingsError(
            f"{folder}: was prepared for {settings['sample_rate']} Hz and a hop of {settings['hop_length']}, "
            f"the model has {grid.sample_rate} and {grid.hop_length}; prepare the recordings again for it"
        )
