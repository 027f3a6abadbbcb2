"""Metrics of failures and of liveliness: how a result differs from the recording it is compared with.

A distance says how far apart two sounds are; these say in which direction. All are differences *estimate minus reference* unless a
function says otherwise, so that 0 is right, hiss is positive and dullness negative. Nothing is aligned or brought to one level here;
:func:`tonetransfer.evaluation.recordings.compare_resynthesis` does both first.

* Failures: what was added, and what was lost. A distance that is symmetric cannot tell a result that hisses from one that is dull. Schaffer
  et al. ("Music separation enhancement with generative modeling", ISMIR 2022) found that some systems add high-frequency noise while others
  lose high frequencies and transients, and told them apart by the spectral roll-off. Here as there, the two signs of the difference are
  averaged by themselves, over all audible frames, so that one kind of frame cannot make up for another.
* Roll-off: the frequency below which 95 % of a frame's magnitudes lie (librosa's definition; Hann 2048, hop 512); magnitudes 80 dB
  below the reference's largest count as nothing. Frames in which both can be heard, within 60 dB of it.
* Attack strength: the mean rise in dB from one frame to the next over 40 mel bands above 500 Hz (Hann 1024, hop 480, floored 60 dB
  below the reference's loudest band), as in librosa's onset strength. Attacks are its peaks, found by librosa; an attack is looked for
  30 ms around.
* Lag: the shift within 40 ms at which the changes of 40 mel bands correlate best (Hann 1024, steps of 2.5 ms).
* Bands and centroid: power spectra (Hann 2048, hop 512) over the frames whose strongest bin is within 40 dB of the reference's largest.
* Movement: how far partials 2 to 8 move against the whole sound, about 3 to 25 Hz (at 16 kHz, Hann 1024, hop 160: an average over
  64 ms; what an average over 250 ms follows is taken out), within notes of 0.6 s or more, without 80 ms at either end. Real players: 2 to
  3 dB; a synthesizer's steady tone: 0.
* Between the partials: mean power more than a quarter of f0 away from any partial re that within 28 Hz of one (at 16 kHz, Hann 2048), in
  frames with 60 ms of steady f0 on either side. Not defined below some 60 Hz, where the window cannot tell partials apart.
* Articulation: attacks as above, and the rises after dips of loudness of 6 dB that are not
  tremolo, as in :mod:`tonetransfer.analysis.notes`; two within 80 ms are one, and the first onset does not count.

f0 [Hz] and `sounding`, the frames in which a note can be heard, are those of the reference, 100 a second. What has no meaning (movement,
say, of a recording without a long note) is None.
"""

from __future__ import annotations

from collections.abc import Iterator

import librosa
import numpy as np
import torch
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from ..analysis.notes import SAME_BORDER_S, level_dips, runs
from ..audio.files import resample
from ..audio.frames import FrameGrid
from ..audio.loudness import loudness_db
from ..audio.stft import magnitudes, mel_filters, same_length

ROLLOFF_SHARE = 0.95
ATTACK_FFT, ATTACK_HOP, ATTACK_MELS, ATTACK_LOWEST_HZ = 1024, 480, 40, 500.0
ATTACK_REACH_S = 0.03
LEAST_ATTACK_DB = 3.0  # mean rise over all bands: less is a swell
FRAME_RATE = 100
N_FFT, HOP_LENGTH = 2048, 512
BANDS_HZ = ((2000.0, 5000.0), (5000.0, 8000.0), (8000.0, 12000.0), (12000.0, 16000.0))
LOUD_DB, FAINTEST_DB = -40.0, -120.0  # re the largest magnitude; re the energy of all bands
LAG_FFT, LAG_MELS, LAG_RATE, LONGEST_LAG_S = 1024, 40, 400, 0.04
PARTIAL_RATE = 16000
MOVEMENT_FFT, BETWEEN_FFT = 1024, 2048
PARTIALS, HIGHEST_PARTIAL_HZ = range(2, 9), 7000.0
STEP_CENTS, EDGE_FRAMES, SHORTEST_NOTE_FRAMES, SWELL_FRAMES = 60.0, 8, 40, 25
STEADY_FRAMES, STEADY_CENTS, FEWEST_STEADY = 13, 80.0, 6
NEAR_HZ, FAR_SHARE, LOWEST_BETWEEN_HZ = 28.0, 0.25, 60.0
SILENT_DB, GHOST_FLOOR_DB, FEWEST_SILENT = -45.0, -80.0, 11  # re the loudest frame
DEEPEST_DIP_DB, RISE_S, FIRST_ONSET_S, ARTICULATION_REACH_S = -50.0, 0.25, 0.1, 0.05


def high_frequency_failures_hz(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> tuple[float, float]:
    """Excess of the estimate's roll-off over the reference's [Hz], hiss, and its shortfall, dullness, of recordings (n_samples,).

    Means over audible frames of the positive and of the negative differences, 0 for those of the other sign; 0 where none is audible. The
    longer recording is cut.
    """
    difference_hz = _rolloff_difference_hz(reference, estimate, sample_rate)
    return _mean(np.maximum(difference_hz, 0.0)), _mean(np.maximum(-difference_hz, 0.0))


def transient_failures_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> tuple[float, float]:
    """Weakening of the estimate's attacks in the reference [dB], clicks, and of the reference's in the estimate, smeared beginnings.

    Means over attacks, of recordings (n_samples,), the longer one cut; those that are stronger count 0. 0 where there is no attack.
    """
    x, y = _attack_strengths(reference, estimate, sample_rate)
    return _missing_db(y, x, sample_rate), _missing_db(x, y, sample_rate)


def attack_times_s(audio: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Instants of the attacks in a recording (n_samples,) [s], rising."""
    return _attack_frames(_attack_strengths(audio, audio, sample_rate)[0], sample_rate) * ATTACK_HOP / sample_rate


def _rolloff_difference_hz(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Estimate minus reference, in the frames that can be heard in both."""
    x, y = (magnitudes(audio, N_FFT, HOP_LENGTH) for audio in same_length(reference, estimate))
    largest = float(x.max())
    if largest <= 0.0:
        return np.zeros(0)
    heard = torch.minimum(x.amax(dim=0), y.amax(dim=0)) >= largest * 1e-3
    if not bool(heard.any()):
        return np.zeros(0)
    rolloffs = [
        librosa.feature.spectral_rolloff(
            S=torch.where(spectrum >= largest * 1e-4, spectrum, 0.0)[:, heard].numpy(), sr=sample_rate, roll_percent=ROLLOFF_SHARE
        )[0]
        for spectrum in (x, y)
    ]
    return rolloffs[1] - rolloffs[0]


def _attack_strengths(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Attack strength [dB] of both, each (n_frames,)."""
    filters = mel_filters(sample_rate, ATTACK_FFT, ATTACK_MELS, ATTACK_LOWEST_HZ, sample_rate / 2.0)
    bands = [filters.T @ magnitudes(audio, ATTACK_FFT, ATTACK_HOP) for audio in same_length(reference, estimate)]
    floor = float(bands[0].max().clamp(min=1e-9)) * 1e-3
    levels = [20.0 * torch.log10(band.clamp(min=floor)) for band in bands]
    rises = [torch.nn.functional.pad(level.diff(dim=1).clamp(min=0.0).mean(dim=0), (1, 0)).double().numpy() for level in levels]
    return rises[0], rises[1]


def _attack_frames(strength: np.ndarray, sample_rate: int) -> np.ndarray:
    """Frames at the peaks of an attack strength (n_frames,), rising."""
    if len(strength) < 3:
        return np.zeros(0, int)
    found = librosa.onset.onset_detect(
        onset_envelope=strength, sr=sample_rate, hop_length=ATTACK_HOP, normalize=False, delta=LEAST_ATTACK_DB
    )
    return found.astype(int)


def _missing_db(strength: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Part of the attacks of one that is missing in the other [dB]."""
    reach = round(ATTACK_REACH_S * sample_rate / ATTACK_HOP)
    around = [slice(max(peak - reach, 0), peak + reach + 1) for peak in _attack_frames(strength, sample_rate)]
    return _mean(np.array([max(float(strength[near].max() - other[near].max()), 0.0) for near in around]))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def find_lag_s(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Delay of the estimate, of recordings (n_samples,) [s], in steps of 2.5 ms, within 40 ms; 0 where nothing ever changes."""
    x, y = (_band_changes(audio, sample_rate) for audio in (reference, estimate))
    n_frames, furthest = min(x.shape[1], y.shape[1]), round(LONGEST_LAG_S * LAG_RATE)
    best, found = 0.0, 0
    for shift in sorted(range(-furthest, furthest + 1), key=abs):
        earlier, later = x[:, max(0, -shift) : n_frames - max(0, shift)], y[:, max(0, shift) : n_frames - max(0, -shift)]
        scale = np.sqrt((earlier**2).sum() * (later**2).sum())
        if scale > 0.0 and (score := float((earlier * later).sum() / scale)) > best + 1e-6:
            best, found = score, shift
    return found / LAG_RATE


def band_differences_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> list[float]:
    """Energy of the bands `BANDS_HZ`, estimate minus reference [dB], of recordings (n_samples,); the longer one is cut.

    Energies 120 dB below the whole count as that; 0 where the reference is silent.
    """
    powers = _loud_powers(reference, estimate)
    hertz = torch.linspace(0.0, sample_rate / 2.0, N_FFT // 2 + 1)
    floor = float(powers[0].sum()) * 10.0 ** (FAINTEST_DB / 10.0) + 1e-30
    found = []
    for low, high in BANDS_HZ:
        inside = (hertz >= low) & (hertz < high)
        x, y = (power[inside].sum().clamp(min=floor) for power in powers)
        found.append(float(10.0 * torch.log10(y / x)))
    return found


def centroid_difference_octaves(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Spectral centroid of the power, estimate minus reference [octaves], mean over loud frames; 0 where the reference is silent."""
    x, y = _loud_powers(reference, estimate)
    if not x.shape[1]:
        return 0.0
    hertz = torch.linspace(0.0, sample_rate / 2.0, N_FFT // 2 + 1, dtype=torch.float64)
    octaves = [torch.log2((hertz @ power + 1e-18) / (power.sum(0) + 1e-18)) for power in (x, y)]
    return float((octaves[1] - octaves[0]).mean())


def ghost_difference_db(reference_db: torch.Tensor, estimate_db: torch.Tensor) -> float | None:
    """Loudness (n_frames,) where the reference is silent, estimate minus reference [dB]: tails and notes that nobody played.

    Frames 45 dB below the reference's loudest are silent; 80 dB below it counts as nothing.
    """
    loudest = float(reference_db.max())
    silent = reference_db < loudest + SILENT_DB
    if int(silent.sum()) < FEWEST_SILENT:
        return None
    x, y = (one[silent].double().clamp(min=loudest + GHOST_FLOOR_DB) for one in (reference_db, estimate_db))
    return float((y - x).mean())


def partial_movement_db(audio: torch.Tensor, sample_rate: int, f0_hz: np.ndarray, sounding: np.ndarray) -> float | None:
    """Movement of partials against the whole sound [dB rms], median over notes and partials 2 to 8.

    F0 and where it sounds are (n_frames,).
    """
    power, f0_hz, sounding = _powers_and_pitch(audio, sample_rate, MOVEMENT_FFT, f0_hz, sounding)
    leap = np.abs(1200.0 * np.log2(f0_hz / np.concatenate([f0_hz[:1], f0_hz[:-1]]))) >= STEP_CENTS
    found = [
        movement
        for note in runs(sounding & ~leap)
        if note.stop - note.start >= SHORTEST_NOTE_FRAMES + 2 * EDGE_FRAMES
        for movement in _note_movements(*(one[..., note.start + EDGE_FRAMES : note.stop - EDGE_FRAMES] for one in (power, f0_hz)))
    ]
    return float(np.median(found)) if found else None


def between_partials_db(audio: torch.Tensor, sample_rate: int, f0_hz: np.ndarray, sounding: np.ndarray) -> float | None:
    """Level between the partials re the partials [dB], median over steady frames. Arguments as for :func:`partial_movement_db`."""
    power, f0_hz, sounding = _powers_and_pitch(audio, sample_rate, BETWEEN_FFT, f0_hz, sounding)
    if len(f0_hz) <= STEADY_FRAMES:
        return None
    hertz = np.arange(power.shape[0]) * PARTIAL_RATE / BETWEEN_FFT
    width_cents = 1200.0 * np.log2(maximum_filter1d(f0_hz, STEADY_FRAMES) / minimum_filter1d(f0_hz, STEADY_FRAMES))
    steady = minimum_filter1d(sounding.astype(np.uint8), STEADY_FRAMES, mode="constant").astype(bool)
    found = []
    for frame in np.flatnonzero(steady & (width_cents <= STEADY_CENTS) & (f0_hz > LOWEST_BETWEEN_HZ)):
        f0 = f0_hz[frame]
        off = np.abs(hertz - np.round(hertz / f0) * f0)
        near = (off <= min(NEAR_HZ, FAR_SHARE * f0)) & (hertz > f0 / 2.0)
        far = (off > FAR_SHARE * f0) & (hertz > LOWEST_BETWEEN_HZ)
        found.append(10.0 * np.log10(power[far, frame].mean() / (power[near, frame].mean() + 1e-18) + 1e-12))
    return float(np.median(found)) if len(found) >= FEWEST_STEADY else None


def articulations_s(audio: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Instants at which something is played anew [s], rising: attacks, and rises after dips between notes; without the first onset."""
    level = loudness_db(audio, FrameGrid(sample_rate, sample_rate // FRAME_RATE)).double().numpy()
    level = np.maximum(level, level.max() + DEEPEST_DIP_DB)
    attacks = attack_times_s(audio, sample_rate)
    rises = [_rise_after(level, dip) / FRAME_RATE for dip in level_dips(level, FRAME_RATE)]
    first = float(np.argmax(level > level.max() + LOUD_DB)) / FRAME_RATE
    found: list[float] = []
    for instant in [*attacks, *rises]:  # of an attack and a rise that are one, the attack, which is the more exact
        if instant > first + FIRST_ONSET_S and all(abs(instant - other) >= SAME_BORDER_S for other in found):
            found.append(float(instant))
    return np.array(sorted(found))


def articulation_recall(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float | None:
    """Share of the reference's articulations that the estimate has within 50 ms; :func:`articulations_s` says what they are."""
    wanted, heard = (articulations_s(audio, sample_rate) for audio in (reference, estimate))
    if not len(wanted):
        return None
    return float((np.abs(wanted[:, None] - heard[None]) <= ARTICULATION_REACH_S + 1e-6).any(axis=1).mean())


def _band_changes(audio: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Changes of the level of mel bands [dB] about their mean, (LAG_MELS, n_frames)."""
    filters = mel_filters(sample_rate, LAG_FFT, LAG_MELS, 0.0, sample_rate / 2.0)
    bands = (filters.T @ magnitudes(audio, LAG_FFT, sample_rate // LAG_RATE).square()).double().numpy()
    changes = np.diff(10.0 * np.log10(bands + 1e-7 * bands.max() + 1e-18), axis=1)
    return changes - changes.mean() if changes.size else changes


def _loud_powers(reference: torch.Tensor, estimate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Power spectra of both, float64, each (n_bins, n_loud_frames)."""
    x, y = (magnitudes(audio, N_FFT, HOP_LENGTH).double() for audio in same_length(reference, estimate))
    loud = x.amax(dim=0) > float(x.max()) * 10.0 ** (LOUD_DB / 20.0)
    return x[:, loud].square(), y[:, loud].square()


def _powers_and_pitch(
    audio: torch.Tensor, sample_rate: int, n_fft: int, f0_hz: np.ndarray, sounding: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Power spectra (n_bins, n_frames) at `PARTIAL_RATE`, 100 a second, and pitch of as many frames."""
    power = magnitudes(resample(audio, sample_rate, PARTIAL_RATE), n_fft, PARTIAL_RATE // FRAME_RATE).double().square().numpy()
    n_frames = min(power.shape[1], len(f0_hz), len(sounding))
    return power[:, :n_frames], f0_hz[:n_frames].astype(np.float64), sounding[:n_frames]


def _note_movements(power: np.ndarray, f0_hz: np.ndarray) -> Iterator[float]:
    """Movement [dB rms] of each partial of a note, of power (n_bins, n_frames)."""
    total_db = 10.0 * np.log10(power.sum(axis=0) + 1e-12)
    for k in PARTIALS:
        if f0_hz.max() * k > HIGHEST_PARTIAL_HZ:
            return
        nearest = np.clip(np.round(f0_hz * k * MOVEMENT_FFT / PARTIAL_RATE).astype(int), 2, power.shape[0] - 3)
        around = power[nearest + np.arange(-2, 3)[:, None], np.arange(len(f0_hz))]  # (5, n_frames)
        level_db = 10.0 * np.log10(around.sum(axis=0) + 1e-12) - total_db
        yield float(np.std(level_db - uniform_filter1d(level_db, SWELL_FRAMES, mode="nearest")))


def _rise_after(level_db: np.ndarray, dip: int) -> int:
    """Frame of the steepest rise after a dip."""
    following = level_db[dip : dip + round(RISE_S * FRAME_RATE) + 1]
    return int(dip + 1 + np.argmax(np.diff(following))) if len(following) > 1 else int(dip)
