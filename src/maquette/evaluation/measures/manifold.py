"""Precision, recall, density and coverage: is each item plausible, and is all of the data there?

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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maquette.core.measure import Estimate, Found, Matters, Measure, TooFew
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.results import Metric

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
        names = ("precision", "recall", "density", "coverage")
        return {name: mean(getattr(self, name), own) for name, own in zip(names, rng.spawn(len(names)), strict=True)}


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
        raise TooFew(f"it takes more than {k_density} {{items}} on each side")
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


def of_samples(evidence: Evidence) -> Manifold | None:
    """That of the samples against held-out items; None without features. Raises TooFew."""
    made, real = evidence.made.features, evidence.real.features
    return None if made is None or real is None else evidence.once("manifold", lambda: manifold(made, real))


def _measured(name: str) -> Callable[[Evidence], Found | None]:
    def of(evidence: Evidence) -> Found | None:
        found = of_samples(evidence)
        if found is None:
            return None
        values = evidence.once("manifold values", lambda: found.estimates(evidence.rng("manifold")))
        floors = evidence.of_real("manifold floors", lambda: _floors(evidence))
        return Found(values[name], floors[name], len(found.recall), len(found.precision))

    return of


def _floors(evidence: Evidence) -> dict[str, Estimate]:
    reserve, real = evidence.reserve.features, evidence.real.features
    assert reserve is not None and real is not None
    # With the same draws as of the samples: recall and coverage are means over the same real items.
    return manifold(reserve, real).estimates(evidence.rng("manifold"))


def _precision(m: Metric) -> str:
    v, f = m.show(m.value), m.show(m.floor)
    return f"{v} of generated {{items}} lie among real ones; of real {{items}}, {f} do."


def _recall(m: Metric) -> str:
    v, f = m.show(m.value), m.show(m.floor)
    return f"{v} of held-out {{items}} lie within what is generated; for real {{items}}, {f}."


def _density(m: Metric) -> str:
    v, f = m.show(m.value), m.show(m.floor)
    return (
        f"Generated {{items}} have {v} times the real company they would be due; real ones have {f}. "
        "High density with low coverage means safe, repetitive {items}."
    )


def _coverage(m: Metric) -> str:
    v, f = m.show(m.value), m.show(m.floor)
    return f"{v} of held-out {{items}} have a generated one nearby; with real ones instead, {f}."


def _measure(name: str, unit: str, sees: str, asks: str, says: Callable[[Metric], str]) -> Measure:
    return Measure(
        name, name.capitalize(), "higher", unit, asks, _measured(name), says, rests_on="features", place=22,
        matters=None if unit else Matters(0.1), sees=tuple(sees.split()),
    )  # fmt: skip


MEASURES = (
    _measure(
        "precision",
        "share",
        "item",
        "Share of generated {items} that look like some real {item}. Low: many samples are not believable.",
        _precision,
    ),
    _measure(
        "recall",
        "share",
        "missing repeats",
        "Share of real {items} that the generator could have made. Low: whole kinds of {items} are missing.",
        _recall,
    ),
    _measure(
        "density",
        "",
        "item",
        "How deep inside the regions of real {items} the samples lie. Like precision, but less easily fooled "
        "by one odd real {item}; far above its floor, the samples are safer than real {items}.",
        _density,
    ),
    _measure(
        "coverage",
        "share",
        "missing repeats",
        "Share of real {items} that have a sample in their neighbourhood. Low: the generator repeats itself.",
        _coverage,
    ),
)
