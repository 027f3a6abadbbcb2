"""Sound, controls, weights, settings and names of any kind give a result or one line."""

from __future__ import annotations

from types import ModuleType

import audio
import edits
import harness
import names
import npz
import pytest
import settings
import weights

COUNTS = {audio: 300, npz: 60, weights: 60, settings: 300, names: 20, edits: 150}


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", COUNTS, ids=lambda module: module.__name__)
def test_whatever_comes_gives_a_result_or_a_line(fuzzer: ModuleType) -> None:
    report = harness.run(fuzzer.__name__, fuzzer.mutate, fuzzer.attempt, count=COUNTS[fuzzer])
    assert not report.faults, str(report)
    done = sum(count for outcome, count in report.outcomes.items() if outcome != "refused")
    assert done > report.n_inputs / 20 and report.outcomes["refused"] > 0, str(report)
