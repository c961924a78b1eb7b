"""What page.js draws with Plotly, as plain data: the page holds numbers, the script decides the looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maquette.report.log import Curve, Log


@dataclass(frozen=True)
class Scatter:
    """Points of several classes. x, y: by class."""

    names: list[str]
    x: list[list[float]]
    y: list[list[float]]

    def draw(self, axes: Any) -> None:
        """The same on Matplotlib axes, as codes of two numbers."""
        import seaborn as sns

        for name, x, y, colour in zip(
            self.names, self.x, self.y, sns.color_palette("husl", len(self.names)), strict=True
        ):
            axes.scatter(x, y, s=3, color=colour, label=name, linewidths=0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("first number of the code")
        axes.set_ylabel("second")
        if 1 < len(self.names) <= 20:
            axes.legend(fontsize=6, markerscale=2, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        sns.despine(ax=axes)


def curve_charts(log: Log) -> dict[str, Any]:
    """One small chart for each logged value, by the id of its element."""
    alarms = [{"step": alarm.step, "name": alarm.name} for alarm in log.alarms if alarm.step is not None]
    return {
        chart_id("curve", curve.key, index): {
            "kind": "curve",
            "log": curve.log,
            "flat": curve.flat,
            "x": "step",
            "alarms": alarms,
            "lines": [_line(curve, curve.steps, "")],
        }
        for index, curve in enumerate(log.curves)
    }


def overlaid_charts(names: Sequence[str], logs: Sequence[Log]) -> dict[str, tuple[Curve, dict[str, Any]]]:
    """One chart for each value that at least two runs logged, over the seconds of training."""
    charts: dict[str, tuple[Curve, dict[str, Any]]] = {}
    keys = dict.fromkeys(curve.key for log in logs for curve in log.curves)
    for index, key in enumerate(keys):
        found = [(i, curve) for i, log in enumerate(logs) for curve in log.curves if curve.key == key]
        if len(found) < 2:
            continue
        timed = all(math.isfinite(curve.seconds[-1]) for _, curve in found if curve.seconds)
        charts[chart_id("over", key, index)] = (
            found[0][1],
            {
                "kind": "curve",
                "log": all(curve.log for _, curve in found),
                "flat": None,
                "x": "minutes" if timed else "step",
                "alarms": [],
                "lines": [
                    {
                        **_line(c, [s / 60 for s in c.seconds] if timed else c.steps, names[i]),
                        "colour": i,
                        "low": [],
                        "high": [],
                    }
                    for i, c in found
                ],
            },
        )
    return charts


def _line(curve: Curve, x: list[float], name: str) -> dict[str, Any]:
    return {
        "name": name,
        "colour": 0,
        "x": [_short(v) for v in x],
        "y": [_short(v) for v in curve.mean],
        "low": [_short(v) for v in curve.low],
        "high": [_short(v) for v in curve.high],
    }


def scatter_chart(scatter: Scatter, reach: float) -> dict[str, Any]:
    """A chart of points in the plane, by class."""
    return {"kind": "scatter", "names": scatter.names, "x": scatter.x, "y": scatter.y, "reach": reach}


def chart_id(kind: str, key: str, index: int) -> str:
    """An id for an element: keys are a family's own words, so only their letters are kept."""
    return f"{kind}-{index}-{''.join(c for c in key if c.isascii() and c.isalnum())}"


def _short(value: float) -> float | None:
    """Five significant digits are more than a screen shows, and a third of the bytes."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
