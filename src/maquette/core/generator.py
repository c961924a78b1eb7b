"""A trained model ready for use, rebuilt from its run folder."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.bounds import VALUES
from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.hardware import device_named
from maquette.core.modality import noun, part
from maquette.core.model import Model, Streams, Unfolds
from maquette.core.option import MOST_ITEMS, Option, Plan, between, checked, identifier
from maquette.core.outline import FIT, check_weights, outline
from maquette.core.progress import stage
from maquette.core.recipe import Recipe
from maquette.core.rng import ItemRng, derive
from maquette.core.rows import passes, rows_of
from maquette.core.run import RunFolder
from maquette.core.spec import PAD, ClassSpec, ColumnSpec, DataSpec, NumberSpec
from maquette.core.tensors import fill, shapes_in
from maquette.core.ways import settle

Notify = Callable[[str], None]


def build_model(recipe: Recipe, spec: DataSpec, weights: Path | None = None) -> Model:
    """The recipe's model with freshly drawn weights that depend on the recipe's seed alone.

    weights: a file that these will be taken from. UserError, before there is a model, where it holds others, or where
             they are more than there is memory for
    """
    family = find_family(recipe.family)
    if others := [name for name in spec.target if not isinstance(spec.columns[name], family.SUPPORTS)]:
        kind = spec.columns[others[0]].kind
        raise UserError(
            f"Family '{recipe.family}' cannot make '{others[0]}', which is {kind}.",
            "`maquette recipes` lists what can be trained.",
        )
    shapes = outline(recipe, spec, trains=weights is None)
    if shapes and weights:
        check_weights(shapes, shapes_in(weights), weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.train.seed, "init"))
        model: Model = family.build(recipe.config, spec)
    settle(model, recipe.train.fewer_multiplications)
    return model


@contextlib.contextmanager
def _finite() -> Iterator[None]:
    """Says of a model whose numbers run over what it is: a training that diverged, or weights that somebody made up."""
    try:
        yield
    except FloatingPointError as error:
        raise UserError(
            f"What the model makes is no number any more: {error}.",
            "Its training diverged, or its weights are not those that were trained: use another copy, or train again.",
        ) from None


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


class Generator:
    """Samples from a model. Item i of a sample depends on (seed, i, what it is given) alone."""

    def __init__(self, model: Model, spec: DataSpec, device: torch.device | str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.spec = spec
        self.device = torch.device(device)

    @classmethod
    def described(cls, model: Model, spec: DataSpec) -> Generator:
        """Of a model that need have no values: for what can be asked, not for samples."""
        made = cls.__new__(cls)
        made.model, made.spec, made.device = model.eval(), spec, torch.device("cpu")
        return made

    @classmethod
    def load(
        cls, folder: RunFolder, device: torch.device | str = "auto", notify: Notify = lambda note: None
    ) -> Generator:
        """Rebuilds the model of a run and loads the weights that sampling needs; UserError where any of its files is
        damaged.

        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps"
        notify: is told of files that were changed
        """
        spec = folder.spec()
        chosen = device_named(device)
        recipe, weights = folder.recipe(), folder.weights()
        for remark in folder.remarks():
            notify(remark)
        model = build_model(recipe, spec, folder.weights_file)
        fill(
            model.kept,
            weights,
            f"'{folder.weights_file}' does not fit the recipe beside it",
            FIT,
        )
        return cls(model, spec, chosen)

    # -- what can be asked -------------------------------------------------------------------------------

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

    def plans(
        self, request: Request, given: Mapping[str, Tensor], n: int, facts: Mapping[str, Any]
    ) -> dict[str, Plan]:  # fmt: skip
        """What the modality of each target makes of the options that are its own. facts: of the run's data."""
        made = {}
        for column, asked in request.kinds.items():
            plan = part(self.spec.columns[column].kind, "plan", "options")
            made[column] = plan(self, column, asked, given, n, facts) if plan else Plan()
        return made

    # -- what is given -----------------------------------------------------------------------------------

    def given_for(
        self, items: int | Sequence[int], asked: Mapping[str, Any] | None = None, seed: int = 0,
        unconditional: bool = False, *, but: Sequence[str] = (), notify: Notify = lambda note: None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """The given columns of n items, or of the items of these numbers, as tensors of that many items.

        asked:  column -> one value for all, a list of one for each, or a tensor of them, as the column's modality reads
                them. A class that is not asked for is drawn by its share in the training data, that of item i from
                (seed, i) alone; a column of any other form is left out, as it was now and then in training.
        unconditional: nothing is drawn
        but:    columns that the caller adds
        notify: is told of values beyond what was learned
        """
        rows = range(items) if isinstance(items, int) else items
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
        given = {}
        first = next(iter(self.spec.givens(ClassSpec)), None)
        for name in self.spec.given:
            column = self.spec.columns[name]
            if name in but:
                continue
            if name in asked:
                given[name] = _read(asked[name], column, name, len(rows), notify)
            elif isinstance(column, self.model.needs):
                raise Ungiven(name, self.spec.target)
            elif isinstance(column, ClassSpec) and not unconditional:
                given[name] = _drawn(column, rows, derive(seed, "label", *([] if name == first else [name])))
        return given

    # -- sampling ----------------------------------------------------------------------------------------

    def sample(
        self, n: int, given: dict[str, Tensor] | None = None, seed: int = 0, chunk: int = 250, **options: Any
    ) -> dict[str, Tensor]:
        """n items of each target column, canonical, on the CPU. given: None draws classes; {} asks for none.

        options: keywords of Model.sample, those that it has an option for checked.
        """
        parts = list(self.stream(n, given, seed, chunk, **options))
        return {name: _joined([part[name] for part in parts]) for name in self.spec.target}

    @torch.no_grad()
    def stream(
        self, n: int, given: dict[str, Tensor] | None = None, seed: int = 0, chunk: int = 250, **options: Any
    ) -> Iterator[dict[str, Tensor]]:
        """The same in chunks, so that a long sample can be written as it is made."""
        check_asked(n, seed)
        options = self._checked(options)
        given = self.given_for(n, seed=seed) if given is None else given
        largest = max(math.prod(self.spec.columns[name].shape) for name in self.spec.target)
        chunk = max(1, min(chunk, VALUES // largest))
        with stage("sampling", n) as sampled:
            for start in range(0, n, chunk):
                rows = range(start, min(start + chunk, n))
                part = {name: value[start : rows.stop] for name, value in given.items()}
                yield self.items([(seed, i) for i in rows], part, **options)
                sampled.done = rows.stop

    @torch.no_grad()
    def items(
        self, asked: Sequence[tuple[int, int]], given: Mapping[str, Tensor], **options: Any
    ) -> dict[str, Tensor]:  # fmt: skip
        """Items that are named by (seed, number), canonical, on the CPU; given: of each. options: as of `stream`,
        checked. What comes out of one is the same to the last bit whatever stands beside it (core/rows.py)."""
        made = [
            self._pass([asked[i] for i in rows.tolist()], {name: value[rows] for name, value in given.items()}, options)
            for rows in passes(len(asked), self.rows or len(asked))
        ]
        return {name: _joined([part[name] for part in made])[: len(asked)] for name in self.spec.target}

    @functools.cached_property
    def rows(self) -> int:
        """How many items are made side by side; 0: as many as are asked for."""
        # What is made one value after the other is so in its own way; a GPU has room for more than is ever filled up.
        if self.device.type != "cpu" or isinstance(self.model, Streams | Unfolds):
            return 0
        return min(rows_of(self.spec.columns[name].shape) for name in self.spec.target)

    def _pass(
        self, asked: Sequence[tuple[int, int]], given: Mapping[str, Tensor], options: Mapping[str, Any]
    ) -> dict[str, Tensor]:  # fmt: skip
        given = {name: value.to(self.device) for name, value in given.items()}
        with _finite():
            made = self.model.sample(len(asked), given, ItemRng.of(asked, self.device), **options)
            if odd := [name for name, value in made.items() if not bool(torch.isfinite(value).all())]:
                raise FloatingPointError(f"'{odd[0]}' holds NaN or infinity")
        return {name: (v.float() if v.is_floating_point() else v).cpu() for name, v in made.items()}

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords that have an option checked; refuses those that the sampler has no parameter for."""
        known = {option.name: option for option in self.model.options}
        parameters = inspect.signature(self.model.sample).parameters
        passes = not known and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        unknown = {name: value for name, value in options.items() if not passes and name not in parameters}
        checked(known.values(), {name: value for name, value in unknown.items() if name not in known})
        return {name: known[name].checked(value) if name in known else value for name, value in options.items()}


def check_asked(n: int, seed: int) -> None:
    """Refuses a sample of nothing, and a seed that is none."""
    if n < 1:
        raise UserError(f"n = {n}: a sample has at least one item.", "Ask for 1 or more.")
    if n > MOST_ITEMS:
        raise UserError(f"n = {n:,}: a sample has at most {MOST_ITEMS:,} items.", "Ask for fewer, with several seeds.")
    if not 0 <= seed < 2**63:
        raise UserError(f"seed = {seed}: a seed is 0 or more, and below 2**63.", "Use 0, 1, 2, ...")


def _read(value: Any, column: ColumnSpec, name: str, n: int, notify: Notify) -> Tensor:
    """What is asked of a column, for n items: one value for all, or as many as there are items."""
    if isinstance(value, Tensor):
        items = value
    else:
        asked = part(column.kind, "asked", "values")
        if asked is None:
            raise UserError(f"'{name}' is {column.kind}, which cannot be asked for by a value.", "Give a tensor of it.")
        each = value if isinstance(value, list) else [value]
        items = stacked([asked(one, column, lambda note: notify(f"{name}: {note}")) for one in each])
        items = items if isinstance(value, list) else items.repeat_interleave(n, 0)
    if len(items) != n:
        raise UserError(f"{len(items)} values of '{name}' were given for {n} items.", "Give one, or one for each.")
    return items


def _drawn(column: ClassSpec, rows: Sequence[int], seed: int) -> Tensor:
    """Classes by their share in the training data, i64[n]: that of item i depends on (seed, i) alone."""
    shares = np.asarray(column.shares or np.ones(len(column.classes)), dtype=np.float64)
    edges = torch.from_numpy(np.cumsum(shares / shares.sum()))
    draws = ItemRng(seed, rows).uniform(len(rows)).double()
    return torch.searchsorted(edges, draws, right=True).clamp(max=len(column.classes) - 1)


def stacked(items: Sequence[Tensor]) -> Tensor:
    """Items of one column as one tensor [n, ...]; sequences of several lengths are padded."""
    if len({item.shape for item in items}) == 1:
        return torch.stack(list(items))
    return torch.nn.utils.rnn.pad_sequence(list(items), batch_first=True, padding_value=PAD)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Chunks one after the other; sequences of several lengths are padded."""
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(list(parts))
    return stacked([item for part in parts for item in part])
