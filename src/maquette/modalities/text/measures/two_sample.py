"""Classifier two-sample test on texts: can a linear model of their letters tell written ones from real ones?

Lopez-Paz & Oquab 2017, with character n-grams (1 to 4, TF-IDF) and logistic regression. Every text is judged
once, by a model that was fitted without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.evaluation.bootstrap import mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.measures.two_sample import ASKS
from maquette.evaluation.results import Metric
from maquette.evaluation.wording import two_sample_words
from maquette.modalities.text.measures.beside import written

FOLDS = 5
LEAST = 20


def two_sample(
    fake: Sequence[str], real: Sequence[str], rng: np.random.Generator, most: int = 1000, features: int = 20_000
) -> Estimate:
    """Cross-validated accuracy (0.5: cannot be told apart, 1: always) with interval and p-value."""
    from scipy.stats import binomtest

    n = min(len(fake), len(real), most)
    fake, real = ([side[i] for i in rng.permutation(len(side))[:n]] for side in (fake, real))
    right = judged(fake, real, rng, features)
    p = binomtest(int(right.sum()), right.size, 0.5, alternative="greater").pvalue
    found = mean(right.ravel(), rng)
    return replace(found, p_value=float(p))


def judged(fake: Sequence[str], real: Sequence[str], rng: np.random.Generator, features: int = 20_000) -> np.ndarray:
    """Whether each of n written texts and n real ones was told to be what it is, f64[n, 2] of 0 and 1."""
    n = len(fake)
    if len(real) != n or n < LEAST:
        raise TooFew(f"it takes at least {LEAST} texts on each side")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    y = np.repeat([1, 0], n)
    # The weights of n-grams are learned from both sides together and know no labels, so they give nothing away.
    try:
        x = TfidfVectorizer(
            analyzer="char", ngram_range=(1, 4), max_features=features, sublinear_tf=True, lowercase=False
        ).fit_transform([*fake, *real])
    except ValueError:  # empty vocabulary
        raise TooFew("the texts are empty") from None
    right = np.zeros(2 * n)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for learned, held in folds.split(x, y):
        model = LogisticRegression(C=10.0, solver="liblinear").fit(x[learned], y[learned])
        right[held] = model.predict(x[held]) == y[held]
    return right.reshape(2, n).T


# -- the measure ---------------------------------------------------------------------------------------

_TITLE = "Classifier two-sample test, by letters"


def _of(evidence: Evidence) -> Found | None:
    """Samples from held-out text; the floor: training from held-out text."""
    found = written(evidence)
    if found is None:
        return None
    n = min(len(found.made), len(found.real), len(found.train))
    made, real, train = (side[:n] for side in (found.made, found.real, found.train))
    value = two_sample(made, real, evidence.rng("c2st"))
    floor = evidence.attempt(
        f"floor of the {_TITLE.lower()}", lambda: two_sample(train, real, evidence.rng("c2st", "floor"))
    )
    return Found(value, floor, n, n)


def _says(m: Metric) -> str:
    end = f" Real training text is told from held-out text in {m.show(m.floor)}." if m.floor is not None else ""
    return f"A classifier by letters tells samples from real text {two_sample_words(m)}.{end}"


# It takes the place of the general test, for which texts would need a network.
MEASURES = (Measure("two_sample", _TITLE, "floor", "share", ASKS, _of, _says, place=52,
                    sees=("item", "loops", "repeats")),)  # fmt: skip
