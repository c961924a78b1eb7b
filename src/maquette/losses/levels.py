"""8-bit values as numbers with a density: dequantised, and if asked, spread out by how often each level comes.

Many items have levels that come very often (the ground of a drawing, the white of a scan). Uniform noise within the
step of such a level is a narrow box, which a flow of values would have to learn to 1 / 127.5 of the scale and finer.
Spread out to N(0, 1) by its share, the same box is as wide as the level is frequent.

A space has into(x), out(y) and log_det(x) = sum log |dy/dx|, f32[B], for x f32[B, ...] in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LEVELS = 256
STEP = 2 / (LEVELS - 1)  # of a level, on the scale [-1, 1]
_LEAST = 1e-6  # probability in each tail that fp32 no longer tells apart


def dequantise(x: Tensor, uniform: Tensor, levels: int = LEVELS) -> Tensor:
    """Anywhere within the step of its level with equal probability, given `uniform` ~ U[0, 1): then items have a
    density, whose mean over a step is at most the probability of the level (Theis et al. 2016, eq. 4)."""
    return x + 2 / (levels - 1) * (uniform - 0.5)


def count(x: Tensor) -> np.ndarray:
    """How often each level comes in items of [-1, 1], i64[256]."""
    levels = ((x + 1) / STEP).round().long().clamp(0, LEVELS - 1)
    return torch.bincount(levels.flatten(), minlength=LEVELS).cpu().numpy()


class Plain:
    """Values as they are."""

    def into(self, x: Tensor) -> Tensor:
        return x

    def out(self, y: Tensor) -> Tensor:
        return y

    def log_det(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))


class Ranks:
    """y = Phi^-1(F(x)), with F the distribution of single dequantised values: each of them alone is N(0, 1) (marginal
    Gaussianisation; Chen & Gopinath 2000, Meng et al. 2020). F is linear within a level, and so is exactly inverted.

    shares: of each level among the values of training items, 256 numbers above 0 of any sum
    """

    def __init__(self, shares: Sequence[float]) -> None:
        share = torch.tensor(shares, dtype=torch.float64)
        share = share / share.sum()
        ends = torch.cat([share.new_zeros(1), share.cumsum(0).clamp(max=1)])
        self._share, self._below = share.float(), ends[:-1].float()
        self._edges = torch.special.ndtri(ends)  # f64[257], the first and the last infinite

    def into(self, x: Tensor) -> Tensor:
        level, within = self._level(x)
        rank = self._below.to(x.device)[level] + self._share.to(x.device)[level] * within
        return torch.special.ndtri(rank.clamp(_LEAST, 1 - _LEAST))

    def out(self, y: Tensor) -> Tensor:
        rank, below, share = torch.special.ndtr(y.float()), self._below.to(y.device), self._share.to(y.device)
        level = (torch.bucketize(rank, below, right=True) - 1).clamp(min=0)
        within = ((rank - below[level]) / share[level]).clamp(0, 1)
        return STEP * (level + within - 0.5) - 1

    def log_det(self, x: Tensor) -> Tensor:
        level, _ = self._level(x)
        density = (self._share.to(x.device)[level] / STEP).log()
        normal = -0.5 * (self.into(x).square() + math.log(2 * math.pi))
        return (density - normal).flatten(1).sum(1)

    def expected(self, at: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """E[y | x_t, level of x] for x_t = (1 - t) e + t y with e ~ N(0, I), f32[B, ...], of items x before they are
        dequantised and times f32[B].

        Where within its step a value lies is noise that nobody can predict. Given its level, y is N(0, 1) cut off at
        the ends of the level, and given x_t as well, another normal cut off there, whose mean is known (Johnson et al.
        1994, section 10.1). To learn from that mean leads to the same velocity as to learn from y, with a fraction of
        the variance (Rao-Blackwell).
        """
        if at.device.type == "mps":  # has no f64
            return self.expected(at.cpu(), t.cpu(), x.cpu()).to(at.device)
        level, _ = self._level(x)
        time, at = t.double().view(-1, *[1] * (at.ndim - 1)), at.double()
        variance = time**2 + (1 - time) ** 2
        mean, std = time * at / variance, (1 - time) / variance.sqrt()
        edges = self._edges.to(at.device)
        low, high = edges[level], edges[level + 1]
        # In the tail in which it lies, so that nothing is lost where both ends are far above the mean.
        a, b = (low - mean) / std, (high - mean) / std
        sign = torch.where(a + b > 0, -1.0, 1.0)
        a, b = torch.where(sign > 0, a, -b), torch.where(sign > 0, b, -a)
        mass = torch.special.ndtr(b) - torch.special.ndtr(a)
        density = ((-0.5 * a.square()).exp() - (-0.5 * b.square()).exp()) / math.sqrt(2 * math.pi)
        cut = mean + sign * std * density / mass.clamp(min=1e-300)
        nearest = torch.minimum(torch.maximum(mean, low), high)
        return torch.where(mass > 1e-250, torch.minimum(torch.maximum(cut, low), high), nearest).float()

    def _level(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The level of each dequantised value, i64, and where within its step it is, in [0, 1]."""
        v = (x.float() + 1) / STEP + 0.5
        level = v.floor().clamp(0, LEVELS - 1)
        return level.long(), (v - level).clamp(0, 1)
