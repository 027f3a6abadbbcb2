"""What each loss of z contributes: short runs of the encoder alone, each without one of them.

    python tests/bench/timbre_losses.py START.safetensors CORPUS MATERIAL [--other CORPUS] [--steps 500] [--only RUN ...]

START holds a table of timbres with a row for each of the corpus's (what `train.encoder_steps` goes out from), MATERIAL is what
`evaluate timbre` rendered. One run each: differences of a point or two mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.benchmarks.disentanglement import instrument_accuracy, transferred_accuracy, within_instrument_r2
from tonetransfer.benchmarks.excerpts import COMMON, ORCHESTRA, Excerpt, cut, read_recording
from tonetransfer.models.encoder import TimbreEncoder
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import load_model
from tonetransfer.training.batches import Corpus
from tonetransfer.training.concept_erasure import erase_played
from tonetransfer.training.encoder_batches import EncoderBatches, HeardCorpus, hear_corpus, kinds_of
from tonetransfer.training.losses import TimbreLosses, TimbreLossWeights
from tonetransfer.training.settings import DataSettings

ALL = TimbreLossWeights(alignment=1.0, kind=1.0, consistency=0.5, contrast=0.3)
LEARNING_RATE, WARMUP = 2e-3, 40
HEARD_S = 120.0


def excerpts_of(folder: Path, model: TimbreModel) -> tuple[list[Excerpt], torch.Tensor]:
    """Excerpts and their level-free mel spectrograms (n, n_mels, n_frames)."""
    rows, mels = [], []
    for file in json.loads((folder / "manifest.json").read_text())["files"]:
        path = folder / file["timbre"] / f"{file['performance']}.flac"
        for row, sound in cut(path, *read_recording(path, model)):
            rows.append(row)
            mels.append(model.encoder.log_mel(sound[None])[0].half())
    return rows, torch.stack(mels)


@torch.no_grad()
def encoded(encoder: TimbreEncoder, mels: torch.Tensor) -> np.ndarray:
    return torch.cat([encoder.encode_mel(some.float()) for some in mels.split(64)]).numpy()


class Unchanged(EncoderBatches):
    """No other timbres are made by equalisation and rescaling."""

    def _change(self, rng: np.random.Generator, pieces: np.ndarray) -> np.ndarray:
        return pieces


def train(
    heard: list[HeardCorpus], table: torch.Tensor, weights: TimbreLossWeights, steps: int, data: DataSettings, kind: type[EncoderBatches]
) -> TimbreEncoder:
    torch.manual_seed(0)
    encoder = TimbreEncoder(48000, 480, table.shape[1], 256).train()
    losses = TimbreLosses(table.shape[1], len(kinds_of([one.corpus for one in heard])), weights)
    parameters = [*encoder.parameters(), *losses.parameters()]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, betas=(0.9, 0.98))
    batches: Iterator[dict[str, torch.Tensor]] = iter(kind(heard, data, seed=0))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        batch = next(batches)
        loss, _ = losses(encoder.encode_mel(batch["mel"]), batch, table)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return encoder.eval()


def measure(encoder: TimbreEncoder, trained: tuple[list[Excerpt], torch.Tensor], unseen: tuple[list[Excerpt], torch.Tensor]) -> str:
    (rows, mels), (other_rows, other_mels) = trained, unseen
    z, other = encoded(encoder, mels), encoded(encoder, other_mels)
    names, groups, other_names = (
        np.array([getattr(r, k) for r in x]) for x, k in ((rows, "instrument"), (rows, "performance"), (other_rows, "instrument"))
    )
    common, few, asked = np.isin(names, COMMON), np.isin(names, ORCHESTRA), np.isin(other_names, ORCHESTRA)
    found = [instrument_accuracy(z[common], names[common], groups[common]).linear]
    found.append(transferred_accuracy(z[few], names[few], other[asked], other_names[asked]).linear)
    found += [within_instrument_r2(z, np.array([getattr(r, k) for r in rows]), names, groups).mlp for k in ("pitch_midi", "loudness_db")]
    return " | ".join(f"{value:.2f}" for value in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("material", type=Path)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="RUN")
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    model, grid = load_model(arguments.start), FrameGrid()
    places = {timbre.name: row for row, timbre in enumerate(model.instruments)}
    heard = [hear_corpus(Corpus(folder, grid), model.encoder) for folder in (arguments.corpus, arguments.other) if folder]
    table = model.timbres[[places[timbre["name"]] for timbre in heard[0].corpus.timbres]]
    trained, unseen = (excerpts_of(arguments.material / name, model) for name in ("trained", "unseen"))
    data = DataSettings(heard_seconds=HEARD_S)
    runs: dict[str, tuple[TimbreLossWeights, DataSettings, type[EncoderBatches], int]] = {"all": (ALL, data, EncoderBatches, 2)}
    for name in ("kind", "alignment", "contrast", "consistency"):
        runs[f"without {name}"] = (replace(ALL, **{name: 0.0}), data, EncoderBatches, 2)
    runs["without changed timbres"] = (ALL, data, Unchanged, 2)
    runs["without rooms and hiss"] = (ALL, data.model_copy(update={"capture_share": 0.0}), EncoderBatches, 2)
    runs["without the second font"] = (ALL, data, EncoderBatches, 1)
    if unknown := set(arguments.only) - set(runs):
        parser.error(f"there is no run {', '.join(unknown)}; choose from {', '.join(runs)}")
    print("| | instrument, 25 | unseen font, 12 | pitch R2 | loudness R2 |\n|---|---|---|---|---|")
    for name in arguments.only or runs:
        weights, chosen, kind, n_corpora = runs[name]
        encoder = train(heard[:n_corpora], table, weights, arguments.steps, chosen, kind)
        print(f"| {name} | {measure(encoder, trained, unseen)} |", flush=True)
        if name == "all":
            erase_played(encoder, EncoderBatches(heard[:1], chosen.model_copy(update={"capture_share": 0.2}), seed=1), excerpts=9000)
            print(f"| all, and what is played taken out | {measure(encoder, trained, unseen)} |", flush=True)


if __name__ == "__main__":
    main()
