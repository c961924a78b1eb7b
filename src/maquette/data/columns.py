"""Columns of a prepared table: stored compactly, canonical when taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.spec import ColumnSpec


@dataclass(frozen=True)
class Stored:
    """Rows of a stored array, made canonical by the modality of the column.

    array: u8[M, C, H, W] of pictures (in memory or mapped), i32[M] of labels
    rows:  i64[N], the place of each row of this column in `array`
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
