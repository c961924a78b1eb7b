"""The run in a few plain sentences: what a person reads who reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maquette.evaluation.results import Evaluation, Metric
from maquette.report.log import Log
from maquette.report.metrics import reached
from maquette.report.missing import Missing
from maquette.report.neighbours import NeighbourTable


@dataclass(frozen=True)
class Point:
    """kind decides the mark beside the sentence; the sentence says everything without it."""

    kind: Literal["good", "note", "warn"]
    text: str


def summarise(
    evaluation: Evaluation | Missing, log: Log, near: object, left_out: str = "", things: str = "pictures"
) -> list[Point]:
    """near: nearest training pictures, if they were looked for; left_out: what of the data, e.g. "3 texts"; things:
    what the model makes."""
    points = []
    known: dict[str, Metric] = {}
    if isinstance(evaluation, Missing):
        points.append(Point("note", f"{evaluation.why} Judge by eye, or run {evaluation.command}."))
    else:
        known = {metric.name: metric for metric in evaluation.metrics}
    quality = next(
        (name for name in ("frechet", "kernel", "bleu", "bits_per_char", "elbo", "iwae") if name in known), ""
    )
    copied = next((name for name in ("copied_30", "copied_10") if name in known), "")
    shown = (quality, "class_accuracy", "copies", "form", "repetition", copied)
    for name in shown:
        if name in known:
            where = evaluation.settings.judged_on if isinstance(evaluation, Evaluation) and name == quality else ""
            points.append(_sentence(known[name], things, where))
    if "copies" not in known and isinstance(near, NeighbourTable):
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
        points.append(Point("note", f"{left_out} of the data could not be used, as listed below."))
    if isinstance(evaluation, Evaluation) and evaluation.warnings:
        points.append(Point("note", evaluation.warnings[0]))
    return points


def _n(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _sentence(metric: Metric, things: str, where: str) -> Point:
    """where: the data that the number is about; "" where it was said before."""
    text = f"{metric.title}{f', on {where}' if where else ''}: {metric.show(metric.value)}"
    if metric.unit_text:
        text += f" {metric.unit_text}"
    if metric.interval_text and metric.low != metric.high:
        text += f" (between {metric.interval_text.replace(' to ', ' and ')})"
    if metric.floor is not None:
        text += f"; real {things} score {metric.show(metric.floor)}"
    return Point("good" if reached(metric) else "note", f"{text}.")
