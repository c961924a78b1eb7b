"""What the generator makes: items as they come, and a row for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.model import Streams
from maquette.core.samples import captions
from maquette.core.section import Markup, Missing
from maquette.core.spec import ClassSpec
from maquette.report.figures import figure
from maquette.report.page import fragment
from maquette.report.show import amounts, hook, tiles
from maquette.report.view import RunView, Sampled

AS_THEY_COME = """
<p class="intro">{{ tiles|length }} {{ items }} as they come, none chosen by hand
{%- if classes %}; classes are drawn as often as in the data{% endif %}.
{% if streams %}Temperature 1, seed{% else %}Seed{% endif %} {{ seed }}.</p>
<div class="gallery" role="group" aria-label="{{ tiles|length }} generated {{ items }}">
{% for tile in tiles %}{{ tile }}{% endfor %}
</div>
"""

FROM_SOURCES = """
<p class="intro">What held-out items were given, what the model makes of it, and the real one. Made by {{ how }};
drawn at random, none chosen by hand.</p>
{% for row in rows %}
<dl class="triple">{% for name, tile in row.given %}<dt>{{ name }}</dt><dd>{{ tile }}</dd>{% endfor %}
<dt class="made">model</dt><dd class="made">{{ row.made }}</dd><dt>reference</dt><dd>{{ row.real }}</dd></dl>
{% endfor %}
"""

BY_CLASS = """
{% from "macros.html.j2" import strip %}
<p class="intro">What comes out when one class is asked for. A row whose {{ items }} are all alike, or like another
class, is where the model is weak.</p>
{% for part in parts %}
{% if parts|length > 1 %}<h3>{{ part.column }}</h3>{% endif %}
{% if part.known > part.rows|length %}<p class="small">The first {{ part.rows|length }} of {{ part.known }} classes.</p>
{% endif %}
<div class="rows">
{% for name, row in part.rows %}
<div class="row"><h3 lang="{{ name|language }}">{{ name }}</h3>{{ strip(row, "generated " ~ items ~ " of class " ~ name) }}</div>
{% endfor %}
</div>
{% endfor %}
"""  # noqa: E501


@dataclass(frozen=True)
class Samples:
    """Section: samples, none of them chosen."""

    id: str = "samples"
    title: str = "Samples"
    after: str = ""

    def make(self, run: RunView) -> Markup | Missing:
        found = run.sampled
        if isinstance(found, Missing):
            return found
        return self._from_sources(run, found) if run.sources else self._as_they_come(run, found)

    def _as_they_come(self, run: RunView, found: Sampled) -> Markup:
        n = amounts(run.target.kind).samples
        items = found.target[run.column][:n]
        html = fragment(
            AS_THEY_COME,
            tiles=tiles(items, run.target, captions(found.given, run.spec)[:n]),
            items=run.nouns[1],
            classes=bool(run.spec.givens(ClassSpec)),
            streams=isinstance(run.generator.model, Streams),
            seed=run.seed,
        )
        return Markup(html, figures=drawn(run, "samples", items, 8))

    def _from_sources(self, run: RunView, found: Sampled) -> Markup:
        given = {name: tiles(values, run.spec.columns[name]) for name, values in found.given.items()}
        made, real = (tiles(side[run.column], run.target) for side in (found.target, found.real))
        rows = [
            {"given": [(name, part[i]) for name, part in given.items()], "made": made[i], "real": real[i]}
            for i in range(len(made))
        ]
        how = "sampling"
        if run.best is not None:
            how = "beam search"
        elif isinstance(run.generator.model, Streams):
            how = "taking the likeliest token at each step"
        return Markup(fragment(FROM_SOURCES, rows=rows, how=how), training_items=True)


@dataclass(frozen=True)
class Classes:
    """Section: samples of each class that is given."""

    id: str = "classes"
    title: str = "By class"
    after: str = "samples"

    def make(self, run: RunView) -> Markup | None:
        parts = []
        most = amounts(run.target.kind)
        for found in run.by_class:
            rows = [tiles(row[: most.per_class], run.target) for row in found.rows(run.column)[: most.classes]]
            named = list(zip(found.names, rows, strict=False))
            parts.append({"column": found.column, "known": found.known, "rows": named})
        return Markup(fragment(BY_CLASS, parts=parts, items=run.nouns[1])) if parts else None


def drawn(run: RunView, name: str, items: Any, columns: int) -> dict[str, Any]:
    """Items as a figure beside the report, where their kind can be drawn."""
    draw = hook(run.target.kind, "draw")
    if draw is None:
        return {}

    def write(path: Path) -> None:
        with figure(path, 4, 4, run.about) as page:
            draw(page.add_subplot(), items, run.target, columns)

    return {f"{run.anchor(name)}.png": write}


COLUMN_SECTIONS = (Samples(), Classes())
