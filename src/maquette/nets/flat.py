"""The textbook variational auto-encoder: one latent vector between two multi-layer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.latent import Pass, draw, repeat
from maquette.nets.mlp import perceptron


class Flat(nn.Module):
    """One latent vector between two plain networks (Kingma & Welling 2014); see LatentNet for its call.

    condition: the encoder of what is given, whose numbers join both inputs; None: nothing is
    """

    def __init__(
        self, shape: Sequence[int], out_channels: int, condition: Condition | None, latent_dim: int,
        hidden: Sequence[int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.out_shape = (out_channels, *shape[1:])
        self.condition, self.latent_dim = condition, latent_dim
        extra = condition.width if condition else 0
        self.encoder = perceptron((math.prod(shape) + extra, *hidden, 2 * latent_dim))
        self.decoder = perceptron((latent_dim + extra, *hidden[::-1], math.prod(self.out_shape)))

    def forward(self, x: Tensor | None, c: Tensor | None, noise: Tensor) -> Pass:
        more = [] if c is None else [c]
        drawn = None
        if x is not None:
            statistics = self.encoder(torch.cat([x.flatten(1), *more], 1))
            drawn = draw(repeat(statistics, len(noise)), noise)
        u = noise if drawn is None else drawn.u
        out = self.decoder(torch.cat([u, *(repeat(part, len(u)) for part in more)], 1))
        return Pass(out.float().view(-1, *self.out_shape), () if drawn is None else (drawn,))
