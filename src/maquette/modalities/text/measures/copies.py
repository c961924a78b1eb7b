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
from pydantic import BaseModel, Field

from maquette.core.measure import Estimate, Found, Matters, Measure, TooFew
from maquette.evaluation.bootstrap import ratio
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.results import Metric
from maquette.evaluation.wording import above_floor
from maquette.modalities.text.measures.beside import MOST_TRAINING, both, script, written
from maquette.modalities.text.measures.fold import Folded, fold
from maquette.modalities.text.measures.read import Passage, where
from maquette.modalities.text.measures.script import Script

Hashes = NDArray[np.uint64]

BREAK = "\0"  # between passages: no sample holds it, so no match runs across
_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_AT_ONCE = 4_000_000
LISTED = 12  # passages
SHOWN = 300  # characters of a passage


class CopiedPassage(BaseModel):
    """A passage of a sample that stands in the training text, white space aside.

    sample:     its number within the sample of `settings.seed`
    train_row, train_name: the row of the training table that it was found in
    characters: its length; the text itself may be cut
    """

    sample: int = Field(ge=0)
    text: str
    characters: int
    train_row: int = Field(ge=0)
    train_name: str


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


def places(wanted: Hashes, source: Hashes, n: int) -> tuple[NDArray[np.int64], Hashes]:
    """Where in the source, i64[K], runs of n items stand whose hashes are wanted, and which they are, u64[K]."""
    at, which = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
    for start in range(0, max(len(source) - n + 1, 0), _AT_ONCE):
        part = rolling(source[start : start + _AT_ONCE + n - 1], n)
        hits = np.flatnonzero(np.isin(part, wanted))
        at.append(hits + start)
        which.append(part[hits])
    return np.concatenate(at), np.concatenate(which)


def found_in(queries: Sequence[Hashes], source: Hashes, n: int) -> list[NDArray[np.bool_]]:
    """For each query u64[k]: which of its runs of n items occur in the source, bool[k - n + 1]."""
    runs = [rolling(query, n) for query in queries]
    known = np.unique(places(np.unique(np.concatenate([*runs, np.zeros(0, np.uint64)])), source, n)[1])
    return [np.isin(run, known) for run in runs]


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


# -- the measures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Searched:
    """What copies are looked for in, and for. folded: samples, then real texts; letters, source: their `codes`."""

    training: Training
    folded: list[Folded]
    letters: list[Hashes]
    source: Hashes
    n_made: int
    of: tuple[int, int]


def _searched(evidence: Evidence) -> Searched | None:
    """None of text that was made from a source, and on data that the model was not trained on."""
    found = written(evidence) if evidence.own_data else None
    if found is None:
        return None

    def make() -> Searched:
        evidence.notify("Looking for passages of the training text.")
        known = script(evidence)
        if sum(len(passage.text) for passage in found.known) >= MOST_TRAINING:
            evidence.warnings.append(
                f"Copies were looked for in the first {MOST_TRAINING // 10**6} million characters of training text."
            )
        if not known.spaced:
            evidence.notes.append("Copied characters are letters and digits; punctuation is passed over.")
        training = evidence.of_real("training text", lambda: Training.of(found.known, known))
        folded = [fold(text, known) for text in (*found.made, *found.real)]
        letters = [codes(part.text) for part in folded]
        source = evidence.of_real("training letters", lambda: codes(training.text))
        return Searched(training, folded, letters, source, len(found.made), found.of)

    return evidence.once("copies", make)


def _words(evidence: Evidence, searched: Searched) -> tuple[list[Hashes], Hashes]:
    """Samples and real texts, and the training text, in words."""
    words = script(evidence).words
    return evidence.once(
        "copied words",
        lambda: (
            [word_codes(words(part.text)) for part in searched.folded],
            evidence.of_real("training words", lambda: word_codes(words(searched.training.text))),
        ),
    )


def _copied(size: int, of_words: bool) -> Measure:
    name = f"copied_words_{size}" if of_words else f"copied_{size}"
    title = f"Runs of {size} {'words' if of_words else 'characters'} in training text"

    def of(evidence: Evidence) -> Found | None:
        known = script(evidence)
        searched = _searched(evidence) if size in (known.copied_words if of_words else known.copied) else None
        if searched is None:
            return None
        queries, source = _words(evidence, searched) if of_words else (searched.letters, searched.source)
        found, n = found_in(queries, source, size), searched.n_made
        return both(evidence, name, title, copied, (found[:n],), (found[n:],), searched.of)

    def says(m: Metric) -> str:
        end = "More than chance and set phrases: look at the passages." if above_floor(m) else "No more than real text."
        return (
            f"{m.show(m.value)} of such passages in the samples stand in the training text, and {m.show(m.floor)} of "
            f"those in real text. {end}"
        )

    return Measure(
        name=name, title=title, better="no more", unit="share", of=of, place=60, matters=Matters(0.02),
        sees=("copies",),
        asks="Share of the runs of that length in the samples that stand in the training text, letter for letter. Real "
        "text that was never trained on has some too: names, proverbs, set phrases. Clearly more means reciting.",
        says=says,
    )  # fmt: skip


def _longest(evidence: Evidence) -> Found | None:
    searched = _searched(evidence)
    if searched is None:
        return None
    n, training, level = searched.n_made, searched.training, script(evidence).copied[0] // 2
    lines = [part.text for part in searched.folded]
    best, usual = (
        longest(lines[side], training, searched.letters[side], searched.source, level)
        for side in (slice(n), slice(n, None))
    )
    if not best and not usual:
        return None
    ranked = sorted(best.items(), key=lambda pair: -pair[1].size)[:LISTED]
    evidence.details["passages"] = [
        CopiedPassage(
            sample=i,
            text=searched.folded[i].cut(stretch.start, min(stretch.end, stretch.start + SHOWN))
            + (" …" if stretch.size > SHOWN else ""),
            characters=stretch.size,
            train_row=(row := training.row(stretch.position)),
            train_name=where(evidence.dataset.train, row, *training.place(stretch.position)),
        )
        for i, stretch in ranked
    ]
    value, floor = (
        Estimate(float(max((stretch.size for stretch in side.values()), default=0))) for side in (best, usual)
    )
    return Found(value, floor, *searched.of)


MEASURES = (
    *(_copied(size, of_words=False) for size in (5, 10, 20, 30, 50)),
    *(_copied(size, of_words=True) for size in (4, 8)),
    Measure(
        name="longest_copied", title="Longest passage in training text", better="no more", unit="characters",
        of=_longest, place=61,
        asks="The longest stretch of any sample that stands in the training text, beside the longest stretch of "
        "held-out text that does.",
        says=lambda m: (
            f"The longest passage of a sample that stands in the training text: {m.show(m.value)} characters; of real "
            f"text, {m.show(m.floor)}."
        ),
    ),
)  # fmt: skip
