"""Labels that the class numbers are not about: of spoken digits, who speaks. Is each made as often as it occurs, and as
varied?

A model that is asked for one label settles the others on the way, and items of one easy kind are the cleanest: what is
as clean as real items, and less varied, is to be seen. Each label is read off the features that distances are measured
in, by ridge regression (Hoerl & Kennard 1970) on the reserve (see features.py); where there are items enough, within
each class of the label that the class numbers are about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maquette.core.measure import Estimate, Found, Matters, Measure
from maquette.evaluation.bootstrap import Array, centred, difference
from maquette.evaluation.evidence import Evidence, Labels
from maquette.evaluation.measures.classes import POOR, class_rows
from maquette.evaluation.results import Metric

RIDGE = 0.01  # of the mean square of a feature
EACH = 5  # real items a cell on average, from which on cells are classes of both labels
RESAMPLES = 1000


@dataclass(frozen=True)
class Cells:
    """Which cell each item is in, i64[n]: of `inner` classes of the one label within each of `outer` of the other."""

    title: str
    made: Labels
    real: Labels
    reserve: Labels
    outer: int
    inner: int


def reader(features: Array, labels: Labels, classes: int) -> Array:
    """f64[D + 1, classes]: scores of each class are linear in features f64[n, D], the last row being constant."""
    x = np.concatenate([features, np.ones((len(features), 1))], 1)
    weigh = np.full(x.shape[1], RIDGE * len(x) * np.square(features).mean())
    weigh[-1] = 1e-9
    made: Array = np.linalg.solve(x.T @ x + np.diag(weigh), x.T @ np.eye(classes)[labels])
    return made


def read(weights: Array, features: Array) -> Labels:
    """The class of each item, i64[n]."""
    made: Labels = (features @ weights[:-1] + weights[-1]).argmax(1)
    return made


def recall(made: Labels, real: Labels, cells: int, rng: np.random.Generator) -> Estimate:
    """How much of each cell of the real items comes up among the made ones: the mean of min(1, p_c / q_c), 0..1, over
    the cells that there are."""

    def of(p: Array, q: Array) -> Array:
        there = q > 0
        shares = np.minimum(1, p / np.where(there, q, 1))
        found: Array = np.where(there, shares, 0).sum(-1) / there.sum(-1)
        return found

    q, p = (np.bincount(side, minlength=cells) / len(side) for side in (real, made))
    copies = of(*(rng.multinomial(len(side), share, RESAMPLES) / len(side) for side, share in ((made, p), (real, q))))
    value = float(of(p, q))
    return Estimate(value, *centred(copies, value, least=0.0), draws=copies)


def variety(cells: Labels, outer: int, inner: int, rng: np.random.Generator) -> Estimate:
    """exp of the mean entropy within each of the `outer` classes: as if so many `inner` ones came up equally often."""

    def of(p: Array) -> Array:
        joint = p.reshape(*p.shape[:-1], outer, inner)
        total = joint.sum(-1, keepdims=True)
        share = joint / np.where(total > 0, total, 1)
        found: Array = np.exp(-(joint * np.log(np.where(share > 0, share, 1))).sum((-2, -1)))
        return found

    p = np.bincount(cells, minlength=outer * inner) / len(cells)
    value, copies = float(of(p)), of(rng.multinomial(len(cells), p, RESAMPLES) / len(cells))
    return Estimate(value, *centred(copies, value, least=1.0), draws=copies)


def _cells(evidence: Evidence) -> list[Cells]:
    """Of each other label that can be read; its table by class stands among the details."""
    made, real, reserve = (side.features for side in (evidence.made, evidence.real, evidence.reserve))
    if made is None or real is None or reserve is None:
        return []
    found = []
    for name in evidence.other_labels:
        known, test = evidence.labels_of(name)
        classes = evidence.dataset.train.columns[name].spec.classes
        inner, half = len(classes), len(reserve) // 2
        if len(reserve) < 2 * EACH * inner:
            evidence.left_out(f"how '{name}' is spread", f"there are too few {{items}} for its {inner} classes")
            continue
        weights = reader(reserve, known, inner)
        seen, of_real = read(weights, made), read(weights, real)
        if (right := float(np.mean(of_real == test))) < POOR:
            evidence.left_out(f"how '{name}' is spread", f"it is read rightly off only {right:.0%} of real {{items}}")
            continue
        # What the floor rests on is read by what has not seen it.
        parts = (slice(half), slice(half, None))
        of_reserve = [read(reader(reserve[b], known[b], inner), reserve[a]) for a, b in (parts, parts[::-1])]
        sides = [seen, of_real, np.concatenate(of_reserve)]
        rows = class_rows(classes, test, of_real, seen)
        evidence.details[f"{name}: per_class"] = list(rows)
        outer, title, within = (
            1,
            f"'{name}'",
            [side.classes for side in (evidence.made, evidence.real, evidence.reserve)],
        )
        if len(real) >= EACH * inner * len(evidence.classes) and all(side is not None for side in within):
            outer, title = len(evidence.classes), f"'{name}' within each '{evidence.label}'"
            sides = [o * inner + i for o, i in zip(within, sides, strict=True) if o is not None]
        found.append(Cells(title, sides[0], sides[1], sides[2], outer, inner))
    return found


def _worst(found: list[tuple[str, Estimate, Estimate]], evidence: Evidence, title: str) -> Found | None:
    """Of the label that lacks most beside its floor."""
    if not found:
        return None
    name, value, floor = min(found, key=lambda one: difference(one[1], one[2]).value)
    return Found(value, floor, len(evidence.real), len(evidence.made), title=f"{title} {name}")


def _of_recall(evidence: Evidence) -> Found | None:
    found = []
    for cells in evidence.once("cells", lambda: _cells(evidence)):
        n = cells.outer * cells.inner
        value, floor = (recall(side, cells.real, n, evidence.rng("labels")) for side in (cells.made, cells.reserve))
        found.append((cells.title, value, floor))
    return _worst(found, evidence, "Recall of")


def _of_variety(evidence: Evidence) -> Found | None:
    found = []
    for cells in evidence.once("cells", lambda: _cells(evidence)):
        value, floor = (
            variety(side, cells.outer, cells.inner, evidence.rng("variety")) for side in (cells.made, cells.reserve)
        )
        found.append((cells.title, value, floor))
    return _worst(found, evidence, "Effective number of")


def _recall_says(m: Metric) -> str:
    return (
        f"On average {m.show(m.value)} of what real {{items}} have of each comes up; of other real ones, "
        f"{m.show(m.floor)}. It was not asked for: what comes up, the model settles."
    )


def _variety_says(m: Metric) -> str:
    return f"As varied as if {m.show(m.value)} of them came up equally often; real {{items}}, {m.show(m.floor)}."


MEASURES = (
    Measure(
        name="label_recall", title="Recall of labels", better="higher", unit="share", of=_of_recall, place=31,
        rests_on="features", sees=("labels",),
        asks="Where the data has further labels, such as who speaks: how much of each of their classes comes up among "
        "the samples, at most as often as among real {items}. Clean samples of few kinds are low here.",
        says=_recall_says,
    ),
    Measure(
        name="label_variety", title="Variety of labels", better="floor", unit="", of=_of_variety, place=31,
        rests_on="features", matters=Matters(0.0, 0.1), sees=("labels",),
        asks="How varied the samples are in a further label of the data: its entropy, as the number of classes that "
        "would have it if all came up equally often. Below its floor, some hardly come up.",
        says=_variety_says,
    ),
)  # fmt: skip
