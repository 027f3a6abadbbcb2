"""A model fitted to one recording: closer to it, the same each time, and nothing else is touched."""

from __future__ import annotations

import filecmp
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run, as_json
from conftest import SAMPLE_RATE, melody, tone

import tonetransfer as tt
from tonetransfer.audio.files import save_audio
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.audio.stft import log_spectral_distance_db
from tonetransfer.errors import AudioError, SettingsError, ToneTransferWarning
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.target import RATES, at_peak, find_target
from tonetransfer.training import reconstruction as few_shot
from tonetransfer.training.reconstruction import HELD_OUT, Reference, coupling_lost, decoded

STEPS = 40
MODULE = sys.modules["tonetransfer.pipeline.target"]  # the package shows the function of this name


@pytest.fixture(scope="module")
def reference() -> torch.Tensor:
    return at_peak(melody([60, 64, 67, 65, 62, 60], seconds=0.7, rest=0.1))


@pytest.fixture(scope="module")
def short(reference: torch.Tensor) -> torch.Tensor:
    """Too short to hold anything out: the last step is kept."""
    return reference[: 2 * SAMPLE_RATE]


@pytest.fixture(scope="module")
def refined(tiny_model: TimbreModel, reference: torch.Tensor) -> TimbreModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "RATES", {key: 10.0 * rate for key, rate in RATES.items()})  # a random model has far to go
        return tt.refine(reference, SAMPLE_RATE, tiny_model, name="tones", steps=STEPS)


def distance_db(model: TimbreModel, z: torch.Tensor, sound: torch.Tensor) -> float:
    controls = tt.analyze(sound, SAMPLE_RATE, model)
    return log_spectral_distance_db(sound, tt.synthesize(controls, model, z)[: len(sound)])


def test_it_comes_closer_on_notes_that_it_has_not_heard(tiny_model: TimbreModel, refined: TimbreModel, reference: torch.Tensor) -> None:
    before = find_target(tiny_model, SAMPLE_RATE, like=reference).z
    for sound in (reference, at_peak(melody([61, 66, 63], level=0.2))):
        assert distance_db(refined, refined.timbre("tones"), sound) < distance_db(tiny_model, before, sound) - 2.0


def test_the_asked_loudness_is_met(refined: TimbreModel, reference: torch.Tensor) -> None:
    controls = tt.analyze(reference, SAMPLE_RATE, refined)
    sound = tt.synthesize(controls, refined, refined.timbre("tones"))
    off_db = (loudness_db(sound, refined.grid) - controls.loudness_db)[controls.note_frames()]
    assert float(off_db.abs().mean()) < 1.5


def test_the_seed_decides_and_inputs_stay(tiny_model: TimbreModel, short: torch.Tensor) -> None:
    before, sound = {key: value.clone() for key, value in tiny_model.state_dict().items()}, short.clone()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, again, other = (tt.refine(short, SAMPLE_RATE, tiny_model, steps=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(one.timbres, other.timbres)
    assert torch.equal(short, sound)
    assert all(torch.equal(before[key], value) for key, value in tiny_model.state_dict().items())
    assert not any(parameter.requires_grad for model in (tiny_model, one) for parameter in model.parameters())


def test_only_z_and_the_last_layers_move(tiny_model: TimbreModel, refined: TimbreModel) -> None:
    state = refined.state_dict()
    moved = {
        key for key, value in tiny_model.state_dict().items() if key[:8] in ("encoder.", "decoder.") and not torch.equal(value, state[key])
    }
    assert moved == {f"decoder.{key}" for key in ("head.weight", "head.bias", "film_before.bias", "film_after.bias")}


def test_worse_than_before_is_never_kept(tiny_model: TimbreModel, reference: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "warm_cosine", lambda step, steps: -10.0)  # uphill
    target = find_target(tiny_model, SAMPLE_RATE, like=reference)
    wrecked = tt.refine(reference, SAMPLE_RATE, tiny_model, steps=3)
    assert torch.equal(wrecked.timbres[0], target.z)
    assert torch.equal(wrecked.decoder.head.bias, tiny_model.decoder.head.bias)


def test_dynamics_that_were_learned_last(tiny_model: TimbreModel, short: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference of steady tones says nothing of dynamics; the model's own must outlive the fit."""
    monkeypatch.setattr(MODULE, "RATES", {key: 10.0 * rate for key, rate in RATES.items()})
    target = find_target(tiny_model, SAMPLE_RATE, like=short)
    batch = Reference(short, tt.analyze(short, SAMPLE_RATE, tiny_model)).at(np.array([20]), 0)
    lost = {}
    for weight in (0.0, 20.0):
        monkeypatch.setattr(few_shot, "COUPLING_WEIGHT", weight)
        fitted = tt.refine(short, SAMPLE_RATE, tiny_model, steps=30)
        with torch.no_grad():
            _, change = decoded(fitted.decoder, fitted.timbres[0], batch, -8.0)
            lost[weight] = float(coupling_lost(change, tiny_model.decoder, target.z, batch, -8.0))
    assert 0.0 < lost[20.0] < 0.9 * lost[0.0]
    _, same = decoded(tiny_model.decoder, target.z, batch, -8.0)
    assert float(coupling_lost(same, tiny_model.decoder, target.z, batch, -8.0)) == 0.0


def test_what_is_held_out_is_not_learned_from(tiny_model: TimbreModel) -> None:
    sound = torch.cat([melody([60] * 12, seconds=0.9), torch.zeros(20 * SAMPLE_RATE)])
    material = Reference(sound, tt.analyze(sound, SAMPLE_RATE, tiny_model))
    assert len(material.held_out) == round(12 / HELD_OUT)
    held_out = {frame for first in material.held_out for frame in range(first, first + 100)}
    learned = {frame for first in material.learned for frame in range(first, first + 100)}
    assert learned and not learned & held_out
    assert max(learned) < 1300  # nor is the silence


def test_progress_is_told(tiny_model: TimbreModel, short: torch.Tensor) -> None:
    told: list[tuple[int, int]] = []
    tt.refine(short, SAMPLE_RATE, tiny_model, steps=3, progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("sound", [torch.zeros(2 * SAMPLE_RATE), tone(440.0, 0.4), 0.1 * torch.randn(96000, generator=torch.Generator())])
def test_nothing_to_refine(tiny_model: TimbreModel, sound: torch.Tensor) -> None:
    with pytest.raises(AudioError, match="reference"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tt.refine(sound, SAMPLE_RATE, tiny_model)


def test_refine_needs_a_recording_alone(tiny_model: TimbreModel, reference: torch.Tensor) -> None:
    for options in ({"to": "violin"}, {"like": reference, "to": "violin"}, {"timbre": tiny_model.timbre("tuba")}):
        with pytest.raises(SettingsError, match="like"):
            tt.transfer(reference, SAMPLE_RATE, tiny_model, refine=True, **options)


def test_transfer_refines(tiny_model: TimbreModel, short: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tt.refine.__kwdefaults__, "steps", 3)
    phrase = melody([72, 74])
    with tt.one_thread():  # as transfer does
        refined = tt.refine(short, SAMPLE_RATE, tiny_model)
    out = tt.transfer(phrase, SAMPLE_RATE, tiny_model, like=short, refine=True)
    assert torch.equal(out, tt.transfer(phrase, SAMPLE_RATE, refined, to="refined"))
    assert not torch.equal(out, tt.transfer(phrase, SAMPLE_RATE, tiny_model, like=short))


def test_command_line(run: Run, tiny_weights: Path, short: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tt.refine.__kwdefaults__, "steps", 3)
    save_audio("My Flute - 2.wav", short, SAMPLE_RATE)
    save_audio("voice.wav", melody([72, 74]), SAMPLE_RATE)
    like = ["--like", "My Flute - 2.wav", "--weights", tiny_weights]
    found = as_json(run("transfer", "voice.wav", "out.wav", *like, "--refine", "--keep", "flute.safetensors", "--json"))
    assert found["instrument"] == "My Flute - 2.wav"
    assert tt.load_model("flute.safetensors").names == ["my_flute_2"]
    assert run("transfer", "voice.wav", "again.wav", "--to", "flute.safetensors")[0] == 0
    assert filecmp.cmp("again.wav", "out.wav", shallow=False)
    assert run("analyze", "voice.wav", "--save", "voice.npz")[0] == 0
    assert run("synthesize", "voice.npz", "third.wav", *like, "--refine")[0] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "violin", "--refine"], "--like"),
        (["--like", "ref.wav", "--keep", "a.safetensors"], "--refine"),
        (["--like", "ref.wav", "--refine", "--keep", "a.wav"], ".safetensors"),
        (["--like", "ref.wav", "--refine", "--keep", "nowhere/a.safetensors"], "nowhere"),
        (["--like", "ref.wav", "--refine", "--keep", "there.safetensors"], "--overwrite"),
    ],
)
def test_command_line_refuses(run: Run, tiny_weights: Path, options: list[str], says: str) -> None:
    for name in ("ref.wav", "voice.wav"):
        save_audio(name, melody([72, 74]), SAMPLE_RATE)
    Path("there.safetensors").touch()
    code, out, err = run("transfer", "voice.wav", "out.wav", *options, "--weights", tiny_weights)
    assert code == 1 and out == "" and says in err and err.count("\n") == 1
    assert not Path("out.wav").exists()


def test_a_good_reference_brings_no_warning(tiny_model: TimbreModel, reference: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ToneTransferWarning)
        tt.refine(reference, SAMPLE_RATE, tiny_model, steps=1)
