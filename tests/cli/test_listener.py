"""What brings a decoder or tracker down leaves the page standing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLE_RATE, melody

import tonetransfer as tt
from tonetransfer.cli import demo

studio: Any = demo.find_part("studio")


@pytest.fixture
def work(tmp_path: Path, tiny_weights: Path) -> Iterator[Any]:
    made = studio.Studio(tmp_path / "work", weights=tiny_weights, apart=True)
    yield made
    made.close()


@pytest.mark.slow
def test_a_process_of_its_own_hears_the_same_and_may_break_down(work: Any, tmp_path: Path, tiny_weights: Path) -> None:
    short, long, none = (work.folder / f"{name}.wav" for name in ("short", "long", "none"))
    tt.save_audio(short, melody([69, 72]), SAMPLE_RATE)
    tt.save_audio(long, melody([69, 72] * 100), SAMPLE_RATE)
    none.write_text("no sound")
    plain = studio.Studio(work.folder, weights=tiny_weights).analyze(str(short))
    heard = work.analyze(str(short))
    assert torch.equal(heard.audio, plain.audio) and torch.equal(heard.heard.f0_hz, plain.heard.f0_hz)
    with pytest.raises(studio.Refusal, match="not a sound file"):
        work.analyze(str(none))
    (process,) = work.listener._idle
    refused: list[str] = []

    def analyze() -> None:
        try:
            work.analyze(str(long))
        except studio.Refusal as refusal:
            refused.append(str(refusal))

    thread = threading.Thread(target=analyze)
    thread.start()
    while work.listener._idle:
        time.sleep(0.01)
    process.send_signal(signal.SIGSEGV)
    thread.join()
    assert len(refused) == 1 and "brought down" in refused[0] and str(tmp_path) not in refused[0]
    short.touch()  # it is read anew, by another process
    assert torch.equal(work.analyze(str(short)).heard.f0_hz, plain.heard.f0_hz) and work.listener._idle != [process]
