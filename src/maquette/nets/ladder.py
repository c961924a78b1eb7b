"""A top-down hierarchy of latents on grids of features: the network of the convolutional VAE.

    x -> ConvEncoder -> features e
    h = start (+ condition);  for each group l:  u_l ~ q(u_l | h, e) or the prior;  h = block(h + write(u_l, h))
    h -> values

The encoder goes up once; the decoder h goes down and posterior and decoder share its state, as in the ladder
VAE (Sonderby et al. 2016) and VDVAE (Child 2021). Two kinds of groups: a *global* one is a vector, read
from and written to the whole grid by dense layers (what, and where); a *local* one is a map (details).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.dims import Conv, Grid, channels_last, scaled_normal_
from maquette.nets.encoder import ConvEncoder, Residual
from maquette.nets.latent import Drawn, Pass, draw, repeat

_SQUEEZED = 32  # channels of a grid that is flattened for a dense layer


class LocalGroup(nn.Module):
    """`channels` latents in each cell of the grid; q sees 3 cells a side of the decoder and of the encoder."""

    def __init__(self, width: int, size: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.size, self.channels, conv = size, channels, Conv[len(size)]
        self.numbers = channels * math.prod(size)
        self.prior, self.prior_out = conv(width, width, gain=1.4), conv(width, width + channels, 1, gain=0.3)
        self.state, self.feature = conv(width, width), conv(width, width)
        self.posterior = conv(width, 2 * channels, 1, gain=0.2)
        self.write = conv(channels, width, 1, gain=0.7)

    def forward(self, h: Tensor, e: Tensor | None, noise: Tensor) -> tuple[Tensor, Drawn | None]:
        """h: [N, width, *cells]; e: [B, ...] or None; noise: f32[N, numbers]."""
        a = F.relu(h)
        u, drawn = channels_last(noise.view(-1, self.channels, *self.size)), None
        if e is not None:
            drawn = draw(self.posterior(F.relu(self.state(a) + repeat(self.feature(F.relu(e)), len(h)))), u)
            u = drawn.u
        # The prior says how much each latent matters here, so that those of an empty cell make no noise.
        step, scale = self.prior_out(F.relu(self.prior(a))).split([h.shape[1], self.channels], 1)
        return h + step + self.write(u.to(h.dtype) * (1 + scale)), drawn


class GlobalGroup(nn.Module):
    """`numbers` latents for the whole grid."""

    def __init__(self, width: int, size: tuple[int, ...], numbers: int, hidden: int = 256) -> None:
        super().__init__()
        self.size, self.numbers, conv = size, numbers, Conv[len(size)]
        cells = _SQUEEZED * math.prod(size)
        self.squeeze_state = conv(width, _SQUEEZED, 1, gain=1.4)
        self.squeeze_feature = conv(width, _SQUEEZED, 1, gain=1.4)
        self.state, self.feature = nn.Linear(cells, hidden), nn.Linear(cells, hidden)
        self.posterior = nn.Linear(hidden, 2 * numbers)
        self.read, self.spread = nn.Linear(numbers, hidden), nn.Linear(hidden, cells)
        self.write = conv(_SQUEEZED, width, 1, gain=0.7)
        for layer in (self.state, self.feature, self.read, self.spread):
            scaled_normal_(layer, 1.4)
        scaled_normal_(self.posterior, 0.3)

    def forward(self, h: Tensor, e: Tensor | None, noise: Tensor) -> tuple[Tensor, Drawn | None]:
        """h: [N, width, *cells]; e: [B, ...] or None; noise: f32[N, numbers]."""
        state = self.state(F.relu(self.squeeze_state(F.relu(h))).flatten(1))
        u, drawn = noise, None
        if e is not None:
            feature = self.feature(F.relu(self.squeeze_feature(F.relu(e))).flatten(1))
            drawn = draw(self.posterior(F.relu(state + repeat(feature, len(h)))), u)
            u = drawn.u
        spread = F.relu(self.spread(F.relu(self.read(u.to(state.dtype)) + state)))
        grid = channels_last(spread.view(len(h), _SQUEEZED, *self.size))
        return h + self.write(grid), drawn


class Ladder(nn.Module):
    """The hierarchy; see LatentNet for its call.

    shape:        (C, *grid) of an item
    out_channels: parameters of the likelihood of each value
    condition:    the encoder of what is given; None: nothing is
    groups:       latents of the coarsest level from the top down: ("global", numbers) or ("local", channels).
                  Each finer level has one local group of as many channels as the last of them.
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_channels: int,
        condition: Condition | None,
        width: int,
        groups: Sequence[tuple[str, int]],
        encoder_blocks: int,
        head: int,
    ) -> None:
        super().__init__()
        side = max(shape[1:])
        self.grid = Grid.of(shape, patch=2 if side < 16 else 4 if side <= 64 else 8)
        self.encoder = ConvEncoder(self.grid, width, encoder_blocks)
        self.start = nn.Parameter(0.3 * torch.randn(1, width, *self.grid.sizes[0]))
        self.condition, dims = condition, self.grid.dims
        kinds: dict[str, type[GlobalGroup | LocalGroup]] = {"global": GlobalGroup, "local": LocalGroup}
        made = [kinds[kind](width, self.grid.sizes[0], n) for kind, n in groups]
        made += [LocalGroup(width, size, groups[-1][1]) for size in self.grid.sizes[1:]]
        self.groups = nn.ModuleList(made)
        self.blocks = nn.ModuleList(Residual(width, dims) for _ in made)
        self.last = Residual(width, dims)
        self.head = Conv[dims](width, head, 1, gain=1.4)
        self.out = Conv[dims](head, out_channels * self.grid.values, 1, gain=0.3)
        # Group i reads feature `reads[i]`: the top one the deepest of its level, the last one the shallowest.
        coarse = [(0, encoder_blocks - 1 - i * encoder_blocks // len(groups)) for i in range(len(groups))]
        self.reads = coarse + [(level, 0) for level in range(1, len(self.grid.sizes))]
        self.cells = [group.size for group in made]
        self.numbers = [group.numbers for group in made]
        self.is_local = [isinstance(group, LocalGroup) for group in made]
        self.latent_dim = sum(self.numbers)

    def forward(self, x: Tensor | None, c: Tensor | None, noise: Tensor) -> Pass:
        features = None if x is None else self.encoder(x)
        h = channels_last(self.start.expand(len(noise), *[-1] * (self.start.ndim - 1)))
        if c is not None:
            h = h + repeat(c, len(noise)).view(len(noise), -1, *[1] * self.grid.dims)
        drawn: list[Drawn] = []
        parts = torch.split(noise, self.numbers, 1)
        steps = zip(self.groups, self.blocks, self.cells, self.reads, parts, strict=True)
        for group, block, size, (level, index), eps in steps:
            if h.shape[2:] != size:
                h = F.interpolate(h, size=size, mode="nearest")
            h, one = group(h, features[level][index] if features else None, eps)
            h = block(h)
            drawn += [one] if one is not None else []
        out = self.out(F.relu(self.head(F.relu(self.last(h)))))
        return Pass(self.grid.join(out.float()), tuple(drawn))

    def spread(self, local: float) -> Tensor:
        """Standard deviation of each number of a code to be drawn, f32[latent_dim]: 1, or `local` where local."""
        parts = zip(self.numbers, self.is_local, strict=True)
        return torch.cat([torch.full((n,), local if is_local else 1.0) for n, is_local in parts])
