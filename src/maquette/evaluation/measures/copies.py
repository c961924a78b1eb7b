"""Copies of training items: are generated items nearer to the training set than new real ones are?

The control is what real, held-out items do: their distance to the nearest training item. A
generated item nearer than the control's 1 % quantile is suspect; a generator that has learned the
data and memorised nothing has about 1 % of them. (The comparison with a held-out set is that of
Meehan et al. 2020, "A non-parametric test to detect data-copying in generative models".)
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field
from torch import Tensor

from maquette.core.measure import Estimate, Found, Matters, Measure, TooFew
from maquette.evaluation.bootstrap import Array, percentile
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.features import chunks
from maquette.evaluation.neighbours import Nearest, nearest
from maquette.evaluation.results import Metric
from maquette.evaluation.wording import above_floor

LEVEL = 0.01  # of the control
MOST_CONTROL = 5_000
LISTED = 24


class Copy(BaseModel):
    """A generated item and the training item nearest to it.

    sample:   its number within the sample of `settings.seed`: ItemRng(seed, [sample]) makes it again
    label:    the class asked for, or that the classifier sees; None without classes
    distance: as the kind compares its items (see neighbours.py), for values in [-1, 1] the root mean square difference
    quantile: share of held-out real items that are at least this near to a training item
    """

    sample: int = Field(ge=0)
    label: str | None
    train_row: int = Field(ge=0)
    train_name: str
    distance: float
    quantile: float


def copies(fake: Array, control: Array, rng: np.random.Generator, resamples: int = 500) -> Estimate:
    """Share of generated items nearer to the training set than the 1 % quantile of the control.

    fake, control: distances f64[n], f64[m] to the nearest training item. The interval resamples both,
    since the quantile is itself uncertain.
    """
    if len(control) < 20:
        raise TooFew("it takes at least 20 held-out {items} to know what is usual")
    value = float((fake <= np.quantile(control, LEVEL)).mean())
    resampled = np.array(
        [
            (rng.choice(fake, len(fake)) <= np.quantile(rng.choice(control, len(control)), LEVEL)).mean()
            for _ in range(resamples)
        ]
    )
    return Estimate(value, *percentile(resampled), draws=resampled)


def control_share(distances: Array, control: Array) -> Array:
    """Share of the control that is at least as near as each distance, f64[n] in 0..1."""
    return np.searchsorted(np.sort(control), distances, side="right") / len(control)


# -- the measure ---------------------------------------------------------------------------------------


def _of(evidence: Evidence) -> Found | None:
    comparable = evidence.comparable
    if comparable is None or not evidence.own_data:
        return None
    evidence.notify(f"Looking for copies of training {evidence.nouns[1]}.")
    made, control = evidence.made.comparable, evidence.real.comparable
    assert made is not None and control is not None
    train = evidence.dataset.train

    def search(items: Tensor) -> Nearest:
        return nearest(items, chunks(train.columns[evidence.column], size=4000), comparable)

    usual = evidence.of_real("distances to training items", lambda: search(control[:MOST_CONTROL])).distance[:, 0]
    near = search(made)
    mine, row, n = near.distance[:, 0], near.row[:, 0], len(made)
    shares = control_share(mine, usual)
    named = evidence.asked if evidence.asked is not None else evidence.made.classes
    evidence.details["copies"] = [
        Copy(
            sample=int(i),
            label=evidence.classes[named[i]] if named is not None else None,
            train_row=int(row[i]),
            train_name=str(train.names[int(row[i])]),
            distance=float(mine[i]),
            quantile=float(shares[i]),
        )
        for i in np.argsort(mine, kind="stable")[:LISTED]
    ]
    value = copies(mine, usual, evidence.rng("copies"))
    return Found(value, copies(usual, usual, evidence.rng("copies", "floor")), len(usual), n)


def _says(m: Metric) -> str:
    end = (
        "More than chance: look at the nearest pairs; very plain {items} come near without being copied."
        if above_floor(m)
        else "No more than chance."
    )
    v = m.show(m.value)
    return f"{v} of generated {{items}} are nearer to a training {{item}} than 99% of new real ones are. {end}"


MEASURES = (
    Measure(
        name="copies", title="Nearer to a training {item} than 99% of real ones", better="no more", unit="share",
        place=60, of=_of, matters=Matters(0.02), sees=("copies",),
        asks="Share of samples that lie closer to a training {item} than new real {items} do. Well above the "
        "floor means that the model repeats what it was shown instead of making something new.",
        says=_says,
    ),
)  # fmt: skip
