"""Samples of text, and real texts to set beside them: no character of the data stands in two of these.

Pieces that overlap would be like one another and share passages for no reason but the drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from maquette.core.measure import Estimate, Found
from maquette.core.rng import derive
from maquette.evaluation.evidence import Evidence
from maquette.modalities.text.measures.read import Passage, decoded, passages, texts_of
from maquette.modalities.text.measures.script import Script, script_of

MOST_TRAINING = 20_000_000  # characters searched for copies


def whole(known: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """n texts drawn at random, or all where there are fewer."""
    return [known[i] for i in rng.permutation(len(known))[:n]]


def pieces(known: Sequence[str], lengths: Sequence[int], n: int, rng: np.random.Generator) -> list[str]:
    """n pieces of long texts, of these lengths in turn; fewer where the texts hold no more.

    The texts are cut from their beginnings on, one piece after the other, and pieces are drawn from these.
    """
    longest = max(map(len, known), default=0)
    sizes = cycle([min(max(length, 1), longest) for length in rng.permutation(lengths).tolist()])
    size = next(sizes)
    cut = []
    for text in known if longest else ():
        start = 0
        while start + size <= len(text):
            cut.append(text[start : start + size])
            start, size = start + size, next(sizes)
    return whole(cut, n, rng)


@dataclass(frozen=True)
class Written:
    """The texts of a sample.

    made:  the texts; real, train: as many held-out and training texts, of the same lengths where text is cut anywhere,
           and fewer where there are no more
    known: all of the training text, in which copies are looked for
    """

    made: list[str]
    real: list[str]
    train: list[str]
    known: list[Passage]

    @property
    def of(self) -> tuple[int, int]:
        """Real texts and samples."""
        return len(self.real), len(self.made)


def script(evidence: Evidence) -> Script:
    """The script of the training texts."""

    def make() -> Script:
        table = evidence.dataset.train
        some = np.random.default_rng(derive(evidence.seed, "script")).permutation(len(table))[:500]
        return script_of(texts_of(table, evidence.column, np.sort(some)))

    return evidence.of_real("script", make)


def written(evidence: Evidence) -> Written | None:
    """The samples beside real text; None where each sample has a text that it should be (see translation.py)."""
    return None if evidence.sample.paired else evidence.once("written", lambda: _written(evidence))


def _written(evidence: Evidence) -> Written:
    data, column = evidence.dataset, evidence.column
    made = decoded(evidence.made.items, evidence.spec)
    n, framed = len(made), evidence.spec.framed
    if empty := sum(not text.strip() for text in made):
        evidence.warnings.append(f"{empty:,} of the {n:,} samples {'is' if empty == 1 else 'are'} empty.")
    passed = evidence.of_real("passages", lambda: list(passages(data.train, column, MOST_TRAINING)))
    held = evidence.of_real(
        "held-out texts", lambda: [part.text for part in passages(data.test, column, MOST_TRAINING)]
    )
    known = [part.text for part in passed]

    def beside(texts: Sequence[str], word: str, most: int) -> list[str]:
        """Up to so many real texts: whole ones, or pieces of the samples' lengths."""
        rng = evidence.rng("beside", word)
        return whole(texts, most, rng) if framed else pieces(texts, [len(text) for text in made], most, rng)

    if known == held:  # other data that names no splits is all on both sides: a floor takes two parts of it
        both = beside(held, "real", 2 * n)
        real, train = both[::2], both[1::2]
    else:
        real, train = beside(held, "real", n), beside(known, "train", n)
    if len(real) < n:
        things = "texts" if framed else "pieces that do not overlap"
        evidence.warnings.append(
            f"Held-out text has {len(real):,} {things} to set beside the {n:,} samples: floors rest on fewer, and the "
            "floor of the longest passage is low for it."
        )
    return Written(made, real, train, passed)


def both(
    evidence: Evidence,
    name: str,
    title: str,
    measure: Callable[..., Estimate],
    ours: tuple[Any, ...],
    theirs: tuple[Any, ...],
    of: tuple[int, int],
) -> Found:
    """A measure of the samples and, as its floor, of real text. measure: (*ours, rng) -> Estimate."""
    value = measure(*ours, evidence.rng(name))
    floor = evidence.attempt(f"{title}, of real text", lambda: measure(*theirs, evidence.rng(name, "floor")))
    return Found(value, floor, *of, title=title)
