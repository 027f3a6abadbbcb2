"""What a reference tells beside its timbre."""

from __future__ import annotations

import torch
from conftest import SAMPLE_RATE, make_controls

import tonetransfer as tt
from tonetransfer.synthesis.fluctuation import fluctuation_depths


def test_partials_that_move_in_the_reference_move_in_the_result() -> None:
    model = tt.load_model()
    asked, z, found = make_controls([62, 65, 64, 60], [-22.0] * 4, seconds=1.2), model.timbre("trumpet_fluid"), []
    for depth_db in (0.0, 3.0):
        moved = model.play(asked, z, fluctuation_db=fluctuation_depths(depth_db, model.settings.n_harmonics))
        target = tt.find_target(model, SAMPLE_RATE, like=torch.cat(list(moved)))
        found.append(0.0 if target.fluctuation_db is None else float(target.fluctuation_db[-1]))
    assert found[0] < 1.0 and found[1] > 1.5
