"""The model as its users meet it: shapes, pieces that join, and what holds of any weights, trained or not."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import SAMPLE_RATE, make_controls, make_model, melody, tone

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.controls.controls import Controls
from tonetransfer.errors import AudioError, ControlsError, InstrumentError
from tonetransfer.models import decoder as recurrence
from tonetransfer.models.encoder import TimbreEncoder
from tonetransfer.models.timbre_model import EXCERPT_SECONDS, TimbreModel
from tonetransfer.synthesis.render import SynthParams


@pytest.fixture
def controls() -> Controls:
    return make_controls([60, 64, 67, 72], [-20.0, -25.0, -18.0, -30.0])


def test_encode_shapes(tiny_model: TimbreModel) -> None:
    audio = torch.stack([tone(220.0, 3.0), tone(330.0, 3.0), tone(440.0, 3.0), tone(550.0, 3.0)])
    assert tiny_model.encode(audio[0]).shape == (8,)
    batch = tiny_model.encode(audio.reshape(2, 2, -1))
    assert batch.shape == (2, 2, 8)
    assert torch.allclose(batch[1, 0], tiny_model.encode(audio[2]), atol=1e-6)
    assert torch.allclose(batch[1, 0], tiny_model.encode(audio[2].numpy()), atol=1e-6)


@pytest.mark.parametrize("seconds", [0.01, 0.5, EXCERPT_SECONDS, 2.01, 7.3])
def test_encode_takes_any_length(tiny_model: TimbreModel, seconds: float) -> None:
    assert bool(torch.isfinite(tiny_model.encode(tone(220.0, seconds))).all())


def test_timbre_does_not_depend_on_level(tiny_model: TimbreModel) -> None:
    audio = melody([60, 64, 67], level=0.5)
    loud, soft = tiny_model.encode(audio), tiny_model.encode(audio * 0.05)
    other = tiny_model.encode(melody([60, 64, 67], level=0.5).flip(0).cumsum(0) * 0.01)
    assert float((loud - soft).norm()) < 0.02 * float(loud.norm())
    assert float((loud - other).norm()) > 2.0 * float((loud - soft).norm())  # the measure can tell timbres apart


def test_silent_excerpts_do_not_count(tiny_model: TimbreModel) -> None:
    audio = tone(220.0, 2.0)
    short, long = (torch.cat([torch.zeros(n * SAMPLE_RATE), audio, torch.zeros(n * SAMPLE_RATE)]) for n in (2, 8))
    assert torch.allclose(tiny_model.encode(short), tiny_model.encode(long), atol=1e-6)
    with pytest.raises(AudioError, match="silent"):
        tiny_model.encode(torch.zeros(SAMPLE_RATE))
    with pytest.raises(AudioError, match="nan at sample"):
        tiny_model.encode(torch.cat([audio, torch.tensor([math.nan])]))


def test_decode_gives_legal_parameters(tiny_model: TimbreModel, controls: Controls) -> None:
    params = tiny_model.decode(controls.transpose(36), tiny_model.timbre("violin"))
    assert params.f0_hz.shape == (controls.n_frames,)
    assert params.harmonic_distribution.shape == (controls.n_frames, 24)
    assert params.noise_magnitudes.shape == (controls.n_frames, 12)
    assert bool((params.amplitude >= 0).all()) and bool((params.noise_magnitudes >= 0).all())
    assert torch.allclose(params.harmonic_distribution.sum(-1), torch.ones(controls.n_frames), atol=1e-5)
    sounding = params.harmonic_distribution > 0
    assert bool((params.f0_hz[:, None] * torch.arange(1, 25))[sounding].lt(SAMPLE_RATE / 2).all())


def test_decode_in_pieces_equals_whole(tiny_model: TimbreModel, controls: Controls) -> None:
    z = tiny_model.timbre("tuba")
    whole = tiny_model.decode(controls, z)
    pieces = list(tiny_model.decode_stream(controls, z, frames_per_piece=37))
    for name in SynthParams.__dataclass_fields__:
        joined = torch.cat([getattr(piece, name) for piece in pieces])
        assert torch.allclose(joined, getattr(whole, name), rtol=1e-4, atol=1e-6), name


def test_play_is_decode_and_render(tiny_model: TimbreModel) -> None:
    controls = make_controls([60] * 18, [-20.0] * 18)  # more frames than one piece
    z = tiny_model.timbre("violin")
    played = torch.cat(list(tiny_model.play(controls, z, seed=4)))
    rendered = tiny_model.render(tiny_model.decode(controls, z), seed=4)
    assert played.shape == rendered.shape == (controls.n_samples,)
    assert float((played - rendered).abs().max()) < 1e-4 * float(rendered.abs().max())


def test_a_timbre_may_move(tiny_model: TimbreModel, controls: Controls) -> None:
    z = tiny_model.timbre("violin")
    still, moving = tiny_model.decode(controls, z), tiny_model.decode(controls, z.expand(controls.n_frames, -1))
    assert torch.allclose(still.amplitude, moving.amplitude, rtol=1e-4)


def test_silence_is_exactly_zero(tiny_model: TimbreModel) -> None:
    silent = Controls(torch.full((150,), 220.0), torch.zeros(150), torch.full((150,), -120.0), FrameGrid())
    sound = tiny_model.render(tiny_model.decode(silent, tiny_model.timbre("violin")))
    assert sound.shape == (150 * 480,) and bool((sound == 0).all())


def test_controls_of_another_grid_are_refused(tiny_model: TimbreModel, controls: Controls) -> None:
    other = Controls(controls.f0_hz, controls.periodicity, controls.loudness_db, FrameGrid(44100, 441))
    with pytest.raises(ControlsError, match="44100"):
        tiny_model.decode(other, tiny_model.timbre("violin"))
    with pytest.raises(ControlsError, match="z has 5"):
        tiny_model.decode(controls, torch.zeros(5))


@pytest.mark.parametrize("name", ["alto_sax", "Alto Sax", "alto-sax", " saxophone ", "sax"])
def test_names_are_understood(tiny_model: TimbreModel, name: str) -> None:
    assert tiny_model.instrument(name).name == "alto_sax"


@pytest.mark.parametrize(("name", "nearest"), [("violine", "violin"), ("tubba", "tuba"), ("saxofone", "alto_sax")])
def test_an_unknown_name_gets_the_nearest(tiny_model: TimbreModel, name: str, nearest: str) -> None:
    with pytest.raises(InstrumentError, match=nearest):
        tiny_model.timbre(name)


def test_mix(tiny_model: TimbreModel) -> None:
    violin, tuba = tiny_model.timbre("violin"), tiny_model.timbre("tuba")
    assert torch.allclose(tiny_model.mix({"violin": 3.0, "tuba": 1.0}), 0.75 * violin + 0.25 * tuba)
    assert torch.allclose(tiny_model.mix({"violin": 0.2}), violin)
    for bad in ({}, {"violin": 0.0}, {"violin": 1.0, "tuba": -0.5}):
        with pytest.raises(InstrumentError):
            tiny_model.mix(bad)


def test_a_timbre_is_a_copy(tiny_model: TimbreModel) -> None:
    tiny_model.timbre("violin").zero_()
    assert bool(tiny_model.timbre("violin").abs().sum() > 0)


def test_another_rate_and_hop() -> None:
    model = make_model(sample_rate=16000, hop_length=160)
    n = 50
    controls = Controls(torch.full((n,), 220.0), torch.ones(n), torch.full((n,), -20.0), FrameGrid(16000, 160))
    assert model.render(model.decode(controls, model.timbre("violin"))).shape == (n * 160,)


def test_a_map_behind_the_encoder_is_exact() -> None:
    torch.manual_seed(0)
    encoder = TimbreEncoder(48000, 480, 8, 16).eval()
    encoder.spread.running_mean.normal_()
    encoder.spread.running_var.uniform_(0.5, 2.0)
    audio, matrix = 0.1 * torch.randn(2, 48000), torch.randn(8, 8)
    with torch.no_grad():
        wanted = encoder(audio) @ matrix.T
        encoder.transform(matrix)
        torch.testing.assert_close(encoder(audio), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_frames", [1, 40])
def test_the_recurrence_learns_as_that_of_torch(n_frames: int) -> None:
    gru, rng = torch.nn.GRU(24, 24, batch_first=True), torch.Generator().manual_seed(0)
    h, state = torch.randn(3, n_frames, 24, generator=rng), torch.randn(1, 3, 24, generator=rng)
    weight = torch.randn(3, n_frames, 24, generator=rng)
    found = []
    for recur in (gru, lambda *given: recurrence.learn(gru, *given)):
        given = [h.clone().requires_grad_(), state.clone().requires_grad_()]
        states, last = recur(*given)
        loss = (states * weight).sum() + last.square().sum()
        found.append([states, last, *torch.autograd.grad(loss, [*given, *gru.parameters()])])
        assert torch.equal(recur(h)[0], recur(h, torch.zeros(1, 3, 24))[0])
    for ours, wanted in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


def test_the_recurrence_learns_in_halves_nearly_as_in_float32() -> None:
    gru, rng = torch.nn.GRU(24, 24, batch_first=True), torch.Generator().manual_seed(0)
    h, weight = torch.randn(3, 40, 24, generator=rng).requires_grad_(), torch.randn(3, 40, 24, generator=rng)
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            states, last = recurrence.learn(gru, h)
        assert states.dtype == last.dtype == torch.float32
        found.append([states, *torch.autograd.grad((states * weight).sum(), [h, *gru.parameters()])])
    for ours, wanted in zip(found[1], found[0], strict=True):
        assert 0.0 < float((ours - wanted).detach().norm() / wanted.norm()) < 0.02  # halves hold 8 bits


def test_the_recurrence_bears_what_is_large_and_hides_no_nan() -> None:
    gru = torch.nn.GRU(8, 8, batch_first=True)
    h = torch.tensor([[[1e4] * 8, [-1e4] * 8], [[0.0] * 8, [torch.nan] + [0.0] * 7]])
    states, _ = recurrence.learn(gru, h)
    torch.testing.assert_close(states[0], gru(h[:1])[0][0], rtol=1e-5, atol=1e-6)
    assert bool(states[1, 0].isfinite().all()) and bool(states[1, 1].isnan().all())


def test_one_sound_and_a_batch_are_decoded_alike() -> None:
    """One sound goes through NumPy, two from which is learned through frames of our own; pieces go on from where the last one ended."""
    model = make_model(decoder_width=64)
    rng = torch.Generator().manual_seed(0)
    f0_hz = 220.0 * 2.0 ** torch.rand(1, 300, generator=rng)
    loud, z = -40.0 + 30.0 * torch.rand(1, 300, generator=rng), torch.randn(1, 8, generator=rng)
    both, memory = model.decoder(f0_hz.expand(2, -1), loud.expand(2, -1), z.expand(2, -1))
    for_each_frame, _ = model.decoder(f0_hz, loud, z[:, None].expand(-1, 300, -1))
    one, last = model.decoder(f0_hz, loud, z)
    for params in (one, for_each_frame):
        torch.testing.assert_close(params.amplitude[0], both.amplitude[0], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(params.harmonic_distribution[0], both.harmonic_distribution[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(last[0, 0], memory[0, 0], rtol=1e-5, atol=1e-5)
