"""Dynamics: how loud notes are, and how hard they are played.

Quantiles of note loudness, swells made wider or narrower, and, for training, one instrument's loudness in the range of another's;
performances are moved as a whole (:mod:`.adaptation`).

Effort, how hard an instrument is played, is not level: a trumpet that is played softly and recorded close is as loud in the file as one
that blares across a hall. What says something is how far the notes differ from each other. Where all are alike a mezzo-forte is the best
guess, since players play so unless something else is written; where some are far above the others, those are the player's fortissimo.
"""

from __future__ import annotations

import numpy as np
import torch

from ..errors import SettingsError, check_number, did_you_mean

QUANTILES = tuple(round(0.02 + 0.08 * i, 2) for i in range(13))  # 0.02 ... 0.98
FREEDOM_DB = 6.0
SWELL_S = 0.3  # of a player's dynamics; what is faster belongs to the note
DYNAMICS_DB = {"ppp": -30.0, "pp": -26.0, "p": -20.0, "mp": -15.0, "m": -11.0, "mf": -11.0, "f": -5.0, "ff": -1.0, "fff": 0.0}
"""How hard is played at each dynamic marking [dB re the strongest]; orchestral instruments span 20 to 30 dB (Meyer 2009)."""
USUAL_DB = DYNAMICS_DB["mf"]
SOFTEST_DB = -36.0
STRETCH_S = 0.5  # stretches whose loudest instants are compared: a note, or a part of a swell
REST_DB = 30.0  # below the loudest stretch: no note, or a dying one


def loudness_quantiles(loudness_db: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
    """Quantiles (:data:`QUANTILES`) of loudness (n_frames,) in frames of notes, in all if there are none: (13,) [dB], rising."""
    chosen = loudness_db[notes] if bool(notes.any()) else loudness_db
    return torch.quantile(chosen.float(), torch.tensor(QUANTILES), interpolation="nearest")  # a level that occurs: it moves as a frame does


def map_loudness(loudness_db: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Move loudness from one distribution of note loudness towards another, keeping the player's own shape where it fits.

    The loud ends are aligned by a plain gain: there, two recordings of one performance agree best (mean difference of their loudness 3.7
    dB; with the medians aligned 4.5, with the best possible gain 3.2). A level may then differ from where quantile mapping would put it by
    at most 6 dB, which lets the player's dynamics survive while no note falls far outside what the instrument does. Dynamics are narrowed
    where need be and never widened: the ripple of one steady note would become a swell. Monotone, and idempotent. `source` and `target` are
    the quantiles (13,) of the notes' loudness, the player's and the instrument's [dB].
    """
    levels, played, plays = (x.detach().cpu().numpy() for x in (loudness_db, source, target))
    mapped = _interpolate(levels, played, plays[-1] + np.maximum(played - played[-1], plays - plays[-1]))
    moved = levels + (plays[-1] - played[-1])
    return torch.from_numpy(np.clip(moved, mapped - FREEDOM_DB, mapped + FREEDOM_DB)).to(loudness_db)


def scale_dynamics(loudness_db: torch.Tensor, notes: torch.Tensor, amount: float, frame_rate: float) -> torch.Tensor:
    """Loudness (n_frames,) whose swells are made wider or narrower, around the median of the notes [dB].

    `amount` 0: all notes equally loud; 1: as they are; 2: twice the dynamics, in decibels. What is slower than 0.3 s is scaled: from phrase
    to phrase, from note to note, crescendi. Attacks, ends of notes and tremolo are kept. Between notes the gain glides from one to the
    next.
    """
    frames = notes.nonzero()[:, 0].numpy()
    if amount == 1.0 or not len(frames):
        return loudness_db
    window = torch.hann_window(2 * round(SWELL_S * frame_rate / 2) + 3, periodic=False)[1:-1].to(loudness_db)
    stacked = torch.stack([torch.where(notes, loudness_db, 0.0), notes.to(loudness_db)])[:, None]
    total, weight = torch.nn.functional.conv1d(stacked, window[None, None], padding=len(window) // 2)[:, 0]
    swell = (total / weight.clamp(min=1e-6) - loudness_db[notes].median())[notes].numpy()
    gain_db = (amount - 1.0) * np.interp(np.arange(len(loudness_db)), frames, swell)
    return loudness_db + torch.from_numpy(gain_db).to(loudness_db)


def _interpolate(x: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Piecewise linear through (knots, values); beyond the ends the offset of the end holds."""
    knots = knots + np.arange(len(knots), dtype=knots.dtype) * 1e-4  # equal quantiles must not divide by zero
    i = np.clip(np.searchsorted(knots, x), 1, len(knots) - 1)
    slope = np.diff(values) / np.diff(knots)
    inside = values[i - 1] + slope[i - 1] * (x - knots[i - 1])
    return np.where(x < knots[0], x + values[0] - knots[0], np.where(x > knots[-1], x + values[-1] - knots[-1], inside))


def parse_dynamic(dynamic: str | float) -> float:
    """A marking from "ppp" to "fff", or decibels re the strongest, from -36 to 0, as decibels; SettingsError of what is neither."""
    if isinstance(dynamic, str) and (marking := dynamic.strip().lower()) in DYNAMICS_DB:
        return DYNAMICS_DB[marking]
    try:
        level_db = float(dynamic)
    except (TypeError, ValueError):
        level_db = float("nan")
    if not SOFTEST_DB <= level_db <= 0.0:
        hint = did_you_mean(str(dynamic), list(DYNAMICS_DB))
        raise SettingsError(
            f"dynamic is {dynamic!r}; {hint}a marking from ppp to fff or decibels below the strongest, from {SOFTEST_DB:g} to 0, is wanted"
        )
    return level_db


def check_dynamic(dynamic: str | float | None, *, fit: bool) -> None:
    """Refuse, by a SettingsError, a dynamic that says nothing, or of which nothing would come: the performance stays as it is."""
    if dynamic is not None:
        parse_dynamic(dynamic)
        if not fit:
            raise SettingsError(f"dynamic is {dynamic!r}, and without fit loudness stays as it is; leave dynamic out, or fit")


def check_loudness(loudness_db: float) -> None:
    """Refuse, by a SettingsError, a change of loudness [dB] that nobody means."""
    check_number("loudness_db", loudness_db, -120.0, 60.0, "a change from -120 to 60 dB")


def swell_range_db(loudness_db: torch.Tensor, notes: torch.Tensor, frame_rate: float) -> float:
    """Range from the usual loudness of a performance to its loudest [dB]; 0 if there are no notes.

    Compared are the loudest instants of stretches of half a second, so that attacks, decays and short rests do not count.
    """
    if not bool(notes.any()):
        return 0.0
    length = max(round(STRETCH_S * frame_rate), 1)
    level = torch.where(notes, loudness_db, -torch.inf)
    peaks = torch.nn.functional.pad(level, (0, -len(level) % length), value=-torch.inf).reshape(-1, length).amax(dim=-1)
    peaks = peaks[peaks > peaks.max() - REST_DB]
    return float(peaks.max() - peaks.median())


def loud_end_db(range_db: float, dynamic: str | float | None = None) -> float:
    """Effort of the loudest notes of a performance [dB re the strongest], in [-36, 0], of its range as :func:`swell_range_db` measures it.

    `dynamic` is how hard the usual note is to be played, as :func:`parse_dynamic` reads it; None: a mezzo-forte.
    """
    usual = USUAL_DB if dynamic is None else parse_dynamic(dynamic)
    return min(usual + range_db, 0.0)
