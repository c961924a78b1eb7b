"""How many items are computed side by side: always as many, the last ones filled up.

Which way a product of matrices is computed, and so how it is rounded, depends on the size of a batch; an item must not.
So that what is made of it is the same to the last bit, whatever else is asked for beside it, and whenever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

MOST = 16  # more are hardly faster on a CPU, and whoever asks for one waits for all
VALUES = 2**16  # of the items of one pass, which caches hold


def rows_of(shape: Sequence[int]) -> int:
    """Items of such a shape in one pass on a CPU: a power of two."""
    return min(MOST, 1 << max(0, (VALUES // max(1, math.prod(shape))).bit_length() - 1))


def passes(n: int, rows: int, device: torch.device | str = "cpu") -> Iterator[torch.Tensor]:
    """The numbers of n items, i64[rows] at a time; the last pass is filled up with the last item."""
    yield from torch.arange(-(-n // rows) * rows, device=device).clamp(max=n - 1).split(rows)
