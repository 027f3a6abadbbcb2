"""The loudness of a player put onto that of an instrument: monotone, bounded, idempotent, and no more than needed."""

from __future__ import annotations

import pytest
import torch
from conftest import make_controls

from tonetransfer.controls.dynamics import FREEDOM_DB, QUANTILES, loudness_quantiles, map_loudness, scale_dynamics

INSTRUMENT = torch.linspace(-40.0, -16.0, len(QUANTILES))


def performance(seed: int, spread_db: float, mean_db: float = -30.0, n: int = 500) -> torch.Tensor:
    return mean_db + spread_db * torch.randn(n, generator=torch.Generator().manual_seed(seed))


def fitted(loud: torch.Tensor, target: torch.Tensor = INSTRUMENT) -> torch.Tensor:
    return map_loudness(loud, loudness_quantiles(loud, torch.ones_like(loud, dtype=torch.bool)), target)


def test_quantiles_of_a_ramp() -> None:
    ramp = torch.linspace(-60.0, -10.0, 1001)
    found = loudness_quantiles(ramp, torch.ones(1001, dtype=torch.bool))
    assert torch.allclose(found, -60.0 + 50.0 * torch.tensor(QUANTILES), atol=0.05)


def test_only_notes_count() -> None:
    loud = torch.cat([torch.full((100,), -20.0), torch.full((900,), -70.0)])
    notes = torch.arange(1000) < 100
    assert torch.allclose(loudness_quantiles(loud, notes), torch.full((13,), -20.0))
    assert float(loudness_quantiles(loud, torch.zeros_like(notes))[6]) == -70.0  # no notes: all frames count


def test_loud_ends_meet() -> None:
    assert float(torch.quantile(fitted(performance(0, 6.0)), QUANTILES[-1])) == pytest.approx(float(INSTRUMENT[-1]), abs=0.1)


def test_a_gain_of_the_source_changes_nothing() -> None:
    loud = performance(1, 8.0)
    assert torch.allclose(fitted(loud), fitted(loud + 17.0), atol=1e-3)


def test_what_fits_is_moved_by_a_plain_gain() -> None:
    loud = performance(2, 3.0)
    moved = fitted(loud) - loud
    assert float(moved.max() - moved.min()) < 1e-3


def test_what_is_too_wide_is_narrowed() -> None:
    loud = performance(3, 15.0)
    result = fitted(loud)
    q = torch.tensor(QUANTILES)
    low, high = (torch.quantile(result, q[i]) for i in (0, -1))
    assert float(low) > float(INSTRUMENT[0]) - FREEDOM_DB - 0.5
    assert float(high) < float(INSTRUMENT[-1]) + FREEDOM_DB + 0.5


def test_a_steady_note_stays_steady() -> None:
    """Quantile mapping alone would blow a ripple of 0.01 dB up to the whole range of the instrument."""
    result = fitted(performance(4, 0.01))
    assert float(result.max() - result.min()) < 0.2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread_db", [0.0, 1.0, 6.0, 20.0])
def test_louder_stays_louder_and_twice_is_once(seed: int, spread_db: float) -> None:
    loud = performance(seed, spread_db).sort().values
    once = fitted(loud)
    assert bool((once.diff() >= -1e-4).all())
    assert float((fitted(once) - once).abs().max()) < 0.05


def test_inputs_are_left_alone() -> None:
    loud = performance(5, 6.0)
    before, target = loud.clone(), INSTRUMENT.clone()
    fitted(loud, target)
    assert torch.equal(loud, before) and torch.equal(target, INSTRUMENT)


def test_dynamics_are_scaled_around_the_median_of_the_notes() -> None:
    controls = make_controls([60] * 5, [-30.0, -26.0, -22.0, -18.0, -14.0], seconds=0.8)
    notes, loud = controls.note_frames(), controls.loudness_db
    assert scale_dynamics(loud, notes, 1.0, 100.0) is loud
    middles = [100 * number + 40 for number in range(5)]
    for amount in (0.0, 0.5, 2.0):
        scaled = scale_dynamics(loud, notes, amount, 100.0)
        spread = float(scaled[middles[4]] - scaled[middles[0]])
        assert spread == pytest.approx(16.0 * amount, abs=0.5)
        assert float(scaled[notes].median()) == pytest.approx(float(loud[notes].median()), abs=1.5)


def test_attacks_survive_flat_dynamics() -> None:
    loud = torch.full((200,), -20.0)
    loud[:100] = -60.0
    loud[100:103] = torch.tensor([-50.0, -40.0, -30.0])
    notes = torch.zeros(200, dtype=torch.bool)
    notes[100:] = True
    flat = scale_dynamics(loud, notes, 0.0, 100.0)
    assert float(flat[102] - flat[100]) > 15.0
    none = torch.zeros(200, dtype=torch.bool)
    assert scale_dynamics(loud, none, 0.0, 100.0) is loud
