"""The nearest of the known names."""

from __future__ import annotations

from tonetransfer.errors import did_you_mean, nearest

NAMES = ("violin", "viola", "tuba")


def test_the_nearest_name_if_one_is_near() -> None:
    assert nearest("violine", NAMES) == "violin" and nearest("vila", NAMES) == "viola" and nearest("piano", NAMES) is None
    assert nearest("tu", NAMES, cutoff=0.3) == "tuba"


def test_a_sentence_or_nothing() -> None:
    assert did_you_mean("tubba", NAMES) == "did you mean tuba? " and did_you_mean("tubba", NAMES, quoted=True) == "did you mean 'tuba'? "
    assert did_you_mean("piano", iter(NAMES)) == ""
