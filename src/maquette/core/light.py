"""An item of a run as it is made, piece by piece: without torch, which takes a second to import, if its family can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maquette.core.about import of_run
from maquette.core.asking import Asking, check_asked, drawn_classes
from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.modality import noun, part
from maquette.core.option import Option
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder, open_run
from maquette.core.samples import captions_by_column
from maquette.core.spec import ClassSpec, DataSpec

Notify = Callable[[str], None]


def streamed(
    generator: Any, folder: RunFolder, family: str, item: int, seed: int, unconditional: bool,
    given: Mapping[str, Any] | None, asked: Mapping[str, Any], notify: Notify,
) -> Iterator[str | bytes]:  # fmt: skip
    """One item of a run, as api.Run.stream says. generator: a Generator, or a light one"""
    check_asked(item + 1, seed)
    spec: DataSpec = generator.spec
    name, kind = spec.only_name, spec.only().kind
    make = part(kind, "stream", "options")
    if make is None:
        raise UserError(f"{noun(kind).capitalize()} are not made piece by piece.", "Use sample.")
    request = generator.request(asked, given)
    values = generator.given_for(item + 1, request.given, seed, unconditional, notify=notify)
    own = {column: value[item:] for column, value in values.items()}
    about = of_run(folder.path, family).of(seed, item).with_more(captions_by_column(own, spec, 0))
    if remark := generator.model.remark:
        notify(remark)
    options = {**request.family, **request.kinds.get(name, {})}
    pieces: Iterator[str | bytes] = make(generator, name, options, own, seed, item, folder.data(), about)
    return pieces


class LightGenerator(Asking):
    """What unfolds the items of a run whose family does so by numpy, `light(config, spec, arrays)`, and that is given
    nothing but classes. Item for item it makes what Generator makes."""

    def given_for(
        self, items: int, asked: Mapping[str, Any] | None, seed: int, unconditional: bool, *, notify: Notify
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """The given columns of n items, i64[n] each, as Generator.given_for has them; what is asked, of all alike."""
        asked, given = self.check_given(asked, unconditional), {}
        for name, column in self.spec.givens(ClassSpec).items():
            if name in asked:
                given[name] = np.full(items, part(column.kind, "number", "values")(asked[name], column))
            elif not unconditional:
                given[name] = drawn_classes(column, range(items), self.seed_of(name, seed))
        return given

    def unfold(
        self, given: Mapping[str, np.ndarray], seed: int, item: int, asked: Mapping[str, Any]
    ) -> Iterator[np.ndarray]:  # fmt: skip
        """The item of this number in pieces f32[C, n] as it is made."""
        numbers = [int(given[name][0]) if name in given else -1 for name in self.spec.given]
        pieces: Iterator[np.ndarray] = self.model.unfold(numbers, seed, item, **asked)
        return pieces


@dataclass(frozen=True)
class LightRun:
    """What of api.Run can be had without torch: streaming."""

    folder: RunFolder
    recipe: Recipe
    generator: LightGenerator
    notify: Notify

    @property
    def spec(self) -> DataSpec:
        """Its columns."""
        return self.generator.spec

    @property
    def options(self) -> tuple[Option, ...]:
        """What can be asked."""
        return self.generator.options

    def stream(
        self, item: int = 0, *, seed: int = 0, unconditional: bool = False, given: Mapping[str, Any] | None = None,
        **asked: Any,
    ) -> Iterator[str | bytes]:  # fmt: skip
        """As api.Run.stream."""
        return streamed(
            self.generator, self.folder, self.recipe.family, item, seed, unconditional, given, asked, self.notify
        )


def light_run(path: str | Path, notify: Notify) -> LightRun | None:
    """The run in a folder; None where it takes torch, or is not as it should be: who loads it whole says why."""
    try:
        folder = open_run(path)
        recipe = folder.recipe()
        family = find_family(recipe.family)
        if not hasattr(family, "light"):
            return None
        spec = folder.spec()
        if not all(isinstance(spec.columns[name], ClassSpec) for name in spec.given):
            return None
        model = family.light(recipe.config, spec, folder.arrays())
        remarks = folder.remarks()
    except UserError:
        return None
    for remark in remarks:
        notify(remark)
    return LightRun(folder, recipe, LightGenerator(model, spec), notify)
