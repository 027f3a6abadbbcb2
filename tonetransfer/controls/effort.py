"""Effort: how hard an instrument is played, apart from how loud its recording is.

The gain of a recording says nothing of effort: a trumpet that is played softly and recorded close is as loud in the file as one that blares
across a hall. What says something is how far the notes differ from each other in level. Where all are alike a mezzo-forte is the best
guess, since players play so unless something else is written; where some are far above the others, those are the player's fortissimo.
"""

from __future__ import annotations

import torch

from ..errors import SettingsError
from ..suggest import did_you_mean

DYNAMICS_DB = {"ppp": -30.0, "pp": -26.0, "p": -20.0, "mp": -15.0, "m": -11.0, "mf": -11.0, "f": -5.0, "ff": -1.0, "fff": 0.0}
"""How hard is played at each dynamic marking [dB re the strongest]; orchestral instruments span 20 to 30 dB (Meyer 2009)."""
USUAL_DB = DYNAMICS_DB["mf"]
SOFTEST_DB = -36.0
SWELL_S = 0.5  # stretches whose loudest instants are compared: a note, or a part of a swell
REST_DB = 30.0  # below the loudest stretch: no note, or a dying one


def parse_dynamic(dynamic: str | float) -> float:
    """Convert a dynamic marking to decibels.

    Parameters
    ----------
    dynamic : str or float
        A marking from "ppp" to "fff", or decibels re the strongest, from -36 to 0.

    Returns
    -------
    float, in [-36, 0] [dB]

    Raises
    ------
    SettingsError
        Neither.
    """
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
    """Refuse a dynamic that says nothing, or that nothing would come of.

    Raises
    ------
    SettingsError
        As of :func:`parse_dynamic`; or one is given while the performance stays as it is.
    """
    if dynamic is not None:
        parse_dynamic(dynamic)
        if not fit:
            raise SettingsError(f"dynamic is {dynamic!r}, and without fit loudness stays as it is; leave dynamic out, or fit")


def swell_range_db(loudness_db: torch.Tensor, notes: torch.Tensor, frame_rate: float) -> float:
    """Range from the usual loudness of a performance to its loudest.

    Compared are the loudest instants of stretches of half a second, so that attacks, decays and short rests do not count.

    Parameters
    ----------
    loudness_db : Tensor [shape=(n_frames,)], dB
    notes : Tensor [shape=(n_frames,)], bool
    frame_rate : float, > 0 [Hz]

    Returns
    -------
    float, >= 0 [dB]
        0 if there are no notes.
    """
    if not bool(notes.any()):
        return 0.0
    length = max(round(SWELL_S * frame_rate), 1)
    level = torch.where(notes, loudness_db, -torch.inf)
    peaks = torch.nn.functional.pad(level, (0, -len(level) % length), value=-torch.inf).reshape(-1, length).amax(dim=-1)
    peaks = peaks[peaks > peaks.max() - REST_DB]
    return float(peaks.max() - peaks.median())


def loud_end_db(range_db: float, dynamic: str | float | None = None) -> float:
    """Effort of the loudest notes of a performance.

    Parameters
    ----------
    range_db : float, >= 0 [dB]
        As :func:`swell_range_db` measures it.
    dynamic : str, float or None
        How hard the usual note is to be played, as :func:`parse_dynamic` reads it; None: a mezzo-forte.

    Returns
    -------
    float, in [-36, 0] [dB re the strongest]
    """
    usual = USUAL_DB if dynamic is None else parse_dynamic(dynamic)
    return min(usual + range_db, 0.0)
