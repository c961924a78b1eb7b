"""From what a person names (folder, archive, arrays, hub, a known set) to a prepared, split table."""

from __future__ import annotations

from maquette.data.loader import Loader
from maquette.data.named import NAMES
from maquette.data.open import open_dataset
from maquette.data.remarks import left_out, remarks
from maquette.data.texts.lines import read_lines

__all__ = ["NAMES", "Loader", "left_out", "open_dataset", "read_lines", "remarks"]
