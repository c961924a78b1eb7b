"""Kernel distance: unbiased squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018).

    k(x, y) = (x . y / D + 1)^3
    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)   (eq. 4)

Unbiased at every sample size: 0 in expectation for equal distributions, so it may come out below 0.
"""

from __future__ import annotations

import numpy as np

from maquette.core.measure import Estimate, Matters, Measure, TooFew
from maquette.evaluation.bootstrap import Array, centred, counts
from maquette.evaluation.evidence import between
from maquette.evaluation.wording import against_floor

BLOCK = 1000  # rows of the kernel matrix held at once


def _quadratic(x: Array, y: Array, left: Array, right: Array, same: bool) -> Array:
    """sum_ij left[b, i] k(x_i, y_j) right[b, j] for every row b of the weights; i != j when `same`."""
    total = np.zeros(len(left))
    for start in range(0, len(x), BLOCK):
        k = x[start : start + BLOCK] @ y.T / x.shape[1]
        k += 1
        k *= k * k
        if same:
            rows = np.arange(len(k))
            k[rows, start + rows] = 0.0
        total += ((k @ right.T) * left[:, start : start + BLOCK].T).sum(0)
    return total


def kernel_distance(
    fake: Array, real: Array, rng: np.random.Generator, resamples: int = 200, most: int = 5000
) -> Estimate:
    """MMD^2 between features f64[n, D] and f64[m, D] (the first `most` of each), with a bootstrap interval.

    A resample draws an item more than once; pairs of an item with itself stay left out, so that the
    resampled distance is unbiased too.
    """
    x, y = fake[:most], real[:most]
    if min(len(x), len(y)) < 2:
        raise TooFew("it takes at least 2 {items} on each side")
    ours, theirs = rng.spawn(2)  # the real items are resampled alike whatever they are compared with
    wx = np.vstack([np.ones((1, len(x))), counts(ours, len(x), resamples)])
    wy = np.vstack([np.ones((1, len(y))), counts(theirs, len(y), resamples)])

    def pairs(w: Array) -> Array:
        # With two items, a resample may hold one of them twice and so no pair at all.
        found: Array = np.maximum(w.sum(1) ** 2 - (w**2).sum(1), 1.0)
        return found

    mmd = (
        _quadratic(x, x, wx, wx, same=True) / pairs(wx)
        + _quadratic(y, y, wy, wy, same=True) / pairs(wy)
        - 2 * _quadratic(x, y, wx, wy, same=False) / (wx.sum(1) * wy.sum(1))
    )
    value = float(mmd[0])
    return Estimate(value, *centred(mmd[1:], value), draws=mmd[1:])


MEASURES = (
    Measure(
        name="kernel", title="Kernel distance", better="lower", unit="", rests_on="features", place=20,
        matters=Matters(0.01), sees=("item", "missing", "repeats"), of=between("kernel", kernel_distance),
        asks="The same question as the Fréchet distance, asked without assuming that the clouds are bell-shaped; "
        "it is steadier when there are few {items}. 0 means no difference was found.",
        says=lambda m: (
            "The same question asked of the whole shape of the two sets; 0 means equal, and chance can take "
            "it just below. " + against_floor(m)
        ),
    ),
)  # fmt: skip
