"""Prepared items as they are kept: plain arrays in one folder, large ones mapped into memory.

<k>.bin        all items of column k: one shape, or, of sequences, their tokens one after the other
<k>-ends.bin   i64[M+1], where each sequence begins
names.bin, names-ends.bin      where each row came from, as UTF-8
train.bin, test.bin, split-<i>.bin      i64, rows of each side
table.json     specifications, names of columns and splits, type and shape of each array
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.data.names import Names

IN_MEMORY_BYTES = 64 * 2**20


@dataclass
class Stored:
    """The items of a column.

    values: [M, ...], or [T] of sequences; ends: i64[M+1] of sequences, where each begins
    """

    values: np.ndarray
    ends: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values) if self.ends is None else len(self.ends) - 1

    @property
    def lengths(self) -> np.ndarray | None:
        return None if self.ends is None else np.diff(self.ends)


@dataclass(frozen=True)
class StoredNames(Names):
    """Many names in little memory: UTF-8, one after the other."""

    stored: Stored

    @classmethod
    def of(cls, names: Sequence[str]) -> StoredNames:
        parts = [name.encode() for name in names]
        ends = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return cls(Stored(np.frombuffer(b"".join(parts), np.uint8), ends))

    def __len__(self) -> int:
        return len(self.stored)

    def name(self, row: int) -> str:
        assert self.stored.ends is not None
        return self.stored.values[self.stored.ends[row] : self.stored.ends[row + 1]].tobytes().decode()


@dataclass(frozen=True)
class Some(Names):
    """Some of many names, in an order of their own."""

    names: Sequence[str]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, row: int) -> str:
        return self.names[int(self.rows[row])]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


@dataclass
class Prepared:
    """A prepared data set of M rows.

    content:     digest of what was prepared, and how         fingerprint: digest of what came of it
    specs, items: of every column                             names: where each row came from
    train, test, splits: i64, rows of each side; splits by the names that the data gives them
    summary:     facts about what was prepared                source: facts about the source as it was found
    """

    content: str
    fingerprint: str
    specs: dict[str, ColumnSpec]
    items: dict[str, Stored]
    names: Sequence[str]
    train: np.ndarray
    test: np.ndarray
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)


# -- encoded chunks ----------------------------------------------------------------------------------


@dataclass
class Packed:
    """Encoded items of a chunk, as they travel from a worker.

    values: [n, ...], or the tokens of n sequences; None where no item is good. lengths: i64[n] of sequences
    digests: u64[n], of each item                     failed: place in the chunk -> reason
    """

    values: np.ndarray | None
    lengths: np.ndarray | None
    digests: np.ndarray
    failed: dict[int, str]


def pack(items: Sequence[np.ndarray | Unreadable | None], ragged: bool) -> Packed:
    """Items of one shape, or sequences; what is Unreadable or None takes no place among sequences, and
    NaN or zeros else."""
    failed = {i: str(item) for i, item in enumerate(items) if isinstance(item, Unreadable)}
    good = [np.asarray(item) for item in items if not (item is None or isinstance(item, Unreadable))]
    digests = np.zeros(len(items), np.uint64)
    there = [i for i, item in enumerate(items) if not (item is None or isinstance(item, Unreadable))]
    digests[there] = digests_of(good)
    if ragged:
        lengths = np.zeros(len(items), np.int64)
        lengths[there] = [len(item) for item in good]
        return Packed(np.concatenate(good) if good else None, lengths, digests, failed)
    if not good:
        return Packed(None, None, digests, failed)
    if len(good) == len(items):
        return Packed(np.stack(good), None, digests, failed)
    values = _nothing((len(items), *good[0].shape), good[0].dtype)
    values[there] = good
    return Packed(values, None, digests, failed)


def digests_of(items: Sequence[np.ndarray]) -> np.ndarray:
    """u64[n]."""
    import hashlib

    joined = b"".join(hashlib.blake2b(np.ascontiguousarray(item).data, digest_size=8).digest() for item in items)
    return np.frombuffer(joined, "<u8")


# -- files -------------------------------------------------------------------------------------------


class Sink(Protocol):
    """Takes values in order, without holding more than it must."""

    def add(self, values: np.ndarray) -> None: ...

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """Everything that was added."""
        ...

    def close(self) -> None: ...


class MemorySink:
    """Keeps values in memory: the way out when the cache cannot be written."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        self._parts.append(values.reshape(-1))

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        self._parts = [np.concatenate([np.zeros(0, dtype), *self._parts])]
        return self._parts[0].reshape(shape)

    def close(self) -> None:
        pass


class FileSink:
    """Writes values to a file. Plain writes, not a map: a full disk is then an error and not a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")

    def add(self, values: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(values).data)

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return read_array(self._path, dtype, shape)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


class Writer:
    """Puts packed chunks one after the other."""

    def __init__(self, sink: Sink, ragged: bool) -> None:
        self._sink, self._ragged = sink, ragged
        self._like: np.ndarray | None = None  # of one item, or of no token
        self._owed = 0  # items that failed before the first good one
        self._count = 0
        self._lengths = [np.zeros(0, np.int64)]

    def add(self, packed: Packed) -> None:
        n = len(packed.digests)
        if packed.values is not None and self._like is None:
            self._like = packed.values[:0]
            if not self._ragged:
                self._skip(self._owed)
        if self._ragged:
            assert packed.lengths is not None
            self._lengths.append(packed.lengths)
            if packed.values is not None:
                self._sink.add(packed.values.astype(self._like.dtype, copy=False))  # type: ignore[union-attr]
        elif packed.values is not None:
            self._sink.add(packed.values)
        elif self._like is not None:
            self._skip(n)
        else:
            self._owed += n
        self._count += n

    def stored(self) -> Stored:
        like = np.zeros(0, np.uint8) if self._like is None else self._like
        if not self._ragged:
            return Stored(self._sink.array(like.dtype, (self._count if self._like is not None else 0, *like.shape[1:])))
        ends = np.concatenate([[0], np.cumsum(np.concatenate(self._lengths))]).astype(np.int64)
        return Stored(self._sink.array(like.dtype, (int(ends[-1]),)), ends)

    def _skip(self, n: int) -> None:
        if n:
            assert self._like is not None
            self._sink.add(_nothing((n, *self._like.shape[1:]), self._like.dtype))


def _nothing(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What stands where there is no item: NaN, by which networks know what is missing, or zeros of whole numbers."""
    return np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)


def write_array(path: Path, array: np.ndarray) -> list[Any]:
    """Writes an array; returns what `read_array` needs to know of it."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        file.write(array.data)  # plain writes tell a full disk by its number
    return [array.dtype.str, list(array.shape)]


def read_array(path: Path, dtype: np.dtype | str, shape: Sequence[int]) -> np.ndarray:
    """An array of the cache: small ones in memory, large ones mapped. Raises ValueError where the file is damaged."""
    kind, size = np.dtype(dtype), path.stat().st_size
    if size != kind.itemsize * math.prod(shape):
        raise ValueError(f"'{path}' has {size:,} bytes")
    if size < IN_MEMORY_BYTES:
        return np.fromfile(path, kind).reshape(tuple(shape))
    return np.memmap(path, kind, "r", shape=tuple(shape))
