"""What a reader finds: rows of cells, before anything is looked at, chosen, split or prepared.

A cell is a file, bytes or a value. What a cell *is*, a modality says; a reader knows how data is laid out, and no kind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from maquette.core import limits
from maquette.core.modality import Unreadable
from maquette.data.disguised import check_fetched
from maquette.data.names import Names

Notify = Callable[[str], None]  # is told what happens, for people
Payload = str | bytes | Unreadable  # of a file: its path, its bytes, or why there are none


@dataclass(frozen=True, slots=True)
class File:
    """A cell that is a file.

    name:    as people know it, with '/' between folders      payload: its path, its bytes, or why there are none
    part:    which of its items, of a file that holds several
    """

    name: str
    payload: Payload
    part: int = 0

    def read(self) -> bytes:
        """Its bytes; raises Unreadable with the reason."""
        if isinstance(self.payload, Unreadable):
            raise self.payload
        if isinstance(self.payload, bytes):
            data = self.payload
        else:
            data = _read_once(self.payload) if self.part else limits.contents(self.payload)
        check_fetched(data)
        return data


_read_once = functools.lru_cache(maxsize=1)(limits.contents)  # items of one file are asked for one after the other


Cell = File | str | float | int | bool | np.ndarray | Unreadable | None  # None: missing; Unreadable: it is of no use


class Cells(Protocol):
    """The cells of one column, taken a few at a time, so that an archive is not held in memory."""

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int]) -> list[Cell]:
        """These cells."""
        ...

    def order(self) -> Sequence[int]:
        """All rows, in the order in which their cells are quickest to read."""
        ...


@dataclass
class Values:
    """Cells that are values, in memory: as they are written in a table, numbers included; None where there is none.

    A cell of nothing but blanks is none.
    """

    cells: list[str | float | int | bool | None]

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Sequence[int]) -> list[Cell]:
        return [self.cells[row] for row in rows]

    def order(self) -> Sequence[int]:
        return range(len(self.cells))


@dataclass
class Files:
    """Cells that are files.

    names:   of each row's file, None where the row has none
    numbers: of each row's file among what `payloads` knows
    payloads: numbers -> what is needed to get at these files, a few at a time
    reading: place of each file in the order in which files are quickest to read; None: any
    """

    names: Sequence[str | None]
    numbers: Sequence[int]
    payloads: Callable[[Sequence[int]], list[Payload]]
    reading: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> list[Cell]:
        there = [row for row in rows if self.names[row] is not None]
        wanted = list(dict.fromkeys(self.numbers[row] for row in there))  # a row may come again
        made = dict(zip(wanted, self.payloads(wanted), strict=True))
        return [File(name, made[self.numbers[row]]) if (name := self.names[row]) is not None else None for row in rows]

    def order(self) -> Sequence[int]:
        if self.reading is None:
            return range(len(self.names))
        place = self.reading
        return sorted(range(len(self.names)), key=lambda row: place[self.numbers[row]])


@dataclass
class Array:
    """Cells that are rows of arrays of one shape, one array after the other (the splits of a set, say).

    scale_max: the largest value that a number can have, where the format says so
    """

    parts: list[np.ndarray]
    scale_max: float | None = None

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def take(self, rows: Sequence[int]) -> list[Cell]:
        starts = np.cumsum([0, *map(len, self.parts)])
        made: list[Cell] = []
        for row in rows:
            part = int(np.searchsorted(starts, row, side="right")) - 1
            made.append(np.asarray(self.parts[part][row - starts[part]]))
        return made

    def order(self) -> Sequence[int]:
        return range(len(self))


@dataclass(frozen=True)
class Places(Names):
    """Where rows of files came from, put together when it is asked: "train.csv:12".

    files: names; file: number of the file of each row; line: of each row in its file, from 1
    """

    files: Sequence[str]
    file: Sequence[int]
    line: Sequence[int]

    def __len__(self) -> int:
        return len(self.line)

    def name(self, row: int) -> str:
        return f"{self.files[self.file[row]]}:{self.line[row]}"


@dataclass
class RawTable:
    """A table as it was found. All columns have one length.

    kind:     what the source is, for people: "folder", "archive", "table", "parallel files", "arrays", ...
    columns:  name -> cells
    names:    where each row came from, for people: "cats/1.png", "train.csv:12"
    again:    of what is made on the spot: column -> the cell of a training row as it is made for a later pass over them
              (row, pass from 1 on). Empty: every pass shows the same
    places:   of columns whose cells came from elsewhere: where each of their cells did; see `place`
    splits:   the split that the data itself names for each row, in its own words ("train", "val", "test_2016"); None:
              it names none
    categories: columns that are classes by their nature (names of folders)
    left_out: (name, reason) of what is no row at all: lines that are broken, files outside the class folders
    ignored:  names of files that were passed over
    files:    names of the files that were read
    facts:    further JSON-able facts for the summary, e.g. {"encodings": {"UTF-8": 3}}
    """

    kind: str
    columns: dict[str, Cells]
    names: Sequence[str]
    splits: list[str | None]
    categories: frozenset[str] = frozenset()
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    again: Mapping[str, Callable[[int, int], Cell]] = field(default_factory=dict)
    places: dict[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def place(self, row: int, column: str) -> str:
        """Where one cell came from: the file of a cell that is a file, else the place of the row."""
        cells = self.columns[column]
        own = cells.names[row] if isinstance(cells, Files) else None
        return own or self.places.get(column, self.names)[row]
