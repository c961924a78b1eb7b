"""Finds rows that are the same, or nearly so, over all columns: a copy must not stand on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maquette.data.names import shown

MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Groups:
    """exact, near: i64[N], number of the group of each row; a near group holds whole exact ones.

    A row without a twin is a group of one.
    """

    exact: np.ndarray
    near: np.ndarray


def joined(digests: Sequence[np.ndarray]) -> np.ndarray:
    """u64[N] of each row out of u64[N] of each of its cells."""
    made = np.zeros_like(digests[0])
    for column in digests:
        made = (made ^ column) * MIX
        made ^= made >> np.uint64(29)
    return made


def groups(content: np.ndarray, pairs: np.ndarray) -> Groups:
    """content: u64[N], equal where rows are; pairs: i64[P, 2], rows that nearly equal one another."""
    _, first, exact = np.unique(content, return_index=True, return_inverse=True)
    exact = exact.reshape(-1)
    if not len(pairs):
        return Groups(exact, exact)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    linked = exact[pairs]
    links = coo_array((np.ones(len(linked), bool), (linked[:, 0], linked[:, 1])), shape=(len(first), len(first)))
    _, near = connected_components(links, directed=False)
    return Groups(exact, near.astype(np.int64)[exact])


def sizes(group: np.ndarray) -> tuple[int, int]:
    """(groups of two and more, rows in them beyond the first of each)."""
    counts = np.bincount(group) if len(group) else np.zeros(0, np.int64)
    return int((counts > 1).sum()), int((counts[counts > 1] - 1).sum())


def only_exact(found: Groups) -> int:
    """Near groups of two and more that consist of one exact group, and so tell nothing new."""
    both = np.unique(np.stack([found.near, found.exact], 1), axis=0)
    kinds = np.bincount(both[:, 0])
    return int(((np.bincount(found.near) > 1) & (kinds == 1)).sum())


def examples(group: np.ndarray, names: Sequence[str], most: int = 5) -> list[list[str]]:
    """Names of the first rows of the largest groups, safe to print."""
    counts = np.bincount(group) if len(group) else np.zeros(0, np.int64)
    largest = np.argsort(-counts, kind="stable")[:most]
    return [[shown(names[int(i)]) for i in np.flatnonzero(group == g)[:4]] for g in largest if counts[g] > 1]
