"""The examination of z: its figures say what was planted, and the verb is wired."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from test_excerpts import PARTIALS, write_material

from tonetransfer.benchmarks import disentanglement
from tonetransfer.benchmarks.disentanglement import ExaminedMaterial, evaluate_timbre, table_rows
from tonetransfer.benchmarks.excerpts import ORCHESTRA, Excerpt, Excerpts
from tonetransfer.cli import evaluate
from tonetransfer.cli.main import build_parser, main

N_PERFORMANCES, N_PIECES = 6, 4


def make_excerpts(seed: int, names: tuple[str, ...]) -> Excerpts:
    """z holds the instrument alone, what stands for the MFCC pitch and loudness too."""
    rng = np.random.default_rng(seed)
    centres = {name: np.random.default_rng(i).normal(0.0, 3.0, 16) for i, name in enumerate(ORCHESTRA)}
    rows = [
        Excerpt(Path(name), 0.0, name, f"p{p}", 60.0 + rng.normal(0, 6), rng.uniform(0, 12), -20.0 + rng.normal(0, 6))
        for name in names
        for p in range(N_PERFORMANCES)
        for _ in range(N_PIECES)
    ]
    who = np.stack([centres[row.instrument] for row in rows]) + rng.normal(0.0, 1.0, (len(rows), 16))
    played = np.array([[row.pitch_midi - 60.0, row.loudness_db + 20.0] for row in rows])
    return Excerpts(rows, {"z": who, "mfcc": np.concatenate([who, played], axis=1)})


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disentanglement, "MOST_EPOCHS", 30)  # what was planted is found in fewer
        return evaluate_timbre(ExaminedMaterial(make_excerpts(0, ORCHESTRA[:6]), make_excerpts(1, ORCHESTRA[:4])))


def test_figures_say_what_was_planted(figures: dict[str, float]) -> None:
    assert figures["n_instruments"] == 6 and figures["unseen_n_instruments"] == 4 and figures["n_excerpts"] == 144
    for name in ("z", "mfcc"):
        assert figures[f"{name}_instrument_linear_accuracy"] > 0.9 and figures[f"{name}_unseen_orchestra_instrument_linear_accuracy"] > 0.8
    assert figures["z_pitch_mlp_r2"] < 0.1 and figures["z_loudness_linear_r2"] < 0.1
    assert figures["mfcc_pitch_mlp_r2"] > 0.8 and figures["mfcc_loudness_linear_r2"] > 0.8
    assert figures["mfcc_pitch_range_mlp_r2"] < 0.1 and figures["chance_instrument_linear_accuracy"] < 0.4


def test_neighbours_who_play_as_high_mislead_only_what_holds_pitch(figures: dict[str, float]) -> None:
    assert figures["z_retrieval_across_registers_accuracy"] > 0.9
    assert figures["mfcc_retrieval_across_registers_accuracy"] < figures["z_retrieval_across_registers_accuracy"]
    assert figures["z_unseen_retrieval_accuracy"] > 0.8


def test_table(figures: dict[str, float]) -> None:
    rows = table_rows(figures | {"swap_target_accuracy": 0.5, "resynthesis": {"a.wav": {"lsd60_db": 12.0, "counts": True}}})
    assert rows[0] == ("", "z", "mfcc", "chance") and all(len(row) == 4 for row in rows)
    assert ("pitch_mlp_r2", *(f"{figures[f'{name}_pitch_mlp_r2']:.3f}" for name in ("z", "mfcc", "chance"))) in rows
    assert any(row[0] == "swap_target_accuracy" for row in rows) and any("a.wav" in row[0] and "12" in row[1] for row in rows)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are hardly fitted: the test is not about what they find."""
    monkeypatch.setattr(disentanglement, "MOST_EPOCHS", 2)


@pytest.mark.usefixtures("hasty")
def test_without_an_unseen_source() -> None:
    found = evaluate_timbre(ExaminedMaterial(make_excerpts(0, ORCHESTRA[:3]), None))
    assert not any("unseen" in key for key in found) and found["common_n_instruments"] == 3


@pytest.mark.usefixtures("hasty")
def test_the_verb(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "timbre", "--weights", str(tiny_weights)]) == 1
    assert "corpus.yaml" in capsys.readouterr().err
    for part in ("trained", "unseen"):
        write_material(tmp_path / "material" / part)
    options = ["--material", "material", "--baseline", str(tiny_weights), "--probes-only", "--plot", "map.png"]
    assert main(["evaluate", "timbre", "--weights", str(tiny_weights), *options]) == 0
    out = capsys.readouterr().out
    assert "baseline" in out.splitlines()[0] and "instrument_linear_accuracy" in out
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert main(["evaluate", "timbre", "--weights", str(tiny_weights), *options]) == 1  # the picture exists
    parsed: Namespace = build_parser().parse_args(["evaluate", "timbre", "--json"])
    assert parsed.run is evaluate.evaluate_timbre and len(PARTIALS) == 3
