"""Configuration of a corpus: its timbres, how far each reaches, and which performances it gets.

A configuration (``configs/corpus.yaml``) is read and checked here; :mod:`tonetransfer.data.render_corpus` renders it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..audio.files import SOUND_ENDINGS
from ..errors import InstrumentError, SettingsError, check_number
from ..models.settings import Section, read_mapping, validate_as
from .composition import Performance, compose

SPLITS = {"train": 1, "test": 2, "parallel": 3, "reference": 4}  # keeps their seeds apart


class Credits(Section):
    """Authors of recordings, and their licence."""

    source: str
    licence: str
    credit: str
    url: str = ""


class Timbre(Section):
    """One timbre: a preset of a soundfont, a folder of notes, a folder of phrases, or the recordings of other timbres together."""

    family: str
    range: tuple[int, int]  # lowest and highest MIDI number
    source: str
    program: int | None = None
    bank: int = 0
    folder: str | None = None
    phrases: str | None = None
    files: str = "*"
    players: tuple[str, ...] = ()
    named: bool = True
    slope: float | None = None  # dB per octave and dB; None: its family's
    stereo: bool = False  # the right channel is a recording of its own: a second timbre


class Parallel(Section):
    """The instruments, notes and fonts of the test set of parallel performances."""

    instruments: tuple[str, ...]
    range: tuple[int, int]
    performances: int = 6
    duration_s: float = 12.0
    reference_duration_s: float = 10.0
    soundfonts: dict[str, str]
    sources: dict[str, str]


class CorpusConfig(Section):
    """Contents of ``configs/corpus.yaml``."""

    soundfont: str
    duration_s: float = 15.0
    window_semitones: int = 15
    window_step: int = 5
    first_window: int = 23
    last_window: int = 93
    performances_per_window: dict[str, int]
    slopes: dict[str, float]
    sources: dict[str, Credits]
    timbres: dict[str, Timbre]
    parallel: Parallel

    def slope(self, timbre: Timbre) -> float:
        """Increase of a timbre's brightness with its loudness [dB per octave and dB]."""
        return self.slopes[timbre.family] if timbre.slope is None else timbre.slope

    def source_of_font(self, file: str) -> Credits:
        """Credits of a soundfont of the parallel set; a font that the configuration does not know states nothing."""
        for name, known in self.parallel.soundfonts.items():
            if Path(file).name == known and name in self.parallel.sources:
                return self.sources[self.parallel.sources[name]]
        return Credits(source=Path(file).name, licence="not stated", credit="not stated")


@dataclass(frozen=True)
class Score:
    """Everything needed to compose a performance again."""

    id: str
    seed: int
    lowest_midi: int
    highest_midi: int
    duration_s: float

    def compose(self) -> Performance:
        """The performance."""
        return compose(self.lowest_midi, self.highest_midi, seed=self.seed, id=self.id, duration_s=self.duration_s)


@dataclass(frozen=True)
class RecordedPhrase:
    """A recorded phrase, which takes the place of a score."""

    id: str
    file: Path


def phrases(folder: Path, files: str) -> list[RecordedPhrase]:
    """The recorded phrases of a folder; InstrumentError if there are none."""
    found = sorted(path for path in folder.glob(files) if path.suffix.lower() in SOUND_ENDINGS)
    if not found:
        raise InstrumentError(f"{folder} holds no sound files that match {files}; put recorded phrases into it, one a file")
    return [RecordedPhrase(f"phrase-{path.stem}", path) for path in found]


def taught_by_all(config: CorpusConfig, rendered: Collection[str]) -> list[tuple[str, Timbre]]:
    """The timbres that several players teach and whose players are all among the rendered ones."""
    return [(name, timbre) for name, timbre in config.timbres.items() if timbre.players and set(timbre.players) <= set(rendered)]


def load_config(path: Path) -> CorpusConfig:
    """Read and check a corpus configuration; SettingsError names all problems at once."""
    return _checked(validate_as(CorpusConfig, read_mapping(path), where=str(path)), path)


def write_config(config: CorpusConfig, folder: Path) -> Path:
    """Write a configuration into a folder, which is made; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "corpus.yaml"
    written.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    return written


def _checked(config: CorpusConfig, path: Path) -> CorpusConfig:
    """The configuration, if its parts fit each other."""
    problems = []
    for name, timbre in config.timbres.items():
        if sum((timbre.program is not None, timbre.folder is not None, timbre.phrases is not None, bool(timbre.players))) != 1:
            problems.append(f"{name} needs exactly one of program, folder, phrases and players")
        for player in timbre.players:
            if player not in config.timbres or config.timbres[player].players:
                problems.append(f"{name} names the player {player}, which is no timbre with recordings of its own")
        if timbre.family not in config.slopes:
            problems.append(f"{name} is of family {timbre.family}, which has no slope")
        if timbre.source not in config.sources:
            problems.append(f"{name} names the source {timbre.source}, which is not described")
        if timbre.range[0] > timbre.range[1]:
            problems.append(f"{name} has the range {timbre.range[0]} to {timbre.range[1]}; the lowest note comes first")
    for kind, count in config.performances_per_window.items():
        if not 1 <= count <= 100:  # the seed of a performance has two digits for it
            problems.append(f"performances_per_window.{kind} is {count}; 1 to 100 are wanted")
    problems += [
        f"performances_per_window lacks {kind}" for kind in ("named", "variants", "extras") if kind not in config.performances_per_window
    ]
    for name in config.parallel.instruments:
        if name not in config.timbres or config.timbres[name].program is None:
            problems.append(f"parallel.instruments names {name}, which is no timbre with a program")
    problems += [
        f"parallel.sources names {name}, which is not described" for name in config.parallel.sources.values() if name not in config.sources
    ]
    if problems:
        raise SettingsError(f"{path}: {'; '.join(problems)}")
    return config


def voices(config: CorpusConfig) -> Iterator[tuple[str, Timbre, int]]:
    """Name, timbre and channel of everything to render: a stereo font's channels are two recordings of one instrument."""
    for name, timbre in config.timbres.items():
        if not timbre.players:
            yield name, timbre, 0
        if timbre.stereo:
            yield f"{name}@R", timbre, 1


def chosen(parts: list[tuple[str, Timbre, int]], only: Iterable[str] | None, samples: Path | None) -> list[tuple[str, Timbre, int]]:
    """Those of the voices that are wanted and can be had: without a folder of samples none that are made of recorded notes.

    InstrumentError: `only` holds an unknown name, or one that needs `samples`.
    """
    wanted = None if only is None else set(only)
    known = {name for name, _, _ in parts}
    if wanted is not None and wanted - known:
        raise InstrumentError(f"no timbre {', '.join(sorted(wanted - known))} in the configuration; it has {', '.join(sorted(known))}")
    recorded = [name for name, timbre, _ in parts if timbre.program is None]
    if wanted and samples is None and (lacking := sorted(wanted.intersection(recorded))):
        raise InstrumentError(f"made of recorded notes: {', '.join(lacking)}; name the folder that holds them (samples)")
    return [part for part in parts if (wanted is None or part[0] in wanted) and (samples is not None or part[0] not in recorded)]


def entry(config: CorpusConfig, name: str, timbre: Timbre) -> dict[str, Any]:
    """Entry of a timbre in the manifest."""
    base, _, variant = name.partition("@")
    return {
        "name": name,
        "family": timbre.family,
        "named": timbre.named and not variant,
        "recorded": timbre.program is None,
        "variant_of": base if variant else None,
        "lowest_midi": timbre.range[0],
        "highest_midi": timbre.range[1],
        **config.sources[timbre.source].model_dump(),
    }


def score_seed(split: str, seed: int, which: int) -> int:
    """Seed of a performance; no two (split, seed, which) share one."""
    check_number("seed", seed, 0, 999_999, "a whole number from 0 to 999999", whole=True)
    return (SPLITS[split] * 10**6 + seed) * 100 + which


def scores(config: CorpusConfig, timbre: Timbre, channel: int, *, split: str, seed: int) -> list[Score]:
    """The performances that a timbre gets: every window in its range, and its lowest and highest notes."""
    lowest, highest = timbre.range
    span = config.window_semitones
    grid = range(config.first_window, config.last_window + 1, config.window_step)
    starts = [start for start in grid if start >= lowest - 1 and start + span <= highest + 1]
    if highest - lowest <= span:
        starts, span = [lowest], highest - lowest
    else:
        starts += [edge for edge in (lowest, highest - span) if not any(abs(edge - start) <= 1 for start in starts)]
    kind = "variants" if channel else "named" if timbre.named else "extras"
    return [
        Score(
            f"{split}{seed}-{start:03d}-{start + span:03d}-{which}", score_seed(split, seed, which), start, start + span, config.duration_s
        )
        for start in sorted(set(starts))
        for which in range(config.performances_per_window[kind])
    ]
