"""Place and header of a weights file, found and read without torch: a misspelt instrument is answered before anything heavy is loaded."""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import WeightsError

FORMAT = 2
BUNDLED = "bundled.safetensors"
FOLDER_VARIABLE = "TONETRANSFER_INSTRUMENTS"
LONGEST_HEADER = 20_000_000  # bytes


def find_weights(name: str | Path | None = None) -> Path:
    """Find a weights file: a path, a name in ``$TONETRANSFER_INSTRUMENTS``, or (None or ``bundled``) the bundled one.

    WeightsError if there is none.
    """
    if name is None or str(name) == Path(BUNDLED).stem:
        bundled = Path(str(resources.files("tonetransfer.instruments") / BUNDLED))
        if not bundled.is_file():
            raise WeightsError("the bundled weights are missing from this installation; install the package again, or give a weights file")
        return bundled
    path = Path(name)
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; a weights file ending in .safetensors was wanted")
    if path.exists():
        return path
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / path.name).exists():
        return Path(folder) / path.name
    raise WeightsError(f"{path}: there is no such weights file" + (f" (nor in {folder})" if folder else "") + "; give the path of one")


@dataclass(frozen=True)
class Header:
    """Header of a safetensors file: its text, and the shape of each tensor."""

    path: Path
    text: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    @property
    def n_numbers(self) -> int:
        """Of all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def json(self, key: str, kind: type) -> Any:
        """Parse a text as JSON of a kind (dict or list); WeightsError: it is missing, no JSON, or of another kind."""
        wanted = "an object" if kind is dict else "a list"
        try:
            value = json.loads(self.text[key])
        except KeyError:
            raise WeightsError(f"{self.path}: its description lacks {key}; the file is damaged or of another version") from None
        except (ValueError, RecursionError) as error:
            problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
            raise WeightsError(f"{self.path}: its {key} are no JSON ({problem}); {wanted} was wanted, the file is damaged") from None
        if not isinstance(value, kind):
            raise WeightsError(f"{self.path}: its {key} hold a {type(value).__name__}; {wanted} was wanted, the file is damaged")
        return value


def read_header(path: Path, *, what: str = "weights file") -> Header:
    """Read the header of a safetensors file; WeightsError: it is none, or its header does not fit its size."""
    try:
        if not path.is_file():
            raise ValueError("no file")
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(size - 8, LONGEST_HEADER):
                raise ValueError("its header is cut off or none")
            entries = json.loads(file.read(length))
        return _checked(path, entries, size - 8 - length)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        problem = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())[:120]
        raise WeightsError(f"{path}: is not a readable {what} ({problem}); it may be truncated or of another kind") from None


def _checked(path: Path, entries: dict[str, Any], n_bytes: int) -> Header:
    text = entries.pop("__metadata__", {}) or {}
    if not all(isinstance(value, str) for value in text.values()):
        raise ValueError("its description is no text")
    shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
    if not all(isinstance(n, int) and n >= 0 for shape in shapes.values() for n in shape):
        raise ValueError("sizes that are none")
    if max((entry["data_offsets"][1] for entry in entries.values()), default=0) != n_bytes:
        raise ValueError("its tensors do not fit its size")
    return Header(path, text, shapes)
