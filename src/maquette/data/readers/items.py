"""Files that each stand for themselves: a row a file, in folders that may name classes and splits."""

from __future__ import annotations

from collections.abc import Sequence

from maquette.core.modality import noun
from maquette.data.layout import layout
from maquette.data.raw import Cells, Files, RawTable, Values
from maquette.data.readers import Place
from maquette.data.typing import column_of

ACCEPTS = "a folder of {items}, a .zip or .tar of one"


def claims(place: Place) -> float:
    """How surely a place holds folders of single files, in [0, 1]."""
    return 0.3 if place.items else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The rows of a place that it claims, as cells. Raises UserError for what cannot be read."""
    tree = place.tree
    kind = next(iter(place.items))
    numbers = place.items[kind]
    what = noun(kind, 1) if tree.form == "file" else f"{tree.form} of {noun(kind)}"
    return laid_out(place, what, {column_of(kind): numbers}, noun(kind))


def laid_out(
    place: Place, what: str, columns: dict[str, list[int]], items: str, listed: RawTable | None = None,
    named: bool = True,
) -> RawTable:  # fmt: skip
    """A table of files, with the splits and the classes that their folders name.

    columns: name -> number of the file of each row, -1 for none; items: what they are, for people. listed: the table
    that lists these rows, with further columns; one named `label` makes folders mean nothing, as `named` = False does.
    The first file of a row names it, and where that lies tells its split and class.
    """
    files: dict[str, Cells] = {name: file_column(place, numbers) for name, numbers in columns.items()}
    firsts = [next(i for i in row if i >= 0) for row in zip(*columns.values(), strict=True)]
    names = [place.tree.names[i] for i in firsts]
    further = listed.columns if listed else {}
    kinds = {kind for i in firsts if (kind := place.kinds[i])}
    containers = {word for kind in kinds for word in (column_of(kind), noun(kind, 1), noun(kind))}
    found = layout(names, items, named and "label" not in further, listed is not None, place.splits, containers)
    classes = {} if found.classes is None else {"label": Values(list(found.classes))}
    used = {number for numbers in columns.values() for number in numbers}
    made = RawTable(
        what,
        {**files, **classes, **further},
        names,
        found.splits if listed is None or any(found.splits) else listed.splits,
        frozenset(classes),
        ignored=[name for i, name in enumerate(place.tree.names) if i not in used],
        notes=found.notes,
    )
    return without(made, found.outside)


def file_column(place: Place, numbers: Sequence[int]) -> Files:
    """Cells that are files of a place, by their numbers; -1 for none."""
    names = place.tree.names
    return Files([names[i] if i >= 0 else None for i in numbers], numbers, place.tree.payloads, place.tree.reading())


def without(table: RawTable, reasons: dict[int, str]) -> RawTable:
    """The table without these rows, which are left out by name and reason."""
    if not reasons:
        return table
    kept = [row for row in range(len(table)) if row not in reasons]
    for cells in table.columns.values():
        if isinstance(cells, Values):
            cells.cells = [cells.cells[row] for row in kept]
        elif isinstance(cells, Files):
            cells.names, cells.numbers = [cells.names[r] for r in kept], [cells.numbers[r] for r in kept]
    table.left_out += [(table.names[row], reason) for row, reason in reasons.items()]
    table.names = [table.names[row] for row in kept]
    table.splits = [table.splits[row] for row in kept]
    return table
