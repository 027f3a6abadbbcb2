"""Three synthetic timbres that anything should tell apart, and settings to learn them in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tonetransfer.audio.files import save_audio
from tonetransfer.classification.settings import ClassifierSettings
from tonetransfer.models.settings import validate_as

RATE = 8000
OFF = {f"{name}_share": 0.0 for name in ("pitch", "stretch", "equalise", "filter", "distort", "room", "noise", "gap")}
TIMBRES = ("bright", "hollow", "noisy")  # many harmonics, odd ones, noise around the note


def synthetic(timbre: str, seconds: float, seed: int, *, rate: int = RATE) -> np.ndarray:
    """Notes of a timbre, (n_samples,), float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    f0 = 220.0 * 2.0 ** (rng.integers(0, 12) / 12.0)
    if timbre == "noisy":
        sound = 0.3 * rng.normal(size=len(t)) + np.sin(2 * np.pi * f0 * t)
    else:
        numbers = range(1, 12) if timbre == "bright" else range(1, 6, 2)
        sound = sum(np.sin(2 * np.pi * k * f0 * t + rng.uniform(0, 6)) / (1 if timbre == "bright" else k) for k in numbers if k * f0 < 3800)
    return (0.5 * sound / np.abs(sound).max() * (1.0 - 0.3 * np.sin(np.pi * t))).astype(np.float32)


def toy(folder: Path, *, files: int = 8, seconds: float = 1.0, rate: int = RATE) -> Path:
    for timbre in TIMBRES:
        (folder / timbre).mkdir(parents=True, exist_ok=True)
        for number in range(files):
            save_audio(folder / timbre / f"{number}.wav", synthetic(timbre, seconds, number, rate=rate), rate)
    return folder


def toy_settings(name: str = "cnn_1d", **changes: object) -> ClassifierSettings:
    content = {
        "classifier": name,
        "sample_rate": RATE,
        "window_seconds": 0.5,
        "step_seconds": 0.5,
        "frontend": {"n_mels": 48, "n_fft": 512} if name not in ("forest", "svm", "harmonic_cnn", "sample_cnn") else {},
        "data": {"windows_per_file": 3, "copies": 1, "validation_share": 0.25, "classes": {}},
        "augment": OFF,
        "fit": {"steps": 30, "batch_size": 16, "learning_rate": 4e-3, "mixup": 0.0},
    }
    if name == "harmonic_cnn":
        content["frontend"] = {"n_fft": 512, "highest_hz": 4000.0}
    if name == "sample_cnn":
        content["fit"] |= {"steps": 80}
    if name == "musicnn":
        content["options"] = {"width": 8}
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) and value and key in content else value
    return validate_as(ClassifierSettings, content)
