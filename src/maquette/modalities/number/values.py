"""What a person asks of a number, and what is shown of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.spec import ColumnSpec

PRINTED = True


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """f32[], in the column's unit. notify: is told of a number beyond those that were learned."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{value!r} is not a number.", f"Give one from {spec.low:g} to {spec.high:g}.")
    if not spec.low <= number <= spec.high:
        notify(f"{number:g} is beyond what was learned, from {spec.low:g} to {spec.high:g}: the answer is a guess.")
    return torch.tensor(number, dtype=torch.float32)


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """The number; nothing of an item that has none."""
    return "" if item.isnan() else f"{float(item):g}"


def view(item: Tensor, spec: ColumnSpec) -> float:
    """The number as Python's own."""
    return float(item)
