"""What a section of the report gets: the run, its numbers, and the samples that sections share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from maquette.core.about import About, software
from maquette.core.batch import Batch
from maquette.core.generator import Generator
from maquette.core.modality import noun
from maquette.core.model import Streams
from maquette.core.recipe import Recipe
from maquette.core.rng import derive
from maquette.core.run import RunFolder
from maquette.core.section import Missing
from maquette.core.spec import ClassSpec, ColumnSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.core.table import Dataset
from maquette.evaluation.results import Evaluation
from maquette.report.log import Log
from maquette.report.show import amounts

FROM_SOURCES = 12  # items made from held-out sources

Best = Callable[[dict[str, Tensor]], Tensor]
"""Given tensors -> the best target tokens i64[B, T], by a search for them (beam search)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Sampled:
    """Items that were sampled for the page, as they came.

    target: canonical tensors by column      given: what they were made from
    real:   held-out items that belong to the same `given`; empty where nothing was taken from the data
    """

    target: dict[str, Tensor]
    given: dict[str, Tensor]
    real: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ByClass:
    """Items of a few classes.

    names: of the classes, of which there are `known`; target: by column, `each` items for each name in turn
    """

    column: str
    names: tuple[str, ...]
    known: int
    each: int
    target: dict[str, Tensor]

    def rows(self, column: str) -> list[Tensor]:
        """The items of each class, of one column."""
        return list(self.target[column].split(self.each))


@dataclass(frozen=True)
class RunView:
    """A run as a section of the report sees it.

    dataset:    the data of the run; None where it is not at hand
    evaluation: what was measured, or why there is nothing
    seed:       of all that is sampled for the page
    best:       of runs with a source: what a search finds for it; None: they are sampled
    for_sharing: whether items of the data, and names of its files, are to be left out
    column:     the target column that the section is about; "" for a section about the whole run
    """

    folder: RunFolder
    recipe: Recipe
    generator: Generator
    dataset: Dataset | None
    log: Log
    evaluation: Evaluation | Missing
    seed: int = 0
    best: Best | None = None
    for_sharing: bool = False
    column: str = ""
    _shared: dict[str, Any] = field(default_factory=dict, repr=False)

    # -- what it is about --------------------------------------------------------------------------

    @property
    def spec(self) -> DataSpec:
        return self.generator.spec

    @property
    def target(self) -> ColumnSpec:
        """The specification of `column`, or of the first target where the section is about the whole run."""
        return self.spec.columns[self.column or self.spec.target[0]]

    @property
    def nouns(self) -> tuple[str, str]:
        """What one item is called, and several."""
        if not self.column and len(self.spec.target) > 1:
            return "item", "items"
        return noun(self.target.kind, 1), noun(self.target.kind)

    def of(self, column: str) -> RunView:
        """The same for a section about one target column."""
        return replace(self, column=column)

    def anchor(self, name: str) -> str:
        """An id on the page: that of another column is another one."""
        if not self.column or len(self.spec.target) == 1:
            return name
        return f"{name}-{re.sub(r'[^A-Za-z0-9]+', '-', self.column)}-{self.spec.target.index(self.column)}"

    def details(self, name: str) -> list[dict[str, Any]]:
        """A table of the evaluation about this column, as `Evaluation.details` has it; empty where there is none."""
        if isinstance(self.evaluation, Missing):
            return []
        found = self.evaluation.details
        return found.get(f"{self.column}: {name}", []) if len(self.spec.target) > 1 else found.get(name, [])

    @property
    def about(self) -> About:
        """What files that are written beside the page say of where they come from."""
        return About(software(), self.folder.path.resolve().name, self.recipe.family, self.seed)

    @property
    def no_data(self) -> Missing:
        """Why a section that needs the data is missing."""
        return Missing("This needs the data, which was not at hand.", "maquette report .")

    # -- items that sections share -----------------------------------------------------------------

    @property
    def sources(self) -> list[str]:
        """Given columns that cannot be made up, so that they are taken from held-out data: sequences and grids."""
        return [name for name in self.spec.given if isinstance(self.spec.columns[name], TokenSpec | GridSpec)]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns; sections that ask for the same name share it, and its failure."""
        if name not in self._shared:
            try:
                self._shared[name] = make()
            except Exception as error:
                self._shared[name] = error
        found = self._shared[name]
        if isinstance(found, Exception):
            raise found
        return found

    def sampled(self) -> Sampled | Missing:
        """Items as they come: classes drawn as often as in the data; from held-out sources, if the model has some."""
        return self.once("sampled", self._sampled)

    def by_class(self) -> list[ByClass]:
        """Items of each class, of every given column of classes; none for a model that is given a source."""
        return self.once("by class", self._by_class)

    def held_out(self, rows: int) -> Batch | Missing:
        """A few held-out items, drawn at random."""
        if self.dataset is None:
            return self.no_data
        return self._rows("held out", rows, self.dataset)

    def _rows(self, word: str, rows: int, dataset: Dataset) -> Batch:
        table = dataset.test
        chosen = np.random.default_rng(derive(self.seed, word)).permutation(len(table))[:rows]
        return table.batch(np.sort(chosen), self.spec)

    def _sampled(self) -> Sampled | Missing:
        n = max(amounts(self.spec.columns[name].kind).samples for name in self.spec.target)
        if not self.sources and not self.spec.givens(NumberSpec):
            given = self.generator.given_for(n, seed=self.seed)
            return Sampled(self.generator.sample(n, given, self.seed), given)
        if self.dataset is None:
            return Missing("What to make something from is in the data, which was not at hand.", "maquette report .")
        batch = self._rows("sources", FROM_SOURCES if self.sources else n, self.dataset)
        if self.best is not None:
            return Sampled({self.spec.only_name: self.best(batch.given).cpu()}, batch.given, batch.target)
        options: dict[str, Any] = (
            {"temperature": 0.0} if self.sources and isinstance(self.generator.model, Streams) else {}
        )
        made = self.generator.sample(batch.size, batch.given, self.seed, **options)
        return Sampled(made, batch.given, batch.target)

    def _by_class(self) -> list[ByClass]:
        found = []
        most = [amounts(self.spec.columns[name].kind) for name in self.spec.target]
        each, shown = max(part.per_class for part in most), max(part.classes for part in most)
        for name, column in self.spec.givens(ClassSpec).items() if not self.sources else ():
            names = column.classes[:shown]
            # One call for all classes: item i still depends on (seed, i) alone.
            given = {name: torch.arange(len(names)).repeat_interleave(each)}
            target = self.generator.sample(len(names) * each, given, derive(self.seed, "by class"))
            found.append(ByClass(name, names, column.num_classes, each, target))
        return found


def captions(given: dict[str, Tensor], spec: DataSpec) -> list[str]:
    """What each item was asked to be, of what can be said in a word: `7`, `digit 7, width 2.1`; empty without any."""
    parts: list[Sequence[str]] = []
    for name, values in given.items():
        column = spec.columns[name]
        if isinstance(column, ClassSpec):
            parts.append([column.classes[i] for i in values.tolist()])
        elif isinstance(column, NumberSpec):
            parts.append([f"{value:.3g}" for value in values.tolist()])
        else:
            continue
        if len(spec.given) > 1:
            parts[-1] = [f"{name} {value}" for value in parts[-1]]
    return [", ".join(row) for row in zip(*parts, strict=True)]
