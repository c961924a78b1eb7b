"""Files that a table lists: metadata.csv or .jsonl, or any table whose cells name files that are there.

A column `file_name`, or whichever holds the names of files, names a file of each row, relative to the table's own
folder, and becomes a column that is called after the kind of these files; a column `x_file_name` becomes the column
`x`. All other columns are values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.modality import noun
from maquette.core.spec import plain
from maquette.data.decode import head_of, unpacked_head
from maquette.data.names import LISTED, shown, some
from maquette.data.raw import Places, RawTable, Values
from maquette.data.readers import Place, is_about, is_table
from maquette.data.readers import tables as value_tables
from maquette.data.readers.items import laid_out
from maquette.data.trees import OneFile
from maquette.data.typing import HEAD, column_of

ACCEPTS = "metadata.csv or .jsonl with a column file_name beside such files"
FILE = "file_name"
USUAL = "metadata."
MOST, NEARLY_ALL = 0.5, 0.9  # shares of cells that name files, by which a column is told
TRIED = 20  # names of files that are looked for beside a table
_BETWEEN = re.compile(r"[\",;\t|\[\]{}:]+")
_NAMED = re.compile(r"\S.*\.[A-Za-z]\w{1,4}")


def beside(path: Path) -> list[Path]:
    """The folder of a table that may list files."""
    if not is_table(path.name):
        return []
    folder = path.parent
    return [folder] if _lists(OneFile(path).head(0, HEAD), lambda name: os.path.exists(folder / name)) else []  # noqa: PTH110 - of what is no name, too


def claims(place: Place) -> float:
    """How surely a place holds a table that names files, in [0, 1]."""
    alone = place.tree.form == "file"
    return 0.8 if _tables(place) and (alone or place.items) else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The rows of a place that it claims, as cells. Raises UserError for what cannot be read."""
    alone = place.tree.form == "file"
    whole = place
    if alone:
        assert place.path is not None
        whole = replace(place, path=place.path.parent)
    names = whole.tree.names
    tables = [names.index(place.tree.names[i]) for i in _tables(place)]
    listed = value_tables.parsed(whole, tables, [*columns, FILE])
    found, unknown = _files(whole, listed)
    again = _joined(found, listed) if len(found) == 1 else ()
    rows = [row for row in range(len(listed)) if row not in again and any(at[row] >= 0 for at in found.values())]
    if alone and not rows:
        return value_tables.read(place, columns)
    kinds = {name: _kind(whole, numbers) for name, numbers in found.items()}
    (single, *more) = found
    only = not more and not single.lower().endswith(f"_{FILE}")
    called = {
        name: (column_of(kind) if kind else "file") if only or name == FILE else name.removesuffix(f"_{FILE}")
        for name, kind in kinds.items()
    }
    numbers = {name: [found[name][row] for row in rows] for name in found}
    if only:  # files of the kind that no table lists are rows of their own
        named = {*numbers[single]}
        kind = kinds[single] or next(iter(whole.items))
        rest = [] if alone else [i for i in whole.items.get(kind, ()) if i not in named]
        order = sorted(zip([*numbers[single], *rest], [*rows, *[-1] * len(rest)], strict=True))
        numbers, rows = {single: [number for number, _ in order]}, [row for _, row in order]
        called[single] = column_of(kind)
    further = RawTable("", {}, [""] * len(rows), [listed.splits[row] if row >= 0 else None for row in rows])
    for name, cells in listed.columns.items():
        assert isinstance(cells, Values)
        if name and name not in found and name not in called.values():
            further.columns[name] = Values([cells.cells[row] if row >= 0 else None for row in rows])
    (first, *others) = kinds.values()
    items = noun(first) if first and not others else "rows"
    what = f"{whole.tree.form} with a table"
    made = laid_out(whole, what, {called[name]: column for name, column in numbers.items()}, items, further)
    read = {names[i] for i in tables}
    made.ignored = [] if alone else [name for name in made.ignored if name not in read]
    made.left_out = [*listed.left_out, *made.left_out]
    made.notes += listed.notes
    made.facts |= listed.facts
    made.files = sorted(read)
    if unknown:
        files = counted(len(unknown), "file that is", "files that are")
        made.notes.append(f"The table names {files} not there: {some(unknown)}.")
    return made


def _tables(place: Place) -> list[int]:
    """Numbers of the tables that may list files: those called metadata; else those that speak of file names."""
    names = place.tree.names
    tables = [i for i, name in enumerate(names) if is_table(name)]
    usual = [i for i in tables if names[i].rpartition("/")[2].lower().startswith(USUAL)]
    if place.tree.form != "file" and usual:
        return usual
    if place.tree.form == "file":
        return [i for i in tables if place.path is not None and beside(place.path)]
    find = Finder(names)
    heads = {i: place.tree.head(i, HEAD) for i in tables}

    def lists(i: int) -> bool:
        folder = names[i].rpartition("/")[0]
        named = _lists(heads[i], lambda name: find(folder, name, False) >= 0)
        return named or _lists_stems(heads[i], place.items, find)

    return [i for i in tables if not is_about(names[i]) and lists(i)]


def _lists(head: bytes, exists: Callable[[str], bool]) -> bool:
    """Whether a table, by how it begins, speaks of file names, or holds the name of a file that is there."""
    words = [word for line in _words(head) for word in line]
    names = [word for word in words if _NAMED.fullmatch(word)]
    return any(word.endswith(FILE) for word in words) or any(map(exists, names[:TRIED]))


def _lists_stems(head: bytes, items: Mapping[str, Sequence[int]], find: Finder) -> bool:
    """Whether nearly every line of a table holds the stem of another file, and these are many of those there are."""
    lines = _words(head)[1:]
    found = {number for line in lines for word in line if (number := find("", word, True)) >= 0}
    bulk = len(next(iter(items.values()), ()))
    return len(found) >= NEARLY_ALL * len(lines) and len(found) >= MOST * min(bulk, len(lines)) > 0 and (
        len(head) >= HEAD or len(found) >= MOST * bulk
    )  # fmt: skip


def _words(head: bytes) -> list[list[str]]:
    """What stands between separators and quotation marks, in each whole line of the beginning of a table."""
    return [[word.strip() for word in _BETWEEN.split(line)] for line in head_of(unpacked_head(head, HEAD)).split("\n")]


def _files(place: Place, listed: RawTable) -> tuple[dict[str, list[int]], list[str]]:
    """column -> number of the file of each row, -1 for none; and names of files that are not there.

    Columns that are called `file_name`; else those in which most cells name files that are there, whatever they are
    called; else the first whose cells are the stems of such, each of another one.
    """
    places, find = listed.names, Finder(place.tree.names)
    assert isinstance(places, Places)
    folders = [name.rpartition("/")[0] for name in places.files]
    values = {name: cells.cells for name, cells in listed.columns.items() if isinstance(cells, Values)}

    def numbers(name: str, stems: bool) -> list[int]:
        cells = zip(places.file, values[name], strict=True)
        return [-1 if cell is None else find(folders[file], str(cell), stems) for file, cell in cells]

    called = {name: name.lower().replace(" ", "_") for name in values}
    found = {name: numbers(name, True) for name in values if called[name].endswith((FILE, f"_{FILE}"))}
    if not found:
        found = {name: rows for name in values if _mostly(rows := numbers(name, False), values[name], MOST)}
    for name in values if not found else ():
        rows = numbers(name, True)
        if _mostly(rows, values[name], NEARLY_ALL) and len({*rows}) >= NEARLY_ALL * len(rows):
            found = {name: rows}
            break
    if not found:
        raise UserError(
            f"'{shown(places.files[0])}' has no column '{FILE}', and no other names files that are there: it has "
            f"{some(values, LISTED)}.",
            "Give each row the path of its file, or several.",
        )
    unknown = [
        str(cell) for name, rows in found.items() for cell, number in zip(values[name], rows, strict=True)
        if cell is not None and number < 0
    ]  # fmt: skip
    (first, *others) = found
    if all(sum(number >= 0 for number in row) < 2 for row in zip(*found.values(), strict=True)):
        found = {first: [max(row) for row in zip(*found.values(), strict=True)]}  # tables that call it by other names
        for name in others:
            del listed.columns[name]
    return found, unknown


def _joined(found: Mapping[str, Sequence[int]], listed: RawTable) -> set[int]:
    """Rows whose values were added to the rows of other tables that name the same files, where these had none.

    A table that names each of its files once says something of a file; one that names it again has rows of its own.
    """
    ((_, numbers),) = found.items()
    assert isinstance(listed.names, Places)
    tables: dict[int, list[int]] = {}
    for row, table in enumerate(listed.names.file):
        if numbers[row] >= 0:
            tables.setdefault(table, []).append(row)
    once = {table: len({numbers[row] for row in rows}) == len(rows) for table, rows in tables.items()}
    columns = [cells.cells for cells in listed.columns.values() if isinstance(cells, Values)]
    rows_of, again = dict[int, list[int]](), set[int]()
    for table in sorted(tables, key=lambda table: once[table]) if len(tables) > 1 else ():
        known = {*rows_of} if once[table] else set()
        for row in tables[table]:
            if numbers[row] not in known:
                rows_of.setdefault(numbers[row], []).append(row)
                continue
            again.add(row)
            for to in rows_of[numbers[row]]:
                listed.splits[to] = listed.splits[to] or listed.splits[row]
                for cells in columns:
                    cells[to] = cells[row] if cells[to] is None else cells[to]
    return again


class Finder:
    """Numbers of files by how a table names them: from its own folder on, or from the top; else by a name, or a stem,
    that only one of them has."""

    def __init__(self, names: Sequence[str]) -> None:
        self.paths, self.stems, self.ends = dict[str, int](), dict[str, int](), dict[str, int]()
        for i, name in enumerate(map(plain, names)):
            self.paths[name] = i
            for by, key in ((self.ends, name), (self.stems, name.rpartition(".")[0])):
                end = key.rpartition("/")[2]
                for of in {key, end}:
                    by[of] = i if by.get(of, i) == i else -1

    def __call__(self, folder: str, cell: str, stems: bool) -> int:
        path = "/".join(part for part in plain(cell).replace("\\", "/").split("/") if part not in ("", "."))
        inside, end = f"{plain(folder)}/{path}".removeprefix("/"), path.rpartition("/")[2]
        keys = (inside, path, end)
        ways = [self.paths, self.ends, *([self.stems] if stems else [])]
        return next((by[key] for by in ways for key in keys if by.get(key, -1) >= 0), -1)


def _mostly(numbers: Sequence[int], cells: Sequence[object], share: float) -> bool:
    """Whether so large a share of the cells that hold anything names files."""
    there = sum(cell is not None for cell in cells)
    return there > 0 and sum(number >= 0 for number in numbers) >= share * there


def _kind(place: Place, numbers: Sequence[int]) -> str | None:
    """The modality of most of these files."""
    kinds = [kind for i in numbers if i >= 0 and (kind := place.kinds[i]) is not None]
    return max(dict.fromkeys(kinds), key=kinds.count, default=None)
