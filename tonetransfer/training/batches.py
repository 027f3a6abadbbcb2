"""Rendered audio in, training batches out.

A corpus folder (``manifest.json``, one FLAC file and one NPZ file of labels per timbre and performance) is packed once into flat arrays
that are mapped, not loaded; a batch is then a handful of slices. What a batch is made of decides what the model learns:

* the reference is another performance of the same timbre, so z cannot carry what is played;
* in a *parallel* item loudness comes from another instrument's rendering of the same performance, put onto the target's loudness as the
  fit does it for users: the task is transfer, not resynthesis;
* equalisation and rescaling change reference and target alike: they make timbres that no corpus holds;
* a room, a microphone and hiss change the reference alone: they are the recording, and z has to leave them out. Soundfonts and sample
  libraries are dry and clean, recordings that people give as a reference are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch.utils.data import IterableDataset
from tqdm import tqdm

from ..atomic import write_text
from ..audio.files import load_audio
from ..audio.frames import FrameGrid
from ..audio.loudness import LOUDNESS_VERSION, loudness_db
from ..audio.stft import a_weighting
from ..audio.units import hz_to_midi
from ..controls.dynamics import loudness_quantiles, map_loudness
from ..controls.profile import USUAL_DB_PER_S, release_rate, with_release
from ..errors import AudioError, SettingsError
from ..models.note_age_table import note_age
from .settings import DataSettings

QUIET_DB = -60.0  # an excerpt whose loudest frame is below this teaches nothing
RATE_STEPS = 20  # rescaling goes in steps of 5 %: lengths stay whole frames with small factors, which the FFT takes fast
MARGIN_FRAMES = 10  # beyond both ends of an excerpt, so that its loudness is not measured against zeros
PACK_VERSION = 1
LONG_FRAMES = 3000  # a recording so long is target and reference by turns
DECAY_S = (0.15, 1.2)  # reverberation time (60 dB): a furnished room to a church
DIRECT_DB = (-2.0, 18.0)  # direct sound over the room's
NOISE_DB = (-65.0, -25.0)  # RMS of hiss re that of the sound
MICROPHONE_DB = 2.5  # deviation of each point of the microphone's curve
BAND_LIMITED_SHARE = 0.3
CUTOFF_HZ = (3500.0, 17000.0)  # a telephone to a good MP3; half of all collections were sampled at 16 to 32 kHz
N_ROOMS, N_HISSES = 64, 24  # made once: the Fourier transforms are most of the work
KNOTS_HZ = (40.0, 90.0, 200.0, 450.0, 1000.0, 2200.0, 5000.0, 11000.0, 24000.0)


@dataclass(frozen=True)
class Recording:
    """One performance on one timbre: a slice of the packed arrays."""

    timbre: int
    performance: str
    first: int  # frame of the packed arrays
    n_frames: int
    quantiles: torch.Tensor  # quantiles of the loudness of its notes [dB]


class Corpus:
    """A corpus folder made by ``tonetransfer corpus render``, packed; SettingsError: no manifest, or files that it names are missing."""

    def __init__(self, folder: str | Path, grid: FrameGrid) -> None:
        self.folder, self.grid = Path(folder), grid
        try:
            self.manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        except OSError:
            raise SettingsError(f"{folder}: holds no manifest.json; make a corpus with `tonetransfer corpus render`") from None
        except json.JSONDecodeError as error:
            raise SettingsError(f"{folder}/manifest.json: is damaged ({error}); render the corpus again") from None
        self.timbres: list[dict[str, Any]] = list(self.manifest["timbres"].values())
        self.pack = pack = self._pack_folder()
        if not (pack / "recordings.json").exists():
            self._pack(pack)
        self.audio = np.load(pack / "audio.npy", mmap_mode="r")
        self.f0_hz, self.loudness = np.load(pack / "f0_hz.npy"), np.load(pack / "loudness_db.npy")
        self.voiced = np.load(pack / "voiced.npy")
        self.age = np.zeros(len(self.f0_hz), np.float32)
        self.recordings = [
            Recording(r["timbre"], r["performance"], r["first"], r["n_frames"], torch.tensor(r["quantiles"]))
            for r in json.loads((pack / "recordings.json").read_text())
        ]
        for one in self.recordings:
            span = slice(one.first, one.first + one.n_frames)
            self.age[span] = note_age(torch.from_numpy(self.f0_hz[span]), torch.from_numpy(self.loudness[span])).numpy()

    def _pack_folder(self) -> Path:
        content = json.dumps([self.manifest["files"], self.grid.sample_rate, self.grid.hop_length, LOUDNESS_VERSION, PACK_VERSION])
        return self.folder / f"packed-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def _pack(self, pack: Path) -> None:
        """Decode every file once; the index is written last, so a pack that was cut short is made again."""
        pack.mkdir(parents=True, exist_ok=True)
        files, hop = self.manifest["files"], self.grid.hop_length
        names = {timbre["name"]: i for i, timbre in enumerate(self.timbres)}
        labels = [dict(np.load(self._path(entry, ".npz"))) for entry in files]
        total = sum(len(label["f0_hz"]) for label in labels)
        audio = np.lib.format.open_memmap(pack / "audio.npy", mode="w+", dtype=np.int16, shape=(total * hop,))
        level = np.empty(total, np.float32)
        recordings, first = [], 0
        for entry, label in zip(tqdm(files, desc="packing the corpus", unit="file"), labels, strict=True):
            sound, _ = load_audio(self._path(entry, ".flac"), self.grid.sample_rate)
            n_frames = len(label["f0_hz"])
            sound = torch.nn.functional.pad(sound, (0, max(n_frames * hop - len(sound), 0)))[: n_frames * hop]
            audio[first * hop : (first + n_frames) * hop] = (sound.numpy() * 32767.0).round().astype(np.int16)
            loud = loudness_db(sound, self.grid)
            level[first : first + n_frames] = loud.numpy()
            quantiles = loudness_quantiles(loud, torch.from_numpy(label["voiced"]) & (loud > QUIET_DB))
            played = {"timbre": names[entry["timbre"]], "performance": entry["performance"]}
            recordings.append({**played, "first": first, "n_frames": n_frames, "quantiles": quantiles.tolist()})
            first += n_frames
        audio.flush()
        np.save(pack / "f0_hz.npy", np.concatenate([label["f0_hz"] for label in labels]).astype(np.float32))
        np.save(pack / "voiced.npy", np.concatenate([label["voiced"] for label in labels]))
        np.save(pack / "loudness_db.npy", level)
        write_text(pack / "recordings.json", json.dumps(recordings))

    def _path(self, entry: dict[str, Any], ending: str) -> Path:
        path = self.folder / entry["timbre"] / (entry["performance"] + ending)
        if not path.exists():
            raise AudioError(f"{path}: is named in the manifest but missing; render the corpus again")
        return path

    def sound(self, first_sample: int, n_samples: int) -> torch.Tensor:
        """Samples of the packed audio, zeros outside of it, float32."""
        begin, end = max(first_sample, 0), min(first_sample + n_samples, len(self.audio))
        sound = torch.from_numpy(self.audio[begin:end].astype(np.float32) / 32767.0)
        return torch.nn.functional.pad(sound, (begin - first_sample, first_sample + n_samples - end))

    def note_f0_hz(self, timbre: int) -> np.ndarray:
        """f0 [Hz] of all note frames of a timbre."""
        spans = [slice(r.first, r.first + r.n_frames) for r in self.recordings if r.timbre == timbre]
        f0, loud = (np.concatenate([track[span] for span in spans]) for track in (self.f0_hz, self.loudness))
        sounding = np.concatenate([self.voiced[span] for span in spans]) & (loud > QUIET_DB)
        return f0[sounding]

    def quantiles(self, timbre: int, *, without: Collection[str] = ()) -> torch.Tensor:
        """Quantiles of the loudness of a timbre's notes [dB]: the mean over its recordings, each one performance like a user's."""
        return torch.stack([r.quantiles for r in self.recordings if r.timbre == timbre and r.performance not in without]).mean(0)

    def release_db_per_s(self, timbre: int) -> float:
        """Release rate of a timbre's notes [dB/s]: the median over its recordings."""
        spans = [self.loudness[r.first : r.first + r.n_frames] for r in self.recordings if r.timbre == timbre]
        rates = [release_rate(torch.from_numpy(span), self.grid.frame_rate) for span in spans]
        known = [rate for rate in rates if rate is not None]
        return float(np.median(known)) if known else USUAL_DB_PER_S

    def validation_performances(self, count: int, names: Collection[str]) -> list[str]:
        """Performances that all of some timbres play (first ones by name), to be held out."""
        rows = [i for i, timbre in enumerate(self.timbres) if timbre["name"] in names]
        played = [{r.performance for r in self.recordings if r.timbre == row} for row in rows]
        return sorted(set.intersection(*played))[:count] if played else []


class TrainingBatches(IterableDataset):
    """Endless training batches.

    Each is a mapping: ``target`` (batch, n_samples), ``f0_hz`` and ``loudness_db`` (batch, n_frames), ``reference`` (batch,
    n_samples_reference), an excerpt of another performance on the target's timbre, ``timbre`` (batch,) rows of the corpus's timbres, and
    ``original`` (batch,) bool: neither equalised nor rescaled.
    """

    def __init__(self, corpus: Corpus, settings: DataSettings, *, seed: int) -> None:
        self.corpus, self.settings, self.seed = corpus, settings, seed
        held_out = set(corpus.validation_performances(settings.validation_performances, settings.validation_names))
        self.by_timbre: dict[int, list[Recording]] = {}
        self.by_performance: dict[str, list[Recording]] = {}
        for recording in corpus.recordings:
            if _score_of(recording) not in held_out:
                self.by_timbre.setdefault(recording.timbre, []).append(recording)
                self.by_performance.setdefault(_score_of(recording), []).append(recording)
        self.by_timbre = {row: some for row, some in self.by_timbre.items() if len(some) > 1 or some[0].n_frames > LONG_FRAMES}
        if not self.by_timbre:
            raise SettingsError(f"{corpus.folder}: no timbre has two recordings; a reference must differ from its target")
        self.quantiles = {row: corpus.quantiles(row, without=held_out) for row in self.by_timbre}
        self.release = {row: corpus.release_db_per_s(row) for row in self.by_timbre}
        self.rows = list(self.by_timbre)
        self.shares = timbre_shares(corpus, self.rows, settings)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            items = [self._item(rng) for _ in range(self.settings.batch_size)]
            yield {key: torch.stack([item[key] for item in items]) for key in items[0]}

    def _item(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        settings, grid = self.settings, self.corpus.grid
        row = int(rng.choice(self.rows, p=self.shares))
        order = rng.permutation(len(self.by_timbre[row]))
        target, source = (self.by_timbre[row][order[i]] for i in (0, -1))
        n_frames = round(settings.excerpt_seconds * grid.frame_rate)
        rate = round(RATE_STEPS * np.exp(rng.uniform(-0.22, 0.22))) / RATE_STEPS if rng.random() < settings.rescale_share else 1.0
        curve = random_curve_db(rng, grid.sample_rate) if rng.random() < settings.equalise_share else None
        first = self._start(rng, target, n_frames * rate)
        n_heard = round(settings.reference_seconds * grid.frame_rate)
        reference = self._sound(self._start(rng, source, n_heard * rate), n_heard, rate, curve)
        capture = bool(rng.random() < settings.capture_share)
        margin = MARGIN_FRAMES
        sound = self._sound(first - margin, n_frames + 2 * margin, rate, curve)
        clock = first + rate * np.arange(n_frames)
        log_f0 = np.log(self.corpus.f0_hz[first : first + int(n_frames * rate) + 2])
        f0_hz = torch.from_numpy(np.exp(self._track(log_f0, clock - first))) * rate
        others = [r for r in self.by_performance[_score_of(target)] if r.timbre != row]
        if others and rng.random() < settings.parallel_share:
            loud = self._borrowed(others[rng.integers(len(others))], target, row, clock)
        elif curve is None and rate == 1.0:
            loud = torch.from_numpy(self.corpus.loudness[first : first + n_frames].copy())
        else:
            loud = loudness_db(sound, grid)[margin:-margin]
        return {
            "target": sound[margin * grid.hop_length : -margin * grid.hop_length],
            "f0_hz": f0_hz.float(),
            "loudness_db": loud.float(),
            "reference": simulate_recording(reference, rng, grid.sample_rate) if capture else reference,
            "timbre": torch.tensor(row),
            "age": torch.from_numpy(self.corpus.age[np.round(clock).astype(int)]) / rate,
            "original": torch.tensor(curve is None and rate == 1.0),
        }

    def _start(self, rng: np.random.Generator, recording: Recording, n_frames: float) -> int:
        """First frame of a stretch of a recording in which something sounds."""
        room = max(recording.n_frames - int(np.ceil(n_frames)) - 2, 0)
        for _ in range(8):
            first = recording.first + int(rng.integers(0, room + 1))
            if self.corpus.loudness[first : first + int(n_frames)].max() > QUIET_DB:
                break
        return first

    def _sound(self, first: int, n_frames: int, rate: float, curve: np.ndarray | None) -> torch.Tensor:
        """A stretch of audio, rescaled and equalised."""
        hop = self.corpus.grid.hop_length
        sound = self.corpus.sound(first * hop, round(n_frames * hop * rate))
        if rate == 1.0 and curve is None:
            return sound
        spectrum = torch.fft.rfft(sound)
        n_bins = n_frames * hop // 2 + 1
        spectrum = torch.nn.functional.pad(spectrum, (0, max(n_bins - len(spectrum), 0)))[:n_bins] / rate
        if curve is not None:
            spectrum = equalise(spectrum, curve, self.corpus.grid.sample_rate)
        return torch.fft.irfft(spectrum, n=n_frames * hop)

    def _borrowed(self, source: Recording, target: Recording, row: int, clock: np.ndarray) -> torch.Tensor:
        """Loudness of another instrument's rendering of the same performance, fitted to this instrument."""
        span = torch.from_numpy(self.corpus.loudness[source.first : source.first + source.n_frames].copy())
        fitted = with_release(
            map_loudness(span, source.quantiles, self.quantiles[row]), self.release[row], self.corpus.grid.frame_rate, dry=True
        )
        return torch.from_numpy(self._track(fitted.numpy(), clock - target.first)).float()

    @staticmethod
    def _track(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return np.interp(positions, np.arange(len(values)), values)


def _score_of(recording: Recording) -> str:
    """Name of the score of a recording: the same for the players of an instrument and for the instrument that they teach."""
    return recording.performance.partition("+")[0]


def timbre_shares(corpus: Corpus, rows: list[int], settings: DataSettings) -> np.ndarray:
    """Sampling shares of timbres, shape (n_rows,), sum 1."""
    named = np.array([bool(corpus.timbres[row]["named"]) for row in rows])
    weight = np.array([3.0 if corpus.timbres[row]["name"] in settings.featured else 1.0 for row in rows])
    shares = weight * np.where(named, settings.named_share, 1.0 - settings.named_share)
    for group in (named, ~named):
        shares[group] /= weight[group].sum() if group.any() else 1.0
    return shares / shares.sum()


def played_in(corpus: Corpus, first: int, n_frames: int) -> np.ndarray:
    """Mean pitch [octaves] and loudness [10 dB] of the notes of a stretch of a corpus, shape (2,)."""
    span = slice(first, first + n_frames)
    loud = corpus.loudness[span]
    notes = corpus.voiced[span] & (loud > QUIET_DB)
    notes = notes if notes.any() else np.ones_like(notes)
    return np.array([hz_to_midi(corpus.f0_hz[span][notes]).mean() / 12.0, loud[notes].mean() / 10.0])


def kind_of(name: str, names: Iterable[str]) -> str:
    """The shortest of the names that `name` begins with, word by word: `alto_sax` for `alto_sax_2`."""
    return min((other for other in names if f"{name}_".startswith(f"{other}_")), key=len, default=name)


def random_curve_db(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A smooth random equalisation [dB] on a linear frequency axis from 0 to Nyquist, shape (2049,)."""
    frequencies = np.linspace(0.0, sample_rate / 2.0, 2049)
    octaves = np.log2(np.maximum(frequencies, 20.0) / 1000.0)
    tilt = rng.uniform(-2.5, 2.5) * octaves
    knots = np.linspace(np.log2(60.0 / 1000.0), np.log2(sample_rate / 2000.0), 9)
    bumps = np.interp(octaves, knots, rng.normal(0.0, rng.uniform(1.0, 5.0), len(knots)))
    return np.clip(tilt + bumps, -24.0, 24.0)


def equalise(spectrum: torch.Tensor, curve_db: np.ndarray, sample_rate: int) -> torch.Tensor:
    """A spectrum (n_bins,) under a curve [dB], its A-weighted power kept: how loud it is must not tell how it was equalised."""
    n_bins = spectrum.shape[-1]
    curve = np.interp(np.linspace(0, 1, n_bins), np.linspace(0, 1, len(curve_db)), curve_db)
    weight = a_weighting(sample_rate, 2048)
    heard = torch.nn.functional.interpolate(weight[None, None], n_bins, mode="linear", align_corners=True)[0, 0]
    changed = spectrum * torch.from_numpy(10.0 ** (curve / 20.0)).float()
    power, power_changed = ((x.abs().square() * heard).sum().clamp(min=1e-12) for x in (spectrum, changed))
    return changed * (power / power_changed).sqrt()


def simulate_recording(sound: torch.Tensor, rng: np.random.Generator, sample_rate: int) -> torch.Tensor:
    """Simulate a recording (n_samples,): room, microphone and hiss, each left out in every third case; some lose their treble.

    The RMS stays.
    """
    level = sound.square().mean().sqrt()
    n_fft = next_fast_len(len(sound) + int(DECAY_S[1] * sample_rate), real=True)
    spectrum = torch.fft.rfft(sound, n=n_fft)
    if rng.random() > 1 / 3:
        spectrum = spectrum * _room(int(rng.integers(N_ROOMS)), n_fft, sample_rate)
    if rng.random() > 1 / 3:
        position = np.log(np.maximum(np.linspace(0.0, sample_rate / 2.0, 4096), 1.0))
        curve_db = np.interp(position, np.log(KNOTS_HZ), rng.normal(0.0, MICROPHONE_DB, len(KNOTS_HZ)))
        spectrum = spectrum * _on_bins(10.0 ** (curve_db / 20.0), len(spectrum))
    heard = torch.fft.irfft(spectrum, n=n_fft)[: len(sound)]
    if rng.random() > 1 / 3:
        hiss = torch.roll(_hiss(int(rng.integers(N_HISSES)), n_fft, sample_rate), int(rng.integers(n_fft)))[: len(sound)]
        heard = heard + hiss * (level * 10.0 ** (rng.uniform(*NOISE_DB) / 20.0))
    if rng.random() < BAND_LIMITED_SHARE:
        heard = _without_treble(heard, cutoff_hz(rng), sample_rate)
    return heard * (level / heard.square().mean().sqrt().clamp(min=1e-9))


def cutoff_hz(rng: np.random.Generator) -> float:
    """Upper end of a recording's band."""
    return float(np.exp(rng.uniform(*np.log(CUTOFF_HZ))))


def _without_treble(sound: torch.Tensor, cutoff: float, sample_rate: int) -> torch.Tensor:
    n_fft = next_fast_len(len(sound), real=True)
    spectrum = torch.fft.rfft(sound, n=n_fft)
    spectrum[round(cutoff / sample_rate * n_fft) :] = 0.0
    return torch.fft.irfft(spectrum, n=n_fft)[: len(sound)]


@lru_cache(maxsize=N_ROOMS)
def _room(index: int, n_fft: int, sample_rate: int) -> torch.Tensor:
    """Spectrum of an impulse response: the direct sound, then noise that dies away, the treble faster than the bass (Moorer 1979)."""
    rng = np.random.default_rng([index, 1])
    decay_s = float(np.exp(rng.uniform(*np.log(DECAY_S))))
    seconds = np.arange(int(decay_s * sample_rate), dtype=np.float32) / sample_rate
    tail = np.asarray(rng.standard_normal(len(seconds)) * np.exp(-6.9 * seconds / decay_s))
    dull = np.convolve(tail, np.full(6, 1 / 6), mode="same")
    share = np.minimum(2.0 * seconds / decay_s, 1.0)
    tail = tail * (1.0 - share) + dull * share
    tail[: int(0.002 * sample_rate)] = 0.0
    tail *= 10.0 ** (-rng.uniform(*DIRECT_DB) / 20.0) / float(np.sqrt((tail**2).sum()))
    tail[0] = 1.0
    return torch.fft.rfft(torch.from_numpy(tail.astype(np.float32)), n=n_fft)


@lru_cache(maxsize=N_HISSES)
def _hiss(index: int, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Noise of RMS 1, from white (a preamplifier) to brown (traffic)."""
    rng = np.random.default_rng([index, 2])
    spectrum = torch.fft.rfft(torch.from_numpy(rng.standard_normal(n_samples, dtype=np.float32)))
    colour = np.maximum(np.linspace(0.0, sample_rate / 2000.0, 4096), 0.02) ** rng.uniform(-1.0, 0.2)
    noise = torch.fft.irfft(spectrum * _on_bins(colour, len(spectrum)), n=n_samples)
    return noise / noise.square().mean().sqrt()


def _on_bins(curve: np.ndarray, n_bins: int) -> torch.Tensor:
    """A coarse curve, spread over all bins."""
    coarse = torch.from_numpy(curve).float()[None, None]
    return torch.nn.functional.interpolate(coarse, n_bins, mode="linear", align_corners=True)[0, 0]
