"""The network of a flow: an item on its way from noise to data, the time, and what is given -> a field of its shape.

U-shaped, on grids of cells (space to depth, nets/dims.py): down from 2 values a side of a cell to at most 8 cells a
side and up again. A block is steered by the time and by what is given through a scale and a shift of each channel
(FiLM, Perez et al. 2018), all of which come from one matrix product. A step costs passes over memory as much as
arithmetic on a CPU, so a block has one normalisation only, over the channels of each cell, which lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.dims import Conv, Grid, by_level, gather, normalise, pyramid, spread
from maquette.nets.narrow import Narrow

_WAVES = 16  # frequencies that describe a number in [0, 1]
_FASTEST = 32.0  # radians that the fastest of them turns over it

Film = tuple[Tensor, Tensor]  # scale and shift [B, C, 1, ...]


class Block(nn.Module):
    """h + conv(silu((1 + scale) norm(conv(silu(h))) + shift)), the norm over the channels of each cell."""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        conv = Narrow[dims]
        self.inner, self.outer = conv(width, width, gain=1.4), conv(width, width, gain=0.3)

    def forward(self, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        inner = normalise(self.inner(F.silu(h)))
        return self.outer(F.silu(torch.addcmul(shift, inner, scale))) + h


class Level(nn.Module):
    """Blocks on one grid. films: scale and shift of each."""

    def __init__(self, width: int, depth: int, dims: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, dims) for _ in range(depth))

    def forward(self, h: Tensor, films: Iterator[Film]) -> Tensor:
        for block in self.blocks:
            h = block(h, *next(films))
        return h


class Denoiser(nn.Module):
    """x f32[B, C, *grid], t, h f32[B] in [0, 1], c f32[B, width of `condition`] or None -> f32[B, C, *grid].

    shape:     (C, *grid) of an item      inputs: channels of x where they are more than those of the item
    condition: the encoder of what is given, which makes c; None: nothing is
    described: numbers that describe time and condition: the width of `condition`
    patch: values a side of a cell of the finest grid; auto, coarse: those of `pyramid`
    stem, head: cells a side of the first and of the last convolution
    t: where x is between noise (0) and data (1)      h: how far the field is to move it; 0: the velocity at t
    """

    waves: Tensor

    def __init__(
        self, shape: Sequence[int], condition: Condition | None, width: int, deep: int, blocks: int, deep_blocks: int,
        described: int, inputs: int | None = None, patch: int | Literal["auto", "coarse"] = "auto",
        stem: int = 3, head: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.grid = Grid.of(shape, patch) if isinstance(patch, int) else pyramid(shape, patch == "coarse")
        channels = by_level(self.grid, width, deep)[::-1]  # finest first
        dims, conv, block = self.grid.dims, Conv[self.grid.dims], 2**self.grid.dims  # cells that become one
        self.time = nn.Sequential(nn.Linear(4 * _WAVES, described), nn.SiLU(), nn.Linear(described, described))
        self.condition = condition
        self.stem = conv((inputs or shape[0]) * self.grid.values, channels[0], stem)
        self.falls = nn.ModuleList(conv(block * a, b, 1) for a, b in pairwise(channels))
        self.rises = nn.ModuleList(conv(b, block * a, 1) for a, b in pairwise(channels))
        self.down = nn.ModuleList(Level(c, blocks, dims) for c in channels[:-1])
        self.middle = Level(channels[-1], deep_blocks, dims)
        self.up = nn.ModuleList(Level(c, blocks, dims) for c in channels[:-1])
        self.head = conv(channels[0], shape[0] * self.grid.values, head, gain=0.3)
        fine = [c for c in channels[:-1] for _ in range(blocks)]
        self.sizes = [*fine, *[channels[-1]] * deep_blocks, *fine[::-1]]  # of the blocks, in the order of passing
        self.steer = nn.Linear(described, 2 * sum(self.sizes))
        nn.init.normal_(self.steer.weight, std=0.3 / math.sqrt(described))
        nn.init.zeros_(self.steer.bias)
        # Until it learns of stretches, the mean velocity over any is the velocity.
        nn.init.zeros_(cast(nn.Linear, self.time[0]).weight[:, 2 * _WAVES :])
        # Not on a device of shapes alone, where arithmetic makes torch import its compiler.
        waves = torch.logspace(-1, 0, _WAVES, device="cpu")
        self.register_buffer("waves", waves * _FASTEST, persistent=False)

    def forward(self, x: Tensor, t: Tensor, h: Tensor, c: Tensor | None) -> Tensor:
        return self.values(self.features(x, t, h, c))

    def values(self, features: Tensor) -> Tensor:
        """What `features` say, f32[B, C, *grid]."""
        return self.grid.join(self.head(features)).float()

    def features(self, x: Tensor, t: Tensor, h: Tensor, c: Tensor | None, known: Tensor | None = None) -> Tensor:
        """What is found out about each cell of the finest grid, [B, width, *cells]. known: what is so before."""
        films = iter(self._films(t, h, c))
        u = self.stem(self.grid.cut(x))
        u = u if known is None else u + known
        kept: list[Tensor] = []
        for level, fall in zip(self.down, self.falls, strict=True):
            u = level(u, films)
            kept.append(u)
            u = fall(gather(u))
        u = self.middle(u, films)
        for level, rise in zip(reversed(self.up), reversed(self.rises), strict=True):
            u = level(spread(rise(F.silu(u))) + kept.pop(), films)
        return F.silu(u)

    def _films(self, t: Tensor, h: Tensor, c: Tensor | None) -> list[Film]:
        """Scale and shift [B, C, 1, ...] of each block, in the order in which blocks are passed."""
        level = 0.25 * ((t + 1e-4) / (1 - t + 1e-4)).log()  # near both ends times differ by their ratio
        e = self.time(torch.cat([_waves(level, self.waves), _waves(h, self.waves) - _waves(h * 0, self.waves)], 1))
        if c is not None:
            e = e + c
        scale, shift = self.steer(F.silu(e)).view(len(t), -1, *[1] * self.grid.dims).chunk(2, 1)
        return list(zip((1 + scale).split(self.sizes, 1), shift.split(self.sizes, 1), strict=True))


def _waves(v: Tensor, frequencies: Tensor) -> Tensor:
    """Cosines and sines of numbers f32[B], f32[B, 2 waves]."""
    angles = v[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)
