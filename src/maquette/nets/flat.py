"""The textbook variational auto-encoder: one latent vector between two multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.latent import Pass, draw, repeat
from maquette.nets.mlp import perceptron


class Flat(nn.Module):
    """One latent vector between two plain networks (Kingma & Welling 2014); see LatentNet for its call.

    The class joins both inputs as a one-hot vector, in which "no label" is a class of its own.
    """

    def __init__(
        self, shape: Sequence[int], out_channels: int, classes: int, latent_dim: int, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.out_shape = (out_channels, height, width)
        self.classes, self.latent_dim = classes, latent_dim
        extra = classes + 1 if classes else 0
        self.encoder = perceptron((channels * height * width + extra, *hidden, 2 * latent_dim))
        self.decoder = perceptron((latent_dim + extra, *hidden[::-1], out_channels * height * width))

    def forward(self, x: Tensor | None, y: Tensor | None, noise: Tensor) -> Pass:
        one_hot = [F.one_hot(y, self.classes + 1).float()] if self.classes and y is not None else []
        drawn = None
        if x is not None:
            statistics = self.encoder(torch.cat([x.flatten(1), *one_hot], 1))
            drawn = draw(repeat(statistics, len(noise)), noise)
        u = noise if drawn is None else drawn.u
        out = self.decoder(torch.cat([u, *(repeat(part, len(u)) for part in one_hot)], 1))
        return Pass(out.float().view(-1, *self.out_shape), () if drawn is None else (drawn,))
