"""The work behind the page, without the page: recordings in, sound and figures out, all of it inside one work folder.

Only the public API of ``tonetransfer`` is used. It is imported when it is first needed, so that the page is there before the model is.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import tempfile
import threading
import time
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

try:
    from . import listener as listening
except ImportError:  # run as a script, as a hosted Space does
    import listener as listening  # type: ignore[no-redef]

LONGEST_S = 300.0  # longest recording
LARGEST_BYTES = 50_000_000  # largest upload
MOST_FILES = 20  # most files of a batch
BEGINNING_S = 3.0  # that is played before the whole is ready
SHORT_S = 12.0  # recordings that are played whole at once
COMPARED_S = 12.0  # length of a recording that is played on every instrument
KEPT_S = 1800.0  # files of the work folder
MOST_BYTES = 2_000_000_000  # of the work folder; beyond it the oldest go first
SWEEP_S = 20.0
REMEMBERED_S = 1500.0  # length of all recordings together whose analyses are remembered
MOST_EFFORTS = 1000  # that are remembered
MOST_TARGETS = 50  # of references; likewise
FORMATS = ("wav", "flac")
TRACKERS = ("joint", "swift", "crepe", "pyin", "yin")
NOTES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


class Refusal(Exception):
    """A visitor's wish that cannot be fulfilled; the message says why, in plain words and without a path of this computer.

    Parameters
    ----------
    text : str
    begins_with_name : bool
        Whether the first word is the name of a file, which is written as it is.
    """

    def __init__(self, text: str, *, begins_with_name: bool = False) -> None:
        super().__init__(text)
        self.begins_with_name = begins_with_name

    @property
    def sentence(self) -> str:
        """The message as a sentence."""
        text = str(self)
        return (text if self.begins_with_name else text[:1].upper() + text[1:]).rstrip(".") + "."


@dataclass(frozen=True)
class Settings:
    """Settings of a transfer; the words are those of the command line.

    Parameters
    ----------
    octaves : int or None
        None: 0, or what brings the melody within the instrument's reach.
    semitones : float
        On top of the octaves.
    loudness_db, noise_db : float
    autotune, room : float, in [0, 1]
    scale : str
    dynamics : float, in [0, 2]
    dynamic : str, float or None
        How hard it is played, "ppp" to "fff" or dB re the strongest; None: estimated. Only with `fit`.
    fit : bool
        False: octave, dynamics and the sounds between the notes stay the source's.
    tracker : str
    """

    octaves: int | None = None
    semitones: float = 0.0
    loudness_db: float = 0.0
    dynamic: str | float | None = None
    autotune: float = 0.0
    scale: str = "chromatic"
    dynamics: float = 1.0
    noise_db: float = 0.0
    room: float = 0.0
    fit: bool = True
    tracker: str = "joint"


@dataclass(frozen=True)
class Player:
    """The instrument that plays: a name, or two with the share of the second; or a recording, whose colour alone a named one takes."""

    instrument: str = ""
    reference: str | None = None
    second: str = ""
    share: float = 0.0

    @property
    def name(self) -> str:
        named = f"{spoken(self.instrument)} and {spoken(self.second)}" if self.second else spoken(self.instrument)
        if self.reference:
            file = Path(self.reference).name
            return f"{named} in the colour of {file}" if named else f"the sound of {file}"
        return named

    @property
    def stem(self) -> str:
        """For names of files."""
        reference = Path(self.reference).stem if self.reference else ""
        return "_".join(name for name in (self.instrument, self.second, reference) if name)

    @property
    def shares(self) -> dict[str, float]:
        return {self.instrument: round(1.0 - self.share, 3), self.second: round(self.share, 3)}


@dataclass(frozen=True)
class Source:
    """A recording that was read and analysed."""

    name: str
    path: str
    audio: Any  # Tensor (n_samples,), at the model's rate
    heard: Any  # Controls
    z: Any  # Tensor (z_dim,), or None for silence
    room: Any  # RecordedRoom, or None for silence
    expression: Any  # two tensors (n_frames, ...), or None where nothing tells
    pulses: Any  # Tensor (n_frames,), or None where no note is low
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Performance:
    """A recording played on an instrument."""

    source: Source
    player: Player
    audio: Any  # Tensor (n_samples,)
    arrangement: Any  # Arrangement
    target: Any  # Target
    command: str
    warnings: tuple[str, ...]


def spoken(name: str) -> str:
    """`alto_sax` to `alto sax`."""
    return name.replace("_", " ")


def note_name(midi: float) -> str:
    """`69.2` to `A4`."""
    nearest = round(midi)
    return f"{NOTES[nearest % 12]}{nearest // 12 - 1}"


class Studio:
    """A model and a work folder.

    Parameters
    ----------
    folder : Path or None
        Everything that is uploaded or made lies in it; None: a new one among the temporary files.
    kept_s : float [s]
        Files that are older are removed.
    weights : Path or None
        Of a model; None: the bundled one.
    apart : bool
        Read and track what visitors upload in processes of their own, which may break down.
    """

    def __init__(self, folder: Path | None = None, *, kept_s: float = KEPT_S, weights: Path | None = None, apart: bool = False) -> None:
        self.folder = Path(os.path.realpath(folder or tempfile.mkdtemp(prefix="tonetransfer-")))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kept_s, self.weights = kept_s, weights
        self.listener = listening.Listener(weights) if apart else None
        self._analyses: OrderedDict[tuple[Any, ...], Source] = OrderedDict()
        self._targets: OrderedDict[tuple[Any, ...], tuple[Any, tuple[str, ...]]] = OrderedDict()
        self._efforts: OrderedDict[tuple[Any, ...], Any] = OrderedDict()  # Effort, or None where nothing tells
        self._lock, self._listening = threading.Lock(), threading.Lock()
        self._loading = threading.Lock()
        self._model: Any = None
        self._held = contextlib.ExitStack()
        self._closing = threading.Event()

    def open(self, warm_up: Callable[[], Any]) -> None:
        """Call a function that does what a first visitor would wait for, and keep the work folder clean; both in the background."""

        def warm() -> None:
            with contextlib.suppress(Exception):  # of no consequence: the visitor waits a little longer, and is told what is wrong
                warm_up()

        if self.listener:
            threading.Thread(target=self.listener.warm_up, daemon=True).start()
        threading.Thread(target=warm, daemon=True).start()
        threading.Thread(target=self._sweep_for_ever, daemon=True).start()

    def close(self) -> None:
        """Remove the work folder."""
        self._closing.set()
        if self.listener:
            self.listener.close()
        self._held.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def model(self) -> Any:
        """The model, loaded once."""
        with self._loading:
            if self._model is None:
                import tonetransfer as tt

                self._held.enter_context(tt.one_thread())  # the command line computes so: the same sound to the last bit
                self._model = tt.load_model(self.weights)
            return self._model

    def instruments(self) -> list[Any]:
        """All named instruments."""
        return list(self.model.instruments)

    def place(self, path: str, what: str = "the recording") -> Path:
        """Resolve the place where an upload really lies.

        Raises
        ------
        Refusal
            Outside the work folder, gone, or too large.
        """
        place = Path(os.path.realpath(path))
        if not place.is_relative_to(self.folder) or not place.is_file():
            raise Refusal(f"{what} is not here (any more); upload it again")
        if place.stat().st_size > LARGEST_BYTES:
            text = f"{place.name} is larger than {LARGEST_BYTES // 1_000_000} MB; cut out the part that matters, or save it as FLAC"
            raise Refusal(text, begins_with_name=True)
        return place

    def is_analysed(self, path: str | None, tracker: str) -> bool:
        """Test whether :meth:`analyze` answers at once."""
        with contextlib.suppress(Refusal, OSError), self._lock:
            place = self.place(path or "")
            return (place, place.stat().st_mtime_ns, tracker) in self._analyses
        return False

    def analyze(self, path: str | None, tracker: str = "joint", name: str | None = None) -> Source:
        """Read a recording and find what is played; the last few are remembered.

        Parameters
        ----------
        path : str or None
        tracker : str
        name : str or None
            What the visitor calls it; None: as the file is called here.

        Raises
        ------
        Refusal
            There is none, or it is no sound or too long.
        """
        import tonetransfer as tt

        if not path:
            raise Refusal("there is no recording yet; record or upload one, or take an example")
        if tracker not in TRACKERS:
            raise Refusal(f"there is no tracker {tracker!r}; choose one of {', '.join(TRACKERS)}")
        place = self.place(path)
        key = (place, place.stat().st_mtime_ns, tracker)
        with self._lock:
            if key in self._analyses:
                self._analyses.move_to_end(key)
                return replace(self._analyses[key], name=name or place.name)
        with self.plain_words(place, name):
            (audio, heard), of_file = self._apart(listening.read, place, sample_rate=self.model.sample_rate, tracker=tracker)
            said = self.listen(lambda: tt.warn_about(audio, heard))[1]
            z = None
            with contextlib.suppress(tt.ToneTransferError):  # silence has no timbre
                z = self.model.encode(audio)
            beside = tt.measure_room(audio, heard), tt.estimate_expression(audio, heard, self.model), tt.find_pulses(audio, heard)
        source = Source(name or place.name, str(place), audio, heard, z, *beside, (*of_file, *said))
        with self._lock:
            self._analyses[key] = source
            while sum(len(one.audio) for one in self._analyses.values()) > REMEMBERED_S * self.model.sample_rate:
                self._analyses.popitem(last=False)
        return source

    def _apart(self, work: Callable[..., Any], place: Path, **options: Any) -> tuple[Any, tuple[str, ...]]:
        """Call a function of :mod:`listener` for a recording, in a process of its own if there is one; its result and its warnings."""
        options["longest_s"] = LONGEST_S
        if self.listener is None:
            return self.listen(lambda: work(self.model, str(place), **options))
        try:
            found, said = self.listener.ask(work.__name__, place, **options)
        except listening.Lost:
            raise Refusal("the recording brought down what was to read it; save it as WAV or FLAC, and try again") from None
        return found, tuple(map(self.without_paths, said))

    def classify(self, source: Source) -> tuple[str, list[Any], list[Any]]:
        """Classify the instrument of a source; see :func:`listener.classify`."""
        with self.plain_words(Path(source.path), source.name):
            found: tuple[str, list[Any], list[Any]] = self._apart(listening.classify, self.place(source.path))[0]
            return found

    def target(self, player: Player, tracker: str = "joint") -> tuple[Any, tuple[str, ...]]:
        """The timbre that is to play, and what is to be said of it; those of the last references are remembered."""
        import tonetransfer as tt

        with self.plain_words():
            given: dict[str, Any] = {}
            if player.second:
                given = {"mix": player.shares}
            elif player.instrument:
                given = {"to": player.instrument}
            if player.reference:
                return self._of_reference(self.place(player.reference, "the reference"), tracker, given)
            if not given:
                raise Refusal(
                    "nobody is to play yet; choose an instrument, or give a recording of one (in programs: one of to, like and mix)"
                )
            return self.listen(lambda: tt.find_target(self.model, self.model.sample_rate, tracker=tracker, **given))

    def _of_reference(self, place: Path, tracker: str, named: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
        key = (place, place.stat().st_mtime_ns, tracker, repr(named))
        with self._lock:
            if key in self._targets:
                return self._targets[key]
        found = self._apart(listening.find_target, place, tracker=tracker, named=named)
        with self._lock:
            self._targets[key] = found
            while len(self._targets) > MOST_TARGETS:
                self._targets.popitem(last=False)
        return found

    def perform(
        self,
        path: str | None,
        player: Player,
        settings: Settings,
        edits: Sequence[dict[str, Any]] = (),
        *,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Iterator[Performance | None]:
        """:meth:`perform_source` of a recording that may not have been analysed yet."""
        yield from self.perform_source(self.analyze(path, settings.tracker), player, settings, edits, progress=progress)

    def perform_source(
        self,
        source: Source,
        player: Player,
        settings: Settings,
        edits: Sequence[dict[str, Any]] = (),
        *,
        progress: Callable[[float], None] = lambda share: None,
        begun: Callable[[Any], None] = lambda audio: None,
    ) -> Iterator[Performance | None]:
        """Play a recording; yields None after each piece, so that one can stop in between, and the performance in the end.

        Parameters
        ----------
        source : Source
        player : Player
        settings : Settings
        edits : sequence of dict
        progress : callable
            Told the share that is done.
        begun : callable
            Given the beginning (n_samples,), once it is `BEGINNING_S` long, unless the whole is not much longer.
        """
        import torch

        import tonetransfer as tt

        yield None
        target, said = self.target(player, settings.tracker)
        estimated, likeness = self._with_effort(settings, source, player, target)
        yield None
        with self.plain_words():
            controls = self._corrected(source, edits)
            arrangement = self._arrange(controls, target, estimated, self._heard_beside(settings, source, edits, likeness))
            n_samples = controls.n_samples if edits else len(source.audio)
            pieces, done, rate = [], 0, self.model.sample_rate
            waited_for = n_samples > SHORT_S * rate
            for piece in tt.play(arrangement, self.model, target.z, n_samples=n_samples, noise_db=settings.noise_db, hall=settings.room):
                pieces.append(piece)
                done += len(piece)
                progress(done / n_samples)
                if waited_for and done >= BEGINNING_S * rate:
                    waited_for = False
                    begun(torch.cat(pieces))
                yield None
        command = command_line(source.name, player, estimated if edits else settings, arrangement.transposed, edited=bool(edits))
        yield Performance(source, player, torch.cat(pieces), arrangement, target, command, (*source.warnings, *said))

    def beginning(
        self,
        source: Source,
        player: Player,
        settings: Settings,
        edits: Sequence[dict[str, Any]] = (),
        *,
        seconds: float = COMPARED_S,
        from_first_note: bool = False,
    ) -> Performance:
        """The first seconds of a recording, played."""
        import torch

        import tonetransfer as tt

        target, said = self.target(player, settings.tracker)
        with self.plain_words():
            controls = self._corrected(source, edits)
            notes = controls.note_frames().nonzero() if from_first_note else ()
            first_s = float(notes[0]) / controls.grid.frame_rate if len(notes) else 0.0
            controls = controls.slice(first_s, min(first_s + seconds, controls.n_frames / controls.grid.frame_rate))
            estimated, likeness = self._with_effort(settings, source, player, target)
            first = round(first_s * controls.grid.frame_rate)
            beside = self._heard_beside(settings, source, edits, likeness, first, controls.n_frames)
            arrangement = self._arrange(controls, target, estimated, beside)
            audio = torch.cat(list(tt.play(arrangement, self.model, target.z, noise_db=settings.noise_db, hall=settings.room)))
        return Performance(source, player, audio, arrangement, target, "", said)

    def clip(self, source: Source) -> str:
        """A file of the first seconds of a recording."""
        import tonetransfer as tt

        path = str(self.new_folder() / "source.mp3")
        audio = source.audio[: round(COMPARED_S * self.model.sample_rate)]
        self.listen(lambda: tt.save_audio(path, audio, self.model.sample_rate))
        return path

    def save_sound(self, audio: Any, stem: str) -> str:
        """A FLAC file of audio (n_samples,)."""
        import tonetransfer as tt

        path = str(self.new_folder() / f"{stem}.flac")
        self.listen(lambda: tt.save_audio(path, audio, self.model.sample_rate))
        return path

    def _corrected(self, source: Source, edits: Sequence[dict[str, Any]]) -> Any:
        import tonetransfer as tt

        return tt.apply_edits(source.heard, [tt.Edit.from_dict(edit) for edit in edits]) if edits else source.heard

    def _with_effort(self, settings: Settings, source: Source, player: Player, target: Any) -> tuple[Settings, float]:
        """Settings that say how hard is played, and how like the source a player is, as far as one hears it; remembered for each."""
        import tonetransfer as tt

        if not settings.fit:
            return settings, 0.0
        key = (source.path, settings.tracker, player)
        with self._lock:
            known, effort = key in self._efforts, self._efforts.get(key)
        if not known:
            effort = tt.estimate_effort(source.audio, source.heard, self.model, target)
            with self._lock:
                self._efforts[key] = effort
                while len(self._efforts) > MOST_EFFORTS:
                    self._efforts.popitem(last=False)
        if effort is None:
            return settings, 0.0
        return settings if settings.dynamic is not None else replace(settings, dynamic=effort.dynamic_db), effort.likeness

    def _heard_beside(
        self, settings: Settings, source: Source, edits: Sequence[Any], likeness: float, first: int = 0, n_frames: int | None = None
    ) -> dict[str, Any]:
        """Room, expression and pulses of some frames of a recording, as `arrange` takes them; none of an edited one."""
        if edits:
            return {}
        (changes, movement), pulses = source.expression or (None, None), source.pulses
        span = slice(first, first + (source.heard.n_frames if n_frames is None else n_frames))
        return {
            "room": source.room,
            "effort_change_db": None if changes is None or settings.dynamic is not None else changes[span],
            "movement_db": None if movement is None else movement[span],
            "likeness": likeness,
            "pulses": None if pulses is None else pulses[span] - first / source.heard.grid.frame_rate,
        }

    def _arrange(self, controls: Any, target: Any, settings: Settings, beside: dict[str, Any]) -> Any:
        import tonetransfer as tt

        options = {
            "loudness_db": settings.loudness_db,
            "dynamic": settings.dynamic,
            "fit": settings.fit,
            "autotune": settings.autotune,
            "scale": settings.scale,
            "dynamics": settings.dynamics,
            **beside,
        }
        if settings.octaves is None and not settings.semitones:
            return tt.arrange(controls, target, **options)
        octaves = tt.arrange(controls, target, fit=settings.fit).transposed / 12.0 if settings.octaves is None else settings.octaves
        return tt.arrange(controls, target, transpose=12.0 * octaves + settings.semitones, **options)

    def new_folder(self) -> Path:
        """A folder inside the work folder that nobody else writes into."""
        folder = self.folder / "made" / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder

    def save(self, performance: Performance, endings: Sequence[str] = FORMATS) -> dict[str, str]:
        """Files of a performance, by ending; a sound above full scale is turned down."""
        import tonetransfer as tt

        folder = self.new_folder()
        stem, files = result_name(performance.source.name, performance.player), {}
        for ending in endings:
            path = files[ending] = str(folder / f"{stem}.{ending}")
            self.listen(lambda path=path: tt.save_audio(path, performance.audio, self.model.sample_rate))
        return files

    def save_controls(self, source: Source, edits: Sequence[dict[str, Any]] = ()) -> str:
        """Controls of a recording, corrected, as the command line takes them."""
        with self.plain_words():
            controls = self._corrected(source, edits)
            path = self.new_folder() / controls_name(source.name)
            controls.save(path)
        return str(path)

    def save_page(self, performance: Performance) -> str:
        """A performance as one page, to be sent to somebody."""
        import tonetransfer as tt

        path = str(self.new_folder() / f"{result_name(performance.source.name, performance.player)}.html")
        source, target, who = performance.source, performance.target, performance.player.name
        names = (source.name, who[:1].upper() + who[1:])
        told = {"Command": performance.command}
        reach = (target.lowest_midi, target.highest_midi)
        tt.write_take(path, source.audio, source.heard, performance.audio, performance.arrangement, names=names, settings=told, reach=reach)
        return path

    def save_midi(self, performance: Performance) -> str:
        """The notes of a performance as a MIDI file."""
        import tonetransfer as tt

        path = str(self.new_folder() / f"{result_name(performance.source.name, performance.player)}.mid")
        arrangement = performance.arrangement
        tt.write_midi(path, arrangement.asked, arrangement.notes, name=performance.player.name)
        return path

    def zip(self, files: Sequence[str], name: str) -> str:
        """Several files in one; a second one of the same name is numbered."""
        path = self.new_folder() / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in map(Path, files):
                inside, number = file.name, 1
                while inside in archive.namelist():
                    number += 1
                    inside = f"{file.stem}_{number}{file.suffix}"
                archive.write(file, inside)
        return str(path)

    @contextlib.contextmanager
    def plain_words(self, path: Path | None = None, name: str | None = None) -> Iterator[None]:
        """Errors of the package become refusals without paths; the file at `path` is called by its name."""
        import tonetransfer as tt

        try:
            yield
        except tt.ToneTransferError as error:
            named = str(error).startswith(str(self.folder))
            text = str(error).replace(str(path), name) if path and name else str(error)
            raise Refusal(for_visitors(self.without_paths(text)), begins_with_name=named) from None
        except MemoryError:
            raise Refusal("memory ran out; use a shorter recording") from None

    def listen(self, function: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
        """Call a function; give back its result and its warnings. One at a time: Python's warnings belong to all threads together."""
        import tonetransfer as tt

        with self._listening, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", tt.ToneTransferWarning)
            value = function()
        told = [str(one.message) for one in caught if issubclass(one.category, tt.ToneTransferWarning)]
        return value, tuple(self.without_paths(text) for text in dict.fromkeys(told))

    def without_paths(self, text: str) -> str:
        """A message in which files are called by their names alone."""
        return re.sub(re.escape(str(self.folder)) + r"(?:/[^/\s]+)*/", "", text).replace(str(self.folder), "")

    def sweep(self) -> None:
        """Remove what is old, and the oldest of what is too much."""
        now, files = time.time(), []
        for place, folders, names in os.walk(self.folder, topdown=False):
            for name in names:
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):
                    status = os.lstat(path)
                    files.append((status.st_mtime, status.st_size, path))
            for name in folders:
                with contextlib.suppress(OSError):  # not empty
                    if now - os.lstat(os.path.join(place, name)).st_mtime > min(self.kept_s, 60.0):
                        os.rmdir(os.path.join(place, name))
        total = sum(size for _, size, _ in files)
        for changed, size, path in sorted(files):
            if now - changed > self.kept_s or total > MOST_BYTES:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    total -= size

    def _sweep_for_ever(self) -> None:
        while not self._closing.wait(min(SWEEP_S, self.kept_s)):
            self.sweep()


def for_visitors(text: str) -> str:
    """A message in which nobody is told to use a command line."""
    return re.sub(r"convert it, e\.g\. ffmpeg.*", "save it as one of these where you recorded it, or record it here", text)


def safe(name: str) -> str:
    """A name for a file, of plain characters."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60] or "sound"


def result_name(source_name: str, player: Player) -> str:
    """Name of a result's files, without an ending."""
    return f"{safe(Path(source_name).stem)}_{safe(player.stem)}"


def controls_name(source_name: str) -> str:
    return f"{safe(Path(source_name).stem)}_controls.npz"


def command_line(source_name: str, player: Player, settings: Settings, transposed: float, *, edited: bool) -> str:
    """The command that makes the same sound of the same files."""
    output = f"{result_name(source_name, player)}.wav"
    if edited:
        words = ["tonetransfer", "synthesize", controls_name(source_name), output]
        words += ["--fit"] if settings.fit else []
    else:
        words = ["tonetransfer", "transfer", source_name, output]
        words += [] if settings.fit else ["--no-fit"]
    if player.second:
        words += ["--mix", ",".join(f"{name}:{share:g}" for name, share in player.shares.items())]
    elif player.instrument:
        words += ["--to", player.instrument]
    if player.reference:
        words += ["--match" if player.instrument else "--like", Path(player.reference).name]
    if settings.octaves is not None or settings.semitones:
        words += ["--transpose", f"{transposed:g}"]
    standard = Settings()
    options = {
        "--loudness": "loudness_db",
        "--dynamic": "dynamic",
        "--autotune": "autotune",
        "--scale": "scale",
        "--dynamics": "dynamics",
        "--noise": "noise_db",
        "--hall": "room",
        "--tracker": "tracker",
    }
    for option, name in options.items():
        value = getattr(settings, name)
        if value != getattr(standard, name):
            words += [option, value if isinstance(value, str) else f"{value:g}"]
    return shlex.join(words)
