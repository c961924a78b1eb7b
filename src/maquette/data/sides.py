"""Which rows are held out, where the user says it by a column: all of some values (data.test_where), or whole values,
such as all that is by one person (data.split_by)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from maquette.core.counts import counted
from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError, nearest
from maquette.core.spec import plain
from maquette.data.names import shown, some
from maquette.data.raw import RawTable, Values
from maquette.data.split import by_content
from maquette.data.store import digests_of


def take_sides(table: RawTable, config: DataConfig, used: Sequence[str] = (), needed: bool = True) -> None:
    """Names a split for each row, in the place of those that the data itself names. Its column has then had its say:
    it goes, unless it is used, since some of its values are of no row to learn from.

    used: columns that the user named      needed: whether a column that is not there, or has no such values, is an
    error, or means nothing
    """
    rule = config.test_where or config.split_by
    if not rule:
        return
    try:
        held = _where(table, config.test_where) if config.test_where else _by(table, config)
    except UserError:
        if needed:
            raise
        return
    if any(table.splits):
        table.notes.append("The splits that the data itself names are not used.")
    table.splits = ["test" if one else "train" for one in held]
    if (name := plain(rule.partition("=")[0])) not in used:
        del table.columns[name]


def _where(table: RawTable, rule: str) -> np.ndarray:
    """bool[N], rows that have one of the values of a rule `column=a,b,3..7`."""
    name, sign, asked = rule.partition("=")
    if not sign or not asked.strip():
        raise UserError(f"'{rule}' does not say what is held out.", "Write column=value,value or column=0..4.")
    tests = [_test(part) for part in asked.split(",")]
    values = _values(table, plain(name))
    held = np.array([any(test(value) for test in tests) for value in values])
    if held.all() or not held.any():
        raise UserError(
            f"{'Every' if held.all() else 'No'} row has {rule}.", f"There are {some(dict.fromkeys(values))}."
        )
    return held


def _test(part: str) -> Callable[[str], bool]:
    """Whether a value is the one, or within the range of numbers, that is written."""
    low, dots, high = part.partition("..")
    try:
        if dots:
            first, last = float(low), float(high)
            return lambda value: first <= _number(value) <= last
    except ValueError:
        pass
    return lambda value: value == plain(part)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _by(table: RawTable, config: DataConfig) -> np.ndarray:
    """bool[N]: all rows of a value are on one side; which, follows from the value itself, as it does from content."""
    name = plain(config.split_by or "")
    values = _values(table, name)
    different = sorted({*values})
    if len(different) < 2:
        raise UserError(f"All rows have the same '{shown(name)}'.", "Split by another column, or by none.")
    digest = dict(zip(different, digests_of([np.frombuffer(v.encode(), np.uint8) for v in different]), strict=True))
    held = by_content(np.array([digest[value] for value in values]), config.test_share, config.split_seed)
    out = sorted({value for value, one in zip(values, held, strict=True) if one})
    table.notes.append(
        f"Of {counted(len(different), 'value', 'values')} of '{shown(name)}' {len(out):,} "
        f"{'is' if len(out) == 1 else 'are'} held out: {some(out)}."
    )
    return held


def _values(table: RawTable, name: str) -> list[str]:
    """The values of a column as characters, "" where there is none."""
    cells = table.columns.get(name)
    if not isinstance(cells, Values):
        known = [column for column, values in table.columns.items() if isinstance(values, Values)]
        hint = nearest(name, known) if known else "Folders, tables and label_pattern (of names of files) make columns."
        raise UserError(f"There is no column '{shown(name)}' of values to split by.", hint)
    return ["" if cell is None else plain(str(cell)) for cell in cells.cells]
