"""Made-up texts, for the contract."""

from __future__ import annotations

import random

from maquette.data.raw import Cell

WORDS = ("a red fox", "the old house", "rain on the roof", "two birds", "an open door", "the green sea")
OTHER_WORDS = ("Žluťoučký kůň", "ПРИВЕТ", "一二三四五六七八九十" * 4, "{}[]<>")


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """Lines of a few words and a number; of any other seed, of other scripts and longer."""
    draws = random.Random(seed)
    words = WORDS if seed == 0 else OTHER_WORDS
    return [f"{draws.choice(words)} and {draws.choice(words)}, {i}" for i in range(items)]
