"""Networks in which every instant looks at every other: self-attention on a convolutional frontend, and a spectrogram transformer."""

from __future__ import annotations

import torch
from torch import nn

from .networks import conv_block, mean_and_max


class SelfAttention(nn.Module):
    """Convolutions, then transformer layers over what is left of time (Won, Chun and Serra, "Toward interpretable music tagging", 2019)."""

    def __init__(
        self,
        shape: tuple[int, int],
        n_classes: int,
        *,
        width: int = 24,
        hidden: int = 96,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        sizes, pools = (1, width, 2 * width, 4 * width), ((2, 2), (4, 2), (4, 1))
        self.body = nn.Sequential(
            *(conv_block(n_in, n_out, pool=pool) for n_in, n_out, pool in zip(sizes[:-1], sizes[1:], pools, strict=True))
        )
        n_bands, n_frames = shape
        for pool in pools:
            n_bands, n_frames = -(-n_bands // pool[0]), -(-n_frames // pool[1])
        self.project = nn.Linear(sizes[-1] * n_bands, hidden)
        self.place = nn.Parameter(0.02 * torch.randn(1, n_frames, hidden))
        self.layers = transformer(hidden, depth, heads, dropout)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.project(self.body(x[:, None]).flatten(1, 2).transpose(1, 2)) + self.place
        return self.head(mean_and_max(self.layers(h).transpose(1, 2)))


class SpectrogramTransformer(nn.Module):
    """A small audio spectrogram transformer: patches with their places, and a token that sums up (Gong et al., AST, 2021)."""

    def __init__(
        self,
        shape: tuple[int, int],
        n_classes: int,
        *,
        hidden: int = 96,
        depth: int = 3,
        heads: int = 4,
        patch_bands: int = 16,
        patch_frames: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, hidden, (patch_bands, patch_frames), stride=(patch_bands, max(patch_frames * 3 // 4, 1)))
        n_patches = self.patch(torch.zeros(1, 1, *shape)).flatten(2).shape[-1]
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, hidden))
        self.place = nn.Parameter(0.02 * torch.randn(1, n_patches, hidden))
        self.layers = transformer(hidden, depth, heads, dropout)
        self.head = nn.Sequential(nn.LayerNorm(2 * hidden), nn.Linear(2 * hidden, n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.patch(x[:, None]).flatten(2).transpose(1, 2) + self.place
        h = self.layers(torch.cat([self.token.expand(len(h), -1, -1).to(h), h], dim=1))
        return self.head(torch.cat([h[:, 0], h[:, 1:].mean(1)], dim=-1))


def transformer(hidden: int, depth: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    """Layers that normalise first, which train without a long warm-up."""
    layer = nn.TransformerEncoderLayer(hidden, heads, 2 * hidden, dropout, activation="gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
