"""The network that paints what comes next (SimVP, Gao et al. 2022): the moments that are seen -> those ahead.

Each moment is looked at by the same layers, and each is painted by the same: strokes are learned once, not once for
each moment. Between the two all moments are channels of one coarse grid, where it is found out what goes where.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.denoiser import Block, Denoiser
from maquette.nets.dims import Conv, gather, pyramid, spread


class Painter(nn.Module):
    """x f32[B, C, seen, H, W], t f32[B] the share of these that is shown, c as `condition` makes it -> the moments
    ahead, f32[B, C, ahead, H, W].

    shape: (C, H, W) of a moment      width: channels of a moment ahead, and twice those of one that is seen
    deep, deep_blocks: channels and blocks of the coarse grid      blocks: of a moment, on its way in and on its way out
    """

    def __init__(
        self, shape: Sequence[int], seen: int, ahead: int, condition: Condition | None, width: int, deep: int,
        blocks: int, deep_blocks: int, described: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.seen, self.ahead, looks = seen, ahead, -(-width // 2)
        self.grid = pyramid(shape)
        self.cells = 2 ** (len(self.grid.sizes) - 1)  # a side, of the finest grid, that are one of the coarsest
        values, coarse = shape[0] * self.grid.values, self.grid.sizes[0]
        self.stem, self.skip = Conv[2](values, looks), Conv[2](looks, width, 1)
        self.look, self.paint = (nn.ModuleList(_Block(w) for _ in range(blocks)) for w in (looks, width))
        self.core = Denoiser(
            (ahead * width * self.cells**2, *coarse), condition, deep, deep, 0, deep_blocks, described,
            seen * looks * self.cells**2, patch=1, stem=1, head=1,
        )  # fmt: skip
        self.place = nn.Parameter(torch.zeros(self.core.stem.out_channels, *coarse))
        self.moment = nn.Parameter(torch.zeros(ahead, width, 1, 1))
        self.head = Conv[2](width, values, gain=0.3)

    @property
    def condition(self) -> Condition | None:
        return self.core.condition

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None) -> Tensor:
        b = len(x)
        u = self.stem(self.grid.cut(x.movedim(2, 1).flatten(0, 1)))
        for block in self.look:
            u = block(u)
        u = F.silu(u).unflatten(0, (b, self.seen))
        last = self.skip(u[:, -1])
        found = self.core.features(gather(u.flatten(1, 2), self.cells), t, torch.zeros_like(t), c, self.place)
        h = spread(self.core.values(found), self.cells).unflatten(1, (self.ahead, -1))
        h = (h + last[:, None] + self.moment).flatten(0, 1)
        for block in self.paint:
            h = block(h)
        return self.grid.join(self.head(F.silu(h))).float().unflatten(0, (b, self.ahead)).movedim(1, 2)


class _Block(Block):
    """One that nothing steers."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 2)
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor) -> Tensor:  # type: ignore[override]
        made: Tensor = super().forward(h, self.scale[:, None, None], self.shift[:, None, None])
        return made
