"""What a reference tells beside its timbre."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, make_controls, melody, tone

import tonetransfer as tt
from tonetransfer.audio.files import resample
from tonetransfer.audio.stft import band_centres_hz
from tonetransfer.controls.profile import Target
from tonetransfer.errors import AudioError, InstrumentError, ToneTransferWarning
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.spectrum_matching import similar_timbre, widened
from tonetransfer.pipeline.target import COLOUR_SHARE
from tonetransfer.synthesis.fluctuation import fluctuation_depths


def test_partials_that_move_in_the_reference_move_in_the_result() -> None:
    model = tt.load_model()
    asked, z, found = make_controls([62, 65], [-22.0] * 2, seconds=1.2), model.timbre("trumpet_fluid"), []
    for depth_db in (0.0, 3.0):
        moved = model.play(asked, z, fluctuation_db=fluctuation_depths(depth_db, model.settings.n_harmonics))
        target = tt.find_target(model, SAMPLE_RATE, like=torch.cat(list(moved)))
        found.append(0.0 if target.fluctuation_db is None else float(target.fluctuation_db[-1]))
    assert found[0] < 1.0 and found[1] > 1.5


def test_a_reference_is_nearest_to_those_that_sound_like_it() -> None:
    """A bundled instrument's notes, turned down: of all named timbres its own is the nearest, and another register's notes say the same."""
    model = tt.load_model()
    for name, low in (("cello", 48), ("clarinet", 62)):
        strongest_db = float(model.quantiles[model.find(name), -1])
        for midi in (low, low + 12):
            asked = make_controls([midi, midi + 2, midi + 4, midi + 5], [strongest_db - 11.0] * 4)
            sound = 0.1 * tt.synthesize(asked, model, model.timbre(name))
            found = similar_timbre(model, sound, tt.analyze(sound, SAMPLE_RATE, model))
            assert found is not None
            nearest = [other for other, _ in tt.nearest_timbres(model, found, 6)]
            assert any(other.startswith(name) for other in nearest), (name, midi, nearest)


BANDS_HZ = (400.0, 1000.0), (2500.0, 7000.0)
TOP_HZ = (9000.0, 14000.0), (100.0, 20000.0)
MODULE = importlib.import_module("tonetransfer.pipeline.target")


@pytest.fixture(scope="module")
def recorded() -> dict[float, torch.Tensor]:
    """Notes of a trumpet as they are (0 dB), and with everything above 1.5 kHz 12 dB weaker, in a room that hisses a little."""
    model = tt.load_model()
    target = tt.find_target(model, SAMPLE_RATE, to="trumpet")
    assert target.quantiles is not None
    asked = make_controls([62, 65, 69, 72] * 2, [float(target.quantiles[-1]) - 11.0] * 8)
    centres_hz = band_centres_hz(model.settings.n_bands, SAMPLE_RATE)
    darker = torch.from_numpy(np.interp(centres_hz, (1200.0, 1800.0), (0.0, -12.0))).float().expand(2, -1)
    sounds = {cut_db: tt.synthesize(asked, model, replace(target, colour_db=cut_db / -12.0 * darker)) for cut_db in (0.0, -12.0)}
    hiss = 2e-5 * torch.randn(len(sounds[0.0]), generator=torch.Generator().manual_seed(0))
    return {cut_db: 0.2 * sound + hiss for cut_db, sound in sounds.items()}


def test_what_is_matched_takes_colour_and_room_tone_and_stays_itself(recorded: dict[float, torch.Tensor]) -> None:
    model = tt.load_model()
    named = tt.find_target(model, SAMPLE_RATE, to="trumpet")
    found = {cut: tt.find_target(model, SAMPLE_RATE, to="trumpet", match=sound) for cut, sound in recorded.items()}
    centres_hz = band_centres_hz(model.settings.n_bands, SAMPLE_RATE)
    low, high = ((centres_hz > lowest) & (centres_hz < highest) for lowest, highest in BANDS_HZ)
    tilts_db = []
    for target in found.values():
        assert target.colour_db is not None and target.room_tone_db is not None
        tone_db = target.colour_db[0].numpy()
        tilts_db.append(tone_db[high].mean() - tone_db[low].mean())
        assert torch.equal(target.z, named.z) and target.highest_midi == named.highest_midi
        assert torch.equal(target.quantiles, named.quantiles) and torch.equal(target.note_table, named.note_table)
    assert tilts_db[0] == pytest.approx(0.0, abs=2.5)
    assert -12.0 * COLOUR_SHARE < tilts_db[1] - tilts_db[0] < -5.0  # a few notes are not wholly believed


def test_the_level_of_what_is_matched_says_nothing_and_it_is_not_changed(recorded: dict[float, torch.Tensor]) -> None:
    model, sound, before = tt.load_model(), recorded[-12.0], recorded[-12.0].clone()
    loud, soft = (tt.find_target(model, SAMPLE_RATE, to="trumpet", match=level * sound).colour_db for level in (2.0, 0.05))
    assert torch.allclose(loud, soft, atol=0.05) and torch.equal(sound, before)


def test_a_transfer_takes_the_colour_of_what_is_matched(recorded: dict[float, torch.Tensor]) -> None:
    model, source = tt.load_model(), melody([64, 67, 71])
    tilts_db = []
    for sound in recorded.values():
        result = tt.transfer(source, SAMPLE_RATE, model, to="trumpet", match=sound, dynamic="mf")
        assert len(result) == len(source)
        power = torch.fft.rfft(result).abs().square()
        low, high = (float(power[round(a * len(result) / SAMPLE_RATE) : round(b * len(result) / SAMPLE_RATE)].sum()) for a, b in BANDS_HZ)
        tilts_db.append(10.0 * math.log10(high / low))
    assert tilts_db[1] - tilts_db[0] == pytest.approx(-12.0 * COLOUR_SHARE, abs=2.0)


@pytest.mark.parametrize("how", ["like", "match"])
def test_a_reference_of_a_narrow_band_makes_no_dull_instrument(
    recorded: dict[float, torch.Tensor], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A trumpet over a telephone: above 8 kHz there is nothing, which is not the trumpet's doing."""
    model, source = tt.load_model(), melody([64, 67, 71])
    narrow = resample(recorded[0.0], SAMPLE_RATE, 16000)
    named = {"to": "trumpet"} if how == "match" else {}

    def top_db(reference: torch.Tensor, rate: int) -> float:
        power = torch.fft.rfft(tt.transfer(source, SAMPLE_RATE, model, **named, **{how: (reference, rate)}, dynamic="mf")).abs().square()
        top, whole = (float(power[round(a / 48000 * len(source)) : round(b / 48000 * len(source))].sum()) for a, b in TOP_HZ)
        return 10.0 * math.log10(top / whole)

    full_db = top_db(recorded[0.0], SAMPLE_RATE)
    with pytest.warns(ToneTransferWarning, match=r"ends at 7\.\d kHz"):
        widened_db = top_db(narrow, 16000)
    monkeypatch.setattr(MODULE, "widened", lambda _model, reference, *_: reference)
    dull_db = top_db(narrow, 16000)
    assert abs(widened_db - full_db) < 6.0 and dull_db < full_db - 10.0, (full_db, widened_db, dull_db)


def test_partials_that_end_early_are_no_narrow_band(tiny_model: TimbreModel) -> None:
    for sound in (melody([60, 62, 64, 65], seconds=0.3), melody([69, 72]), tone(440.0, 3.0), tone(330.0, 3.0), torch.ones(4000)):
        assert widened(tiny_model, sound, tt.analyze(sound, SAMPLE_RATE, tiny_model)) is sound


def test_too_little_to_match(tiny_model: TimbreModel) -> None:
    with pytest.raises(AudioError, match="silent"):
        tt.find_target(tiny_model, SAMPLE_RATE, to="violin", match=torch.zeros(SAMPLE_RATE))
    with pytest.warns(ToneTransferWarning, match="0.3 s of notes; its colour takes 1 s or more, and is left out"):
        target = tt.find_target(tiny_model, SAMPLE_RATE, to="violin", match=melody([69], seconds=0.3, rest=0.2))
    assert target.colour_db is None
    sound = melody([69, 71, 72])
    with pytest.raises(InstrumentError, match="match came with like"):
        tt.find_target(tiny_model, SAMPLE_RATE, like=sound, match=sound)
    with pytest.raises(InstrumentError, match="unknown dynamics"):
        tt.find_target(tiny_model, SAMPLE_RATE, timbre=Target(tiny_model.timbre("violin")), match=sound)
    with pytest.raises(InstrumentError, match="none came"):
        tt.find_target(tiny_model, SAMPLE_RATE, match=sound)


def test_a_loud_end_that_fills_no_second_leaves_something_to_compare(tiny_model: TimbreModel) -> None:
    notes = torch.cat([0.001 * melody([69, 71], seconds=1.0, rest=0.0), melody([72], seconds=0.4, rest=0.0)])
    found = similar_timbre(tiny_model, notes, tt.analyze(notes, SAMPLE_RATE, tiny_model))
    assert found is not None and bool(found.isfinite().all())


def test_nothing_is_similar_to_silence_or_without_names(tiny_model: TimbreModel) -> None:
    silence, notes = torch.zeros(SAMPLE_RATE), melody([69, 71], seconds=0.8)
    assert similar_timbre(tiny_model, silence, tt.analyze(silence, SAMPLE_RATE, tiny_model)) is None
    nameless = TimbreModel(tiny_model.settings)
    assert similar_timbre(nameless, notes, tt.analyze(notes, SAMPLE_RATE, nameless)) is None


def test_of_a_very_long_reference_the_loudest_part_is_listened_to(tiny_model: TimbreModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "LONGEST_REFERENCE_S", 3)
    soft, loud = 0.1 * melody([55, 57], seconds=1.0)[: 2 * SAMPLE_RATE], melody([67, 69, 71, 72], seconds=0.75)[: 3 * SAMPLE_RATE]
    with pytest.warns(ToneTransferWarning, match="lasts 0 minutes; the loudest 0"):
        found = tt.find_target(tiny_model, SAMPLE_RATE, like=torch.cat([soft, loud, soft]))
    wanted = tt.find_target(tiny_model, SAMPLE_RATE, like=loud)
    assert torch.equal(found.z, wanted.z) and found.lowest_midi == wanted.lowest_midi > 40.0
