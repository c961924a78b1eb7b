"""What a latent code does: reconstructions, walks from one code to another, and the plane when it has two numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.model import Decodes, Encodes, UsesCodec
from maquette.core.rng import ItemRng, derive
from maquette.core.section import Markup, Missing
from maquette.core.spec import ClassSpec, GridSpec
from maquette.core.table import Dataset
from maquette.report.charts import Scatter, scatter_chart
from maquette.report.figures import figure
from maquette.report.page import fragment
from maquette.report.show import hook, tiles
from maquette.report.view import RunView
from maquette.sampling.posterior import slerp

WALKS = 6
STOPS = 11
PAIRS = 32
POINTS = 2_000
PLANES = 6  # classes


def _class_column(run: RunView) -> tuple[str, tuple[str, ...]]:
    """The first given column of classes, and their names; ("", ()) without one."""
    return next(((name, column.classes) for name, column in run.spec.givens(ClassSpec).items()), ("", ()))


@torch.no_grad()
def _decode(run: RunView, model: Decodes, z: Tensor, classes: Tensor | None) -> Tensor:
    """Codes -> items of the column, on the CPU. classes: of each code, where the model is given some."""
    name, device, made = _class_column(run)[0], run.generator.device, []
    for part in torch.arange(len(z)).split(250):
        given: Mapping[str, Tensor] = {} if classes is None else {name: classes[part].to(device)}
        made.append(model.decode(z[part].to(device), given)[run.column])
    return _plain(torch.cat(made))


def _plain(items: Tensor) -> Tensor:
    return (items.float() if items.is_floating_point() else items).cpu()


def _spread(dataset: Dataset, most: int) -> np.ndarray:
    """Rows of the held-out data, as far apart as can be."""
    n = len(dataset.test)
    return np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(int))


# -- reconstructions ---------------------------------------------------------------------------------

REBUILT = """
<p class="intro">Held-out {{ items }} (above), squeezed through the latent code and rebuilt from it (below). What gets
lost is what the code cannot say.{% if error is not none %} On average a value is off by {{ (100 * error)|number(2) }} %
of the range.{% endif %}</p>
<div class="duo" role="group" aria-label="held-out {{ items }} above their reconstructions">
{% for real, rebuilt in pairs %}<figure>{{ real }}{{ rebuilt }}</figure>{% endfor %}
</div>
"""


@dataclass(frozen=True)
class Reconstructions:
    """Section: items beside what comes back from their codes."""

    id: str = "reconstructions"
    title: str = "Reconstructions"
    after: str = "neighbours"

    @torch.no_grad()
    def make(self, run: RunView) -> Markup | Missing | None:
        """Held-out items -> code -> items."""
        model = run.generator.model
        if not isinstance(model, Encodes):
            return None
        if run.dataset is None:
            return run.no_data
        coder = model.codec if isinstance(model, UsesCodec) else model
        batch = run.dataset.test.batch(_spread(run.dataset, PAIRS), run.spec).to(run.generator.device)
        rebuilt = _plain(coder.decode(coder.encode(batch), batch.given)[run.column])
        real = _plain(batch.target[run.column])
        error = float((real - rebuilt).abs().mean() / 2) if isinstance(run.target, GridSpec) else None
        pairs = list(zip(tiles(real, run.target), tiles(rebuilt, run.target), strict=True))
        html = fragment(REBUILT, pairs=pairs, error=error, items=run.nouns[1])
        return Markup(html, figures=self._figure(run, real, rebuilt), training_items=True)

    def _figure(self, run: RunView, real: Tensor, rebuilt: Tensor) -> dict[str, Any]:
        draw = hook(run.target.kind, "draw")
        if draw is None or run.for_sharing:
            return {}

        def write(path: Path) -> None:
            with figure(path, 6.5, 2, run.about.of(shows="held-out items and their reconstructions")) as page:
                for index, (items, title) in enumerate(((real, "held-out"), (rebuilt, "rebuilt"))):
                    axes = page.add_subplot(2, 1, index + 1)
                    draw(axes, items, run.target, len(items))
                    axes.set_title(title, fontsize=7, loc="left", pad=2)

        return {f"{run.anchor('reconstructions')}.png": write}


# -- the plane ---------------------------------------------------------------------------------------

PLANE = """
<p class="intro">The code has two numbers, so all that the model can make lies on a plane.{% if planes %} Each
{{ item }} is decoded from one point of it; points are spaced so that each stands for the same share of samples, and the
middle is where most of the data is encoded.{% endif %}</p>
<div class="planes{{ ' single' if planes|length == 1 else '' }}">
{% for name, html in planes %}
<figure>{% if name %}<figcaption>{{ name }}</figcaption>{% endif %}{{ html }}</figure>
{% endfor %}
</div>
{% if scatter %}
<figure class="chart wide"><figcaption>Where held-out {{ items }} are encoded{% if scatter.names|length > 1 %}, by class{% endif %}</figcaption><div class="plot tall" id="{{ chart }}" role="img" aria-label="Codes of held-out {{ items }} on the latent plane"></div></figure>
{% endif %}
"""  # noqa: E501


@dataclass(frozen=True)
class Plane:
    """The plane decoded at quantiles of N(0, 1), and where held-out items fall on it."""

    id: str = "plane"
    title: str = "Latent plane"
    after: str = "reconstructions"

    def make(self, run: RunView) -> Markup | None:
        model = run.generator.model
        if not isinstance(model, Decodes) or model.latent_dim != 2:
            return None
        classes = _class_column(run)[1][:PLANES]
        side = 12 if classes else 20
        quantiles = torch.linspace(0.5 / side, 1 - 0.5 / side, side, dtype=torch.float64)
        at = torch.tensor([NormalDist().inv_cdf(float(q)) for q in quantiles])
        # Rows run from the top (large y) down, as in a plot.
        y, x = torch.meshgrid(at.flip(0), at, indexing="ij")
        codes = torch.stack([x, y], -1).reshape(-1, 2)
        mosaic, decoded = hook(run.target.kind, "mosaic"), dict[str, Tensor]()
        for index, name in enumerate(classes or ("",)) if mosaic is not None else ():
            labels = torch.full((len(codes),), index) if classes else None
            decoded[name] = _decode(run, model, codes, labels)
        says = f"{side} by {side} {run.nouns[1]} decoded across the latent plane"
        planes = [
            (name, mosaic(items, run.target, side, f"{says}, class {name}" if name else says))
            for name, items in decoded.items()
        ]
        scatter = None
        if run.dataset is not None and isinstance(model, Encodes):
            scatter = _scatter(run, model, run.dataset)
        chart = run.anchor("latent-scatter")
        html = fragment(PLANE, planes=planes, scatter=scatter, chart=chart, item=run.nouns[0], items=run.nouns[1])
        charts: dict[str, Any] = {chart: scatter_chart(scatter, float(at.max()))} if scatter else {}
        return Markup(html, charts=charts, figures=self._figure(run, decoded, side, scatter))

    def _figure(self, run: RunView, decoded: dict[str, Tensor], side: int, scatter: Scatter | None) -> dict[str, Any]:
        draw, panels = hook(run.target.kind, "draw"), len(decoded) + (scatter is not None)
        if draw is None or not panels:
            return {}

        def write(path: Path) -> None:
            """A panel for each class, and the codes of held-out items beside it."""
            columns = min(3, panels)
            rows = math.ceil(panels / columns)
            with figure(path, 3.2 * columns, 3.2 * rows, run.about) as page:
                for index, (name, items) in enumerate(decoded.items()):
                    axes = page.add_subplot(rows, columns, index + 1)
                    draw(axes, items, run.target, side)
                    axes.set_title(name, fontsize=8)
                if scatter is not None:
                    scatter.draw(page.add_subplot(rows, columns, panels))

        return {f"{run.anchor('latent_plane')}.png": write}


@torch.no_grad()
def _scatter(run: RunView, model: Encodes, dataset: Dataset) -> Scatter:
    """Codes of held-out items, by class."""
    table, rows = dataset.test, _spread(dataset, POINTS)
    parts = [table.batch(rows[i : i + 500], run.spec).to(run.generator.device) for i in range(0, len(rows), 500)]
    codes = torch.cat([model.encode(part).float().cpu() for part in parts])
    # The classes are drawn even where the model never saw them: that is when the plane is most telling.
    label = next((name for name, c in table.columns.items() if isinstance(c.spec, ClassSpec)), None)
    names = table.columns[label].spec.classes if label else (f"held-out {run.nouns[1]}",)
    numbers = table.columns[label].take(rows) if label else torch.zeros(len(rows), dtype=torch.long)
    by_class = [codes[numbers == index] for index in range(len(names))]
    x, y = ([[round(v, 4) for v in part[:, axis].tolist()] for part in by_class] for axis in (0, 1))
    return Scatter(list(names), x, y)


# -- walks -------------------------------------------------------------------------------------------

WALK = """
{% from "macros.html.j2" import strip %}
<p class="intro">From one random code to another in small steps. Smooth change, with every stop believable, shows that
the model has learned a space rather than a list.</p>
<div class="rows tight">
{% for name, row in rows %}
<div class="row">{% if name %}<h3>{{ name }}</h3>{% endif %}{{ strip(row, items ~ " on the way between two codes" ~ (", class " ~ name if name else "")) }}</div>
{% endfor %}
</div>
"""  # noqa: E501


@dataclass(frozen=True)
class Walks:
    """Rows of items on the way between two random codes; one class a row when there are classes."""

    id: str = "walks"
    title: str = "In between"
    after: str = "plane"

    def make(self, run: RunView) -> Markup | None:
        model = run.generator.model
        if not isinstance(model, Decodes):
            return None
        z = ItemRng(derive(run.seed, "interpolation"), range(2 * WALKS)).normal(2 * WALKS, model.latent_dim)
        begin, end = (z[side::2].repeat_interleave(STOPS, 0) for side in (0, 1))
        codes = between(begin, end, torch.linspace(0, 1, STOPS).repeat(WALKS))
        classes = _class_column(run)[1]
        of_row = torch.linspace(0, max(len(classes) - 1, 0), WALKS).round().long()
        made = _decode(run, model, codes, of_row.repeat_interleave(STOPS) if classes else None)
        rows = [
            (classes[of_row[i]] if classes else "", tiles(part, run.target, near=72))
            for i, part in enumerate(made.split(STOPS))
        ]
        return Markup(fragment(WALK, rows=rows, items=run.nouns[1]))


def between(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Codes on the way from a to b, f32[B, D], with shares f32[B].

    Along the great circle: a straight line would pass near the origin, where codes drawn from N(0, I) are never found
    when D is large. Codes of one or two numbers take the straight line.
    """
    return torch.lerp(a, b, share[:, None]) if a.shape[1] <= 2 else slerp(a, b, share)


COLUMN_SECTIONS = (Reconstructions(), Plane(), Walks())
