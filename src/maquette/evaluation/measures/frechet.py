"""Fréchet distance between two sets of features, taken as Gaussians (Heusel et al. 2017, eq. 6).

    d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2))

In float64, with symmetric eigenvalues only: the usual `sqrtm(S1 @ S2)` of a non-symmetric product can
return complex numbers when a covariance is nearly singular. The number is biased upwards by an amount
that falls with the sample size, so it only means something beside a floor of the same size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maquette.core.measure import Estimate, Matters, Measure, TooFew
from maquette.evaluation.bootstrap import Array, centred, counts
from maquette.evaluation.evidence import between
from maquette.evaluation.wording import against_floor


@dataclass(frozen=True)
class Moments:
    """mean: f64[D]; cov: f64[D, D], unbiased."""

    mean: Array
    cov: Array


def moments(x: Array, weights: Array | None = None) -> Moments:
    """Mean and covariance of f64[n, D]; weights: how often each row counts, f64[n]."""
    if weights is None:
        total, m = float(len(x)), x.mean(0)
        c = x - m
        return Moments(m, c.T @ c / (total - 1))
    total = float(weights.sum())
    keep = weights > 0  # a resample leaves out 37 % of the items
    x, w = x[keep], weights[keep]
    m = w @ x / total
    c = (x - m) * np.sqrt(w)[:, None]
    return Moments(m, c.T @ c / (total - 1))


def distance(a: Moments, b: Moments) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians, >= 0."""
    from scipy.linalg import eigh, eigvalsh

    values, vectors = eigh(a.cov)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(eigvalsh(root @ b.cov @ root), 0, None)).sum()
    gap = a.mean - b.mean
    return max(float(gap @ gap + np.trace(a.cov) + np.trace(b.cov) - 2 * cross), 0.0)


def frechet(fake: Array, real: Array, rng: np.random.Generator, resamples: int = 200) -> Estimate:
    """Distance between features f64[n, D] and f64[m, D], with a bootstrap interval over the items of both.

    Wide features (Inception's 2,048) take seconds per resample; there the spread comes from 20 of them
    and the interval from a normal.
    """
    if min(len(fake), len(real)) < 2:
        raise TooFew("it takes at least 2 {items} on each side")
    value = distance(moments(fake), moments(real))
    wide = fake.shape[1] > 512
    if wide:
        resamples = min(resamples, 20)
    ours, theirs = rng.spawn(2)  # the real items are resampled alike whatever they are compared with
    copies = np.array(
        [
            distance(moments(fake, counts(ours, len(fake), 1)[0]), moments(real, counts(theirs, len(real), 1)[0]))
            for _ in range(resamples)
        ]
    )
    if wide:
        spread = 1.96 * float(copies.std(ddof=1))
        return Estimate(value, max(value - spread, 0.0), value + spread)
    return Estimate(value, *centred(copies, value, least=0.0), draws=copies)


MEASURES = (
    Measure(
        name="frechet", title="Fréchet distance", better="lower", unit="", rests_on="features", place=20,
        matters=Matters(0.0, times=0.5), sees=("item", "missing", "repeats"), of=between("frechet", frechet),
        asks="How far the crowd of generated {items} is from the crowd of real ones, compared as two clouds of "
        "features. 0 would be the same cloud. It only means something beside its floor and with the same "
        "feature network.",
        says=lambda m: (
            "How far generated and held-out {items} lie apart, in what is typical and in how they vary. "
            + against_floor(m)
        ),
    ),
)  # fmt: skip
