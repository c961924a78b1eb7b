"""Classifier two-sample test: can a small network tell generated features from real ones?

Lopez-Paz & Oquab 2017. Both sides are cut to one size and into halves; a classifier learns on one half
and is judged on the other. If the two distributions are equal, its number of right answers on the n
judged items is Binomial(n, 1/2) exactly (section 3), which gives the p-value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from maquette.core.measure import Estimate, Measure, TooFew
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import between
from maquette.evaluation.results import Metric
from maquette.evaluation.wording import two_sample_words


def two_sample(fake: Array, real: Array, rng: np.random.Generator, most: int = 5000, steps: int = 300) -> Estimate:
    """Held-out accuracy (0.5: cannot be told apart, 1: always) with interval and p-value.

    fake, real: features f64[n, D] and f64[m, D].
    """
    n = min(len(fake), len(real), most) // 2 * 2
    if n < 20:
        raise TooFew("it takes at least 20 {items} on each side")
    sides = [side[rng.permutation(len(side))[:n]] for side in (fake, real)]
    train = np.concatenate([side[: n // 2] for side in sides])
    test = np.concatenate([side[n // 2 :] for side in sides])
    centre, scale = train.mean(0), train.std(0) + 1e-6
    x, held = (torch.from_numpy((part - centre) / scale).float() for part in (train, test))
    y = torch.cat([torch.ones(n // 2), torch.zeros(n // 2)])
    score = _learn(x, y, held, steps, seed=int(rng.integers(2**31)))
    right = ((score > 0) == (y > 0.5)).double().numpy()

    from scipy.stats import binomtest

    p = binomtest(int(right.sum()), n, 0.5, alternative="greater").pvalue
    found = mean(right, rng)
    return replace(found, p_value=float(p))


def _learn(x: Tensor, y: Tensor, held: Tensor, steps: int, seed: int) -> Tensor:
    """Log-odds f32[n] of `held` from a network with one hidden layer, trained on x f32[n, D], y in {0, 1}."""
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(x.shape[1], 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 1))
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        loss = nn.BCEWithLogitsLoss()
        for _ in range(steps):
            rows = torch.randint(len(x), (min(256, len(x)),))
            optimizer.zero_grad()
            loss(net(x[rows])[:, 0], y[rows]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            found: Tensor = net.eval()(held)
        return found[:, 0]


# What any such test asks, whatever its classifier.
ASKS = (
    "A classifier is trained to tell real from generated {items} and tried on new ones. 50 % means it can only guess, "
    "which is the best a generator can do; 100 % means it always knows. The floor tells real training from real "
    "held-out {items}: it is above 50 % where the two are about different things, as parts of a long work are."
)


def _says(m: Metric) -> str:
    where, _, found = two_sample_words(m).partition(": ")
    return f"A small classifier tells generated from real {where}; guessing gives 50%: {found}."


MEASURES = (
    Measure(
        name="two_sample", title="Classifier two-sample test", better="floor", unit="share", rests_on="features",
        place=21, sees=("item", "repeats"), of=between("two_sample", two_sample),
        asks=ASKS,
        says=_says,
    ),
)  # fmt: skip
