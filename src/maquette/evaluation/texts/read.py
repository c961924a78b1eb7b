"""Texts out of a table: items decoded, and windows of one long text joined into the passages they were cut from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.spec import PAD, ColumnSpec
from maquette.core.table import Table

CHUNK = 1024

Write = Callable[[dict[str, Tensor]], Tensor]
"""Given tensors i64[B, S] -> the best target tokens i64[B, T], by a search for them (beam search)."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a table's text. row: the first that it was read from."""

    text: str
    row: int


@dataclass(frozen=True)
class Tokens:
    """A stretch of one long text, i64[N], and the row of the table that it begins in."""

    tokens: Tensor
    row: int


def decoder(spec: ColumnSpec) -> Callable[[Tensor], str]:
    """Tokens i64[T] -> text, reserved tokens left out."""
    decode = find_modality("text").decode  # type: ignore[attr-defined]
    return lambda tokens: decode(tokens, spec)


def pieces(tokens: Tensor, spec: ColumnSpec) -> list[str]:
    """What each token stands for, as a person may read it; one string a token."""
    return list(find_modality("text").pieces(tokens, spec))  # type: ignore[attr-defined]


def decoded(items: Iterable[Tensor], spec: ColumnSpec) -> list[str]:
    """Texts of i64[T] items."""
    decode = decoder(spec)
    return [decode(item) for item in items]


def texts_of(table: Table, column: str, rows: np.ndarray) -> list[str]:
    """Texts of these rows."""
    found = table.columns[column]
    return [text for part in _parts(rows) for text in decoded(found.take(part), found.spec)]


def tokenizer_identity(spec: ColumnSpec) -> str:
    """Names the tokens that numbers per token rest on, e.g. "char-72-5b1c..."."""
    return f"{spec.unit or 'tokens'}-{spec.vocab}-{hashlib.blake2b(spec.tokenizer.encode(), digest_size=4).hexdigest()}"


def text_digest(table: Table, column: str) -> str:
    """Digest of the text itself, whatever tokens it is in: of its first 2^k characters, as many as there are at most.

    Windows of another size leave other tokens over at the end, which a power of two mostly hides.
    """
    text = "".join(passage.text for passage in passages(table, column, 1 << 20))[: 1 << 20]
    size = 1 << max(len(text).bit_length() - 1, 0)
    return hashlib.blake2b(text[:size].encode("utf-8", "replace"), digest_size=8).hexdigest() if text else ""


def passages(table: Table, column: str, most: int) -> Iterator[Passage]:
    """All of the text, each stretch of it once, until `most` characters have been read.

    Items of their own are passages; windows are joined where they continue one another.
    """
    spec = table.columns[column].spec
    decode, size = decoder(spec), 0
    if spec.framed:
        for start in range(0, len(table), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(table)))
            for row, item in zip(rows, table.columns[column].take(rows), strict=True):
                text = decode(item)
                size += len(text)
                yield Passage(text, int(row))
            if size >= most:
                return
        return
    for part in joined(table, column, most):
        yield Passage(decode(part.tokens), part.row)


def joined(table: Table, column: str, most: int | None = None) -> Iterator[Tokens]:
    """Windows i64[L] of a table, joined wherever one continues the other.

    Windows overlap, and many may begin inside one another (Table.overlap), so only each so-manieth is read:
    as far apart as still leaves one token in common, by which the joint is checked. Where it does not fit,
    because another document begins, the rows in between are joined one by one. most: characters, about.
    """
    rows, stride = _rows_apart(table, column)
    parts: list[Tensor] = []
    first, size = 0, 0
    before: tuple[int, Tensor] | None = None

    def done() -> Tokens:
        return Tokens(torch.cat(parts), first)

    for chunk in _parts(rows):
        for row, window in zip(chunk.tolist(), _windows(table, column, chunk), strict=True):
            between = [(row, window)]
            if before is not None and _rest(before[1], window, (row - before[0]) * stride) is None:
                skipped = np.arange(before[0] + 1, row)
                between = [*zip(skipped.tolist(), _windows(table, column, skipped), strict=True), *between]
            for at, one in between:
                rest = None if before is None else _rest(before[1], one, (at - before[0]) * stride)
                if rest is None:
                    if parts:
                        yield done()
                    parts, first, rest = [], at, one
                parts.append(rest)
                size += len(rest)
                before = (at, one)
        if most is not None and size >= most:
            break
    if parts:
        yield done()


def _rows_apart(table: Table, column: str) -> tuple[np.ndarray, int]:
    """Rows that together hold the whole text with little in common, and tokens from one row to the next."""
    if len(table) < 2:
        return np.arange(len(table)), 1
    a, b = _windows(table, column, np.array([0, 1]))
    length = len(a)
    stride = next((s for s in range(1, length) if torch.equal(a[s:], b[: length - s])), length)
    step = max(1, (length - 1) // stride)
    rows = np.arange(0, len(table), step)
    return (rows if rows[-1] == len(table) - 1 else np.append(rows, len(table) - 1)), stride


def _rest(before: Tensor, window: Tensor, moved: int) -> Tensor | None:
    """What `window` adds to the one before it, from which it was moved; None if it does not continue it."""
    common = len(before) - moved
    if common < 1 or len(window) < common or not torch.equal(before[moved:], window[:common]):
        return None
    return window[common:]


def _windows(table: Table, column: str, rows: np.ndarray) -> list[Tensor]:
    if not len(rows):
        return []
    return [item[item != PAD] for item in table.columns[column].take(rows)]


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
