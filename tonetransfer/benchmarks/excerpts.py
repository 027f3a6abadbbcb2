"""Excerpts of known content: the material with which timbre is examined apart from what is played.

:func:`render_material` renders new phrases, over the whole range of every named timbre, from the sources that a model was trained on
and from a soundfont that no training saw. :func:`read_excerpts` cuts them into excerpts whose instrument, pitch and loudness are known,
and gives each its z and, for comparison, what spectral statistics say of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import librosa
import numpy as np
import torch

from ..audio.files import load_audio
from ..audio.loudness import loudness_db
from ..audio.units import hz_to_midi
from ..controls.controls import Controls
from ..data.corpus_config import CorpusConfig, load_config, write_config
from ..data.render_corpus import render_corpus
from ..data.soundfont import find_soundfont
from ..errors import SettingsError
from ..models.timbre_model import TimbreModel
from ..threads import Progress, counted
from ..training.batches import kind_of

STRINGS, WOODWIND = ("violin", "viola", "cello", "contrabass"), ("flute", "oboe", "clarinet", "bassoon")
ORCHESTRA = (*STRINGS, *WOODWIND, "horn", "trumpet", "trombone", "tuba")  # the twelve of the symphony orchestra
PRESET = "_fluid"  # at the end of a name: the preset of an instrument whose name recordings have
COMMON = (  # with their relatives: all that a player may expect to find
    *(*ORCHESTRA, "piccolo", "recorder", "pan_flute", "english_horn", "soprano_sax", "alto_sax", "tenor_sax", "baritone_sax"),
    *("muted_trumpet", "harmonica", "accordion", "organ", "voice_ooh"),
)
TRAINED, UNSEEN = "trained", "unseen"
UNSEEN_FONT = "generaluser"  # under `parallel.soundfonts` of the corpus
SEEDS = {TRAINED: 4711, UNSEEN: 4712}  # no phrase of one set is in the other
PERFORMANCES, WINDOW_STEP, DURATION_S = 4, 15, 12.0  # per window, semitones between windows, length of each
EXCERPT_S = 3.0
LEAST_NOTES = 0.5  # share of an excerpt's frames
QUIET_DB = -60.0
N_MFCC = 20
SOUNDING_DB = 50.0  # below the loudest frame: still part of the statistics


@dataclass(frozen=True)
class Excerpt:
    """A piece of a rendering, and what is played in it."""

    path: Path  # of the recording; its labels lie beside it
    start_s: float
    instrument: str
    performance: str
    pitch_midi: float  # mean over the frames of notes
    pitch_range_semitones: float  # between the 5 % and 95 % quantiles
    loudness_db: float  # mean over the frames of notes


@dataclass(frozen=True)
class Excerpts:
    """Excerpts and their features, row by row."""

    rows: list[Excerpt]
    features: dict[str, np.ndarray]  # ``z``, ``mfcc``, and what else was asked for, each (n_excerpts, n_features)

    @cached_property
    def instruments(self) -> np.ndarray:
        return np.array([row.instrument for row in self.rows])

    @cached_property
    def kinds(self) -> np.ndarray:
        """Instruments, all players of one under one name: `alto_sax` for `alto_sax_2`."""
        names = sorted({*self.instruments, *COMMON})
        return np.array([kind_of(name, names) for name in self.instruments])

    @cached_property
    def performances(self) -> np.ndarray:
        return np.array([row.performance for row in self.rows])

    def label(self, name: str) -> np.ndarray:
        """A label of all excerpts, shape (n_excerpts,)."""
        return np.array([getattr(row, name) for row in self.rows])


def render_material(
    config: Path, out: Path, *, soundfont_folders: Sequence[Path] = (), samples: Path | None = None, progress: Progress | None = None
) -> None:
    """Render what is not there yet: 4 phrases of 12 s for each of the windows that cover an instrument's range.

    `config` is that of the training corpus; `out` gets the folders `trained` and `unseen`, each with the configuration that made it. The
    other arguments are those of :func:`~tonetransfer.data.render_corpus.render_corpus`.
    """
    described = load_config(config)
    if UNSEEN_FONT not in described.parallel.soundfonts:
        raise SettingsError(f"{config} knows no soundfont {UNSEEN_FONT}; it has {', '.join(described.parallel.soundfonts)}")
    sets = {TRAINED: _trained_config(described), UNSEEN: _unseen_config(described, UNSEEN_FONT)}
    for name, chosen in sets.items():
        folder = out / name
        if (folder / "manifest.json").is_file():
            continue
        font = find_soundfont(chosen.soundfont, soundfont_folders)
        written = write_config(chosen, folder)
        playable = [timbre for timbre, one in chosen.timbres.items() if samples is not None or one.program is not None]
        common = {"split": "test", "seed": SEEDS[name], "soundfont": font, "samples": samples, "workers": 2, "progress": progress}
        render_corpus(written, folder, only=playable, **common)  # type: ignore[arg-type]  # a mapping of many types


def _trained_config(described: CorpusConfig) -> CorpusConfig:
    """Named timbres that can play new phrases: those of presets and of single notes."""
    able = {name: timbre for name, timbre in described.timbres.items() if timbre.named and (timbre.program is not None or timbre.folder)}
    timbres = {name: timbre.model_copy(update={"stereo": False}) for name, timbre in able.items()}
    return _sparse(described).model_copy(update={"timbres": timbres})


def _unseen_config(described: CorpusConfig, font: str) -> CorpusConfig:
    """Presets of the same numbers from another font, which stays as it is: no tilt."""
    as_it_is = {"stereo": False, "slope": 0.0, "source": described.parallel.sources.get(font, "")}
    known = [(name, described.timbres.get(f"{name}{PRESET}") or described.timbres.get(name)) for name in COMMON]
    timbres = {name: timbre.model_copy(update=as_it_is) for name, timbre in known if timbre is not None and timbre.program is not None}
    return _sparse(described).model_copy(update={"timbres": timbres, "soundfont": described.parallel.soundfonts[font]})


def _sparse(described: CorpusConfig) -> CorpusConfig:
    """The same configuration with fewer and shorter performances; they still cover each range."""
    fewer = {
        "duration_s": DURATION_S,
        "window_step": WINDOW_STEP,
        "performances_per_window": dict.fromkeys(described.performances_per_window, PERFORMANCES),
        "parallel": described.parallel.model_copy(update={"instruments": ()}),
    }
    return described.model_copy(update=fewer)


def read_excerpts(
    folder: Path, encoders: dict[str, TimbreModel], *, names: Iterable[str] | None = None, progress: Progress | None = None
) -> Excerpts:
    """Cut a set of :func:`render_material` into excerpts of 3 s in which notes sound half of the time or more.

    Each of the encoders gives them a feature of its name; ``mfcc`` is always there. `names` are the instruments that are wanted; None: all.
    """
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    wanted = None if names is None else set(names)
    files = [file for file in listed if wanted is None or file["timbre"] in wanted]
    rows: list[Excerpt] = []
    features: dict[str, list[np.ndarray]] = {name: [] for name in (*encoders, "mfcc")}
    for file in counted(files, progress):
        path = folder / file["timbre"] / f"{file['performance']}.flac"
        audio, controls = read_recording(path, next(iter(encoders.values())))
        for excerpt, sound in cut(path, audio, controls):
            rows.append(excerpt)
            features["mfcc"].append(mfcc_statistics(sound.numpy(), controls.grid.sample_rate))
            for name, model in encoders.items():
                features[name].append(model.encode(sound).numpy())
    return Excerpts(rows, {name: np.stack(values) for name, values in features.items()})


def read_recording(path: Path, model: TimbreModel) -> tuple[torch.Tensor, Controls]:
    """A rendering (n_samples,) and its controls: f0 and voicing as they were rendered, loudness as it is."""
    audio, _ = load_audio(path, model.sample_rate)
    with np.load(path.with_suffix(".npz")) as label:
        f0_hz, voiced = torch.from_numpy(label["f0_hz"]), torch.from_numpy(label["voiced"])
    loud = loudness_db(audio, model.grid)
    n_frames = min(len(f0_hz), len(loud))
    periodicity = torch.where(voiced & (loud.new_tensor(QUIET_DB) < loud[: len(voiced)]), 0.98, 0.02)
    return audio, Controls(f0_hz[:n_frames], periodicity[:n_frames], loud[:n_frames], model.grid)


def cut(path: Path, audio: torch.Tensor, controls: Controls) -> Iterable[tuple[Excerpt, torch.Tensor]]:
    """Excerpts of a recording in which notes sound half of the time or more, each with its sound."""
    n_frames = round(EXCERPT_S * controls.grid.frame_rate)
    for first in range(0, controls.n_frames - n_frames + 1, n_frames):
        span = slice(first, first + n_frames)
        notes = controls.periodicity[span] > 0.5
        if float(notes.float().mean()) < LEAST_NOTES:
            continue
        midi = hz_to_midi(controls.f0_hz[span][notes].double().numpy())
        low, high = np.quantile(midi, (0.05, 0.95))
        loud = float(controls.loudness_db[span][notes].mean())
        sound = audio[controls.grid.n_samples(first) : controls.grid.n_samples(first + n_frames)]
        start_s = first / controls.grid.frame_rate
        yield Excerpt(path, start_s, path.parent.name, path.stem, float(midi.mean()), float(high - low), loud), sound


def mfcc_statistics(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean and deviation of 20 MFCC over the frames that sound, shape (40,); the first of each twenty is the level."""
    power = librosa.feature.melspectrogram(y=audio, sr=sample_rate, n_fft=2048, hop_length=960, n_mels=128, fmin=40.0)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(power, ref=1.0, top_db=80.0), n_mfcc=N_MFCC)
    level_db = librosa.power_to_db(power.sum(axis=0), ref=np.max, top_db=None)
    sounding = mfcc[:, level_db > -SOUNDING_DB]
    return np.concatenate([sounding.mean(axis=1), sounding.std(axis=1)])
