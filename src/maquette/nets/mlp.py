"""The textbook GAN: two multi-layer perceptrons (Goodfellow et al. 2014), conditional as in Mirza & Osindero 2014."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def perceptron(widths: Sequence[int], norm: bool = False, slope: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths with (batch-norm and) ReLU between, leaky where slope > 0; the last is linear."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not norm), *([nn.BatchNorm1d(outputs)] if norm else [])]
        layers += [nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class MlpGenerator(nn.Module):
    """z f32[B, latent_dim], y i64[B] in 0..classes (the last: no label) or None -> f32[B, *shape] in [-1, 1]."""

    def __init__(
        self, shape: Sequence[int], classes: int, latent_dim: int, hidden: Sequence[int], norm: bool, slope: float
    ) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        inputs = latent_dim + (classes + 1 if classes else 0)
        self.layers = perceptron((inputs, *hidden, math.prod(shape)), norm, slope)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        return self.layers(with_class(z, y, self.classes)).float().tanh().view(-1, *self.shape)


class MlpCritic(nn.Module):
    """x f32[B, *shape] in [-1, 1], y as above -> logits f32[B]. Never normalised: an item's score is its own."""

    def __init__(self, shape: Sequence[int], classes: int, hidden: Sequence[int], slope: float) -> None:
        super().__init__()
        self.classes = classes
        inputs = math.prod(shape) + (classes + 1 if classes else 0)
        self.layers = perceptron((inputs, *hidden, 1), slope=slope)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.layers(with_class(x.flatten(1), y, self.classes)).float().squeeze(1)


def with_class(features: Tensor, y: Tensor | None, classes: int) -> Tensor:
    """Features f32[B, N] and a one-hot class of the length that N numbers of variance 1 have: else it goes unheard."""
    if y is None:
        return features
    return torch.cat([features, F.one_hot(y, classes + 1).to(features.dtype) * features.shape[1] ** 0.5], 1)
