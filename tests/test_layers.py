"""Imports point one way, and heavy packages stay where they are needed."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tonetransfer"

# From the ground up: a folder imports only from lines above its own, and those of one line import nothing of each other.
LAYERS = """
    errors
    atomic threads compiled
    audio
    synthesis
    pitch
    controls
    models
    training
    pipeline export
    analysis
    data
    realtime classification
    evaluation
    benchmarks
    cli
    __main__
"""
ORDER = {name: place for place, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}
DATA_FOLDERS = {"classifiers", "instruments"}
CLI = ("main", "options", "steps", "play", "live", "analyze", "data", "export", "classifier", "evaluate", "demo")
HOMES = {  # third-party packages that one module alone may import
    "lightning": {"training.pretraining", "training.finetuning", "training.callbacks"},
    "huggingface_hub": {"models.hub"},
    "gradio": set(),
    "audiomentations": {"classification.clips"},
    "pyroomacoustics": {"classification.clips"},
    "mirdata": {"classification.clips"},
    "transformers": {"classification.embeddings"},
    "soundfile": {"audio.files", "audio.readers"},
    "soxr": {"audio.files", "audio.readers"},
    "av": {"audio.readers"},
    "zarr": {"data.dataset"},
    "numba": {"compiled"},
    "dask": {"data.jobs"},
    "matplotlib": {"analysis.plots", "analysis.plot_panels", "data.doctor_plot"},
    "argparse": {f"cli.{name}" for name in CLI},
    "sounddevice": {"realtime.devices"},
    "onnxruntime": {"export.onnx"},
    "onnxscript": {"export.onnx"},
    "pyworld": {"benchmarks.baselines"},
    "pesto": {"benchmarks.baselines"},
    "torchfcpe": {"benchmarks.baselines"},
    "jinja2": {"evaluation.report.page"},
    "mido": {"realtime.midi_playback"},
}


parsed = cache(ast.parse)  # all but one of the sources are the same from test to test


@cache
def imports(name: str, source: str) -> tuple[set[str], set[str]]:
    """Our own modules (``folder.module``) and other packages that a module imports, lazily or not."""
    ours, others = set(), set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = name.split(".")[: -node.level]
            ours |= {".".join([*base, node.module])} if node.module and "." in node.module else set()
            if not (node.module and "." in node.module):
                place = [*base, *([node.module] if node.module else [])]
                ours |= {".".join(place)} | {".".join([*place, alias.name]) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            others.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
    return ours, others


def violations(sources: dict[str, str]) -> list[str]:
    """What is wrong with modules, given as name and source."""
    found, graph = [], {}
    for name, source in sources.items():
        ours, others = imports(name, source)
        folder = name.split(".")[0]
        if folder not in ORDER:
            found.append(f"{name} has no place in the order")
            continue
        ours = {other for other in ours if other in sources or other.split(".")[0] not in ORDER}
        graph[name] = ours
        above = [other for other in ours if other.split(".")[0] != folder and ORDER.get(other.split(".")[0], len(ORDER)) >= ORDER[folder]]
        found += [f"{name} imports {other}, which stands above it" for other in above]
        found += [f"{name} imports {package}" for package in others & HOMES.keys() if name not in HOMES[package]]
        found += [f"{name} imports the package by its full name" for package in others & {"tonetransfer"}]
    if not found:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            found.append(f"{error.args[1][0]} is in a circle: {' <- '.join(error.args[1])}")
    return found


def read_package() -> dict[str, str]:
    """Every module but the package's own front door, as its dotted name within the package and its source."""
    paths = {path.relative_to(PACKAGE).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    return {
        ".".join(place.parts): path.read_text(encoding="utf-8")
        for place, path in paths.items()
        if str(place) != "__init__" and place.parts[0] not in DATA_FOLDERS
    }


def test_imports_point_one_way() -> None:
    assert violations(read_package()) == []


def test_a_planted_violation_is_found() -> None:
    sources = read_package()
    for name, line in {
        "audio.frames": "from ..models.timbre_model import TimbreModel",
        "synthesis.render": "def f():\n    from ..pipeline import transfer",
        "controls.edits": "from .. import training",
        "export.export": "from ..pipeline.target import find_target",
        "realtime.stream": "from ..classification.classifier import Classifier",
        "models.timbre_model": "import lightning.pytorch",
        "pipeline.transfer": "import soundfile as sf",
        "newcomer": "",
        "utils.text": "",
        "cli.main": "from tonetransfer.audio.files import load_audio",
        "evaluation.report.page": "from ...benchmarks.swaps import choose_swaps",
    }.items():
        found = violations(sources | {name: sources.get(name, "") + "\n" + line + "\n"})
        assert len(found) == 1 and found[0].startswith(name), (name, found)


def test_a_planted_circle_is_found() -> None:
    sources = read_package()
    for name, line in {"audio.units": "from .stft import hann", "pitch.autocorrelation": "def f():\n    from . import tracking"}.items():
        found = violations(sources | {name: sources[name] + "\n" + line + "\n"})
        assert len(found) == 1 and "circle" in found[0] and name in found[0], (name, found)


def test_every_folder_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    places = {"tonetransfer": PACKAGE, "tonetransfer_demo": ROOT / "demo"}
    files = [(name, path.relative_to(place)) for name, place in places.items() for path in place.rglob("*") if path.is_file()]
    assert set(listed) == {".".join((name, *path.parent.parts)) for name, path in files if "__pycache__" not in path.parts}


def test_what_a_folder_says_of_itself_costs_nothing() -> None:
    for path in PACKAGE.rglob("*/__init__.py"):
        (only,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(only, ast.Expr), path


def test_a_class_name_stands_for_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for name, source in read_package().items():
        for node in parsed(source).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name)
    assert {one: where for one, where in homes.items() if len(where) > 1} == {}


def test_functions_are_short() -> None:
    for name, source in read_package().items():
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.FunctionDef):
                documented = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
                first = node.body[0].end_lineno if documented else node.lineno
                assert (node.end_lineno or 0) - (first or 0) <= 60, f"{name}.{node.name}"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "[name for name in ('torch', 'numpy', 'librosa', 'lightning', 'soundfile', 'matplotlib') if name in sys.modules]"
    assert run(f"import sys, tonetransfer; print({heavy})") == "[]"
    assert run(f"import sys\nfrom tonetransfer.cli.main import build_parser\nbuild_parser().format_help()\nprint({heavy})") == "[]"


def test_help_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "tonetransfer", "transfer", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--like" in done.stdout
    assert not any(line.split("|")[-1].strip().split(".")[0] in ("torch", "numpy") for line in done.stderr.splitlines())


def test_transferring_needs_no_training_stack_and_submodules_hide_no_functions() -> None:
    code = "import sys\nimport tonetransfer.pipeline.transfer, tonetransfer as tt\nfrom tonetransfer.cli import steps\n"
    assert run(code + "print('lightning' in sys.modules, 'matplotlib' in sys.modules, callable(tt.transfer))") == "False False True"


def test_analysis_loads_no_filters() -> None:
    code = "import sys\nfrom tonetransfer.analysis import techniques\nfrom tonetransfer.cli import analyze, steps\n"
    assert run(code + "print('scipy.signal' in sys.modules)") == "False"


def test_everything_public_can_be_had() -> None:
    import tonetransfer as tt

    assert all(getattr(tt, name) is not None for name in tt.__all__)
    assert set(tt.__all__) <= set(dir(tt)) and tt.__version__
    assert {"load_audio", "load_model", "transfer", "save_audio", "analyze", "synthesize", "describe", "evaluate"} <= set(tt.__all__)
