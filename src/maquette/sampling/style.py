"""Draws what one picture shows as another one is drawn: its small patches come to be distributed as those of the other.

A texture or a stroke is known by how its small patches are distributed, wherever they lie (Heitz et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.sampling.degrade import blur
from maquette.sampling.posterior import Correct

PATCH = 5  # pixels a side: wider than a stroke of MNIST
DRAWN = 0.2  # standard deviation of the pixels from which on something is drawn in a patch
STEPS, SHARE = 3, 0.5  # moves at each time, and how far along the gradient each of them goes
DIRECTIONS = 64
HOLD, COARSE = 0.1, 1 / 8  # how much of the coarse content is put back at each move; its blur, of the longer side


def towards_style(content: Tensor, style: Tensor, normal: Callable[[int, int], Tensor]) -> Correct:
    """Moves estimates f32[B, C, H, W] towards the strokes of `style` f32[B or 1, C, H, W], and holds on to what is left
    of `content` f32[B, C, H, W] after a blur (ILVR; Choi et al. 2021, eq. 6, softly).

    normal: draws N(0, I) of a size
    """
    wide = torch.full((len(content),), COARSE * max(content.shape[2:]), device=content.device)
    models = [drawn(x) for x in _patches(style.expand_as(content))]

    def correct(clean: Tensor, t: Tensor) -> Tensor:
        for _ in range(STEPS):
            directions = F.normalize(normal(models[0].shape[1], DIRECTIONS), dim=0)
            moves = [_move(patches, model, directions) for patches, model in zip(_patches(clean), models, strict=True)]
            clean = clean + SHARE * _joined(torch.stack(moves), clean)
            clean = clean + HOLD * blur(content - clean, wide)
        return clean.clamp(-1.2, 1.2)

    return correct


def drawn(patches: Tensor) -> Tensor:
    """Those of patches f32[N, D] that are not flat. How much empty ground there is, is no matter of style."""
    return patches[_is_drawn(patches)]


def sliced_step(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """How patches a f32[N, D] should move to be distributed as b f32[M, D], f32[N, D]: the negative gradient of the
    squared sliced Wasserstein distance (Heitz et al. 2021, eq. 4) along unit directions f32[D, K], times D N / 2, so
    that on average over directions a patch moves all the way to its match."""
    order = (a @ directions).argsort(0)
    matched = _quantiles((b @ directions).sort(0).values, len(a))
    apart = torch.zeros_like(matched).scatter_(0, order, matched) - a @ directions
    return a.shape[1] / directions.shape[1] * apart @ directions.T


def _quantiles(values: Tensor, n: int) -> Tensor:
    """Sorted f32[M, K] -> as many as n, at the middles of n equal shares, f32[n, K]."""
    place = (torch.arange(n, device=values.device) + 0.5) / n * len(values) - 0.5
    below = place.floor().clamp(0, len(values) - 1).long()
    above = (below + 1).clamp(max=len(values) - 1)
    return torch.lerp(values[below], values[above], (place - below).clamp(0, 1)[:, None])


def _is_drawn(patches: Tensor) -> Tensor:
    return patches.std(1) > DRAWN


def _move(patches: Tensor, model: Tensor, directions: Tensor) -> Tensor:
    """f32[N, D]: 0 for flat patches; no move where one of the two shows nothing."""
    move, chosen = torch.zeros_like(patches), _is_drawn(patches)
    if len(model) and bool(chosen.any()):
        move[chosen] = sliced_step(patches[chosen], model, directions)
    return move


def _patches(x: Tensor) -> Tensor:
    """All patches of f32[B, C, H, W], f32[B, N, C PATCH^2]."""
    return F.unfold(x, PATCH).mT


def _joined(moves: Tensor, x: Tensor) -> Tensor:
    """Moves of patches as those of pixels, f32[B, C, H, W]: summed over the patches that a pixel is in, over the number
    of pixels of a patch."""
    return F.fold(moves.mT, x.shape[2:], PATCH) / PATCH**2
