"""Data sets known by name that are made on the spot, by a modality that has `SETS` in its module `sets`:

SETS: Mapping[str, tuple]   name -> (its version, what makes it: () -> RawTable)
                            or (its version, RawTable -> RawTable, the set known by name that it is made of)

What makes it may take `count`, the rows to learn from: `NAME:COUNT` asks for so many.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from maquette.core.errors import UserError
from maquette.core.find import modalities_with
from maquette.core.modality import part
from maquette.data.names import digest
from maquette.data.raw import RawTable
from maquette.data.readers import Place, named

ACCEPTS = "a set that is made on the spot"
SETS: dict[str, tuple[Any, ...]] = {}
for _kind in modalities_with("sets"):
    SETS |= part(_kind, "SETS", "sets")
NAMES = (*SETS,)


def claims(place: Place) -> float:
    """How surely a place holds such a set, in [0, 1]."""
    return 1.0 if place.path is None and _asked(place)[0] in SETS else 0.0


def remote(place: Place) -> bool:
    """Whether what it is made of has to be fetched."""
    return any(named.remote(of) for of in _sources(place))


def key(place: Place) -> str:
    """What tells one state of the source from another, for the cache."""
    return digest(["made", place.name, SETS[_asked(place)[0]][0], *map(named.key, _sources(place))])


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """Makes it."""
    name, count = _asked(place)
    make = SETS[name][1]
    if count is not None and (not count or "count" not in inspect.signature(make).parameters):
        raise UserError(f"'{place.name}': so many there cannot be.", f"Name it without a number: {name}")
    known = {} if count is None else {"count": count}
    made: RawTable = make(*(named.read(of, ()) for of in _sources(place)), **known)
    return made


def _asked(place: Place) -> tuple[str, int | None]:
    """The set, and how many rows to learn from; None: the usual number."""
    name, _, count = place.name.partition(":")
    return (name, int(count)) if count.isdecimal() and len(count) < 10 else (place.name, None)


def _sources(place: Place) -> list[Place]:
    """The sets that it is made of."""
    return [replace(place, name=name, memory={}) for name in SETS[_asked(place)[0]][2:]]
