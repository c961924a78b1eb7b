"""How samples stand to real items: of one measure, and of an evaluation, which is as good as its worst measure.

A measure is judged by the interval of its *difference* to the floor, against the smallest difference that matters
(core/measure.py, `Matters`): not finding a difference only says something where one that matters would have been found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maquette.core.measure import Better, Estimate
from maquette.evaluation.bootstrap import difference

if TYPE_CHECKING:
    from maquette.evaluation.results import Metric

Level = Literal["alike", "beyond", "slight", "unclear", "worse", "none"]
"""From good to bad. alike: no difference that matters; beyond: better than real items; slight: a difference that does
not matter; unclear: none was found, but one that matters may be hidden; worse: a difference; none: cannot be judged."""

SENSES: Mapping[Better, str] = {
    "lower": "lower is better",
    "higher": "higher is better",
    "floor": "the nearer to the floor, the better",
    "no more": "no more than the floor is good",
}
"""What `better` asks, in words."""

FEWEST = 3  # measures without which nothing is called good: one that finds nothing may be one that looks at little
ENOUGH = 10.0  # differences that matter: of what is as bad as this, the first in the table is named

_BADNESS: tuple[Level, ...] = ("alike", "beyond", "slight", "unclear", "worse")


@dataclass(frozen=True)
class Verdict:
    """What an evaluation comes to. worst: the name of the measure that decided; "" where none could."""

    level: Level
    words: str
    worst: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing was found that matters, and would have been."""
        return self.level in ("alike", "slight")


def worse_by(better: Better, found: Estimate) -> tuple[float, float] | None:
    """The ends of the interval of a difference, turned so that more is worse; None where there is no interval.

    Of a measure that should be near its floor: as far as the nearer and the further end are from it.
    """
    if found.low is None or found.high is None:
        return None
    low, high = found.low, found.high
    if better == "floor" and low <= 0 <= high:
        return 0.0, max(-low, high)
    turned = better == "higher" or (better == "floor" and high < 0)
    return (-high, -low) if turned else (low, high)


def gap(metric: Metric) -> Estimate | None:
    """value - floor; None without a floor. Of evaluations that did not keep it, as of independent numbers."""
    if metric.floor is None:
        return None
    if metric.gap_low is not None and metric.gap_high is not None:
        return Estimate(metric.value - metric.floor, metric.gap_low, metric.gap_high)
    floor = Estimate(metric.floor, metric.floor_low, metric.floor_high)
    return difference(Estimate(metric.value, metric.low, metric.high), floor)


def level(metric: Metric) -> Level:
    """Where a metric stands to its floor; "none" of one that does not see what it should."""
    found = gap(metric)
    ends = worse_by(metric.better, found) if found else None
    if ends is None or metric.missed:
        return "none"
    low, high = ends
    if high < 0:
        return "alike" if metric.better == "no more" else "beyond"
    small = metric.matters is not None and high <= metric.matters
    if low > 0:
        return "slight" if small else "worse"
    return "alike" if small else "unclear"


def standing(metric: Metric, items: str = "items", told_apart: bool = False) -> str:
    """Where the value is, seen from the floor, in words; "" without a floor. items: what is measured, several of it.

    told_apart: whether another measure sees a difference, beside which this one cannot call them as good as real
    """
    if metric.missed:
        return f"set aside: {missed(metric)}"
    found = gap(metric)
    if metric.floor is None or found is None:
        return ""
    above = found.value > 0
    match level(metric):
        case "alike" if metric.better == "no more":
            return f"no more than real {items}"
        case "alike":
            return "no difference by this measure alone" if told_apart else "as good as real, within the error"
        case "beyond":
            return f"{'higher' if above else 'lower'} than real {items}"
        case "slight":
            return f"slightly {'above' if above else 'below'} real {items}"
        case "unclear":
            return "no difference found, but the error is wide"
        case "worse" if metric.better == "no more":
            return f"more than real {items}"
        case "worse" if metric.better == "lower":
            least = metric.floor if metric.floor_low is None else metric.floor_low
            times = metric.value / metric.floor if least > 0 else 0.0  # a floor that may be 0 is nothing to divide by
            if times >= 1.5:
                return f"{times:,.0f} times as far as real" if times >= 10 else f"{times:.1f} times as far as real"
            return f"further off than real {items}"
        case "worse" if metric.better == "higher":
            return f"short of real {items}"
        case "worse":
            return f"{'above' if above else 'below'} real {items}"
    return "no interval to judge by"


def missed(metric: Metric) -> str:
    """E.g. `does not see blurred, few items repeated`."""
    return f"does not see real items {', '.join(metric.missed)}"


def told_apart(metrics: Sequence[Metric]) -> bool:
    """Whether any measure sees a difference that may matter."""
    return any(level(metric) == "worse" for metric in metrics)


def verdict(metrics: Sequence[Metric], items: str = "items") -> Verdict:
    """What the measures come to together: what the worst of them says, not the kindest."""
    levels = [(metric, level(metric)) for metric in metrics]
    judged = [(metric, found) for metric, found in levels if found != "none"]
    if not judged:
        return Verdict("none", f"No measure here can say how the samples stand to real {items}: look at them.")
    worst, found = max(judged, key=lambda pair: (_BADNESS.index(pair[1]), _size(pair[0])))
    says = f"{worst.title}: {worst.show(worst.value)}, where real {items} score {worst.show(worst.floor)}"
    n, measures = len(judged), "measure" if len(judged) == 1 else "measures"
    if found == "worse":
        k = sum(each == "worse" for _, each in judged)
        words = f"Not yet like real {items}: {k} of {n} {measures} can tell. The worst is {says}."
    elif found == "unclear":
        words = (
            f"Whether they are like real {items} is not clear: no difference was found, but one that matters could be "
            f"hidden in the error of {says}. More samples and more held-out {items} would tell."
        )
    elif n < FEWEST:
        found = "unclear"
        words = (
            f"No difference to real {items} that matters was found, by {n} {measures} alone: too little to call them "
            "as good. Look at them."
        )
    elif found == "slight":
        words = f"Close to real {items}: there is a difference, too small to matter. The largest is {says}."
    elif found == "beyond":
        words = (
            f"No worse than real {items} by any of {n} {measures}, but better than them by some, which is no good "
            f"sign: {says}. Look at them."
        )
    else:
        words = f"As good as real {items}, within the error, by all of {n} {measures}."
    return Verdict(found, words, worst.name)


def _size(metric: Metric) -> float:
    """How large the difference is, in differences that matter, or in floors where nobody knows what does."""
    found = gap(metric)
    unit = metric.matters or abs(metric.floor or 0.0)
    return min(abs(found.value) / unit, ENOUGH) if found and unit else 0.0
