"""Play a performance on a soundfont, and put back what soundfonts leave out: loud is bright.

libfluidsynth is called for the few things that this takes, in float and without effects. Real instruments grow brighter as they are played
louder, and most soundfonts play one recording at every velocity: a filter that follows how hard is played (:func:`tilt`) puts the
connection back; ``configs/corpus.yaml`` says how strong it is in recordings.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from ctypes import c_char_p, c_double, c_float, c_int, c_void_p
from ctypes.util import find_library
from functools import lru_cache
from pathlib import Path

import librosa
import numpy as np

from ..audio.frames import FrameGrid
from ..errors import MissingDependencyError
from .composition import FRAME_RATE, Performance

SOUNDFONT_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts", "/opt/homebrew/share/soundfonts")
BUFFER_LENGTH = 64  # samples; FluidSynth lets events take effect at the borders of its own buffers of 64
BEND_RANGE = 12  # semitones
CHANNELS = 4  # successive notes take turns, so that a note's tail keeps its own bend while the next note sounds
EXPRESSION = 11  # controller number
FADE_BUFFERS = 60  # 80 ms
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
    "fluid_synth_cc": (c_int, [c_void_p, c_int, c_int, c_int]),
    "fluid_synth_noteon": (c_int, [c_void_p, c_int, c_int, c_int]),
    "fluid_synth_noteoff": (c_int, [c_void_p, c_int, c_int]),
    "fluid_synth_get_sfont_by_id": (c_void_p, [c_void_p, c_int]),
    "fluid_synth_add_sfont": (c_int, [c_void_p, c_void_p]),
    "fluid_synth_remove_sfont": (c_int, [c_void_p, c_void_p]),
    "fluid_synth_write_float": (c_int, [c_void_p, c_int, c_void_p, c_int, c_int, c_void_p, c_int, c_int]),
    "fluid_set_log_function": (c_void_p, [c_int, c_void_p, c_void_p]),
}
N_FFT = 1024  # 21 ms: follows an attack, and the filter is smooth over frequency
HOP_LENGTH = 256
LOWEST_PIVOT_HZ = 150.0
SILENCE = 1e-14  # A-weighted power of a window in which nothing is left to balance
HIGHEST_OCTAVES = 4.0  # above the pivot the filter is level again


@lru_cache(maxsize=1)
def load_fluidsynth() -> ctypes.CDLL:
    """The FluidSynth library, with the signatures of the calls that are used here; MissingDependencyError when it is not installed."""
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
    """Find a soundfont: a path as it is; else `folders`, ``$TONETRANSFER_SOUNDFONTS``, the system's folders.

    MissingDependencyError: none is there.
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
    """A soundfont, opened in a synthesizer of its own; MissingDependencyError when FluidSynth is missing or does not read the file."""

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
        """Notes, velocities and bends on one preset, left and right (2, n_samples); expression is left to the caller.

        General MIDI's expression (CC 11) is a plain gain in 127 steps. Applied afterwards it is exact and free of steps.
        MissingDependencyError: the font does not hold the preset.
        """
        self._prepare(program, bank)
        n_samples = round(performance.duration_s * self.sample_rate)
        audio = np.zeros((2, n_samples), dtype=np.float32)
        index, bends = _bends(performance, self.sample_rate, n_samples)
        events = _events(performance, index)
        wheel = dict.fromkeys(range(CHANNELS), 8192)
        left, right = (row.ctypes.data_as(ctypes.POINTER(c_float)) for row in audio)
        for buffer, (note, bend) in enumerate(zip(index, bends, strict=True)):
            self._bend(max(note, 0) % CHANNELS, bend, wheel)
            for call, arguments in events.get(buffer, ()):
                getattr(self._library, call)(self._synth, *arguments)
            at = buffer * BUFFER_LENGTH
            self._library.fluid_synth_write_float(self._synth, min(BUFFER_LENGTH, n_samples - at), left, at, 1, right, at, 1)
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

    def _bend(self, channel: int, bend: float, wheel: dict[int, int]) -> None:
        value = min(max(round(8192 + 8192 * bend / BEND_RANGE), 0), 16383)
        if wheel[channel] != value:
            self._library.fluid_synth_pitch_bend(self._synth, channel, value)
            wheel[channel] = value


def _bends(performance: Performance, sample_rate: int, n_samples: int) -> tuple[list[int], list[float]]:
    """Index of the note in each buffer (-1: none yet), and its bend there [semitones].

    Inside a note the bend is linear between frames; it never mixes two notes' bends.
    """
    n_buffers = -(-n_samples // BUFFER_LENGTH)
    position = np.arange(n_buffers) * BUFFER_LENGTH * FRAME_RATE / sample_rate
    frame = np.minimum(np.floor(position + 1e-9).astype(int), performance.n_frames - 1)
    held, following = performance.note_index(), np.minimum(frame + 1, performance.n_frames - 1)
    following = np.where(held[following] == held[frame], following, frame)
    bend, u = performance.bend_semitones, position - frame
    index = np.where(frame < performance.notes[0].start, -1, held[frame])
    return index.tolist(), (bend[frame] * (1 - u) + bend[following] * u).tolist()


def _events(performance: Performance, index: list[int]) -> dict[int, list[tuple[str, tuple[int, ...]]]]:
    """Calls to make before each buffer: notes on and off, and the last note's tail faded once the next one sounds.

    A player of one note at a time does not hold a tail under the next note; pads and plucked strings of a soundfont do.
    """
    events: dict[int, list[tuple[str, tuple[int, ...]]]] = {}
    starts = [index.index(number) for number in range(len(performance.notes))]
    for number, note in enumerate(performance.notes):
        channel = number % CHANNELS
        events.setdefault(starts[number], []).append(("fluid_synth_cc", (channel, EXPRESSION, 127)))
        events[starts[number]].append(("fluid_synth_noteon", (channel, note.midi, note.velocity)))
        until = round(starts[number] + note.length * (len(index) / performance.n_frames))
        events.setdefault(until, []).append(("fluid_synth_noteoff", (channel, note.midi)))
        if number + 1 < len(starts):
            for step in range(1, FADE_BUFFERS + 1):
                value = round(127 * (1.0 - step / FADE_BUFFERS))
                events.setdefault(starts[number + 1] + step, []).append(("fluid_synth_cc", (channel, EXPRESSION, value)))
    return events


def tilt(audio: np.ndarray, intensity_db: np.ndarray, f0_hz: np.ndarray, slope: float, grid: FrameGrid) -> np.ndarray:
    """Brighten or darken audio (n_samples,) as it is played harder or softer.

    gain [dB] = slope * intensity * octaves above the fundamental (0 to 4); A-weighted loudness stays what it was. `intensity_db`
    (n_frames,) is how hard is played, relative to how the recording was.
    """
    if slope == 0.0:
        return audio.astype(np.float32)
    from scipy.signal import istft, stft  # half a second of imports for whoever trains

    _, times, spectrum = stft(audio, grid.sample_rate, nperseg=N_FFT, noverlap=N_FFT - HOP_LENGTH)
    frame_times = grid.times(len(f0_hz))
    intensity = np.interp(times, frame_times, intensity_db)
    pivot = np.maximum(np.interp(times, frame_times, f0_hz), LOWEST_PIVOT_HZ)
    frequencies = np.maximum(np.fft.rfftfreq(N_FFT, 1.0 / grid.sample_rate), 1.0)
    octaves = np.clip(np.log2(frequencies[:, None] / pivot), 0.0, HIGHEST_OCTAVES)
    tilted_spectrum = spectrum * 10.0 ** (slope * intensity * octaves / 20.0)
    weights = 10.0 ** (np.maximum(librosa.A_weighting(frequencies), -120.0) / 10.0)
    before, after = (weights @ np.abs(values) ** 2 for values in (spectrum, tilted_spectrum))
    tilted_spectrum *= np.sqrt((before + SILENCE) / (after + SILENCE))  # as loud as it was: dynamics are the performance's affair
    _, tilted = istft(tilted_spectrum, grid.sample_rate, nperseg=N_FFT, noverlap=N_FFT - HOP_LENGTH)
    return np.pad(tilted, (0, max(0, len(audio) - len(tilted))))[: len(audio)].astype(np.float32)


def loudness_and_centroid(audio: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """A-weighted loudness [dB] and spectral centroid [octaves re 1 Hz] in windows of 85 ms, each (n_windows,).

    The centroid is weighted by magnitude over what lies within 60 dB of the window's strongest bin, up to 16 kHz.
    """
    n_fft, hop_length = 4096, 1024
    magnitude = np.abs(librosa.stft(np.asarray(audio, dtype=np.float32), n_fft=n_fft, hop_length=hop_length))
    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    weights = 10.0 ** (np.maximum(librosa.A_weighting(np.maximum(frequencies, 1e-3)), -120.0) / 10.0)
    loudness = 10.0 * np.log10(magnitude.T**2 @ weights / (0.375 * n_fft**2) + 1e-12)
    audible = (magnitude > 1e-3 * magnitude.max(axis=0)) & ((frequencies > 25.0) & (frequencies < 16000.0))[:, None]
    kept = np.where(audible, magnitude, 0.0)
    return loudness, np.log2((kept * frequencies[:, None]).sum(axis=0) / (kept.sum(axis=0) + 1e-9) + 1.0)


def measure_slope(audio: np.ndarray, sample_rate: int, *, span_db: float = 30.0) -> float:
    """Octaves of centroid per decibel while one recording swells and fades, over its windows within `span_db` of the loudest."""
    loudness, centroid = loudness_and_centroid(audio, sample_rate)
    heard = loudness > loudness.max() - span_db
    return float(np.polyfit(loudness[heard], centroid[heard], 1)[0])


def a_weighted_db(audio: np.ndarray, sample_rate: int) -> float:
    """A-weighted loudness of a whole stretch of audio [dB re a full-scale sine]."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    frequencies = np.maximum(np.fft.rfftfreq(len(audio), 1.0 / sample_rate), 1e-3)
    weights = 10.0 ** (np.maximum(librosa.A_weighting(frequencies), -120.0) / 10.0)
    return 10.0 * float(np.log10(4.0 * (weights @ power) / len(audio) ** 2 + 1e-12))
