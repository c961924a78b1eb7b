"""A convolutional critic: a picture of any size, and its class, to a logit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.decoder import SLOPE, Block, channels_by_level, pyramid
from maquette.nets.encoder import Conv


class ConvCritic(nn.Module):
    """x f32[B, C, H, W] in [-1, 1], y i64[B] in 0..classes (the last: no label) or None -> logits f32[B].

    The generator's mirror image. The class enters as a projection: w.h + e_y.h with h the last features
    (Miyato & Koyama 2018, eq. 3).
    """

    def __init__(self, shape: Sequence[int], classes: int, width: int, deep: int, blocks: int, features: int) -> None:
        super().__init__()
        self.grid = pyramid(shape)
        channels = channels_by_level(self.grid, width, deep)[::-1]
        rows, columns = self.grid.sizes[0]
        self.stem = Conv(shape[0] * self.grid.patch**2, channels[0])
        self.levels = nn.ModuleList(nn.Sequential(*(Block(c) for _ in range(blocks))) for c in channels)
        self.falls = nn.ModuleList(Conv(4 * a, b, 1) for a, b in pairwise(channels))
        self.dense = nn.Linear(channels[-1] * rows * columns, features)
        self.head = nn.Linear(features, 1)
        self.classes = nn.Embedding(classes + 1, features) if classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, 0.0, features**-0.5)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.stem(self.grid.cut(x))
        for i, level in enumerate(self.levels):
            if i:
                h = F.pixel_unshuffle(F.leaky_relu(h, SLOPE), 2).contiguous(memory_format=torch.channels_last)
                h = self.falls[i - 1](h)
            h = level(h)
        h = F.leaky_relu(h, SLOPE).permute(0, 2, 3, 1).flatten(1)  # channels last already: no copy
        h = F.leaky_relu(self.dense(h), SLOPE).float()
        logits = self.head(h).float().squeeze(1)
        return logits if self.classes is None else logits + (h * self.classes(y)).sum(1)
