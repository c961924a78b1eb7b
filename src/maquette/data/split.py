"""Which pictures are learned from and which are held out: decided by content, never by order or chance.

A picture's side follows from its own pixels, so adding pictures moves no other; all members of a group of
duplicates follow the one with the smallest digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maquette.core.errors import UserError
from maquette.core.rng import derive
from maquette.data.duplicates import Groups


@dataclass(frozen=True)
class Split:
    """train, test: i64 positions; dropped: positions left out of train because test has the same picture."""

    train: np.ndarray
    test: np.ndarray
    dropped: np.ndarray
    notes: list[str]


def split(digests: np.ndarray, groups: Groups, own: Sequence[str | None], test_share: float, seed: int) -> Split:
    """digests: u64[N] of the pixels; own: the split that the data set itself gives each picture, if any."""
    sides = np.array([side or "" for side in own])
    if (sides == "test").any():
        return _own_split(sides, groups)
    return _by_content(digests, groups, test_share, seed)


def _own_split(sides: np.ndarray, groups: Groups) -> Split:
    test = np.flatnonzero(sides == "test")
    train = np.flatnonzero(sides != "test")
    twins = np.isin(groups.exact[train], groups.exact[test])
    near = int((np.isin(groups.near[train], groups.near[test]) & ~twins).sum())
    notes = []
    if twins.any():
        notes.append(f"{int(twins.sum()):,} training pictures also stand in the test split: left out of training.")
    if near:
        notes.append(f"{near:,} training pictures nearly equal one of the test split; the data's own split is kept.")
    if twins.all():
        raise UserError(
            "Every training picture also stands in the test split.", "Give the two splits different pictures."
        )
    return Split(train[~twins], test, train[twins], notes)


def _by_content(digests: np.ndarray, groups: Groups, test_share: float, seed: int) -> Split:
    notes: list[str] = []
    group = groups.near
    counts = np.bincount(group)
    if len(counts) < 2 or counts.max() > (1 - test_share) * len(digests):
        group = groups.exact
        counts = np.bincount(group)
        notes.append("Nearly all pictures resemble one another: the split keeps only exact copies together.")
    if len(counts) < 2:
        raise UserError(f"All {len(digests):,} pictures are the same.", "Add different ones.")
    smallest = np.full(len(counts), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, digests)
    place = _mixed(smallest ^ np.uint64(derive(seed, "split")))  # uniform on [0, 1), one a group
    held_out = place < test_share
    # A group larger than the whole test split is to be learned from, or the shares would be turned around.
    held_out &= counts <= max(1.0, test_share * len(digests))
    if not held_out.any():
        fits = np.flatnonzero(counts <= max(counts.min(), len(digests) // 2))
        held_out[fits[np.argmin(place[fits])]] = True
    if held_out.all():
        held_out[np.argmax(place)] = False
    side = held_out[group]
    return Split(np.flatnonzero(~side), np.flatnonzero(side), np.zeros(0, np.int64), notes)


def _mixed(x: np.ndarray) -> np.ndarray:
    """u64[N] -> well-mixed f64[N] in [0, 1) (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53)
