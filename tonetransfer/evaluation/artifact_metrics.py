"""The two ways in which generated sound fails, measured apart: what was added, and what was lost.

A distance that is symmetric cannot tell a result that hisses from one that is dull. Schaffer et al. ("Music separation enhancement
with generative modeling", ISMIR 2022) found that some systems add high-frequency noise while others lose high frequencies and
transients, and told them apart by the spectral roll-off. Here as there, the two signs of the difference are averaged by themselves, over
all audible frames, so that one kind of frame cannot make up for another.

* Roll-off: the frequency below which 95 % of a frame's magnitudes lie (librosa's definition; Hann 2048, hop 512); magnitudes 80 dB
  below the reference's largest count as nothing. Frames in which both can be heard, within 60 dB of it.
* Attack strength: the mean rise in dB from one frame to the next over 40 mel bands above 500 Hz (Hann 1024, hop 480, floored 60 dB
  below the reference's loudest band), as in librosa's onset strength. Attacks are its peaks, found by librosa; an attack is looked for
  30 ms around.
"""

from __future__ import annotations

import librosa
import numpy as np
import torch

from ..audio.stft import magnitudes, mel_filters

N_FFT, HOP_LENGTH = 2048, 512
ROLLOFF_SHARE = 0.95
ATTACK_FFT, ATTACK_HOP, ATTACK_MELS, ATTACK_LOWEST_HZ = 1024, 480, 40, 500.0
ATTACK_REACH_S = 0.03
LEAST_ATTACK_DB = 3.0  # mean rise over all bands: less is a swell


def added_high_frequency_hz(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Excess of the estimate's roll-off over the reference's [Hz]: hiss, and brightness that should not be there.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
        The longer one is cut.
    sample_rate : int [Hz]

    Returns
    -------
    float, >= 0
        Mean over audible frames of the positive differences, 0 for negative ones; 0 where no frame is audible.
    """
    return high_frequency_failures_hz(reference, estimate, sample_rate)[0]


def lost_high_frequency_hz(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Shortfall of the estimate's roll-off from the reference's [Hz]: dullness. Otherwise as :func:`added_high_frequency_hz`."""
    return high_frequency_failures_hz(reference, estimate, sample_rate)[1]


def high_frequency_failures_hz(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> tuple[float, float]:
    """:func:`added_high_frequency_hz` and :func:`lost_high_frequency_hz` at once."""
    difference_hz = _rolloff_difference_hz(reference, estimate, sample_rate)
    return _mean(np.maximum(difference_hz, 0.0)), _mean(np.maximum(-difference_hz, 0.0))


def lost_transients_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Weakening of the reference's attacks in the estimate [dB].

    Parameters
    ----------
    reference, estimate : Tensor [shape=(n_samples,)]
        The longer one is cut.
    sample_rate : int [Hz]

    Returns
    -------
    float, >= 0
        Mean over the reference's attacks; attacks that are stronger count 0. 0 where there is no attack.
    """
    return transient_failures_db(reference, estimate, sample_rate)[1]


def added_transients_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> float:
    """Weakening of the estimate's attacks in the reference [dB]: clicks. Otherwise as :func:`lost_transients_db`."""
    return transient_failures_db(reference, estimate, sample_rate)[0]


def transient_failures_db(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> tuple[float, float]:
    """:func:`added_transients_db` and :func:`lost_transients_db` at once."""
    x, y = _attack_strengths(reference, estimate, sample_rate)
    return _missing_db(y, x, sample_rate), _missing_db(x, y, sample_rate)


def attack_times_s(audio: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Instants of a recording's attacks [s], rising.

    Parameters
    ----------
    audio : Tensor [shape=(n_samples,)]
    sample_rate : int [Hz]

    Returns
    -------
    ndarray [shape=(n_attacks,)]
    """
    return _attack_frames(_attack_strengths(audio, audio, sample_rate)[0], sample_rate) * ATTACK_HOP / sample_rate


def _rolloff_difference_hz(reference: torch.Tensor, estimate: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Estimate minus reference, in the frames that can be heard in both."""
    n_samples = min(len(reference), len(estimate))
    x, y = (magnitudes(a[:n_samples], N_FFT, HOP_LENGTH) for a in (reference, estimate))
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
    n_samples = min(len(reference), len(estimate))
    filters = mel_filters(sample_rate, ATTACK_FFT, ATTACK_MELS, ATTACK_LOWEST_HZ, sample_rate / 2.0)
    bands = [filters.T @ magnitudes(a[:n_samples], ATTACK_FFT, ATTACK_HOP) for a in (reference, estimate)]
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
