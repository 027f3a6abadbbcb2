"""A recording around an instrument: room, microphone, hiss."""

from __future__ import annotations

import numpy as np
import torch
from conftest import tone

from tonetransfer.audio.stft import magnitudes
from tonetransfer.training.batches import simulate_recording


def test_level_and_length_stay_and_the_input_is_unchanged() -> None:
    sound = tone(440.0, 1.0)
    before = sound.clone()
    for seed in range(8):
        heard = simulate_recording(sound, np.random.default_rng(seed), 48000)
        assert heard.shape == sound.shape
        torch.testing.assert_close(heard.square().mean(), sound.square().mean(), rtol=1e-4, atol=0.0)
    assert torch.equal(sound, before)


def test_the_same_seed_is_the_same_recording_and_another_is_not() -> None:
    sound = tone(440.0, 1.0)
    first, again, other = (simulate_recording(sound, np.random.default_rng(seed), 48000) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert float((first - other).abs().max()) > 1e-3


def test_a_room_rings_on_after_the_sound_and_hiss_fills_the_silence() -> None:
    sound = torch.cat([tone(440.0, 0.5), torch.zeros(24000)])
    after = (
        torch.stack([simulate_recording(sound, np.random.default_rng(seed), 48000)[30000:] for seed in range(24)]).square().mean(-1).sqrt()
    )
    level = float(sound.square().mean().sqrt())
    assert float(after.max()) > 0.02 * level  # rooms and hiss are there
    assert int((after < 1e-4 * level).sum()) >= 1  # and now and then neither


def test_an_instrument_is_still_recognisable() -> None:
    """The strongest partials stay the strongest: what is added is a recording, not another instrument."""
    sound = tone(440.0, 1.0, n_harmonics=6)
    peaks = [round(440.0 * k * 2048 / 48000) for k in range(1, 7)]
    dry = magnitudes(sound, 2048, 512).mean(-1)[peaks].log()
    for seed in range(8):
        wet = magnitudes(simulate_recording(sound, np.random.default_rng(seed), 48000), 2048, 512).mean(-1)[peaks].log()
        assert np.corrcoef(dry, wet)[0, 1] > 0.6
