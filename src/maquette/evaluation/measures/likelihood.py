"""How likely held-out items are under the model.

For models that can score (`core.model.Scores`): log p where they know it, else the ELBO, the importance-weighted bound
L_k = E log (1/k) sum_j p(x, z_j) / q(z_j | x), which rises towards log p(x) with k (Burda et al. 2016,
eq. 8), and bits per dimension. Models that write token by token are measured by tokens.py instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from maquette.core.batch import Batch
from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.core.model import Scores, Streams
from maquette.core.progress import track
from maquette.core.rng import StepRng, derive
from maquette.core.spec import DataSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.results import Metric

ORDINARY = 64 * 64  # numbers in an item, up to which all the work is done


@dataclass(frozen=True)
class Effort:
    """How much work the estimate may be.

    items, k:         items scored, and importance samples for each, where the model knows a bound
    large_items, large_k: the subset scored again with many more samples; 0 items leaves that out
    at_once:          items times samples in one call of the model
    exact_items:      items scored where it knows log p itself, which may take many passes
    """

    items: int = 1000
    k: int = 50
    large_items: int = 20
    large_k: int = 5000
    at_once: int = 5000
    exact_items: int = 200


def dims(spec: DataSpec) -> int:
    """Numbers in an item, over all targets."""
    return sum(math.prod(spec.columns[name].shape) for name in spec.target)


def effort_for(spec: DataSpec) -> Effort:
    """Less of it for larger items, so that about as many numbers are decoded, at once and in all."""
    share = min(1.0, ORDINARY / max(dims(spec), 1))
    if share == 1.0:
        return Effort()
    k, at_once = max(5, round(50 * share)), max(10, int(5000 * share))
    return Effort(max(50, int(1000 * share**0.5)), k, 0, 0, at_once, max(20, int(200 * share)))


@dataclass(frozen=True)
class Likelihood:
    """Per item, in nats: elbo f64[n], bound f64[n] with k samples; `large` for the two-stage estimate.

    large: L_{large_k} over all items, estimated as mean(L_k over all) + mean(L_{large_k} - L_k over the
    subset). The difference varies far less from item to item than L itself, so a small subset
    suffices.
    """

    elbo: Array
    bound: Array
    dims: int
    k: int
    large: Estimate | None = None
    large_k: int = 0
    large_items: int = 0


def _shuffled(table: Table, seed: int) -> NDArray[np.int64]:
    """Its rows in the order in which they are scored."""
    return np.random.default_rng(derive(seed, "likelihood")).permutation(len(table))


def bound(model: Scores, batch: Batch, k: int, seed: int, at_once: int = 5000) -> Array:
    """L_k of each item of a scored batch, f64[n], nats; k may be larger than fits in memory.

    log_prob with k_1 samples is the log of a mean of k_1 weights, so the mean over calls is exact.
    """
    rows = max(1, at_once // k)
    out = []
    for start in range(0, batch.size, rows):
        part = batch.rows(start, min(start + rows, batch.size))
        calls = max(1, math.ceil(k * part.size / at_once))
        sizes = [k // calls + (i < k % calls) for i in range(calls)]
        logs = []
        for i, size in enumerate(sizes):
            rng = StepRng(derive(seed, "score", start, i), part.size, device=_device(part))
            value = model.log_prob(part, rng, samples=size).double().cpu()
            logs.append(value + math.log(size / k))
        out.append(torch.logsumexp(torch.stack(logs), 0))
    return torch.cat(out).numpy()


def _device(batch: Batch) -> torch.device:
    return next(iter(batch.target.values())).device


def scored(model: Scores, batch: Batch, seed: int, start: int, device: torch.device) -> Batch:
    """The batch as the model sees it, drawn by (seed, start)."""
    return model.score_target(batch.to(device), StepRng(derive(seed, "target", start), batch.size, device=device))


@torch.no_grad()
def log_likelihood(
    model: Scores, table: Table, spec: DataSpec, seed: int = 0, effort: Effort | None = None,
    device: torch.device | str = "cpu",
) -> Array:  # fmt: skip
    """log p of the first `effort.exact_items` rows of a shuffle of the table, f64[n], nats."""
    n = min((effort or Effort()).exact_items, len(table))
    if n == 0:
        raise TooFew("there are no held-out {items}")
    rows = _shuffled(table, seed)[:n]
    found = []
    for start in track(range(0, n, 100), "scoring"):
        batch = scored(model, table.batch(rows[start : start + 100], spec), seed, start, torch.device(device))
        found.append(bound(model, batch, 1, derive(seed, "exact", start)))
    return np.concatenate(found)


@torch.no_grad()
def likelihood(
    model: Scores,
    table: Table,
    spec: DataSpec,
    seed: int = 0,
    effort: Effort | None = None,
    device: torch.device | str = "cpu",
) -> Likelihood:
    """Scores the first `effort.items` rows of a shuffle of the table; the model must be in eval mode."""
    effort = effort or Effort()
    device = torch.device(device)
    n = min(effort.items, len(table))
    if n == 0:
        raise TooFew("there are no held-out {items}")
    rows = _shuffled(table, seed)[:n]
    elbo, small, large = [], [], []
    for start in track(range(0, n, 100), "scoring"):
        batch = scored(model, table.batch(rows[start : start + 100], spec), seed, start, device)
        elbo.append(bound(model, batch, 1, derive(seed, "elbo", start), effort.at_once))
        small.append(bound(model, batch, effort.k, derive(seed, "small", start), effort.at_once))
        if start < effort.large_items:
            subset = batch.rows(0, min(batch.size, effort.large_items - start))
            large.append(bound(model, subset, effort.large_k, derive(seed, "large", start), effort.at_once))
    spread = np.concatenate(small)
    if not large:
        return Likelihood(np.concatenate(elbo), spread, dims(spec), effort.k)
    best = np.concatenate(large)
    gain = best - spread[: len(best)]
    # The two terms are nearly independent: the subset is a small part of all.
    error = math.sqrt(spread.var(ddof=1) / n + gain.var(ddof=1) / len(gain)) if len(gain) > 1 and n > 1 else 0.0
    value = float(spread.mean() + gain.mean())
    estimate = Estimate(value, value - 1.96 * error, value + 1.96 * error)
    return Likelihood(np.concatenate(elbo), spread, dims(spec), effort.k, estimate, effort.large_k, len(best))


# -- the measures --------------------------------------------------------------------------------------


def _scores(evidence: Evidence, exact: bool) -> Scores | None:
    """The model, where it knows likelihoods: log p itself, or a bound on it."""
    model = evidence.model
    if not isinstance(model, Scores) or isinstance(model, Streams) or bool(model.exact) != exact:
        return None
    return model


def _exact(evidence: Evidence) -> Array | None:
    """log p of held-out items, f64[n]; None where the model does not know it."""
    model = _scores(evidence, exact=True)
    if model is None:
        return None

    def make() -> Array:
        evidence.notify(f"Scoring held-out {evidence.nouns[1]}.")
        return log_likelihood(model, *_asked(evidence))

    return evidence.once("log p", make)


def _bounds(evidence: Evidence) -> Likelihood | None:
    """Bounds on log p of held-out items; None where the model knows none."""
    model = _scores(evidence, exact=False)
    if model is None:
        return None

    def make() -> Likelihood:
        evidence.notify(f"Scoring held-out {evidence.nouns[1]}.")
        if model.density == "none":
            evidence.warnings.append(
                "Grey values under a Bernoulli likelihood: the ELBO and the bounds are cross-entropies in nats, to "
                "compare with models trained in the same way, and no log-likelihoods (model.binarize=dynamic is one)."
            )
        return likelihood(model, *_asked(evidence))

    return evidence.once("bounds", make)


def _asked(evidence: Evidence) -> tuple[Table, DataSpec, int, Effort, torch.device]:
    spec = evidence.generator.spec
    effort = evidence.effort or effort_for(spec)
    return evidence.dataset.test, spec, evidence.seed, effort, evidence.generator.device


def _log_likelihood(evidence: Evidence) -> Found | None:
    nats = _exact(evidence)
    return None if nats is None else Found(mean(nats, evidence.rng("log_likelihood")), n_real=len(nats))


def _elbo(evidence: Evidence) -> Found | None:
    found = _bounds(evidence)
    return None if found is None else Found(mean(found.elbo, evidence.rng("elbo")), n_real=len(found.elbo))


def _iwae(evidence: Evidence) -> Found | None:
    found = _bounds(evidence)
    if found is None:
        return None
    value = mean(found.bound, evidence.rng("iwae"))
    return Found(value, n_real=len(found.bound), title=f"Log-likelihood bound, {found.k} samples")


def _counted(evidence: Evidence, n: int) -> float | None:
    """Values of a scored item, on average of the first n, where the model counts fewer of them than there are."""
    counted = getattr(evidence.model, "counted", None)
    if counted is None:
        return None
    table, spec, seed, *_ = _asked(evidence)
    parts = np.array_split(_shuffled(table, seed)[:n], -(-n // 100))
    return sum(float(counted(table.batch(rows, spec)).sum()) for rows in parts) / n


def _iwae_large(evidence: Evidence) -> Found | None:
    found = _bounds(evidence)
    if found is None or found.large is None:
        return None
    title = f"Log-likelihood bound, {found.large_k:,} samples (on {found.large_items} {{items}})"
    return Found(found.large, n_real=len(found.elbo), title=title)


def _bits_per_dim(evidence: Evidence) -> Found | None:
    model = evidence.model
    if not isinstance(model, Scores) or model.density == "none" or not evidence.on_grids:
        return None
    exact, bounds, n_dims = _exact(evidence), _bounds(evidence), float(dims(evidence.generator.spec))
    if exact is not None:
        n_dims = _counted(evidence, len(exact)) or n_dims
        nats, n, title = mean(exact, evidence.rng("log_likelihood")), len(exact), "Bits per dimension"
    elif bounds is not None:
        nats, n = bounds.large or mean(bounds.bound, evidence.rng("iwae")), len(bounds.elbo)
        title = f"Bits per dimension, {bounds.large_k if bounds.large else bounds.k:,} samples"
    else:
        return None
    if model.density == "continuous":  # of values in [-1, 1]; a step of an 8-bit value is 1 / 127.5 of that
        nats = nats.shifted(-n_dims * np.log(127.5))
    scale = -1 / (n_dims * np.log(2))
    low, high = (None if x is None else x * scale for x in (nats.high, nats.low))
    return Found(Estimate(nats.value * scale, low, high), n_real=n, title=title)


_BOUND_ASKS = (
    "How probable the model finds {items} it has never seen, in nats per {item}; higher is better. A "
    "lower bound that tightens with the number of importance samples."
)


def _measure(
    name: str,
    title: str,
    asks: str,
    of: Callable[[Evidence], Found | None],
    says: Callable[[Metric], str],
) -> Measure:
    return Measure(name, title, "higher", "nats", asks, of, says, whole=True, place=70)


MEASURES = (
    _measure(
        "log_likelihood",
        "Log-likelihood",
        "How probable the model finds {items} it has never seen, in nats per {item}: the density of "
        "{items} whose values were spread out over their steps. Higher is better.",
        _log_likelihood,
        lambda m: (
            f"The log-probability density of a held-out {{item}}, dequantised, is {m.show(m.value)} nats on average."
        ),
    ),
    _measure(
        "elbo",
        "ELBO",
        "A lower bound on how probable the model finds unseen {items}, in nats: how well it rebuilds them, "
        "minus what the code costs.",
        _elbo,
        lambda m: (
            "The model's lower bound on the log-probability of a held-out {item} is "
            f"{m.show(m.value)} nats on average."
        ),
    ),
    _measure(
        "iwae",
        "Log-likelihood bound",
        _BOUND_ASKS,
        _iwae,
        lambda m: f"A tighter lower bound on the same log-probability: {m.show(m.value)} nats.",
    ),
    _measure(
        "iwae_large",
        "Log-likelihood bound, many samples",
        _BOUND_ASKS,
        _iwae_large,
        lambda m: (
            f"Nearly the log-probability itself: {m.show(m.value)} nats, with the last step estimated on a part of "
            "the {items}."
        ),
    ),
    Measure(
        name="bits_per_dim", title="Bits per dimension", better="lower", unit="bits/dim", of=_bits_per_dim, whole=True,
        place=70,
        asks="How many bits each number would cost if the model were used to compress unseen {items}.",
        says=lambda m: f"At that probability, a held-out {{item}} costs {m.show(m.value)} bits per number.",
    ),
)  # fmt: skip
