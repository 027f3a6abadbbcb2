"""Pitch trackers by name, all alike: 16 kHz audio in, one f0 and one confidence every 10 ms out, nothing repaired.

Their clocks were checked with glides (tests/pitch/test_tracking.py): every one of them describes the instant it names to within 3 ms.
Heavy packages are imported when a tracker is first used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import InstrumentError, did_you_mean
from .autocorrelation import FRAME_RATE, HOP_LENGTH, LOWEST_HZ, SAMPLE_RATE

Estimate = tuple[np.ndarray, np.ndarray]  # f0 [Hz] and confidence [0, 1], each (n_frames,)

SWIFT_FRAME_S = 0.016
SWIFT_REACH_S, PATH_REACH_S = 0.48, 2.0  # beyond which nothing is heard; after which a path no longer depends on where it began
SWIFT_HOP, SWIFT_WINDOW, SWIFT_MARGIN = 256, 256, 16  # samples; most values at a time, and those around them that it hears
YIN_FRAME_LENGTH = 2048  # samples, 128 ms: 3.4 periods of the lowest note
YIN_HIGHEST_HZ = 2200.0
CREPE_HIGHEST_HZ = 1980.0  # above 1990, Viterbi decoding settles in the top bin
CREPE_BATCH = 256  # frames
CREPE_FIRST_CENTS, CREPE_CENTS_PER_BIN, CREPE_BINS = 1997.3794084376191, 20.0, 360  # bin 0 re 10 Hz
CREPE_REACH = 12  # bins that f0 may move in one frame


class Tracker(NamedTuple):
    """Description of a named tracker: how it is run, and how far its word is trusted against the autocorrelation."""

    estimate: Callable[[np.ndarray, int], Estimate]
    own_octaves: bool  # True: only its own f0 and octaves of it are considered; False: all autocorrelation peaks, too
    trust: float  # weight of its confidence
    reach_s: float  # heard on either side of a piece of a long recording; whole frames of swift-f0, and whole samples at every usual rate


def swift(audio: np.ndarray, n_frames: int) -> Estimate:
    """swift-f0 (MIT): a small convolutional network, 47 to 2094 Hz, a value every 16 ms."""
    if len(audio) < 2048:
        audio = np.pad(audio, (0, 2048 - len(audio)))
    return at_frames(*_swift_in_windows(audio), n_frames)


def at_frames(heard_hz: np.ndarray, sureness: np.ndarray, n_frames: int) -> Estimate:
    """f0 [Hz] and confidence of swift-f0, each (n,), a value every 16 ms, read off every 10 ms, (n_frames,): no gliding through leaps."""
    position = np.minimum(np.arange(n_frames) / (FRAME_RATE * SWIFT_FRAME_S), len(heard_hz) - 1)
    left = position.astype(int)
    right = np.minimum(left + 1, len(heard_hz) - 1)
    interval = np.log2(heard_hz[right] / heard_hz[left])
    share = np.where(np.abs(interval) > 1.0 / 12.0, np.round(position - left), position - left)
    confidence = sureness[left] + share * (sureness[right] - sureness[left])
    return heard_hz[left] * 2.0 ** (share * interval), np.clip(confidence, 0.0, 1.0)


def _swift_in_windows(audio: np.ndarray) -> Estimate:
    """f0 and confidence, one each 256 samples: the same as for the whole at once, in windows, which hold less memory."""
    n_values, found = max(len(audio) // SWIFT_HOP, 1), []
    at_once = -(-n_values // -(-n_values // SWIFT_WINDOW))
    for first in range(0, n_values, at_once):
        last = min(first + at_once, n_values)
        begin = max(first - SWIFT_MARGIN, 0)
        end = len(audio) if last == n_values else (last + SWIFT_MARGIN) * SWIFT_HOP
        result = _swift_network().detect(audio[begin * SWIFT_HOP : end], SAMPLE_RATE)
        span = slice(first - begin, last - begin)
        found.append((result.pitch_hz[span], result.confidence[span]))
    f0_hz, confidence = (np.concatenate(part) for part in zip(*found, strict=True))
    return f0_hz, confidence


def crepe(audio: np.ndarray, n_frames: int, model: str = "tiny") -> Estimate:
    """CREPE (Kim et al., 2018) through torchcrepe, decoded by Viterbi; 32 to 1980 Hz.

    torchcrepe's own decoder adds random dither to the bins; here the mean of the bins around the path is taken, which is finer
    and repeatable.
    """
    import librosa
    import torchcrepe

    batches = torchcrepe.preprocess(torch.from_numpy(audio)[None], SAMPLE_RATE, HOP_LENGTH, CREPE_BATCH, "cpu", True)
    with torch.inference_mode():
        activation = torch.cat([torchcrepe.infer(batch, model) for batch in batches]).numpy()  # (n, 360)
    cents = CREPE_FIRST_CENTS + CREPE_CENTS_PER_BIN * np.arange(CREPE_BINS)
    activation = activation[:, cents < 1200.0 * np.log2(CREPE_HIGHEST_HZ / 10.0)]
    n_bins = activation.shape[1]
    steps = np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins)))
    transition = np.maximum(CREPE_REACH - steps, 0.0) + 1e-6  # a leap is rare, not impossible
    likelihood = activation / activation.sum(axis=1, keepdims=True)
    path = librosa.sequence.viterbi(likelihood.T.astype(np.float64), transition / transition.sum(axis=1, keepdims=True))
    around = np.clip(path[:, None] + np.arange(-4, 5), 0, n_bins - 1)
    weight = np.take_along_axis(activation, around, axis=1)
    f0_hz = 10.0 * 2.0 ** ((weight * cents[around]).sum(axis=1) / weight.sum(axis=1) / 1200.0)
    return _held(f0_hz, n_frames), _held(activation[np.arange(len(path)), path], n_frames)


def crepe_full(audio: np.ndarray, n_frames: int) -> Estimate:
    """CREPE's large model: 40 times the weights of the small one, a third of real time."""
    return crepe(audio, n_frames, "full")


def pyin(audio: np.ndarray, n_frames: int) -> Estimate:
    """pYIN (Mauch and Dixon, 2014) through librosa."""
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # frames of silence are warned of
        f0_hz, _, confidence = librosa.pyin(
            audio,
            fmin=LOWEST_HZ,
            fmax=YIN_HIGHEST_HZ,
            sr=SAMPLE_RATE,
            frame_length=YIN_FRAME_LENGTH,
            hop_length=HOP_LENGTH,
            fill_na=None,
        )
    return _held(f0_hz, n_frames), _held(confidence, n_frames)


def yin(audio: np.ndarray, n_frames: int) -> Estimate:
    """YIN (de Cheveigne and Kawahara, 2002) through librosa; it gives no confidence, so 1 stands everywhere."""
    import librosa

    f0_hz = librosa.yin(audio, fmin=LOWEST_HZ, fmax=YIN_HIGHEST_HZ, sr=SAMPLE_RATE, frame_length=YIN_FRAME_LENGTH, hop_length=HOP_LENGTH)
    return _held(f0_hz, n_frames), np.ones(n_frames)


# Found on half of the real notes and on rendered phrases, dry, with reverberation and in noise; flat around these values.
TRACKERS: dict[str, Tracker] = {
    "joint": Tracker(swift, own_octaves=False, trust=1.0, reach_s=SWIFT_REACH_S),
    "swift": Tracker(swift, own_octaves=True, trust=3.0, reach_s=SWIFT_REACH_S),
    "crepe": Tracker(crepe, own_octaves=True, trust=3.0, reach_s=PATH_REACH_S),
    "crepe-full": Tracker(crepe_full, own_octaves=True, trust=3.0, reach_s=PATH_REACH_S),
    "pyin": Tracker(pyin, own_octaves=True, trust=3.0, reach_s=PATH_REACH_S),
    "yin": Tracker(yin, own_octaves=True, trust=3.0, reach_s=PATH_REACH_S),
}
DEFAULT_TRACKER = "joint"


def find_tracker(name: str) -> Tracker:
    """The tracker of that name, or an InstrumentError that names the nearest."""
    if name in TRACKERS:
        return TRACKERS[name]
    hint = did_you_mean(str(name).lower().replace("_", "-"), TRACKERS, cutoff=0.4, quoted=True)
    raise InstrumentError(f"there is no tracker {name!r}; {hint}choose one of {', '.join(TRACKERS)}")


def _held(values: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut to n_frames, or repeat the last value."""
    return values[np.minimum(np.arange(n_frames), len(values) - 1)]


@lru_cache(maxsize=1)
def _swift_network() -> Any:
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)
