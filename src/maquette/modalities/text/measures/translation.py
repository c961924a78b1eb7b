"""Translations (or summaries) against what a person wrote: BLEU and chrF by sacreBLEU, ROUGE by rouge-score.

Papineni et al. 2002 and Post 2018; Popović 2015; Lin 2004. Scores are those of the libraries; the intervals
resample sentences over the counts that the scores rest on (Koehn 2004), which costs no second tokenization.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.evaluation.bootstrap import counts, mean, percentile
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.features import chunks
from maquette.evaluation.results import Metric
from maquette.modalities.text.measures.beside import script
from maquette.modalities.text.measures.read import decoded
from maquette.modalities.text.measures.script import Script

RESAMPLES = 1000


@dataclass(frozen=True)
class Scored:
    """A corpus score 0..100 and how sacreBLEU names the way it was computed."""

    estimate: Estimate
    signature: str


def bleu(
    made: Sequence[str], real: Sequence[str], script: Script, rng: np.random.Generator, lower: bool = False
) -> Scored:
    """Corpus BLEU-4 with one reference a sentence."""
    from sacrebleu.metrics import BLEU

    return _corpus(BLEU(tokenize=script.bleu, lowercase=lower, force=True), made, real, rng)


def chrf(made: Sequence[str], real: Sequence[str], rng: np.random.Generator) -> Scored:
    """Corpus chrF2: F-score of character 1- to 6-grams, recall counting twice."""
    from sacrebleu.metrics import CHRF

    return _corpus(CHRF(), made, real, rng)


def _corpus(metric: Any, made: Sequence[str], real: Sequence[str], rng: np.random.Generator) -> Scored:
    if not made:
        raise TooFew("there is nothing to compare")
    references = [list(real)]
    score = metric.corpus_score(list(made), references)
    # Counts of each sentence: how sacreBLEU resamples, too (sacrebleu/significance.py).
    per_sentence = np.array(metric._extract_corpus_statistics(list(made), references), dtype=np.float64)
    if len(made) < 2:
        return Scored(Estimate(score.score), str(metric.get_signature()))
    sums = np.concatenate([counts(rng, len(made), 100) @ per_sentence for _ in range(RESAMPLES // 100)])
    resampled = [metric._compute_score_from_stats([round(x) for x in row]).score for row in sums]
    return Scored(Estimate(score.score, *percentile(np.array(resampled))), str(metric.get_signature()))


class _Words:
    """Tokens for rouge-score: its own keep a-z and 0-9 only, which is no other language than English."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def tokenize(self, text: str) -> list[str]:
        words = self._script.words(text.lower())
        return [part for word in words for part in "".join(c if c.isalnum() else " " for c in word).split()]


def rouge(made: Sequence[str], real: Sequence[str], script: Script, rng: np.random.Generator) -> dict[str, Estimate]:
    """Mean F-score (0..100) of ROUGE-1, ROUGE-2 and ROUGE-L by name; no stemming."""
    if not made:
        raise TooFew("there is nothing to compare")
    from rouge_score.rouge_scorer import RougeScorer

    kinds = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    scorer = RougeScorer(list(kinds.values()), tokenizer=_Words(script))
    scores = [scorer.score(b, a) for a, b in zip(made, real, strict=True)]
    return {name: mean(np.array([100 * score[key].fmeasure for score in scores]), rng) for name, key in kinds.items()}


def exact(made: Sequence[str], real: Sequence[str], rng: np.random.Generator) -> Estimate:
    """Share of texts that are the reference, spaces at the ends aside."""
    return mean(np.array([float(a.strip() == b.strip()) for a, b in zip(made, real, strict=True)]), rng)


# -- the measures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Translated:
    """Texts made from held-out sources, and what a person made of these."""

    made: list[str]
    real: list[str]


def translated(evidence: Evidence) -> Translated | None:
    """What was made of held-out sources, in the order of their rows; None of a model that is given none."""
    return evidence.once("translated", lambda: _translated(evidence)) if evidence.sample.paired else None


def _translated(evidence: Evidence) -> Translated:
    rows, n_test = evidence.sample.rows, len(evidence.dataset.test)
    assert rows is not None
    order = np.argsort(rows, kind="stable")
    made = [text for part in evidence.made.chunks() for text in decoded(part, evidence.spec)]
    column = evidence.dataset.test.columns[evidence.column]
    real = [text for part in chunks(column, rows[order]) for text in decoded(part, evidence.spec)]
    if len(rows) < n_test:
        evidence.notes.append(f"{len(rows):,} of the {n_test:,} held-out texts were translated, drawn at random.")
    return Translated([made[i] for i in order], real)


def _corpus_measure(
    name: str, title: str, asks: str, says: Callable[[Metric], str],
    score: Callable[[Translated, Script, np.random.Generator], Scored],
) -> Measure:  # fmt: skip
    """A measure with a signature of its own. Its draws are those of the name before any "_"."""

    def of(evidence: Evidence) -> Found | None:
        pair = translated(evidence)
        if pair is None:
            return None
        found = score(pair, script(evidence), evidence.rng(name.partition("_")[0]))
        evidence.notes.append(f"{title}: {found.signature}")
        return Found(found.estimate, None, len(pair.real), len(pair.made), says=f"Signature: {found.signature}.")

    return Measure(name=name, title=title, better="higher", unit="points", asks=asks, of=of, says=says, place=40)


def _rouge(name: str, says: Callable[[Metric], str]) -> Measure:
    def of(evidence: Evidence) -> Found | None:
        pair = translated(evidence)
        return None if pair is None else Found(_rouges(evidence, pair)[name], None, len(pair.real), len(pair.made))

    return Measure(
        name=name, title=f"ROUGE-{name.removeprefix('rouge_').upper()}", better="higher", unit="points", of=of,
        place=41,
        asks="Words (1), pairs of words (2), and the longest run of words in the same order (L) that a text shares "
        "with the reference. It is the usual measure of summaries.",
        says=says,
    )  # fmt: skip


def _rouges(evidence: Evidence, pair: Translated) -> dict[str, Estimate]:
    def make() -> dict[str, Estimate]:
        known = script(evidence)
        evidence.notes.append(f"ROUGE: F-scores by {known.word}s, lower-cased, no stemming")
        return rouge(pair.made, pair.real, known, evidence.rng("rouge"))

    return evidence.once("rouge", make)


def _exact(evidence: Evidence) -> Found | None:
    pair = translated(evidence)
    if pair is None:
        return None
    return Found(exact(pair.made, pair.real, evidence.rng("exact")), None, len(pair.real), len(pair.made))


_BLEU_ASKS = (
    "Share of words, pairs, threes and fours of the translations that are in the reference, with a penalty for "
    "translations that are too short. There are other good translations than the reference, so 100 is not to be "
    "had; compare only numbers with the same signature and the same test set."
)
MEASURES = (
    _corpus_measure(
        "bleu",
        "BLEU",
        _BLEU_ASKS,
        lambda m: (
            f"{m.show(m.value)} of 100: how far the words and phrases are those of the reference, as sacreBLEU counts."
        ),
        lambda pair, known, rng: bleu(pair.made, pair.real, known, rng),
    ),
    _corpus_measure(
        "bleu_lc",
        "BLEU, lower-cased",
        _BLEU_ASKS,
        lambda m: f"The same when capitals do not count: {m.show(m.value)} of 100.",
        lambda pair, known, rng: bleu(pair.made, pair.real, known, rng, lower=True),
    ),
    _corpus_measure(
        "chrf",
        "chrF",
        "Like BLEU, by runs of one to six characters instead of words, so that a word with another ending "
        "counts in part. It fits languages with many forms of a word, and those without spaces.",
        lambda m: (
            f"{m.show(m.value)} of 100: how far the runs of letters are those of the reference; kinder to endings than "
            "BLEU."
        ),
        lambda pair, known, rng: chrf(pair.made, pair.real, rng),
    ),
    _rouge("rouge_1", lambda m: f"Words shared with the reference: {m.show(m.value)} of 100 (F-score)."),
    _rouge("rouge_2", lambda m: f"Pairs of words shared with the reference: {m.show(m.value)} of 100 (F-score)."),
    _rouge(
        "rouge_l",
        lambda m: f"The longest run of words in common and in order, gaps allowed: {m.show(m.value)} of 100 (F-score).",
    ),
    Measure(
        name="exact", title="Same as the reference", better="higher", unit="share", of=_exact, place=42,
        asks="Share of texts that are the reference, letter for letter.",
        says=lambda m: f"{m.show(m.value)} of them are the reference, letter for letter.",
    ),
)  # fmt: skip
