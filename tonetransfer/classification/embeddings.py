"""Frozen embeddings for a small head: our own z, and PANNs CNN14, AST, MERT and CLAP with weights that the user has.

Nothing is downloaded and no code of a weights file is run: transformers reads local folders only, and checkpoints of torch are read as
plain tensors. Each embedding has a sample rate of its own; ``sample_rate`` of the settings has to be that.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..audio.stft import magnitudes, mel_filters
from ..errors import MissingDependencyError, SettingsError, WeightsError
from ..models.weights import load_model
from .frontends import Frontend, LogMel


class Embedding(Frontend):
    """Base: checks the sample rate and remembers which weights were used."""

    rate: int  # Hz
    fingerprint = ""

    def __init__(self, sample_rate: int, n_samples: int) -> None:
        super().__init__(sample_rate, n_samples)
        if sample_rate != self.rate:
            raise SettingsError(f"{type(self).__name__} wants audio at {self.rate} Hz, sample_rate is {sample_rate}; set it to {self.rate}")

    def describe(self) -> dict[str, str]:
        return {"embedding_sha256": self.fingerprint}


class TimbreZ(Embedding):
    """Our own z (:class:`~tonetransfer.models.encoder.TimbreEncoder`): (n_windows, z_dim), of a weights file or the bundled one."""

    rate = 48000

    def __init__(self, sample_rate: int, n_samples: int, *, weights: str = "") -> None:
        super().__init__(sample_rate, n_samples)
        self.encoder = load_model(weights or None).encoder
        self.fingerprint = self.encoder.checksum()

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.encoder(audio)


class LogMelWithZ(TimbreZ):
    """Log-mel spectrogram up to 12 kHz, and below its bands z, the same in every frame: (n_windows, n_mels + z_dim, n_frames)."""

    bands_db = LogMel.bands_db

    def __init__(self, sample_rate: int, n_samples: int, *, n_mels: int = 96, frame_rate: float = 25.0, weights: str = "") -> None:
        super().__init__(sample_rate, n_samples, weights=weights)
        self.bands = LogMel(sample_rate, n_samples, n_mels=n_mels, n_fft=4096, frame_rate=frame_rate, highest_hz=12000.0)
        self.n_bands, self.model_options = n_mels, {"n_bands": n_mels}

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        bands = self.bands(audio)
        z = super().forward(audio)
        return torch.cat([bands, z[..., None].expand(*z.shape, bands.shape[-1])], dim=1)


class PannsCnn14(Embedding):
    """CNN14 of PANNs (Kong et al., 2020): (n_windows, 2048).

    `weights` is the authors' checkpoint (``Cnn14_mAP=0.431.pth``), or its tensors as safetensors; `width`, of the first block, is theirs.
    """

    rate = 32000
    mel: torch.Tensor

    def __init__(self, sample_rate: int, n_samples: int, *, weights: str, width: int = 64) -> None:
        super().__init__(sample_rate, n_samples)
        self.register_buffer("mel", mel_filters(self.rate, 1024, 64, 50.0, 14000.0), persistent=False)
        self.network = Cnn14(width)
        self.network.load_state_dict(_fitting(_read_tensors(Path(weights)), self.network, weights))
        self.fingerprint = _sha256(Path(weights))
        self.eval().requires_grad_(False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        power = magnitudes(audio, 1024, 320).square().transpose(-1, -2) @ self.mel
        return self.network(10.0 * torch.log10(power.clamp(min=1e-10)))


class Cnn14(nn.Module):
    """The published network up to its embedding, with the published names of tensors: (n, n_frames, 64) in dB to (n, 32 * width)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(64)
        sizes = [1] + [width * 2**layer for layer in range(6)]
        for number, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), start=1):
            self.add_module(f"conv_block{number}", Cnn14Block(n_in, n_out))
        self.fc1 = nn.Linear(sizes[-1], sizes[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.bn0(x[:, None].transpose(1, 3)).transpose(1, 3)
        for number in range(1, 7):
            h = self.get_submodule(f"conv_block{number}")(h)
            h = nn.functional.avg_pool2d(h, 2, ceil_mode=True) if number < 6 else h
        h = h.mean(3)
        return torch.relu(self.fc1(h.amax(2) + h.mean(2)))


class Cnn14Block(nn.Module):
    """Two convolutions with normalisation."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class TransformersEmbedding(Embedding, ABC):
    """Base of the models that `transformers` reads from a local folder (``config.json`` and weights)."""

    def __init__(self, sample_rate: int, n_samples: int, *, weights: str) -> None:
        super().__init__(sample_rate, n_samples)
        try:
            import transformers
        except ImportError:
            raise MissingDependencyError(
                f"{type(self).__name__} needs transformers; install it with `pip install tonetransfer[embeddings]`"
            ) from None
        folder = Path(weights)
        if not (folder / "config.json").is_file():
            raise WeightsError(
                f"{weights or 'frontend.weights'}: no folder with a config.json and weights; fetch the model, then name its folder"
            )
        try:
            self.network = self.open(transformers, folder)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(f"{folder}: cannot be read as {type(self).__name__} ({' '.join(str(error).split())[:150]})") from None
        self.fingerprint = _sha256_folder(folder)
        self.eval().requires_grad_(False)

    @abstractmethod
    def open(self, transformers: Any, folder: Path) -> nn.Module:
        """The network of a folder."""


class AstEmbedding(TransformersEmbedding):
    """Audio spectrogram transformer (Gong, Chung and Glass, 2021), 16 kHz: its pooled output."""

    rate = 16000

    def open(self, transformers: Any, folder: Path) -> nn.Module:
        network = transformers.ASTModel.from_pretrained(folder, local_files_only=True)
        usual = {"num_mel_bins": network.config.num_mel_bins, "max_length": network.config.max_length}
        self.prepare = transformers.ASTFeatureExtractor(**usual | _preprocessing(folder))
        return network

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        inputs = self.prepare(list(audio.numpy()), sampling_rate=self.rate, return_tensors="pt")
        return self.network(**inputs).pooler_output


class MertEmbedding(TransformersEmbedding):
    """MERT (Li et al., 2023), 24 kHz: mean over time of all its layers. It is a HuBERT, and read as one: its own code is not run."""

    rate = 24000

    def open(self, transformers: Any, folder: Path) -> nn.Module:
        config = transformers.HubertConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
        return transformers.HubertModel.from_pretrained(folder, config=config, local_files_only=True)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        normal = (audio - audio.mean(-1, keepdim=True)) / (audio.var(-1, keepdim=True) + 1e-7).sqrt()
        layers = self.network(normal, output_hidden_states=True).hidden_states
        return torch.stack(layers).mean(dim=(0, 2))


class ClapEmbedding(TransformersEmbedding):
    """CLAP (Wu et al., 2023), 48 kHz: the audio side of the joint space."""

    rate = 48000

    def open(self, transformers: Any, folder: Path) -> nn.Module:
        network = transformers.ClapAudioModelWithProjection.from_pretrained(folder, local_files_only=True)
        self.prepare = transformers.ClapFeatureExtractor(**{"truncation": "rand_trunc"} | _preprocessing(folder))
        return network

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        inputs = self.prepare(list(audio.numpy()), sampling_rate=self.rate, return_tensors="pt")
        return self.network(**inputs).audio_embeds


def _preprocessing(folder: Path) -> dict[str, Any]:
    """Settings of the input that a model's folder holds."""
    file = folder / "preprocessor_config.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file or of a checkpoint of torch, which is read without running what is pickled in it."""
    if not path.is_file():
        raise WeightsError(f"{str(path) if path.name else 'frontend.weights'}: there is no such weights file; fetch it, then give its path")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: is no file of plain tensors ({' '.join(str(error).split())[:120]})") from None
    return dict(content.get("model", content))


def _fitting(tensors: dict[str, torch.Tensor], network: nn.Module, where: str) -> dict[str, torch.Tensor]:
    """Those of the tensors that a network has; all of its own must be there."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    wrong = [name for name, shape in wanted.items() if name not in tensors or tuple(tensors[name].shape) != shape]
    if wrong:
        came = tuple(tensors[wrong[0]].shape) if wrong[0] in tensors else None
        raise WeightsError(
            f"{where}: {len(wrong)} tensors do not fit ({wrong[0]}: wanted {wanted[wrong[0]]}, came {came}); wanted is CNN14"
        )
    return network.state_dict() | {name: tensors[name] for name in wanted}


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weights file; give the path of one")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_folder(folder: Path) -> str:
    """Of all weights in a folder, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
