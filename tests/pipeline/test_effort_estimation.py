"""Effort and movement heard in a spectrum: found again in what the model itself played, whatever the gain; no notes, no estimate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import SAMPLE_RATE, make_controls, melody

import tonetransfer as tt
from tonetransfer.audio.loudness import loudness_db
from tonetransfer.errors import ControlsError
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pipeline.effort_estimation import estimate_dynamic, estimate_effort, estimate_effort_changes, estimate_expression
from tonetransfer.pipeline.target import at_rate
from tonetransfer.pipeline.transfer import measure_source
from tonetransfer.synthesis.colour import BAND_EDGES_HZ, moving
from tonetransfer.synthesis.render import SynthParams

ROOT = Path(__file__).parents[2]


def estimated(sound: torch.Tensor, model: TimbreModel) -> float | None:
    return estimate_dynamic(sound, tt.analyze(sound, SAMPLE_RATE, model), model)


@pytest.mark.parametrize("gain", [0.1, 2.0])
def test_the_gain_of_the_file_says_nothing(tiny_model: TimbreModel, gain: float) -> None:
    sound = melody([69, 72, 76])
    found = estimated(sound, tiny_model)
    assert found is not None and -36.0 <= found <= 0.0
    assert estimated(gain * sound, tiny_model) == pytest.approx(found, abs=0.2)


def test_what_is_played_harder_is_heard_so() -> None:
    """The same notes, played by a bundled cello 22 and 2 dB below its strongest, and brought to one level."""
    model, found = tt.load_model(), []
    strongest_db = float(model.quantiles[model.find("cello"), -1])
    for effort_db in (-22.0, -2.0):
        asked = make_controls([50, 52, 54, 55], [strongest_db + effort_db] * 4)
        sound = tt.synthesize(asked, model, model.timbre("cello"))
        found.append(estimated(0.3 * sound / sound.abs().max(), model))
    assert found[0] is not None and found[1] is not None and found[1] > found[0] + 3.0


def test_the_target_s_own_brightness_is_no_effort() -> None:
    """A dark player heard as a reference, and played again: as hard as the reference is, not softer."""
    model = tt.load_model()
    strongest_db = float(model.quantiles[model.find("trumpet"), -1])
    asked = make_controls([60, 62, 64, 65, 67], [strongest_db - 11.0] * 5)
    sound = tt.synthesize(asked, model, model.timbre("trumpet"))
    spectrum = torch.fft.rfft(sound)
    hertz = torch.fft.rfftfreq(len(sound), 1.0 / SAMPLE_RATE)
    dark = torch.fft.irfft(spectrum / (1.0 + (hertz / 900.0) ** 2), n=len(sound))
    dark = 0.3 * dark / dark.abs().max()
    target = tt.find_target(model, SAMPLE_RATE, like=dark)
    heard = tt.analyze(dark, SAMPLE_RATE, model)
    alone, beside = (estimate_dynamic(dark, heard, model, one) for one in (None, target))
    assert alone is not None and beside is not None
    assert abs(beside + 11.0) < 4.0 and abs(beside + 11.0) < abs(alone + 11.0)


def test_without_notes_or_instruments_there_is_no_estimate(tiny_model: TimbreModel) -> None:
    noise = 0.1 * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    assert estimated(noise, tiny_model) is None and estimated(torch.zeros(SAMPLE_RATE), tiny_model) is None
    assert estimated(melody([69]), TimbreModel(tiny_model.settings)) is None
    assert estimated(melody([69], seconds=0.6), tiny_model) is None  # under a second: nothing to go by


def played_with_changes(model: TimbreModel, change_db: float) -> tuple[torch.Tensor, tt.Controls, torch.Tensor]:
    """A trumpet of one level whose notes are played by turns so much more gently and harder: sound, controls, changes (n_frames,)."""
    strongest_db = float(model.quantiles[model.find("trumpet"), -1])
    asked = make_controls([60, 62, 64, 60, 65, 67], [strongest_db - 11.0] * 6, seconds=0.8)
    turns = torch.tensor([-1.0, 1.0] * 3).repeat_interleave(asked.n_frames // 6)
    changes = change_db * torch.nn.functional.pad(turns, (0, asked.n_frames - len(turns)))
    return torch.cat(list(model.play(asked, model.timbre("trumpet"), effort_change_db=changes))), asked, changes


def test_changes_of_effort_are_heard_again_whatever_the_gain() -> None:
    model = tt.load_model()
    sound, _, changes = played_with_changes(model, 7.0)
    heard = tt.analyze(sound, SAMPLE_RATE, model)
    found = estimate_effort_changes(sound, heard, model)
    softer = estimate_effort_changes(0.1 * sound, tt.analyze(0.1 * sound, SAMPLE_RATE, model), model)
    assert found is not None and softer is not None and found.shape == (heard.n_frames,)
    assert float(found[changes > 0.0].mean() - found[changes < 0.0].mean()) > 2.0  # of 14: players differ, so it is careful
    torch.testing.assert_close(found, softer, atol=1.0, rtol=0.0)


def test_changes_of_effort_leave_the_level() -> None:
    model = tt.load_model()
    (changed, asked, _), (plain, *_) = (played_with_changes(model, change_db) for change_db in (7.0, 0.0))
    levels = [loudness_db(sound, asked.grid)[asked.note_frames()] for sound in (changed, plain)]
    assert float((levels[0] - levels[1]).abs().median()) < 1.0
    assert float((changed - plain).abs().max()) > 0.01


def test_notes_that_are_made_equal_are_played_equally_hard() -> None:
    model = tt.load_model()
    _, asked, changes = played_with_changes(model, 7.0)
    target = tt.find_target(model, SAMPLE_RATE, to="flute")
    equal, as_played = (tt.arrange(asked, target, dynamics=amount, effort_change_db=changes) for amount in (0.0, 1.0))
    assert equal.effort_change_db is not None and not bool(equal.effort_change_db.any())
    assert as_played.effort_change_db is not None and torch.equal(as_played.effort_change_db, changes)
    assert tt.arrange(asked, target, fit=False, effort_change_db=changes).effort_change_db is None


def test_without_notes_there_are_no_changes(tiny_model: TimbreModel) -> None:
    silence = torch.zeros(SAMPLE_RATE)
    assert estimate_effort_changes(silence, tt.analyze(silence, SAMPLE_RATE, tiny_model), tiny_model) is None


def test_changes_stay_where_they_are_in_a_long_recording() -> None:
    model = tt.load_model()
    sound, asked, _ = played_with_changes(model, 7.0)
    long = sound.repeat(8)
    found = estimate_effort_changes(long, tt.analyze(long, SAMPLE_RATE, model), model)
    assert found is not None
    first, last = found[asked.n_frames : 2 * asked.n_frames], found[-2 * asked.n_frames : -asked.n_frames]
    assert float((first - last).abs().mean()) < 0.1 < float(first.std())


def test_controls_of_another_recording_are_refused(tiny_model: TimbreModel) -> None:
    sound = melody([69, 72])
    heard = tt.analyze(sound, SAMPLE_RATE, tiny_model)
    with pytest.raises(ControlsError, match="those of the whole recording are wanted"):
        estimate_effort_changes(sound[: len(sound) // 2], heard, tiny_model)


def played_with_movement(model: TimbreModel, *, depth_db: float = 4.0) -> tuple[torch.Tensor, tt.Controls, torch.Tensor]:
    """A trumpet whose spectrum tilts to and fro three times a second: sound, controls, movement (n_frames, 11)."""
    strongest_db = float(model.quantiles[model.find("trumpet"), -1])
    asked = make_controls([60, 62, 64], [strongest_db - 8.0] * 3, seconds=1.2)
    tilt = torch.linspace(-1.0, 1.0, len(BAND_EDGES_HZ) - 1)
    movement_db = depth_db * torch.sin(2.0 * torch.pi * 3.0 * torch.arange(asked.n_frames) / 100.0)[:, None] * tilt
    return torch.cat(list(model.play(asked, model.timbre("trumpet"), movement_db=movement_db))), asked, movement_db


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_movement_is_heard_again_whatever_the_gain(gain: float) -> None:
    model = tt.load_model()
    sound, _, movement_db = played_with_movement(model)
    heard = tt.analyze(gain * sound, SAMPLE_RATE, model)
    found = estimate_expression(gain * sound, heard, model)
    assert found is not None
    notes, loud = heard.note_frames(), slice(2, 8)  # bands in which a trumpet has partials
    held = torch.nn.functional.avg_pool1d(notes[None].float(), 31, 1, 15)[0] > 0.99  # attacks and ends move by themselves
    asked, got = movement_db[held][:, loud].flatten(), found[1][held][:, loud].flatten()
    assert float(torch.corrcoef(torch.stack([asked, got]))[0, 1]) > 0.75
    assert 0.5 < float(got @ asked / (asked @ asked)) < 0.9
    assert bool((found[1][~notes] == 0.0).all())


def test_what_is_different_all_through_a_note_is_no_movement() -> None:
    """Notes that another colour is laid on, each its own: that is the body of an instrument, and stays behind."""
    model = tt.load_model()
    sound, asked, _ = played_with_movement(model, depth_db=0.0)
    third = len(sound) // 3
    darker = torch.nn.functional.conv1d(sound[None, None], torch.ones(1, 1, 9) / 9.0, padding=4)[0, 0]
    mixed = torch.cat([sound[:third], darker[third : 2 * third], sound[2 * third :]])
    plain, coloured = (estimate_expression(one, tt.analyze(one, SAMPLE_RATE, model), model) for one in (sound, mixed))
    assert plain is not None and coloured is not None
    assert float((plain[1] - coloured[1])[asked.note_frames()].abs().median()) < 0.3


def test_movement_leaves_the_level() -> None:
    model = tt.load_model()
    (moved, asked, _), (still, *_) = (played_with_movement(model, depth_db=depth) for depth in (4.0, 0.0))
    levels = [loudness_db(sound, asked.grid)[asked.note_frames()] for sound in (moved, still)]
    assert float((levels[0] - levels[1]).abs().median()) < 0.3
    assert float((moved - still).abs().max()) > 0.01


def test_movement_goes_into_the_arrangement() -> None:
    model = tt.load_model()
    _, asked, movement_db = played_with_movement(model)
    target = tt.find_target(model, SAMPLE_RATE, to="flute")
    still, half, as_played, more = (tt.arrange(asked, target, dynamics=amount, movement_db=movement_db) for amount in (0.0, 0.5, 1.0, 2.0))
    assert half.movement_db is not None and torch.equal(half.movement_db, 0.5 * movement_db)
    assert as_played.movement_db is not None and torch.equal(as_played.movement_db, movement_db)
    assert more.movement_db is not None and torch.equal(more.movement_db, movement_db)  # swells grow, the spectrum moves no further
    assert target.fluctuation_db is not None and as_played.fluctuation_db is not None
    assert torch.equal(as_played.fluctuation_db, 0.5 * target.fluctuation_db)  # less chance where the player's own movement is known
    for one in (
        still,
        tt.arrange(asked, target, fit=False, movement_db=movement_db),
        tt.arrange(asked, target, movement_db=movement_db, likeness=0.0),
    ):
        assert one.movement_db is None and one.fluctuation_db is not None
        assert torch.equal(one.fluctuation_db, target.fluctuation_db)


def test_a_flute_is_like_a_flute_and_not_like_a_violin() -> None:
    """A violin takes little of what moves in a flute's spectrum."""
    model = tt.load_model()
    audio, sample_rate = tt.load_audio(ROOT / "examples" / "flute.flac")
    sound = at_rate(audio[: 6 * sample_rate], sample_rate, SAMPLE_RATE)
    heard = tt.analyze(sound, SAMPLE_RATE, model)
    targets = [tt.find_target(model, SAMPLE_RATE, to=name) for name in ("flute", "violin", "tuba")]
    flute, violin, tuba = (estimate_effort(sound, heard, model, target) for target in targets)
    alone = estimate_effort(sound, heard, model)
    assert flute and violin and tuba and alone
    assert flute.likeness > 0.5 and violin.likeness < 0.2 and tuba.likeness < 0.2 and alone.likeness == 1.0
    assert flute.dynamic_db == estimate_dynamic(sound, heard, model, targets[0])


def test_a_dynamic_that_is_told_leaves_the_movement() -> None:
    model = tt.load_model()
    sound, *_ = played_with_movement(model)
    heard, target = tt.analyze(sound, SAMPLE_RATE, model), tt.find_target(model, SAMPLE_RATE, to="flute")
    measured = measure_source(sound, heard, model, target, dynamic="p")
    assert measured["dynamic"] == "p" and measured["effort_change_db"] is None and measured["movement_db"].shape == (heard.n_frames, 11)
    assert "movement_db" not in measure_source(sound, heard, model, target, fit=False)


def test_where_no_partial_is_audible_noise_moves_alone() -> None:
    """A pitch above Nyquist: nothing but noise is left, and stays."""
    n_frames = 4
    piece = SynthParams(torch.full((n_frames,), 30000.0), torch.zeros(n_frames), torch.zeros(n_frames, 8), torch.full((n_frames, 65), 0.1))
    moved = next(moving([piece], torch.full((n_frames, 11), 6.0), SAMPLE_RATE))
    torch.testing.assert_close(moved.noise_magnitudes, torch.full((n_frames, 65), 0.1 * 10.0**0.3))
    assert not bool(moved.harmonic_distribution.any())
