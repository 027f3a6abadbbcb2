"""Effort: what markings and decibels ask for, what a performance says of it, and that the level of a recording says nothing."""

from __future__ import annotations

import pytest
import torch

from tonetransfer.controls.dynamics import DYNAMICS_DB, loud_end_db, parse_dynamic, swell_range_db
from tonetransfer.errors import SettingsError

RATE = 100.0


def levels(*stretches: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Loudness of half a second at each level, all of it notes."""
    loud = torch.tensor(stretches).repeat_interleave(50)
    return loud, torch.ones(len(loud), dtype=torch.bool)


@pytest.mark.parametrize(
    ("dynamic", "effort_db"),
    [("ppp", -30.0), ("mf", -11.0), (" FF ", -1.0), ("fff", 0.0), (-36, -36.0), (-0.5, -0.5), ("-12", -12.0), (0, 0.0)],
)
def test_markings_and_decibels(dynamic: str | float, effort_db: float) -> None:
    assert parse_dynamic(dynamic) == effort_db


def test_markings_rise() -> None:
    ordered = [parse_dynamic(marking) for marking in ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")]
    assert ordered == sorted(set(ordered)) and set(ordered) == set(DYNAMICS_DB.values())


@pytest.mark.parametrize("dynamic", ["loud", "", "pppp", "3", 3.0, -36.1, "nan", float("nan"), float("-inf"), [1]])
def test_what_is_no_dynamic_is_told_in_one_line(dynamic: str | float) -> None:
    with pytest.raises(
        SettingsError, match=r"^dynamic is .*a marking from ppp to fff or decibels below the strongest, from -36 to 0, is wanted"
    ):
        parse_dynamic(dynamic)


def test_a_close_spelling_is_proposed() -> None:
    with pytest.raises(SettingsError, match=r"^dynamic is 'ffff'; did you mean fff\? a marking"):
        parse_dynamic("ffff")


def test_the_range_is_from_the_loudest_to_the_usual_stretch() -> None:
    assert swell_range_db(*levels(-20.0, -20.0, -20.0), RATE) == 0.0
    assert swell_range_db(*levels(-20.0, -28.0, -28.0, -28.0, -30.0), RATE) == pytest.approx(8.0)
    assert swell_range_db(*levels(-20.0, -28.0, -28.0, -28.0, -51.0, -70.0, -90.0), RATE) == pytest.approx(8.0)  # rests are no soft notes


def test_attacks_decays_and_what_is_no_note_do_not_count() -> None:
    loud, notes = levels(-20.0, -26.0, -26.0)
    dying = loud - 12.0 * (torch.arange(len(loud)) % 50) / 50.0
    assert swell_range_db(dying, notes, RATE) == pytest.approx(6.0)
    noise = loud.clone()
    noise[120:] = -3.0  # louder than any note
    assert swell_range_db(noise, notes & (torch.arange(150) < 120), RATE) == pytest.approx(6.0)
    assert swell_range_db(loud, torch.zeros_like(notes), RATE) == 0.0


@pytest.mark.parametrize("gain_db", [-30.0, 6.0])
def test_the_gain_of_the_file_does_not_count(gain_db: float) -> None:
    loud, notes = levels(-20.0, -27.0, -24.0, -31.0)
    assert swell_range_db(loud + gain_db, notes, RATE) == pytest.approx(swell_range_db(loud, notes, RATE), abs=1e-4)


def test_a_stretch_shorter_than_half_a_second_counts_too() -> None:
    loud = torch.tensor([-30.0] * 50 + [-20.0] * 3)
    assert swell_range_db(loud, torch.ones(53, dtype=torch.bool), RATE) == pytest.approx(10.0)
    assert swell_range_db(loud[:1], torch.ones(1, dtype=torch.bool), RATE) == 0.0


def test_the_usual_note_is_a_mezzo_forte_unless_something_else_is_written() -> None:
    assert loud_end_db(0.0) == -11.0 and loud_end_db(6.0) == -5.0
    assert loud_end_db(6.0, "pp") == -20.0 and loud_end_db(6.0, -30.0) == -24.0
    assert loud_end_db(40.0) == loud_end_db(2.0, "ff") == 0.0  # nothing is played above the strongest
