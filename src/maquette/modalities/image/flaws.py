"""What generators do to pictures, as functions of a batch: the own network learns to name it (own_features.py).

Unlike the known damage that measures are tried on (damage.py): what a network learned to see here, it is examined on
there. f32[B, C, H, W] in [-1, 1] -> the same, from torch's global generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _between(low: float, high: float) -> float:
    return float(torch.empty(()).uniform_(low, high))


def coarse(x: Tensor) -> Tensor:
    """Shrunk and enlarged again, smoothly or in squares."""
    height, width = x.shape[-2:]
    by = _between(1.4, 3.0)
    small = F.interpolate(x, (max(int(height / by), 2), max(int(width / by), 2)), mode="area")
    return F.interpolate(small, (height, width), mode="bilinear" if torch.rand(()) < 0.5 else "nearest")


def scattered(x: Tensor) -> Tensor:
    """Some values come from a place nearby."""
    taken = (torch.rand(len(x), 1, *x.shape[-2:]) < _between(0.15, 0.8)).to(x.device)
    down, right = (int(by) for by in torch.randint(1, 3, (2,)))
    return torch.where(taken, x.roll((down, right), (2, 3)), x)


def banded(x: Tensor) -> Tensor:
    """A few levels only."""
    levels = int(torch.randint(2, 7, ()))
    return ((x + 1) / 2 * levels).round() / levels * 2 - 1


def patchy(x: Tensor) -> Tensor:
    """Squares that are lighter or darker."""
    (height, width), size = x.shape[-2:], int(torch.randint(2, 9, ()))
    squares = torch.randn(len(x), x.shape[1], -(-height // size), -(-width // size)) * _between(0.15, 0.5)
    return (x + F.interpolate(squares, scale_factor=size)[..., :height, :width].to(x)).clamp(-1, 1)


def ghosted(x: Tensor) -> Tensor:
    """Two pictures in one."""
    return (x + x.roll(1, 0)) / 2


def shuffled(x: Tensor) -> Tensor:
    """Quarters that changed places."""
    return x.roll((x.shape[-2] // 2, x.shape[-1] // 2 if torch.rand(()) < 0.5 else 0), (2, 3))


def faded(x: Tensor) -> Tensor:
    """Near to its own mean, or nothing else."""
    return x.mean((2, 3), keepdim=True).lerp(x, _between(0.0, 0.5))


FLAWS = (coarse, scattered, banded, patchy, ghosted, shuffled, faded)


def flawed(x: Tensor) -> tuple[Tensor, Tensor]:
    """A batch in which each flaw has its share, and which flaw it is i64[B]: 1, 2, ... (0 would be none)."""
    parts = x.tensor_split(len(FLAWS))
    made = torch.cat([flaw(part) for flaw, part in zip(FLAWS, parts, strict=True) if len(part)])
    return made, torch.cat([torch.full((len(part),), i + 1) for i, part in enumerate(parts)]).to(x.device)
