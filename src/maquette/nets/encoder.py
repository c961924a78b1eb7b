"""A convolutional encoder: items on a grid to features on a pyramid of coarse grids."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.dims import Conv, Grid, halve


class Residual(nn.Module):
    """h + conv(relu(conv(relu(h)))), without normalisation: near the identity at first (He et al. 2016b)."""

    def __init__(self, width: int, dims: int = 2) -> None:
        super().__init__()
        self.inner, self.outer = Conv[dims](width, width, gain=1.4), Conv[dims](width, width, gain=0.2)

    def forward(self, h: Tensor) -> Tensor:
        change: Tensor = self.outer(F.relu(self.inner(F.relu(h))))
        return h + change


class ConvEncoder(nn.Module):
    """f32[B, C, *grid] in [-1, 1] -> for each level, coarsest first, the features after each of its blocks."""

    def __init__(self, grid: Grid, width: int, blocks: int) -> None:
        super().__init__()
        self.grid = grid
        self.stem = Conv[grid.dims](grid.shape[0] * grid.values, width, gain=1.4)
        # Finer levels cost 2^n times as much each: one block has to do there.
        depths = [blocks] + [1] * (len(grid.sizes) - 1)
        self.levels = nn.ModuleList(nn.ModuleList(Residual(width, grid.dims) for _ in range(depth)) for depth in depths)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        h = self.stem(self.grid.cut(x))
        features: list[list[Tensor]] = []
        for blocks in reversed(self.levels):
            if features:
                h = halve[self.grid.dims](h, 2)
            features.insert(0, [])
            for block in cast(nn.ModuleList, blocks):
                h = block(h)
                features[0].append(h)
        return features
