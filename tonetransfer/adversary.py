"""Somebody who tries to read from z what was played."""

from __future__ import annotations

import torch
from torch import nn

N_LABELS = 2  # mean pitch, mean loudness
MEMORY = 2048  # pairs that are remembered for their covariance
RECENT = 512  # of them, the network learns from: an older encoder spoke another language
REHEARSED = 256  # of these, a step
NEWEST = 0.1  # weight of a batch in the running covariance with what was played
RIDGE = 0.01  # share of the mean variance that every direction is credited with


class Adversary(nn.Module):
    """Reads from two z of one timbre by how much the one excerpt was played higher and louder than the other.

    Differences within a timbre are asked for, because who plays tells much of how high and how loud; that is no leak. They are whitened:
    to whoever reads z, a trace in some direction is as good as a loud word. Two readers work side by side: the best linear one, in
    closed form, and a network, which also finds what is said in other words by each timbre. The linear one must be up to date: one that was
    fitted to the last hundred batches was outrun by an encoder that turned the same words round and round.

    Parameters
    ----------
    z_dim, width : int
    """

    pairs: torch.Tensor
    labels: torch.Tensor
    shared: torch.Tensor
    filled: torch.Tensor

    def __init__(self, z_dim: int, width: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3 * z_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, N_LABELS))
        self.register_buffer("pairs", torch.zeros(MEMORY, 2, z_dim))
        self.register_buffer("labels", torch.zeros(MEMORY, N_LABELS))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("shared", torch.zeros(z_dim, N_LABELS), persistent=False)

    def forward(self, pairs: torch.Tensor, played: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn, and say how much z tells.

        Parameters
        ----------
        pairs : Tensor [shape=(batch, 2, z_dim)]
            z of two excerpts of one timbre.
        played : Tensor [shape=(batch, 2, 2)]
            Mean pitch and loudness of these excerpts, in any unit.

        Returns
        -------
        own : Tensor [shape=()]
            What the adversary is to make small, as a share of the variance: 1 if it reads nothing. Its gradient ends at z.
        told : Tensor [shape=()]
            What the encoder is to make small: the power of what both read, as a share of the variance. Its gradient leaves the adversary
            as it is. (Making the adversary's error large instead would be served by pairs that tell the opposite.)
        """
        if not len(pairs):
            return pairs.sum(), pairs.sum()
        pairs = pairs.float()
        difference, asked = pairs[:, 0] - pairs[:, 1], (played[:, 0] - played[:, 1]).float()
        rows = (int(self.filled) + torch.arange(len(pairs), device=pairs.device)) % MEMORY
        self.pairs[rows], self.labels[rows] = pairs.detach(), asked
        self.filled += len(pairs)
        known = min(int(self.filled), MEMORY)
        scale = (self.labels[:known].square().mean(0) + 1e-6).sqrt()
        whiten = whitening(self.pairs[:known, 0] - self.pairs[:known, 1])

        chosen = (int(self.filled) - 1 - torch.randint(0, min(known, RECENT), (REHEARSED,), device=pairs.device)) % MEMORY
        own = (self.net(_seen(self.pairs[chosen], whiten)) - self.labels[chosen] / scale).square().mean()
        frozen = {name: value.detach() for name, value in self.net.named_parameters()}
        read = torch.func.functional_call(self.net, frozen, (_seen(pairs, whiten),))

        batch = difference.T @ (asked / scale) / len(pairs)
        self.shared.lerp_(batch.detach(), NEWEST)
        linear = whiten.T @ (self.shared + batch - batch.detach())  # the value of the running mean, the gradient of the batch
        return own, read.square().mean() + linear.square().sum() / N_LABELS


def erasure(difference: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The gentlest linear map of z after which no linear reader finds what was played: LEACE (Belrose et al. 2023).

    Its covariances are those of differences within timbres, so what tells timbres apart is touched as little as can be.

    Parameters
    ----------
    difference : Tensor [shape=(n, z_dim)]
        Of z, between two excerpts of one timbre.
    asked : Tensor [shape=(n, n_labels)]
        Of what was played in them.

    Returns
    -------
    Tensor [shape=(z_dim, z_dim)]
    """
    difference, asked = difference.double(), asked.double()
    power, directions = torch.linalg.eigh(difference.T @ difference / len(difference))
    power = power + 1e-4 * power.mean() + 1e-12
    whiten, back = (directions * power**exponent @ directions.T for exponent in (-0.5, 0.5))
    basis = torch.linalg.svd(whiten @ (difference.T @ asked), full_matrices=False).U
    return (torch.eye(len(power), dtype=torch.float64, device=power.device) - back @ basis @ basis.T @ whiten).float()


def whitening(difference: torch.Tensor, *, ridge: float = RIDGE) -> torch.Tensor:
    """A map (z_dim, z_dim) after which differences (n, z_dim) vary alike in all directions, those of hardly any variance excepted."""
    power, directions = torch.linalg.eigh(difference.T @ difference / len(difference))
    return directions * (power + ridge * power.mean() + 1e-9).rsqrt()


def _seen(pairs: torch.Tensor, whiten: torch.Tensor) -> torch.Tensor:
    return torch.cat([pairs[:, 0], pairs[:, 1], (pairs[:, 0] - pairs[:, 1]) @ whiten], dim=-1)
