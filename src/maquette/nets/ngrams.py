"""What the last few tokens say together: n-grams, looked up in hashed tables (Svenstrup et al. 2017, hash embeddings).

A small network spends most of its training on finding out which tokens often follow which. A table knows after it has
met them a few times, and costs next to nothing to read (compare Cheng et al. 2026, Engram, for large models).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.attention import Dropout, linear

_GAIN = 5.0  # an n-gram is met seldom, and a few steps must do
_FACTOR = 6364136223846793005  # Knuth's, of 64 bits


class Ngrams(nn.Module):
    """Embeddings of the last 2 .. n tokens, to be added to that of the last.

    rows, dim: of the table that the n-grams of one length share by their hash. Zero at first: one that was never met
               says nothing
    dropout:   share of n-grams that are not looked up while learning: so the network learns to do without those that
               it has not met, and does not rely on those that it knows by heart
    """

    powers: Tensor
    first: Tensor

    def __init__(self, width: int, n: int, rows: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.before, self.rows = n - 1, rows  # tokens before the last that it looks at
        self.table = nn.Embedding(self.before * rows, dim)
        nn.init.zeros_(self.table.weight)
        self.out, self.dropout = linear(dim, width, gain=_GAIN), Dropout(dropout)
        powers = [(pow(_FACTOR, k, 2**64) + 2**63) % 2**64 - 2**63 for k in range(n, 0, -1)]  # as 64 signed bits
        self.register_buffer("powers", torch.tensor(powers), persistent=False)
        self.register_buffer("first", torch.arange(self.before) * rows, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """i64[B, before + T] -> f32[B, T, width]."""
        # A polynomial of the tokens modulo 2^64, whose upper bits are well mixed.
        codes = (tokens.unfold(1, self.before + 1, 1) * self.powers).flip(2).cumsum(2)[..., 1:]
        rows = ((codes >> 33) % self.rows + self.first).flatten(0, 1)
        table = self.table.weight
        if torch.compiler.is_exporting():  # in operations that other programs have
            return self.out(F.embedding(rows, table).sum(1).view(len(tokens), -1, table.shape[1]))
        kept = self.dropout(table.new_ones(rows.shape)) if self.training else None
        found = F.embedding_bag(rows, table, mode="sum", per_sample_weights=kept)
        return self.out(found.view(len(tokens), -1, found.shape[-1]))
