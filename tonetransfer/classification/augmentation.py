"""Windows as another player, microphone and room would have given them, through audiomentations.

A classifier trained on one soundfont learns its recordings; what differs in the next is pitch of the samples, equalisation, room and noise.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..audio.files import save_audio
from ..errors import MissingDependencyError
from .settings import AugmentSettings

Augment = Callable[[np.ndarray], np.ndarray]
SMALLEST_M, LARGEST_M = (3.0, 2.5, 2.4), (14.0, 10.0, 5.0)  # sides of a room: a bathroom to a small hall


@contextlib.contextmanager
def augmenter(settings: AugmentSettings, sample_rate: int, *, seed: int) -> Iterator[Augment]:
    """A function from a window (n_samples,) to another of the same length.

    The global random states, which audiomentations draws from, are put back at the end.

    Raises
    ------
    MissingDependencyError
        audiomentations or pyroomacoustics is not installed.
    """
    try:
        import audiomentations as am
    except ImportError:
        raise MissingDependencyError(
            "augmentation needs audiomentations; install it with `pip install tonetransfer[classify]`, or set every share of augment to 0"
        ) from None
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # audiomentations draws from the global one
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about clipping and peaks, which floats do not mind
        steps = [
            am.PitchShift(-2.0, 2.0, p=settings.pitch_share),
            am.TimeStretch(0.85, 1.18, p=settings.stretch_share),
            am.SevenBandParametricEQ(-10.0, 10.0, p=settings.equalise_share),
            am.OneOf([am.LowPassFilter(2500, 10000), am.HighShelfFilter(), am.HighPassFilter(60, 300)], p=settings.filter_share),
            am.TanhDistortion(0.01, 0.4, p=settings.distort_share),
        ]
        if settings.room_share > 0:
            make_rooms(Path(folder), settings.rooms, sample_rate, seed=seed)
            steps.append(am.ApplyImpulseResponse(folder, p=settings.room_share, leave_length_unchanged=True))
        steps.append(am.AddColorNoise(15.0, 50.0, p=settings.noise_share))
        chain = am.Compose(steps)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        rng = np.random.default_rng(seed)

        def augment(window: np.ndarray) -> np.ndarray:
            changed = np.nan_to_num(chain(window.astype(np.float32), sample_rate=sample_rate))[: len(window)]
            changed = np.pad(changed, (0, len(window) - len(changed)))
            return leave_gap(changed, rng) if rng.random() < settings.gap_share else changed

        try:
            yield augment
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def needs_library(settings: AugmentSettings) -> bool:
    """True if anything is asked for at all."""
    return any(value > 0 for name, value in settings.model_dump().items() if name.endswith("_share"))


def leave_gap(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Silence at the beginning or at the end, up to two thirds of the window."""
    length = int(rng.uniform(0.1, 0.67) * len(window))
    changed = window.copy()
    part = slice(0, length) if rng.random() < 0.5 else slice(len(window) - length, None)
    changed[part] = 0.0
    return changed


def make_rooms(folder: Path, count: int, sample_rate: int, *, seed: int) -> None:
    """Write impulse responses of shoebox rooms, by the image source method (pyroomacoustics)."""
    try:
        import pyroomacoustics
    except ImportError:
        raise MissingDependencyError(
            "rooms need pyroomacoustics; install it with `pip install tonetransfer[classify]`, or set augment.room_share to 0"
        ) from None
    rng = np.random.default_rng(seed)
    for number in range(count):
        size = rng.uniform(SMALLEST_M, LARGEST_M)
        material = pyroomacoustics.Material(rng.uniform(0.08, 0.6))
        room = pyroomacoustics.ShoeBox(size, fs=sample_rate, materials=material, max_order=10)
        places = rng.uniform(0.15, 0.85, (2, 3)) * size
        room.add_source(places[0])
        room.add_microphone(places[1])
        room.compute_rir()
        response = np.asarray(room.rir[0][0], np.float32)
        response = response[max(int(np.abs(response).argmax()) - 40, 0) :]  # without the time the sound takes to arrive
        save_audio(folder / f"{number}.wav", response / max(float(np.abs(response).max()), 1e-9), sample_rate)
