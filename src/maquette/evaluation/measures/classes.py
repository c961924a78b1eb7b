"""Class numbers: is a generated item what was asked for, and is every class made as often as it occurs?

All of them rest on a classifier (see features.py), whose own accuracy on held-out items is the floor of the first
and a caveat of the second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.evaluation.bootstrap import Array, centred, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.measures import manifold
from maquette.evaluation.results import Metric

Labels = NDArray[np.int64]

RARE = 0.1  # a class made less often than this part of its share counts as missing
POOR = 0.8  # accuracy of the classifier under which class numbers say little
FEW = 50  # held-out items of a class, under which its row is uncertain


class ClassRow(BaseModel):
    """One class: shares in 0..1; None where it does not apply (an unconditional model, no such items).

    real_share:     of held-out items with this label
    fake_share:     of generated items that the classifier takes for this class
    asked:          generated items that were asked to be of this class
    accuracy:       share of those that the classifier takes for it
    real_accuracy:  the same for held-out items: the classifier's own limit
    precision:      share of this class's generated items that lie among real ones
    coverage:       share of this class's held-out items that have a generated one nearby
    """

    label: str
    n_real: int
    n_fake: int
    real_share: float
    fake_share: float
    asked: int | None = None
    accuracy: float | None = None
    real_accuracy: float | None = None
    precision: float | None = None
    coverage: float | None = None


def agreement(asked: Labels, seen: Labels, rng: np.random.Generator) -> Estimate:
    """Share of items that the classifier takes for the class that they should be."""
    if len(asked) == 0:
        raise TooFew("there are no {items} with a label")
    return mean((asked == seen).astype(np.float64), rng)


def share_distance(
    fake: Labels, real: Labels, classes: int, rng: np.random.Generator, resamples: int = 1000
) -> Estimate:
    """Total variation distance between the class shares of two sets: 1/2 sum_c |p_c - q_c|, 0..1.

    It is the share of the generated items that would have to change class.
    """
    if min(len(fake), len(real)) < 2:
        raise TooFew("it takes at least 2 {items} on each side")
    p, q = _shares(fake, classes), _shares(real, classes)
    value = float(np.abs(p - q).sum() / 2)
    copies = np.abs(_resampled(fake, p, rng, resamples) - _resampled(real, q, rng, resamples)).sum(1) / 2
    return Estimate(value, *centred(copies, value, least=0.0), draws=copies)


def missing(fake: Labels, real: Labels, classes: int, rng: np.random.Generator, resamples: int = 1000) -> Estimate:
    """Number of classes in the data of which generated items hold under a tenth of their share.

    Classes so rare that fewer than 5 generated items are expected are not judged.
    """
    if min(len(fake), len(real)) < 2:
        raise TooFew("it takes at least 2 {items} on each side")
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

    real, real_seen: labels of held-out items and what the classifier takes them for, i64[m]
    fake_seen, asked: what it takes generated items for, and what they should be, i64[n]
    precision, coverage: per generated, per held-out item (see manifold.py); may be shorter than n, m
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


# -- the measures --------------------------------------------------------------------------------------


def _limit(evidence: Evidence) -> Estimate:
    """How often the classifier is right about held-out items."""
    truth, seen = evidence.truth, evidence.real.classes
    assert truth is not None and seen is not None
    limit = agreement(truth, seen, evidence.rng("classes", "floor"))
    if limit.value < POOR:
        evidence.warnings.append(
            f"The classifier is right about only {limit.value:.0%} of held-out {evidence.nouns[1]}, "
            "so the class numbers say little, and features learned with it are weak."
        )
    return limit


def _accuracy(evidence: Evidence) -> Found | None:
    if evidence.classifier is None:
        return None
    limit = evidence.once("classifier", lambda: _limit(evidence))
    evidence.once("per_class", lambda: _table(evidence))
    asked, seen = evidence.asked, evidence.made.classes
    if asked is None or seen is None:
        return None
    value = agreement(asked, seen, evidence.rng("classes"))
    return Found(value, limit, len(evidence.real), len(seen))


def _table(evidence: Evidence) -> None:
    """The table by class, among the evidence's details."""
    truth, seen, made = evidence.truth, evidence.real.classes, evidence.made.classes
    assert truth is not None and seen is not None and made is not None
    try:
        items = manifold.of_samples(evidence)
    except TooFew:
        items = None
    evidence.details["per_class"] = list(
        class_rows(
            evidence.classes,
            truth,
            seen,
            made,
            evidence.asked,
            items.precision if items else None,
            items.coverage if items else None,
        )
    )
    smallest = int(np.bincount(truth, minlength=len(evidence.classes)).min())
    if smallest < FEW:
        evidence.warnings.append(
            f"The smallest class has {smallest} held-out {evidence.nouns[1]}: its row in the table by class is "
            "uncertain."
        )


def _counted(
    name: str, measure: Callable[[Labels, Labels, int, np.random.Generator], Estimate]
) -> Callable[[Evidence], Found | None]:
    """A measure of how often each class is made, whether a classifier sees it or the class itself is made."""

    def of(evidence: Evidence) -> Found | None:
        made, real, reserve = evidence.made.classes, evidence.real.classes, evidence.reserve.classes
        if made is None or real is None or reserve is None:
            return None
        n = len(evidence.classes)
        value, floor = (
            measure(made, real, n, evidence.rng(name)),
            measure(reserve, real, n, evidence.rng(name, "floor")),
        )
        title = "" if evidence.classifier else name.replace("_", " ").capitalize()  # the classes themselves are made
        return Found(value, floor, len(real), len(made), title=title)

    return of


def _accuracy_says(m: Metric) -> str:
    return (
        f"{m.show(m.value)} of generated {{items}} show the class that was asked for, says a classifier that is right "
        f"about {m.show(m.floor)} of held-out real ones."
    )


def _shares_says(m: Metric) -> str:
    return (
        f"{m.show(m.value)} of generated {{items}} would have to change class to match the data; among real ones, "
        f"{m.show(m.floor)}."
    )


def _missing_says(m: Metric) -> str:
    if m.value == 0:
        return "Every class that is common enough to judge is generated."
    return f"{m.show(m.value)} of the classes are hardly generated: under a tenth of their share."


_ASKS = (
    "Whether every class appears among the samples as often as in the data. A generator that forgets a class has "
    "dropped a part of the world."
)
MEASURES = (
    Measure(
        name="class_accuracy", title="Class accuracy, own classifier", better="higher", unit="share", of=_accuracy,
        place=30, sees=("asked",),
        asks="Ask for a class, and let a classifier trained on real {items} tell what came out: the share that it "
        "agrees with.",
        says=_accuracy_says,
    ),
    Measure(
        name="class_shares", title="Class shares off by, own classifier", better="lower", unit="share",
        of=_counted("class_shares", share_distance), place=30, sees=("missing",),
        asks=_ASKS,
        says=_shares_says,
    ),
    Measure(
        name="missing_classes", title="Missing classes, own classifier", better="lower", unit="classes",
        of=_counted("missing_classes", missing), place=30, sees=("missing",),
        asks=_ASKS,
        says=_missing_says,
    ),
)  # fmt: skip
