"""How much audio a training of one instrument learns from in a second: all of a step, loss, backward pass and optimizer included.

    python tests/bench/finetuning.py [--batch 8 16] [--rounds 5] [--threads 2] [--config configs/finetune_5min.yaml]

The recordings are tones (what is in them makes no difference to the time), the model is the bundled one. Given for wall time and for
processor time: on a machine that is busy with something else only the second says what the program needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from finetuning_tones import GRID, toys  # the tests' recordings

from tonetransfer.training.finetuning import Solo, beginning
from tonetransfer.training.finetuning_data import FinetuningBatches, Material
from tonetransfer.training.settings import FinetuningSettings, read_settings

ROUND = 8  # steps: no two need be the same


class Stepping(Solo):
    """A training run whose steps are counted by hand."""

    steps_done = 0

    @property
    def global_step(self) -> int:
        return self.steps_done


def seconds_per_second(settings: FinetuningSettings, rounds: int) -> tuple[float, float]:
    """Seconds of audio learned from per second of wall time and of processor time, the best of some rounds."""
    data = settings.data
    material = Material(toys(), GRID, excerpt_seconds=data.excerpt_seconds, lead_seconds=data.lead_seconds)
    solo = Stepping(settings, material, beginning(settings, material))
    solo.on_fit_start()
    optimizer = solo.configure_optimizers()["optimizer"]
    batches = iter(FinetuningBatches(material, data.batch_size, seed=0))

    def a_round() -> None:
        for _ in range(ROUND):
            loss = solo.training_step(next(batches), solo.steps_done)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            solo.update_average()  # the running mean
            solo.steps_done += 1

    a_round()  # fills caches
    walls, processors = [], []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        a_round()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    audio_s = ROUND * data.batch_size * data.excerpt_seconds
    return audio_s / min(walls), audio_s / min(processors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--rounds", type=int, default=5, help="of eight steps; the fastest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--config", type=Path, default=Path("configs/finetune_5min.yaml"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for batch in arguments.batch:
        settings = read_settings(arguments.config, [f"data.batch_size={batch}"])
        assert isinstance(settings, FinetuningSettings)
        wall, processor = seconds_per_second(settings, arguments.rounds)
        print(f"batch {batch}, {arguments.threads} threads: {wall:.1f} s of audio a second, {processor:.1f} a second of processor time")


if __name__ == "__main__":
    main()
