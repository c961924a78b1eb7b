"""Data sets known by name that are made on the spot, by a modality that has `SETS` in its module `sets`:

SETS: Mapping[str, tuple[int, Callable[[], RawTable]]]   name -> its version, and what makes it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maquette.core.find import modalities_with
from maquette.core.modality import part
from maquette.data.names import digest
from maquette.data.raw import RawTable
from maquette.data.readers import Place

ACCEPTS = "a set that is made on the spot"
SETS: dict[str, tuple[int, Callable[[], RawTable]]] = {}
for _kind in modalities_with("sets"):
    SETS |= part(_kind, "SETS", "sets")
NAMES = (*SETS,)


def claims(place: Place) -> float:
    """How surely a place holds such a set, in [0, 1]."""
    return 1.0 if place.path is None and place.name in SETS else 0.0


def key(place: Place) -> str:
    """What tells one state of the source from another, for the cache."""
    return digest(["made", place.name, SETS[place.name][0]])


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """Makes it."""
    return SETS[place.name][1]()
