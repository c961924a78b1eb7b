"""Flow matching: which way and how fast a point between noise and data should move (Lipman et al. 2023).

x_t = (1 - t) e + t x with noise e ~ N(0, I), data x and t in [0, 1]; its velocity is x - e (Liu et al. 2023, eq. 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

NEAR = 0.05  # of noise: where less is left, an error of the item weighs no more (Li & He 2025, section 3)
COUPLED = 64  # items among which noise is exchanged


def over(v: Tensor, x: Tensor) -> Tensor:
    """Numbers f32[B] beside items f32[B, ...]."""
    return v.view(-1, *[1] * (x.ndim - 1))


def between(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t of items f32[B, ...] and times f32[B]."""
    return torch.lerp(noise, x, over(t, x))


def logit_normal(z: Tensor, mean: float, std: float) -> Tensor:
    """Times sigmoid(mean + std z) from z ~ N(0, 1): those in the middle, where there is most to learn (Esser et al.
    2024, eq. 19)."""
    return (mean + std * z).sigmoid()


def stretch(u: Tensor, length: float) -> Tensor:
    """Where a stretch of this length begins, f32[B], from u ~ U[0, 1): at a multiple of it, as those of samples in
    1 / length jumps do (Frans et al. 2024, section 4)."""
    return (u / length).floor() * length


@dataclass(frozen=True)
class Scaling:
    """Keeps what a network reads and writes at mean 0 and variance 1 for data of this standard deviation and mean
    (Karras et al. 2022, table 1, for this path): v(x, t) = mean + skip(t) y + out(t) net(into(t) y) with y = x - t
    mean, of which mean + skip(t) y is the velocity of Gaussian data.

    At t = 0 the network gives the item, at t = 1 the noise. Or it gives the item at all times (`item`), and v is the
    way there, (item - x) / (1 - t): then noise need not pass through a network that has fewer channels than a cell has
    values (Li & He 2025).
    """

    std: float
    mean: float = 0.0
    item: bool = False

    def centred(self, x: Tensor, t: Tensor) -> Tensor:
        """x_t without its mean."""
        return x - over(t * self.mean, x) if self.mean else x

    def variance(self, t: Tensor) -> Tensor:
        """Of x_t."""
        return (t * self.std) ** 2 + (1 - t) ** 2

    def into(self, t: Tensor) -> Tensor:
        return self.variance(t).rsqrt()

    def skip(self, t: Tensor) -> Tensor:
        if self.item:
            return -1 / (1 - t).clamp(min=NEAR)
        return (t * self.std**2 - (1 - t)) / self.variance(t)

    def out(self, t: Tensor) -> Tensor:
        if self.item:
            return self.std / (1 - t).clamp(min=NEAR)
        return self.std * self.variance(t).rsqrt()


def couple(x: Tensor, noise: Tensor, y: Tensor | None) -> Tensor:
    """The noise f32[B, ...] in another order: that in which items and their noise are nearest in all, among groups of
    COUPLED items (Pooladian et al. 2023; Tong et al. 2024), so that trajectories cross less.

    Noise is exchanged only among items of equal condition y i64[B]: otherwise it would say something about y, which
    sampling does not know (Cheng & Schwing 2025). What is left over beyond whole groups stays as it is, so that
    micro-batches of whole groups see what one batch would.
    """
    order = np.arange(len(x))
    for start in range(0, len(x) - COUPLED + 1, COUPLED):
        rows = slice(start, start + COUPLED)
        cost = -(x[rows].flatten(1) @ noise[rows].flatten(1).T)  # |x - e|^2 but for what no order changes
        if y is not None:
            cost = cost + 1e6 * (y[rows, None] != y[None, rows])
        _, order[rows] = linear_sum_assignment(cost.float().cpu().numpy())
        order[rows] += start
    return noise[torch.from_numpy(order).to(noise.device)]
