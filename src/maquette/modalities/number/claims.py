"""Which columns of a table are numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def claims_values(name: str, values: Sequence[object], role: str, category: bool) -> float:
    """1.5 where every value is a number, else 0; see data/typing.py."""
    if role == "target":
        return 0.0  # what is made of values is written
    some = False
    for value in values:
        if value is None or not (bare := str(value).strip()):
            continue
        try:
            some = math.isfinite(float(bare)) or some
        except ValueError:
            return 0.0
    return 1.5 if some else 0.0
