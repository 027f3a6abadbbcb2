"""Parameters to sound: a bank of harmonics and filtered noise, as pure functions on the frame grid.

Both parts are linear in what the decoder learns, so one custom backward pass (the transpose of a small matrix product) serves training
and the plain forward pass serves rendering. Long sound is rendered in chunks whose borders do not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..audio.stft import band_interpolation, hann, overlap_add
from ..compiled import in_loops
from ..errors import check_number
from ..threads import ahead, parallel_map

PIECE_FRAMES = 384  # of a long sound, decoded and rendered at a time: buffers of larger ones would be new memory every time
PIECES_AT_ONCE = 2  # that are rendered side by side
STRETCH_FRAMES = 192  # rendered at a time: more would leave the processor's cache
BINS_AT_A_TIME = 205  # that noise bands are spread over: a fifth of them, so that most bands have no part in it
NOISE_FFT = 2048  # room for a frame pair (2 hops) and for the ringing of the narrowest noise band


@dataclass(frozen=True)
class SynthParams:
    """Parameters of the synthesizer: harmonics of one fundamental, and filtered noise.

    They are legal: positive, silent above Nyquist, rows that sum to 1.

    Parameters
    ----------
    f0_hz : Tensor [shape=(..., n_frames)], > 0 [Hz]
        Fundamental frequency.
    amplitude : Tensor [shape=(..., n_frames)], >= 0, linear
        Sum of the amplitudes of all harmonics.
    harmonic_distribution : Tensor [shape=(..., n_frames, n_harmonics)], >= 0
        Rows sum to 1; harmonics above Nyquist are 0.
    noise_magnitudes : Tensor [shape=(..., n_frames, n_bands)], >= 0, linear
        Gain of each band for white noise of unit variance.

    References
    ----------
    .. [1] J. Engel, L. Hantrakul, C. Gu and A. Roberts, "DDSP: Differentiable Digital Signal Processing", ICLR 2020.
    .. [2] X. Serra and J. Smith, "Spectral Modeling Synthesis", Computer Music Journal 14(4), 1990.

    Examples
    --------
    >>> model = tt.load_model()
    >>> held = tt.Controls(torch.full((100,), 440.0), torch.ones(100), torch.full((100,), -20.0))
    >>> params = model.decode(held, model.timbre("flute"))
    >>> params.n_frames, bool(torch.allclose(params.harmonic_distribution.sum(-1), torch.ones(100)))
    (100, True)
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
    """Mask of the harmonics that may sound, shape (..., n_frames, n_harmonics), bool, given :func:`highest_around`."""
    numbers = torch.arange(1, n_harmonics + 1, device=highest_hz.device, dtype=highest_hz.dtype)
    return highest_hz[..., None] * numbers < sample_rate / 2.0


def phase_lines(f0_hz: torch.Tensor, grid: FrameGrid, start: torch.Tensor | float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Running phase in cycles, hop by hop: what :func:`cycles_along` makes sample by sample.

    Summed in float64: in float32 radians the 40th harmonic is off by more than it can bear after half a minute. Of `f0_hz` (..., n_frames +
    1) the last frame is only approached. Returns lines (..., n_frames, 3): phase c of the hop's first sample, in [0, 1), and how it goes
    on, c + a n + b n (n - 1) cycles after n samples; and the phase (...) of the sample after the last, in [-0.5, 0.5], which is the next
    chunk's `start`.
    """
    hop, turns = grid.hop_length, f0_hz.double() / grid.sample_rate
    here = turns[..., :-1]
    bend = (turns[..., 1:] - here) / (2 * hop)  # the sum of a line that glides from f to g: n f + (g - f) n (n - 1) / (2 hop)
    whole = here * hop + bend * (hop * (hop - 1))
    total = torch.cumsum(whole, dim=-1) + torch.as_tensor(start, dtype=torch.float64, device=turns.device)[..., None]
    first = total - whole
    return torch.stack([first - first.floor(), here, bend], dim=-1), total[..., -1] - total[..., -1].round()


def cycles_along(lines: torch.Tensor, hop: int) -> torch.Tensor:
    """Evaluate :func:`phase_lines` sample by sample: (..., n_frames, 3) to (..., n_frames, hop), cycles, not wrapped."""
    n = torch.arange(hop, dtype=lines.dtype, device=lines.device)
    return lines @ torch.stack([torch.ones_like(n), n, n * (n - 1)])


class _HarmonicSum(torch.autograd.Function):
    """sum_k a_k[n] sin(2 pi k phase[n]) with a_k linear inside each hop; differentiable in the amplitudes.

    Every frame's amplitudes become one period of a waveform by an inverse FFT, and a sample reads the two around it at its phase: the
    work does not grow with the number of harmonics. Between the points of a period cubic B-splines interpolate; their own low-pass is
    divided out beforehand, in the spectrum (Unser 1999), so that what is left of the error are images, 100 dB below the highest
    harmonic where a period has 20 points for it. Linear in the amplitudes, so that the backward pass is the same read turned around.
    """

    @staticmethod
    def forward(ctx: Any, amplitudes: torch.Tensor, lines: torch.Tensor, hop: int) -> torch.Tensor:
        # amplitudes (batch, n_frames + 1, n_harmonics), lines (batch, n_frames, 3) -> (batch, n_frames, hop)
        ctx.shape, ctx.hop = amplitudes.shape, hop
        ctx.save_for_backward(lines)
        n_points, sound = _period_length(amplitudes.shape[-1]), lines.new_empty(*lines.shape[:2], hop, dtype=torch.float32)
        for span, index, weights in _read_points(lines, n_points, hop):
            periods = _periods(amplitudes[:, span.start : span.stop + 1], n_points).flatten()
            ends, found = torch.zeros_like(weights[:2]), torch.empty_like(weights[0])
            for row, end in enumerate(ends):
                for offset, weight in enumerate(weights):
                    torch.index_select(periods[row * (n_points + 3) + offset :], 0, index.flatten(), out=found.view(-1))
                    end.addcmul_(weight, found)
            sound[:, span] = ends[0].lerp_(ends[1], _ramp(hop, sound))
        return sound

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        grad, hop, (lines,) = grads[0], ctx.hop, ctx.saved_tensors
        n_points, result = _period_length(ctx.shape[-1]), grad.new_zeros(ctx.shape)
        for span, index, weights in _read_points(lines, n_points, hop):
            n_frames = span.stop - span.start
            periods = grad.new_zeros(len(lines) * (n_frames + 1) * (n_points + 3))
            last = grad[:, span] * _ramp(hop, grad)
            for row, part in enumerate((grad[:, span] - last, last)):
                for offset, weight in enumerate(weights):
                    periods[row * (n_points + 3) + offset :].index_add_(0, index.flatten(), (part * weight).flatten())
            result[:, span.start : span.stop + 1] += _amplitudes_of(periods.view(len(lines), n_frames + 1, -1), ctx.shape[-1])
        return result, None, None


def _stretches(batch: int, n_frames: int) -> Iterator[slice]:
    """Frames that are worked on at a time, so that everything stays in the processor's cache."""
    step = max(STRETCH_FRAMES // batch, 1)
    for first in range(0, n_frames, step):
        yield slice(first, min(first + step, n_frames))


def _period_length(n_harmonics: int) -> int:
    """Points of a period: a power of two with at least 20 for the highest harmonic."""
    return 1 << (20 * n_harmonics - 1).bit_length()


@lru_cache(maxsize=8)
def _unsmoothed(n_harmonics: int, n_points: int) -> torch.Tensor:
    """Factor of each harmonic's amplitude in a period's spectrum, (n_harmonics,): minus what a cubic B-spline takes from it."""
    angle = 2.0 * torch.pi * torch.arange(1, n_harmonics + 1, dtype=torch.float64) / n_points
    return (-n_points / 2.0 / ((2.0 + torch.cos(angle)) / 3.0)).float()


def _periods(amplitudes: torch.Tensor, n_points: int) -> torch.Tensor:
    """Amplitudes (..., n_harmonics) to periods of sines (..., n_points + 3), one point repeated before the first and two after the last."""
    n_harmonics = amplitudes.shape[-1]
    spectrum = torch.zeros(*amplitudes.shape[:-1], n_points // 2 + 1, dtype=torch.complex64, device=amplitudes.device)
    torch.view_as_real(spectrum)[..., 1 : n_harmonics + 1, 1] = amplitudes * _unsmoothed(n_harmonics, n_points).to(amplitudes)
    period = torch.fft.irfft(spectrum, n=n_points)
    return torch.cat([period[..., -1:], period, period[..., :2]], dim=-1)


def _amplitudes_of(periods: torch.Tensor, n_harmonics: int) -> torch.Tensor:
    """The transpose of :func:`_periods`."""
    n_points = periods.shape[-1] - 3
    period = periods[..., 1:-2].clone()
    period[..., -1] += periods[..., 0]
    period[..., :2] += periods[..., -2:]
    spectrum = torch.fft.rfft(period)[..., 1 : n_harmonics + 1].imag
    return spectrum * (_unsmoothed(n_harmonics, n_points).to(spectrum) * (2.0 / n_points))


def _read_points(lines: torch.Tensor, n_points: int, hop: int) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Positions at which samples read their frame's period, for a stretch of frames at a time.

    Yields the stretch; the index, in the flattened periods of its frames and the one behind them, of the first of the four points that a
    sample reads, int32, (batch, n_frames, hop); and the points' weights, float32, (4, batch, n_frames, hop). Both are written over by
    the next.
    """
    batch, n_frames = lines.shape[:2]
    indices, weights = (lines.new_empty(0, dtype=kind) for kind in (torch.int32, torch.float32))
    for span in _stretches(batch, n_frames):
        shape = (batch, span.stop - span.start, hop)
        position = cycles_along(lines[:, span] * n_points, hop)
        point = position.floor()
        index, weight = indices.resize_(shape).copy_(point), weights.resize_(4, *shape)
        rows = torch.arange(batch * (shape[1] + 1), dtype=torch.int32, device=lines.device).view(batch, -1)[:, :-1, None] * (n_points + 3)
        index.bitwise_and_(n_points - 1).add_(rows)
        _spline_weights(position.sub_(point), weight)
        yield span, index, weight


def _spline_weights(place: torch.Tensor, weights: torch.Tensor) -> None:
    """Cubic B-splines at places (...) in [0, 1) between the second and the third of four points, into (4, ...)."""
    first, second, third, last = weights
    x = first.copy_(place)
    square = torch.mul(x, x, out=third)
    torch.mul(square, x, out=last).mul_(1 / 6)
    torch.mul(last, 3.0, out=second).sub_(square).add_(2 / 3)
    third.add_(x).mul_(0.5).add_(1 / 6).sub_(last, alpha=3.0)
    torch.add(second, third, out=first).add_(last).neg_().add_(1.0)


@lru_cache(maxsize=8)
def _hop_ramp(hop: int) -> torch.Tensor:
    return torch.arange(hop) / hop


def _ramp(hop: int, like: torch.Tensor) -> torch.Tensor:
    """Interpolation weight of the next frame at each sample, (hop,)."""
    return _hop_ramp(hop).to(like)


def harmonic(
    f0_hz: torch.Tensor, amplitudes: torch.Tensor, grid: FrameGrid, start: torch.Tensor | float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of harmonics (..., n_frames * hop_length), and the phase with which the next chunk starts [cycles].

    `f0_hz` (..., n_frames + 1) and linear `amplitudes` (..., n_frames + 1, n_harmonics): the last frame is only approached; it is the first
    of the next chunk, or a copy of the last, to hold it. `start` (...) is the phase of the first sample [cycles].
    """
    lines, end = phase_lines(f0_hz, grid, start)
    return _harmonics(lines, amplitudes, grid.hop_length), end


def _harmonics(lines: torch.Tensor, amplitudes: torch.Tensor, hop: int) -> torch.Tensor:
    """:func:`harmonic`, its phase given by :func:`phase_lines`."""
    flat = amplitudes.reshape(-1, *amplitudes.shape[-2:])
    in_use = (flat.detach() > 0).flatten(0, 1).any(dim=0).nonzero()
    highest = int(in_use[-1]) + 1 if len(in_use) else 1
    sound: torch.Tensor = _HarmonicSum.apply(flat[..., :highest], lines.reshape(-1, *lines.shape[-2:]), hop)
    return sound.reshape(*lines.shape[:-2], -1)


def filtered_noise(magnitudes: torch.Tensor, white: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """White noise through a filter that moves from frame to frame, (..., (n_frames + 1) * hop_length).

    Frames of two hops under a Hann window (their sum is 1, so filters crossfade and never switch) are multiplied by the interpolated band
    magnitudes in the frequency domain, without a phase shift, and overlap-added. `magnitudes` (..., n_frames, n_bands) are linear; `white`
    (..., (n_frames + 1) * hop_length) is of unit variance, from one hop before the first frame's instant to one hop after the last one's,
    as is the result: its two outermost hops are fading in and out, and what rings beyond is cut.
    """
    flat = magnitudes.reshape(-1, *magnitudes.shape[-2:])
    sound = _FilteredNoise.apply(flat, white.reshape(-1, white.shape[-1]), grid)
    return sound.reshape(*magnitudes.shape[:-2], -1)


class _FilteredNoise(torch.autograd.Function):
    """(batch, n_frames, n_bands), (batch, (n_frames + 1) * hop), grid -> (batch, (n_frames + 1) * hop).

    Linear in the magnitudes: the backward pass hears, in each frame, how much of the gradient its piece of noise holds, bin by bin.
    """

    @staticmethod
    def forward(ctx: Any, magnitudes: torch.Tensor, white: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
        hop, (batch, n_frames, n_bands) = grid.hop_length, magnitudes.shape
        n_fft, before = _noise_frame(hop)
        lead = -(-before // hop)  # whole hops before the frame's own two
        total, margin = magnitudes.new_zeros(batch, n_frames + 2 * lead + 1, hop), lead * hop - before
        blocks = [(bands, parts, x.to(magnitudes)) for bands, parts, x in _shares_of_bands(n_bands, n_fft, grid.sample_rate)]
        gains = magnitudes.new_empty(0)
        for span, spectrum in _pieces(white, hop):
            rows = magnitudes[:, span].flatten(0, 1)
            gains.resize_(len(rows), n_fft + 2)  # of the real and the imaginary part of each bin
            for bands, parts, shares in blocks:
                torch.mm(rows[:, bands], shares, out=gains[:, parts])
            torch.view_as_real(spectrum).mul_(gains.view(*spectrum.shape, 2))
            sound = torch.fft.irfft(spectrum, n=n_fft)  # frame t begins at t * hop - n_fft / 2
            overlap_add(sound, total[:, span.start :], margin)
        ctx.grid, ctx.n_bands = grid, n_bands
        ctx.save_for_backward(white)
        return total[:, lead : lead + n_frames + 1].flatten(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (white,), grid, hop = ctx.saved_tensors, ctx.grid, ctx.grid.hop_length
        n_frames, (n_fft, before) = white.shape[-1] // hop - 1, _noise_frame(hop)
        bands = band_interpolation(ctx.n_bands, n_fft, grid.sample_rate).to(white) * (2.0 / n_fft)
        bands[:, 0] *= 0.5  # the other bins stand for two
        bands[:, -1] *= 0.5
        heard = torch.nn.functional.pad(grads[0], (before, before)).unfold(-1, n_fft, hop)
        result = white.new_empty(len(white), n_frames, ctx.n_bands)
        for span, spectrum in _pieces(white, hop):
            piece, wanted = (torch.view_as_real(x) for x in (spectrum, torch.fft.rfft(heard[:, span])))
            result[:, span] = (piece[..., 0] * wanted[..., 0]).addcmul_(piece[..., 1], wanted[..., 1]) @ bands.T
        return result, None, None


@lru_cache(maxsize=8)
def _shares_of_bands(n_bands: int, n_fft: int, sample_rate: int) -> list[tuple[slice, slice, torch.Tensor]]:
    """:func:`~tonetransfer.audio.stft.band_interpolation`, each bin twice, some bins and the few bands in them at a time."""
    shares = band_interpolation(n_bands, n_fft, sample_rate).repeat_interleave(2, dim=1)
    blocks = []
    for first in range(0, n_fft + 2, BINS_AT_A_TIME * 2):
        parts = slice(first, min(first + BINS_AT_A_TIME * 2, n_fft + 2))
        used = shares[:, parts].any(dim=1).nonzero()
        bands = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((bands, parts, shares[bands, parts].contiguous()))
    return blocks


@lru_cache(maxsize=8)
def between_bands(n_bands: int, n_fft: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of :func:`~tonetransfer.audio.stft.band_interpolation`, bin by bin: the band below, and how far it is to the next."""
    shares = band_interpolation(n_bands, n_fft, sample_rate).numpy()
    band = np.minimum((shares > 0).argmax(axis=0), n_bands - 2).astype(np.int32)
    return band, shares[band + 1, np.arange(len(band))]


def _noise_frame(hop: int) -> tuple[int, int]:
    """FFT size of a frame of noise, and for how many samples it may ring before and after its own two hops."""
    n_fft = max(NOISE_FFT, 1 << (4 * hop - 1).bit_length())
    return n_fft, n_fft // 2 - hop


def _pieces(white: torch.Tensor, hop: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Spectra of the noise under the frames' windows, a stretch of frames at a time, (batch, n_frames, n_fft // 2 + 1), complex."""
    n_fft, before = _noise_frame(hop)
    pieces, window = white.unfold(-1, 2 * hop, hop), hann(2 * hop).to(white)
    frames = white.new_zeros(0)
    for span in _stretches(*pieces.shape[:2]):
        part = pieces[:, span]
        if part.shape[:2] != frames.shape[:2]:
            frames = white.new_zeros(*part.shape[:2], n_fft)
        torch.mul(part, window, out=frames[..., before : before + 2 * hop])
        yield span, torch.fft.rfft(frames)


def check_seed(seed: int) -> None:
    """Refuse, by a SettingsError, a seed that noise cannot be drawn with."""
    check_number("seed", seed, 0, np.inf, "a whole number from 0", whole=True)


def white_noise(start: int, n_samples: int, seed: int) -> torch.Tensor:
    """Samples `start` ... `start + n_samples` of an endless white noise of unit variance (uniform), shape (n_samples,).

    Counter-based (Philox; Salmon et al. 2011): any stretch can be had without what comes before it, so chunks fit together.
    """
    first = start + (1 << 40)  # stretches before sample 0 are asked for, too
    skip = first % 8
    n_words = -(-(skip + n_samples) // 8) * 4  # one counter step gives four 64-bit words: eight samples
    words = np.random.Philox(key=seed).advance(first // 8).random_raw(n_words).view(np.uint32)[skip : skip + n_samples]
    words ^= np.uint32(1 << 31)  # as numbers with a sign: around 0
    return torch.from_numpy(words.view(np.int32)).float().mul_(2.0 * 3.0**0.5 / 2**32)


def hold_last(values: torch.Tensor, dim: int) -> torch.Tensor:
    """`values` with a copy of its last frame appended along `dim`."""
    return torch.cat([values, values.narrow(dim, values.shape[dim] - 1, 1)], dim=dim)


def render_batch(params: SynthParams, grid: FrameGrid, white: torch.Tensor | None = None) -> torch.Tensor:
    """Render short sounds whole, (..., n_frames * hop_length), differentiable in amplitude, distribution and noise: what training uses.

    `white` (..., (n_frames + 2) * hop_length) is white noise from one hop before the first frame; None: drawn from torch's generator.
    """
    hop = grid.hop_length
    f0_hz, magnitudes = hold_last(params.f0_hz, -1), hold_last(params.noise_magnitudes, -2)
    amplitudes = hold_last(params.amplitude[..., None] * params.harmonic_distribution, -2)
    if white is None:
        white = torch.rand(*params.f0_hz.shape[:-1], (params.n_frames + 2) * hop, device=f0_hz.device).sub_(0.5).mul_(12.0**0.5)
    if in_loops(f0_hz):
        frames = (x.reshape(-1, *x.shape[-2:]) for x in (amplitudes, magnitudes))
        sound: torch.Tensor = _CompiledRender.apply(f0_hz.reshape(-1, f0_hz.shape[-1]), *frames, white.reshape(-1, white.shape[-1]), grid)
        return sound.reshape(*params.f0_hz.shape[:-1], -1)
    tonal, _ = harmonic(f0_hz, amplitudes, grid)
    return tonal + filtered_noise(magnitudes, white, grid)[..., hop:-hop]


class _CompiledRender(torch.autograd.Function):
    """:func:`harmonic` and :func:`filtered_noise` in one, excerpts side by side.

    f0 (batch, n_frames + 1), amplitudes (..., n_harmonics), magnitudes (..., n_bands), white noise (batch, (n_frames + 2) * hop) -> sound.
    """

    @staticmethod
    def forward(
        ctx: Any, f0_hz: torch.Tensor, amplitudes: torch.Tensor, magnitudes: torch.Tensor, white: torch.Tensor, grid: FrameGrid
    ) -> torch.Tensor:
        from . import kernels

        hop, n_hops, n_harmonics = grid.hop_length, f0_hz.shape[1] - 1, amplitudes.shape[-1]
        n_points, (n_fft, before) = _period_length(n_harmonics), _noise_frame(hop)
        sines = amplitudes * _unsmoothed(n_harmonics, n_points)
        f0, a, m, w = (x.detach().contiguous().numpy() for x in (f0_hz.double(), sines, magnitudes, white))
        window, flat = np.pad(hann(2 * hop).numpy(), before), np.ones(n_fft, np.float32)
        bands = between_bands(m.shape[-1], n_fft, grid.sample_rate)

        def excerpt(i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            spectrum = np.zeros((n_hops + 1, n_points // 2 + 1), np.complex64)
            spectrum.imag[:, 1 : n_harmonics + 1] = a[i]
            sound, place = (np.empty((n_hops, hop), np.float32) for _ in range(2))
            kernels.read_periods(torch.fft.irfft(torch.from_numpy(spectrum)).numpy(), f0[i], grid.sample_rate, place, sound)
            frames = np.empty((n_hops + 2, n_fft), np.float32)
            kernels.cut(w[i], window, hop, frames)
            noise = torch.fft.rfft(torch.from_numpy(frames[1:])).numpy()  # the white noise begins one hop early
            coloured = torch.empty(noise.shape, dtype=torch.complex64)
            kernels.filtered(noise, m[i], *bands, coloured.numpy())
            kernels.overlap(torch.fft.irfft(coloured).numpy(), flat, hop, sound.reshape(-1))
            return sound.reshape(-1), place, noise

        sounds, *ctx.kept = zip(*parallel_map(excerpt, len(f0)), strict=True)
        ctx.grid, ctx.n_harmonics, ctx.n_bands, ctx.bands = grid, n_harmonics, m.shape[-1], bands
        return torch.from_numpy(np.stack(sounds))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from . import kernels

        hop, n_harmonics, (places, noises) = ctx.grid.hop_length, ctx.n_harmonics, ctx.kept
        slopes = grads[0].contiguous().numpy().reshape(len(places), -1, hop)
        n_points, (n_fft, _) = _period_length(n_harmonics), _noise_frame(hop)
        n_hops, flat = slopes.shape[1], np.ones(n_fft, np.float32)
        unsmoothed = _unsmoothed(n_harmonics, n_points).numpy() * np.float32(2.0 / n_points)

        def excerpt(i: int) -> tuple[np.ndarray, np.ndarray]:
            periods, frames = torch.zeros(n_hops + 1, n_points), torch.empty(n_hops + 1, n_fft)
            kernels.write_periods(slopes[i], places[i], periods.numpy())
            sines = torch.fft.rfft(periods).numpy().imag[:, 1 : n_harmonics + 1] * unsmoothed
            kernels.cut(slopes[i].reshape(-1), flat, hop, frames.numpy())
            gains = np.empty((n_hops + 1, ctx.n_bands), np.float32)
            kernels.gains_asked(noises[i], torch.fft.rfft(frames).numpy(), *ctx.bands, n_fft, gains)
            return sines, gains

        asked = zip(*parallel_map(excerpt, len(slopes)), strict=True)
        return None, *(torch.from_numpy(np.stack(rows)) for rows in asked), None, None


def render_stream(pieces: Iterable[SynthParams], grid: FrameGrid, *, seed: int = 0) -> Iterator[torch.Tensor]:
    """Render a long sound piece by piece; joined, they are what one piece would be (to float32 rounding).

    The pieces (n_frames, ...) are consecutive, each but the last at least a few frames long; one is held back until the next is known.
    """
    reach = -(-max(NOISE_FFT, 4 * grid.hop_length) // (2 * grid.hop_length))  # frames whose noise rings into a sample

    def with_neighbours() -> Iterator[tuple[torch.Tensor, torch.Tensor, SynthParams, SynthParams, int]]:
        first, phase, before = 0, torch.zeros((), dtype=torch.float64), None
        for here, after in pairwise(chain(pieces, [None])):
            assert here is not None
            following = here.map(lambda x: x[-1:]) if after is None else after.map(lambda x: x[:reach])
            earlier = here.noise_magnitudes[:0] if before is None else before.noise_magnitudes[-reach:]
            lines, phase = phase_lines(torch.cat([here.f0_hz, following.f0_hz[:1]]), grid, phase)
            yield lines, earlier, here, following, first - len(earlier)
            first, before = first + here.n_frames, here

    return ahead(lambda piece: _render_piece(*piece, grid, seed), with_neighbours(), PIECES_AT_ONCE)


@torch.no_grad()  # each thread has its own switch
def _render_piece(
    lines: torch.Tensor, earlier: torch.Tensor, here: SynthParams, following: SynthParams, first: int, grid: FrameGrid, seed: int
) -> torch.Tensor:
    """A stretch of a sound, given its phase, the noise magnitudes before it (`first` is their first frame), and what comes after it."""
    hop = grid.hop_length
    levels = [piece.amplitude[:n, None] * piece.harmonic_distribution[:n] for piece, n in ((here, here.n_frames), (following, 1))]
    magnitudes = torch.cat([earlier, here.noise_magnitudes, following.noise_magnitudes])
    white = white_noise((first - 1) * hop, (len(magnitudes) + 1) * hop, seed).to(magnitudes)
    tonal = _harmonics(lines, torch.cat(levels), hop)
    return tonal.add_(filtered_noise(magnitudes, white, grid)[(len(earlier) + 1) * hop :][: len(tonal)])


def render(params: SynthParams, grid: FrameGrid, *, seed: int = 0) -> torch.Tensor:
    """Render one sound: SynthParams with tensors (n_frames, ...) to audio (n_frames * hop_length,)."""
    pieces = (params.map(lambda x, t=t: x[t : t + PIECE_FRAMES]) for t in range(0, params.n_frames, PIECE_FRAMES))
    sound, end = params.f0_hz.new_empty(params.n_frames * grid.hop_length), 0
    for piece in render_stream(pieces, grid, seed=seed):
        begin, end = end, end + len(piece)
        sound[begin:end] = piece
    return sound
