"""Which rows are learned from and which are held out: as the data says, else by content, never by order or chance.

By content, a row's side follows from its own bytes or characters, so adding rows moves no other. That decides which
rows specifications are fitted on; of a group of near copies, all are held out only where each of them would be, so that
no row that was fitted on is ever held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from maquette.core.errors import UserError
from maquette.core.modality import Notes
from maquette.core.rng import derive
from maquette.data.duplicates import Groups
from maquette.data.layout import role
from maquette.data.names import shown


@dataclass
class Split:
    """Which rows are learned from and which are held out, by their numbers, i64.

    named:   every held-out split that the data itself names, the test split included
    dropped: rows left out of training because a held-out split has the same
    """

    train: np.ndarray
    test: np.ndarray
    named: dict[str, np.ndarray] = field(default_factory=dict)
    dropped: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def held_out(self) -> np.ndarray:
        return np.unique(np.concatenate([self.test, *self.named.values()]))


def named_split(splits: Sequence[str | None], notes: Notes) -> Split | None:
    """The split that the data itself names; None where it names none that is held out.

    The first split named test is the test split; without one, the first named val. Learned from is what is named
    train, or named nothing; where there is neither (corpus.csv beside test.csv), whatever is not held out.
    """
    stems = sorted({stem for stem in splits if stem})
    if len(stems) < 2 and not (stems and role(stems[0]) in ("test", "val")):
        return None
    of = np.array([stem or "" for stem in splits])
    learned = {stem for stem in set(of.tolist()) if role(stem) == "train" or not stem}
    learned = learned or {stem for stem in stems if not role(stem)}
    train = np.flatnonzero(np.isin(of, sorted(learned)))
    held = [stem for stem in stems if stem not in learned]
    tests = [stem for stem in held if role(stem) == "test"] or [stem for stem in held if role(stem) == "val"]
    if not tests:
        return None
    if not len(train):
        raise UserError(
            f"All of the data is held out: its splits are named {', '.join(map(shown, held))}.",
            "Name what is to be learned from train, or take the names of the splits away.",
        )
    if not any(role(stem) == "test" for stem in held):
        notes.append(f"'{shown(tests[0])}' is held out: the data has no test split.")
    named = {shown(stem): np.flatnonzero(of == stem) for stem in held}
    return Split(train, named[shown(tests[0])], named)


def without_duplicates(split: Split, content: np.ndarray, thing: str) -> Split:
    """Without training rows that a held-out split has as well. content: u64[N], equal where rows are."""
    twins = np.isin(content[split.train], content[split.held_out])
    if len(twins) and twins.all():
        raise UserError(f"Every training {thing} also stands in a held-out split.", "Give the splits different ones.")
    return Split(split.train[~twins], split.test, split.named, np.concatenate([split.dropped, split.train[twins]]))


def by_content(digests: np.ndarray, test_share: float, seed: int) -> np.ndarray:
    """bool[N], whether each row is held out for now: equal rows never straddle. digests: u64[N] of their content."""
    unique, group, counts = np.unique(digests, return_inverse=True, return_counts=True)
    place = places(unique, seed)
    held = place < test_share
    # A group larger than the whole test split is to be learned from, or the shares would be turned around.
    held &= counts <= max(1.0, test_share * len(digests))
    if not held.any():
        held[np.argmin(np.where(counts == counts.min(), place, 2.0))] = True
    if held.all():
        held[np.argmax(place)] = False
    made: np.ndarray = held[group.reshape(-1)]
    return made


def settle(held: np.ndarray, groups: Groups, things: str, notes: Notes) -> np.ndarray | None:
    """bool[N], whether each row is held out: only groups of copies all of which are `held` for now.

    None where no group is.
    """
    for group in (groups.near, groups.exact):
        whole = np.bincount(group, weights=~held) == 0
        if whole.any():
            made: np.ndarray = whole[group]
            return made
        if group is not groups.exact:
            notes.append(f"Nearly all {things} resemble one another: the split keeps only exact copies together.")
    return None


def smallest(digests: np.ndarray, groups: Groups, seed: int) -> np.ndarray:
    """bool[N], one small group of copies to be held out, where the content of single rows left none."""
    group = groups.near if len(np.unique(groups.near)) > 1 else groups.exact
    counts = np.bincount(group)
    least = np.full(len(counts), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, group, digests)
    fits = np.flatnonzero(counts <= max(counts.min(), len(digests) // 2))
    made: np.ndarray = group == fits[np.argmin(places(least[fits], seed))]
    return made


def places(digests: np.ndarray, seed: int) -> np.ndarray:
    """u64[N] -> well-mixed f64[N] in [0, 1) (the finaliser of splitmix64)."""
    x = digests ^ np.uint64(derive(seed, "split"))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53)
