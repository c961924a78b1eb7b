"""log.jsonl -> curves, alarms and totals, read once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from maquette.core.errors import MaquetteError
from maquette.core.run import RunFolder
from maquette.report.glossary import part_note, phase_title

# A panel as wide as a hand shows no more than this; the light band keeps what averaging hides.
POINTS = 200
_NOT_CURVES = {"step", "total", "seconds", "items", "time", "epoch", "version"}


@dataclass(frozen=True)
class Alarm:
    """A value that left its limits: from which step, what was seen, what helps."""

    name: str
    step: int | None
    saw: str
    advice: str


@dataclass(frozen=True)
class Curve:
    """One logged value over training: means of buckets, and the lowest and highest value inside each."""

    key: str
    phase: str
    part: str
    note: str
    steps: list[float]
    seconds: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    log: bool

    @property
    def flat(self) -> float | None:
        """The one value that it has all the way, if so: an axis would stretch it to a range of nothing."""
        known = [value for value in (*self.low, *self.high) if math.isfinite(value)]
        return known[0] if known and min(known) == max(known) else None

    @property
    def last(self) -> float:
        return next((value for value in reversed(self.mean) if math.isfinite(value)), math.nan)


@dataclass(frozen=True)
class Phase:
    """The curves of one phase of training."""

    name: str
    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Log:
    """What a run's log says. ended: seconds since 1970, where the log tells the time."""

    phases: tuple[Phase, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    items: int | None = None
    ended: float | None = None

    @property
    def curves(self) -> list[Curve]:
        return [curve for phase in self.phases for curve in phase.curves]

    @property
    def rate(self) -> float | None:
        return self.items / self.seconds if self.items and self.seconds else None


def history(folder: RunFolder) -> list[Mapping[str, Any]]:
    """What was logged of each step, in order. Of a step written twice (a resumed run) the later line stands."""
    by_step: dict[int, Mapping[str, Any]] = {}
    for line in _lines(folder):
        if "alarm" not in line and isinstance(line.get("step"), int):
            by_step[line["step"]] = {**by_step.get(line["step"], {}), **line}
    return [by_step[step] for step in sorted(by_step)]


def _lines(folder: RunFolder) -> Iterator[Mapping[str, Any]]:
    return (line for line in folder.log() if isinstance(line, Mapping))


def read_log(folder: RunFolder) -> Log:
    """The whole log."""
    lines = history(folder)
    alarms = {alarm.name: alarm for line in _lines(folder) if "alarm" in line for alarm in [_alarm(line)]}

    def latest(key: str) -> float | None:
        return next((float(x[key]) for x in reversed(lines) if isinstance(x.get(key), int | float)), None)

    items = latest("items")
    return Log(
        phases=_phases(lines, _members(folder)),
        alarms=tuple(alarms.values()),
        steps=lines[-1]["step"] if lines else None,
        seconds=latest("seconds"),
        items=None if items is None else int(items),
        ended=latest("time"),
    )


def _members(folder: RunFolder) -> list[str]:
    """Names of the runs that this one brings together, in the order in which the log numbers them."""
    try:
        named = folder.recipe().model.get("members") or ()
    except (MaquetteError, OSError):
        return []
    return [Path(str(part.get("run") if isinstance(part, Mapping) else part)).name for part in named]


def _alarm(line: Mapping[str, Any]) -> Alarm:
    step = line.get("step")
    return Alarm(
        name=str(line["alarm"]),
        step=step if isinstance(step, int) else None,
        saw=str(line.get("saw", "")),
        advice=str(line.get("advice", "")),
    )


def _phases(lines: list[Mapping[str, Any]], members: Sequence[str]) -> tuple[Phase, ...]:
    keys: dict[str, None] = {}
    for line in lines:
        keys.update(
            (key, None)
            for key, value in line.items()
            if key not in _NOT_CURVES and isinstance(value, int | float) and not isinstance(value, bool)
        )
    groups: dict[str, list[Curve]] = {}
    for key in keys:
        curve = _curve(key, lines, members)
        groups.setdefault(curve.phase, []).append(curve)
    # What is minimised comes first within a phase; speed and the like come last of all.
    for curves in groups.values():
        curves.sort(key=lambda curve: curve.part not in ("loss", "total"))
    order = sorted(groups, key=lambda phase: phase in ("preview", "run"))
    return tuple(Phase(name, phase_title(name), tuple(groups[name])) for name in order)


def _curve(key: str, lines: list[Mapping[str, Any]], members: Sequence[str]) -> Curve:
    phase, slash, part = key.partition("/")
    if not slash:
        phase, part = "run", key
    seen = [line for line in lines if isinstance(line.get(key), int | float)]
    steps = np.array([line["step"] for line in seen], dtype=float)
    seconds = np.array([_number(line.get("seconds")) for line in seen], dtype=float)
    values = np.array([_number(line[key]) for line in seen], dtype=float)
    edges = np.linspace(0, len(seen), min(len(seen), POINTS) + 1).round().astype(int)
    rows = [(steps[a:b].mean(), seconds[a:b].mean(), *_spread(values[a:b])) for a, b in pairwise(edges) if b > a]
    columns = zip(*rows, strict=True) if rows else ((),) * 5
    at_steps, at_seconds, mean, low, high = ([float(value) for value in column] for column in columns)
    finite = values[np.isfinite(values)]
    wide = bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() > 300)
    return Curve(key, phase, part, part_note(phase, part, members), at_steps, at_seconds, mean, low, high, log=wide)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, lowest and highest of the finite values; NaN where there is none, which the chart shows as a gap."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return math.nan, math.nan, math.nan
    return float(finite.mean()), float(finite.min()), float(finite.max())
