"""Where the distances are measured: a network that turns pictures into features, and how it reads a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maquette.core.table import Column
from maquette.evaluation.bootstrap import Array


@dataclass(frozen=True)
class Seen:
    """What a network saw in n pictures.

    features: f64[n, D]      classes: i64[n], the most likely class, when the network is a classifier
    """

    features: Array
    classes: NDArray[np.int64] | None = None


class FeatureNetwork(Protocol):
    """name: "own" or "inception"; identity: kind, version and digest, so that numbers can be told apart."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def see(self, images: Iterator[Tensor]) -> Seen:
        """Chunks f32[B, C, H, W] in [-1, 1] -> features (and classes) of all of them."""
        ...


def chunks(column: Column, rows: NDArray[np.int64] | None = None, size: int = 500) -> Iterator[Tensor]:
    """Canonical tensors of these rows (all when None), a few at a time."""
    rows = np.arange(len(column)) if rows is None else rows
    for start in range(0, len(rows), size):
        yield column.take(rows[start : start + size])


def batches(images: Tensor, size: int = 500) -> Iterator[Tensor]:
    return (images[start : start + size] for start in range(0, len(images), size))
