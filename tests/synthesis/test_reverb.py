"""A room dies away, is linear, is learned, and can be left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import make_controls, make_model

from tonetransfer.errors import WeightsError
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import load_model, save_model
from tonetransfer.synthesis.reverb import Room, reverberate, reverberate_stream
from tonetransfer.training.losses import spectral_loss

RATE = 48000


def one_instrument(room: torch.Tensor | None) -> TimbreModel:
    made = make_model()
    model = TimbreModel(made.settings, made.instruments[:1])
    model.load_state_dict({key: value[:1] if key in ("timbres", "quantiles") else value for key, value in made.state_dict().items()})
    model.room = room
    return model.eval().requires_grad_(False)


def decay_s(response: torch.Tensor) -> float:
    """Reverberation time (60 dB) from the slope of the backward integral between -5 and -25 dB (Schroeder 1965)."""
    energy = response.square().flip(0).cumsum(0).flip(0)
    level = 10.0 * torch.log10(energy / energy[0])
    first, last = (int((level > db).sum()) for db in (-5.0, -25.0))
    return 60.0 / 20.0 * (last - first) / RATE


def test_whatever_is_learned_dies_away() -> None:
    room = Room(0.8, RATE)
    assert decay_s(room.response().detach()) == pytest.approx(0.4, rel=0.15)
    with torch.no_grad():
        room.decay.fill_(5.0)  # 148 s; it is held to 3 s
        room.level_db += 30.0
    loud = room.response().detach()
    assert float(loud[-4800:].square().mean()) < 0.1 * float(loud[4800:9600].square().mean())
    assert not loud[:90].any()  # nothing before 2 ms


def test_the_direct_sound_passes_as_it_is() -> None:
    click = torch.zeros(4800)
    click[100] = 1.0
    response = torch.zeros(2000)
    response[480] = 0.25
    heard = reverberate(click, response)
    assert float(heard[100]) == pytest.approx(1.0, abs=1e-5) and float(heard[580]) == pytest.approx(0.25, abs=1e-5)
    assert float((heard - click).abs().sum()) == pytest.approx(0.25, abs=2e-3)


def test_in_pieces_it_is_what_it_is_in_one() -> None:
    sound, response = torch.randn(20000), Room(0.1, RATE).response().detach()
    pieces = list(reverberate_stream(sound.split([300, 7000, 1, 12699]), response))
    assert [len(piece) for piece in pieces] == [300, 7000, 1, 12699]
    assert torch.allclose(torch.cat(pieces), reverberate(sound, response), atol=1e-5)


def test_it_is_learned_from_what_it_does_to_a_sound() -> None:
    torch.manual_seed(0)
    hall = Room(0.5, RATE)
    with torch.no_grad():
        hall.decay.fill_(-2.0)  # 135 ms
        hall.level_db += 18.0
    dry = torch.zeros(2, 14400)
    dry[:, :480] = torch.randn(2, 480) * 0.3
    wet = reverberate(dry, hall.response().detach())
    room = Room(0.5, RATE)
    optimizer = torch.optim.Adam(room.parameters(), lr=0.2)
    for _ in range(25):
        optimizer.zero_grad()
        loss = spectral_loss(reverberate(dry, room.response()), wet, (1024, 256))
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    assert decay_s(room.response().detach()) == pytest.approx(decay_s(hall.response().detach()), rel=0.4)


def test_weights_keep_it_and_it_can_be_left_out(tmp_path: Path) -> None:
    response = Room(0.2, RATE).response().detach()
    save_model(tmp_path / "wet.safetensors", one_instrument(response))
    save_model(tmp_path / "dry.safetensors", one_instrument(None))
    wet, dry = (load_model(tmp_path / f"{name}.safetensors") for name in ("wet", "dry"))
    assert wet.room is not None and torch.equal(wet.room, response) and dry.room is None
    controls = make_controls([60, 67], [-20.0, -25.0])
    z = wet.timbres[0]
    without, within = (torch.cat(list(model.play(controls, z))) for model in (wet.dry(), wet))
    assert torch.equal(without, torch.cat(list(dry.play(controls, z))))
    assert torch.allclose(within, reverberate(without, response), atol=1e-5) and not torch.equal(within, without)
    assert torch.allclose(within, wet.render(wet.decode(controls, z)), atol=1e-5)
    assert wet.room is not None  # dry() is another model


def test_several_instruments_have_no_room(tmp_path: Path) -> None:
    model = make_model()
    model.room = torch.zeros(100)
    save_model(tmp_path / "shared.safetensors", model)
    with pytest.raises(WeightsError, match="room"):
        load_model(tmp_path / "shared.safetensors")
