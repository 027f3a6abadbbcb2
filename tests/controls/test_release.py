"""Ends of notes: found where they are, measured, and where they were cut short given another instrument's release."""

from __future__ import annotations

import pytest
import torch

from tonetransfer.controls.profile import find_releases, is_dry, release_rate, with_release

RATE = 100.0


def played(*parts: tuple[float, int] | torch.Tensor) -> torch.Tensor:
    """Loudness from parts: (dB, frames) holds a level, a tensor is taken as it is."""
    return torch.cat([part if isinstance(part, torch.Tensor) else torch.full((part[1],), part[0]) for part in parts])


def fall(start_db: float, rate_db_per_s: float, n_frames: int) -> torch.Tensor:
    return (start_db - rate_db_per_s / RATE * torch.arange(1, n_frames + 1)).clamp(min=-120.0)


TWO_NOTES = played((-120.0, 10), (-20.0, 50), fall(-20.0, 1800.0, 20), (-25.0, 40), fall(-25.0, 1800.0, 60))  # cut off
SLOW_NOTES = played((-120.0, 10), (-20.0, 50), fall(-20.0, 300.0, 20), (-25.0, 40), fall(-25.0, 300.0, 60))  # dying away


def test_ends_are_found_where_they_are() -> None:
    assert find_releases(TWO_NOTES, RATE) == [(59, 79), (119, 179)]


@pytest.mark.parametrize(
    "loudness",
    [
        played((-120.0, 20), (-20.0, 100)),
        played((-20.0, 40), fall(-20.0, 50.0, 100)),  # diminuendo
        played((-14.0, 30), fall(-14.0, 250.0, 10), (-39.0, 80)),  # fortepiano: the note is held on
        played((-20.0, 50)) + 6.0 * torch.sin(torch.arange(50) * 6.28 * 6.0 / RATE),  # tremolo
    ],
)
def test_what_is_no_end(loudness: torch.Tensor) -> None:
    assert find_releases(loudness, RATE) == []
    assert torch.equal(with_release(loudness, 200.0, RATE), loudness)


@pytest.mark.parametrize("rate_db_per_s", [110.0, 150.0, 300.0, 900.0])
def test_a_note_that_is_cut_off_rings_on_at_the_instrument_s_rate(rate_db_per_s: float) -> None:
    changed = with_release(TWO_NOTES, rate_db_per_s, RATE)
    assert torch.allclose(changed[119:132], (-25.0 - rate_db_per_s / RATE * torch.arange(13)).clamp(min=-120.0), atol=1e-4)
    assert torch.allclose(changed[59:75], (-20.0 - rate_db_per_s / RATE * torch.arange(16)).clamp(min=-120.0), atol=1e-4)
    if rate_db_per_s > 130.0:  # in the 0.2 s between the notes a slower fall is not deep enough to be measured there
        assert release_rate(changed, RATE) == pytest.approx(rate_db_per_s, rel=0.02)
    assert torch.equal(with_release(changed, rate_db_per_s, RATE), changed)  # idempotent
    held = torch.ones(len(changed), dtype=torch.bool)
    held[60:80] = held[120:] = False
    assert torch.equal(changed[held], TWO_NOTES[held])


def test_no_note_is_cut_by_an_instrument_that_stops_sooner() -> None:
    assert torch.equal(with_release(TWO_NOTES, 1900.0, RATE, dry=False), TWO_NOTES)


def test_a_dry_source_takes_the_release_of_the_instrument() -> None:
    """Nothing at all between its notes: their decay is no room's."""
    assert is_dry(TWO_NOTES) and not is_dry(TWO_NOTES.clamp(min=-119.0)) and not is_dry(SLOW_NOTES[10:60])
    for rate in (200.0, 1500.0):
        released = with_release(SLOW_NOTES, rate, RATE, dry=True)
        assert torch.allclose(released[60:66] - released[59:65], torch.full((6,), -rate / RATE))
        assert torch.equal(with_release(SLOW_NOTES, rate, RATE, dry=False), SLOW_NOTES)


@pytest.mark.parametrize("rate_db_per_s", [110.0, 200.0, 800.0])
def test_a_note_that_takes_its_time_is_left_as_it_is(rate_db_per_s: float) -> None:
    assert torch.equal(with_release(SLOW_NOTES, rate_db_per_s, RATE), SLOW_NOTES)


@pytest.mark.parametrize(
    ("fall_db_per_s", "rings"), [(120.0, False), (380.0, False), (950.0, False), (1200.0, False), (1550.0, True), (2000.0, True)]
)
@pytest.mark.parametrize("depth_db", [18.0, 60.0])
def test_the_fall_of_each_note_decides(fall_db_per_s: float, rings: bool, depth_db: float) -> None:
    """Also where the next note begins before it has fallen far: a dip of 18 dB that takes its time is no cut."""
    n = max(round(depth_db / fall_db_per_s * RATE), 1)
    loudness = played((-120.0, 10), (-20.0, 50), fall(-20.0, fall_db_per_s, n), (-20.0, 50))
    assert find_releases(loudness, RATE) == [(59, 59 + n)]
    assert (not torch.equal(with_release(loudness, 110.0, RATE), loudness)) == rings


def test_nothing_to_measure_is_no_rate() -> None:
    assert release_rate(torch.full((100,), -20.0), RATE) is None
    assert release_rate(torch.full((100,), -120.0), RATE) is None


def test_the_level_of_a_recording_does_not_matter() -> None:
    assert release_rate(TWO_NOTES - 20.0, RATE) == pytest.approx(release_rate(TWO_NOTES, RATE), rel=1e-3)
