"""What is played is taken out of z: the mean effect that it has on each timbre, and nothing of who plays."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from tonetransfer.benchmarks.disentanglement import within_instrument_r2
from tonetransfer.models.encoder import N_MELS, TimbreEncoder
from tonetransfer.training.concept_erasure import erase_played, erasure
from tonetransfer.training.encoder_batches import GROUP

N_TIMBRES, Z_DIM = 4, 8


class Told(TimbreEncoder):
    """An encoder whose z tells the pitch of each timbre in another direction, bent, and its loudness straight."""

    def pool(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        who, pitch, loudness = mel[:, 0, 0].long(), mel[:, 1, 0], mel[:, 2, 0]
        z = 4.0 * torch.eye(Z_DIM)[who] + 0.1 * mel[:, 4, :Z_DIM]
        z = z + torch.nn.functional.one_hot((who + 1) % Z_DIM, Z_DIM) * (pitch + 0.7 * pitch.square() - 0.7)[:, None]
        z[:, -1] += 0.5 * loudness
        statistics = torch.zeros(len(mel), 32 + 2 * N_MELS)
        statistics[:, 0], statistics[:, 1] = pitch, loudness
        return z, statistics

    def transform(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix
        plain = self.pool
        self.pool = lambda mel: (plain(mel)[0] @ matrix.T, plain(mel)[1])  # type: ignore[method-assign]


def make_batches(rng: np.random.Generator):  # type: ignore[no-untyped-def]  # endless batches as of EncoderBatches
    while True:
        who = np.repeat(rng.integers(0, N_TIMBRES, 40), GROUP)
        played = rng.normal(0.0, 1.0, (len(who), 2)).astype(np.float32)
        mel = torch.zeros(len(who), N_MELS, 10)
        mel[:, 0], mel[:, 1], mel[:, 2] = (torch.from_numpy(x).float()[:, None] for x in (who, played[:, 0], played[:, 1]))
        mel[:, 4] = torch.from_numpy(rng.normal(0.0, 1.0, (len(who), 10))).float()
        flags = {"original": torch.ones(len(who), dtype=torch.bool), "captured": torch.zeros(len(who), dtype=torch.bool)}
        yield {"mel": mel, "timbre": torch.from_numpy(who), "played": torch.from_numpy(played), **flags}


@pytest.mark.slow
def test_pitch_that_each_timbre_tells_in_its_own_way_is_taken_out_and_who_plays_stays() -> None:
    torch.manual_seed(0)  # whatever ran before
    encoder = Told(48000, 480, Z_DIM, 16).eval()
    batch = next(make_batches(np.random.default_rng(1)))
    batches = list(islice(make_batches(np.random.default_rng(2)), 10))
    tested = {key: torch.cat([one[key] for one in batches]) for key in ("mel", "timbre", "played")}

    def read() -> tuple[list[float], torch.Tensor]:
        with torch.no_grad():
            z = encoder.encode_mel(tested["mel"])
        names, groups = tested["timbre"].numpy(), np.arange(len(z)) // GROUP
        return [within_instrument_r2(z.numpy(), tested["played"][:, i].numpy(), names, groups).mlp for i in (0, 1)], z

    (pitch, loudness), _ = read()
    assert pitch > 0.4 and loudness > 0.4
    with torch.no_grad():
        before = encoder.encode_mel(batch["mel"])
    assert torch.equal(before, encoder.pool(batch["mel"])[0])  # nothing is taken out yet
    erase_played(encoder, make_batches(np.random.default_rng(0)), steps=1500, excerpts=6000)  # type: ignore[arg-type]  # an iterable
    (pitch, loudness), z = read()
    assert pitch < 0.2 and loudness < 0.2
    means = torch.stack([z[tested["timbre"] == one].mean(0) for one in range(N_TIMBRES)])
    assert bool((torch.cdist(z, means).argmin(-1) == tested["timbre"]).float().mean() > 0.99)
    encoder.forget_effect()
    assert torch.equal(encoder.encode_mel(batch["mel"]), encoder.pool(batch["mel"])[0])


def test_erasure_takes_what_was_played_and_leaves_who_plays() -> None:
    torch.manual_seed(0)
    played = torch.randn(1024, 2, 2)
    pairs = torch.randn(1024, 1, 8) + 0.05 * torch.randn(1024, 2, 8)
    pairs[..., 2] += 0.3 * played[..., 0]
    pairs[..., 5] += 0.2 * played[..., 1]
    asked = played[:, 0] - played[:, 1]
    left = pairs @ erasure(pairs[:, 0] - pairs[:, 1], asked).T
    for z, readable in ((pairs, True), (left, False)):
        difference = z[:, 0] - z[:, 1]
        read = difference @ torch.linalg.lstsq(difference, asked).solution
        assert (float(1.0 - (asked - read).square().sum() / asked.square().sum()) > 0.5) == readable
    untouched = [0, 1, 3, 4, 6, 7]
    assert float((left - pairs)[..., untouched].abs().mean()) < 0.1
