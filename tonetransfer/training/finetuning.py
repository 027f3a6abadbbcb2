"""One instrument learned from a prepared folder: from the bundled weights, or from scratch.

The big sister of :func:`tonetransfer.pipeline.target.refine`: the same loss and the same hold on dynamics, but all of the decoder moves, a
running mean of it is what counts, and recordings that are held out say when to stop. What a step does follows from its number and the seed,
so that a run that was killed ends as it would have.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from ..audio.frames import FrameGrid
from ..audio.loudness import loudness_db
from ..audio.stft import log_spectral_distance_db
from ..errors import MissingDependencyError, SettingsError, WeightsError
from ..models.decoder import Decoder
from ..models.timbre_model import TimbreModel
from ..models.weights import leaves, load_model, read_notes, save_model, write_card
from ..synthesis.render import SynthParams, render_batch
from ..synthesis.reverb import Room, reverberate
from .callbacks import LAST, Bar, Check, Diagnostics, Keep, Listening, ValidateAndStop, check_state, find_problems
from .finetuning_data import FinetuningBatches, Material, PreparedFolder, instrument_heard
from .losses import FFT_SIZES, two_sizes
from .pretraining import half_precision
from .reconstruction import Batch, coupling_lost, decoded, drawn_shift_db, reconstruction_loss
from .settings import BUNDLED, FinetuningSettings, warm_cosine

REGISTER = "register.table"
LAST_LAYERS = ("head.weight", "head.bias", "film_before.bias", "film_after.bias", REGISTER)
WORTH_STEPS, EXCERPTS_EACH = 200, 4  # of a training for which another process is begun, and of a step for each
COUPLED_EVERY = 4  # steps; what holds on to dynamics moves slowly, and takes two more passes through the decoder
BOUND = ("train", "threads"), ("train", "output"), ("train", "devices"), ("train", "accelerator"), ("train", "tensorboard")  # may change


class LearnedInstrument(nn.Module):
    """Parameters that are learned: a timbre vector z (z_dim,), a decoder, and a room if one is wanted."""

    def __init__(self, decoder: Decoder, z: torch.Tensor, room: Room | None) -> None:
        super().__init__()
        self.decoder, self.z, self.room = decoder, nn.Parameter(z.clone()), room

    def parts(self, batch: Batch, grid: FrameGrid, *, half: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Harmonics and noise of excerpts as they are recorded, room and all, (batch, n_samples) each; their sum is the sound."""
        params, _ = self.params(batch, half=half)
        tone = replace(params, noise_magnitudes=torch.zeros_like(params.noise_magnitudes))
        noise = replace(params, amplitude=torch.zeros_like(params.amplitude))
        sounds = [self.in_room(render_batch(part, grid, batch.white)) for part in (tone, noise)]
        return sounds[0], sounds[1]

    def params(self, batch: Batch, shift_db: float | None = None, *, half: bool = False) -> tuple[SynthParams, torch.Tensor | None]:
        """As :func:`~tonetransfer.training.reconstruction.decoded`; `half`: the networks compute in bfloat16."""
        with torch.autocast(self.z.device.type, torch.bfloat16, enabled=half):
            return decoded(self.decoder, self.z, batch, shift_db)

    def in_room(self, sound: torch.Tensor) -> torch.Tensor:
        """A sound in the room, if there is one."""
        return sound if self.room is None else reverberate(sound, self.room.response())


class Finetuning(lightning.LightningModule):
    """One training run, which goes out from a model of one instrument, as :func:`beginning` makes it."""

    def __init__(self, settings: FinetuningSettings, material: Material, start: TimbreModel) -> None:
        super().__init__()
        self.settings, self.material, self.grid = settings, material, material.grid
        room = Room(settings.room.seconds, self.grid.sample_rate) if settings.room.learn else None
        self.voice = LearnedInstrument(deepcopy(start.decoder).train(), start.timbres[0], room)
        if self.voice.decoder.register is None and settings.train.moves != "z" and settings.train.register_learning_rate > 0.0:
            self.voice.decoder.add_note_age_table()
        self.learned = LearnedInstrument(deepcopy(start.decoder), start.timbres[0], None).requires_grad_(False)  # from many instruments
        self.mean, self.best = (deepcopy(self.voice).requires_grad_(False) for _ in range(2))
        self.voice.requires_grad_(False)
        self.moved = {key: value for key, value in self.voice.named_parameters() if _moves(key, settings.train.moves)}
        for value in self.moved.values():
            value.requires_grad_(True)
        self.largest = material.largest
        self.checks: list[Check] = []
        self.losses: list[float] = []
        self.in_half = False

    def on_fit_start(self) -> None:
        """Decide whether the networks compute in 16 bits."""
        precision = self.settings.train.precision
        self.in_half = half_precision(self.device) if precision == "auto" else precision == "bfloat16"

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Loss of one batch."""
        settings, step = self.settings.train, self.global_step
        rng = np.random.default_rng([settings.seed, step, 1])
        sizes = two_sizes(rng)
        kept = settings.coupling_weight > 0 and settings.start is not None and step % COUPLED_EVERY == 0
        shift_db = drawn_shift_db(rng) if kept else None
        params, change = self.voice.params(batch, shift_db, half=self.in_half)
        loss = self._reconstruction_loss(self.voice.in_room(render_batch(params, self.grid, batch.white)), batch, sizes)
        self.losses.append(float(loss.detach()))
        if shift_db is not None and change is not None:
            lost = coupling_lost(change, self.learned.decoder, self.learned.z, batch, shift_db)
            loss = loss + COUPLED_EVERY * settings.coupling_weight * lost
        return loss

    def _reconstruction_loss(self, sound: torch.Tensor, batch: Batch, sizes: tuple[int, ...]) -> torch.Tensor:
        heard = slice(self.material.lead * self.grid.hop_length, None)
        return reconstruction_loss(sound[:, heard], batch.sound[:, heard], self.grid, self.largest, sizes)

    @torch.no_grad()
    def update_average(self) -> None:
        """Take the newest weights into the running mean."""
        decay = min(self.settings.train.average, self.global_step / (self.global_step + 9.0))
        for key, mean in self.mean.named_parameters():
            if key in self.moved:
                mean.lerp_(self.moved[key], 1.0 - decay)

    def check(self, voice: LearnedInstrument, batch: Batch) -> Check:
        """Validate a voice on what is held out."""
        with torch.no_grad():
            tone, noise = voice.parts(batch, self.grid, half=self.in_half)
            sound = tone + noise
            loss = float(self._reconstruction_loss(sound, batch, FFT_SIZES))
            heard = slice(self.material.lead * self.grid.hop_length, None)
            distance = [log_spectral_distance_db(a, b) for a, b in zip(batch.sound[:, heard], sound[:, heard], strict=True)]
            asked = loudness_db(batch.sound, self.grid)
            notes = asked > asked.max() - 40.0
            off = (loudness_db(sound, self.grid) - asked)[notes]
            energy, hiss = (float(self.grid_energy(part)[notes].sum()) for part in (tone, noise))
        train_loss = float(np.mean(self.losses)) if self.losses else loss
        return Check(
            self.global_step,
            loss,
            train_loss,
            float(np.mean(distance)),
            float(off.median()),
            float(off.abs().mean()),
            energy / max(energy + hiss, 1e-12),
        )

    def grid_energy(self, sound: torch.Tensor) -> torch.Tensor:
        """Mean square of each frame, (batch, n_frames)."""
        return sound.unflatten(-1, (-1, self.grid.hop_length)).square().mean(-1)

    def validate(self) -> Check:
        """Validate the mean of the weights; the best is kept, and worse than at the beginning never is."""
        check = self.check(self.mean, self.held_out().to(self.device))
        if not self.checks or check.loss <= min(known.loss for known in self.checks):
            self.best.load_state_dict(self.mean.state_dict())
        self.checks.append(check)
        self.losses.clear()
        return check

    def is_due(self) -> bool:
        """Test whether this step is one to validate after."""
        train = self.settings.train
        return self.global_step % train.validate_every == 0 or self.global_step == train.steps

    def is_exhausted(self) -> bool:
        """Test whether it has not become better for too long."""
        best = min(range(len(self.checks)), key=lambda i: self.checks[i].loss)
        return len(self.checks) - 1 - best >= self.settings.train.patience

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what a run that goes on must know beside tensors."""
        checkpoint["solo"] = {"checks": [asdict(check) for check in self.checks], "losses": self.losses}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        kept = checkpoint["solo"]
        self.checks, self.losses = [Check(**check) for check in kept["checks"]], list(kept["losses"])

    def configure_optimizers(self) -> Any:
        """AdamW, warmed up, then a cosine down to a twentieth."""
        settings = self.settings.train
        rates = {"z": settings.z_learning_rate, "room": self.settings.room.learning_rate, "decoder": settings.learning_rate}
        rates["register"] = settings.register_learning_rate
        groups: list[dict[str, Any]] = []
        for part, rate in rates.items():
            chosen = [value for key, value in self.moved.items() if part == ("register" if key.endswith(REGISTER) else key.split(".")[0])]
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": settings.weight_decay if part == "decoder" else 0.0})
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warm_cosine(step, settings.steps, warmup=settings.warmup_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> DataLoader:
        """Batches from the present step on."""
        train = self.settings.train
        share = {"rank": self.global_rank, "world": self.trainer.world_size}
        batches = FinetuningBatches(self.material, self.settings.data.batch_size, seed=train.seed, step=self.global_step, **share)
        return DataLoader(batches, batch_size=None)

    def held_out(self) -> Batch:
        """Excerpts for validation."""
        chosen = self.material.validation_excerpts(self.settings.data.judged)
        return self.material.batch(chosen, self.material.white(len(chosen), self.settings.train.seed))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """A batch is frozen: Lightning would write into it."""
        return batch.to(device)

    def finished(self, start: TimbreModel) -> TimbreModel:
        """The instrument, as it was best."""
        model = deepcopy(start)
        model.decoder = deepcopy(self.best.decoder)
        model.timbres = self.best.z.detach().cpu()[None].clone()
        model.room = None if self.best.room is None else self.best.room.response().detach().cpu()
        return model.cpu().eval().requires_grad_(False)


def _moves(key: str, moves: str) -> bool:
    """Test whether a parameter is learned."""
    part, _, rest = key.partition(".")
    if part != "decoder":
        return True
    return moves == "decoder" or (moves == "last" and rest in LAST_LAYERS)


def beginning(settings: FinetuningSettings, material: Material) -> TimbreModel:
    """Model that training goes out from: networks, and what is heard of the instrument.

    SettingsError, WeightsError: ``train.start`` is none of ours; from scratch on another grid than the folder was prepared on.
    """
    train = settings.train
    if train.start is not None:
        return instrument_heard(load_start(train.start), material, settings)
    with torch.random.fork_rng():
        torch.manual_seed(train.seed)
        fresh = TimbreModel(settings.model)
    return instrument_heard(fresh, material, settings, encoded=False)


def load_start(name: str) -> TimbreModel:
    """The weights that ``train.start`` names."""
    try:
        return load_model(name)
    except WeightsError as error:
        raise SettingsError(f"train.start: {error}") from None


def finetune(
    settings: FinetuningSettings,
    prepared: Callable[[Any], PreparedFolder],
    measure: Callable[[TimbreModel, Material], dict[str, float]],
    *,
    resume: bool = True,
) -> tuple[Path, dict[str, Any]]:
    """Train one instrument.

    Parameters
    ----------
    settings : FinetuningSettings
    prepared : callable
        (grid) -> the prepared folder.
    measure : callable
        (model, material) -> figures of how well a model plays what is held out, before training and after it;
        :func:`~tonetransfer.benchmarks.finetuning.measure_instrument`, say.
    resume : bool
        Go on from ``last.ckpt`` in the output folder, if there is one.

    Returns
    -------
    path : Path
        Of the weights; the model card lies beside them.
    notes : dict
        What they say of their training: ``before`` and ``after`` as `measure` finds them, ``alarms``,
        ``minutes``, ``processor_minutes``, ``processes`` and more.

    Raises
    ------
    SettingsError, AudioError, WeightsError, MissingDependencyError
    """
    folder, train = settings.output, settings.train
    if train.devices != "auto" and settings.data.batch_size < train.devices:
        raise SettingsError(
            f"data.batch_size is {settings.data.batch_size}, train.devices {train.devices}; one excerpt or more each is wanted"
        )
    begin = time.perf_counter(), time.process_time()
    if train.threads:
        torch.set_num_threads(train.threads)
    shape = load_start(train.start) if train.start is not None else TimbreModel(settings.model)
    data = settings.data
    material = Material(
        prepared(shape.grid),
        shape.grid,
        excerpt_seconds=data.excerpt_seconds,
        lead_seconds=data.lead_seconds,
        transposed_semitones=data.transposed_semitones,
    )
    start = beginning(settings, material)
    resumed = resume and (folder / LAST).exists()
    if resumed:
        _same_run(folder, settings)
        check_state(folder / LAST)
    folder.mkdir(parents=True, exist_ok=True)
    if not resumed:
        (folder / LAST).unlink(missing_ok=True)
        (folder / "settings.json").write_text(settings.model_dump_json(indent=2))
    lightning.seed_everything(train.seed, verbose=False)
    solo = Finetuning(settings, material, start)
    trainer = _trainer(settings, folder)
    with warnings.catch_warnings(), _stdout_kept_clean():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*(does not have many workers|isinstance.*LeafSpec).*")
        trainer.fit(solo, ckpt_path=str(folder / LAST) if resumed else None)
    if not trainer.is_global_zero:
        raise SystemExit(0)  # a helper of a distributed run has nothing to tell
    model = solo.finished(start)
    notes = _notes(settings, material, solo, measure(start, material), measure(model, material))
    wall, processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
    notes |= {"minutes": round(wall / 60.0, 2), "processor_minutes": round(processor / 60.0, 2), "processes": trainer.world_size}
    path = folder / f"{settings.name}.safetensors"
    save_model(path, model, notes=notes, overwrite=True)
    write_card(path, [one.to_dict() for one in model.instruments], notes)
    return path, notes


def processes_for(settings: FinetuningSettings) -> int:
    """Number of processes that a training on processors is worth, where it has the machine to itself.

    Each starts with some seconds of its own. One thread each: two processes learn from half as much again as two
    threads of one, which wait for each other.
    """
    if (began := os.environ.get("WORLD_SIZE")) is not None:  # a helper of a run that has decided
        return int(began)
    train = settings.train
    if train.threads is not None or train.steps < WORTH_STEPS or train.accelerator == "gpu" or torch.cuda.is_available():
        return 1
    return max(min(torch.get_num_threads(), settings.data.batch_size // EXCERPTS_EACH), 1)


@contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Send what libraries print to stderr: gloo writes past Python, and results alone belong on stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _trainer(settings: FinetuningSettings, folder: Path) -> lightning.Trainer:
    train = settings.train
    devices = 1 if train.devices == "auto" else train.devices
    for talkative in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    loggers: list[Any] = [CSVLogger(folder, name="")]
    callbacks: list[Any] = [ValidateAndStop(), Bar(), Diagnostics(), Keep(folder)]
    if train.tensorboard:
        loggers.append(_board(folder))
        callbacks.append(Listening())
    return lightning.Trainer(
        max_steps=train.steps,
        limit_val_batches=0,  # ValidateAndStop does it: after the step that it belongs to, and before the state is kept
        gradient_clip_val=train.gradient_clip,
        accelerator=train.accelerator,
        devices=devices,
        strategy=DDPStrategy(gradient_as_bucket_view=True, broadcast_buffers=False) if devices > 1 else "auto",
        use_distributed_sampler=False,
        logger=loggers,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _board(folder: Path) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="", version="tensorboard")
    except ModuleNotFoundError:
        raise MissingDependencyError("train.tensorboard needs TensorBoard; pip install 'tonetransfer[tensorboard]'") from None


def _same_run(folder: Path, settings: FinetuningSettings) -> None:
    """Refuse to go on with a run that was begun with other settings."""
    try:
        begun = FinetuningSettings.model_validate_json((folder / "settings.json").read_text())
    except (OSError, ValueError):
        raise SettingsError(
            f"{folder}: holds a run that cannot be gone on with; begin anew with --no-resume, or set train.output"
        ) from None
    free = {key: getattr(settings.train, key) for _, key in BOUND}
    one, other = (leaves(some.model_copy(update={"train": some.train.model_copy(update=free)}).model_dump()) for some in (begun, settings))
    different = [f"{key} was {one[key]!r}, is {other[key]!r}" for key in one if one[key] != other[key]]
    if different:
        raise SettingsError(
            f"{folder}: holds a run with other settings ({'; '.join(different)}); --no-resume begins anew, train.output elsewhere"
        )


def _notes(
    settings: FinetuningSettings, material: Material, solo: Finetuning, before: dict[str, float], after: dict[str, float]
) -> dict[str, Any]:
    """Notes of the weights file on its training."""
    start = settings.train.start
    known = read_notes(start)["notes"] if start is not None else {}
    return {
        "name": settings.name,
        "steps": min(solo.checks, key=lambda check: check.loss).step,
        "data": {
            "recordings": len(material.pieces),
            "validation_recordings": len(material.pieces) - len(material.learned_pieces()),
            "minutes": round(material.minutes(), 2),
        },
        "before": before,
        "after": after,
        "alarms": find_problems(solo.checks),
        "room": settings.room.learn,
        "started_from": "the bundled weights" if start == BUNDLED else Path(start).name if start else "",
        "sources": known.get("sources", []),
        "settings": settings.model_dump(),
    }
