"""Class numbers: is a generated picture what was asked for, and is every class made as often as it occurs?

All of them rest on a classifier (see own_features.py), whose own accuracy on held-out pictures is the
floor of the first and a caveat of the second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maquette.evaluation.bootstrap import Array, Estimate, TooFew, centred, mean
from maquette.evaluation.results import ClassRow

Labels = NDArray[np.int64]

RARE = 0.1  # a class made less often than this part of its share counts as missing


def agreement(asked: Labels, seen: Labels, rng: np.random.Generator) -> Estimate:
    """Share of pictures that the classifier takes for the class that they should be."""
    if len(asked) == 0:
        raise TooFew("there are no pictures with a label")
    return mean((asked == seen).astype(np.float64), rng)


def share_distance(
    fake: Labels, real: Labels, classes: int, rng: np.random.Generator, resamples: int = 1000
) -> Estimate:
    """Total variation distance between the class shares of two sets: 1/2 sum_c |p_c - q_c|, 0..1.

    It is the share of the generated pictures that would have to change class.
    """
    if min(len(fake), len(real)) < 2:
        raise TooFew("it takes at least 2 pictures on each side")
    p, q = _shares(fake, classes), _shares(real, classes)
    value = float(np.abs(p - q).sum() / 2)
    copies = np.abs(_resampled(fake, p, rng, resamples) - _resampled(real, q, rng, resamples)).sum(1) / 2
    return Estimate(value, *centred(copies, value, least=0.0))


def missing(fake: Labels, real: Labels, classes: int, rng: np.random.Generator, resamples: int = 1000) -> Estimate:
    """Number of classes in the data of which generated pictures hold under a tenth of their share.

    Classes so rare that fewer than 5 generated pictures are expected are not judged.
    """
    if min(len(fake), len(real)) < 2:
        raise TooFew("it takes at least 2 pictures on each side")
    p, q = _shares(fake, classes), _shares(real, classes)
    judged = q * len(fake) >= 5
    if not judged.any():
        raise TooFew("no class is expected at least 5 times in the sample")
    value = float((p < RARE * q)[judged].sum())
    copies = (_resampled(fake, p, rng, resamples) < RARE * q)[:, judged].sum(1).astype(np.float64)
    low, high = np.percentile(copies, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _shares(labels: Labels, classes: int) -> Array:
    return np.bincount(labels, minlength=classes) / len(labels)


def _resampled(labels: Labels, shares: Array, rng: np.random.Generator, resamples: int) -> Array:
    # Resampling items and counting their classes is the same as drawing the counts.
    return rng.multinomial(len(labels), shares, size=resamples) / len(labels)


def class_rows(
    names: tuple[str, ...],
    real: Labels,
    real_seen: Labels,
    fake_seen: Labels,
    asked: Labels | None = None,
    precision: Array | None = None,
    coverage: Array | None = None,
) -> tuple[ClassRow, ...]:
    """The table by class.

    real, real_seen: labels of held-out pictures and what the classifier takes them for, i64[m]
    fake_seen, asked: what it takes generated pictures for, and what they should be, i64[n]
    precision, coverage: per generated, per held-out picture (see manifold.py); may be shorter than n, m
    """
    fake_group = fake_seen if asked is None else asked

    def average(values: Array | None, group: Labels, c: int) -> float | None:
        if values is None:
            return None
        mine = values[group[: len(values)] == c]
        return float(mine.mean()) if len(mine) else None

    rows = []
    for c, name in enumerate(names):
        rows.append(
            ClassRow(
                label=name,
                n_real=int((real == c).sum()),
                n_fake=int((fake_group == c).sum()),
                real_share=float((real == c).mean()),
                fake_share=float((fake_seen == c).mean()),
                asked=None if asked is None else int((asked == c).sum()),
                accuracy=None if asked is None else average((fake_seen == c).astype(np.float64), asked, c),
                real_accuracy=average((real_seen == c).astype(np.float64), real, c),
                precision=average(precision, fake_group, c),
                coverage=average(coverage, real, c),
            )
        )
    return tuple(rows)
