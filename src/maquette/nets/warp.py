"""What moves: cells of a picture plane fetched from where they were, or laid where they go, and layers laid over one
another. Pure functions of a displacement (down, right) in cells.

Fetching and laying are adjoint: <warp(a, d), b> = <a, splat(b, d)>, so each is the other's gradient, and both run in
the kernels of `grid_sample`. Fetching asks of each place where it came from; laying asks of each thing where it goes,
which what looks at the thing itself can tell, and no place need know of others (Niklaus and Liu 2020).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_BILINEAR, _ZEROS, _CORNERS = 0, 0, True


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """x f32[B, C, H, W] at p + flow(p) for each cell p, bilinear, 0 outside; flow f32[B, 2, H, W]."""
    return F.grid_sample(x, _places(flow), "bilinear", "zeros", _CORNERS)


def splat(x: Tensor, flow: Tensor) -> Tensor:
    """The sum, at each cell, of what of x f32[B, C, H, W] is moved there by flow f32[B, 2, H, W], shared among the
    four cells around where it lands. What leaves the plane is lost."""
    made: Tensor = _Splat.apply(x, _places(flow))
    return made


def over(colour: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layers f32[B, K, C, H, W] laid over one another, the hindmost first (Porter and Duff 1984, "over").

    colour: of each, times its share      share: of each cell that it covers, f32[B, K, 1, H, W] in [0, 1]
    Returns the colour of all, f32[B, C, H, W], the share they cover, f32[B, 1, H, W], and what is seen of each,
    f32[B, K, H, W].
    """
    made, clear = torch.zeros_like(colour[:, 0]), torch.ones_like(share[:, 0])
    seen: list[Tensor] = []
    for k in reversed(range(share.shape[1])):
        made = made + clear * colour[:, k]
        seen.insert(0, clear * share[:, k])
        clear = clear - seen[0]
    return made, 1 - clear, torch.cat(seen, 1)


def differences(a: Tensor, b: Tensor, reach: int) -> Tensor:
    """How much a f32[B, C, H, W] differs from b displaced by up to `reach` cells down and right: the mean square over
    channels, f32[B, (2 reach + 1)^2, H, W]. Outside, b goes on as at its edge."""
    side = 2 * reach + 1
    around = F.pad(b, (reach,) * 4, mode="replicate").unfold(2, side, 1).unfold(3, side, 1)
    return (a[..., None, None] - around).square().mean(1).flatten(3).movedim(3, 1)


def _places(flow: Tensor) -> Tensor:
    """p + flow(p) as `grid_sample` has it, f32[B, H, W, 2]: (right, down), the plane from -1 to 1."""
    h, w = flow.shape[-2:]
    rows, columns = (torch.arange(size, device=flow.device, dtype=flow.dtype) for size in (h, w))
    down = (rows[:, None] + flow[:, 0]) * (2 / max(h - 1, 1)) - 1
    right = (columns + flow[:, 1]) * (2 / max(w - 1, 1)) - 1
    return torch.stack([right, down], -1)


class _Splat(torch.autograd.Function):
    """The gradient of `grid_sample`, as a function of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(x, places)
        made: Tensor = _backward(x, x, places, of_values=True)
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, places = ctx.saved_tensors
        grad = grad.contiguous()
        fetched = F.grid_sample(grad, places, "bilinear", "zeros", _CORNERS)
        return fetched, _backward(x, grad, places, of_values=False)


def _backward(grad: Tensor, x: Tensor, places: Tensor, of_values: bool) -> Tensor:
    """The gradient of `grid_sample(x, places)` for x, whose values do not matter to it, or for the places."""
    found = torch.ops.aten.grid_sampler_2d_backward(
        grad.contiguous(), x.contiguous(), places, _BILINEAR, _ZEROS, _CORNERS, [of_values, not of_values]
    )
    made: Tensor = found[0 if of_values else 1]
    return made
