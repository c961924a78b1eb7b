"""Known damage to pictures, for measures to be tried on: blurred, with noise, under a checkerboard.

None of them is among those that the own network learns to tell from clean pictures (own_features.py). Each is as coarse
as the network sees: of a picture larger than SIDE, one grain is as large as one of its pixels after it was shrunk.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.core.measure import Damage
from maquette.core.spec import ColumnSpec
from maquette.modalities.image.own_features import SIDE
from maquette.sampling.degrade import blur

NOISE = (0.2, 0.5)  # standard deviation, mild and strong, for values in [-1, 1]
BOARD = (0.2, 0.5)  # how far the squares of the board are from the picture


def _grain(items: Tensor) -> int:
    return max(1, max(items.shape[-2:]) // SIDE)


def _coarse(pattern: Tensor, items: Tensor) -> Tensor:
    """A pattern of grains f32[B, C, h, w] as large as the pictures."""
    height, width = items.shape[-2:]
    return F.interpolate(pattern, scale_factor=_grain(items))[..., :height, :width]


def _size(items: Tensor) -> tuple[int, int]:
    height, width = (-(-side // _grain(items)) for side in items.shape[-2:])
    return height, width


def _blurred(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    sigma = strength * max(0.6, 0.025 * max(items.shape[-2:]))
    return blur(items, torch.full((len(items),), sigma))


def _noisy(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    draws = rng.standard_normal((*items.shape[:2], *_size(items)), dtype=np.float32)
    return (items + NOISE[strength - 1] * _coarse(torch.from_numpy(draws), items)).clamp(-1, 1)


def _checkered(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    height, width = _size(items)
    board = (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2.0 - 1
    return (items + BOARD[strength - 1] * _coarse(board[None, None], items)).clamp(-1, 1)


DAMAGES = (
    Damage("blurred", "item", _blurred),
    Damage("with noise", "item", _noisy),
    Damage("under a checkerboard", "item", _checkered),
)
