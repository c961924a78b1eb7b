"""Which token of a text each moment of its sound belongs to: monotonic alignment search (Kim et al. 2020, Glow-TTS)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_NEVER = np.float32(-1e30)


def monotonic(scores: Tensor, tokens: Tensor, cells: Tensor) -> Tensor:
    """Durations i64[B, S] of the tokens in cells, of the way through `scores` whose sum is the greatest: it begins with
    the first token and the first cell, ends with the last ones, and with each cell stays at a token or goes on to the
    next (alg. 1 of Kim et al. 2020). Those of an item sum to its cells.

    scores: f32[B, S, T], of a token for a cell      tokens, cells: i64[B], how many an item has
    Where there are fewer cells than tokens no such way is there, and cells are spread evenly.
    """
    score = np.ascontiguousarray(scores.detach().float().cpu().numpy().transpose(2, 0, 1))  # [T, B, S]
    most, batch, width = score.shape
    last, ends = tokens.cpu().numpy() - 1, cells.cpu().numpy()
    best = np.full((batch, width + 1), _NEVER)  # best[:, s + 1]: of the ways that are at token s by now
    best[:, 1] = score[0, :, 0]
    moved = np.zeros(score.shape, bool)
    for t in range(1, most):
        moved[t] = best[:, :-1] > best[:, 1:]
        best[:, 1:] = np.where(moved[t], best[:, :-1], best[:, 1:]) + score[t]
        best[:, 0] = _NEVER
    durations, item = np.zeros((batch, width), np.int64), np.arange(batch)
    at = last.copy()
    for t in range(most - 1, -1, -1):
        durations[item, at] += t < ends
        at -= (t < ends) & moved[t, item, at]
    for short in np.flatnonzero(ends <= last):
        places = np.arange(last[short] + 2) * ends[short] // (last[short] + 1)
        durations[short, : last[short] + 1] = np.diff(places)
        durations[short, last[short] + 1 :] = 0
    return torch.from_numpy(durations).to(scores.device)


def places(durations: Tensor) -> Tensor:
    """The token i64[B, T] that each cell belongs to, of durations i64[B, S]; T is the longest sum. Behind the end of an
    item, its last token."""
    ends = durations.cumsum(1)
    cells = torch.arange(int(ends[:, -1].max()), device=ends.device).expand(len(ends), -1).contiguous()
    last = torch.searchsorted(ends, ends[:, -1:].contiguous())
    return torch.searchsorted(ends, cells, right=True).minimum(last)
