"""A command that is ended and given again makes the same, and leaves nothing; ``kills.py`` tries more of them, for longer."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import kills
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def test_a_transfer_that_is_ended_twice_makes_the_same() -> None:
    report = kills.end_at_random_moments(2, seed=2, only="transfer")
    assert not report.faults and report.kills.total() == 2, str(report)


def test_nothing_is_left_of_an_export_that_is_ended(tmp_path: Path) -> None:
    trial = kills.Trial(kills.scenarios(tmp_path, "export")["export"], tmp_path)
    assert trial.run(number=signal.SIGTERM, when_something_is_there=True)
    assert not trial.problems and not any(trial.folder.iterdir())
