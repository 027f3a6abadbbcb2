"""The hall: how it decays, and that pieces make the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, tone

from tonetransfer.synthesis.reverb import hall_response, with_hall


def whole(pieces: list[torch.Tensor], amount: float) -> torch.Tensor:
    return torch.cat(list(with_hall(pieces, SAMPLE_RATE, amount)))


def test_dry_is_untouched() -> None:
    sound = tone(440.0, 0.5)
    assert torch.equal(whole([sound], 0.0), sound)


def test_pieces_make_the_whole() -> None:
    sound, before = tone(440.0, 3.0), tone(440.0, 3.0)
    pieces = list(sound.split([50000, 700, 480, 60000, len(sound) - 111180]))
    assert torch.allclose(whole(pieces, 0.7), whole([sound], 0.7), atol=2e-6)
    assert torch.equal(sound, before) and whole(pieces, 0.7).shape == sound.shape


def test_it_decays_as_a_hall_does() -> None:
    response = hall_response(SAMPLE_RATE).double().numpy()
    assert np.square(response).sum() == pytest.approx(1.0, rel=1e-3)
    energy = np.cumsum(np.square(response)[::-1])[::-1]  # Schroeder's backward integration
    decay = 10.0 * np.log10(energy / energy[0] + 1e-12)
    t5, t35 = (int(np.argmax(decay < -fall)) / SAMPLE_RATE for fall in (5.0, 35.0))
    assert 0.8 < 2.0 * (t35 - t5) < 1.6
    assert not response[: int(0.011 * SAMPLE_RATE)].any()


def test_a_note_rings_on_and_the_power_stays() -> None:
    sound = torch.cat([tone(440.0, 1.0), torch.zeros(SAMPLE_RATE)])
    wet = whole([sound], 0.8)
    after = slice(round(1.1 * SAMPLE_RATE), round(1.4 * SAMPLE_RATE))
    assert float(sound[after].abs().max()) == 0.0 and 0.005 < float(wet[after].abs().max()) < 0.4
    assert float(wet[-10:].abs().max()) < 1e-4
    noise = torch.randn(4 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    assert float(whole([noise], 1.0)[2 * SAMPLE_RATE :].std()) == pytest.approx(0.1, rel=0.1)
