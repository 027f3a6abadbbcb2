"""One instrument's recordings as excerpts to learn from, and others for validation.

What a batch holds follows from the seed and the number of the step alone: a run that was killed goes on with the very excerpts that it
would have seen, and two processes that share the work see together what one would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ..audio.files import resample
from ..audio.frames import FrameGrid
from ..audio.loudness import FLOOR_DB, N_FFT, loudness_db
from ..audio.stft import magnitudes
from ..audio.units import hz_to_midi
from ..controls.controls import Controls
from ..controls.dynamics import loudness_quantiles
from ..controls.profile import USUAL_DB_PER_S, release_rate
from ..errors import AudioError
from ..models.encoder import REFERENCE_PEAK
from ..models.note_age_table import note_age
from ..models.timbre_model import Instrument, TimbreModel
from ..synthesis.render import highest_around
from .reconstruction import NOTE_SHARE, Batch, seconds_held_out, single_instrument, white_for
from .settings import FinetuningSettings

TRAIN, VALIDATION = "train", "validation"
SHORTEST_S = 5.0  # of notes: with less there is nothing to learn from, --like --refine does as well
REFERENCE_S = 60.0  # of the recordings with the most notes: what the encoder hears
PIECE_S = 30.0  # read at a time where a whole recording is gone through
HELD_S = 1200.0  # of recordings that are held in memory: a second takes a tenth as long to read as to learn from
RANGE = 0.005, 0.995  # of the notes' pitch: a tracker's slips are no notes


class PreparedFolder(Protocol):
    """Interface to a prepared data set (:class:`tonetransfer.data.dataset.Prepared`)."""

    @property
    def manifest(self) -> dict[str, Any]: ...
    @property
    def recordings(self) -> Sequence[Any]: ...  # with name, n_frames and split
    def audio(self, recording: Any, first_sample: int, n_samples: int) -> Any: ...
    def controls(self, recording: Any) -> Controls: ...


@dataclass(frozen=True)
class _Piece:
    """A recording whose controls are held: what of it is learned from and held out, as first frames."""

    recording: Any
    heard: Controls
    highest_hz: torch.Tensor
    age: torch.Tensor
    learned: np.ndarray
    held_out: np.ndarray

    def is_learned(self, first: int, further: int) -> bool:
        """Test whether so many frames more may be learned from than an excerpt that begins at `first` has."""
        i = int(np.searchsorted(self.learned, first)) + further
        return i < len(self.learned) and int(self.learned[i]) == first + further  # they rise: all between are there


class Material:
    """A prepared folder at the level that models are trained at.

    Recordings of the validation split are held out; if there is none, every fifth second of each of the others is. `lead_seconds` are
    played before each excerpt. Half of the excerpts that are learned from sound up to `transposed_semitones` higher or lower, played faster
    or slower: a few recordings hold few pitches. AudioError: silence, or too little of notes.
    """

    def __init__(
        self,
        prepared: PreparedFolder,
        grid: FrameGrid,
        *,
        excerpt_seconds: float = 1.0,
        lead_seconds: float = 0.0,
        transposed_semitones: float = 0.0,
    ) -> None:
        self.prepared, self.grid, self.transposed_semitones = prepared, grid, transposed_semitones
        self.lead = round(lead_seconds * grid.frame_rate)
        self.length = round(excerpt_seconds * grid.frame_rate)
        recordings = list(prepared.recordings)
        self._sounds: dict[str, torch.Tensor] | None = {} if sum(r.n_frames for r in recordings) <= HELD_S * grid.frame_rate else None
        heard = [prepared.controls(recording) for recording in recordings]
        learned_s = (
            sum(int(c.note_frames().sum()) for r, c in zip(recordings, heard, strict=True) if r.split != VALIDATION) / grid.frame_rate
        )
        if learned_s < SHORTEST_S:
            raise AudioError(
                f"the prepared recordings hold {learned_s:.1f} s of notes to learn from; {SHORTEST_S:.0f} s or more are wanted, better a "
                "minute: record more, or use transfer --like FILE --refine"
            )
        peak = max(self._peak(recording) for recording in recordings)
        if peak <= 0.0:
            raise AudioError("the prepared recordings are silent; check their level, and prepare them again")
        self.gain = REFERENCE_PEAK / peak
        whole = any(recording.split == VALIDATION for recording in recordings)
        shifted = [controls.shift_loudness(20.0 * math.log10(self.gain)) for controls in heard]
        self.pieces = [self._piece(r, c, whole) for r, c in zip(recordings, shifted, strict=True)]
        self.counts = np.cumsum([len(piece.learned) for piece in self.pieces])
        if not self.counts[-1]:
            span_s = (self.lead + self.length) / grid.frame_rate
            raise AudioError(f"no recording holds {span_s:.1f} s with notes in one piece; longer recordings are wanted")

        if not any(len(piece.held_out) for piece in self.pieces):
            raise AudioError(f"no {excerpt_seconds:g} s with notes are held out; more recordings are wanted, or longer ones")

    def _peak(self, recording: Any) -> float:
        n_samples, step = self.grid.n_samples(recording.n_frames), round(PIECE_S * self.grid.sample_rate)
        pieces = (self._read(recording, first, min(step, n_samples - first)) for first in range(0, n_samples, step))
        return max((float(piece.abs().max()) for piece in pieces if len(piece)), default=0.0)

    def _read(self, recording: Any, first: int, n_samples: int) -> torch.Tensor:
        """A stretch of a recording; zeros before its beginning and after its end."""
        before = max(-first, 0)
        if self._sounds is None:
            sound = self._read_prepared(recording, first + before, n_samples - before)
        else:
            if recording.name not in self._sounds:
                self._sounds[recording.name] = self._read_prepared(recording, 0, self.grid.n_samples(recording.n_frames))
            sound = self._sounds[recording.name][first + before : first + n_samples]
        return torch.nn.functional.pad(sound, (before, n_samples - before - len(sound)))

    def _read_prepared(self, recording: Any, first: int, n_samples: int) -> torch.Tensor:
        return torch.as_tensor(np.asarray(self.prepared.audio(recording, first, n_samples)), dtype=torch.float32)

    def _piece(self, recording: Any, heard: Controls, whole: bool) -> _Piece:
        """`whole`: recordings are learned from or held out as a whole."""
        n, span = self.length, self.lead + self.length
        notes = heard.note_frames().numpy()
        firsts = np.arange(0, max(heard.n_frames - span + 1, 0), n)
        share = np.array([notes[first + self.lead : first + span].mean() for first in firsts])
        held_out = np.zeros(0, int)
        free = np.ones(heard.n_frames, bool)
        if not whole:
            held_out = firsts[seconds_held_out(share)[1]]
            for first in held_out:
                free[first + self.lead : first + span] = False
        elif recording.split == VALIDATION:
            held_out, free = firsts[seconds_held_out(share)[0]], np.zeros(heard.n_frames, bool)
        if heard.n_frames < span:
            learned = np.zeros(0, int)
        else:
            sums = np.concatenate([[0], np.cumsum(notes)])
            begin = np.arange(heard.n_frames - span + 1)
            enough = sums[begin + span] - sums[begin + self.lead] >= NOTE_SHARE * n
            learned = begin[enough & np.lib.stride_tricks.sliding_window_view(free, span).all(axis=-1)]
        return _Piece(recording, heard, highest_around(heard.f0_hz), note_age(heard.f0_hz, heard.loudness_db), learned, held_out)

    def white(self, count: int, seed: int) -> torch.Tensor:
        """Noise to render `count` excerpts with."""
        return white_for(count, self.lead + self.length, self.grid, seed)

    def batch(self, chosen: Sequence[tuple[int, int]], white: torch.Tensor, semitones: Sequence[float] | np.ndarray | None = None) -> Batch:
        """Excerpts (piece, first frame), lead included, each transposed by so many semitones."""
        moved = [0.0] * len(chosen) if semitones is None else semitones
        tracks = [self._excerpt(self.pieces[i], first, by) for (i, first), by in zip(chosen, moved, strict=True)]
        f0_hz, highest_hz, age, level_db, sound = (torch.stack(some) for some in zip(*tracks, strict=True))
        return Batch(f0_hz, highest_hz, age, level_db, sound, white)

    def _excerpt(self, piece: _Piece, first: int, semitones: float) -> tuple[torch.Tensor, ...]:
        """f0, highest f0 around, age of the note, loudness and sound of an excerpt."""
        hop, n = self.grid.hop_length, self.lead + self.length
        rate = self.grid.sample_rate
        played_at = round(rate * 2.0 ** (semitones / 12.0))
        ratio = played_at / rate
        further = max(math.ceil(n * (ratio - 1.0)), 0)
        if semitones == 0.0 or not piece.is_learned(first, further):
            span = slice(first, first + n)
            sound = self._read(piece.recording, first * hop, n * hop) * self.gain
            return piece.heard.f0_hz[span], piece.highest_hz[span], piece.age[span], piece.heard.loudness_db[span], sound
        frames = first + (torch.arange(n) * ratio).round().long()
        before = hop * -(-N_FFT // (2 * hop))  # so that loudness is heard at the ends as it would be in the whole
        n_samples = -(-(n * hop + 2 * before) * played_at // rate)
        sound = resample(self._read(piece.recording, round(first * hop - before * ratio), n_samples) * self.gain, played_at, rate)
        heard = slice(before // hop, before // hop + n)
        level = loudness_db(sound, self.grid)[heard]
        played = piece.heard.f0_hz[frames] * ratio, piece.highest_hz[frames] * ratio, piece.age[frames]
        return *played, level, sound[before : before + n * hop]

    def drawn(self, step: int, count: int, seed: int) -> tuple[list[tuple[int, int]], np.ndarray, int]:
        """The excerpts of a step, by how many semitones each is transposed, and the seed of their noise."""
        rng = np.random.default_rng([seed, step])
        places = rng.integers(self.counts[-1], size=count)
        owners = np.searchsorted(self.counts, places, side="right")
        before = self.counts - [len(piece.learned) for piece in self.pieces]
        chosen = [(int(i), int(self.pieces[i].learned[place - before[i]])) for i, place in zip(owners, places, strict=True)]
        noise = int(rng.integers(2**31))
        semitones = rng.uniform(-1.0, 1.0, count) * rng.integers(2, size=count) * self.transposed_semitones
        return chosen, semitones, noise

    def validation_excerpts(self, count: int) -> list[tuple[int, int]]:
        """At most `count` excerpts for validation, evenly over all that there are."""
        every = [(i, int(first)) for i, piece in enumerate(self.pieces) for first in piece.held_out]
        if not every:
            return []
        return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))]

    @cached_property
    def largest(self) -> float:
        """Largest magnitude (Hann window of 2048) of what is learned from."""
        hop, step, largest = self.grid.hop_length, round(PIECE_S * self.grid.frame_rate), 0.0
        for piece in self.pieces:
            for first in range(0, piece.heard.n_frames, step):
                n_samples = min(step, piece.heard.n_frames - first) * hop
                largest = max(largest, float(magnitudes(self._read(piece.recording, first * hop, n_samples), 2048, 512).max()))
        return largest * self.gain

    def learned_pieces(self) -> list[_Piece]:
        """Recordings that are learned from."""
        return [piece for piece in self.pieces if piece.recording.split != VALIDATION]

    def sound_of(self, piece: _Piece, longest_s: float | None = None) -> torch.Tensor:
        """A recording, or its beginning, at the level of training, (n_samples,)."""
        n_samples = piece.heard.n_samples
        if longest_s is not None:
            n_samples = min(n_samples, round(longest_s * self.grid.sample_rate))
        return self._read(piece.recording, 0, n_samples) * self.gain

    def reference(self) -> torch.Tensor:
        """Up to a minute of what is learned from, for the encoder, (n_samples,)."""
        sounds: list[torch.Tensor] = []
        left = REFERENCE_S
        for piece in sorted(self.learned_pieces(), key=lambda one: -int(one.heard.note_frames().sum())):
            sounds.append(self.sound_of(piece, left))
            left -= len(sounds[-1]) / self.grid.sample_rate
            if left <= 0.0:
                break
        return torch.cat(sounds)

    def minutes(self) -> float:
        """Of all recordings."""
        return sum(piece.heard.n_frames for piece in self.pieces) / self.grid.frame_rate / 60.0


class FinetuningBatches(IterableDataset[Batch]):
    """Batches of `batch_size` from a step on, without end; of each, the share of one (`rank`) of several processes (`world`)."""

    def __init__(self, material: Material, batch_size: int, *, seed: int, step: int = 0, rank: int = 0, world: int = 1) -> None:
        self.material, self.batch_size, self.seed, self.step = material, batch_size, seed, step
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[Batch]:
        step = self.step
        while True:
            chosen, semitones, noise = self.material.drawn(step, self.batch_size, self.seed)
            mine = slice(self.rank, None, self.world)
            yield self.material.batch(chosen[mine], self.material.white(self.batch_size, noise)[mine], semitones[mine])
            step += 1


def instrument_heard(model: TimbreModel, material: Material, settings: FinetuningSettings, *, encoded: bool = True) -> TimbreModel:
    """A copy of a model with the instrument of prepared recordings alone: its range, dynamics, release, and timbre as the encoder hears it.

    Not `encoded`: the encoder knows nothing yet; the timbre vector is zero.
    """
    pieces = material.learned_pieces()
    notes = [piece.heard.note_frames() for piece in pieces]
    loud = torch.cat([piece.heard.loudness_db for piece in pieces])
    played = torch.cat(notes)
    midi = hz_to_midi(torch.cat([piece.heard.f0_hz[some] for piece, some in zip(pieces, notes, strict=True)]).double())
    lowest, highest = (round(float(end), 1) for end in torch.quantile(_thinned(midi), torch.tensor(RANGE, dtype=midi.dtype)))
    rest = torch.full((100,), FLOOR_DB)
    release = release_rate(torch.cat([part for piece in pieces for part in (piece.heard.loudness_db, rest)]), material.grid.frame_rate)
    facts = Instrument(
        settings.name,
        settings.family,
        lowest,
        highest,
        round(float(midi.mean()), 2),
        settings.source,
        settings.licence or str(material.prepared.manifest.get("licence", "not stated")),
        round(release or USUAL_DB_PER_S, 1),
    )
    z = model.encode(material.reference()) if encoded else torch.zeros(model.settings.z_dim)
    return single_instrument(
        model, facts, z, loudness_quantiles(_thinned(loud[played]), torch.ones_like(_thinned(loud[played]), dtype=torch.bool))
    )


def _thinned(values: torch.Tensor) -> torch.Tensor:
    """Every n-th value, so that torch can take quantiles of many."""
    return values[:: max(1, -(-len(values) // 1_000_000))]
