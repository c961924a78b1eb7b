"""The prepared data as everyone but the data room sees it: columns that yield canonical tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.spec import ColumnSpec, DataSpec


class Column(Protocol):
    """One column of a table: decoded once, stored compactly, canonical when taken."""

    @property
    def spec(self) -> ColumnSpec:
        """What the column is."""
        ...

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray | None:
        """Length of each item, i64[N], where items differ in length; None where they do not."""
        ...

    def take(self, rows: np.ndarray) -> Tensor:
        """Canonical tensors of these rows (i64[B] -> f32[B, C, H, W] in [-1, 1] for a grid)."""
        ...

    def stored(self, row: int) -> np.ndarray:
        """One item as it is kept."""
        ...

    def some(self, rows: np.ndarray) -> Column:
        """These rows alone, i64[M]."""
        ...


@dataclass(frozen=True)
class Table:
    """Columns of one length; `names` says where each row came from (a path inside the source).

    overlap: how many rows show the same thing: windows of a long sequence begin at many places, and one pass
             over the sequence is only a part of them
    spans:   where each row begins and ends among the tokens of all sequences, one after the other, i64[N, 2], of rows
             that are windows: rows with a token in common are of the same sequence. None: each row stands for itself
    endless: whether row + p * N is a row, too: the same one as it is made anew for pass p over the table
    """

    columns: dict[str, Column]
    names: Sequence[str]
    overlap: int = 1
    spans: np.ndarray | None = None
    endless: bool = False

    def __len__(self) -> int:
        return len(self.names)

    @property
    def items(self) -> int:
        """Rows that make one pass over the data."""
        return -(-len(self) // self.overlap)

    def lengths(self, spec: DataSpec) -> np.ndarray | None:
        """Length of each row over the columns of `spec`, i64[N], to be batched with its like; None: all are alike.

        Ordered by the first column that varies, with the others to break ties.
        """
        found = [self.columns[name].lengths for name in (*spec.target, *spec.given)]
        varying = [lengths for lengths in found if lengths is not None]
        total = None
        for lengths in varying:
            total = lengths if total is None else total * (int(lengths.max(initial=0)) + 1) + lengths
        return total

    def batch(self, rows: np.ndarray | Sequence[int], spec: DataSpec) -> Batch:
        """These rows as a Batch with the target and given columns of `spec`, on the CPU."""
        rows = np.asarray(rows, dtype=np.int64)
        return Batch(
            {name: self.columns[name].take(rows) for name in spec.target},
            {name: self.columns[name].take(rows) for name in spec.given},
            len(rows),
        )


@dataclass(frozen=True)
class Dataset:
    """A prepared data set.

    source:      the name of what the user named: of a path its last part
    fingerprint: digest of the content and of how it was prepared
    train, test: tables split by content, so that no duplicate straddles them
    splits:      further tables that the data itself names, such as "val"; what --data may name
    summary:     JSON-able facts for people: counts, sizes, classes, what was left out and why
    """

    source: str
    fingerprint: str
    train: Table
    test: Table
    summary: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Table] = field(default_factory=dict)

    def spec(self, target: Sequence[str], given: Sequence[str]) -> DataSpec:
        """The specification of p(target | given) on this data."""
        columns = {name: self.train.columns[name].spec for name in (*target, *given)}
        return DataSpec(columns=columns, target=tuple(target), given=tuple(given))
