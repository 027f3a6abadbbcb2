"""Imports point one way, and heavy packages stay where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tonetransfer"

# From the ground up: a module imports only from lines above its own, or from what stands left of it in its line.
LAYERS = """
    errors convert frames scales threads memory compiling kernels causal_kernels voice_kernels
    audio spectral capture config solo_settings settings performance
    periodicity salience trackers leaps f0 loudness synth room hall
    modulation envelope dynamics release heterodyne brightness
    controls edits notes partials spectral_shape features techniques readout panels plot
    encoder recurrence register decoder losses forces metrics_pitch metrics_failures metrics_timbre metrics compare probes
    model
    weights dataset data hearings erase soundfont etudes notefolder orchestra corpus excerpts judge
    classify_settings classify_data classify_augment classify_windows classify_frontends classify_networks classify_attention
    classify_estimators classify_embeddings classify_fit classify_prediction classify_registry classifier
    polyphony reference fit follow likeness closer target description refine transfer classify
    sources suitability holdout engines prepare defects verdict doctor doctor_plot
    causal listen adapt convolve voice keys stream live score
    alarms card hub solo_data solo_measure solo_callbacks
    train solo evaluate evaluate_finetune swaps resynthesis disentangle technique_measure classify_measure classify_table
    scripted export foreign peers bench
    bootstrap report_media report_sets report_measure report_page report
    commands demo
    cli __main__
"""
ORDER = {name: place for place, name in enumerate(LAYERS.split())}
HOMES = {  # third-party packages that one module alone may import
    "lightning": {"train", "solo", "solo_callbacks"},
    "huggingface_hub": {"hub"},
    "gradio": set(),
    "audiomentations": {"classify_augment"},
    "pyroomacoustics": {"classify_augment"},
    "mirdata": {"classify_data"},
    "transformers": {"classify_embeddings"},
    "soundfile": {"audio"},
    "soxr": {"audio"},
    "zarr": {"dataset"},
    "numba": {"kernels"},
    "dask": {"engines"},
    "matplotlib": {"plot", "panels", "doctor_plot"},
    "argparse": {"cli", "commands", "demo"},
    "sounddevice": {"live"},
    "onnxruntime": {"export"},
    "onnxscript": {"export"},
    "pyworld": {"peers"},
    "pesto": {"peers"},
    "torchfcpe": {"peers"},
    "mido": {"score"},
}


def imports(source: str) -> tuple[set[str], set[str]]:
    """Names of our own modules and of other packages that a source imports, lazily or not."""
    ours, others = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            ours |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            others.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
    return ours, others


def violations(sources: dict[str, str]) -> list[str]:
    """What is wrong with modules, given as name and source."""
    found = []
    for name, source in sources.items():
        ours, others = imports(source)
        if name not in ORDER:
            found.append(f"{name} has no place in the order")
            continue
        found += [f"{name} imports {other}, which stands above it" for other in ours if ORDER.get(other, len(ORDER)) >= ORDER[name]]
        found += [f"{name} imports {package}" for package in others & HOMES.keys() if name not in HOMES[package]]
        found += [f"{name} imports the package by its full name" for package in others & {"tonetransfer"}]
    return found


def read_package() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py") if path.stem != "__init__"}


def test_imports_point_one_way() -> None:
    assert violations(read_package()) == []


def test_a_planted_violation_is_found() -> None:
    sources = read_package()
    for name, line in {
        "frames": "from .model import TimbreModel",
        "synth": "def f():\n    from . import transfer",
        "model": "import lightning.pytorch",
        "transfer": "import soundfile as sf",
        "newcomer": "",
        "cli": "from tonetransfer.audio import load_audio",
    }.items():
        found = violations(sources | {name: sources.get(name, "") + "\n" + line + "\n"})
        assert len(found) == 1 and found[0].startswith(name), (name, found)


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "[name for name in ('torch', 'numpy', 'librosa', 'lightning', 'soundfile', 'matplotlib') if name in sys.modules]"
    assert run(f"import sys, tonetransfer; print({heavy})") == "[]"
    assert run(f"import sys\nfrom tonetransfer.cli import build_parser\nbuild_parser().format_help()\nprint({heavy})") == "[]"


def test_help_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "tonetransfer", "transfer", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--like" in done.stdout
    assert not any(line.split("|")[-1].strip().split(".")[0] in ("torch", "numpy") for line in done.stderr.splitlines())


def test_transferring_needs_no_training_stack_and_submodules_hide_no_functions() -> None:
    code = "import sys\nimport tonetransfer.transfer, tonetransfer as tt\nfrom tonetransfer import commands\n"
    assert run(code + "print('lightning' in sys.modules, 'matplotlib' in sys.modules, callable(tt.transfer))") == "False False True"


def test_everything_public_can_be_had() -> None:
    import tonetransfer as tt

    assert all(getattr(tt, name) is not None for name in tt.__all__)
    assert set(tt.__all__) <= set(dir(tt)) and tt.__version__
    assert {"load_audio", "load_model", "transfer", "save_audio", "analyze", "synthesize", "describe", "evaluate"} <= set(tt.__all__)
