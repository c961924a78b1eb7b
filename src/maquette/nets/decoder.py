"""A convolutional generator: a latent vector to a picture of any size, with dense convolutions on coarse grids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.encoder import Conv, Grid

SLOPE = 0.2  # of the leaky ReLU


def pyramid(shape: Sequence[int]) -> Grid:
    """The grids for a picture (C, H, W): 2x2 pixels a cell on the finest, or 4x4 above 48 pixels.

    The last and the first layer work on cells, never on single pixels: thin layers at full resolution are
    what costs a small machine most, in memory traffic rather than arithmetic.
    """
    return Grid.of(shape, patch=2 if max(shape[1:]) <= 48 else 4)


def channels_by_level(grid: Grid, width: int, deep: int) -> list[int]:
    """Channels from the coarsest level: `deep` for all but the finest, which costs most and has `width`."""
    levels = len(grid.sizes)
    return [deep] if levels == 1 else [deep] * (levels - 1) + [width]


class Block(nn.Module):
    """h + conv(lrelu(conv(h))): no normalisation, near the identity at first (R3GAN, Huang et al. 2024)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = Conv(width, width, gain=2**0.5), Conv(width, width, gain=0.1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.outer(F.leaky_relu(self.inner(h), SLOPE))


class ConvGenerator(nn.Module):
    """z f32[B, latent_dim], y i64[B] in 0..classes (the last: no label) or None -> f32[B, C, H, W] in [-1, 1]."""

    def __init__(self, shape: Sequence[int], classes: int, latent_dim: int, width: int, deep: int, blocks: int) -> None:
        super().__init__()
        self.grid = pyramid(shape)
        channels = channels_by_level(self.grid, width, deep)
        self.classes = nn.Embedding(classes + 1, latent_dim) if classes else None
        self.stem = nn.Linear(latent_dim * (2 if classes else 1), channels[0] * self._cells)
        self.levels = nn.ModuleList(nn.Sequential(*(Block(c) for _ in range(blocks))) for c in channels)
        self.rises = nn.ModuleList(Conv(a, 4 * b, 1) for a, b in pairwise(channels))
        self.head = Conv(channels[-1], shape[0] * self.grid.patch**2)

    @property
    def _cells(self) -> int:
        return self.grid.sizes[0][0] * self.grid.sizes[0][1]

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        if self.classes is not None:
            z = torch.cat([z, self.classes(y)], 1)
        # Rows of the stem are (cell, channel): its output is channels-last as it stands.
        h = self.stem(z).view(len(z), *self.grid.sizes[0], -1).permute(0, 3, 1, 2)
        for i, level in enumerate(self.levels):
            if i:
                h = F.pixel_shuffle(self.rises[i - 1](F.leaky_relu(h, SLOPE)), 2)
                h = h.contiguous(memory_format=torch.channels_last)
            h = level(h)
        return self.grid.join(self.head(F.leaky_relu(h, SLOPE))).float().tanh()
