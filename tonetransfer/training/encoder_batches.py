"""Excerpts of many timbres as the encoder hears them, made by the hundred: what z must say is learned from these.

A batch of sound that is also played costs a decoder, a synthesizer and a loss for every excerpt. Who plays can be learned from listening
alone, so the mel spectrograms of the whole corpus are kept, and what changes an excerpt is done to them: equalisation and rescaling,
which make another timbre, and rooms, microphones and hiss, which are the recording and not the instrument.

A *group* holds excerpts of one timbre, changed alike, from different performances. Each timbre of a batch comes twice, as it
is and changed: a hard negative (Yakura et al., 2022), since it is played like the first and sounds like another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import IterableDataset
from tqdm import tqdm

from ..atomic import replacing
from ..models.encoder import N_MELS, TimbreEncoder, level_free, mel_centres_hz
from . import batches
from .settings import DataSettings

MEL_VERSION = 1
GROUP = 3  # excerpts of a group
LEAST_NOTES = 0.2  # of an excerpt's frames, if there is such a place
LENGTHS_S = (2.0, 3.0, 4.0)
REVERBERANT_DB = (-18.0, 2.0)  # the room's sound over the direct one's
MASK_SHARE = 0.3  # excerpts of which a few bands are missing: no single band may decide


@dataclass(frozen=True)
class HeardCorpus:
    """A corpus's mel spectrograms."""

    corpus: batches.Corpus
    mel_db: np.ndarray  # (n_mel_frames, n_mels), float16, of all recordings, one after the other
    first: np.ndarray  # (n_recordings,), mel frame at which each begins
    hop: int  # frames of the corpus's grid per mel frame


def hear_corpus(corpus: batches.Corpus, encoder: TimbreEncoder) -> HeardCorpus:
    """Mel spectrograms of a corpus, computed once and kept beside its packed audio."""
    hop = encoder.hop_length // corpus.grid.hop_length
    lengths = np.array([-(-recording.n_frames // hop) for recording in corpus.recordings])
    first = np.concatenate([[0], np.cumsum(lengths)])
    path = corpus.pack / f"mel-{MEL_VERSION}-{N_MELS}.npy"
    if not path.exists():
        with replacing(path, alone=True) as part:
            mel_db = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=(int(first[-1]), N_MELS))
            for begin, length, recording in zip(
                tqdm(first, desc="reading the corpus", unit="file"), lengths, corpus.recordings, strict=False
            ):
                sound = corpus.sound(recording.first * corpus.grid.hop_length, recording.n_frames * corpus.grid.hop_length)
                level = encoder.mel_db(sound[None])[0].T.numpy()[:length]
                mel_db[begin : begin + len(level)] = level
            mel_db.flush()
    return HeardCorpus(corpus, np.load(path, mmap_mode="r"), first[:-1], hop)


def kinds_of(corpora: Sequence[batches.Corpus]) -> list[str]:
    """Kinds of instruments in some corpora, players and channels left out: `alto_sax` for `alto_sax_2`, `violin` for `violin@R`."""
    names = {_without_channel(timbre["name"]) for corpus in corpora for timbre in corpus.timbres}
    return sorted({batches.kind_of(name, names) for name in names})


def _without_channel(name: str) -> str:
    return name.split("@")[0]


class EncoderBatches(IterableDataset):
    """Endless batches for the encoder: groups of excerpts.

    Each is a mapping: ``mel`` (n, n_mels, n_frames), level-free; and (n,) each: ``timbre``, rows of the first corpus's timbres, -1 for one
    of another corpus; ``kind``, rows of :func:`kinds_of`; ``group``, equal for the excerpts of one group; ``original``, bool: neither
    equalised nor rescaled; ``captured``, bool: heard through a room, a microphone or hiss; and ``played`` (n, 2): mean pitch [octaves] and
    loudness [10 dB] of its notes, before rescaling. The excerpts of a group stand together, :data:`GROUP` each.

    Parameters
    ----------
    heard : sequence of HeardCorpus
        The first is the one whose timbres are learned; of the others only what kind of instrument plays.
    settings : DataSettings
    seed : int
    """

    def __init__(self, heard: Sequence[HeardCorpus], settings: DataSettings, *, seed: int) -> None:
        self.heard, self.settings, self.seed = heard, settings, seed
        self.kinds = kinds_of([one.corpus for one in heard])
        self.parts = [_Part(one, settings, self.kinds) for one in heard]
        self.centres_hz = mel_centres_hz(heard[0].corpus.grid.sample_rate)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0, 7])
        while True:
            yield self._batch(rng)

    def _batch(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        settings = self.settings
        seconds = float(rng.choice(LENGTHS_S))
        grid, hop = self.heard[0].corpus.grid, self.heard[0].hop
        n_frames = round(seconds * grid.frame_rate / hop)
        count = max(round(settings.heard_seconds / (GROUP * seconds)), 4)
        n_other = round(count * settings.other_share) if len(self.parts) > 1 else 0
        mel, facts = [], []
        groups = [(0, row, changed) for row in self.parts[0].draw(rng, (count - n_other) // 2) for changed in (False, True)]
        for part in rng.integers(1, len(self.parts), n_other) if n_other else ():
            groups += [(int(part), int(self.parts[part].draw(rng, 1)[0]), bool(rng.random() < 0.5))]
        for group, (part, row, changed) in enumerate(groups):
            pieces, played = self.parts[part].cut(rng, row, n_frames)
            if changed:
                pieces = self._change(rng, pieces)
            known = {"timbre": row if part == 0 else -1, "kind": self.parts[part].kinds[row], "group": group, "original": not changed}
            for piece, what in zip(pieces, played, strict=True):
                captured = bool(rng.random() < settings.capture_share)
                mel.append(self._capture(rng, piece) if captured else piece)
                facts.append(known | {"captured": captured, "played": what})
        power_db = torch.from_numpy(np.stack(mel)).transpose(1, 2)
        batch = {key: torch.from_numpy(np.array([fact[key] for fact in facts])) for key in facts[0]}
        return batch | {"mel": _masked(rng, level_free(power_db)), "played": batch["played"].float()}

    def _change(self, rng: np.random.Generator, pieces: np.ndarray) -> np.ndarray:
        """Another timbre: dB spectrograms (group, n_frames, n_mels), equalised and/or rescaled alike."""
        which = rng.random()
        if which < 0.75:
            curve = batches.random_curve_db(rng, self.heard[0].corpus.grid.sample_rate)
            frequencies = np.linspace(0.0, self.heard[0].corpus.grid.sample_rate / 2.0, len(curve))
            pieces = pieces + np.interp(self.centres_hz, frequencies, curve).astype(np.float32)
        if which > 0.6:
            rate = float(np.exp(rng.uniform(0.05, 0.22) * rng.choice([-1.0, 1.0])))
            pieces = _rescaled(pieces, self.centres_hz, rate)
        return pieces

    def _capture(self, rng: np.random.Generator, piece: np.ndarray) -> np.ndarray:
        """A room, a microphone, hiss, and a band that ends early, as in batches.py; (n_frames, n_mels) in dB."""
        power = 10.0 ** (piece / 10.0)
        mean = power.mean()
        octaves = np.log2(self.centres_hz / 1000.0)
        if rng.random() > 1 / 3:
            decay_s = np.exp(rng.uniform(*np.log(batches.DECAY_S))) * 2.0 ** (-0.25 * np.clip(octaves, -2.0, 4.5))
            kept = np.exp(-13.8 * self.heard[0].hop / self.heard[0].corpus.grid.frame_rate / decay_s).astype(np.float32)
            share = 10.0 ** (rng.uniform(*REVERBERANT_DB) / 10.0) * (1.0 - kept)
            ringing, tail = np.zeros_like(power[0]), np.empty_like(power)
            for i, now in enumerate(power):
                ringing = ringing * kept + share * now
                tail[i] = ringing
            power = power + tail
        if rng.random() > 1 / 3:
            knots = np.linspace(octaves[0], octaves[-1], 9)
            power = power * 10.0 ** (np.interp(octaves, knots, rng.normal(0.0, batches.MICROPHONE_DB, 9)) / 10.0)
        if rng.random() > 1 / 3:
            colour = 2.0 ** (octaves * (1.0 + rng.uniform(-2.0, 0.4)))  # of equal power a hertz, a band's power grows with its width
            flicker = rng.gamma(4.0, 0.25, power.shape)
            power = power + flicker * colour * (mean * 10.0 ** (rng.uniform(*batches.NOISE_DB) / 10.0) / colour.mean())
        if rng.random() < batches.BAND_LIMITED_SHARE:
            power = np.where(self.centres_hz < batches.cutoff_hz(rng), power, 0.0)
        return (10.0 * np.log10(np.maximum(power, 1e-10))).astype(np.float32)


class _Part:
    """One corpus of those that are heard."""

    def __init__(self, heard: HeardCorpus, settings: DataSettings, kinds: list[str]) -> None:
        corpus = heard.corpus
        held_out = set(corpus.validation_performances(settings.validation_performances, settings.validation_names))
        self.heard = heard
        self.by_timbre: dict[int, list[tuple[batches.Recording, int]]] = {}
        for recording, first in zip(corpus.recordings, heard.first, strict=True):
            if recording.performance not in held_out:
                self.by_timbre.setdefault(recording.timbre, []).append((recording, int(first)))
        self.by_timbre = {row: some for row, some in self.by_timbre.items() if len(some) > 1}
        self.rows, self.shares = list(self.by_timbre), batches.timbre_shares(corpus, list(self.by_timbre), settings)
        self.kinds = [kinds.index(batches.kind_of(_without_channel(timbre["name"]), kinds)) for timbre in corpus.timbres]

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Some timbres, each once."""
        return rng.choice(self.rows, min(count, len(self.rows)), replace=False, p=self.shares)

    def cut(self, rng: np.random.Generator, row: int, n_frames: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Excerpts (GROUP, n_frames, n_mels) of a timbre in dB, and what is played in each."""
        some, heard = self.by_timbre[int(row)], self.heard
        order = rng.permutation(len(some))
        pieces, played = [], []
        for i in range(GROUP):
            recording, first = some[order[i % len(some)]]
            room = max(-(-recording.n_frames // heard.hop) - n_frames, 0)
            for _ in range(8):
                begin = int(rng.integers(0, room + 1))
                span = slice(recording.first + begin * heard.hop, recording.first + min((begin + n_frames) * heard.hop, recording.n_frames))
                if (heard.corpus.voiced[span] & (heard.corpus.loudness[span] > batches.QUIET_DB)).mean() > LEAST_NOTES:
                    break
            piece = np.asarray(heard.mel_db[first + begin : first + min(begin + n_frames, room + n_frames)], np.float32)
            pieces.append(np.pad(piece, ((0, n_frames - len(piece)), (0, 0)), constant_values=-100.0))
            played.append(batches.played_in(heard.corpus, span.start, span.stop - span.start))
        return np.stack(pieces), played


def _rescaled(pieces: np.ndarray, centres_hz: np.ndarray, rate: float) -> np.ndarray:
    """Spectrograms whose frequencies are multiplied by `rate`."""
    position = np.interp(np.log(centres_hz / rate), np.log(centres_hz), np.arange(len(centres_hz)))
    low = np.minimum(position.astype(int), len(centres_hz) - 2)
    share = (position - low).astype(np.float32)
    moved = pieces[..., low] * (1.0 - share) + pieces[..., low + 1] * share
    return np.where(centres_hz / rate > centres_hz[-1] * 1.02, -100.0, moved).astype(np.float32)


def _masked(rng: np.random.Generator, mel: torch.Tensor) -> torch.Tensor:
    """Spectrograms (n, n_mels, n_frames), some with a few neighbouring bands taken out."""
    mel = mel.clone()
    for i in np.flatnonzero(rng.random(len(mel)) < MASK_SHARE):
        begin = int(rng.integers(0, N_MELS - 12))
        mel[i, begin : begin + int(rng.integers(2, 12))] = -1.0
    return mel
