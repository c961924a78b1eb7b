"""Translations (or summaries) against what a person wrote: BLEU and chrF by sacreBLEU, ROUGE by rouge-score.

Papineni et al. 2002 and Post 2018; Popović 2015; Lin 2004. Scores are those of the libraries; the intervals
resample sentences over the counts that the scores rest on (Koehn 2004), which costs no second tokenization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maquette.evaluation.bootstrap import Estimate, TooFew, counts, mean, percentile
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
