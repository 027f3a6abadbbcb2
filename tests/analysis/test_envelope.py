import numpy as np
import pytest

from tonetransfer.analysis.envelope import ENVELOPE_RATE, Adsr, amplitude_envelope, find_adsr, temporal_centroid_s, window_s

SAMPLE_RATE = 48000


def adsr_envelope(rate, *, attack_s, decay_s=0.0, sustain=1.0, hold_s=0.4, release_s=0.2, before_s=0.05, after_s=0.1):
    corners = np.cumsum([0.0, before_s, attack_s, decay_s + 1e-6, hold_s, release_s, after_s])
    levels = [0.0, 0.0, 1.0, sustain, sustain, 0.0, 0.0]
    return np.interp(np.arange(round(corners[-1] * rate)) / rate, corners, levels)


@pytest.mark.parametrize("attack_s", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("release_s", [0.02, 0.3])
def test_parts_are_those_that_were_drawn(attack_s, release_s):
    found = find_adsr(adsr_envelope(ENVELOPE_RATE, attack_s=attack_s, decay_s=0.1, sustain=0.6, release_s=release_s))
    assert found.onset_s == pytest.approx(0.05, abs=0.003)
    assert found.attack_s == pytest.approx(attack_s, rel=0.05, abs=0.001)
    assert found.release_s == pytest.approx(release_s, rel=0.05, abs=0.001)
    assert found.decay_s == pytest.approx(0.1, rel=0.05)
    assert found.sustain_s == pytest.approx(0.4, rel=0.05)
    assert found.sustain_db == pytest.approx(20 * np.log10(0.6), abs=0.1)
    assert found.log_attack_time == pytest.approx(np.log10(attack_s), abs=0.1)


@pytest.mark.parametrize("f0_hz", [110.0, 440.0])
@pytest.mark.parametrize("attack_s", [0.03, 0.1, 0.3])
def test_attack_of_sound_is_freed_of_the_smoothing(f0_hz, attack_s):
    drawn = adsr_envelope(SAMPLE_RATE, attack_s=attack_s)
    audio = drawn * np.sin(2 * np.pi * f0_hz * np.arange(len(drawn)) / SAMPLE_RATE)
    envelope = amplitude_envelope(audio, SAMPLE_RATE, f0_hz)
    assert find_adsr(envelope, smoothing_s=window_s(f0_hz)).attack_s == pytest.approx(attack_s, rel=0.05)


def test_a_sudden_start_reads_a_few_milliseconds_at_most():
    audio = np.concatenate([np.zeros(4800), np.sin(2 * np.pi * 440 * np.arange(24000) / SAMPLE_RATE)])
    found = find_adsr(amplitude_envelope(audio, SAMPLE_RATE, 440.0), smoothing_s=window_s(440.0))
    assert found.attack_s <= 0.003 and found.onset_s == pytest.approx(0.1, abs=0.003)


def test_a_crescendo_after_the_attack_is_not_attack():
    rise = np.concatenate([np.zeros(50), np.linspace(0, 0.5, 40), np.linspace(0.5, 1.0, 1500), np.linspace(1, 0, 100)])
    assert find_adsr(rise).attack_s == pytest.approx(0.04, rel=0.2)


def test_a_swell_after_a_soft_beginning_is_not_attack():
    soft_then_loud = np.concatenate([np.full(400, 0.18), np.linspace(0.18, 1.0, 400), np.ones(300)])
    soft_then_loud[20:380] += 0.04 * np.hanning(360)
    assert find_adsr(soft_then_loud).attack_s == 0


def test_a_slow_attack_is_one():
    swell = np.concatenate([np.zeros(100), np.linspace(0, 1, 1500), np.linspace(1, 0, 200)])
    assert find_adsr(swell).attack_s == pytest.approx(1.5, rel=0.05)


def test_a_plucked_note_has_attack_and_release_and_no_sustain():
    time = np.arange(2000) / ENVELOPE_RATE
    found = find_adsr(np.concatenate([np.zeros(20), np.linspace(0, 1, 10), np.exp(-time / 0.2)]))
    assert found.attack_s == pytest.approx(0.01, abs=0.002)
    assert 0.2 < found.release_s + found.decay_s < 0.7
    assert found.sustain_s < 0.2


def test_a_slurred_note_has_no_attack():
    found = find_adsr(np.concatenate([np.linspace(0.6, 1.0, 100), np.ones(300), np.linspace(1, 0, 50)]))
    assert found.attack_s == 0 and found.log_attack_time == -3
    assert found.release_s == pytest.approx(0.05, rel=0.1)


def test_envelope_reads_the_amplitude_of_a_sine():
    sine = 0.25 * np.sin(2 * np.pi * 196 * np.arange(24000) / SAMPLE_RATE)
    envelope = amplitude_envelope(sine, SAMPLE_RATE, 196.0)
    assert len(envelope) == 500
    np.testing.assert_allclose(envelope[20:-20], 0.25, rtol=2e-3)


def test_temporal_centroid_of_a_box_is_its_middle():
    assert temporal_centroid_s(np.concatenate([np.zeros(100), np.ones(401)]), 0.1) == pytest.approx(0.2)
    assert temporal_centroid_s(np.zeros(10)) == 0


@pytest.mark.parametrize(
    "envelope", [np.zeros(0), np.zeros(1), np.zeros(500), np.ones(1), np.ones(300), np.eye(1, 300)[0], np.linspace(0, 1, 300)]
)
def test_odd_envelopes_give_finite_parts(envelope):
    found = find_adsr(envelope, smoothing_s=0.01)
    assert all(np.isfinite(value) for value in (*vars(found).values(), found.log_attack_time))
    assert min(found.onset_s, found.attack_s, found.decay_s, found.sustain_s, found.release_s) >= 0
    assert found == Adsr() or envelope.max(initial=0) > 0
