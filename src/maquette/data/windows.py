"""Windows: a view on columns of long sequences, in which each row is a stretch of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maquette.data.names import Names

LEAST = 2  # tokens, below which there is nothing to predict


@dataclass(frozen=True)
class Windows:
    """item: i64[N], the sequence that each window is of; first, sizes: i64[N], where it begins among all tokens."""

    item: np.ndarray
    first: np.ndarray
    sizes: np.ndarray

    @property
    def equal(self) -> bool:
        return len(self.sizes) > 0 and bool((self.sizes == self.sizes[0]).all())


def windows(offsets: np.ndarray, items: np.ndarray, size: int, stride: int, whole: bool) -> Windows:
    """Windows of `size` tokens, `stride` apart, over each of these sequences on its own.

    offsets: i64[M+1], sequence i is tokens offsets[i] .. offsets[i+1]; items: i64, the sequences
    whole: all windows have `size` tokens, the last one ending where its sequence does. Otherwise the last one is as
           long as what is left: with stride == size - 1, every token but the first is predicted exactly once.
    A sequence shorter than a window is one window.
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for item in items.tolist():
        start, length = int(offsets[item]), int(offsets[item + 1] - offsets[item])
        if length < LEAST:
            continue
        if whole:
            last = max(0, length - size)
            first = np.arange(0, last + 1, stride)
            first = first if first[-1] == last else np.append(first, last)
        else:
            first = np.arange(0, max(1, length - (size - stride)), stride)
        found.append((np.full(len(first), item), start + first, np.minimum(size, length - first)))
    if not found:
        return Windows(*(np.zeros(0, np.int64),) * 3)
    item, first, sizes = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    return Windows(item, first, sizes)


@dataclass(frozen=True)
class WindowNames(Names):
    """Where each window came from, put together when it is asked: "input.txt token 4096".

    names: of the sequences; item, token: i64[N], the sequence of each window, and where in it the window begins
    """

    names: Sequence[str]
    item: np.ndarray
    token: np.ndarray

    def __len__(self) -> int:
        return len(self.item)

    def name(self, row: int) -> str:
        return f"{self.names[int(self.item[row])]} token {int(self.token[row])}"
