"""Which instrument plays: the bundled classifier, or a user's own, on one recording."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..audio.files import AudioLike, PathLike, load_audio
from ..errors import AudioError, WeightsError
from .classifier import Classifier
from .prediction import Prediction

BUNDLED = "bundled.safetensors"
SECOND = 1.0


def load_classifier(path: PathLike | None = None) -> Classifier:
    """Load a classifier.

    Parameters
    ----------
    path : path or None
        None: the bundled one, of solo instruments.

    Raises
    ------
    WeightsError
        Missing, damaged, or of another kind or version.
    """
    if path is not None:
        return Classifier.load(Path(path))
    bundled = Path(str(resources.files("tonetransfer.classifiers") / BUNDLED))
    if not bundled.is_file():
        raise WeightsError("the bundled classifier is missing from this installation; install the package again, or give --weights")
    return _bundled(bundled)


@lru_cache(maxsize=1)
def _bundled(path: Path) -> Classifier:
    return Classifier.load(path)


def classify(audio: AudioLike, sample_rate: int, classifier: Classifier | None = None, *, step_seconds: float = SECOND) -> Prediction:
    """Which instrument plays in a recording, and in each second of it.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)]
    sample_rate : int [Hz]
    classifier : Classifier or None
        None: the bundled one.
    step_seconds : float, > 0

    Returns
    -------
    Prediction

    Raises
    ------
    AudioError
        Silence, or less than a tenth of a second.
    """
    return (classifier or load_classifier()).predict(audio, sample_rate, step_seconds=step_seconds)


def classify_file(path: PathLike, classifier: Classifier, *, step_seconds: float = SECOND) -> dict[str, Any]:
    """:func:`classify` of a file, as it is printed: ``instrument``, ``probabilities``, ``per_second``, and of several labels ``labels``."""
    audio, sample_rate = load_audio(path)
    try:
        found = classifier.predict(audio, sample_rate, step_seconds=step_seconds)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    result: dict[str, Any] = {"file": str(path), "seconds": len(audio) / sample_rate}
    result |= {"instrument": found.label, "probabilities": found.ranked(), "per_second": found.per_step()}
    if found.multi:
        result["labels"] = found.labels()
    activity = [{"label": span.label, "start_s": span.start_s, "end_s": span.end_s} for span in found.activity()]
    return result | {"activity": activity}
