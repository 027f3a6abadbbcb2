"""A room, block by block, is the room."""

from __future__ import annotations

import numpy as np
import pytest

from tonetransfer.errors import AudioError
from tonetransfer.synthesis.reverb import Convolution


@pytest.mark.parametrize("length", [1, 100, 480, 481, 5000])
def test_blocks_are_the_direct_sum(length: int) -> None:
    rng = np.random.default_rng(length)
    response, sound = rng.normal(size=length), rng.normal(size=12 * 480).astype(np.float32)
    room = Convolution(response, 480)
    for _ in range(2):
        joined = np.concatenate([room.push(block) for block in sound.reshape(-1, 480)])
        expected = np.convolve(sound, response)[: len(sound)]
        assert np.allclose(joined, expected, atol=1e-4 * np.abs(expected).max())
        assert np.allclose(room.whole(sound), expected, atol=1e-4 * np.abs(expected).max())
        room.reset()


@pytest.mark.parametrize("response", [np.zeros((2, 3)), np.zeros(0), np.array([1.0, np.nan])])
def test_what_is_no_response(response: np.ndarray) -> None:
    with pytest.raises(AudioError, match="response"):
        Convolution(response, 480)
