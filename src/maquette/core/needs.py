"""What a recipe has to see before its samples are worth a look: `recipes/needs.yaml`, made by benchmarks/needs.py.

In items and not in seconds, so that it is true on any machine; what they take here is measured by the plan. Nothing is
claimed of recipes and kinds of data that are not in the table, nor of runs of several targets.
"""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from maquette.core.counts import counted
from maquette.core.errors import MaquetteError, UserError
from maquette.core.find import recipe_names
from maquette.core.modality import part
from maquette.core.recipe import Recipe, TrainConfig, load_recipe, names_by_about
from maquette.core.run import RunFolder
from maquette.core.spec import ColumnSpec, DataSpec

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Need:
    """What a recipe has to see of items of one extent.

    first_look: items after which samples show what was learned    worth_it: after which more of them change little
    work:       what an item costs, in a unit that all recipes share
    """

    recipe: str
    first_look: int
    worth_it: int
    work: float


@dataclass(frozen=True)
class Way:
    """Another way to a first look: what to write on the command line, and what it needs."""

    words: str
    need: Need


def need_of(recipe: Recipe, spec: DataSpec) -> Need | None:
    """What a recipe that ships needs on such data; None where nobody has measured it."""
    name = shipped_name(recipe)
    return _need(name, spec.only()) if name and len(spec.target) == 1 else None


def shipped_name(recipe: Recipe) -> str:
    """The name of the recipe of the table from which this one was made; "" where there is none."""
    name = names_by_about().get(recipe.about, "")
    return name if name in _table() and load_recipe(name).family == recipe.family else ""


def other_ways(need: Need, spec: DataSpec) -> tuple[list[Way], list[Way]]:
    """Smaller items, the largest first; and other recipes that make the same, the best first."""
    column = spec.only()
    smaller = part(column.kind, "smaller", "options")
    sizes = {words: _need(need.recipe, less) for words, less in (smaller(column) if smaller else {}).items()}
    others = {f"`{name}`": _need(name, column) for name in _table()[need.recipe].get("instead", ())}
    both = [[Way(words, found) for words, found in some.items() if found] for some in (sizes, others)]
    return both[0], both[1]


def enough(recipe: Recipe, spec: DataSpec) -> TrainConfig:
    """The training of a recipe with as many steps as are worth it, where it was asked for so (`budget: auto`)."""
    train = recipe.train
    if train.budget != "auto":
        return train
    need = need_of(recipe, spec)
    if need is None:
        raise UserError(
            "What this recipe needs on such data was not measured, so that there is no budget 'auto'.",
            "Say how long: --budget 10m, --epochs or --steps.",
        )
    return train.model_copy(update={"budget": None, "steps": math.ceil(need.worth_it / train.batch_size)})


def undertrained(folder: RunFolder, run: str | Path = ".") -> str:
    """What to say of a run that has seen too little for a first look; "" of any other, and where nothing is known.

    run: its path, as it is to stand in the command that goes on with it
    """
    try:
        recipe = folder.recipe()
        need = need_of(recipe, folder.spec())
        seen = folder.last_line("items").get("items", 0)
    except (MaquetteError, OSError, ValueError):
        return ""
    if need is None or seen >= need.first_look:
        return ""
    goes_on = f"maquette resume {shlex.quote(str(run))} --steps {math.ceil(need.first_look / recipe.train.batch_size)}"
    return f"Undertrained: it saw {seen:,} items, and a first look takes about {rounded(need.first_look):,}: {goes_on}"


def outlook(
    recipe: Recipe, spec: DataSpec, steps: int, passes: float, step_seconds: Callable[[], float],
    budget: float | None = None,
) -> str:  # fmt: skip
    """What to expect of so many steps, before the first one; "" where they are worth it or nothing is known.

    passes: over the data       step_seconds: on this machine, measured where there is something to say
    budget: seconds that the steps were to fit into; what they do not take of it, others would not have either
    """
    need = need_of(recipe, spec)
    items = steps * recipe.train.batch_size
    if need is None or items >= need.worth_it:
        return ""
    item_seconds = step_seconds() / recipe.train.batch_size
    beside = max(budget - items * item_seconds, 0.0) if budget is not None else 0.0
    fit = f" ({passes:.1g} passes over the data)" if passes < 1 else ""

    def takes(count: float, way: Need = need) -> str:
        return duration(beside + count * item_seconds * way.work / need.work)

    if items >= need.first_look and budget is not None and recipe.scale != "auto":
        return ""  # what more time would do was said where the scale was chosen
    if items >= need.first_look:
        return f"Enough for a first look{fit}; {need.recipe} is worth training for about {takes(need.worth_it)} here."
    words = part(spec.only().kind, "extent", "options")(spec.only())[1]
    at = f" at {words}" if words else ""
    sizes, recipes = (_quicker(ways, need) for ways in other_ways(need, spec))
    chosen = (_fitting(sizes, need, items) or sizes)[:1]
    chosen += (_fitting(recipes, need, items) or sorted(recipes, key=_work))[:1]
    ways = [f"{way.words} about {takes(way.need.first_look, way.need)}" for way in chosen]
    others = f"; {', '.join(ways)}" if ways else ""
    return (
        f"{counted(steps, 'step', 'steps')} of {recipe.train.batch_size}{at}{fit} will not teach {need.recipe} "
        f"{'anything' if items < need.first_look / 4 else 'enough'} on this machine: a first look takes about "
        f"{takes(need.first_look)}{others}."
    )


def _work(way: Way) -> float:
    return way.need.first_look * way.need.work


def _quicker(ways: Sequence[Way], own: Need) -> list[Way]:
    """Those that come to a first look in clearly less time."""
    return [way for way in ways if _work(way) < 0.7 * _work(Way("", own))]


def _fitting(ways: Sequence[Way], own: Need, items: int) -> list[Way]:
    """Those that come to a first look in the time that so many items take."""
    return [way for way in ways if _work(way) <= items * own.work]


def duration(seconds: float) -> str:
    """Roughly, in words: `40 seconds`, `12 minutes`, `2.5 hours`; rather more than less, so that it is enough."""
    for unit, word in ((HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= 2 * unit:
            grain = unit / 10 if seconds < 10 * unit else unit
            return f"{math.ceil(seconds / grain - 0.1) * grain / unit:g} {word}s"
    return f"{max(10, 10 * math.ceil(seconds / 10 - 0.1))} seconds"


def rounded(number: float) -> int:
    """To two digits: more would be more than is known."""
    digits = max(0, math.floor(math.log10(max(number, 1))) - 1)
    return max(1, round(number / 10**digits) * 10**digits)


# -- the table ---------------------------------------------------------------------------------------


@functools.cache
def _table() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load((files("maquette") / "recipes" / "needs.yaml").read_text("utf-8"))
    return {name: entry for name, entry in found.items() if name in recipe_names()}


def _need(recipe: str, column: ColumnSpec) -> Need | None:
    extent = part(column.kind, "extent", "options")
    entry = _table().get(recipe)
    if extent is None or entry is None:
        return None
    first_look, worth_it, work = (_between(entry["by_extent"], i, extent(column)[0]) for i in range(3))
    return Need(recipe, round(first_look), round(worth_it), work)


def _between(rows: Mapping[float, Sequence[float]], i: int, at: float) -> float:
    """Number i at an extent: a straight line between the nearest two that are known, or through the last two beyond
    them, where both scales are logarithmic."""
    known = [(math.log(extent), math.log(row[i])) for extent, row in sorted(rows.items())]
    if len(known) == 1:
        return float(math.exp(known[0][1]))
    x = math.log(at)
    (x0, y0), (x1, y1) = next((pair for pair in pairwise(known) if x <= pair[1][0]), (known[-2], known[-1]))
    return math.exp(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
