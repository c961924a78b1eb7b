"""Telling items apart without names for them: two views of one should look alike, and unlike all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(z: Tensor, temperature: float = 0.2) -> Tensor:
    """NT-Xent: rows i and i + B of f32[2B, D] are two views of one item. Chen et al. 2020, eq. 1."""
    z = F.normalize(z, dim=1)
    similar = z @ z.T / temperature
    similar.fill_diagonal_(-torch.inf)
    half = len(z) // 2
    partner = torch.arange(2 * half, device=z.device).roll(half)
    return F.cross_entropy(similar, partner)
