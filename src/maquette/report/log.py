"""log.jsonl -> curves, alarms and totals, read once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from maquette.core.errors import MaquetteError
from maquette.core.run import READ, RunFolder
from maquette.report.glossary import part_note, phase_title

# A panel as wide as a hand shows no more than this; the light band keeps what averaging hides.
POINTS = 200
CURVES = 200  # that are drawn: ten times those of the largest family
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
    """What a run's log says. ended: seconds since 1970, where the log tells the time; notes: what is not shown of
    it, in sentences."""

    phases: tuple[Phase, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    items: int | None = None
    ended: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def curves(self) -> list[Curve]:
        return [curve for phase in self.phases for curve in phase.curves]

    @property
    def rate(self) -> float | None:
        return self.items / self.seconds if self.items and self.seconds else None


def history(folder: RunFolder) -> list[dict[str, Any]]:
    """What was logged of each step, in order. Of a step written twice (a resumed run) the later line stands."""
    return _by_step(line for line in folder.log() if "alarm" not in line)


def _by_step(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    by_step: dict[int, dict[str, Any]] = {}
    for line in lines:
        by_step[line["step"]] = {**by_step.get(line["step"], {}), **line}
    return [by_step[step] for step in sorted(by_step)]


def read_log(folder: RunFolder) -> Log:
    """The whole log; of one that is larger than a run of days writes it, as much as can be shown."""
    notes, alarms, lines = list[str](), dict[str, Alarm](), list[dict[str, Any]]()
    for line in (*folder.log(thinned=True, tell=notes.append), *folder.recent()):
        if "alarm" in line:
            alarms[line["alarm"]] = Alarm(line["alarm"], line["step"], line["saw"], line["advice"])
        else:
            lines.append(line)
    lines = _by_step(lines)
    if folder.log_file.is_file() and (size := folder.log_file.stat().st_size) > READ:
        notes.append(f"The log has {size / 2**20:,.0f} MiB: of its lines, some from all over it are shown.")
    phases, unshown = _phases(lines, _members(folder))
    if unshown:
        notes.append(f"{unshown:,} more values were logged than are drawn.")

    def latest(key: str) -> Any:
        return next((line[key] for line in reversed(lines) if key in line), None)

    return Log(
        phases=phases,
        alarms=tuple(alarms.values()),
        steps=latest("step"),
        seconds=latest("seconds"),
        items=latest("items"),
        ended=latest("time"),
        notes=tuple(notes),
    )


def _members(folder: RunFolder) -> list[str]:
    """Names of the runs that this one brings together, in the order in which the log numbers them."""
    try:
        named = folder.recipe().model.get("members") or ()
    except (MaquetteError, OSError):
        return []
    return [Path(str(part.get("run") if isinstance(part, Mapping) else part)).name for part in named]


def _phases(lines: list[dict[str, Any]], members: Sequence[str]) -> tuple[tuple[Phase, ...], int]:
    """The curves of each phase; and how many values there are beyond those that are drawn."""
    keys = [key for key in dict.fromkeys(key for line in lines for key in line) if key not in _NOT_CURVES]
    groups: dict[str, list[Curve]] = {}
    for key in keys[:CURVES]:
        curve = _curve(key, lines, members)
        groups.setdefault(curve.phase, []).append(curve)
    # What is minimised comes first within a phase; speed and the like come last of all.
    for curves in groups.values():
        curves.sort(key=lambda curve: curve.part not in ("loss", "total"))
    order = sorted(groups, key=lambda phase: phase in ("preview", "run"))
    return tuple(Phase(name, phase_title(name), tuple(groups[name])) for name in order), len(keys[CURVES:])


def _curve(key: str, lines: list[dict[str, Any]], members: Sequence[str]) -> Curve:
    phase, slash, part = key.partition("/")
    if not slash:
        phase, part = "run", key
    seen = [line for line in lines if key in line]
    steps = np.array([line["step"] for line in seen], dtype=float)
    seconds = np.array([line.get("seconds", math.nan) for line in seen], dtype=float)
    values = np.array([line[key] for line in seen], dtype=float)
    edges = np.linspace(0, len(seen), min(len(seen), POINTS) + 1).round().astype(int)
    rows = [(steps[a:b].mean(), seconds[a:b].mean(), *_spread(values[a:b])) for a, b in pairwise(edges) if b > a]
    columns = zip(*rows, strict=True) if rows else ((),) * 5
    at_steps, at_seconds, mean, low, high = ([float(value) for value in column] for column in columns)
    finite = values[np.isfinite(values)]
    wide = bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() > 300)
    return Curve(key, phase, part, part_note(phase, part, members), at_steps, at_seconds, mean, low, high, log=wide)


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, lowest and highest of the finite values; NaN where there is none, which the chart shows as a gap."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return math.nan, math.nan, math.nan
    return float(finite.mean()), float(finite.min()), float(finite.max())
