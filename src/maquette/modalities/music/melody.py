"""What is compared of tunes: their melodies, read from tokens."""

from __future__ import annotations

import numpy as np

from maquette.modalities.music.tokens import LEAD, vocabulary

_FIRST, _LAST = (vocabulary(12).first[kind] for kind in (LEAD, LEAD + 1))  # of any grid


def intervals(tokens: np.ndarray) -> list[tuple[int, int]]:
    """Of each note of a melody after its first: semitones up from the one before, and its duration as a token. The
    same in every key. tokens: i64[L] of an item"""
    values = np.asarray(tokens, np.int64)
    at = np.flatnonzero((values[:-1] >= _FIRST) & (values[:-1] < _LAST))
    return list(zip(np.diff(values[at]).tolist(), values[at[1:] + 1].tolist(), strict=True)) if len(at) else []
