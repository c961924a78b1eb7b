"""Which scale of a recipe suits the time there is: by what each of them came to when it was measured.

`recipes/scales.yaml` holds a curve for each recipe, data set and scale, made by benchmarks/scales.py: score = floor +
a * shown^-b after so many items, lower is better. In items and not in seconds, so that it is true on any machine: how
many of them fit into the time is measured here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any

import yaml
from torch import nn

from maquette.core.errors import UserError
from maquette.core.modality import part
from maquette.core.needs import duration, need_of, rounded
from maquette.core.outline import outline
from maquette.core.recipe import Recipe, load_recipe, names_by_about
from maquette.core.spec import ColumnSpec, DataSpec

FEW = 0.5  # of the items of the measured data: with fewer, passes over them are more than items shown tell
BETTER = 0.9  # of a score, that is worth saying
SETTLED = 4  # times what is worth it (recipes/needs.yaml): by then more of it changes little, so a larger one may


@dataclass(frozen=True)
class Curve:
    """What a scale came to on some data.

    extent, channels, items: of that data       work: seconds of one core an item, to compare scales by
    least, most:             items shown, between which it was measured
    """

    scale: str
    data: str
    extent: float
    channels: int
    items: int
    least: float
    most: float
    floor: float
    a: float
    b: float
    work: float

    def score(self, shown: float) -> float:
        """After so many items; beyond the last that was measured no better than there."""
        return self.floor + self.a * min(max(shown, 1.0), self.most) ** -self.b


@dataclass(frozen=True)
class Choice:
    """A scale by name, and what to say of it: "" where nobody asked for a choice."""

    name: str
    words: str = ""


def curves_of(recipe: Recipe, spec: DataSpec) -> list[Curve]:
    """Those of the data nearest to this, smallest scale first; none of a recipe whose scales were not measured so."""
    name = names_by_about().get(recipe.about, "")
    if len(spec.target) != 1 or name not in _table() or not _as_shipped(recipe, load_recipe(name)):
        return []
    column = spec.only()
    extent = part(column.kind, "extent", "options")
    rows = [Curve(**row) for row in _table()[name]["curves"]]
    if extent is None or not rows:
        return []
    at, channels = extent(column)[0], channels_of(column)

    def apart(curve: Curve) -> float:
        return abs(math.log2(curve.extent / at)) + (curve.channels != channels)

    nearest = min(rows, key=apart).data
    return [curve for scale in recipe.scales for curve in rows if (curve.data, curve.scale) == (nearest, scale)]


def channels_of(column: ColumnSpec) -> int:
    """Of an item on a grid; 1 of any other."""
    return column.shape[0] if len(column.shape) > 1 else 1


def choose(
    recipe: Recipe, spec: DataSpec, items: int, seconds: float | None,
    known: Mapping[str, float], timed: Callable[[str], float],
) -> Choice:  # fmt: skip
    """The scale that the curves promise to be best in so many seconds; as it is written where nobody knows.

    items: to learn from      known: seconds an item here, of scales that were trained here      timed: measures one
    A larger one than was measured, or for longer, is chosen only where it sees more than any below it was measured for,
    and than changes much; and of few items, only what was measured for as many passes over them, if anything was.
    """
    curves = curves_of(recipe, spec) if seconds is not None else []
    if seconds is None or not curves:
        return Choice(recipe.written)
    by_scale, need = {curve.scale: curve for curve in curves}, need_of(recipe, spec)
    base = next((curve for curve in curves if curve.scale in known), curves[0])
    unit = (known.get(base.scale) or timed(base.scale)) / base.work  # seconds here, for each that it took there
    each = {curve.scale: known.get(curve.scale) or unit * curve.work for curve in curves}
    shown = {scale: seconds / its for scale, its in each.items()}
    few = items < FEW * curves[0].items
    order = list(recipe.scales)

    def covers(curve: Curve) -> bool:
        return shown[curve.scale] / items <= curve.most / curve.items

    might = [curve for curve in curves if covers(curve)] if few else curves
    unsure = not might
    might = might or [c for c in curves if order.index(c.scale) <= order.index(recipe.written)] or curves[:1]
    best = min(might, key=lambda curve: (curve.score(shown[curve.scale]), curve.work))
    name = best.scale
    enough = max(*(curve.most for curve in curves), SETTLED * need.worth_it if need else 0.0)
    for below, scale in pairwise(order[order.index(name) :] if not few else ()):
        if scale not in each:
            each[scale] = each[below] * _growth(recipe, below, scale, spec)
            shown[scale] = seconds / each[scale]
        measured = scale in by_scale and shown[scale] <= by_scale[scale].most  # by its curve it is not the best
        if not measured and shown[scale] >= enough:
            name = scale
    return Choice(name, _words(recipe, name, curves, each, shown[name], items, seconds, unsure))


def _words(
    recipe: Recipe, name: str, curves: Sequence[Curve], each: Mapping[str, float], shown: float, items: int,
    seconds: float, unsure: bool,
) -> str:  # fmt: skip
    """What was chosen, what it came to elsewhere, and what would come to more."""
    own = next((curve for curve in curves if curve.scale == name), None)
    measure, on = _table()[names_by_about()[recipe.about]]["measure"], f"on {curves[0].data}"
    if unsure:
        known = "so many passes over so few items were not measured"
    elif own is None:
        known = f"how far it comes was not measured, nor were the smaller ones {on} for so long"
    elif shown < own.least / 2:
        known = "so little was not measured"
    else:
        so_much = "that" if shown <= own.most else f"{rounded(own.most):,} items"
        known = f"{on} {so_much} came to {measure.format(f'about {own.score(shown):.3g}')}"
        known += "" if shown <= own.most else ", and more were not measured"
    far = min(curves, key=lambda curve: curve.score(curve.most))
    takes, score = far.most * each[far.scale], far.score(far.most)
    few = items < FEW * curves[0].items  # which for so long would be shown more often than any were
    if own and not (unsure or few) and takes > 1.5 * seconds and score < BETTER * own.score(shown):
        known += f"; with {duration(takes)}, {far.scale} would come to {score:.3g}"
    rate = 1 / each[name]
    return (
        f"Scale {name} of {', '.join(recipe.scales)}: {f'{rounded(rate):,}' if rate >= 10 else f'{rate:.2g}'} items/s, "
        f"{shown / items:.2g} passes over the data; {known}."
    )


def _growth(recipe: Recipe, small: str, large: str, spec: DataSpec) -> float:
    """How many times the work of one scale another is, by their weights: each is used as often in both."""
    try:
        models = [outline(recipe.at_scale(name), spec, trains=False) for name in (small, large)]
    except UserError:  # there is not the memory for it
        return math.inf
    sizes = [multiplied(model) if model else 1 for model in models]
    return sizes[1] / sizes[0]


def multiplied(model: nn.Module) -> int:
    """Weights that take work: those of tables are only looked up."""
    modules = (module for module in model.modules() if not isinstance(module, nn.Embedding))
    return sum(p.numel() for module in modules for p in module.parameters(recurse=False))


def _as_shipped(recipe: Recipe, shipped: Recipe) -> bool:
    """Whether what a recipe's scales change, and to what, is as in the one that was measured."""
    keys = [key for scale in recipe.scales.values() for key in scale.keys]
    return recipe.scales == shipped.scales and all(_at(recipe, key) == _at(shipped, key) for key in keys)


def _at(recipe: Recipe, key: str) -> Any:
    section, *rest = key.split(".")
    found: Any = getattr(recipe, section) if section == "model" else recipe.train.model_dump()
    for name in rest:
        found = found.get(name) if isinstance(found, dict) else None
    return found


@functools.cache
def _table() -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = yaml.safe_load((files("maquette") / "recipes" / "scales.yaml").read_text("utf-8"))
    return found or {}
