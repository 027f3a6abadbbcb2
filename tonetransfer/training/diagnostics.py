"""Diagnostics of trainings that fail, and what to do about it.

Each test looks at the figures of the validations so far and says in one line what goes wrong, by which figure it shows, and what helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SILENT_DB = -30.0  # notes that come out so much softer than asked for are not heard
DRIFT_DB = 3.0  # what playing corrects anyway is 12 dB, but dynamics suffer long before
HARMONIC_SHARE = 0.3  # of the energy of notes; a breathy flute has over 0.9
HARMONIC_FALL = 0.6  # times the share that training began with
WORSE = 1.05  # than the best validation
WORSE_CHECKS = 3  # in a row


@dataclass(frozen=True)
class Check:
    """One validation.

    Parameters
    ----------
    step : int
    loss, train_loss : float
        On what is held out, and the mean over the steps since the last validation.
    lsd_db : float
        Log-spectral distance on what is held out.
    level_off_db, loudness_error_db : float
        Of notes, played re asked: the median, and the mean of its size.
    harmonic_share : float, in [0, 1]
        Of the energy of notes.
    """

    step: int
    loss: float
    train_loss: float
    lsd_db: float
    level_off_db: float
    loudness_error_db: float
    harmonic_share: float


def find_problems(checks: Sequence[Check]) -> dict[str, str]:
    """Find what is wrong now, by name; `checks` in the order of their steps, the first before any training.

    What a single check shows may pass; two in a row, after training has begun, are a problem.
    """
    found: dict[str, str] = {}
    first, last, newest = checks[0], checks[-1], checks[1:][-2:]
    if len(newest) < 2:
        return found
    if all(check.level_off_db < SILENT_DB for check in newest):
        found["silence"] = (
            f"only silence comes out: notes are {-last.level_off_db:.0f} dB softer than the recordings. Begin anew with a tenth of "
            "train.learning_rate, or from the bundled weights (train.start); then see what `tonetransfer doctor` says of the recordings"
        )
    elif all(abs(check.level_off_db) > DRIFT_DB for check in newest):
        found["loudness"] = (
            f"loudness drifts: notes come out {abs(last.level_off_db):.1f} dB too {'loud' if last.level_off_db > 0 else 'soft'}. Lower "
            "train.learning_rate, or raise train.coupling_weight"
        )
    least = max(HARMONIC_SHARE, HARMONIC_FALL * first.harmonic_share)
    if "silence" not in found and all(check.harmonic_share < least for check in newest):
        found["noise"] = (
            f"the tone collapses into noise: harmonics hold {100 * last.harmonic_share:.0f} % of the energy of notes. The pitch of the "
            "recordings may be wrong (several notes at once, an octave off): see `tonetransfer doctor`; or lower train.learning_rate"
        )
    best = min(checks, key=lambda check: check.loss)
    since = [check for check in checks if check.step > best.step]
    if len(since) >= WORSE_CHECKS and all(c.loss > WORSE * best.loss and c.train_loss < best.train_loss for c in since[-WORSE_CHECKS:]):
        found["overfitting"] = (
            f"it learns the recordings by heart: on what is held out it was best at step {best.step} (LSD {best.lsd_db:.2f} dB, now "
            f"{last.lsd_db:.2f}). The best weights are kept; more recordings help, or train.moves=last"
        )
    return found
