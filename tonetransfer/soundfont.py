"""Play a performance on a soundfont: the few calls of libfluidsynth that this takes, in float and without effects."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from ctypes import c_char_p, c_double, c_float, c_int, c_void_p
from ctypes.util import find_library
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import MissingDependencyError
from .performance import FRAME_RATE, Performance

SOUNDFONT_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts", "/opt/homebrew/share/soundfonts")
BUFFER_LENGTH = 64  # samples; FluidSynth lets events take effect at the borders of its own buffers of 64
BEND_RANGE = 12  # semitones
CHANNELS = 4  # successive notes take turns, so that a note's tail keeps its own bend while the next note sounds
GAIN = 0.4

_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "new_fluid_settings": (c_void_p, []),
    "delete_fluid_settings": (None, [c_void_p]),
    "fluid_settings_setnum": (c_int, [c_void_p, c_char_p, c_double]),
    "fluid_settings_setint": (c_int, [c_void_p, c_char_p, c_int]),
    "new_fluid_synth": (c_void_p, [c_void_p]),
    "delete_fluid_synth": (None, [c_void_p]),
    "fluid_synth_sfload": (c_int, [c_void_p, c_char_p, c_int]),
    "fluid_synth_set_interp_method": (c_int, [c_void_p, c_int, c_int]),
    "fluid_synth_program_select": (c_int, [c_void_p, c_int, c_int, c_int, c_int]),
    "fluid_synth_pitch_wheel_sens": (c_int, [c_void_p, c_int, c_int]),
    "fluid_synth_pitch_bend": (c_int, [c_void_p, c_int, c_int]),
    "fluid_synth_noteon": (c_int, [c_void_p, c_int, c_int, c_int]),
    "fluid_synth_noteoff": (c_int, [c_void_p, c_int, c_int]),
    "fluid_synth_get_sfont_by_id": (c_void_p, [c_void_p, c_int]),
    "fluid_synth_add_sfont": (c_int, [c_void_p, c_void_p]),
    "fluid_synth_remove_sfont": (c_int, [c_void_p, c_void_p]),
    "fluid_synth_write_float": (c_int, [c_void_p, c_int, c_void_p, c_int, c_int, c_void_p, c_int, c_int]),
    "fluid_set_log_function": (c_void_p, [c_int, c_void_p, c_void_p]),
}


@lru_cache(maxsize=1)
def load_fluidsynth() -> ctypes.CDLL:
    """The FluidSynth library, with the signatures of the calls that are used here.

    Raises
    ------
    MissingDependencyError
        When it is not installed.
    """
    name = find_library("fluidsynth") or find_library("libfluidsynth-3")
    if name is None:
        raise MissingDependencyError(
            "rendering from a soundfont needs FluidSynth, which is not installed; "
            "install it with `apt install libfluidsynth3` or `brew install fluid-synth`"
        )
    library = ctypes.CDLL(name)
    for function, (result, arguments) in _SIGNATURES.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    for level in range(5):  # panic to debug: our own errors say what is needed
        library.fluid_set_log_function(level, None, None)
    return library


def find_soundfont(name: str, folders: Iterable[Path | str] = ()) -> Path:
    """Where a soundfont lies: a path as it is; else `folders`, ``$TONETRANSFER_SOUNDFONTS``, the system's folders.

    Raises
    ------
    MissingDependencyError
        When no such file is found.
    """
    if Path(name).is_file():
        return Path(name)
    from_environment = [folder for folder in os.environ.get("TONETRANSFER_SOUNDFONTS", "").split(os.pathsep) if folder]
    places = [Path(folder) for folder in (*folders, *from_environment, *SOUNDFONT_FOLDERS)]
    for place in places:
        for candidate in (place, place / name):
            if candidate.is_file() and candidate.name == Path(name).name:
                return candidate
    raise MissingDependencyError(
        f"no soundfont {name} in {', '.join(map(str, places))}; install it (`apt install fluid-soundfont-gm` holds FluidR3_GM.sf2) "
        "or name its folder in $TONETRANSFER_SOUNDFONTS"
    )


class SoundFont:
    """A soundfont, opened in a synthesizer of its own.

    Parameters
    ----------
    path : Path
    sample_rate : int [Hz]

    Raises
    ------
    MissingDependencyError
        When FluidSynth is missing or does not read the file.
    """

    def __init__(self, path: Path, *, sample_rate: int = 48000) -> None:
        self.path, self.sample_rate = Path(path), sample_rate
        self._library = fluid = load_fluidsynth()
        self._settings = fluid.new_fluid_settings()
        fluid.fluid_settings_setnum(self._settings, b"synth.sample-rate", float(sample_rate))
        fluid.fluid_settings_setnum(self._settings, b"synth.gain", GAIN)
        for effect in (b"synth.reverb.active", b"synth.chorus.active"):
            fluid.fluid_settings_setint(self._settings, effect, 0)
        self._synth = fluid.new_fluid_synth(self._settings)
        font = fluid.fluid_synth_sfload(self._synth, os.fsencode(path), 1)
        if font < 0:
            raise MissingDependencyError(f"FluidSynth cannot read the soundfont {path}; give an .sf2 or .sf3 file")
        self._font = fluid.fluid_synth_get_sfont_by_id(self._synth, font)

    def __del__(self) -> None:
        if getattr(self, "_synth", None):
            self._library.delete_fluid_synth(self._synth)
            self._library.delete_fluid_settings(self._settings)

    def render(self, performance: Performance, *, program: int, bank: int = 0) -> np.ndarray:
        """Notes, velocities and bends on one preset; expression is left to the caller.

        General MIDI's expression (CC 11) is a plain gain in 127 steps. Applied afterwards it is exact and free of steps.

        Parameters
        ----------
        performance : Performance
        program, bank : int
            The preset; a preset that the font does not hold raises MissingDependencyError.

        Returns
        -------
        ndarray [shape=(2, n_samples), float32]
            Left and right, ``n_samples = duration * sample_rate``.
        """
        self._prepare(program, bank)
        n_samples = round(performance.duration_s * self.sample_rate)
        audio = np.zeros((2, n_samples), dtype=np.float32)
        starts, bends = _events(performance, self.sample_rate, n_samples)
        note, wheel = -1, dict.fromkeys(range(CHANNELS), 8192)
        releases = {}
        for buffer, bend in enumerate(bends):
            while note + 1 < len(starts) and starts[note + 1] <= buffer:
                note += 1
                releases[note] = round(performance.notes[note].end * self.sample_rate / FRAME_RATE / BUFFER_LENGTH)
                self._bend(note % CHANNELS, bend, wheel)
                self._start(performance, note)
            if note >= 0:
                self._bend(note % CHANNELS, bend, wheel)
            for finished in [which for which, at in releases.items() if at <= buffer]:
                self._library.fluid_synth_noteoff(self._synth, finished % CHANNELS, performance.notes[finished].midi)
                del releases[finished]
            self._write(audio, buffer * BUFFER_LENGTH)
        return audio

    def _prepare(self, program: int, bank: int) -> None:
        """A new synthesizer around the loaded font, with the preset on every channel that is used.

        A used one, reset, starts its voices from what the previous ones left: the sound would depend on what was rendered before.
        """
        fluid, used = self._library, self._synth
        fluid.fluid_synth_remove_sfont(used, self._font)
        self._synth = fluid.new_fluid_synth(self._settings)
        number = fluid.fluid_synth_add_sfont(self._synth, self._font)
        fluid.delete_fluid_synth(used)
        for channel in range(CHANNELS):
            if fluid.fluid_synth_program_select(self._synth, channel, number, bank, program) < 0:
                raise MissingDependencyError(f"{self.path.name} holds no preset {program} in bank {bank}; choose one that it lists")
            fluid.fluid_synth_pitch_wheel_sens(self._synth, channel, BEND_RANGE)
        fluid.fluid_synth_set_interp_method(self._synth, -1, 7)  # seventh order, the best it has

    def _start(self, performance: Performance, note: int) -> None:
        played = performance.notes[note]
        self._library.fluid_synth_noteon(self._synth, note % CHANNELS, played.midi, played.velocity)

    def _bend(self, channel: int, bend: float, wheel: dict[int, int]) -> None:
        value = min(max(round(8192 + 8192 * bend / BEND_RANGE), 0), 16383)
        if wheel[channel] != value:
            self._library.fluid_synth_pitch_bend(self._synth, channel, value)
            wheel[channel] = value

    def _write(self, audio: np.ndarray, offset: int) -> None:
        """One buffer of sound into both channels of `audio`, from sample `offset` on."""
        length = min(BUFFER_LENGTH, audio.shape[1] - offset)
        left, right = (row.ctypes.data_as(ctypes.POINTER(c_float)) for row in audio)
        self._library.fluid_synth_write_float(self._synth, length, left, offset, 1, right, offset, 1)


def _events(performance: Performance, sample_rate: int, n_samples: int) -> tuple[np.ndarray, list[float]]:
    """Buffer in which each note starts, (n_notes,), and the bend of the sounding note in each buffer [semitones].

    Inside a note the bend is linear between frames; it never mixes two notes' bends.
    """
    n_buffers = -(-n_samples // BUFFER_LENGTH)
    per_frame = sample_rate / FRAME_RATE / BUFFER_LENGTH  # buffers in a frame
    starts = np.round(np.array([note.start for note in performance.notes]) * per_frame).astype(int)
    position = np.arange(n_buffers) / per_frame
    frame = np.minimum(position.astype(int), performance.n_frames - 1)
    index, following = performance.note_index(), np.minimum(frame + 1, performance.n_frames - 1)
    following = np.where(index[following] == index[frame], following, frame)
    bend, u = performance.bend_semitones, position - frame
    return starts, (bend[frame] * (1 - u) + bend[following] * u).tolist()
