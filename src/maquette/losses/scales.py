"""Errors of pictures at all scales: coarse ones tell where something is that lies beside its place."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_COARSEST = 8  # cells that become one, a side


def over_scales(error: Tensor) -> Tensor:
    """Mean square of error f32[..., H, W], plus that of its means over 2 x 2, 4 x 4 and 8 x 8 cells.

    Each term is least where the mean of all that may come is, so their sum is too.
    """
    h = error.flatten(0, -3)
    total = h.square().mean()
    for side in (2, 4, _COARSEST):
        total = total + F.avg_pool2d(h, side, ceil_mode=True).square().mean()
    return total
