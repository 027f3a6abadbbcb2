"""What makes z say who plays, and nothing else: the forces on the z of a batch of hearings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

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
    """

    alignment: float
    kind: float
    consistency: float
    contrast: float


class TimbreForces(nn.Module):
    """The forces, and the linear reader of the instrument that measures one of them.

    Parameters
    ----------
    z_dim, n_kinds : int
    weights : ForceWeights
    """

    def __init__(self, z_dim: int, n_kinds: int, weights: ForceWeights) -> None:
        super().__init__()
        self.weights = weights
        self.kind = nn.Linear(z_dim, n_kinds)

    def forward(self, z: torch.Tensor, batch: dict[str, torch.Tensor], table: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Sum of the forces, and each as a figure.

        Parameters
        ----------
        z : Tensor [shape=(n, z_dim)]
            Of the excerpts of a batch of :class:`~tonetransfer.training.encoder_batches.Hearings`.
        batch : mapping
        table : Tensor [shape=(n_timbres, z_dim)]
            Rows of the named and unnamed timbres; no gradient reaches them.

        Returns
        -------
        loss : Tensor [shape=()]
        figures : mapping of str to Tensor [shape=()]
            ``right`` is the share of excerpts whose instrument the reader names.
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
        loss = weights.alignment * apart + weights.kind * kind + weights.consistency * consistency + weights.contrast * contrast
        right = (named.argmax(-1) == batch["kind"]).float().mean()
        figures = {"apart": apart, "kind": kind, "right": right, "inconsistent": consistency, "contrast": contrast}
        return loss, figures
