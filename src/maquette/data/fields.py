"""Columns that the names of files tell, by data.label_pattern: '{label}_{who}_{take}' makes three of 7_theo_12.wav."""

from __future__ import annotations

import re
from collections.abc import Sequence

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.spec import plain
from maquette.data.names import shown, some
from maquette.data.raw import Files, RawTable, Values

LABEL = "label"
_FIELD = re.compile(r"\{([^{}/]*)\}")


def take_fields(table: RawTable, pattern: str, needed: bool = True) -> None:
    """Adds a column for each field of the pattern, of what stands in its place in the name of a row's file.

    pattern: of the name without its suffix; with '/', of as many folders above it. Each field is as short as can be.
    needed:  whether a pattern that no name has is an error, or means nothing
    A row whose file is called otherwise has no value there. A field `label` stands in for the names of folders.
    """
    fields, between = _parsed(pattern)
    files = next((cells for cells in table.columns.values() if isinstance(cells, Files)), None)
    if files is None:
        if needed:
            raise UserError("A pattern is of the names of files, and this data has none.", "Leave it out.")
        return
    depth = pattern.count("/") + 1
    stems = ["" if name is None else _stem(name, depth) for name in files.names]
    found = [_values(stem, between) for stem in stems]
    if not any(found):
        if needed:
            raise UserError(f"No file is called as '{pattern}' says: {some(stems)}.", "Each {field} is one column.")
        return
    for number, field in enumerate(fields):
        if field in table.columns and field != LABEL:
            if not needed:
                continue  # the data says it by itself
            raise UserError(
                f"The data has a column '{shown(field)}' already.", "Call the field of the pattern another."
            )
        table.columns[field] = Values([None if values is None else plain(values[number]) for values in found])
    table.categories |= {LABEL} & {*fields}
    others = [table.names[row] for row, values in enumerate(found) if values is None]
    if others:
        are = counted(len(others), "file is", "files are")
        table.notes.append(f"{are} not called as '{pattern}' says ({some(others)}): nothing is known of them.")


def _stem(name: str, depth: int) -> str:
    """The last parts of a path, without a suffix."""
    parts = name.split("/")[-depth:]
    return "/".join([*parts[:-1], parts[-1].rpartition(".")[0] or parts[-1]])


def _parsed(pattern: str) -> tuple[Sequence[str], Sequence[str]]:
    """The fields, and what stands before, between and behind them."""
    fields = [plain(field) for field in _FIELD.findall(pattern)]
    if not fields or not all(fields) or len({*fields}) < len(fields) or "}{" in pattern:
        raise UserError(
            f"'{pattern}' is no pattern of names.",
            "Write a name in braces for each column, with what stands between them: '{label}_{speaker}_{take}'.",
        )
    return fields, _FIELD.split(pattern)[::2]


def _values(stem: str, between: Sequence[str]) -> list[str] | None:
    """What stands in the place of each field, at least a character; None where the name is another. No expression is
    made of the pattern: one of many fields would take for ever on some names."""
    first, *middle, last = between
    if not stem.startswith(first) or not stem.endswith(last):
        return None
    at, end, found = len(first), len(stem) - len(last), list[str]()
    for literal in middle:
        to = stem.find(literal, at + 1, end)
        if to < 0:
            return None
        found.append(stem[at:to])
        at = to + len(literal)
    found.append(stem[at:end])
    return None if at >= end or any("/" in value for value in found) else found
