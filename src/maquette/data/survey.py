"""Looks at every cell before anything is prepared: what is unusable is named, with the reason, and left out."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maquette.core.counts import counted
from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
from maquette.core.modality import Notes, Unreadable, noun, part
from maquette.core.progress import stage
from maquette.data.choose import Use
from maquette.data.chunks import chunks
from maquette.data.names import shown
from maquette.data.parallel import in_order
from maquette.data.raw import Cell, Cells, File, Files, RawTable, Values

CHUNK = 256  # files handed to a worker at once
MANY = 400  # files for which starting workers pays
HANDFUL = 5  # fewer rows than this teach nothing
EMPTY = "empty"  # why a cell without anything in it cannot be used
SPARSE = 0.1  # share of rows without a value from which on a column that is only looked at may lack it


@dataclass
class Looked:
    """A used column, every cell of which was looked at.

    facts: of each row, None where it has no value      digests: u64[N], of what each cell holds; 0 where it has none
    may_miss: whether a row without a value is used all the same
    """

    kind: str
    config: Any
    cells: Cells
    facts: list[Any]
    digests: np.ndarray
    may_miss: bool

    def optional(self, name: str) -> Any:
        """What the modality of the column may have."""
        return part(self.kind, name, "data")


@dataclass
class Survey:
    """Rows that can be used as far as a look at their cells tells. All sequences have one length."""

    use: Use
    columns: dict[str, Looked]
    names: Sequence[str]
    places: dict[str, Sequence[str]]
    splits: list[str | None]
    found: int
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def __len__(self) -> int:
        return len(self.names)

    def place(self, row: int, column: str) -> str:
        """Where one cell came from."""
        cells = self.columns[column].cells
        own = cells.place(row) if isinstance(cells, Chosen) else None
        return own or self.places.get(column, self.names)[row]

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows, in this order; a row may come again."""
        for column in self.columns.values():
            column.cells = Chosen.of(column.cells, rows)
            column.facts = [column.facts[i] for i in rows]
            column.digests = column.digests[np.asarray(rows, np.int64)]
        self.names = [self.names[i] for i in rows]
        self.places = {name: [places[i] for i in rows] for name, places in self.places.items()}
        self.splits = [self.splits[i] for i in rows]

    def reason(self, column: str, reason: str) -> str:
        """A reason as it is listed: with the name of the column where that is not plain."""
        return f"'{shown(column)}': {reason}" if self.use.content != (column,) else reason


@dataclass
class Chosen:
    """Some of many cells, in an order of their own. parts: which item of its file each is, where files hold several"""

    cells: Cells
    rows: Sequence[int]
    parts: Sequence[int] | None = None

    @classmethod
    def of(cls, cells: Cells, rows: Sequence[int]) -> Cells:
        if isinstance(cells, Values):
            return Values([cells.cells[i] for i in rows])
        if isinstance(cells, Chosen):
            parts = None if cells.parts is None else [cells.parts[i] for i in rows]
            return cls(cells.cells, [cells.rows[i] for i in rows], parts)
        return cls(cells, list(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Sequence[int]) -> list[Cell]:
        cells = self.cells.take([self.rows[row] for row in rows])
        if self.parts is None:
            return cells
        return [
            File(cell.name, cell.payload, self.parts[row]) if isinstance(cell, File) else cell
            for row, cell in zip(rows, cells, strict=True)
        ]

    def order(self) -> Sequence[int]:
        return range(len(self.rows))

    def place(self, row: int) -> str | None:
        return self.cells.names[self.rows[row]] if isinstance(self.cells, Files) else None


def survey(table: RawTable, use: Use, config: DataConfig) -> Survey:
    """Looks at the used columns of a table; what cannot be used is left out, or stops the run if `config.strict`."""
    made = Survey(
        use, {}, table.names, table.places, table.splits, len(table) + len(table.left_out), list(table.left_out),
        Notes(list(table.notes), facts=dict(table.facts)),
    )  # fmt: skip
    refuse_if_strict(made.left_out, config.strict)
    out: dict[int, tuple[str, str]] = {}
    some = np.zeros(len(table), bool)  # rows with any content at all
    for name, kind in use.kinds.items():
        column, faults = _look(name, table.columns[name], kind, use, config, made.notes)
        made.columns[name] = column
        if name in use.content:
            some |= np.array([fact is not None for fact in column.facts], bool)
        if not column.may_miss:
            for row, reason in faults.items():
                out.setdefault(row, (table.place(row, name), made.reason(name, reason)))
            refuse_if_strict([out[row] for row in sorted(out)], config.strict)
        elif use.look and faults:
            made.notes.append(f"{counted(len(faults), 'row has', 'rows have')} no '{shown(name)}'.")
    for row in np.flatnonzero(~some).tolist():
        out.setdefault(row, (table.names[row], EMPTY))
    refuse_if_strict([out[row] for row in sorted(out)], config.strict)
    made.left_out += [out[row] for row in sorted(out)]
    made.notes.notes += use.notes()
    made.keep([row for row in _order(made) if row not in out])
    return made


def examined(cells: Sequence[Cell], kind: str, config: Any) -> list[tuple[Any, int] | str]:
    """(facts, digest) of each cell, or the reason why it cannot be used."""
    look = part(kind, "examine", "data")
    made: list[tuple[Any, int] | str] = []
    for cell in cells:
        try:
            if isinstance(cell, Unreadable):
                raise cell
            if isinstance(cell, File):
                cell = File(cell.name, cell.read(), cell.part)
            made.append((look(cell, config), _digest(cell)))
        except Unreadable as error:
            made.append(str(error))
    return made


def enough(survey: Survey, used: int, source: str, least: int = HANDFUL) -> None:
    """Refuses to go on with next to nothing. least: rows that are enough; one is, of long items."""
    if used >= least:
        return
    kind = survey.use.thing
    counts: dict[str, int] = {}
    for _, reason in survey.left_out:
        counts[kind_of(reason)] = counts.get(kind_of(reason), 0) + 1
    most = sorted(counts.items(), key=lambda entry: -entry[1])[:4]
    why = "; ".join(f"{n:,} left out: {reason}" for reason, n in most)
    number = (
        f"No {noun(kind, 1)} is usable", f"There is one usable {noun(kind, 1)}",
        f"There are {used} usable {noun(kind)}",
    )[min(used, 2)]  # fmt: skip
    raise UserError(
        f"{number} in '{shown(source)}'{f' ({why})' if why else ''}.",
        f"A model needs at least {HANDFUL}, and some hundreds to learn from; see `maquette data inspect`.",
    )


def refuse_if_strict(left_out: Sequence[tuple[str, str]], strict: bool) -> None:
    """Stops at the first item that is left out, if `strict`."""
    if strict and left_out:
        name, reason = left_out[0]
        raise UserError(
            f"'{shown(name)}' cannot be used: {reason} ({len(left_out):,} so far; strict stops here).",
            "Mend or remove it, or go on without it: data.strict=false.",
        )


def kind_of(reason: str) -> str:
    """A reason without its numbers, by which reasons are counted."""
    column, quote, rest = reason.partition("': ") if reason.startswith("'") else ("", "", reason)
    return column + quote + rest.partition(":")[0]


# -- inside ------------------------------------------------------------------------------------------


def _look(
    name: str, cells: Cells, kind: str, use: Use, config: DataConfig, notes: Notes
) -> tuple[Looked, dict[int, str]]:
    """A column, and why rows lack a value that can be used."""
    own = config.of(kind)
    if interpret := part(kind, "interpret", "data"):
        cells = interpret(cells, own, notes)
    facts: list[Any] = [None] * len(cells)
    digests = np.zeros(len(cells), np.uint64)
    faults: dict[int, str] = {}
    missing = 0
    files = isinstance(cells, Files)
    same: dict[Any, Any] = {}
    for rows, results in _results(cells, kind, own):
        for row, result in zip(rows, results, strict=True):
            if result is None:
                faults[row] = "missing" if files else EMPTY
                missing += 1
            elif isinstance(result, str):
                faults[row] = result
            else:
                facts[row] = _once(result[0], same)
                digests[row] = result[1]
    # A row without a label has a class of its own; a column that is only looked at may have gaps.
    widens = bool(part(kind, "widen", "data"))
    may_miss = widens and missing == len(faults)
    if name in use.may_miss:  # what lacks a value is no fault there; what is broken is
        faults = {row: reason for row, reason in faults.items() if reason not in ("missing", EMPTY)}
    sparse = use.look and not files and len(faults) > SPARSE * len(cells)
    return Looked(kind, own, cells, facts, digests, may_miss or sparse), faults


def _results(
    cells: Cells, kind: str, config: Any
) -> Iterator[tuple[Sequence[int], list[tuple[Any, int] | str | None]]]:
    """What is known of each cell, chunk by chunk, in the order in which they are quickest to read."""
    order, files = list(cells.order()), isinstance(cells, Files)
    there = deque[tuple[Sequence[int], list[bool]]]()

    def tasks() -> Iterator[list[Cell]]:
        for rows, found in chunks(cells, order, CHUNK, files):
            there.append((rows, [cell is not None for cell in found]))
            yield [cell for cell in found if cell is not None]

    with stage(f"looking at {noun(kind)}", len(order)) as looked:
        for results in in_order(lambda task: examined(task, kind, config), tasks(), files and len(order) >= MANY):
            rows, known = there.popleft()
            done = iter(results)
            yield rows, [next(done) if one else None for one in known]
            looked.done += len(rows)


def _order(made: Survey) -> Sequence[int]:
    """All rows, in the order in which the first column of files is quickest to read."""
    for name in made.use.content:
        if isinstance(made.columns[name].cells, Files):
            return made.columns[name].cells.order()
    return range(len(made))


def _digest(cell: Cell) -> int:
    if isinstance(cell, File):
        data: Any = cell.payload
    elif isinstance(cell, np.ndarray):
        data = np.ascontiguousarray(cell).data
    else:
        data = str(cell).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _once(facts: Any, same: dict[Any, Any]) -> Any:
    """Facts that were met before as the same object, since most are alike; what cannot be looked up as it is."""
    try:
        return same.setdefault(facts, facts)
    except TypeError:  # a list, say
        return facts
