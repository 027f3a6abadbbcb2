"""Decoder and synthesizer frame by frame are the decoder and the synthesizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_model
from whole_recordings import highest_so_far, loudness_of

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.controls.profile import Target
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.realtime.voice import StreamDecoder, Voice, prompt_noise
from tonetransfer.synthesis.render import SynthParams, below_nyquist, filtered_noise, hold_last, render, white_noise

GRID = FrameGrid()
HOP = GRID.hop_length


def played(n_frames: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """f0 with glides, a leap and a note near Nyquist; loudness with a rest."""
    t = torch.arange(n_frames) / 100.0
    f0_hz = 300.0 * 2.0 ** (0.4 * torch.sin(2 * torch.pi * t))
    f0_hz[40:] = 1800.0
    loud = -25.0 + 8.0 * torch.sin(2 * torch.pi * 3 * t)
    loud[20:30] = -120.0
    return f0_hz, loud


def decoded(model: TimbreModel, f0_hz: torch.Tensor, loud: torch.Tensor, z: torch.Tensor) -> SynthParams:
    with torch.no_grad():
        params, _ = model.decoder(f0_hz[None], loud[None], z[None], highest_hz=highest_so_far(f0_hz)[None])
    return params.map(lambda x: x[0])


@pytest.mark.parametrize("register", [False, True])
def test_the_decoder_agrees(register: bool) -> None:
    model = make_model(decoder_width=64, n_harmonics=100)
    if register:
        model.decoder.add_note_age_table()
        assert model.decoder.register is not None
        torch.nn.init.normal_(model.decoder.register.table, std=0.2, generator=torch.Generator().manual_seed(0))
    f0_hz, loud = played()
    z = torch.lerp(model.timbre("violin"), model.timbre("tuba"), torch.linspace(0, 1, len(f0_hz))[:, None])
    params = decoded(model, f0_hz, loud, z)
    decoder = StreamDecoder(model.decoder)
    rows = [decoder.frame(float(f), float(db), one.numpy()) for f, db, one in zip(f0_hz, loud, z, strict=True)]
    amplitudes = params.amplitude[:, None] * params.harmonic_distribution
    assert np.allclose(np.stack([row[0] for row in rows]), amplitudes.numpy(), rtol=1e-4, atol=1e-7)
    assert np.allclose(np.stack([row[1] for row in rows]), params.noise_magnitudes.numpy(), rtol=1e-4, atol=1e-8)


def test_exact_sound_is_that_of_the_synthesizer(tiny_model: TimbreModel) -> None:
    f0_hz, loud = played()
    z = tiny_model.timbre("violin")
    expected = render(decoded(tiny_model, f0_hz, loud, z), GRID, seed=4).numpy()
    voice = Voice(tiny_model.decoder, GRID, noise="exact", follow=False, seed=4)
    sound = np.concatenate([voice.frame(float(f), float(db), z.numpy()) for f, db in zip(f0_hz, loud, strict=True)])
    sound = sound[voice.latency_samples :]
    expected = expected[: len(sound)]
    assert 10 * np.log10(np.mean((sound - expected) ** 2) / np.mean(expected**2)) < -80.0


def steady(n_frames: int, f0_hz: float, noise: float) -> SynthParams:
    f0 = torch.full((n_frames,), f0_hz)
    distribution = below_nyquist(f0, 20, 48000) / torch.arange(1, 21)
    return SynthParams(
        f0, torch.full((n_frames,), 0.2), distribution / distribution.sum(-1, keepdim=True), torch.full((n_frames, 24), noise)
    )


@pytest.mark.parametrize(("f0_hz", "noise"), [(220.0, 0.0), (1500.0, 0.0), (440.0, 0.03), (440.0, 0.3)])
def test_loudness_is_known_before_it_sounds(f0_hz: float, noise: float) -> None:
    params = steady(60, f0_hz, noise)
    measured = loudness_db(render(params, GRID), GRID)[10:-10].mean()
    assert float(loudness_of(params, GRID)[20] - measured) == pytest.approx(0.0, abs=0.4)


def test_following_meets_the_asked_loudness(tiny_model: TimbreModel) -> None:
    z = tiny_model.timbre("violin").numpy()
    errors = {}
    for follow in (False, True):
        voice = Voice(tiny_model.decoder, GRID, follow=follow)
        sound = np.concatenate([voice.frame(440.0, -20.0, z) for _ in range(80)])
        errors[follow] = abs(float(loudness_db(torch.from_numpy(sound), GRID)[40:70].mean()) + 20.0)
    assert errors[False] > 2.0 and errors[True] < 1.5


def test_prompt_noise_has_the_spectrum_of_the_other_and_is_never_early() -> None:
    n_frames = 400
    magnitudes = torch.linspace(0.02, 0.5, 24).flip(0).repeat(n_frames, 1)
    magnitudes[: n_frames // 2] = 0.0
    white = white_noise(-HOP, (n_frames + 1) * HOP, 0)
    reference = filtered_noise(magnitudes, white, GRID)[HOP:].numpy()
    pieces = prompt_noise(magnitudes.numpy(), white.unfold(0, 2 * HOP, HOP).numpy() * np.hanning(2 * HOP + 1)[:-1], GRID)
    sound = np.zeros((n_frames + 6) * HOP)
    for t, piece in enumerate(pieces):
        sound[t * HOP : t * HOP + len(piece)] += piece
    sound = sound[HOP : HOP + len(reference)]
    begins = (n_frames // 2 - 1) * HOP
    assert np.abs(sound[:begins]).max() < 1e-6 < np.abs(reference[:begins]).max()
    spectra = [np.abs(np.fft.rfft(x[begins + 4 * HOP : -HOP])) ** 2 for x in (sound, reference)]
    bands = [[band.mean() for band in np.array_split(spectrum, 16)] for spectrum in spectra]
    assert np.abs(10 * np.log10(np.divide(*bands))).max() < 0.6


def test_silence_is_exactly_zero_and_reset_begins_anew(tiny_model: TimbreModel) -> None:
    z = tiny_model.timbre("violin").numpy()
    voice = Voice(tiny_model.decoder, GRID, seed=1)
    assert all((voice.frame(300.0, -120.0, z) == 0.0).all() for _ in range(5))
    voice.reset()
    first = np.concatenate([voice.frame(300.0, -20.0, z) for _ in range(10)])
    voice.reset()
    assert np.array_equal(first, np.concatenate([voice.frame(300.0, -20.0, z) for _ in range(10)]))
    assert hold_last(torch.from_numpy(first), 0).isfinite().all()


def frame_said(decoder: StreamDecoder, z: np.ndarray, changed: float) -> np.ndarray:
    """Amplitudes and noise of a first frame."""
    decoder.reset()
    return np.concatenate(decoder.frame(300.0, -20.0, z, changed))


@pytest.mark.parametrize("own", [False, True])
def test_a_note_table_is_added_to_what_the_decoder_has(own: bool) -> None:
    model = make_model()
    if own:
        model.decoder.add_note_age_table()
        assert model.decoder.register is not None
        torch.nn.init.normal_(model.decoder.register.table, std=0.2, generator=torch.Generator().manual_seed(1))
    table = 0.3 * torch.randn(25, 15, 37, generator=torch.Generator().manual_seed(0))
    f0_hz, loud = played()
    z = model.timbre("violin")
    params = decoded(model.with_note_table(table), f0_hz, loud, z)
    decoder = StreamDecoder(model.decoder)
    decoder.take_table(table)
    rows = [decoder.frame(float(f), float(db), z.numpy()) for f, db in zip(f0_hz, loud, strict=True)]
    amplitudes = params.amplitude[:, None] * params.harmonic_distribution
    assert np.allclose(np.stack([row[0] for row in rows]), amplitudes.numpy(), rtol=2e-4, atol=1e-7)
    assert np.allclose(np.stack([row[1] for row in rows]), params.noise_magnitudes.numpy(), rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("own", [False, True])
def test_a_change_of_table_begins_where_the_last_has_come(own: bool) -> None:
    model = make_model()
    if own:
        model.decoder.add_note_age_table()
        assert model.decoder.register is not None
        torch.nn.init.normal_(model.decoder.register.table, std=0.2, generator=torch.Generator().manual_seed(1))
    one, two, three = 0.3 * torch.randn(3, 25, 15, 37, generator=torch.Generator().manual_seed(0))
    z, decoder, fresh = model.timbre("violin").numpy(), StreamDecoder(model.decoder), StreamDecoder(model.decoder)
    plain = frame_said(fresh, z, 1.0)
    decoder.take_table(one)
    assert np.allclose(frame_said(decoder, z, 0.0), plain, rtol=1e-5)
    decoder.take_table(two)
    assert np.allclose(frame_said(decoder, z, 0.0), frame_said(fresh_with(fresh, one), z, 1.0), rtol=1e-5)
    midway = frame_said(decoder, z, 0.5)
    decoder.take_table(three, 0.5)
    assert np.allclose(frame_said(decoder, z, 0.0), midway, rtol=1e-4) and not np.allclose(frame_said(decoder, z, 1.0), midway, rtol=1e-2)
    decoder.take_table(three)  # an instrument with the same table
    assert np.allclose(frame_said(decoder, z, 0.0), frame_said(decoder, z, 1.0), rtol=1e-5)
    decoder.take_table(None)
    assert np.allclose(frame_said(decoder, z, 1.0), plain, rtol=1e-5)


def fresh_with(decoder: StreamDecoder, table: torch.Tensor) -> StreamDecoder:
    decoder.take_table(table)
    return decoder


def test_gain_is_of_the_sound_and_nothing_else(tiny_model: TimbreModel) -> None:
    f0_hz, loud = played()
    z = tiny_model.timbre("violin").numpy()
    sounds = []
    for gain_db in (0.0, -6.0):
        voice = Voice(tiny_model.decoder, GRID, seed=4)
        sounds.append(np.concatenate([voice.frame(float(f), float(db), z, gain_db=gain_db) for f, db in zip(f0_hz, loud, strict=True)]))
    assert np.allclose(sounds[1], 10.0 ** (-6.0 / 20.0) * sounds[0], atol=1e-6) and np.abs(sounds[0]).max() > 0.01


def test_fluctuation_moves_the_balance_of_partials_and_not_their_sum(tiny_model: TimbreModel) -> None:
    z = tiny_model.timbre("violin")
    still, moving = (Voice(tiny_model.decoder, GRID, follow=False) for _ in range(2))
    moving.change(Target(z, fluctuation_db=torch.full((24,), 3.0)))
    for _ in range(20):
        for voice in (still, moving):
            voice.frame(300.0, -20.0, z.numpy())
    assert moving._amplitudes.sum() == pytest.approx(still._amplitudes.sum(), rel=1e-6)
    assert np.abs(moving._amplitudes / still._amplitudes - 1.0).max() > 0.1
