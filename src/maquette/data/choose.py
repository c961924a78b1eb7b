"""Which columns of a table are used: what is made, what it depends on, and all classes, which evaluation needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maquette.core.errors import UserError, nearest
from maquette.core.find import find_modality, modality_names
from maquette.core.modality import noun
from maquette.core.spec import ClassSpec, ColumnSpec, DataSpec, NumberSpec
from maquette.data.names import LISTED, shown, some
from maquette.data.raw import Cells, RawTable, Values

LABEL = "label"  # the column that recipes are given where they name none
ALIKE = 3  # columns of writing, the longer of which is at most so many times the other, may say the same


@dataclass(frozen=True)
class Use:
    """What is done with the columns of a table.

    kinds:   of every used column, its modality        target: the columns that are to be made
    content: those that tell rows apart: neither classes nor numbers, as long as there are others
    look:    nothing was chosen among several columns: each is looked at for itself, and nothing is learned
    unused:  columns that are left aside -> the modality of each, "" where none claims it
    may_miss: given columns that a row may lack and be used all the same
    """

    kinds: dict[str, str]
    target: tuple[str, ...]
    content: tuple[str, ...]
    look: bool
    unused: dict[str, str]
    may_miss: tuple[str, ...] = ()

    @property
    def thing(self) -> str:
        """The modality whose items rows are called after."""
        return self.kinds[(*self.target, *self.content)[0]]

    def notes(self) -> list[str]:
        if not self.unused:
            return []
        named = [f"'{name}' ({kind or 'nothing known'})" for name, kind in self.unused.items()]
        more = f" and {len(named) - LISTED:,} more" if len(named) > LISTED else ""
        verb = "is" if len(named) == 1 else "are"
        return [f"{', '.join(named[:LISTED])}{more} {verb} not used: name a column as target or as given."]


def choose(
    table: RawTable, kinds: Mapping[str, str], target: Sequence[str], given: Sequence[str], like: DataSpec | None,
    source: str, may_miss: tuple[type[ColumnSpec], ...] = (),
) -> Use:  # fmt: skip
    """The columns to be used. kinds: modality of each column that one claims; (), (): all of them are looked at.

    may_miss: forms of given columns that a row may lack

    Raises UserError for columns that are not there, or of which nothing can be made.
    """
    _check(table, kinds, target, given, like, source)
    asked = (*target, *given)
    classes = [name for name, kind in kinds.items() if has_form(kind, ClassSpec)]
    plain = [name for name, kind in kinds.items() if has_form(kind, ClassSpec, NumberSpec)]
    rest = [name for name in kinds if name not in plain and name not in given]
    look = not target and len(rest) > 1
    made = tuple(target) or (() if look else tuple(rest or [name for name in kinds if name not in given][:1]))
    used = [name for name in kinds if name in (*made, *asked, *classes) or not asked]
    content = tuple(name for name in sorted(used) if name not in plain) or tuple(sorted(used))
    return Use(
        {name: kinds[name] for name in used}, made, content, look,
        {shown(name): kinds.get(name, "") for name in table.columns if name not in used},
        tuple(name for name in given if may_miss and has_form(kinds[name], *may_miss)),
    )  # fmt: skip


def suggest(
    table: RawTable, kinds: Mapping[str, str], given: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What could be made of a table where nobody says it: the target, and what it is given beside its label.

    Files and arrays come before what is written; of two columns of writing that are alike in length the second is made
    from the first, of others the longest is made. Given is the only column of classes, or else of files what is written
    of them. Columns that are mostly empty, or number the rows, are neither.

    given: columns that were chosen. (), (): there is nothing to suggest
    """
    rest = [name for name, kind in kinds.items() if name not in given and not has_form(kind, ClassSpec, NumberSpec)]
    whole = [name for name in rest if not isinstance(table.columns[name], Values)]
    sizes = {name: size for name in rest if name not in whole and (size := _size_of_writing(table.columns[name]))}
    classes = [name for name, kind in kinds.items() if has_form(kind, ClassSpec)]
    labelled = bool(given) or (LABEL in kinds and has_form(kinds[LABEL], ClassSpec))
    if whole:
        beside = classes if len(classes) == 1 else [*whole[1:], *sizes]
        return (whole[0],), () if labelled else tuple(beside[:1])
    if len(sizes) == 2 and max(sizes.values()) <= ALIKE * min(sizes.values()) and not given:
        first, second = sizes
        return (second,), (first,)
    target = max(sizes, key=lambda name: sizes[name]) if sizes else next(iter(rest), None)
    return (target,) if target else (), tuple(classes) if target and len(classes) == 1 and not labelled else ()


def _size_of_writing(cells: Cells) -> float:
    """Characters of a cell on average; 0 for a column that is mostly empty, or holds names and numbers of things."""
    values = [str(cell) for cell in cells.take(range(len(cells))) if cell is not None]
    if 2 * len(values) < len(cells):
        return 0.0
    codes = sum(
        value.isascii() and (" " not in value) and any(c in "0123456789:/_@" for c in value) for value in values
    )
    return 0.0 if 2 * codes > len(values) else sum(map(len, values)) / max(len(values), 1)


def has_form(kind: str, *forms: type[ColumnSpec]) -> bool:
    """Whether columns of a modality are of one of these forms."""
    return issubclass(find_modality(kind).Spec, forms)


def _check(
    table: RawTable, kinds: Mapping[str, str], target: Sequence[str], given: Sequence[str], like: DataSpec | None,
    source: str,
) -> None:  # fmt: skip
    listed = some(table.columns, LISTED) or "none"
    for name in (*target, *given):
        if name in kinds and like is not None and name not in like.columns:
            raise UserError(f"The run has no column '{shown(name)}'.", f"It has {', '.join(like.columns)}.")
        if name in table.columns and name not in kinds:
            raise UserError(
                f"Nothing is known that column '{shown(name)}' of '{shown(source)}' could hold.",
                f"Say what it holds with data.kinds: {', '.join(modality_names())}.",
            )
        if name in table.columns:
            continue
        if name in modality_names() and name not in kinds.values():
            raise UserError(
                f"'{shown(source)}' holds no {noun(name)}: its columns are {listed}.",
                "Name one of them as target, and choose a recipe of its kind: see `maquette recipes`. Items that are "
                "arrays of numbers are read from .npz or .npy files.",
            )
        hint = nearest(name, table.columns) if name not in modality_names() else ""
        if all(part.strip() in table.columns for part in name.split(",")):
            hint = f"Did you mean several? Name each on its own: {' '.join(map(shown, name.split(',')))}."
        options = [column for column, kind in kinds.items() if not has_form(kind, ClassSpec, NumberSpec)]
        role = "target" if name in target else "given"
        fitting = options if role == "target" and options else list(table.columns)
        raise UserError(
            f"The data has no column '{shown(name)}'; it has {listed}.",
            hint if hint.startswith("Did") else f"Name another {role}: {' or '.join(map(shown, fitting[:6]))}.",
        )
    if both := set(target) & set(given):
        raise UserError(f"'{shown(min(both))}' is both the target and what is given.", "Name two different columns.")
    if not kinds:
        raise UserError(
            f"There is nothing to learn from in '{shown(source)}': columns: {listed}.",
            "Name data with a column of items: files, or cells of a table.",
        )
