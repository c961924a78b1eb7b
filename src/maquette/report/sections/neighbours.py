"""Nearest training items of samples: does the model make items, or repeat them?

For every kind whose items can be compared number by number (`comparable` in its module `features`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from markupsafe import Markup as Html
from torch import Tensor

from maquette.core.modality import part
from maquette.core.rng import ItemRng, derive
from maquette.core.section import Markup, Missing
from maquette.core.spec import ClassSpec
from maquette.core.table import Dataset
from maquette.evaluation.neighbours import Comparable, nearest
from maquette.evaluation.results import Evaluation
from maquette.report.missing import attempt
from maquette.report.page import fragment
from maquette.report.show import tiles
from maquette.report.view import RunView

TRAINING = 20_000
HELD_OUT = 300
NEAREST = 5
ROWS = 6
LISTED = 8  # of what the evaluation found
_CHUNK = 1_000

TEMPLATE = """
{% from "macros.html.j2" import missing, strip, why %}
<p class="intro">Beside each sample, the training {{ items }} most like it, number by number. A model that only repeats
its data would show the same {{ item }} twice. Typical samples lie at {{ table.typical|number }} from their nearest
training {{ item }}; new real {{ items }} at {{ table.control|number }}.</p>
{% for title, words, rows in (
    ("The most suspicious", "Of " ~ table.compared ~ " samples, those closest to a training " ~ item ~ ". The sample comes first.", table.closest),
    ("Some at random", "The sample first, then its nearest training " ~ items ~ ".", table.others)) %}
<h3>{{ title }}</h3><p class="small">{{ words }}</p>
<div class="pairs-grid">
{% for row in rows %}
<figure class="near"><div class="near-row"><span class="made">{{ row.sample }}</span><span class="arrow" aria-hidden="true">→</span>{{ strip(row.nearest, "the nearest training " ~ items) }}</div>
<figcaption>{{ row.ratio|number(2) }} &times; the usual distance; {{ row.rank|percent(0) }} of new real {{ items }} lie closer</figcaption></figure>
{% endfor %}
</div>
{% endfor %}
{% if copies.why is defined %}{{ missing(copies) }}{% elif copies %}
<h3>The nearest that the evaluation found</h3>
<p class="small">Out of {{ samples|count }} samples. First the sample, then the training {{ item }}.</p>
<div class="copies">
{% for row in copies %}
<figure><div>{{ row.made }} {{ row.real }}</div><figcaption>sample {{ row.sample }}{% if row.name %}<br><code>{{ row.name }}</code>{% endif %}<br>{{ row.quantile|percent }} of new real {{ items }} are as near</figcaption></figure>
{% endfor %}
</div>
{% endif %}
{{ why("How far can this be trusted?", "Distance number by number finds plain copies, and misses ones that were shifted or changed in all their numbers at once. Searched: " ~ "{:,}".format(table.searched) ~ " of " ~ "{:,}".format(table.training) ~ " training " ~ items ~ ".") }}
"""  # noqa: E501


@dataclass(frozen=True)
class Neighbours:
    """One sample and the training items nearest to it.

    ratio: its distance to the nearest over the median distance of held-out items to theirs
    rank:  share of held-out items that lie nearer to a training item than this sample does
    """

    sample: Html
    nearest: list[Html]
    ratio: float
    rank: float


@dataclass(frozen=True)
class NeighbourTable:
    """closest: the samples nearest to training items, which is where copies would be. others: at random.

    typical, control: median distance to the nearest training item, of samples and of held-out items
    suspicious: share of samples nearer to a training item than 99 % of held-out items are
    """

    closest: list[Neighbours]
    others: list[Neighbours]
    typical: float
    control: float
    suspicious: float
    compared: int
    training: int
    searched: int


@dataclass(frozen=True)
class New:
    """Section: whether samples are new, beside their nearest training items."""

    id: str = "neighbours"
    title: str = "New, or copied?"
    after: str = "judge"

    def make(self, run: RunView) -> Markup | Missing | None:
        comparable = part(run.target.kind, "comparable", "features")
        if comparable is None or run.sources:
            return None
        found = run.sampled
        if isinstance(found, Missing):
            return found
        if run.dataset is None:
            return run.no_data
        samples = torch.cat([found.target[run.column], *(part.target[run.column] for part in run.by_class)])
        table = find_neighbours(samples, run.dataset, run.column, run.seed, comparable)
        measured = run.evaluation if isinstance(run.evaluation, Evaluation) else None
        copies: Any = ()
        if measured and measured.settings.fingerprint == run.dataset.fingerprint:
            copies = attempt(lambda: _evaluated(run, measured))
        item, items = run.nouns
        drawn = measured.settings.samples if measured else 0
        html = fragment(TEMPLATE, table=table, copies=copies, samples=drawn, item=item, items=items)
        known = measured is not None and "copies" in {metric.name.rpartition(": ")[2] for metric in measured.metrics}
        return Markup(html, points=() if known else (_point(table, run),), training_items=True)


def _point(table: NeighbourTable, run: RunView) -> tuple[str, str]:
    few, (item, items) = table.suspicious <= 0.05, run.nouns
    words = (
        f"{100 * table.suspicious:.0f} % of {table.compared} samples lie closer to a training {item} than nearly all "
        f"held-out {items} do; about 1 % would by chance."
    )
    look = "" if few or run.for_sharing else " Look at them below: they may be copies."
    return "good" if few else "warn", words + look


def find_neighbours(
    samples: Tensor, dataset: Dataset, column: str, seed: int, comparable: Comparable, rows: int = ROWS
) -> NeighbourTable:
    """Distance of samples to the nearest of up to 20,000 training items, beside that of held-out ones."""
    draw = np.random.default_rng(derive(seed, "neighbours"))
    train, test = dataset.train.columns[column], dataset.test.columns[column]
    chosen = _some(draw, len(dataset.train), TRAINING)
    control = test.take(_some(draw, len(dataset.test), HELD_OUT))
    chunks = (train.take(chosen[start : start + _CHUNK]) for start in range(0, len(chosen), _CHUNK))
    n = len(samples)
    found = nearest(torch.cat([comparable(samples.float()), comparable(control)]), chunks, comparable, NEAREST)
    mine, held = found.distance[:n, 0], found.distance[n:, 0]
    usual = max(float(np.median(held)), 1e-9)

    def row(i: int) -> Neighbours:
        (shown,), near = tiles(samples[i : i + 1], train.spec), tiles(train.take(chosen[found.row[i]]), train.spec)
        return Neighbours(shown, near, float(mine[i]) / usual, float((held < mine[i]).mean()))

    order = np.argsort(mine, kind="stable")
    rest = order[rows:]
    others = np.sort(draw.choice(rest, min(rows, len(rest)), replace=False)) if len(rest) else rest
    return NeighbourTable(
        closest=[row(int(i)) for i in order[:rows]],
        others=[row(int(i)) for i in others],
        typical=float(np.median(mine)),
        control=float(np.median(held)),
        suspicious=float((mine < np.quantile(held, 0.01)).mean()),
        compared=n,
        training=len(dataset.train),
        searched=len(chosen),
    )


def _some(draw: np.random.Generator, n: int, most: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(draw.choice(n, most, replace=False))


@torch.no_grad()
def _evaluated(run: RunView, found: Evaluation) -> list[dict[str, Any]]:
    """Copies named in metrics.json. Item i of a sample depends on (seed, i) alone, so it can be made again."""
    assert run.dataset is not None
    table, generator = run.dataset.train, run.generator
    classes = run.spec.givens(ClassSpec)
    if len(run.spec.given) > len(classes) or len(classes) > 1:
        return []  # what it was given is not said there
    rows = []
    for copy in run.details("copies")[:LISTED]:
        if copy["train_row"] >= len(table):
            continue
        given = {name: torch.tensor([column.classes.index(copy["label"])]) for name, column in classes.items()}
        given = {name: value.to(generator.device) for name, value in given.items()}
        rng = ItemRng(found.settings.seed, [copy["sample"]], generator.device)
        made = generator.model.sample(1, given, rng)[run.column].cpu()
        real = table.columns[run.column].take(np.array([copy["train_row"]]))
        (shown,), (beside,) = tiles(made, run.target), tiles(real, run.target)
        rows.append({**copy, "made": shown, "real": beside, "name": copy.get("train_name", "")})
    return rows


COLUMN_SECTIONS = (New(),)
