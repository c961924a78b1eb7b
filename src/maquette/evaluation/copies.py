"""Copies of training pictures: are generated pictures nearer to the training set than new real ones are?

The control is what real, held-out pictures do: their distance to the nearest training picture. A
generated picture nearer than the control's 1 % quantile is suspect; a generator that has learned the
data and memorised nothing has about 1 % of them. (The comparison with a held-out set is that of
Meehan et al. 2020, "A non-parametric test to detect data-copying in generative models".)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maquette.evaluation.bootstrap import Array, Estimate, TooFew, percentile

SIDE = 32  # pictures are averaged down to this, so that large ones stay affordable
LEVEL = 0.01  # of the control


@dataclass(frozen=True)
class Nearest:
    """distance: f64[n], root mean square per pixel on the [-1, 1] scale; row: i64[n] in the training set."""

    distance: Array
    row: NDArray[np.int64]


def shrink(images: Tensor) -> Tensor:
    """f32[B, C, H, W] -> f32[B, D], at most SIDE x SIDE pixels, scaled so that |a - b| is the RMS."""
    h, w = images.shape[-2:]
    if h > SIDE or w > SIDE:
        images = F.adaptive_avg_pool2d(images, (min(h, SIDE), min(w, SIDE)))
    flat = images.flatten(1).contiguous()
    return flat / math.sqrt(flat.shape[1])


@torch.no_grad()
def nearest(q: Tensor, train: Iterable[Tensor]) -> Nearest:
    """Nearest training picture of each query.

    q: f32[n, D] from `shrink`; train: f32[B, C, H, W] chunks, rows in order.
    """
    best = torch.full((len(q),), torch.inf)
    row = torch.zeros(len(q), dtype=torch.int64)
    start = 0
    match = torch.full_like(q, torch.inf)
    for chunk in train:
        t = shrink(chunk)
        squared = torch.addmm((t * t).sum(1)[None], q, t.T, alpha=-2)  # less |q|^2, the same for all t
        value, index = squared.min(1)
        nearer = value < best
        best = torch.where(nearer, value, best)
        row = torch.where(nearer, index + start, row)
        match[nearer] = t[index[nearer]]
        start += len(t)
    if start == 0:
        raise TooFew("there are no training pictures")
    # Again by subtraction: in the expansion above, an exact copy would come out as rounding noise.
    exact = (match - q).double().pow_(2).sum(1).sqrt()
    return Nearest(exact.numpy(), row.numpy())


def copies(fake: Array, control: Array, rng: np.random.Generator, resamples: int = 500) -> Estimate:
    """Share of generated pictures nearer to the training set than the 1 % quantile of the control.

    fake, control: distances f64[n], f64[m] to the nearest training picture. The interval resamples both,
    since the quantile is itself uncertain.
    """
    if len(control) < 20:
        raise TooFew("it takes at least 20 held-out pictures to know what is usual")
    value = float((fake <= np.quantile(control, LEVEL)).mean())
    resampled = np.array(
        [
            (rng.choice(fake, len(fake)) <= np.quantile(rng.choice(control, len(control)), LEVEL)).mean()
            for _ in range(resamples)
        ]
    )
    return Estimate(value, *percentile(resampled))


def control_share(distances: Array, control: Array) -> Array:
    """Share of the control that is at least as near as each distance, f64[n] in 0..1."""
    return np.searchsorted(np.sort(control), distances, side="right") / len(control)
