"""The loss: zero for the same sound, and it knows what cannot be heard."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import tone

from tonetransfer.audio.stft import log_spectral_distance_db, magnitudes
from tonetransfer.training import losses
from tonetransfer.training.losses import FFT_SIZES, spectral_loss, supervised_contrast

NOTE = tone(440.0, 1.0)[None]


def test_the_same_sound_has_no_loss() -> None:
    assert float(spectral_loss(NOTE, NOTE)) == 0.0


def test_phase_hardly_matters() -> None:
    t = torch.arange(48000) / 48000.0
    a, b = (torch.sin(2 * math.pi * 440.0 * t + phase)[None] for phase in (0.0, 1.0))
    assert float(spectral_loss(a, b, FFT_SIZES[1:3])) < 0.15 * float(spectral_loss(a, torch.zeros_like(a), FFT_SIZES[1:3]))


def test_what_cannot_be_heard_weighs_nothing() -> None:
    silence = torch.zeros(1, 48000)
    hiss = 1e-7 * torch.randn(1, 48000)
    assert float(spectral_loss(silence, hiss)) < 5e-3


def test_distance_weight_adds_the_log_spectral_distance() -> None:
    other = tone(450.0, 1.0)[None]
    added = float(spectral_loss(NOTE, other, (2048,), distance_weight=1.0) - spectral_loss(NOTE, other, (2048,)))
    assert added * 20.0 / math.log(10.0) == pytest.approx(log_spectral_distance_db(NOTE[0], other[0]), rel=1e-3)


def test_the_gradient_points_to_the_right_level() -> None:
    gain = torch.tensor(0.5, requires_grad=True)
    spectral_loss(gain * NOTE, NOTE).backward()
    assert gain.grad is not None and float(gain.grad) < 0


def test_the_audible_distance_hears_what_is_audible_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = (10.0 ** (6.0 * torch.rand(2, 33, 5, dtype=torch.float64, generator=rng) - 5.0) for _ in range(2))
    audible = (x > 1e-3) | (y > 1e-3)
    logs = torch.log(x.clamp(min=1e-4)) - torch.log(y.clamp(min=1e-4))
    wanted = torch.stack([one[heard].square().mean() + 1e-6 for one, heard in zip(logs, audible, strict=True)]).sqrt().mean()
    torch.testing.assert_close(losses.audible_distance(x, y, 1e-3, 1e-4), wanted)
    nothing = torch.zeros(1, 3, 3, requires_grad=True)
    losses.audible_distance(nothing, nothing.detach(), 1e-3, 1e-4).backward()
    assert bool((nothing.grad == 0.0).all())


WEIGHTS = {"distance_weight": 1.0, "loudness_weight": 0.05, "faint_db": -60.0}


def excerpts() -> tuple[torch.Tensor, torch.Tensor]:
    """Sounds and targets: one that swells, one that is silent, one whose target begins late."""
    rng = torch.Generator().manual_seed(0)
    sound = torch.randn(3, 12000, generator=rng) * torch.linspace(0.0, 0.3, 12000).square()
    target = 0.02 * torch.randn(3, 12000, generator=rng) + tone(480.0, 0.25, level=0.1)
    sound[1], target[2, :6000] = 0.0, 0.0
    return sound, target


@pytest.mark.parametrize("audible", [None, losses.Audible(0.5, 0.5, 0.05)])
@pytest.mark.parametrize("other_size", [4096, 512, 128])
def test_loops_and_tensors_say_the_same(other_size: int, audible: losses.Audible | None) -> None:
    sound, target = excerpts()
    found, slopes = [], []
    for kind in (torch.float32, torch.float64):  # of which only the first is computed in loops
        ours = sound.to(kind, copy=True).requires_grad_()
        loss, off_db = losses.heard_difference(ours, target.to(kind), 48000, (2048, other_size), audible=audible, **WEIGHTS)
        (3.0 * loss).backward()
        found.append(torch.stack([loss.detach(), off_db]).double())
        slopes.append(ours.grad.double())
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(*slopes, strict=True):
        assert float((ours - theirs).norm()) <= 1e-5 * float(theirs.norm())
    assert float(slopes[1][0].norm()) > 0.0


def test_the_difference_of_a_batch_is_the_mean_over_its_excerpts() -> None:
    sound, target = excerpts()
    alone = [losses.heard_difference(*one, 48000, (2048, 512), **WEIGHTS)[0] for one in zip(sound.split(1), target.split(1), strict=True)]
    assert float(losses.heard_difference(sound, target, 48000, (2048, 512), **WEIGHTS)[0]) == pytest.approx(float(sum(alone)) / 3)


def test_threads_change_nothing() -> None:
    sound, target = excerpts()
    slopes, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ours = sound.clone().requires_grad_()
            losses.heard_difference(ours, target, 48000, (2048, 512), **WEIGHTS)[0].backward()
            assert torch.get_num_threads() == threads
            slopes.append(ours.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*slopes)


def test_what_is_not_a_number_stays_none() -> None:
    sound, target = excerpts()
    sound[0, 5000] = torch.nan
    loss, _ = losses.heard_difference(sound.requires_grad_(), target, 48000, (2048, 512), audible=losses.Audible(0.5, 0.5, 0.05), **WEIGHTS)
    loss.backward()
    assert math.isnan(float(loss.detach())) and bool(sound.grad[0].isnan().any()) and bool(sound.grad[1:].isfinite().all())


def test_contrast_falls_as_classes_part() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0, 0, 1, 1, 5])
    prototypes = torch.eye(3, 8)
    mixed = supervised_contrast(torch.randn(5, 8), labels, prototypes)
    apart = torch.cat([prototypes[[0, 0, 1, 1]], -torch.ones(1, 8)])
    best = float(supervised_contrast(apart, labels, prototypes))  # two of the same label share the probability
    assert best == pytest.approx(math.log(2.0), abs=0.01) and float(mixed) > 1.0
    swapped = apart[[2, 3, 0, 1, 4]]
    assert float(supervised_contrast(swapped, labels, prototypes)) > float(mixed)


def test_contrast_with_no_pair_at_all_is_nothing() -> None:
    z = torch.randn(3, 8, requires_grad=True)
    loss = supervised_contrast(z, torch.tensor([7, 8, 9]), torch.randn(3, 8))
    loss.backward()
    assert float(loss) == 0.0 and bool(z.grad.isfinite().all())


@pytest.mark.parametrize(("n_fft", "hop", "center"), [(256, 64, True), (256, 60, True), (129, 40, True), (128, 32, False)])
def test_the_gradient_of_magnitudes_is_torchs(n_fft: int, hop: int, center: bool) -> None:
    audio = torch.randn(2, 2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = (audio.clone().requires_grad_() for _ in range(2))
    found = magnitudes(ours, n_fft, hop, center=center)
    window = torch.hann_window(n_fft).double()
    wanted = torch.stft(theirs, n_fft, hop, window=window, center=center, pad_mode="constant", return_complex=True).abs()
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_silence_has_a_gradient_of_nothing() -> None:
    audio = torch.zeros(1, 4096, requires_grad=True)
    magnitudes(audio, 256, 64).sum().backward()
    assert audio.grad is not None and bool((audio.grad == 0).all())


def test_what_is_almost_silent_has_no_steeper_gradient() -> None:
    audio = torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))

    def steepest(gain: float) -> float:
        quiet = (gain * audio).requires_grad_()
        magnitudes(quiet, 256, 64).sum().backward()
        return float(quiet.grad.abs().max())

    assert max(steepest(10.0**-power) for power in (18, 20, 22, 26, 32)) <= 1.5 * steepest(1.0)


@pytest.mark.parametrize("n_fft, hop, center", [(256, 64, True), (2048, 480, True), (2048, 512, False)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_magnitudes_that_nobody_learns_from_are_torchs(shape: tuple[int, ...], n_fft: int, hop: int, center: bool) -> None:
    """Three seconds: more frames than are gone through at a time."""
    audio = torch.randn(*shape, 3 * 48000, generator=torch.Generator().manual_seed(0))
    found = magnitudes(audio, n_fft, hop, center=center)
    window, flat = torch.hann_window(n_fft), audio.reshape(-1, audio.shape[-1])
    wanted = torch.stft(flat, n_fft, hop, window=window, center=center, pad_mode="constant", return_complex=True).abs()
    torch.testing.assert_close(found, wanted.reshape(*shape, *wanted.shape[-2:]), rtol=1e-4, atol=1e-4)


def test_magnitudes_that_are_there_already() -> None:
    other = NOTE.roll(1000)
    pair = [magnitudes(one, 2048, 512) for one in (NOTE, other)]
    assert torch.equal(spectral_loss(NOTE, other, known={2048: pair}), spectral_loss(NOTE, other))
