"""Known damage to tunes, for measures to be tried on: wrong notes, wrong lengths, and tokens that are missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maquette.core.measure import Damage
from maquette.core.spec import PAD, ColumnSpec
from maquette.modalities.music.tokens import DURATION, LEAD, Vocabulary, vocabulary

SHARE = (0.15, 0.5)  # of the notes, mild and strong
MISSING = (0.002, 0.01)  # of the tokens

Alter = Callable[[np.ndarray, Vocabulary, float, np.random.Generator], np.ndarray]
"""Tokens i64[L] of a tune, what they mean, and a share of them -> the same, damaged."""


def _each(alter: Alter, shares: tuple[float, float]) -> Callable[..., Tensor]:
    def of(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
        known, share = vocabulary(spec.grid), shares[strength - 1]
        made = [torch.from_numpy(alter(item[item != PAD], known, share, rng)) for item in items.numpy()]
        return torch.nn.utils.rnn.pad_sequence(made, batch_first=True, padding_value=PAD)

    return of


def _wrong_notes(tokens: np.ndarray, known: Vocabulary, share: float, rng: np.random.Generator) -> np.ndarray:
    """Some notes of the melody up to a fourth higher or lower."""
    chosen = (known.kind[tokens] == LEAD) & (rng.random(len(tokens)) < share)
    moved = tokens + rng.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5], len(tokens))
    return np.where(chosen, moved.clip(known.first[LEAD], known.first[LEAD + 1] - 1), tokens)


def _wrong_lengths(tokens: np.ndarray, known: Vocabulary, share: float, rng: np.random.Generator) -> np.ndarray:
    """Some notes of the melody twice or half as long."""
    made = tokens.copy()
    for i in np.flatnonzero(known.kind[tokens] == LEAD) + 1:
        if i < len(made) and known.kind[made[i]] == DURATION and rng.random() < share:
            length = known.durations[made[i] - known.first[DURATION]]
            made[i] = known.duration(known.held(max(length // 2, 1) if rng.random() < 0.5 else 2 * length))
    return made


def _missing(tokens: np.ndarray, known: Vocabulary, share: float, rng: np.random.Generator) -> np.ndarray:
    return tokens[rng.random(len(tokens)) >= share]


DAMAGES = (
    Damage("with wrong notes", "item", _each(_wrong_notes, SHARE)),
    Damage("with notes too long or too short", "rhythm", _each(_wrong_lengths, SHARE)),
    Damage("with tokens left out", "broken", _each(_missing, MISSING)),
)
