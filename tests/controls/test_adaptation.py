"""The fit: the right octave, the instrument's dynamics, silence between the notes; and fitting twice is fitting once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import make_controls

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.adaptation import fade_out, fit, octave_shift
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.dynamics import loudness_quantiles

QUANTILES = torch.linspace(-42.0, -14.0, 13)
VIOLIN = (76.0, 55.0, 100.0)
BASSOON = (52.0, 34.0, 72.0)


@pytest.mark.parametrize(
    ("midi", "instrument", "semitones"),
    [
        ([76], VIOLIN, 0),
        ([70.5], VIOLIN, 0),  # less than half an octave off
        ([69.5], VIOLIN, 12),
        ([48, 50, 52], VIOLIN, 24),
        ([100, 96], BASSOON, -48),
        ([48, 64, 66], BASSOON, -12),
    ],
)
def test_octaves(midi: list[float], instrument: tuple[float, float, float], semitones: int) -> None:
    assert octave_shift(make_controls(midi, [-20.0] * len(midi)), *instrument) == semitones


def test_the_range_decides_where_the_mean_would_mislead() -> None:
    controls = make_controls([60, 62, 64, 67], [-20.0] * 4)  # mean 63
    assert octave_shift(controls, 68.0, 40.0, 100.0) == 0
    assert octave_shift(controls, 68.0, 66.0, 100.0) == 12  # most of it would lie too low
    assert octave_shift(controls, 68.0, 61.5, 66.5) == 0  # no octave is clearly better


def test_only_notes_decide() -> None:
    controls = make_controls([60, 62], [-20.0, -20.0], rest=3.0)
    wild = replace(controls, f0_hz=torch.where(controls.note_frames(), controls.f0_hz, 2000.0))
    assert octave_shift(wild, *VIOLIN) == octave_shift(controls, *VIOLIN) == 12


def test_a_source_on_the_instrument_hardly_changes() -> None:
    controls = make_controls([74, 78, 81, 69, 76, 72, 80], QUANTILES[::2].tolist())
    notes = controls.note_frames()
    own = loudness_quantiles(controls.loudness_db, notes)
    for quantiles, tolerance_db in ((own, 0.01), (own + torch.linspace(-2.0, 0.0, 13), 2.0)):
        fitted = fit(controls, *VIOLIN, quantiles)
        assert torch.equal(fitted.f0_hz, controls.f0_hz)
        assert float((fitted.loudness_db - controls.loudness_db)[notes].abs().max()) <= tolerance_db


def test_loudness_follows_the_instrument() -> None:
    fitted = fit(make_controls([74, 78, 81], [-50.0, -55.0, -60.0]), *VIOLIN, QUANTILES)
    assert float(fitted.loudness_db[fitted.note_frames()].quantile(0.98)) == pytest.approx(-14.0, abs=0.5)


def test_louder_stays_louder() -> None:
    controls = make_controls([74] * 5, [-10.0, -20.0, -30.0, -40.0, -45.0])
    fitted = fit(controls, *VIOLIN, QUANTILES)
    middles = [25 + 70 * i for i in range(5)]
    assert bool((fitted.loudness_db[middles].diff() < 0).all())


def test_noise_between_notes_fades_and_silence_stays() -> None:
    controls = make_controls([74, 78], [-20.0, -22.0], rest=1.5, noise_db=-22.0)
    fitted = fit(controls, *VIOLIN, QUANTILES)
    step = fitted.loudness_db[:200].diff()
    assert float(fitted.loudness_db[125]) <= -100.0  # 0.75 s after the note
    assert float(step[49:].abs().max()) < 6.0  # a crossfade, no switch
    silent = replace(controls, loudness_db=torch.where(controls.note_frames(), controls.loudness_db, -120.0))
    assert bool((fit(silent, *VIOLIN, QUANTILES).loudness_db[~controls.note_frames()] == -120.0).all())


def test_flicker_of_the_voicing_leaves_no_dip() -> None:
    controls = make_controls([74], [-20.0], seconds=1.0)
    doubt = controls.periodicity.clone()
    doubt[50:53] = 0.2
    fitted = [fit(one, *VIOLIN, QUANTILES).loudness_db[45:58] for one in (controls, replace(controls, periodicity=doubt))]
    assert float((fitted[0] - fitted[1]).abs().max()) < 0.5


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
    before, after = (fit(one, *VIOLIN, QUANTILES).loudness_db[52] for one in (controls, lost))
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
        once = fit(random_performance(seed), *instrument, quantiles)
        twice = fit(once, *instrument, quantiles)
        assert torch.allclose(once.f0_hz, twice.f0_hz)
        assert torch.equal(once.note_frames(), twice.note_frames())
        assert float((once.loudness_db - twice.loudness_db).abs().max()) < 0.2


def test_without_notes_there_is_silence() -> None:
    noise = Controls(torch.full((100,), 220.0), torch.full((100,), 0.1), torch.full((100,), -20.0), FrameGrid())
    fitted = fit(noise, *VIOLIN, QUANTILES)
    assert bool((fitted.loudness_db == -120.0).all()) and torch.equal(fitted.f0_hz, noise.f0_hz)


def test_a_given_transposition_is_exact() -> None:
    controls = make_controls([60], [-20.0])
    fitted = fit(controls, *VIOLIN, QUANTILES, transpose=-3.5)
    assert torch.allclose(fitted.f0_hz, controls.f0_hz * 2.0 ** (-3.5 / 12.0))
