"""How many there are, in a sentence that agrees with it."""

from __future__ import annotations


def counted(count: int, one: str, many: str) -> str:
    """E.g. `1 row has` or `2,000 rows have`."""
    return f"{count:,} {one if count == 1 else many}"
