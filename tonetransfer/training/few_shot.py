"""Few-shot fitting of a timbre, or of a whole decoder, to a recording whose f0 and loudness are known: it is played, compared and moved.

What turns loudness and pitch into a spectrum stays as it was learned from many instruments; a part of the recording is held out and says
whether the move was one for the better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy

import numpy as np
import torch

from ..audio.stft import magnitudes
from ..controls.controls import Controls
from ..models.note_age_table import note_age
from ..models.timbre_model import TimbreModel
from ..synthesis.render import highest_around, render_batch
from .losses import FFT_SIZES, two_sizes
from .reconstruction import Batch, coupling_lost, decoded, drawn_shift_db, reconstruction_loss, seconds_held_out, snapshot, white_for
from .schedules import warm_cosine

BATCH_SIZE = 2
EXCERPT_S = 1.0  # as long as in training
LONGEST_S = 60  # of a recording: its seconds with the most notes
CHECK_EVERY = 30  # steps
COUPLING_WEIGHT = 2.0

Progress = Callable[[int, int], None]


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
    """Move z and parameters of a model's decoder; in the end they are what was best on the excerpts that were held out.

    Parameters
    ----------
    model : TimbreModel
        The parameters that `rates` names are changed in place.
    z : Tensor [shape=(z_dim,)]
        Not changed.
    material : Reference
    rates : mapping
        Learning rate of what is moved: `z`, and names of the decoder's parameters.
    steps, seed : int
    progress : callable or None
        Told how many of how many steps are done.

    Returns
    -------
    Tensor [shape=(z_dim,)]
    """
    z = z.clone()
    moved = {"z": z} | {key: value for key, value in model.decoder.named_parameters() if key in rates}
    optimizer = torch.optim.Adam([{"params": [moved[key]], "lr": rates[key]} for key in moved], betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps))
    rng = np.random.default_rng(seed)
    validation = material.at(material.held_out, seed) if len(material.held_out) else None
    learned, start = deepcopy(model.decoder), z.clone()
    best, lowest = snapshot(moved), _validation_loss(model, z, validation, material.largest)
    for step in range(steps):
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
        if progress:
            progress(step + 1, steps)
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
