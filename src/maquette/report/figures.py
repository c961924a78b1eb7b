"""Figures as PNG, for papers: Matplotlib and Seaborn, without a display."""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maquette.core.about import About
from maquette.core.files import atomic
from maquette.core.shown import cleaned
from maquette.evaluation.results import Metric
from maquette.report.fonts import family, fonts, matplotlib
from maquette.report.log import Alarm, Curve, Log
from maquette.report.metrics import Scale, tick

DPI = 200
COLUMNS = 3  # of panels
_ACCENT, _REAL = "#b4532a", "#2f6f8f"


@contextmanager
def canvas(width: float, height: float) -> Iterator[Any]:
    """A figure in inches in the house's style. No pyplot: a notebook's own figures and backend stay as they are."""
    mpl = matplotlib()
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {**sns.axes_style("ticks"), **sns.plotting_context("paper")}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # where no font has the letters of a class
        page = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(page)
        yield page
        _settle_words(page)


@contextmanager
def figure(path: Path, width: float, height: float, about: About) -> Iterator[Any]:
    """A figure that is saved atomically, cut to what is drawn, and says in its metadata where it comes from."""
    with canvas(width, height) as page:
        yield page
        _settle_words(page)
        with atomic(path) as temporary:
            page.savefig(temporary, dpi=DPI, format="png", metadata=about.fields, bbox_inches="tight", pad_inches=0.05)


def _settle_words(page: Any) -> None:
    """Names from the data as they are: "$5" is not mathematics, and every script has a font, where there is one."""
    words: list[Any] = page.findobj(lambda artist: hasattr(artist, "set_parse_math"))
    for part in words:
        part.set_parse_math(False)
        part.set_text(cleaned(part.get_text()))
        further = [family(font) for font in fonts([part.get_text()])[1:]]
        part.set_fontfamily([*dict.fromkeys([*part.get_fontfamily(), *further])])


def curves(log: Log, path: Path, about: About) -> None:
    """One panel for each logged value; the band is the lowest and the highest inside a bucket."""
    with figure(path, *_size(log.curves), about) as page:
        _panels(page, log.curves, log.alarms)


def losses(log: Log) -> Any:
    """The same of what was logged of the phases of training alone, as a Figure that a notebook shows."""
    shown = [curve for curve in log.curves if curve.phase not in ("preview", "run")]
    with canvas(*_size(shown)) as page:
        _panels(page, shown, log.alarms)
    page._repr_png_ = functools.partial(_png, page)  # notebooks know figures by themselves only once pyplot was used
    return page


def _png(page: Any) -> bytes:
    made = io.BytesIO()
    page.savefig(made, dpi=DPI // 2, format="png")
    return made.getvalue()


def _size(shown: Sequence[Curve]) -> tuple[float, float]:
    """Width and height in inches."""
    return 2.4 * min(COLUMNS, len(shown)), 1.7 * math.ceil(len(shown) / COLUMNS)


def _panels(page: Any, shown: Sequence[Curve], alarms: Sequence[Alarm]) -> None:
    import seaborn as sns

    columns = min(COLUMNS, len(shown))
    for index, curve in enumerate(shown):
        axes = page.add_subplot(math.ceil(len(shown) / columns), columns, index + 1)
        axes.fill_between(curve.steps, curve.low, curve.high, color=_ACCENT, alpha=0.18, linewidth=0)
        axes.plot(curve.steps, curve.mean, color=_ACCENT, linewidth=1.2)
        axes.set_title(curve.key, fontsize=8)
        if curve.flat is not None:
            axes.set_yticks([curve.flat], [f"{curve.flat:.3g}"])
        if curve.log:
            axes.set_yscale("log")
        for alarm in alarms:
            if alarm.step is not None:
                axes.axvline(alarm.step, color="0.3", linestyle=":", linewidth=0.8)
        if index >= len(shown) - columns:
            axes.set_xlabel("step")
        sns.despine(ax=axes)


def metrics_floor(rows: Sequence[Metric], path: Path, about: About) -> None:
    """A row for each metric on its own axis: the value with its interval, and the band of real against real."""
    with figure(path, 6.5, 0.55 * len(rows) + 0.5, about) as page:
        for index, row in enumerate(rows):
            axes = page.add_subplot(len(rows), 1, index + 1)
            scale = Scale.of(row)
            if row.floor is not None:
                low = row.floor if row.floor_low is None else row.floor_low
                high = row.floor if row.floor_high is None else row.floor_high
                axes.axvspan(low, high, color=_REAL, alpha=0.25, linewidth=0)
                axes.axvline(row.floor, color=_REAL, linewidth=1.4)
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [0, 0], color=_ACCENT, linewidth=1.8)
            axes.plot([row.value], [0], "o", color=_ACCENT, markersize=5, clip_on=False)
            axes.xaxis.set_major_formatter(lambda x, _, row=row: tick(row, x))
            axes.set_xlim(scale.left, scale.right)
            axes.set_ylim(-1, 1)
            axes.set_yticks([0], [row.title], fontsize=7)
            axes.tick_params(axis="x", labelsize=6)
            axes.tick_params(axis="y", length=0)
            for side in ("top", "right", "left"):
                axes.spines[side].set_visible(False)
        page.supxlabel("dot and line: generated, with interval · blue: real against real (floor)", fontsize=7)
