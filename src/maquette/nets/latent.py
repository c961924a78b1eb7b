"""Latent variables: what one pass through a network that has them gives, and how a group of them is drawn.

Every latent is written in the coordinate u in which its prior is N(0, I) (a "non-centred" parametrisation:
what a hierarchical prior would say, the decoder says by scaling and placing u). So a hierarchy of any depth
has one flat code f32[B, latent_dim] with a standard normal prior, and an approximate posterior that is
autoregressive over its groups: q(u | x) = prod_l N(u_l; mean_l(x, u_<l), std_l(x, u_<l)^2).

N below is B * k rows: k importance samples of each of B items, those of one item side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from maquette.losses.divergence import kl_standard_normal
from maquette.nets.condition import Condition


@dataclass(frozen=True)
class Drawn:
    """One group of latents.

    u, mean: the draw and the mean that it was drawn around, f32[N, ...]
    kl, log_ratio: KL(q || p), and log p(u) - log q(u | x) of this draw, f32[N], nats
    """

    u: Tensor
    mean: Tensor
    kl: Tensor
    log_ratio: Tensor


@dataclass(frozen=True)
class Pass:
    """One pass: what the decoder says, and what the latents cost.

    out:   parameters of the likelihood, f32[N, channels, *grid]
    drawn: the groups of latents, from the top; empty when the code was given
    """

    out: Tensor
    drawn: tuple[Drawn, ...] = ()

    @property
    def code(self) -> Tensor:
        """f32[N, latent_dim]"""
        return torch.cat([group.u.flatten(1) for group in self.drawn], 1)

    @property
    def mean(self) -> Tensor:
        """Of the posterior, f32[N, latent_dim]; that of a lower group depends on the draws above it."""
        return torch.cat([group.mean.flatten(1) for group in self.drawn], 1)

    @property
    def kl(self) -> Tensor:
        """Of each group, f32[groups, N], nats."""
        return torch.stack([group.kl for group in self.drawn])

    @property
    def log_ratio(self) -> Tensor:
        """f32[N], nats"""
        return torch.stack([group.log_ratio for group in self.drawn]).sum(0)


class LatentNet(Protocol):
    """A network with a flat latent code."""

    latent_dim: int
    condition: Condition | None  # the encoder of what is given, which makes c

    def __call__(self, x: Tensor | None, c: Tensor | None, noise: Tensor) -> Pass:
        """x: f32[B, C, *grid] to encode, or None; c: f32[B, condition.width] or None; noise: f32[B * k, latent_dim].

        With x the noise is what the posterior is drawn with (0: its mean); without, it is the code.
        """
        ...


def draw(statistics: Tensor, noise: Tensor) -> Drawn:
    """A draw from N(mean, std^2) of `statistics` [N, 2z, ...] with noise f32[N, z, ...].

    The logarithm of std is kept in (-4, 4): one bad batch cannot make exp overflow.
    """
    mean, log_std = statistics.float().chunk(2, 1)
    log_std = 4 * torch.tanh(log_std / 4)
    u = mean + log_std.exp() * noise
    log_ratio = (0.5 * (noise.square() - u.square()) + log_std).flatten(1).sum(1)
    return Drawn(u, mean, kl_standard_normal(mean, log_std), log_ratio)


def repeat(x: Tensor, rows: int) -> Tensor:
    """Each item of x [B, ...] rows / B times, side by side."""
    return x if len(x) == rows else x.repeat_interleave(rows // len(x), 0)
