"""A batch of canonical tensors: what families of models see of the data."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from maquette.core.errors import UserError


@dataclass(frozen=True)
class Batch:
    """Canonical tensors, by column name.

    target: what the model learns to make; empty in a phase that reads no data
    given:  what it depends on; may be empty
    items:  number of items, kept even when the target is withheld
    """

    target: dict[str, Tensor]
    given: dict[str, Tensor] = field(default_factory=dict)
    items: int = 0

    def only(self) -> Tensor:
        """The one target of a model that makes one column; UserError where there are several, ValueError where the
        target is withheld."""
        if len(self.target) > 1:
            raise UserError(
                f"There are {len(self.target)} targets ({', '.join(self.target)}), and this takes one.",
                "Name one target.",
            )
        (x,) = self.target.values()
        return x

    @property
    def size(self) -> int:
        """Number of items, B."""
        tensors = (*self.target.values(), *self.given.values())
        return len(tensors[0]) if tensors else self.items

    def rows(self, start: int, stop: int) -> Batch:
        """Items start..stop."""
        return Batch(
            {k: v[start:stop] for k, v in self.target.items()},
            {k: v[start:stop] for k, v in self.given.items()},
            stop - start,
        )

    def without_target(self) -> Batch:
        """The same batch for a phase that must not see the data it learns from."""
        return Batch({}, self.given, self.size)

    def to(self, device: torch.device, channels_last: bool = False) -> Batch:
        """The same on `device`. channels_last: the memory format of 4-dimensional targets, faster on a GPU."""

        def move(x: Tensor) -> Tensor:
            if channels_last and x.ndim == 4 and not x.is_contiguous(memory_format=torch.channels_last):
                return x.to(device, non_blocking=True, memory_format=torch.channels_last)
            return x.to(device, non_blocking=True)

        return Batch(
            {k: move(v) for k, v in self.target.items()},
            {k: v.to(device, non_blocking=True) for k, v in self.given.items()},
            self.items,
        )


def lengths(x: Tensor) -> Tensor:
    """i64[B], how long each item f32[B, C, N] is, whose values behind its end are exactly 0.0: the place of its last
    value that is not, and 1."""
    there = (x != 0).any(1)
    return torch.where(there.any(1), x.shape[-1] - there.flip(1).int().argmax(1), 0)
