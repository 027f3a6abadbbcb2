"""Callbacks of fine-tuning: progress, checkpoints, sound to listen to, and diagnostics of trainings that fail.

A diagnostic looks at the figures of the validations so far and says in one line what goes wrong, by which figure it shows, and what helps.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from tqdm import tqdm

from ..atomic import replacing
from ..audio.stft import magnitudes
from ..errors import SettingsError

LAST = "last.ckpt"
LISTENED = 4  # excerpts
LOWEST_DB = -80.0  # black in a spectrogram
SILENT_DB = -30.0  # notes that come out so much softer than asked for are not heard
DRIFT_DB = 3.0  # what playing corrects anyway is 12 dB, but dynamics suffer long before
HARMONIC_SHARE = 0.3  # of the energy of notes; a breathy flute has over 0.9
HARMONIC_FALL = 0.6  # times the share that training began with
WORSE = 1.05  # than the best validation
WORSE_CHECKS = 3  # in a row


class ValidateAndStop(Callback):
    """Validates after every so many steps, and ends the training when nothing becomes better. Stands before the other callbacks."""

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        if not module.checks:
            self._validate(trainer, module)
        trainer.should_stop = module.is_exhausted()  # a run that was killed when it had ended

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        module.update_average()
        if module.is_due():
            self._validate(trainer, module)
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(module.is_exhausted(), all=False)

    def _validate(self, trainer: lightning.Trainer, module: Any) -> None:
        figures = {key: value for key, value in asdict(module.validate()).items() if key != "step"}
        for logger in trainer.loggers if trainer.is_global_zero else ():
            logger.log_metrics(figures, trainer.global_step)
            logger.save()


class Bar(Callback):
    """Steps done, time left, and the newest figures, on stderr."""

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        self.bar = tqdm(total=trainer.max_steps, initial=trainer.global_step, unit="step", disable=None if trainer.is_global_zero else True)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.bar.update(trainer.global_step - self.bar.n)
        if module.is_due():
            best = min(module.checks, key=lambda check: check.loss)
            self.bar.set_postfix_str(f"held out: LSD {module.checks[-1].lsd_db:.2f} dB, best at step {best.step}")

    def on_train_end(self, trainer: lightning.Trainer, module: Any) -> None:
        self.bar.close()


class Diagnostics(Callback):
    """Callback that reports a problem once, when it begins."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not (module.is_due() and trainer.is_global_zero):
            return
        found = find_problems(module.checks)
        for name in sorted(found.keys() - self.said):
            tqdm.write(f"alarm at step {trainer.global_step}: {found[name]}", file=sys.stderr)
        self.said |= found.keys()

    def state_dict(self) -> dict[str, Any]:
        return {"said": sorted(self.said)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.said = set(state_dict["said"])


class Keep(Checkpoint):
    """The whole state of a run after each validation, whole or not at all.

    Callbacks of this kind come last: what the others do at a step is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LAST

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not module.is_due():
            return
        if trainer.is_global_zero:
            try:
                with replacing(self.path, alone=True) as part:
                    trainer.save_checkpoint(part)
            except OSError as error:
                what = f"{self.path} cannot be written ({error.strerror or error})"
                raise SettingsError(f"{what}; the run is kept as it was: make room, and give the same command again") from error
        else:
            trainer.save_checkpoint(self.path)  # writes nothing, but every process has to be here


def check_state(path: Path) -> None:
    """Refuse, by a SettingsError, a kept state that is not whole; every part of it has a check sum."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        damaged = " ".join(str(error).split()) or type(error).__name__
    if damaged:
        raise SettingsError(f"{path}: is damaged ({damaged}), so the run cannot be gone on with; begin anew with --no-resume")


class Listening(Callback):
    """Audio and spectrograms of what is held out in TensorBoard: recorded, played, and its harmonics and noise apart."""

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not (module.is_due() and trainer.is_global_zero):
            return
        board = trainer.loggers[-1].experiment  # type: ignore[attr-defined]  # TensorBoard's writer
        held_out = module.held_out().to(module.device)
        with torch.no_grad():
            tone, noise = module.mean.parts(held_out, module.grid)
        for i in range(min(LISTENED, len(tone))):
            sounds = {"1 recorded": held_out.sound[i], "2 played": (tone + noise)[i], "3 harmonics": tone[i], "4 noise": noise[i]}
            for name, sound in sounds.items():
                board.add_audio(f"excerpt {i}/{name}", sound.cpu().clamp(-1, 1), trainer.global_step, module.grid.sample_rate)
            board.add_image(f"excerpt {i}/recorded, played, harmonics, noise", spectrograms(list(sounds.values())), trainer.global_step)
        board.flush()


def spectrograms(sounds: list[torch.Tensor]) -> np.ndarray:
    """Spectrograms of sounds (n_samples,) beside each other, low notes below, as one grey picture (1, height, width) in [0, 1]."""
    levels = [20.0 * torch.log10(magnitudes(sound.cpu(), 2048, 480) + 1e-3) for sound in sounds]
    loudest = max(float(level.max()) for level in levels)
    pictures = [((level - loudest) / -LOWEST_DB + 1.0).clamp(0, 1).flip(0)[::2] for level in levels]
    return torch.cat(pictures, dim=1)[None].numpy()


@dataclass(frozen=True)
class Check:
    """One validation."""

    step: int
    loss: float  # on what is held out
    train_loss: float  # mean over the steps since the last validation
    lsd_db: float  # log-spectral distance on what is held out
    level_off_db: float  # of notes, played re asked: the median
    loudness_error_db: float  # the mean of its size
    harmonic_share: float  # of the energy of notes


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
