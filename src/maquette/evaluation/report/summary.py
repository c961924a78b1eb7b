"""The run in a few plain sentences: what a person reads who reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maquette.evaluation.report.log import Log
from maquette.evaluation.report.metrics import Metric, Metrics
from maquette.evaluation.report.missing import Missing
from maquette.evaluation.report.neighbours import NeighbourTable


@dataclass(frozen=True)
class Point:
    """kind decides the mark beside the sentence; the sentence says everything without it."""

    kind: Literal["good", "note", "warn"]
    text: str


def summarise(metrics: Metrics | None, log: Log, near: NeighbourTable | Missing, left_out: int) -> list[Point]:
    points = []
    if metrics is None:
        points.append(Point("note", "The samples have not been measured yet: judge by eye, or run maquette evaluate."))
    else:
        for word in ("frechet", "kernel", "elbo", "iwae"):
            row = metrics.find(word)
            if row is not None:
                points.append(_sentence(row))
                break
        accuracy = metrics.find("accuracy")
        if accuracy is not None:
            points.append(_sentence(accuracy))
    copies = metrics.find("copies") if metrics else None
    if copies is not None:
        points.append(_sentence(copies))
    elif isinstance(near, NeighbourTable):
        few = near.suspicious <= 0.05
        share = f"{100 * near.suspicious:.0f} %"
        points.append(
            Point(
                "good" if few else "warn",
                f"{share} of {near.compared} samples lie closer to a training picture than nearly all held-out "
                f"pictures do; about 1 % would by chance."
                + ("" if few else " Look at them below: they may be copies."),
            )
        )
    if log.alarms:
        names = ", ".join(alarm.name for alarm in log.alarms)
        points.append(Point("warn", f"Training raised {_n(len(log.alarms), 'alarm')}: {names}."))
    elif log.steps:
        points.append(Point("good", "Training raised no alarm."))
    if left_out:
        points.append(Point("note", f"{_n(left_out, 'file')} of the data could not be used; they are listed below."))
    if metrics is not None and metrics.warnings:
        points.append(Point("note", metrics.warnings[0]))
    return points


def _n(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _sentence(row: Metric) -> Point:
    text = f"{row.title}: {row.show(row.value)}"
    if row.unit_text:
        text += f" {row.unit_text}"
    if row.interval_text:
        text += f" (between {row.interval_text.replace(' to ', ' and ')})"
    if row.floor is not None:
        text += f"; real pictures score {row.floor_text}"
    reached = row.standing.startswith(("as good", "beyond"))
    return Point("good" if reached else "note", f"{text}.")
