"""A convolutional generator: a latent vector to an item on a grid, with dense convolutions on coarse grids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.dims import Conv, by_level, pyramid, spread
from maquette.nets.leaky import leaky_relu


class Block(nn.Module):
    """h + conv(lrelu(conv(h))): no normalisation, near the identity at first (R3GAN, Huang et al. 2024)."""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        self.inner, self.outer = Conv[dims](width, width, gain=2**0.5), Conv[dims](width, width, gain=0.1)

    def forward(self, h: Tensor) -> Tensor:
        return self.outer(leaky_relu(self.inner(h))) + h


def stacks(channels: Sequence[int], depths: Sequence[int], dims: int) -> nn.ModuleList:
    """For each level, so many blocks of so many channels."""
    levels = zip(channels, depths, strict=True)
    return nn.ModuleList(nn.Sequential(*(Block(width, dims) for _ in range(depth))) for width, depth in levels)


class ConvGenerator(nn.Module):
    """z f32[B, latent_dim], c f32[B, width of `condition`] or None -> f32[B, C, *grid] in [-1, 1].

    condition: the encoder of what is given, which makes c; None: nothing is
    """

    def __init__(
        self, shape: Sequence[int], condition: Condition | None, latent_dim: int, width: int, deep: int, blocks: int,
        deep_blocks: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.grid = pyramid(shape)
        dims, conv = self.grid.dims, Conv[self.grid.dims]
        channels = by_level(self.grid, width, deep)
        self.condition = condition
        self.stem = nn.Linear(latent_dim + (condition.width if condition else 0), channels[0] * self.grid.coarsest)
        self.levels = stacks(channels, by_level(self.grid, blocks, deep_blocks), dims)
        self.rises = nn.ModuleList(conv(a, 2**dims * b, 1) for a, b in pairwise(channels))
        self.head = conv(channels[-1], shape[0] * self.grid.values)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        if c is not None:
            z = torch.cat([z, c], 1)
        # Rows of the stem are (cell, channel): its output is channels-last as it stands.
        h = self.stem(z).view(len(z), *self.grid.sizes[0], -1).movedim(-1, 1)
        for i, level in enumerate(self.levels):
            h = level(spread(self.rises[i - 1](leaky_relu(h))) if i else h)
        return self.grid.join(self.head(leaky_relu(h))).float().tanh()
