"""Copies of training text: passages of the samples that stand in it letter for letter.

Real, held-out text is the control: proverbs, names and set phrases occur twice without anyone having copied them.
Passages are found by a rolling hash of 64 bits (Karp & Rabin 1987), so memory is that of the samples, whatever
the size of the training text: it is read once for each length.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maquette.evaluation.bootstrap import Estimate, TooFew, ratio
from maquette.modalities.text.measures.fold import Folded, fold
from maquette.modalities.text.measures.read import Passage
from maquette.modalities.text.measures.script import Script

Hashes = NDArray[np.uint64]

BREAK = "\0"  # between passages: no sample holds it, so no match runs across
_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_AT_ONCE = 4_000_000


def codes(text: str) -> Hashes:
    """Characters as well-mixed u64[N] (splitmix64)."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    return _mixed(points)


def word_codes(words: Sequence[str]) -> Hashes:
    """Words as u64[N]: the same word has the same code in every process."""

    def code(word: str) -> int:
        return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")

    known = {word: code(word) for word in set(words)}
    return np.array([known[word] for word in words], dtype=np.uint64)


def _mixed(x: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def rolling(items: Hashes, n: int) -> Hashes:
    """Hash of each run of n items, u64[N - n + 1]: sum_j items[i + j] B^-j modulo 2^64, mixed.

    Differences of prefix sums, each multiplied back by B^i, so that equal runs have equal hashes anywhere.
    """
    if len(items) < n:
        return np.zeros(0, dtype=np.uint64)
    with np.errstate(over="ignore"):
        powers = np.full(len(items), _INVERSE)
        powers[0] = 1
        back = np.full(len(items) - n + 1, _BASE)
        back[0] = 1
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(items * np.cumprod(powers), dtype=np.uint64)])
        return _mixed((sums[n:] - sums[:-n]) * np.cumprod(back))


@dataclass(frozen=True)
class Training:
    """All of the training text as it is compared: folded passages with BREAK between them.

    starts: where each passage begins; rows: the row of the table that it begins in
    """

    text: str
    script: Script
    passages: tuple[Folded, ...]
    starts: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, passages: Sequence[Passage], script: Script) -> Training:
        folded = tuple(fold(passage.text, script) for passage in passages)
        ends = np.cumsum([len(part.text) + 1 for part in folded]) if folded else np.zeros(0, int)
        starts = tuple(int(e) - len(part.text) - 1 for e, part in zip(ends, folded, strict=True))
        text = BREAK.join(part.text for part in folded)
        return cls(text, script, folded, starts, tuple(passage.row for passage in passages))

    def _index(self, position: int) -> int:
        return max(bisect_right(self.starts, position) - 1, 0)

    def row(self, position: int) -> int:
        return self.rows[self._index(position)]

    def passage(self, position: int) -> tuple[int, int]:
        """Where the passage that holds this position begins and ends."""
        start = self.starts[self._index(position)]
        return start, start + len(self.passages[self._index(position)].text)

    def place(self, position: int) -> tuple[int, int]:
        """Line of its passage, and character of that line, at which this position stands; both from 1."""
        folded = self.passages[self._index(position)]
        at = int(folded.at[position - self.starts[self._index(position)]])
        return folded.whole.count("\n", 0, at) + 1, at - folded.whole.rfind("\n", 0, at)

    def cut(self, start: int, end: int) -> str:
        """The text itself between two positions of one passage."""
        first = self.starts[self._index(start)]
        return self.passages[self._index(start)].cut(start - first, end - first)


def found_in(queries: Sequence[Hashes], source: Hashes, n: int) -> list[NDArray[np.bool_]]:
    """For each query u64[k]: which of its runs of n items occur in the source, bool[k - n + 1]."""
    runs = [rolling(query, n) for query in queries]
    wanted = np.unique(np.concatenate(runs)) if runs else np.zeros(0, np.uint64)
    if not len(wanted):
        return [np.zeros(0, dtype=bool) for _ in runs]
    seen = np.zeros(len(wanted), dtype=bool)
    for start in range(0, max(len(source) - n + 1, 0), _AT_ONCE):
        part = rolling(source[start : start + _AT_ONCE + n - 1], n)
        at = np.searchsorted(wanted, part)
        at[at == len(wanted)] = 0
        seen[at[wanted[at] == part]] = True
    return [seen[np.searchsorted(wanted, run)] for run in runs]


def copied(found: Sequence[NDArray[np.bool_]], rng: np.random.Generator) -> Estimate:
    """Share of runs that occur in the training text, over all texts; `found` from `found_in`."""
    total = np.array([len(part) for part in found], dtype=np.float64)
    if not total.sum():
        raise TooFew("no text is that long")
    return ratio(np.array([part.sum() for part in found], dtype=np.float64), total, rng)


@dataclass(frozen=True)
class Longest:
    """The longest stretch of a text that stands in the training text.

    start, end: in the folded text; position: in Training.text
    """

    start: int
    end: int
    position: int

    @property
    def size(self) -> int:
        return self.end - self.start


def longest(
    texts: Sequence[str], training: Training, queries: Sequence[Hashes], source: Hashes, level: int, most: int = 24
) -> dict[int, Longest]:
    """The longest stretches of folded texts that stand in the training text, by the number of the text.

    queries, source: `codes` of the texts and of the training text
    level: characters that a stretch has at least
    most:  texts that are settled, those with the longest stretches
    A text whose longest is l characters has runs of each n <= l, so a ladder of n narrows the search and
    str.find settles it.
    """
    best: dict[int, tuple[int, NDArray[np.bool_]]] = {}
    n, alive = level, True
    while alive:
        runs = found_in(queries, source, n)
        best |= {i: (n, run) for i, run in enumerate(runs) if run.any()}
        alive = any(run.any() for run in runs)
        n = n * 3 // 2 + 1
    first = sorted(best, key=lambda i: (-best[i][0], -int(best[i][1].sum())))[:most]
    settled = {i: _settled(texts[i], training.text, *best[i]) for i in first}
    return {i: stretch for i, stretch in settled.items() if stretch is not None}


def _settled(text: str, source: str, n: int, run: NDArray[np.bool_]) -> Longest | None:
    """The longest match that begins at one of the positions in `run`, at which n characters are known to match."""
    best: Longest | None = None
    for start in np.flatnonzero(run).tolist():
        size = max(n, best.size + 1) if best else n
        if start + size > len(text):
            continue
        position = source.find(text[start : start + size])
        while position >= 0:  # every step finds a longer match
            while start + size < len(text) and source[position + size : position + size + 1] == text[start + size]:
                size += 1
            best = Longest(start, start + size, position)
            if start + size >= len(text):
                break
            size += 1
            position = source.find(text[start : start + size], position)
    return best
