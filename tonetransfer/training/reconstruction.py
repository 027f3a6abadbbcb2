"""Reconstruction loss, and timbres or decoders fitted with it to a few seconds of one instrument.

The decoder plays the recording's own f0 and loudness, what comes out is compared with the recording. What it learned from many instruments
of how loudness changes a spectrum is held on to: a few phrases hardly show it; a part of the recording is held out and says whether a move
was one for the better. :func:`tonetransfer.pipeline.target.refine` (one recording, half a minute) and
:mod:`tonetransfer.training.finetuning` (a data set, minutes to hours) share this.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..audio.stft import magnitudes
from ..controls.controls import Controls
from ..controls.dynamics import QUANTILES
from ..models.decoder import Decoder
from ..models.note_age_table import note_age
from ..models.timbre_model import Instrument, TimbreModel
from ..synthesis.render import SynthParams, below_nyquist, highest_around, render_batch
from ..threads import Progress, counted
from .losses import FFT_SIZES, Audible, heard_difference, two_sizes
from .settings import warm_cosine

DISTANCE_WEIGHT, AUDIBLE_WEIGHT, LOUDNESS_WEIGHT = 2.0, 0.5, 0.05
SHIFT_DB = 4.0, 12.0  # louder or softer than the recording: what was learned of dynamics from many instruments is to last
FAINT = 1e-4  # of the sum of all harmonics: fainter ones do not count
AUDIBLE_DB, FLOOR_DB = 60.0, 80.0  # below the recording's largest magnitude: a real one has a room and a microphone further down
FAINT_DB = -60.0
NOTE_SHARE = 0.3  # a second with fewer note frames is not learned from
HELD_OUT = 5  # one second of so many is not learned from
BATCH_SIZE = 2
EXCERPT_S = 1.0  # as long as in training
LONGEST_S = 60  # of a recording: its seconds with the most notes
CHECK_EVERY = 30  # steps
COUPLING_WEIGHT = 2.0


@dataclass(frozen=True)
class Batch:
    """Excerpts of recordings."""

    f0_hz: torch.Tensor  # (batch, n_frames), as the next three
    highest_hz: torch.Tensor  # `render.highest_around` of the whole recording
    age: torch.Tensor  # its `note_age_table.note_age`
    loudness_db: torch.Tensor
    sound: torch.Tensor  # (batch, n_frames * hop_length)
    white: torch.Tensor  # (batch, (n_frames + 2) * hop_length), the noise to render them with

    def to(self, device: torch.device) -> Batch:
        """The same excerpts on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def white_for(count: int, n_frames: int, grid: FrameGrid, seed: int) -> torch.Tensor:
    """White noise of unit variance (uniform) for `count` excerpts, shape (count, (n_frames + 2) * hop_length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, (n_frames + 2) * grid.hop_length, generator=generator).sub_(0.5).mul_(12.0**0.5)


def seconds_held_out(share: np.ndarray, longest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of a recording to learn from and those held out for validation, rising, of the share (n,) of notes in each.

    Kept are `longest` at most, those with the most notes; held out is the middle one of every five of these, none of one or two.
    """
    kept = np.sort(np.argsort(-share, kind="stable")[:longest])
    kept = kept[share[kept] >= min(NOTE_SHARE, share.max(initial=0.0))]
    return kept, kept[HELD_OUT // 2 :: HELD_OUT]


def reconstruction_loss(sound: torch.Tensor, target: torch.Tensor, grid: FrameGrid, largest: float, sizes: tuple[int, ...]) -> torch.Tensor:
    """Distance of what was played (batch, n_samples) from the recording, whose largest magnitude is given (Hann window of 2048)."""
    faintest, floor = (largest * 10.0 ** (-below / 20.0) for below in (AUDIBLE_DB, FLOOR_DB))
    loss, _ = heard_difference(
        sound,
        target,
        grid.sample_rate,
        sizes,
        distance_weight=DISTANCE_WEIGHT,
        loudness_weight=LOUDNESS_WEIGHT,
        faint_db=FAINT_DB,
        audible=Audible(AUDIBLE_WEIGHT, faintest, floor),
    )
    return loss


def single_instrument(model: TimbreModel, instrument: Instrument, z: torch.Tensor, quantiles: torch.Tensor | None) -> TimbreModel:
    """A copy of a model with a single named timbre z (z_dim,), to be fitted to it.

    Quantiles (13,) of its loudness [dB], if they are known.
    """
    copy = deepcopy(model).requires_grad_(False)
    copy.instruments, copy.timbres = (instrument,), z[None].clone()
    copy.room = copy.note_tables = copy.room_tone_db = None
    copy.quantiles = torch.zeros(1, len(QUANTILES)) if quantiles is None else quantiles[None].clone()
    return copy


def decoded(decoder: Decoder, z: torch.Tensor, batch: Batch, shift_db: float | None = None) -> tuple[SynthParams, torch.Tensor | None]:
    """Decode with timbre z (z_dim,), and find how the spectrum changes if the first excerpt is `shift_db` louder.

    The louder excerpt rides along as one more row: most of a decoder's time goes into its recurrence, whatever the number of rows. A
    note-age table is read at the level of the recording in either: it holds what was heard, and is not held to other instruments' dynamics.

    Returns
    -------
    params : SynthParams, tensors (batch, n_frames, ...)
    change : Tensor [shape=(n_frames, n_harmonics)] or None, nepers
        Of each partial's share.
    """
    f0_hz, highest_hz, age, loudness = batch.f0_hz, batch.highest_hz, batch.age, batch.loudness_db
    asked = loudness
    if shift_db is not None:
        f0_hz, highest_hz, age = (torch.cat([track, track[:1]]) for track in (f0_hz, highest_hz, age))
        loudness, asked = (torch.cat([loudness, loudness[:1] + by_db]) for by_db in (0.0, shift_db))
    z = z.expand(len(f0_hz), -1)
    h = decoder.pre_gru(f0_hz, asked, z)
    remembered, _ = decoder.run_gru(h)
    params = decoder.post_gru(h, remembered, f0_hz, loudness, z, highest_hz, age)
    if shift_db is None:
        return params, None
    shares = torch.log(params.harmonic_distribution[[0, -1]] + FAINT)
    return params.map(lambda x: x[:-1]), shares[1] - shares[0]


def drawn_shift_db(rng: np.random.Generator) -> float:
    """By how much louder or softer a step asks."""
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(*SHIFT_DB))


def coupling_lost(change: torch.Tensor, learned: Decoder, start: torch.Tensor, batch: Batch, shift_db: float) -> torch.Tensor:
    """Change in how partials respond to loudness, against the model at the beginning: mean [nepers] over those that may sound.

    `change` (n_frames, n_harmonics) is what :func:`decoded` gives for `shift_db`; `learned` and `start` are decoder and timbre held on to.
    """
    with torch.no_grad():
        first = Batch(*(getattr(batch, field.name)[:1] for field in fields(batch)))
        _, wanted = decoded(learned, start, first, shift_db)
        assert wanted is not None
        audible = below_nyquist(batch.highest_hz[0], learned.n_harmonics, learned.sample_rate).to(wanted)
    return ((change - wanted).abs() * audible).sum() / audible.sum()


def snapshot(moved: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy of what is moved, to go back to."""
    return {key: value.detach().clone() for key, value in moved.items()}


class Reference:
    """A recording (n_samples,) and its controls, as excerpts to learn from and others for validation."""

    def __init__(self, sound: torch.Tensor, heard: Controls) -> None:
        self.heard, self.grid = heard, heard.grid
        self.sound = torch.nn.functional.pad(sound, (0, heard.n_samples - len(sound)))
        self.highest_hz, self.age = highest_around(heard.f0_hz), note_age(heard.f0_hz, heard.loudness_db)
        self.length = min(round(EXCERPT_S * self.grid.frame_rate), heard.n_frames)
        self.largest = float(magnitudes(sound, 2048, 512).max())
        notes = heard.note_frames().float().numpy()
        firsts = np.arange(0, heard.n_frames - self.length + 1, self.length)
        kept, held_out = seconds_held_out(np.array([notes[first : first + self.length].mean() for first in firsts]), LONGEST_S)
        self.held_out = firsts[held_out]
        learned = np.zeros(heard.n_frames + 1, bool)
        for first in firsts[kept]:
            learned[first : first + self.length] = first not in self.held_out
        if kept[-1] == len(firsts) - 1:
            learned[firsts[-1] + self.length :] = True  # what is left after the last whole second
        whole = np.lib.stride_tricks.sliding_window_view(learned[:-1], self.length).all(axis=-1)
        self.learned = np.flatnonzero(whole)

    def at(self, firsts: np.ndarray, seed: int) -> Batch:
        """Excerpts that begin in frames `firsts`, with noise to render them."""
        hop, n = self.grid.hop_length, self.length
        frames = torch.from_numpy(firsts)[:, None] + torch.arange(n)
        sound = torch.stack([self.sound[first * hop : (first + n) * hop] for first in firsts.tolist()])
        white = white_for(len(firsts), n, self.grid, seed)
        tracks = self.heard.f0_hz, self.highest_hz, self.age, self.heard.loudness_db
        f0_hz, highest_hz, age, level_db = (track[frames] for track in tracks)
        return Batch(f0_hz, highest_hz, age, level_db, sound, white)


def fit_few_shot(
    model: TimbreModel,
    z: torch.Tensor,
    material: Reference,
    rates: Mapping[str, float],
    steps: int,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Move z (z_dim,) and parameters of a model's decoder; in the end they are what was best on the excerpts that were held out.

    `rates` are the learning rates of what is moved: `z`, which is returned, and names of the decoder's parameters, which are changed in
    place.
    """
    z = z.clone()
    moved = {"z": z} | {key: value for key, value in model.decoder.named_parameters() if key in rates}
    optimizer = torch.optim.Adam([{"params": [moved[key]], "lr": rates[key]} for key in moved], betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps))
    rng = np.random.default_rng(seed)
    validation = material.at(material.held_out, seed) if len(material.held_out) else None
    learned, start = deepcopy(model.decoder), z.clone()
    best, lowest = snapshot(moved), _validation_loss(model, z, validation, material.largest)
    for step in counted(range(steps), progress):
        for value in moved.values():
            value.requires_grad_(True)
        batch = material.at(rng.choice(material.learned, BATCH_SIZE), int(rng.integers(2**31)))
        sizes = two_sizes(rng)
        optimizer.zero_grad()
        shift_db = drawn_shift_db(rng)
        params, change = decoded(model.decoder, z, batch, shift_db)
        assert change is not None
        loss = reconstruction_loss(render_batch(params, model.grid, batch.white), batch.sound, model.grid, material.largest, sizes)
        loss = loss + COUPLING_WEIGHT * coupling_lost(change, learned, start, batch, shift_db)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
        schedule.step()
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            found = _validation_loss(model, z, validation, material.largest)
            if found <= lowest:
                best, lowest = snapshot(moved), found
    with torch.no_grad():
        for key, value in moved.items():
            value.copy_(best[key])
    return z.detach().requires_grad_(False)


@torch.no_grad()
def _validation_loss(model: TimbreModel, z: torch.Tensor, batch: Batch | None, largest: float) -> float:
    """Loss on what was held out; 0 if nothing was."""
    if batch is None:
        return 0.0
    sound = render_batch(decoded(model.decoder, z, batch)[0], model.grid, batch.white)
    return float(reconstruction_loss(sound, batch.sound, model.grid, largest, FFT_SIZES))
