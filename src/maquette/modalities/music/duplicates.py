"""Finds tunes that are nearly the same, in whatever key, so that a copy never stands on both sides of a split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from maquette.modalities.music.melody import intervals

RUN = 8  # notes of a run by which melodies are compared
SHARED = 0.5  # of the runs of the shorter one, from which on two tunes are the same in other words
COMMON = 50  # tunes; a run that more of them have tells nothing


class Likeness:
    """Collects the melodies of u16[L], chunk by chunk."""

    def __init__(self) -> None:
        self._runs: list[frozenset[int]] = []

    def add(self, items: Sequence[np.ndarray]) -> None:
        for item in items:
            steps = intervals(item)
            self._runs.append(frozenset(hash(tuple(steps[i : i + RUN])) for i in range(len(steps) - RUN + 1)))

    def pairs(self, stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """i64[P, 2], positions in `rows` i64[n]: tunes that share most of their melody."""
        runs = [self._runs[row] for row in rows.tolist()]
        having: dict[int, list[int]] = defaultdict(list)
        for i, own in enumerate(runs):
            for run in own:
                having[run].append(i)
        shared = Counter[tuple[int, int]]()
        for some in having.values():
            if 1 < len(some) <= COMMON:
                shared.update((a, b) for k, a in enumerate(some) for b in some[k + 1 :])
        found = [pair for pair, count in shared.items() if count >= SHARED * min(len(runs[i]) for i in pair)]
        return np.array(found, np.int64).reshape(-1, 2)
