"""The main job from end to end, on a model that is small and untrained: everything that does not need a good ear."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, make_controls, melody, tone

import tonetransfer as tt
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.dynamics import loudness_quantiles, swell_range_db
from tonetransfer.errors import AudioError, ControlsError, InstrumentError, SettingsError, ToneTransferWarning
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.target import find_target, nearest_timbres
from tonetransfer.pipeline.transfer import arrange, play


@pytest.fixture(scope="module")
def phrase() -> torch.Tensor:
    return melody([69, 72, 76, 74])


@pytest.fixture(scope="module")
def heard(phrase: torch.Tensor, tiny_model: TimbreModel) -> Controls:
    return tt.analyze(phrase, SAMPLE_RATE, tiny_model)


@pytest.mark.parametrize(
    "measure", [tt.estimate_dynamic, tt.estimate_effort, tt.estimate_expression, tt.find_pulses, tt.measure_room, tt.warn_about]
)
def test_measures_of_a_recording_take_arrays_and_refuse_what_is_none(
    measure: Callable[..., Any], phrase: torch.Tensor, heard: Controls, tiny_model: TimbreModel
) -> None:
    model = (tiny_model,) if measure.__name__.startswith("estimate") else ()
    assert repr(measure(phrase.numpy(), heard, *model)) == repr(measure(phrase, heard, *model))
    for wrong in (torch.stack([phrase, phrase]), phrase[:, None], phrase.tolist(), phrase * math.nan):
        with pytest.raises(AudioError):
            measure(wrong, heard, *model)
    with pytest.raises(ControlsError, match="those of the whole recording"):
        measure(phrase[: len(phrase) // 2], heard, *model)


@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("n_samples", [40000, 33333])
def test_the_result_lasts_as_long_as_the_source(tiny_model: TimbreModel, sample_rate: int, n_samples: int) -> None:
    out = tt.transfer(tone(330.0, 5.0, sample_rate=sample_rate)[:n_samples], sample_rate, tiny_model, to="violin")
    assert out.shape == (math.ceil(n_samples * SAMPLE_RATE / sample_rate),)
    assert bool(torch.isfinite(out).all()) and float(out.abs().max()) > 0


def test_arrays_and_tensors_are_alike_and_left_alone(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    before = phrase.clone()
    out = tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", autotune=0.5)
    assert torch.equal(out, tt.transfer(phrase.numpy(), SAMPLE_RATE, tiny_model, to="violin", autotune=0.5))
    assert torch.equal(phrase, before)


def test_the_seed_decides(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    one, again, two = (tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, two)


def test_streamed_equals_whole(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    long = torch.cat([phrase] * 6)  # more frames than one piece
    with tt.one_thread():  # as transfer does
        target = find_target(tiny_model, SAMPLE_RATE, to="violin")
        played = tt.analyze(long, SAMPLE_RATE, tiny_model)
        effort, expression = tt.estimate_effort(long, played, tiny_model, target), tt.estimate_expression(long, played, tiny_model)
        assert effort is not None and expression is not None
        arrangement = arrange(
            played,
            target,
            dynamic=effort.dynamic_db,
            room=tt.measure_room(long, played),
            effort_change_db=expression[0],
            movement_db=expression[1],
            likeness=effort.likeness,
        )
        pieces = list(play(arrangement, tiny_model, target.z, n_samples=len(long)))
    assert len(pieces) > 1
    assert torch.equal(torch.cat(pieces), tt.transfer(long, SAMPLE_RATE, tiny_model, to="violin"))


def test_the_melody_is_kept(tiny_model: TimbreModel, heard: Controls, phrase: torch.Tensor) -> None:
    out = tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", transpose=0)
    found = tt.analyze(out, SAMPLE_RATE, tiny_model)
    sure = heard.note_frames() & (found.periodicity > 0.9)
    assert int(sure.sum()) > 150
    octaves = torch.log2(found.f0_hz / heard.f0_hz)[sure]
    assert float((octaves - octaves.round()).abs().mul(1200).lt(50).float().mean()) > 0.95


@pytest.mark.parametrize("transpose", [-12, 0, 7.5])
def test_transposition(tiny_model: TimbreModel, heard: Controls, transpose: float) -> None:
    for fit in (True, False):
        arrangement = arrange(heard, find_target(tiny_model, SAMPLE_RATE, to="tuba"), transpose=transpose, fit=fit)
        assert arrangement.transposed == transpose
        notes = arrangement.notes
        assert torch.allclose(arrangement.asked.f0_hz[notes], heard.f0_hz[notes] * 2.0 ** (transpose / 12), rtol=1e-5)


def test_auto_stays_where_the_instrument_can_play_it(tiny_model: TimbreModel, heard: Controls) -> None:
    assert arrange(heard, find_target(tiny_model, SAMPLE_RATE, to="tuba")).transposed == -24  # 69 ... 76, and it plays from 28 to 58
    assert arrange(heard, find_target(tiny_model, SAMPLE_RATE, to="violin")).transposed == 0
    low = heard.transpose(-12)  # 57 ... 64: at the lower end of a violin's range, and in it
    assert arrange(low, find_target(tiny_model, SAMPLE_RATE, to="violin")).transposed == 0
    assert arrange(low.transpose(-12), find_target(tiny_model, SAMPLE_RATE, to="violin")).transposed == 12
    unfitted = arrange(heard, find_target(tiny_model, SAMPLE_RATE, to="tuba"), fit=False)
    assert unfitted.transposed == 0 and torch.equal(unfitted.asked.loudness_db, heard.loudness_db)
    assert unfitted.gain_db == 0.0


def test_the_asked_loudness_is_met(tiny_model: TimbreModel, phrase: torch.Tensor, heard: Controls) -> None:
    target = find_target(tiny_model, SAMPLE_RATE, to="violin")
    arrangement = arrange(heard, target)
    raw = loudness_db(torch.cat(list(tiny_model.play(arrangement.asked, target.z))), tiny_model.grid)
    met = loudness_db(torch.cat(list(play(arrangement, tiny_model, target.z))), tiny_model.grid) - arrangement.gain_db
    errors = [(sound - arrangement.asked.loudness_db)[arrangement.notes].abs().quantile(0.9) for sound in (raw, met)]  # but attacks
    assert float(errors[1]) < 1.5 < float(errors[0])  # an untrained decoder is far off


def test_notes_of_equal_level_are_a_mezzo_forte_and_as_loud_as_the_instrument_s_loudest(tiny_model: TimbreModel, heard: Controls) -> None:
    arrangement = arrange(heard, find_target(tiny_model, SAMPLE_RATE, to="violin"))
    loud_end = float(loudness_quantiles(arrangement.asked.loudness_db, arrangement.notes)[-1])
    assert loud_end == pytest.approx(-14.0 - arrangement.gain_db, abs=0.01)  # of a tiny model's instruments
    assert arrangement.gain_db == pytest.approx(11.0, abs=1.0)  # the phrase's four tones are within a decibel


@pytest.mark.parametrize(("dynamic", "effort_db"), [("pp", -26.0), ("mf", -11.0), ("ff", -1.0), (-20.0, -20.0)])
def test_effort_changes_what_is_asked_and_the_gain_gives_it_back(
    tiny_model: TimbreModel, heard: Controls, dynamic: str | float, effort_db: float
) -> None:
    target = find_target(tiny_model, SAMPLE_RATE, to="violin")
    usual, asked = arrange(heard, target, dynamic="f"), arrange(heard, target, dynamic=dynamic)
    notes, range_db = asked.notes, swell_range_db(heard.loudness_db, asked.notes, 100.0)
    wanted = min(effort_db + range_db, 0.0)
    notes = notes & (heard.loudness_db.diff(prepend=heard.loudness_db[:1]) < 5.0)  # the steepest part of an attack is bounded
    moved = (asked.asked.loudness_db - usual.asked.loudness_db)[notes]
    assert torch.allclose(moved, torch.full_like(moved, wanted - (range_db - 5.0)), atol=1e-3)
    assert asked.gain_db == pytest.approx(-wanted)
    levels = [one.asked.loudness_db + one.gain_db for one in (usual, asked)]
    assert torch.allclose(*(level[notes] for level in levels), atol=1e-3)


def test_effort_changes_the_timbre_and_not_the_level(tiny_model: TimbreModel, phrase: torch.Tensor, heard: Controls) -> None:
    soft, hard = (tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", dynamic=dynamic) for dynamic in ("p", "ff"))
    levels = [loudness_db(sound, tiny_model.grid)[heard.note_frames()] for sound in (soft, hard)]
    assert abs(float((levels[1] - levels[0]).mean())) < 1.0
    spectra = [torch.stft(sound, 2048, window=torch.hann_window(2048), return_complex=True).abs().mean(-1) for sound in (soft, hard)]
    assert float(torch.nn.functional.cosine_similarity(*spectra, dim=0)) < 0.999


@pytest.mark.parametrize("gain", [0.1, 2.0])
def test_the_gain_of_the_file_changes_nothing(tiny_model: TimbreModel, phrase: torch.Tensor, heard: Controls, gain: float) -> None:
    target = find_target(tiny_model, SAMPLE_RATE, to="violin")
    one, other = arrange(heard, target), arrange(tt.analyze(gain * phrase, SAMPLE_RATE, tiny_model), target)
    both = one.notes & other.notes
    assert int(both.sum()) >= int(one.notes.sum()) - 4
    assert other.transposed == one.transposed and other.gain_db == pytest.approx(one.gain_db, abs=0.02)
    assert torch.allclose(other.asked.loudness_db[both], one.asked.loudness_db[both], atol=0.05)


def test_the_foot_of_a_steep_attack_is_not_played(tiny_model: TimbreModel) -> None:
    """A window of 43 ms hears a note before it begins: at most 8 dB more is asked for than was heard a frame before."""
    controls = make_controls([69, 71], [-30.0, -30.0], rest=0.3, noise_db=-120.0)
    loud = controls.loudness_db.clone()
    loud[76:80] = torch.tensor([-70.0, -55.0, -45.0, -38.0])  # before the second note, which begins in frame 80
    heard = replace(controls, loudness_db=loud, periodicity=torch.full((160,), 0.98))
    asked = arrange(heard, find_target(tiny_model, SAMPLE_RATE, to="violin")).asked.loudness_db
    shift_db = asked[105] - loud[105]
    torch.testing.assert_close(asked[77:81] - shift_db, torch.tensor([-62.0, -47.0, -38.0, float(loud[80])]), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(asked[81:125] - shift_db, loud[81:125], atol=1e-3, rtol=0.0)  # slower, and untouched
    assert float(asked[76]) == -112.0


def test_what_belongs_to_the_instrument_goes_along(tiny_model: TimbreModel, heard: Controls) -> None:
    table, depth = torch.zeros(25, 15, 37), torch.full((24,), 2.0)
    target = replace(find_target(tiny_model, SAMPLE_RATE, to="violin"), note_table=table, fluctuation_db=depth)
    own, unfitted = arrange(heard, target), arrange(heard, target, fit=False)
    assert own.note_table is table and own.fluctuation_db is depth
    assert unfitted.note_table is table and unfitted.fluctuation_db is depth


def test_partials_fluctuate_and_the_loudness_stays(tiny_model: TimbreModel, heard: Controls) -> None:
    target = find_target(tiny_model, SAMPLE_RATE, to="violin")
    plain = arrange(heard, target)
    moving = replace(plain, fluctuation_db=torch.full((24,), 3.0))
    sounds = [
        torch.cat(list(play(one, tiny_model, target.z, seed=seed))) for one, seed in ((plain, 0), (moving, 0), (moving, 0), (moving, 1))
    ]
    assert torch.equal(sounds[1], sounds[2]) and not torch.equal(sounds[1], sounds[3])
    assert float((sounds[1] - sounds[0]).square().mean() / sounds[0].square().mean()) > 1e-3
    levels = [loudness_db(sound, tiny_model.grid)[plain.notes] for sound in sounds[:2]]
    assert float((levels[1] - levels[0]).abs().mean()) < 1.0


def test_louder_by_so_much(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    plain, louder = (tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", loudness_db=gain) for gain in (0.0, 6.0))
    notes = tt.analyze(phrase, SAMPLE_RATE, tiny_model).note_frames()
    change = (loudness_db(louder, tiny_model.grid) - loudness_db(plain, tiny_model.grid))[notes]
    assert float(change.mean()) == pytest.approx(6.0, abs=2.0)  # each may be 1 dB off what was asked


@pytest.mark.parametrize("options", [{}, {"loudness_db": 40.0}, {"fit": False}, {"autotune": 1.0}])
def test_silence_in_silence_out(tiny_model: TimbreModel, options: dict) -> None:
    with pytest.warns(ToneTransferWarning, match="silent"):
        out = tt.transfer(torch.zeros(50000), SAMPLE_RATE, tiny_model, to="violin", **options)
    assert out.shape == (50000,) and bool((out == 0).all())


def test_rests_are_silent(tiny_model: TimbreModel) -> None:
    audio = torch.cat([tone(440.0, 1.0), torch.zeros(2 * SAMPLE_RATE), tone(440.0, 1.0)])
    out = tt.transfer(audio, SAMPLE_RATE, tiny_model, to="violin")
    assert float(out[int(1.7 * SAMPLE_RATE) : int(2.5 * SAMPLE_RATE)].abs().max()) < 1e-4


def test_hiss_between_notes_is_not_played(tiny_model: TimbreModel) -> None:
    hiss = 0.02 * torch.randn(4 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    audio = torch.cat([tone(440.0, 1.0), torch.zeros(2 * SAMPLE_RATE), tone(440.0, 1.0)]) + hiss
    out = tt.transfer(audio, SAMPLE_RATE, tiny_model, to="violin")
    assert float(out[int(1.8 * SAMPLE_RATE) : int(2.2 * SAMPLE_RATE)].abs().max()) < 1e-3


def noise(seconds: float = 2.0) -> torch.Tensor:
    return 0.1 * torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))


def click() -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(20000), 48000).float()


@pytest.mark.parametrize(
    "audio", [noise(), click(), torch.full((48000,), 0.5), torch.ones(1), torch.zeros(1)], ids=["noise", "click", "DC", "1", "0"]
)
def test_what_is_no_music_gives_sound_or_silence(tiny_model: TimbreModel, audio: torch.Tensor) -> None:
    with pytest.warns(ToneTransferWarning):
        out = tt.transfer(audio, SAMPLE_RATE, tiny_model, to="violin")
    assert out.shape == audio.shape and bool(torch.isfinite(out).all())


def test_a_chord_is_told(tiny_model: TimbreModel) -> None:
    chord = sum(tone(f0, 1.5, level=0.15) for f0 in (261.6, 329.6, 392.0))
    with pytest.warns(ToneTransferWarning, match="one note at a time"):
        tt.transfer(chord, SAMPLE_RATE, tiny_model, to="violin")


def test_good_sources_bring_no_warning(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ToneTransferWarning)
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin")


@pytest.mark.parametrize(
    ("audio", "sample_rate"),
    [
        (torch.tensor([0.0, math.nan]), 48000),
        (torch.tensor([0.0, math.inf]), 48000),
        (torch.zeros(0), 48000),
        (torch.zeros(2, 100), 48000),
        (torch.zeros(100), 0),
        (torch.zeros(100), 44100.5),
        ([0.0, 0.1], 48000),
        (np.array(["a"]), 48000),
    ],
)
def test_what_is_no_audio(tiny_model: TimbreModel, audio: object, sample_rate: int) -> None:
    for function in (lambda: tt.transfer(audio, sample_rate, tiny_model, to="violin"), lambda: tt.analyze(audio, sample_rate, tiny_model)):
        with pytest.raises(AudioError):
            function()


WRONG: dict[str, tuple[Callable[..., Any], type[tt.ToneTransferError], str]] = {
    "the model first": (lambda m, a, heard: tt.transfer(m, a, 48000, to="violin"), SettingsError, "model is of type int"),
    "a name for the model": (
        lambda m, a, heard: tt.analyze(a, 48000, "violin"),
        SettingsError,
        "model is of type str; a TimbreModel is wanted",
    ),
    "no model for a target": (lambda m, a, heard: find_target("violin", 48000), SettingsError, "model is of type str"),
    "no model to refine": (lambda m, a, heard: tt.refine(a, 48000, None), SettingsError, "model is of type NoneType"),
    "no model live": (lambda m, a, heard: tt.Stream(None, find_target(m, 48000, to="violin")), SettingsError, "load_model() gives one"),
    "a name live": (lambda m, a, heard: tt.Stream(m, "violin"), InstrumentError, "find_target() gives one"),
    "a name to arrange for": (lambda m, a, heard: arrange(heard, "violin"), InstrumentError, "target is of type str"),
    "a name to compare with": (lambda m, a, heard: tt.estimate_effort(a, heard, m, "violin"), InstrumentError, "target is of type str"),
    "audio for controls": (lambda m, a, heard: tt.synthesize(a, m, m.timbre("violin")), ControlsError, "analyze() gives them"),
    "controls after audio": (lambda m, a, heard: tt.estimate_expression(heard, a, m), ControlsError, "controls is of type Tensor"),
    "a name for z": (lambda m, a, heard: tt.synthesize(heard, m, "violin"), ControlsError, "z is of type str"),
    "nearest to a name": (lambda m, a, heard: nearest_timbres(m, "violin"), ControlsError, "z is of type str"),
    "half a timbre": (lambda m, a, heard: nearest_timbres(m, m.timbre("violin"), 0.5), SettingsError, "count is 0.5"),
    "a number": (lambda m, a, heard: find_target(m, 48000, to=3), InstrumentError, "an instrument is called 3"),
    "names": (lambda m, a, heard: find_target(m, 48000, to=["violin"]), InstrumentError, "an instrument is called ['violin']"),
    "a mix of names": (lambda m, a, heard: find_target(m, 48000, mix=["violin"]), InstrumentError, "names with numbers"),
    "a mix of texts": (lambda m, a, heard: find_target(m, 48000, mix={"violin": "1"}), InstrumentError, "names with numbers"),
    "a name for a timbre": (lambda m, a, heard: find_target(m, 48000, timbre="violin"), InstrumentError, "for a name, use to"),
    "one of a pair": (lambda m, a, heard: tt.transfer(a, 48000, m, like=(a,)), AudioError, "a tuple of 1"),
    "a transposition": (
        lambda m, a, heard: arrange(heard, find_target(m, 48000, to="violin"), transpose="7"),
        SettingsError,
        "transpose is '7'",
    ),
    "a level": (lambda m, a, heard: tt.transfer(a, 48000, m, to="violin", loudness_db=None), SettingsError, "loudness_db is None"),
    "a seed": (lambda m, a, heard: tt.transfer(a, 48000, m, to="violin", seed=1.5), SettingsError, "seed is 1.5; a whole number"),
    "a scale": (lambda m, a, heard: tt.transfer(a, 48000, m, to="violin", scale=3), SettingsError, "there is no scale 3"),
    "steps": (lambda m, a, heard: tt.refine(a, 48000, m, steps="x"), SettingsError, "steps is 'x'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arguments_of_the_wrong_type(case: str, tiny_model: TimbreModel, phrase: torch.Tensor, heard: Controls) -> None:
    call, error, says = WRONG[case]
    with pytest.raises(error, match=re.escape(says)):
        call(tiny_model, phrase, heard)


def test_exactly_one_target(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    with pytest.raises(InstrumentError, match="none"):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model)
    with pytest.raises(InstrumentError, match="to and mix"):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", mix={"tuba": 1.0})


def test_all_ways_to_a_timbre(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    z = tiny_model.timbre("tuba")
    expected = tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="tuba")
    assert torch.equal(tt.transfer(phrase, SAMPLE_RATE, tiny_model, mix={"tuba": 0.3}), expected)
    assert torch.equal(tt.transfer(phrase, SAMPLE_RATE, tiny_model, timbre=z), expected)  # nearest named: itself
    reference = melody([40, 43, 45])
    liked = tt.transfer(phrase, SAMPLE_RATE, tiny_model, like=reference)
    assert torch.equal(tt.transfer(phrase, SAMPLE_RATE, tiny_model, like=(reference, SAMPLE_RATE)), liked)
    assert not torch.equal(liked, expected)


def test_a_blend_lies_between(tiny_model: TimbreModel) -> None:
    blend = find_target(tiny_model, SAMPLE_RATE, mix={"violin": 3.0, "tuba": 1.0})
    assert blend.mean_midi == pytest.approx(0.75 * 76 + 0.25 * 42)
    assert torch.allclose(blend.z, 0.75 * tiny_model.timbre("violin") + 0.25 * tiny_model.timbre("tuba"))


def test_a_reference_brings_its_register_and_timbre(tiny_model: TimbreModel) -> None:
    low, quiet = (find_target(tiny_model, SAMPLE_RATE, like=melody([40, 43, 45], level=level)) for level in (0.3, 0.003))
    assert low.mean_midi == pytest.approx(42.67, abs=0.3)
    assert low.quantiles is not None and quiet.quantiles is not None
    assert torch.allclose(low.quantiles, quiet.quantiles, atol=0.5)  # how loud it was recorded is not how it plays
    assert float(low.quantiles[-1] - low.quantiles[0]) >= 27.0  # a short reference does not take the dynamics away


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (tone(220.0, 0.4), "0.. s of notes"),
        (noise(), "s of notes"),
        (tone(261.6, 2.0) + tone(329.6, 2.0) + tone(392.0, 2.0), "several notes"),
    ],
    ids=["short", "noise", "chord"],
)
def test_doubtful_references(tiny_model: TimbreModel, phrase: torch.Tensor, reference: torch.Tensor, says: str) -> None:
    with pytest.warns(ToneTransferWarning, match=says):
        assert bool(torch.isfinite(tt.transfer(phrase, SAMPLE_RATE, tiny_model, like=reference)).all())


def test_a_silent_reference(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    with pytest.raises(AudioError, match="silent"):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, like=torch.zeros(48000))


def test_a_timbre_of_another_model(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    with pytest.raises(InstrumentError, match="64 numbers"):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, timbre=torch.zeros(64))


def test_an_unknown_instrument(tiny_model: TimbreModel, phrase: torch.Tensor) -> None:
    with pytest.raises(InstrumentError, match="violin"):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violine")
    with pytest.raises(InstrumentError, match="tracker"):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", tracker="guess")


@pytest.mark.parametrize(
    "options",
    [{"transpose": "up"}, {"transpose": math.nan}, {"autotune": 2.0}, {"loudness_db": math.inf}, {"dynamic": "loud"}, {"dynamic": 1.0}],
)
def test_settings_out_of_range(tiny_model: TimbreModel, phrase: torch.Tensor, options: dict) -> None:
    with pytest.raises(SettingsError):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", **options)


def test_analyze_and_synthesize(tiny_model: TimbreModel, heard: Controls) -> None:
    z = tiny_model.timbre("violin")
    out = tt.synthesize(heard.transpose(12), tiny_model, z)
    assert out.shape == (heard.n_samples,)
    met = loudness_db(out, tiny_model.grid)
    assert float((met - heard.loudness_db)[heard.note_frames()].abs().mean()) < 1.5
    with pytest.raises(ControlsError):
        tt.synthesize(heard.resample(FrameGrid(44100, 441)), tiny_model, z)


def test_analyze_is_on_the_model_s_grid(tiny_model: TimbreModel) -> None:
    controls = tt.analyze(tone(220.0, 1.0, sample_rate=44100), 44100, tiny_model)
    assert controls.grid == tiny_model.grid and controls.n_frames == 100
    assert float(controls.f0_hz.median()) == pytest.approx(220.0, rel=0.002)


def test_describe() -> None:
    described = tt.describe(melody([69, 72]), SAMPLE_RATE)
    assert {"vibrato_rate_hz", "vibrato_extent_cents", "tremolo_rate_hz", "tremolo_depth_db"} <= described.keys()
    assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in described.values())


def test_nearest_timbres(tiny_model: TimbreModel) -> None:
    near = nearest_timbres(tiny_model, tiny_model.timbre("tuba"))
    assert near[0][0] == "tuba" and near[0][1] == pytest.approx(0.0, abs=1e-5)
    assert [distance for _, distance in near] == sorted(distance for _, distance in near)
    with pytest.raises(ControlsError, match=r"\(3,\); one timbre vector"):
        nearest_timbres(tiny_model, torch.zeros(3))


def test_a_moving_timbre(tiny_model: TimbreModel) -> None:
    controls = make_controls([60, 64], [-20.0, -20.0])
    share = torch.linspace(0, 1, controls.n_frames)[:, None]
    z = (1 - share) * tiny_model.timbre("violin") + share * tiny_model.timbre("tuba")
    assert tt.synthesize(controls, tiny_model, z).shape == (controls.n_samples,)
    with pytest.raises(ControlsError, match="one timbre is wanted, or one a frame"):
        tt.synthesize(controls, tiny_model, z[:2])


def test_a_note_rings_on_at_its_own_pitch(tiny_model: TimbreModel) -> None:
    heard = make_controls([76, 64], [-20.0, -20.0], rest=0.3, noise_db=-120.0)
    target = replace(find_target(tiny_model, SAMPLE_RATE, to="violin"), release_db_per_s=120.0)
    asked = arrange(heard, target, transpose=0.0).asked
    notes = heard.note_frames()
    end = int((~notes & (torch.arange(len(notes)) > int(notes.int().argmax()))).int().argmax())  # first frame behind the first note
    ringing = slice(end, end + 20)
    assert float(asked.loudness_db[ringing].min()) > float(heard.loudness_db[ringing].min()) + 20.0
    torch.testing.assert_close(asked.f0_hz[ringing], heard.f0_hz[end - 5].expand(20), rtol=1e-3, atol=0.0)


def test_a_note_that_was_cut_out_of_a_recording_does_not_sound_far_into_the_pause(tiny_model: TimbreModel) -> None:
    heard = make_controls([76, 64], [-20.0, -20.0], rest=0.3, noise_db=-90.0)
    target = replace(find_target(tiny_model, SAMPLE_RATE, to="violin"), release_db_per_s=120.0)
    asked, quiet = arrange(heard, target, transpose=0.0).asked, heard.loudness_db < -85.0
    assert quiet.any() and float((asked.loudness_db - heard.loudness_db)[quiet].median()) < 20.0


def test_noise_is_changed_alone(tiny_model: TimbreModel, heard: Controls) -> None:
    z = tiny_model.timbre("violin")
    none, plain, more = (torch.cat(list(tiny_model.play(heard, z, noise_db=change))) for change in (-60.0, 0.0, 6.0))
    noise = plain - none  # linear: the tonal part cancels
    assert float(noise.abs().max()) > 0
    wanted = (10.0 ** (6.0 / 20.0) - 1e-3) / (1.0 - 1e-3)
    assert torch.allclose(more - none, wanted * noise, atol=1e-5)


def test_dynamics_of_a_transfer(tiny_model: TimbreModel) -> None:
    target = find_target(tiny_model, SAMPLE_RATE, to="violin")
    controls = make_controls([69, 71, 72], [-30.0, -24.0, -18.0])
    spreads = []
    for amount in (0.0, 1.0, 1.5):
        asked = arrange(controls, target, dynamics=amount).asked.loudness_db
        spreads.append(float(asked[165] - asked[25]))
    assert abs(spreads[0]) < 1.0 < spreads[1] < spreads[2]


def test_the_hall_rings_and_the_length_stays(tiny_model: TimbreModel) -> None:
    audio = torch.cat([tone(440.0, 1.0), torch.zeros(SAMPLE_RATE)])
    dry, wet = (tt.transfer(audio, SAMPLE_RATE, tiny_model, to="violin", hall=amount) for amount in (0.0, 0.6))
    late = slice(round(1.4 * SAMPLE_RATE), round(1.6 * SAMPLE_RATE))
    assert dry.shape == wet.shape and float(dry[late].abs().max()) < 1e-4 < 1e-3 < float(wet[late].abs().max())


@pytest.mark.parametrize(
    "options",
    [{"dynamics": -0.1}, {"dynamics": 2.5}, {"noise_db": 40.0}, {"noise_db": math.nan}, {"hall": 1.5}, {"scale": "H major"}, {"seed": -1}],
)
def test_musical_settings_out_of_range(tiny_model: TimbreModel, phrase: torch.Tensor, options: dict) -> None:
    with pytest.raises(SettingsError):
        tt.transfer(phrase, SAMPLE_RATE, tiny_model, to="violin", autotune=0.5, **options)


def test_players_whose_recorded_notes_were_cut_ring_as_their_family_does() -> None:
    """A dry source leaves the ends of notes to the instrument."""
    model, frame_rate = tt.load_model(), 100.0
    played = melody([69, 76], seconds=0.5, rest=0.5)
    played[24000:48000] = played[72000:] = 0.0
    falls = {}
    for name in ("violin", "trumpet", "clarinet"):
        sound = tt.transfer(played, SAMPLE_RATE, model, to=name, transpose=0)
        loud = tt.analyze(sound, SAMPLE_RATE, model).loudness_db
        falls[name] = float(loud[50] - loud[70]) / 20 * frame_rate
    assert 70.0 < falls["violin"] < 150.0 and 90.0 < falls["trumpet"] < 180.0 and falls["clarinet"] > 180.0
