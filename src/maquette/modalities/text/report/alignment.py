"""Where the model looked in the source while it wrote: maps of attention."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.generator import Generator
from maquette.core.model import Aligns
from maquette.core.section import Markup, Missing
from maquette.core.spec import EOS, SPECIALS, ColumnSpec, TokenSpec
from maquette.modalities.text.tokens import pieces
from maquette.report.page import fragment
from maquette.report.view import RunView

MAPS, WIDEST = 4, 40  # pairs, and tokens on a side of a map
LONGEST_NAME = 16  # characters of a token beside a map

TEMPLATE = """
<p class="intro">While the model reads a held-out translation (rows, from above), how much each token of it rests on each
token of the source (columns). Dark is much. Where both say the same things in the same order, it is a diagonal.</p>
<div class="maps">
{% for map in maps %}
{% set cell = 17 %}{% set left = map.left %}{% set top = map.top %}
<figure class="map scroll"><svg width="{{ left + cell * map.source|length + 40 }}" height="{{ top + cell * map.target|length + 8 }}" role="img" aria-label="Attention of {{ map.target|join(' ') }} over {{ map.source|join(' ') }}">
{% for word in map.source %}<text x="{{ left + cell * loop.index0 + 12 }}" y="{{ top - 6 }}" transform="rotate(-60 {{ left + cell * loop.index0 + 12 }} {{ top - 6 }})">{{ word|truncate(16, true, "…", 0) }}</text>{% endfor %}
{% for word in map.target %}<text class="row-name" x="{{ left - 6 }}" y="{{ top + cell * loop.index0 + 13 }}" text-anchor="end">{{ word|truncate(16, true, "…", 0) }}</text>{% endfor %}
<rect class="frame" x="{{ left }}" y="{{ top }}" width="{{ cell * map.source|length }}" height="{{ cell * map.target|length }}"/>
{% for c in map.cells %}<rect class="cell" x="{{ left + cell * c.x }}" y="{{ top + cell * c.y }}" width="{{ cell }}" height="{{ cell }}" fill-opacity="{{ c.weight }}"><title>{{ map.target[c.y] }} ← {{ map.source[c.x] }}: {{ "%.0f"|format(100 * c.weight) }} %</title></rect>{% endfor %}
</svg></figure>
{% endfor %}
</div>
"""  # noqa: E501


@dataclass(frozen=True)
class Alignment:
    """Section: where the model looked in the source while it wrote."""

    id: str = "alignment"
    title: str = "Where it looked"
    after: str = "agents"

    def make(self, run: RunView) -> Markup | Missing | None:
        model = run.generator.model
        if not isinstance(model, Aligns) or not run.spec.givens(TokenSpec):
            return None
        batch = run.held_out(MAPS)
        if isinstance(batch, Missing):
            return batch
        maps = alignment_maps(run.generator, model, batch)
        return Markup(fragment(TEMPLATE, maps=maps), training_items=True)


@dataclass(frozen=True)
class Cell:
    """One cell of a map, and how dark it is."""

    x: int
    y: int
    weight: float


@dataclass(frozen=True)
class Map:
    """One pair: where each written token (a row) looked in the source (a column). Cells hold weights above 2 %."""

    source: list[str]
    target: list[str]
    cells: list[Cell]

    @property
    def left(self) -> int:
        """Pixels that the names of the rows take; `top`: those of the columns, which stand at 60 degrees."""
        return _room(self.target)

    @property
    def top(self) -> int:
        return round(_room(self.source) * 0.87) + 8


@torch.no_grad()
def alignment_maps(generator: Generator, model: Aligns, batch: Batch) -> list[Map]:
    """Attention over the source while the held-out targets are read, for the first few pairs."""
    spec = generator.spec
    name, source = spec.only_name, next(iter(spec.givens(TokenSpec)))
    batch = batch.rows(0, min(MAPS, batch.size))
    weights = model.alignment(batch.to(generator.device)).float().cpu()
    maps = []
    for i in range(batch.size):
        rows = _shown(batch.target[name][i], spec.columns[name])
        columns = _shown(batch.given[source][i], spec.columns[source])
        cells = []
        for y, (t, _) in enumerate(rows):
            if t == 0:
                continue
            cells += [
                Cell(x, y, round(w, 3)) for x, (s, _) in enumerate(columns) if (w := float(weights[i, t - 1, s])) > 0.02
            ]
        maps.append(Map([text for _, text in columns], [text for _, text in rows], cells))
    return sorted(maps, key=lambda pair: len(pair.target))  # those that share a row of the page are of like height


def _room(names: Sequence[str]) -> int:
    """Pixels of the longest name: an ideograph is as wide as two letters."""
    widths = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name[:LONGEST_NAME]) for name in names]
    return 14 + round(6.5 * max(widths, default=0))


def _shown(tokens: Tensor, spec: ColumnSpec) -> list[tuple[int, str]]:
    """(place, text) of the tokens that stand for text, and of the end."""
    texts = pieces(tokens, spec)
    return [
        (place, "¶" if token == EOS else texts[place].strip() or "␣")
        for place, token in enumerate(tokens.tolist())
        if token == EOS or token >= len(SPECIALS)
    ][:WIDEST]
