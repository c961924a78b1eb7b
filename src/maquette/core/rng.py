"""Randomness that is derived, never saved.

Every draw comes from (seed, words), so a resumed run needs no generator state, and the same noise
reaches the same item whatever the number of processes, micro-batches or items asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # it takes a second to import, which seeds can do without
    import torch
    from torch import Tensor


def derive(seed: int, *words: int | str) -> int:
    """A 63-bit seed from `seed` and the words that say what it is for."""
    path = "/".join(str(word) for word in (seed, *words))
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little") >> 1


class Rng(Protocol):
    """Draws whose first dimension is the item."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal f32[shape]; shape[0] is the number of items of the batch.

        Several draws an item go into a later dimension: normal(items, k, d).
        """
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), f32[shape]."""
        ...


class StepRng:
    """Noise of one training step: one stream for the whole global batch, of which we take our rows.

    Two processes, or two micro-batches, therefore see exactly the noise that one would.
    """

    def __init__(self, seed: int, items: int, start: int = 0, device: torch.device | str = "cpu") -> None:
        """items: size of the global batch of this step; start: the first of our rows in it."""
        import torch

        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._items, self._start, self._device = items, start, device

    def _rows(self, whole: Tensor, n: int) -> Tensor:
        ours = whole if n == self._items else whole[self._start : self._start + n]
        return ours.to(self._device, non_blocking=True)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal f32[shape]: our rows of the global batch's."""
        import torch

        whole = torch.randn((self._items, *shape[1:]), generator=self._generator)
        return self._rows(whole, shape[0])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), f32[shape]: our rows of the global batch's."""
        import torch

        whole = torch.rand((self._items, *shape[1:]), generator=self._generator)
        return self._rows(whole, shape[0])


class ItemRng:
    """Noise for sampling: item i depends on (seed, i) alone, never on how many are made."""

    def __init__(self, seed: int, indices: Sequence[int], device: torch.device | str = "cpu") -> None:
        """indices: the number of each item within the sample, e.g. range(64)."""
        import torch

        self._generators = [torch.Generator("cpu").manual_seed(derive(seed, "item", i)) for i in indices]
        self._device = device

    @classmethod
    def of(cls, items: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> ItemRng:
        """That of items of several samples, each by its seed and number."""
        made = cls(0, (), device)
        made._generators = [generator for seed, i in items for generator in cls(seed, [i])._generators]
        return made

    def _check(self, n: int) -> None:
        if n != len(self._generators):
            raise ValueError(f"asked noise for {n} items of a sample of {len(self._generators)}")

    def normal(self, *shape: int) -> Tensor:
        """Standard normal f32[shape], one stream per item; ValueError where shape[0] is not the number of items."""
        import torch

        self._check(shape[0])
        rows = [torch.randn(shape[1:], generator=g) for g in self._generators]
        return torch.stack(rows).to(self._device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), f32[shape], one stream per item; ValueError where shape[0] is not their number."""
        import torch

        self._check(shape[0])
        rows = [torch.rand(shape[1:], generator=g) for g in self._generators]
        return torch.stack(rows).to(self._device)


def uniform_of(seed: int, item: int, *shape: int) -> NDArray[np.float32]:
    """What ItemRng(seed, [item]).uniform(1, *shape) draws first, f32[shape], without torch: 24 of the 32 bits of each
    number of a Mersenne Twister, seeded as torch does."""
    twister = np.random.RandomState(derive(seed, "item", item) & 0xFFFFFFFF)
    bits = twister.randint(0, 2**32, shape, dtype=np.uint32) & 0xFFFFFF
    return bits.astype(np.float32) * np.float32(2.0**-24)
