"""Separated values as all kinds of programs write them: what separates cells, what is a header, what is a row.

A sheet is known by most of its rows: one that is like no other is left out by its line.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, groupby, islice
from typing import Any

import numpy as np

from maquette.core import limits
from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.find import modality_names
from maquette.core.modality import Unreadable
from maquette.core.spec import plain
from maquette.data.names import LISTED, shown, some

SAMPLE = 2**16  # characters by which a separator is told
JUDGED = 200  # rows by which a header is
USUAL = "\t;|,"  # separators; where several divide all rows alike, the first
NOWHERE = "\x01"  # separates nothing: control characters are gone
ALIKE = 0.8  # share of rows with as many cells as the first
NAMED_ALIKE = 0.2  # ... where the first looks like names: cells with separators in them may not be quoted
ROW, CELL, NUMBER = 320, 90, 8  # bytes that a row takes, and each of its cells, or numbers of an array
MOST_COLUMNS = 2**18
SIDE = 8  # cells, at least, of square arrays that are written out as columns
MOST_ABOVE = 6  # lines above a table, such as a title
SEVERAL = 5  # rows a class, by which a column is one of classes
GRID = "\0grid"  # the column of square arrays, until who knows what arrays are gives it a name

_EXCEL = re.compile(r'"?sep=(.)"?[^\S\n]*(?:\n|$)', re.IGNORECASE)  # a first line of Excel's own
_NAME = re.compile(r"[\w#@$][\w \-/():.#%&+'\[\]]{0,39}(?<!\.)")
_NUMBER = re.compile(r"[-+]?[.,]?\d[\d.,]*(e[-+]?\d+)?%?|nan|inf", re.IGNORECASE)
_FILE = re.compile(r"\S(.*\S)?\.[A-Za-z]\w{1,4}")
_COUNTED = re.compile(r"col\d+")  # what columns without names are called
_INDEX = re.compile(r"|Unnamed: \d+")  # how pandas calls a column that counts the rows
_NUMBERED = re.compile(r"(.*?)\d+(?:[x_]\d+)?")


@dataclass
class Sheet:
    """header: names of the columns, no two alike; rows: (line in the file, cells), a cell for each column."""

    header: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[Any]]] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Marks:
    """Quotation marks that close in the middle of a cell. early: lines of such; unclosed: (line, reason) of rows that
    run on into further lines, since their own mark is not closed"""

    early: list[int] = field(default_factory=list)
    unclosed: list[tuple[int, str]] = field(default_factory=list)


def sheet_of(characters: str, name: str, columns: Sequence[str] = (), size: int = 0) -> Sheet:
    """The sheet that separated values make up.

    name: of the file      columns: names by which a header is known      size: bytes of the file

    Raises UserError where a quotation mark is never closed, limits.TooMuch where there are too many rows for that size.
    """
    excel, marks = _EXCEL.match(characters), _Marks()
    if excel:
        records = _records(characters[excel.end() :], excel[1], '"', name, marks, 1)
    else:
        records = _records(characters, *_form(characters, columns), name, marks)
    made = sheet(records, name, columns, size)
    made.left_out += marks.unclosed
    if marks.early:
        more = counted(len(marks.early) - 1, "more line", "more lines")
        rest = f" (and {more})" if len(marks.early) > 1 else ""
        made.notes.append(
            f"A cell in line {marks.early[0]:,} of '{shown(name)}' goes on after its closing quotation mark{rest}: the "
            "marks are dropped."
        )
    return made


def sheet(records: Iterable[tuple[int, list[str]]], name: str, columns: Sequence[str] = (), size: int = 0) -> Sheet:
    """The sheet that rows of cells make up. records: (line in the file, cells), the header among them."""
    rest = iter(records)
    first = next(((line, cells) for line, cells in _held(rest, size) if any(map(str.strip, cells))), None)
    made = Sheet()
    if first is None:
        return made
    judged = list(islice(_held(rest, size), JUDGED))
    while len([*filter(str.strip, first[1])]) == 1 and not _known(first[1], columns):  # a title above the table
        full = [record for record in judged if any(record[1])]
        if not (full and all(full[0][1]) and _is_surely_header([cells for _, cells in full])):
            break
        made.notes.append(f"Line {first[0]} of '{shown(name)}' stands above the table: it is not read.")
        first, judged = full[0], judged[judged.index(full[0]) + 1 :]
    head, body = first[1], [cells for _, cells in judged if any(cells) and cells != first[1]]
    width = Counter(map(len, body)).most_common(1)[0][0] if body else len(head)
    again: list[str] | None = None
    if _is_header(head, body, columns):
        again = head
        if not _known(head, columns) and not _told(head, body):
            listed = some(filter(None, head), LISTED)
            made.notes.append(
                f"The first row of '{shown(name)}' is read as its header: {listed}; if it is none, name the columns: "
                "col1, col2, ..."
            )
        if width == len(head) + 1 and len(head) > 1 and _counts([row[0] for row in body if len(row) == width]):
            head = ["", *head]  # as R writes it
        names = [plain(" ".join(cell.split())) for cell in head]
    else:
        names = [f"col{i}" for i in range(1, max(width, len(head)) + 1)]
        judged = [first, *judged]
        listed = some(names, LISTED)
        made.notes.append(
            f"'{shown(name)}' has no header: its columns are {listed}; name the target and what is given."
        )
    grid = _grid(names, body)
    repeated = _fill(made, _held(chain(judged, rest), size, grid), len(names), again, grid)
    if repeated:
        rows = counted(repeated, "more row: it is", "more rows: they are")
        made.notes.append(f"The header of '{shown(name)}' stands in {rows} not read.")
    if grid:
        side = math.isqrt(grid.stop - grid.start)
        made.notes.append(
            f"Columns '{shown(names[grid.start])}' to '{shown(names[grid.stop - 1])}' of '{shown(name)}' are read as "
            f"one array of {side} x {side} a row."
        )
        if _COUNTED.fullmatch(names[0]) and len(names) == grid.stop - grid.start + 1:
            names[0 if grid.start else -1] = "label"
        names[grid] = [GRID]
    made.header = names
    _name_all(made, name)
    return made


def _held(
    records: Iterable[tuple[int, list[str]]], size: int, grid: slice | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The same, as long as they may be held in memory. grid: cells of which numbers alone are kept"""
    total = checked = 0
    for line, cells in records:
        if len(cells) > MOST_COLUMNS:
            raise Unreadable(f"line {line:,} has {len(cells):,} cells, and a table {MOST_COLUMNS:,} at most")
        kept = [*cells[: grid.start], *cells[grid.stop :]] if grid else cells
        total += ROW + sum(map(sys.getsizeof, kept)) + NUMBER * len(cells)  # as many bytes as a pointer to a cell
        if total - checked > limits.STEP:
            limits.check(total, of=size)
            checked = total
        yield line, cells


# -- which form --------------------------------------------------------------------------------------


def _form(characters: str, columns: Sequence[str]) -> tuple[str, str]:
    """What separates the cells, and the quotation mark that holds one together; "" where marks are just marks."""
    sample = characters[:SAMPLE]
    if len(sample) < len(characters):
        sample = sample[: sample.rfind("\n") + 1] or sample
    lines = [line for line in sample.split("\n") if line.strip()]
    for above in range(min(MOST_ABOVE, len(lines))):
        below = "\n".join(lines[above:]) if above else sample
        form = _divided(below, lines[above], columns)
        if form and (not above or _is_surely_header(_parsed(below, *form))):
            return form
    return NOWHERE, _quote(sample, NOWHERE, '"') if lines else ""


def _divided(sample: str, first: str, columns: Sequence[str]) -> tuple[str, str] | None:
    """The separator that divides rows most alike, by their first line."""
    found: list[tuple[float, str, str]] = []
    for separator in USUAL:
        if separator in first:
            quote = _quote(sample, separator, first)
            found.append((_score(_parsed(sample, separator, quote), columns), separator, quote))
    if not any(score for score, _, _ in found):
        for separator in sorted({c for c in first if not (c.isalnum() or c.isspace() or c in "\"'_-./\\()[]{}?!")}):
            rows = _parsed(sample, separator, '"')
            spoken = separator == ":" and ": " in first  # who speaks, say
            if len(rows) > 2 and not spoken and {*map(len, rows)} == {len(rows[0])}:
                found.append((_score(rows, columns), separator, '"'))
        rows = _parsed(sample, " ", '"')
        if _known(rows[0] if rows else [], columns) and _score(rows, columns) >= 1:
            found.append((1, " ", '"'))
    if not any(score for score, _, _ in found):  # a mark may hold all rows together, for want of another
        bare = [(_score(_parsed(sample, separator, ""), columns), separator) for _, separator, _ in found]
        found = [(score, separator, '"') for score, separator in bare if score >= ALIKE and '"' in sample]
    best = max(found, key=lambda entry: entry[0], default=(0.0, "", ""))  # the first of equals
    return best[1:] if best[0] else None


def _score(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> float:
    """How well a separator divides: the share of rows that it divides like the first, 1 more for a known name."""
    if not rows or len(rows[0]) < 2:
        return 0.0
    first = rows[0]
    sizes = [len(row) if any(row[len(first) :]) else min(len(row), len(first)) for row in rows[1:]]
    share = max(sizes.count(len(first)), sizes.count(len(first) + 1)) / len(sizes) if sizes else 1.0
    named = any(plain(cell) in columns for cell in first)
    looks = named or all(_NAME.fullmatch(plain(cell)) or not cell.strip() for cell in first)
    return share + named if share >= (NAMED_ALIKE if looks else ALIKE) else 0.0


def _quote(sample: str, separator: str, first: str) -> str:
    """The mark that holds cells together; between tabs, or alone in a line, a quotation mark is mostly just one."""
    if separator not in ("\t", NOWHERE):
        return "'" if re.match(rf"'[^']*'\s*{re.escape(separator)}", first) else '"'
    try:
        quoted = [*csv.reader(io.StringIO(sample, newline=""), delimiter=separator, strict=True)]
    except csv.Error:
        return ""
    bare = [len(row) for row in _parsed(sample, separator, "")]
    return '"' if first.startswith('"') or len({len(row) for row in quoted}) < len({*bare}) else ""


def _parsed(sample: str, separator: str, quote: str) -> list[list[str]]:
    try:
        return [row for row in _reader(io.StringIO(sample, newline=""), separator, quote, sample) if any(row)]
    except csv.Error:
        return []


def _reader(lines: Iterable[str], separator: str, quote: str, sample: str, strict: bool = False) -> Any:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    return csv.reader(
        lines, delimiter=separator, quotechar=quote or '"', strict=strict,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        skipinitialspace=bool(quote) and f"{separator} {quote}" in sample[:SAMPLE],
    )  # fmt: skip


def _records(
    characters: str, separator: str, quote: str, name: str, marks: _Marks, before: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row. before: lines of the file that stand before these."""
    lines = _Lines(characters)
    reader, end = _reader(lines, separator, quote, characters, strict=True), 0
    while True:
        start = end + 1  # a quoted cell may go over several lines
        try:
            cells = next(reader, None)
            end = reader.line_num
            if cells is None:
                return
            yield before + start, cells
        except csv.Error as error:
            end = reader.line_num
            if str(error).startswith("unexpected end"):
                raise UserError(
                    f"'{shown(name)}' is damaged: the quotation mark in line {before + start:,} is never closed.",
                    "Close it, or write it twice where it is part of a cell.",
                ) from None
            if "expected after" not in str(error):
                raise UserError(
                    f"'{shown(name)}' is damaged near line {before + end:,}: {error}.", "Mend the table there."
                ) from None
            if end > start:
                reason = f"its quotation mark is not closed before line {before + end:,}"
                marks.unclosed.append((before + start, reason))
            else:
                marks.early.append(before + start)
                yield before + start, next(_reader([lines.last], separator, quote, characters))


class _Lines:
    """Lines of characters, each with its end. last: the one that was given last"""

    def __init__(self, characters: str) -> None:
        self._lines, self.last = io.StringIO(characters, newline=""), ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.last = next(self._lines)
        return self.last


# -- the header --------------------------------------------------------------------------------------


def _is_header(first: Sequence[str], body: Sequence[Sequence[str]], columns: Sequence[str]) -> bool:
    """Whether the first row names the columns: it holds a known name, differs in kind from what stands below it, or
    looks like names."""
    names = [plain(cell) for cell in first]
    if any(name in columns for name in names):
        return True
    if columns and all(map(_COUNTED.fullmatch, columns)):
        return False
    counted = [name for name in names if name]
    if len(names) > 1 and counted == [str(i) for i in range(len(counted))]:
        return True  # pandas counts columns from 0
    if _told(first, body) or _known(first, ()):
        return True
    if any(_NUMBER.fullmatch(name) or _FILE.fullmatch(name) for name in counted):
        return False
    if any(name and name in {plain(row[i]) for row in body if i < len(row)} for i, name in enumerate(names)):
        return False  # a class, say, that comes again
    looks = [bool(_NAME.fullmatch(name)) and name.count(" ") < 3 for name in counted]
    return 2 * sum(looks) > len(looks)


def _is_surely_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of these rows names several columns, by more than its looks."""
    return len(rows) > 1 and len(rows[0]) > 1 and (_known(rows[0], ()) or _told(rows[0], rows[1:]))


def _told(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether a column holds nothing but numbers, names of files or a few classes, and the first row something else."""
    for i, name in enumerate(map(plain, first)):
        cells = [cell for row in body if i < len(row) and (cell := row[i].strip())]
        if not name or not cells:
            continue
        for form in (_NUMBER, _FILE):
            if not form.fullmatch(name) and all(map(form.fullmatch, cells)):
                return True
        if len(cells) >= SEVERAL * len({*cells}) and name not in map(plain, cells):
            return True
    return False


def _known(first: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a first row holds a name that was asked for, or that columns often have."""
    usual = {"id", "name", "title", "split", "file", "filename", "file_name", "path", *modality_names()}
    return any(plain(cell).lower() in usual or plain(cell) in columns for cell in first)


def _counts(cells: Sequence[Any]) -> bool:
    """Whether these are whole numbers, each different: a column that counts the rows."""
    return len({*cells}) == len(cells) and all(isinstance(cell, str) and cell.strip().isdecimal() for cell in cells)


def _name_all(made: Sheet, file: str) -> None:
    """Gives every column a name of its own; what counts the rows, or is empty and has no name, is no column."""
    names, gone, seen, taken = made.header, set[int](), set[str](), {*made.header}
    last, again = dict[str, int](), list[str]()
    for i, name in enumerate(names):
        column = [] if name and i else [cells[i] for _, cells in made.rows]
        if i == 0 and len(names) > 1 and _INDEX.fullmatch(name) and _counts(column):
            gone.add(i)
            made.notes.append(f"The first column of '{shown(file)}' counts the rows: it is not read.")
        elif not name and not any(isinstance(cell, str) and cell.strip() for cell in column):
            gone.add(i)
        elif not name or name in seen:
            first, stem = max(2 if name else i + 1, last.get(name, 0) + 1), f"{name}_" if name else "col"
            last[name] = next(k for k in count(first) if f"{stem}{k}" not in taken)
            names[i] = f"{stem}{last[name]}"
            again += [name] if name else []
            if name and len(again) <= SEVERAL:
                made.notes.append(
                    f"'{shown(file)}' has two columns '{shown(name)}': one is called '{shown(names[i])}'."
                )
        seen.add(names[i])
        taken.add(names[i])
    if len(again) > SEVERAL:
        made.notes.append(f"So have {len(again) - SEVERAL:,} more columns of '{shown(file)}' the name of another.")
    if gone:
        made.header = [name for i, name in enumerate(names) if i not in gone]
        made.rows = [(line, [c for i, c in enumerate(cells) if i not in gone]) for line, cells in made.rows]


# -- the rows ----------------------------------------------------------------------------------------


def _fill(
    made: Sheet, records: Iterable[tuple[int, list[str]]], width: int, again: list[str] | None, grid: slice | None
) -> int:
    """Takes rows of so many cells; returns how often the header came again. What is no such row is left out."""
    repeated = 0
    for line, cells in records:
        if not any(map(str.strip, cells)):
            made.left_out.append((line, "empty"))
        elif cells == again:
            repeated += 1
        elif len(cells) != width and (len(cells) < width or any(map(str.strip, cells[width:]))):
            many = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
            made.left_out.append((line, f"{many}, where the table has {width} columns"))
        elif grid is None:
            made.rows.append((line, cells if len(cells) == width else cells[:width]))
        else:
            try:
                values = np.array([float(cell) for cell in cells[grid]])
            except ValueError:
                made.left_out.append((line, "not numbers alone"))
                continue
            side, whole = math.isqrt(len(values)), values.astype(np.uint8)
            array = (whole if (whole == values).all() else values).reshape(side, side)
            made.rows.append((line, [*cells[: grid.start], array, *cells[grid.stop : width]]))
    return repeated


def _grid(names: Sequence[str], body: Sequence[Sequence[str]]) -> slice | None:
    """Numbered columns, side by side, of whole numbers up to 255, that make up a square; None: there are none."""
    stems = [found[1] if (found := _NUMBERED.fullmatch(name)) else None for name in names]
    runs = [[*run] for stem, run in groupby(range(len(names)), stems.__getitem__) if stem is not None]
    longest = max(runs, key=len, default=[0])
    start, stop = longest[0], longest[-1] + 1
    if _COUNTED.fullmatch(names[0]) and math.isqrt(stop - start) ** 2 == stop - start - 1:  # one of them is a class
        still = len({row[0] for row in body if row}) < 2
        start, stop = (start, stop - 1) if still else (start + 1, stop)
    side = math.isqrt(stop - start)
    if side < SIDE or side**2 != stop - start:
        return None
    cells = {cell.strip() for row in body if len(row) >= stop for cell in row[start:stop]}
    return slice(start, stop) if cells and all(c.isdecimal() and int(c) < 256 for c in cells) else None
