"""Files that were not read, by what they are and why, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.core.modality import noun
from maquette.data.archive import SUFFIXES as ARCHIVES
from maquette.data.names import some
from maquette.data.raw import RawTable

if TYPE_CHECKING:
    from maquette.data.readers import Place


def passed_over(place: Place, table: RawTable) -> list[str]:
    """One phrase for each reason for which files of a place are not read, the most frequent first: "2 sounds, not
    the bulk ('a.wav', 'b.wav')"."""
    from maquette.data.readers import is_about, is_data, is_table

    ignored = {*table.ignored}
    found: dict[tuple[str, str], list[str]] = {}
    for i, (name, kind) in enumerate(zip(place.tree.names, place.kinds, strict=True) if ignored else ()):
        if name not in ignored:
            continue
        if place.tree.size(i) < 0:
            reason = ("that cannot be read", "that cannot be read")
        elif is_about(name):
            reason = ("about the data", "about the data")
        elif is_table(name):
            reason = ("table", "tables")
        elif is_data(name):
            reason = ("file of arrays", "files of arrays")
        elif name.lower().endswith(ARCHIVES):
            end = ", beside as much data that is not packed"
            reason = (f"archive{end}", f"archives{end}")
        elif kind is not None:
            reason = (f"{noun(kind, 1)}, not the bulk", f"{noun(kind)}, not the bulk")
        else:
            reason = ("of a form that is not known", "of a form that is not known")
        found.setdefault(reason, []).append(name)
    ordered = sorted(found.items(), key=lambda entry: -len(entry[1]))
    return [f"{len(names):,} {reason[len(names) > 1]} ({some(names)})" for reason, names in ordered]
