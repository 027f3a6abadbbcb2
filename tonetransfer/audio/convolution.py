"""A room, block by block: convolution with a long impulse response in equal parts, without latency of its own."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal

from ..errors import AudioError


class Convolution:
    """Uniformly partitioned overlap-save convolution (Wefers, Partitioned Convolution Algorithms for Real-Time Auralization, 2015).

    Parameters
    ----------
    response : ndarray [shape=(n,)], finite
    block_length : int, > 0 [samples]
        Of what is pushed; each push costs two transforms and one product per part of the response.

    Raises
    ------
    AudioError
        The response is not one row of finite samples.
    """

    def __init__(self, response: np.ndarray, block_length: int) -> None:
        response = np.asarray(response, dtype=np.float64)
        if response.ndim != 1 or not len(response) or not np.isfinite(response).all():
            raise AudioError(f"a room's response has the shape {response.shape}; (n_samples,) of finite numbers is wanted")
        self.response, self.block_length = response, block_length
        n_parts = -(-len(response) // block_length)
        parts = np.pad(response, (0, n_parts * block_length - len(response))).reshape(n_parts, block_length)
        self._parts = scipy.fft.rfft(parts, 2 * block_length, axis=1)
        self.reset()

    def reset(self) -> None:
        """Silence before what comes next."""
        self._last = np.zeros(self.block_length)
        self._spectra = np.zeros_like(self._parts)  # of the last blocks; a ring, the newest at `_newest`
        self._newest = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """The sound (block_length,) of a block (block_length,) in the room."""
        self._newest = (self._newest - 1) % len(self._parts)
        self._spectra[self._newest] = scipy.fft.rfft(np.concatenate([self._last, block]))
        self._last = np.asarray(block, dtype=np.float64)
        split = len(self._parts) - self._newest
        total = np.einsum("ij,ij->j", self._spectra[self._newest :], self._parts[:split])
        if self._newest:
            total += np.einsum("ij,ij->j", self._spectra[: self._newest], self._parts[split:])
        return scipy.fft.irfft(total)[self.block_length :].astype(np.float32)

    def whole(self, sound: np.ndarray) -> np.ndarray:
        """The same of a whole sound (n_samples,), at once; what rings beyond its end is cut."""
        return scipy.signal.fftconvolve(np.asarray(sound, dtype=np.float64), self.response)[: len(sound)].astype(np.float32)
