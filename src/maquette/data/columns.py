"""Columns of a prepared table: stored compactly, canonical when taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.spec import PAD, ColumnSpec


@dataclass(frozen=True)
class Fixed:
    """Items of one shape: rows of a stored array, made canonical by the modality of the column.

    array: [M, ...], in memory or mapped      rows: i64[N], the place of each row of this column in it
    """

    spec: ColumnSpec
    array: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> None:
        return None

    def take(self, rows: np.ndarray) -> Tensor:
        return find_modality(self.spec.kind).canonical(self.array[self.rows[rows]])

    def stored(self, row: int) -> np.ndarray:
        return np.asarray(self.array[self.rows[row]])

    def some(self, rows: np.ndarray) -> Fixed:
        return replace(self, rows=self.rows[rows])


@dataclass(frozen=True)
class Endless(Fixed):
    """Items that are made anew for each pass: row + p * N is what that row shows in pass p, where p = 0 is as stored.

    make: place in the array, pass from 1 on -> an item as it is stored
    """

    make: Callable[[int, int], np.ndarray]

    def take(self, rows: np.ndarray) -> Tensor:
        passes, rows = np.divmod(rows, len(self))
        if not passes.any():
            return super().take(rows)
        found = zip(self.rows[rows].tolist(), passes.tolist(), strict=True)
        items = [self.make(place, number) if number else self.array[place] for place, number in found]
        return find_modality(self.spec.kind).canonical(np.stack(items))


@dataclass(frozen=True)
class Ragged:
    """Sequences of any length, each a stretch of one array of tokens.

    array: [T], in memory or mapped       first, sizes: i64[N], where each item begins and how long it is
    equal: whether all items are of one length
    """

    spec: ColumnSpec
    array: np.ndarray
    first: np.ndarray
    sizes: np.ndarray
    equal: bool = False

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lengths(self) -> np.ndarray | None:
        return None if self.equal else self.sizes

    def stored(self, row: int) -> np.ndarray:
        return self.array[self.first[row] : self.first[row] + self.sizes[row]]

    def some(self, rows: np.ndarray) -> Ragged:
        return replace(self, first=self.first[rows], sizes=self.sizes[rows])

    def take(self, rows: np.ndarray) -> Tensor:
        """i64[B, L], padded with PAD to the longest of these rows; a row without tokens is PAD alone."""
        first, sizes = self.first[rows], self.sizes[rows]
        longest = int(sizes.max(initial=0))
        if self.equal:
            made = self.array[first[:, None] + np.arange(longest)]
        else:
            made = np.full((len(first), max(1, longest)), PAD, self.array.dtype)
            for i, (start, size) in enumerate(zip(first.tolist(), sizes.tolist(), strict=True)):
                made[i, :size] = self.array[start : start + size]
        return find_modality(self.spec.kind).canonical(made)
