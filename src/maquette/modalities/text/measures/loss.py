"""Held-out loss: how many nats the model needs for text it has not seen.

Every token of the held-out split is predicted exactly once, given what comes before it in its sentence or
window. Nats a token depend on the tokenizer; nats or bits a character (Graves 2013, section 3.1, calls them
bits per character) do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from maquette.core.batch import Batch
from maquette.core.find import find_modality
from maquette.core.model import Streams
from maquette.core.spec import PAD, ColumnSpec, DataSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import Array, Estimate, TooFew, ratio
from maquette.modalities.text.measures.read import joined

AT_ONCE = 8192  # tokens in one call of the model


@dataclass(frozen=True)
class HeldOut:
    """Of each held-out text (a sentence, a window), f64[n]: nats, predicted tokens, characters these stand for."""

    nats: Array
    tokens: Array
    characters: Array

    def per_token(self, rng: np.random.Generator) -> Estimate:
        """Total nats over total tokens."""
        return ratio(self.nats, self.tokens, rng)

    def per_character(self, rng: np.random.Generator, bits: bool = False) -> Estimate:
        """Total nats (or bits) over total characters."""
        return ratio(self.nats / (math.log(2) if bits else 1.0), self.characters, rng)

    def perplexity(self, rng: np.random.Generator) -> Estimate:
        """exp of the nats a token."""
        found = self.per_token(rng)
        low, high = (None if x is None else math.exp(x) for x in (found.low, found.high))
        return Estimate(math.exp(found.value), low, high)


@torch.no_grad()
def held_out(
    model: Streams,
    table: Table,
    spec: DataSpec,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] | None = None,
) -> HeldOut:
    """Scores every row of the table. The end of a sentence is a token to predict, and no character."""
    (name,) = spec.target
    n = len(table)
    if n == 0:
        raise TooFew("there is no held-out text")
    nats, tokens, characters = np.zeros(n), np.zeros(n), np.zeros(n)
    told = 0
    for rows in _batches(table, spec):
        batch = _trimmed(table.batch(rows, spec))
        score = model.token_log_prob(batch.to(torch.device(device)))
        nats[rows] = -score.double().sum(1).cpu().numpy()
        after = batch.x[:, 1:]
        tokens[rows] = (after != PAD).sum(1).numpy()
        characters[rows] = _characters(after, spec.columns[name]).sum(1)
        told += len(rows)
        if say is not None and told // 2000 > (told - len(rows)) // 2000:
            say(f"Scored {told:,} of {n:,} held-out texts.")
    if not tokens.sum() or not characters.sum():
        raise TooFew("the held-out texts are empty")
    return HeldOut(nats, tokens, characters)


@torch.no_grad()
def held_out_nats(model: Streams, batch: Batch, device: torch.device) -> float:
    """Nats per token of one batch."""
    batch = _trimmed(batch)
    score = model.token_log_prob(batch.to(device))
    return float(-score.double().sum()) / max(int((batch.x[:, 1:] != PAD).sum()), 1)


@torch.no_grad()
def held_out_sliding(model: Streams, table: Table, spec: DataSpec, device: torch.device | str = "cpu") -> HeldOut:
    """The same text with windows that move by half the context, each scored on its newer half only.

    Every token is predicted once, from at least half a context, except at the beginning of the text.
    """
    (name,) = spec.target
    length = spec.columns[name].shape[0]
    context = min(model.context, length - 1)
    stride = max(1, context // 2)
    found: list[tuple[float, int, int]] = []
    for part in joined(table, name):
        whole, n = part.tokens, len(part.tokens) - 1
        begun = _characters(whole, spec.columns[name])
        starts = [*range(0, max(n - context, 0), stride), max(n - context, 0)]
        ends = [min(start + context, n) for start in starts]
        scored_from = [0, *ends[:-1]]
        size = max(1, AT_ONCE // (context + 1))
        for i in range(0, len(starts), size):
            some = slice(i, i + size)
            x = torch.stack([whole[a : b + 1] for a, b in zip(starts[some], ends[some], strict=True)])
            score = -model.token_log_prob(Batch({name: x}, {}, len(x)).to(torch.device(device))).double().cpu()
            for row, a, b, new in zip(score, starts[some], ends[some], scored_from[some], strict=True):
                if b > new:
                    found.append((float(row[new - a :].sum()), b - new, int(begun[new + 1 : b + 1].sum())))
    if not found:
        raise TooFew("the held-out texts are empty")
    nats, tokens, characters = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    return HeldOut(nats, tokens, characters)


def _characters(items: torch.Tensor, column: ColumnSpec) -> Array:
    """Characters that begin in each token; a character that the edge of a window cuts counts once."""
    found: Array = find_modality("text").characters(items, column)
    return found


def _batches(table: Table, spec: DataSpec) -> list[np.ndarray]:
    """Rows i64[B] of about AT_ONCE tokens, texts of like length together."""
    (name,) = spec.target
    lengths = table.lengths(spec)
    order = np.arange(len(table)) if lengths is None else np.argsort(lengths, kind="stable")
    own = table.columns[name].lengths
    width = np.full(len(table), spec.columns[name].shape[0]) if own is None else np.asarray(own)
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


def _trimmed(batch: Batch) -> Batch:
    """Without the columns in which every text is over."""

    def trim(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2:
            return x
        used = (x != PAD).any(0).nonzero()
        return x[:, : max(2, int(used.max()) + 1 if len(used) else 0)]

    return Batch(
        {name: trim(x) for name, x in batch.target.items()}, {k: trim(x) for k, x in batch.given.items()}, batch.items
    )
