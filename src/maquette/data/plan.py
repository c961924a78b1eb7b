"""Which rows specifications are fitted on, and which are held out for now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
from maquette.core.modality import noun
from maquette.core.spec import DataSpec
from maquette.data import duplicates
from maquette.data.raw import Cell, Values
from maquette.data.split import Split, by_content, named_split, without_duplicates
from maquette.data.survey import Looked, Survey, enough, examined, refuse_if_strict

FEW = 10  # long items; fewer are each cut in two, since one held out whole would be too large a share


@dataclass
class Plan:
    """Which rows are fitted on, and what is held out for now.

    own: the data names its splits       long: rows are long items, of which a few are enough
    halves: rows are beginnings and ends of items that were cut in two
    everything: all rows are on both sides, to judge a run that was trained on other data
    """

    split: Split
    own: bool = False
    long: bool = False
    halves: bool = False
    everything: bool = False


def itemise(found: Survey, like: DataSpec | None, strict: bool) -> None:
    """Items that hold many each, such as files of lines, as these, where that is asked for; and a few that do where a
    run knows single ones."""
    (name, *others) = found.use.target or ("",)
    apart = found.columns[name].optional("itemise") if name and not others else None
    if apart is None:
        return
    column, known = found.columns[name], like.columns.get(name) if like and len(found) < FEW else None
    cells = column.cells.take(range(len(found)))
    parts = [apart(cell, column.config, known) for cell in cells]
    if not any(parts):
        return
    parts = [part or [(0, cell)] for part, cell in zip(parts, cells, strict=True)]  # 0: the cell is one, as it is
    found.keep([row for row, part in enumerate(parts) for _ in part])
    numbers = [number for part in parts for number, _ in part]
    found.names = [f"{place}:{number}" if number else place for place, number in zip(found.names, numbers, strict=True)]
    found.found += len(numbers) - len(parts)
    reasons = _replace(found.columns[name], [item for part in parts for _, item in part])
    found.left_out += [(found.names[row], found.reason(name, reason)) for row, reason in reasons.items()]
    refuse_if_strict(found.left_out, strict)
    found.keep([row for row in range(len(found)) if row not in reasons])


def _replace(column: Looked, cells: list[Any]) -> dict[int, str]:
    """Other cells in a column; why some of them cannot be used, by their number."""
    column.cells = Values(cells)
    known = examined(cells, column.kind, column.config)
    column.facts = [None if isinstance(entry, str) else entry[0] for entry in known]
    column.digests = np.array([0 if isinstance(entry, str) else entry[1] for entry in known], np.uint64)
    return {row: entry for row, entry in enumerate(known) if isinstance(entry, str)}


def plan(found: Survey, config: DataConfig, like: DataSpec | None, source: str) -> Plan:
    """Who is on which side for now; a few long items are each cut in two."""
    enough(found, len(found), source, least=1)
    split = named_split(found.splits, found.notes)
    if split is None and any(found.splits):
        found.splits = [None] * len(found)
    long = _halves(found, config, like) if len(found) < FEW else None
    if long is None:
        enough(found, len(found), source)
    content = duplicates.joined([found.columns[name].digests for name in found.use.content])
    if split is not None:
        return Plan(without_duplicates(split, content, noun(found.use.thing, 1)), own=True, long=long is not None)
    if long is not None:
        (name,) = found.use.content
        count = len(long)
        found.keep(np.repeat(np.arange(count), 2).tolist())
        column = found.columns[name]
        halves: list[Any] = [half for pair in long for half in pair]
        column.cells = Values(halves)
        results = examined(halves, column.kind, column.config)
        column.facts = [column.facts[i] if isinstance(result, str) else result[0] for i, result in enumerate(results)]
        column.digests = np.array([0 if isinstance(r, str) else r[1] for r in results], np.uint64)
        if count > 1:
            found.notes.append(f"Few {noun(column.kind)}: the last {config.test_share:.0%} of each is held out.")
        numbers = np.arange(2 * count)
        return Plan(Split(numbers[::2], numbers[1::2]), long=True, halves=True)
    refuse_equal(found, len(np.unique(content)), len(content))
    held = by_content(content, config.test_share, config.split_seed)
    return Plan(Split(np.flatnonzero(~held), np.flatnonzero(held)))


def _halves(found: Survey, config: DataConfig, like: DataSpec | None) -> list[tuple[Cell, Cell]] | None:
    """Each row as a beginning and an end, where there is one column of long items."""
    if len(found.use.content) != 1:
        return None
    (name,) = found.use.content
    column = found.columns[name]
    divide = column.optional("divide")
    if divide is None:
        return None
    known = like.columns.get(name) if like else None
    cells = column.cells.take(range(len(found)))
    made: list[tuple[Cell, Cell]] | None = divide(cells, column.facts, config.test_share, column.config, known)
    return made


def refuse_equal(found: Survey, different: int, total: int) -> None:
    """Raises UserError where all items are the same. different: how many there are, of `total`"""
    if different < 2:
        raise UserError(f"All {total:,} {noun(found.use.thing)} are the same.", "Add different ones.")
