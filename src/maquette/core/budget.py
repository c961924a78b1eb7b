"""Budgets of time, as people write them."""

from __future__ import annotations

import re
from typing import Any

from maquette.core.errors import UserError

_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0,
          "hour": 3600.0, "d": 86400.0, "day": 86400.0}  # fmt: skip
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
LONGEST = 366 * 86400.0  # seconds: a longer budget is a slip of the pen


def seconds_of(budget: str) -> float:
    """'90s', '10m', '1.5h', '1h30m', '10 min' -> seconds; a bare number, '60', is seconds too."""
    words = budget.strip().lower()
    words = f"{words}s" if re.fullmatch(r"\d+(\.\d+)?", words) else words
    parts = _PART.findall(words)
    units = [_UNITS.get(unit) or _UNITS.get(unit.removesuffix("s")) for _, unit in parts]
    known = [unit for unit in units if unit is not None]
    # From the largest unit to the smallest, each once: anything else is a slip too.
    whole = (
        bool(parts)
        and not _PART.sub("", words)
        and len(known) == len(units)
        and known == sorted(set(known), reverse=True)
    )
    total = sum(float(number) * unit for (number, _), unit in zip(parts, known, strict=False)) if whole else 0.0
    if not 0 < total <= LONGEST:
        raise UserError(
            f"'{budget}' is not a budget of time.", "Write it like 60s, 10m, 1.5h or 1h30m; a year at most."
        )
    return total


def as_budget(budget: Any) -> str:
    """A budget as a recipe holds it: a bare number, 60 or '60', is '60s'. Raises UserError where it is none."""
    words = str(budget).strip()
    seconds_of(words)
    return f"{words}s" if words[-1].isdigit() else words
