"""Loss per character: what a model needs for text that it has not seen, whatever its tokens are.

Nats per token depend on the tokenizer; nats or bits per character (Graves 2013, section 3.1) do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from maquette.core.batch import Batch
from maquette.core.find import find_modality
from maquette.core.measure import Estimate, Found, Measure, TooFew
from maquette.core.model import Streams
from maquette.core.spec import ColumnSpec, DataSpec, TokenSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import Array, ratio
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.measures.tokens import AT_ONCE, TokenLoss, batches, loss_of, protocol, token_loss
from maquette.evaluation.results import Metric
from maquette.modalities.text.measures.read import joined

SLIDING = 6e11  # tokens times parameters up to which the text is read a second and third time


@dataclass(frozen=True)
class HeldOut(TokenLoss):
    """characters: that the predicted tokens of each held-out text stand for, f64[n]."""

    characters: Array

    def per_character(self, rng: np.random.Generator, bits: bool = False) -> Estimate:
        """Total nats (or bits) over total characters."""
        return ratio(self.nats / (math.log(2) if bits else 1.0), self.characters, rng)


def held_out(
    model: Streams,
    table: Table,
    spec: DataSpec,
    device: torch.device | str = "cpu",
) -> HeldOut:
    """Scores every row of the table. The end of a sentence is a token to predict, and no character."""
    return _with_characters(token_loss(model, table, spec, device), table, spec)


def _with_characters(found: TokenLoss, table: Table, spec: DataSpec) -> HeldOut:
    characters = np.zeros(len(table))
    for rows in batches(table, spec):
        characters[rows] = _begun(table.columns[spec.only_name].take(rows)[:, 1:], spec.only()).sum(1)
    if not characters.sum():
        raise TooFew("the held-out texts are empty")
    return HeldOut(found.nats, found.tokens, characters)


@torch.no_grad()
def held_out_sliding(model: Streams, table: Table, spec: DataSpec, device: torch.device | str = "cpu") -> HeldOut:
    """The same text with windows that move by half the context, each scored on its newer half only.

    Every token is predicted once, from at least half a context, except at the beginning of the text.
    """
    name, column = spec.only_name, spec.only(TokenSpec)
    stride = _stride(model.context, column)
    context = min(model.context, column.shape[0] - 1)
    found: list[tuple[float, int, int]] = []
    for part in joined(table, name):
        whole, n = part.tokens, len(part.tokens) - 1
        begun = _begun(whole, column)
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


def _begun(items: torch.Tensor, column: ColumnSpec) -> Array:
    """Characters that begin in each token; a character that the edge of a window cuts counts once."""
    found: Array = find_modality("text").characters(items, column)
    return found


# -- the measures --------------------------------------------------------------------------------------


def _whole(evidence: Evidence) -> HeldOut | None:
    """Each text, or window, by itself."""
    found = loss_of(evidence)
    if found is None:
        return None

    def make() -> HeldOut:
        counted = _with_characters(found, evidence.dataset.test, evidence.generator.spec)
        ends = " The end of a text is a token to predict, and no character." if evidence.spec.framed else ""
        evidence.notes.append(f"These tokens stand for {counted.characters.sum():,.0f} characters.{ends}")
        return counted

    return evidence.once("characters", make)


def _sliding(evidence: Evidence) -> HeldOut | None:
    """Windows that slide over long texts; None where there are none, or it would take minutes."""
    found, model = loss_of(evidence), evidence.model
    if found is None or not isinstance(model, Streams) or evidence.spec.framed or evidence.generator.spec.given:
        return None

    def make() -> HeldOut | None:
        size = sum(p.numel() for net in evidence.model.kept.values() for p in net.parameters())
        if found.tokens.sum() * size > SLIDING:
            evidence.notes.append("The loss with sliding windows was left out: this model would take minutes for it.")
            return None
        evidence.notify("Again with sliding windows.")
        stride = _stride(model.context, evidence.spec)
        evidence.notes.append(
            f"Sliding windows move by {stride} tokens, and each scores its newer half: at least {stride} tokens stand "
            "before each scored one. Compare only numbers of one protocol."
        )
        return held_out_sliding(model, evidence.dataset.test, evidence.generator.spec, evidence.generator.device)

    return evidence.once("sliding", make)


def _stride(context: int, column: ColumnSpec) -> int:
    """Tokens by which windows move: half of what the model can see."""
    return max(1, min(context, column.shape[0] - 1) // 2)


def _measure(bits: bool, sliding: bool) -> Measure:
    unit = "bits" if bits else "nats"
    title = f"{unit.capitalize()} per character"

    def of(evidence: Evidence) -> Found | None:
        found = _sliding(evidence) if sliding else _whole(evidence)
        if found is None:
            return None
        how = f", sliding by {_stride(evidence.model.context, evidence.spec)}" if sliding else protocol(evidence)
        value = found.per_character(evidence.rng("characters"), bits)
        return Found(value, n_real=len(evidence.dataset.test), title=title + how)

    def says(m: Metric) -> str:
        if bits:
            return f"To write held-out text down with this model would take {m.show(m.value)} bits per character."
        return f"The same in nats: {m.show(m.value)} per character. It can be compared between tokenizers."

    return Measure(
        name=f"{unit}_per_char{'_sliding' if sliding else ''}", title=title + (", sliding" if sliding else ""),
        better="lower", unit=f"{unit}/character", of=of, place=10,
        asks="The surprise shared out over the characters that the tokens spell, so that models with different "
        "tokenizers can be compared. In bits, it is the size that the text could be compressed to with this model. "
        "With windows that do not overlap, the first tokens of each have little to go by; sliding windows always have "
        "some.",
        says=says,
    )  # fmt: skip


MEASURES = tuple(_measure(bits, sliding) for sliding in (False, True) for bits in (True, False))
