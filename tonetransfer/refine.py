"""A model fitted to one recording: an instrument of its own.

The encoder hears a recording for the first time and guesses. Here the guess is checked: the decoder plays the recording's own f0 and
loudness, what comes out is compared with the recording, and z and the last layers are moved until both are alike. What turns loudness
and pitch into a spectrum stays as it was learned from many instruments; a part of the recording is held out and says when to stop.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch

from .audio import AudioLike
from .controls import Controls, extract
from .errors import AudioError
from .likeness import (
    SHIFT_DB,
    Batch,
    coupling_lost,
    decoded,
    likeness_loss,
    seconds_held_out,
    single_instrument,
    snapshot,
    warm_cosine,
    white_for,
)
from .losses import FFT_SIZES
from .model import Instrument, TimbreModel
from .reference import SHORTEST_S
from .spectral import magnitudes
from .synth import highest_around, render_batch
from .target import Target, at_peak, at_rate, find_target
from .trackers import DEFAULT_TRACKER

STEPS = 200  # with two excerpts each: about half a minute on two slow cores
BATCH_SIZE = 2
EXCERPT_S = 1.0  # as long as in training
LONGEST_S = 60  # of a reference: its seconds with the most notes
CHECK_EVERY = 30  # steps
RATES = {"z": 2e-2, "head.bias": 1e-2, "head.weight": 5e-4, "film_before.bias": 5e-3, "film_after.bias": 5e-3}  # what is moved, how fast
COUPLING_WEIGHT = 2.0

Progress = Callable[[int, int], None]


def refine(
    reference: AudioLike,
    sample_rate: int,
    model: TimbreModel,
    *,
    name: str = "refined",
    steps: int = STEPS,
    tracker: str = DEFAULT_TRACKER,
    seed: int = 0,
    progress: Progress | None = None,
) -> TimbreModel:
    """Fit a model to a recording of one instrument.

    Takes half a minute on two cores, whatever the length of the recording. The number of steps is fixed, so that the same recording and
    seed give the same instrument.

    Parameters
    ----------
    reference : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        3 s or more of one instrument, one note at a time.
    sample_rate : int, > 0 [Hz]
    model : TimbreModel
        Not changed.
    name : str
        Of the instrument; other signs than letters and digits become ``_``.
    steps : int, > 0
    tracker : str
    seed : int, >= 0
    progress : callable or None
        Told how many of how many steps are done.

    Returns
    -------
    TimbreModel
        With one instrument, whose register and dynamics are those of the recording. :func:`~tonetransfer.weights.save_model`
        makes a file of it.

    Raises
    ------
    AudioError
        The recording holds less than 1 s of notes.

    Warns
    -----
    ToneTransferWarning
        As for a reference that is not refined.
    """
    target = find_target(model, sample_rate, like=reference, tracker=tracker)
    sound = at_peak(at_rate(reference, sample_rate, model.sample_rate))
    heard = extract(sound, model.grid, tracker=tracker)
    seconds = float(heard.note_frames().sum()) / model.grid.frame_rate
    if seconds < SHORTEST_S:
        raise AudioError(f"the reference holds {seconds:.1f} s of notes; refining takes {SHORTEST_S:.0f} s or more, better 5")
    refined = _instrument_of(model, target, re.sub(r"[\W_]+", "_", name.lower()).strip("_") or "refined")
    with torch.enable_grad():
        _fit(refined, _Material(sound, heard), steps, seed, progress)
    return refined.eval().requires_grad_(False)


def _instrument_of(model: TimbreModel, target: Target, name: str) -> TimbreModel:
    """A copy of a model with the instrument of a recording alone."""
    ends = target.lowest_midi, target.highest_midi, target.mean_midi
    facts = Instrument(name, "refined", *ends, "a recording", "that of the recording", target.release_db_per_s)
    return single_instrument(model, facts, target.z, target.quantiles)


class _Material:
    """A recording (n_samples,) and its controls, as excerpts to learn from and others to judge by."""

    def __init__(self, sound: torch.Tensor, heard: Controls) -> None:
        self.heard, self.grid = heard, heard.grid
        self.sound = torch.nn.functional.pad(sound, (0, heard.n_samples - len(sound)))
        self.highest_hz = highest_around(heard.f0_hz)
        self.length = min(round(EXCERPT_S * self.grid.frame_rate), heard.n_frames)
        self.largest = float(magnitudes(sound, 2048, 512).max())
        notes = heard.note_frames().float().numpy()
        firsts = np.arange(0, heard.n_frames - self.length + 1, self.length)
        kept, judged = seconds_held_out(np.array([notes[first : first + self.length].mean() for first in firsts]), LONGEST_S)
        self.judged = firsts[judged]
        learned = np.zeros(heard.n_frames + 1, bool)
        for first in firsts[kept]:
            learned[first : first + self.length] = first not in self.judged
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
        return Batch(self.heard.f0_hz[frames], self.highest_hz[frames], self.heard.loudness_db[frames], sound, white)


def _fit(model: TimbreModel, material: _Material, steps: int, seed: int, progress: Progress | None) -> None:
    """Move z and the last layers of a model; in the end it is what was best on the excerpts that were held out."""
    z = model.timbres[0].clone()
    moved = {"z": z} | {key: value for key, value in model.decoder.named_parameters() if key in RATES}
    optimizer = torch.optim.Adam([{"params": [moved[key]], "lr": RATES[key]} for key in moved], betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps))
    rng = np.random.default_rng(seed)
    judge = material.at(material.judged, seed) if len(material.judged) else None
    learned, start = deepcopy(model.decoder), z.clone()
    best, lowest = snapshot(moved), _judge(model, z, judge, material.largest)
    for step in range(steps):
        for value in moved.values():
            value.requires_grad_(True)
        batch = material.at(rng.choice(material.learned, BATCH_SIZE), int(rng.integers(2**31)))
        sizes = (2048, int(rng.choice([n for n in FFT_SIZES if n != 2048])))  # all of them, two at a time
        optimizer.zero_grad()
        shift_db = float(rng.choice([-1.0, 1.0]) * rng.uniform(*SHIFT_DB))
        params, change = decoded(model.decoder, z, batch, shift_db)
        assert change is not None
        loss = likeness_loss(render_batch(params, model.grid, batch.white), batch.sound, model.grid, material.largest, sizes)
        loss = loss + COUPLING_WEIGHT * coupling_lost(change, learned, start, batch, shift_db)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
        schedule.step()
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            found = _judge(model, z, judge, material.largest)
            if found <= lowest:
                best, lowest = snapshot(moved), found
        if progress:
            progress(step + 1, steps)
    with torch.no_grad():
        for key, value in moved.items():
            value.copy_(best[key])
        model.timbres.copy_(z[None])


@torch.no_grad()
def _judge(model: TimbreModel, z: torch.Tensor, batch: Batch | None, largest: float) -> float:
    """Loss on what was held out; 0 if nothing was."""
    if batch is None:
        return 0.0
    sound = render_batch(decoded(model.decoder, z, batch)[0], model.grid, batch.white)
    return float(likeness_loss(sound, batch.sound, model.grid, largest, FFT_SIZES))
