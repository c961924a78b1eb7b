"""Files that a table lists: metadata.csv or .jsonl, or any table whose cells name files that are there.

A column `file_name` names a file of each row, relative to the table's own folder, and becomes a column that is called
after the kind of these files; a column `x_file_name` becomes the column `x`. All other columns are values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.modality import noun
from maquette.data.names import shown, some
from maquette.data.raw import Places, RawTable, Values
from maquette.data.readers import Place, is_table
from maquette.data.readers import tables as plain
from maquette.data.readers.items import laid_out
from maquette.data.typing import HEAD, column_of

ACCEPTS = "metadata.csv or .jsonl with a column file_name beside such files"
FILE = "file_name"
USUAL = "metadata."


def beside(path: Path) -> list[Path]:
    """The folder of a table that may list files."""
    if not is_table(path.name):
        return []
    with path.open("rb") as file:
        return [path.parent] if FILE.encode() in file.read(HEAD) else []


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
        whole.tree = whole.folder
    names = whole.tree.names
    tables = [names.index(place.tree.names[i]) for i in _tables(place)]
    listed = plain.parsed(whole, tables, [*columns, FILE])
    found, unknown = _files(whole, listed)
    rows = [row for row in range(len(listed)) if any(numbers[row] >= 0 for numbers in found.values())]
    if alone and not rows:
        return plain.read(place, columns)
    kinds = {name: _kind(whole, numbers) for name, numbers in found.items()}
    called = {
        name: name.removesuffix(f"_{FILE}") if name != FILE else column_of(kind) if kind else "file"
        for name, kind in kinds.items()
    }
    numbers = {name: [found[name][row] for row in rows] for name in found}
    if [*found] == [FILE]:  # files of the kind that no table lists are rows of their own
        named = {*numbers[FILE]}
        kind = kinds[FILE] or next(iter(whole.items))
        rest = [] if alone else [i for i in whole.items.get(kind, ()) if i not in named]
        order = sorted(zip([*numbers[FILE], *rest], [*rows, *[-1] * len(rest)], strict=True))
        numbers, rows = {FILE: [number for number, _ in order]}, [row for _, row in order]
        called[FILE] = column_of(kind)
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
        made.notes.append(f"The table names {len(unknown):,} files that are not there: {some(unknown)}.")
    return made


def _tables(place: Place) -> list[int]:
    """Numbers of the tables that may list files: those called metadata; else those that speak of file names."""
    names = place.tree.names
    tables = [i for i, name in enumerate(names) if is_table(name)]
    usual = [i for i in tables if names[i].rpartition("/")[2].lower().startswith(USUAL)]
    if place.tree.form != "file" and usual:
        return usual
    return [i for i in tables if FILE.encode() in place.tree.head(i, HEAD)]


def _files(place: Place, listed: RawTable) -> tuple[dict[str, list[int]], list[str]]:
    """column -> number of the file of each row, -1 for none; and names of files that are not there."""
    at = {name: i for i, name in enumerate(place.tree.names)}
    places = listed.names
    assert isinstance(places, Places)
    folders = [name.rpartition("/")[0] for name in places.files]
    found: dict[str, list[int]] = {}
    unknown: list[str] = []
    for name, cells in listed.columns.items():
        if name != FILE and not name.endswith(f"_{FILE}"):
            continue
        assert isinstance(cells, Values)
        found[name] = []
        for file, cell in zip(places.file, cells.cells, strict=True):
            parts = f"{folders[file]}/{cell or ''}".replace("\\", "/").split("/")
            number = -1 if cell is None else at.get("/".join(part for part in parts if part not in ("", ".")), -1)
            if number < 0 and cell is not None:
                unknown.append(str(cell))
            found[name].append(number)
    if not found:
        raise UserError(
            f"'{shown(places.files[0])}' has no column '{FILE}'.", "Give each row the path of its file, or several."
        )
    return found, unknown


def _kind(place: Place, numbers: Sequence[int]) -> str | None:
    """The modality of most of these files."""
    kinds = [kind for i in numbers if i >= 0 and (kind := place.kinds[i]) is not None]
    return max(dict.fromkeys(kinds), key=kinds.count, default=None)
