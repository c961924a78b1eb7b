"""What a text may go on with: a mask over the vocabulary before each token.

Pattern([[{7, 8, 9}, {7, 8, 9}, {12}]], vocab=5000, eos=2)  # two letters and a full stop
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Allowed(Protocol):
    """A constraint on B texts that are being written."""

    def mask(self, tokens: Tensor) -> Tensor:
        """Texts so far i64[B, t], without the start token -> bool[B, V]: what may come next.

        Called once for each t in rising order, so that it may keep what it has found out.
        """
        ...

    def rows(self, index: Tensor) -> Allowed:
        """The constraint on these texts alone, i64[B']: for beams, and for leaving out what is finished."""
        ...


class Pattern:
    """Text i has one token of places[i][k] at place k, and ends behind the last. A prompt has to fit it."""

    def __init__(self, places: Sequence[Sequence[Collection[int]]], vocab: int, eos: int) -> None:
        classes: dict[frozenset[int], int] = {frozenset([eos]): 0}
        rows = [[classes.setdefault(frozenset(tokens), len(classes)) for tokens in text] for text in places]
        longest = max(map(len, rows))
        # Behind its last place a text may only end.
        self.places = torch.tensor([row + [0] * (longest + 1 - len(row)) for row in rows])  # i64[B, S + 1]
        self.classes = torch.zeros(len(classes), vocab, dtype=torch.bool)  # which tokens each class contains
        for tokens, number in classes.items():
            if not tokens:
                raise ValueError("a place of a pattern allows no token of the vocabulary")
            self.classes[number, list(tokens)] = True

    def mask(self, tokens: Tensor) -> Tensor:
        here = self.places[:, min(tokens.shape[1], self.places.shape[1] - 1)]
        return self.classes[here].to(tokens.device)

    def rows(self, index: Tensor) -> Pattern:
        new = object.__new__(Pattern)
        new.places, new.classes = self.places.to(index.device)[index], self.classes.to(index.device)
        return new
