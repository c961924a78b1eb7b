"""A WaveNet as most PyTorch versions are written: a convolution a layer, and one to the sum of what all layers say."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    """x -> x + residual, and what it says to the head."""

    def __init__(self, residual: int, skip: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.gates = nn.Conv1d(residual, 2 * residual, 2, dilation=dilation)
        self.residual = nn.Conv1d(residual, residual, 1)
        self.skip = nn.Conv1d(residual, skip, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f, g = self.gates(F.pad(x, (self.dilation, 0))).chunk(2, 1)
        z = f.tanh() * g.sigmoid()
        return x + self.residual(z), self.skip(z)


class WaveNet(nn.Module):
    """Codes i64[B, T] of the samples before -> logits f32[B, codes, T]."""

    def __init__(self, codes: int, blocks: int = 4, layers: int = 10, residual: int = 32, skip: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, residual)
        self.layers = nn.ModuleList(Layer(residual, skip, 2**i) for _ in range(blocks) for i in range(layers))
        self.inner, self.head = nn.Conv1d(skip, skip, 1), nn.Conv1d(skip, codes, 1)

    def forward(self, before: Tensor) -> Tensor:
        x, total = self.embedding(before).mT, torch.zeros(())
        for layer in self.layers:
            x, said = layer(x)
            total = total + said
        return self.head(F.relu(self.inner(F.relu(total))))
