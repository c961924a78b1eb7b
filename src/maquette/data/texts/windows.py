"""Columns of tokens: rows of a table, or windows of a long text; and where each of them came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.spec import PAD, ColumnSpec
from maquette.data.texts.material import place

TIMES = 16  # windows of the training split that show the same token


@dataclass(frozen=True)
class Tokens:
    """A column of texts, each a stretch of one array of tokens.

    tokens: u16 or u32 [M], in memory or mapped       first, sizes: i64[N], where each item begins and how long it is
    equal:  whether all items are of one length
    """

    spec: ColumnSpec
    tokens: np.ndarray
    first: np.ndarray
    sizes: np.ndarray
    equal: bool = False

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lengths(self) -> np.ndarray | None:
        return None if self.equal else self.sizes

    def take(self, rows: np.ndarray) -> Tensor:
        """i64[B, T], padded with PAD to the longest of these rows."""
        first, sizes = self.first[rows], self.sizes[rows]
        longest = int(sizes.max(initial=0))
        if self.equal:
            made = self.tokens[first[:, None] + np.arange(longest)]
        else:
            made = np.full((len(first), longest), PAD, self.tokens.dtype)
            for i, (start, size) in enumerate(zip(first.tolist(), sizes.tolist(), strict=True)):
                made[i, :size] = self.tokens[start : start + size]
        return find_modality("text").canonical(made)


@dataclass(frozen=True)
class Windows:
    """Windows of long texts. item: i64[N], the text that each is of; first, sizes: i64[N] within the tokens."""

    item: np.ndarray
    first: np.ndarray
    sizes: np.ndarray

    @property
    def equal(self) -> bool:
        return len(self.sizes) > 0 and bool((self.sizes == self.sizes[0]).all())


def stride_of(context: int) -> int:
    """Tokens from one training window to the next."""
    return max(1, context // TIMES)


def overlap_of(context: int) -> int:
    """Training windows that show the same token."""
    return max(1, context // stride_of(context))


def windows(offsets: np.ndarray, items: np.ndarray, context: int, stride: int) -> Windows:
    """Windows of context + 1 tokens, `stride` apart, over each of these texts on its own.

    offsets: i64[M+1], text i is tokens offsets[i] .. offsets[i+1]. With stride == context every token but the first
    of a text is predicted exactly once, and the last window is as long as what is left. With a smaller stride all
    windows are whole, the last one ending where the text does. A text shorter than a window is one window.
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for item in items.tolist():
        start, size = int(offsets[item]), int(offsets[item + 1] - offsets[item])
        if size < 2:
            continue
        if stride == context:
            first = np.arange(0, size - 1, context)
        else:
            last = max(0, size - (context + 1))
            first = np.arange(0, last + 1, stride)
            first = first if first[-1] == last else np.append(first, last)
        found.append((np.full(len(first), item), start + first, np.minimum(context + 1, size - first)))
    if not found:
        return Windows(*(np.zeros(0, np.int64),) * 3)
    item, first, sizes = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    return Windows(item, first, sizes)


@dataclass(frozen=True)
class Places(Sequence[str]):
    """Where each row came from, put together when it is asked: "train.en:12", "input.txt token 4096".

    files: names; file: i32[M] and line: i64[M] of each item; item: i64[N] of each row; token: i64[N] or None
    """

    files: Sequence[str]
    file: np.ndarray
    line: np.ndarray
    item: np.ndarray
    token: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.item)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        item = int(self.item[i])
        name = place(self.files[self.file[item]], int(self.line[item]))
        return name if self.token is None else f"{name} token {int(self.token[i])}"
