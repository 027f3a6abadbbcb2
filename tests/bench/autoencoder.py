"""The baseline of `evaluate timbre`: z of a plain DDSP autoencoder, that is, without any of the measures that disentangle z.

    python tests/bench/autoencoder.py CORPUS OUT.safetensors [--steps 1500]
    tonetransfer evaluate timbre --material ... --baseline OUT.safetensors --json

Encoder and decoder of the bundled shape, from nothing; z comes from the very excerpt that is played again, and the spectral loss alone says
what it has to hold (Engel et al., ICLR 2020).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.models.weights import save_model
from tonetransfer.synthesis.render import render_batch
from tonetransfer.training.batches import Corpus, TrainingBatches
from tonetransfer.training.losses import FFT_SIZES, spectral_loss
from tonetransfer.training.settings import DataSettings, ModelSettings

LEARNING_RATE, WARMUP = 2e-3, 100
AS_THEY_ARE = {"parallel_share": 0.0, "equalise_share": 0.0, "rescale_share": 0.0, "capture_share": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = TimbreModel(ModelSettings()).train().requires_grad_(True)
    parameters = [*model.encoder.parameters(), *model.decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, betas=(0.9, 0.98))
    data = DataSettings(batch_size=arguments.batch_size, **AS_THEY_ARE)
    batches = torch.utils.data.DataLoader(TrainingBatches(Corpus(arguments.corpus, FrameGrid()), data, seed=0), None, num_workers=1)
    for step, batch in zip(range(arguments.steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * step / arguments.steps))
        z = model.encoder(batch["target"])
        params, _ = model.decoder(batch["f0_hz"], batch["loudness_db"], z)
        loss = spectral_loss(render_batch(params, model.grid), batch["target"], (2048, FFT_SIZES[step % len(FFT_SIZES)]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: loss {float(loss.detach()):.3f}", flush=True)
    save_model(arguments.out, model.eval().requires_grad_(False), notes={"steps": arguments.steps})


if __name__ == "__main__":
    main()
