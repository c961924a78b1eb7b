"""metrics.json -> rows that a person can read: value, interval, floor, and where they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import read_json
from maquette.core.run import RunFolder
from maquette.evaluation.report.glossary import Better, Entry, entry_for
from maquette.evaluation.report.page import MINUS, NONE, number


@dataclass(frozen=True)
class Metric:
    """One number about a run.

    low, high: its bootstrap interval     floor, floor_low, floor_high: real pictures against real ones
    features:  the feature network it was measured with, or ""
    """

    name: str
    title: str
    value: float
    low: float | None
    high: float | None
    floor: float | None
    floor_low: float | None
    floor_high: float | None
    reading: str
    features: str
    unit: str
    better: Better
    says: str
    p_value: float | None = None

    def show(self, value: float | None) -> str:
        """A number in this metric's unit."""
        if value is None:
            return NONE
        if self.unit == "share":
            return f"{100 * value:.1f}\u00a0%" if abs(value) < 0.9995 else f"{100 * value:.0f}\u00a0%"
        if self.unit in ("units", "classes"):
            return f"{value:,.0f}"
        return f"{value:.2f}".replace("-", MINUS) if self.unit in ("nats", "dB") else number(value)

    @property
    def unit_text(self) -> str:
        return "" if self.unit in ("share", "units", "classes") else self.unit

    @property
    def interval_text(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"{self.show(self.low)} to {self.show(self.high)}"

    @property
    def floor_text(self) -> str:
        return "" if self.floor is None else self.show(self.floor)

    @property
    def scale(self) -> Scale:
        return Scale.of(self)

    @property
    def standing(self) -> str:
        """Where the value is, seen from the floor, in words."""
        if self.floor is None or self.better == "unknown":
            return ""
        low, high = _or(self.low, self.value), _or(self.high, self.value)
        floor_low, floor_high = _or(self.floor_low, self.floor), _or(self.floor_high, self.floor)
        if low <= floor_high and floor_low <= high:
            return "as good as real, within the error"
        if (self.better == "lower" and high < floor_low) or (self.better == "higher" and low > floor_high):
            return "beyond real pictures"
        if self.better == "lower" and floor_low > 0 and self.value / self.floor >= 1.5:
            times = self.value / self.floor
            return f"{times:,.0f} times as far as real" if times >= 10 else f"{times:.1f} times as far as real"
        return "short of real pictures" if self.better == "higher" else "further off than real pictures"


@dataclass(frozen=True)
class Scale:
    """Positions of a metric on its own axis, in percent of its length."""

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
        if smallest >= 0 and 0.3 < largest <= 1 and metric.better in ("higher", "floor"):
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


@dataclass(frozen=True)
class ClassScore:
    """One class; shares in 0..1, None where one does not apply."""

    label: str
    real_share: float | None
    fake_share: float | None
    accuracy: float | None
    precision: float | None
    coverage: float | None


@dataclass(frozen=True)
class Copy:
    """A generated picture and the training picture nearest to it, as `maquette evaluate` found them.

    quantile: share of held-out real pictures that are at least this near to a training picture
    """

    sample: int
    label: str | None
    train_row: int
    train_name: str
    distance: float
    quantile: float


@dataclass(frozen=True)
class Metrics:
    """All numbers of an evaluation, what they were measured with, and what to be wary of.

    network: identity of the feature network; numbers of two networks cannot be compared
    """

    rows: tuple[Metric, ...]
    per_class: tuple[ClassScore, ...] = ()
    copies: tuple[Copy, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> str:
        return str(self.settings.get("network") or self.settings.get("features") or "")

    @property
    def fingerprint(self) -> str:
        return str(self.settings.get("fingerprint") or "")

    @property
    def samples(self) -> int | None:
        value = self.settings.get("samples")
        return value if isinstance(value, int) else None

    @property
    def seed(self) -> int:
        value = self.settings.get("seed")
        return value if isinstance(value, int) else 0

    def find(self, word: str) -> Metric | None:
        """The first metric whose name holds `word`."""
        return next((row for row in self.rows if word in row.name.lower()), None)


def read_metrics(folder: RunFolder) -> Metrics | None:
    """The evaluation of a run, or None when there is none yet or nothing in it can be read."""
    if not folder.metrics_file.is_file():
        return None
    try:
        raw = read_json(folder.metrics_file)
    except UserError:
        return None
    return parse_metrics(raw)


def parse_metrics(raw: Any) -> Metrics | None:
    """Liberal: a list of metrics, or an object that holds it as `metrics`, or metrics by their name."""
    about: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    found = about.get("metrics", about.get("rows", raw if isinstance(raw, list) else None))
    if isinstance(found, Mapping):
        found = [
            {"name": name, **(part if isinstance(part, Mapping) else {"value": part})} for name, part in found.items()
        ]
    if not isinstance(found, Sequence) or isinstance(found, str):
        return None
    settings = about.get("settings")
    settings = {**settings} if isinstance(settings, Mapping) else {}
    if about.get("features"):
        settings.setdefault("features", str(about["features"]))
    parts = [part for part in found if isinstance(part, Mapping)]
    warnings = [*_texts(about.get("warnings")), *(text for part in parts for text in _texts(part.get("warnings")))]
    return Metrics(
        rows=tuple(row for part in parts if (row := _metric(part))),
        per_class=tuple(_class(part) for part in _objects(about.get("per_class"))),
        copies=tuple(copy for part in _objects(about.get("copies")) if (copy := _copy(part))),
        warnings=tuple(dict.fromkeys(warnings)),
        settings=settings,
    )


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list | tuple) else []


def _class(part: Mapping[str, Any]) -> ClassScore:
    names = ("real_share", "fake_share", "accuracy", "precision", "coverage")
    return ClassScore(str(part.get("label", "")), *(_float(part.get(name)) for name in names))


def _copy(part: Mapping[str, Any]) -> Copy | None:
    sample, row = part.get("sample"), part.get("train_row")
    distance = _float(part.get("distance"))
    if not isinstance(sample, int) or not isinstance(row, int) or sample < 0 or row < 0 or distance is None:
        return None
    label = part.get("label")
    return Copy(
        sample=sample,
        label=None if label is None else str(label),
        train_row=row,
        train_name=str(part.get("train_name", "")),
        distance=distance,
        quantile=_or(_float(part.get("quantile")), 1.0),
    )


_BETTER: tuple[Better, ...] = ("lower", "higher", "floor")


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [str(part) for part in value] if isinstance(value, Sequence) else []


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _metric(part: Mapping[str, Any]) -> Metric | None:
    name, value = str(part.get("name", "")), _float(part.get("value"))
    if not name or value is None:
        return None
    entry = entry_for(name) or Entry((), name.replace("_", " "), "unknown", "")
    better: Better = next((known for known in _BETTER if known == part.get("better")), entry.better)
    return Metric(
        name=name,
        title=str(part.get("title") or entry.title),
        value=value,
        low=_float(part.get("low")),
        high=_float(part.get("high")),
        floor=_float(part.get("floor")),
        floor_low=_float(part.get("floor_low")),
        floor_high=_float(part.get("floor_high")),
        reading=str(part.get("reading") or ""),
        features=str(part.get("features") or ""),
        unit=str(part.get("unit") or ""),
        better=better,
        says=entry.says,
        p_value=_float(part.get("p_value")),
    )
