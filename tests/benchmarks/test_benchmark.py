"""The bench measures what it says, and its page keeps what is around the tables."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_model, melody

from tonetransfer.audio.files import save_audio
from tonetransfer.benchmarks import benchmark as benching
from tonetransfer.benchmarks.baselines import PEERS, Peer, PlainSynthesis
from tonetransfer.benchmarks.benchmark import BEGIN, END, best_of, looped, table_lines, write_page
from tonetransfer.cli.main import main
from tonetransfer.errors import ToneTransferError


def test_the_best_run_counts() -> None:
    pauses = iter([0.05, 0.01, 0.03, 0.03, 0.03])
    figures = best_of(lambda: time.sleep(next(pauses)), 1.0)
    assert 20.0 < figures["realtime_factor"] <= 100.0 and figures["realtime_factor_cpu"] > figures["realtime_factor"]


def test_audio_is_repeated_to_length() -> None:
    assert looped(torch.arange(3.0), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_the_baseline_is_in_tune() -> None:
    torch.manual_seed(0)
    sound = PlainSynthesis(16000, 160, width=16, n_harmonics=5)(torch.full((1, 100, 1), 400.0), torch.zeros(1, 100, 1))
    spectrum = torch.fft.rfft(sound[0].detach() * torch.hann_window(16000)).abs()
    assert sound.shape == (1, 16000) and int(spectrum.argmax()) % 400 in (0, 1, 399)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ImportError("no such package")

    monkeypatch.setattr(benching, "load_model", make_model)
    monkeypatch.setattr(
        benching,
        "PEERS",
        (Peer("here", "tracker", 16000, 1.0, lambda: lambda audio: audio.sum()), Peer("gone", "tracker", 16000, 1.0, absent)),
    )
    for name, value in {"STAGE_S": 1.0, "STREAM_S": 0.5, "LENGTHS_S": (0.5,), "BATCHES": (1,), "BUDGET_S": 0.0}.items():
        monkeypatch.setattr(benching, name, value)
    monkeypatch.setattr(benching, "_run_command", lambda words: (0.25, 100.0))
    monkeypatch.setattr(benching, "_whole_training", lambda audio, rate: {"batch": 1, "processes": 1, "realtime_factor": 9.0})
    monkeypatch.setattr(benching, "_start_up", lambda: {"help_seconds": 0.1, "first_sound_seconds": 1.0})


def test_the_command_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small(monkeypatch)
    save_audio(tmp_path / "s.wav", melody([69.0, 72.0]), 48000)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n")
    assert main(["bench", "--source", str(tmp_path / "s.wav"), "--out", str(page), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["what"] for row in result["stages"]} >= {"decode", "render", "decode + render", "wav to wav", "stream, blocks of 10 ms"}
    assert [row["what"] for row in result["peers"]] == ["here"] and result["absent"] == ["gone"]
    assert result["lengths"] == [{"seconds": 0.5, "elapsed_seconds": 0.25, "realtime_factor": 2.0, "peak_memory_mb": 100.0}]
    assert all(row["realtime_factor"] > 0 for row in (*result["stages"], *result["batches"]))
    assert result["train"] == {"batch": 1, "processes": 1, "realtime_factor": 9.0}
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old figures" not in text and "| render |" in text


def test_a_talkative_peer_leaves_stdout_to_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    (fcpe,) = (peer for peer in PEERS if peer.name == "torchfcpe")
    fcpe.make()(np.sin(np.arange(16000) / 10.0).astype(np.float32))
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_training_is_measured_as_it_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_processor(words: list[str]) -> tuple[float, float]:
        """Seconds of the processor, whatever else it does."""
        begin = time.process_time()
        assert main(words) == 0
        return time.process_time() - begin, 0.0

    monkeypatch.setattr(benching, "_run_command", by_processor)
    monkeypatch.setattr(benching, "TRAINED_S", 12.0)
    monkeypatch.setattr(benching, "TRAINED_STEPS", (1, 21))
    monkeypatch.setattr(benching, "BATCHES", (4,))
    row = benching._whole_training(melody([69.0, 72.0, 76.0]), 48000)
    assert row["batch"] == 4 and row["processes"] == 1 and 0.5 < row["realtime_factor"] < 500.0


def test_a_command_is_a_process_whose_time_and_memory_are_told() -> None:
    seconds, megabytes = benching._run_command(["--help"])
    assert 0.01 < seconds < 120.0 and 5.0 < megabytes < 4000.0
    with pytest.raises(ToneTransferError, match="`tonetransfer nothing` ended with 2"):
        benching._run_command(["nothing"])


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    for load, busy in ((50.0, True), (0.0, False)):
        monkeypatch.setattr(benching.os, "getloadavg", lambda load=load: (load, load, load))
        result = benching.bench(peers=False)
        assert result["machine"]["busy"] is busy and ("kept the machine busy" in "\n".join(table_lines(result))) is busy


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("mine")
    with pytest.raises(ToneTransferError, match="no marks"):
        write_page(tmp_path / "page.md", {})
    assert (tmp_path / "page.md").read_text() == "mine"
