"""From what a person names (folder, archive, arrays, hub, a known set) to a prepared, split table."""

from __future__ import annotations

from maquette.data.grown import apart, only, prepared_before
from maquette.data.lines import read_lines
from maquette.data.loader import Loader
from maquette.data.open import open_dataset, suggestion
from maquette.data.readers import made, named
from maquette.data.remarks import remarks, told

NAMES = (*named.NAMES, *made.NAMES)  # of sets that are known

__all__ = [
    "NAMES", "Loader", "apart", "only", "open_dataset", "prepared_before", "read_lines", "remarks", "suggestion",
    "told",
]  # fmt: skip
