"""A convolutional encoder: a picture to features on a pyramid of coarse grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.latent import scaled_normal_

_COARSEST = 8  # cells a side: small enough for 3x3 convolutions to see all of it after three


@dataclass(frozen=True)
class Grid:
    """The grids on which a picture of (channels, height, width) is worked on.

    A picture is cut into patches whose pixels become channels (space-to-depth), so that every convolution
    is a dense one with many channels on few cells: several times faster per FLOP on a CPU than thin layers
    at full resolution.

    patch:  pixels a side
    sizes:  (rows, columns) of each level, coarsest first, each twice the one before
    """

    channels: int
    height: int
    width: int
    patch: int
    sizes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, shape: Sequence[int], patch: int) -> Grid:
        """As many levels as it takes for the coarsest to have at most 8 cells a side."""
        channels, height, width = shape
        side = max(height, width)
        levels = 1
        while side > patch * _COARSEST * 2 ** (levels - 1):
            levels += 1
        cell = patch * 2 ** (levels - 1)
        rows, columns = -(-height // cell), -(-width // cell)
        return cls(channels, height, width, patch, tuple((rows << i, columns << i) for i in range(levels)))

    def cut(self, x: Tensor) -> Tensor:
        """f32[B, C, H, W] -> [B, C patch^2, rows, columns] of the finest level; edges are repeated to fill."""
        rows, columns = self.sizes[-1]
        spare = (0, columns * self.patch - self.width, 0, rows * self.patch - self.height)
        x = F.pad(x, spare, mode="replicate") if any(spare) else x
        return F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)

    def join(self, h: Tensor) -> Tensor:
        """The inverse of `cut`, for any number of channels."""
        return F.pixel_shuffle(h, self.patch)[..., : self.height, : self.width]


def gather(h: Tensor) -> Tensor:
    """[B, C, 2H, 2W] -> [B, 4C, H, W]: each 2x2 cells become one. Pixel-unshuffle but for the order of channels, which
    here keeps those of a cell together: with channels last, several times faster to copy."""
    b, c, rows, columns = h.shape
    h = h.permute(0, 2, 3, 1).reshape(b, rows // 2, 2, columns // 2, 2, c).transpose(2, 3)
    return h.reshape(b, rows // 2, columns // 2, 4 * c).permute(0, 3, 1, 2)


def spread(h: Tensor) -> Tensor:
    """The inverse of `gather`."""
    b, c, rows, columns = h.shape
    h = h.permute(0, 2, 3, 1).reshape(b, rows, columns, 2, 2, c // 4).transpose(2, 3)
    return h.reshape(b, 2 * rows, 2 * columns, c // 4).permute(0, 3, 1, 2)


class Conv(nn.Conv2d):
    """A convolution that keeps the grid, with weights ~ N(0, gain^2 / fan_in)."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        scaled_normal_(self, gain)


class Residual(nn.Module):
    """h + conv(relu(conv(relu(h)))), without normalisation: near the identity at first (He et al. 2016b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = Conv(width, width, gain=1.4), Conv(width, width, gain=0.2)

    def forward(self, h: Tensor) -> Tensor:
        change: Tensor = self.outer(F.relu(self.inner(F.relu(h))))
        return h + change


class ConvEncoder(nn.Module):
    """f32[B, C, H, W] in [-1, 1] -> for each level, coarsest first, the features after each of its blocks."""

    def __init__(self, grid: Grid, width: int, blocks: int) -> None:
        super().__init__()
        self.grid = grid
        self.stem = Conv(grid.channels * grid.patch**2, width, gain=1.4)
        # Finer levels cost four times as much each: one block has to do there.
        depths = [blocks] + [1] * (len(grid.sizes) - 1)
        self.levels = nn.ModuleList(nn.ModuleList(Residual(width) for _ in range(depth)) for depth in depths)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        h = self.stem(self.grid.cut(x))
        features: list[list[Tensor]] = []
        for blocks in reversed(self.levels):
            if features:
                h = F.avg_pool2d(h, 2)
            features.insert(0, [])
            for block in cast(nn.ModuleList, blocks):
                h = block(h)
                features[0].append(h)
        return features
