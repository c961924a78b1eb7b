"""What the measures of an evaluation are made from: samples, real items beside them, and what is seen in both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from maquette.core.errors import UserError, nearest
from maquette.core.generator import Generator
from maquette.core.measure import Estimate, Found, TooFew
from maquette.core.modality import noun, part
from maquette.core.model import Streams
from maquette.core.progress import track
from maquette.core.rng import derive
from maquette.core.spec import PAD, ClassSpec, GridSpec, NumberSpec, TokenSpec
from maquette.core.table import Dataset
from maquette.evaluation.bootstrap import Array
from maquette.evaluation.features import RESERVE, FeatureNetwork, Notify, chunks, order

if TYPE_CHECKING:
    from maquette.evaluation.measures.likelihood import Effort

MOST_REAL = 10_000
KEPT = 2**28  # bytes of a sample up to which it is kept; a larger one is made again each time that it is looked at
SAMPLED_TOKENS = 60_000  # written for an evaluation, about
FEWEST_SEQUENCES, MOST_SEQUENCES = 100, 1000
PAIRED = 2000  # made from what is given with as many held-out items

T = TypeVar("T")
Labels = NDArray[np.int64]
Best = Callable[[dict[str, Tensor]], Tensor]
"""Given tensors of n items -> the best target of each, by a search for it (beam search)."""


class Sample:
    """What the generator makes to be judged by: n items of every target column.

    given:  what each item is made from: classes drawn by their share, where one label is all that is given; else what
            is given with held-out rows, so that its combinations are real
    rows:   those held-out rows, i64[n]; None where classes were drawn
    paired: whether each item has a held-out one that it should be: a sequence made from more than classes and numbers
    """

    def __init__(
        self, generator: Generator, dataset: Dataset, asked: int | None, seed: int, best: Best | None, notify: Notify
    ) -> None:
        """asked: how many; None: by the size of the data, and of an item."""
        self.generator, self.dataset, self.seed, self.best, self.notify = generator, dataset, seed, best, notify
        spec = generator.spec
        given = [spec.columns[name] for name in spec.given]
        self.paired = all(isinstance(spec.columns[name], TokenSpec) for name in spec.target) and any(
            not isinstance(column, ClassSpec | NumberSpec) for column in given
        )
        self.n = self._count(asked)
        self.rows: Labels | None = None
        if given and not (len(given) == 1 and isinstance(given[0], ClassSpec)):
            if missing := [name for name in spec.given if name not in dataset.test.columns]:
                raise UserError(
                    f"The data has no column '{missing[0]}', which the model is given.",
                    nearest(missing[0], dataset.test.columns),
                )
            self.rows = self._rows()
        self._kept: list[dict[str, Tensor]] | None = None

    def _count(self, asked: int | None) -> int:
        spec, n_test = self.generator.spec, len(self.dataset.test)
        if self.paired:
            return min(n_test, asked or PAIRED)
        if asked is not None:
            return asked
        found = []
        for column in (spec.columns[name] for name in spec.target):
            if isinstance(column, TokenSpec):
                affordable = int(SAMPLED_TOKENS / max(column.mean_length or column.shape[0], 1))
                found.append(min(int(np.clip(affordable, FEWEST_SEQUENCES, MOST_SEQUENCES)), max(n_test, 20)))
            else:
                found.append(max(min(RESERVE, len(self.dataset.train) // 3), 500))
        return min(found)

    def _rows(self) -> Labels:
        n_test = len(self.dataset.test)
        shuffled = np.random.default_rng(derive(self.seed, "evaluate", "translated")).permutation(n_test)
        if not self.paired:
            return np.resize(shuffled, self.n)
        rows = np.sort(shuffled[: self.n]) if self.n < n_test else np.arange(n_test)
        lengths = self.dataset.test.lengths(self.generator.spec)
        # Items of like length are made together, which is quickest.
        return rows if lengths is None else rows[np.argsort(np.asarray(lengths)[rows], kind="stable")]

    @cached_property
    def given(self) -> dict[str, Tensor]:
        """What each item is made from, by column."""
        if self.rows is None:
            return self.generator.given_for(self.n, seed=self.seed)
        return self._given(self.rows)

    def _given(self, rows: Labels) -> dict[str, Tensor]:
        return {name: self.dataset.test.columns[name].take(rows) for name in self.generator.spec.given}

    def chunks(self) -> Iterator[dict[str, Tensor]]:
        """The items, a few at a time, by column. UserError where they are not finite."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[dict[str, Tensor]] | None = []
        size = 0
        for made in self._paired() if self.paired else self.generator.stream(self.n, self.given, self.seed):
            if not all(bool(value.isfinite().all()) for value in made.values() if value.is_floating_point()):
                raise UserError(
                    "The generator makes items with numbers that are not finite.",
                    "Its training failed; resume from an earlier checkpoint or train again.",
                )
            if kept is not None:
                kept.append(made)
                size += sum(value.nbytes for value in made.values())
                kept = kept if size <= KEPT else None
            yield made
        self._kept = kept

    def of(self, items: dict[str, Tensor], given: Mapping[str, Labels | None]) -> Sample:
        """A sample of these items instead, by column, as if they were made from what is given."""
        other = copy.copy(self)
        other.n, other.rows, other._kept = len(next(iter(items.values()))), None, [items]
        known = {name: torch.from_numpy(values) for name, values in given.items() if values is not None}
        other.__dict__["given"] = known
        return other

    def _paired(self) -> Iterator[dict[str, Tensor]]:
        assert self.rows is not None
        options: dict[str, Any] = {"temperature": 0.0} if isinstance(self.generator.model, Streams) else {}
        for start in track(range(0, self.n, 50), "sampling"):
            rows = self.rows[start : start + 50]
            given = self._given(rows)
            if self.best is not None:
                yield {self.generator.spec.only_name: self.best(given).cpu()}
            else:
                yield self.generator.sample(len(rows), given, self.seed, **options)


class Side:
    """n items of one column, and what is seen in them. All of it is found when it is asked for, and once.

    features: f64[n, D]      classes: i64[n]      comparable: f32[n, d], see neighbours.py
    Each is None where there is no such network, or nothing that makes items of this kind comparable.
    """

    def __init__(
        self, n: int, parts: Callable[[], Iterator[Tensor]], evidence: Evidence, compared: bool = True
    ) -> None:
        self._n, self._parts, self._evidence = n, parts, evidence
        self._comparable = evidence.comparable if compared else None

    def __len__(self) -> int:
        return self._n

    def chunks(self) -> Iterator[Tensor]:
        """The items, a few at a time."""
        return self._parts()

    @cached_property
    def items(self) -> Tensor:
        """All of them, canonical; sequences are padded to the longest."""
        parts = list(self._parts())
        if isinstance(self._evidence.spec, TokenSpec):
            longest = max(part.shape[1] for part in parts)
            parts = [torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=PAD) for part in parts]
        return torch.cat(parts)

    @property
    def features(self) -> Array | None:
        return self._seen[0]

    @property
    def classes(self) -> Labels | None:
        return self.items.numpy() if isinstance(self._evidence.spec, ClassSpec) else self._seen[1]

    @property
    def comparable(self) -> Tensor | None:
        return self._seen[2]

    def first(self, n: int) -> Side:
        """The first n of them, of which all is known that is known of these."""
        found = Side(min(n, len(self)), lambda: iter([self.items[:n]]), self._evidence)
        features, classes, compared = self._seen
        found.__dict__["_seen"] = tuple(None if part is None else part[:n] for part in (features, classes, compared))
        return found

    @cached_property
    def _seen(self) -> tuple[Array | None, Labels | None, Tensor | None]:
        """All at one pass: a sample may be too large to be kept."""
        network, classifier, comparable = self._evidence.network, self._evidence.classifier, self._comparable
        features, classes, compared = [], [], []
        for chunk in self._parts() if network is not None or comparable is not None else ():
            seen = network.see(iter([chunk])) if network is not None else None
            if seen is not None:
                features.append(seen.features)
            if classifier is not None:
                named = seen if classifier is network and seen is not None else classifier.see(iter([chunk]))
                classes.append(cast(Labels, named.classes))
            if comparable is not None:
                compared.append(comparable(chunk))
        return (
            np.concatenate(features) if features else None,
            np.concatenate(classes) if classes else None,
            torch.cat(compared) if compared else None,
        )


class Evidence:
    """What is known of one target column of a generator, for measures to be made from.

    generator, dataset; column: the target, spec: its specification; nouns: what one item of it, and several, are called
    made, real, reserve: samples; held-out items; training items that no feature network learned from, for floors
    sample:   how the samples were made: `given`, and `rows` and `paired` where they were made from held-out rows
    network, classifier: that features and classes are seen with; None: there is none
    comparable: what makes items of the kind comparable number by number; None: nothing does
    label, classes: column of the label that classes are judged by, and their names
    own_data: whether the model was trained on this very data
    effort:   for models that know likelihoods; None: by the size of an item
    warnings, notes: for people; details: tables, by name, in rows of a pydantic class
    """

    def __init__(
        self,
        sample: Sample,
        column: str,
        features: str | None = None,
        cache: Path | None = None,
        effort: Effort | None = None,
        own_data: bool = True,
    ) -> None:
        self.sample, self.column = sample, column
        self.generator, self.dataset = sample.generator, sample.dataset
        self.seed, self.notify = sample.seed, sample.notify
        self.model: Any = self.generator.model  # what it can do, measures ask by isinstance
        self.spec = self.generator.spec.columns[column]
        self.nouns = (noun(self.spec.kind, 1), noun(self.spec.kind))
        self.effort, self.own_data, self.cache = effort, own_data, cache
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.details: dict[str, list[BaseModel]] = {}
        self.missing: list[tuple[str, str]] = []  # (what was left out, why)
        self._known: dict[str, Any] = {}
        self._real: dict[str, Any] = {}
        self._check()
        self.label = self._label()
        self.network, self.classifier = self._networks(features, cache)
        self.comparable = part(self.spec.kind, "comparable", "features")

    def _check(self) -> None:
        """The column must be in the data, and mean the same there."""
        name, columns, items = self.column, self.dataset.train.columns, self.nouns[1]
        if name not in columns:
            raise UserError(f"The data has no column '{name}'.", nearest(name, columns))
        ours, theirs = self.spec, columns[name].spec
        if isinstance(ours, TokenSpec):
            if not ours.same_tokens(theirs) or ours.framed != theirs.framed:
                raise UserError(
                    f"Column '{name}' of the data is in other tokens than the model's.",
                    "Evaluate on data that is prepared with the model's own tokens.",
                )
        elif ours.shape != theirs.shape:
            raise UserError(
                f"The model makes {items} of shape {ours.shape}, the data has {theirs.shape}.",
                "Evaluate on the data it was trained on, prepared at the same size.",
            )
        n_train, n_test, fewest = len(self.dataset.train), len(self.dataset.test), self.fewest
        if min(n_train, n_test) < fewest:
            raise UserError(
                f"There are {n_train} training and {n_test} held-out {items}: too few to judge by.",
                f"Evaluation needs at least {fewest} of each; add {items}.",
            )

    @property
    def fewest(self) -> int:
        """Items of a split without which nothing can be said: of one long sequence, much can."""
        return 1 if isinstance(self.spec, TokenSpec) else 2

    def _label(self) -> str | None:
        """The label that the model is given, or else the first of the data; None without two classes."""
        columns = {
            name: column.spec
            for name, column in self.dataset.train.columns.items()
            if isinstance(column.spec, ClassSpec) and name != self.column
        }
        first = [name for name in self.generator.spec.givens(ClassSpec) if name in columns]
        return next((name for name in (*first, *columns) if columns[name].num_classes >= 2), None)

    def _networks(self, asked: str | None, cache: Path | None) -> tuple[FeatureNetwork | None, FeatureNetwork | None]:
        offered = part(self.spec.kind, "FEATURES", "features")
        if not offered:
            return None, None
        first = next(iter(offered))
        asked = asked or first
        if asked not in offered:
            raise UserError(f"There are no features called {asked!r}.", nearest(asked, offered))

        def build(name: str) -> FeatureNetwork:
            made: FeatureNetwork = offered[name](
                self.dataset, self.column, self.label, self.generator.device, cache, self.notify
            )
            return made

        network = build(asked)
        if self.label is None:
            return network, None
        classifier = network if asked == first else build(first)
        return network, classifier if classifier.classes else None

    # -- the items ---------------------------------------------------------------------------------

    @cached_property
    def made(self) -> Side:
        return Side(self.sample.n, lambda: (made[self.column] for made in self.sample.chunks()), self)

    @cached_property
    def real(self) -> Side:
        column = self.dataset.test.columns[self.column]
        return Side(len(self.rows), lambda: chunks(column, self.rows), self)

    @cached_property
    def rows(self) -> Labels:
        """The held-out rows of `real`."""
        n = len(self.dataset.test)
        return np.random.default_rng(derive(self.seed, "test")).permutation(n)[:MOST_REAL]

    @cached_property
    def reserve(self) -> Side:
        # The reserve comes first: training items that the feature network has not seen.
        rows = order(len(self.dataset.train))[0][: self.sample.n]
        column = self.dataset.train.columns[self.column]
        return Side(len(rows), lambda: chunks(column, rows), self, compared=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that `classes` of a side are numbers of."""
        if isinstance(self.spec, ClassSpec):
            return self.spec.classes
        return cast(ClassSpec, self.dataset.train.columns[self.label].spec).classes if self.label else ()

    @cached_property
    def truth(self) -> Labels | None:
        """The class of each of the `real` items, i64[m]; None without a label."""
        return None if self.label is None else self.dataset.test.columns[self.label].take(self.rows).numpy()

    @cached_property
    def asked(self) -> Labels | None:
        """The class asked of each sample, i64[n], in the data's numbering; None where none was."""
        if not self.label or self.label not in self.generator.spec.given:
            return None
        if cast(ClassSpec, self.generator.spec.columns[self.label]).classes != self.classes:
            self.left_out("class accuracy", "the model was trained on other classes than the data has")
            return None
        return self.sample.given[self.label].cpu().numpy()

    @property
    def other_labels(self) -> tuple[str, ...]:
        """Further columns of two classes or more, that items of a target may be of."""
        columns, known = self.dataset.train.columns, (self.label, *self.generator.spec.target)
        return tuple(
            name
            for name, column in columns.items()
            if isinstance(column.spec, ClassSpec) and name not in known and column.spec.num_classes >= 2
        )

    def labels_of(self, name: str) -> tuple[Labels, Labels]:
        """The classes in a column of the `reserve` and of the `real` items, i64[r] and i64[m]."""
        rows = order(len(self.dataset.train))[0][: len(self.reserve)]
        sides = ((self.dataset.train, rows), (self.dataset.test, self.rows))
        known, test = (side.columns[name].take(rows).numpy() for side, rows in sides)
        return known, test

    def called(self, n: int = 2) -> str:
        """What n rows are called: windows, where the rows are cut from long sequences."""
        one, many = ("window", "windows") if isinstance(self.spec, TokenSpec) and not self.spec.framed else self.nouns
        return one if n == 1 else many

    # -- for measures ------------------------------------------------------------------------------

    def rng(self, *words: str) -> np.random.Generator:
        """Draws of a measure, the same for the same seed and words."""
        return np.random.default_rng(derive(self.seed, "evaluate", *words))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What several measures need, made by the first that asks; TooFew is raised to each of them."""
        return _once(self._known, name, make)

    def of_real(self, name: str, make: Callable[[], T]) -> T:
        """The same of what rests on real items alone, whatever stands in place of the samples (see `instead`)."""
        return _once(self._real, name, make)

    def instead(self, items: Tensor, asked: Labels | None = None) -> Evidence:
        """The same with other items in place of the samples, beside no more real ones than these.

        asked: the class that each should be, i64[n], where classes are asked for
        """
        n, other = len(items), copy.copy(self)
        for name in ("made", "asked", "truth"):
            other.__dict__.pop(name, None)
        other.warnings, other.notes, other.details, other.missing = [], [], {}, []
        other.notify = lambda line: None
        other._known = {}
        other._real = self._real.setdefault(f"beside {n}", {})  # those of one size share what rests on real items
        other.sample = self.sample.of({self.column: items}, {self.label: asked} if self.label else {})
        other.__dict__["rows"] = self.rows[:n]
        for name, side in (("real", self.real), ("reserve", self.reserve)):
            other.__dict__[name] = other.of_real(name, partial(side.first, n))
        return other

    def attempt(self, title: str, make: Callable[[], Estimate]) -> Estimate | None:
        """A part of a measure that may be missing, such as its floor: None, said by name, where there is too little."""
        try:
            return make()
        except TooFew as reason:
            self.left_out(title, reason)
            return None

    def left_out(self, title: str, reason: object) -> None:
        """Says that something is not among the results."""
        if (title, str(reason)) not in self.missing:
            self.missing.append((title, str(reason)))

    @property
    def on_grids(self) -> bool:
        """Whether all that the model makes are values on a grid, so that errors and likelihoods can be summed."""
        return all(isinstance(self.generator.spec.columns[name], GridSpec) for name in self.generator.spec.target)


def _once(known: dict[str, Any], name: str, make: Callable[[], T]) -> T:
    if name not in known:
        try:
            known[name] = make()
        except TooFew as reason:
            known[name] = reason
    found = known[name]
    if isinstance(found, TooFew):
        raise found
    return cast(T, found)


def between(
    name: str, measure: Callable[[Array, Array, np.random.Generator], Estimate]
) -> Callable[[Evidence], Found | None]:
    """The `of` of a measure between two sets of features f64[n, D]: of samples and held-out items; its floor: of the
    reserve and held-out items. It does not apply where the kind has no features."""

    def of(evidence: Evidence) -> Found | None:
        made, real, reserve = evidence.made.features, evidence.real.features, evidence.reserve.features
        if made is None or real is None or reserve is None:
            return None
        value = measure(made, real, evidence.rng(name))
        # With the same draws, so that the real items are resampled alike on both sides.
        floor = evidence.of_real(f"{name} floor", lambda: measure(reserve, real, evidence.rng(name)))
        return Found(value, floor, len(real), len(made))

    return of
