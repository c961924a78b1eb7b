"""Made-up chords, for the contract."""

from __future__ import annotations

import random

from maquette.data.raw import Cell, File


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """A few pitches of the middle; of any other seed, of the lowest."""
    draws = random.Random(seed)
    low = 48 if seed == 0 else 0
    return [
        File(f"{i}.chord", " ".join(str(draws.randrange(low, low + 24)) for _ in range(2 + i % 5)).encode())
        for i in range(items)
    ]


def broken_cells() -> list[Cell]:
    return [File("words.chord", b"c e g"), File("high.chord", b"60 128")]
