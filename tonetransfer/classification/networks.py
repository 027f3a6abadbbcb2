"""Convolutional networks on the log-mel spectrogram and on the waveform, in sizes that train in minutes on two cores.

Each takes features (n_windows, n_bands, n_frames) or, for the waveform, (n_windows, n_samples), and gives scores (n_windows, n_classes)
before softmax or sigmoid. Most follow Won, Ferraro, Bogdanov and Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from .frontends import FLOOR_DB


class Conv1dNetwork(nn.Module):
    """Convolutions over time that see all bands at once; mean and maximum over time."""

    def __init__(self, shape: tuple[int, int], n_classes: int, *, width: int = 192, depth: int = 3, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(shape[0])]
        for layer in range(depth):
            n_in = width if layer else shape[0]
            layers += [nn.Conv1d(n_in, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU()]
            layers += [nn.MaxPool1d(2, ceil_mode=True)] if layer < depth - 1 else []
        self.body = nn.Sequential(*layers)
        self.head = dense_head(2 * width, width, n_classes, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(mean_and_max(self.body(x)))


class Conv1dWithZ(nn.Module):
    """Mean of the scores of :class:`Conv1dNetwork` on the bands and of a linear layer on z, whose errors differ.

    In training each item is scored by one of them, chosen at random, so that both learn to classify by themselves.
    """

    def __init__(
        self, shape: tuple[int, int], n_classes: int, *, n_bands: int = 96, width: int = 256, depth: int = 3, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.n_bands, n_z = n_bands, shape[0] - n_bands
        self.of_bands = Conv1dNetwork((n_bands, shape[1]), n_classes, width=width, depth=depth, dropout=dropout)
        self.of_z = nn.Sequential(nn.BatchNorm1d(n_z), nn.Dropout(dropout), nn.Linear(n_z, n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        by_bands, by_z = self.of_bands(x[:, : self.n_bands]), self.of_z(x[:, self.n_bands :, 0])
        share = (torch.rand(len(x), 1) < 0.5).to(by_bands) if self.training else 0.5
        return share * by_bands + (1.0 - share) * by_z


class FullyConvolutional(nn.Module):
    """FCN: few convolutions with large pooling until one value is left (Choi, Fazekas and Sandler, ISMIR 2016)."""

    def __init__(self, shape: tuple[int, int], n_classes: int, *, width: int = 24, dropout: float = 0.3) -> None:
        super().__init__()
        sizes = (1, width, 2 * width, 4 * width, 6 * width)
        pools = ((2, 2), (3, 2), (4, 3), (4, 3))
        self.body = conv_stack(sizes, pools)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * sizes[-1], n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(mean_and_max(self.body(x[:, None]).flatten(2)))


class ShortChunk(nn.Module):
    """Short-chunk CNN: 3 x 3 convolutions and 2 x 2 pooling all the way down, with or without residual connections (Won et al. 2020)."""

    def __init__(
        self, shape: tuple[int, int], n_classes: int, *, width: int = 16, depth: int = 6, residual: bool = False, dropout: float = 0.3
    ) -> None:
        super().__init__()
        sizes = [width] + [min(width * 2**layer, 8 * width) for layer in range(1, depth)]
        block = ResidualBlock if residual else conv_block
        layers = [block(n_in, n_out) for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)]
        self.body = nn.Sequential(nn.BatchNorm2d(1), conv_block(1, width), *layers)
        self.head = dense_head(2 * sizes[-1], sizes[-1], n_classes, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(mean_and_max(self.body(x[:, None]).flatten(2)))


class ResidualBlock(nn.Module):
    """Half the size, then two convolutions around which that goes too.

    Pooling instead of a stride: in bfloat16 on CPUs, PyTorch 2.14 gives NaN as the gradient of a strided convolution one column wide.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.first = nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out))
        self.around = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(x)
        return torch.relu(self.second(self.first(x)) + self.around(x))


class ConvolutionalRecurrent(nn.Module):
    """CRNN: convolutions, then a GRU reads what is left over time (Choi, Fazekas, Sandler and Cho, ICASSP 2017)."""

    def __init__(self, shape: tuple[int, int], n_classes: int, *, width: int = 24, hidden: int = 96, dropout: float = 0.3) -> None:
        super().__init__()
        sizes, pools = (1, width, 2 * width, 4 * width, 4 * width), ((2, 2), (3, 2), (4, 1), (4, 1))
        self.body = conv_stack(sizes, pools)
        n_bands = shape[0]
        for pool in pools:
            n_bands = -(-n_bands // pool[0])
        self.recurrent = nn.GRU(sizes[-1] * n_bands, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * hidden, n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x[:, None]).flatten(1, 2).transpose(1, 2)  # (n_windows, n_frames / 4, channels * bands)
        return self.head(mean_and_max(self.recurrent(h)[0].transpose(1, 2)))


class Musicnn(nn.Module):
    """Filters as tall as timbre and as wide as rhythm, then dense temporal convolutions (Pons and Serra, "musicnn", 2019)."""

    def __init__(self, shape: tuple[int, int], n_classes: int, *, width: int = 24, dropout: float = 0.3) -> None:
        super().__init__()
        n_bands = shape[0]
        heights = [round(share * n_bands) for share in (0.4, 0.7)]
        self.normal = nn.BatchNorm2d(1)
        self.timbral = nn.ModuleList(conv_relu(1, width, (height, wide)) for height in heights for wide in (1, 5))
        self.temporal = nn.ModuleList(conv_relu(1, width // 2, (1, wide)) for wide in (33, 65))
        n_front = 4 * width + 2 * (width // 2)
        middle = 2 * width
        self.middle = nn.ModuleList(
            nn.Sequential(nn.Conv1d(n_in, middle, 7, padding=3), nn.BatchNorm1d(middle), nn.ReLU()) for n_in in (n_front, middle, middle)
        )
        self.head = dense_head(2 * (n_front + 3 * middle), 4 * middle, n_classes, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.normal(x[:, None])
        narrow = [conv(x).amax(2) for conv in self.timbral]
        flat = x.mean(2, keepdim=True)
        wide = [conv(flat)[:, :, 0] for conv in self.temporal]
        layers = [torch.cat(narrow + wide, dim=1)]
        h = self.middle[0](layers[0])
        layers.append(h)
        for layer in list(self.middle)[1:]:
            h = h + layer(h)
            layers.append(h)
        return self.head(mean_and_max(torch.cat(layers, dim=1)))


class HarmonicCnn(nn.Module):
    """Data-driven harmonic filters: triangular bands at f, 2 f, 3 f ... of learned width, stacked as channels (Won et al. 2020).

    Takes a :class:`~tonetransfer.classification.frontends.Spectrum` of bins from 0 to `highest_hz`.
    """

    frequency: torch.Tensor
    centres: torch.Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        n_classes: int,
        *,
        width: int = 16,
        n_harmonics: int = 5,
        bands_per_octave: int = 12,
        lowest_hz: float = 55.0,
        highest_hz: float = 8000.0,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        n_bands = int(bands_per_octave * math.log2(highest_hz / n_harmonics / lowest_hz)) + 1
        fundamentals = lowest_hz * 2.0 ** (torch.arange(n_bands) / bands_per_octave)
        self.register_buffer("frequency", torch.linspace(0.0, highest_hz, shape[0]), persistent=False)
        self.register_buffer("centres", fundamentals * torch.arange(1, n_harmonics + 1)[:, None], persistent=False)  # (harmonics, bands)
        self.width_q = nn.Parameter(torch.tensor(1.0))
        self.offset_hz = nn.Parameter(torch.tensor(24.7))  # ERB = f / 9.265 + 24.7 Hz (Glasberg and Moore), where learning begins
        self.body = ShortChunkBody(n_harmonics, width)
        self.head = dense_head(2 * self.body.n_out, self.body.n_out, n_classes, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        power = 10.0 ** ((x - 1.0) * (FLOOR_DB / 20.0))
        bands = torch.einsum("bft,hnf->bhnt", power, self.filters().to(power))
        level = 10.0 * torch.log10(bands.clamp(min=10.0 ** (-FLOOR_DB / 10.0)))
        return self.head(mean_and_max(self.body(level / (FLOOR_DB / 2.0) + 1.0).flatten(2)))

    def filters(self) -> torch.Tensor:
        """Triangles (n_harmonics, n_bands, n_bins)."""
        bandwidth = (self.centres * 0.1079 + self.offset_hz.clamp(min=1.0)) / self.width_q.clamp(min=0.2)
        distance = (self.frequency - self.centres[..., None]).abs()
        return (1.0 - 2.0 * distance / bandwidth.clamp(min=2.0 * float(self.frequency[1]))[..., None]).clamp(min=0.0)


class ShortChunkBody(nn.Sequential):
    """The convolutions of :class:`ShortChunk` for images of several channels."""

    def __init__(self, n_channels: int, width: int) -> None:
        sizes = (n_channels, width, 2 * width, 4 * width, 8 * width, 8 * width)
        self.n_out = sizes[-1]
        super().__init__(nn.BatchNorm2d(n_channels), *(conv_block(n_in, n_out) for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)))


class Cnn14Like(nn.Module):
    """CNN14 with fewer channels: pairs of 3 x 3 convolutions, mean over bands, mean plus maximum over time (Kong et al., "PANNs", 2020)."""

    def __init__(self, shape: tuple[int, int], n_classes: int, *, width: int = 12, depth: int = 5, dropout: float = 0.3) -> None:
        super().__init__()
        sizes = [1] + [width * 2**layer for layer in range(depth)]
        self.normal = nn.BatchNorm1d(shape[0])
        self.body = nn.Sequential(
            *(
                nn.Sequential(*conv_block(n_in, n_out, pool=(1, 1))[:-1], *conv_block(n_out, n_out))
                for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
            )
        )
        self.embed = nn.Sequential(nn.Dropout(dropout), nn.Linear(sizes[-1], sizes[-1]), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(sizes[-1], n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(self.normal(x)[:, None]).mean(2)
        return self.head(self.embed(h.mean(-1) + h.amax(-1)))


class SampleCnn(nn.Module):
    """Convolutions of three samples on the waveform, each followed by pooling of three (Lee, Park, Kim and Nam, SMC 2017)."""

    def __init__(self, shape: tuple[int], n_classes: int, *, width: int = 32, dropout: float = 0.3) -> None:
        super().__init__()
        depth = int(math.log(shape[0], 3)) - 1
        sizes = [width] * 3 + [2 * width] * 3 + [4 * width] * max(depth - 6, 1)
        layers: list[nn.Module] = [nn.Conv1d(1, width, 3, stride=3), nn.BatchNorm1d(width), nn.ReLU()]
        for n_in, n_out in zip([width, *sizes[:-1]], sizes, strict=True):
            layers += [nn.Conv1d(n_in, n_out, 3, padding=1), nn.BatchNorm1d(n_out), nn.ReLU(), nn.MaxPool1d(3, ceil_mode=True)]
        self.body = nn.Sequential(*layers)
        self.head = dense_head(2 * sizes[-1], sizes[-1], n_classes, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(mean_and_max(self.body(x[:, None])))


def conv_block(n_in: int, n_out: int, *, pool: tuple[int, int] = (2, 2)) -> nn.Sequential:
    """A 3 x 3 convolution with pooling; a last odd row or column is kept."""
    pooling = nn.MaxPool2d(pool, ceil_mode=True)
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(), pooling)


def conv_stack(sizes: Sequence[int], pools: Sequence[tuple[int, int]]) -> nn.Sequential:
    """Blocks from each number of channels to the next, each with its pooling."""
    return nn.Sequential(*(conv_block(n_in, n_out, pool=pool) for n_in, n_out, pool in zip(sizes[:-1], sizes[1:], pools, strict=True)))


def conv_relu(n_in: int, n_out: int, size: tuple[int, int]) -> nn.Sequential:
    """A convolution that keeps the number of frames, not that of bands; `size[1]` is odd."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, padding=(0, size[1] // 2)), nn.BatchNorm2d(n_out), nn.ReLU())


def dense_head(n_in: int, hidden: int, n_classes: int, dropout: float) -> nn.Sequential:
    """One hidden layer to scores."""
    return nn.Sequential(nn.Linear(n_in, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_classes))


def mean_and_max(h: torch.Tensor) -> torch.Tensor:
    """(n_windows, channels, n_frames) to (n_windows, 2 * channels)."""
    return torch.cat([h.mean(-1), h.amax(-1)], dim=-1)


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
        self.body = conv_stack(sizes, pools)
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
