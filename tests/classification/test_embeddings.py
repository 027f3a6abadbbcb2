"""Frozen embeddings: small random networks of the published architectures stand in for the published weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from classify_toys import OFF, TIMBRES, synthetic, toy
from classify_toys import toy_settings as settings_of

from tonetransfer.classification.classifier import Classifier
from tonetransfer.classification.clips import find_clips
from tonetransfer.classification.embeddings import Cnn14
from tonetransfer.errors import MissingDependencyError, SettingsError, WeightsError


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


def check(classifier: Classifier, path: Path) -> None:
    audio = synthetic("noisy", 1.0, 7, rate=16000)
    said = classifier.predict(audio, 16000)
    assert classifier.classes == TIMBRES and abs(said.probabilities.sum() - 1.0) < 1e-4
    assert classifier.notes["loss"] < 0.9  # three classes by chance: 1.1
    classifier.save(path)
    assert path.stat().st_size < 300_000  # the head, not the network under it
    np.testing.assert_array_equal(Classifier.load(path).predict(audio, 16000).steps, said.steps)


def test_a_linear_layer_on_z(tiny_weights: Path, tmp_path: Path) -> None:
    check(fitted("z", 48000, str(tiny_weights), tmp_path), tmp_path / "z.safetensors")


def test_other_weights_than_it_was_fitted_on_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(tiny_weights.read_bytes())
    classifier = fitted("z", 48000, str(weights), tmp_path)
    classifier.save(tmp_path / "z.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
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
