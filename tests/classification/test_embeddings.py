"""Frozen embeddings: small random networks of the published architectures stand in for the published weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from classify_toys import OFF, TIMBRES, synthetic, toy
from classify_toys import toy_settings as settings_of

from tonetransfer.classification.classifier import Classifier
from tonetransfer.classification.clips import find_clips
from tonetransfer.classification.embeddings import Cnn14
from tonetransfer.classification.fitting import fit_network
from tonetransfer.classification.frontends import Frontend
from tonetransfer.classification.networks import Conv1dWithZ
from tonetransfer.classification.settings import FitSettings
from tonetransfer.errors import MissingDependencyError, SettingsError, WeightsError
from tonetransfer.models.weights import load_model, save_model


def fitted(name: str, rate: int, weights: str, folder: Path, **frontend: int) -> Classifier:
    settings = settings_of(
        name,
        sample_rate=rate,
        window_seconds=1.0,
        frontend={"weights": weights, **frontend},
        data={"windows_per_file": 1},
        augment=OFF,
        fit={"steps": 150, "learning_rate": 1e-2},
    )
    settings = settings.model_copy(update={"frontend": {"weights": weights, **frontend}})
    classifier = Classifier(settings)
    classifier.fit(find_clips(toy(folder / "sounds", files=4, rate=16000), {}))
    return classifier


def check(classifier: Classifier, path: Path, largest: int = 300_000) -> None:
    audio = synthetic("noisy", 1.0, 7, rate=16000)
    said = classifier.predict(audio, 16000)
    assert classifier.classes == TIMBRES and abs(said.probabilities.sum() - 1.0) < 1e-4
    assert classifier.notes["loss"] < 0.9  # three classes by chance: 1.1
    classifier.save(path)
    assert path.stat().st_size < largest  # the head, not the network under it
    np.testing.assert_array_equal(Classifier.load(path).predict(audio, 16000).steps, said.steps)


def test_a_linear_layer_on_z(tiny_weights: Path, tmp_path: Path) -> None:
    check(fitted("z", 48000, str(tiny_weights), tmp_path), tmp_path / "z.safetensors")


def test_bands_and_z_together(tiny_weights: Path, tmp_path: Path) -> None:
    classifier = fitted("cnn_1d_z", 48000, str(tiny_weights), tmp_path, n_mels=32)
    assert classifier.frontend.shape == (32 + 8, 26) and classifier.model.of_z[-1].in_features == 8
    check(classifier, tmp_path / "both.safetensors", largest=3_500_000)


@torch.no_grad()
def test_scores_of_bands_and_z_are_averaged_and_taught_apart() -> None:
    torch.manual_seed(0)
    network = Conv1dWithZ((12, 10), 3, n_bands=8, width=16)
    x = torch.randn(6, 12, 10)
    x[:, 8:] = x[:, 8:, :1]
    whole = network.eval()(x)
    torch.testing.assert_close(whole, (network.of_bands(x[:, :8]) + network.of_z(x[:, 8:, 0])) / 2.0)
    network.train()
    for part in network.modules():  # as when playing back: only the choice is of the training
        part.training = part is network
    torch.manual_seed(1)
    parts = torch.stack([network.of_bands(x[:, :8]), network.of_z(x[:, 8:, 0])])
    chosen = (network(x) == parts).all(-1)
    assert (chosen.sum(0) == 1).all() and chosen.any(1).all()


def test_masks_and_curves_leave_z_as_it_is() -> None:
    seen = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.mean((1, 2))[:, None] * self.scale

    frontend = Frontend(16000, 1600)
    frontend.bands_db, frontend.n_bands = 40.0, 8
    x, targets = torch.rand(8, 12, 10), torch.eye(2).repeat(4, 1)
    settings = FitSettings(steps=2, batch_size=4, mixup=0.0, mask_share=0.9)
    fit_network(Spy(), frontend, lambda rows: x[rows], targets, settings, multi=False)
    assert all(any(torch.equal(row[8:], one[8:]) for one in x) for batch in seen for row in batch)
    assert not all(any(torch.equal(row[:8], one[:8]) for one in x) for batch in seen for row in batch)


def test_an_embedding_larger_than_the_classifier_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    """In a process of its own: a model that is known already is not built again."""
    path = tmp_path / "z.safetensors"
    fitted("z", 48000, "", tmp_path).save(path)
    code = f"from tonetransfer.classification.classifier import load_classifier; print(*load_classifier({str(path)!r}).classes)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == list(TIMBRES), done.stderr


def test_another_encoder_than_it_was_fitted_on_is_refused(tiny_weights: Path, tmp_path: Path) -> None:
    """The decoder of the same weights file may change."""
    weights = tmp_path / "mine.safetensors"
    model = load_model(tiny_weights)
    save_model(weights, model)
    classifier = fitted("z", 48000, str(weights), tmp_path)
    classifier.save(tmp_path / "z.safetensors")
    model.decoder.head.bias.add_(1.0)
    save_model(weights, model, overwrite=True)
    assert Classifier.load(tmp_path / "z.safetensors").classes == classifier.classes
    next(model.encoder.parameters()).mul_(1.5)
    save_model(weights, model, overwrite=True)
    with pytest.raises(WeightsError, match="other embedding weights"):
        Classifier.load(tmp_path / "z.safetensors")


def test_panns_reads_a_checkpoint_like_the_published_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Cnn14(width=4)
    extra = {"spectrogram_extractor.stft.conv_real.weight": torch.zeros(2), "fc_audioset.weight": torch.zeros(3, 3)}
    path = tmp_path / "Cnn14.pth"
    torch.save({"iteration": 1, "model": network.state_dict() | extra}, path)
    check(fitted("panns", 32000, str(path), tmp_path, width=4), tmp_path / "panns.safetensors")
    with pytest.raises(WeightsError, match="do not fit"):
        fitted("panns", 32000, str(path), tmp_path, width=8)
    with pytest.raises(SettingsError, match="wants audio at 32000 Hz"):
        Classifier(settings_of("panns", frontend={"weights": str(path)}).model_copy(update={"frontend": {"weights": str(path)}}))


def test_a_checkpoint_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "was_here",)

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="no file of plain tensors"):
        fitted("panns", 32000, str(tmp_path / "evil.pth"), tmp_path)
    assert not (tmp_path / "was_here").exists()


def tiny_ast(folder: Path) -> None:
    from transformers import ASTConfig, ASTModel

    config = ASTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=96, num_mel_bins=32)
    ASTModel(config).save_pretrained(folder)


def tiny_mert(folder: Path) -> None:
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8, 8),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    HubertModel(config).save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    content |= {"model_type": "mert_model", "auto_map": {"AutoModel": "modeling_MERT.MERTModel"}}  # as published; its code is not run
    (folder / "config.json").write_text(json.dumps(content))


def tiny_clap(folder: Path) -> None:
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    config = ClapAudioConfig(
        window_size=4,
        num_mel_bins=64,
        spec_size=128,
        patch_size=4,
        patch_stride=[4, 4],
        patch_embeds_hidden_size=8,
        hidden_size=16,
        depths=[1, 1],
        num_attention_heads=[1, 2],
        projection_dim=16,
        num_hidden_layers=2,
        num_classes=2,
    )
    ClapAudioModelWithProjection(config).save_pretrained(folder)
    ClapFeatureExtractor(max_length_s=2, truncation="rand_trunc").save_pretrained(folder)


@pytest.mark.parametrize(("name", "rate", "make"), [("ast", 16000, tiny_ast), ("mert", 24000, tiny_mert), ("clap", 48000, tiny_clap)])
def test_transformers_are_read_from_a_folder(name: str, rate: int, make: object, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make(tmp_path / "model")
    check(fitted(name, rate, str(tmp_path / "model"), tmp_path), tmp_path / "head.safetensors")
    with pytest.raises(WeightsError, match="no folder with a config.json"):
        fitted(name, rate, str(tmp_path / "none"), tmp_path)


def test_without_transformers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install tonetransfer\[embeddings\]"):
        fitted("ast", 16000, str(tmp_path), tmp_path)
