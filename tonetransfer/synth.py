"""Parameters to sound: a bank of harmonics and filtered noise, as pure functions on the frame grid.

Both parts are linear in what the decoder learns, so one custom backward pass (the transpose of a small matrix product) serves training
and the plain forward pass serves rendering. Long sound is rendered in chunks whose borders do not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch

from .frames import FrameGrid
from .spectral import band_interpolation, hann

NOISE_FFT = 2048  # room for a frame pair (2 hops) and for the ringing of the narrowest noise band


@dataclass(frozen=True)
class SynthParams:
    """What the decoder asks the synthesizer for. Already legal: positive, silent above Nyquist, rows that sum to 1.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames)], > 0
    amplitude : Tensor [shape=(..., n_frames)], >= 0, linear
        Sum of the amplitudes of all harmonics.
    harmonic_distribution : Tensor [shape=(..., n_frames, n_harmonics)], >= 0
        Rows sum to 1; harmonics above Nyquist are 0.
    noise_magnitudes : Tensor [shape=(..., n_frames, n_bands)], >= 0, linear
        Gain of each band for white noise of unit variance.
    """

    f0_hz: torch.Tensor
    amplitude: torch.Tensor
    harmonic_distribution: torch.Tensor
    noise_magnitudes: torch.Tensor

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.f0_hz.shape[-1]

    def map(self, function: Any) -> SynthParams:
        """The same parameters with `function` applied to every tensor."""
        return replace(self, **{f.name: function(getattr(self, f.name)) for f in fields(self)})


def highest_around(f0_hz: torch.Tensor) -> torch.Tensor:
    """The highest f0 among each frame and its two neighbours, (..., n_frames): the fastest that a sample near the frame can turn."""
    before = torch.cat([f0_hz[..., :1], f0_hz[..., :-1]], dim=-1)
    after = torch.cat([f0_hz[..., 1:], f0_hz[..., -1:]], dim=-1)
    return torch.maximum(torch.maximum(before, after), f0_hz)


def below_nyquist(highest_hz: torch.Tensor, n_harmonics: int, sample_rate: int) -> torch.Tensor:
    """Which harmonics may sound, shape (..., n_frames, n_harmonics), bool, given :func:`highest_around`."""
    numbers = torch.arange(1, n_harmonics + 1, device=highest_hz.device, dtype=highest_hz.dtype)
    return highest_hz[..., None] * numbers < sample_rate / 2.0


def phase_cycles(f0_hz: torch.Tensor, grid: FrameGrid, start: torch.Tensor | float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Running phase in cycles, wrapped to [-0.5, 0.5].

    Summed in float64: in float32 radians the 40th harmonic is off by more than it can bear after half a minute.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames + 1)], > 0
        The last frame is only approached: it is the first of the next chunk, or a copy of the last, to hold it.
    start : Tensor [shape=(...)] or float, cycles
        Phase of the first sample.

    Returns
    -------
    phase : Tensor [shape=(..., n_frames * hop_length)], float32
    end : Tensor [shape=(...)], float64
        Phase of the sample after the last: the next chunk's start.
    """
    hop, f0 = grid.hop_length, f0_hz.double()
    here, following = f0[..., :-1], f0[..., 1:]
    n = torch.arange(hop, device=f0.device, dtype=torch.float64)
    # The sum of a line: n samples into a hop that glides from f to g, n f + (g - f) n (n - 1) / (2 hop), over the sample rate.
    within = (here[..., None] * n + (following - here)[..., None] * (n * (n - 1) / (2 * hop))) / grid.sample_rate
    whole = (here * hop + (following - here) * (hop - 1) / 2) / grid.sample_rate
    total = torch.cumsum(whole, dim=-1) + torch.as_tensor(start, dtype=torch.float64, device=f0.device)[..., None]
    phase = ((total - whole)[..., None] + within).flatten(-2)
    return (phase - phase.round()).float(), total[..., -1] - total[..., -1].round()


class _HarmonicSum(torch.autograd.Function):
    """sum_k a_k[n] sin(2 pi k phase[n]) with a_k linear inside each hop; differentiable in the amplitudes.

    Inside one hop a_k = a_t (1 - u) + a_{t+1} u, so a frame's samples are two rows of one small matrix product with sin(k phase).
    The sines come from a recurrence in k whose only factor, 4 sin^2(theta / 2), keeps its precision for low notes in float32
    (Reinsch's form of the Chebyshev recurrence; Oliver 1977).
    """

    @staticmethod
    def forward(ctx: Any, amplitudes: torch.Tensor, phase: torch.Tensor, audible: list[int], hop: int) -> torch.Tensor:
        # amplitudes (batch, n_frames + 1, n_harmonics), phase (batch, n_frames * hop)
        u = torch.arange(hop, dtype=phase.dtype, device=phase.device) / hop
        audio = torch.empty_like(phase)
        tables = []
        for i, n_harmonics in enumerate(audible):
            table = _sines(phase[i], n_harmonics).view(n_harmonics, -1, hop)
            a = amplitudes[i, :, :n_harmonics]  # (n_frames + 1, K)
            both = torch.bmm(torch.stack([a[:-1], a[1:]], dim=1), table.transpose(0, 1))  # (n_frames, 2, hop)
            torch.addcmul(both[:, 0] * (1 - u), both[:, 1], u, out=audio[i].view(-1, hop))
            tables.append(table)
        ctx.shape, ctx.u = amplitudes.shape, u
        ctx.tables = tables if amplitudes.requires_grad else []
        return audio

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        grad, u = grads[0], ctx.u
        result = grad.new_zeros(ctx.shape)
        for i, table in enumerate(ctx.tables):
            g = grad[i].view(-1, len(u))
            both = torch.bmm(torch.stack([g * (1 - u), g * u], dim=1), table.permute(1, 2, 0))  # (n_frames, 2, K)
            result[i, :-1, : table.shape[0]] += both[:, 0]
            result[i, 1:, : table.shape[0]] += both[:, 1]
        return result, None, None, None


def _sines(phase: torch.Tensor, n_harmonics: int) -> torch.Tensor:
    """sin(2 pi k phase) for k = 1 ... n_harmonics: (n_samples,) -> (n_harmonics, n_samples)."""
    table = torch.empty(max(n_harmonics, 1), phase.shape[0], dtype=phase.dtype, device=phase.device)
    angle = phase * (2 * torch.pi)
    torch.sin(angle, out=table[0])
    factor = (angle / 2).sin_().square_().mul_(-4)
    difference = table[0].clone()
    for k in range(1, n_harmonics):
        difference.addcmul_(table[k - 1], factor)
        torch.add(table[k - 1], difference, out=table[k])
    return table


def harmonic(
    f0_hz: torch.Tensor, amplitudes: torch.Tensor, grid: FrameGrid, start: torch.Tensor | float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of harmonics.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames + 1)], > 0
    amplitudes : Tensor [shape=(..., n_frames + 1, n_harmonics)], >= 0, linear
        Of each harmonic. The last frame is only approached: it is the first of the next chunk (or a copy of the last, to hold it).
    start : Tensor [shape=(...)] or float, cycles

    Returns
    -------
    audio : Tensor [shape=(..., n_frames * hop_length)]
    end : Tensor [shape=(...)], cycles
        Phase with which the next chunk starts.
    """
    phase, end = phase_cycles(f0_hz, grid, start)
    flat = amplitudes.reshape(-1, *amplitudes.shape[-2:])
    numbers = torch.arange(1, flat.shape[-1] + 1, device=flat.device)
    audible = ((flat.detach() > 0).any(dim=1) * numbers).amax(dim=-1).clamp(min=1).tolist()  # highest harmonic in use, per item
    audio = _HarmonicSum.apply(flat, phase.reshape(-1, phase.shape[-1]), audible, grid.hop_length)
    return audio.reshape(phase.shape), end


def filtered_noise(magnitudes: torch.Tensor, white: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """White noise through a filter that moves from frame to frame.

    Frames of two hops under a Hann window (their sum is 1, so filters crossfade and never switch) are multiplied by the interpolated
    band magnitudes in the frequency domain, without a phase shift, and overlap-added.

    Parameters
    ----------
    magnitudes : Tensor [shape=(..., n_frames, n_bands)], >= 0, linear
    white : Tensor [shape=(..., (n_frames + 1) * hop_length)]
        White noise of unit variance, from one hop before the first frame's instant to one hop after the last one's.

    Returns
    -------
    Tensor [shape=(..., (n_frames + 1) * hop_length)]
        Sample 0 is one hop before the first frame's instant; the two outermost hops are fading in and out, and what rings beyond is cut.
    """
    hop, n_frames = grid.hop_length, magnitudes.shape[-2]
    n_fft = max(NOISE_FFT, 1 << (4 * hop - 1).bit_length())
    pieces = white.unfold(-1, 2 * hop, hop) * hann(2 * hop).to(white)  # (..., n_frames, 2 hop)
    before = n_fft // 2 - hop
    spectrum = torch.fft.rfft(torch.nn.functional.pad(pieces, (before, n_fft - 2 * hop - before)))
    response = magnitudes @ band_interpolation(magnitudes.shape[-1], n_fft, grid.sample_rate).to(magnitudes)
    sound = torch.fft.irfft(spectrum * response, n=n_fft)  # frame t begins at t * hop - n_fft / 2
    lead = -(-before // hop)  # whole hops before the frame's own two
    sound = torch.nn.functional.pad(sound, (lead * hop - before, lead * hop - before))
    n_hops = sound.shape[-1] // hop
    sound = sound.unflatten(-1, (n_hops, hop))
    total = sound.new_zeros(*sound.shape[:-3], n_frames + n_hops - 1, hop)
    for i in range(n_hops):
        total[..., i : i + n_frames, :] += sound[..., i, :]
    return total[..., lead : lead + n_frames + 1, :].flatten(-2)


def white_noise(start: int, n_samples: int, seed: int) -> torch.Tensor:
    """Samples `start` ... `start + n_samples` of an endless white noise of unit variance (uniform), shape (n_samples,).

    Counter-based (Philox; Salmon et al. 2011): any stretch can be had without what comes before it, so chunks fit together.
    """
    first = start + (1 << 40)  # stretches before sample 0 are asked for, too
    skip = first % 8
    n_words = -(-(skip + n_samples) // 8) * 4  # one counter step gives four 64-bit words: eight samples
    words = np.random.Philox(key=seed).advance(first // 8).random_raw(n_words).view(np.uint32)
    uniform = words[skip : skip + n_samples].astype(np.float32)
    return torch.from_numpy(uniform * np.float32(2.0 * np.sqrt(3.0) / 2**32) - np.float32(np.sqrt(3.0)))


def hold_last(values: torch.Tensor, dim: int) -> torch.Tensor:
    """`values` with a copy of its last frame appended along `dim`."""
    return torch.cat([values, values.narrow(dim, values.shape[dim] - 1, 1)], dim=dim)


def render_batch(params: SynthParams, grid: FrameGrid, white: torch.Tensor | None = None) -> torch.Tensor:
    """Render short sounds whole, differentiable in amplitude, distribution and noise: what training uses.

    Parameters
    ----------
    params : SynthParams, tensors (..., n_frames, ...)
    white : Tensor [shape=(..., (n_frames + 2) * hop_length)] or None
        White noise from one hop before the first frame; None: drawn from torch's generator.

    Returns
    -------
    Tensor [shape=(..., n_frames * hop_length)]
    """
    hop = grid.hop_length
    amplitudes = params.amplitude[..., None] * params.harmonic_distribution
    tonal, _ = harmonic(hold_last(params.f0_hz, -1), hold_last(amplitudes, -2), grid)
    if white is None:
        white = torch.rand(*params.f0_hz.shape[:-1], (params.n_frames + 2) * hop, device=tonal.device).sub_(0.5).mul_(12.0**0.5)
    noise = filtered_noise(hold_last(params.noise_magnitudes, -2), white, grid)
    return tonal + noise[..., hop:-hop]


def render_stream(pieces: Iterable[SynthParams], grid: FrameGrid, *, seed: int = 0) -> Iterator[torch.Tensor]:
    """Render a long sound piece by piece; joined, they are what one piece would be (to float32 rounding).

    Parameters
    ----------
    pieces : iterable of SynthParams, tensors (n_frames, ...)
        Consecutive stretches; each but the last at least a few frames long. One is held back until the next is known.
    seed : int, >= 0
        Of the noise.

    Yields
    ------
    Tensor [shape=(n_frames * hop_length,)], one for each piece
    """
    reach = -(-max(NOISE_FFT, 4 * grid.hop_length) // (2 * grid.hop_length))  # frames whose noise rings into a sample
    first, phase = 0, torch.zeros((), dtype=torch.float64)
    before: SynthParams | None = None
    for here, after in pairwise(chain(pieces, [None])):
        assert here is not None
        left = 0 if before is None else min(reach, before.n_frames)
        window = here if before is None else _join(before.map(lambda x, n=left: x[x.shape[0] - n :]), here)
        window = _join(window, (here.map(lambda x: x[-1:]) if after is None else after.map(lambda x: x[:reach])))
        with torch.no_grad():
            span = slice(left, left + here.n_frames + 1)
            amplitudes = window.amplitude[span, None] * window.harmonic_distribution[span]
            tonal, phase = harmonic(window.f0_hz[span], amplitudes, grid, phase)
            hop = grid.hop_length
            white = white_noise((first - left - 1) * hop, (window.n_frames + 1) * hop, seed).to(tonal)
            noise = filtered_noise(window.noise_magnitudes, white, grid)[(left + 1) * hop :][: len(tonal)]
        yield tonal + noise
        first += here.n_frames
        before = here


def _join(a: SynthParams, b: SynthParams) -> SynthParams:
    return SynthParams(*(torch.cat([getattr(a, f.name), getattr(b, f.name)]) for f in fields(SynthParams)))


def render(params: SynthParams, grid: FrameGrid, *, seed: int = 0) -> torch.Tensor:
    """Render one sound: SynthParams with tensors (n_frames, ...) to audio (n_frames * hop_length,)."""
    step = 1000
    pieces = (params.map(lambda x, t=t: x[t : t + step]) for t in range(0, params.n_frames, step))
    return torch.cat(list(render_stream(pieces, grid, seed=seed)))
