"""Divergences: between diagonal Gaussians, in closed form, in nats, and between positive numbers.

Shapes: what is of Gaussians takes f32[B, ...] and sums over all but the first dimension, so it gives f32[B].
"""

from __future__ import annotations

from torch import Tensor


def kl_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, exp(log_std)^2) || N(0, I)), f32[B], nats. Kingma & Welling 2014, appendix B."""
    return (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).flatten(1).sum(1)


def kl_normal(mean_q: Tensor, log_std_q: Tensor, mean_p: Tensor, log_std_p: Tensor) -> Tensor:
    """KL(q || p) of two diagonal Gaussians, f32[B], nats.

    KL does not change under u = (z - mean_p) / std_p, which turns p into N(0, I).
    """
    return kl_standard_normal((mean_q - mean_p) * (-log_std_p).exp(), log_std_q - log_std_p)


def free_bits(kl: Tensor, nats: float) -> Tensor:
    """What a group of latents costs once `nats` of it are free: max(nats, kl), elementwise.

    Below the floor there is no gradient, so nothing pulls the group to the prior and it does not collapse.
    Kingma et al. 2016, eq. 15, but for each item instead of the mean of a minibatch, so that the loss does
    not depend on how a batch is divided.
    """
    return kl.clamp(min=nats)


def itakura_saito(x: Tensor, log_y: Tensor) -> Tensor:
    """x / y - log(x / y) - 1 of positive numbers, elementwise: least, in expectation, where y is the mean of x, however
    large that is; of the squared difference of logarithms that is their mean, which is less (Itakura & Saito 1968)."""
    log_ratio = x.log() - log_y
    return log_ratio.exp() - log_ratio - 1
