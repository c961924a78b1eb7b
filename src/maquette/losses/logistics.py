"""Samples of 16 bits under a mixture of logistic distributions (Salimans et al. 2017, PixelCNN++, section 2.1).

Of the outputs f32[T, 3 M + 1], the first M and the last are logits of the components and of a clip's end; then come M
means and M logarithms of scales. The probability of a value is that of the interval of one step around it; the first
and the last value have all there is beyond them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 2**15  # a sample is k / STEPS, k from -STEPS to STEPS - 1
LEAST = -10.0  # logarithm of a scale; a step is exp(-10.4)
_RARE = 1e-5  # mass of an interval below which its density stands for it, which has a gradient


def parameters(outputs: Tensor, mixtures: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the components and the end [T, M + 1], means [T, M] and logarithms of scales [T, M]."""
    logits = torch.cat([outputs[..., :mixtures], outputs[..., -1:]], -1)
    return logits, outputs[..., mixtures : 2 * mixtures], outputs[..., 2 * mixtures : -1].clamp(min=LEAST)


def log_mass(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log of the probability that each component gives x f32[T]; mean and log_scale f32[T, M] -> f32[T, M]."""
    k = (x * STEPS).round().clamp(-STEPS, STEPS - 1)[..., None]
    centred, inverse = k / STEPS - mean, (-log_scale).exp()
    upper, lower = inverse * (centred + 0.5 / STEPS), inverse * (centred - 0.5 / STEPS)
    mass = upper.sigmoid() - lower.sigmoid()
    middle = inverse * centred
    density = middle - log_scale - 2 * F.softplus(middle) - math.log(STEPS)
    inside = torch.where(mass > _RARE, mass.clamp(min=_RARE).log(), density)
    return torch.where(k == -STEPS, F.logsigmoid(upper), torch.where(k == STEPS - 1, -F.softplus(lower), inside))


class Coder:
    """How a network knows samples by their values.

    values: of codes: there are none      mixtures: components of a mixture      outputs: numbers that it makes
    """

    values = np.empty(0, np.float32)

    def __init__(self, mixtures: int) -> None:
        self.mixtures, self.outputs = mixtures, 3 * mixtures + 1

    def before(self, x: Tensor, start: bool) -> Tensor:
        """What stands before each sample, f32[T, 2]: x f32[n] beside 0, after 0 beside 1 at the `start` of a clip."""
        values = F.pad(torch.stack([x, torch.zeros_like(x)], 1), (0, 0, int(start), 0))
        values[: int(start), 1] = 1.0
        return values

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """log p of samples f32[T], nats; where there is one output more than samples, the clip ends."""
        logits, mean, log_scale = parameters(outputs.float(), self.mixtures)
        n, chosen = len(x), logits.log_softmax(-1)
        inside = (chosen[:n, :-1] + log_mass(x, mean[:n], log_scale[:n])).logsumexp(-1)
        return torch.cat([inside, chosen[n:, -1]])
