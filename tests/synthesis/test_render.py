"""The synthesizer obeys physics: compared with direct sums in float64, and with what must hold of any sound."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.synthesis.render import (
    SynthParams,
    below_nyquist,
    cycles_along,
    filtered_noise,
    harmonic,
    highest_around,
    hold_last,
    phase_lines,
    render,
    render_batch,
    render_stream,
    white_noise,
)

GRID = FrameGrid()
HOP, RATE = GRID.hop_length, GRID.sample_rate


def make_params(n_frames: int, *, n_harmonics: int = 20, n_bands: int = 16, seed: int = 0, noise: float = 0.05) -> SynthParams:
    """A random but legal sound with a gliding, trembling f0."""
    rng = torch.Generator().manual_seed(seed)
    t = torch.arange(n_frames) / 100.0
    f0 = 300.0 * 2.0 ** (0.5 * torch.sin(2 * torch.pi * 0.7 * t) + 0.03 * torch.sin(2 * torch.pi * 6.0 * t))
    distribution = torch.rand(n_frames, n_harmonics, generator=rng) * below_nyquist(highest_around(f0), n_harmonics, RATE)
    return SynthParams(
        f0,
        0.1 + 0.4 * torch.rand(n_frames, generator=rng),
        distribution / distribution.sum(-1, keepdim=True),
        noise * torch.rand(n_frames, n_bands, generator=rng),
    )


def direct_sum(f0_hz: torch.Tensor, amplitudes: torch.Tensor) -> np.ndarray:
    """sum_k a_k[n] sin(2 pi k phase[n]), sample by sample in float64. Inputs hold one frame more than is rendered."""
    f0, a = f0_hz.double().numpy(), amplitudes.double().numpy()
    position = np.arange((len(f0) - 1) * HOP) / HOP
    frames = np.arange(len(f0))
    frequency = np.interp(position, frames, f0)
    phase = np.concatenate([[0.0], np.cumsum(frequency / RATE)[:-1]])
    rows = [np.interp(position, frames, a[:, k]) * np.sin(2 * np.pi * (k + 1) * phase) for k in range(a.shape[1])]
    return np.sum(rows, axis=0)


def phase_cycles(f0_hz: torch.Tensor, grid: FrameGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """Running phase, sample by sample, and where it ends."""
    lines, end = phase_lines(f0_hz, grid)
    return cycles_along(lines, grid.hop_length).flatten(-2), end


def level_db(error: np.ndarray | torch.Tensor, reference: np.ndarray | torch.Tensor) -> float:
    """RMS of an error [dB] below the RMS of what it is an error of."""
    error, reference = np.asarray(error, np.float64), np.asarray(reference, np.float64)
    return float(10 * np.log10(np.mean(error**2) / np.mean(reference**2) + 1e-30))


def test_harmonics_are_the_direct_sum() -> None:
    params = make_params(200, n_harmonics=60)
    f0, amplitudes = hold_last(params.f0_hz, -1), hold_last(params.amplitude[:, None] * params.harmonic_distribution, -2)
    sound, _ = harmonic(f0, amplitudes, GRID)
    expected = direct_sum(f0, amplitudes)
    assert level_db(sound.numpy() - expected, expected) < -80.0


def test_low_notes_keep_their_precision() -> None:
    f0, amplitudes = torch.full((101,), 27.5), torch.full((101, 100), 0.01)
    sound, _ = harmonic(f0, amplitudes, GRID)
    expected = direct_sum(f0, amplitudes)
    assert level_db(sound.numpy() - expected, expected) < -80.0


@pytest.mark.parametrize(("f0_hz", "n_harmonics"), [(110.0, 100), (440.0, 54), (1000.0, 23), (3000.0, 1)])
def test_nothing_is_lost_between_the_points_of_a_period(f0_hz: float, n_harmonics: int) -> None:
    """Read from a period that was sampled: as exact as its float32 phase, harmonics as strong as the fundamental included."""
    f0 = f0_hz * 2.0 ** (0.02 * torch.rand(121, generator=torch.Generator().manual_seed(1)))
    amplitudes = torch.rand(121, n_harmonics, generator=torch.Generator().manual_seed(2)) / n_harmonics
    sound, _ = harmonic(f0, amplitudes, GRID)
    expected = direct_sum(f0, amplitudes)
    assert level_db(sound.numpy() - expected, expected) < -97.0


def test_gradients_of_amplitudes_are_those_of_the_direct_sum() -> None:
    f0 = torch.linspace(300.0, 500.0, 12).reshape(2, 6)
    amplitudes = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(2, 5 * HOP, generator=torch.Generator().manual_seed(3))
    (harmonic(f0, amplitudes, GRID)[0] * weight).sum().backward()
    phase, _ = phase_cycles(f0, GRID)
    u = torch.arange(HOP) / HOP
    numbers = torch.arange(1, 10).double()[:, None]
    expected = torch.zeros(2, 6, 9, dtype=torch.float64)
    for t in range(5):
        span = slice(t * HOP, (t + 1) * HOP)
        waves = torch.sin(2 * torch.pi * numbers * phase[:, None, span].double()) * weight[:, None, span]
        expected[:, t] += (waves * (1 - u)).sum(-1)
        expected[:, t + 1] += (waves * u).sum(-1)
    assert amplitudes.grad is not None
    torch.testing.assert_close(amplitudes.grad.double(), expected, rtol=1e-4, atol=1e-3)


def test_phase_is_right_after_a_minute() -> None:
    f0_hz, seconds = 441.37, 60
    phase, end = phase_cycles(torch.full((seconds * 100 + 1,), f0_hz), GRID)
    n = np.arange(seconds * RATE)[-RATE:]
    cycles = float(torch.tensor(f0_hz)) * n / RATE
    expected = np.sin(2 * np.pi * 40 * cycles)  # the 40th harmonic
    assert level_db(np.sin(2 * np.pi * 40 * phase[-RATE:].double().numpy()) - expected, expected) < -60.0
    assert abs(float(end) - (float(torch.tensor(f0_hz)) * seconds + 0.5) % 1.0 + 0.5) < 1e-6


def test_float32_phase_would_fail_the_minute() -> None:
    cycles = torch.cumsum(torch.full((60 * RATE,), 441.37 / RATE), 0)[-RATE - 1 : -1].double()
    n = np.arange(60 * RATE)[-RATE:]
    expected = np.sin(2 * np.pi * 40 * float(torch.tensor(441.37)) * n / RATE)
    assert level_db(np.sin(2 * np.pi * 40 * cycles.numpy()) - expected, expected) > -40.0


def test_nothing_above_nyquist_in_a_glide() -> None:
    f0 = torch.linspace(2000.0, 9000.0, 60)
    legal = below_nyquist(highest_around(f0), 12, RATE)
    fastest = torch.maximum(f0[1:], f0[:-1])[:, None] * torch.arange(1, 13)  # between frames t and t + 1
    sounding = legal[1:] | legal[:-1]
    assert bool((fastest[sounding] < RATE / 2).all())
    careless = below_nyquist(f0, 12, RATE)  # judged with the frame's own f0 alone: must be caught
    assert not bool((fastest[careless[1:] | careless[:-1]] < RATE / 2).all())


def test_a_glide_does_not_fold_back() -> None:
    f0 = torch.linspace(1000.0, 11000.0, 101)
    legal = below_nyquist(highest_around(f0), 20, RATE)
    sound, _ = harmonic(f0, legal * 0.05, GRID)
    spectrum = np.abs(np.fft.rfft(sound[: 20 * HOP].double().numpy() * np.hanning(20 * HOP))) ** 2  # f0 from 1 to 3 kHz: nothing below
    frequencies = np.fft.rfftfreq(20 * HOP, 1 / RATE)
    assert 10 * np.log10(spectrum[frequencies < 800].sum() / spectrum.sum()) < -60.0


def test_batch_equals_loop() -> None:
    all_params = [make_params(50, seed=seed) for seed in range(3)]
    white = torch.rand(3, 52 * HOP) - 0.5
    batch = SynthParams(*(torch.stack([getattr(p, name) for p in all_params]) for name in SynthParams.__dataclass_fields__))
    together = render_batch(batch, GRID, white)
    alone = torch.stack([render_batch(p, GRID, w) for p, w in zip(all_params, white, strict=True)])
    assert together.shape == (3, 50 * HOP)
    assert level_db(together - alone, alone) < -100.0


@pytest.mark.parametrize("lengths", [(300,), (100, 200), (7, 150, 143), (299, 1), (60,) * 5])
def test_chunks_equal_the_whole(lengths: tuple[int, ...]) -> None:
    params = make_params(300, noise=0.3)
    white = white_noise(-HOP, 302 * HOP, seed=3)
    whole = render_batch(params, GRID, white)
    ends = np.cumsum(lengths)
    pieces = [params.map(lambda x, a=end - n, b=end: x[a:b]) for n, end in zip(lengths, ends, strict=True)]
    sounds = list(render_stream(pieces, GRID, seed=3))
    assert [len(sound) for sound in sounds] == [n * HOP for n in lengths]
    assert level_db(torch.cat(sounds) - whole, whole) < -80.0


def test_the_seed_decides_the_noise() -> None:
    params = make_params(40)
    assert torch.equal(render(params, GRID, seed=1), render(params, GRID, seed=1))
    assert not torch.equal(render(params, GRID, seed=1), render(params, GRID, seed=2))


def test_gradient_is_that_of_plain_autograd() -> None:
    n_frames, n_harmonics = 6, 5
    f0 = torch.linspace(300.0, 420.0, n_frames + 1)
    amplitudes = torch.rand(n_frames + 1, n_harmonics, dtype=torch.float32, requires_grad=True)
    target = torch.randn(n_frames * HOP)
    (harmonic(f0, amplitudes, GRID)[0] * target).sum().backward()
    plain = amplitudes.detach().double().requires_grad_()
    phase = phase_cycles(f0, GRID)[0].double()
    u = torch.arange(HOP, dtype=torch.float64) / HOP
    rows = plain[:-1, None] * (1 - u)[:, None] + plain[1:, None] * u[:, None]  # (n_frames, hop, n_harmonics)
    sines = torch.sin(2 * torch.pi * phase[:, None] * torch.arange(1, n_harmonics + 1))
    ((rows.flatten(0, 1) * sines).sum(-1) * target.double()).sum().backward()
    assert amplitudes.grad is not None and plain.grad is not None
    assert torch.allclose(amplitudes.grad.double(), plain.grad, rtol=1e-4, atol=1e-3)


def test_loops_and_tensors_render_the_same() -> None:
    params = [make_params(50, noise=0.3, seed=seed) for seed in range(3)]
    batch = SynthParams(*(torch.stack([getattr(p, name) for p in params]) for name in SynthParams.__dataclass_fields__))
    white, target = torch.rand(3, 52 * HOP) - 0.5, torch.randn(3, 50 * HOP)
    loops, tensors = (
        [x.clone().requires_grad_() for x in (batch.amplitude, batch.harmonic_distribution, batch.noise_magnitudes)] for _ in "ab"
    )
    ours = render_batch(SynthParams(batch.f0_hz, *loops), GRID, white)
    f0, amplitudes, magnitudes = hold_last(batch.f0_hz, -1), tensors[0][..., None] * tensors[1], hold_last(tensors[2], -2)
    theirs = harmonic(f0, hold_last(amplitudes, -2), GRID)[0] + filtered_noise(magnitudes, white, GRID)[:, HOP:-HOP]
    assert level_db((ours - theirs).detach(), theirs.detach()) < -80.0
    for sound in (ours, theirs):
        (sound * target).sum().backward()
    for one, other in zip(loops, tensors, strict=True):
        assert float((one.grad - other.grad).norm()) < 1e-4 * float(other.grad.norm())


def test_gradient_reaches_every_parameter() -> None:
    params = make_params(20)
    leaves = [x.clone().requires_grad_() for x in (params.amplitude, params.harmonic_distribution, params.noise_magnitudes)]
    render_batch(SynthParams(params.f0_hz, *leaves), GRID).square().sum().backward()
    assert all(leaf.grad is not None and bool((leaf.grad != 0).any()) for leaf in leaves)


def test_flat_noise_is_flat() -> None:
    sound = filtered_noise(torch.full((601, 16), 0.25), white_noise(0, 602 * HOP, seed=0), GRID)[HOP:-HOP]
    assert float(sound.std()) == pytest.approx(0.25, rel=0.02)
    power = np.square(np.abs(np.fft.rfft(sound.double().numpy())))
    bands_db = 10 * np.log10([band.mean() for band in np.array_split(power, 24)])
    assert np.ptp(bands_db) < 0.5


def test_a_noise_band_stays_in_its_place() -> None:
    magnitudes = torch.zeros(200, 16)
    magnitudes[:, 8] = 1.0
    sound = filtered_noise(magnitudes, white_noise(0, 201 * HOP, seed=0), GRID)[HOP:-HOP]
    from tonetransfer.audio.stft import band_centres_hz

    low, high = band_centres_hz(16, RATE)[[6, 10]]
    power = np.square(np.abs(np.fft.rfft(sound.double().numpy() * np.hanning(len(sound)))))
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    outside = power[(frequencies < low) | (frequencies > high)].sum() / power.sum()
    assert 10 * np.log10(outside) < -40.0


def test_a_click_at_frame_t_sounds_at_its_instant() -> None:
    frame = 37
    params = make_params(80, noise=0.0)
    amplitude = torch.zeros(80)
    amplitude[frame] = 1.0
    tonal = render_batch(SynthParams(params.f0_hz, amplitude, params.harmonic_distribution, params.noise_magnitudes), GRID)
    assert bool((tonal[: (frame - 1) * HOP] == 0).all()) and bool((tonal[(frame + 1) * HOP :] == 0).all())
    magnitudes = torch.zeros(80, 16)
    magnitudes[frame] = 1.0
    noise = render_batch(SynthParams(params.f0_hz, torch.zeros(80), params.harmonic_distribution, magnitudes), GRID)
    for sound in (tonal, noise):
        weight = sound.double().square()
        centre = float((weight * torch.arange(len(sound))).sum() / weight.sum())
        assert abs(centre - frame * HOP) < 0.25 * HOP


def test_white_noise_can_be_had_from_anywhere() -> None:
    whole = white_noise(-1000, 5000, seed=7)
    for start, n in ((-1000, 3), (-7, 20), (0, 1), (5, 3995), (3, 8)):
        assert torch.equal(white_noise(start, n, seed=7), whole[start + 1000 : start + 1000 + n])
    assert float(whole.std()) == pytest.approx(1.0, rel=0.03)


def test_inputs_are_left_alone() -> None:
    params = make_params(30)
    before = [getattr(params, name).clone() for name in SynthParams.__dataclass_fields__]
    render(params, GRID)
    render_batch(params, GRID)
    assert all(torch.equal(a, getattr(params, name)) for a, name in zip(before, SynthParams.__dataclass_fields__, strict=True))


def test_silence_is_exactly_zero() -> None:
    params = make_params(30)
    sound = render(SynthParams(params.f0_hz, torch.zeros(30), params.harmonic_distribution, torch.zeros(30, 16)), GRID)
    assert bool((sound == 0).all())
