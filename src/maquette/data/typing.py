"""Which modality each column is. Every modality is asked; it answers with functions, all of them optional.

They stand in the package of the modality, or in its module `claims.py`:

    claims(name: str, head: bytes) -> bool
        Whether a file is an item of this kind: by its name, or by its first bytes. `head` is b"" where only the name is
        asked about, which comes first.
    may_be(name: str, head: bytes) -> bool
        The same where items of this kind are what is asked for, by a column that is called as the kind: files that are
        another kind's otherwise. Such a kind is asked first.
    gathers(names: Sequence[str], head: Callable[[int], bytes]) -> Mapping[str, Sequence[int]]
        Files that together are one item, where such are asked for: its name, and its files by their numbers among these
        names, in order. head: the first bytes of a file. See data/gathered.py.
    claims_array(shape: tuple[int, ...], dtype: numpy.dtype) -> float
        How likely arrays of this shape (of one item, without the number of items) hold items of this kind; 0: no.
    claims_values(name: str, values: Sequence[Value | None], role: str, category: bool) -> float
        How likely the values of a column are items of this kind; 0: no. name: of the column; values: as they are
        written in a table, None where there is none; role: "target", "given", or "" where nobody asked for the column;
        category: whether they are classes by their nature, as names of folders are.

The highest claim wins, and a user's own modality where two are equal. Labels claim 2 (3 of categories), numbers 1.5,
sequences of characters 1, and 0.5 where all of them are numbers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError, nearest
from maquette.core.find import find_modality, modality_names
from maquette.core.modality import Unreadable, part
from maquette.core.spec import DataSpec
from maquette.data.names import LISTED, some
from maquette.data.raw import Array, Cells, File, Files, RawTable, Values

HEAD = 2**16  # bytes by which a file is judged whose name says nothing
LOOKED_AT = 8  # files by which a column is judged: by their names, else by what is in them

Value = str | float | int | bool


def column_kinds(
    table: RawTable,
    config: DataConfig,
    target: Sequence[str] = (),
    given: Sequence[str] = (),
    like: DataSpec | None = None,
) -> dict[str, str]:
    """column -> modality, of every column that some modality claims.

    config.kinds overrides what is told from the cells; so does `like`, the specification of a trained run, for its
    columns. Raises UserError where config.kinds names a column that is not there, or a modality that is not known.
    """
    for name in config.kinds:
        find_modality(config.kinds[name])
        if name not in table.columns:
            raise UserError(
                f"data.kinds names the column '{name}', which the data has not; it has {some(table.columns, LISTED)}.",
                nearest(name, list(table.columns)),
            )
    found = dict[str, str]()
    for name, cells in table.columns.items():
        known = like.columns.get(name) if like else None
        role = "target" if name in target else "given" if name in given else ""
        told = config.kinds.get(name) or (known.kind if known else None)
        kind = told or _kind_of(name, cells, role, name in table.categories)
        if kind is not None:
            found[name] = kind
    return found


def column_of(kind: str) -> str:
    """The name of a column that is the only one of its kind: "sound" of my_package.sound."""
    return kind.rpartition(".")[2]


def kind_of_file(name: str, head: bytes = b"", columns: Sequence[str] = ()) -> str | None:
    """The modality that claims a file by its name, or, where `head` is given, by its first bytes. columns: those that
    were named; what they are called as is asked first."""
    asked = (*asked_for(columns, "may_be"), *_claims("claims"))
    return next((kind for kind, claims in asked if claims(name, head)), None)


def kinds_of_files(names: Sequence[str], columns: Sequence[str] = ()) -> list[str | None]:
    """The same of each file by its name."""
    asked = (*asked_for(columns, "may_be"), *_claims("claims"))
    return [next((kind for kind, claims in asked if claims(name, b"")), None) for name in names]


def asked_for(columns: Sequence[str], function: str) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """(modality, function) of each that a column is called as, and that has it."""
    return tuple(claim for claim in _claims(function) if column_of(claim[0]) in columns) if columns else ()


def kind_of_array(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """The modality that claims arrays whose items have this shape."""
    return _highest([(claims(shape, dtype), kind) for kind, claims in _claims("claims_array")])


def kind_of_values(name: str, values: Sequence[Value | None], role: str = "", category: bool = False) -> str | None:
    """The modality that claims the values of a column."""
    return _highest([(claims(name, values, role, category), kind) for kind, claims in _claims("claims_values")])


def _kind_of(name: str, cells: Cells, role: str, category: bool) -> str | None:
    if isinstance(cells, Values):
        return kind_of_values(name, cells.cells, role, category)
    if isinstance(cells, Array):
        first = cells.parts[0]
        return kind_of_array(first.shape[1:], first.dtype)
    assert isinstance(cells, Files)
    names = [one for one in cells.names if one is not None]
    found = kinds_of_files(names[:: max(1, len(names) // LOOKED_AT)], [name])
    if not any(found):
        rows = [row for row in cells.order() if cells.names[row] is not None][:LOOKED_AT]
        found = [_of_file(cell, name) for cell in cells.take(rows) if isinstance(cell, File)]
    votes = [kind for kind in found if kind is not None]
    return max(dict.fromkeys(votes), key=votes.count, default=None)


def _of_file(file: File, column: str) -> str | None:
    try:
        return kind_of_file(file.name, file.read()[:HEAD], [column])
    except Unreadable:
        return None


def _claims(function: str) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """(modality, function) of every modality that has it, the user's own first."""
    return _claims_among(function, os.environ.get("MAQUETTE_MODALITIES", ""), len(sys.modules))


@lru_cache(maxsize=16)
def _claims_among(function: str, named: str, modules: int) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """The same, found once for as long as nothing else is named or imported: it may be asked of each of many files."""
    own = [name for name, module in list(sys.modules.items()) if _is_modality(name, getattr(module, "__dict__", {}))]
    asked = [(kind, part(kind, function, "claims")) for kind in dict.fromkeys([*own, *reversed(modality_names())])]
    return tuple((kind, claims) for kind, claims in asked if claims is not None)


def _is_modality(name: str, module: Mapping[str, Any]) -> bool:
    """Whether a module that was imported is a modality, and not one of ours."""
    kind, last = module.get("KIND"), name.rpartition(".")[2]
    return kind in (name, last) and module.get("NOUN") is not None and not name.startswith("maquette.")


def _highest(claims: Sequence[tuple[float, str]]) -> str | None:
    best = max(claims, key=lambda claim: claim[0], default=(0.0, ""))  # the first of equals
    return best[1] if best[0] > 0 else None
