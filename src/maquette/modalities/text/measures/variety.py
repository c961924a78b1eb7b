"""How varied texts are: distinct n-grams, similarity of the samples to one another, repetition inside a text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maquette.core.measure import Estimate, Found, Matters, Measure, TooFew
from maquette.evaluation.bootstrap import Array, centred, counts, mean, ratio
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.results import Metric
from maquette.evaluation.wording import above_floor
from maquette.modalities.text.measures.beside import both, script, written
from maquette.modalities.text.measures.script import grams, one_line

ORDER = 4


def distinct(texts: Sequence[Sequence[str]], n: int, rng: np.random.Generator, resamples: int = 200) -> Estimate:
    """Different n-grams over all n-grams of the texts together. Li et al. 2016, section 5.

    It falls with the amount of text, so it is only compared at equal amounts. The interval resamples texts;
    one drawn twice adds nothing new, so it is shifted to centre on the value.
    """
    found = [grams(text, n) for text in texts]
    total = np.array([len(part) for part in found], dtype=np.float64)
    if not total.sum():
        raise TooFew(f"no text has {n} words")
    number: dict[tuple[str, ...], int] = {}
    pairs = {(i, number.setdefault(gram, len(number))) for i, part in enumerate(found) for gram in part}
    text, gram = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    values = []
    for drawn in counts(rng, len(texts), resamples):
        seen = np.zeros(len(number), dtype=bool)
        seen[gram[drawn[text] > 0]] = True
        if drawn @ total:
            values.append(seen.sum() / (drawn @ total))
    value = len(number) / total.sum()
    low, high = centred(np.array(values), value, least=0.0)
    return Estimate(float(value), low, min(high, 1.0), draws=np.array(values))


def repetition(texts: Sequence[Sequence[str]], n: int, rng: np.random.Generator) -> Estimate:
    """Share of n-grams that have occurred earlier in the same text. Welleck et al. 2020, section 6 (seq-rep-n)."""
    repeated, total = repeats(texts, n)
    if not total.sum():
        raise TooFew(f"no text has {n} of them")
    return ratio(repeated, total, rng)


def repeats(texts: Sequence[Sequence[str]], n: int) -> tuple[Array, Array]:
    """Of each text, f64[k]: n-grams that occurred earlier in it, and all of them."""
    found = [grams(text, n) for text in texts]
    return (
        np.array([len(part) - len(set(part)) for part in found], dtype=np.float64),
        np.array([len(part) for part in found], dtype=np.float64),
    )


@dataclass(frozen=True)
class _Counted:
    grams: tuple[Counter[tuple[str, ...]], ...]
    length: int


def self_bleu(
    texts: Sequence[Sequence[str]], rng: np.random.Generator, hypotheses: int = 200, references: int = 20
) -> Estimate:
    """Mean BLEU-4 (0..100) of a text against other texts of the sample. Zhu et al. 2018, section 3.2.

    High: the texts are variations of one another. Each of up to `hypotheses` texts is set against
    `references` others drawn at random; BLEU rises with their number, so it is the same for the floor.
    """
    known = [text for text in texts if len(text) >= ORDER]
    if len(known) < references + 1:
        raise TooFew(f"it takes at least {references + 1} texts of {ORDER} words")
    cached = [_Counted(tuple(Counter(grams(text, k)) for k in range(1, ORDER + 1)), len(text)) for text in known]
    scores = []
    for i in rng.permutation(len(known))[:hypotheses]:
        others = rng.choice(len(known) - 1, references, replace=False)
        scores.append(_bleu(cached[i], [cached[j + (j >= i)] for j in others]))
    return mean(np.array(scores), rng)


def _bleu(text: _Counted, others: Sequence[_Counted]) -> float:
    """Sentence BLEU against several references, orders without a match smoothed as sacreBLEU does ("exp")."""
    smooth, log = 1.0, 0.0
    for k in range(ORDER):
        own = text.grams[k]
        right = sum(min(n, max(other.grams[k][gram] for other in others)) for gram, n in own.items())
        total = sum(own.values())
        if right == 0:
            smooth *= 2
        log += math.log((right or 1 / smooth) / total)
    closest = min((abs(other.length - text.length), other.length) for other in others)[1]
    brevity = min(0.0, 1 - closest / text.length)
    return 100 * math.exp(brevity + log / ORDER)


def equal_amounts(a: Sequence[list[str]], b: Sequence[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Both sides cut to the same number of words in all, the last text of the longer side perhaps in half."""
    most = min(sum(map(len, a)), sum(map(len, b)))
    return _first(a, most), _first(b, most)


def _first(texts: Sequence[list[str]], most: int) -> list[list[str]]:
    ends = np.cumsum([0, *map(len, texts)])
    return [text[: most - start] for text, (start, _) in zip(texts, pairwise(ends), strict=True) if start < most]


# -- the measures --------------------------------------------------------------------------------------

Words = list[list[str]]


def _words(evidence: Evidence) -> tuple[Words, Words, tuple[int, int]] | None:
    """Samples and real texts in words, and how many there are of each."""
    found = written(evidence)
    if found is None:
        return None
    words = script(evidence).words
    ours, theirs = evidence.once(
        "words", lambda: ([words(text) for text in found.made], [words(text) for text in found.real])
    )
    return ours, theirs, found.of


def _distinct(n: int, what: str) -> Measure:
    def title(word: str) -> str:
        return f"{what} {word}s (distinct-{n})"

    def of(evidence: Evidence) -> Found | None:
        found = _words(evidence)
        if found is None:
            return None
        ours, theirs, sizes = found
        fewer, as_many = equal_amounts(ours, theirs)
        name = title(script(evidence).word)
        return both(evidence, f"distinct_{n}", name, distinct, (fewer, n), (as_many, n), sizes)

    def says(m: Metric) -> str:
        v, f = m.show(m.value), m.show(m.floor)
        means = "Higher means made-up words" if above_floor(m) else "Much lower means always the same phrases"
        return f"{v} of them are different; in as much real text, {f}. {means}."

    return Measure(
        name=f"distinct_{n}", title=title("word"), better="floor", unit="share", of=of, sees=("loops", "repeats"),
        asks="How many of all the words (pairs, threes) of the samples are different ones, beside as much real text. "
        "Lower than real: the model says the same things over and over. Higher: it makes up words.",
        says=says,
    )  # fmt: skip


def _self_bleu(evidence: Evidence) -> Found | None:
    found = _words(evidence)
    if found is None:
        return None
    ours, theirs, sizes = found
    value = self_bleu(ours, evidence.rng("self"))
    floor = evidence.attempt("floor of self-BLEU", lambda: self_bleu(theirs, evidence.rng("self", "floor")))
    return Found(value, floor, *sizes)


def _repetition(evidence: Evidence) -> Found | None:
    found = _words(evidence)
    if found is None:
        return None
    ours, theirs, sizes = found
    title = f"Repetition inside a text, runs of 4 {script(evidence).word}s"
    return both(evidence, "repetition", title, repetition, (ours, 4), (theirs, 4), sizes)


_LETTERS = "Repetition inside a text, runs of 8 characters"


def _repetition_8(evidence: Evidence) -> Found | None:
    """Where words are characters, runs of these are looked at already."""
    found = written(evidence)
    if found is None or not script(evidence).spaced:
        return None
    ours, theirs = ([list(one_line(text)) for text in side] for side in (found.made, found.real))
    return both(evidence, "repetition_8", _LETTERS, repetition, (ours, 8), (theirs, 8), found.of)


def _repeats(name: str, title: str, of: Callable[[Evidence], Found | None]) -> Measure:
    def says(m: Metric) -> str:
        end = " More than real text: look at the samples." if above_floor(m) else ""
        return f"{m.show(m.value)} of a sample repeats what it said before; of real text, {m.show(m.floor)}.{end}"

    return Measure(
        name=name, title=title, better="floor", unit="share", of=of, matters=Matters(0.02), sees=("loops",),
        asks="How much of a text says again what that same text has said before. Models that loop are far above real "
        "text.",
        says=says,
    )  # fmt: skip


MEASURES = (
    _distinct(1, "Different"),
    _distinct(2, "Different pairs of"),
    _distinct(3, "Different threes of"),
    Measure(
        name="self_bleu", title="Likeness of samples (self-BLEU)", better="floor", unit="points", of=_self_bleu,
        sees=("repeats",),
        asks="How much each sample is like the other samples, as BLEU sees it. Higher than real text: all samples are "
        "variations of one.",
        says=lambda m: (
            f"Samples are as like one another as {m.show(m.value)} of 100; real texts, {m.show(m.floor)}. Higher means "
            "less variety."
        ),
    ),
    _repeats("repetition", "Repetition inside a text, runs of 4 words", _repetition),
    _repeats("repetition_8", _LETTERS, _repetition_8),
)  # fmt: skip
