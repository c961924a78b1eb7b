"""The networks of text to speech: of a text, what its sound is like on average and how long; of that, the sound itself.

A sound is a row of cells, each of them a few frames of mel bands, [B, D, T]; a text is a row of tokens, [B, W, S]. What
is behind an item's end is kept at zero, so that an item does not depend on those beside it. (As in Matcha-TTS, Mehta et
al. 2024, with other blocks.)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.attention import padding_bias
from maquette.nets.condition import Condition
from maquette.nets.dims import Conv1d, normalise
from maquette.nets.transformer import Encoder

_WAVES = 16  # frequencies that describe a time
_FASTEST = 32.0  # radians that the fastest of them turns from 0 to 1


class TextEncoder(nn.Module):
    """Tokens -> the mean of the cells that belong to each, and how many these are.

    vocab: of the tokens      values: D, of a cell      condition: of what else is given, of `width`; None: nothing is
    """

    def __init__(
        self, vocab: int, values: int, width: int, layers: int, heads: int, condition: Condition | None
    ) -> None:
        super().__init__()
        self.condition = condition
        self.embedding = nn.Embedding(vocab, width)
        self.near = nn.ModuleList(Conv1d(width, width, gain=1.4) for _ in range(3))
        self.far = Encoder(width, layers, heads, 4 * width, dropout=0.0)
        self.head = nn.Linear(width, values)
        self.lasting = nn.ModuleList(Conv1d(width, width, gain=1.4) for _ in range(2))
        self.duration = nn.Linear(width, 1)

    def forward(self, tokens: Tensor, y: Tensor | None, there: Tensor) -> tuple[Tensor, Tensor]:
        """i64[B, S], what is given f32[B, width] or None, and which tokens are no padding bool[B, S] -> means
        f32[B, D, S], and logarithms of durations f32[B, S], in cells."""
        mask = there[:, None]
        h = self.embedding(tokens)
        h = (h if y is None else h + y[:, None]).mT * mask
        for conv in self.near:
            h = (h + normalise(F.relu(conv(h)))) * mask
        h = self.far(h.mT, padding_bias(there))
        # How long tokens are is learned from what is known of them, and changes nothing of that (Kim et al. 2020).
        d = h.detach().mT * mask
        for conv in self.lasting:
            d = normalise(F.relu(conv(d))) * mask
        return self.head(h).mT.float(), self.duration(d.mT)[..., 0].float()


class Block(nn.Module):
    """h + conv(silu((1 + scale) norm(conv(silu(h))) + shift)), the norm over the channels of each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = Conv1d(width, width, gain=1.4), Conv1d(width, width, gain=0.3)

    def forward(self, h: Tensor, scale: Tensor, shift: Tensor, mask: Tensor) -> Tensor:
        inner = normalise(self.inner(F.silu(h)))
        return (self.outer(F.silu(torch.addcmul(shift, inner, scale)) * mask) + h) * mask


class CellDenoiser(nn.Module):
    """A sound on its way from noise to what is heard, and its means -> a field of its shape."""

    waves: Tensor

    def __init__(self, values: int, width: int, blocks: int, described: int, condition: Condition | None) -> None:
        """described: numbers that describe the time and what is given: the width of `condition`"""
        super().__init__()
        self.condition = condition
        self.time = nn.Sequential(nn.Linear(2 * _WAVES, described), nn.SiLU(), nn.Linear(described, described))
        self.stem = Conv1d(2 * values, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.head = Conv1d(width, values, gain=0.3)
        self.steer = nn.Linear(described, 2 * width * blocks)
        nn.init.normal_(self.steer.weight, std=0.3 / math.sqrt(described))
        nn.init.zeros_(self.steer.bias)
        waves = torch.logspace(-1, 0, _WAVES, device="cpu")  # not on a device of shapes alone
        self.register_buffer("waves", waves * _FASTEST, persistent=False)

    def forward(self, x: Tensor, means: Tensor, t: Tensor, y: Tensor | None, mask: Tensor) -> Tensor:
        """x, means: f32[B, D, T]; t: f32[B] in [0, 1]; y: what is given, or None; mask: f32[B, 1, T], 1 within an
        item."""
        level = 0.25 * ((t + 1e-4) / (1 - t + 1e-4)).log()  # near both ends times differ by their ratio
        angles = level[:, None] * self.waves
        e = self.time(torch.cat([angles.cos(), angles.sin()], 1))
        films = self.steer(F.silu(e if y is None else e + y))[..., None].chunk(2 * len(self.blocks), 1)
        h = self.stem(torch.cat([x, means], 1) * mask) * mask
        for block, scale, shift in zip(self.blocks, films[::2], films[1::2], strict=True):
            h = block(h, 1 + scale, shift, mask)
        return (self.head(F.silu(h)) * mask).float()
