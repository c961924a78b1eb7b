"""What networks on grids of one, two or three dimensions are made of.

h is [B, C, *grid] throughout, its channels innermost in memory (channels last): that is what convolutions are fast on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets import winograd

_COARSEST = 8  # cells a side: few enough for three convolutions of 3 cells a side to see all of them


class _SameGrid(nn.modules.conv._ConvNd):
    """A convolution of odd size that keeps the grid, with weights ~ N(0, gain^2 / fan_in) and no bias at first; of 3
    cells a side, with fewer multiplications where that is faster."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)  # type: ignore[arg-type,call-arg]
        scaled_normal_(self, gain)  # type: ignore[arg-type]

    fewer: str | None = None  # when it takes fewer multiplications, as `faster` found; None: by a fixed rule

    def faster(self, x: Tensor) -> str | None:
        """When fewer multiplications are faster here for items like x: `always`, `learning`, `sampling` or `never`;
        None: x is not for them."""
        return winograd.faster(self, x) if winograd.can(x, self.weight) else None

    def forward(self, x: Tensor) -> Tensor:
        if winograd.pays(x, self.weight, self.fewer):
            return winograd.conv(x, self.weight, self.bias, keep=not self.training)
        if not cells_first(x):
            return super().forward(x)
        if self.weight[0, 0].numel() == 1:
            return _items_first(F.linear(_cells_first(x), self.weight.flatten(1), self.bias))
        return super().forward(channels_last(x))


class Conv1d(_SameGrid, nn.Conv1d):
    """On [B, C, N]."""


class Conv2d(_SameGrid, nn.Conv2d):
    """On [B, C, H, W]."""


class Conv3d(_SameGrid, nn.Conv3d):
    """On [B, C, T, H, W]."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not 1 < x.shape[2] < weight.shape[2]:
            return super()._conv_forward(x, weight, bias)
        # Of grids as shallow as that oneDNN computes gradients of bf16 weights that are noise (torch 2.13, CPU).
        above = weight.shape[2] // 2
        padding = (0, *(size // 2 for size in weight.shape[3:]))
        return F.conv3d(F.pad(x, (0, 0, 0, 0, above, above)), weight, bias, padding=padding)


Convolution = Conv1d | Conv2d | Conv3d
Conv: dict[int, type[Convolution]] = {1: Conv1d, 2: Conv2d, 3: Conv3d}  # by the dimensions of the grid
halve = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}  # [B, C, *grid], 2 -> the mean of 2 cells a side


def scaled_normal_(layer: Convolution | nn.Linear, gain: float) -> None:
    """Weights ~ N(0, gain^2 / fan_in), no bias: a small gain makes a residual branch start near zero."""
    nn.init.normal_(layer.weight, std=gain / layer.weight[0].numel() ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def channels_last(h: Tensor) -> Tensor:
    """The same values with channels innermost in memory."""
    return h.movedim(1, -1).contiguous().movedim(-1, 1)


def cells_first(h: Tensor) -> bool:
    """Whether items lie side by side within each cell, [*grid, B, C], as `winograd.conv` leaves them.

    What works value by value keeps the order of its first operand, and what is below keeps that of h.
    """
    return h.ndim > 2 and 0 < h.stride(0) < h.stride(-1)


def _cells_first(h: Tensor) -> Tensor:
    """[B, C, *grid] as [*grid, B, C]."""
    return h.permute(*range(2, h.ndim), 0, 1)


def _items_first(h: Tensor) -> Tensor:
    """The inverse of `_cells_first`."""
    return h.permute(-2, -1, *range(h.ndim - 2))


def normalise(h: Tensor) -> Tensor:
    """The channels of each cell with mean 0 and variance 1 (Ba et al. 2016)."""
    if cells_first(h):
        h = _cells_first(h)
        return _items_first(F.layer_norm(h, h.shape[-1:]))
    h = h.movedim(1, -1)  # channels last already: no copy
    return F.layer_norm(h, h.shape[-1:]).movedim(-1, 1)


def gather(h: Tensor, side: int = 2) -> Tensor:
    """Space to depth: [B, C, *grid] -> [B, side^n C, *grid / side], the cells of a block become one.

    Pixel-unshuffle but for the order of channels, which here keeps those of a cell together: with channels last,
    several times faster to copy.
    """
    n, batch = h.ndim - 2, h.ndim - 2 if cells_first(h) else 0  # where in memory items are
    h = h.movedim(1, -1)
    for d in range(n):
        h = h.unflatten(1 + 2 * d, (-1, side))
    order = list(range(1, 2 * n, 2))
    order.insert(batch, 0)
    h = h.permute(*order, *range(2, 2 * n + 1, 2), 2 * n + 1).flatten(n + 1)
    return h.movedim(batch, 0).movedim(-1, 1)


def spread(h: Tensor, side: int = 2) -> Tensor:
    """The inverse of `gather`."""
    n, batch = h.ndim - 2, h.ndim - 2 if cells_first(h) else 0
    h = h.movedim(1, -1).unflatten(-1, (*[side] * n, -1))
    order = [d for i in range(1, n + 1) for d in (i, n + i)]
    order.insert(2 * batch, 0)
    h = h.permute(*order, 2 * n + 1)
    for d in range(n):
        h = h.flatten(d + (batch == 0), d + (batch == 0) + 1)
    return h.movedim(batch, 0).movedim(-1, 1)


@dataclass(frozen=True)
class Grid:
    """The grids on which items of (channels, *grid) are worked on.

    An item is cut into patches whose values become channels (space to depth), so that every convolution is a dense
    one with many channels on few cells: several times faster per FLOP on a CPU than thin layers at full resolution.

    shape:  of an item
    patch:  values a side
    sizes:  cells along each dimension of each level, coarsest first, each twice the one before
    """

    shape: tuple[int, ...]
    patch: int
    sizes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int], patch: int) -> Grid:
        """As many levels as it takes for the coarsest to have at most 8 cells a side."""
        side, levels = max(shape[1:]), 1
        while side > patch * _COARSEST * 2 ** (levels - 1):
            levels += 1
        cell = patch * 2 ** (levels - 1)
        coarsest = [-(-size // cell) for size in shape[1:]]
        return cls(tuple(shape), patch, tuple(tuple(size << i for size in coarsest) for i in range(levels)))

    @property
    def dims(self) -> int:
        return len(self.shape) - 1

    @property
    def values(self) -> int:
        """In a patch of one channel."""
        return self.patch**self.dims

    @property
    def coarsest(self) -> int:
        """Cells of the coarsest level."""
        return prod(self.sizes[0])

    def cut(self, x: Tensor) -> Tensor:
        """f32[B, C, *grid] -> [B, C patch^n, *cells] of the finest level; edges are repeated to fill."""
        spare = [cells * self.patch - size for cells, size in zip(self.sizes[-1], self.shape[1:], strict=True)]
        if any(spare):
            x = F.pad(x, [side for more in reversed(spare) for side in (0, more)], mode="replicate")
        return gather(x, self.patch)

    def join(self, h: Tensor) -> Tensor:
        """The inverse of `cut`, for any number of channels."""
        x = spread(h, self.patch)
        for dim, size in enumerate(self.shape[1:], 2):
            x = x.narrow(dim, 0, size)
        return x


def pyramid(shape: Sequence[int], coarse: bool = False) -> Grid:
    """The grids for items of (channels, *grid): 2 values a side of a cell on the finest, or 4 above 48 values a side;
    coarse: above 16, which leaves out the finest of the grids between.

    The first and the last layer work on cells, never on single values: thin layers at full resolution are what costs
    a small machine most, in memory traffic rather than arithmetic.
    """
    return Grid.of(shape, patch=2 if max(shape[1:]) <= (16 if coarse else 48) else 4)


def by_level(grid: Grid, fine: int, deep: int) -> list[int]:
    """Channels, or blocks, from the coarsest level: `deep` for all but the finest, which costs most and has `fine`."""
    levels = len(grid.sizes)
    return [deep] if levels == 1 else [deep] * (levels - 1) + [fine]
