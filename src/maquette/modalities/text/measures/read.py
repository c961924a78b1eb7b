"""Texts out of a table: items decoded, and windows of one long text joined into the passages they were cut from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.spec import PAD, ColumnSpec
from maquette.core.table import Table

CHUNK = 1024


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
    decode = find_modality("text").decode
    return lambda tokens: decode(tokens, spec)


def pieces(tokens: Tensor, spec: ColumnSpec) -> list[str]:
    """What each token stands for, as a person may read it; one string a token."""
    return list(find_modality("text").pieces(tokens, spec))


def apart(preview: str, captioned: bool) -> list[tuple[str, str]]:
    """(caption, text) of each text of a preview."""
    return list(find_modality("text").apart(preview, captioned))


def decoded(items: Iterable[Tensor], spec: ColumnSpec) -> list[str]:
    """Texts of i64[T] items."""
    decode = decoder(spec)
    return [decode(item) for item in items]


def texts_of(table: Table, column: str, rows: np.ndarray) -> list[str]:
    """Texts of these rows."""
    found = table.columns[column]
    return [text for part in _parts(rows) for text in decoded(found.take(part), found.spec)]


def text_digest(table: Table, column: str) -> str:
    """Digest of the text itself, whatever tokens it is in: of its first 2^k characters, as many as there are at most.

    Windows of another size leave other tokens over at the end, which a power of two mostly hides.
    """
    text = "".join(passage.text for passage in passages(table, column, 1 << 20))[: 1 << 20]
    size = 1 << max(len(text).bit_length() - 1, 0)
    return hashlib.blake2b(text[:size].encode("utf-8", "replace"), digest_size=8).hexdigest() if text else ""


def where(table: Table, row: int, line: int, character: int) -> str:
    """Where a place in the passage that begins with this row is to be found, for people.

    An item of its own is named well enough; in a long text it takes the line and the character.
    """
    name = str(table.names[row])
    if table.spans is None:
        return name
    return f"{name.removesuffix(' token 0')}, line {line:,}, character {character:,}"


def passages(table: Table, column: str, most: int) -> Iterator[Passage]:
    """All of the text, each stretch of it once, until `most` characters have been read.

    Items of their own are passages; windows are joined into the text that they were cut from.
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
    """Windows i64[L] of a table, joined into the texts that they were cut from. most: tokens, about.

    Windows overlap, and many may begin inside one another, so only as many are read as together hold the text.
    """
    size = 0
    for rows, known in _texts(table):
        parts: list[Tensor] = []
        for part in _parts(np.arange(len(rows))):
            for window, skip in zip(_windows(table, column, rows[part]), known[part].tolist(), strict=True):
                parts.append(window[skip:])
                size += len(parts[-1])
            if most is not None and size >= most:
                break
        yield Tokens(torch.cat(parts), int(rows[0]))
        if most is not None and size >= most:
            return


def _texts(table: Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each text: rows i64[K] that together hold it, and how many of its first tokens each shares with the last."""
    if table.spans is None:
        yield from ((np.array([row]), np.zeros(1, np.int64)) for row in range(len(table)))
        return
    if not len(table):
        return
    begin, end = table.spans.T
    another = np.flatnonzero((begin[1:] >= end[:-1]) | (begin[1:] <= begin[:-1])) + 1
    for first, stop in pairwise([0, *another.tolist(), len(table)]):
        rows = [first]
        while rows[-1] < stop - 1:
            # The last row that begins where this one ends, or before.
            reached = first + int(np.searchsorted(begin[first:stop], end[rows[-1]], side="right")) - 1
            rows.append(max(reached, rows[-1] + 1))
        some = np.array(rows)
        yield some, np.concatenate([[0], end[some[:-1]] - begin[some[1:]]]).astype(np.int64)


def _windows(table: Table, column: str, rows: np.ndarray) -> list[Tensor]:
    return [item[item != PAD] for item in table.columns[column].take(rows)]


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
