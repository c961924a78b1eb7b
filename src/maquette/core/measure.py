"""A measure of an evaluation, whole: computed, named, explained and read aloud in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Better = Literal["lower", "higher", "floor", "no more"]


class TooFew(ValueError):
    """Too little data for a measure; the message says what is missing. The measure is left out by name."""


@dataclass(frozen=True)
class Estimate:
    """A number and its interval.

    p_value: of the hypothesis "made and real are alike", for tests
    draws:   the number in each resample, f64[R]: two that were resampled together have an interval of their difference
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    draws: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def shifted(self, by: float) -> Estimate:
        """The same number and interval, `by` higher."""
        low, high = (None if x is None else x + by for x in (self.low, self.high))
        return Estimate(self.value + by, low, high, self.p_value)


@dataclass(frozen=True)
class Matters:
    """The smallest difference to the floor that matters: `by`, in the measure's unit, or `times` the floor, if more.

    A measure whose interval could hide such a difference cannot say that samples are as good as real.
    """

    by: float
    times: float = 0.0

    def at(self, floor: float) -> float:
        """In the measure's unit, beside this floor."""
        return max(self.by, self.times * floor)


MATTERS: Mapping[str, Matters] = {"share": Matters(0.05), "points": Matters(2.0), "classes": Matters(0.5)}
"""By unit, where a measure says nothing else."""


@dataclass(frozen=True)
class Found:
    """What a measure found.

    value:    the number; floor: the same of real items in place of made ones, at the same sizes
    n_real, n_fake: items that it rests on
    title:    where it says more than the measure's own (how many samples, which windows)
    says:     what is added to the measure's own sentence, e.g. the signature of a score
    """

    value: Estimate
    floor: Estimate | None = None
    n_real: int = 0
    n_fake: int = 0
    title: str = ""
    says: str = ""


@dataclass(frozen=True)
class Measure:
    """One measure.

    In the title, in `asks`, in what `says` returns and in TooFew, "{item}" and "{items}" stand for the words of the
    kind that is measured ("sound", "sounds").

    name:   key in metrics.json, e.g. "frechet"          title: for people
    better: "lower", "higher"; "floor": as near to the floor as possible; "no more": than the floor
    unit:   "" (a bare number), "share" (0..1, shown as %), "points" (0..100), "nats", "bits/dim", "dB", ...
    asks:   what it asks, for somebody who has never trained a generative model: a paragraph of the glossary
    of:     Evidence (evaluation/evidence.py) -> Found; None: it does not apply to this model or this data; TooFew: it
            is left out, by name. Measures that share work keep it in the evidence (`Evidence.once`).
    says:   Metric (evaluation/results.py) -> the sentence about its value
    rests_on: what values must have in common to be compared: a network of "features", which the title then names, or
            the same "tokens"
    whole:  whether it is of the model as a whole, and not of one of its target columns
    place:  where it stands in the table: the smaller, the further up
    matters: what difference to the floor matters; None: by the unit (MATTERS), and where that says nothing, no one can
             say that the samples are as good as real by this measure
    sees:   harms (Damage.harm) that it claims to see, and is first tried on: evaluation/damage.py
    """

    name: str
    title: str
    better: Better
    unit: str
    asks: str
    of: Callable[[Any], Found | None]
    says: Callable[[Any], str]
    rests_on: Literal["", "features", "tokens"] = ""
    whole: bool = False
    place: int = 50
    matters: Matters | None = None
    sees: tuple[str, ...] = ()

    def least(self, floor: float) -> float | None:
        """The smallest difference to this floor that matters, in the measure's unit; None where nobody knows."""
        found = self.matters or MATTERS.get(self.unit)
        return found.at(floor) if found else None


@dataclass(frozen=True)
class Damage:
    """Known harm that is done to real items, for measures to be tried on.

    name: what was done, in words: "blurred"
    harm: which measures must see it: those whose `sees` names it. Of every kind: "item" (each item is off), "missing"
          (a part of the data does not come up), "labels" (classes of a label that nobody asked for do not), "repeats"
          (few items, again and again), "asked" (another class than was asked for), "copies" (of training items); a kind
          may have others
    of:   (canonical items [n, ...], their specification, strength 1 (mild) or 2 (strong), draws) -> as many of them
    """

    name: str
    harm: str
    of: Callable[[Any, Any, int, np.random.Generator], Any]


def unique(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """The measures; ValueError where two have one name."""
    names = [measure.name for measure in measures]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two measures are called {', '.join(sorted(twice))}")
    return tuple(measures)
