"""What makes z say who plays, and nothing else: the forces on the z of a batch of hearings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .adversary import Adversary
from .losses import supervised_contrast

SMOOTHING = 0.1  # of the instrument's label: a soundfont's oboe is not all there is to oboes


@dataclass(frozen=True)
class ForceWeights:
    """How much each force counts; 0 leaves it out.

    Parameters
    ----------
    alignment : float, >= 0
        z near the row of its timbre in the table: mean square of a number.
    kind : float, >= 0
        A linear reader of z names the instrument, whoever's recording it is, equalised, rescaled or captured: cross-entropy.
    consistency : float, >= 0
        The excerpts of one hearing near their mean: mean square of a number.
    contrast : float, >= 0
        Excerpts of one timbre near each other and its row, those of others far; a changed timbre is another.
    adversary : float, >= 0
        Neither pitch nor loudness to be read from z.
    """

    alignment: float
    kind: float
    consistency: float
    contrast: float
    adversary: float


class TimbreForces(nn.Module):
    """The forces, and those who help to measure them: a linear reader of the instrument, an adversary.

    Parameters
    ----------
    z_dim, n_kinds : int
    weights : ForceWeights
    """

    def __init__(self, z_dim: int, n_kinds: int, weights: ForceWeights) -> None:
        super().__init__()
        self.weights = weights
        self.kind = nn.Linear(z_dim, n_kinds)
        self.adversary = Adversary(z_dim)

    def forward(
        self, z: torch.Tensor, batch: dict[str, torch.Tensor], table: torch.Tensor, *, adversary_share: float = 1.0
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Sum of the forces, and each as a figure.

        Parameters
        ----------
        z : Tensor [shape=(n, z_dim)]
            Of the excerpts of a batch of :class:`~tonetransfer.hearings.Hearings`.
        batch : mapping
        table : Tensor [shape=(n_timbres, z_dim)]
            Rows of the named and unnamed timbres; no gradient reaches them.
        adversary_share : float, in [0, 1]
            Of its weight. An encoder that cannot yet tell instruments apart only learns to say nothing from an adversary.

        Returns
        -------
        loss : Tensor [shape=()]
            The adversary's own learning is part of it.
        figures : mapping of str to Tensor [shape=()]
            ``told`` is what the adversary reads, as a share of the variance.
        """
        weights, table = self.weights, table.detach()
        known = batch["original"] & (batch["timbre"] >= 0)
        apart = (z[known] - table[batch["timbre"][known]]).square().mean()
        named = self.kind(z)
        kind = nn.functional.cross_entropy(named, batch["kind"], label_smoothing=SMOOTHING)
        hearings = z.unflatten(0, (int(batch["group"][-1]) + 1, -1))  # (n_hearings, excerpts of each, z_dim)
        consistency = (hearings - hearings.mean(1, keepdim=True)).square().mean()
        label = torch.where(known, batch["timbre"], len(table) + batch["group"])  # a changed timbre is one of its own
        contrast = supervised_contrast(z, label, table)
        pairs, played = _clean_pairs(hearings, batch["played"], batch["captured"])
        own, told = self.adversary(pairs, played)
        loss = weights.alignment * apart + weights.kind * kind + weights.consistency * consistency + weights.contrast * contrast
        right = (named.argmax(-1) == batch["kind"]).float().mean()
        figures = {"apart": apart, "kind": kind, "right": right, "inconsistent": consistency, "contrast": contrast, "told": told}
        return loss + adversary_share * weights.adversary * told + own, figures


def _clean_pairs(hearings: torch.Tensor, played: torch.Tensor, captured: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of excerpts of one hearing without a room around either, which would drown what z tells of the playing."""
    n = hearings.shape[1]
    first, second = torch.triu_indices(n, n, 1, device=hearings.device)
    clean = ~captured.view(-1, n)
    both = clean[:, first] & clean[:, second]
    played = played.view(-1, n, played.shape[-1])
    pairs = torch.stack([hearings[:, first], hearings[:, second]], dim=2)[both]
    return pairs, torch.stack([played[:, first], played[:, second]], dim=2)[both]
