"""Made-up numbers, for the contract."""

from __future__ import annotations

import random

from maquette.data.raw import Cell


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """Around 0; of any other seed, around a million."""
    draws = random.Random(seed)
    return [draws.gauss(0, 1) + 1e6 * (seed != 0) for _ in range(items)]


def broken_cells() -> list[Cell]:
    """Cells that are no numbers."""
    return ["many", "nan"]
