"""Concept erasure: pitch and loudness taken out of z when the encoder has been trained.

An adversary made the encoder hide what is played where this adversary did not look, and instruments were no longer told apart
(docs/experiments.md). So it is taken out in the open. First what a linear reader finds, by a linear map (LEACE);
then what is left, instrument by instrument: pitch and loudness are estimated from the spectrogram, what they do to z on such an instrument
is predicted, and subtracted. What remains does not move with what is played, on average, whoever plays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..models.encoder import N_ANCHORS, TimbreEncoder
from .encoder_batches import GROUP, EncoderBatches

EXCERPTS = 20000
BATCH_SIZE = 256
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 3e-3
DROPOUT = 0.1  # share of the statistics that is left out
LEAST = 4  # excerpts of a timbre, or its mean says nothing


@dataclass(frozen=True)
class _Heard:
    """Excerpts: z (n, z_dim), statistics (n, n_statistics), played (n, 2), captured (n,), timbre (n,)."""

    z: torch.Tensor
    statistics: torch.Tensor
    played: torch.Tensor
    captured: torch.Tensor
    timbre: torch.Tensor


def erase_played(encoder: TimbreEncoder, batches: EncoderBatches, *, seed: int = 0, steps: int = 3000, excerpts: int = EXCERPTS) -> None:
    """Learn what pitch and loudness do to z, from batches of the corpus that the encoder was trained on, and have it take that out."""
    encoder.eval()
    heard = _encode_excerpts(encoder, batches, excerpts)
    matrix = _linear_map(heard)
    encoder.transform(matrix)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        _learn_effect(encoder, heard, heard.z @ matrix.T, steps)


@torch.no_grad()
def _encode_excerpts(encoder: TimbreEncoder, batches: EncoderBatches, excerpts: int) -> _Heard:
    """Unchanged excerpts."""
    found: list[tuple[torch.Tensor, ...]] = []
    for batch in batches:
        original = batch["original"] & (batch["timbre"] >= 0)
        z, statistics = encoder.pool(batch["mel"][original])
        found.append((z, statistics, *(batch[key][original] for key in ("played", "captured", "timbre"))))
        if sum(len(one[0]) for one in found) >= excerpts:
            break
    return _Heard(*(torch.cat(part) for part in zip(*found, strict=True)))


def _linear_map(heard: _Heard) -> torch.Tensor:
    """The gentlest map after which no linear reader finds what was played; excerpts without a room alone say what that is."""
    z, played, clean = heard.z.view(-1, GROUP, heard.z.shape[-1]), heard.played.view(-1, GROUP, 2), ~heard.captured.view(-1, GROUP)
    both = (clean[:, 1:] & clean[:, :-1]).flatten()
    difference, asked = ((x[:, 1:] - x[:, :-1]).flatten(0, 1) for x in (z, played))
    return erasure(difference[both], asked[both])


def _learn_effect(encoder: TimbreEncoder, heard: _Heard, z: torch.Tensor, steps: int) -> None:
    """Fit the encoder's readers: of what is played, from the statistics, and of what that does to z."""
    n_of = torch.bincount(heard.timbre)
    kept = n_of[heard.timbre] >= LEAST
    z, statistics, played, timbre = z[kept], heard.statistics[kept], heard.played[kept], heard.timbre[kept]
    means = torch.zeros(len(n_of), z.shape[1]).index_add(0, timbre, z) / n_of.clamp(min=1)[:, None]
    deviation = z - means[timbre]
    anchors = torch.topk(n_of, min(N_ANCHORS, int((n_of >= LEAST).sum()))).indices
    encoder.anchors.zero_()[: len(anchors)] = means[anchors]
    encoder.anchor_known.zero_()[: len(anchors)] = 1.0
    encoder.metric.copy_(whitening(deviation, ridge=1e-3))

    played = _standardised(played, *_mean_and_scale(played))
    mean, scale = _mean_and_scale(statistics)
    _fit(encoder.played, _standardised(statistics, mean, scale), played, steps, dropout=DROPOUT)
    _fold_before(encoder.played[0], mean, scale)
    with torch.no_grad():
        known = torch.cat([encoder.who(z), encoder.played(statistics)], dim=-1)
    _, scale = _mean_and_scale(deviation)
    _fit(encoder.effect, known, deviation / scale, steps)
    last = encoder.effect[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(scale[:, None])
        last.bias.mul_(scale)


def _fit(network: nn.Module, known: torch.Tensor, wanted: torch.Tensor, steps: int, *, dropout: float = 0.0) -> None:
    """Regression by a network that stands still before and after."""
    network.requires_grad_(True)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1.0 - step / steps)
        rows = torch.randint(0, len(known), (BATCH_SIZE,))
        loss = (network(nn.functional.dropout(known[rows], dropout)) - wanted[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    network.requires_grad_(False)


def _mean_and_scale(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return values.mean(0), values.std(0) + 1e-3


def _standardised(values: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (values - mean) / scale


@torch.no_grad()
def _fold_before(layer: nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> None:
    """A layer that was fitted to standardised values takes them as they are."""
    assert isinstance(layer, nn.Linear)
    layer.weight.div_(scale)
    layer.bias.sub_(layer.weight @ mean)


def erasure(difference: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The gentlest linear map of z after which no linear reader finds what was played: LEACE (Belrose et al. 2023), (z_dim, z_dim).

    Its covariances are those of differences within timbres, so what tells timbres apart is touched as little as can be: of z, between two
    excerpts of one timbre (n, z_dim), and of what was played in them (n, n_labels).
    """
    difference, asked = difference.double(), asked.double()
    power, directions = torch.linalg.eigh(difference.T @ difference / len(difference))
    power = power + 1e-4 * power.mean() + 1e-12
    whiten, back = (directions * power**exponent @ directions.T for exponent in (-0.5, 0.5))
    basis = torch.linalg.svd(whiten @ (difference.T @ asked), full_matrices=False).U
    return (torch.eye(len(power), dtype=torch.float64, device=power.device) - back @ basis @ basis.T @ whiten).float()


def whitening(difference: torch.Tensor, *, ridge: float) -> torch.Tensor:
    """A map (z_dim, z_dim) after which differences (n, z_dim) vary alike in all directions, those of hardly any variance excepted."""
    power, directions = torch.linalg.eigh(difference.T @ difference / len(difference))
    return directions * (power + ridge * power.mean() + 1e-9).rsqrt()
