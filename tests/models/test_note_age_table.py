"""The age of notes, and the table of what an instrument does in their course."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import make_model

from tonetransfer.audio.units import midi_to_hz
from tonetransfer.controls.controls import Controls
from tonetransfer.models.note_age_table import (
    LONGEST_AGE,
    LOUDEST_DB,
    LOWEST_MIDI,
    N_AGES,
    N_LEVELS,
    N_PITCHES,
    N_SEMITONES,
    SOFTEST_DB,
    NoteAgeTable,
    NoteClock,
    age_shares,
    expanded,
    looked_up,
    note_age,
    soft_one_hot,
)
from tonetransfer.training.reconstruction import Batch, decoded

RNG = np.random.default_rng(0)


def notes(*parts: tuple[float, float, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """f0 and loudness of (midi, dB, frames)."""
    midi, level = (
        torch.cat([torch.full((n,), value) for value, n in zip(values, [p[2] for p in parts], strict=True)])
        for values in ([p[0] for p in parts], [p[1] for p in parts])
    )
    return midi_to_hz(midi), level


def test_a_note_begins_where_pitch_leaps_or_loudness_rises() -> None:
    f0_hz, level = notes((60.0, -20.0, 40), (62.0, -20.0, 30), (62.0, -80.0, 10), (62.0, -20.0, 30), (62.0, -15.0, 30))
    age = note_age(f0_hz, level)
    begins = (age == 0).nonzero()[:, 0].tolist()
    assert begins == [0, 40, 41, 80, 81, 82]  # legato, and after a rest; 5 dB more is the same note
    assert age[39] == 39 and age[79] == 38 and age[-1] == 57


def test_vibrato_and_swells_begin_no_note() -> None:
    t = torch.arange(400) / 100.0
    f0_hz = midi_to_hz(69.0 + 0.95 * torch.sin(2 * math.pi * 6.0 * t))
    level = -30.0 + 12.0 * torch.sin(2 * math.pi * 1.5 * t)
    assert note_age(f0_hz, level).tolist() == [min(i, LONGEST_AGE) for i in range(400)]


def test_it_can_be_told_frame_by_frame() -> None:
    midi = np.float32(60.0 + 7.0 * np.repeat(RNG.random(60), RNG.integers(1, 40, 60)))
    level = np.float32(np.repeat(-20.0 - 60.0 * (RNG.random(80) < 0.3), 30))[: len(midi)]
    midi = midi[: len(level)]
    f0_hz = midi_to_hz(torch.from_numpy(midi))
    clock = NoteClock()
    for _ in range(2):
        clock.reset()
        ages = [clock.next(12.0 * math.log2(f / 440.0) + 69.0, float(db)) for f, db in zip(f0_hz.tolist(), level, strict=True)]
        assert ages == note_age(f0_hz, torch.from_numpy(level)).tolist()


def test_bumps_end_before_numbers_become_too_small_to_be_quick() -> None:
    """Products with numbers below 1e-38 take several times as long; an age and a semitone are multiplied."""
    midi, age = torch.linspace(10.0, 120.0, 1101), torch.arange(LONGEST_AGE + 1.0)
    pitch, ages = soft_one_hot(midi, 16.0, 112.0, 97), age_shares(age)
    assert float(pitch[pitch > 0.0].min() * ages[ages > 0.0].min()) > 1e-14
    exact = torch.exp(-0.5 * (midi.double()[:, None] - torch.arange(16.0, 113.0)).square())
    torch.testing.assert_close(pitch.double(), exact, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_pitch_and_level_add_up_at_an_age(shape: tuple[int, ...], learning: bool) -> None:
    register = NoteAgeTable(7).requires_grad_(learning)
    torch.nn.init.normal_(register.table, generator=torch.Generator().manual_seed(0))
    midi, level, age = torch.full(shape, 64.0), torch.full(shape, -30.0), torch.full(shape, 7.0)
    both = (register.at_pitch(midi) + register.at_level(level)).unflatten(-1, (N_AGES, 7))
    shares = soft_one_hot(torch.tensor(6.0), 0.0, 14.0, 15)  # 7 frames: place 6
    torch.testing.assert_close(register(midi, level, age), (shares[:, None] * both).sum(-2))


def test_an_attack_of_its_own_is_played_in_whatever_pieces() -> None:
    """What stands at ages 0 and 1 is heard where notes begin and nowhere else, and pieces of a track know when their note began."""
    model = make_model()
    f0_hz, level = notes((60.0, -20.0, 50), (64.0, -20.0, 50))
    controls = Controls(f0_hz, torch.ones(100), level, model.grid)
    plain = model.decode(controls, model.timbre("violin"))
    model.decoder.add_note_age_table()
    register = model.decoder.register
    assert register is not None
    with torch.no_grad():
        register.table[:N_SEMITONES, :3, 1 + model.decoder.n_harmonics :] = 1.0  # noise
    own = model.decode(controls, model.timbre("violin"))
    louder = (own.noise_magnitudes / plain.noise_magnitudes).log().mean(-1)
    assert float(louder[[0, 50, 51]].min()) > 1.0 and float(louder[[20, 49, 80]].max()) < 0.01
    pieces = list(model.decode_stream(controls, model.timbre("violin"), frames_per_piece=37))
    torch.testing.assert_close(torch.cat([piece.noise_magnitudes for piece in pieces]), own.noise_magnitudes, rtol=1e-4, atol=1e-7)


def test_what_it_holds_at_another_level_is_not_held_to_the_dynamics_of_many_instruments() -> None:
    model = make_model()
    f0_hz, level = notes((60.0, -50.0, 20))
    tracks = f0_hz[None], f0_hz[None], note_age(f0_hz, level)[None], level[None]
    batch = Batch(*tracks, torch.zeros(1, 9600), torch.zeros(1, 10560))
    _, plain = decoded(model.decoder, model.timbre("violin"), batch, 40.0)
    model.decoder.add_note_age_table()
    assert model.decoder.register is not None
    with torch.no_grad():
        model.decoder.register.table[N_SEMITONES + 10] = torch.randn(N_AGES, model.decoder.head.out_features)  # around -9 dB
        _, own = decoded(model.decoder, model.timbre("violin"), batch, 40.0)
        louder = model.decode(Controls(f0_hz, torch.ones(20), level + 40.0, model.grid), model.timbre("violin"))
        model.decoder.register.table.zero_()
        before = model.decode(Controls(f0_hz, torch.ones(20), level + 40.0, model.grid), model.timbre("violin"))
    assert plain is not None and own is not None
    torch.testing.assert_close(own, plain.detach(), rtol=0, atol=1e-5)
    assert float((louder.harmonic_distribution - before.harmonic_distribution).abs().max()) > 0.01  # it is played, though


def coarse(n_tables: int, n_out: int, seed: int = 0) -> torch.Tensor:
    """Coarse note-age tables that say something everywhere."""
    return 0.3 * torch.randn(n_tables, N_PITCHES + N_LEVELS, N_AGES, n_out, generator=torch.Generator().manual_seed(seed))


def test_a_coarse_table_expanded_is_the_table_looked_up() -> None:
    tables = coarse(3, 7)
    generator = torch.Generator().manual_seed(1)
    midi, level = 10.0 + 110.0 * torch.rand(3, 200, generator=generator), -70.0 + 70.0 * torch.rand(3, 200, generator=generator)
    age = torch.randint(0, LONGEST_AGE + 1, (3, 200), generator=generator).float()
    found = looked_up(tables, midi, level, age)
    for table, said, at in zip(tables, found, zip(midi, level, age, strict=True), strict=True):
        register = NoteAgeTable(7)
        register.table = torch.nn.Parameter(expanded(table), requires_grad=False)
        torch.testing.assert_close(register(*at), said, atol=1e-5, rtol=0.0)


def test_coarse_pitches_are_eight_semitones_apart_and_joined_by_lines() -> None:
    table = torch.zeros(N_PITCHES + N_LEVELS, N_AGES, 1)
    table[5] = 1.0  # of 16 + 40 = 56
    fine = expanded(table)
    assert fine.shape == (N_SEMITONES + N_LEVELS, N_AGES, 1) and bool((fine[N_SEMITONES:] == 0.0).all())
    expected = (1.0 - (torch.arange(N_SEMITONES) + LOWEST_MIDI - 56.0).abs() / 8.0).clamp(min=0.0)
    torch.testing.assert_close(fine[:N_SEMITONES, 3, 0], expected)


def test_coarse_levels_are_those_of_the_register() -> None:
    table = torch.zeros(N_PITCHES + N_LEVELS, N_AGES, 1)
    table[N_PITCHES + 4] = 1.0
    level = SOFTEST_DB + 4 * (LOUDEST_DB - SOFTEST_DB) / (N_LEVELS - 1)
    at = torch.full((1, 1), level), torch.zeros(1, 1)
    both = [float(looked_up(table[None], torch.full((1, 1), 60.0), db, at[1])) for db in (at[0], at[0] - 20.0)]
    assert both[0] == pytest.approx(1.0 * float(age_shares(torch.zeros(1)).sum()), abs=1e-5) and abs(both[1]) < 0.01
