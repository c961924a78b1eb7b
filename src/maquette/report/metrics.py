"""What the page adds to a metric: plain words, where it stands against its floor, and its own axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maquette.core.errors import UserError
from maquette.core.run import RunFolder
from maquette.core.section import Missing
from maquette.evaluation.results import MINUS, Evaluation, Metric
from maquette.evaluation.verdict import standing


def read_evaluation(folder: RunFolder, name: str = ".") -> Evaluation | Missing:
    """The evaluation of a run, or one line that says why there is none and which command makes it.

    name: of the run in that command, which is for a shell; ".": for who is in its folder
    """
    file = folder.metrics_file
    command = f"maquette evaluate {name}"
    if not file.is_file():
        return Missing("Not measured yet.", command)
    try:
        folder.manifest.check(file)
        return _finite(Evaluation.load(file))
    except UserError as error:
        # The name alone: the line ends up on pages that are given away, and the path is its owner's business.
        problem = error.problem.replace(str(file), file.name)
        return Missing(f"{problem.rstrip('.')}.", command)


def _finite(evaluation: Evaluation) -> Evaluation:
    """Without numbers that have no place on an axis and cannot be compared."""
    ends = ("low", "high", "floor", "floor_low", "floor_high", "gap_low", "gap_high", "p_value")

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
    standing: as evaluation/verdict.py says; ends: of its axis, as characters
    """

    metric: Metric
    features: str
    standing: str
    scale: Scale

    @classmethod
    def of(cls, metric: Metric, items: str = "items", told_apart: bool = False) -> View:
        """told_apart: whether another measure sees a difference."""
        features = metric.features or ""
        said = features == "tokens" or features in metric.title
        return cls(metric, "" if said else features, standing(metric, items, told_apart), Scale.of(metric))

    @property
    def ends(self) -> tuple[str, str]:
        return tick(self.metric, self.scale.left), tick(self.metric, self.scale.right)


def tick(metric: Metric, value: float) -> str:
    """A number on the metric's axis, with no more digits than it takes to read it: 20% · 1.77."""
    share = metric.unit == "share"
    return f"{100 * value if share else value:,.3g}{'%' if share else ''}".replace("-", MINUS)


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
