"""The textbook GAN: two multi-layer perceptrons (Goodfellow et al. 2014), conditional as in Mirza & Osindero 2014."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.leaky import LeakyReLU


def perceptron(widths: Sequence[int], norm: bool = False, slope: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths with (batch-norm and) ReLU between, leaky where slope > 0; the last is linear."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not norm), *([nn.BatchNorm1d(outputs)] if norm else [])]
        layers += [LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class MlpGenerator(nn.Module):
    """z f32[B, latent_dim], c f32[B, width of `condition`] or None -> f32[B, *shape] in [-1, 1].

    condition: the encoder of what is given, which makes c; None: nothing is
    """

    def __init__(
        self, shape: Sequence[int], condition: Condition | None, latent_dim: int, hidden: Sequence[int], norm: bool,
        slope: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape, self.condition = tuple(shape), condition
        inputs = latent_dim + (condition.width if condition else 0)
        self.layers = perceptron((inputs, *hidden, math.prod(shape)), norm, slope)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        return self.layers(with_condition(z, c)).float().tanh().view(-1, *self.shape)


class MlpCritic(nn.Module):
    """x f32[B, *shape] in [-1, 1], c as above -> logits f32[B]. Never normalised: an item's score is its own."""

    def __init__(self, shape: Sequence[int], condition: Condition | None, hidden: Sequence[int], slope: float) -> None:
        super().__init__()
        self.condition = condition
        inputs = math.prod(shape) + (condition.width if condition else 0)
        self.layers = perceptron((inputs, *hidden, 1), slope=slope)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.layers(with_condition(x.flatten(1), c)).float().squeeze(1)


def with_condition(features: Tensor, c: Tensor | None) -> Tensor:
    """Features f32[B, N] and c, times the length that N numbers of variance 1 have: else it goes unheard."""
    return features if c is None else torch.cat([features, c.to(features.dtype) * features.shape[1] ** 0.5], 1)
