"""Recorded single notes, strung into performances.

A folder holds one note a file. File names say the note (``A4``, ``a#3``, ``Bb2``) and may say the dynamic (``pp`` ... ``ff``, or layers
``vl1``, ``vl2`` ...); notes without a name are measured. Names of octaves differ between makers: what is measured decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np

from ..audio.files import SOUND_ENDINGS, load_audio, resample
from ..audio.frames import FrameGrid
from ..audio.units import TONICS, hz_to_midi, midi_to_hz
from ..controls.dynamics import DYNAMICS_DB
from ..errors import InstrumentError
from ..pitch.f0_refinement import refine_f0
from .composition import FRAME_RATE, MEZZO_FORTE_DB, ComposedNote, Performance, velocity_db
from .soundfont import a_weighted_db

NOTE_NAME = re.compile(r"(?<![A-Za-z0-9#])([A-Ga-g])([#bs]?)(-?\d)(?![A-Za-z0-9])")  # a whole word: the letters of a hash are no notes
LAYER = re.compile(r"vl?(\d+)")
REFERENCE_DB = -20.0  # A-weighted loudness that a note played with full force is brought to
OVERSAMPLING = 2  # notes are held at twice the rate: cubic interpolation then loses nothing that is heard
RELEASE_S = 0.06  # fade of a note whose recorded end cannot be used
RING_S, JOIN_S = 0.8, 0.03  # longest recorded end that is played, and how it is joined to the sustained part
DIED_DB = 25.0  # a recorded end falls at least so far, or the recording was cut
LEGATO_SKIP_S = (0.05, 0.12)  # of the attack: a slurred note has no tonguing or bow change of its own
SKIP_FADE_S = 0.02
LONGEST_RISE = 0.25  # times a note's length
FURTHEST = 7.5  # semitones that a note is moved at most
LOWEST_HZ, HIGHEST_HZ = 26.0, 3000.0
SHORTEST_S = 0.12  # steady sound that a note must have
STEADY_DB = 9.0  # below its loudest: no longer the steady part of a note


@dataclass(frozen=True)
class RecordedNote:
    """One note, trimmed and brought to level."""

    name: str  # of its file
    audio: np.ndarray  # (n_samples,), at `OVERSAMPLING` times the folder's sample rate, from the onset on
    midi: float  # as it sounds
    layer_db: float  # how hard it was played [dB re the strongest]
    rise: int  # samples until it is nearly as loud as its steady part: slow bows take a second
    steady: tuple[int, int]  # first and last sample of the part that can be repeated
    ending: np.ndarray  # (n_samples,), after the steady part until it has died away; empty where the recording was cut


def note_of_name(name: str) -> int | None:
    """MIDI number that a file name holds (A4 = 69), or None; the last one counts when there are several."""
    found = NOTE_NAME.findall(Path(name).stem)
    if not found:
        return None
    letter, accidental, octave = found[-1]
    return TONICS[letter.lower()] + {"#": 1, "s": 1, "b": -1, "": 0}[accidental] + 12 * (int(octave) + 1)


def layer_of_name(name: str, n_layers: int = 5) -> float:
    """Dynamic level of a note [dB re the strongest], from its file name; mf when the name does not say."""
    for word in re.split(r"[^A-Za-z0-9#]+", Path(name).stem)[::-1]:
        if word in DYNAMICS_DB:
            return DYNAMICS_DB[word]
        if layer := LAYER.fullmatch(word):
            return -24.0 + 22.0 * (min(int(layer[1]), n_layers) - 1) / max(n_layers - 1, 1)
    return MEZZO_FORTE_DB


class NoteFolder:
    """A folder of single notes as an instrument, of the files that match a pattern; InstrumentError if none can be used."""

    def __init__(self, folder: Path, *, files: str = "*", sample_rate: int = 48000) -> None:
        self.folder, self.sample_rate = Path(folder), sample_rate
        if not self.folder.is_dir():
            raise InstrumentError(f"{folder} is not a folder; name a folder of recorded notes, one note a file")
        paths = sorted(path for path in self.folder.glob(files) if path.suffix.lower() in SOUND_ENDINGS)
        if not paths:
            raise InstrumentError(
                f"{folder} holds no sound files that match {files}; put one note into each, named like A4.wav or Bb2_f.flac"
            )
        layers = [int(layer[1]) for path in paths for word in re.split(r"[^A-Za-z0-9]+", path.stem) if (layer := LAYER.fullmatch(word))]
        heard = [(path, *_read_note(path, sample_rate)) for path in paths]
        octaves = _octave_of_names([(note_of_name(path.name), midi) for path, _, midi in heard])
        self.notes = _levelled(
            [
                _recorded_note(path.name, audio, midi, octaves, layer_of_name(path.name, max(layers, default=5)), sample_rate)
                for path, audio, midi in heard
            ],
            sample_rate * OVERSAMPLING,
        )
        if not self.notes:
            raise InstrumentError(f"no file in {folder} holds one clear note; check that each is a recording of a single note")

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest MIDI number."""
        midis = [round(note.midi) for note in self.notes]
        return min(midis), max(midis)

    def render(self, performance: Performance) -> tuple[np.ndarray, np.ndarray]:
        """Play notes, velocities and bends; expression is left to the caller.

        Audio (n_samples,), and how hard the note that is heard in each frame was played when it was recorded (n_frames,) [dB re the
        strongest]. InstrumentError: a note of the performance lies too far from every recorded one.
        """
        rng = np.random.default_rng(performance.seed)
        n_samples = round(performance.duration_s * self.sample_rate)
        audio, layers = np.zeros(n_samples, dtype=np.float32), []
        for number, note in enumerate(performance.notes):
            recorded = self._choose(performance, note, rng)
            layers.append(recorded.layer_db)
            played = self._play(performance, number, recorded, self._skipped(performance, number, recorded, rng))
            start = note.start * self.sample_rate // FRAME_RATE
            audio[start : start + len(played)] += played[: n_samples - start]
        return audio, np.array(layers)[performance.note_index()]

    def _choose(self, performance: Performance, note: ComposedNote, rng: np.random.Generator) -> RecordedNote:
        """The recorded note nearest in pitch and dynamic that is long enough, by lot among equals."""
        level_db = velocity_db(note.velocity) + float(np.median(performance.expression_db[note.start : note.end]))
        distance = np.array([abs(note.midi - recorded.midi) for recorded in self.notes])
        if distance.min() > FURTHEST:
            raise InstrumentError(
                f"{self.folder} reaches from MIDI {self.range[0]} to {self.range[1]} with no note near {note.midi}; "
                "choose a range that it covers, or add notes"
            )
        force = np.array([abs(level_db - recorded.layer_db) for recorded in self.notes])
        held_s = note.length / FRAME_RATE
        lasting_s = np.array([recorded.steady[1] for recorded in self.notes]) / (self.sample_rate * OVERSAMPLING)
        lacking = np.maximum(np.log2(held_s / np.maximum(lasting_s, 0.01)), 0.0)
        cost = distance + force / 4.0 + lacking
        near = np.flatnonzero(cost < cost.min() + 0.4)
        return self.notes[int(rng.choice(near))]

    def _skipped(self, performance: Performance, number: int, recorded: RecordedNote, rng: np.random.Generator) -> int:
        """Length of the attack that is left out [samples]: some of a slurred note's, and of a slow one's when there is no time for it."""
        note, rate = performance.notes[number], self.sample_rate * OVERSAMPLING
        slow = max(recorded.rise - round(LONGEST_RISE * note.length / FRAME_RATE * rate), 0)
        slurred = number > 0 and performance.notes[number - 1].end >= note.start
        return min(max(slow, round(rng.uniform(*LEGATO_SKIP_S) * rate) if slurred else 0), recorded.steady[0])

    def _play(self, performance: Performance, number: int, recorded: RecordedNote, skipped: int) -> np.ndarray:
        """One note: read along a time axis that is warped to follow its bend, repeated as long as it is held, faded at its end."""
        note, rate = performance.notes[number], self.sample_rate
        held = note.length * rate // FRAME_RATE
        until = performance.notes[number + 1].start if number + 1 < len(performance.notes) else performance.n_frames
        rings = until > note.end and len(recorded.ending) > 0
        length = held + round((JOIN_S if rings else RELEASE_S) * rate)
        frames = np.arange(note.start, performance.n_frames)[: note.length]
        frames = frames[frames < until]
        cents = performance.bend_semitones[frames] + note.midi - recorded.midi
        speed = 2.0 ** (np.interp(np.arange(length) * FRAME_RATE / rate, np.arange(len(frames)), cents) / 12.0)
        position = skipped + np.cumsum(speed * OVERSAMPLING)
        source = sustain(recorded, int(position[-1]) + 4)
        played = _read_at(source, position)
        fade = np.clip((length - np.arange(length)) / (length - held), 0.0, 1.0)
        if skipped:
            fade *= np.clip(np.arange(length) / (SKIP_FADE_S * rate), 0.0, 1.0)
        played = played * np.sin(0.5 * np.pi * fade) ** 2
        if rings:
            played = _rung_out(played, recorded.ending, held, speed[-1] * OVERSAMPLING)
        return (played * 10.0 ** (velocity_db(note.velocity) / 20.0)).astype(np.float32)


def sustain(recorded: RecordedNote, length: int) -> np.ndarray:
    """A recorded note made to last `length` samples: its steady part repeats, joined where the waves agree and crossfaded."""
    audio, (start, end) = recorded.audio, recorded.steady
    if length <= end:
        return audio[:length]
    audio = _evened(audio[:end], start)
    fade = min((end - start) // 3, 9600)
    tail = audio[end - fade : end]
    begin = _best_match(audio[start : end - fade], tail)
    cycle = audio[start + begin + fade : end].copy()  # what follows once the join is over
    if len(cycle) < fade:
        return np.pad(audio[:end], (0, length - end))
    ramp = np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, fade)) ** 2
    join = tail * (1.0 - ramp) + audio[start + begin : start + begin + fade] * ramp
    cycle[-fade:] = join
    pieces, have = [audio[: end - fade], join], end
    while have < length:
        pieces.append(cycle)
        have += len(cycle)
    return np.concatenate(pieces)[:length]


def _rung_out(played: np.ndarray, ending: np.ndarray, held: int, speed: float) -> np.ndarray:
    """A note (held + join samples) with its recorded end, read at `speed` and as loud where both meet, crossfaded to it."""
    join = len(played) - held
    ending = _read_at(ending, np.arange(max(int(len(ending) / speed), join)) * speed)
    level, wanted = (np.sqrt(np.mean(np.square(part)) + 1e-12) for part in (ending[:join], played[max(held - join, 0) : held]))
    rung = np.zeros(held + len(ending))
    rung[: len(played)] = played
    ramp = np.sin(0.5 * np.pi * np.clip(np.arange(len(ending)) / join, 0.0, 1.0)) ** 2
    rung[held:] += ramp * ending * min(wanted / level, 4.0)
    return rung


def _evened(audio: np.ndarray, start: int) -> np.ndarray:
    """Audio that keeps the level it has at sample `start` from there on: a decay, repeated, would pump."""
    step = 960  # 10 ms
    power = np.add.reduceat(audio[start:].astype(np.float64) ** 2, np.arange(0, max(len(audio) - start, 1), step))
    width = min(15, len(power))
    level_db = 10.0 * np.log10(np.convolve(np.pad(power, width, mode="edge"), np.ones(width) / width, "same")[width:-width] + 1e-12)
    gain_db = np.clip(level_db[0] - level_db, -9.0, 9.0)
    gain = np.interp(np.arange(len(audio)) - start, np.arange(len(gain_db)) * step, 10.0 ** (gain_db / 20.0), left=1.0)
    return (audio * gain).astype(np.float32)


def _best_match(audio: np.ndarray, tail: np.ndarray) -> int:
    """Position in the first half of `audio` that resembles `tail` most, normalised for level."""
    room = len(audio) // 2
    sought = audio[: room + len(tail)]
    n_fft = 1 << int(np.ceil(np.log2(len(sought) + len(tail))))
    correlation = np.fft.irfft(np.fft.rfft(sought, n_fft) * np.conj(np.fft.rfft(tail, n_fft)), n_fft)[: max(room, 1)]
    energy = np.cumsum(np.concatenate([[0.0], sought.astype(np.float64) ** 2]))
    available = np.minimum(np.arange(len(correlation)) + len(tail), len(sought))
    return int(np.argmax(correlation / np.sqrt(energy[available] - energy[: len(correlation)] + 1e-9)))


def _read_at(audio: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Cubic (Hermite) interpolation of `audio` at fractional sample positions; zero beyond its end."""
    padded = np.concatenate([audio[:1], audio, np.zeros(4, dtype=audio.dtype)])
    index = np.minimum(position.astype(int), len(audio) - 1)
    u = position - index
    before, here, after, further = (padded[index + offset] for offset in range(4))
    slope = 0.5 * (after - before)
    curve = before - 2.5 * here + 2.0 * after - 0.5 * further
    return ((0.5 * (further - before) + 1.5 * (here - after)) * u + curve) * u * u + slope * u + here


def _read_note(path: Path, sample_rate: int) -> tuple[np.ndarray, float]:
    """Audio from its onset on, and its pitch as a MIDI number (NaN when there is none)."""
    audio = load_audio(path, sample_rate)[0].numpy()
    level = librosa.feature.rms(y=audio, frame_length=1024, hop_length=256)[0]
    if level.max() < 1e-5:
        return audio, float("nan")
    onset = max(int(np.argmax(level > level.max() * 0.03)) * 256 - 480, 0)
    audio = audio[onset:].copy()
    audio[:96] *= np.linspace(0.0, 1.0, len(audio[:96]))
    f0_hz = librosa.yin(np.pad(audio, (0, max(0, 8192 - len(audio)))), fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=sample_rate, frame_length=8192)
    level = librosa.feature.rms(y=audio, frame_length=8192, hop_length=2048)[0]
    n = min(len(f0_hz), len(level))
    return audio, float(np.median(hz_to_midi(f0_hz[:n][level[:n] > level[:n].max() * 0.3])))


def _octave_of_names(pairs: Iterable[tuple[int | None, float]]) -> int | None:
    """Number of octaves by which the names of this folder lie below what sounds; None when no file is named or names and sound disagree.

    Half of the files must agree on it to within a semitone: a single mistaken measurement does not count.
    """
    offsets = [midi - named for named, midi in pairs if named is not None and np.isfinite(midi)]
    if not offsets:
        return None
    shift = int(round(float(np.median(offsets)) / 12.0))
    return shift if np.mean(np.abs(np.array(offsets) - 12 * shift) < 1.0) >= 0.5 else None


def _recorded_note(
    name: str, audio: np.ndarray, measured: float, octaves: int | None, layer_db: float, sample_rate: int
) -> RecordedNote | None:
    """A note ready to play; None when it holds none."""
    named = note_of_name(name)
    nominal = measured if named is None or octaves is None else named + 12.0 * octaves
    if not np.isfinite(nominal) or len(audio) < sample_rate // 10:
        return None
    grid = FrameGrid(sample_rate, sample_rate // FRAME_RATE)
    n_frames = grid.n_frames(len(audio))
    f0_hz = refine_f0(audio, np.full(n_frames, midi_to_hz(nominal)), grid)
    level = _level_db(audio, sample_rate, n_frames)
    loud = level > level.max() - STEADY_DB
    midi = float(np.median(hz_to_midi(f0_hz.astype(np.float64))[loud]))
    doubled = resample(audio, sample_rate, sample_rate * OVERSAMPLING).numpy()
    rise, steady = _parts(level, len(doubled), sample_rate * OVERSAMPLING // FRAME_RATE)
    return RecordedNote(name, doubled, midi, layer_db, rise, steady, _ending(doubled, steady[1], sample_rate * OVERSAMPLING))


def _ending(audio: np.ndarray, start: int, rate: int) -> np.ndarray:
    """Audio from sample `start` to where it has died away, faded out; empty if it never does."""
    step = rate // FRAME_RATE
    n_frames = min((len(audio) - start) // step, round(RING_S * FRAME_RATE))
    if n_frames < 4:
        return audio[:0]
    frames = audio[start : start + n_frames * step].reshape(n_frames, step).astype(np.float64)
    level_db = 10.0 * np.log10((frames**2).mean(axis=1) + 1e-12)
    if level_db[-1] > level_db[:2].max() - DIED_DB:
        return audio[:0]
    fade = np.clip((n_frames * step - np.arange(n_frames * step)) / (0.1 * rate), 0.0, 1.0)
    return (frames.reshape(-1) * fade).astype(np.float32)


def _level_db(audio: np.ndarray, sample_rate: int, n_frames: int) -> np.ndarray:
    """Level in frames of 10 ms, smoothed over 50 ms [dB], (n_frames,)."""
    hop_length = sample_rate // FRAME_RATE
    power = (np.pad(audio, (0, n_frames * hop_length - len(audio))).reshape(n_frames, -1).astype(np.float64) ** 2).mean(axis=1)
    return 10.0 * np.log10(np.convolve(power, np.ones(5) / 5.0, mode="same") + 1e-12)


def _parts(level_db: np.ndarray, n_samples: int, hop_length: int) -> tuple[int, tuple[int, int]]:
    """Rise time of a note, and the part between its attack and its decay [samples]."""
    loud = np.flatnonzero(level_db > np.percentile(level_db, 90) - STEADY_DB)
    first, last = int(loud[0]), int(loud[-1]) + 1
    attack = min(first + max(12, (last - first) // 5), last - 2)
    return first * hop_length, (max(attack, 0) * hop_length, min(max(last - 3, attack + 2) * hop_length, n_samples))


def _levelled(notes: list[RecordedNote | None], sample_rate: int) -> list[RecordedNote]:
    """Every note as loud as a full-force one in its register; velocity then makes the dynamics.

    Makers level their recordings, or not, or half: what the layers show is no dynamic range. Kept is how loud the instrument is
    along its range: a straight line, at most half a decibel a semitone.
    """
    usable = [note for note in notes if note is not None and note.steady[1] - note.steady[0] > SHORTEST_S * sample_rate]
    if not usable:
        return []
    loudness = np.array([a_weighted_db(note.audio[slice(*note.steady)], sample_rate) for note in usable])
    midi = np.array([note.midi for note in usable])
    slope = float(np.clip(np.polyfit(midi, loudness, 1)[0], -0.5, 0.5)) if np.ptp(midi) > 6 else 0.0
    wanted = REFERENCE_DB + slope * (midi - midi.mean())
    gains = 10.0 ** ((wanted - loudness) / 20.0)
    return [
        replace(note, audio=(note.audio * gain).astype(np.float32), ending=(note.ending * gain).astype(np.float32))
        for note, gain in zip(usable, gains, strict=True)
    ]
