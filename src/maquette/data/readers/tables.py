"""Tables of values: CSV and TSV, JSON lines, and JSON. Cells are what is written, numbers included."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data import decode
from maquette.data.decode import Decoder, lone_surrogate, refusal
from maquette.data.layout import role, split_of
from maquette.data.names import shown
from maquette.data.raw import File, Places, RawTable, Values
from maquette.data.readers import TABLES, Place, is_about, is_table
from maquette.data.typing import column_of, kind_of_values

ACCEPTS = "a table (.csv, .tsv, .jsonl, .json)"
SPLIT_COLUMN = "split"
_NAME = re.compile(r"[\w][\w \-/()]{0,39}")


@dataclass
class _Rows:
    """Rows of one file: cells by column name, the line of each, and the split that a JSON file names for it."""

    cells: list[dict[str, str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    splits = [split_of(name.removesuffix(".gz").rpartition(".")[0]) for name in names]
    named = any(role(split) in ("test", "val") for split in splits) and len(names) > 1
    made, decoder = RawTable("table", {}, (), [], files=names), Decoder()
    file, line, parts = list[int](), list[int](), list[list[dict[str, str | None]]]()
    for number, (name, split, payload) in enumerate(zip(names, splits, place.tree.payloads(numbers), strict=True)):
        try:
            characters = decoder.decode(File(name, payload).read(decode.MOST_BYTES), name)
        except Unreadable as error:
            raise refusal(name, error) from None
        rows = _READERS[_suffix(name)](characters, name, columns)
        made.left_out += rows.left_out
        made.notes += rows.notes
        made.splits += [split if named else own for own in rows.splits]
        file += [number] * len(rows.cells)
        line += rows.lines
        parts.append(rows.cells)
    made.names = Places(names, file, line)
    for column in dict.fromkeys(name for rows in parts for cells in rows for name in cells):
        values = [cells.get(column) for rows in parts for cells in rows]
        made.columns[column] = Values(_clean(values, decoder, made.names))
    _take_split_column(made)
    made.notes += decoder.notes()
    made.facts["encodings"] = decoder.encodings
    return made


def _tables(place: Place) -> list[int]:
    names = place.tree.names
    return [i for i, name in enumerate(names) if is_table(name) and not (len(names) > 1 and is_about(name))]


def _clean(values: list[str | None], decoder: Decoder, places: Sequence[str]) -> list[Any]:
    """Cells without control characters that were escaped (JSON writes NUL as \\u0000); None for blank ones."""
    for i, value in enumerate(values):
        if value is not None and not value.isprintable():  # cheap to see, and true of nearly every cell
            value = values[i] = decoder.clean(value.replace("\r\n", "\n"), places[i])
        if value is not None and not value.strip():
            values[i] = None
    return values


def _take_split_column(made: RawTable) -> None:
    """A column `split` whose values name splits says where each row belongs."""
    column = made.columns.get(SPLIT_COLUMN)
    if not isinstance(column, Values) or any(made.splits):
        return
    splits = [None if value is None else str(value) for value in column.cells]
    found = {split for split in splits if split is not None}
    roles = {*map(role, found)}
    if len(found) > 10 or "train" not in roles or not roles & {"test", "val"}:
        return
    made.splits = splits
    del made.columns[SPLIT_COLUMN]
    made.notes.append(f"Column '{SPLIT_COLUMN}' names the splits: {', '.join(sorted(map(shown, found)))}.")


# -- CSV and TSV -------------------------------------------------------------------------------------


def _read_separated(characters: str, name: str, columns: Sequence[str]) -> _Rows:
    made = _Rows()
    head = characters.partition("\n")[0]
    separator = "\t" if _suffix(name) == ".tsv" else max(",;\t", key=head.count)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    quoted = separator != "\t" or head.startswith('"')  # in most .tsv files a quotation mark is just one
    reader = csv.reader(
        io.StringIO(characters, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    header: list[str] | None = None
    pending: list[tuple[int, list[str]]] = []
    try:
        last = 0
        for cells in reader:
            line, last = last + 1, reader.line_num  # a quoted cell may go over several lines
            if not cells or cells == [""]:
                if header is not None:
                    made.left_out.append((f"{name}:{line}", "empty"))
                continue
            if header is None:
                if _is_header(cells, columns):
                    header = [cell.strip() for cell in cells]
                    if len(set(header)) < len(header):
                        twice = next(cell for cell in header if header.count(cell) > 1)
                        raise UserError(
                            f"'{shown(name)}' has two columns named '{shown(twice)}'.", "Give each its own name."
                        )
                    continue
                header = [f"col{i}" for i in range(1, len(cells) + 1)]
                made.notes.append(
                    f"'{shown(name)}' has no header: its columns are {', '.join(header)}; name the target and what is "
                    "given."
                )
            pending.append((line, cells))
    except csv.Error as error:
        raise UserError(
            f"'{shown(name)}' is damaged near line {reader.line_num:,}: {error}.", "Mend the table there."
        ) from None
    for line, cells in pending:
        assert header is not None
        if len(cells) != len(header):
            count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}, where the table has {len(header)} columns"
            made.left_out.append((f"{name}:{line}", count))
            continue
        made.cells.append(dict(zip(header, cells, strict=True)))
        made.lines.append(line)
    made.splits = [None] * len(made.cells)
    return made


def _is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the first row names the columns: it holds a name that was asked for, or looks like names."""
    names = [cell.strip() for cell in cells]
    if columns:
        if any(name in names for name in columns):
            return True
        if all(re.fullmatch(r"col\d+", name) for name in columns):
            return False
    return len(set(names)) == len(names) and all(
        _NAME.fullmatch(name) and not name.replace(" ", "").isdigit() and name.count(" ") < 3 for name in names
    )


# -- JSON --------------------------------------------------------------------------------------------


def _read_lines(characters: str, name: str, columns: Sequence[str]) -> _Rows:
    made = _Rows()
    for number, line in enumerate(characters.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _add(made, json.loads(line), name, number, None)
        except RecursionError:
            made.left_out.append((f"{name}:{number}", "not JSON: nested too deeply"))
        except ValueError as error:
            made.left_out.append((f"{name}:{number}", f"not JSON: {_brief(error)}"))
    return made


def _read_json(characters: str, name: str, columns: Sequence[str]) -> _Rows:
    """A list of objects, or an object of such lists: by split, or one list of rows among other things."""
    try:
        found = json.loads(characters)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        if "\n{" in characters.strip():
            return _read_lines(characters, name, columns)  # JSON lines under another name
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
    lists = {key: value for key, value in found.items() if isinstance(value, list)} if isinstance(found, dict) else {}
    splits = {key: rows for key, rows in lists.items() if role(key)}
    if splits:
        yield from splits.items()
    elif len(lists) == 1:
        yield None, next(iter(lists.values()))
    else:
        raise UserError(
            f"'{shown(name)}' holds no table: it is not a list of objects.", 'Write [{"column": "value", ...}, ...].'
        )


def _add(made: _Rows, row: Any, name: str, number: int, split: str | None) -> None:
    """One object of a JSON file as a row; what cannot be one is left out by name."""
    if isinstance(row, str):
        row = {_alone(): row}
    where = f"{name}, {split}:{number}" if split else f"{name}:{number}"
    if not isinstance(row, dict):
        made.left_out.append((where, "not an object"))
        return
    cells = {str(key): _written(value) for key, value in row.items()}
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


def _suffix(name: str) -> str:
    bare = name.lower().removesuffix(".gz")
    return next(suffix for suffix in sorted(TABLES, key=len, reverse=True) if bare.endswith(suffix))


_READERS: dict[str, Callable[[str, str, Sequence[str]], _Rows]] = {
    ".csv": _read_separated, ".tsv": _read_separated, ".jsonl": _read_lines, ".ndjson": _read_lines,
    ".json": _read_json,
}  # fmt: skip
