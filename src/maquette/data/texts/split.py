"""Which texts are learned from and which are held out: as the data says, else by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from maquette.core.errors import UserError
from maquette.core.rng import derive
from maquette.data.text import shown
from maquette.data.texts.material import Material, role

FEW = 10  # documents; fewer are each cut in two, since one held out whole would be too large a share


@dataclass
class Sides:
    """Items of each side, i64. named: every held-out split that the data itself names, the test split included.

    train_twins: items left out of training because a held-out split has the same text
    halves: whether items are the beginnings and the ends of documents that were cut in two
    """

    train: np.ndarray
    test: np.ndarray
    named: dict[str, np.ndarray] = field(default_factory=dict)
    own: bool = False
    notes: list[str] = field(default_factory=list)
    train_twins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    halves: bool = False

    @classmethod
    def none(cls) -> Sides:
        """Before anything is split."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))


def own_sides(material: Material, digests: np.ndarray) -> Sides | None:
    """The split that the data itself names; None where it names none that is held out.

    The first split named test is the test split; without one, the first named val. Learned from is what is named
    train, or named nothing; where there is neither (corpus.csv beside test.csv), whatever is not held out.
    """
    stems = list(dict.fromkeys(stem for stem in material.stems if stem))
    if len(stems) < 2 and not (stems and role(stems[0]) in ("test", "val")):
        return None
    of = np.array([stem or "" for stem in material.stems])
    learned = {stem for stem in of.tolist() if role(stem) == "train" or not stem}
    learned = learned or {stem for stem in stems if not role(stem)}
    train = np.flatnonzero(np.isin(of, sorted(learned)))
    held = sorted(stem for stem in stems if stem not in learned)
    tests = [stem for stem in held if role(stem) == "test"] or [stem for stem in held if role(stem) == "val"]
    if not tests:
        return None
    if not len(train):
        raise UserError(
            f"All of the data is held out: its splits are named {', '.join(map(shown, held))}.",
            "Name what is to be learned from train, or take the names of the splits away.",
        )
    named = {stem: np.flatnonzero(of == stem) for stem in held}
    twins = np.isin(digests[train], np.concatenate([digests[rows] for rows in named.values()]))
    notes = []
    if not any(role(stem) == "test" for stem in held):
        notes.append(f"'{tests[0]}' is held out: the data has no test split.")
    if twins.any() and twins.all():
        raise UserError("Every training text also stands in a held-out split.", "Give the splits different texts.")
    if twins.any():
        notes.append(f"{int(twins.sum()):,} training texts also stand in a held-out split: left out of training.")
    return Sides(train[~twins], named[tests[0]], named, True, notes, train[twins])


def by_content(digests: np.ndarray, test_share: float) -> Sides:
    """Each item's side follows from its digest u64[N] alone, so that equal items never straddle."""
    unique, group, counts = np.unique(digests, return_inverse=True, return_counts=True)
    if len(unique) < 2:
        raise UserError(f"All {len(digests):,} texts are the same.", "Add different ones.")
    place = unique.astype(np.float64) / 2.0**64
    held = place < test_share
    # A group larger than the whole test split is to be learned from, or the shares would be turned around.
    held &= counts <= max(1.0, test_share * len(digests))
    if not held.any():
        held[np.argmin(np.where(counts == counts.min(), place, 2.0))] = True
    if held.all():
        held[np.argmax(place)] = False
    side = held[group]
    return Sides(np.flatnonzero(~side), np.flatnonzero(side))


def cut(texts: Sequence[str], test_share: float) -> list[int]:
    """Characters of each document that are learned from; what follows is held out."""
    return [int((1 - test_share) * len(text)) for text in texts]


def digests(rows: Sequence[Sequence[str]], seed: int) -> np.ndarray:
    """Digest u64[N] of each row of texts."""
    key = derive(seed, "split").to_bytes(8, "little")
    made = np.empty(len(rows), np.uint64)
    for i, texts in enumerate(rows):
        state = hashlib.blake2b(digest_size=8, key=key)
        for text in texts:
            state.update(text.encode("utf-8", "surrogatepass") + b"\0")
        made[i] = int.from_bytes(state.digest(), "little")
    return made
