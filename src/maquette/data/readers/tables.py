"""Tables of values: CSV and TSV, JSON lines, JSON, and Excel. Cells are what is written, numbers included."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.spec import plain
from maquette.data.decode import Decoder, head_of, lone_surrogate, refusal, unpacked_head
from maquette.data.disguised import START, check_written
from maquette.data.layout import role, splits_of
from maquette.data.names import shown, some
from maquette.data.raw import Array, Cells, File, Places, RawTable, Values
from maquette.data.readers import TABLES, Place, is_about, is_table
from maquette.data.separated import CELL, GRID, ROW, SIDE, Sheet, sheet, sheet_of
from maquette.data.typing import HEAD, column_of, kind_of_array, kind_of_values
from maquette.data.workbook import WORKBOOK, records

ACCEPTS = "a table (.csv, .tsv, .jsonl, .json, .xlsx)"
SPLIT_COLUMN = "split"
FIRST = 20  # cells by which a column is told
MOST_SPLITS = 10  # names in such a column
_NUMBERS = re.compile(r"\s*\d{1,3}(\s+\d{1,3})+\s*")


@dataclass
class _Rows:
    """Rows of one file: cells by column name, the line of each, and the split that a JSON file names for it."""

    cells: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nested: set[str] = field(default_factory=set)
    header: list[str] = field(default_factory=list)


def claims(place: Place) -> float:
    """How surely a place holds tables of values, in [0, 1]."""
    tables = _tables(place)
    if not tables or place.tree.form == "file":
        return 0.5 if tables else 0.0
    documents, others = place.rivals(tables)
    return 0.5 if len(tables) >= documents and len(tables) > others else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The rows of a place that it claims, as cells. Raises UserError for what cannot be read."""
    tables = _tables(place)
    made = parsed(place, tables, columns)
    made.ignored = [name for i, name in enumerate(place.tree.names) if i not in tables]
    return made


def parsed(place: Place, numbers: Sequence[int], columns: Sequence[str]) -> RawTable:
    """One table of all these files of a place, one below the other. columns: names that a header is known by."""
    names = [place.tree.names[i] for i in numbers]
    splits = splits_of(name.removesuffix(".gz").rpartition(".")[0] for name in names)
    named = any(role(split) in ("test", "val") for split in splits) and len(names) > 1
    made, decoder, nested = RawTable("table", {}, (), [], files=names), Decoder(), set[str]()
    file, line, parts, headed = list[int](), list[int](), list[list[dict[str, Any]]](), False
    for number, (name, split, payload) in enumerate(zip(names, splits, place.tree.payloads(numbers), strict=True)):
        try:
            data = File(name, payload).read()
            check_written(data[:START])
        except limits.TooMuch as error:
            raise refusal(name, error) from None
        except Unreadable as error:
            raise UserError(f"'{shown(name)}' is no table: {error}.", error.remedy or "Mend or remove it.") from None
        try:
            if data.startswith(WORKBOOK):
                rows = _rows(sheet(records(data, name), name, columns, len(data)), name)
            else:
                characters = decoder.decode(data, name)
                form = _written_as(characters, name, len(data))
                rows = _READERS[form](characters, name, columns, len(data))
                if form != _suffix(name):
                    rows.notes.append(f"'{shown(name)}' is read as {form}, which it is.")
        except Unreadable as error:
            raise refusal(name, error) from None
        made.left_out += rows.left_out
        made.notes += rows.notes
        nested |= rows.nested
        headed |= bool(rows.header)
        made.splits += [split if named else own for own in rows.splits]
        file += [number] * len(rows.cells)
        line += rows.lines
        parts.append(rows.cells)
    if not any(parts):
        raise _nothing(names, made.left_out, headed)
    made.names = Places(names, file, line)
    for column in dict.fromkeys(name for rows in parts for cells in rows for name in cells):
        values = [cells.get(column) for rows in parts for cells in rows]
        made.columns[column] = _column(column, values, decoder, made.names)
    _take_split_column(made)
    if nested:
        made.notes.append(f"{some(sorted(nested))} hold{'s' if len(nested) == 1 else ''} lists or objects: not read.")
    made.notes += decoder.notes()
    made.facts["encodings"] = decoder.encodings
    return made


def _nothing(names: Sequence[str], left_out: Sequence[tuple[str, str]], headed: bool) -> UserError:
    """What is said of tables without a row."""
    listed = some(names)
    if left_out:
        (where, why), more = left_out[0], len(left_out) - 1
        rest = f" (and {more:,} more like it)" if more else ""
        return UserError(f"No row of {listed} can be read. {shown(where)}: {why}{rest}.", "Mend the table there.")
    below = " below the header" if headed else ""
    return UserError(f"There are no rows{below} in {listed}.", "Was it saved, or fetched, to its end?")


def _tables(place: Place) -> list[int]:
    """Numbers of the files that are tables: by their names; or one that has the columns that were asked for."""
    names = place.tree.names
    if place.tree.form == "file" and len(place.columns) > 1 and not is_table(names[0]):
        head = unpacked_head(place.tree.head(0, HEAD), HEAD)
        return [0] if {*place.columns} <= {*sheet_of(head_of(head), names[0], place.columns).header} else []
    return [i for i, name in enumerate(names) if is_table(name) and not (len(names) > 1 and is_about(name))]


def _column(name: str, values: list[Any], decoder: Decoder, places: Sequence[str]) -> Cells:
    """Cells without control characters that were escaped (JSON writes NUL as \\u0000); None for blank ones."""
    values = [_array(value) for value in values] if all(map(_is_array, values[:FIRST])) else values
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if not arrays:
        return Values([None if value is None else decoder.cell(value, places[i]) for i, value in enumerate(values)])
    if len({array.shape for array in arrays}) > 1 or len(arrays) < len(values):
        raise UserError(f"Not every row of the tables has a '{shown(name)}' of one size.", "Name one of the tables.")
    return Array([np.stack(arrays)])


def _is_array(value: Any) -> bool:
    """Whether a cell holds a square array of whole numbers, written out with blanks between."""
    if not isinstance(value, str) or not _NUMBERS.fullmatch(value):
        return False
    size = len(value.split())
    return math.isqrt(size) ** 2 == size >= SIDE**2


def _array(value: Any) -> Any:
    if not _is_array(value):
        return value
    numbers = np.array(value.split(), np.int64)
    side = math.isqrt(len(numbers))
    return numbers.astype(np.min_scalar_type(numbers.max())).reshape(side, side)


def _take_split_column(made: RawTable) -> None:
    """A column whose values name splits says where each row belongs: one called `split`, or of nothing but such."""
    for name, cells in made.columns.items() if not any(made.splits) else ():
        found = {*cells.cells} - {None} if isinstance(cells, Values) else set()
        roles = {role(str(split)) for split in found} if len(found) <= MOST_SPLITS else set()
        if "train" in roles and roles & {"test", "val"} and ("" not in roles or name.lower() == SPLIT_COLUMN):
            break
    else:
        return
    assert isinstance(cells, Values)
    made.splits = [None if split is None else str(split) for split in cells.cells]
    del made.columns[name]
    listed = ", ".join(sorted(shown(str(split)) for split in found))
    made.notes.append(f"Column '{shown(name)}' names the splits: {listed}.")


# -- separated values -------------------------------------------------------------------------------------


def _read_separated(characters: str, name: str, columns: Sequence[str], size: int) -> _Rows:
    return _rows(sheet_of(characters, name, columns, size), name)


def _rows(found: Sheet, name: str) -> _Rows:
    """The rows of a sheet, with arrays called after the kind that claims such."""
    made = _Rows(left_out=[(f"{name}:{line}", reason) for line, reason in found.left_out], notes=found.notes)
    made.header = header = found.header
    if GRID in header and found.rows:
        at = header.index(GRID)
        array = found.rows[0][1][at]
        header = [*header[:at], column_of(kind_of_array(array.shape, array.dtype) or "array"), *header[at + 1 :]]
    for line, cells in found.rows:
        made.cells.append(dict(zip(header, cells, strict=True)))
        made.lines.append(line)
    made.splits = [None] * len(made.cells)
    return made


# -- JSON --------------------------------------------------------------------------------------------


def _read_lines(characters: str, name: str, columns: Sequence[str], size: int) -> _Rows:
    _check_held(characters, size)
    made = _Rows()
    for number, line in enumerate(characters.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _add(made, json.loads(line, strict=False), name, number, None)
        except RecursionError:
            made.left_out.append((f"{name}:{number}", "not JSON: nested too deeply"))
        except ValueError as error:
            made.left_out.append((f"{name}:{number}", f"not JSON: {_brief(error)}"))
    return made


def _check_held(characters: str, size: int) -> None:
    """Whether what JSON may come to in memory is within the limit. size: bytes of its file"""
    limits.check(ROW * characters.count("{") + CELL * sum(map(characters.count, ",[\n")), of=size)


def _read_json(characters: str, name: str, columns: Sequence[str], size: int) -> _Rows:
    """A list of objects, or an object of such lists: by split, or one list of rows among other things."""
    _check_held(characters, size)
    try:
        found = json.loads(characters, strict=False)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        if "\n{" in characters.strip():
            return _read_lines(characters, name, columns, size)  # JSON lines under another name
        raise UserError(
            f"'{shown(name)}' is damaged{where}: {_brief(error)}.", "Mend the file; it must be one JSON value."
        ) from None
    made = _Rows()
    for split, rows in _lists(found, name):
        for number, row in enumerate(rows, 1):
            _add(made, row, name, number, split)
    return made


def _lists(found: Any, name: str) -> Iterator[tuple[str | None, list[Any]]]:
    if isinstance(found, list):
        yield None, found
        return
    found = found if isinstance(found, dict) else {}
    lists = {key: value for key, value in found.items() if isinstance(value, list)}
    splits = {key: rows for key, rows in lists.items() if role(key)}
    if splits:
        yield from splits.items()
    elif columns := _columns(found):  # as pandas writes it
        yield None, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    elif len(lists) == 1:
        yield None, next(iter(lists.values()))
    else:
        raise UserError(
            f"'{shown(name)}' holds no table: it is not a list of objects.", 'Write [{"column": "value", ...}, ...].'
        )


def _columns(found: dict[str, Any]) -> dict[str, list[Any]]:
    """column -> cells, of an object of lists or of objects that are all alike in length; {}: it is none."""
    lists = {key: [*value.values()] if isinstance(value, dict) else value for key, value in found.items()}
    if len(lists) < 2 or not all(isinstance(value, list) for value in lists.values()):
        return {}
    nested = any(isinstance(cell, list | dict) for cells in lists.values() for cell in cells)
    return {} if nested or len({*map(len, lists.values())}) > 1 else lists


def _add(made: _Rows, row: Any, name: str, number: int, split: str | None) -> None:
    """One object of a JSON file as a row; what cannot be one is left out by name."""
    if isinstance(row, str):
        row = {_alone(): row}
    where = f"{name}, {split}:{number}" if split else f"{name}:{number}"
    if not isinstance(row, dict):
        made.left_out.append((where, "not an object"))
        return
    cells = {plain(str(key)): _written(value) for key, value in row.items()}
    made.nested |= {key for key, value in cells.items() if value == _NESTED}
    cells = {key: value for key, value in cells.items() if value != _NESTED}
    if lone_surrogate([*cells, *(value for value in cells.values() if value)]):
        made.left_out.append((where, "half of a surrogate pair stands alone: no character"))
        return
    made.cells.append(cells)
    made.lines.append(number)
    made.splits.append(split)


_NESTED = "\0nested"


@cache
def _alone() -> str:
    """What a column of strings without a name is called: after the kind that claims strings."""
    return column_of(kind_of_values("", ["a string"]) or "value")


def _written(value: Any) -> str | None:
    """A JSON value as it is written; lists and objects are no cells."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return _NESTED
    return json.dumps(value)


def _brief(error: Exception) -> str:
    message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return message[:80] or type(error).__name__


def _written_as(characters: str, name: str, size: int) -> str:
    """The suffix of the form that a table is written in, by what it holds, where that is plain, else by its name."""
    suffix, head = _suffix(name), characters.lstrip()[:1]
    if suffix == ".json" or head not in ("[", "{"):
        return suffix if suffix in _READERS else ".csv"
    _check_held(characters, size)
    for form, begun in ((".json", characters), (".jsonl", characters.lstrip().partition("\n")[0])):
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(json.loads(begun, strict=False), dict if form == ".jsonl" else list):
                return form
    return suffix if suffix in _READERS else ".csv"


def _suffix(name: str) -> str:
    bare = name.lower().removesuffix(".gz")
    return next((suffix for suffix in sorted(TABLES, key=len, reverse=True) if bare.endswith(suffix)), TABLES[0])


_READERS: dict[str, Callable[[str, str, Sequence[str], int], _Rows]] = {
    ".csv": _read_separated, ".tsv": _read_separated, ".jsonl": _read_lines, ".ndjson": _read_lines,
    ".json": _read_json,
}  # fmt: skip
