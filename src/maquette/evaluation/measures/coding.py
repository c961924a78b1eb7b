"""How well a model codes held-out items: active units (Burda et al. 2016, section 5.3) and the reconstruction error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.core.model import Encodes, FlowMap, Scores, UsesCodec
from maquette.core.rng import derive
from maquette.core.spec import DataSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.measures.likelihood import scored
from maquette.evaluation.similarity import decibels

ACTIVE = 0.01  # variance over the data of a latent's mean, above which it is in use


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
    """Active units and reconstruction error over up to `items` held-out items.

    Active: Var_x(E[z | x]) > 0.01. Reconstruction: decode(encode(x)) against x, with the mean code.
    """
    device = torch.device(device)
    n = min(items, len(table))
    if n < 2:
        raise TooFew("it takes at least 2 held-out {items}")
    rows = np.random.default_rng(derive(seed, "likelihood")).permutation(len(table))[:n]
    codes, errors = [], []
    for start in range(0, n, 500):
        batch = table.batch(rows[start : start + 500], spec).to(device)
        shown = scored(model, batch, seed, start, device) if isinstance(model, Scores) else batch
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


# -- the measures --------------------------------------------------------------------------------------


def _coded(evidence: Evidence) -> Coding | None:
    """None where the model has no code, or one that leaves nothing out."""
    model = evidence.model
    if not isinstance(model, Encodes) or isinstance(model, FlowMap) or not evidence.on_grids:
        return None  # an item that is integrated back to noise is all there: nothing was squeezed
    coder: Encodes = model.codec if isinstance(model, UsesCodec) else model
    generator = evidence.generator

    def make() -> Coding:
        rng, test = evidence.rng("coding"), evidence.dataset.test
        return coding(coder, test, generator.spec, rng, evidence.seed, device=generator.device)

    return evidence.once("coding", make)


def _active(evidence: Evidence) -> Found | None:
    found = _coded(evidence)
    if found is None:
        return None
    return Found(found.active, n_real=len(found.squared_error), title=f"Active units, of {found.latent_dim}")


def _error(change: Callable[[float], float] | None = None) -> Callable[[Evidence], Found | None]:
    """The mean squared error, as it is, or as a falling function of it."""

    def of(evidence: Evidence) -> Found | None:
        found = _coded(evidence)
        if found is None:
            return None
        error = mean(found.squared_error, evidence.rng("reconstruction"))
        if change is not None:
            low, high = (None if x is None else change(x) for x in (error.high, error.low))
            error = Estimate(change(error.value), low, high)
        return Found(error, n_real=len(found.squared_error))

    return of


_ASKS = "How far a {item} is from itself after it was squeezed through the latent code."
MEASURES = (
    Measure(
        name="active_units", title="Active units", better="higher", unit="units", of=_active, whole=True, place=80,
        asks="How many numbers of the latent code the model really uses. Very few means that it ignores its "
        "code (posterior collapse).",
        says=lambda m: (
            f"{m.show(m.value)} of the latent numbers carry information about the {{item}}; the rest are noise."
        ),
    ),
    Measure(
        name="reconstruction", title="Reconstruction error per value, squared", better="lower", unit="", of=_error(),
        whole=True, place=80,
        asks=_ASKS,
        says=lambda m: (
            f"Coded and decoded, a value of a held-out {{item}} is off by {m.show(m.value)} (squared, on a scale from "
            "-1 to 1)."
        ),
    ),
    Measure(
        name="psnr", title="Reconstruction, peak signal to noise", better="higher", unit="dB", of=_error(decibels),
        whole=True, place=80,
        asks=_ASKS,
        says=lambda m: f"The same error as a signal-to-noise ratio: {m.show(m.value)} dB.",
    ),
)  # fmt: skip
