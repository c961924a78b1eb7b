"""Which next tokens may be drawn, and how likely: pure functions on logits f32[B, V].

A token that is left out gets -inf. At least one token of each row always stays. NaN is an error, never a draw.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEVER = float("-inf")


def checked(logits: Tensor) -> Tensor:
    """The logits, f32[B, V]; FloatingPointError where one is NaN or +inf, ValueError where a row allows no token."""
    logits = logits.float()
    peak = logits.amax(-1)  # NaN wins a maximum, so one pass finds all three
    if not math.isfinite(float(peak.sum())) and len(odd := (~torch.isfinite(peak)).nonzero()):
        row = int(odd[0])
        if float(peak[row]) == NEVER:
            raise ValueError(f"text {row} allows no token")
        raise FloatingPointError(f"text {row} has a logit that is {float(peak[row])}")
    return logits


def temperature(logits: Tensor, degree: float) -> Tensor:
    """logits / degree: below 1 sharper, above 1 flatter; 0 keeps only the most likely token (greedy)."""
    if degree == 0:
        return top_k(logits, 1)
    return logits if degree == 1 else checked(logits / degree)


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keeps the k most likely tokens, of equals the first; 0 keeps all. Fan et al. 2018, section 5.4."""
    if not 0 < k < logits.shape[-1]:
        return logits
    if k == 1:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, NEVER).scatter(-1, best, logits.gather(-1, best))
    value, index = top(logits, k)
    return torch.full_like(logits, NEVER).scatter(-1, index, value)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keeps the fewest tokens whose probabilities sum to p or more; 1 keeps all. Holtzman et al. 2020, eq. 2."""
    if p >= 1:
        return logits
    value, index = logits.sort(dim=-1, descending=True, stable=True)
    chance = value.softmax(-1)
    before = chance.cumsum(-1, dtype=torch.float64) - chance  # probability of the more likely ones
    keep = before < p
    keep[..., 0] = True
    return torch.full_like(logits, NEVER).scatter(-1, index, value.masked_fill(~keep, NEVER))


def min_p(logits: Tensor, p: float) -> Tensor:
    """Keeps tokens at least p times as likely as the most likely one; 0 keeps all. Nguyen et al. 2024, eq. 2."""
    if p <= 0:
        return logits
    floor = logits.amax(-1, keepdim=True) + torch.tensor(p).log()
    return logits.masked_fill(logits < floor, NEVER)


def repetition_penalty(logits: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Makes tokens of `written` i64[B, t] less likely by `penalty` > 1; 1 changes nothing. Keskar et al. 2019, eq. 2.

    A positive logit is divided by it; a negative one, which division would raise, is multiplied.
    """
    if penalty == 1 or not written.shape[1]:
        return logits
    old = logits.gather(-1, written)
    return logits.scatter(-1, written, torch.where(old > 0, old / penalty, old * penalty))


def restrict(logits: Tensor, degree: float = 1.0, most: int = 0, nucleus: float = 1.0, least: float = 0.0) -> Tensor:
    """Temperature, then top-k, top-p and min-p, each on what the one before left. Logits f32[B, V] of what stays."""
    return min_p(top_p(top_k(temperature(logits, degree), most), nucleus), least)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Tokens i64[B] from softmax(logits), by inverting the distribution function at uniform f32[B] in [0, 1)."""
    edges = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    # The first edge above the point: tokens of probability 0 have no width, and the last edge is never reached.
    point = uniform[..., None] * edges[..., -1:]
    return torch.searchsorted(edges, point, right=True).squeeze(-1)


def top(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row f32[B, V] in falling order, of equals the first: values and places, [B, k].

    torch.topk takes any of equals; only rows with equals at the edge are sorted in full.
    """
    value, index = values.topk(k)
    edge = value[..., -1:]
    tied = ((values >= edge).sum(-1) > k) & (edge.squeeze(-1) > NEVER)
    # Equals inside the k come in the order of their places.
    index, order = index.sort(-1)
    value, again = value.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    index = index.gather(-1, again)
    if bool(tied.any()):
        whole, place = values[tied].sort(dim=-1, descending=True, stable=True)
        value[tied], index[tied] = whole[..., :k], place[..., :k]
    return value, index
