"""Real texts to set beside samples: no character of the data stands in two of them.

Pieces that overlap would be like one another and share passages for no reason but the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np


def whole(known: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """n texts drawn at random, or all where there are fewer."""
    return [known[i] for i in rng.permutation(len(known))[:n]]


def pieces(known: Sequence[str], lengths: Sequence[int], n: int, rng: np.random.Generator) -> list[str]:
    """n pieces of long texts, of these lengths in turn; fewer where the texts hold no more.

    The texts are cut from their beginnings on, one piece after the other, and pieces are drawn from these.
    """
    longest = max(map(len, known), default=0)
    sizes = cycle([min(max(length, 1), longest) for length in rng.permutation(lengths).tolist()])
    size = next(sizes)
    cut = []
    for text in known if longest else ():
        start = 0
        while start + size <= len(text):
            cut.append(text[start : start + size])
            start, size = start + size, next(sizes)
    return whole(cut, n, rng)
