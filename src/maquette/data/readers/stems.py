"""Several files a row, told by their stems: 0001.png and 0001.txt belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from maquette.core.modality import noun
from maquette.data.raw import RawTable
from maquette.data.readers import Place, is_about
from maquette.data.readers.items import laid_out
from maquette.data.typing import column_of

ACCEPTS = "a folder of several files a row (0001.*)"


def claims(place: Place) -> float:
    """How surely a place holds files that share a stem, in [0, 1]."""
    return 0.7 if _common(_stems(place)) else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The rows of a place that it claims, as cells. Raises UserError for what cannot be read."""
    stems = _stems(place)
    kinds = _common(stems)
    rows = [files for _, files in sorted(stems.items()) if any(kind in files for kind in kinds)]
    numbers = {column_of(kind): [files.get(kind, -1) for files in rows] for kind in kinds}
    return laid_out(place, f"{place.tree.form} of {' and '.join(map(noun, kinds))}", numbers, "rows")


def _stems(place: Place) -> dict[str, dict[str, int]]:
    """stem -> modality -> number of its file; {} where there is but one modality."""
    kinds = place.called
    if len({*kinds} - {None}) < 2:
        return {}
    found: dict[str, dict[str, int]] = {}
    for i, (name, kind) in enumerate(zip(place.tree.names, kinds, strict=True)):
        folder, slash, file = name.rpartition("/")
        if kind is not None and not is_about(name):
            stem = file.removesuffix(".gz").rpartition(".")[0]
            found.setdefault(f"{folder}{slash}{stem}", {}).setdefault(kind, i)
    return found


def _common(stems: dict[str, dict[str, int]]) -> tuple[str, ...]:
    """The modalities of which most stems have a file each, two or more; () where there are no such."""
    sets = Counter(tuple(sorted(files)) for files in stems.values())
    kinds, count = sets.most_common(1)[0] if sets else ((), 0)
    return kinds if len(kinds) > 1 and 2 * count > len(stems) else ()
