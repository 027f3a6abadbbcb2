"""The envelope of one note: how it starts, settles, lasts and dies away.

The envelope is the root of the audio's power through a Hann window of whole periods, 1000 times a second. Attack and release are
measured by *effort*, the time that each further tenth of the peak takes (after Peeters et al., "The Timbre Toolbox", JASA 130(5),
2011): the attack is over where a tenth suddenly takes four times as long as the ones before, so a crescendo does not count as
attack. All times are those of a straight line: an attack that rises linearly within 50 ms reads 50 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

ENVELOPE_RATE = 1000  # Hz
SHORTEST_WINDOW_S = 0.010
SHORTEST_RISE_S = 0.001
LONGER_EFFORT = 4.0
SLACK_S = 0.010  # ripples of less than this do not end an attack
SLURRED = 0.3  # a note that begins above this share of its peak has no attack of its own
LATEST_ONSET_S = 0.2  # what rises later, after a quiet beginning, is a swell
HEARD, LONGEST_FLAT_S = 0.1, 0.1  # and so is what first stays for a while where it can be heard
LATEST_DECAY_S = 0.05  # after the attack; a peak that comes later is a swell
_STEP_SHARE = 0.694  # what a sudden start reads, re the length of the window: (C^-1(0.81) - C^-1(0.01)) / 0.8, C the Hann window's integral


@dataclass(frozen=True)
class Adsr:
    """Parts of a note [s], re the start of its envelope where they are instants. A part that a note does not have is 0.

    Parameters
    ----------
    onset_s : float
        Where the attack's straight line leaves zero.
    attack_s, decay_s, sustain_s, release_s : float, >= 0
    sustain_db : float, <= 0
        Level of the sustained part re the peak.
    """

    onset_s: float = 0.0
    attack_s: float = 0.0
    decay_s: float = 0.0
    sustain_s: float = 0.0
    release_s: float = 0.0
    sustain_db: float = 0.0

    @property
    def log_attack_time(self) -> float:
        """Attack time [log10 s], not below -3 (1 ms), which is also what a slurred note reads."""
        return math.log10(max(self.attack_s, SHORTEST_RISE_S))


def window_s(f0_hz: float) -> float:
    """Length of the smoothing window [s]: whole periods, so that no ripple of f0 is left, and at least 10 ms."""
    return max(2, math.ceil(SHORTEST_WINDOW_S * f0_hz)) / f0_hz


def amplitude_envelope(audio: np.ndarray, sample_rate: int, f0_hz: float) -> np.ndarray:
    """Amplitude of one note.

    Parameters
    ----------
    audio : ndarray [shape=(n_samples,)]
    sample_rate : int [Hz]
    f0_hz : float, > 0
        The note's mean f0.

    Returns
    -------
    ndarray [shape=(n,)], >= 0, linear
        1000 values a second; a sine reads its amplitude.
    """
    window = np.hanning(round(window_s(f0_hz) * sample_rate) + 2)[1:-1]
    power = fftconvolve(np.asarray(audio, np.float64) ** 2, window / window.sum(), mode="same")
    n = 1 + int((len(audio) - 1) * ENVELOPE_RATE / sample_rate)
    power = np.interp(np.arange(n) * sample_rate / ENVELOPE_RATE, np.arange(len(audio)), power[: len(audio)])
    return np.sqrt(2.0 * np.maximum(power, 0.0))


def find_adsr(envelope: np.ndarray, *, smoothing_s: float = 0.0) -> Adsr:
    """Take a note's envelope apart.

    Parameters
    ----------
    envelope : ndarray [shape=(n,)], >= 0
        1000 values a second, from at most 0.1 s before the note to after it.
    smoothing_s : float, >= 0
        Length of the window that it was smoothed with; what that adds to a rise is taken off again.

    Returns
    -------
    Adsr
    """
    peak = float(envelope.max(initial=0.0))
    if len(envelope) < 3 or peak <= 0:
        return Adsr()
    onset_s, attack_s = _rise(envelope / peak, smoothing_s)
    if onset_s > LATEST_ONSET_S:
        onset_s, attack_s = 0.0, 0.0
    tail_s, release_s = _rise(envelope[::-1] / peak, smoothing_s)
    end_s = (len(envelope) - 1) / ENVELOPE_RATE - tail_s
    first = min(round((onset_s + attack_s) * ENVELOPE_RATE), len(envelope) - 1)
    release_s = min(release_s, max(end_s - onset_s - attack_s, 0.0))
    last = max(round((end_s - release_s) * ENVELOPE_RATE), first)
    decay_s, sustain = _decay(envelope[first : last + 1])
    sustain_s = max((last - first) / ENVELOPE_RATE - decay_s, 0.0)
    return Adsr(onset_s, attack_s, decay_s, sustain_s, release_s, min(20.0 * math.log10(max(sustain / peak, 1e-4)), 0.0))


def temporal_centroid_s(envelope: np.ndarray, onset_s: float = 0.0) -> float:
    """Centre of gravity of an envelope (n,) in time, counted from `onset_s` [s] (Peeters et al., 2011)."""
    weight = envelope[min(round(onset_s * ENVELOPE_RATE), len(envelope)) :]
    total = float(weight.sum())
    return float((weight * np.arange(len(weight))).sum() / total / ENVELOPE_RATE) if total > 0 else 0.0


def _rise(share: np.ndarray, smoothing_s: float) -> tuple[float, float]:
    """Begin and duration of a rise [s], for an envelope (n,) with peak 1; (0, 0) if it begins high already."""
    if share[0] >= SLURRED:
        return 0.0, 0.0
    levels = np.arange(1, 10) / 10.0
    levels = levels[levels > share[0]]
    after = np.array([int(np.argmax(share >= level)) for level in levels])  # first crossings
    before = share[after - 1]
    times = (after - 1 + (levels - before) / np.maximum(share[after] - before, 1e-12)) / ENVELOPE_RATE
    first, last = _easy_steps(np.diff(times))
    if share[0] > HEARD and times[first] > LONGEST_FLAT_S:
        return 0.0, 0.0
    target = 1.0 if last == len(levels) - 1 else levels[last]
    per_unit = (times[last] - times[first]) / (levels[last] - levels[first])
    raw_s = per_unit * target
    rise_s = max(math.sqrt(max(raw_s**2 - (_STEP_SHARE * smoothing_s) ** 2, 0.0)), SHORTEST_RISE_S)
    onset_s = times[first] - per_unit * levels[first] + (raw_s - rise_s) / 2.0  # smoothing leaves the middle where it is
    end_s = onset_s + rise_s
    return max(float(onset_s), 0.0), max(float(end_s - max(onset_s, 0.0)), SHORTEST_RISE_S)


def _easy_steps(efforts: np.ndarray) -> tuple[int, int]:
    """The stretch of steps in which none takes much longer than the rest: the levels it begins and ends at."""
    last = len(efforts)
    for step in range(2, len(efforts)):
        if efforts[step] > LONGER_EFFORT * efforts[:step].mean() + SLACK_S:
            last = step
            break
    first = 0
    while last - first > 2 and efforts[first] > LONGER_EFFORT * efforts[first + 1 : last].mean() + SLACK_S:
        first += 1
    return first, last


def _decay(body: np.ndarray) -> tuple[float, float]:
    """Length of the fall right after the attack [s] and the level it leads to, for what lies between attack and release."""
    sustain = float(np.median(body[len(body) // 2 :]))
    top = int(body.argmax())
    if top > LATEST_DECAY_S * ENVELOPE_RATE or body[top] < 1.12 * sustain:  # a swell; less than 1 dB
        return 0.0, sustain
    settled = body[top:] <= sustain + 0.1 * (body[top] - sustain)
    return float((top + np.argmax(settled) / 0.9) / ENVELOPE_RATE), sustain
