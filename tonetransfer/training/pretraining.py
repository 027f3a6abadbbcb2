"""Find the weights: Lightning around the model and the corpus.

Next to the batches of :mod:`tonetransfer.training.batches`, the timbre losses of :mod:`tonetransfer.training.losses` make z say who plays;
what z still says of what is played is taken out in the end (:mod:`tonetransfer.training.concept_erasure`).

At first all items take z from the encoder, which is shared by all timbres and so learns fast, and a table keeps its running mean for each
timbre. Then half of the items take z from the table, whose rows now learn by themselves; a penalty keeps both together. So the named
timbres are as good as a trained embedding, and a recording that was never seen lands in the same space. The weights that are kept are
those with the best *transfer* (another instrument's controls against this instrument's true performance), not the best resynthesis.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset

from ..audio.frames import FrameGrid
from ..audio.loudness import N_FFT
from ..audio.stft import log_spectral_distance_db, magnitudes
from ..audio.units import db_to_amplitude, hz_to_midi
from ..controls.dynamics import map_loudness
from ..controls.profile import with_release
from ..errors import SettingsError
from ..models.note_age_table import N_AGES, N_LEVELS, N_PITCHES, looked_up
from ..models.timbre_model import Instrument, TimbreModel
from ..models.weights import load_model, read_notes, save_model
from ..synthesis.render import render_batch
from .batches import Corpus, TrainingBatches, kind_of
from .callbacks import LAST, check_state
from .concept_erasure import EXCERPTS, erase_played
from .encoder_batches import EncoderBatches, hear_corpus, kinds_of
from .losses import Audible, TimbreLosses, TimbreLossWeights, heard_difference, two_sizes
from .player_traits import in_order, with_highs, with_primaries, with_traits
from .settings import Settings, warm_cosine

VALIDATION_SECONDS = 6.0
ERASURE_STEPS = 4000
EXCERPTS_PER_RECORDING = 9
VALIDATED = ("resynthesis_db", "transfer_db")
AUDIBLE_DB = -60.0
AUDIBLE_BELOW_DB, FLOOR_BELOW_DB = 60.0, 80.0  # below the largest magnitude of a recording
FIRST_HEARD_S, MOST_HEARD = 6.0, 12
TABLES_KEPT = 0.5  # of note-age tables: learned on few notes, whole they know the player too well (docs/experiments.md)
FOLLOW = 0.1  # weight of the newest in the running mean of a timbre


class Training(lightning.LightningModule):
    """One training run."""

    seen: torch.Tensor

    def __init__(self, settings: Settings, corpus: Corpus, others: Sequence[Corpus] = ()) -> None:
        super().__init__()
        self.settings, self.corpus = settings, corpus
        self.encoder_first = False
        self.model = TimbreModel(settings.model).train()  # Lightning leaves the mode as it finds it
        self.table = torch.nn.Embedding(len(corpus.timbres), settings.model.z_dim)
        torch.nn.init.normal_(self.table.weight, std=0.5)
        self.heard = [hear_corpus(one, self.model.encoder) for one in (corpus, *others)] if settings.train.encoder_learning_rate else []
        weights = TimbreLossWeights(**{one.name: getattr(settings.train, f"{one.name}_weight") for one in fields(TimbreLossWeights)})
        self.forces = TimbreLosses(settings.model.z_dim, len(kinds_of([corpus, *others])), weights)  # as checkpoints name them
        self.register_buffer("seen", torch.zeros(len(corpus.timbres), dtype=torch.bool))
        self.table_of = note_tables_of(corpus.timbres) if settings.train.note_table_learning_rate else [-1] * len(corpus.timbres)
        shape = max(self.table_of) + 1, N_PITCHES + N_LEVELS, N_AGES, self.model.decoder.head.out_features
        self.note_tables = torch.nn.Parameter(torch.zeros(shape)) if shape[0] else None
        self.audible = audible_of(corpus, settings.train.audible_weight)
        self.pairs = validation_pairs(corpus, settings)
        validated = {pair[1].timbre for pair in self.pairs}
        self.quantiles = {row: corpus.quantiles(row) for row in validated}
        self.release = {row: corpus.release_db_per_s(row) for row in validated}
        self.best = math.inf
        if settings.train.start:
            self._start_from(load_model(settings.train.start))

    def _start_from(self, model: TimbreModel) -> None:
        """Take over networks and timbres; a model of another shape is refused."""
        if model.settings != self.settings.model:
            raise SettingsError(f"train.start: {self.settings.train.start} is of another shape ({model.settings}); set model to the same")
        self.model.encoder.load_state_dict(model.encoder.state_dict())
        if self.settings.train.encoder_learning_rate:
            self.model.encoder.forget_effect()  # in the end it is learned anew; of an encoder that stays it stays
        self.model.decoder.load_state_dict(model.decoder.state_dict())
        self.model.encoder.requires_grad_(bool(self.settings.train.encoder_learning_rate))
        for row, timbre in enumerate(self.corpus.timbres):
            if timbre["name"] in model.names:
                self.table.weight.data[row] = model.timbres[model.names.index(timbre["name"])]
            else:
                self.table.weight.data[row] = self._first_heard(row)
            self.seen[row] = True

    @torch.no_grad()
    def _first_heard(self, row: int) -> torch.Tensor:
        """z of a timbre of the corpus, the mean over the beginnings of its recordings."""
        hop, length = self.model.grid.hop_length, round(FIRST_HEARD_S * self.model.grid.sample_rate)
        played = [one for one in self.corpus.recordings if one.timbre == row][:MOST_HEARD]
        sounds = torch.stack([self.corpus.sound(one.first * hop, length) for one in played])
        return self.model.encoder.eval()(sounds).mean(0)

    def on_train_start(self) -> None:
        """An encoder that was trained first has its scale; a few loud batches of another kind must not move it."""
        train = self.settings.train
        if (train.encoder_steps or not train.encoder_learning_rate) and not self.encoder_first:
            self.model.encoder.spread.eval()

    def training_step(self, batch: dict[str, dict[str, torch.Tensor]], index: int) -> torch.Tensor:
        """Loss of one batch: what is heard unless the encoder stays, and what is played unless the encoder is trained alone."""
        if "heard" not in batch:
            loss, figures = self._play(batch["played"], index)
            self.log_dict(figures, prog_bar=True)
            return loss
        excerpts = batch["heard"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half_precision(self.device)):
            z = self.model.encoder.encode_mel(excerpts["mel"]).float()
        loss, figures = self.forces(z, excerpts, self.table.weight)
        if not self.encoder_first:
            played, more = self._play(batch["played"], index)
            loss, figures = loss + played, figures | more
        self.log_dict(figures, prog_bar=True)
        return loss

    def _play(self, batch: dict[str, torch.Tensor], index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        settings = self.settings.train
        row = self.table(batch["timbre"])
        learned = (
            bool(settings.encoder_steps) or not settings.encoder_learning_rate or self.global_step >= settings.table_start * settings.steps
        )
        from_table = batch["original"] & (torch.rand(len(row), device=row.device) < settings.table_share * learned)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half_precision(self.device)):
            with torch.set_grad_enabled(settings.encoder_learning_rate > 0.0):
                encoded = self.model.encoder(batch["reference"]).float()
            z = torch.where(from_table[:, None], row, encoded)
            params, _ = self.model.decoder(batch["f0_hz"], batch["loudness_db"], z, addition=self._in_the_course_of_notes(batch))
        if not learned:
            self._update_table(batch["timbre"][batch["original"]], encoded[batch["original"]])
        sizes = two_sizes(np.random.default_rng(index))
        sound = render_batch(params, self.model.grid)
        loss, off_db = heard_difference(
            sound,
            batch["target"],
            self.model.grid.sample_rate,
            sizes,
            distance_weight=settings.log_spectral_weight,
            loudness_weight=settings.loudness_weight,
            faint_db=AUDIBLE_DB,
            audible=self.audible,
        )
        drawn = ((encoded.detach() - row).square().mean(-1) * batch["original"]).mean()
        return loss + settings.drawn_weight * drawn, {"loss": loss, "off_db": off_db}

    def _in_the_course_of_notes(self, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Entries of the items' note-age tables, (batch, n_frames, n_out); zero for timbres without one and for changed ones."""
        if self.note_tables is None:
            return None
        which = torch.tensor([self.table_of[row] for row in batch["timbre"].tolist()], device=self.device)
        midi, level = hz_to_midi(batch["f0_hz"]), batch["loudness_db"]
        with torch.autocast(self.device.type, enabled=False):
            found = looked_up(self.note_tables[which.clamp(min=0)], midi, level, batch["age"])
        return found * ((which >= 0) & batch["original"])[:, None, None]

    @torch.no_grad()
    def _update_table(self, timbres: torch.Tensor, encoded: torch.Tensor) -> None:
        """Update the rows of the table, running means of what the encoder says."""
        table = self.table.weight
        for timbre, z in zip(timbres.tolist(), encoded, strict=True):
            table[timbre] += (z - table[timbre]) * (FOLLOW if self.seen[timbre] else 1.0)
            self.seen[timbre] = True

    def validation_step(self, batch: Any, index: int) -> None:
        """Transfer or resynthesis of one held-out performance."""
        source, target = self.pairs[index]
        grid, n_frames = self.model.grid, round(VALIDATION_SECONDS * self.model.grid.frame_rate)
        a, b = (slice(r.first, r.first + min(n_frames, r.n_frames)) for r in (source, target))
        loud = torch.from_numpy(self.corpus.loudness[a].copy())
        if source is not target:
            loud = map_loudness(loud, source.quantiles, self.quantiles[target.timbre])
            loud = with_release(loud, self.release[target.timbre], grid.frame_rate, dry=True)
        f0 = torch.from_numpy(self.corpus.f0_hz[a].copy())
        params, _ = self.model.decoder(f0[None], loud[None], self.table.weight[target.timbre][None])  # soundfonts: no note-age table
        sound = self.model.render(params.map(lambda x: x[0]))
        truth = self.corpus.sound(b.start * grid.hop_length, len(sound))
        distance = log_spectral_distance_db(truth, sound)
        self.log(VALIDATED[0] if source is target else VALIDATED[1], distance, on_epoch=True, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Keep the best weights by transfer."""
        if self.trainer.sanity_checking or self.encoder_first:
            return
        figures = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key in VALIDATED}
        print(f"step {self.global_step}: " + ", ".join(f"{key} {value:.3f}" for key, value in sorted(figures.items())), flush=True)
        folder = Path(self.settings.train.output)
        save_model(folder / "latest.safetensors", self.finished(), notes=self._notes(figures), overwrite=True)
        if figures.get("transfer_db", 0.0) < self.best:
            self.best = figures.get("transfer_db", 0.0)
            save_model(folder / "best.safetensors", self.finished(), notes=self._notes(figures), overwrite=True)

    def finished(self) -> TimbreModel:
        """The model with its table of named timbres."""
        named = [i for i, timbre in enumerate(self.corpus.timbres) if timbre["named"]]
        described = [replace(describe_timbre(self.corpus, i), note_table=self.table_of[i]) for i in named]
        model = TimbreModel(self.settings.model, tuple(described))
        weights = {f"encoder.{k}": v for k, v in self.model.encoder.state_dict().items()}
        weights |= {f"decoder.{k}": v for k, v in self.model.decoder.state_dict().items()}
        weights["timbres"] = self.table.weight.detach()[named]
        weights["quantiles"] = torch.stack([self.corpus.quantiles(i) for i in named])
        if self.note_tables is not None:
            model.note_tables = weights["note_tables"] = TABLES_KEPT * self.note_tables.detach()
        model.load_state_dict(weights)
        return model

    def _notes(self, figures: dict[str, float]) -> dict[str, Any]:
        manifest = self.corpus.manifest
        keys = ("source", "licence", "credit", "url")
        sources = sorted({tuple(str(timbre.get(key, "")) for key in keys) for timbre in self.corpus.timbres})
        return {
            "name": self.settings.name,
            "steps": self.global_step,
            "validation": figures,
            "corpus": {"seed": manifest.get("seed"), "timbres": len(self.corpus.timbres), "files": len(manifest["files"])},
            "sources": [dict(zip(keys, source, strict=True)) for source in sources],
            "settings": self.settings.model_dump(),
        }

    def configure_optimizers(self) -> Any:
        """AdamW, warmed up, then a cosine down to a hundredth."""
        settings = self.settings.train
        networks = []
        if settings.encoder_learning_rate:
            networks += [
                {"params": self.model.encoder.parameters(), "lr": settings.encoder_learning_rate, "weight_decay": 1e-4},
                {"params": self.forces.parameters(), "lr": settings.table_learning_rate, "weight_decay": 1e-4},
            ]
        if self.note_tables is not None and not self.encoder_first:
            networks += [{"params": [self.note_tables], "lr": settings.note_table_learning_rate, "weight_decay": 0.0}]
        if not self.encoder_first:
            networks += [
                {"params": self.model.decoder.parameters(), "lr": settings.learning_rate, "weight_decay": 1e-4},
                {"params": self.table.parameters(), "lr": settings.table_learning_rate, "weight_decay": 0.0},
            ]
        optimizer = torch.optim.AdamW(networks, betas=(0.9, 0.98), fused=True)
        steps = settings.encoder_steps if self.encoder_first else settings.steps
        warmup = settings.warmup_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warm_cosine(step, steps, warmup=warmup, last=0.01, begin=warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> CombinedLoader:
        """Batches are made whole by the datasets; resuming continues with other excerpts."""
        data, seed = self.settings.data, self.settings.train.seed + self.global_step
        made: dict[str, IterableDataset] = {"heard": EncoderBatches(self.heard, data, seed=seed)} if self.heard else {}
        if not self.encoder_first:
            made["played"] = TrainingBatches(self.corpus, data, seed=seed)
        ahead = 4 if data.workers else None
        loaders = {name: DataLoader(one, None, num_workers=data.workers, prefetch_factor=ahead) for name, one in made.items()}
        return CombinedLoader(loaders, "min_size")

    def val_dataloader(self) -> DataLoader:
        """One index per held-out pair; none while the decoder stands still."""
        return DataLoader(list(range(0 if self.encoder_first else len(self.pairs))), batch_size=None)  # type: ignore[arg-type]  # a list is a map-style dataset


def half_precision(device: torch.device) -> bool:
    """Test whether bfloat16 is fast here: the networks then train at twice the speed; spectra and sound stay in float32."""
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def note_tables_of(timbres: Sequence[dict[str, Any]]) -> list[int]:
    """Index of the note-age table of each timbre of a corpus: one for all players of an instrument, -1 for soundfonts."""
    names = [timbre["name"] for timbre in timbres if timbre.get("recorded")]
    kinds = sorted({kind_of(name, names) for name in names})
    return [kinds.index(kind_of(timbre["name"], names)) if timbre.get("recorded") else -1 for timbre in timbres]


def audible_of(corpus: Corpus, weight: float) -> Audible | None:
    """The audible distance for recordings as loud as those of a corpus; None if it does not count."""
    if not weight:
        return None
    hop = corpus.grid.hop_length
    largest = [float(magnitudes(corpus.sound(one.first * hop, one.n_frames * hop), N_FFT, 512).max()) for one in corpus.recordings[::40]]
    loud = float(np.median(largest))
    return Audible(weight, loud * db_to_amplitude(-AUDIBLE_BELOW_DB), loud * db_to_amplitude(-FLOOR_BELOW_DB))


def validation_pairs(corpus: Corpus, settings: Settings) -> list[tuple[Any, Any]]:
    """(source, target) recordings of the held-out performances: every ordered pair of their instruments, and each with itself."""
    performances = corpus.validation_performances(settings.data.validation_performances, settings.data.validation_names)
    validated = {i for i, timbre in enumerate(corpus.timbres) if timbre["name"] in settings.data.validation_names}
    pairs = []
    for performance in performances:
        played = [r for r in corpus.recordings if r.performance == performance and r.timbre in validated]
        pairs += [(a, b) for a in played for b in played]
    return pairs


def describe_timbre(corpus: Corpus, row: int) -> Instrument:
    """Description of a timbre of the corpus for the weights file."""
    timbre, f0_hz = corpus.timbres[row], corpus.note_f0_hz(row)
    return Instrument(
        name=timbre["name"],
        family=timbre["family"],
        lowest_midi=float(timbre["lowest_midi"]),
        highest_midi=float(timbre["highest_midi"]),
        mean_midi=round(float(hz_to_midi(f0_hz.astype(np.float64)).mean()), 2),
        source=timbre["source"],
        licence=timbre["licence"],
        release_db_per_s=round(corpus.release_db_per_s(row), 1),
    )


def train(settings: Settings, *, resume: bool = True) -> Path:
    """Train, and return the path of the best weights; `resume` goes on from ``last.ckpt`` in the output folder, if there is one."""
    folder = Path(settings.train.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(settings.model_dump_json(indent=2))
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    lightning.seed_everything(settings.train.seed, verbose=False)
    grid = FrameGrid(settings.model.sample_rate, settings.model.hop_length)
    corpus, *others = (Corpus(one, grid) for one in (settings.data.corpus, *settings.data.others))
    training = Training(settings, corpus, others)
    last, best = folder / LAST, folder / "best.safetensors"
    resumed = resume and last.exists()
    if resumed:
        check_state(last)
    if settings.train.encoder_steps and not resumed:
        _train_encoder(training, folder / "encoder", resume=resume)
    every = min(settings.train.validate_every, settings.train.steps)
    trainer = _trainer(folder, settings.train.steps, settings, every)
    if resumed and best.exists():  # its figure is known after the checkpoint of the same step is written
        training.best = read_notes(best)["notes"]["validation"].get(VALIDATED[1], math.inf)
    trainer.fit(training, ckpt_path=str(last) if resumed else None)
    if settings.train.encoder_learning_rate:
        finish(best, corpus, settings)
    for path in (best, folder / "latest.safetensors") if training.note_tables is not None else ():
        notes = read_notes(path)["notes"]
        if notes.get("finished"):  # by a run that this one resumes: means of players and gains must not be taken twice
            continue
        finished = with_traits(with_primaries(load_model(path), settings.train.primaries), corpus)
        finished = in_order(with_highs(finished, settings.train.highs_db))
        save_model(path, finished, notes={**notes, "finished": True}, overwrite=True)
    return best


def finish(path: Path, corpus: Corpus, settings: Settings) -> None:
    """Take from the encoder of a weights file what could still be read of what is played."""
    model, notes = load_model(path), read_notes(path)["notes"]
    as_asked_about = {"capture_share": 0.1, "named_share": 0.95, "featured": ()}  # each named timbre as often as the other
    data = settings.data.model_copy(update=as_asked_about)
    heard = EncoderBatches([hear_corpus(corpus, model.encoder)], data, seed=settings.train.seed + settings.train.steps)
    excerpts = min(EXCERPTS, EXCERPTS_PER_RECORDING * len(corpus.recordings))  # more would be the same ones again
    erase_played(model.encoder, heard, seed=settings.train.seed, steps=min(settings.train.steps, ERASURE_STEPS), excerpts=excerpts)
    save_model(path, model, notes=notes, overwrite=True)


def _train_encoder(training: Training, folder: Path, *, resume: bool) -> None:
    """Find the encoder of a decoder and a table that are there already."""
    last, settings = folder / LAST, training.settings
    training.encoder_first = True
    trainer = _trainer(folder, settings.train.encoder_steps, settings, min(250, settings.train.encoder_steps))
    if resumed := resume and last.exists():
        check_state(last)
    trainer.fit(training, ckpt_path=str(last) if resumed else None)
    training.encoder_first = False
    save_model(folder / "encoder.safetensors", training.finished(), notes={"steps": settings.train.encoder_steps}, overwrite=True)


def _trainer(folder: Path, steps: int, settings: Settings, every: int) -> lightning.Trainer:
    return lightning.Trainer(
        max_steps=steps,
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=settings.train.gradient_clip,
        logger=CSVLogger(folder, name=""),
        log_every_n_steps=20,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=every, save_top_k=0), TQDMProgressBar(refresh_rate=20)],
        enable_model_summary=False,
    )
