"""Files that hold several items each, taken apart: every item becomes a row, all those of a file on one side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from maquette.core.counts import counted
from maquette.core.data_config import DataConfig
from maquette.core.modality import Unreadable, noun
from maquette.data.chunks import chunks
from maquette.data.parallel import in_order
from maquette.data.raw import Cell, File, Files
from maquette.data.survey import CHUNK, MANY, Chosen, Looked, Survey, refuse_if_strict

LAST = np.uint64(1)  # tells the end of a file that stands alone from its beginning


def take_apart(found: Survey, config: DataConfig) -> None:
    """Rows whose files hold several items, as the modality says (`parts`), as a row for each of them.

    Other columns of such a row hold of each. Files of one row with different numbers of items leave it out. The items
    of a file count as one content, so they are never on both sides of a split; but of one file alone, the last share
    of `config.test_share` is held out.
    """
    counts = {name: _counts(found.columns[name]) for name in found.use.content}
    most = np.max(list(counts.values()), axis=0) if counts else np.ones(0, np.int64)
    if (most <= 1).all():
        return
    out: dict[int, tuple[str, str]] = {}
    for count in counts.values():
        for row in np.flatnonzero((count > 1) & (count < most)).tolist():
            out[row] = (found.names[row], f"its files hold {count[row]} and {most[row]} items")
    rows = np.repeat(np.arange(len(found)), np.where(np.isin(np.arange(len(found)), [*out]), 0, most))
    number = np.arange(len(rows)) - np.searchsorted(rows, rows)
    alone = len(found) == 1
    found.found += len(rows) + len(out) - len(found)
    names = list(found.names)
    found.keep(rows.tolist())
    found.names = [
        f"{names[row]}#{k + 1}" if most[row] > 1 else names[row] for row, k in zip(rows, number, strict=True)
    ]
    end = number >= np.ceil(most[rows] * (1 - config.test_share))
    for name, count in counts.items():
        column = found.columns[name]
        if alone:
            column.digests = column.digests ^ np.where(end, LAST, np.uint64(0))
        if isinstance(column.cells, Chosen):
            column.cells.parts = np.where(count[rows] > 1, number, 0).tolist()
        for row, fact in _facts(column, number):
            if isinstance(fact, str):
                out.setdefault(len(names) + row, (found.names[row], found.reason(name, fact)))
            else:
                column.facts[row] = fact
    if alone:
        things = noun(found.use.thing)
        found.notes.append(
            f"All {things} come from one file: its last {counted(int(end.sum()), 'is', 'are')} held out."
        )
    found.left_out += [out[row] for row in sorted(out)]
    refuse_if_strict([out[row] for row in sorted(out)], config.strict)
    found.keep([row for row in range(len(rows)) if len(names) + row not in out])


def _counts(column: Looked) -> np.ndarray:
    """How many items each cell of a column holds, i64."""
    parts = column.optional("parts")
    if parts is None or not isinstance(getattr(column.cells, "cells", None), Files):
        return np.ones(len(column.facts), np.int64)
    files = len(column.facts)
    return np.array([1 if fact is None else parts(fact, column.config, files) for fact in column.facts], np.int64)


def _facts(column: Looked, number: np.ndarray) -> Iterator[tuple[int, object]]:
    """What is known of each item but the first of a file, which was looked at; or why it cannot be used."""
    parts = column.cells.parts if isinstance(column.cells, Chosen) else None
    rows = [] if parts is None else np.flatnonzero(parts).tolist()
    look, config = column.optional("examine"), column.config
    there = deque[Sequence[int]]()

    def examined(cells: list[Cell]) -> list[object]:
        made: list[object] = []
        for cell in cells:
            try:
                made.append(look(cell, config) if isinstance(cell, File) else None)
            except Unreadable as error:
                made.append(str(error))
        return made

    def tasks() -> Iterator[list[Cell]]:
        for some, cells in chunks(column.cells, rows, CHUNK, files=True):
            there.append(some)
            yield cells

    for made in in_order(examined, tasks(), len(rows) >= MANY):
        yield from zip(there.popleft(), made, strict=True)
