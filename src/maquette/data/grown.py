"""Data that has changed since a run began: what the run held out is never learned from, nor the other way round."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from maquette.core.errors import UserError
from maquette.core.parse import COPY_OF_RUN
from maquette.core.spec import ClassSpec, DataSpec, NumberSpec
from maquette.core.table import Column, Dataset, Table
from maquette.data.cache import Cache
from maquette.data.columns import Ragged
from maquette.data.open import tables
from maquette.data.store import Some, digests_of

LEAST = 16  # tokens that windows must have in common to be known again, or a quarter of a window if that is more

Rows = Mapping[str, str]  # of each side of a data set, the rows that are used: a packed bool[N]


def prepared_before(fingerprint: str, rows: Rows | None) -> Dataset | None:
    """The data set of that fingerprint, as far as this machine has it prepared still; rows: those that were used."""
    found = Cache().of(fingerprint)
    return None if found is None else only(tables(found, ""), rows)


def apart(dataset: Dataset, before: Sequence[Dataset], spec: DataSpec) -> dict[str, str]:
    """The rows of a data set that are on the side where they were, if they were in one of the sets before."""

    def used(table: Table, others: list[Table]) -> str:
        known = [holds(table, other, spec) for other in others]
        return _packed(~np.logical_or.reduce([np.zeros(len(table), bool), *known]))

    held = [table for old in before for table in {id(t): t for t in (old.test, *old.splits.values())}.values()]
    learned = [old.train for old in before]
    sides = {"train": used(dataset.train, held), "test": used(dataset.test, learned)}
    return sides | {f"split {name}": used(table, learned) for name, table in dataset.splits.items()}


def only(dataset: Dataset, rows: Rows | None) -> Dataset:
    """The data set without the rows that are not used."""
    if not rows:
        return dataset
    try:
        train, test = (_some(getattr(dataset, side), rows[side]) for side in ("train", "test"))
        splits = {name: _some(table, rows[f"split {name}"]) for name, table in dataset.splits.items()}
    except (KeyError, ValueError, zlib.error):
        raise UserError("The run does not say which rows of its data it uses: 'rows' in data.json is damaged.",
                        COPY_OF_RUN) from None  # fmt: skip
    if not len(train) or not len(test):
        side = "be learned from was held out" if not len(train) else "be held out was learned from"
        raise UserError(f"All of what is to {side} before the data changed.", "Train a new run on it.")
    return dataclasses.replace(dataset, train=train, test=test, splits=splits)


def holds(table: Table, other: Table, spec: DataSpec) -> np.ndarray:
    """bool[N], whether the other table has each row: what it makes of it is equal; of windows, whether they have a long
    run of tokens in common."""
    if not len(table) or not len(other):
        return np.zeros(len(table), bool)
    if table.spans is not None and other.spans is not None:
        return _overlaps(table, other, spec.only_name)
    telling = [name for name, column in spec.columns.items() if not isinstance(column, ClassSpec | NumberSpec)]
    names = [n for n in spec.target if n in telling] or [n for n in spec.given if n in telling] or [*spec.columns]
    return np.asarray(np.isin(_digests(table, names), _digests(other, names)))


def _digests(table: Table, names: Sequence[str]) -> np.ndarray:
    """u64[N], of what is stored in these columns of each row."""
    total = np.zeros(len(table), np.uint64)
    for name in names:
        items: list[np.ndarray] = [table.columns[name].stored(row) for row in range(len(table))]
        total = total * np.uint64(0x9E3779B97F4A7C15) + digests_of(items)
    return total


def _overlaps(table: Table, other: Table, name: str) -> np.ndarray:
    ours, theirs = (_tokens(one.columns[name]) for one in (table, other))
    assert table.spans is not None and other.spans is not None
    size = max(LEAST, int(np.diff(table.spans, axis=1).max()) // 4)
    passages = np.zeros(len(theirs) + 1, np.int64)  # where the other table has windows
    np.add.at(passages, other.spans[:, 0], 1)
    np.add.at(passages, other.spans[:, 1], -1)
    inside = np.concatenate([[0], np.cumsum(np.cumsum(passages)[:-1] > 0)])
    whole = inside[size:] - inside[:-size] == size if len(inside) > size else np.zeros(0, bool)
    starts = np.flatnonzero(np.isin(_runs(ours, size), _runs(theirs, size)[whole]))
    met = np.zeros(len(ours) + 1, np.int64)
    met[starts] += 1
    met[starts + size] -= 1
    common = np.concatenate([[0], np.cumsum(np.cumsum(met)[:-1] > 0)])
    return np.asarray(common[table.spans[:, 1]] > common[table.spans[:, 0]])


def _tokens(column: Column) -> np.ndarray:
    """Those of all sequences, one after the other."""
    assert isinstance(column, Ragged)
    return column.array


def _runs(tokens: np.ndarray, size: int) -> np.ndarray:
    """u64[T - size + 1], a hash of each run of so many tokens."""
    count = max(0, len(tokens) - size + 1)
    made = np.zeros(count, np.uint64)
    for k in range(size):
        made = made * np.uint64(0x9E3779B97F4A7C15) + tokens[k : k + count].astype(np.uint64) + np.uint64(1)
    return made


def _some(table: Table, packed: str) -> Table:
    # A run may come from anywhere: no more is unpacked than there are rows, and no less.
    size = -(-len(table) // 8)
    bits = np.frombuffer(zlib.decompressobj().decompress(base64.b64decode(packed), size + 1), np.uint8)
    if len(bits) != size:
        raise ValueError
    rows = np.flatnonzero(np.unpackbits(bits, count=len(table)))
    columns = {name: column.some(rows) for name, column in table.columns.items()}
    spans = None if table.spans is None else table.spans[rows]
    return dataclasses.replace(table, columns=columns, names=Some(table.names, rows), spans=spans)


def _packed(used: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.packbits(used).tobytes())).decode("ascii")
