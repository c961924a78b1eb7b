"""Made-up labels, for the contract."""

from __future__ import annotations

from maquette.data.raw import Cell


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """Three classes in turn; of any other seed, others."""
    names = ("red", "green", "blue") if seed == 0 else ("up", "down")
    return [names[i % len(names)] for i in range(items)]
