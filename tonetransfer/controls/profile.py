"""Timbre, range, dynamics and release of an instrument: what a performance is adapted to.

Release is how a note dies away. A clarinet's note is gone when the breath stops, a violin's string rings on. Where a note ends is the
player's, and so is a slow decay, in which a room is heard; where the player's sound stops sooner than the instrument's would, the
instrument's rings on. It is one number: over sampled instruments loudness falls along a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..audio.loudness import FLOOR_DB
from ..errors import InstrumentError, check_type

GENTLE_DB_PER_S = 80.0  # a fall that is slower is a diminuendo, or the decay of a string that nobody damps
DEPTH_DB = 15.0  # a fall that ends sooner is an accent
GONE_DB, DEEP_DB = -60.0, 30.0  # re full scale, and below where it began: nothing but the end of a note falls so far so fast
RISE_DB, RISE_FRAMES = 6.0, 10  # or another note begins
SLOWEST_DB_PER_S, FASTEST_DB_PER_S = 100.0, 2000.0  # the slowest is steeper than a gentle fall, so that it is found again
SILENCE_DB, SILENT_FRAMES = FLOOR_DB + 0.5, 10  # digital silence, and how much of it no room leaves
ABRUPT_DB_PER_S = 1500.0  # a note that falls faster was cut off: no player stops so fast, and a cut reads 1700 or more
EDITED_DB_PER_S = 800.0  # a note that an editor cut out of a recording fades at least so fast: it must not sound far into a pause
USUAL_DB_PER_S = 330.0  # median of the bundled instruments
MEASURED_DB = (3.0, 23.0)  # below where the fall began
TRAITS = ("note_table", "fluctuation_db", "colour_db", "string_damping")


def find_releases(loudness_db: torch.Tensor, frame_rate: float) -> list[tuple[int, int]]:
    """Find the ends of notes: the last frame of each before loudness (n_frames,) falls, and the one before the next note rises."""
    level = loudness_db.double().tolist()
    gentle = GENTLE_DB_PER_S / frame_rate
    found: list[tuple[int, int]] = []
    top = lowest = 0  # `top`: where a line of the gentle slope touches the curve from above

    def end(rising: bool) -> None:
        depth = level[top] - level[lowest]
        if depth >= DEPTH_DB and (level[lowest] <= GONE_DB or depth >= DEEP_DB or rising):
            found.append((top, lowest))

    for t, value in enumerate(level):
        if value >= level[top] - gentle * (t - top):
            if lowest > top:
                end(t - lowest <= RISE_FRAMES and value >= level[lowest] + RISE_DB)
            top = lowest = t
        elif value <= level[lowest]:
            lowest = t
        elif value > level[lowest] + RISE_DB:
            end(t - lowest <= RISE_FRAMES)
            top = lowest = t
    if lowest > top:
        end(False)
    return found


def release_rate(loudness_db: torch.Tensor, frame_rate: float) -> float | None:
    """Release rate of notes [dB/s], the median over all ends of notes in loudness (n_frames,); None if there is no end to measure."""
    found = [fall_db_per_s(loudness_db[first : last + 1], frame_rate) for first, last in find_releases(loudness_db, frame_rate)]
    rates = [rate for rate in found if rate is not None]
    return float(np.clip(np.median(rates), SLOWEST_DB_PER_S, FASTEST_DB_PER_S)) if rates else None


def fall_db_per_s(loudness_db: torch.Tensor, frame_rate: float) -> float | None:
    """Mean slope of the end of a note (n_frames,), from 3 to 23 dB below its first frame; None if it does not fall so far."""
    return _slope(loudness_db, frame_rate) if float(loudness_db[0] - loudness_db.min()) >= MEASURED_DB[1] else None


def _slope(loudness_db: torch.Tensor, frame_rate: float) -> float:
    """:func:`fall_db_per_s`, or as far as it falls: the next note may begin sooner."""
    below = float(loudness_db[0]) - loudness_db.numpy()
    begin, finish = (int(np.argmax(below >= min(depth, below.max()))) for depth in MEASURED_DB)
    return float(below[finish] - below[begin]) * frame_rate / (finish - begin) if finish > begin else FASTEST_DB_PER_S


def is_dry(loudness_db: torch.Tensor) -> bool:
    """Tell a source (n_frames,) [dB] that is digitally silent for a tenth of a second, as synthesizers and gates are and no room is."""
    return int((loudness_db <= SILENCE_DB).sum()) >= SILENT_FRAMES


def playable_release(rate_db_per_s: float, *, in_room: bool = False) -> float:
    """Rate at which notes of an instrument are let die away [dB/s], 100 to 2000; beside a source in a room, as fast as a cut at least."""
    rate_db_per_s = max(rate_db_per_s, EDITED_DB_PER_S) if in_room else rate_db_per_s
    return min(max(rate_db_per_s, SLOWEST_DB_PER_S), FASTEST_DB_PER_S)


def with_release(
    loudness_db: torch.Tensor,
    rate_db_per_s: float,
    frame_rate: float,
    releases: Sequence[tuple[int, int]] | None = None,
    *,
    dry: bool = False,
) -> torch.Tensor:
    """Loudness (n_frames,) whose notes, where they stop short, ring on as an instrument's do [dB]; idempotent.

    A note that takes its time to die away is left as it is: it was played so, or a room was heard. Not so in a source that is `dry`, with
    nothing at all between notes (:func:`is_dry`): there the decay is the source instrument's own, and the other instrument's takes its
    place. The rate is taken as 100 to 2000 dB/s; `releases` are what :func:`find_releases` says, if it is known.
    """
    result = loudness_db.clone()
    step = playable_release(rate_db_per_s) / frame_rate
    for first, last in find_releases(loudness_db, frame_rate) if releases is None else releases:
        if not dry and _slope(loudness_db[first : last + 1], frame_rate) < ABRUPT_DB_PER_S:
            continue
        sunk = step * torch.arange(1, last - first + 1, dtype=loudness_db.dtype)
        rest = slice(first + 1, last + 1)
        own = (loudness_db[first] - sunk).clamp(min=FLOOR_DB)
        result[rest] = own if dry else torch.maximum(loudness_db[rest], own)
    return result


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
    string_damping : float, >= 0 [dB/s per square root of a hertz]
        How its partials die away once no bow drives them; see :mod:`tonetransfer.synthesis.damping`. 0: as the decoder has learned it.

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
    string_damping: float = 0.0


def check_target(target: Target) -> None:
    """Refuse, by an InstrumentError, what is no Target."""
    check_type("target", target, Target, "find_target() gives one", error=InstrumentError)


def traits_of(player: Any) -> dict[str, Any]:
    """Traits of a target, or of an arrangement for it, that :meth:`~tonetransfer.models.timbre_model.TimbreModel.play` takes beside z."""
    return {name: getattr(player, name) for name in TRAITS}
