"""Somebody who tries to read from z what was played."""

from __future__ import annotations

import torch
from torch import nn

RIDGE = 0.01  # share of the mean variance that every direction is credited with
N_LABELS = 2  # mean pitch, mean loudness
MEMORY = 2048  # pairs that are remembered: enough for the adversary to find what one batch does not show
REHEARSED = 256  # of them, a step


class Adversary(nn.Module):
    """Reads from two z of one timbre by how much the one excerpt was played higher and louder than the other.

    Differences within a timbre are asked for, because who plays tells much of how high and how loud; that is no leak. They are whitened:
    to whoever reads z, a trace in some direction is as good as a loud word. Two readers work side by side: the best linear one, in
    closed form from a memory of pairs, and a network, which also finds what is said in other words by each timbre.

    Parameters
    ----------
    z_dim, width : int
    """

    pairs: torch.Tensor
    labels: torch.Tensor

    def __init__(self, z_dim: int, width: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3 * z_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, N_LABELS))
        self.register_buffer("pairs", torch.zeros(MEMORY, 2, z_dim))
        self.register_buffer("labels", torch.zeros(MEMORY, N_LABELS))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def known(self) -> torch.Tensor:
        """What is remembered of z, (n, z_dim)."""
        return self.pairs[: min(int(self.filled), MEMORY)].flatten(0, 1)

    def erasure(self) -> torch.Tensor:
        """The gentlest linear map of z after which no linear reader finds what was played, (z_dim, z_dim): LEACE (Belrose et al. 2023).

        Its covariances are those of differences within timbres, so what tells timbres apart is touched as little as can be.
        """
        difference, label = self._remembered()
        power, directions = torch.linalg.eigh((difference.T @ difference / len(difference)).double())
        power = power + RIDGE**2 * power.mean() + 1e-9
        whiten, back = (directions * power**exponent @ directions.T for exponent in (-0.5, 0.5))
        shared = whiten @ (difference.T @ label / len(difference)).double()
        basis = torch.linalg.svd(shared, full_matrices=False).U
        return (torch.eye(len(power), dtype=torch.float64, device=power.device) - back @ basis @ basis.T @ whiten).float()

    def _remembered(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Differences of z within pairs, and of what was played, of unit variance."""
        known = min(int(self.filled), MEMORY)
        label = self.labels[:known]
        return self.pairs[:known, 0] - self.pairs[:known, 1], label / (label.square().mean(0) + 1e-6).sqrt()

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
        rows = (int(self.filled) + torch.arange(len(pairs), device=pairs.device)) % MEMORY
        self.pairs[rows], self.labels[rows] = pairs.detach().to(self.pairs), (played[:, 0] - played[:, 1]).to(self.labels)
        self.filled += len(pairs)
        difference, label = self._remembered()
        chosen = torch.randint(0, len(label), (REHEARSED,), device=pairs.device)
        power, directions = torch.linalg.eigh(difference.T @ difference / len(label))
        whiten = directions * (power + RIDGE * power.mean() + 1e-9).rsqrt()
        linear = (difference @ whiten).T @ label / len(label)
        own = (self.net(_seen(self.pairs[chosen], whiten)) - label[chosen]).square().mean()
        frozen = {name: value.detach() for name, value in self.net.named_parameters()}
        pairs = pairs.float()
        read = torch.func.functional_call(self.net, frozen, (_seen(pairs, whiten),))
        told = read.square().mean() + ((pairs[:, 0] - pairs[:, 1]) @ whiten @ linear).square().mean()
        return own, told


def _seen(pairs: torch.Tensor, whiten: torch.Tensor) -> torch.Tensor:
    return torch.cat([pairs[:, 0], pairs[:, 1], (pairs[:, 0] - pairs[:, 1]) @ whiten], dim=-1)
