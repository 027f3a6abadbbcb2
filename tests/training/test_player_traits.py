"""Traits that recorded players are given after a training."""

from __future__ import annotations

import numpy as np
import torch
from conftest import make_controls

import tonetransfer as tt
from tonetransfer.audio.stft import band_centres_hz
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.synthesis.render import SynthParams
from tonetransfer.training.player_traits import with_highs


def decoded(model: TimbreModel, name: str) -> SynthParams:
    asked = make_controls([45, 69, 76], [-25.0] * 3, rest=0.0)
    (params,) = model.with_note_table(model.note_table(name)).decode_stream(asked, model.timbre(name))
    return params


def test_highest_bands_of_recorded_players_are_raised_and_nothing_else() -> None:
    plain, raised = tt.load_model(), with_highs(tt.load_model(), 3.0)
    for name in ("trumpet", "oboe"):  # one with a note-age table of its own, one without
        before, after = decoded(plain, name), decoded(raised, name)
        noise_db = 20.0 * torch.log10(after.noise_magnitudes / before.noise_magnitudes)
        centres = band_centres_hz(plain.settings.n_bands, plain.sample_rate)
        assert float(noise_db[:, centres < 8500.0].abs().max()) < 0.1
        assert float((noise_db[:, (centres > 13000.0) & (centres < 20000.0)] - 3.0).abs().max()) < 0.5
        partials = before.f0_hz[:, None].numpy() * np.arange(1, plain.settings.n_harmonics + 1)
        gain_db = 20.0 * torch.log10((after.harmonic_distribution + 1e-12) / (before.harmonic_distribution + 1e-12))
        assert float(gain_db[torch.from_numpy((partials > 13500.0) & (partials < 20000.0))].mean()) > 2.0
        assert float(gain_db[torch.from_numpy(partials < 8000.0)].abs().max()) < 0.3
    before, after = decoded(plain, "oboe_fluid"), decoded(raised, "oboe_fluid")
    assert torch.equal(before.noise_magnitudes, after.noise_magnitudes)
