"""Classifiers, all with one interface: fit on clips, predict a recording as a whole and over time, save and load.

A classifier is a frontend, which has nothing to learn, and a model that turns its features into a score a class; :data:`REGISTRY` names the
pairs, and ``configs/classify`` has a file for each. A saved classifier is one safetensors file: tensors, and settings and class names as
JSON. No pickle: opening a stranger's classifier must not run code.
"""

from __future__ import annotations

import inspect
import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_bytes
from torch import nn

from ..atomic import check_new, replacing
from ..audio.files import AudioLike, DiskArray, LongAudio, PathLike, Samples, open_audio, resample
from ..errors import AudioError, SettingsError, ToneTransferWarning, WeightsError, did_you_mean
from ..models.settings import validate_as
from ..models.weights import no_larger_than, read_tensors
from ..models.weights_header import Header, read_header
from ..threads import Progress
from . import networks
from .clips import Clip
from .embeddings import AstEmbedding, ClapEmbedding, LogMelWithZ, MertEmbedding, PannsCnn14, TimbreZ
from .estimators import Estimator, Forest, SupportVectors, VectorHead
from .fitting import batches_from, fit_network
from .frontends import Descriptors, Frontend, LogMel, Spectrum, Waveform, as_float, features_of
from .settings import ClassifierSettings
from .windows import AT_ONCE, Prediction, StepWindows, Windows, pool, prepare, sounding

FORMAT = 1
SHORTEST_S = 0.1  # of a recording; below it is no sound to be named
BUNDLED = "bundled.safetensors"
SECOND = 1.0


@dataclass(frozen=True)
class Kind:
    """A registered classifier."""

    frontend: type[Frontend]
    model: type[nn.Module]
    fixed: tuple[tuple[str, bool], ...] = ()  # options that make this kind what it is


REGISTRY: dict[str, Kind] = {
    "forest": Kind(Descriptors, Forest),
    "svm": Kind(Descriptors, SupportVectors),
    "cnn_1d": Kind(LogMel, networks.Conv1dNetwork),
    "cnn_1d_z": Kind(LogMelWithZ, networks.Conv1dWithZ),
    "fcn": Kind(LogMel, networks.FullyConvolutional),
    "short_chunk": Kind(LogMel, networks.ShortChunk),
    "short_chunk_residual": Kind(LogMel, networks.ShortChunk, (("residual", True),)),
    "crnn": Kind(LogMel, networks.ConvolutionalRecurrent),
    "musicnn": Kind(LogMel, networks.Musicnn),
    "harmonic_cnn": Kind(Spectrum, networks.HarmonicCnn),
    "self_attention": Kind(LogMel, networks.SelfAttention),
    "spectrogram_transformer": Kind(LogMel, networks.SpectrogramTransformer),
    "cnn14": Kind(LogMel, networks.Cnn14Like),
    "sample_cnn": Kind(Waveform, networks.SampleCnn),
    "z": Kind(TimbreZ, VectorHead),
    "panns": Kind(PannsCnn14, VectorHead),
    "ast": Kind(AstEmbedding, VectorHead),
    "mert": Kind(MertEmbedding, VectorHead),
    "clap": Kind(ClapEmbedding, VectorHead),
}


def find_kind(name: str) -> Kind:
    """The registered classifier of a name; raises SettingsError with the nearest one."""
    if name in REGISTRY:
        return REGISTRY[name]
    raise SettingsError(f"there is no classifier {name!r}; {did_you_mean(name, REGISTRY)}choose one of {', '.join(REGISTRY)}")


def build(builder: Callable[..., Any], options: dict[str, Any], section: str, *places: Any) -> Any:
    """Call a class with options that it has."""
    known = [name for name, p in inspect.signature(builder).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known).rstrip() or f"there are {', '.join(known) or 'none'}"
            raise SettingsError(f"{section}.{name}: no such option; {hint}")
    needed = [name for name, p in inspect.signature(builder).parameters.items() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if missing := [name for name in needed if name not in options]:
        raise SettingsError(f"{section}.{missing[0]} is wanted and not set; for example --set {section}.{missing[0]}=PATH")
    try:
        return builder(*places, **options)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise SettingsError(f"{section}: {builder.__name__} cannot be built of {options} ({' '.join(str(error).split())[:120]})") from None


def described(settings: ClassifierSettings) -> str:
    """Settings as a saved classifier holds them, in JSON: without where things lie on one computer."""
    return settings.model_dump_json(exclude={"data": {"corpora", "folder", "csv", "mirdata_home"}})


class Classifier:
    """Classifier of instruments: one interface over the whole registry.

    Parameters
    ----------
    settings : ClassifierSettings
        Which classifier, its window [s], sample rate [Hz] and options.
    classes : sequence of str or None
        None: those of the clips it is fitted on.

    Raises
    ------
    SettingsError
        No such classifier, or an option that it does not have.

    See Also
    --------
    load_classifier : The bundled one, or a file.

    Examples
    --------
    >>> classifier = tt.load_classifier()
    >>> "flute" in classifier.classes
    True
    >>> windows = np.zeros((2, classifier.n_samples), np.float32)
    >>> classifier.scores(windows).shape == (2, len(classifier.classes))
    True
    """

    def __init__(self, settings: ClassifierSettings, classes: Sequence[str] | None = None) -> None:
        self.settings, self.kind = settings, find_kind(settings.classifier)
        self.frontend = build(self.kind.frontend, settings.frontend, "frontend", settings.sample_rate, self.n_samples)
        self.frontend.eval()
        self.classes: tuple[str, ...] = ()
        self.notes: dict[str, Any] = {}
        if classes is not None:
            self._build_model(classes)

    @property
    def n_samples(self) -> int:
        """Of a window, at the settings' sample rate."""
        return round(self.settings.window_seconds * self.settings.sample_rate)

    @property
    def multi(self) -> bool:
        """True if several classes can hold at once."""
        return self.settings.task == "multi"

    @property
    def n_parameters(self) -> int:
        """Numbers that were learned."""
        return sum(tensor.numel() for tensor in self.model.state_dict().values() if tensor.dtype != torch.int64)

    def fit(self, clips: Sequence[Clip], *, progress: Progress | None = None) -> dict[str, float]:
        """Learn from clips, a share of which is held out to validate on.

        Returns
        -------
        dict of float
            ``validation_accuracy`` (of windows; multi label: mean average precision) and ``loss``.

        Raises
        ------
        SettingsError
            Fewer than two classes, a class with one file, or nothing that can be read.
        """
        windows, validation, classes = prepare(clips, self.settings, progress=progress)
        return self.fit_windows(windows, validation, classes, progress=progress)

    def fit_windows(
        self, windows: Windows, validation: Windows, classes: Sequence[str], *, progress: Progress | None = None
    ) -> dict[str, float]:
        """:meth:`fit` on windows that have been made."""
        seed = self.settings.fit.seed
        if self.settings.fit.threads:
            torch.set_num_threads(self.settings.fit.threads)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build_model(classes)
            cached = self.frontend.cached or isinstance(self.model, Estimator)
            features = features_of(self.frontend, windows.audio) if cached else None
            targets = torch.from_numpy(windows.targets)
            loss = 0.0
            if isinstance(self.model, Estimator):
                assert features is not None  # estimators want them all at once
                self.model.learn(features, targets, seed=seed)
            else:
                if isinstance(self.model, VectorHead):
                    assert features is not None
                    self.model.adapt(features)
                batch_of = batches_from(self.frontend, windows.audio, features)
                loss = fit_network(self.model, self.frontend, batch_of, targets, self.settings.fit, multi=self.multi, progress=progress)
        self.model.eval().requires_grad_(False)
        measured = {"validation_accuracy": window_accuracy(self.scores(validation.audio), validation.targets), "loss": loss}
        self.notes = {
            **measured,
            "windows": len(windows.audio),
            "files": int(len(np.unique(windows.clips))),
            "files_left_out": len(windows.skipped) + len(validation.skipped),
        }
        return measured

    def scores(self, audio: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Probabilities (n_windows, n_classes) of windows (n_windows, n_samples), int16 or float."""
        if not self.classes:
            raise SettingsError("this classifier has learned nothing yet; fit it, or load one that has")
        parts = []
        with torch.inference_mode():
            for first in range(0, len(audio), batch_size):
                scores = self.model(self.frontend(as_float(audio[first : first + batch_size])).float()).float()
                parts.append(torch.sigmoid(scores) if self.multi else torch.softmax(scores, dim=-1))
        return torch.cat(parts).numpy() if parts else np.zeros((0, len(self.classes)), np.float32)

    def predict(self, audio: AudioLike | LongAudio, sample_rate: int, *, step_seconds: float | None = None) -> Prediction:
        """Classify a recording, as a whole and in every step of time.

        Parameters
        ----------
        audio : Tensor, ndarray or LongAudio [shape=(n_samples,)]
            The latter at the settings' sample rate.
        sample_rate : int [Hz]
        step_seconds : float or None
            None: as in the settings.

        Raises
        ------
        AudioError
            Silence, or less than a tenth of a second.
        SettingsError
            `step_seconds` is not more than 0.
        """
        if step_seconds is not None and not 0.0 < step_seconds < math.inf:
            raise SettingsError(f"step_seconds is {step_seconds}; a number of seconds above 0 is wanted")
        rate = self.settings.sample_rate
        samples: Samples = DiskArray(audio) if isinstance(audio, LongAudio) else resample(audio, sample_rate, rate).numpy()
        seconds = len(samples) / rate
        if seconds < SHORTEST_S:
            raise AudioError(f"the recording lasts {seconds:.3f} s; at least {SHORTEST_S} s are wanted: give more of it")
        windows = StepWindows(samples, self.settings, step_seconds)
        levels = windows.levels_db
        heard = sounding(levels)
        if not heard.any():
            raise AudioError("the recording is silent; something has to sound in it: check how it was recorded or exported")
        if seconds < self.settings.window_seconds / 4:
            message = (
                f"the recording lasts {seconds:.2f} s, the classifier looks at {self.settings.window_seconds:g} s; its word counts less"
            )
            warnings.warn(message, ToneTransferWarning, stacklevel=2)
        steps = np.zeros((len(windows), len(self.classes)), np.float32)
        rows = np.flatnonzero(heard)
        for some in np.array_split(rows, -(-len(rows) // AT_ONCE)):
            steps[some] = self.scores(windows.take(some))
        whole = pool(steps[heard], levels[heard], multi=self.multi)
        return Prediction(self.classes, whole, steps, heard, windows.step / rate, self.multi)

    def save(self, path: str | Path, *, notes: dict[str, Any] | None = None, overwrite: bool = False) -> None:
        """Write one safetensors file, whole or not at all.

        Raises
        ------
        WeightsError
            It exists, or cannot be written.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise WeightsError(f"{path}: a classifier is written as .safetensors; choose such a name")
        check_new(path, WeightsError, overwrite=overwrite)
        text = {
            "classifier_format": str(FORMAT),
            "settings": described(self.settings),
            "classes": json.dumps(self.classes),
            "package_version": metadata.version("tonetransfer"),
            "notes": json.dumps(self.notes | (notes or {}) | self.frontend.describe()),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        with replacing(path, error=WeightsError) as part:
            part.write_bytes(to_bytes(tensors, metadata=text))

    @classmethod
    def load(cls, path: str | Path) -> Classifier:
        """Read what :meth:`save` wrote.

        Raises
        ------
        WeightsError
            Missing, damaged, of another kind or version; or its embedding's weights are not those it was fitted on.
        """
        path = Path(path)
        header = _header(path)
        try:
            settings = validate_as(ClassifierSettings, header.json("settings", dict), where=path.name)
            classes, notes = [str(name) for name in header.json("classes", list)], header.json("notes", dict)
            classifier = cls(settings)  # an embedding is a file of its own, larger than this one
            with no_larger_than(header):
                classifier._build_model(classes)
        except SettingsError as error:
            raise WeightsError(f"{path.name}: {str(error)[:250]}") from None
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            problem = " ".join(repr(error).split())[:160]
            raise WeightsError(f"{path.name}: its description does not fit this version ({problem}); train it again") from None
        tensors = read_tensors(header, what="classifier")
        for key, value in classifier.frontend.describe().items():
            if notes.get(key) != value:
                raise WeightsError(f"{path.name}: was fitted on other embedding weights ({key} differs); give those, or train it again")
        try:
            classifier.model.load_state_dict(tensors)
        except RuntimeError as error:
            raise WeightsError(f"{path.name}: does not hold the tensors it should ({' '.join(str(error).split())[:160]})") from None
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise WeightsError(f"{path.name}: holds numbers that are not finite; the file is damaged or its training failed")
        if isinstance(classifier.model, Estimator) and not classifier._hangs_together():
            raise WeightsError(f"{path.name}: its tensors do not hang together; the file is damaged")
        classifier.model.eval().requires_grad_(False)
        classifier.notes = notes
        return classifier

    def _hangs_together(self) -> bool:
        """Test whether an estimator, whose tensors may have any sizes, can be asked."""
        try:
            return self.model.sound() and self.scores(np.zeros((1, self.n_samples), np.float32)).shape == (1, len(self.classes))
        except (RuntimeError, IndexError, TypeError, ValueError):
            return False

    def _build_model(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        options = self.frontend.model_options | self.settings.options | dict(self.kind.fixed)
        if issubclass(self.kind.model, Estimator):
            options["multi"] = self.multi
        self.model = build(self.kind.model, options, "options", self.frontend.shape, len(self.classes))
        self.model.eval()


def window_accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    """Share of windows whose best class is right; with several labels at once, the mean average precision."""
    if (targets.sum(1) == 1).all():
        return float((scores.argmax(1) == targets.argmax(1)).mean())
    from sklearn.metrics import average_precision_score

    known = [row for row, column in enumerate(targets.T) if 0 < column.sum() < len(column)]
    return float(np.mean([average_precision_score(targets[:, row], scores[:, row]) for row in known])) if known else 0.0


def _header(path: Path) -> Header:
    """The header of a classifier of this version."""
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such classifier; give a file made by `tonetransfer classifier train`")
    header = read_header(path, what="classifier")
    found = header.text.get("classifier_format")
    if found is None:
        raise WeightsError(f"{path.name}: is a safetensors file, but no classifier; give one made by `tonetransfer classifier train`")
    if found != str(FORMAT):
        raise WeightsError(f"{path.name}: has format {found}, this version reads {FORMAT}; install the version that wrote it")
    return header


def load_classifier(path: PathLike | None = None) -> Classifier:
    """Load a classifier.

    Parameters
    ----------
    path : str, Path or None
        A ``.safetensors`` file; None: the bundled one, of solo instruments.

    Returns
    -------
    Classifier

    Raises
    ------
    WeightsError
        Missing, damaged, or of another kind or version.

    Examples
    --------
    >>> tt.load_classifier().multi
    False
    """
    if path is not None:
        return Classifier.load(Path(path))
    bundled = Path(str(resources.files("tonetransfer.classifiers") / BUNDLED))
    if not bundled.is_file():
        raise WeightsError("the bundled classifier is missing from this installation; install the package again, or give --weights")
    return _load_once(bundled)


_load_once = lru_cache(maxsize=1)(Classifier.load)


def classify(audio: AudioLike, sample_rate: int, classifier: Classifier | None = None, *, step_seconds: float = SECOND) -> Prediction:
    """Recognise the instrument of a recording, and of each second of it.

    Parameters
    ----------
    audio : Tensor or ndarray [shape=(n_samples,)], in [-1, 1]
        Of solo instruments, for the bundled classifier.
    sample_rate : int, > 0 [Hz]
        Of the audio.
    classifier : Classifier or None
        None: the bundled one.
    step_seconds : float, > 0 [s]
        From one answer to the next.

    Returns
    -------
    Prediction
        `label`, and `probabilities` of all classes, over all and for each step.

    Raises
    ------
    AudioError
        Silence, or less than a tenth of a second.
    SettingsError
        `step_seconds` is not more than 0.

    Examples
    --------
    >>> audio, sample_rate = tt.load_audio("examples/flute.flac")
    >>> prediction = tt.classify(audio[: 3 * sample_rate], sample_rate)
    >>> prediction.label in prediction.classes, prediction.steps.shape == (3, len(prediction.classes))
    (True, True)
    """
    return (classifier or load_classifier()).predict(audio, sample_rate, step_seconds=step_seconds)


def classify_file(path: PathLike, classifier: Classifier, *, step_seconds: float = SECOND) -> dict[str, Any]:
    """:func:`classify` of a file, as it is printed: ``instrument``, ``probabilities``, ``per_second``, and of several labels ``labels``."""
    audio, sample_rate = open_audio(path, classifier.settings.sample_rate)
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
