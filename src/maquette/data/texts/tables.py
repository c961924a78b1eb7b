"""Tables of texts: CSV and TSV, JSON lines, and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.text import shown
from maquette.data.texts.decode import Decoder, lone_surrogate, refusal
from maquette.data.texts.material import Material, place, refuse_if, role, split_of

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
SPLIT_COLUMN = "split"
_NAME = re.compile(r"[\w][\w \-/()]{0,39}")


@dataclass
class _Rows:
    """Rows of one file: cells by column name, and the line of each."""

    cells: list[dict[str, str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    stems: list[str | None] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_table(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_tables(
    names: Sequence[str], read: Callable[[str], bytes], decoder: Decoder, asked: Sequence[str], strict: bool
) -> Material:
    """One material of all these files, one below the other. asked: columns that the user named."""
    splits = [split_of(name.removesuffix(".gz").rpartition(".")[0]) for name in names]
    named = any(role(stem) in ("test", "val") for stem in splits) and len(names) > 1
    made = Material("table", "rows", {}, list(names), [], [], [], encodings=decoder.encodings)
    columns: dict[str, None] = {}
    parts = []
    for name, split in zip(names, splits, strict=True):
        try:
            text = decoder.text(read(name), name)
        except Unreadable as error:
            raise refusal(name, error) from None
        rows = _READERS[_suffix(name)](text, name, asked)
        refuse_if(strict, rows.left_out)
        made.left_out += rows.left_out
        made.notes += rows.notes
        parts.append((rows, split if named else None))
        for cells in rows.cells:
            columns.update(dict.fromkeys(cells))
    made.columns = {column: [] for column in columns}
    for number, (rows, stem) in enumerate(parts):
        made.file += [number] * len(rows.cells)
        made.line += rows.lines
        made.stems += [stem or own for own in rows.stems]
        for column, values in made.columns.items():
            values += [cells.get(column) for cells in rows.cells]
    _clean(made, decoder)
    _take_split_column(made)
    made.text_columns = [name for name, values in made.columns.items() if is_text(values)]
    return made


def _clean(made: Material, decoder: Decoder) -> None:
    """Takes control characters out of cells that had them escaped (JSON writes NUL as \\u0000)."""
    for column, values in made.columns.items():
        for i, value in enumerate(values):
            # Nearly every cell is printable but for its line ends: cheap to see.
            if value and not value.isprintable():
                value = value.replace("\r\n", "\n")
                values[i] = decoder.clean(value, made.place(i))
        made.columns[column] = values


def _take_split_column(made: Material) -> None:
    """A column `split` whose values name splits says where each row belongs."""
    values = made.columns.get(SPLIT_COLUMN)
    if values is None or any(made.stems):
        return
    found = {value for value in values if value}
    if not found or len(found) > 10 or not any(role(value) == "train" for value in found):
        return
    if not any(role(value) in ("test", "val") for value in found):
        return
    made.stems = list(values)
    del made.columns[SPLIT_COLUMN]
    made.notes.append(f"Column '{SPLIT_COLUMN}' names the splits: {', '.join(sorted(map(shown, found)))}.")


def is_text(values: Sequence[str | None]) -> bool:
    """Whether a column may be text, and not numbers."""
    for value in values[:1000]:
        if value:
            try:
                float(value)
            except ValueError:
                return True
    return False


# -- CSV and TSV -------------------------------------------------------------------------------------


def _read_separated(text: str, name: str, asked: Sequence[str]) -> _Rows:
    made = _Rows()
    head = text[: text.find("\n")] if "\n" in text else text
    separator = "\t" if _suffix(name) == ".tsv" else max(",;\t", key=head.count)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    quoted = separator != "\t" or head.startswith('"')  # in most .tsv files a quotation mark is just one
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    )
    header: list[str] | None = None
    pending: list[tuple[int, list[str]]] = []
    try:
        last = 0
        for cells in reader:
            line, last = last + 1, reader.line_num  # a quoted cell may go over several lines
            if not cells or cells == [""]:
                if header is not None:
                    made.left_out.append((place(name, line), "empty"))
                continue
            if header is None:
                if _is_header(cells, asked):
                    header = [cell.strip() for cell in cells]
                    if len(set(header)) < len(header):
                        twice = next(cell for cell in header if header.count(cell) > 1)
                        raise UserError(
                            f"'{shown(name)}' has two columns named '{shown(twice)}'.", "Give each its own name."
                        )
                    continue
                header = [f"col{i}" for i in range(1, len(cells) + 1)]
                made.notes.append(
                    f"'{shown(name)}' has no header: its columns are {', '.join(header)}; name them with "
                    "--target and --given."
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
            made.left_out.append((place(name, line), count))
            continue
        made.cells.append(dict(zip(header, cells, strict=True)))
        made.lines.append(line)
    made.stems = [None] * len(made.cells)
    return made


def _is_header(cells: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether the first row names the columns: it holds a name that was asked for, or looks like names."""
    names = [cell.strip() for cell in cells]
    if asked:
        if any(name in names for name in asked):
            return True
        if all(re.fullmatch(r"col\d+", name) for name in asked):
            return False
    return len(set(names)) == len(names) and all(
        _NAME.fullmatch(name) and not name.replace(" ", "").isdigit() and name.count(" ") < 3 for name in names
    )


# -- JSON --------------------------------------------------------------------------------------------


def _read_lines(text: str, name: str, asked: Sequence[str]) -> _Rows:
    made = _Rows()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _add(made, json.loads(line), name, number, None)
        except RecursionError:
            made.left_out.append((place(name, number), "not JSON: nested too deeply"))
        except ValueError as error:
            made.left_out.append((place(name, number), f"not JSON: {_brief(error)}"))
    return made


def _read_json(text: str, name: str, asked: Sequence[str]) -> _Rows:
    """A list of objects, or an object of such lists: by split, or one list of rows among other things."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        if "\n{" in text.strip():
            return _read_lines(text, name, asked)  # JSON lines under another name
        raise UserError(
            f"'{shown(name)}' is damaged{where}: {_brief(error)}.", "Mend the file; it must be one JSON value."
        ) from None
    made = _Rows()
    for stem, rows in _lists(found, name):
        for number, row in enumerate(rows, 1):
            _add(made, row, name, number, stem)
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
            f"'{shown(name)}' holds no table: it is not a list of objects.", 'Write [{"text": "..."}, ...].'
        )


def _add(made: _Rows, row: Any, name: str, number: int, stem: str | None) -> None:
    """One object of a JSON file as a row; what cannot be one is left out by name."""
    if isinstance(row, str):
        row = {"text": row}
    where = place(f"{name}, {stem}" if stem else name, number)
    if not isinstance(row, dict):
        made.left_out.append((where, "not an object"))
        return
    cells = {str(key): _text(value) for key, value in row.items()}
    cells = {key: value for key, value in cells.items() if value != _NESTED}
    if lone_surrogate([*cells, *(value for value in cells.values() if value)]):
        made.left_out.append((where, "half of a surrogate pair stands alone: no character"))
        return
    made.cells.append(cells)
    made.lines.append(number)
    made.stems.append(stem)


_NESTED = "\0nested"


def _text(value: Any) -> str | None:
    """A JSON value as text; lists and objects are none."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return _NESTED
    return json.dumps(value)


def _brief(error: Exception) -> str:
    text = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return text[:80] or type(error).__name__


def _suffix(name: str) -> str:
    bare = name.lower().removesuffix(".gz")
    return next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if bare.endswith(suffix))


_READERS: dict[str, Callable[[str, str, Sequence[str]], _Rows]] = {
    ".csv": _read_separated, ".tsv": _read_separated, ".jsonl": _read_lines, ".ndjson": _read_lines,
    ".json": _read_json,
}  # fmt: skip
