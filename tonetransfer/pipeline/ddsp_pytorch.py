"""Models that people already have: TorchScript exports of ddsp_pytorch (acids-ircam), played with our tracker.

Such a model takes pitch [Hz] and loudness as *it* defines it: the mean over the bins of an STFT of the natural logarithm of the magnitude
plus the A curve in decibels. What its config says of rate, block and of the loudness's mean and deviation is all that is needed. A script
can run any code that its maker put in, so that nothing is loaded that was not said to be trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.files import AudioLike, check_audio, check_sample_rate
from ..audio.frames import FrameGrid
from ..audio.hum import without_hum
from ..audio.loudness import loudness_db
from ..audio.stft import a_weighting, magnitudes
from ..errors import AudioError, SettingsError, WeightsError
from ..models.settings import read_mapping
from ..pitch.estimators import DEFAULT_TRACKER
from ..pitch.tracking import track_f0
from .target import at_rate

N_FFT = 2048
SMALLEST = 1e-7  # added to magnitudes before the logarithm
LEAST_A_DB = -80.0
PIECE_S, LEAD_S, FADE_S = 20.0, 2.0, 0.05  # a model without memory plays long music in pieces, each begun a little before it is heard
NOTE_PERIODICITY, NOTE_RANGE_DB = 0.6, 40.0


@dataclass(frozen=True)
class ForeignModel:
    """A scripted model and what its config says."""

    script: Any
    grid: FrameGrid  # its sample rate, and its block as hop
    mean_loudness: float  # of its training data, in its own measure
    std_loudness: float
    standardizes: bool  # it takes loudness as measured and standardizes it itself
    realtime: bool  # it takes one value a sample, and remembers what came before


def load_foreign(path: str | Path, *, trust: bool = False) -> ForeignModel:
    """Load a ddsp_pytorch export, ``ddsp_NAME_pretrained.ts``, if its maker is trusted.

    The YAML of its settings lies beside it: ``ddsp_NAME_config.yaml``, ``<same name>.yaml`` or ``config.yaml``. WeightsError: not trusted,
    missing, or not TorchScript; SettingsError: the settings are missing or incomplete.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; a TorchScript export of ddsp_pytorch was wanted")
    if not trust:
        raise WeightsError(
            f"{path}: TorchScript from strangers can run code on this computer; if you know who made it, say --trust (trust=True)"
        )
    config = _read_config(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, these files are not
            script = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(f"{path}: is not TorchScript that this torch reads ({str(error).splitlines()[0][:100]})") from None
    try:
        grid = FrameGrid(check_sample_rate(config["preprocess"]["sampling_rate"]), int(config["preprocess"]["block_size"]))
        mean, std = float(config["data"]["mean_loudness"]), float(config["data"]["std_loudness"])
    except (KeyError, TypeError, ValueError, AudioError) as error:
        raise SettingsError(
            f"{path}: its settings lack or garble {error}; "
            "preprocess (sampling_rate, block_size) and data (mean_loudness, std_loudness) are wanted"
        ) from None
    if std <= 0.0:
        raise SettingsError(f"{path}: its settings say std_loudness {std}; a positive number is wanted")
    own = {name for name, _ in script.named_buffers()}
    return ForeignModel(script, grid, mean, std, "mean_loudness" in own, bool(getattr(script, "realtime", False)))


def _read_config(path: Path) -> dict[str, Any]:
    stem = path.stem.removesuffix("_pretrained")
    places = [path.with_name(name) for name in (f"{stem}_config.yaml", f"{stem}.yaml", "config.yaml")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise SettingsError(f"{path}: its settings are not beside it; {places[0].name}, as ddsp_pytorch writes it, was wanted")
    return read_mapping(found, see="the settings that ddsp_pytorch writes")


def foreign_loudness(audio: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """Loudness as ddsp_pytorch measures it, (n_samples,) -> (n_frames,): natural logarithms and decibels added, averaged over bins."""
    curve_db = (10.0 * torch.log10(a_weighting(grid.sample_rate, N_FFT))).clamp(min=LEAST_A_DB)
    spectrum = magnitudes(grid.pad(audio), N_FFT, grid.hop_length)[:, : grid.n_frames(len(audio))]
    return (torch.log(spectrum + SMALLEST) + curve_db[:, None]).mean(0)


def play_foreign(
    audio: AudioLike, sample_rate: int, model: ForeignModel, *, transpose: float = 0.0, fit: bool = True, tracker: str = DEFAULT_TRACKER
) -> torch.Tensor:
    """Play a recording (n_samples,) with a ddsp_pytorch model, whose rate the result has, as long as the recording.

    With `fit` the loudness of the notes is moved to the mean of what the model was trained on.
    """
    grid = model.grid
    samples = without_hum(at_rate(check_audio(audio, sample_rate), sample_rate, grid.sample_rate), grid.sample_rate)
    f0_hz, periodicity = track_f0(samples, grid.sample_rate, grid, tracker=tracker)
    loudness = foreign_loudness(samples, grid)
    if fit:
        level = loudness_db(samples, grid)
        notes = (periodicity > NOTE_PERIODICITY) & (level > level.max() - NOTE_RANGE_DB)
        if bool(notes.any()):
            loudness = loudness + (model.mean_loudness - loudness[notes].mean())
    if not model.standardizes:
        loudness = (loudness - model.mean_loudness) / model.std_loudness
    sound = torch.cat(list(_pieces(model, f0_hz * 2.0 ** (transpose / 12.0), loudness)))[: len(samples)]
    if not bool(torch.isfinite(sound).all()):
        raise WeightsError("the model made sound that is not finite; it does not take what its settings say")
    return sound


@torch.no_grad()
def _pieces(model: ForeignModel, f0_hz: torch.Tensor, loudness: torch.Tensor) -> Iterator[torch.Tensor]:
    """Consecutive pieces of sound, crossfaded where a model cannot go on from where it was."""
    grid, n_frames = model.grid, len(f0_hz)
    step, lead = (max(round(seconds * grid.frame_rate), 1) for seconds in (PIECE_S, 0.0 if model.realtime else LEAD_S))
    lead = 0 if model.realtime else lead
    fade = 0 if model.realtime else max(round(FADE_S * grid.frame_rate), 1) * grid.hop_length
    rise = torch.linspace(0.0, 1.0, fade + 2)[1:-1]
    ending = torch.zeros(0)
    for first in range(0, n_frames, step):
        begin, end = max(first - lead, 0), min(first + step, n_frames)
        beyond = min(end + fade // grid.hop_length, n_frames)
        sound = _run(model, f0_hz[begin:beyond], loudness[begin:beyond])[(first - begin) * grid.hop_length :]
        shared = min(len(ending), len(sound))
        sound[:shared] = sound[:shared] * rise[:shared] + ending[:shared] * (1.0 - rise[:shared])
        n_samples = (end - first) * grid.hop_length
        ending = sound[n_samples:].clone()
        yield sound[:n_samples]


def _run(model: ForeignModel, f0_hz: torch.Tensor, loudness: torch.Tensor) -> torch.Tensor:
    hop = model.grid.hop_length
    inputs = [track.repeat_interleave(hop) if model.realtime else track for track in (f0_hz, loudness)]
    try:
        sound = model.script(*(track.float()[None, :, None] for track in inputs))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:120]
        raise WeightsError(f"the model does not take (pitch, loudness), each (1, n, 1), as ddsp_pytorch's do ({reason})") from None
    sound = torch.as_tensor(np.asarray(sound.detach().cpu(), dtype=np.float32)).reshape(-1)
    if len(sound) != len(f0_hz) * hop:
        raise WeightsError(f"the model gave {len(sound)} samples for {len(f0_hz)} blocks of {hop}; its settings are another model's")
    return sound
