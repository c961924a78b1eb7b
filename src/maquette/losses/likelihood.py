"""Log-likelihoods of values on a grid given the decoder's output, in nats.

x is f32[B, ...] in [-1, 1]. Every function sums over all but the first dimension and gives f32[B].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def unit(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return (x + 1) / 2


def binarize(x: Tensor, noise: Tensor) -> Tensor:
    """Each value -1 or 1, being 1 with probability (x + 1) / 2; noise is uniform on [0, 1).

    Drawn anew each time an item is seen, this is the dynamic binarisation of Salakhutdinov & Murray 2008.
    """
    return torch.where(noise < unit(x), 1.0, -1.0)


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """log prod p^t (1-p)^(1-t) with t = (x + 1) / 2 and p = sigmoid(logits), f32[B].

    A likelihood for binary values only. Others make it a cross-entropy: a good loss, not a density
    (Loaiza-Ganem & Cunningham 2019).
    """
    return -F.binary_cross_entropy_with_logits(logits, unit(x), reduction="none").flatten(1).sum(1)


def gaussian(mean: Tensor, log_std: Tensor, x: Tensor) -> Tensor:
    """log N(x; mean, exp(log_std)^2), f32[B]: a density over the scale [-1, 1]. log_std broadcasts."""
    z = (x - mean) * (-log_std).exp()
    return (-0.5 * (z.square() + LOG_2PI) - log_std).flatten(1).sum(1)


def squared_error(mean: Tensor, x: Tensor) -> Tensor:
    """-|x - mean|^2 - (D/2) log pi, f32[B]: the squared error is a Gaussian of variance 1/2."""
    error = (x - mean).square().flatten(1)
    return -error.sum(1) - 0.5 * math.log(math.pi) * error.shape[1]


def importance_bound(log_weights: Tensor) -> Tensor:
    """log (1/k) sum_i w_i of log-weights f32[B, k], nats, f32[B]. Burda et al. 2016, eq. 8.

    A lower bound on log p(x) in expectation; k = 1 is the ELBO; it never falls as k grows.
    """
    return log_weights.logsumexp(1) - math.log(log_weights.shape[1])
