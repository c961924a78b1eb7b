"""What the networks of a family read of what is given: the class of each item, and the text it is written from."""

from __future__ import annotations

import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.model import Given
from maquette.core.spec import DataSpec


def classes_of(
    given: Given, spec: DataSpec, n: int, device: torch.device, dropped: Tensor | None = None
) -> Tensor | None:
    """i64[n]: the class of each item, or the number `spec.num_classes` where it is dropped (bool[n]) or not given."""
    if spec.label is None:
        return None
    none = spec.num_classes
    y = given.get(spec.label)
    if y is None:
        return torch.full((n,), none, device=device)
    return y if dropped is None else y.masked_fill(dropped, none)


def source_of(given: Given, spec: DataSpec) -> Tensor | None:
    """i64[n, S]: the tokens of the source of each item; None for a model without a source."""
    if spec.source is None:
        return None
    if spec.source not in given:
        raise UserError(
            f"This model writes '{', '.join(spec.target)}' from '{spec.source}', and was given none.",
            f"Give it the column '{spec.source}'.",
        )
    return given[spec.source]
