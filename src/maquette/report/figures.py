"""The report's figures as PNG, for papers: Matplotlib and Seaborn, without a display."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from maquette.core.files import atomic
from maquette.core.run import RunFolder
from maquette.evaluation.results import Evaluation, Metric
from maquette.report.latents import LatentPlane, Reconstructions
from maquette.report.log import Log
from maquette.report.metrics import Scale, tick
from maquette.report.pictures import to_bytes
from maquette.report.samples import Samples

DPI = 200
_ACCENT, _REAL = "#b4532a", "#2f6f8f"


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure in inches that is saved atomically. No pyplot: a notebook's own figures and backend stay as they are."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    style = {**sns.axes_style("ticks"), **sns.plotting_context("paper")}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # class names in any script
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        for text in figure.findobj(Text):
            text.set_parse_math(False)  # a class named "$5" is not mathematics
        with atomic(path) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png")


def write_figures(
    folder: RunFolder, samples: Any, log: Log, evaluation: Evaluation | None, rebuilt: Any, plane: Any
) -> list[Path]:
    """Every figure there is something to draw for."""
    metrics = evaluation.metrics if evaluation else ()
    jobs: list[tuple[str, Callable[[Path], None], bool]] = [
        ("samples.png", lambda path: sample_grid(samples, path), isinstance(samples, Samples)),
        ("curves.png", lambda path: curves(log, path), bool(log.curves)),
        ("metrics.png", lambda path: metrics_floor(metrics, path), bool(metrics)),
        ("reconstructions.png", lambda path: reconstructions(rebuilt, path), isinstance(rebuilt, Reconstructions)),
        ("latent_plane.png", lambda path: plane_figure(plane, path), isinstance(plane, LatentPlane)),
    ]
    written = []
    for name, draw, possible in jobs:
        if possible:
            draw(folder.figures / name)
            written.append(folder.figures / name)
    return written


def _show(axes: Any, pixels: np.ndarray) -> None:
    if pixels.shape[-1] in (3, 4):
        axes.imshow(pixels, interpolation="nearest")
    else:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()


def sheet(items: Any, columns: int, gap: int = 1) -> np.ndarray:
    """Canonical pictures f32[B, C, H, W] -> one u8[H', W', C] with white gaps."""
    pixels = to_bytes(items)
    n, height, width, channels = pixels.shape
    rows = math.ceil(n / columns)
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for index in range(n):
        row, column = divmod(index, columns)
        top, left = row * (height + gap), column * (width + gap)
        page[top : top + height, left : left + width] = pixels[index]
    return page


def sample_grid(samples: Samples, path: Path) -> None:
    items = samples.items[: len(samples.grid)]
    pixels = sheet(items, 8, gap=max(1, items.shape[-1] // 16))
    with _figure(path, 4, 4 * pixels.shape[0] / pixels.shape[1]) as figure:
        _show(figure.add_subplot(), pixels)


def curves(log: Log, path: Path) -> None:
    """One panel for each logged value; the band is the lowest and the highest inside a bucket."""
    import seaborn as sns

    shown = log.curves
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    with _figure(path, 2.4 * columns, 1.7 * rows) as figure:
        for index, curve in enumerate(shown):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.fill_between(curve.steps, curve.low, curve.high, color=_ACCENT, alpha=0.18, linewidth=0)
            axes.plot(curve.steps, curve.mean, color=_ACCENT, linewidth=1.2)
            axes.set_title(curve.key, fontsize=8)
            if curve.flat is not None:
                axes.set_yticks([curve.flat], [f"{curve.flat:.3g}"])
            if curve.log:
                axes.set_yscale("log")
            for alarm in log.alarms:
                if alarm.step is not None:
                    axes.axvline(alarm.step, color="0.3", linestyle=":", linewidth=0.8)
            if index >= len(shown) - columns:
                axes.set_xlabel("step")
            sns.despine(ax=axes)


def metrics_floor(rows: Sequence[Metric], path: Path) -> None:
    """A row for each metric on its own axis: the value with its interval, and the band of real against real."""
    with _figure(path, 6.5, 0.55 * len(rows) + 0.5) as figure:
        for index, row in enumerate(rows):
            axes = figure.add_subplot(len(rows), 1, index + 1)
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
        figure.supxlabel("dot and line: generated, with interval · blue: real against real (floor)", fontsize=7)


def reconstructions(rebuilt: Reconstructions, path: Path) -> None:
    n = len(rebuilt.real)
    with _figure(path, 6.5, 6.5 * 2 / n * rebuilt.real.shape[-2] / rebuilt.real.shape[-1] + 0.5) as figure:
        for index, (items, title) in enumerate(((rebuilt.real, "held-out"), (rebuilt.rebuilt, "rebuilt"))):
            axes = figure.add_subplot(2, 1, index + 1)
            _show(axes, sheet(items, n))
            axes.set_title(title, fontsize=7, loc="left", pad=2)


def plane_figure(plane: LatentPlane, path: Path) -> None:
    """The plane decoded, a panel for each class, and the codes of held-out pictures beside it."""
    import seaborn as sns

    panels = len(plane.planes) + (plane.scatter is not None)
    columns = min(3, panels)
    with _figure(path, 3.2 * columns, 3.2 * math.ceil(panels / columns)) as figure:
        for index, part in enumerate(plane.planes):
            axes = figure.add_subplot(math.ceil(panels / columns), columns, index + 1)
            _show(axes, sheet(part.items, part.side, gap=0))
            if part.name:
                axes.set_title(part.name, fontsize=8)
        if plane.scatter is not None:
            axes = figure.add_subplot(math.ceil(panels / columns), columns, panels)
            colours = sns.color_palette("husl", len(plane.scatter.names))
            for name, x, y, colour in zip(plane.scatter.names, plane.scatter.x, plane.scatter.y, colours, strict=True):
                axes.scatter(x, y, s=3, color=colour, label=name, linewidths=0)
            axes.set_aspect("equal", adjustable="datalim")
            axes.set_xlabel("first number of the code")
            axes.set_ylabel("second")
            if 1 < len(plane.scatter.names) <= 20:
                axes.legend(fontsize=6, markerscale=2, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
            sns.despine(ax=axes)
