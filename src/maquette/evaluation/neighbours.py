"""Nearest neighbours among many items: the one search behind copies and what the report shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maquette.core.measure import TooFew
from maquette.evaluation.bootstrap import Array

Comparable = Callable[[Tensor], Tensor]
"""Canonical items [B, ...] -> f32[B, D], scaled so that the distance of two is what people read: a modality's own."""


@dataclass(frozen=True)
class Nearest:
    """Of each query, nearest first: distance f64[n, k], and row i64[n, k] among the items that were searched."""

    distance: Array
    row: NDArray[np.int64]


@torch.no_grad()
def nearest(queries: Tensor, items: Iterable[Tensor], comparable: Comparable, k: int = 1) -> Nearest:
    """The k nearest of the items to each query; as many as there are, where there are fewer.

    queries: f32[n, D] from `comparable`      items: canonical chunks [B, ...], in the order of their rows
    Raises TooFew where there are no items.
    """
    n = len(queries)
    best, row, match = torch.empty(n, 0), torch.empty(n, 0, dtype=torch.int64), torch.empty(n, 0, queries.shape[1])
    start = 0
    for chunk in items:
        part = comparable(chunk)
        squared = torch.addmm((part * part).sum(1)[None], queries, part.T, alpha=-2)  # less |q|^2, the same for all
        value, index = squared.topk(min(k, len(part)), largest=False) if k > 1 else squared.min(1, keepdim=True)
        # Stable: of items at one distance, the first stays.
        kept = torch.cat([best, value], 1).sort(stable=True).indices[:, :k]
        if k > 1 or start == 0:
            match = torch.cat([match, part[index]], 1).gather(1, kept[..., None].expand(-1, -1, part.shape[1]))
        else:
            nearer = kept[:, 0] > 0
            match[nearer] = part[index[nearer]]
        best, row = torch.cat([best, value], 1).gather(1, kept), torch.cat([row, index + start], 1).gather(1, kept)
        start += len(part)
    if start == 0:
        raise TooFew("there are no training {items}")
    # Again by subtraction: in the expansion above, an exact copy would come out as rounding noise.
    exact = (match - queries[:, None]).double().pow_(2).sum(2).sqrt()
    exact, again = exact.sort(stable=True)
    return Nearest(exact.numpy(), row.gather(1, again).numpy())
