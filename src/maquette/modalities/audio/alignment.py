"""Which part of its text each moment of a recording was found to be: where speech was learned, a staircase."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from markupsafe import Markup as Html
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.modality import part
from maquette.core.model import Aligns
from maquette.core.section import Markup, Missing
from maquette.core.spec import SPECIALS, ColumnSpec, TokenSpec
from maquette.modalities.audio.shown import WIDTH
from maquette.report.page import fragment
from maquette.report.show import tiles
from maquette.report.view import RunView

MAPS, TALLEST = 4, 60  # recordings, and tokens of a text that are shown
ROW = 13  # pixels of a token

TEMPLATE = """
<p class="intro">Held-out recordings, and which character of its text (from above) each moment (from left to right) was
found to be: where speech has been learned, each step lasts as long as its sound. A step that takes most of a recording,
or many of no length, says that text and sound were not brought together: the text may not be what is said, or training
was too short.</p>
<div class="maps">
{% for map in maps %}
<div>{{ map.heard }}<figure class="map"><svg width="{{ width + 34 }}" height="{{ row * map.steps|length + 2 }}" role="img" aria-label="Which moments are {{ map.steps|map(attribute='text')|join }}">
{% for step in map.steps %}<text class="row-name" x="{{ width + 6 }}" y="{{ row * loop.index0 + 11 }}">{{ step.text }}</text><rect class="cell" x="{{ step.begin * width }}" y="{{ row * loop.index0 }}" width="{{ (step.end - step.begin) * width }}" height="{{ row }}"><title>{{ step.text }}</title></rect>{% endfor %}
<rect class="frame" x="0" y="0" width="{{ width }}" height="{{ row * map.steps|length }}"/>
</svg></figure></div>
{% endfor %}
</div>
"""  # noqa: E501


@dataclass(frozen=True)
class Step:
    """A token, and the shares of the recording between which it was found."""

    text: str
    begin: float
    end: float


@dataclass(frozen=True)
class Map:
    """A recording as it is shown, and its tokens."""

    heard: Html
    steps: list[Step]


@dataclass(frozen=True)
class Alignment:
    """Section: which part of a text each moment of its recording is."""

    id: str = "alignment"
    title: str = "Where each character is heard"
    after: str = "classes"

    def make(self, run: RunView) -> Markup | Missing | None:
        model, source = run.generator.model, next(iter(run.spec.givens(TokenSpec)), None)
        if not isinstance(model, Aligns) or source is None:
            return None
        batch = run.held_out(MAPS)
        if isinstance(batch, Missing):
            return batch
        words, spec = run.spec.columns[source], run.target
        maps = []
        for i in range(batch.size):
            one = batch.rows(i, i + 1)
            (heard,) = tiles(one.target[run.column], spec)
            maps.append(Map(heard, steps(_weights(model, one, run), one.given[source][0], words)))
        return Markup(fragment(TEMPLATE, maps=maps, width=WIDTH, row=ROW), training_items=True)


@torch.no_grad()
def _weights(model: Aligns, batch: Batch, run: RunView) -> Tensor:
    return model.alignment(batch.to(run.generator.device))[0].float().cpu()


def steps(weights: Tensor, tokens: Tensor, spec: ColumnSpec) -> list[Step]:
    """The tokens i64[S] that stand for text, and where each begins and ends by weights f32[T, S]: a moment belongs to
    the one that it rests on most."""
    owners, names = weights.argmax(1), part(spec.kind, "pieces", "tokens")(tokens, spec)
    found = []
    for place, token in enumerate(tokens.tolist()):
        moments = (owners == place).nonzero().flatten().tolist()
        if token >= len(SPECIALS):
            begin, end = (moments[0], moments[-1] + 1) if moments else (0, 0)
            found.append(Step(names[place].strip() or "␣", begin / len(owners), end / len(owners)))
    return found[:TALLEST]
