"""Bootstrap intervals: how much a number would move with another draw of the same size.

Efron 1979. Items are resampled with replacement; a resample is kept as counts per item, so that means
and second moments of many resamples are matrix products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maquette.core.measure import Estimate, TooFew

__all__ = ["Array", "Estimate", "TooFew", "centred", "counts", "difference", "mean", "percentile", "ratio"]

Array = NDArray[np.float64]


def counts(rng: np.random.Generator, n: int, resamples: int) -> Array:
    """How often each of n items is drawn in each resample, f64[resamples, n]; rows sum to n."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float64)


def percentile(resampled: Array, confidence: float = 0.95) -> tuple[float, float]:
    """The plain percentile interval, for numbers whose bootstrap has no bias (means)."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return float(low), float(high)


def centred(resampled: Array, value: float, least: float = -np.inf, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the resamples, shifted so that they centre on `value`; not below `least`.

    A distance between two samples has a positive bias that falls with the sample size. Resampling adds
    that bias a second time, so an unshifted interval would lie beside the number it belongs to. What
    the interval then covers is the expected value *at this sample size*, which is also the size of the
    floor it is compared with.
    """
    low, high = percentile(resampled - resampled.mean() + value, confidence)
    return max(low, least), max(high, least)


def mean(values: Array, rng: np.random.Generator, resamples: int = 1000, confidence: float = 0.95) -> Estimate:
    """The mean of f64[n] with its percentile interval."""
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        raise TooFew("there is nothing to average")
    if n == 1:
        return Estimate(float(values[0]))  # one item says nothing of another draw
    if values[0] in (0, 1) and (values == values[0]).all():
        # Resamples of all or of none never differ. Up to 3 / n may be otherwise (Hanley & Lippman-Hand 1983).
        reach = min(3 / n, 1.0)
        return Estimate(1.0, 1 - reach, 1.0) if values[0] else Estimate(0.0, 0.0, reach)
    resampled = np.empty(resamples)
    for start in range(0, resamples, 100):  # 100 at a time: the counts of 10,000 items take 8 MB
        part = counts(rng, n, min(100, resamples - start))
        resampled[start : start + len(part)] = part @ values / n
    return Estimate(float(values.mean()), *percentile(resampled, confidence), draws=resampled)


def ratio(
    top: Array, bottom: Array, rng: np.random.Generator, resamples: int = 1000, confidence: float = 0.95
) -> Estimate:
    """sum(top) / sum(bottom) over items f64[n], e.g. nats over characters, with its percentile interval."""
    top, bottom = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    n, total = len(top), float(bottom.sum())
    if total <= 0:
        raise TooFew("there is nothing to average")
    value = float(top.sum()) / total
    if n < 2:
        return Estimate(value)
    resampled = []
    for start in range(0, resamples, 100):
        part = counts(rng, n, min(100, resamples - start))
        above, below = part @ top, part @ bottom
        resampled.append(above[below > 0] / below[below > 0])
    draws = np.concatenate(resampled)
    return Estimate(value, *percentile(draws, confidence), draws=draws)


def difference(value: Estimate, floor: Estimate) -> Estimate:
    """value - floor with its interval; without one where either has none.

    Resample by resample where there are as many of both: what was drawn with the same generator from the same real
    items moves both alike, and the difference is surer than its parts. Else as of independent numbers, whose
    half-widths add as squares.
    """
    gap = value.value - floor.value
    if value.draws is not None and floor.draws is not None and len(value.draws) == len(floor.draws):
        return Estimate(gap, *centred(value.draws - floor.draws, gap))
    if value.low is None or value.high is None or floor.low is None or floor.high is None:
        return Estimate(gap)
    below = float(np.hypot(value.value - value.low, floor.high - floor.value))
    above = float(np.hypot(value.high - value.value, floor.value - floor.low))
    return Estimate(gap, gap - below, gap + above)
