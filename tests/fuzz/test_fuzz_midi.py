"""MIDI files of any kind are played or refused in words."""

from __future__ import annotations

import harness
import midi
import pytest


@pytest.mark.slow
def test_midi_files_of_any_kind_are_played_or_refused() -> None:
    report = harness.run("midi", midi.mutate, midi.attempt, count=24)
    assert not report.faults, str(report)
    assert report.outcomes["played"] > 10 and report.outcomes["refused"] > 2, str(report)


def test_inputs_are_the_same_for_the_same_seed() -> None:
    assert harness.make(midi.mutate, 3, 7) == harness.make(midi.mutate, 3, 7) != harness.make(midi.mutate, 4, 7)
