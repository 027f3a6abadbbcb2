"""Corrections on a span of time: nothing else changes."""

from __future__ import annotations

import json
import math

import pytest
import torch
from conftest import make_controls

from tonetransfer.audio.units import hz_to_midi
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.edits import Edit, apply_edits, octave_error
from tonetransfer.errors import ControlsError


@pytest.fixture
def heard() -> Controls:
    return make_controls([69, 71, 84, 72], [-20.0, -22.0, -18.0, -21.0])  # each 0.7 s; the third is an octave too high


def test_a_span_is_shifted_and_nothing_else(heard: Controls) -> None:
    edited = apply_edits(heard, [Edit(0.7, 1.4, semitones=-2.0, db=-6.0)])
    ratio, change = edited.f0_hz / heard.f0_hz, edited.loudness_db - heard.loudness_db
    assert torch.allclose(ratio[70:140], torch.tensor(2.0 ** (-2 / 12))) and torch.allclose(change[70:140], torch.tensor(-6.0))
    for span in (slice(0, 70), slice(140, None)):
        assert torch.equal(edited.f0_hz[span], heard.f0_hz[span]) and torch.equal(edited.loudness_db[span], heard.loudness_db[span])


def test_an_octave_error_is_put_right(heard: Controls) -> None:
    assert octave_error(heard, 1.4, 2.1) == -12 and octave_error(heard, 0.7, 1.4) == 0
    edited = apply_edits(heard, [Edit(1.4, 2.1, fix_octave=True)])
    assert float(hz_to_midi(edited.f0_hz[150].double())) == pytest.approx(72.0, abs=1e-3)
    assert torch.equal(apply_edits(edited, [Edit(1.4, 2.1, fix_octave=True)]).f0_hz, edited.f0_hz)


def test_contours_are_redrawn(heard: Controls) -> None:
    edit = Edit(0.5, 1.5, pitch=[(1.5, 62.0), (0.5, 60.0)], loudness=[(0.5, -30.0), (1.0, -20.0)])
    edited = apply_edits(heard, [edit])
    assert float(hz_to_midi(edited.f0_hz[100].double())) == pytest.approx(61.0, abs=1e-3)
    assert float(edited.loudness_db[75]) == pytest.approx(-25.0, abs=1e-3) and float(edited.loudness_db[140]) == -20.0
    assert bool((edited.periodicity[50:150] >= 0.95).all()) and bool(edited.note_frames()[50:150].all())
    assert torch.equal(edited.f0_hz[150:], heard.f0_hz[150:])


def test_beyond_the_end_and_into_silence(heard: Controls) -> None:
    assert torch.equal(apply_edits(heard, [Edit(100.0, 200.0, semitones=5)]).f0_hz, heard.f0_hz)
    assert float(apply_edits(heard, [Edit(0.0, 9.0, db=-120.0)]).loudness_db.min()) == -120.0


def test_from_json() -> None:
    text = '{"start_s": 1, "end_s": 2, "pitch": [[1.0, 60], [2.0, 64]], "fix_octave": true}'
    assert Edit.from_dict(json.loads(text)) == Edit(1.0, 2.0, pitch=((1.0, 60.0), (2.0, 64.0)), fix_octave=True)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"start_s": 1.0},
        {"start_s": 2.0, "end_s": 1.0},
        {"start_s": 0.0, "end_s": math.inf},
        {"start_s": math.nan, "end_s": 1.0},
        {"start_s": 0.0, "end_s": 1.0, "semitones": 1e9},
        {"start_s": 0.0, "end_s": 1.0, "db": math.nan},
        {"start_s": 0.0, "end_s": 1.0, "colour": 3},
        {"start_s": "now", "end_s": 1.0},
        {"start_s": 0.0, "end_s": 10**400},
        {"start_s": 0.0, "end_s": 1.0, "a\nb": 1},
        {"start_s": 0.0, "end_s": 1.0, "pitch": [[0.0, 500.0]]},
        {"start_s": 0.0, "end_s": 1.0, "pitch": [[0.0]]},
        {"start_s": 0.0, "end_s": 1.0, "pitch": 7},
        {"start_s": 0.0, "end_s": 1.0, "loudness": [[math.nan, -10.0]]},
        "edit",
    ],
)
def test_what_is_no_edit(values: dict) -> None:
    with pytest.raises(ControlsError) as refusal:
        Edit.from_dict(values)
    assert "\n" not in str(refusal.value)
