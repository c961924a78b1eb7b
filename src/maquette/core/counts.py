"""How many there are, and which, in a sentence that agrees with it."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: int, one: str, many: str) -> str:
    """E.g. `1 row has` or `2,000 rows have`."""
    return f"{count:,} {one if count == 1 else many}"


def either(words: Iterable[str]) -> str:
    """E.g. `one, another or a third`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
