"""Convolutional critics: an item on a grid, and what is given of it, to a logit; or a logit for each part of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.decoder import Block, stacks
from maquette.nets.dims import Conv, Grid, by_level, gather, pyramid
from maquette.nets.leaky import leaky_relu


class ConvCritic(nn.Module):
    """x f32[B, C, *grid] in [-1, 1], c f32[B, features] or None -> logits f32[B].

    The generator's mirror image. What is given enters as a projection: w.h + c.h with h the last features
    (Miyato & Koyama 2018, eq. 3).

    condition: the encoder of what is given, which makes c; None: nothing is
    """

    def __init__(
        self, shape: Sequence[int], condition: Condition | None, features: int, width: int, deep: int, blocks: int,
        deep_blocks: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.grid = pyramid(shape)
        channels = by_level(self.grid, width, deep)[::-1]
        dims, conv = self.grid.dims, Conv[self.grid.dims]
        self.stem = conv(shape[0] * self.grid.values, channels[0])
        self.levels = stacks(channels, by_level(self.grid, blocks, deep_blocks)[::-1], dims)
        self.falls = nn.ModuleList(conv(2**dims * a, b, 1) for a, b in pairwise(channels))
        self.dense = nn.Linear(channels[-1] * self.grid.coarsest, features)
        self.head = nn.Linear(features, 1)
        self.condition = condition

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        h = self.stem(self.grid.cut(x))
        for i, level in enumerate(self.levels):
            h = level(self.falls[i - 1](gather(leaky_relu(h))) if i else h)
        h = leaky_relu(h).movedim(1, -1).flatten(1)  # channels last already: no copy
        h = leaky_relu(self.dense(h)).float()
        logits = self.head(h).float().squeeze(1)
        return logits if c is None else logits + (h * c).sum(1)


class PatchCritic(nn.Module):
    """x f32[B, C, *grid] in [-1, 1] -> logits f32[B, cells]: of each cell of 4 values a side, from the 11 cells a side
    around it. It judges texture, and leaves to others what the whole shows (Isola et al. 2017, section 3.2.2).
    """

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__()
        self.grid, dims = Grid(tuple(shape), 4, (tuple(-(-side // 4) for side in shape[1:]),)), len(shape) - 1
        self.cells = self.grid.coarsest
        self.stem = Conv[dims](shape[0] * self.grid.values, width)
        self.blocks = nn.Sequential(Block(width, dims), Block(width, dims))
        self.head = Conv[dims](width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.blocks(self.stem(self.grid.cut(x)))
        return self.head(leaky_relu(h)).flatten(1).float()
