"""What the page adds to a metric: plain words, where it stands against its floor, and its own axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maquette.core.errors import UserError
from maquette.core.run import RunFolder
from maquette.core.section import Missing
from maquette.evaluation.results import MINUS, Better, Evaluation, Metric

# What `better` asks, in words.
SENSES: dict[Better, str] = {
    "lower": "lower is better",
    "higher": "higher is better",
    "floor": "the nearer to the floor, the better",
    "no more": "no more than the floor is good",
}

_AS_GOOD, _NO_MORE, _BEYOND = "as good as real, within the error", "no more than real", "beyond real"


def read_evaluation(folder: RunFolder, name: str = ".") -> Evaluation | Missing:
    """The evaluation of a run, or one line that says why there is none and which command makes it.

    name: of the run in that command, which is for a shell; ".": for who is in its folder
    """
    file = folder.metrics_file
    command = f"maquette evaluate {name}"
    if not file.is_file():
        return Missing("Not measured yet.", command)
    try:
        return _finite(Evaluation.load(file))
    except UserError as error:
        # The name alone: the line ends up on pages that are given away, and the path is its owner's business.
        problem = error.problem.replace(str(file), file.name)
        return Missing(f"{problem.rstrip('.')}.", command)


def _finite(evaluation: Evaluation) -> Evaluation:
    """Without numbers that have no place on an axis and cannot be compared."""
    ends = ("low", "high", "floor", "floor_low", "floor_high", "p_value")

    def cleaned(metric: Metric) -> Metric:
        odd = [name for name in ends if not math.isfinite(getattr(metric, name) or 0.0)]
        return metric.model_copy(update=dict.fromkeys(odd))

    return evaluation.model_copy(
        update={"metrics": tuple(cleaned(metric) for metric in evaluation.metrics if math.isfinite(metric.value))}
    )


@dataclass(frozen=True)
class View:
    """A metric as the page shows it.

    features: what it was measured in, where its title does not say so
    standing: as `standing` says; ends: of its axis, as characters
    """

    metric: Metric
    features: str
    standing: str
    scale: Scale

    @classmethod
    def of(cls, metric: Metric, items: str = "items") -> View:
        features = metric.features or ""
        said = features == "tokens" or features in metric.title
        return cls(metric, "" if said else features, standing(metric, items), Scale.of(metric))

    @property
    def ends(self) -> tuple[str, str]:
        return tick(self.metric, self.scale.left), tick(self.metric, self.scale.right)


def tick(metric: Metric, value: float) -> str:
    """A number on the metric's axis, with no more digits than it takes to read it: 20% · 1.77."""
    share = metric.unit == "share"
    return f"{100 * value if share else value:,.3g}{'%' if share else ''}".replace("-", MINUS)


def standing(metric: Metric, items: str = "items") -> str:
    """Where the value is, seen from the floor, in words; "" without a floor. items: what is measured, several of it."""
    if metric.floor is None:
        return ""
    low, high = _or(metric.low, metric.value), _or(metric.high, metric.value)
    floor_low, floor_high = _or(metric.floor_low, metric.floor), _or(metric.floor_high, metric.floor)
    if metric.better == "no more":
        return f"{_NO_MORE if low <= floor_high else 'more than real'} {items}"
    if low <= floor_high and floor_low <= high:
        return _AS_GOOD
    if (metric.better == "lower" and high < floor_low) or (metric.better == "higher" and low > floor_high):
        return f"{_BEYOND} {items}"
    if metric.better == "floor":
        return f"{'above' if low > floor_high else 'below'} real {items}"
    if metric.better == "lower" and floor_low > 0 and metric.value / metric.floor >= 1.5:
        times = metric.value / metric.floor
        return f"{times:,.0f} times as far as real" if times >= 10 else f"{times:.1f} times as far as real"
    return f"short of real {items}" if metric.better == "higher" else f"further off than real {items}"


def reached(metric: Metric) -> bool:
    """Whether real data scores no better, as far as the two intervals can tell."""
    return standing(metric).startswith((_AS_GOOD, _NO_MORE, _BEYOND))


@dataclass(frozen=True)
class Scale:
    """Positions of a metric on its own axis, in percent of its length; left, right: the numbers at its ends."""

    value: float
    low: float | None
    high: float | None
    floor: float | None
    floor_low: float | None
    floor_high: float | None
    left: float
    right: float

    @classmethod
    def of(cls, metric: Metric) -> Scale:
        parts = (metric.value, metric.low, metric.high, metric.floor, metric.floor_low, metric.floor_high)
        known = [part for part in parts if part is not None]
        smallest, largest = min(known), max(known)
        if smallest >= 0 and 0.3 < largest <= 1 and metric.better != "lower":
            left, right = 0.0, 1.0  # a share: its whole range is worth seeing
        elif smallest >= 0:
            left, right = 0.0, largest * 1.15 or 1.0
        else:
            margin = (largest - smallest) * 0.15 or abs(largest) * 0.1 or 1.0
            left, right = smallest - margin, largest + margin

        def at(part: float | None) -> float | None:
            return None if part is None else round(100 * (part - left) / (right - left), 2)

        value, low, high, floor, floor_low, floor_high = (at(part) for part in parts)
        return cls(_or(value, 0.0), low, high, floor, floor_low, floor_high, left, right)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
