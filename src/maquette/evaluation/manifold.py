"""Precision, recall, density and coverage: is each picture plausible, and is all of the data there?

The manifold of a set is the union of balls around its items, each reaching to the item's k-th nearest
neighbour within the set.

precision: share of generated items inside the real manifold   (Kynkäänniemi et al. 2019, eq. 1-2, k = 3)
recall:    share of real items inside the generated manifold
density:   mean number of real balls that a generated item lies in, over k   (Naeem et al. 2020, eq. 5, k = 5)
coverage:  share of real balls that hold a generated item                    (eq. 6, k = 5)

Density may exceed 1 where generated items sit in the thick of the data. Recall is easily raised by
outliers among the generated items; coverage is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maquette.evaluation.bootstrap import Array, Estimate, TooFew, mean

BLOCK = 1000


@dataclass(frozen=True)
class Manifold:
    """Per item, so that any group of items can be averaged.

    precision: f64[n_fake] 0 or 1     density:  f64[n_fake] >= 0
    recall:    f64[n_real] 0 or 1     coverage: f64[n_real] 0 or 1
    """

    precision: Array
    density: Array
    recall: Array
    coverage: Array

    def estimates(self, rng: np.random.Generator) -> dict[str, Estimate]:
        """Means with bootstrap intervals over the items that are averaged.

        The balls are kept as they are: in a resample with repeated items, radii would shrink to 0.
        """
        return {name: mean(getattr(self, name), rng) for name in ("precision", "recall", "density", "coverage")}


def squared_distances(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2, f64[n, m], >= 0."""
    d = x @ y.T
    d *= -2
    d += (x * x).sum(1)[:, None]
    d += (y * y).sum(1)[None]
    return np.maximum(d, 0, out=d)


def radii(x: Array, ks: tuple[int, ...]) -> list[Array]:
    """Squared distance of each item to its k-th nearest other item, for each k."""
    parts = []
    for start in range(0, len(x), BLOCK):
        d = squared_distances(x[start : start + BLOCK], x)
        rows = np.arange(len(d))
        d[rows, start + rows] = np.inf
        nearest = np.partition(d, max(ks) - 1, axis=1)[:, : max(ks)]
        nearest.sort(axis=1)
        parts.append(nearest)
    nearest = np.concatenate(parts)
    return [nearest[:, k - 1] for k in ks]


def manifold(fake: Array, real: Array, most: int = 5000, k_precision: int = 3, k_density: int = 5) -> Manifold:
    """The four measures per item, from features f64[n, D] and f64[m, D] (the first `most` of each)."""
    fake, real = fake[:most], real[:most]
    if min(len(fake), len(real)) <= k_density:
        raise TooFew(f"it takes more than {k_density} pictures on each side")
    real_p, real_d = radii(real, (k_precision, k_density))
    (fake_p,) = radii(fake, (k_precision,))
    precision, density = [], []
    recall, coverage = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start in range(0, len(fake), BLOCK):
        d = squared_distances(fake[start : start + BLOCK], real)  # [b, n_real]
        precision.append((d <= real_p).any(1))
        density.append((d <= real_d).sum(1) / k_density)
        recall |= (d <= fake_p[start : start + BLOCK, None]).any(0)
        coverage |= (d <= real_d).any(0)
    return Manifold(
        np.concatenate(precision).astype(np.float64),
        np.concatenate(density).astype(np.float64),
        recall.astype(np.float64),
        coverage.astype(np.float64),
    )
