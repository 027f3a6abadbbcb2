"""Settings: the shape of the networks, and how settings are read from YAML files and from ``--set``. Whatever does not parse, or parses to
something else, is told in one line with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from ..errors import SettingsError, did_you_mean

Kind = TypeVar("Kind", bound=BaseModel)
LARGEST_BYTES = 1_000_000  # of a file of settings; what is longer is something else
DEEPEST = 20  # brackets or indents within each other
TOO_DEEP = f"more than {DEEPEST} levels within each other"
MOST_ALIASES = 100  # and none within what another stands for: a few lines would stand for gigabytes
SHOWN = 60  # characters of a value in a message


class Section(BaseModel):
    """Settings: fixed, and nothing else beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what YAML takes for true or false (yes, on, no) where a number is wanted, which would be 1 or 0."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in (int, float, int | None, float | None):
            raise ValueError("a number is wanted")
        return value


class ModelSettings(Section):
    """Shape of the networks; stored with the weights."""

    sample_rate: int = Field(48000, ge=1000, le=1_000_000)  # full band: older systems stop at 16 kHz and sound dull
    hop_length: int = Field(480, gt=0, le=100_000)  # 100 frames a second, exact on CREPE's 16 kHz grid
    z_dim: int = Field(64, gt=0)
    encoder_width: int = Field(256, gt=0, multiple_of=8)
    decoder_width: int = Field(384, gt=0, multiple_of=2)
    n_harmonics: int = Field(100, gt=0)
    n_bands: int = Field(96, gt=1)  # half ERB, half linear: the roll-off of a recording lies in the top octave


class Mapping(dict[str, Any]):
    """A mapping that was read from YAML.

    `places` says of keys, as tuples from the outermost on, in which line of the file, or in which option, they stand.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[tuple[str, ...], str] = {}


def read_mapping(path: str | Path, overrides: Sequence[str] = (), *, see: str = "configs/") -> Mapping:
    """Read a YAML file (UTF-8, or UTF-16 with its mark) that holds a mapping, and `section.key=value` overrides.

    Values are not checked yet. `see` is where there are examples. SettingsError: the file cannot be read, is no YAML, or holds no mapping;
    an override is not understood.
    """
    path, found = Path(path), Mapping()
    try:
        content = path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_BYTES else None
        problem = "it is larger than a megabyte" if path.is_file() else "it is no file" if path.exists() else "it does not exist"
    except OSError as error:
        content, problem = None, error.strerror or str(error)
    if content is None:
        raise SettingsError(f"{path}: cannot be read ({problem}); the path of a YAML file of settings is wanted, see {see} for examples")
    read, places = parse_yaml(content, where=str(path), see=see)
    if read is not None and not isinstance(read, dict):
        raise SettingsError(f"{path}: holds a {type(read).__name__}; a mapping of settings was wanted, see {see} for examples")
    found.update(read or {})
    found.places.update(places)
    for override in overrides:
        _apply(found, override)
    return found


class _Loader(yaml.SafeLoader):
    """Remembers the line of the value that it reads, and reads no further where brackets stand within too many others.

    PyYAML reads up to 1,024 characters ahead for a key, and goes through all open brackets at each of them before it tells of the first.
    """

    line = ""

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        super().fetch_flow_collection_start(TokenClass)
        if self.flow_level > DEEPEST:
            raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=self.get_mark())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self.line = f", line {node.start_mark.line + 1}"
        return super().construct_object(node, deep)


def parse_yaml(content: bytes | str, *, where: str, see: str = "configs/") -> tuple[Any, dict[tuple[str, ...], str]]:
    """Parse YAML, and find the lines of its keys; raises SettingsError with the place of what is no YAML."""
    loader = None
    try:
        _check_size(content)
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        places = dict(_places(node))
        return loader.construct_document(node), places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{where}{line}: is not YAML ({error.problem or error.context}); see {see} for examples") from None
    except (yaml.reader.ReaderError, UnicodeError) as error:
        what = " ".join(str(getattr(error, "reason", error)).split())
        raise SettingsError(f"{where}{_line_of(content, error)}: is not text of UTF-8 ({what}); save it in this encoding") from None
    except (ValueError, OverflowError, RecursionError, AttributeError, yaml.YAMLError) as error:  # 0x_, a 31st of February, !!int x
        line = getattr(loader, "line", "")
        raise SettingsError(f"{where}{line}: holds a value that is none ({_short(error)}); put text in quotes") from None


def validate_as(kind: type[Kind], content: dict[str, Any], *, where: str = "settings") -> Kind:
    """A plain mapping to settings of a kind; raises SettingsError with every problem at once, and the nearest name for unknown ones."""
    places = content.places if isinstance(content, Mapping) else {}
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        raise SettingsError(f"{where}: " + "; ".join(_explain(problem, kind, places) for problem in error.errors())) from None


def _apply(content: Mapping, override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {override}: wanted section.key=value, for example train.steps=2000")
    *sections, key = name.split(".")
    inner: dict[str, Any] = content
    for section in sections:
        inner = inner.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"--set {override}: {section} is a single value, not a section")
    inner[key], _ = parse_yaml(value, where=f"--set {override}")
    content.places[(*sections, key)] = "--set"


def _check_size(content: bytes | str) -> None:
    """Refuse what is nested so deeply, or stands for so much, that no settings can be meant."""
    depth = aliases = 0
    anchored: list[int] = []  # depths at which something begins that others stand for
    for event in yaml.parse(content, Loader=_Loader):
        problem = None
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            anchored += [depth] if event.anchor else []
            problem = TOO_DEEP if depth > DEEPEST else None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored = [one for one in anchored if one < depth]
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            problem = f"*{event.anchor} stands within what another name stands for" if anchored else None
            problem = f"more than {MOST_ALIASES} aliases" if aliases > MOST_ALIASES else problem
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]  # pure Python's


def _places(node: yaml.Node, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys and their lines; raises yaml.MarkedYAMLError for one that stands twice, of which YAML takes the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
            place = (*above, str(key.value))
            yield place, f"line {key.start_mark.line + 1}"
            yield from _places(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*above, str(number)), f"line {value.start_mark.line + 1}"
            yield from _places(value, (*above, str(number)))


def _line_of(content: bytes | str, error: Exception) -> str:
    """Name the line in which bytes are no text."""
    at = getattr(error, "position", getattr(error, "start", None))
    if not isinstance(at, int):
        return ""
    return f", line {content[:at].count(chr(10)) + 1 if isinstance(content, str) else content[:at].count(bytes((10,))) + 1}"


def _explain(problem: Any, kind: type[BaseModel], places: dict[tuple[str, ...], str]) -> str:
    loc = tuple(str(part) for part in problem["loc"])
    name = ".".join(loc)
    line = next((places[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in places), "")
    name = f"{line}: {name}" if line.startswith("line") else name
    if problem["type"] != "extra_forbidden":
        quotes = ", put it in quotes if text is meant" if problem["type"] == "string_type" else ""
        return f"{name}: {problem['msg'].removeprefix('Value error, ').lower()} (came: {_short(problem['input'])}{quotes})"
    known = _names(kind, list(loc[:-1]))
    hint = did_you_mean(loc[-1], known).rstrip()
    return f"{name}: no such setting" + (f", {hint}" if hint else f"; there are {', '.join(known)}")


def _names(kind: Any, place: list[str]) -> list[str]:
    """Names of the settings of a section."""
    for part in place:
        fields = getattr(kind, "model_fields", {})
        kind = fields[part].annotation if part in fields else (getattr(kind, "__args__", None) or [None])[-1]
    return list(getattr(kind, "model_fields", {}))


def _short(value: Any) -> str:
    text = " ".join(str(value).split()) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
