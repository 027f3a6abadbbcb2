"""What brings a decoder or tracker down leaves the page standing."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLE_RATE, melody

import tonetransfer as tt
from tonetransfer.cli import demo
from tonetransfer.pipeline import target as pipeline

Z_STEPS = pipeline.Z_STEPS
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
    assert "brought down" in refusal_of(lambda: work.analyze(str(long)), work)
    short.touch()  # it is read anew, by another process
    assert torch.equal(work.analyze(str(short)).heard.f0_hz, plain.heard.f0_hz)


@pytest.mark.slow
def test_a_reference_and_a_classification_bring_down_nothing_either(work: Any, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "Z_STEPS", Z_STEPS)  # the other process knows nothing of how hasty tests are
    reference = work.folder / "reference.wav"
    tt.save_audio(reference, melody([69, 72, 76, 69]), SAMPLE_RATE)
    inside, player = studio.Studio(work.folder, weights=tiny_weights), studio.Player(reference=str(reference))
    source = inside.analyze(str(reference))
    (wanted, told), classified = inside.target(player), inside.classify(source)
    for name in ("load_audio", "analyze", "find_target", "classify"):  # nothing of it is done here
        monkeypatch.setattr(tt, name, None)
    target, said = work.target(player)
    assert said == told and target.quantiles is not None
    for name, value in dataclasses.asdict(wanted).items():
        found = getattr(target, name)
        assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value, name
    label, ranked, steps = work.classify(source)
    assert (label, [tuple(one) for one in ranked], steps) == classified and ranked[0][0] == label
    for asked in (lambda: work.target(player), lambda: work.classify(source)):
        reference.touch()  # it is heard anew
        assert "brought down" in refusal_of(asked, work)
    assert torch.equal(work.target(player)[0].z, wanted.z) and work.classify(source)[0] == label


def ask_one_that_stands_still(ask: Callable[[], None], work: Any) -> tuple[Any, threading.Thread]:
    """The process that was asked, and the thread that waits for its answer."""
    work.listener.warm_up()
    (process,) = work.listener._idle
    process.send_signal(signal.SIGSTOP)
    thread = threading.Thread(target=ask)
    thread.start()
    while work.listener._idle:
        time.sleep(0.01)
    return process, thread


def refusal_of(asked: Callable[[], Any], work: Any) -> str:
    """Message to a visitor whose process breaks down."""
    refused: list[str] = []

    def ask() -> None:
        try:
            asked()
        except studio.Refusal as refusal:
            refused.append(str(refusal))

    process, thread = ask_one_that_stands_still(ask, work)
    process.send_signal(signal.SIGSEGV)
    process.send_signal(signal.SIGCONT)
    thread.join()
    (text,) = refused
    assert str(work.folder) not in text
    return text


@pytest.mark.slow
def test_what_is_listened_to_ends_with_the_page(work: Any) -> None:
    source = work.folder / "source.wav"
    tt.save_audio(source, melody([69, 72]), SAMPLE_RATE)
    lost: list[type] = []

    def ask() -> None:
        try:
            work.listener.ask("classify", source, longest_s=60.0)
        except studio.listening.Lost as error:
            lost.append(type(error))

    process, thread = ask_one_that_stands_still(ask, work)
    work.listener.close()
    thread.join(60.0)
    assert process.poll() is not None
    ask()  # nothing is begun for it any more
    work.listener.warm_up()
    assert len(lost) == 2 and not work.listener._idle
