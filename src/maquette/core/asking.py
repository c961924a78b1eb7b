"""What can be asked of a trained model, and how that is checked; without torch, which takes a second to import."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.core.errors import UserError
from maquette.core.modality import noun, part
from maquette.core.option import MOST_ITEMS, Option, between, checked, identifier
from maquette.core.rng import derive, uniform_of
from maquette.core.spec import ClassSpec, DataSpec, NumberSpec


class Ungiven(UserError):
    """A column that a model cannot do without was not given. column: its name"""

    def __init__(self, column: str, target: Sequence[str]) -> None:
        self.column = column
        super().__init__(
            f"This model makes '{', '.join(target)}' from '{column}', and was given none.", f"Give it '{column}'."
        )

    def add(self, remedy: str) -> None:
        """Another way out, for those who know one."""
        self.remedy = f"{self.remedy} {remedy}".strip()
        self.args = (f"{self.problem}\n  {self.remedy}",)


@dataclass(frozen=True)
class Request:
    """What is asked of a sample, each part with those who know it.

    given: by column      family: keywords of Model.sample      kinds: by target column, the options of its modality
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    family: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Asking:
    """What a model of these columns can be asked for.

    model: has `options` and `needs`, as core/model.py says
    """

    def __init__(self, model: Any, spec: DataSpec) -> None:
        self.model, self.spec = model, spec

    @functools.cached_property
    def columns(self) -> dict[str, str]:
        """The given columns by the names of their options: {"stroke_width": "stroke width"}."""
        return {identifier(name): name for name in self.spec.given}

    @functools.cached_property
    def kinds(self) -> dict[str, tuple[Option, ...]]:
        """The options that each target column has of its modality."""
        found = {}
        for name in self.spec.target:
            options = part(self.spec.columns[name].kind, "OPTIONS", "options")
            found[name] = tuple(options(self.model, self.spec.columns[name])) if options else ()
        return found

    @functools.cached_property
    def options(self) -> tuple[Option, ...]:
        """All that can be asked of a sample: one option for each given column, those of the family, and those of the
        targets' modalities. Where two have one name, the first counts."""
        found: dict[str, Option] = {}
        for option in (
            *(self._of_column(option, name) for option, name in self.columns.items()),
            *self.model.options,
            *(option for options in self.kinds.values() for option in options),
        ):
            found.setdefault(option.name, option)
        return tuple(found.values())

    def _of_column(self, option: str, name: str) -> Option:
        column = self.spec.columns[name]
        if isinstance(column, ClassSpec):
            shown = ", ".join(column.classes[:5]) + (", ..." if len(column.classes) > 5 else "")
            number = {"type": "integer", "minimum": 0, "maximum": len(column.classes) - 1}
            form = {"anyOf": [{"type": "string", "enum": list(column.classes)}, number]}
            return Option(
                option, str, None, f"One for all: {shown}; or its number. [default: drawn by share]", form=form
            )
        end = " [required]" if isinstance(column, self.model.needs) else " [default: not known]"
        said = f"The {noun(column.kind, 1)} that they are made from.{end}"
        if isinstance(column, NumberSpec):
            return Option(option, str, None, said, between(column.low, column.high), form={"type": "number"})
        return Option(option, str, None, said, file=not part(column.kind, "PRINTED", "values"))

    def request(self, asked: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Request:
        """What is asked, by name of an option, checked and sorted; UserError for what this model has no option for.

        given: values of given columns by the columns' own names. None counts as not asked for.
        """
        asked = {name: value for name, value in asked.items() if value is not None}
        columns = {self.columns[name]: asked.pop(name) for name in list(asked) if name in self.columns}
        values = checked([option for option in self.options if option.only != "command"], asked)
        family = {option.name for option in self.model.options}
        return Request(
            {**columns, **(given or {})},
            {name: value for name, value in values.items() if name in family},
            {
                column: {o.name: values[o.name] for o in options if o.name in values and o.name not in family}
                for column, options in self.kinds.items()
            },
        )

    def check_given(self, asked: Mapping[str, Any] | None, unconditional: bool) -> dict[str, Any]:
        """What is asked of given columns, without those of which nothing is; UserError where that cannot be."""
        asked = {name: value for name, value in (asked or {}).items() if value is not None}
        if unknown := [name for name in asked if name not in self.spec.given]:
            knows = (
                f"It is given {', '.join(self.spec.given)}." if self.spec.given else "Train one with a given column."
            )
            raise UserError(f"This model was trained without {', '.join(unknown)}.", knows)
        if unconditional and asked:
            raise UserError(f"{', '.join(asked)} was asked of the unconditional model.", "Drop one of the two.")
        if unconditional and not self.spec.given:
            raise UserError(
                "This model is given nothing: all that it makes is unconditional.", "Leave unconditional out."
            )
        return asked

    def seed_of(self, column: str, seed: int) -> int:
        """What classes of a given column are drawn by, where none is asked for."""
        first = next(iter(self.spec.givens(ClassSpec)), None)
        return derive(seed, "label", *([] if column == first else [column]))


def drawn_classes(column: ClassSpec, items: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Classes by their share in the training data, i64[n]: that of item i depends on (seed, i) alone."""
    shares = np.asarray(column.shares or np.ones(len(column.classes)), dtype=np.float64)
    edges = np.cumsum(shares / shares.sum())
    draws = np.array([uniform_of(seed, item) for item in items], np.float64)
    return np.minimum(np.searchsorted(edges, draws, side="right"), len(column.classes) - 1)


def check_asked(n: int, seed: int) -> None:
    """Refuses a sample of nothing, and a seed that is none."""
    if n < 1:
        raise UserError(f"n = {n}: a sample has at least one item.", "Ask for 1 or more.")
    if n > MOST_ITEMS:
        raise UserError(f"n = {n:,}: a sample has at most {MOST_ITEMS:,} items.", "Ask for fewer, with several seeds.")
    if not 0 <= seed < 2**63:
        raise UserError(f"seed = {seed}: a seed is 0 or more, and below 2**63.", "Use 0, 1, 2, ...")
