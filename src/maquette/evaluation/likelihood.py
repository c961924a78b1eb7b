"""How likely held-out pictures are under the model, and how well it codes them.

For models that can score (`core.model.Scores`): log p where they know it, else the ELBO, the importance-weighted bound
L_k = E log (1/k) sum_j p(x, z_j) / q(z_j | x), which rises towards log p(x) with k (Burda et al. 2016,
eq. 8), and bits per dimension. For those that can encode: active units (Burda et al. 2016, section 5.3)
and the reconstruction error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Encodes, Scores
from maquette.core.rng import StepRng, derive
from maquette.core.spec import DataSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import Array, Estimate, TooFew, mean

ORDINARY = 64 * 64  # numbers in a picture, up to which all the work is done
ACTIVE = 0.01  # variance over the data of a latent's mean, above which it is in use


@dataclass(frozen=True)
class Effort:
    """How much work the estimate may be.

    items, k:         pictures scored, and importance samples for each, where the model knows a bound
    large_items, large_k: the subset scored again with many more samples; 0 items leaves that out
    at_once:          pictures times samples in one call of the model
    exact_items:      pictures scored where it knows log p itself, which may take many passes
    """

    items: int = 1000
    k: int = 50
    large_items: int = 20
    large_k: int = 5000
    at_once: int = 5000
    exact_items: int = 200


def effort_for(spec: DataSpec) -> Effort:
    """Less of it for larger pictures, so that about as many numbers are decoded, at once and in all."""
    share = min(1.0, ORDINARY / sum(math.prod(spec.columns[name].shape) for name in spec.target))
    if share == 1.0:
        return Effort()
    k, at_once = max(5, round(50 * share)), max(10, int(5000 * share))
    return Effort(max(50, int(1000 * share**0.5)), k, 0, 0, at_once, max(20, int(200 * share)))


@dataclass(frozen=True)
class Likelihood:
    """Per picture, in nats: elbo f64[n], bound f64[n] with k samples; `large` for the two-stage estimate.

    large: L_{large_k} over all pictures, estimated as mean(L_k over all) + mean(L_{large_k} - L_k over the
    subset). The difference varies far less from picture to picture than L itself, so a small subset
    suffices.
    """

    elbo: Array
    bound: Array
    dims: int
    k: int
    large: Estimate | None = None
    large_k: int = 0
    large_items: int = 0


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
    return batch.x.device


def _scored(model: Scores, batch: Batch, seed: int, start: int, device: torch.device) -> Batch:
    return model.score_target(batch.to(device), StepRng(derive(seed, "target", start), batch.size, device=device))


@torch.no_grad()
def log_likelihood(
    model: Scores, table: Table, spec: DataSpec, seed: int = 0, effort: Effort | None = None,
    device: torch.device | str = "cpu",
) -> Array:  # fmt: skip
    """log p of the first `effort.exact_items` rows of a shuffle of the table, f64[n], nats."""
    n = min((effort or Effort()).exact_items, len(table))
    if n == 0:
        raise TooFew("there are no held-out pictures")
    rows = np.random.default_rng(derive(seed, "likelihood")).permutation(len(table))[:n]
    found = []
    for start in range(0, n, 100):
        batch = _scored(model, table.batch(rows[start : start + 100], spec), seed, start, torch.device(device))
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
        raise TooFew("there are no held-out pictures")
    rows = np.random.default_rng(derive(seed, "likelihood")).permutation(len(table))[:n]
    elbo, small, large = [], [], []
    for start in range(0, n, 100):
        batch = _scored(model, table.batch(rows[start : start + 100], spec), seed, start, device)
        elbo.append(bound(model, batch, 1, derive(seed, "elbo", start), effort.at_once))
        small.append(bound(model, batch, effort.k, derive(seed, "small", start), effort.at_once))
        if start < effort.large_items:
            subset = batch.rows(0, min(batch.size, effort.large_items - start))
            large.append(bound(model, subset, effort.large_k, derive(seed, "large", start), effort.at_once))
    spread = np.concatenate(small)
    dims = sum(math.prod(spec.columns[name].shape) for name in spec.target)
    if not large:
        return Likelihood(np.concatenate(elbo), spread, dims, effort.k)
    best = np.concatenate(large)
    gain = best - spread[: len(best)]
    # The two terms are nearly independent: the subset is a small part of all.
    error = math.sqrt(spread.var(ddof=1) / n + gain.var(ddof=1) / len(gain)) if len(gain) > 1 and n > 1 else 0.0
    value = float(spread.mean() + gain.mean())
    estimate = Estimate(value, value - 1.96 * error, value + 1.96 * error)
    return Likelihood(np.concatenate(elbo), spread, dims, effort.k, estimate, effort.large_k, len(best))


@dataclass(frozen=True)
class Coding:
    """active: latents in use, of `latent_dim`; squared_error: f64[n], mean over an item, [-1, 1] scale."""

    active: Estimate
    latent_dim: int
    squared_error: Array


@torch.no_grad()
def coding(
    model: Encodes,
    table: Table,
    spec: DataSpec,
    rng: np.random.Generator,
    seed: int = 0,
    items: int = 5000,
    device: torch.device | str = "cpu",
) -> Coding:
    """Active units and reconstruction error over up to `items` held-out pictures.

    Active: Var_x(E[z | x]) > 0.01. Reconstruction: decode(encode(x)) against x, with the mean code.
    """
    device = torch.device(device)
    n = min(items, len(table))
    if n < 2:
        raise TooFew("it takes at least 2 held-out pictures")
    rows = np.random.default_rng(derive(seed, "likelihood")).permutation(len(table))[:n]
    codes, errors = [], []
    for start in range(0, n, 500):
        batch = table.batch(rows[start : start + 500], spec).to(device)
        shown = _scored(model, batch, seed, start, device) if isinstance(model, Scores) else batch
        z = model.encode(shown)
        made = model.decode(z, batch.given)
        codes.append(z.double().cpu().numpy())
        errors.append(_squared_error(made, batch.target))
    mu = np.concatenate(codes)
    copies = np.array([float((mu[rng.integers(n, size=n)].var(0, ddof=1) > ACTIVE).sum()) for _ in range(200)])
    low, high = np.percentile(copies, [2.5, 97.5])
    active = Estimate(float((mu.var(0, ddof=1) > ACTIVE).sum()), float(low), float(high))
    return Coding(active, mu.shape[1], np.concatenate(errors))


def _squared_error(made: dict[str, Tensor], real: dict[str, Tensor]) -> Array:
    sums = sum(((made[k].float() - real[k]) ** 2).flatten(1).sum(1) for k in real)
    numbers = sum(real[k][0].numel() for k in real)
    assert isinstance(sums, Tensor)
    return (sums.double() / numbers).cpu().numpy()


def psnr(squared_error: Array, rng: np.random.Generator) -> Estimate:
    """Peak signal-to-noise ratio of the mean squared error, dB; the peak is 2, from -1 to 1."""
    found = mean(squared_error, rng)

    def db(mse: float | None) -> float:
        return 10 * math.log10(4 / max(mse or 0.0, 1e-12))

    return Estimate(db(found.value), db(found.high), db(found.low))
