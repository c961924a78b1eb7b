"""A codec: an item on a grid to a smaller one of a few latents in each cell, and back.

The encoder is small and the decoder is not: a model of the codes passes through the encoder in each of its training
steps, through the decoder only when it makes items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.dims import Conv, Grid, gather, spread
from maquette.nets.encoder import Residual
from maquette.nets.latent import Pass, draw, repeat

_WIDEST = 32  # cells a side that a code has where nothing else is asked for


class Codec(nn.Module):
    """See LatentNet for its call; what is given is not read.

    shape:    (C, *grid) of an item
    channels: latents in a cell
    factor:   values a side of a cell, a power of 2; 0: as many as leave at most 32 cells a side
    width:    channels on the grid of the code; half as many on each finer grid of the decoder
    """

    def __init__(
        self, shape: Sequence[int], out_channels: int, channels: int, factor: int, width: int, encoder_blocks: int,
        decoder_blocks: int,
    ) -> None:  # fmt: skip
        super().__init__()
        factor = factor or 2 ** max(1, math.ceil(math.log2(max(shape[1:]) / _WIDEST)))
        self.condition = None
        dims, conv = len(shape) - 1, Conv[len(shape) - 1]
        coarse, fine = min(factor, 4), min(factor, 2)  # values a side of a cell where they come in, and go out
        self.enter, self.leave = _grid(shape, factor, coarse), _grid(shape, factor, fine)
        self.code_grid = (channels, *(-(-side // factor) for side in shape[1:]))
        self.latent_dim = math.prod(self.code_grid)
        self.stem = conv(shape[0] * coarse**dims, width, gain=1.4)
        self.falls = nn.ModuleList(conv(2**dims * width, width, 1) for _ in range(int(math.log2(factor // coarse))))
        self.reads = nn.Sequential(*(Residual(width, dims) for _ in range(encoder_blocks)))
        self.posterior = conv(width, 2 * channels, 1, gain=0.3)
        self.write = conv(channels, width)
        widths = [min(width, max(32, width >> i)) for i in range(int(math.log2(factor // fine)) + 1)]
        self.rises = nn.ModuleList(conv(a, 2**dims * b, 1) for a, b in pairwise(widths))
        depths = [decoder_blocks] + [1] * (len(widths) - 1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(w, dims) for _ in range(depth))) for w, depth in zip(widths, depths, strict=True)
        )
        self.out = conv(widths[-1], out_channels * fine**dims, gain=0.3)

    def forward(self, x: Tensor | None, c: Tensor | None, noise: Tensor) -> Pass:
        u = noise.view(len(noise), *self.code_grid)
        if x is None:
            return Pass(self._decode(u))
        drawn = draw(repeat(self._statistics(x), len(noise)), u)
        return Pass(self._decode(drawn.u), (drawn,))

    def encode(self, x: Tensor) -> Tensor:
        """The mean code of items f32[B, C, *grid], f32[B, latent_dim]."""
        return self._statistics(x).float().chunk(2, 1)[0].flatten(1)

    def _statistics(self, x: Tensor) -> Tensor:
        h = self.stem(self.enter.cut(x))
        for fall in self.falls:
            h = fall(gather(F.relu(h)))
        return self.posterior(F.relu(self.reads(h)))

    def _decode(self, u: Tensor) -> Tensor:
        h = self.levels[0](self.write(u))
        for rise, level in zip(self.rises, self.levels[1:], strict=True):
            h = level(spread(rise(F.relu(h))))
        return self.leave.join(self.out(F.relu(h)).float())


def _grid(shape: Sequence[int], factor: int, patch: int) -> Grid:
    """Cells of `patch` values a side, for items filled up to whole cells of `factor`."""
    return Grid(tuple(shape), patch, (tuple(-(-side // factor) * (factor // patch) for side in shape[1:]),))
