"""Held-out loss of models that write token by token: how many nats they need for what they have not seen.

Every token of the held-out split is predicted exactly once, given what comes before it in its item or window. Nats
per token depend on what a token is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.core.model import Streams
from maquette.core.progress import track
from maquette.core.spec import PAD, DataSpec, TokenSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import Array, ratio
from maquette.evaluation.evidence import Evidence

AT_ONCE = 8192  # tokens in one call of the model


@dataclass(frozen=True)
class TokenLoss:
    """Of each held-out item (or window), f64[n]: nats, and predicted tokens."""

    nats: Array
    tokens: Array

    def per_token(self, rng: np.random.Generator) -> Estimate:
        """Total nats over total tokens."""
        return ratio(self.nats, self.tokens, rng)

    def perplexity(self, rng: np.random.Generator) -> Estimate:
        """exp of the nats per token; infinite where no number is as large."""
        found = self.per_token(rng)
        with np.errstate(over="ignore"):
            low, high = (None if x is None else float(np.exp(x)) for x in (found.low, found.high))
            return Estimate(float(np.exp(found.value)), low, high)


@torch.no_grad()
def token_loss(
    model: Streams,
    table: Table,
    spec: DataSpec,
    device: torch.device | str = "cpu",
) -> TokenLoss:
    """Scores every row of the table. The end of an item is a token to predict. Raises TooFew without any token."""
    n = len(table)
    nats, tokens = np.zeros(n), np.zeros(n)
    for rows in track(batches(table, spec), "scoring"):
        batch = trimmed(table.batch(rows, spec))
        score = model.token_log_prob(batch.to(torch.device(device)))
        nats[rows] = -score.double().sum(1).cpu().numpy()
        tokens[rows] = (batch.target[spec.only_name][:, 1:] != PAD).sum(1).numpy()
    if not tokens.sum():
        raise TooFew("what is held out is empty")
    return TokenLoss(nats, tokens)


@torch.no_grad()
def batch_nats(model: Streams, batch: Batch, device: torch.device) -> float:
    """Nats per token of one batch of a model with one target."""
    batch = trimmed(batch)
    score = model.token_log_prob(batch.to(device))
    (tokens,) = batch.target.values()
    return float(-score.double().sum()) / max(int((tokens[:, 1:] != PAD).sum()), 1)


def batches(table: Table, spec: DataSpec) -> list[np.ndarray]:
    """Rows i64[B] of about AT_ONCE tokens, items of like length together."""
    lengths = table.lengths(spec)
    order = np.arange(len(table)) if lengths is None else np.argsort(lengths, kind="stable")
    own = table.columns[spec.only_name].lengths
    width = np.full(len(table), spec.only().shape[0]) if own is None else np.asarray(own)
    out, start = [], 0
    while start < len(order):
        stop = start + 1
        longest = max(int(width[order[start]]), 1)
        while stop < len(order):
            longest = max(longest, int(width[order[stop]]))
            if longest * (stop + 1 - start) > AT_ONCE:
                break
            stop += 1
        out.append(order[start:stop])
        start = stop
    return out


def trimmed(batch: Batch) -> Batch:
    """Without the places at which every sequence is over."""

    def trim(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or x.is_floating_point():
            return x
        used = (x != PAD).any(0).nonzero()
        return x[:, : max(2, int(used.max()) + 1 if len(used) else 0)]

    return Batch(
        {name: trim(x) for name, x in batch.target.items()}, {k: trim(x) for k, x in batch.given.items()}, batch.items
    )


# -- the measures --------------------------------------------------------------------------------------


def loss_of(evidence: Evidence) -> TokenLoss | None:
    """The loss of a model of one column of tokens over the whole held-out split; None where it cannot be measured."""
    model, spec = evidence.model, evidence.generator.spec
    if not isinstance(evidence.spec, TokenSpec) or len(spec.target) > 1:
        return None
    if not isinstance(model, Streams):
        evidence.left_out("held-out loss", "this model does not say how likely a token is")
        return None

    def make() -> TokenLoss | None:
        table, n = evidence.dataset.test, len(evidence.dataset.test)
        evidence.notify(f"Scoring {n:,} held-out {evidence.called(n)}.")
        try:
            found = token_loss(model, table, spec, evidence.generator.device)
        except TooFew as reason:
            evidence.left_out("held-out loss", reason)
            return None
        if not np.isfinite(found.nats).all():
            raise UserError(
                f"The model gives held-out {evidence.nouns[1]} probabilities that are not finite.",
                "Its training failed; resume from an earlier checkpoint or train again.",
            )
        evidence.notes.append(_note(evidence, found))
        return found

    return evidence.once("token loss", make)


def protocol(evidence: Evidence) -> str:
    """What a title says of windows; "" where each item is scored by itself."""
    return "" if evidence.spec.framed else f", windows of {evidence.spec.shape[0] - 1}, no overlap"


def _note(evidence: Evidence, found: TokenLoss) -> str:
    spec, n = evidence.spec, len(evidence.dataset.test)
    unit = getattr(spec, "unit", "") or "tokens"
    start = (
        f"The loss is over all {n:,} held-out {evidence.called(n)}: {found.tokens.sum():,.0f} tokens ({unit}, "
        f"vocabulary {spec.vocab:,}); each token is predicted once, from what stands before it in its "
    )
    if spec.framed:
        return f"{start}{evidence.nouns[0]}."
    return (
        f"{start}window of {spec.shape[0] - 1} tokens. Windows do not overlap, so the first tokens of each have little "
        "before them."
    )


def _per_token(evidence: Evidence) -> Found | None:
    found = loss_of(evidence)
    if found is None:
        return None
    value = found.per_token(evidence.rng("nats"))
    return Found(value, n_real=len(found.nats), title=f"Nats per token{protocol(evidence)}")


def _perplexity(evidence: Evidence) -> Found | None:
    found = loss_of(evidence)
    if found is None:
        return None
    value = found.perplexity(evidence.rng("nats"))
    return Found(value, n_real=len(found.nats), title=f"Perplexity per token{protocol(evidence)}")


MEASURES = (
    Measure(
        name="nats_per_token", title="Nats per token", better="lower", unit="nats/token", rests_on="tokens", place=10,
        of=_per_token,
        asks="The average surprise of the model at each token of {items} it has never seen. Lower is better. It "
        "depends on what a token is, so it can only be compared between runs with the same tokens.",
        says=lambda m: (
            f"On average the next token of a held-out {{item}} surprises the model by {m.show(m.value)} nats."
        ),
    ),
    Measure(
        name="perplexity", title="Perplexity per token", better="lower", unit="", rests_on="tokens", place=10,
        of=_perplexity,
        asks="The same surprise, as the number of equally likely tokens that would be as hard to guess.",
        says=lambda m: f"It is as unsure of the next token as if it chose among {m.show(m.value)} equally likely ones.",
    ),
)  # fmt: skip
