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
    def spec(self) -> ColumnSpec: ...

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Tensor:
        """Canonical tensors of these rows (i64[B] -> f32[B, C, H, W] in [-1, 1] for an image)."""
        ...


@dataclass(frozen=True)
class Table:
    """Columns of one length; `names` says where each row came from (a path inside the source)."""

    columns: dict[str, Column]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

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

    source:      what the user named (a path, or a name such as "digits")
    fingerprint: digest of the content and of how it was prepared
    train, test: tables split by content, so that no duplicate straddles them
    summary:     JSON-able facts for people: counts, sizes, classes, what was left out and why
    """

    source: str
    fingerprint: str
    train: Table
    test: Table
    summary: dict[str, Any] = field(default_factory=dict)

    def spec(self, target: Sequence[str], given: Sequence[str]) -> DataSpec:
        """The specification of p(target | given) on this data."""
        columns = {name: self.train.columns[name].spec for name in (*target, *given)}
        return DataSpec(columns=columns, target=tuple(target), given=tuple(given))
