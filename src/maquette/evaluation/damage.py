"""The judge is judged: each measure is tried on real items that were damaged in known ways, before it may judge.

Real training items that no network learned from stand in place of the samples: once as they are, and with each damage
twice, mild and strong. A measure must see the damages that it is for (`Measure.sees`, `Damage.harm`): the interval of
its difference to the undamaged items lies on the bad side, and strong damage does no better than mild. One that does
not is set aside on this data.

What can be done to items of any kind is done here: classes that are missing, of the label or of another one, few items
again and again, another class than was asked for, copies. The rest is the kind's own, DAMAGES of its module `damage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from maquette.core.measure import Damage, Estimate, Measure, TooFew
from maquette.core.modality import part
from maquette.core.progress import track
from maquette.core.table import Table
from maquette.evaluation.bootstrap import difference
from maquette.evaluation.evidence import Evidence, Labels
from maquette.evaluation.features import order
from maquette.evaluation.verdict import worse_by

MOST, FEWEST = 1000, 50  # items that are damaged: of fewer nothing would be seen, whatever the measure
WIDE, MOST_WIDE = 512, 300  # features of a network that takes long for an item, and how many it is then shown
SHARES = (0.1, 0.5)  # of the items, mild and strong: another class than was asked for, copies
MISSING = (0.3, 0.6)  # of the data: classes that are left out
DISTINCT = (0.1, 0.02)  # share of different items among repeated ones


class DamageRow(BaseModel):
    """What a measure says of real items, and of the same items damaged.

    measure: its name; damage: what was done
    undamaged, mild, strong: its values
    seen:    whether both mild and strong damage are told from none, and strong damage not taken for the milder
    """

    measure: str
    damage: str
    undamaged: float
    mild: float
    strong: float
    seen: bool


@dataclass(frozen=True)
class _Trial:
    """A damage. of: strength 0 (none), 1, 2 -> items and the class that each was asked to be; held_out: of such items,
    for what is compared with all training items, else of training items."""

    name: str
    harm: str
    of: Callable[[int], tuple[Tensor, Labels | None]]
    held_out: bool = False


def tried(evidence: Evidence, measures: Sequence[Measure]) -> list[DamageRow]:
    """What each measure sees of the damages that it is for. Says so where there is nothing to try measures on."""
    rows: list[DamageRow] = []
    undamaged: dict[tuple[str, bool], Estimate] = {}
    if evidence.sample.paired or not any(measure.sees for measure in measures):
        return rows
    if _size(evidence) < FEWEST:
        evidence.notes.append(f"There are too few {evidence.nouns[1]} to try the measures on known damage first.")
        return rows
    evidence.notify(f"Trying the measures on damaged {evidence.nouns[1]}.")
    if not part(evidence.spec.kind, "DAMAGES", "damage"):
        evidence.notes.append(
            f"No damage to a single {evidence.nouns[0]} is known: the measures were tried on whole sets only."
        )
    for trial in track(list(_trials(evidence)), "trying the measures"):
        mine = [measure for measure in measures if trial.harm in measure.sees]
        none = [measure for measure in mine if (measure.name, trial.held_out) not in undamaged]
        for strength, asked in ((0, none), (1, mine), (2, mine)):
            if not asked:
                continue
            stand_in = evidence.instead(*trial.of(strength))
            found = {measure.name: _value(measure, stand_in) for measure in asked}
            if strength == 0:
                undamaged |= {(name, trial.held_out): value for name, value in found.items() if value is not None}
            elif strength == 1:
                mild = found
            else:
                strong = found
        for measure in mine:
            values = undamaged.get((measure.name, trial.held_out)), mild[measure.name], strong[measure.name]
            if (row := _row(measure, trial.name, values)) is not None:
                rows.append(row)
    return rows


def missed(rows: Sequence[DamageRow], measure: str) -> tuple[str, ...]:
    """The damages that a measure should have seen, and did not."""
    return tuple(row.damage for row in rows if row.measure == measure and not row.seen)


def _value(measure: Measure, evidence: Evidence) -> Estimate | None:
    try:
        found = measure.of(evidence)
    except TooFew:
        return None
    return found.value if found else None


def _row(measure: Measure, damage: str, values: tuple[Estimate | None, ...]) -> DamageRow | None:
    none, mild, strong = values
    if none is None or mild is None or strong is None:
        return None
    gaps = [difference(value, none) for value in (mild, strong)]
    ends = [worse_by(measure.better, gap) for gap in gaps]
    more = difference(strong, mild)
    # Of a measure that should be near its floor, strong damage must lead further the way that mild damage led.
    way = measure.better if measure.better != "floor" else "lower" if gaps[0].value > 0 else "higher"
    further = worse_by(way, more)
    seen = all(end is not None and end[0] > 0 for end in ends) and further is not None and further[1] >= 0
    return DamageRow(
        measure=measure.name, damage=damage, undamaged=none.value, mild=mild.value, strong=strong.value, seen=seen
    )


# -- what is damaged, and how ------------------------------------------------------------------------


def _pool(evidence: Evidence) -> Labels:
    """Rows of training items that no network learned from, shuffled."""
    shuffled, reserved = order(len(evidence.dataset.train))
    return shuffled[:reserved]


def _size(evidence: Evidence) -> int:
    network = evidence.network
    most = MOST_WIDE if network is not None and network.dim > WIDE else MOST
    # Less than half of the pool, so that without most of the classes there are still nearly as many.
    return min(most, len(_pool(evidence)) * 2 // 5, len(evidence.real), evidence.sample.n)


def _trials(evidence: Evidence) -> Iterator[_Trial]:
    pool, n, train = _pool(evidence), _size(evidence), evidence.dataset.train
    items, spec = train.columns[evidence.column], evidence.spec
    labels = train.columns[evidence.label].take(pool).numpy() if evidence.label else None

    def of_rows(rows: Callable[[int], Labels]) -> Callable[[int], tuple[Tensor, Labels | None]]:
        """rows: of the pool, by strength."""

        def of(strength: int) -> tuple[Tensor, Labels | None]:
            chosen = rows(strength) if strength else np.arange(n)
            return items.take(pool[chosen]), None if labels is None else labels[chosen]

        return of

    def damaged(damage: Damage) -> Callable[[int], tuple[Tensor, Labels | None]]:
        def of(strength: int) -> tuple[Tensor, Labels | None]:
            real = items.take(pool[:n])
            made = damage.of(real, spec, strength, evidence.rng("damage", damage.name)) if strength else real
            return made, None if labels is None else labels[:n]

        return of

    for damage in part(spec.kind, "DAMAGES", "damage") or ():
        yield _Trial(damage.name, damage.harm, damaged(damage))
    yield _Trial("few of them repeated", "repeats", of_rows(lambda s: np.resize(np.arange(_few(n, s)), n)))
    for name in evidence.other_labels:
        if f"{name}: per_class" not in evidence.details:
            continue  # it cannot be told of items
        others = train.columns[name].take(pool).numpy()
        some = [np.flatnonzero(np.isin(others, _kept(others, share))) for share in MISSING]
        if all(len(rows) >= FEWEST for rows in some):
            yield _Trial(f"without some of '{name}'", "labels", of_rows(partial(_spread, some, n)))
    if labels is not None:
        left = [np.flatnonzero(np.isin(labels, _kept(labels, share))) for share in MISSING]
        if all(len(rows) >= FEWEST for rows in left):
            yield _Trial("without some classes", "missing", of_rows(partial(_spread, left, n)))
        if evidence.asked is not None:
            yield _Trial("asked for as another class", "asked", lambda s: _renamed(evidence, items.take(pool[:n]),
                                                                              labels[:n], s))  # fmt: skip
    if evidence.own_data:
        yield _Trial("with copies among them", "copies", lambda s: _copied(evidence, train, n, s), held_out=True)


def _spread(left: Sequence[Labels], n: int, strength: int) -> Labels:
    return np.resize(left[strength - 1], n)


def _few(n: int, strength: int) -> int:
    return max(int(n * DISTINCT[strength - 1]), 2)


def _kept(labels: Labels, share: float) -> Labels:
    """The classes that stay when the commonest, as many as make up this share of all, are left out; at least one."""
    names, counts = np.unique(labels, return_counts=True)
    commonest = np.argsort(-counts, kind="stable")
    gone = int(np.searchsorted(np.cumsum(counts[commonest]), share * len(labels))) + 1
    return names[commonest[min(gone, len(names) - 1) :]]


def _renamed(evidence: Evidence, items: Tensor, labels: Labels, strength: int) -> tuple[Tensor, Labels]:
    wrong = evidence.rng("damage", "asked").random(len(labels)) < (SHARES[strength - 1] if strength else 0)
    return items, np.where(wrong, (labels + 1) % len(evidence.classes), labels)


def _copied(evidence: Evidence, train: Table, n: int, strength: int) -> tuple[Tensor, Labels | None]:
    """Held-out items of which a share was exchanged for training items."""
    copies = int(n * SHARES[strength - 1]) if strength else 0
    chosen = evidence.rng("damage", "copies").permutation(len(train))[:copies]
    sides = ((evidence.dataset.test, evidence.rows[: n - copies]), (train, chosen))
    items = [list(side.columns[evidence.column].take(rows)) for side, rows in sides if len(rows)]
    labels = [side.columns[evidence.label].take(rows).numpy() for side, rows in sides] if evidence.label else []
    return _stacked([item for part in items for item in part]), np.concatenate(labels) if labels else None


def _stacked(items: Sequence[Tensor]) -> Tensor:
    """Items as one tensor; sequences are padded to the longest with zeros, which is PAD."""
    if items[0].ndim == 1:
        return torch.nn.utils.rnn.pad_sequence(list(items), batch_first=True)
    return torch.stack(list(items))
