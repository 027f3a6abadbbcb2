"""What a reference tells beside its timbre."""

from __future__ import annotations

import torch
from conftest import SAMPLE_RATE, make_controls, melody

import tonetransfer as tt
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.spectrum_matching import similar_timbre
from tonetransfer.synthesis.fluctuation import fluctuation_depths


def test_partials_that_move_in_the_reference_move_in_the_result() -> None:
    model = tt.load_model()
    asked, z, found = make_controls([62, 65], [-22.0] * 2, seconds=1.2), model.timbre("trumpet_fluid"), []
    for depth_db in (0.0, 3.0):
        moved = model.play(asked, z, fluctuation_db=fluctuation_depths(depth_db, model.settings.n_harmonics))
        target = tt.find_target(model, SAMPLE_RATE, like=torch.cat(list(moved)))
        found.append(0.0 if target.fluctuation_db is None else float(target.fluctuation_db[-1]))
    assert found[0] < 1.0 and found[1] > 1.5


def test_a_reference_is_nearest_to_those_that_sound_like_it() -> None:
    """A bundled instrument's notes, turned down: of all named timbres its own is the nearest, and another register's notes say the same."""
    model = tt.load_model()
    for name, low in (("cello", 48), ("clarinet", 62)):
        strongest_db = float(model.quantiles[model.find(name), -1])
        for midi in (low, low + 12):
            asked = make_controls([midi, midi + 2, midi + 4, midi + 5], [strongest_db - 11.0] * 4)
            sound = 0.1 * tt.synthesize(asked, model, model.timbre(name))
            found = similar_timbre(model, sound, tt.analyze(sound, SAMPLE_RATE, model))
            assert found is not None
            nearest = [other for other, _ in tt.nearest_timbres(model, found, 6)]
            assert any(other.startswith(name) for other in nearest), (name, midi, nearest)


def test_a_loud_end_that_fills_no_second_leaves_something_to_compare(tiny_model: TimbreModel) -> None:
    notes = torch.cat([0.001 * melody([69, 71], seconds=1.0, rest=0.0), melody([72], seconds=0.4, rest=0.0)])
    found = similar_timbre(tiny_model, notes, tt.analyze(notes, SAMPLE_RATE, tiny_model))
    assert found is not None and bool(found.isfinite().all())


def test_nothing_is_similar_to_silence_or_without_names(tiny_model: TimbreModel) -> None:
    silence, notes = torch.zeros(SAMPLE_RATE), melody([69, 71], seconds=0.8)
    assert similar_timbre(tiny_model, silence, tt.analyze(silence, SAMPLE_RATE, tiny_model)) is None
    nameless = TimbreModel(tiny_model.settings)
    assert similar_timbre(nameless, notes, tt.analyze(notes, SAMPLE_RATE, nameless)) is None
