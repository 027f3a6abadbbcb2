"""Timbre, range, dynamics and release of an instrument: what a performance is adapted to."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .release import USUAL_DB_PER_S


@dataclass(frozen=True)
class Target:
    """The instrument that is to play, and what is known of how it is played.

    Parameters
    ----------
    z : Tensor [shape=(z_dim,)] or [shape=(n_frames, z_dim)]
        Timbre vector, or one for each frame.
    quantiles : Tensor [shape=(13,)] or None, dB re full scale, ascending
        Of the loudness of its notes; None: nothing is known, nothing can be fitted.
    mean_midi, lowest_midi, highest_midi : float, in [0, 127] [MIDI]
        Of its notes.
    release_db_per_s : float, > 0 [dB/s]
        How fast its notes sink when they have ended.
    note_table : Tensor [shape=(25, 15, n_out)] or None
        What it does in the course of a note; see :mod:`tonetransfer.models.note_age_table`.
    fluctuation_db : Tensor [shape=(n_harmonics,)] or None, >= 0
        How far its partials move by themselves; see :mod:`tonetransfer.synthesis.fluctuation`.
    colour_db : Tensor [shape=(2, n_bands)] or None
        Gains of its partials and of its noise; see :mod:`tonetransfer.synthesis.colour`.
    room_tone_db : Tensor [shape=(64,)] or None
        Stationary noise in which it is heard; likewise.

    See Also
    --------
    find_target : The target of a name, a recording or a blend.

    Examples
    --------
    >>> target = tt.find_target(tt.load_model(), 48000, to="flute")
    >>> target.z.dim(), target.lowest_midi < target.mean_midi < target.highest_midi
    (1, True)
    """

    z: torch.Tensor
    quantiles: torch.Tensor | None = None
    mean_midi: float = 69.0
    lowest_midi: float = 0.0
    highest_midi: float = 127.0
    release_db_per_s: float = USUAL_DB_PER_S
    note_table: torch.Tensor | None = None
    fluctuation_db: torch.Tensor | None = None
    colour_db: torch.Tensor | None = None
    room_tone_db: torch.Tensor | None = None
