import numpy as np
import pytest

from tonetransfer.analysis.envelope import Modulation, find_modulation, follow_swing

RATE = 100.0
NONE = Modulation()


def time(duration_s):
    return np.arange(round(duration_s * RATE)) / RATE


@pytest.mark.parametrize("rate_hz", [4.0, 5.5, 6.37, 8.0])
@pytest.mark.parametrize("extent", [10.0, 40.0, 120.0])
@pytest.mark.parametrize("duration_s", [0.6, 1.0, 3.0])
def test_rate_and_extent_are_those_asked_for(rate_hz, extent, duration_s):
    contour = 30.0 + extent * np.sin(2 * np.pi * rate_hz * time(duration_s) + 1.0)
    found = find_modulation(contour, RATE, least_extent=5.0)
    assert found.rate_hz == pytest.approx(rate_hz, rel=0.005)
    assert found.extent == pytest.approx(extent, rel=0.005)
    assert found.onset_s == 0


def test_a_slow_bend_and_noise_under_the_vibrato_do_no_harm():
    t = time(3.0)
    bend = 60 * (t - 1.5) + 20 * (t - 1) ** 2
    found = find_modulation(bend + 40 * np.sin(2 * np.pi * 5.5 * t) + np.random.default_rng(0).normal(0, 6, len(t)), RATE, least_extent=5.0)
    assert (found.rate_hz, found.extent) == (pytest.approx(5.5, rel=0.02), pytest.approx(40, rel=0.03))


@pytest.mark.parametrize("onset_s", [0.3, 0.6, 1.2])
def test_onset_of_a_late_vibrato(onset_s):
    t = time(3.0)
    growth = np.clip((t - onset_s + 0.1) / 0.2, 0, 1)  # half grown at onset_s
    found = find_modulation(growth * 40 * np.sin(2 * np.pi * 5.5 * t), RATE, least_extent=5.0)
    assert found.onset_s == pytest.approx(onset_s, abs=0.06)
    assert found.extent == pytest.approx(40, rel=0.03)
    assert found.duration_s == pytest.approx(3.0 - onset_s, abs=0.35)


def test_vibrato_of_changing_rate_and_depth_reads_its_middle():
    t = time(4.0)
    phase = 2 * np.pi * np.cumsum(np.linspace(5.0, 6.5, len(t))) / RATE
    found = find_modulation(np.linspace(30, 40, len(t)) * np.sin(phase), RATE, least_extent=5.0)
    assert (found.rate_hz, found.extent) == (pytest.approx(5.75, rel=0.02), pytest.approx(35, rel=0.03))


@pytest.mark.parametrize(
    "contour",
    [
        np.zeros(300),
        np.linspace(0, 200, 300),
        200 / (1 + np.exp(-(time(3.0) - 1.5) / 0.05)),  # a slide
        np.random.default_rng(3).normal(0, 10, 300),
        np.cumsum(np.random.default_rng(4).normal(0, 5, 300)),
        100.0 * (time(3.0) > 1.5),
        40 * np.sin(2 * np.pi * 1.0 * time(3.0)),  # slower than any vibrato
        40 * np.sin(2 * np.pi * 15.0 * time(3.0)),
        4 * np.sin(2 * np.pi * 5.5 * time(3.0)),  # smaller than asked for
        40 * np.sin(2 * np.pi * 5.5 * time(0.25)),  # too short to tell
        np.zeros(1),
        np.zeros(0),
    ],
)
def test_what_is_no_vibrato_reads_zero(contour):
    assert find_modulation(contour, RATE, least_extent=5.0) == NONE


def test_swing_is_followed_frame_by_frame():
    wave = 40 * np.sin(2 * np.pi * 5.5 * time(2.0))
    swing = follow_swing(100.0 + wave, RATE)
    np.testing.assert_allclose(swing.value, wave, atol=0.5)
    assert (swing.share > 0.99).all()
    assert all(len(values) == len(wave) for values in (swing.rate_hz, swing.extent, swing.share, swing.value))
