"""The fit: an octave that stays where it can, effort apart from level, silence between the notes; and fitting twice is fitting once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_controls

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.adaptation import adapt, fade_out, octave_shift, smallest_octave_shift
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.dynamics import loudness_quantiles

QUANTILES = torch.linspace(-42.0, -14.0, 13)
VIOLIN = (55.0, 100.0)
BASSOON = (34.0, 72.0)


@pytest.mark.parametrize(
    ("midi", "instrument", "semitones"),
    [
        ([76], VIOLIN, 0),
        ([55.0], VIOLIN, 0),  # its lowest note, far from its mean
        ([54.6], VIOLIN, 0),  # half a semitone flat
        ([54.4], VIOLIN, 12),
        ([48, 50, 52], VIOLIN, 12),  # the smallest that suffices
        ([41, 43, 62], VIOLIN, 24),
        ([76, 80], BASSOON, -12),
        ([100, 96], BASSOON, -36),
        ([48, 64, 66], BASSOON, 0),
        ([101, 103, 54], VIOLIN, -12),  # no octave holds it all: 54 goes out, two notes of three come in
        ([54, 100], VIOLIN, 0),  # half is out wherever it is put
    ],
)
def test_octaves(midi: list[float], instrument: tuple[float, float], semitones: int) -> None:
    assert octave_shift(make_controls(midi, [-20.0] * len(midi)), *instrument) == semitones


def test_a_twentieth_of_the_notes_may_be_out_of_range() -> None:
    assert octave_shift(make_controls([60] * 19 + [54], [-20.0] * 20), *VIOLIN) == 0
    assert octave_shift(make_controls([60] * 18 + [54], [-20.0] * 19), *VIOLIN) == 12


def test_both_directions_are_one_rule_and_up_is_first() -> None:
    midi = np.array([60.0, 61.0])
    assert smallest_octave_shift(midi, 66.0, 80.0) == 12 and smallest_octave_shift(midi, 40.0, 55.0) == -12
    assert smallest_octave_shift(np.array([60.0, 60.0]), 72.0, 48.0) == 0  # an instrument without notes: nothing is gained
    weights = np.array([1.0, 99.0])
    assert smallest_octave_shift(np.array([50.0, 60.0]), 55.0, 100.0, weights) == 0
    assert smallest_octave_shift(np.array([50.0, 60.0]), 55.0, 100.0, weights[::-1]) == 12


def test_without_notes_nothing_is_transposed() -> None:
    controls = make_controls([40], [-20.0])
    assert octave_shift(replace(controls, periodicity=torch.zeros(controls.n_frames)), *VIOLIN) == 0


def test_only_notes_decide() -> None:
    controls = make_controls([50, 52], [-20.0, -20.0], rest=3.0)
    wild = replace(controls, f0_hz=torch.where(controls.note_frames(), controls.f0_hz, 300.0))
    assert octave_shift(wild, *VIOLIN) == octave_shift(controls, *VIOLIN) == 12


def test_loudness_moves_as_a_whole_to_where_the_instrument_plays_as_hard() -> None:
    """Notes of equal level are a mezzo-forte: their loud end comes to 11 dB below the instrument's, and every note by the same gain."""
    controls = make_controls([74, 78, 81], [-50.0, -50.0, -50.0])
    adapted, notes = adapt(controls, *VIOLIN, QUANTILES), controls.note_frames()
    moved = (adapted.loudness_db - controls.loudness_db)[notes]
    loudest = float(loudness_quantiles(controls.loudness_db, notes)[-1])
    assert torch.allclose(moved, torch.full_like(moved, -14.0 - 11.0 - loudest), atol=1e-4)
    assert torch.equal(adapted.f0_hz, controls.f0_hz)


def test_a_wide_range_says_that_the_loud_end_is_loud() -> None:
    """The usual note is a mezzo-forte: what lies 8 dB above it is played 3 dB below the strongest, and nothing above the strongest."""
    for above_db, effort_db in ((0.0, -11.0), (8.0, -3.0), (11.0, 0.0), (20.0, 0.0)):
        controls = make_controls([74] * 9, [-40.0] * 8 + [-40.0 + above_db])
        adapted = adapt(controls, *VIOLIN, QUANTILES)
        assert loud_end(adapted) == pytest.approx(-14.0 + effort_db, abs=1e-3)
        assert torch.equal(adapted.loudness_db[200:250].diff(), adapted.loudness_db[270:320].diff())  # no note is bent


@pytest.mark.parametrize(("dynamic", "effort_db"), [("pp", -26.0), ("mf", -11.0), ("ff", -1.0), (-17.5, -17.5), ("-17.5", -17.5)])
def test_a_dynamic_moves_the_asked_loudness_by_exactly_what_it_says(dynamic: str | float, effort_db: float) -> None:
    controls = make_controls([74, 78], [-31.0, -31.0])
    usual, asked = (adapt(controls, *VIOLIN, QUANTILES, dynamic=one) for one in (None, dynamic))
    notes = controls.note_frames()
    moved = (asked.loudness_db - usual.loudness_db)[notes]
    assert torch.allclose(moved, torch.full_like(moved, effort_db + 11.0), atol=1e-4)
    assert loud_end(asked) == pytest.approx(-14.0 + effort_db, abs=1e-3)


@pytest.mark.parametrize("gain_db", [-25.0, -6.0, 6.0])
def test_the_gain_of_the_file_says_nothing(gain_db: float) -> None:
    for seed in range(5):
        controls = random_performance(seed)
        louder = replace(controls, loudness_db=controls.loudness_db + gain_db)
        one, other = adapt(controls, *VIOLIN, QUANTILES), adapt(louder, *VIOLIN, QUANTILES)
        assert torch.equal(one.f0_hz, other.f0_hz) and torch.equal(one.periodicity, other.periodicity)
        assert float((one.loudness_db - other.loudness_db).abs().max()) < 1e-3


def test_the_players_dynamics_are_kept() -> None:
    controls = make_controls([74] * 5, [-10.0, -20.0, -30.0, -40.0, -45.0])
    adapted = adapt(controls, *VIOLIN, QUANTILES)
    middles = [25 + 70 * i for i in range(5)]
    assert torch.allclose(adapted.loudness_db[middles].diff(), torch.tensor([-10.0, -10.0, -10.0, -5.0]), atol=1e-4)


def loud_end(controls: Controls) -> float:
    return float(loudness_quantiles(controls.loudness_db, controls.note_frames())[-1])


def test_noise_between_notes_fades_and_silence_stays() -> None:
    controls = make_controls([74, 78], [-20.0, -22.0], rest=1.5, noise_db=-22.0)
    adapted = adapt(controls, *VIOLIN, QUANTILES)
    step = adapted.loudness_db[:200].diff()
    assert float(adapted.loudness_db[125]) <= -100.0  # 0.75 s after the note
    assert float(step[49:].abs().max()) < 6.0  # a crossfade, no switch
    silent = replace(controls, loudness_db=torch.where(controls.note_frames(), controls.loudness_db, -120.0))
    assert bool((adapt(silent, *VIOLIN, QUANTILES).loudness_db[~controls.note_frames()] == -120.0).all())


def test_flicker_of_the_voicing_leaves_no_dip() -> None:
    controls = make_controls([74], [-20.0], seconds=1.0)
    doubt = controls.periodicity.clone()
    doubt[50:53] = 0.2
    adapted = [adapt(one, *VIOLIN, QUANTILES).loudness_db[45:58] for one in (controls, replace(controls, periodicity=doubt))]
    assert float((adapted[0] - adapted[1]).abs().max()) < 0.5


def test_fade_out_has_a_known_slope() -> None:
    loud, notes = torch.full((100,), -10.0), torch.zeros(100, dtype=torch.bool)
    notes[40:50] = True
    faded = fade_out(loud, notes, notes.float(), 100.0)
    assert torch.allclose(faded[37:53], torch.full((16,), -10.0))
    assert torch.allclose(faded[53:73], -12.0 - 2.0 * torch.arange(20))
    assert torch.allclose(faded[17:37], -12.0 - 2.0 * torch.arange(20).flip(0))
    assert bool((fade_out(loud, torch.zeros_like(notes), notes.float(), 100.0) == -120.0).all())


@pytest.mark.parametrize(
    ("periodicity", "change_db", "lowest_db", "highest_db"), [(0.5, 0, -6, -1), (0.1, 0, -20, -12), (0.5, -35, -45, -34)]
)
def test_a_note_that_the_tracker_lost_is_played_on(periodicity: float, change_db: float, lowest_db: float, highest_db: float) -> None:
    """Loud and nearly periodic: a note in the sound of the one before. Loud noise is none, nor is a quiet hum."""
    controls = make_controls([74], [-20.0], seconds=1.0, rest=0.0)
    gap = (torch.arange(controls.n_frames) >= 40) & (torch.arange(controls.n_frames) < 64)
    lost = replace(
        controls,
        periodicity=torch.where(gap, periodicity, controls.periodicity),
        loudness_db=torch.where(gap, controls.loudness_db + change_db, controls.loudness_db),
    )
    before, after = (adapt(one, *VIOLIN, QUANTILES).loudness_db[52] for one in (controls, lost))
    assert lowest_db < float(after - before) < highest_db


def random_performance(seed: int) -> Controls:
    """Notes of all kinds, with attacks, decays, noise and doubtful frames between."""
    rng = torch.Generator().manual_seed(seed)
    n = int(torch.randint(3, 9, (1,), generator=rng))
    midi = (45 + 40 * torch.rand(n, generator=rng)).tolist()
    levels = (-60 + 50 * torch.rand(n, generator=rng)).tolist()
    controls = make_controls(midi, levels, rest=0.3, noise_db=float(-90 + 60 * torch.rand(1, generator=rng)))
    ripple = torch.randn(controls.n_frames, generator=rng)
    loud = torch.nn.functional.avg_pool1d(controls.loudness_db[None], 9, 1, padding=4)[0] + 0.5 * ripple
    periodicity = (controls.periodicity + 0.15 * torch.randn(controls.n_frames, generator=rng)).clamp(0, 1)
    return Controls(controls.f0_hz, periodicity, loud, FrameGrid())


@pytest.mark.parametrize("seed", range(20))
def test_fitting_twice_is_fitting_once(seed: int) -> None:
    narrow = torch.linspace(-30.0, -22.0, 13)
    for instrument, quantiles in ((VIOLIN, QUANTILES), (BASSOON, narrow)):
        once = adapt(random_performance(seed), *instrument, quantiles)
        twice = adapt(once, *instrument, quantiles)
        assert torch.allclose(once.f0_hz, twice.f0_hz)
        assert torch.equal(once.note_frames(), twice.note_frames())
        assert float((once.loudness_db - twice.loudness_db).abs().max()) < 0.2


def test_without_notes_there_is_silence() -> None:
    noise = Controls(torch.full((100,), 220.0), torch.full((100,), 0.1), torch.full((100,), -20.0), FrameGrid())
    adapted = adapt(noise, *VIOLIN, QUANTILES)
    assert bool((adapted.loudness_db == -120.0).all()) and torch.equal(adapted.f0_hz, noise.f0_hz)


def test_a_given_transposition_is_exact() -> None:
    controls = make_controls([60], [-20.0])
    adapted = adapt(controls, *VIOLIN, QUANTILES, transpose=-3.5)
    assert torch.allclose(adapted.f0_hz, controls.f0_hz * 2.0 ** (-3.5 / 12.0))
